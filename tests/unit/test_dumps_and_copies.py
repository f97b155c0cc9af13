"""Dumps and copies: what a file is, which step follows which, and what a failure leaves."""

import errno
import io
import json
import os
import re
import shlex
import shutil
import stat
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import REFUSED, WELL, make_cluster, make_container, make_image

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    DockerCommandError,
    ExitCode,
    NotSetUpError,
    WorkspaceError,
)

# -- what a file is ------------------------------------------------------------------------------

TAR = b"toc.dat".ljust(257, b"\0") + b"ustar\0"
DUMP = b"--\n-- PostgreSQL database dump\n--\n\nselect 1;\n"
CREATED = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\nSET row_security = off;\n\n--\n"
    b"-- Name: hive; Type: DATABASE; Schema: -; Owner: ann\n--\n\nCREATE DATABASE hive;\n\n"
    b"\\unrestrict x\n\\connect hive\n\\restrict x\n\n"
)
LAST = b"--\n-- PostgreSQL database dump complete\n--\n\n"
CUT = "is truncated: its last line is missing"


@pytest.mark.parametrize(
    ("head", "tail", "archive"),
    [
        pytest.param(b"PGDMP\x01\x0f\0", b"", True, id="pg_dump -Fc"),
        pytest.param(DUMP, LAST, False, id="pg_dump"),
        pytest.param(DUMP, LAST + b"\\unrestrict x\n\n", False, id="pg_dump, restricted"),
        pytest.param(b"\xef\xbb\xbfselect 1;", b"select 1;", False, id="byte order mark"),
        pytest.param(b"\n\n create table t ();", b"", False, id="blank lines first"),
    ],
)
def test_is_archive(head, tail, archive):
    """A custom dump is known by its first bytes; other text is SQL."""
    assert pg.check_dump_format(head, tail) is archive


@pytest.mark.parametrize(
    ("head", "tail", "fault", "hint"),
    [
        pytest.param(b"", b"", "is empty", "take another one", id="empty"),
        pytest.param(b" \n\n", b"", "is empty", "take another one", id="blank"),
        pytest.param(b"\x1f\x8b\x08\0", b"", "is neither", "gunzip -c FILE | {restore} -", id="gz"),
        pytest.param(TAR, b"", "is a tar", "pg_restore -f - FILE | {restore} -", id="tar"),
        pytest.param(
            b"--\n-- PostgreSQL database cluster dump\n--\n", b"", "pg_dumpall", "pg_dump", id="all"
        ),
        pytest.param(CREATED, LAST, "is made by pg_dump -C", "without -C", id="with a database"),
        pytest.param(b"\x89PNG\r\n\0\0", b"", "is neither", "{restore} -", id="a picture"),
        pytest.param(
            *("create".encode("utf-16"), b"", "is UTF-16, as PowerShell's > writes"),
            *("pg_dump -f FILE",),
            id="UTF-16",
        ),
        pytest.param(DUMP, DUMP, CUT, "take another one", id="truncated"),
        pytest.param(DUMP, LAST[:30], CUT, "take another one", id="truncated in its last line"),
    ],
)
def test_is_archive_refuses(head, tail, fault, hint):
    """What is neither a custom dump nor whole SQL is named, with what makes one of it."""
    with pytest.raises(WorkspaceError, match=fault) as caught:
        pg.check_dump_format(head, tail)
    assert hint in caught.value.hint


@pytest.mark.parametrize("last", [LAST, b""], ids=["whole", "truncated"])
def test_restore_of_a_dump_with_more_after_its_end(place, tmp_path, last):
    """Ecto's structure.sql has INSERTs there; what pg_dump did not end is still refused."""
    path = tmp_path / "structure.sql"
    path.write_bytes(DUMP + b"select 1;\n" * 1000 + last + b"insert into x values (1);\n" * 1000)
    with path.open("rb", buffering=0) as file:
        if last:
            assert not pg.Restore(place, file).archive
        else:
            with pytest.raises(WorkspaceError, match=CUT):
                pg.Restore(place, file)


SKIPPING = 'NOTICE:  table "documents" does not exist, skipping\n'


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("pg_restore: error: unsupported version (1.16) in file header", "newer PostgreSQL"),
        ('ERROR:  unrecognized configuration parameter "transaction_timeout"', "newer PostgreSQL"),
        ("pg_restore: error: could not read from input file: end of file", "truncated"),
        ("pg_restore: error: could not uncompress data: (null)", "truncated"),
        ("pg_restore: error: did not find magic string in file header", "truncated"),
        ('pg_restore: error: could not execute query: ERROR:  role "bob" does not exist', "role"),
        ('psql:<stdin>:7: ERROR:  index "e_idx" does not exist', "drops or uses something"),
        (f'{SKIPPING}ERROR:  relation "public.documents" does not exist', "drops or uses"),
        ("ERROR:  function public.touch() does not exist", "drops or uses something"),
        (f"{SKIPPING}FATAL:  terminating connection", "ended the session"),
        ("pg_dump: error: server closed the connection unexpectedly", "ended the session"),
    ],
)
def test_dump_diagnoses(words, cause):
    """What the programs of the image say of a bad file has a cause and a remedy."""
    found = pg.diagnose(words, "dump")
    assert cause in found.cause
    assert found.hint


def test_custom_setting_is_no_newer_version():
    """`current_setting('app.tenant')` in a script is no sign of another version."""
    words = 'ERROR:  unrecognized configuration parameter "{}"'
    assert "newer PostgreSQL" in pg.diagnose(words.format("transaction_timeout"), "dump").cause
    assert pg.diagnose(words.format("app.tenant"), "dump") is None


# -- a workspace whose server answers ------------------------------------------------------------

CLIENT = (
    "docker exec --interactive --env PGPASSWORD --env PGHOST= --env PGHOSTADDR= --env PGPORT=5432"
    " --env PGSSLMODE=prefer --env PGUSER=ann --env PGDATABASE=hive"
    " --env PGCONNECT_TIMEOUT=10 --env LC_ALL=C --env"
    f" {shlex.quote(pg._OWN_SESSION)} hive-postgres"
)
WATCHING = f"{CLIENT} sh -c {shlex.quote(pg._WATCH_SCRIPT)} hive-pg"
DUMPING, RESTORING = f"{CLIENT} sh -c {shlex.quote(pg._DUMP_SCRIPT)}", f"{WATCHING} pg_restore"
READING_BACK = f"{DUMPING} {shlex.quote(pg._READ_BACK)}"
LOADING = f"{WATCHING} sh -c {shlex.quote(pg._LOAD_SCRIPT)}"
LISTING = "docker exec --interactive hive-postgres pg_restore --list"
HELPING = "docker exec --interactive hive-postgres psql --help=commands"
CREATING = f"{CLIENT} sh -c"
QUERYING, ROLES = f"{CLIENT} psql -XqAtw", f"{CLIENT} pg_dumpall --globals-only"
PROBING = "docker exec --interactive hive-postgres sh -c"
WHOLE = "PGDMP whole"
KEEPER = f"hive_pg_undo_{'01' * 8}"
STAMP = "20010909T014640Z"
NEW, KEPT, WORD = (
    f"hive_restoring_{STAMP}",
    f"hive_before_{STAMP}",
    f"hive-pg-hive_restoring_{STAMP}",
)


KINDS = {
    "count": "count(*)",
    "used": "pg_depend o",
    "every": "json_agg",
    "made": "pg_depend",
    "undo": "is_template false allow_connections",
    "swap": "rename to",
    "staging": "create database %I",
    "facts": "show is_superuser",
    "protect": "is_template true",
    "drop": "with (force)",
    "listed": "select datname from pg_database\nwhere split_part",
    "password": "\\password\n",
    "extension": "create extension if not exists vector",
    "analyze": "analyze;",
    "role": "right(' ' || rolname",
    "boot": "oid = 10",
    "beside": "pg_ls_dir",
    "spaces": "pg_tablespace where",
    "clear": "drop database %I'",
    "files": "pg_file_settings",
}


def facts(*names, superuser="on"):
    """Return what psql says of the server, and of its databases."""
    row = {"oid": "7", "datallowconn": True, "datconnlimit": -1}
    rows = [{**row, "name": name} for name in names or ("hive", "books")]
    return f"{superuser}\n{json.dumps(rows)}\n"


class Server:
    """What psql answers: `words` of a kind of query, one after the other, else what is usual."""

    def __init__(self):
        self.scripts = []
        self.words = {"made": ["t\n"], "facts": [facts()]}

    def execute(self, call):
        kind = next((kind for kind, word in KINDS.items() if word in call.stdin), "none")
        kind = "clean" if kind == "drop" and pg.DATABASES_SQL in call.stdin else kind
        database = call.argv[call.argv.index("-d") + 1] if "-d" in call.argv else "template1"
        database = database.removeprefix("dbname='").removesuffix("'")
        self.scripts.append((kind, database, call.stdin))
        answers = self.words.get(kind, ["hive\n" if kind == "clean" else ""])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return (0, "", answer) if isinstance(answer, str) else answer

    @property
    def kinds(self):
        """Return which queries there were."""
        return [kind for kind, _, _ in self.scripts]

    def sql(self, wanted):
        """Return the last query of a kind."""
        return [sql for kind, _, sql in self.scripts if kind == wanted][-1]


class Answer:
    """The answer to what psql gets on its stdin, which is known when it is waited for."""

    def __init__(self, server, call):
        self.server, self.call = server, call

    def __iter__(self):
        return iter(self.server.execute(self.call))


@pytest.fixture
def server(docker, monkeypatch):
    """Return the server of the fake engine, whose clients do well."""
    server = Server()
    monkeypatch.setattr(pg.os, "urandom", lambda size: b"\1" * size)
    docker.answers[QUERYING] = lambda call: Answer(server, call)
    docker.answers[QUERYING.replace("=ann", f"={KEEPER}")] = docker.answers[QUERYING]
    docker.answers[CREATING] = docker.answers[QUERYING]
    docker.answers[DUMPING] = (0, "", WHOLE)
    docker.answers[LISTING] = docker.answers[RESTORING] = ""
    docker.answers[HELPING] = "  \\restrict RESTRICT_KEY\n"
    docker.answers[LOADING] = (0, f"{WORD}\n")
    return server


@pytest.fixture
def up(up, server, monkeypatch):
    """Return a workspace whose database runs; it is a certain time."""
    monkeypatch.setattr(pg.time, "time", lambda: 1e9)
    return up


@pytest.fixture
def place(up, place):
    """Return the same as hive-pg sees it."""
    return place


@pytest.fixture
def hive(up, hive):
    """Return a function that runs a command line there."""
    return lambda words: hive(*words.split())


@pytest.fixture
def dump(up):
    """Return a dump in the workspace."""
    (up / "x.dump").write_text(WHOLE)
    return str(up / "x.dump")


@pytest.fixture
def script(up):
    """Return an SQL script in the workspace."""
    (up / "x.sql").write_text("create table t();\n" * 1000)
    return str(up / "x.sql")


# -- backup --------------------------------------------------------------------------------------


def test_backup(place, docker, up):
    """The dump is in backups/, for its owner alone, and out of git's sight."""
    path = pg.back_up(place)
    assert path == str(up / "backups" / f"hive-{STAMP}.dump")
    assert (up / "backups" / f"hive-{STAMP}.dump").read_text() == WHOLE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(up / "backups").st_mode) == 0o700
    assert (up / "backups" / ".gitignore").read_text() == "*\n"
    assert all(c.env["PGPASSWORD"] == "s3cret" for c in docker.calls_of("docker") if c.env)
    assert "s3cret" not in str([call.argv for call in docker.calls])
    assert [call.command for call in docker.calls_of(DUMPING)] == [READING_BACK]


@pytest.mark.parametrize("there", [None, "*.txt\n"], ids=["no list", "a list"])
def test_backup_to_a_name_in_backups(place, docker, up, capsys, there):
    """It is as much out of git's sight as one without a name; a list of somebody's stays."""
    (up / "backups").mkdir()
    if there:
        (up / "backups" / ".gitignore").write_text(there)
    docker.answers["git"] = (1, "") if there else "backups/mine.dump\n"
    pg.back_up(place, str(up / "backups" / "mine.dump"))
    assert (up / "backups" / ".gitignore").read_text() == (there or "*\n")
    said = "git does not ignore backups/mine.dump: put /backups/ in .gitignore"
    assert (said in capsys.readouterr().err) is bool(there)


@pytest.mark.skipif(pg.WINDOWS, reason="no file has a mode")
@pytest.mark.parametrize("path", ["", "mine.dump"])
def test_backup_where_no_mode_is_kept(monkeypatch, capsys, place, up, path):
    """On exFAT and the like others may read it, which is said."""
    monkeypatch.setattr(pg, "set_mode", lambda file, mode: os.chmod(file, 0o666) or 0o666)
    path = pg.back_up(place, path and str(up / path))
    said = f"warning: others may read {path}: its mode cannot be changed here\n"
    assert capsys.readouterr().err == said


def test_backups_into_one_directory(place, up):
    """They do not wait for each other, and only one of them writes a file."""
    with pg.replacement(str(up / "mine.dump")) as file:
        file.write(b"half")
        assert pg.back_up(place, str(up / "x.dump")) == str(up / "x.dump")
        with pytest.raises(WorkspaceError, match=r"another hive-pg is writing .*/mine\.dump"):
            pg.back_up(place, str(up / "mine.dump"))
    assert (up / "mine.dump").read_bytes() == b"half"
    pg.back_up(place, str(up / "mine.dump"))
    assert (up / "mine.dump").read_text() == WHOLE
    assert not [*up.glob("*.tmp")]


def test_backups_of_one_second(place):
    """A name is given once: the second one does not take the first one's place."""
    first, second = pg.back_up(place), pg.back_up(place)
    assert (first[-9:], second[-9:]) == ("640Z.dump", "641Z.dump")


@pytest.mark.parametrize(
    ("answer", "error", "words", "hint"),
    [
        pytest.param(
            (1, "pg_dump: error: out of memory"),
            DockerCommandError,
            "out of memory",
            "",
            id="words",
        ),
        pytest.param(
            (1, "pg_restore: error: could not find block ID 1 in archive"),
            *(DockerCommandError, "truncated or damaged", "take another one"),
            id="not read back",
        ),
        pytest.param(
            (1, 'pg_dump: error: connection to server failed: FATAL:  database "o" does not exist'),
            *(pg.DatabaseConnectionError, "has no such database", "{init} creates it"),
            id="no such database",
        ),
        pytest.param(
            (137, ""), pg.ContainerStartupError, "its program was killed", "see {status}", id="kill"
        ),
        pytest.param(
            (1, "tee: write /dev/stdout: No space left on device"),
            *(DockerCommandError, "cannot dump database hive: the disk is full", "free space"),
            id="full disk",
        ),
    ],
)
def test_backup_that_fails(place, docker, up, answer, error, words, hint):
    """Where the dump or its reading fails there is no file, an old one stays, the error has why."""
    docker.answers[DUMPING] = answer
    (up / "mine.dump").write_bytes(b"old")
    for path in ("", str(up / "mine.dump")):
        with pytest.raises(error, match=words) as caught:
            pg.back_up(place, path)
        assert type(caught.value) is error
        assert caught.value.hint.startswith(hint)
    assert os.listdir(up / "backups") == [".gitignore"]
    assert (up / "mine.dump").read_bytes() == b"old"
    assert not [*up.glob("*.tmp")]


