"""`push` and `pull`: what is an obstacle, what is left out, and where a password goes."""

import contextlib
import io
import json
import shutil
from unittest import mock

import pytest
from fakes import WELL, FakeRunner, make_url

import hive_pg as pg
from hive_pg import ExitCode, WorkspaceError, choose_entries, find_obstacles, parse_database_url

URL = "postgresql://app:s3cret-app@db.test:6432/prod?sslmode=verify-full&options=-c%20geqo%3Doff"
CLIENT = "docker exec --interactive --env PGPASSWORD --env PGAPPNAME=hive-pg-clients-"
CA = "-----BEGIN CERTIFICATE-----\n"
HERE = {
    "schemas": ["app", "extensions", "public"],
    "extensions": {"vector": "extensions"},
    "relations": ["app.item", "public.kept"],
    "large objects": True,
}
NOTHING = {"schemas": [], "extensions": {}, "relations": [], "large objects": False}
LIST = """\
; Archive created at 2026-11-26 15:56:53 UTC
6; 2615 16390 SCHEMA - extensions ann
7; 2615 16723 SCHEMA - extensions2 ann
2821; 0 0 COMMENT - SCHEMA extensions ann
2; 3079 16385 EXTENSION - vector 
2822; 0 0 COMMENT - EXTENSION vector 
2823; 0 0 COMMENT public VIEW near ann
222; 1259 16744 TABLE extensions own ann
3367; 6100 16801 SUBSCRIPTION - feed ann
"""  # noqa: W291 (as pg_restore 16.14 prints it)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({}, []),
        ({"schemas": ["auth"], "relations": ["auth.users"], "large objects": True}, None),
        ({"schemas": ["extensions"]}, []),
        ({"schemas": ["app"], "relations": ["app.other"]}, ["schema app"]),
        ({"relations": ["public.kept", "public.x"]}, ["public.kept"]),
        ({"extensions": {"vector": "public", "x": "y"}}, ["extension vector in schema public"]),
        ({"schemas": ["public"]}, []),  # made anew, as tools do to empty a database
    ],
    ids=["empty", "large objects", "extensions", "a schema", "a table", "an extension", "public"],
)
def test_find_obstacles(there, found):
    """What the dump would make is one; a provider's own, and a schema for extensions, is not."""
    found = ["large objects"] if found is None else found
    assert find_obstacles(HERE, {**NOTHING, **there}) == found


def test_choose_entries():
    """Comments of extensions, a schema that is there and subscriptions are left out."""
    lines = LIST.splitlines(keepends=True)
    assert choose_entries(LIST, ["extensions", "x"]).splitlines(keepends=True) == [
        *(lines[0], lines[2], lines[4], lines[6], lines[7])
    ]
    assert "SCHEMA - extensions ann" in choose_entries(LIST, [])
    public = "2824; 0 0 COMMENT - SCHEMA public ann\n2825; 0 0 ACL - SCHEMA public ann\n"
    assert choose_entries(public, []) == public.splitlines(keepends=True)[1]


@pytest.mark.parametrize(
    ("host", "port", "pooled"),
    [
        ("aws-0-eu.pooler.supabase.com", 6543, True),
        ("aws-0-eu.pooler.supabase.com", 5432, False),
        ("ep-cool-1-pooler.eu-central-1.aws.neon.tech", 5432, True),
        ("ep-cool-1.eu-central-1.aws.neon.tech", 5432, False),
        ("db.example.org", 6543, False),
    ],
)
def test_pooler_is_refused(host, port, pooled):
    """Poolers that keep no session are known by what their providers call them."""
    engine = pg.Engine(FakeRunner({}))
    refused = pytest.raises(WorkspaceError, match=f"{host}:{port} is a connection pooler")
    with refused if pooled else contextlib.nullcontext():
        pg.Elsewhere(engine, "image", make_url(host=host, port=port))


# -- a workspace that runs, and a server elsewhere ------------------------------------------------


