"""Server: what is started in the container, what it is told, and what its end means."""

import os
import re
import subprocess
from types import SimpleNamespace

import pytest
from fakes import FakeRunner, make_info, make_url
from hypothesis import given
from hypothesis import strategies as st

import hive_pg as pg
from hive_pg import (
    CommandResult,
    ContainerStartupError,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    ExitCode,
    PostgreSQLIntegrationError,
    Readiness,
    Repair,
    Server,
    parse_probe,
    parse_versions,
    quote_identifier,
    quote_literal,
)

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
DAEMON = "Error response from daemon: "
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
FAILED = 'psql: error: connection to server at "172.17.0.2", port 5432 failed: '


@pytest.fixture
def programs():
    """Return what the server starts, which has no answers yet."""
    return FakeRunner()


@pytest.fixture
def server(programs):
    """Return the server in a container of the name `box`."""
    return Server(pg.Engine(programs), "box", make_url())


def read(code, stdout="", stderr=""):
    """Return what a probe's end is read as."""
    return parse_probe(CommandResult(code, stdout, stderr))


# -- the probe -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "versions"),
    [
        pytest.param("16.14|0.8.5|0.8.5\n", ("16.14", "0.8.5", "0.8.5"), id="all"),
        pytest.param("16.14|0.8.5|\n", ("16.14", "0.8.5", ""), id="not created"),
        pytest.param("16.14||\n", ("16.14", "", ""), id="no pgvector"),
        pytest.param(
            "16.2 (Debian 16.2-1.pgdg120+2)|0.6.2|0.6.2\n", ("16.2", "0.6.2", "0.6.2"), id="Debian"
        ),
    ],
)
@pytest.mark.parametrize("before", ["", "NOTICE\n"], ids=["alone", "after a notice"])
def test_parse_probe_success(before, stdout, versions):
    """A login tells the versions of PostgreSQL and pgvector."""
    probe = read(0, f"{before}172.17.0.2|{stdout}")
    assert (probe.readiness, probe.error, probe.warning) == (Readiness.ACCEPTING, None, None)
    assert (probe.server_version, probe.available_version, probe.created_version) == versions


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1", ""])
def test_parse_probe_address_that_is_trusted(address):
    """Where the image asks nobody for a password, a login says nothing about it."""
    probe = read(0, f"{address}|16.14|0.8.5|0.8.5\n")
    assert type(probe.error) is DatabaseConnectionError
    assert f"'{address}', where no password is asked for" in str(probe.error)
    assert "/etc/hosts" in probe.error.hint
    assert probe.server_version == ""


@pytest.mark.parametrize("said", ["", "x", "a|b|c|d|e"], ids=["silence", "a word", "too much"])
def test_parse_versions_of_something_else(said):
    """What answers at a URL need not be PostgreSQL: that is an error, and it is shown."""
    with pytest.raises(DatabaseConnectionError, match="what answers is not PostgreSQL") as caught:
        parse_versions(said)
    assert caught.value.detail == said


def test_parse_probe_warning():
    """A complaint at a login that succeeds is no error."""
    words = 'WARNING:  database "hive" has a collation version mismatch\nDETAIL: ...'
    probe = read(0, "172.17.0.2|16.14|0.8.5|\n", words)
    assert probe.error is None
    assert "sorts text otherwise" in probe.warning.cause


def test_parse_probe_earlier_words():
    """What was said before the last try counts no more."""
    earlier = FAILED + 'FATAL:  password authentication failed for user "ann"\n'
    again = "hive-pg: once more\n"
    assert read(0, "10.0.0.2|16.14||\n", f"WARNING: collation version mismatch\n{again}") == (
        pg.Probe(Readiness.ACCEPTING, server_version="16.14")
    )
    assert read(82, "", f"{earlier}{again}{FAILED}timeout expired").readiness is Readiness.REJECTING