def test_backup_whose_container_ends(place, docker):
    """It says that the container does not run, with 3, rather than what the client thought."""

    def end(call):
        docker.containers[0]["State"]["Status"] = "exited"
        return (1, "pg_dump: error: server closed the connection unexpectedly")

    docker.answers[DUMPING] = end
    with pytest.raises(NotSetUpError, match="is stopped"):
        pg.back_up(place)


@pytest.mark.parametrize(
    ("answer", "words"),
    [((72, ""), "nothing answers"), ((1, "Container ab is paused"), "was paused")],
    ids=["frozen", "paused"],
)
def test_backup_of_a_server_that_does_not_answer(place, docker, answer, words):
    """A dump that stands still is given up where nobody can log in any more."""

    def freeze(call):
        call.idle()
        docker.answers[PROBING] = answer
        call.idle()

    docker.answers[DUMPING] = freeze
    with pytest.raises(pg.PostgreSQLIntegrationError, match=words) as caught:
        pg.back_up(place)
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.UNHEALTHY, "{logs}")


def test_backup_to_an_existing_file(place, up):
    """The file is its owner's alone then."""
    (up / "mine.dump").write_bytes(b"old")
    (up / "mine.dump").chmod(0o644)
    pg.back_up(place, str(up / "mine.dump"))
    assert (up / "mine.dump").read_text() == WHOLE
    assert stat.S_IMODE((up / "mine.dump").stat().st_mode) == 0o600


def test_backup_removes_what_a_killed_one_left(place, up):
    """Temporary files of earlier backups go; one that is written, and what a person made, stays."""
    (up / "backups").mkdir()
    for name in ("x-20010909T014600Z.dump.hive-pg.tmp", "note.hive-pg.tmp", "old.dump"):
        (up / "backups" / name).touch()
    with pg.replacement(str(up / "backups" / "y-20010909T014600Z.dump")):
        pg.back_up(place)
        assert sorted(os.listdir(up / "backups")) == [
            *(".gitignore", f"hive-{STAMP}.dump", "note.hive-pg.tmp", "old.dump"),
            "y-20010909T014600Z.dump.hive-pg.tmp",
        ]


@pytest.mark.parametrize(
    ("name", "fault", "hint"),
    [
        ("data", "data is no file", "name one"),
        ("new/", "new/ is no file", "name one"),
        ("fifo", "fifo is no file", "name one; {backup} -o - "),
        ("not/there/x", "cannot write .*/not/there/x: No such", "mkdir -p .*/not/there"),
    ],
)
def test_backup_to_a_place_that_takes_none(place, docker, up, name, fault, hint):
    """It is refused before anything is dumped, and stays as it is; so does a device."""
    os.mkfifo(up / "fifo")
    with pytest.raises(WorkspaceError, match=fault) as caught:
        pg.back_up(place, f"{up}/{name}")
    assert docker.calls_of(DUMPING) == []
    assert stat.S_ISFIFO(os.stat(up / "fifo").st_mode)
    assert re.match(hint, caught.value.hint)


@pytest.mark.parametrize("path", ["-", "/dev/stdout"])
def test_backup_to_stdout(place, capfd, up, path):
    """The bytes go there, and to no file."""
    assert pg.back_up(place, path) == "-"
    assert capfd.readouterr().out == WHOLE
    assert not (up / "backups").exists()


def test_backup_to_a_file_that_cannot_be_made(place, up, monkeypatch):
    """The error has the real path, and what helps."""
    (up / "dir").mkdir()
    monkeypatch.chdir(up)

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(up / "dir" / "x.hive-pg.tmp"))

    monkeypatch.setattr(pg, "replacement", refuse)
    with pytest.raises(WorkspaceError, match=f"cannot write {up}/dir/x: Perm") as caught:
        pg.back_up(place, "dir/x")
    assert caught.value.hint.startswith("chmod u+rwX")


@pytest.mark.parametrize("answer", [(1, "tee: broken pipe"), (-13, "")], ids=["words", "SIGPIPE"])
def test_backup_that_nobody_reads(place, docker, answer, monkeypatch, tmp_path):
    """Whoever read stdout has gone, which is no error with words; a file needs no reader."""
    docker.answers[DUMPING] = answer
    read, write = os.pipe()
    with open(read), open(write, "w") as stdout:
        monkeypatch.setattr(pg.sys, "stdout", stdout)
        with pytest.raises(BrokenPipeError):
            pg.back_up(place, "-")
    with pytest.raises(DockerCommandError, match="cannot dump database hive: "):
        pg.back_up(place, str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("command", "stream"), [("backup -o -", "stdout"), ("restore --yes -", "dump on stdin")]
)
def test_closed_stream(hive, monkeypatch, capsys, command, stream):
    """What has no stdin or stdout says so, and a terminal is no dump."""
    for closed in (
        None,
        SimpleNamespace(isatty=lambda: True, flush=lambda: None, fileno=lambda: 1),
    ):
        monkeypatch.setattr(pg.sys, stream.split()[-1], closed)
        assert hive(command) == ExitCode.FAILED
        said = capsys.readouterr().err
        assert re.search(f"there is no {stream}|cannot be shown on a terminal", said)


# -- who may be acted on -------------------------------------------------------------------------

ACTIONS = {
    "backup": pg.back_up,
    "backup to stdout": lambda place: pg.back_up(place, "-"),
    "restore": lambda place: pg.restore(place, os.path.join(place.directory, "x.dump")),
    "restore @NAME": lambda place: pg.restore(place, "@x"),
    "restore --drop-old": pg.drop_old_databases,
    "reset": pg.reset,
    "snapshot": pg.snapshot,
    "snapshot --list": pg.list_snapshots,
    "snapshot --drop": lambda place: pg.drop_snapshot(place, "x"),
    "rotate": pg.rotate,
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_another_workspace_is_not_touched(place, docker, dump, tmp_path, up, action):
    """Where .env names another's container, nothing runs in it."""
    (tmp_path / "other").mkdir()
    docker.containers[:] = [make_container(workspace=tmp_path / "other", project="other")]
    with pytest.raises(ContainerConflictError):
        action(place)
    assert docker.calls_of("docker exec") == docker.calls_of("docker stop") == []
    assert not (up / "backups").exists()


@pytest.mark.parametrize("data", [False, True])
def test_destroy_of_another_workspace(place, docker, tmp_path, data):
    """It is refused: nothing of the other one's is stopped or removed, no data deleted."""
    (tmp_path / "other").mkdir()
    docker.containers[:] = [make_container(workspace=tmp_path / "other", project="other")]
    with pytest.raises(ContainerConflictError):
        pg.destroy(place, data=data)
    for words in ("docker stop", "docker run", "docker rm"):
        assert docker.calls_of(words) == []


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_container_that_does_not_run(place, docker, dump, up, action):
    """It ends with 3 and the next step."""
    docker.containers[0]["State"]["Status"] = "exited"
    before = (up / ".env").read_text()
    with pytest.raises(NotSetUpError) as caught:
        action(place)
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.NOT_RUNNING, "{start}")
    assert docker.calls_of("docker exec") == []
    assert (up / ".env").read_text() == before


# -- restore -------------------------------------------------------------------------------------


def test_restore(place, docker, server, dump):
    """A new database, the dump in it, looked at, then both names change; the old one is kept."""
    assert pg.restore(place, dump) == KEPT
    assert server.kinds == ["clean", "staging", "made", "analyze", "swap"]
    bases = [base for _, base, _ in server.scripts]
    assert bases == ["template1", "template1", NEW, NEW, "template1"]
    (call,) = docker.calls_of(RESTORING)
    assert call.argv[-2:] == ["-d", NEW]
    assert call.taken == WHOLE.encode()
    assert NEW in docker.calls_of(PROBING)[1].argv  # the application's own login


def test_restore_swap_is_one_transaction(place, server, dump):
    """Sessions are ended, then both names change at once."""
    pg.restore(place, dump)
    lines = server.sql("swap").splitlines()
    renamed = [line.split('"')[1::2] for line in lines if "rename" in line]
    assert (lines[1], lines[-1]) == ("begin;", "commit;")
    assert renamed == [["hive", KEPT], [NEW, "hive"]]
    assert server.sql("swap").index("pg_terminate_backend") < server.sql("swap").index("rename")


ODD = "a\"b'c\\d"


def test_sql_quotes_names():
    """A name with quotes in it stands in each script as an identifier or a literal only."""
    for sql in (
        pg.build_staging_sql(ODD, f"{ODD}_new"),
        pg.build_list_sql(ODD, pg.KEPT_COMMENT, drops=True),
        pg.build_copy_role_sql(ODD, "x"),
    ):
        for spelling in (pg.quote_identifier(ODD)[1:-1], pg.quote_literal(ODD)[2:-1]):
            sql = sql.replace(spelling, "")
        assert "b'c" not in sql


def test_build_list_sql_spares_what_was_renamed_back():
    """The comment alone is not enough: the present database may have kept it."""
    assert "datname ~ '_(before|restoring|snapshot|fresh)_[0-9]+T[0-9]+Z$'" in pg.build_list_sql(
        "x", "{}"
    )


def test_build_list_sql_drops_templates():
    """A database that a restore has protected is none any more before it is dropped."""
    sql = pg.build_list_sql("x", "{}", drops=True)
    assert sql.index("is_template false") < sql.index("drop database if exists")
    assert "when datconnlimit <> -2 then format('alter" in sql  # nobody alters one half dropped


def test_restore_of_a_long_name(place, up, server, dump, docker):
    """What it makes has a name that the server does not cut short."""
    name = "x" * 63
    url = place.settings.url.replace(database=name)
    place.save_env(place.settings.replace(url=url).env)
    docker.answers = {
        key.replace("PGDATABASE=hive", f"PGDATABASE={name}"): value
        for key, value in docker.answers.items()
    }
    kept = pg.restore(place, dump)
    staging = server.scripts[-2][1]
    assert (kept[-24:], staging[-27:]) == (KEPT[-24:], NEW[-27:])
    assert max(len(kept), len(staging)) <= 63
    assert name.startswith(kept.partition("_")[0])


def test_restore_beside_what_cannot_be_dropped(place, server, dump, capsys):
    """What an earlier one has left, with a subscription perhaps, bars no later one."""
    words = 'DETAIL:  There is 1 subscription.\nERROR:  database "x" is being used by logical'
    words += " replication subscription"
    server.words["clean"] = [(3, words), ""]
    pg.restore(place, dump)
    said = capsys.readouterr().err
    left = "what a restore may have left stays until the next, or --drop-old: it has a subscription"
    assert left in said


def test_restore_within_a_second(place, server, dump):
    """Another name is taken for what is kept, where there is one of that name."""
    server.words["clean"] = [f"hive\n{KEPT}\n"]
    assert pg.restore(place, dump) == "hive_before_20010909T014641Z"
    assert "hive_before_20010909T014641Z" in server.sql("swap")


def test_restore_names_what_drops_the_old_one(place, dump, capsys):
    """The next command stands behind the old one's name."""
    pg.restore(place, dump)
    said = capsys.readouterr().err
    assert f"what was hive is {KEPT} now; drop it: hive-pg restore --drop-old\n" in said


@pytest.mark.parametrize(
    ("arguments", "answer", "done"),
    [("", "y\n", True), ("", "n\n", False), ("", None, False), ("--yes", None, True)],
)
def test_drop_old_names_what_it_drops(
    hive, up, server, monkeypatch, capsys, arguments, answer, done
):
    """Before it asks; where the answer is no, or nobody can be asked, nothing is dropped."""
    server.words["listed"] = [f"{KEPT}\n"]
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO(answer))
    assert hive(f"restore --drop-old {arguments}") == (0 if done else 1)
    assert (
        pg.build_list_sql("hive", pg.KEPT_COMMENT, drops=True) in [s for _, _, s in server.scripts]
    ) == done
    said = capsys.readouterr().err
    assert (f"{up}: drop {KEPT}? [y/N]" in said) == (answer is not None)
    assert (f"dropped: {KEPT}" in said) == done
    assert ("error: nothing was done" in said) != done


@pytest.mark.parametrize("agreed", [f"{KEPT}\n", ""], ids=["one", "none"])
def test_drop_old_beside_a_restore_that_ends_meanwhile(place, server, agreed):
    """What nobody was asked about is not dropped; nor is the rest."""
    server.words["listed"] = [agreed, f"{agreed}hive_before_20010909T014641Z\n"]
    with pytest.raises(WorkspaceError, match="what is kept has changed meanwhile") as caught:
        pg.drop_old_databases(place)
    assert caught.value.hint == "{restore} --drop-old"
    assert "drop" not in server.kinds


def test_drop_old_of_a_subscription(hive, server, capsys):
    """The server does not drop its database, and says why."""
    words = f'ERROR:  database "{KEPT}" is being used by logical replication subscription'
    server.words |= {"listed": [f"{KEPT}\n"], "drop": [(3, words)]}
    assert hive("restore --drop-old --yes") == ExitCode.FAILED
    said = capsys.readouterr().err
    assert f'database "{KEPT}" is being used' in said
    assert "hint: there: alter subscription … disable, … set (slot_name = none); drop sub" in said


def test_find_databases_names(place, server):
    """A line is a name, whatever is in it."""
    server.words["listed"] = [f"a b_before_{STAMP}\n{KEPT}\n"]
    assert pg.find_databases(place, pg.KEPT_COMMENT) == [f"a b_before_{STAMP}", KEPT]


def test_restore_no_owner(place, docker, dump):
    """pg_restore leaves owners and privileges out."""
    pg.restore(place, dump, owner=False)
    (call,) = docker.calls_of(RESTORING)
    assert {"--no-owner", "--no-privileges"} <= {*call.argv}


HIS, HERS = "5; 1259 1 TABLE public t bob\n", "6; 1259 2 TABLE public u ann\n"
NOBODYS = "2; 3079 3 EXTENSION - vector \n7; 2615 4 SCHEMA - public pg_database_owner\n"
GRANT = "8; 0 0 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES bob\n"


@pytest.mark.parametrize(
    ("listing", "known", "mapped", "said"),
    [
        pytest.param(HIS + NOBODYS, "f\n", True, "of bob in the dump become ann's\n", id="his"),
        pytest.param(HIS + GRANT, "f\n", True, "warning: the grants", id="and grants"),
        pytest.param(HIS, "t\n", False, "", id="who is here"),
        pytest.param(HIS + HERS, "f\n", False, "", id="two owners"),
        pytest.param(NOBODYS, "f\n", False, "", id="nobody"),
    ],
)
def test_restore_of_another_owner(
    place, docker, server, dump, capsys, listing, known, mapped, said
):
    """All becomes our role's where the dump has one owner, who is not here."""
    docker.answers[LISTING], server.words["role"] = listing, [known]
    pg.restore(place, dump)
    (call,) = docker.calls_of(RESTORING)
    assert ({"--no-owner", "--no-privileges"} <= {*call.argv}) == mapped
    err = capsys.readouterr().err
    assert said in err if mapped else "in the dump become" not in err