@pytest.fixture
def elsewhere(up, docker, monkeypatch):
    """Let both servers answer, as two that are alike; return the engine."""
    docker.theirs, docker.counts = NOTHING, ['["public", "kept", 7]\n'] * 2
    docker.loading = ""
    in_container = "docker exec --interactive hive-postgres"
    docker.answers["docker exec --interactive --env PGPASSWORD"] = lambda call: Answer(docker, call)
    docker.answers[f"{in_container} pg_restore"] = LIST
    docker.answers[f"{in_container} sh -c"] = lambda call: WELL * ("IFS=" in call.command)
    docker.held = []  # the containers of clients: name, image, network

    @contextlib.contextmanager
    def hold(_, *what):
        docker.held.append(what)
        yield
        docker.held.append("ended")

    monkeypatch.setattr(pg.Engine, "hold", hold)
    return docker


class Answer:
    """What a client says, when its stdin is known."""

    def __init__(self, docker, call):
        self.docker, self.call, self.remote = docker, call, call in remote(docker)

    def __iter__(self):
        said, sql = "PGDMP" * ("pg_dump" in self.call.command), self.call.stdin or ""
        if "json_build_object" in sql:
            said = json.dumps(self.docker.theirs if self.remote else HERE)
        elif "count(*)" in sql:
            said = self.docker.counts[self.remote]
        elif "-L" in self.call.argv and isinstance(self.docker.loading, BaseException):
            raise self.docker.loading
        elif "-L" in self.call.argv and self.docker.loading:
            return iter((1, self.docker.loading))
        return iter((0, "", said))


def push(place, url=URL):
    """Push to a URL."""
    pg.push(place, parse_database_url(url))


def remote(docker):
    """Return the calls for the server elsewhere."""
    return [call for call in docker.calls if call.command.startswith(CLIENT)]


def test_push(place, elsewhere, capsys, tmp_path):
    """One transaction, then the planner and the rows; the URL's options are kept, and its CA."""
    (tmp_path / "ca.crt").write_text(CA)
    push(place, f"{URL}&sslrootcert={tmp_path}/ca.crt")
    assert "hive is prod on db.test now, 7 rows, login verified\n" in capsys.readouterr().err
    calls = remote(elsewhere)
    written = [c for c in elsewhere.calls if "umask 077" in c.command]
    assert [call.stdin for call in written] == [CA, choose_entries(LIST, [])]
    authority, entries = (call.argv[-1] for call in written)
    for call in calls:
        assert {"PGSSLMODE=verify-full", f"PGSSLROOTCERT={authority}"} <= {*call.argv}
        assert "PGOPTIONS=-c geqo=off -c statement_timeout=0" in call.argv
        assert call.env["PGPASSWORD"] == "s3cret-app"
    (dump,) = (call for call in elsewhere.calls if pg._DUMP_SCRIPT in call.argv)
    assert dump.argv[-2:] == [pg._READ_LATER, "-Z1"]  # pg_restore reads it to its end at once
    (load,) = (call for call in calls if "-L" in call.argv)
    assert load.argv[-9:] == [
        *("pg_restore", "-1", "--no-owner", "--no-privileges", "-w", "-L", entries, "-d", "prod")
    ]
    assert load.taken == b"PGDMP"
    queries = [call.stdin for call in calls if call.stdin]
    assert queries[1:] == ["analyze;", pg._COUNT_SQL]
    (name, *where), end = elsewhere.held
    assert where == ["agnohq/pgvector:16", "container:hive-postgres"]
    assert end == "ended"
    assert {name in call.argv for call in calls} == {True}
    assert authority == "/dev/shm/sslrootcert"  # of that container alone
    assert "s3cret" not in str([call.argv for call in elsewhere.calls])


PLAIN = URL.partition("?")[0]