@pytest.mark.parametrize(
    ("code", "stderr", "readiness", "error", "message"),
    [
        pytest.param(
            1,
            f"{DAEMON}Container 0123 is not running",
            "unknown",
            ContainerStartupError,
            "ended",
            id="1, ended",
        ),
        pytest.param(
            1, NO_DAEMON, "unknown", DockerNotAvailableError, "daemon is not running", id="1, none"
        ),
        pytest.param(2, "", "unknown", ContainerStartupError, "ended", id="2"),
        pytest.param(71, "", "rejecting", DatabaseConnectionError, "starts, stops", id="71"),
        pytest.param(
            71,
            "WARNING: Error loading config file: no permission",
            "rejecting",
            DatabaseConnectionError,
            "starts, stops",
            id="71, docker warns",
        ),
        pytest.param(72, "", "no response", DatabaseConnectionError, "nothing answers", id="72"),
        pytest.param(73, "no attempt", "unknown", DockerCommandError, "no attempt", id="73"),
        pytest.param(
            81,
            'ERROR:  extension "vector" is not available',
            "accepting",
            PostgreSQLIntegrationError,
            'extension "vector" is not available',
            id="81",
        ),
        pytest.param(
            82,
            "psql: error: could not\ntranslate host name",
            "accepting",
            DatabaseConnectionError,
            "the login failed: translate host name",
            id="82, unknown words",
        ),
        pytest.param(
            127, "sh: psql: not found", "unknown", DockerCommandError, "not found", id="127"
        ),
        pytest.param(137, "", "unknown", ContainerStartupError, "ended", id="137"),
    ],
)
def test_parse_probe_failure(code, stderr, readiness, error, message):
    """Every exit code has one meaning: readiness now, and why there was no login."""
    probe = read(code, "", stderr)
    assert probe.readiness is Readiness(readiness)
    assert type(probe.error) is error
    assert message in str(probe.error)
    assert probe.server_version == ""


@pytest.mark.parametrize(
    ("words", "why", "hint"),
    [
        pytest.param(
            'ERROR:  extension "vector" is not available\nHINT:  The extension must be installed',
            'extension "vector" is not available',
            "{init} --image, or in your compose file, one of this version",
            id="not there",
        ),
        pytest.param(
            'ERROR:  permission denied to create extension "vector"\nHINT:  Must have CREATE',
            'permission denied to create extension "vector"',
            "as a superuser, in the database: CREATE EXTENSION vector",
            id="not allowed",
        ),
    ],
)
def test_parse_probe_without_pgvector(words, why, hint):
    """The cause is the server's first words, and the remedy is one for it."""
    ended = CommandResult(81, "", words)
    error = parse_probe(ended, pg.CREATE_EXTENSION_SQL + pg.VERSIONS_SQL).error
    assert str(error) == f"pgvector cannot be created in the database: {why}"
    assert error.hint.startswith(hint)


def test_probe_that_fails_without_creating(programs, server):
    """Where nothing was to be created, the error does not speak of pgvector."""
    programs.answers["docker exec"] = (81, "ERROR:  canceling statement due to statement timeout")
    error = server.probe().error
    assert str(error).endswith(": canceling statement due to statement timeout")
    assert "pgvector" not in f"{error} {error.hint}"


def test_programs_speak_english(programs, server):
    """What they say is read, whatever language the image has; a person's own session keeps it."""
    programs.answers["docker exec"] = ""
    server.query("x", "cannot ask")
    (call,) = programs.calls
    assert "LC_ALL=C" in call.argv
    assert "LC_ALL=C" in pg._PROBE_SCRIPT
    assert "LC_ALL=C" not in server.build_client("psql", options=[])[0]


def test_parse_probe_in_another_language():
    """The words are shown, and why hive-pg makes nothing of them."""
    said = "Passwort-Authentifizierung für Benutzer »ann« fehlgeschlagen"
    error = read(82, "", f"psql: Fehler: FATAL:  {said}").error
    assert said in str(error)
    assert "-c lc_messages=C" in error.hint


@pytest.mark.parametrize(
    ("words", "error", "repair"),
    [
        ('password authentication failed for user "ann"', CredentialsRefusedError, Repair.PASSWORD),
        ("server did not complete authentication", CredentialsRefusedError, None),
        ("no pg_hba.conf entry for host", CredentialsRefusedError, None),
        ('database "hive" does not exist', DatabaseConnectionError, Repair.DATABASE),
        ("sorry, too many clients already", DatabaseConnectionError, None),
    ],
)
def test_parse_probe_login_refused(words, error, repair):
    """A login that the server refuses says what is to blame, and what mends it."""
    probe = read(82, "", f"{FAILED}FATAL:  {words}")
    assert (type(probe.error), probe.error.repair) == (error, repair)
    assert probe.error.hint
    assert probe.readiness is Readiness.ACCEPTING