def test_restore_that_cannot_be_analyzed(place, server, dump, capsys):
    """It is a warning: the rows are all there."""
    server.words["analyze"] = [(3, "ERROR:  function f() does not exist")]
    assert pg.restore(place, dump) == KEPT
    assert (
        f"warning: the planner does not know all tables of {NEW} yet: " in capsys.readouterr().err
    )


def test_restore_no_owner_of_sql(place, docker, script):
    """A script says itself whose things are: it is refused, rather than done half."""
    with pytest.raises(WorkspaceError, match="SQL sets its owners") as caught:
        pg.restore(place, script, owner=False)
    assert "create role" in caught.value.hint
    assert docker.calls == []


def assert_undone(server):
    """Make sure that the names did not change, and that the new database was dropped last."""
    assert "swap" not in server.kinds
    assert server.kinds[-1] == "clean"


def test_restore_that_fails(place, docker, server, dump):
    """The new database is dropped, and the present one is not touched."""
    docker.answers[RESTORING] = (1, 'pg_restore: error: role "bob" does not exist')
    with pytest.raises(DockerCommandError, match="a role that does not exist here") as caught:
        pg.restore(place, dump)
    assert caught.value.hint == (
        "{psql} -c 'create role \"NAME\"'; if it only owns, in pg_dump -Fc: {restore} --no-owner"
    )
    assert_undone(server)


def test_restore_of_nothing(place, server, dump):
    """A file that makes nothing does not take the database's place."""
    server.words["made"] = ["f\n"]
    with pytest.raises(WorkspaceError, match="makes nothing"):
        pg.restore(place, dump)
    assert_undone(server)


def test_restore_that_nobody_can_log_in_to(place, docker, server, dump):
    """The application's own login is tried before the names change."""
    docker.answers[PROBING] = [WELL, REFUSED]
    with pytest.raises(pg.CredentialsRefusedError):
        pg.restore(place, dump)
    assert_undone(server)


# -- a copy of another workspace -----------------------------------------------------------------


@pytest.mark.parametrize("copied", [True, False])
def test_init_from(tmp_path, place, docker, server, monkeypatch, capsys, copied):
    """A copied .env gets a new login; the dump of the other one becomes the data of the new one."""
    (tmp_path / "new").mkdir()
    if copied:
        shutil.copy(place.env_path, tmp_path / "new" / ".env")
    server.words["used"] = ["f\n", "f\n"]
    restored = []

    def run(task, **_):
        task.file.seek(0)
        restored.append(task.file.read().decode())
        return KEPT

    monkeypatch.setattr(pg.Restore, "run", run)
    new = pg.Workspace(str(tmp_path / "new"), place.console, place.engine)
    login = {"docker exec --interactive --env PGPASSWORD": docker.answers[QUERYING]}
    docker.answers = {**docker.answers, **login}
    assert pg.set_up_copy(new, place.directory, interactive=False)
    url, theirs = new.settings.url, place.settings.url
    assert restored == [WHOLE]
    assert url.database == theirs.database
    assert not {url.user, url.password, new.settings.container} & {*place.settings.env.values()}
    assert server.scripts[-2][:2] == ("used", KEPT)
    assert f'drop database "{KEPT}";' in server.scripts[-1][2]
    capsys.readouterr()
    server.words["used"] = ["f\n", "t\n"]  # an application wrote to it meanwhile
    assert pg.set_up_copy(new, place.directory, interactive=False)
    assert f"somebody wrote to hive meanwhile: {KEPT} stays" in capsys.readouterr().err
    server.words["used"] = ["t\n"]
    new.save_env(new.settings.with_password(theirs.password).env)  # as after a copy was set up
    before = (tmp_path / "new" / ".env").read_text()
    shutil.rmtree(tmp_path / "new" / "data" / "postgres" / "pgdata")  # as in a volume
    monkeypatch.setattr(pg, "find_loss", lambda *_: "")
    with pytest.raises(WorkspaceError, match="hive has data, and stays") as caught:
        pg.set_up_copy(new, place.directory, interactive=False)
    backup, restore = caught.value.hint.split(" | ")
    assert backup == f"hive-pg backup {place.directory} -o -"
    assert restore == "hive-pg restore - --yes"  # nobody can answer there
    assert (tmp_path / "new" / ".env").read_text() == before


def test_init_from_what_does_not_run(tmp_path, place, docker):
    """It is found out before anything is made, and the hint names the other one."""
    docker.containers[0]["State"]["Status"] = "exited"
    new = pg.Workspace(str(tmp_path / "new"), place.console, place.engine)
    with pytest.raises(NotSetUpError, match="is stopped") as caught:
        pg.set_up_copy(new, place.directory)
    assert caught.value.hint == f"hive-pg start {place.directory}"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", ["--from .", "--from other --no-start"])
def test_init_from_refuses(hive, docker, capsys, words):
    """Itself, and a database that is not started."""
    assert hive(f"init --yes {words}") == ExitCode.FAILED
    assert "--from takes another workspace, and a database that runs" in capsys.readouterr().err


def test_init_from_behind_a_link(tmp_path, place, up):
    """A `.env` that is a link to the other one's is not written."""
    before = (up / ".env").read_text()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".env").symlink_to(up / ".env")
    new = pg.Workspace(str(tmp_path / "new"), place.console, place.engine)
    with pytest.raises(WorkspaceError, match="leads out of the workspace"):
        pg.set_up_copy(new, place.directory, interactive=False)
    assert (up / ".env").read_text() == before


def test_restore_with_a_refused_password(place, docker, server, dump):
    """It is found out at once, and not when a long restore is over."""
    docker.answers[PROBING] = REFUSED
    with pytest.raises(pg.CredentialsRefusedError):
        pg.restore(place, dump)
    assert server.scripts == docker.calls_of(RESTORING) == []


def test_restore_where_the_url_leads_elsewhere(place, docker, server, dump, network):
    """So is a published port that is not this database's."""
    network.objection = "what answers is not PostgreSQL"
    with pytest.raises(pg.DatabaseConnectionError, match="not lead to this database"):
        pg.restore(place, dump)
    assert server.scripts == docker.calls_of(RESTORING) == []


@pytest.mark.parametrize(
    "answer", [(71, ""), (72, ""), (82, "psql: error: timeout expired")], ids=["71", "72", "82"]
)
def test_restore_into_a_server_that_does_not_answer(place, docker, server, dump, answer):
    """So is a server that hangs, or has just begun to stop."""
    docker.answers[PROBING] = answer
    with pytest.raises(pg.DatabaseConnectionError, match="does not accept connections"):
        pg.restore(place, dump)
    assert server.scripts == docker.calls_of(RESTORING) == []


def test_restore_without_room(place, docker, server, dump):
    """Nothing is made where that alone might fill the disk."""
    docker.answers[CREATING] = (1, "hive-pg: less than 128 MB are left for the data\n")
    with pytest.raises(DockerCommandError, match="the disk is full") as caught:
        pg.restore(place, dump)
    assert caught.value.hint.startswith("free space")
    assert server.kinds == ["clean", "clean"]


def test_restore_of_a_database_that_is_gone(place, docker, server, dump):
    """What makes it anew is named."""
    docker.answers[PROBING] = (82, 'FATAL:  database "hive" does not exist')
    with pytest.raises(pg.DatabaseConnectionError, match="has no such database") as caught:
        pg.restore(place, dump)
    assert caught.value.hint.startswith("{init} creates it")
    assert server.kinds == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("hive\n", "hive serves as it did\n"),
        (f"hive\n{KEPT}\n", "warning: what was hive is hive_before_2001"),
        (
            (1, "no such container"),
            "warning: what a restore may have left stays until the next, or --drop-old: ",
        ),
    ],
    ids=["before the swap", "after it", "nobody knows"],
)
def test_restore_interrupted(place, docker, server, dump, capsys, names, said):
    """Ctrl-C drops the new database; which one serves is looked up, and said."""
    server.words["clean"] = ["hive\n", names]
    docker.answers[RESTORING] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        pg.restore(place, dump)
    assert_undone(server)
    assert said in capsys.readouterr().err


def test_restore_that_cannot_clean_up(place, docker, server, dump, capsys):
    """What stays is told, and the error is the first one."""
    server.words["clean"] = ["", (1, "the container is gone")]
    docker.answers[RESTORING] = (1, "pg_restore: error: out of memory")
    with pytest.raises(DockerCommandError, match="out of memory"):
        pg.restore(place, dump)
    assert (
        "warning: what a restore may have left stays until the next, or --drop-old: "
        in capsys.readouterr().err
    )


BUSY = (3, 'ERROR:  database "hive" is being accessed by other users')
SLOW = (3, "ERROR:  canceling statement due to statement timeout")


@pytest.mark.parametrize(
    ("answers", "tries"), [([BUSY, ""], 2), ([SLOW, BUSY] * 9 + [""], 19)], ids=["once", "often"]
)
def test_restore_while_others_connect(place, server, dump, answers, tries):
    """Who connects in between is sent away again."""
    server.words["swap"] = answers
    pg.restore(place, dump)
    assert server.kinds.count("swap") == tries


def test_restore_while_others_always_connect(place, server, dump):
    """In the end it gives up, and drops the new database."""
    server.words["swap"] = [BUSY]
    with pytest.raises(DockerCommandError, match="accessed by other users"):
        pg.restore(place, dump)
    assert (server.kinds.count("swap"), server.kinds[-1]) == (20, "clean")


# -- restore of a script -------------------------------------------------------------------------

SEPARATORS = "a\u2028\u2029\x85b"


def test_restore_of_sql_beside_a_strange_name(place, server, script):
    """A database's name may have what ends a line elsewhere."""
    server.words["facts"] = [facts("other").replace("other", SEPARATORS)]
    pg.restore(place, script)
    assert f'alter database "{SEPARATORS}" is_template true;' in server.sql("protect")


def test_compare_rows_of_strange_names(place, server):
    """So may a table's."""
    server.words["count"] = [f'["public", "{SEPARATORS}", 3]\n']
    assert pg.compare_rows(place.server, place.server, "x") == 3


@pytest.mark.parametrize(
    ("commands", "restricts"),
    [("  \\restrict RESTRICT_KEY\n", True), ("  \\watch [SEC]\n", False), ((1, "no psql"), False)],
    ids=["16.14", "16.9", "no answer"],
)
def test_restore_of_sql(place, docker, server, script, commands, restricts):
    """Psql gets the script whole, cannot run its own commands, and says a word at the end."""
    docker.answers[HELPING] = commands
    pg.restore(place, script)
    (call,) = docker.calls_of(LOADING)
    line_filter, end, *client = call.argv[call.argv.index(pg._LOAD_SCRIPT) + 2 :]
    assert call.taken.decode() == "create table t();\n" * 1000
    key = "01" * 16
    begin = ["-c", f"\\restrict {key}"] if restricts else []
    assert client == ["psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", NEW, *begin, "-f", "-"]
    assert ("hive-pg: a backslash" in line_filter) != restricts
    assert (f"\\unrestrict {key}\n" in end) == restricts
    assert end.startswith("\n;\n")
    assert f"\\warn {WORD}\n" in end
    assert not {"'", '"', "$"} & {*end}


def test_restore_of_sql_protects_others(place, server, script):
    """The state file says what is to be undone before anything is done, and not how to log in."""
    noted = []
    server.words["facts"] = [facts("hive", 'bo"oks')]
    execute = server.execute

    def watch(call):
        noted.append(pg.Workspace(place.directory).state)
        return execute(call)

    server.execute = watch
    pg.restore(place, script)
    at = server.kinds.index("protect")
    assert (noted[at].staging, noted[at].keeper) == (NEW, KEEPER)
    assert [row["name"] for row in noted[at].databases] == ["hive", 'bo"oks']
    lines = server.sql("protect").splitlines()
    assert lines[:2] == ["begin;", f"create role {KEEPER};"]
    assert lines[-3:] == [
        'alter database "hive" is_template true;',
        'alter database "bo""oks" is_template true;',
        "commit;",
    ]
    for kind in ("facts", "undo"):  # those of other roles are not its to change
        assert "pg_has_role(" in server.sql(kind)
    assert server.kinds.index("undo") < server.kinds.index("swap")
    assert pg.Workspace(place.directory).state.staging == ""


def test_restore_of_an_ordinary_roles_sql(place, server, script):
    """It can make no other role; its databases are protected all the same."""
    server.words["facts"] = [facts(superuser="off")]
    pg.restore(place, script)
    assert "create role" not in server.sql("protect")
    assert "pg_authid" not in server.sql("protect") + server.sql("undo")
    assert "is_template true" in server.sql("protect")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param((0, ""), "in the middle of a statement or transaction", id="no end"),
        pytest.param(
            (3, 'psql:<stdin>:8: ERROR:  syntax error at "nope"\nLINE 1: nope\n        ^\n'),
            'cannot restore it: syntax error at "nope"$',
            id="an error",
        ),
        pytest.param(
            (0, "hive-pg: a backslash in line 7\n"),
            "the script has, or may have, a command for psql$",
            id="\\",
        ),
    ],
)
def test_restore_of_sql_that_fails(place, docker, server, script, answer, words):
    """The error has why; other databases are free again, and the new one is dropped."""
    docker.answers[LOADING] = answer
    with pytest.raises(pg.PostgreSQLIntegrationError, match=words) as caught:
        pg.restore(place, script)
    assert "LINE 1" not in caught.value.detail  # in which a password may be
    assert "undo" in server.kinds
    assert_undone(server)


def test_restore_of_sql_that_fails_before_it_protects(place, server, script):
    """Where nothing was protected, nothing is freed."""
    server.words["facts"] = [(1, "FATAL:  out of memory")]
    with pytest.raises(DockerCommandError):
        pg.restore(place, script)
    assert not {"protect", "undo"} & {*server.kinds}


def test_restore_of_a_part_of_a_file(up, place, docker, monkeypatch):
    """From stdin it begins where stdin is."""
    (up / "x").write_text(f"read already {WHOLE}")
    with open(up / "x", encoding="utf-8") as file:
        os.lseek(file.fileno(), len("read already "), os.SEEK_SET)
        monkeypatch.setattr(pg.sys, "stdin", file)
        pg.restore(place, "-")
    assert docker.calls_of(RESTORING)[0].taken == WHOLE.encode()


def test_restore_from_a_pipe(up, place, docker, monkeypatch):
    """What a pipe has is copied first, and nothing of the copy is left."""
    ours, theirs = os.pipe()
    os.write(theirs, WHOLE.encode())
    os.close(theirs)
    before = os.listdir(up)
    with open(ours, encoding="utf-8") as file:
        monkeypatch.setattr(pg.sys, "stdin", file)
        pg.restore(place, "-")
        assert not file.closed
    assert docker.calls_of(RESTORING)[0].taken == WHOLE.encode()
    assert {*os.listdir(up)} - {*before} <= {".hive-pg.json"}