def test_push_by_a_url_of_asyncpg(place, elsewhere):
    """TLS that it asks for, in asyncpg's own word, is asked for here, too."""
    push(place, PLAIN.replace("postgresql:", "postgresql+asyncpg:") + "?ssl=require")
    assert all("PGSSLMODE=require" in call.argv for call in remote(elsewhere))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", "!password", id="none"),
        pytest.param("?sslmode=prefer", "!password", id="where the server likes it"),
        pytest.param("?sslmode=require", None, id="of whoever it is"),
        pytest.param("?sslmode=verify-full", None, id="of the right one"),
        pytest.param("?require_auth=password", "password", id="as the URL says"),
    ],
)
def test_password_in_clear(place, elsewhere, query, expected):
    """Without TLS no server gets it, unless the URL says so."""
    push(place, PLAIN + query)
    for call in remote(elsewhere):
        words = [word for word in call.argv if word.startswith("PGREQUIREAUTH=")]
        assert words == ([f"PGREQUIREAUTH={expected}"] if expected else [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"theirs": {**NOTHING, "relations": ["public.kept"]}}, "has public.kept, in the way of"),
        ({"theirs": {**NOTHING, "extensions": {"vector": "e"}}}, "extension vector in schema e"),
        ({"counts": ['["t", 7]\n', '["t", 6]\n']}, "been made: the copy has other rows than"),
        ({"loading": "ERROR:  permission denied for schema public"}, "where nothing was made: the"),
        (
            {"loading": "context canceled"},
            "cannot push to prod on db.test, where the copy is whole, or",
        ),
        (
            {"loading": "pg_restore: error: server closed the connection unexpectedly"},
            "cannot push to prod on db.test, where the copy is whole, or",
        ),
    ],
    ids=["obstacle", "extension", "rows", "failure", "docker's failure", "a lost COMMIT"],
)
def test_push_that_fails(place, elsewhere, changes, words):
    """Each says what is wrong, and no container is left."""
    vars(elsewhere).update(changes)
    with pytest.raises(pg.PostgreSQLIntegrationError) as caught:
        push(place)
    assert words in str(caught.value)
    assert caught.value.hint
    ended = [call for call in remote(elsewhere) if "pg_terminate_backend" in (call.stdin or "")]
    assert len(ended) == ("loading" in changes)  # docker may have failed, and not the client


def test_push_interrupted(place, elsewhere):
    """The session elsewhere is ended by its name, which nobody else has."""
    elsewhere.loading = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        push(place)
    ending = remote(elsewhere)[-1]
    name = next(word for word in ending.argv if word.startswith("PGAPPNAME=")).partition("=")[2]
    assert "pg_terminate_backend" in ending.stdin
    assert f"application_name = E'{name}'" in ending.stdin


def test_push_refuses_what_cannot_be(place, elsewhere):
    """A pooler, the container's own localhost, a file that is not there: it asks nobody."""
    with pytest.raises(WorkspaceError, match="localhost is that container itself"):
        push(place, URL.replace("db.test", "localhost"))
    with pytest.raises(WorkspaceError, match="is a connection pooler"):
        push(place, URL.replace("db.test:6432", "x.pooler.supabase.com:6543"))
    with pytest.raises(
        WorkspaceError, match="'/nowhere', the URL's sslcert, is not there,"
    ) as caught:
        push(place, f"{URL}&sslcert=/nowhere")
    assert "give its whole path" in caught.value.hint
    with pytest.raises(WorkspaceError, match=r"yml', the URL's sslcert, .* not in PEM form"):
        push(place, f"{URL}&sslcert={place.directory}/docker-compose.yml")
    assert remote(elsewhere) == []


def test_pull(place, elsewhere, monkeypatch):
    """A dump of the server elsewhere is restored, without its owners."""
    restored = []
    monkeypatch.setattr(pg.Restore, "run", lambda self, **_: restored.append(vars(self)) or "old")
    assert pg.pull(place, parse_database_url(URL)) == "old"
    assert (restored[0]["archive"], restored[0]["owner"]) == (True, False)


def test_pull_that_fails(place, elsewhere):
    """Nothing is restored, and the cause is that of the server elsewhere."""
    mismatch = (1, "pg_dump: error: aborting because of server version mismatch")
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = mismatch
    with pytest.raises(pg.DockerCommandError, match="the server there is newer") as caught:
        pg.pull(place, parse_database_url(URL))
    assert "{upgrade}" in caught.value.hint


# -- the command line ----------------------------------------------------------------------------


@pytest.fixture
def pushed(monkeypatch):
    """Return the URLs that are pushed to; nothing is."""
    pushed = []
    monkeypatch.setattr(pg, "push", lambda _, url, **how: pushed.append(url))
    monkeypatch.setattr(pg, "pull", lambda _, url: pushed.append(url))
    return pushed