LOST = "server closed the connection unexpectedly\n\tThis probably means the server terminated"


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        pytest.param(f"{FAILED}FATAL:  the database system is {words}", words, id=words)
        for words in ("starting up", "shutting down", "in recovery mode")
    ]
    + [
        pytest.param(FAILED + LOST, "server closed the connection unexpectedly", id="crash"),
        pytest.param("FATAL:  terminating connection due to administrator command", "", id="stop"),
        pytest.param(f"{FAILED}could not receive data: Connection reset by peer", "", id="reset"),
        pytest.param(f"{FAILED}Connection refused\n\tIs it there?", "n refused", id="refused"),
        pytest.param(f"{FAILED}timeout expired", "timeout expired", id="timeout"),
    ],
)
@pytest.mark.parametrize("before", ["", "WARNING: Error loading config file: no permission\n"])
def test_parse_probe_not_now(before, stderr, said):
    """A server that goes while somebody logs in refuses nobody: it is to be asked again."""
    probe = read(82, "", before + stderr)
    assert probe.readiness is Readiness.REJECTING
    assert type(probe.error) is DatabaseConnectionError
    assert str(probe.error).startswith("PostgreSQL does not accept connections: ")
    assert str(probe.error).endswith(said or stderr)


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(0, "0"), (-3, "0"), (2.6, "3"), (600, "5")],
    ids="none up some long".split(),
)
def test_probe_waits(programs, server, wait, seconds):
    """One `docker exec` waits for a round at most; the password is on its stdin alone."""
    programs.answers["docker exec"] = "10.0.0.2|16.14|0.8.5|0.8.5\n"
    assert server.probe(wait).server_version == "16.14"
    (call,) = programs.calls
    assert call.argv[-4:] == ["ann", "hive", seconds, pg.VERSIONS_SQL]
    assert call.stdin == "s3cret\n"
    assert "s3cret" not in f"{call.argv} {call.env}"
    assert call.timeout > int(seconds) + 10


# -- SQL -----------------------------------------------------------------------------------------


def test_query_argv(programs, server):
    """SQL goes over stdin, into a database that is always there, and the rows come back."""
    programs.answers["docker exec"] = "a\nb\n"
    assert server.query("select 's3cret'", "cannot ask") == "a\nb\n"
    (call,) = programs.calls
    assert call.argv[-2:] == ["-d", "dbname='template1'"]
    assert call.stdin == "select 's3cret'"
    assert call.env["PGPASSWORD"] == "s3cret"
    assert "s3cret" not in str(call.argv)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (f"{FAILED}FATAL:  password authentication failed", CredentialsRefusedError, "refuses"),
        (
            f"{DAEMON}container 0 is not running: Container 0 is paused",
            ContainerStartupError,
            "end",
        ),
        ("ERROR:  no way\nLINE 1: x", DockerCommandError, "cannot ask: no way"),
    ],
    ids=["login", "docker", "SQL"],
)
def test_query_failed(programs, server, words, error, message):
    """What fails is named by its cause, behind what was to be done."""
    programs.answers["docker exec"] = (2, words)
    with pytest.raises(error, match=f"^cannot ask: .*{message.removeprefix('cannot ask: ')}"):
        server.query("x", "cannot ask")


def test_query_where_a_name_is_a_connection_string(programs, server):
    """Who may create databases sends nobody's password to a server of its own by their names."""
    programs.answers["docker exec"] = ""
    server.query("x", "cannot ask", "host=10.0.0.9 port='5432'")
    (call,) = programs.calls
    assert call.argv[-2:] == ["-d", r"dbname='host=10.0.0.9 port=\'5432\''"]


def test_programs_stay_in_the_container(programs, server):
    """Variables that an application's `env_file` brings lead no program to another server."""
    programs.answers["docker exec"] = ""
    server.query("x", "cannot ask")
    (call,) = programs.calls
    given = {word for name, word in zip(call.argv, call.argv[1:]) if name == "--env"}
    assert {"PGHOST=", "PGHOSTADDR=", "PGPORT=5432", "PGUSER=ann"} <= given