@pytest.mark.parametrize(
    ("name", "fault"),
    [("nope", "there is no file"), ("data", "is a directory"), ("empty", "is empty")],
)
def test_restore_of_no_file(place, docker, up, name, fault):
    """The error says why, and Docker is not even asked."""
    (up / "empty").touch()
    with pytest.raises(WorkspaceError, match=fault) as caught:
        pg.restore(place, str(up / name))
    assert caught.value.hint
    assert docker.calls == []


@pytest.mark.parametrize(
    ("words", "directory", "file"),
    [
        ("x", ".", "x"),
        ("-", ".", "-"),
        ("DIR x", "DIR", "x"),
        ("DIR -", "DIR", "-"),
        ("--drop-old DIR", "DIR", None),
        ("--drop-old", ".", None),
    ],
)
def test_restore_tells_the_directory_from_the_file(hive, up, monkeypatch, words, directory, file):
    """One argument is FILE, but for --drop-old, which takes none."""
    (up / "DIR").mkdir()
    seen = []
    look = lambda line: seen.append((line.directory, line.file))  # noqa: E731
    monkeypatch.setattr(pg.CommandLine, "_restore", look)
    assert hive(f"restore {words}") == 0
    assert seen == [(directory, file)]


def test_restore_without_a_file(hive, capsys):
    """It is wrong usage."""
    assert hive("restore") == ExitCode.USAGE
    assert "FILE is missing" in capsys.readouterr().err


def test_open_source_stdin(monkeypatch, tmp_path):
    """`-` is stdin, whatever is called so in the directory."""
    (tmp_path / "-").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO())
    monkeypatch.setattr(pg.sys.stdin, "fileno", lambda: pg.os.open(os.devnull, os.O_RDONLY))
    pg.open_source("-", ".").close()
    with pytest.raises(WorkspaceError, match="is a directory"):
        pg.open_source("./-", ".")


@pytest.mark.parametrize("command", ["restore x.dump", "reset", "destroy --data"])
def test_without_a_terminal_and_without_yes(hive, docker, command, dump, capsys):
    """Nothing is done, and the hint is --yes."""
    assert hive(command) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "nothing was done" in said
    assert "--yes" in said
    assert {"docker inspect"} >= {" ".join(call.argv[:2]) for call in docker.calls}


# -- snapshot ------------------------------------------------------------------------------------

COPY = f"hive_snapshot_{STAMP}"
FRESH_LOCK = f".hive-pg.json.lock.{STAMP}"
BOTH = f"hive\n{COPY}\n"


@pytest.mark.parametrize(("name", "given"), [("", STAMP), ("a.b-C", "a.b-C")], ids=["", "named"])
def test_snapshot(place, docker, server, name, given, capsys):
    """Sessions end, the copy has the settings of the database, and at last its own comment."""
    server.words["staging"] = ["t\nt\n"]
    assert pg.snapshot(place, name) == given
    assert server.kinds == ["clean", "listed", "staging"]
    sql = server.sql("staging")
    ends = sql.index("pg_terminate_backend(pid) from pg_stat_activity where datname = E'hive'")
    steps = ("create database %I", pg.STAGING_COMMENT.format("hive"), "aclexplode", f"@{given}'")
    assert [ends, *map(sql.index, steps)] == sorted([ends, *map(sql.index, steps)])
    assert f"E'{COPY}', pg_get_userbyid" in sql
    assert "template %I encoding %L" in sql
    assert "    E'hive', pg_encoding_to_char" in sql
    (call,) = docker.calls_of(CREATING)
    assert "room $(psql" in call.command
    assert call.timeout == pg.WALK_TIMEOUT_S
    assert "hive is copied; sessions that had to end: 2\n" in capsys.readouterr().err


def test_snapshot_of_a_name_that_is_taken(place, server):
    """Nothing is overwritten."""
    server.words.update(clean=[BOTH], listed=[f"{COPY}\n", ""])
    with pytest.raises(WorkspaceError, match="there is a snapshot @old") as caught:
        pg.snapshot(place, "old")
    assert caught.value.hint.endswith("{snapshot} --drop @old")
    assert server.sql("listed") == pg.build_list_sql("hive", pg.SNAPSHOT_COMMENT + "old")
    assert "staging" not in server.kinds
    assert pg.snapshot(place, "new") == "new"
    assert "hive_snapshot_20010909T014641Z" in server.sql("staging")


def test_snapshot_by_its_name_as_typed(place, docker, server):
    """A program may say @NAME, too, as the commands do."""
    assert pg.snapshot(place, "@new") == "new"
    server.words["listed"] = [f"{COPY}\n"]
    pg.drop_snapshot(place, "@old")
    assert "@old" in server.sql("drop")


@pytest.mark.parametrize("name", ["a/b", "-a", "a b", "x" * 64, "a\nb", "."])
def test_snapshot_of_no_name(place, docker, name):
    """A name that would be hard to type, or to read in a list, is refused at once."""
    with pytest.raises(WorkspaceError, match="is no name of a snapshot"):
        pg.snapshot(place, name)
    assert docker.calls == []


def test_snapshot_while_others_connect(place, server):
    """Who connects in between is sent away again; whoever stays until the end is named."""
    server.words["staging"] = [BUSY, BUSY, ""]
    pg.snapshot(place)
    assert server.kinds == ["clean", "listed", *["staging"] * 3]
    server.words["staging"] = [BUSY]
    with pytest.raises(DockerCommandError, match="accessed by other users"):
        pg.snapshot(place)
    assert server.kinds[-1] == "clean"


def test_snapshot_interrupted(hive, server, capsys):
    """The server goes on without us: its copying is ended, and what it has made is dropped."""
    server.words["staging"] = [KeyboardInterrupt()]
    assert hive("snapshot @x") == ExitCode.INTERRUPTED
    assert server.kinds == ["clean", "listed", "staging", "clean"]
    assert "'^create database .*_(restoring|snapshot|fresh)_" in server.sql("clean").splitlines()[0]
    assert "; give the same command again" in capsys.readouterr().err


def test_restore_of_a_snapshot(place, docker, server):
    """It is copied, so that it stays; the copy takes its comment, and changes names."""
    server.words.update(clean=[BOTH], listed=[f"{COPY}\n"])
    assert pg.restore(place, "@old") == KEPT
    assert server.kinds == ["listed", "clean", "staging", "swap"]
    assert docker.calls_of(RESTORING) == docker.calls_of(LOADING) == []
    assert f"where datname = E'{COPY}';" in server.sql("staging")
    assert f"    E'{COPY}', pg_encoding_to_char" in server.sql("staging")
    assert f"where datname = E'{COPY}'\n\\gexec" in server.sql("swap")
    assert f"E'{NEW}'" in server.sql("swap")
    assert f'comment on database "{COPY}"' not in server.sql("swap") + server.sql("staging")


def test_restore_of_no_snapshot(place, server):
    """The list says which there are."""
    for name in ("@nope", "@", "@{x}", "@{0}"):
        said = re.escape(f"there is no snapshot {name}")
        with pytest.raises(WorkspaceError, match=said) as caught:
            pg.restore(place, name)
        assert caught.value.hint == "{snapshot} --list"
    assert {*server.kinds} == {"listed"}


def test_snapshot_list(hive, server, capsys):
    """A line each, or JSON; a copy's name may have any character of a database's."""
    server.words["none"] = [f"old|1048576|a|b_snapshot_{STAMP}\n"]
    assert hive("snapshot --list") == 0
    assert capsys.readouterr().out == f"@old{' ' * 23}{STAMP}     1.0 MB\n"
    assert hive("snapshot --list --json") == 0
    row = {"name": "old", "created": STAMP, "size_bytes": 1048576}
    expected = {"snapshots": [{**row, "database": f"a|b_snapshot_{STAMP}"}]}
    assert json.loads(capsys.readouterr().out) == expected


def test_snapshot_list_of_comments_that_are_no_names(hive, server, capsys):
    """A script that was restored may have given a database any comment."""
    odd = ["evil\x1b[31m", "e|vil", "", "ev\ril", "ev\x85il"]
    lines = [f"{name}|1|x_snapshot_{STAMP}\n" for name in odd]
    server.words["none"] = ["".join([*lines, "evil|1|x\n", f"old|1|b_snapshot_{STAMP}\n"])]
    assert hive("snapshot --list") == 0
    assert capsys.readouterr().out == f"@old{' ' * 23}{STAMP}        1 B\n"


def test_snapshot_as_json(hive, server, capsys):
    """It is made, and its name an object."""
    assert hive("snapshot @x --json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "x"}
    assert "staging" in server.kinds


def test_abandoned_locks(place, up):
    """Only what hive-pg has named so is its own to remove."""
    for name in (FRESH_LOCK, f"{FRESH_LOCK}~", ".hive-pg.json.lock.bak", ".hive-pg.json.lock"):
        (up / name).touch()
    assert pg.find_abandoned(place) == [str(up / FRESH_LOCK)]


def test_abandoned_locks_where_there_are_no_locks(monkeypatch, place, up):
    """Nobody knows whether its program still runs: its database is not dropped."""
    (up / FRESH_LOCK).touch()
    monkeypatch.setattr(pg, "lock_file", lambda _: OSError(errno.ENOLCK, "No locks available"))
    assert pg.find_abandoned(place) == []
    assert not pg.has_left(place)


def test_snapshot_drop(hive, server, capsys):
    """That one alone, after a yes."""
    server.words["listed"] = ["", f"{COPY}\n"]
    assert hive("snapshot --drop @nope") == ExitCode.FAILED
    assert "there is no snapshot @nope" in capsys.readouterr().err
    assert hive("snapshot --drop @old") == ExitCode.FAILED
    assert "nobody is there to answer" in capsys.readouterr().err
    assert server.kinds == ["listed", "listed"]
    assert hive("snapshot --drop --yes @old") == 0
    assert server.sql("drop") == pg.build_list_sql("hive", pg.SNAPSHOT_COMMENT + "old", drops=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("snapshot", (".", None)),
        ("snapshot @x", (".", "@x")),
        ("snapshot DIR", ("DIR", None)),
        ("snapshot DIR @x", ("DIR", "@x")),
        ("snapshot @x --drop", (".", "@x")),
        ("snapshot DIR --drop @x", ("DIR", "@x")),
        ("restore DIR --yes x.dump", ("DIR", "x.dump")),
        ("restore @x", (".", "@x")),
        ("restore DIR @x", ("DIR", "@x")),
    ],
)
def test_snapshot_beside_a_directory(monkeypatch, words, expected):
    """What begins with @ is a snapshot."""
    monkeypatch.setattr("os.path.isdir", lambda path: path in ("DIR", "."))
    line = pg.read_command_line("hive-pg", words.split())
    assert (line.directory, line.file) == expected


# -- run --fresh ---------------------------------------------------------------------------------

FRESH = f"hive_fresh_{STAMP}"


def test_temporary_database(place, server, up):
    """It is empty but for pgvector, locked while it is in use, and gone afterwards."""
    with pg.temporary_database(place) as url:
        assert url == place.settings.url.replace(database=FRESH)
        assert server.kinds == ["staging"]
        assert f'\\connect "{FRESH}"\nset search_path = public;\nset client' in server.sql(
            "staging"
        )
        assert f"E'hive-pg run --fresh of {STAMP}'" in server.sql("staging")
        assert pg.is_locked(str(up / FRESH_LOCK))
        assert not pg.is_locked(place.lock_path)
        assert not pg.has_left(place)
    drop = pg.build_list_sql("", f"{pg.FRESH_COMMENT}{STAMP}", drops=True)
    assert server.scripts[-1][2] == drop
    assert not (up / FRESH_LOCK).exists()


def test_temporary_database_of_a_snapshot(place, server):
    """It is a copy, with or without the @."""
    for name in ("old", "@old"):
        server.words["listed"] = [f"{COPY}\n"]
        with pg.temporary_database(place, name):
            assert f"E'{COPY}', pg_encoding_to_char" in server.sql("staging")
    assert "create extension" not in server.sql("staging")
    assert server.sql("listed") == pg.build_list_sql("hive", pg.SNAPSHOT_COMMENT + "old")


def test_temporary_databases_at_once(place, server, up):
    """Each has a name of its own, also within a second."""
    with pg.temporary_database(place) as one, pg.temporary_database(place) as other:
        assert (one.database, other.database) == (FRESH, "hive_fresh_20010909T014641Z")


def test_temporary_database_that_cannot_be_made(place, server, up):
    """What there is of it goes, and so does the lock."""
    server.words["staging"] = [(1, "ERROR:  out of memory")]
    with pytest.raises(DockerCommandError, match="out of memory"), pg.temporary_database(place):
        pass
    assert server.kinds == ["staging", "clean", "drop"]
    assert not (up / FRESH_LOCK).exists()


def test_temporary_database_that_cannot_be_dropped(place, docker, server, up, capsys):
    """The next command does so, as that of one that was killed."""
    server.words["drop"] = [(1, "Error response from daemon: container is not running"), ""]
    with pg.temporary_database(place):
        pass
    assert "warning: cannot drop what is not needed: " in capsys.readouterr().err
    assert (up / FRESH_LOCK).exists()
    assert pg.has_left(place)
    pg.get_settled(place)
    assert server.kinds[-2:] == ["drop", "drop"]
    assert not (up / FRESH_LOCK).exists()


def test_temporary_database_of_the_library(up, docker, server):
    """The hint of an error is as a person would type it."""
    manager = pg.PostgreSQLManager(str(up), engine=pg.Engine(docker))
    with manager.temporary_database() as url:
        assert url.database == FRESH
    docker.containers.clear()
    with pytest.raises(NotSetUpError) as caught, manager.temporary_database():
        pass
    assert "hive-pg start" in caught.value.hint


@pytest.mark.parametrize("answer", [7, -15], ids=["ends", "is killed"])
def test_run_fresh(hive, docker, server, answer):
    """CMD has the URL of that database in its environment, and its exit code is ours."""
    docker.answers["make"] = (answer, "")
    assert hive("run --fresh -- make test") == (7 if answer == 7 else 143)
    (call,) = docker.calls_of("make test")
    assert call.env["PGDATABASE"] == call.env["POSTGRES_DB"] == FRESH
    assert call.env["DATABASE_URL"].endswith(f"/{FRESH}")
    assert server.kinds == ["staging", "drop"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run -- make", (".", None)),
        ("run --fresh -- make", (".", "")),
        ("run DIR --fresh -- make", ("DIR", "")),
        ("run --fresh=@x DIR -- make", ("DIR", "@x")),
        ("run --fresh @x -- make", (".", "@x")),
    ],
)
def test_run_fresh_beside_a_directory(monkeypatch, words, expected):
    """DIR stands in front of --fresh, or behind its @NAME."""
    monkeypatch.setattr("os.path.isdir", lambda path: path in ("DIR", "."))
    line = pg.read_command_line("hive-pg", words.split())
    assert (line.directory, line.fresh, line.argv) == (*expected, ["make"])


# -- reset ---------------------------------------------------------------------------------------


def test_reset(place, docker, server):
    """A new database with pgvector takes the present one's place."""
    assert pg.reset(place) == KEPT
    assert server.kinds == ["clean", "staging", "swap"]
    assert {base for _, base, _ in server.scripts} == {"template1"}
    assert "E'template0', pg_encoding_to_char" in server.sql("staging")
    assert f'\\connect "{NEW}"\nset search_path = public;\nset client' in server.sql("staging")
    assert docker.calls_of(RESTORING) == docker.calls_of(LOADING) == []