class Terminal(io.StringIO):
    """A stdin that would show what is typed; stderr goes elsewhere."""

    isatty = staticmethod(lambda: True)

    def readline(self, *_):
        raise AssertionError("what is typed is seen on the screen")


def test_url_of_a_variable_of_stdin_or_a_person(hive, pushed, monkeypatch, capsys):
    """All three lead there, and nothing of it is shown."""
    monkeypatch.setenv("ELSEWHERE", URL)
    assert hive("push", "--url-env", "ELSEWHERE") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{URL}\n"))
    assert hive("push") == 0
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: URL)
    assert hive("pull", "--yes") == 0
    assert pushed == [parse_database_url(URL)] * 3
    assert "s3cret" not in str(capsys.readouterr())


def test_url_that_a_person_does_not_give(hive, pushed, monkeypatch, capsys):
    """Ctrl-D is no answer."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", mock.Mock(side_effect=EOFError))
    assert hive("push") == ExitCode.FAILED
    assert "error: the URL is missing\nhint: --url-env VARIABLE\n" in capsys.readouterr().err
    assert pushed == []


@pytest.mark.parametrize(
    ("value", "words"),
    [("", "the URL in $ELSEWHERE is missing"), ("x", "the URL in $ELSEWHERE: its scheme is")],
)
def test_url_that_is_none(hive, pushed, monkeypatch, capsys, value, words):
    """The error names the variable, and not what is in it."""
    monkeypatch.setenv("ELSEWHERE", value)
    assert hive("push", "--url-env", "ELSEWHERE") == ExitCode.FAILED
    assert words in capsys.readouterr().err
    assert pushed == []


@pytest.mark.parametrize("words", [[URL], [".", URL], [f"--url-env={URL}"], ["--url-env", URL]])
def test_url_on_the_command_line(hive, pushed, capsys, words):
    """Others may have seen it already: it is refused, and not shown again."""
    with pytest.raises(pg.UsageError, match="everybody on this machine") as caught:
        pg.read_command_line("hive-pg", ["push", *words])
    assert "--url-env" in caught.value.hint
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "words", [[], ["psql"], ["status"], ["init", "--attach"], ["init", "--from"]]
)
def test_url_where_a_directory_goes(words):
    """It is refused there, too: as a directory's name it would be shown, and made."""
    with pytest.raises(pg.UsageError, match="everybody on this machine") as caught:
        pg.read_command_line("hive-pg", [*words, URL])
    assert "{init} --attach" in caught.value.hint
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("words", [["psql", "-c", f"select '{URL}'"], ["run", "--", "curl", URL]])
def test_url_of_another_program(words):
    """What goes to psql or CMD is theirs."""
    assert pg.read_command_line("hive-pg", words).argv[-1] == words[-1]


def test_pull_asks(hive, elsewhere, monkeypatch, capsys):
    """It ends sessions: without a person or --yes nothing is done."""
    monkeypatch.setenv("ELSEWHERE", URL)
    assert hive("pull", "--url-env", "ELSEWHERE") == ExitCode.FAILED
    assert "put prod of db.test in the place of database hive, and end" in capsys.readouterr().err
    assert elsewhere.calls_of("docker run") == []


# -- attached ------------------------------------------------------------------------------------

CHANGES = "start stop restart logs snapshot restore reset push pull rotate upgrade destroy".split()


@pytest.fixture
def attached(workspace, elsewhere, network, hive):
    """Attach the workspace, after it was edited by hand; return the function for commands."""
    env = workspace / ".env"
    text = env.read_text()
    url = next(line for line in text.splitlines() if line.startswith("HIVE_DATABASE_URL="))
    env.write_text(text.replace(url, f"HIVE_DATABASE_URL='{URL}'"))
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = f"|17.2|0.8.1|0.8.1{chr(10)}"
    assert hive("init", "--attach") == 0
    elsewhere.calls.clear()
    elsewhere.held.clear()
    return hive


@pytest.mark.parametrize("command", CHANGES)
def test_attached_changes_nothing(attached, elsewhere, capsys, command):
    """Each command that changes a server or a database refuses at once, and asks nobody."""
    arguments = {"restore": ["@x", "--yes"], "upgrade": ["--image", "x"]}.get(command, [])
    assert attached(command, *arguments) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "the server is elsewhere, db.test:6432, and perhaps in production" in said
    assert "hint: hive-pg init --detach goes back to the database here" in said
    assert elsewhere.calls == []


