"""The published port, asked over real sockets on 127.0.0.1, and psycopg where it is there."""

import contextlib
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


def resolve(monkeypatch, *addresses):
    """Let every host have these addresses, twice as for two kinds of sockets."""
    found = [(0, 0, 0, "", (address, 5532)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found * 2)


def ask_by_address(monkeypatch, answers, binds):
    """Ask localhost, whose addresses answer so, or not at all."""

    def connect(place, timeout):
        answer = answers[place[0]]
        if answer is None:
            raise ConnectionRefusedError(111, "Connection refused")
        connection = contextlib.nullcontext()
        connection.sendall, connection.recv = (lambda _: None), (lambda _: answer)
        connection.enter_result = connection
        return connection

    resolve(monkeypatch, *answers)
    monkeypatch.setattr(socket, "create_connection", connect)
    return ask_published_port(make_url(), binds)


def refused(url, objection, right, bind="", binds=("127.0.0.1",)):
    """Return the error of a workspace whose URL meets an objection."""
    place = types.SimpleNamespace(url=url, bind=bind)
    workspace = types.SimpleNamespace(attached=None, is_apart=False, settings=place)
    found = pg.Probe(pg.Readiness.ACCEPTING, objection=objection, address=right, binds=binds)
    with pytest.raises(pg.DatabaseConnectionError) as caught:
        pg.refuse_port(workspace, found)
    return caught.value


HERE = ["127.0.0.1"]


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
    assert ask_published_port(url, HERE) == (objection, "" if objection else "127.0.0.1")
    assert heard == [SSL_REQUEST]


@pytest.mark.parametrize(
    ("reply", "query", "asking"),
    [
        pytest.param(b"N", "sslmode=require", "sslmode=require", id="require"),
        pytest.param(b"N", "sslmode=verify%2Dfull", "sslmode=verify-full", id="encoded"),
        pytest.param(b"N", "sslmode=prefer&sslmode=verify-ca", "sslmode=verify-ca", id="the last"),
        pytest.param(b"N", "sslmode=require&sslmode=prefer", "", id="taken back"),
        pytest.param(b"N", "channel_binding=require", "channel_binding=require", id="binding"),
        pytest.param(b"N", "sslmode=prefer&channel_binding=prefer", "", id="prefer"),
        pytest.param(b"S", "sslmode=require", "", id="with TLS"),
    ],
)
def test_ask_published_port_asks_for_tls(serve, reply, query, asking):
    """A URL that asks for TLS is of no use where the server has none."""
    url, _ = serve(reply)
    objection, right = ask_published_port(url.replace(query=query), HERE)
    words = f"the server has no TLS, which {asking} in it asks for"
    assert objection == (words if asking else "")
    assert ("switch ssl on" in refused(url, objection, right).hint) is bool(asking)


@pytest.mark.parametrize(
    ("address", "binds", "refusal", "objection"),
    [
        pytest.param("192.0.2.7", ["192.0.2.7"], None, "", id="where it is published"),
        pytest.param("192.0.2.7", ["0.0.0.0"], "", "", id="psycopg logs in there"),
        pytest.param("192.0.2.7", HERE, "FATAL: no", "FATAL: no", id="psycopg does not"),
        pytest.param("192.0.2.7", ["0.0.0.0"], None, "only a login tells", id="no psycopg"),
        pytest.param("127.0.0.1", [], "", "", id="a tunnel where psycopg logs in"),
        pytest.param("127.0.0.1", [], "FATAL: no", "FATAL: no", id="another tunnel"),
        pytest.param("127.0.0.1", [], None, "only a login tells", id="a tunnel, no psycopg"),
        pytest.param("127.0.1.1", ["0.0.0.0"], None, "", id="this machine"),
        pytest.param("127.0.1.1", HERE, "", "another program answers at 127.0.1.1", id="another's"),
        pytest.param("::1", ["::"], None, "", id="IPv6"),
        pytest.param("::1", ["0.0.0.0"], "", "another program answers at ::1", id="not IPv6"),
    ],
)
def test_ask_published_port_elsewhere(monkeypatch, address, binds, refusal, objection):
    """What is published tells whose an address here is; of another machine only a login does."""
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url, address, **_: refusal)
    answer, right = ask_by_address(monkeypatch, {address: b"N"}, binds)
    assert answer.startswith(objection)
    assert bool(answer) is bool(objection)
    assert right == ("" if objection else address)
    assert refused(make_url(), answer, right).hint.startswith("{restart} applies .env")