@pytest.mark.parametrize("seed", ["x.dump", "x.sql"])
def test_reset_with_a_seed(hive, docker, server, dump, script, seed):
    """It is loaded when pgvector is there, and before the names change."""
    assert hive(f"reset --yes --seed {seed}") == 0
    kinds = [kind for kind in server.kinds if kind in ("staging", "made", "swap")]
    assert kinds == ["staging", "made", "swap"]
    assert pg.CREATE_EXTENSION_SQL in server.sql("staging")
    assert [len(docker.calls_of(RESTORING)), len(docker.calls_of(LOADING))].count(1) == 1


@pytest.mark.parametrize("dumped", ["", "PGDMP\1"], ids=["SQL", "pg_dump -Fc"])
def test_reset_with_a_seed_that_makes_pgvector(hive, server, up, dumped):
    """It may do that in a schema of its own, where pgvector must not be elsewhere before."""
    makes = "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions;\n"
    (up / "x").write_text(dumped + "-- \n" * 5000 + makes)
    assert hive("reset --yes --seed x") == 0
    assert "create extension" not in server.sql("staging")


@pytest.mark.parametrize(
    ("seed", "before"),
    [
        pytest.param("-- {}", True, id="commented out"),
        pytest.param("select 1;\n-- {}", True, id="commented out, later"),
        pytest.param("select 1;\n{}", False, id="SQL"),
        pytest.param("PGDMP\1\17\0\0\0{}", False, id="pg_dump -Fc"),
    ],
)
def test_reset_makes_pgvector_before_a_seed(hive, server, up, seed, before):
    """Only a seed that really makes it is left to do so: a comment makes nothing."""
    makes = "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;\n"
    (up / "x").write_text(seed.format(makes) + "select 2;\n")
    assert hive("reset --yes --seed x") == 0
    assert (pg.CREATE_EXTENSION_SQL in server.sql("staging")) is before


def test_reset_with_no_seed(hive, docker, capsys):
    """A file that is not there is found out before a question is asked."""
    assert hive("reset --seed nope") == ExitCode.FAILED
    assert "there is no file 'nope'" in capsys.readouterr().err
    assert hive("reset --seed @base") == ExitCode.FAILED
    assert "or hive-pg restore @NAME\n" in capsys.readouterr().err
    assert docker.calls == []


# -- rotate --------------------------------------------------------------------------------------


def env_of(up):
    """Return what .env says."""
    return dict(pg.Workspace(str(up)).values)


def test_rotate(place, docker, server, up):
    r"""Psql's own \password gets it on stdin, then .env has it; no argument and no SQL does."""
    old = env_of(up)
    pg.rotate(place)
    new = env_of(up)
    password = new["POSTGRES_PASSWORD"]
    ((kind, _, script),) = server.scripts
    assert kind == "password"
    scram = "set password_encryption = 'scram-sha-256';"
    assert script == f"{scram}\n\\password\n{password}\n{password}\n"
    assert password != old["POSTGRES_PASSWORD"]
    assert len(password) == 32
    assert password not in str([call.argv for call in docker.calls])
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    assert changed == {"HIVE_DATABASE_URL", "POSTGRES_PASSWORD"}
    assert docker.calls[-1].stdin == password + "\n"  # it logs in with it
    assert password not in (up / ".hive-pg.json").read_text()


def test_rotate_that_the_server_refuses(place, server, up):
    """The old password stays; the new one is in the state file, for the next start."""
    server.words["password"] = [(1, "ERROR:  cannot execute ALTER ROLE")]
    old = env_of(up)
    with pytest.raises(DockerCommandError, match="cannot change the password"):
        pg.rotate(place)
    assert env_of(up) == old
    assert pg.Workspace(str(up)).state.next_password
    assert stat.S_IMODE((up / ".hive-pg.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("why", ["read-only", "another's"])
def test_rotate_where_env_cannot_be_written(place, server, up, tmp_path_factory, why):
    """Server and state stay as they were: nobody is locked out."""
    env = up / ".env"
    if why == "read-only":
        env.chmod(0o400)
    else:
        other = tmp_path_factory.mktemp("other") / "env"
        env.rename(other)
        env.symlink_to(other)
        (other.parent / ".hive-pg.json").write_text("{}")
    before = env.read_text()
    with pytest.raises(WorkspaceError, match=r"it is read-only|leads out of the workspace"):
        pg.rotate(place)
    assert (server.kinds, env.read_text()) == ([], before)
    assert pg.Workspace(str(up)).state.next_password == ""


def test_rotate_goes_on_with_the_password_of_an_interrupted_one(place, server, up):
    """The server may have that one already."""
    place.remember(next_password="n3xt")
    pg.rotate(place)
    assert env_of(up)["POSTGRES_PASSWORD"] == "n3xt"
    assert server.scripts[0][2].endswith("n3xt\nn3xt\n")
    assert pg.Workspace(str(up)).state.next_password == ""


def test_rotate_keeps_what_another_has_written(place, up, monkeypatch):
    """What .env says once the lock is there counts, not what it said before."""

    class Lock(pg.Lock):
        def __enter__(self):
            other = pg.Workspace(str(up))
            url = other.settings.url.replace(port=6000)
            other.save_env(other.settings.replace(url=url).env)
            return super().__enter__()

    monkeypatch.setattr(pg, "Lock", Lock)
    monkeypatch.setattr(pg, "verify", lambda workspace: None)
    pg.rotate(place)
    assert env_of(up)["HIVE_POSTGRES_PORT"] == "6000"
    assert ":6000/" in env_of(up)["HIVE_DATABASE_URL"]
    assert ":s3cret@" not in env_of(up)["HIVE_DATABASE_URL"]


def test_rotate_with_a_password_in_the_compose_file(place, docker, up):
    """A compose file that does not follow .env would bring the old one back: it is refused."""
    config = docker.config

    def fixed(call):
        return config(call).replace(call.env["POSTGRES_PASSWORD"], "fixed")

    docker.answers["docker compose config"] = fixed
    before = (up / ".env").read_text()
    with pytest.raises(WorkspaceError, match="a password of its own"):
        pg.rotate(place)
    assert (up / ".env").read_text() == before
    assert docker.calls_of("docker exec") == []


# -- destroy -------------------------------------------------------------------------------------


SEEN = "docker exec --interactive hive-postgres stat -c %d:%i /var/lib/postgresql/data"


@pytest.fixture
def removable(docker, server):
    """Let containers, networks and clusters be removed."""

    def remove(call):
        docker.containers[:] = [c for c in docker.containers if c["Name"][1:] != call.argv[-1]]
        return ""

    docker.answers["docker rm"] = remove
    docker.answers["docker network ls"] = "n1\n"
    docker.answers["docker network rm"] = docker.answers["docker run"] = ""
    docker.answers[ROLES] = "create role ann;\n"
    docker.answers[SEEN] = (1, "")
    server.words["every"] = ['["hive", "postgres", "template1"]\n']
    server.words["used"] = ["f\n"]


def test_destroy(place, docker, up, removable):
    """Stopped, removed, the network, too; files and data stay."""
    before = sorted(os.listdir(up)), (up / ".env").read_text()
    pg.destroy(place)
    assert docker.calls_of("docker stop")
    assert [c.argv[2:] for c in docker.calls_of("docker rm")] == [["hive-postgres"]]
    assert [c.argv[2:] for c in docker.calls_of("docker network rm")] == [["rm", "n1"]]
    assert docker.calls_of("docker run") == docker.calls_of("docker exec") == []
    assert (sorted(os.listdir(up)), (up / ".env").read_text()) == before


def test_destroy_data_where_another_workspace_has_the_project(place, docker, removable, other):
    """A copy whose names were edited by hand makes Compose replace nothing of the original's."""
    docker.containers[:] = [make_container("original", other, port=1)]
    with pytest.raises(ContainerConflictError, match="original has the Compose project") as caught:
        pg.destroy(place, data=True)
    assert "init} gives this workspace a project of its own" in caught.value.hint
    assert {"docker stop", "docker compose up", "docker rm"}.isdisjoint(docker.commands)


def test_destroy_again(place, docker, removable, capsys):
    """It says that there is nothing."""
    docker.containers.clear()
    pg.destroy(place)
    assert "there is no container hive-postgres" in capsys.readouterr().err
    assert docker.calls_of("docker rm") == []


@pytest.mark.skipif(pg.WINDOWS, reason="no file has a mode")
def test_destroy_data_where_no_mode_is_kept(monkeypatch, capsys, place, up, removable):
    """Others may read the roles there, too, with what the server knows of their passwords."""
    monkeypatch.setattr(pg, "set_mode", lambda file, mode: os.chmod(file, 0o666) or 0o666)
    pg.destroy(place, data=True)
    said = f"warning: others may read {up}/backups/globals-{STAMP}.sql: its mode"
    assert said in capsys.readouterr().err


def test_destroy_beside_another_service(place, docker, up, removable):
    """The network of a project that has another container stays."""
    docker.containers.append(make_container("web", up, service="web"))
    pg.destroy(place)
    assert docker.calls_of("docker network rm") == []
    assert [c["Name"] for c in docker.containers] == ["/web"]


def test_destroy_whose_network_is_used(place, docker, removable, capsys):
    """A network that somebody's container is in stays, which is a warning."""
    words = "Error response from daemon: error while removing network: x has active endpoints"
    docker.answers["docker network rm"] = (1, words)
    pg.destroy(place)
    assert "warning: the network stays, which other containers use: " in capsys.readouterr().err


def test_destroy_data(place, docker, up, removable):
    """The backup is written first; then the cluster goes, and nothing above it."""
    pg.destroy(place, data=True)
    backups = up / "backups"
    assert (backups / f"hive-{STAMP}.dump").read_text() == WHOLE
    roles = backups / f"globals-{STAMP}.sql"
    assert (roles.read_text(), roles.stat().st_mode & 0o777) == ("create role ann;\n", 0o600)
    assert sorted(os.listdir(backups)) == [".gitignore", roles.name, f"hive-{STAMP}.dump"]
    assert [c.argv[-1] for c in docker.calls_of("docker rm")] == ["hive-postgres"]
    (run,) = docker.calls_of("docker run")
    assert f'type=bind,"source={up}/data/postgres",target=/target' in run.argv
    assert run.argv[-4:] == ["pgdata", "incomplete-deleted", "/target", ""]
    words = docker.commands
    assert words.index("docker exec") < words.index("docker stop") < words.index("docker rm")
    assert words.index("docker rm") < words.index("docker run")


@pytest.mark.parametrize(
    ("others", "used", "left", "files"),
    [
        pytest.param({"books": True}, "f", "", ["books"], id="another"),
        pytest.param({"a/b": True}, "f", "", ["a_b"], id="an odd name"),
        pytest.param({KEPT: True}, "f", "", [KEPT], id="an old one"),
        pytest.param([NEW], "f", NEW, [], id="half a restore"),
        pytest.param(["postgres"], "t", "", ["postgres"], id="the server's own, used"),
        pytest.param(["template1"], "t", "", ["template1"], id="the template, used"),
        pytest.param(["postgres"], "f", "", [], id="the server's own"),
    ],
)
def test_destroy_data_of_other_databases(
    place, docker, removable, server, up, capsys, others, used, left, files
):
    """Each one is backed up, but for what nobody made anything in, or a restore left half done."""
    server.words["every"] = [json.dumps(["hive", *others])]
    server.words["used"], server.words["listed"] = [f"{used}\n"], [f"{left}\n"]
    dumping = {name: DUMPING.replace("=hive", f"={name}") for name in others}
    docker.answers.update(dict.fromkeys(dumping.values(), (0, "", WHOLE)))
    pg.destroy(place, data=True)
    dumped = sorted(path.name for path in (up / "backups").glob("*.dump"))
    assert dumped == sorted(f"{name}-{STAMP}.dump" for name in ["hive", *files])
    assert sum(len(docker.calls_of(argv)) for argv in dumping.values()) == len(files)
    back = f"hive-pg init, then hive-pg restore {up / 'backups' / f'hive-{STAMP}.dump'}"
    assert capsys.readouterr().err.endswith(f"to come back: {back}\n")
    assert "istemplate" not in server.sql("every")  # a template has data as well
    assert len(docker.calls_of("docker run")) == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param("every", "cannot list the databases: ", id="the list"),
        pytest.param("used", "cannot look into p", id="the server's own"),
        pytest.param("closed", "cannot dump database hive: ", id="a closed one"),
        pytest.param("roles", "cannot dump the roles: ", id="the roles"),
    ],
)
def test_destroy_data_that_cannot_be_backed_up(place, docker, removable, server, spoil, words):
    """What is missing is named, and nothing is removed."""
    if spoil == "closed":
        docker.answers[DUMPING] = (1, 'FATAL:  database "hive" is not currently accepting')
    elif spoil == "roles":
        docker.answers[ROLES] = (1, "pg_dumpall: error: permission denied for table pg_authid")
    else:
        server.words[spoil] = [(1, "FATAL:  out of memory")]
    with pytest.raises(pg.PostgreSQLIntegrationError, match=words) as caught:
        pg.destroy(place, data=True)
    assert caught.value.hint.endswith("with nothing saved: {destroy} --data --no-backup")
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


@pytest.mark.parametrize(
    ("mounts", "place_of_data"),
    [
        pytest.param([], "the container alone", id="none"),
        pytest.param([("", "/data")], "memory", id="tmpfs"),
        pytest.param([("ab" * 32, "/data")], f"volume {'ab' * 32}", id="no name"),
    ],
)
def test_destroy_of_what_only_the_container_has(
    place, docker, up, removable, mounts, place_of_data, capsys
):
    """It is refused without --data; with it, the volume goes with the container."""
    (container,) = docker.containers
    kinds = {True: "volume", False: "tmpfs"}
    container["Mounts"] = [
        {"Type": kinds[bool(name)], "Name": name, "Destination": target} for name, target in mounts
    ]
    container["Config"]["Env"] = ["PGDATA=/data/pgdata"]
    with pytest.raises(WorkspaceError, match=f"would be lost, which is in {place_of_data}$"):
        pg.destroy(place)
    assert docker.calls_of("docker rm") == docker.calls_of("docker stop") == []
    pg.destroy(place, data=True, backup=False)
    assert [c.argv[2:] for c in docker.calls_of("docker rm")] == [["--volumes", "hive-postgres"]]
    assert docker.calls_of("docker run") == []
    assert f"{place_of_data} is deleted" in capsys.readouterr().err