@pytest.mark.parametrize(
    "method",
    ["start_container", "stop_container", "rotate_password", "destroy_container", "reset"],
)
def test_attached_library_changes_nothing(attached, manager, elsewhere, method):
    """So does each method, which has the lock in common with the others."""
    with pytest.raises(WorkspaceError, match="the server is elsewhere, db"):
        getattr(manager, method)()
    assert elsewhere.calls == []


def test_attached_environment(attached, elsewhere, capsys):
    """`url` and `env` say where it is, and start nothing."""
    capsys.readouterr()
    assert attached("url") == 0
    assert attached("env", "--format", "dotenv") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{URL}\n")
    assert "PGHOST=db.test\n" in said
    assert "PGSSLMODE=verify-full\n" in said
    assert elsewhere.calls == []


def test_attached_check(attached, elsewhere, capsys):
    """The container is skipped, the rest is answered by a login in a container of its own."""
    assert attached("check") == 0
    said = capsys.readouterr().out
    assert "- container: the server is elsewhere\n" in said
    assert "✓ connections: PostgreSQL 17.2 accepts them\n" in said
    assert "✓ credentials: app logs in to prod\n" in said
    (_, *where), end = elsewhere.held
    assert (where, end) == (["agnohq/pgvector:16", "bridge"], "ended")
    assert {call.argv[1] for call in elsewhere.calls} <= {"exec", "image"}


@pytest.mark.parametrize(("right", "asks"), [("", True), ("10.0.0.3", False)])
def test_attached_login_here(attached, elsewhere, monkeypatch, capsys, right, asks):
    """A network is suspected only where nothing answers."""
    why = "" if right else "timed out"
    monkeypatch.setattr(pg, "ask_published_port", lambda *_: (why, right))
    monkeypatch.setattr(pg, "login_with_psycopg", lambda *_, **__: "server requested a cleartext")
    attached("check")
    said = capsys.readouterr().out
    assert "only the image's clients log in" in said
    assert ("a VPN" in said) is asks


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((2, "FATAL:  password authentication failed for user"), 6, "refuses user"),
        ((2, 'FATAL:  database "prod" does not exist'), 6, "password or database there"),
        ((2, "could not translate host name"), 5, "does not answer"),
        ((2, "certificate verify failed"), 1, "does not trust the server's certificate"),
        ((2, 'FATAL:  no pg_hba.conf entry for host "h"'), 6, "does not let this address, user"),
        ((2, "connection to server at x failed: FATAL:  Max c"), 5, "refuses the connection"),
    ],
    ids=["password", "database", "host", "certificate", "address", "full"],
)
def test_attached_server_that_cannot_be_had(attached, elsewhere, capsys, answer, code, words):
    """`wait`, `check` and `run` say why, with the remedy for a server elsewhere."""
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = answer
    for arguments in (["wait", "--timeout", "0.1"], ["check"], ["run", "--", "true"]):
        assert attached(*arguments) == code
        said = capsys.readouterr()
        assert words in said.err + said.out
        assert "init --yes" not in said.err + said.out


def test_attached_to_another_place(attached, workspace, elsewhere, capsys):
    """A URL that a person has changed since is not followed: it may be a mistake."""
    env = workspace / ".env"
    env.write_text(env.read_text().replace("/prod", "/other"))
    assert attached("psql", "-c", "drop table x") == ExitCode.FAILED
    assert "for the server on db.test: hive-pg init --attach" in capsys.readouterr().err
    assert elsewhere.held == []


def test_attach_with_an_image_of_the_shell(workspace, elsewhere, hive, monkeypatch):
    """Its clients serve, and those of later commands, which the shell does not tell."""
    env = workspace / ".env"
    env.write_text(f"HIVE_DATABASE_URL='{URL}'\n")
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = f"|17.2|0.8.1|0.8.1{chr(10)}"
    monkeypatch.setenv("HIVE_POSTGRES_IMAGE", "mine:16")
    assert hive("init", "--attach") == 0
    assert [held[1] for held in elsewhere.held if held != "ended"] == ["mine:16"]
    assert "\nHIVE_POSTGRES_IMAGE=mine:16\n" in env.read_text()