@pytest.mark.parametrize(
    ("answers", "binds", "expected"),
    [
        pytest.param(
            {"::1": None, "127.0.0.1": b"N"}, HERE, ("", "127.0.0.1"), id="only the right one"
        ),
        pytest.param(
            {"::1": b"N", "127.0.0.1": b"N"},
            *(HERE, ("another program answers at ::1", "127.0.0.1")),
            id="another server",
        ),
        pytest.param(
            {"127.0.0.1": b"N", "::1": b""},
            *(HERE, ("another program answers at ::1", "127.0.0.1")),
            id="another program, after it",
        ),
        pytest.param(
            {"::1": b"N", "127.0.0.1": b"N"}, ["0.0.0.0", "::"], ("", "::1"), id="both are its"
        ),
        pytest.param(
            {"::1": b"N", "127.0.0.1": None},
            *(HERE, ("another program answers at ::1", "")),
            id="it does not answer",
        ),
        pytest.param(
            {"::1": None, "127.0.0.1": None}, HERE, ("Connection refused", ""), id="nobody does"
        ),
    ],
)
def test_ask_published_port_each_address(monkeypatch, answers, binds, expected):
    """An application may take any address of the host: one that is another's is an error."""
    assert ask_by_address(monkeypatch, answers, binds) == expected


def test_port_error_names_the_right_address(monkeypatch):
    """The hint leads past the other program."""
    objection, right = ask_by_address(monkeypatch, {"::1": b"N", "127.0.0.1": b"N"}, HERE)
    error = refused(make_url(), objection, right)
    assert str(error).endswith("database at localhost:5532: another program answers at ::1")
    assert error.hint.startswith("put 127.0.0.1 for localhost in HIVE_DATABASE_URL; or end it")


@pytest.mark.parametrize(
    ("host", "bind", "binds", "hint"),
    [
        pytest.param("locahost", "", HERE, "put localhost for locahost in HIVE", id="a typo"),
        pytest.param("8.8.8.8", "", ["0.0.0.0", "::"], "put localhost for 8.8.8.8", id="another"),
        pytest.param(
            *("localhost", "127.0.0.9", ["127.0.0.9"], "put 127.0.0.9 for localhost"), id="a bind"
        ),
        pytest.param("10.0.0.9", "", ["10.0.0.5"], "put 10.0.0.5 for 10.0.0.9", id="own compose"),
        pytest.param("10.0.0.9", "10.0.0.9", HERE, "{restart} applies .env", id="not yet applied"),
        pytest.param("localhost", "", [], "{restart} applies .env", id="another port"),
        pytest.param("localhost", "", HERE, "{restart} applies .env", id="silent"),
        pytest.param("10.0.0.5", "", ["10.0.0.5"], "{restart} applies .env", id="silent there"),
    ],
)
def test_port_error_leads_out(host, bind, binds, hint):
    """A restart is the remedy only where it may change something; else the host is wrong."""
    error = refused(make_url(host=host), "Connection refused", "", bind, binds)
    assert error.hint.startswith(hint)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
def test_ask_published_port_of_no_host(host):
    """A name that leads nowhere is an objection, whatever keeps it from that."""
    objection, right = ask_published_port(make_url(host=host), HERE)
    assert (bool(objection), right) == (True, "")


def test_ask_published_port_hangs_up(serve):
    """A proxy with nothing behind it hangs up at once: that is not PostgreSQL."""
    assert ask_published_port(serve(None)[0], HERE) == ("what answers is not PostgreSQL", "")


def test_ask_published_port_refused(closed):
    """A port that nobody listens on is said to be so."""
    url = make_url(host="127.0.0.1", port=closed)
    assert ask_published_port(url, HERE) == ("Connection refused", "")