PURGED = {
    "changed": ({"docker-compose.yml": "services: {}\n"}, ["docker-compose.yml"]),
    "of an earlier version": (
        {"docker-compose.yml": pg.render_compose().replace(pg.__version__, "0.0.9rc1")}, []
    ),
    "a list of one's own": ({".gitignore": "/.env\n*.pyc\n"}, [".gitignore"]),
    "ours": ({".gitignore": "/.env\n/.env.*.tmp\n/.hive-pg.json*\n"}, []),
    "something beside the data": ({"data/mine": ""}, ["data"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PURGED)
def test_destroy_purge(place, up, removable, capsys, kind):
    """What `init` has written goes, as far as nobody has changed it."""
    files, left = PURGED[kind]
    place.remember()
    for name, text in files.items():
        (up / name).write_bytes(text.encode())
    shutil.rmtree(up / "data/postgres/pgdata")
    pg.destroy(place, purge=True, backup=False)
    assert sorted(os.listdir(up)) == left
    assert ".env" in capsys.readouterr().err.splitlines()[-2]


READS = "services: {db: {environment: {A: $POSTGRES_DB}}}\n"


@pytest.mark.parametrize(
    ("named", "files"),
    [
        ("", {"docker-compose.yml": READS}),
        ("", {"docker-compose.yml": "services: {db: {env_file: .env}}\n"}),
        ("", {"docker-compose.yml": "services: {db: {environment: [POSTGRES_PASSWORD]}}\n"}),
        ("", {"docker-compose.override.yml": READS}),
        ("", {"docker-compose.prod.yml": READS}),
        ("", {"docker-compose.yml": "include: [db.yml]\n", "db.yml": READS}),
        ("", {"docker-compose.yml": "services: {db: {extends: {file: db.yml, service: db}}}\n"}),
        ("docker-compose.yml:db.yml", {"db.yml": READS}),
        ("docker-compose.yml:sub/db.yml", {"sub/db.yml": READS}),
    ],
    ids="read env_file pass-through override other include extends named below".split(),
)
def test_destroy_purge_beside_a_file_that_reads_the_login(place, up, removable, named, files):
    """It may have been there before `init`: a person's compose file needs it again."""
    login = "".join(f"{key}={place.values[key]}\n" for key in pg.URL_KEYS[1:4])
    theirs = {"COMPOSE_FILE": named, "COMPOSE_PATH_SEPARATOR": ":"} if named else {}
    place.save_env(theirs)
    (up / "sub").mkdir()
    for name, text in {
        "docker-compose.yml": "services: {}\n",
        "compose.ci.yml": "",
        **files,
    }.items():
        (up / name).write_text(text)
    pg.destroy(place, purge=True, backup=False)
    assert (up / "compose.ci.yml").exists()
    left = (up / ".env").read_text()
    assert {*login.splitlines()} == {line for line in left.splitlines() if "COMPOSE" not in line}


def test_destroy_purge_leaves_what_came_with_the_clone(place, up, removable, docker, capsys):
    """A file that git has is the team's, even where it is as `init` writes it."""
    (up / ".gitignore").write_text("/.env\n/.env.*.tmp\n/.hive-pg.json*\n")
    docker.answers["git"] = ".gitignore\0docker-compose.yml\0"
    shutil.rmtree(up / "data/postgres/pgdata")
    pg.destroy(place, purge=True, backup=False)
    assert sorted(os.listdir(up)) == [".gitignore", "docker-compose.yml"]
    assert "gitignore" not in capsys.readouterr().err


def test_destroy_purge_beside_a_cluster_that_is_kept(place, up, removable):
    """What keeps the rest of the data out of git stays with it."""
    (up / "data/.gitignore").write_text("/postgres/\n/.gitignore\n")
    (up / "data/postgres/pgdata").rename(up / "data/postgres/pgdata.18")
    pg.destroy(place, purge=True, backup=False)
    assert (up / "data/.gitignore").exists()


@pytest.mark.parametrize("theirs", ["", "db.yml:more.yml:"], ids=["Compose's own choice", "a list"])
def test_destroy_purge_beside_others(place, up, removable, theirs):
    """Compose goes on with the others' files, and a linked .env loses no more than our keys."""
    (up / "docker-compose.yml").rename(up / "db.yml" if theirs else up / "compose.yml")
    named = f"{theirs or 'compose.yml:'}docker-compose.hive-pg.yml"
    place.save_env({"COMPOSE_FILE": named, "COMPOSE_PATH_SEPARATOR": ":"})
    (up / "docker-compose.hive-pg.yml").write_text(pg.render_addition("", "./data/postgres"))
    (up / ".env").rename(up / "theirs.env")
    (up / ".env").symlink_to("theirs.env")
    (up / "db.yml" if theirs else up / "compose.yml").write_text("services: {}\n")
    pg.destroy(place, purge=True, backup=False)
    kept = "COMPOSE_FILE=db.yml:more.yml\nCOMPOSE_PATH_SEPARATOR=:\n" if theirs else ""
    assert (up / ".env").read_text() == kept
    assert not (up / "docker-compose.hive-pg.yml").exists()


@pytest.mark.parametrize("left", ["container", "volume"])
def test_destroy_purge_beside_the_rest_of_its_project(place, docker, up, removable, left):
    """Without the project's name plain Compose would make a second set of what is there."""
    if left == "container":
        docker.containers.append({**make_container("web", up, service="web"), "Mounts": []})
    else:
        docker.answers["docker volume ls"] = lambda c: "x\n" * ("project=w-1a2b3c" in c.command)
    pg.destroy(place, purge=True, backup=False)
    assert (up / ".env").read_text() == "COMPOSE_PROJECT_NAME=w-1a2b3c\n"


def test_destroy_purge_keeps_what_was_written_meanwhile(place, docker, up, removable):
    """A line that somebody adds to .env while the data is deleted stays; a lock left goes."""
    (up / ".hive-pg.json.lock.20260101T000000Z").touch()

    def write(_):
        with open(up / ".env", "a") as file:
            file.write("MINE=1\n")
        return ""

    docker.answers["docker run"] = write
    pg.destroy(place, purge=True, backup=False)
    assert (up / ".env").read_text() == "MINE=1\n"
    assert not [*up.glob(".hive-pg.json.lock.*")]


def test_destroy_data_whose_backup_fails(place, docker, removable):
    """Nothing is removed, and the hint says how to go without."""
    docker.answers[DUMPING] = (1, "pg_dump: error: out of memory")
    with pytest.raises(DockerCommandError, match="cannot dump database hive: ") as caught:
        pg.destroy(place, data=True)
    assert "--no-backup" in caught.value.hint
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


def test_destroy_data_without_a_backup(place, docker, up, removable):
    """With --no-backup there is none."""
    pg.destroy(place, data=True, backup=False)
    assert docker.calls_of("docker exec") == docker.calls_of(SEEN)
    assert not (up / "backups").exists()
    assert len(docker.calls_of("docker run")) == 1


@pytest.mark.parametrize("link", ["data", "data/postgres"])
def test_destroy_data_behind_a_link(place, docker, up, removable, tmp_path, link):
    """Data that is not in the workspace is not deleted, and all stays."""
    os.rename(up / link, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", up / link)
    with pytest.raises(WorkspaceError, match=r"is neither in .* nor in a volume of this") as caught:
        pg.destroy(place, data=True, backup=False)
    assert "delete it yourself" in caught.value.hint
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


@pytest.fixture
def in_volume(docker, up, place):
    """Give the data a volume, which the engine has, and with it a file `PG_VERSION`."""
    config = docker.config
    place.remember()

    def volume(call):
        found = json.loads(config(call))
        mount = found["services"]["postgres"]["volumes"][0]
        mount.update(type="volume", source="pg")
        return json.dumps({**found, "volumes": {"pg": {"name": "pg"}}})

    (container,) = docker.containers
    mount = {"Type": "volume", "Name": "pg", "Destination": "/var/lib/postgresql/data"}
    container["Mounts"] = [mount]
    docker.answers["docker compose config"] = volume
    docker.answers["docker volume ls"] = "pg\n"
    docker.answers["docker volume rm"] = ""
    docker.answers["docker run"] = lambda call: "PG_VERSION\n" if "ls -A" in call.command else ""


def test_destroy_data_in_a_volume(place, docker, removable, in_volume, up):
    """A volume of the project goes after the backup, once it holds nothing else."""
    pg.destroy(place, data=True)
    assert (up / "backups" / f"hive-{STAMP}.dump").read_text() == WHOLE
    assert [c.argv[-1] for c in docker.calls_of("docker volume rm")] == ["pg"]
    assert docker.calls[-1].argv[1:3] == ["volume", "rm"]


def test_destroy_data_that_fills_a_volume(place, docker, removable, in_volume):
    """It is emptied before it goes: its driver may have the files elsewhere, and keep them."""
    fill_the_mount(docker)
    pg.destroy(place, data=True)
    assert docker.calls[-2].argv[-4:] == ["target", "incomplete-deleted", "/", "pg"]
    assert docker.calls[-1].argv[1:] == ["volume", "rm", "pg"]


def test_destroy_data_in_a_volume_without_its_state(place, docker, removable, in_volume):
    """Its own container says as well that the volume is the workspace's."""
    os.unlink(place.state_path)
    pg.destroy(place, data=True)
    assert docker.calls[-1].argv[1:] == ["volume", "rm", "pg"]


def hold(docker, there, volumes=""):
    """Let the engine have data in one directory or volume alone."""
    docker.answers["docker volume ls"] = lambda c: volumes if f"^{volumes}$" in c.command else ""
    docker.answers["docker run"] = lambda call: (
        "PG_VERSION\n" if f'source={there}"' in call.command else (1, pg._NO_SOURCE)
    )


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("runs", [True, False])
def test_destroy_data_whose_volume_is_not_in_the_files_any_more(
    place, docker, up, removable, in_volume, runs, purge
):
    """A key that a person edited hides the data: nothing is removed, above all not the login."""
    place.remember(volume="old/pgdata")
    docker.containers[0]["Mounts"][0]["Name"] = "old"
    if not runs:
        docker.containers.clear()
    hold(docker, "old", "old")
    with pytest.raises(WorkspaceError, match=r"the data is in old/pgdata, and .* say pg/pgdata"):
        pg.destroy(place, data=True, purge=purge, backup=False)
    assert docker.calls_of("docker rm") == []
    assert place.settings.url.password in (up / ".env").read_text()


@pytest.mark.parametrize("known", ["", "/old/data/postgres/pgdata"], ids=["unknown", "moved"])
def test_destroy_data_whose_directory_is_not_in_the_files_any_more(
    place, docker, up, removable, in_volume, known
):
    """The files name a volume that does not exist; the directory has the data."""
    place.remember(volume=known)
    docker.containers.clear()
    hold(docker, f"{up}/data/postgres/pgdata")
    with pytest.raises(WorkspaceError, match=r"the data is in .*/pgdata, and .* say pg/pgdata"):
        pg.destroy(place, data=True, purge=True)
    assert (up / ".env").exists()


@pytest.mark.parametrize("same", [True, False])
def test_destroy_data_that_was_replaced_while_the_server_runs(place, docker, up, removable, same):
    """The backup would be of the one, and the deletion of the other."""
    docker.answers[SEEN] = pg.identify_file(f"{up}/data/postgres") if same else "1:1\n"
    if same:
        pg.destroy(place, data=True)
        return
    with pytest.raises(WorkspaceError, match="were moved or replaced") as caught:
        pg.destroy(place, data=True)
    assert caught.value.hint == "{restart} takes those"
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


def test_destroy_data_in_a_volume_with_other_files(place, docker, removable, in_volume, capsys):
    """What somebody else put into the volume keeps it, and is named."""
    look = docker.answers["docker run"]
    docker.answers["docker run"] = lambda call: (
        "/target/photo\n" if "rm -rf" in call.command else look(call)
    )
    pg.destroy(place, data=True)
    assert docker.calls_of("docker volume rm") == []
    assert "warning: pg/photo beside it stay" in capsys.readouterr().err


def test_destroy_data_in_a_volume_of_others(place, docker, removable, in_volume):
    """A volume that Compose did not make for this project is not hive-pg's to delete."""
    ask = docker.answers["docker volume ls"]
    docker.answers["docker volume ls"] = lambda call: "" if "label=" in call.command else ask
    with pytest.raises(WorkspaceError, match="nor in a volume of this project"):
        pg.destroy(place, data=True, backup=False)
    assert docker.calls_of("docker run") == docker.calls_of("docker rm") == []


@pytest.mark.parametrize("backup", [True, False])
def test_destroy_data_with_a_kept_cluster(place, docker, removable, backup):
    """What an upgrade has kept is remembered as long as it is there."""
    place.remember(kept="14", kept_image="x/pgvector:14")
    pg.destroy(place, data=True, backup=backup)
    assert place.state.kept == ("14" if backup else "")


@pytest.mark.parametrize("known", [True, False], ids=["with its state", ".env alone"])
def test_destroy_data_of_a_copy(place, docker, removable, in_volume, known):
    """The volume of a copied .env is the other workspace's, even where its container is gone."""
    copy_workspace(place, known=known)
    docker.containers.clear()
    with pytest.raises(WorkspaceError, match=r"this is a copy|in a volume of this"):
        pg.destroy(place, data=True, backup=False)
    assert docker.calls_of("docker run") == docker.calls_of("docker volume rm") == []


def test_destroy_data_of_a_copy_whose_original_was_moved(hive, docker, removable, place, capsys):
    """The container of its name is the original's, and runs: nobody is told to remove it."""
    before, device = f"{place.directory}-before", os.stat(place.directory).st_dev
    place.save_env({"HIVE_POSTGRES_WORKSPACE": "1a"})
    place.remember()
    state = place.state.replace(directory=before, inode=f"{device}:1")
    Path(place.state_path).write_text(pg.format_json(state))
    original = make_container(workspace=before, labels={"hive-pg.workspace": "1a"})
    docker.containers[:] = [original]
    assert hive("destroy --data --yes") == ExitCode.FAILED
    err = capsys.readouterr().err
    assert f"error: this is a copy of {before}, which is gone, and has its names\n" in err
    assert "docker rm -f" not in err
    assert docker.containers == [original]
    assert docker.calls_of("docker run") == docker.calls_of("docker stop") == []


@pytest.mark.parametrize("act", [pg.start, pg.restart])
def test_start_where_the_volume_was_emptied(place, docker, removable, in_volume, act):
    """What a container had in its volume may be gone: no empty database in its place."""
    docker.containers[0]["State"]["Status"] = "exited" if act is pg.start else "running"
    docker.answers["docker run"] = ""
    with pytest.raises(WorkspaceError, match="volume pg/pgdata holds no data"):
        act(place)
    assert docker.calls_of("docker compose up") == docker.calls_of("docker stop") == []


def test_start_of_a_copy_in_a_volume(place, docker, removable, in_volume):
    """It would serve the original's volume, under its names."""
    copy_workspace(place)
    docker.containers.clear()
    with pytest.raises(WorkspaceError, match="this is a copy") as caught:
        pg.start(place)
    assert "{init} gives it its own" in caught.value.hint
    assert docker.calls_of("docker compose up") == []


def test_start_of_an_env_that_may_be_copied(place, docker, removable, in_volume, up):
    """Its state is not there, and the volume is named after another directory."""
    place.save_env({"HIVE_POSTGRES_WORKSPACE": "1a"})
    docker.containers.clear()
    for act in (pg.start, partial(pg.set_up, interactive=False)):
        with pytest.raises(WorkspaceError, match="volume pg may be another workspace's") as caught:
            act(place)
        assert "to use it, take HIVE_POSTGRES_WORKSPACE out of" in caught.value.hint
    assert docker.calls_of("docker compose up") == []
    place.save_env({"HIVE_POSTGRES_WORKSPACE": ""})
    assert pg.start(place)


@pytest.mark.parametrize("usual", [True, False], ids=["of this directory", "another"])
def test_start_without_its_state(hive, docker, removable, in_volume, place, capsys, usual):
    """The volume is its own where the project has the name that this directory gets."""
    project = pg.choose_project_name(place.directory) if usual else "another-1a2b3c"
    place.save_env({"HIVE_POSTGRES_WORKSPACE": "1a", "COMPOSE_PROJECT_NAME": project})
    os.unlink(place.state_path)
    docker.containers.clear()
    if usual:
        assert hive("start") == 0
        assert docker.calls_of("docker compose up")[0].env["COMPOSE_PROJECT_NAME"] == project
    else:
        assert hive("start") == ExitCode.FAILED
        assert "volume pg may be another workspace's: no .hive-pg.json" in capsys.readouterr().err
        assert docker.calls_of("docker compose up") == []


def copy_workspace(place, *, known=True):
    """Let the workspace be the copy of its parent directory."""
    place.remember()
    state = place.state.replace(directory=os.path.dirname(place.directory), inode="", kept="14")
    Path(place.state_path).write_text(pg.format_json(state))
    if not known:
        os.unlink(place.state_path)
    place.reload()


def test_destroy_data_that_only_the_engine_sees(place, docker, removable, up):
    """Where this disk has no data, the engine is asked: it may have another one, with all of it."""
    shutil.rmtree(up / "data" / "postgres" / "pgdata")
    docker.answers["docker run"] = lambda call: "PG_VERSION\n" if "ls -A" in call.command else ""
    pg.destroy(place, data=True)
    assert (up / "backups" / f"hive-{STAMP}.dump").read_text() == WHOLE


def test_destroy_data_whose_place_the_engine_cannot_list(place, docker, removable, up):
    """Nothing is deleted where nobody knows what is there."""
    shutil.rmtree(up / "data" / "postgres" / "pgdata")
    docker.answers["docker run"] = (1, "ls: cannot open directory '/target': Permission denied")
    with pytest.raises(DockerCommandError, match=r"cannot look into .*pgdata"):
        pg.destroy(place, data=True)
    assert docker.calls_of("docker rm") == []


def fill_the_mount(docker):
    """Let PGDATA be the mounted directory or volume itself."""
    config = docker.answers["docker compose config"]

    def shallow(call):
        found = json.loads(config(call))
        found["services"]["postgres"]["environment"]["PGDATA"] = "/var/lib/postgresql/data"
        return json.dumps(found)

    docker.answers["docker compose config"] = shallow
    docker.containers[0]["Config"]["Env"] = ["PGDATA=/var/lib/postgresql/data"]


def test_destroy_data_that_fills_the_directory(place, docker, up, removable):
    """Where PGDATA is data/postgres itself, that is emptied."""
    fill_the_mount(docker)
    pg.destroy(place, data=True)
    (run,) = docker.calls_of("docker run")
    assert f'type=bind,"source={up}/data/postgres",target=/target' in run.argv
    assert run.argv[-4:] == ["target", "incomplete-deleted", "/", ""]


def test_destroy_data_where_there_is_none(place, docker, up, removable, capsys):
    """Without data there is nothing to back up, and nothing is called deleted."""
    docker.containers.clear()
    shutil.rmtree(up / "data" / "postgres" / "pgdata")
    pg.destroy(place, data=True)
    assert docker.calls_of("docker exec") == []
    assert "there was no data in" in capsys.readouterr().err
    make_cluster(up)


@pytest.mark.parametrize(
    ("answer", "done"), [("w\n", True), ("y\n", False), ("\n", False), ("", False)]
)
def test_destroy_data_asks_for_the_name(hive, docker, removable, monkeypatch, answer, done):
    """Only the workspace's name is a yes."""
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO(answer))
    assert hive("destroy --data --no-backup") == (0 if done else 1)
    assert len(docker.calls_of("docker run")) == done


# -- upgrade -------------------------------------------------------------------------------------

NEWER, TO = "x/pgvector:18", "hive-postgres-upgrade"
READ_ONLY = ("default_transaction_read_only=on", "-c", "max_logical_replication_workers=0")
IMAGES = {
    NEWER: ("18", "/var/lib/postgresql/18/docker", "/var/lib/postgresql"),
    "x/none": ("",),
    "x/pgvector:14": ("14",),
}
COPYING = f"{WATCHING} sh -c {shlex.quote(pg._COPY_SCRIPT)}".replace("hive-postgres", TO)
ONEOFF = {"com.docker.compose.oneoff": "True"}
LOOKING = "|| ls -A"
MAKING = ("", "", "", "", "")


@pytest.fixture
def upgradable(docker, server, removable, up, place):
    """Let an image of PostgreSQL 18 be there, containers be started, and clusters be moved."""

    def start(call):
        name = call.argv[call.argv.index("--name") + 1]
        docker.containers.append(make_container(name, up, labels=ONEOFF))
        return ""

    def inspect(call):
        return make_image(*IMAGES.get(call.argv[-1], ("16",)))

    def configure(call):
        found = json.loads(config(call))
        found["services"]["postgres"]["command"] = ["postgres", "-c", "x=y z"]
        return json.dumps(found)

    config, docker.answers["docker compose config"] = docker.config, configure
    docker.answers["docker image inspect"], docker.answers["docker compose run"] = inspect, start
    docker.answers["docker exec --interactive --env PGPASSWORD"] = docker.answers[QUERYING]

    def exchange(call):
        if LOOKING in call.command:
            return ""
        version = {"upgrade": "18", "14": "14"}.get(call.argv[-1], "16")
        (up / "data" / "postgres" / "pgdata" / "PG_VERSION").write_text(version)
        return "kept\n" if call.argv[-1] else ""

    docker.answers[COPYING], docker.answers["docker run"] = "", exchange
    docker.answers[COPYING.replace("=hive", "=postgres")] = ""
    roles = "\\restrict x\nCREATE ROLE ann;\nALTER ROLE ann;\nCREATE ROLE bob;\n"
    of_the_new = ROLES.replace(" hive-postgres ", f" {TO} ")
    docker.answers[of_the_new] = lambda call: roles * ("-h hive-postgres" in call.command)
    docker.answers[ROLES] = "CREATE ROLE of_another_program;\n"
    server.words |= {
        "count": ['["public", "t", 3]\n["large objects", 4]\n'],
        "boot": ["ann\n"],
        "clear": ["ann\n"],
    }
    server.words["every"] = ['["hive", "postgres"]\n']
    server.words["used"] = ["t\n"]
    return place


def exchanges(docker):
    """Return what was to be kept as what, and which cluster to be taken, time after time."""
    runs = docker.calls_of("docker run")
    return [call.argv[-2:] for call in runs if LOOKING not in call.command]


def image_of(up):
    """Return the image in `.env`."""
    return pg.Workspace(str(up)).settings.image


def test_upgrade(upgradable, docker, server, up, capsys):
    """All is made, compared and logged in to in private; only then the clusters change places."""
    pg.upgrade(upgradable, NEWER)
    state = upgradable.state
    assert (state.exchange, state.kept, state.kept_image) == ([], "16", "agnohq/pgvector:16")
    assert (image_of(up), exchanges(docker)) == (NEWER, [["16", "upgrade"]])
    assert pg.Workspace(str(up)).settings.target == "/var/lib/postgresql"
    said = capsys.readouterr().err
    assert "database hive is copied, 7 rows\n" in said
    assert "what is set in its files (postgresql.conf, pg_hba.conf, by ALTER SYSTEM) was" in said
    assert (
        "pgdata.16\nhive-pg upgrade --undo takes it again, hive-pg upgrade --drop-old deletes it"
        in said
    )
    roles = [sql for _, _, sql in server.scripts if "CREATE ROLE" in sql]
    forget = 'alter role "ann" password null;\n'  # which it was started with
    assert roles == [f"{forget}ALTER ROLE ann;\nCREATE ROLE bob;\n"]
    words = [w for w in docker.commands if w in ("docker stop", "docker compose run", "docker run")]
    starts, stops = ["docker compose run"] * 2, ["docker stop"] * 2
    assert words == ["docker stop", *starts, *stops, "docker run"]
    assert [c["Name"] for c in docker.containers] == ["/hive-postgres"]
    (old, new) = docker.calls_of("docker compose run")
    reads = ["postgres", "postgres", "-c", "x=y z", "-c", *READ_ONLY]
    assert (old.argv[-8:], new.argv[-1]) == (reads, "postgres")
    assert "--env=PGDATA=/var/lib/postgresql/data/pgdata.upgrade" in new.argv
    assert (old.env.get("HIVE_POSTGRES_IMAGE"), new.env["HIVE_POSTGRES_IMAGE"]) == (None, NEWER)
    targets = [call.argv[-2:] for call in docker.calls_of("docker exec") if "--create" in call.argv]
    assert targets == [["template1", "--create"]]


CLOSED = (
    'pg_dump: error: connection to server at "hive-postgres", port 5432 failed: FATAL: '
    ' database "hive" is not currently accepting connections'
)


def ends(docker):
    """Let the new server end at once."""
    docker.answers[f"docker exec --interactive {TO}"] = (1, "is not running")
    start = docker.answers["docker compose run"]

    def end(call):
        start(call)
        docker.containers[-1]["State"]["Status"] = "exited"
        return ""

    docker.answers["docker compose run"] = end


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            lambda docker, _: docker.answers.update({COPYING: (1, "ERROR:  no such column")}),
            *("cannot copy database hive: .*no such column",),
            id="the copy",
        ),
        pytest.param(
            lambda docker, _: docker.answers.update({COPYING: (0, pg._DUMP_FAILED)}),
            *("cannot copy database hive: ",),
            id="the dump",
        ),
        pytest.param(
            lambda docker, _: docker.answers.update({COPYING: (1, f"{CLOSED}\n{pg._DUMP_FAILED}")}),
            "cannot copy database hive: the server lets the role, or everybody, not in",
            id="a closed database",
        ),
        pytest.param(
            lambda _, server: server.words.update(count=['["", "t", 3]\n', '["", "t", 2]\n']),
            r"cannot copy database hive: the copy has other rows than these: \[\"\", \"t\", 3\]",
            id="a row",
        ),
        pytest.param(
            lambda docker, _: docker.answers.update({f"{PROBING[:-20]} {TO}": REFUSED}),
            "refuses the user and password",
            id="the login",
        ),
        pytest.param(lambda docker, _: ends(docker), "upgrade is stopped", id="the server"),
    ],
)
def test_upgrade_that_fails(upgradable, docker, server, up, quick, spoil, words):
    """What was made is removed, the old cluster serves again, and the error has why."""
    spoil(docker, server)
    with pytest.raises(
        pg.PostgreSQLIntegrationError, match=f"^PostgreSQL 16 serves as before: .*{words}"
    ) as caught:
        pg.upgrade(upgradable, NEWER)
    assert caught.value.exit_code is ExitCode.FAILED
    assert "{logs}" not in caught.value.hint
    assert (upgradable.state.exchange, image_of(up)) == ([], "")
    assert exchanges(docker) == [["", ""]]
    assert [c["State"]["Status"] for c in docker.containers] == ["running"]