def test_attach_that_fails_changes_nothing(workspace, elsewhere, hive, capsys):
    """A login that is refused, a URL that leads here, or none: nothing is remembered."""
    env, state = workspace / ".env", workspace / ".hive-pg.json"
    before = env.read_text()
    assert hive("init", "--attach") == ExitCode.FAILED
    assert "leads to this machine" in capsys.readouterr().err
    env.write_text(f"HIVE_DATABASE_URL='{URL}'\n")
    refused = (2, "FATAL:  password authentication failed for user")
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = refused
    assert hive("init", "--attach") == ExitCode.CREDENTIALS_REFUSED
    assert hive("init", "--attach", "--port", "1") == ExitCode.USAGE
    env.write_text("A=b\n")
    assert hive("init", "--attach") == ExitCode.NOT_RUNNING
    env.write_text(before)
    assert hive("init", "--detach", "--yes") == ExitCode.FAILED
    assert "is not attached to" in capsys.readouterr().err
    assert not state.exists()


def test_attached_copy_stays_a_copy(attached, workspace, tmp_path, elsewhere, capsys):
    """Its state goes on to say whose copy it is, so that names of its own are chosen later."""
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = f"|17.2|0.8.1|0.8.1{chr(10)}"
    pg.attach(pg.Workspace(str(copy), pg.Console(), pg.Engine(elsewhere)))
    assert pg.Workspace(str(copy)).is_copy


@pytest.mark.parametrize(
    "method", ["rotate_password", "stop_container", "reset", "setup_postgres_container"]
)
def test_attached_meanwhile(attached, workspace, manager, elsewhere, monkeypatch, method):
    """Who waited for the one that attaches refuses, too: it would change a server elsewhere."""
    env = workspace / ".env"
    there, here = env.read_text(), pg.build_database_url(make_url())
    env.write_text(there.replace(f"'{URL}'", here))

    @contextlib.contextmanager
    def lock(*_):
        env.write_text(there)
        yield

    monkeypatch.setattr(pg, "Lock", lock)
    before = (workspace / ".hive-pg.json").read_text()
    with pytest.raises(WorkspaceError, match="the server is elsewhere, db"):
        getattr(manager, method)()
    assert env.read_text() == there
    assert (workspace / ".hive-pg.json").read_text() == before
    assert elsewhere.held == []


def test_switch_meanwhile(up, elsewhere, manager, monkeypatch):
    """Of two that switch at once, the later one refuses: it would lose the way back."""
    compare, second = pg.compare_rows, parse_database_url(URL.replace("prod", "second"))

    def meanwhile(*arguments):
        monkeypatch.setattr(pg, "compare_rows", compare)
        manager.push(second, switch=True)
        return compare(*arguments)

    monkeypatch.setattr(pg, "compare_rows", meanwhile)
    before = (up / ".env").read_text()
    with pytest.raises(WorkspaceError, match="the server is elsewhere, db"):
        manager.push(parse_database_url(URL), switch=True)
    assert manager.settings.url.database == "second"
    manager.detach()
    assert (up / ".env").read_text() == before


def test_switch_asks_from_where_later_commands_do(up, elsewhere, manager):
    """What only the container's own network reaches is refused before the copy."""
    manager.push(parse_database_url(URL), switch=True)
    (_, _, network), _ = elsewhere.held
    assert network == "bridge"


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("asyncpg", "postgresql://", "postgresql+asyncpg://…?ssl=require"),
        ("asyncpg", "postgresql+psycopg://", "postgresql+psycopg://…?sslmode=require"),
        ("psycopg", "postgresql://", "postgresql+psycopg://…?sslmode=require"),
        ("psycopg", "postgresql+asyncpg://", "postgresql+asyncpg://…?ssl=require"),
        ("asyncpg", "postgresql+asyncpg://", "postgresql+asyncpg://…?ssl=require"),
    ],
)
def test_switch_for_the_driver(up, elsewhere, manager, here, there, expected):
    """The application's driver gets a query that it can use; a driver in the URL is kept."""
    env, tls = up / ".env", "ssl=require" if "asyncpg" in there else "sslmode=require"
    env.write_text(env.read_text().replace("+psycopg:", f"+{here}:"))
    manager.push(parse_database_url(f"{there}app:s3cret-app@db.test:6432/prod?{tls}"), switch=True)
    written = pg.Workspace(str(up)).values["HIVE_DATABASE_URL"]
    assert written == expected.replace("…", "app:s3cret-app@db.test:6432/prod")
    assert all("PGSSLMODE=require" in call.argv for call in remote(elsewhere))


