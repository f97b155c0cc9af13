"""`env` and `wait`: what they say, and how often they ask Docker."""

import json
import re
import shlex
import sys

import pytest
from fakes import make_container, make_url

import hive_pg as pg
from hive_pg import client_env, main


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """Be called as hive-pg, and leave the signals alone."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(pg, "_leave_in_order_on_termination", lambda: None)


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs a command line on the fake engine, in the workspace."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.chdir(workspace)
    return lambda *argv: main(argv)


@pytest.fixture
def up(docker, workspace):
    """Return the container of the workspace, which runs."""
    docker.containers.append(make_container(workspace=workspace))
    return docker.containers[0]


# -- env -----------------------------------------------------------------------------------------


def test_client_env_order():
    """Both URLs first, then what libpq reads; the driver is for SQLAlchemy alone."""
    assert list(client_env(make_url(password="it's $5")).items()) == [
        ("DATABASE_URL", "postgresql://ann:it%27s%20%245@localhost:5532/hive"),
        ("HIVE_DATABASE_URL", "postgresql+psycopg://ann:it%27s%20%245@localhost:5532/hive"),
        ("PGHOST", "localhost"),
        ("PGPORT", "5532"),
        ("PGUSER", "ann"),
        ("PGPASSWORD", "it's $5"),
        ("PGDATABASE", "hive"),
    ]


@pytest.mark.parametrize(
    ("query", "extra"),
    [
        ("sslmode=require", {"PGSSLMODE": "require"}),
        ("application_name=sslmode", {}),
        ("connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fa%20b", None),
    ],
    ids=["sslmode", "only a value", "certificate"],
)
def test_client_env_query(query, extra):
    """The query stays in both URLs; what is about SSL has variables, too."""
    env = client_env(make_url(query=query))
    extra = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/a b"} if extra is None else extra
    assert {key: env[key] for key in env if key.startswith("PGSSL")} == extra
    assert all(env[key].endswith(f"/hive?{query}") for key in ("DATABASE_URL", pg.URL_KEY))


def test_client_env_address():
    """An IPv6 address has its brackets in the URLs alone."""
    env = client_env(make_url(host="::1"))
    assert (env["PGHOST"], "@[::1]:5532/" in env["DATABASE_URL"]) == ("::1", True)


def test_query_that_is_no_text():
    """A query that no variable could carry is refused with its name."""
    with pytest.raises(pg.EnvFileError, match="its query is"):
        pg.parse_database_url("postgresql://u:p@localhost/hive?sslrootcert=%FF")


def test_env_formats(hive, docker, workspace, capsys):
    """Shell, dotenv and JSON say the same; Docker is not asked."""
    url = make_url(password="a b'$c")
    lines = (f"{key}={value}\n" for key, value in pg.url_env(url).items() if "PASSWORD" not in key)
    rest = "HIVE_POSTGRES_CONTAINER=c\nCOMPOSE_PROJECT_NAME=p\n"
    (workspace / ".env").write_text("".join(lines) + rest)
    assert hive("env") == 0
    words = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert {word for word, _ in words} == {"export"}
    assert dict(pair.split("=", 1) for _, pair in words) == client_env(url)
    assert hive("env", "--json") == 0
    assert json.loads(capsys.readouterr().out) == client_env(url)
    assert docker.calls == []


def test_env_dotenv_that_no_spelling_carries(hive, workspace, capsys):
    """A value that the readers of `.env` would not read alike is an error, not a guess."""
    text = (workspace / ".env").read_text().replace("s3cret", "s%27%60%24")
    (workspace / ".env").write_text(re.sub("(?m)^POSTGRES_PASSWORD.*\n", "", text))
    assert hive("env", "--format", "dotenv") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no spelling in .env carries this value" in err


def test_env_not_set_up(hive, tmp_path, capsys):
    """Exit 3, and `eval` gets nothing."""
    assert hive("env", str(tmp_path)) == 3
    assert capsys.readouterr().out == ""


# -- wait ----------------------------------------------------------------------------------------


def test_wait_for_one_that_serves(hive, docker, up, workspace, capsys):
    """One look is enough, and nothing is changed: the first start stays to be noted."""
    text = (workspace / ".env").read_text() + "HIVE_POSTGRES_FIRST_START=pending\n"
    (workspace / ".env").write_text(text)
    assert hive("wait") == 0
    assert docker.commands == ["docker inspect", "docker exec"]
    assert (workspace / ".env").read_text() == text
    out, err = capsys.readouterr()
    assert out == ""
    assert "ann logs in to hive" in err


@pytest.mark.parametrize(
    ("state", "words", "hint"),
    [
        ("", "is missing", "hive-pg start"),
        ("exited", "is exited", "hive-pg start"),
        ("created", "is created", "hive-pg start"),
        ("paused", "is paused", "docker unpause hive-postgres"),
    ],
)
def test_wait_for_none_that_runs(hive, docker, up, capsys, state, words, hint):
    """Nobody starts it, so there is nothing to wait for: exit 3 at once."""
    up["State"]["Status"] = state
    if not state:
        docker.containers.clear()
    assert hive("wait") == 3
    err = capsys.readouterr().err
    assert err == f"error: hive-postgres {words}\nhint: {hint}\n"
    assert set(docker.commands) <= {"docker inspect", "docker exec"}


def test_wait_until_it_accepts(monkeypatch, hive, docker, up):
    """It asks again until the login succeeds."""
    monkeypatch.setattr(pg.time, "sleep", lambda _: None)
    waiting = (72, "")
    docker.answers["docker exec"] = [waiting, waiting, "16.14|0.8.5|0.8.5\n"]
    assert hive("wait") == 0
    assert docker.commands.count("docker exec") == 3


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((72, ""), 5, "not ready in time"),
        ((82, "FATAL: password authentication failed for user"), 6, "the server refuses"),
    ],
    ids=["time is up", "refused"],
)
def test_wait_in_vain(monkeypatch, hive, docker, up, capsys, answer, code, words):
    """Time that is up is 5, credentials that are refused are 6."""
    monkeypatch.setattr(pg.time, "sleep", lambda _: None)
    docker.answers["docker exec"] = answer
    assert hive("wait", "--timeout", "0.01") == code
    assert words in capsys.readouterr().err


def test_wait_in_a_crash_loop(hive, docker, up, capsys):
    """Between two restarts its last start tells why: exit 5 at once."""
    up["State"]["Status"], up["RestartCount"] = "restarting", 3
    up["State"]["ExitCode"] = 1
    docker.answers["docker logs"] = 'FATAL: invalid value for parameter "shared_buffers"\n'
    assert hive("wait") == 5
    assert "a server setting" in capsys.readouterr().err
    since = docker.calls_of("docker logs")[0].argv[5]
    assert float(since) == pg.parse_time("2026-11-23T15:54:30Z")