def test_upgrade_whose_cluster_does_not_serve(upgradable, docker, up):
    """They change places again, and what was made is kept."""
    up_, refusal = docker.up, (1, "Error: port is already allocated")
    docker.answers["docker compose up"] = iter_answers(up_, refusal, up_)
    with pytest.raises(pg.PostgreSQLIntegrationError, match="serves as before"):
        pg.upgrade(upgradable, NEWER)
    assert exchanges(docker) == [["16", "upgrade"], ["18", "16"]]
    assert (image_of(up), upgradable.state.kept) == ("agnohq/pgvector:16", "18")


def iter_answers(*answers):
    """Return a function that gives one answer after the other."""
    left = list(answers)

    def answer(call):
        found = left.pop(0)
        return found(call) if callable(found) else found

    return answer


def test_upgrade_that_a_person_ends(upgradable, docker):
    """Ctrl-C goes back as well."""

    def end(_):
        raise KeyboardInterrupt

    docker.answers[COPYING] = end
    with pytest.raises(KeyboardInterrupt):
        pg.upgrade(upgradable, NEWER)
    assert (upgradable.state.exchange, exchanges(docker)) == ([], [["", ""]])


@pytest.mark.parametrize("action", [pg.start, pg.stop, pg.set_up, pg.destroy])
def test_command_after_a_killed_upgrade(upgradable, docker, up, action):
    """What it made is removed first, and its containers; the workspace is as it was."""
    upgradable.remember(exchange=[*MAKING])
    names = ("hive-postgres", "hive-postgres-upgrade")
    docker.containers[:] = [make_container(name, up, labels=ONEOFF) for name in names]
    action(upgradable, *([False] if action is pg.set_up else []))
    assert upgradable.state.exchange == []
    assert {c["Name"] for c in docker.containers} <= {"/hive-postgres"}
    assert exchanges(docker) == [["", ""]]


@pytest.mark.parametrize("plan", [MAKING, ("16", "upgrade", NEWER, "agnohq/pgvector:16", "18")])
def test_init_port_after_a_killed_upgrade(upgradable, docker, network, up, plan):
    """Where another program took the port meanwhile, another one is the way on."""
    upgradable.remember(exchange=[*plan])
    docker.containers[:] = [make_container("hive-postgres", up, labels=ONEOFF)]
    network.taken = {5532}
    with pytest.raises(ContainerConflictError, match="5532 is taken") as caught:
        pg.start(upgradable)
    assert "{init} --port N" in caught.value.hint
    pg.set_up(upgradable, False, port=5600)
    values = pg.Workspace(str(up)).values
    assert (values["HIVE_POSTGRES_PORT"], ":5600/" in values["HIVE_DATABASE_URL"]) == ("5600", True)
    assert pg.Workspace(str(up)).state.exchange == []
    (container,) = docker.containers
    assert container["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostPort"] == "5600"


@pytest.mark.parametrize(
    ("action", "left"),
    [
        pytest.param(pg.stop, [*MAKING], id="stop"),
        pytest.param(pg.destroy, [*MAKING], id="destroy"),
        pytest.param(partial(pg.destroy, data=True, backup=False), [], id="the data, too"),
    ],
)
def test_end_of_a_killed_upgrade_needs_no_port(
    upgradable, docker, network, up, capsys, action, left
):
    """What is to end need not serve first; a later start goes on with what there is."""
    upgradable.remember(exchange=[*MAKING])
    docker.containers[:] = [make_container("hive-postgres", up, labels=ONEOFF)]
    network.taken = {5532}
    action(upgradable)
    assert "5532 is taken" in capsys.readouterr().err
    assert not [c for c in docker.containers if c["State"]["Status"] == "running"]
    assert upgradable.state.exchange == left


def test_destroy_data_after_a_killed_upgrade_needs_its_backup(upgradable, docker, network, up):
    """Where nothing can serve, nothing can be saved, and nothing is deleted."""
    upgradable.remember(exchange=[*MAKING])
    docker.containers.clear()
    network.taken = {5532}
    with pytest.raises(ContainerConflictError, match="5532 is taken"):
        pg.destroy(upgradable, data=True)
    assert (up / "data" / "postgres" / "pgdata").is_dir()