def test_switch_with_options_that_the_driver_does_not_take(up, elsewhere, manager):
    """It is refused before anything is copied."""
    env = up / ".env"
    env.write_text(env.read_text().replace("+psycopg:", "+asyncpg:"))
    with pytest.raises(WorkspaceError, match="asyncpg takes no options from a URL"):
        manager.push(parse_database_url(URL), switch=True)
    assert elsewhere.held == []


def test_switch_with_a_password_of_any_kind(up, elsewhere, manager):
    """The URL carries what no variable of `.env` could, and none of those is written."""
    before = pg.Workspace(str(up)).values["POSTGRES_PASSWORD"]
    manager.push(parse_database_url(URL.replace("s3cret-app", "a%27b%24c")), switch=True)
    values = pg.Workspace(str(up)).values
    assert "a%27b%24c" in values["HIVE_DATABASE_URL"]
    assert values["POSTGRES_PASSWORD"] == before


def test_switch_keeps_the_login_here(up, elsewhere, manager):
    """A password that only the URL has is still there when it goes back."""
    env, url = up / ".env", pg.build_database_url(make_url())
    names = pg.USER_KEY, pg.PASSWORD_KEY
    lines = [line for line in env.read_text().splitlines() if not line.startswith(names)]
    env.write_text("\n".join(lines) + "\n")
    manager.push(parse_database_url(URL), switch=True)
    manager.detach()
    assert pg.Workspace(str(up)).settings.url == parse_database_url(url)


def test_detach_keeps_a_url_of_hand(attached, workspace, elsewhere, manager, capsys):
    """The URL that a person has written is nowhere else, perhaps."""
    manager.detach()
    env = workspace / ".env"
    assert f"# HIVE_DATABASE_URL='{URL}'\n" in env.read_text()
    assert pg.Workspace(str(workspace)).values.get("HIVE_DATABASE_URL", "") == ""


def test_attach_keeps_a_url_as_it_was_written(workspace, elsewhere, hive):
    """What it refers to is not written out."""
    env = workspace / ".env"
    lines = [line for line in env.read_text().splitlines() if "HIVE_DATABASE_URL" not in line]
    line = 'HIVE_DATABASE_URL="postgresql://app:${PROD}@db.test/prod?sslmode=require"'
    env.write_text("\n".join([*lines, "PROD=s3cret-app", line, ""]))
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = "|17.2|0.8.1|0.8.1\n"
    assert hive("init", "--attach") == 0
    assert f"{line}\n" in env.read_text()


def test_detach_after_an_edit_keeps_the_url_here(up, elsewhere, manager, hive):
    """Where the URL was written over by hand, its driver and query are remembered."""
    env, here = up / ".env", pg.build_database_url(make_url(driver="asyncpg", query="ssl=prefer"))
    text = env.read_text().replace(pg.build_database_url(make_url()), here)
    env.write_text(text)
    elsewhere.containers.clear()
    manager.start_container()
    env.write_text(text.replace(here, f"'{URL}'"))
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = "|17.2|0.8.1|0.8.1\n"
    assert hive("init", "--attach") == 0
    manager.detach()
    assert pg.Workspace(str(up)).values["HIVE_DATABASE_URL"] == here


def test_detach_leaves_an_earlier_line_alone(workspace, elsewhere, hive):
    """Of two URLs the last one counts; the other one is nobody's to change."""
    env, earlier = workspace / ".env", "HIVE_DATABASE_URL='postgresql://b:oth3r@staging.test/x'\n"
    lines = [line for line in env.read_text().splitlines() if "HIVE_DATABASE_URL" not in line]
    env.write_text("\n".join([*lines, earlier]) + f"HIVE_DATABASE_URL='{URL}'\n")
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = "|17.2|0.8.1|0.8.1\n"
    assert hive("init", "--attach") == 0
    pg.detach(pg.Workspace(str(workspace), engine=pg.Engine(elsewhere)))
    assert earlier in env.read_text()
    assert f"# HIVE_DATABASE_URL='{URL}'\n" in env.read_text()