def test_ask_published_port_silent(monkeypatch):
    """An error without a text of the system's still says something."""

    def hang(*_, **__):
        raise socket.timeout("timed out")

    monkeypatch.setattr(socket, "create_connection", hang)
    assert ask_published_port(make_url(), HERE) == ("timed out", "")


class OperationalError(Exception):
    """What psycopg raises when a login fails."""


@pytest.mark.parametrize(
    ("libpq", "query", "auth"),
    [
        pytest.param(160004, "", "scram-sha-256,md5", id="libpq 16"),
        pytest.param(150010, "", None, id="libpq 15"),
        pytest.param(170000, "require_auth=password", None, id="as the URL says"),
    ],
)
@pytest.mark.parametrize(
    ("error", "objection"),
    [
        pytest.param(None, "", id="logs in"),
        pytest.param(OperationalError("connection failed\nFATAL: no\n"), "FATAL: no", id="refused"),
        pytest.param(OperationalError(""), "OperationalError", id="without words"),
    ],
)
def test_login_with_psycopg_there(monkeypatch, error, objection, libpq, query, auth):
    """It logs in by libpq's URL, at the address that was asked, and never in clear."""
    calls = []

    def connect(url, **options):
        calls.append((url, options))
        if error:
            raise error
        return types.SimpleNamespace(close=lambda: calls.append("closed"))

    module = types.ModuleType("psycopg")
    module.connect, module.Error = connect, OperationalError
    module.pq = types.SimpleNamespace(version=lambda: libpq)
    monkeypatch.setitem(sys.modules, "psycopg", module)
    assert login_with_psycopg(make_url(query=query), "127.0.0.1") == objection
    options = {"connect_timeout": 10, "hostaddr": "127.0.0.1"}
    options |= {"require_auth": auth} if auth else {}
    plain = "postgresql://ann:s3cret@localhost:5532/hive" + (f"?{query}" if query else "")
    assert calls[0] == (plain, options)
    assert calls[1:] == ([] if error else ["closed"])


@pytest.mark.parametrize(
    ("known", "mode", "clear"),
    [
        (False, "require", False),
        (False, "verify-ca", True),
        (True, "require", True),
        (True, "verify-full", True),
        (True, "prefer", False),
    ],
)
def test_login_with_psycopg_in_clear(monkeypatch, known, mode, clear):
    """Over TLS who is known may have it, as from the image's clients; a stranger may not."""
    calls = []
    module = types.ModuleType("psycopg")
    ended = types.SimpleNamespace(close=lambda: None)
    module.connect = lambda url, **options: calls.append(options) or ended
    module.pq = types.SimpleNamespace(version=lambda: 160004)
    module.Error = OperationalError
    monkeypatch.setitem(sys.modules, "psycopg", module)
    assert login_with_psycopg(make_url(query=f"sslmode={mode}"), "10.0.0.5", known=known) == ""
    assert ("password" in calls[0]["require_auth"].split(",")) is clear


def test_login_with_psycopg_is_the_urls(monkeypatch):
    """What the shell has for libpq leads nowhere else, and is still there afterwards."""
    seen = []

    def connect(url, **options):
        seen.append({key for key in pg.os.environ if key.startswith("PG")})
        raise OperationalError("FATAL: no")

    module = types.ModuleType("psycopg")
    module.connect, module.Error = connect, OperationalError
    module.pq = types.SimpleNamespace(version=lambda: 160004)
    monkeypatch.setitem(sys.modules, "psycopg", module)
    shell = {"PGSSLMODE": "require", "PGSERVICE": "x", "PGOPTIONS": "-c x=y"}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    assert login_with_psycopg(make_url(), "127.0.0.1") == "FATAL: no"
    assert seen == [set()]
    assert shell.items() <= pg.os.environ.items()


def test_login_with_psycopg_missing(monkeypatch):
    """Without psycopg there is nothing to say."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert login_with_psycopg(make_url(), "127.0.0.1") is None