@pytest.mark.processes
def test_probe_goes_to_the_container_itself(tmp_path):
    """It logs in at the container's own address, whatever an `env_file` says."""
    show = 'echo "$PGHOST|$PGHOSTADDR|$PGPORT|$PGUSER|$PGDATABASE|$PGSSLMODE"\n'
    for name in ("psql", "pg_isready"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{show}")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOSTNAME": "0.0.0.0"}
    env.update(PGHOST="staging", PGHOSTADDR="10.9.9.9", PGPORT="1", PGSSLMODE="require")
    argv = ["sh", "-c", pg._PROBE_SCRIPT, "hive-pg", "ann", "hive", "0", "select 1"]
    result = subprocess.run(argv, input="s3cret\n", env=env, capture_output=True, text=True)
    assert result.stdout == f"{os.uname().nodename}||5432|ann|hive|prefer\n"


def test_set_password_is_on_stdin_alone(programs, server):
    r"""Psql's `\password` has no name, which would be folded, and is on stdin like its answers.

    From `-c` it would run on an empty stdin as well, and clear the password.
    """
    programs.answers["docker exec"] = ""
    server.set_password("n3w", "cannot change it")
    (call,) = programs.calls
    scram, *words = call.stdin.splitlines()
    assert scram == "set password_encryption = 'scram-sha-256';"
    assert words == [r"\password", "n3w", "n3w"]
    assert not {"-c", r"\password"} & {*call.argv}
    assert "n3w" not in f"{call.argv} {call.env}"


def test_with_url_leaves_the_rest(server):
    """It is the same container for another database."""
    other = server.with_url(database="other")
    assert (other.container, other.url) == ("box", make_url(database="other"))
    assert server.url == make_url()


@given(TEXT)
def test_quote_literal_text(text):
    """The server reads the text back: escapes are its own."""
    quoted = quote_literal(text)
    assert (quoted[:2], quoted[-1]) == ("E'", "'")
    plain = quoted[2:-1].replace("\\\\", "\0").replace("\\'", "'").replace("\0", "\\")
    assert plain == text


@given(TEXT)
def test_quote_identifier_text(text):
    """A double quote is doubled, and nothing else changes."""
    assert quote_identifier(text)[1:-1].replace('""', '"') == text


# -- dumps and samples ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("", 0, ""),
        ((1, "pg_restore: error: no\n"), 1, "pg_restore: error: no\n"),
        ((0, "pg_dump: error: no\nhive-pg: pg_dump failed\n"), 1, "pg_dump: error: no\n"),
        (
            (1, "pg_dump: error\nhive-pg: pg_dump failed\npg_restore\n"),
            1,
            "pg_dump: error\npg_restore\n",
        ),
    ],
    ids=["well", "not read", "not written", "neither"],
)
def test_dump_end(programs, server, answer, code, words):
    """It fails where its writing or its reading back does, and has the words of both."""
    programs.answers["docker exec"] = answer
    with open(os.devnull, "w", encoding="ascii") as file:
        begun = server.start_dump(file.fileno(), lasts=True)
        result = server.dump(begun, file.fileno())
        assert programs.calls[0].writes == file.fileno()
    assert (result.returncode, result.stderr) == (code, words)
    (call,) = programs.calls
    assert (call.takes_stdin, call.long) == (True, True)
    assert "s3cret" not in str(call.argv)


def test_load_argv(programs, server):
    """The client reads the descriptor itself, and what it prints is not wanted."""
    programs.answers["docker exec"] = (3, "ERROR:  no\n")
    with open(os.devnull, encoding="ascii") as file:
        result = server.load(file.fileno(), ["psql", "-d", "x"], "x")
        assert programs.calls[0].reads == file.fileno()
    assert (result.returncode, result.stderr) == (3, "ERROR:  no\n")
    (call,) = programs.calls
    assert (call.argv[-3:], call.writes) == (["psql", "-d", "x"], None)


def test_sample_argv(programs, server):
    """The script has count and SQL as arguments, and the password in its environment."""
    programs.answers["docker exec"] = "{}"
    assert server.sample("select 1", 2).stdout == "{}"
    (call,) = programs.calls
    assert call.argv[-2:] == ["2", "select 1"]
    assert (call.env["PGPASSWORD"], "s3cret" in str(call.argv)) == ("s3cret", False)


@pytest.mark.parametrize("answer", ["66:12\n", (1, "stat: no such file")], ids=["there", "gone"])
def test_identify_mount_answer(programs, server, answer):
    """It is DEVICE:INODE, or nothing."""
    programs.answers["docker exec --interactive box stat -c %d:%i /d"] = answer
    info = make_info(mounts=[("/w", "/d")], environment={"PGDATA": "/d/pgdata"})
    assert server.identify_mount(info) == ("66:12" if isinstance(answer, str) else "")


