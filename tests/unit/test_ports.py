"""The published port, asked over real sockets on 127.0.0.1, and psycopg where it is there."""

import socket
import sys
import threading
import types

import pytest
from fakes import make_url

import hive_pg as pg
from hive_pg import ask_published_port, login_with_psycopg

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@pytest.fixture
def serve():
    """Return a function that answers one connection with some bytes, and says what it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threads, heard = [], []

        def answer(reply):
            def once():
                connection, _ = server.accept()
                with connection:
                    if reply is not None:
                        heard.append(connection.recv(8))
                        connection.sendall(reply)

            threads.append(threading.Thread(target=once))
            threads[-1].start()
            return make_url(host="127.0.0.1", port=server.getsockname()[1]), heard

        yield answer
        for thread in threads:
            thread.join()


@pytest.fixture
def closed():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("reply", "objection"),
    [
        pytest.param(b"S", "", id="with TLS"),
        pytest.param(b"N", "", id="without TLS"),
        pytest.param(b"HTTP/1.1 400\r\n", "what answers is not PostgreSQL", id="a web server"),
        pytest.param(b"", "what answers is not PostgreSQL", id="closes"),
    ],
)
def test_ask_published_port_answer(serve, reply, objection):
    """PostgreSQL is known by its one-letter answer to SSLRequest, before any login."""
    url, heard = serve(reply)
    assert ask_published_port(url) == objection
    assert heard == [SSL_REQUEST]


@pytest.mark.parametrize(
    ("reply", "query", "asking"),
    [
        pytest.param(b"N", "sslmode=require", "sslmode=require", id="require"),
        pytest.param(b"N", "sslmode=verify%2Dfull", "sslmode=verify-full", id="encoded"),
        pytest.param(b"N", "sslmode=prefer&sslmode=verify-ca", "sslmode=verify-ca", id="the last"),
        pytest.param(b"N", "channel_binding=require", "channel_binding=require", id="binding"),
        pytest.param(b"N", "sslmode=require&sslmode=prefer", "", id="taken back"),
        pytest.param(b"N", "sslmode=prefer&channel_binding=prefer", "", id="prefer"),
        pytest.param(b"S", "sslmode=require", "", id="with TLS"),
    ],
)
def test_ask_published_port_asks_for_tls(serve, reply, query, asking):
    """A URL that asks for TLS is of no use where the server has none."""
    url, _ = serve(reply)
    objection = ask_published_port(url.replace(query=query))
    words = f"the server has no TLS, which {asking} in it asks for"
    assert objection == (words if asking else "")
    error = pg.build_port_error(url, objection)
    assert ("nobody can connect to 127.0.0.1" in str(error)) is bool(asking)
    assert ("switch ssl on" in error.hint) is bool(asking)


@pytest.mark.parametrize(
    ("bind", "refusal", "objection"),
    [
        pytest.param("db.example.org", None, "", id="where it is published"),
        pytest.param("", "", "", id="psycopg logs in there"),
        pytest.param("", "FATAL: no", "FATAL: no", id="psycopg does not"),
        pytest.param("", None, "it is another machine; install psycopg", id="no psycopg"),
    ],
)
def test_ask_published_port_elsewhere(monkeypatch, serve, bind, refusal, objection):
    """Another machine's PostgreSQL may be any: only a login tells whose it is."""
    url, _ = serve(b"N")
    here = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda address, **k: here(("127.0.0.1", address[1]), **k)
    )
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url: refusal)
    answer = ask_published_port(url.replace(host="db.example.org"), bind)
    assert answer.startswith(objection)
    assert bool(answer) is bool(objection)


def test_ask_published_port_hangs_up(serve):
    """A proxy with nothing behind it hangs up at once: that is not PostgreSQL."""
    assert ask_published_port(serve(None)[0]) != ""


def test_ask_published_port_refused(closed):
    """A port that nobody listens on is said to be so."""
    assert ask_published_port(make_url(host="127.0.0.1", port=closed)) == "Connection refused"


def test_ask_published_port_silent(monkeypatch):
    """An error without a text of the system's still says something."""

    def hang(*_, **__):
        raise socket.timeout("timed out")

    monkeypatch.setattr(socket, "create_connection", hang)
    assert ask_published_port(make_url()) == "timed out"


class OperationalError(Exception):
    """What psycopg raises when a login fails."""


@pytest.mark.parametrize(
    ("error", "objection"),
    [
        pytest.param(None, "", id="logs in"),
        pytest.param(OperationalError("connection failed\nFATAL: no\n"), "FATAL: no", id="refused"),
        pytest.param(OperationalError(""), "OperationalError", id="without words"),
    ],
)
def test_login_with_psycopg_there(monkeypatch, error, objection):
    """With psycopg importable it logs in by libpq's URL, and closes the connection."""
    calls = []

    def connect(url, connect_timeout):
        calls.append((url, connect_timeout))
        if error:
            raise error
        return types.SimpleNamespace(close=lambda: calls.append("closed"))

    module = types.ModuleType("psycopg")
    module.connect, module.Error = connect, OperationalError
    monkeypatch.setitem(sys.modules, "psycopg", module)
    assert login_with_psycopg(make_url()) == objection
    assert calls[0] == ("postgresql://ann:s3cret@localhost:5532/hive", 10)
    assert calls[1:] == ([] if error else ["closed"])


def test_login_with_psycopg_missing(monkeypatch):
    """Without psycopg there is nothing to say."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert login_with_psycopg(make_url()) is None