def test_upgrade_whose_port_is_taken_meanwhile(upgradable, docker, network):
    """The error says that nothing serves, why the upgrade failed, and what goes on."""

    def fail(_):
        network.taken = {5532}
        return 1, "ERROR:  no such column"

    docker.answers[COPYING] = fail
    with pytest.raises(ContainerConflictError) as caught:
        pg.upgrade(upgradable, NEWER)
    said = str(caught.value)
    again = "no such column; PostgreSQL 16 does not serve again: port 127.0.0.1:5532 is taken"
    assert said.startswith(f"cannot copy database hive: {again}")
    assert "{init} --port N" in caught.value.hint


def test_upgrade_beside_an_edit(upgradable, docker, up):
    """What somebody writes into `.env` meanwhile stays, and counts."""

    def edit(_):
        path = up / ".env"
        path.write_text(path.read_text().replace("5532", "5533"))
        return ""

    docker.answers[COPYING] = edit
    pg.upgrade(upgradable, NEWER)
    values = pg.Workspace(str(up)).values
    assert (values["HIVE_POSTGRES_PORT"], values["HIVE_POSTGRES_IMAGE"]) == ("5533", NEWER)
    assert ":5533/" in values["HIVE_DATABASE_URL"]
    (container,) = docker.containers
    assert container["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostPort"] == "5533"


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_nobody_writes_into_what_is_copied(upgradable, docker, up, dump, action):
    """While an upgrade copies the old cluster, no other command acts on it."""
    docker.containers[:] = [make_container("hive-postgres", up, labels=ONEOFF)]
    with pytest.raises(NotSetUpError, match="an upgrade is under way"):
        action(upgradable)
    assert docker.calls_of("docker exec") == []


def test_start_after_an_upgrade_killed_late(upgradable, docker, up):
    """Where the new cluster was complete, it serves: somebody may have written to it."""
    upgradable.remember(exchange=["16", "upgrade", NEWER, "agnohq/pgvector:16", "18"])
    pg.start(upgradable)
    assert (image_of(up), exchanges(docker)) == (NEWER, [["16", "upgrade"]])
    assert pg.Workspace(str(up)).settings.target == "/var/lib/postgresql"
    assert (upgradable.state.kept, upgradable.state.kept_image) == ("16", "agnohq/pgvector:16")


def test_upgrade_killed_late_whose_cluster_never_serves(upgradable, docker, up, capsys):
    """Nothing goes back by itself, as somebody may have written to it; --undo does."""
    upgradable.remember(exchange=["16", "upgrade", NEWER, "agnohq/pgvector:16", "18"])
    up_, refusal = docker.up, (1, "Error: it does not serve")
    docker.answers["docker compose up"] = iter_answers(refusal, refusal, up_)
    with pytest.raises(pg.DockerCommandError, match="it does not serve") as caught:
        pg.start(upgradable)
    assert "hive-pg upgrade --undo takes the old cluster" in pg.format_hint(caught.value.hint)
    pg.end_upgrade(upgradable, undo=True)
    assert "the new cluster does not serve: " in capsys.readouterr().err
    assert exchanges(docker)[-1] == ["18", "16"]
    state = upgradable.state
    assert (image_of(up), state.kept, state.exchange) == ("agnohq/pgvector:16", "18", [])


def test_undo_that_was_killed_is_finished_as_one(upgradable, hive, docker, up, capsys):
    """Said again it goes no further; what is deleted then is what was asked about."""
    plan = {"exchange": ["18", "16", "x/pgvector:16", NEWER, "16"], "kept": "16"}
    upgradable.remember(**plan)
    assert hive("upgrade --undo") == 0
    assert exchanges(docker) == [["18", "16"]]
    assert hive("upgrade --drop-old") == ExitCode.FAILED
    assert "delete the cluster of PostgreSQL 18?" in capsys.readouterr().err
    state = pg.Workspace(str(up)).state
    assert (image_of(up), state.kept, state.exchange) == ("x/pgvector:16", "18", [])


def test_upgrade_of_lost_data(upgradable, docker, up):
    """A disk may only be unmounted: no empty cluster takes its place, whatever was going on."""
    upgradable.remember(verified=True, kept="14", kept_image="x/pgvector:14")
    docker.containers.clear()
    shutil.rmtree(up / "data" / "postgres" / "pgdata")
    docker.answers["docker run"] = ""
    for action in (
        lambda: pg.upgrade(upgradable, NEWER),
        lambda: pg.end_upgrade(upgradable, undo=True),
        lambda: upgradable.remember(exchange=[*MAKING]) or pg.start(upgradable),
    ):
        with pytest.raises(WorkspaceError, match="holds no data"):
            action()
    assert docker.calls_of("docker compose up") == docker.calls_of("docker compose run") == []


def test_upgrade_undo_of_nothing(hive, upgradable, capsys):
    """It is refused before anybody is asked."""
    for option in ("--undo", "--drop-old"):
        assert hive(f"upgrade {option}") == ExitCode.FAILED
        assert "no cluster is kept" in capsys.readouterr().err


def test_restore_of_no_snapshot_asks_nobody(hive, server, capsys):
    """What cannot be done is refused before the question."""
    server.words["listed"] = [""]
    assert hive("restore @nope") == ExitCode.FAILED
    assert "there is no snapshot @nope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("x/pgvector:16", "x/pgvector:16 has PostgreSQL 16, and the data is of 16"),
        ("x/none", r"has PostgreSQL \?"),
    ],
)
def test_upgrade_to_no_later_version(upgradable, docker, image, words):
    """It is refused before anything is stopped."""
    with pytest.raises(WorkspaceError, match=words):
        pg.upgrade(upgradable, image)
    assert docker.calls_of("docker stop") == docker.calls_of("docker compose run") == []


@pytest.mark.parametrize("major", ["16", "18"])
def test_upgrade_beside_a_forgotten_cluster(upgradable, docker, server, major):
    """One that the state does not know is not taken for the present one on the way back."""
    server.words["beside"] = [f"pgdata\npgdata.{major}\n"]
    with pytest.raises(WorkspaceError, match=rf"pgdata\.{major} is in the way"):
        pg.upgrade(upgradable, NEWER)
    assert docker.calls_of("docker stop") == docker.calls_of("docker compose run") == []


@pytest.mark.parametrize("outside", ["a tablespace", "the log"])
def test_upgrade_of_what_is_outside_of_the_cluster(upgradable, docker, server, outside):
    """What would not be kept for --undo is refused, before anything is stopped."""
    if outside == "the log":
        config = docker.answers["docker compose config"]
        own = '"environment": {"POSTGRES_INITDB_WALDIR": "/wal/w", '
        changed = lambda call: config(call).replace('"environment": {', own)  # noqa: E731
        docker.answers["docker compose config"], words = changed, "POSTGRES_INITDB_WALDIR"
    else:
        server.words["spaces"], words = ["fast\nslow\n"], "fast, slow"
    with pytest.raises(WorkspaceError, match=f"{words} leads out of the cluster") as caught:
        pg.upgrade(upgradable, NEWER)
    assert "set tablespace pg_default, drop that; or {backup}" in caught.value.hint
    assert docker.calls_of("docker stop") == docker.calls_of("docker compose run") == []


@pytest.mark.parametrize("agrees", [True, False])
def test_undo_where_the_new_cluster_cannot_be_backed_up(upgradable, docker, up, capsys, agrees):
    """A new one that is broken does not bar the way back, after another yes; it is kept."""
    upgradable.remember(verified=True, major="18", kept="16", kept_image="x/pgvector:16")
    (up / "data" / "postgres" / "pgdata" / "PG_VERSION").write_text("16")  # as the image says
    docker.answers[DUMPING] = (1, "pg_dump: error: could not open file")
    asked = []

    def agree(question):
        asked.append(question)
        if not agrees and len(asked) == 2:
            raise WorkspaceError("nothing was done")

    upgradable.agree = agree
    if agrees:
        pg.end_upgrade(upgradable, undo=True)
        assert exchanges(docker)[0][1] == "16"
        assert (image_of(up), upgradable.state.kept_image) == (
            "x/pgvector:16",
            "agnohq/pgvector:16",
        )
    else:
        with pytest.raises(WorkspaceError, match="nothing was done"):
            pg.end_upgrade(upgradable, undo=True)
        assert exchanges(docker) == []
    assert asked[1:] == ["go back without one?"]
    assert "warning: no backup: cannot dump database hive: " in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["t", "f"])
def test_upgrade_names_what_extensions_hold(upgradable, server, capsys, kept):
    """The jobs of pg_cron, perhaps, which stay in the old cluster."""
    server.words["used"] = ["f\n", f"{kept}\n"]
    pg.upgrade(upgradable, NEWER)
    said = "what extensions hold in postgres is not taken over\n"
    assert (said in capsys.readouterr().err) == (kept == "t")


@pytest.mark.parametrize("own", ["image", "cluster"])
def test_upgrade_with_a_compose_file_of_ones_own(upgradable, docker, own):
    """Where it fixes the image, or the cluster is the mount, the lines are shown; nothing moves."""
    config = docker.config

    def changed(call):
        found = json.loads(config(call))
        service = found["services"]["postgres"]
        if own == "image":
            service["image"] = "agnohq/pgvector:16"
        else:
            service["environment"]["PGDATA"] = "/var/lib/postgresql/data"
        return json.dumps(found)

    docker.answers["docker compose config"] = changed
    with pytest.raises(WorkspaceError, match=f"(?s)yours, and nothing was .*image: {NEWER}"):
        pg.upgrade(upgradable, NEWER)
    assert docker.calls_of("docker stop") == docker.calls_of("docker compose run") == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (None, ["postgres"]),
        (["-c", "x=y z"], ["-c", "x=y z"]),
        (["sh", "-c", "exec docker-entrypoint.sh postgres"], None),
    ],
    ids=["the image's", "options alone", "a shell"],
)
def test_upgrade_keeps_writers_from_the_old_server(upgradable, docker, command, words):
    """Whatever its command is: where that cannot be, nothing is stopped."""
    config = docker.answers["docker compose config"]

    def changed(call):
        found = json.loads(config(call))
        found["services"]["postgres"]["command"] = command
        return json.dumps(found)

    docker.answers["docker compose config"] = changed
    if words is None:
        with pytest.raises(WorkspaceError, match="runs sh, which cannot be kept from writing"):
            pg.upgrade(upgradable, NEWER)
        assert docker.calls_of("docker stop") == docker.calls_of("docker compose run") == []
    else:
        pg.upgrade(upgradable, NEWER)
        argv = docker.calls_of("docker compose run")[0].argv
        assert argv[-len(words) - 5 :] == ["postgres", *words, "-c", *READ_ONLY]


def test_upgrade_to_an_earlier_version(upgradable, hive, capsys):
    """There is no way back to it."""
    upgradable.remember(major="16")
    assert hive("upgrade --yes --image x/pgvector:14") == ExitCode.FAILED
    assert "has PostgreSQL 14, and the data is of 16" in capsys.readouterr().err


def test_upgrade_that_nobody_wants(upgradable, hive, docker, capsys):
    """Where nobody says yes, nothing is started, pulled or moved."""
    docker.containers[0]["State"]["Status"] = "exited"
    assert hive(f"upgrade --image {NEWER}") == ExitCode.FAILED
    assert "nothing was done, as nobody is there to answer" in capsys.readouterr().err
    assert docker.commands == ["docker inspect"]


@pytest.mark.parametrize("words", ["--undo", "--drop-old"])
def test_end_of_an_upgrade_that_nobody_wants(upgradable, hive, docker, capsys, words):
    """Where nobody says yes, what was under way is not finished, either."""
    upgradable.remember(exchange=["16", "upgrade", NEWER, "x/pgvector:16", "18"])
    assert hive(f"upgrade {words}") == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "nothing was done, as nobody is there to answer" in said
    assert "the cluster of PostgreSQL 16" in said
    assert docker.commands == []


@pytest.mark.parametrize("undo", [True, False])
def test_end_of_an_upgrade_that_somebody_else_ends(upgradable, docker, undo):
    """Another cluster than the one that was asked about is neither deleted nor taken."""
    upgradable.remember(kept="16", kept_image="x/pgvector:16")
    upgradable.agree = lambda question: upgradable.remember(kept="14")
    with pytest.raises(WorkspaceError, match="PostgreSQL 16's cluster is not kept any more"):
        pg.end_upgrade(upgradable, undo=undo)
    assert exchanges(docker) == []
    assert not any("-rf" in call.argv for call in docker.calls_of("docker run"))


def test_upgrade_of_two(upgradable, hive, docker, capsys):
    """One cluster is kept at a time; the answer to a second upgrade is what becomes of it."""
    upgradable.remember(kept="14", kept_image="x/pgvector:14")
    assert hive(f"upgrade --yes --image {NEWER}") == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "error: PostgreSQL 14's cluster is still kept\n" in said
    said = said.partition("hint: ")[2]
    assert said == (
        "hive-pg upgrade --undo takes it again, hive-pg upgrade --drop-old deletes it\n"
    )
    assert hive("upgrade --yes --drop-old") == 0
    assert docker.calls_of("docker run")[-1].argv[-2:] == ["-rf", "/target/pgdata.14"]
    assert "pgdata.14 is deleted" in capsys.readouterr().err
    for words in ("--undo --yes", "--drop-old --yes"):
        assert hive(f"upgrade {words}") == ExitCode.FAILED
    assert "no cluster is kept" in capsys.readouterr().err
    for words in ("upgrade", "upgrade 18", "upgrade pgvector/pgvector:pg18"):
        assert hive(words) == ExitCode.USAGE
        assert "--image is missing, such as --image pgvector/" in capsys.readouterr().err
    assert hive(f"upgrade --image {NEWER}") == ExitCode.FAILED  # nobody says yes


@pytest.mark.parametrize("words", [f"--image {NEWER}", "--undo", "--drop-old"])
def test_upgrade_of_a_copy(upgradable, hive, docker, capsys, words):
    """The container and the clusters of the other workspace stay as they are."""
    copy_workspace(upgradable)
    assert hive(f"upgrade --yes {words}") == ExitCode.FAILED
    assert "and has its names\n" in capsys.readouterr().err
    assert docker.calls_of("docker run") == docker.calls_of("docker compose up") == []


def test_upgrade_undo(upgradable, hive, docker, server, up):
    """The present cluster is backed up, then kept, and the other one serves with its image."""
    upgradable.remember(kept="14", kept_image="x/pgvector:14", major="16")
    docker.answers[DUMPING.replace("=hive", "=postgres")] = docker.answers[DUMPING]
    docker.answers[ROLES] = ""
    assert hive("upgrade --undo --yes") == 0
    assert len([*(up / "backups").glob("*.dump")]) == 2
    state = pg.Workspace(str(up)).state
    assert (state.kept, state.kept_image) == ("16", "agnohq/pgvector:16")
    assert (image_of(up), exchanges(docker)) == ("x/pgvector:14", [["16", "14"]])