# -- psql ----------------------------------------------------------------------------------------

TERMINAL = ["--tty", "--env", "PSQL_HISTORY=/tmp/.psql_history", "--env", "PSQL_PAGER="]
SESSION = f"hive-pg psql {'01' * 8}"


@pytest.mark.parametrize(
    ("stdin", "stdout", "options", "script"),
    [
        pytest.param(True, True, TERMINAL, [], id="terminal"),
        pytest.param(True, False, ["--env", f"PGAPPNAME={SESSION}"], [], id="stdout elsewhere"),
        pytest.param(False, True, None, ["-X", "-v", "ON_ERROR_STOP=1"], id="stdin elsewhere"),
        pytest.param(None, None, None, ["-X", "-v", "ON_ERROR_STOP=1"], id="both closed"),
    ],
)
def test_run_psql_streams(programs, server, monkeypatch, stdin, stdout, options, script):
    """At a terminal it has one; without, a script is run that ends at its first error."""
    monkeypatch.setattr(pg.os, "urandom", lambda size: b"\1" * size)
    for name, value in (("stdin", stdin), ("stdout", stdout)):
        stream = None if value is None else SimpleNamespace(isatty=lambda value=value: value)
        monkeypatch.setattr(pg.sys, name, stream)
    programs.answers["docker exec"] = (7, "")
    assert server.run_psql(["-c", "select 1"]) == 7
    (call,) = programs.calls
    at = call.argv.index("psql")
    assert call.argv[at:] == ["psql", *script, "-c", "select 1"]
    options = options or ["--env", f"PGAPPNAME={SESSION}"]
    assert call.argv[at - 1 - len(options) : at - 1] == options
    assert call.env["PGPASSWORD"] == "s3cret"
    assert "s3cret" not in str(call.argv)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param((ExitCode.INTERRUPTED, ""), 130, id="Ctrl-C"),
        pytest.param(KeyboardInterrupt(), None, id="Ctrl-C again"),
        pytest.param(SystemExit(143), None, id="SIGTERM"),
        pytest.param((-9, ""), 137, id="killed"),
        pytest.param((3, ""), 3, id="failed"),
    ],
)
def test_run_psql_interrupted(programs, server, monkeypatch, answer, code):
    """Without a terminal psql would go on with what it has: its session is ended."""
    monkeypatch.setattr(pg.sys, "stdin", None)
    monkeypatch.setattr(pg.os, "urandom", lambda size: b"\1" * size)
    programs.answers = {"docker exec": [answer, ""]}
    if code is None:
        with pytest.raises(type(answer)):
            server.run_psql([])
    else:
        assert server.run_psql([]) == code
    ended = [call.stdin for call in programs.calls[1:]]
    assert len(ended) == (code in (None, 130))
    assert all("pg_terminate_backend" in sql and f"'{SESSION}'" in sql for sql in ended)


def test_run_psql_ends_no_other_session(programs, server, monkeypatch):
    """Two of the same PID, of two containers or machines, do not end each other's session."""
    monkeypatch.setattr(pg.sys, "stdin", None)
    programs.answers["docker exec"] = (130, "")
    for _ in range(2):
        server.run_psql([])
    first, _, second, _ = programs.calls
    assert first.command != second.command


def test_queries_wait_for_a_lock_in_time(programs, server):
    """What waits for another session's lock ends before docker is given up, and not behind it."""
    programs.answers["docker exec"] = ""
    server.set_password("n3w", "cannot change it")
    (call,) = programs.calls
    (seconds,) = re.findall(r"-c lock_timeout=(\d+)s", call.command)
    assert int(seconds) < call.timeout


def test_run_psql_that_cannot_be_ended(programs, server, monkeypatch, capsys):
    """Where its session cannot be ended, that is a warning, and the exit code stays."""
    monkeypatch.setattr(pg.sys, "stdin", None)
    programs.answers = {"docker exec": [(130, ""), (1, "ERROR:  no way")]}
    assert server.run_psql([]) == 130
    assert "what it ran may go on: cannot end its session: no way" in capsys.readouterr().err
    assert programs.calls[-1].timeout == pg.QUESTION_TIMEOUT_S  # who pressed Ctrl-C waits for it
