"""`wait`: what they say, and how often they ask Docker."""

import sys

import pytest
from fakes import make_container

import hive_pg as pg
from hive_pg import main


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
