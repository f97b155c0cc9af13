"""psql, backup, restore, rotate and destroy, on a database that has some of everything."""

import contextlib
import gzip
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from dataset import (
    ODD_ROWS,
    ROWS,
    assert_no_program,
    assert_same,
    databases,
    drop_kept,
    dump_of,
    fill,
    fingerprint,
)
from laboratory import COMMAND_TIMEOUT_S, OURS, docker, pause, read_until, run, wait_until

import hive_pg

pytestmark = pytest.mark.engine

DATA = Path(__file__).parents[1] / "data"
DATABASE = "a-b.C_d"
KEPT = re.compile(re.escape(DATABASE) + r"_before_\d{8}T\d{6}Z")


@pytest.fixture(scope="module")
def dumped(lab):
    """Give a workspace with some of everything, and what it is like; its database's name is odd."""
    with lab.workspace("dumped") as workspace:
        workspace.init("--database", DATABASE)
        workspace.whole = fill(workspace)
        workspace.archive = workspace.path / "whole.dump"
        workspace.hive_pg("backup", "-o", workspace.archive)
        workspace.script = dump_of(workspace)
        yield workspace


@pytest.fixture
def whole(dumped):
    """Give it to a test that restores; what that kept goes."""
    yield dumped
    drop_kept(dumped)
    assert databases(dumped) == [DATABASE]


def spoil(workspace):
    """Make the database another one; return what it is like."""
    workspace.trusted("update kept set word = ''; delete from odd; drop view near")
    workspace.trusted("create view near as select 1")
    return fingerprint(workspace)


def feed(workspace, *arguments, stdin, **options):
    """Run hive-pg with bytes on its stdin."""
    path = workspace.lab.directory / "stdin"
    path.write_bytes(stdin)
    with open(path, "rb") as file:
        return workspace.hive_pg(*arguments, stdin=file, **options)


DRESS = f"""\
select setrole::regrole, unnest(setconfig) from pg_db_role_setting, pg_database d
where setdatabase = d.oid and datname = '{DATABASE}' order by 1, 2;
select datacl, datconnlimit, datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype,
shobj_description(oid, 'pg_database') from pg_database where datname = '{DATABASE}'"""


def dress(workspace):
    """Give the database what is in no dump of it, and in no copy; return how that looks."""
    workspace.trusted_script(f"""\
do $$ begin create role reader; exception when duplicate_object then null; end $$;
alter database "{DATABASE}" set search_path to "$user", public, "Other Schema";
alter database "{DATABASE}" set "my.setting" to E'it''s = \\\\ \\n"so"';
alter database "{DATABASE}" set datestyle to german;
alter role reader in database "{DATABASE}" set work_mem = '7MB';
revoke all on database "{DATABASE}" from public;
grant connect, temporary on database "{DATABASE}" to reader with grant option;
alter database "{DATABASE}" connection limit 77;
comment on database "{DATABASE}" is 'it''s mine';
""")
    settings = workspace.trusted(DRESS).stdout
    assert len(settings.splitlines()) == 6
    return settings


# -- psql ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "stdout"),
    [
        pytest.param(b"select 1", 0, "1", id="one line, no end"),
        pytest.param(b"select nope;\nselect 2;\n", 3, "", id="a failed statement"),
        pytest.param(
            b"select current_database() as x \\gset\nselect :'x';", 0, DATABASE, id="name"
        ),
        pytest.param(b"", 0, "", id="nothing"),
        pytest.param(b"copy t from stdin;\nx\n\\.\nselect 3/0", 3, "", id="after rows"),
    ],
)
def test_psql_runs_stdin(dumped, script, code, stdout):
    """Its exit code is psql's, and the first error ends it."""
    result = feed(dumped, "psql", "--", "-At", stdin=script, code=code)
    assert result.stdout.strip() == stdout


def test_psql_arguments(dumped):
    """What follows -- is psql's, and so is the exit code."""
    result = dumped.hive_pg("psql", "--", "-AtXc", "select count(*) from kept")
    assert result.stdout == f"{ROWS}\n"
    dumped.hive_pg("psql", "--", "-c", "select nope", code=1)
    dumped.hive_pg("psql", "--", "-d", "nope", "-c", "select 1", code=2)