def test_detach_after_a_switch_keeps_a_url_of_hand(up, elsewhere, manager):
    """So it is where a `push --switch` went before; then the URL here comes back, too."""
    here = pg.build_database_url(make_url())
    manager.push(parse_database_url(URL), switch=True)
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = "|17.2|0.8.1|0.8.1\n"
    manager.attach()  # once more, which changes nothing
    env = up / ".env"
    env.write_text(env.read_text().replace("s3cret-app", "st4ging").replace("/prod", "/staging"))
    manager.attach()
    manager.detach()
    assert "# HIVE_DATABASE_URL='postgresql+psycopg://app:st4ging@" in env.read_text()
    assert "s3cret-app" not in env.read_text()
    assert pg.Workspace(str(up)).settings.url == parse_database_url(here)


def test_switch_that_is_not_remembered(up, elsewhere, manager, monkeypatch):
    """Without the way back, `.env` goes on to lead to the database here."""
    write = pg.write_file

    def full(path, *arguments):
        if path.endswith(".hive-pg.json"):
            raise WorkspaceError("no space left")
        write(path, *arguments)

    before = (up / ".env").read_text()
    monkeypatch.setattr(pg, "write_file", full)
    with pytest.raises(WorkspaceError, match="no space left"):
        manager.push(parse_database_url(URL), switch=True)
    assert (up / ".env").read_text() == before


def test_detach_that_was_interrupted(up, elsewhere, manager, hive, capsys):
    """The same command goes on, as Ctrl-C says; without anything to undo it names the right one."""
    manager.push(parse_database_url(URL), switch=True)
    manager.detach()
    assert hive("init", "--detach", "--yes") == 0
    capsys.readouterr()
    assert hive("init", "--detach", "--yes") == ExitCode.FAILED
    assert capsys.readouterr().err.endswith("hint: hive-pg init\n")


def test_attached_without_its_image(attached, elsewhere, capsys):
    """Another image is named where the command may take it from."""
    elsewhere.answers["docker image inspect"] = (1, "No such image: x")
    elsewhere.answers["docker pull"] = (1, "lookup registry.test: no such host")
    assert attached("check") == ExitCode.FAILED
    assert "or HIVE_POSTGRES_IMAGE in .env" in " ".join(capsys.readouterr().out.split())


def test_attached_psql_interrupted(attached, elsewhere, monkeypatch):
    """It ends its own session alone: another machine's hive-pg may have the same process ID."""
    monkeypatch.setattr(pg.sys, "stdin", None)
    elsewhere.answers["docker exec --interactive --env PGPASSWORD"] = [(130, ""), ""]
    assert attached("psql", "-c", "select 1") == ExitCode.INTERRUPTED
    (name, *_), _ = elsewhere.held
    session, end = elsewhere.calls[-2:]
    assert f"PGAPPNAME={name}" in session.argv
    assert "hive-pg psql" not in session.command
    assert f"application_name = E'{name}' and" in end.stdin


def test_attach_options_of_another_driver(attached, workspace, capsys):
    """What the clients cannot check is named."""
    env = workspace / ".env"
    driver = URL.replace("postgresql:", "postgresql+asyncpg:")
    env.write_text(env.read_text().replace(URL, f"{driver}&command_timeout=5"))
    capsys.readouterr()
    assert attached("init", "--attach") == 0
    warning = "warning: HIVE_DATABASE_URL has command_timeout, which only asyncpg"
    assert warning in capsys.readouterr().err


def test_attached_status(attached, place, capsys):
    """Nothing of the database here is said of a server elsewhere."""
    with place.lock(new=True):
        place.remember(attached=place.state.attached, reason="local engine")
    capsys.readouterr()
    assert attached("status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    said = {key for key, value in status.items() if value is not None}
    assert said == {"state", "health", "readiness", "server_version", "database_url", "host_port"}