def test_psql_streams(dumped):
    """A script of any size goes through as it comes."""
    size = 40_000_000
    script = b"create temp table t (line text);\ncopy t from stdin;\n"
    script += (b"x" * 99 + b"\n") * (size // 100) + b"\\.\nselect count(*) from t;\n"
    result = feed(dumped, "psql", "--", "-At", stdin=script)
    assert result.stdout.split()[-1] == str(size // 100)


def test_psql_without_stdin(dumped):
    """A closed stdin is an empty one."""
    argv = ["sh", "-c", f"{dumped.lab.script} psql <&-"]
    assert dumped.hive_pg(argv=argv).stderr == ""


def test_psql_at_a_terminal(dumped):
    """It is psql with a prompt and lines, and Ctrl-C ends a statement, not psql."""
    ours, theirs = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with dumped.started("psql", **streams, start_new_session=True) as process:
        os.close(theirs)
        read_until(ours, f"{DATABASE}=# ".encode())
        os.write(ours, b"select pg_sleep(600);\n")
        sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        wait_until(lambda: dumped.trusted(sleeping).stdout.strip() == "1")
        os.write(ours, b"\x03")
        read_until(ours, b"canceling statement due to user request")
        os.write(ours, b"\\q\n")
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == 0
    os.close(ours)
    assert_no_program(dumped)


# -- snapshot -----------------------------------------------------------------------------------

RECONNECTING = """\
while [ ! -e /tmp/enough ]; do psql -Xqh 127.0.0.1 -U "$1" -d "$2" -c 'select pg_sleep(600)'; done &
"""


@contextlib.contextmanager
def reconnecting(workspace, number):
    """Have applications in the container that connect again as soon as they are sent away."""
    argv = ["docker", "exec", workspace.container, "sh", "-c"]
    argv += [f"{RECONNECTING * number}wait", "sh", workspace.env["POSTGRES_USER"], DATABASE]
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: workspace.trusted(sleeping).stdout.strip() == str(number))
            yield
        finally:
            docker("exec", workspace.container, "touch", "/tmp/enough")
            end = "select pg_terminate_backend(pid) from pg_stat_activity"
            end += " where wait_event = 'PgSleep'"  # as one does that is about to connect, too
            wait_until(lambda: workspace.trusted(end) and process.poll() is not None)
            docker("exec", workspace.container, "rm", "/tmp/enough")


def test_snapshot_and_restore(whole):
    """It brings all back that was there, as often as one likes, whoever is connected."""
    settings = dress(whole)
    with reconnecting(whole, 3):
        said = whole.hive_pg("snapshot", "@first")
        assert said.stdout == "@first\n"
        assert f"{DATABASE} is copied; sessions that had to end: " in said.stderr
        assert int(said.stderr.split()[-1]) >= 3
        assert "there is a snapshot @first" in whole.hive_pg("snapshot", "@first", code=1).stderr
        spoil(whole)
        whole.trusted(
            f'alter database "{DATABASE}" reset all; comment on database "{DATABASE}" is null'
        )
        said = whole.hive_pg("restore", "--yes", "@first").stderr
    assert_same(whole, whole.whole)
    assert whole.trusted(DRESS).stdout == settings
    (kept,) = (name for name in databases(whole) if KEPT.fullmatch(name))
    assert f"what was {DATABASE} is {kept} now" in said
    spoil(whole)
    whole.hive_pg("snapshot")
    whole.hive_pg("restore", "--yes", "@first")
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert_same(whole, whole.whole)
    found = json.loads(whole.hive_pg("snapshot", "--list", "--json").stdout)["snapshots"]
    assert [each["name"] for each in found] == ["first", found[1]["created"]]
    assert databases(whole) == [DATABASE, *(each["database"] for each in found)]
    for each in found:
        whole.hive_pg("snapshot", "--drop", "--yes", f"@{each['name']}")
    assert whole.hive_pg("snapshot", "--list").stdout == ""


# -- reset --------------------------------------------------------------------------------------


def test_reset(whole):
    """It is empty but for pgvector, or has what the seed says; grants and login stay."""
    settings, seed = dress(whole), whole.path / "seed.sql"
    seed.write_text("create table seeds (v vector(3)); insert into seeds values ('[1,2,3]');")
    tables = "select string_agg(tablename, ' ') from pg_tables where schemaname !~ '^(pg_|info)'"
    for arguments, expected in ((), "\n"), (("--seed", "seed.sql"), "seeds\n"):
        said = whole.hive_pg("reset", "--yes", *arguments).stderr
        assert f"what was {DATABASE} is {DATABASE}_before_" in said
        assert "pgvector 0." in said
        assert whole.trusted(tables).stdout == expected
        assert whole.trusted(DRESS).stdout == settings
    seed.write_text("create table other (); select nope;")
    assert "nope" in whole.hive_pg("reset", "--yes", "--seed", "seed.sql", code=1).stderr
    assert whole.login("select v from seeds") == "[1,2,3]"
    own = "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions;"
    seed.write_text(f"create schema extensions;\n{own}\ncreate table own (v extensions.vector);")
    whole.hive_pg("reset", "--yes", "--seed", "seed.sql")
    assert whole.trusted(tables).stdout == "own\n"
    whole.hive_pg("reset", "--yes", "--seed", "whole.dump")
    assert_same(whole, whole.whole)


# -- backup -------------------------------------------------------------------------------------


def test_backup_and_restore(whole):
    """All is as it was: rows, objects, the settings of the database and who may enter it."""
    before = dress(whole)
    result = whole.hive_pg("backup")
    path = Path(result.stdout.strip())
    assert path.parent == whole.path / "backups"
    assert re.fullmatch(re.escape(DATABASE) + r"-\d{8}T\d{6}Z\.dump", path.name)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "read back to its end" in result.stderr
    spoiled = spoil(whole)
    assert spoiled != whole.whole
    said = whole.hive_pg("restore", "--yes", path).stderr
    assert_same(whole, whole.whole)
    assert whole.trusted(DRESS).stdout == before
    (kept,) = set(databases(whole)) - {DATABASE}
    assert KEPT.fullmatch(kept)
    assert f"what was {DATABASE} is {kept} now" in said
    sql = "select count(*) from kept where word = ''"
    assert whole.hive_pg("psql", "--", "-AtXd", kept, "-c", sql).stdout == f"{ROWS}\n"
    # What comes after the rows works: the sequence, the trigger, the index.
    sql = 'insert into "Other Schema".item (embedding) values (null) returning id, changed'
    assert whole.trusted(f"set timezone = 'UTC'; {sql}").stdout.startswith("201|01.01.2026 00:00")
    whole.trusted('delete from "Other Schema".item where id = 201')
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert databases(whole) == [DATABASE]
    assert fingerprint(whole) != whole.whole  # the sequence
    whole.hive_pg("restore", "--yes", path)
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert databases(whole) == [DATABASE]
    assert_same(whole, whole.whole)


def test_backup_over_a_pipe(whole):
    """The bytes that -o - writes are what a restore from stdin takes."""
    spoil(whole)
    script = f"{whole.lab.script} backup -o - | cat | {whole.lab.script} restore --yes -"
    copy = whole.trusted("select * from near").stdout
    whole.hive_pg(argv=["sh", "-c", script])
    assert whole.trusted("select * from near").stdout == copy
    whole.hive_pg("restore", "--yes", whole.archive)
    assert_same(whole, whole.whole)


@pytest.mark.parametrize(
    ("place", "what"),
    [
        pytest.param("nowhere/x.dump", "x.dump: No such file or directory", id="missing directory"),
        pytest.param("data", "data is no file", id="directory"),
        pytest.param("new/", "new/ is no file", id="directory that is missing"),
        pytest.param("fifo", "is no file", id="device"),
        pytest.param("sealed.dump", "is read-only", id="read-only file"),
    ],
)
def test_backup_to_no_place(dumped, place, what):
    """Why not, what helps, and everything is as it was."""
    path = dumped.path / "fifo"
    os.mkfifo(path)
    dumped.write("sealed.dump", "mine", 0o400)
    try:
        result = dumped.hive_pg("backup", "-o", place, code=1)
        assert what in result.stderr
        assert "\nhint: " in result.stderr
        assert path.is_fifo()
        assert (dumped.path / "sealed.dump").read_text() == "mine"
    finally:
        path.unlink()
        (dumped.path / "sealed.dump").unlink()
    assert not [*dumped.path.rglob("*.hive-pg.tmp")]


def test_backup_to_a_closed_directory(lab, make):
    """An ordinary user is told whose it is."""
    workspace = make(actor="user")
    workspace.serve()
    closed = workspace.path / "closed"
    closed.mkdir(mode=0o500)
    lab.give(closed, workspace.actor)
    result = workspace.hive_pg("backup", "-o", "closed/x.dump", code=1)
    assert f"cannot write {closed}" in result.stderr
    assert "chmod u+rwX" in result.stderr
    workspace.hive_pg("backup")
    (path,) = (workspace.path / "backups").glob("*.dump")
    assert path.stat().st_uid == workspace.path.stat().st_uid


def test_backup_to_a_closed_stdout(dumped):
    """It says so, and ends with 1."""
    argv = ["sh", "-c", f"{dumped.lab.script} backup -o - >&-"]
    assert "error: there is no stdout" in dumped.hive_pg(argv=argv, code=1).stderr


def test_backup_at_a_terminal(dumped):
    """A dump is not written to a screen; one to a file shows how far it is."""
    code, screen = dumped.at_terminal("backup", "-o", "-")
    assert (code, "a dump cannot be shown on a terminal" in screen) == (1, True)
    code, screen = dumped.at_terminal("backup", "-o", "x.dump")
    assert code == 0
    assert "✓" in screen
    (dumped.path / "x.dump").unlink()


def test_two_backups_at_once(dumped):
    """One waits for the other; both files are whole, and nothing else is left."""
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(dumped.started("backup")) for _ in range(2)]
        paths = {process.communicate(timeout=COMMAND_TIMEOUT_S)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert not [*(dumped.path / "backups").glob("*.tmp")]
    for path in paths:
        with open(path, "rb") as file:
            argv = ["docker", "exec", "-i", dumped.container, "pg_restore", "-f", "/dev/null"]
            assert run(argv, stdin=file).returncode == 0


@pytest.fixture(scope="module")
def large(dumped):
    """Give the workspace while it has 100 MB more."""
    rows = "select md5(i::text) from generate_series(1, 1700000) i"
    dumped.trusted(f"create table filler as {rows}")
    size = dumped.trusted("select pg_total_relation_size('filler')").stdout
    assert int(size) > 100_000_000
    yield dumped
    dumped.trusted("drop table filler")


def test_backup_into_a_pipe_that_closes(large):
    """It ends with 1, without a traceback, and nothing goes on in the container."""
    script = f"{large.lab.script} backup -o - | head -c 100 | wc -c; echo ${{PIPESTATUS[0]}}"
    assert large.hive_pg(argv=["bash", "-c", script]).stdout.split() == ["100", "1"]
    assert_no_program(large)


def test_progress_at_a_terminal(large):
    """While it goes on, what is done is in one line that moves, and goes at the end."""
    code, screen = large.at_terminal("backup", "-o", "x.dump")
    (large.path / "x.dump").unlink()
    assert code == 0
    assert re.search(r"dumping \S+ … [0-9.]+ [kM]B, [0-9.]+ s\r\x1b\[K", screen)
    assert re.search(r" s\r\x1b\[K\x1b\[32m✓\x1b\[m [0-9.]+ MB, read back to its end", screen)


def test_memory_of_backup(large):
    """It takes no more for more: what is dumped is not kept."""
    script = "import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:]);"
    script += "print(os.wait4(p.pid, 0)[2].ru_maxrss // 1024, file=sys.stderr)"
    for command in ("backup", "-o", "x.dump"), ("restore", "--yes", "x.dump"):
        argv = [large.lab.python, "-c", script, large.lab.script]
        words = large.hive_pg(*command, argv=argv).stderr
        assert int(words.split()[-1]) <= 40
    large.hive_pg("restore", "--yes", "--drop-old")
    (large.path / "x.dump").unlink()


# -- restore ------------------------------------------------------------------------------------

WAYS = {
    "archive": lambda w: w.archive.read_bytes(),
    "archive, uncompressed": lambda w: dump_of(w, "-Fc", "-Z0"),
    "script": lambda w: w.script,
    "script, inserts": lambda w: dump_of(w, "--inserts"),
    "script, clean": lambda w: dump_of(w, "--clean", "--if-exists"),
    "script, Windows' byte order mark": lambda w: b"\xef\xbb\xbf" + w.script,
}


@pytest.mark.parametrize(
    ("way", "stdin"),
    [*((way, False) for way in WAYS), ("archive", True), ("script", True)],
    ids=[*WAYS, "archive, stdin", "script, stdin"],
)
def test_restore_of(whole, way, stdin):
    """All is as it was, whatever the rows look like."""
    data = WAYS[way](whole)
    spoil(whole)
    if stdin:
        feed(whole, "restore", "--yes", "-", stdin=data)
    else:
        (whole.path / "x").write_bytes(data)
        whole.hive_pg("restore", "--yes", "x")
    assert_same(whole, whole.whole)
    rows = whole.trusted("select count(*) from odd").stdout
    assert rows.strip() == str(len(ODD_ROWS) + 1)


def cut(data, words, more=0):
    """Return the data up to some words, and some bytes more."""
    return data[: data.index(words) + more]


def flipped(data, at):
    """Return the data with a byte changed."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


ITEM = b'COPY "Other Schema".item'
TRUNCATED = "truncated"
REFUSED = {
    "empty": (lambda w: b"", "is empty"),
    "gzip": (lambda w: gzip.compress(w.script), "is neither pg_dump -Fc's nor SQL"),
    "pg_dump -Ft": (lambda w: dump_of(w, "-Ft"), "is a tar archive"),
    "pg_dumpall": (lambda w: b"--\n-- PostgreSQL database cluster dump\n--\n", "pg_dumpall"),
    "pg_dump -a": (lambda w: dump_of(w, "-a"), "drops or uses something"),
    "pg_dump --clean": (lambda w: dump_of(w, "--clean"), "drops or uses something"),
    "pg_dump -C": (lambda w: dump_of(w, "-C"), "is made by pg_dump -C"),
    "drops the database": (
        lambda w: f'create table x ();\n  drop database "{DATABASE}"'.encode(),
        "cannot drop a template database",
    ),
    "drops the database by force": (
        lambda w: f'\ufeffdrop database "{DATABASE}" (force);'.encode(),
        "cannot drop a template database",
    ),
    "something else": (lambda w: os.urandom(10000) + b"\0", "is neither"),
    "text": (lambda w: b"Dear reader,\n" * 1000, "syntax error"),
    "makes nothing": (lambda w: b"select 1;\n", "makes nothing"),
    "an error in it": (lambda w: b"create table x ();\nselect nope;\n", '"nope" does not exist'),
    "leaves a transaction open": (
        lambda w: b"begin;\ncreate table x ();\n",
        "middle of a statement or transaction",
    ),
    "ends psql": (
        lambda w: b"create table x ();\n\\q\ncreate table y ();",
        "backslash commands are restricted",
    ),
    "runs what it selects": (
        lambda w: (
            b"create table x ();\nselect 'drop database ' || quote_ident(datname) || ' (force)'"
            b" from pg_database where datname !~ 'template|_restoring_' \\gexec\n"
        ),
        "backslash commands are restricted",
    ),
    "hides what follows": (
        lambda w: (
            f'create table x ();\n\\set a 1 \\\\ drop database "{DATABASE}" (force);'.encode()
        ),
        "backslash commands are restricted",
    ),
    "newer archive": (lambda w: (DATA / "pg_dump_18.4.dump").read_bytes(), "newer PostgreSQL"),
    "newer script": (lambda w: (DATA / "pg_dump_18.4.sql").read_bytes(), "newer PostgreSQL"),
    "archive, header": (lambda w: w.archive.read_bytes()[:8], TRUNCATED),
    "archive, contents": (lambda w: w.archive.read_bytes()[:1000], TRUNCATED),
    "archive, rows": (lambda w: w.archive.read_bytes()[:-3000], TRUNCATED),
    "archive, last byte": (lambda w: w.archive.read_bytes()[:-1], TRUNCATED),
    "archive, damaged": (lambda w: flipped(w.archive.read_bytes(), -3000), TRUNCATED),
    "script, header": (lambda w: w.script[:400], "truncated: its last line is missing"),
    "script, between statements": (lambda w: cut(w.script, ITEM), TRUNCATED),
    "script, in a statement": (lambda w: cut(w.script, ITEM, 10), TRUNCATED),
    "script, in COPY": (lambda w: cut(w.script, ITEM, 200), TRUNCATED),
    "script, in a function": (lambda w: cut(w.script, b"drop database hive", 8), TRUNCATED),
    "script, last line": (lambda w: cut(w.script, b"database dump complete", 8), TRUNCATED),
    "other script, in a string": (lambda w: b"create table x();select '\n;", "unterminated"),
    "other script, in parentheses": (lambda w: b"create table x (i int,\n", "syntax error"),
    "other script, in a body": (lambda w: b"create table x();do $$ begin;", "unterminated"),
    "other script, in COPY": (
        lambda w: b"create table x (t text);\ncopy x from stdin;\nrow\n",
        "in the middle of a statement",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_restore_refuses(dumped, kind):
    """Exit 1 with a cause; the present database serves on, untouched, and nothing is beside it."""
    data, words = REFUSED[kind]
    (dumped.path / "x").write_bytes(data(dumped))
    result = dumped.hive_pg("restore", "--yes", "x", code=1)
    assert words in result.stderr
    assert_same(dumped, dumped.whole)
    assert databases(dumped) == [DATABASE]


@pytest.mark.parametrize(
    ("file", "what"),
    [("nope.dump", "there is no file"), ("data", "is a directory")],
)
def test_restore_of_no_file(dumped, file, what):
    """Exit 1, why, and what helps."""
    result = dumped.hive_pg("restore", "--yes", ".", file, code=1)
    assert what in result.stderr
    assert "\nhint: " in result.stderr


def test_restore_of_an_unreadable_file(make):
    """Exit 1, and how to have it read."""
    workspace = make(actor="user")
    workspace.init("--no-start")
    path = workspace.path / "x.dump"
    path.write_bytes(b"PGDMP")
    path.chmod(0)
    result = workspace.hive_pg("restore", "--yes", "x.dump", code=1)
    assert f"cannot read {path}: Permission denied" in result.stderr
    assert "hint: chmod u+rwX" in result.stderr


def test_restore_asks(dumped):
    """At a terminal a no, and without one no --yes, leaves all as it was."""
    result = dumped.hive_pg("restore", "whole.dump", code=1)
    assert "nothing was done" in result.stderr
    assert "hint: the same with --yes does not ask" in result.stderr
    code, screen = dumped.at_terminal("restore", "whole.dump", answers=[b"n\n"])
    assert (code, "nothing was done" in screen) == (1, True)
    assert_same(dumped, dumped.whole)
    assert databases(dumped) == [DATABASE]


LEAVE = "reassign owned by bob to current_user; drop owned by bob; drop role bob;"


def test_restore_of_a_missing_role(whole):
    """The hint's --no-owner works; what belonged to the role is the workspace's."""
    whole.trusted_script("create role bob; alter table kept owner to bob; grant all on odd to bob")
    archive, script = dump_of(whole, "-Fc"), dump_of(whole)
    whole.trusted_script(LEAVE)
    (whole.path / "x").write_bytes(archive)
    result = whole.hive_pg("restore", "--yes", "x", code=1)
    assert "a role that does not exist here" in result.stderr
    assert "hint: hive-pg psql -c 'create role \"NAME\"'; if it only owns" in result.stderr
    assert_same(whole, whole.whole)
    whole.hive_pg("restore", "--yes", "--no-owner", "x")
    assert_same(whole, whole.whole)
    owner = whole.trusted("select tableowner from pg_tables where tablename = 'kept'").stdout
    assert owner.strip() == whole.env["POSTGRES_USER"]
    (whole.path / "x").write_bytes(script)
    result = whole.hive_pg("restore", "--yes", "--no-owner", "x", code=1)
    assert "create role" in result.stderr
    whole.trusted_script("create role bob")
    whole.hive_pg("restore", "--yes", "x")
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert_same(whole, whole.whole)
    whole.trusted_script(LEAVE)


def test_init_from(whole, make):
    """A copied `.env` gets a login, names and a port of its own; the rows are there, analyzed.

    All is the new role's, whoever owns it there.
    """
    whole.trusted_script("create role bob; alter table kept owner to bob; grant all on odd to bob")
    copy = make("copy", env="")
    copy.write(".env", (whole.path / ".env").read_text(), 0o600)
    said = copy.init("--yes", "--from", whole.path).stderr
    assert f"the data is that of {whole.path}" in said
    assert "drop it" not in said
    assert fingerprint(copy) == whole.whole == fingerprint(whole)
    assert databases(copy) == [DATABASE]
    same = {key for key in copy.env if copy.env[key] == whole.env[key]}
    assert same == {"POSTGRES_DB", "POSTGRES_UID", "POSTGRES_GID", "HIVE_POSTGRES_IMAGE"}
    sql = "select count(*) > 3, bool_and(tableowner = current_user) from pg_stats s"
    sql += " join pg_tables t using (tablename) where s.schemaname !~ '^pg_'"
    assert copy.trusted(sql).stdout.strip() == "t|t"
    assert "has data, and stays" in copy.init("--yes", "--from", whole.path, code=1).stderr
    assert fingerprint(copy) == whole.whole
    whole.trusted_script(LEAVE)


def test_restore_under_an_application(whole):
    """Who is connected, or comes back at once, again and again, does not keep it from serving."""
    script = f"""\
export PGUSER={whole.env["POSTGRES_USER"]} PGHOST=127.0.0.1 PGDATABASE={DATABASE}
echo 'select count(*) from kept;' > /tmp/query
while [ ! -e /tmp/stop ]; do pgbench -n -C -c 6 -j 2 -T 1 -f /tmp/query; done >/dev/null 2>&1
rm /tmp/stop
"""
    busy = "select count(*) > 2 from pg_stat_activity where application_name = 'pgbench'"
    spoil(whole)
    argv = ["docker", "exec", whole.container, "sh", "-c", script]
    with subprocess.Popen(argv) as application:
        try:
            wait_until(lambda: whole.trusted(busy).stdout.strip() == "t")
            whole.hive_pg("restore", "--yes", "whole.dump")
            assert_same(whole, whole.whole)
            wait_until(lambda: whole.trusted(busy).stdout.strip() == "t")
        finally:
            docker("exec", whole.container, "touch", "/tmp/stop")
        assert application.wait(timeout=COMMAND_TIMEOUT_S) == 0


def test_another_workspace_is_not_touched(dumped, make, lab):
    """With a copied .env nothing is read from, or done to, the other's container."""
    thief = make(env="", starts=False)
    for name in (".env", "docker-compose.yml"):
        shutil.copy(dumped.path / name, thief.path / name)
        lab.give(thief.path / name, thief.actor)
    (thief.path / "x.sql").write_text("create table t ();")
    identity, before = dumped.identity, dumped.snapshot()
    for command in (
        ["psql", "--", "-c", "drop table kept"],
        ["backup"],
        ["restore", "--yes", "x.sql"],
        ["restore", "--yes", "--drop-old"],
        ["rotate"],
        ["destroy"],
        ["destroy", "--data", "--yes", "--no-backup"],
    ):
        result = thief.hive_pg(*command, code=1)
        assert "belongs to" in result.stderr or "has the name" in result.stderr
    assert (dumped.identity, dumped.snapshot()) == (identity, before)
    assert_same(dumped, dumped.whole)
    assert not (thief.path / "backups").exists()
    (thief.path / ".env").unlink()  # so that the sweep leaves the other's network


SETTINGS = {
    "read only": "alter database :d set default_transaction_read_only = on",
    "another role": "alter database :d set role nobody",
    "a tablespace": "alter database :d set tablespace elsewhere",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_restore_whatever_the_database_is_set_to(whole, name):
    """Its settings bar no backup and no restore, and the restored one has them too."""
    place = "/var/lib/postgresql/data/elsewhere"
    docker("exec", whole.container, "mkdir", "-p", place)

    def run_sql(sql):
        sql = sql.replace(":d", f'"{DATABASE}"')
        argv = ["docker", "exec", "-i", "-e", "PGOPTIONS=-c default_transaction_read_only=off"]
        argv += [whole.container, "psql", "-XqAt", "-U", whole.env["POSTGRES_USER"]]
        result = run([*argv, "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql])
        assert result.returncode == 0, result.stderr
        return result.stdout

    run_sql("create role nobody")
    run_sql(f"create tablespace elsewhere location '{place}'")
    settings = "select s.setconfig, dattablespace from pg_database d left join pg_db_role_setting s"
    settings += f" on setdatabase = d.oid where datname = '{DATABASE}'"
    try:
        plain = run_sql(settings)
        run_sql(SETTINGS[name])
        before = run_sql(settings)
        assert before != plain
        whole.hive_pg("backup", "-o", "own.dump")
        whole.hive_pg("restore", "--yes", "own.dump")
        whole.hive_pg("restore", "--yes", "--drop-old")
        assert run_sql(settings) == before
    finally:
        run_sql("alter database :d reset all")
        run_sql("alter database :d set tablespace pg_default")
        run_sql("drop tablespace elsewhere")
        run_sql("drop role nobody")
    assert_same(whole, whole.whole)


PROVIDERS = {
    "libc": ("", " locale_provider libc"),
    "ICU": (
        "update pg_database set datlocprovider = 'i', daticulocale = 'de'",
        " locale_provider icu icu_locale 'de'",
    ),
    "ICU, rules": (
        "update pg_database set datlocprovider = 'i', daticulocale = 'de',"
        " daticurules = '&a < ''b'",
        " locale_provider icu icu_locale 'de' icu_rules '&a < ''b'",
    ),
    "builtin, from PostgreSQL 17 on": (
        "alter table pg_database rename daticulocale to datlocale;"
        "update pg_database set datlocprovider = 'b', datlocale = 'C.UTF-8'",
        " locale_provider builtin builtin_locale 'C.UTF-8'",
    ),
    "none, up to PostgreSQL 14": (
        "alter table pg_database drop datlocprovider, drop daticulocale, drop daticurules",
        "",
    ),
}


@pytest.mark.parametrize(("catalog", "words"), PROVIDERS.values(), ids=PROVIDERS)
def test_restore_keeps_the_provider_of_the_locale(dumped, catalog, words):
    """Asked of a catalog as another build, or another major version, has it."""
    statement = hive_pg.build_staging_sql(DATABASE, "x").split("\\gexec")[0]
    script = "create temp table pg_database as select * from pg_catalog.pg_database;"
    script += f"set search_path = pg_temp, pg_catalog; {catalog}; {statement};"
    said = dumped.trusted(script)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("create database x owner ")
    assert said.stdout.endswith(f" tablespace pg_default{words}\n")


def test_restore_beside_a_subscription(whole):
    """What it keeps from being dropped is told, and bars no later restore."""
    script = b"create table q (i int);\ncreate subscription s connection 'host=nowhere'"
    script += b" publication p with (connect = false);\nselect 1/0;\n"
    (whole.path / "x").write_bytes(script)
    said = whole.hive_pg("restore", "--yes", "x", code=1).stderr
    assert "psql:<stdin>:3: ERROR:  division by zero" in said
    assert "warning: what a restore may have left stays until the next, or --drop-old: " in said
    time.sleep(1)  # its name has the second
    whole.hive_pg("restore", "--yes", "whole.dump")
    said = whole.hive_pg("restore", "--yes", "--drop-old", code=1).stderr
    assert "is being used by logical replication subscription" in said
    assert "hint: there: alter subscription … disable, … set (slot_name = none)" in said
    assert_same(whole, whole.whole, restoring=True)
    (left,) = set(databases(whole)) - {DATABASE}
    sql = "alter subscription s disable; alter subscription s set (slot_name = none)"
    for words in (*sql.split("; "), "drop subscription s"):
        whole.hive_pg("psql", "--", "-qXd", left, "-c", words)
    whole.hive_pg("restore", "--yes", "whole.dump")
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert_same(whole, whole.whole)


def test_restore_with_an_empty_search_path(whole):
    """What the database's own settings hide is not taken for missing."""
    whole.trusted(f"alter database \"{DATABASE}\" set search_path to ''")
    try:
        whole.hive_pg("run", "--fresh", "--", "true")
        for name in ("whole.dump", "whole.sql"):
            (whole.path / "whole.sql").write_bytes(whole.script)
            spoil(whole)
            whole.hive_pg("restore", "--yes", name)
            assert_same(whole, whole.whole)
        settings = "select setconfig from pg_db_role_setting where setrole = 0"
        assert 'search_path=\\"\\"' in whole.trusted(settings).stdout
    finally:
        whole.trusted(f'alter database "{DATABASE}" reset search_path')


def test_settings_of_a_role_are_no_sql(whole):
    """Nothing that a plain role has set for itself runs as hive-pg's role."""
    code = "public;alter/**/role/**/mallory/**/superuser"
    whole.trusted_script(f"""\
create role mallory; set session authorization mallory;
select set_config('search_path', '{code}', false);
alter role mallory in database "{DATABASE}" set search_path from current;
""")
    path = '"$user", public, "A ""B"", c"'
    whole.trusted(f'alter database "{DATABASE}" set search_path to {path}')
    try:
        whole.hive_pg("snapshot", "@own", "--yes")
        whole.hive_pg("restore", "@own", "--yes")
        assert whole.trusted("show search_path").stdout == f"{path}\n"
        roles = "select rolsuper from pg_roles where rolname = 'mallory'"
        assert whole.trusted(roles).stdout == "f\n"
    finally:
        whole.trusted(f'alter database "{DATABASE}" reset search_path')
        whole.trusted("drop role mallory")
        whole.hive_pg("snapshot", "--drop", "@own", "--yes")
        whole.hive_pg("restore", "--drop-old", "--yes")


def test_drop_old_spares_what_was_renamed_back(whole):
    """Who takes the old database back, by its name, keeps it, whatever its comment says."""
    spoil(whole)
    whole.hive_pg("restore", "--yes", "whole.dump")
    (kept,) = set(databases(whole)) - {DATABASE}
    for old, new in ((DATABASE, "restored"), (kept, DATABASE)):
        sql = f'alter database "{old}" rename to "{new}"'
        whole.hive_pg("psql", "--", "-qXd", "postgres", "-c", sql)
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert databases(whole) == [DATABASE, "restored"]
    assert whole.trusted("select count(*) from kept where word = ''").stdout == f"{ROWS}\n"
    whole.hive_pg("restore", "--yes", "whole.dump")
    whole.hive_pg("restore", "--yes", "--drop-old")
    whole.trusted("drop database restored")
    assert_same(whole, whole.whole)


# -- rotate -------------------------------------------------------------------------------------


def test_rotate(whole):
    """The old password is refused, the new one let in; sessions stay, and no log has either."""
    old = whole.env["POSTGRES_PASSWORD"]
    whole.trusted_script("alter system set log_statement = 'all'; select pg_reload_conf();")
    argv = ["docker", "exec", "-i", "-e", f"PGPASSWORD={old}", whole.container, "psql", "-XqAt"]
    argv += ["-U", whole.env["POSTGRES_USER"], "-d", DATABASE, "-h", whole.container]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    try:
        with subprocess.Popen(argv, **pipe) as session:
            session.stdin.write("select 'before';\n")
            session.stdin.flush()
            assert session.stdout.readline() == "before\n"
            said = whole.hive_pg("rotate").stderr
            rest = session.communicate("select 'after';\n", timeout=COMMAND_TIMEOUT_S)[0]
            assert rest == "after\n"
    finally:
        whole.trusted_script("alter system reset log_statement; select pg_reload_conf();")
    new = whole.env["POSTGRES_PASSWORD"]
    assert new != old
    assert "the password is a new one" in said
    assert whole.login() == "1"
    assert "password authentication failed" in whole.login(password=old, code=2)
    logs = run(["docker", "logs", whole.container])
    assert "SCRAM-SHA-256$4096:" in logs.stderr + logs.stdout
    for password in (old, new):
        assert password not in logs.stderr + logs.stdout
    assert new not in (whole.path / ".hive-pg.json").read_text()
    assert f":{new}@" in whole.env["HIVE_DATABASE_URL"]
    identity = whole.identity
    whole.hive_pg("start")
    assert whole.identity == identity
    whole.hive_pg("restart")
    assert whole.login() == "1"
    assert_same(whole, whole.whole)


# -- destroy ------------------------------------------------------------------------------------


def test_destroy(make, lab):
    """Container and network go, .env and data stay: the next start has every row."""
    workspace = make("gone")
    workspace.init()
    workspace.plant()
    before, project = workspace.snapshot(), workspace.env["COMPOSE_PROJECT_NAME"]
    pause(workspace.container)  # also one that is paused
    workspace.hive_pg("destroy")
    assert workspace.inspect() is None
    assert lab.of_projects("network", {project}) == []
    assert workspace.snapshot() == before
    assert "there is no container" in workspace.hive_pg("destroy").stderr
    workspace.hive_pg("start")
    workspace.assert_kept()
    # With its data: only after a yes, and after a backup.
    result = workspace.hive_pg("destroy", "--data", code=1)
    assert "nothing was done" in result.stderr
    workspace.assert_kept()
    # What an interrupted restore has left is nobody's.
    half, comment = "hive_restoring_20260101T000000Z", hive_pg.STAGING_COMMENT.format("hive")
    left = f'create database "{half}"; comment on database "{half}" is \'{comment}\';'
    workspace.trusted_script(left)
    workspace.hive_pg("stop")
    outside = workspace.path.parent / "outside"
    outside.mkdir()
    (outside / "mine").write_text("kept")
    (workspace.path / "data" / "postgres" / "link").symlink_to(outside)
    workspace.hive_pg("destroy", "--data", "--yes")
    assert workspace.inspect() is None
    assert lab.of_projects("network", {project}) == []
    assert not (workspace.path / "data" / "postgres" / "pgdata").exists()
    assert (outside / "mine").read_text() == "kept"
    assert (workspace.path / ".env").read_bytes() == before[".env"][0]
    (backup,) = (workspace.path / "backups").glob("*.dump")
    (roles,) = (workspace.path / "backups").glob("*.sql")
    assert workspace.env["POSTGRES_USER"] in roles.read_text()
    workspace.hive_pg("init", "--yes")
    assert workspace.login("select count(*) from pg_class where relname = 'kept'") == "0"
    workspace.hive_pg("restore", "--yes", backup)
    workspace.assert_kept()
    # All of it, but for backups and what is others'.
    (workspace.path / "data" / "postgres" / "link").unlink()
    with (workspace.path / ".env").open("a") as file:
        file.write("# mine\nMINE='1' # kept\n")
    said = workspace.hive_pg("destroy", "--purge", "--yes").stderr
    assert "data/.gitignore, docker-compose.yml removed" in said
    assert (workspace.path / ".env").read_text() == "# mine\nMINE='1' # kept\n"
    left = {".env", ".gitignore", "backups"}
    assert {path.name for path in workspace.path.iterdir()} == left
    assert len([*(workspace.path / "backups").glob("hive-*.dump")]) == 2


def test_destroy_beside_another_container(make, lab):
    """The network that it uses stays, which is said; all the rest goes."""
    workspace = make("shared")
    workspace.serve()
    (network,) = lab.of_projects("network", {workspace.env["COMPOSE_PROJECT_NAME"]})
    argv = ["--rm", "--label", f"{OURS}={workspace.path}", "--network", network]
    other = docker("run", "-d", *argv, "--entrypoint", "sleep", lab.image, "600")
    said = workspace.hive_pg("destroy", "--data", "--yes").stderr
    assert "warning: the network stays, which other containers use: " in said
    assert "has active endpoints" in said
    assert not (workspace.path / "data" / "postgres" / "pgdata").exists()
    docker("rm", "--force", other)
    workspace.hive_pg("destroy")
    assert lab.of_projects("network", {workspace.env["COMPOSE_PROJECT_NAME"]}) == []


def test_destroy_whose_port_another_has(make):
    """Nothing is started, so that it does not matter; what was not there is not called deleted."""
    workspace = make("late")
    workspace.serve()
    workspace.hive_pg("destroy", "--data", "--yes", "--no-backup")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", workspace.port))
        other.listen()
        said = workspace.hive_pg("destroy", "--data", "--yes").stderr
    assert "there was no data in" in said
    assert "is deleted" not in said


def test_destroy_of_data_behind_a_link(make):
    """What is not in the workspace is not deleted, and the container stays as well."""
    workspace = make("linked")
    workspace.serve()
    workspace.plant()
    workspace.hive_pg("stop")
    elsewhere = workspace.path.parent / "elsewhere"
    os.rename(workspace.path / "data" / "postgres", elsewhere)
    (workspace.path / "data" / "postgres").symlink_to(elsewhere)
    for option in ((), ("--no-backup",)):
        result = workspace.hive_pg("destroy", "--data", "--yes", *option, code=1)
        assert "the data is neither in" in result.stderr
    assert (elsewhere / "pgdata" / "PG_VERSION").exists()
    assert workspace.inspect() is not None


def test_destroy_data_asks_for_the_name(make):
    """At a terminal the workspace's name is asked for; anything else leaves all as it is."""
    workspace = make("asked")
    workspace.init("--no-start")
    ours, theirs = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with workspace.started("destroy", "--data", "--no-backup", **streams) as process:
        os.close(theirs)
        assert f"Type {workspace.path.name}" in read_until(ours, b"to go on: ").decode()
        os.write(ours, b"yes\n")
        said = f"that is not {workspace.path.name}: nothing was done"
        read_until(ours, said.encode())
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == 1
    os.close(ours)
    assert (workspace.path / "data" / "postgres").exists()
