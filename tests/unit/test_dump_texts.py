"""Dumps and passwords: what a file is, what a script does, which step follows which."""

import io
import json
import os
import re
import shlex
import shutil
import stat
from types import SimpleNamespace

import pytest
from fakes import Became, make_cluster, make_container
from hypothesis import given
from hypothesis import strategies as st

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    DockerCommandError,
    ExitCode,
    NotSetUpError,
    ScriptGuard,
    WorkspaceError,
)

# -- what a file is -----------------------------------------------------------------------------

TAR = b"toc.dat".ljust(257, b"\0") + b"ustar\0"


@pytest.mark.parametrize(
    ("head", "archive"),
    [
        pytest.param(b"PGDMP\x01\x0f\0", True, id="pg_dump -Fc"),
        pytest.param(b"--\n-- PostgreSQL database dump\n--\n", False, id="pg_dump"),
        pytest.param(b"\xef\xbb\xbfselect 1;", False, id="byte order mark"),
        pytest.param(b"\n\n create table t ();", False, id="blank lines first"),
    ],
)
def test_is_archive(head, archive):
    """A custom dump is known by its first bytes; other text is SQL."""
    assert pg.is_archive(head) is archive


@pytest.mark.parametrize(
    ("head", "what", "hint"),
    [
        pytest.param(b"", "is empty", "take another one", id="empty"),
        pytest.param(b" \n\n", "is empty", "take another one", id="blank"),
        pytest.param(b"\x1f\x8b\x08\0", "is compressed", "gunzip -c FILE | hive-pg", id="gzip"),
        pytest.param(b"(\xb5/\xfd\0", "is compressed", "hive-pg restore -", id="zstd"),
        pytest.param(b"BZh91AY", "is compressed", "hive-pg restore -", id="bzip2"),
        pytest.param(TAR, "is a tar", "pg_restore -f - FILE | hive-pg restore -", id="tar"),
        pytest.param(
            b"--\n-- PostgreSQL database cluster dump\n--\n", "pg_dumpall", "pg_dump", id="all"
        ),
        pytest.param(b"\x89PNG\r\n\0\0", "is neither", "pg_dump -Fc", id="a picture"),
        pytest.param("create".encode("utf-16"), "is neither", "pg_dump -Fc", id="UTF-16"),
    ],
)
def test_is_archive_refuses(head, what, hint):
    """What is neither a custom dump nor SQL is named, with what makes one of it."""
    with pytest.raises(WorkspaceError, match=what) as caught:
        pg.is_archive(head)
    assert hint in caught.value.hint


# -- what a script does -------------------------------------------------------------------------


def run_guard(script, cuts=()):
    """Hand a script over in blocks; return what psql gets, up to an error, and the error."""
    guard, given_out, error = ScriptGuard(), b"", None
    places = [0, *sorted(cuts), len(script)]
    try:
        for begin, end in zip(places, places[1:]):
            given_out += guard.check(script[begin:end])
        given_out += guard.finish()
    except WorkspaceError as caught:
        error = str(caught)
    return given_out, error


HARMLESS = {
    "string": b"insert into t values ('\ndrop database hive;\n\\connect x\n');",
    "string, quote in it": b"select 'it''s\ndrop database hive;';",
    "escaped string": b"select E'\\'\ndrop database a;\\\\', e'''\n\\c x\\'';",
    "name": b'create table "\n;drop database hive" ();',
    "comment": b"-- drop database hive;\n-- it's\nselect 1;",
    "line comment in a statement": b"select 1 -- '\n, 2;",
    "block comment": b"/* /* ' */ ;drop database hive; */ select 1;",
    "function": b"do $$ begin; create database x; end $$;",
    "function, tagged": b"do $a$ ' $$ ;\n drop database x; \\c x $a$;",
    "a dollar in a name": b"select a$b$ from t; select '$b$ drop database x';",
    "parameter": b"prepare p as select $1; execute p(1);",
    "rows": b"copy t (a, b) from stdin;\ndrop database x;\n\\connect x\nit's\t$$\n\\.\nselect 1;",
    "rows, options": b"COPY t FROM STDIN WITH (delimiter ';', null '');\n;drop database x\n\\.\n",
    "rows, over lines": b"copy t\n  (a,\n  b)\nfrom /* ' */\n stdin;\ndrop database x;\n\\.\n",
    "rows, Windows' line ends": b"copy t from stdin;\r\ndrop database x;\r\n\\.\r\n",
    "rows, none": b"copy t from stdin;\n\\.\nselect 'drop database x';",
    "rows, dots in them": b"copy t from stdin;\n\\.x\n\\..\ndrop database x;\n\\.\nselect 1;",
    "copy out": b"copy t to stdout;\nselect 1;",
    "restrict": b"\\restrict aB1\nselect 1;\n\\unrestrict aB1\n",
    "names that begin alike": b"drop databases; create database_of_mine; alter table database_x;",
    "a rule": b"create rule r as on delete to t do (select 1; select 2);",
    "a column": b"alter table t drop column database;",
}
HARMFUL = {
    "drop": b"drop database hive;",
    "drop, indented": b"select 1;\n   DROP\n\tDatabase hive;",
    "drop, in a line": b"create table t(); drop database hive;",
    "drop, commented": b"/* x */ drop -- it's\n /* ; */ database hive;",
    "drop, quoted": b'select 1; drop database"hive";',
    "drop, last line": b"select 1;\ndrop database hive",
    "drop, after rows": b"copy t from stdin;\nit's\n\\.\ndrop database hive;",
    "drop, after copy out": b"copy t to stdout;\ndrop database hive;",
    "drop, after an escape": b"select E'\\'', '\\';\ndrop database hive;",
    "drop, after a name": b"select a$$b from t; drop database hive; select a$$b from t;",
    "drop, after a command": b"select 'a' \\gexec\ndrop database hive;",
    "drop, after a comment's end": b"/* /* */ */ drop database hive;",
    "create": b"CREATE DATABASE x;",
    "alter": b"alter  database hive set work_mem to 1;",
    "psql, what was selected": b"select 'drop database ' || 'hive ' \\gexec",
    "psql, behind a command": b"\\set a 1 \\\\ drop database hive;",
    "psql, behind a key": b"\\restrict a \\\\ drop database hive;",
    "psql, a program": b"\\! dropdb hive",
    "psql, another file": b"select 1;\n\\i x.sql",
    "psql, nothing": b"select 1 \\",
    "connect": b"select 1;\n\\connect postgres\n",
    "connect, short": b"\\c postgres\n",
    "connect, in a line": b"select 1 \\c postgres\n",
}


@pytest.mark.parametrize("script", HARMLESS.values(), ids=HARMLESS)
def test_script_guard_accepts(script):
    """What strings, comments, bodies and rows say is no statement, wherever a block ends."""
    for cut in range(len(script) + 1):
        assert run_guard(script, [cut]) == (script + b"\n", None)
    assert run_guard(script, range(len(script))) == (script + b"\n", None)
    longer = script + b"\n" + b" " * ScriptGuard._AHEAD  # so that all of it is a block's end once
    for cut in range(len(script)):
        assert run_guard(longer, [cut + ScriptGuard._AHEAD]) == (longer + b"\n", None)


@pytest.mark.parametrize("script", HARMFUL.values(), ids=HARMFUL)
def test_script_guard_refuses(script):
    """A statement on databases is refused before psql has it, wherever a block ends."""
    padded = script + b"\nselect 1;\n" * 12
    ends = range(len(script) + ScriptGuard._AHEAD)
    for cuts in (*([cut] for cut in ends), range(len(script))):
        for text in (script, padded):
            given_out, error = run_guard(text, [cut for cut in cuts if cut <= len(text)])
            assert error.startswith(
                ("the script acts on databases: ", "the script has a command for psql: \\")
            )
            assert text.startswith(given_out)
            # At its end psql would run what it has.
            assert not given_out.lower().endswith((b"postgres", b" hive", b'hive"', b"\\c"))


@given(
    st.lists(st.sampled_from([*HARMLESS.values(), b"\n", b";", b" "]), max_size=8).map(b"\n".join),
    st.sampled_from([b"", *HARMFUL.values()]),
    st.data(),
)
def test_script_guard_at_any_blocks(script, end, data):
    """Where the blocks end changes nothing: all is handed out, or the same is refused."""
    script += b"\n;" + end
    cuts = data.draw(st.lists(st.integers(0, len(script)), max_size=20))
    given_out, error = run_guard(script, cuts)
    assert (error, bool(error)) == (run_guard(script)[1], bool(end))
    assert given_out == script + b"\n" if not end else script.startswith(given_out)


DUMP = b"--\n-- PostgreSQL database dump\n--\n\nselect 1;\n" * 40
LAST = b"--\n-- PostgreSQL database dump complete\n--\n\n"


@pytest.mark.parametrize("size", [1, 100, 4096])
def test_script_guard_of_a_truncated_dump(size):
    """A script of pg_dump's ends as pg_dump does; another one may end as it likes."""
    blocks = range(0, len(DUMP + LAST), size)
    assert run_guard(DUMP + LAST + b"\\unrestrict x\n\n", blocks)[1] is None
    assert run_guard(DUMP, blocks)[1] == "the dump is truncated: its last line is missing"
    assert run_guard(DUMP + LAST[:30], blocks)[1] is not None
    assert run_guard(b"select 1;\n" * 200, blocks)[1] is None


@pytest.mark.parametrize(
    "begin", [b"copy t from stdin;\n", b"select '", b"select 1", b"--", b"do $$"]
)
def test_script_guard_memory(begin):
    """A line of any length takes no memory to speak of."""
    guard, block = ScriptGuard(), b"x" * 100_000
    assert guard.check(begin) == b""
    for _ in range(20):
        guard.check(block)
        kept = guard.rest + guard.head + guard.tail + guard.first + guard.last
        assert len(kept) < 10_000


# -- names and texts ----------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["restoring", "before"])
@pytest.mark.parametrize("database", ["hive", "a-b.C_d", "x" * 63])
def test_choose_database_name(database, purpose):
    """It is one that the server does not cut short, and tells the database and the time."""
    name = pg.choose_database_name(database, purpose, 1e9)
    assert len(name) <= 63
    assert name.endswith(f"_{purpose}_20010909T014640Z")
    assert database.startswith(name.partition(f"_{purpose}_")[0])


def test_choose_backup_name():
    """It sorts by time, and says that the time is UTC."""
    assert pg.choose_backup_name("a-b.C_d", 1e9) == "a-b.C_d-20010909T014640Z.dump"


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_quote_literal(text):
    """The server reads the text back: escapes are its own."""
    quoted = pg.quote_literal(text)
    assert quoted.startswith("E'")
    assert quoted.endswith("'")
    plain = quoted[2:-1].replace("\\\\", "\0").replace("\\'", "'").replace("\0", "\\")
    assert plain == text
    assert run_guard(f"select {quoted};".encode())[1] is None


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_quote_identifier(text):
    """A double quote is doubled, and nothing else changes."""
    assert pg.quote_identifier(text)[1:-1].replace('""', '"') == text


ODD = "a\"b'c\\d"


def test_sql_quotes_names():
    """A name with quotes in it stands in each script as an identifier or a literal only."""
    quoted = (pg.quote_identifier(ODD), pg.quote_literal(ODD)[2:-1])
    for sql in (
        pg.build_staging_sql(ODD, f"{ODD}_new"),
        pg.build_swap_sql(ODD, f"{ODD}_new", f"{ODD}_old"),
        pg.build_drop_sql(pg.comment_kept(ODD)),
    ):
        for spelling in quoted:
            sql = sql.replace(spelling[1:-1] if spelling[0] == '"' else spelling, "")
        assert "b'c" not in sql


def test_build_swap_sql():
    """Both names change in one transaction, after the sessions have been ended."""
    lines = pg.build_swap_sql("hive", "new", "old").splitlines()
    assert (lines[1], lines[-1]) == ("begin;", "commit;")
    assert [line.split('"')[1::2] for line in lines if "rename" in line] == [
        ["hive", "old"],
        ["new", "hive"],
    ]
    ended = next(i for i, line in enumerate(lines) if "pg_terminate_backend" in line)
    assert ended < next(i for i, line in enumerate(lines) if "rename" in line)


def test_build_drop_sql_spares_what_was_renamed_back():
    """The comment alone is not enough: the present database may have kept it."""
    assert "datname ~ '_(before|restoring)_[0-9]+T[0-9]+Z$'" in pg.build_drop_sql("'x'")


SKIPPING = 'NOTICE:  table "documents" does not exist, skipping\n'


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("pg_restore: error: unsupported version (1.16) in file header", "newer PostgreSQL"),
        ('ERROR:  unrecognized configuration parameter "transaction_timeout"', "newer PostgreSQL"),
        ("ERROR:  invalid command \\restrict", "newer PostgreSQL"),
        ("pg_restore: error: could not read from input file: end of file", "truncated"),
        ("pg_restore: error: could not uncompress data: (null)", "truncated"),
        ("pg_restore: error: did not find magic string in file header", "truncated"),
        ('pg_restore: error: could not execute query: ERROR:  role "bob" does not exist', "role"),
        ('ERROR:  index "documents_e_idx" does not exist', "drops or uses something"),
        (f'{SKIPPING}ERROR:  relation "public.documents" does not exist', "drops or uses"),
        ("ERROR:  function public.touch() does not exist", "drops or uses something"),
        (f'{SKIPPING}ERROR:  extension "postgis" is not available', "extension"),
        (f"{SKIPPING}FATAL:  terminating connection", "ended the session"),
        ('ERROR:  extension "postgis" is not available', "extension"),
        ("ERROR:  canceling statement due to lock timeout", "locked"),
        ("FATAL:  terminating connection due to administrator command", "ended the session"),
        ("pg_dump: error: server closed the connection unexpectedly", "ended the session"),
    ],
)
def test_dump_diagnoses(words, cause):
    """What the programs of the image say of a bad file has a cause and a remedy."""
    found = pg.diagnose(words, pg.DUMP_DIAGNOSES)
    assert cause in found.cause
    assert found.remedy


@pytest.mark.parametrize(
    "words",
    [
        f'{SKIPPING}ERROR:  syntax error at or near "foo"',
        'pg_dump: error: query failed: ERROR:  relation "public.t" does not exist',
    ],
    ids=["a notice", "dropped while it is dumped"],
)
def test_dump_diagnoses_none(words):
    """What speaks for itself is shown as it is."""
    assert pg.diagnose(words, pg.DUMP_DIAGNOSES) is None


@pytest.mark.parametrize(
    ("words", "directory", "file"),
    [
        ("x.dump", ".", "x.dump"),
        ("-", ".", "-"),
        ("DIR x.dump", "DIR", "x.dump"),
        ("DIR -", "DIR", "-"),
        ("--drop-old x.dump", ".", "x.dump"),
        ("--drop-old DIR x.dump", "DIR", "x.dump"),
        ("--drop-old DIR", "DIR", None),
        ("--drop-old", ".", None),
        ("DIR", ".", "DIR"),
    ],
)
def test_restore_tells_the_directory_from_the_file(tmp_path, monkeypatch, words, directory, file):
    """One argument is FILE, but for --drop-old, which goes with a directory alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    parser = pg.build_parser("hive-pg", "restore")
    args = parser.parse_args(words.split())
    pg._sort_out_file(parser, args)
    assert (args.directory, args.file) == (directory, file)


def test_restore_without_a_file(capsys):
    """It is wrong usage."""
    with pytest.raises(SystemExit) as caught:
        pg.main(["restore"])
    assert caught.value.code == ExitCode.USAGE
    assert "FILE is missing" in capsys.readouterr().err


# -- backup -------------------------------------------------------------------------------------

TERMS = "docker exec --interactive --env PGPASSWORD --env PGUSER=ann --env PGDATABASE=hive"
CLIENT = f"{TERMS} {shlex.join(pg._OWN_SESSION)} hive-postgres"
DUMPING, READING = f"{CLIENT} sh -c", f"{CLIENT} pg_restore --file=/dev/null"
RESTORING, RUNNING = f"{CLIENT} pg_restore --exit-on-error", f"{CLIENT} psql -XqAtw -v"
WHOLE = b"PGDMP whole"
CLEANING = pg.build_drop_sql(pg.comment_staging("hive")) + pg.DATABASES_SQL


class Server:
    """What the programs in the container answer: psql in template1, or in what is restored."""

    def __init__(self):
        self.words = {"template1": [""], "restoring": ["t\n"]}

    def execute(self, call):
        database = call.argv[call.argv.index("-d") + 1]
        answers = self.words["restoring" if "_restoring_" in database else database]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def server(docker):
    """Return the server of the fake engine, whose psql and pg_dump do well."""
    server = Server()
    docker.answers[RUNNING + " ON_ERROR_STOP=1"] = server.execute
    docker.answers[DUMPING] = (0, "", WHOLE)
    docker.answers[READING] = docker.answers[RESTORING] = ""
    return server


@pytest.fixture
def up(workspace, docker):
    """Return a workspace whose database runs."""
    docker.containers.append(make_container(workspace=workspace))
    return workspace


@pytest.fixture
def manager(up, manager_of, server, monkeypatch):
    """Return the manager of the workspace; it is a certain time."""
    monkeypatch.setattr(pg.time, "time", lambda: 1e9)
    return manager_of(up)


def scripts_of(docker):
    """Return the SQL that psql got, with the database."""
    calls = [c for c in docker.calls_of(RUNNING) if getattr(c, "taken", None) is None]
    return [(call.argv[-1], call.stdin) for call in calls]


def test_backup(manager, docker, up):
    """The dump is in backups/, for its owner alone, out of git's sight, and was read back."""
    path = manager.backup()
    assert path == str(up / "backups" / "hive-20010909T014640Z.dump")
    assert (up / "backups" / "hive-20010909T014640Z.dump").read_bytes() == WHOLE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(up / "backups").st_mode) == 0o700
    assert (up / "backups" / ".gitignore").read_text() == "*\n"
    (reading,) = docker.calls_of(READING)
    assert reading.taken == WHOLE
    assert all(call.env["PGPASSWORD"] == "s3cret" for call in docker.calls if call.env)
    assert "s3cret" not in str([call.argv for call in docker.calls])


def test_backups_into_one_directory(manager, docker, up):
    """They do not wait for each other, and only one of them writes a file."""
    with pg.Replacement(str(up / "mine.dump")) as file:
        file.write(b"half")
        assert manager.backup(str(up / "x.dump")) == str(up / "x.dump")
        with pytest.raises(WorkspaceError, match=r"another hive-pg is writing .*/mine\.dump"):
            manager.backup(str(up / "mine.dump"))
    assert (up / "mine.dump").read_bytes() == b"half"
    manager.backup(str(up / "mine.dump"))
    assert (up / "mine.dump").read_bytes() == WHOLE
    assert not [*up.glob("*.tmp")]


def test_backups_of_one_second(manager, up):
    """A name is given once: the second one does not take the first one's place."""
    first, second = manager.backup(), manager.backup()
    assert (first[-9:], second[-9:]) == ("640Z.dump", "641Z.dump")


@pytest.mark.parametrize("command", [DUMPING, READING])
def test_backup_that_fails(manager, docker, up, command):
    """Where the dump or its reading fails there is no file, and the error has the words."""
    docker.answers[command] = (1, "pg_dump: error: out of memory")
    with pytest.raises(DockerCommandError, match="out of memory"):
        manager.backup()
    assert os.listdir(up / "backups") == [".gitignore"]


def test_backup_of_a_database_that_is_not_there(manager, docker):
    """A login that fails is not the server's end."""
    words = "connection to server on socket failed: FATAL:  "
    docker.answers[DUMPING] = (1, f'pg_dump: error: {words}database "other" does not exist')
    with pytest.raises(pg.DatabaseConnectionError, match="has no such database") as caught:
        manager.backup()
    assert caught.value.hint.startswith("hive-pg init creates it")


def test_backup_whose_program_is_killed(manager, docker):
    """Where it has no words, and the container runs again already, it ends with 5."""
    docker.answers[DUMPING] = (137, "")
    with pytest.raises(pg.ContainerStartupError, match="killed") as caught:
        manager.backup()
    assert caught.value.exit_code == ExitCode.UNHEALTHY


def test_backup_whose_container_ends(manager, docker):
    """It says that the container does not run, with 3, rather than what the client thought."""

    def end(call):
        docker.containers[0]["State"]["Status"] = "exited"
        return (1, "pg_dump: error: server closed the connection unexpectedly")

    docker.answers[DUMPING] = end
    with pytest.raises(NotSetUpError, match="is exited"):
        manager.backup()


def test_backup_to_an_existing_file(manager, docker, up):
    """A file is replaced by a whole dump only, and is its owner's alone then."""
    path = up / "mine.dump"
    path.write_bytes(b"old")
    path.chmod(0o644)
    docker.answers[READING] = (1, "pg_restore: error: could not find block ID 1 in archive")
    with pytest.raises(DockerCommandError, match="truncated or damaged"):
        manager.backup(str(path))
    assert path.read_bytes() == b"old"
    docker.answers[READING] = ""
    manager.backup(str(path))
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (WHOLE, 0o600)


def test_backup_removes_what_a_killed_one_left(manager, up):
    """Temporary files of earlier backups go; what a person put there stays."""
    (up / "backups").mkdir()
    for name in ("x-20010909T014600Z.dump.hive-pg.tmp", "note.hive-pg.tmp", "old.dump"):
        (up / "backups" / name).touch()
    manager.backup()
    assert sorted(os.listdir(up / "backups")) == [
        ".gitignore",
        "hive-20010909T014640Z.dump",
        "note.hive-pg.tmp",
        "old.dump",
    ]


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("data", "is a directory", "name a file in it"),
        ("fifo", "is no file", "hive-pg backup -o - "),
        ("not/there/x", "there is no directory .*/not/there", "mkdir -p .*/not/there"),
    ],
)
def test_backup_to_a_place_that_takes_none(manager, docker, up, name, what, hint):
    """It is refused before anything is dumped, and stays as it is; so does a device."""
    os.mkfifo(up / "fifo")
    with pytest.raises(WorkspaceError, match=what) as caught:
        manager.backup(str(up / name))
    assert docker.calls_of(DUMPING) == []
    assert stat.S_ISFIFO(os.stat(up / "fifo").st_mode)
    assert re.match(hint, caught.value.hint)


@pytest.mark.parametrize("path", ["-", "/dev/stdout"])
def test_backup_to_stdout(manager, docker, capfdbinary, up, path):
    """The bytes go there, and to no file."""
    assert manager.backup(path) == "-"
    assert capfdbinary.readouterr().out == WHOLE
    assert not (up / "backups").exists()


@pytest.mark.parametrize(
    ("command", "stream"), [("backup -o -", "stdout"), ("restore -y -", "dump on stdin")]
)
def test_closed_stream(up, manager, monkeypatch, command, stream):
    """What has no stdin or stdout says so, and a terminal is no dump."""
    args = pg.build_parser("hive-pg", command.split()[0]).parse_args(command.split()[1:])
    args.directory, args.file = ".", "-"
    for closed in (None, SimpleNamespace(isatty=lambda: True)):
        monkeypatch.setattr(pg.sys, stream.split()[-1], closed)
        with pytest.raises(WorkspaceError, match=f"there is no {stream}|nothing for a terminal"):
            pg._HANDLERS[command.split()[0]](manager, args)


# -- who may be acted on ------------------------------------------------------------------------

ACTIONS = {
    "psql": lambda manager: pg.command_psql(manager, SimpleNamespace(argv=[])),
    "backup": lambda manager: manager.backup(),
    "backup to stdout": lambda manager: manager.backup("-"),
    "restore": lambda manager: manager.restore(os.path.join(manager.workspace, "x.dump")),
    "restore --drop-old": lambda manager: manager.drop_old_databases(),
    "rotate": lambda manager: manager.rotate_password(),
}


@pytest.fixture
def dump(up):
    """Return a dump in the workspace."""
    (up / "x.dump").write_bytes(WHOLE)
    return str(up / "x.dump")


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_another_workspace_is_not_touched(manager, docker, dump, tmp_path, action):
    """Where .env names another's container, nothing runs in it."""
    (tmp_path / "other").mkdir()
    docker.containers[:] = [make_container(workspace=tmp_path / "other", project="other")]
    with pytest.raises(ContainerConflictError):
        action(manager)
    assert docker.calls_of("docker exec") == docker.calls_of("docker stop") == []


@pytest.mark.parametrize("data", [False, True])
def test_destroy_of_another_workspace(manager, docker, tmp_path, data, up):
    """It is refused: nothing of the other one's is stopped or removed, no data deleted."""
    (tmp_path / "other").mkdir()
    docker.containers[:] = [make_container(workspace=tmp_path / "other", project="other")]
    with pytest.raises(ContainerConflictError):
        manager.destroy_container(data=data)
    assert docker.calls_of("docker stop") == docker.calls_of("docker run") == []
    assert docker.calls_of("docker rm") == []


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_container_that_does_not_run(manager, docker, dump, up, action):
    """It ends with 3 and the next step."""
    docker.containers[0]["State"]["Status"] = "exited"
    before = (up / ".env").read_text()
    with pytest.raises(NotSetUpError) as caught:
        action(manager)
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.NOT_RUNNING, "hive-pg start")
    assert docker.calls_of("docker exec") == []
    assert (up / ".env").read_text() == before


# -- restore ------------------------------------------------------------------------------------


def test_restore(manager, docker, dump):
    """A new database, the dump in it, looked at, then both names change; the old one is kept."""
    assert manager.restore(dump) == "hive_before_20010909T014640Z"
    new = "hive_restoring_20010909T014640Z"
    assert scripts_of(docker) == [
        ("template1", CLEANING),
        ("template1", pg.build_staging_sql("hive", new)),
        (new, pg.MADE_SQL),
        ("template1", pg.build_swap_sql("hive", new, "hive_before_20010909T014640Z")),
    ]
    (call,) = docker.calls_of(RESTORING)
    assert call.argv[-2:] == ["-d", new]
    assert call.taken == WHOLE


def test_restore_beside_what_cannot_be_dropped(manager, docker, dump, server, capsys):
    """What an earlier one has left, with a subscription perhaps, bars no later one."""
    words = 'DETAIL:  There is 1 subscription.\nERROR:  database "x" is being used by logical'
    server.words["template1"] = [(3, words), ""]
    manager.restore(dump)
    said = capsys.readouterr().err
    assert "what an interrupted restore has made stays until the next one, or --drop-old: " in said
    assert 'cannot drop it now: database "x" is being used by logical' in said


def test_restore_without_a_word_from_a_pipe(monkeypatch):
    """Nothing may ever come: the server is looked after meanwhile, and its end is the end."""

    def fail():
        raise pg.NotSetUpError("it is exited")

    ours, theirs = os.pipe()
    os.write(theirs, WHOLE)
    stream = pg.Stream.__new__(pg.Stream)
    stream.process, stream.idle = SimpleNamespace(poll=lambda: 1), fail
    with open(ours, "rb", buffering=0) as file:
        assert stream.take(file) == WHOLE
        assert stream.take(file) is None
        stream.process.poll = lambda: None
        monkeypatch.setattr(pg, "STALL_S", 0)
        with pytest.raises(pg.NotSetUpError):
            stream.take(file)
        os.close(theirs)
        assert stream.take(file) == b""


def test_restore_within_a_second(manager, docker, dump, server):
    """Another name is taken for what is kept, where there is one of that name."""
    server.words["template1"] = ["hive\nhive_before_20010909T014640Z\n", ""]
    assert manager.restore(dump) == "hive_before_20010909T014641Z"
    assert "hive_before_20010909T014641Z" in scripts_of(docker)[-1][1]


def test_restore_drop_old(manager, docker, dump):
    """What is kept goes once the new one serves."""
    manager.restore(dump, drop_old=True)
    assert scripts_of(docker)[-1] == (
        "template1",
        pg.build_drop_sql(pg.comment_kept("hive")),
    )


@pytest.mark.parametrize(
    ("arguments", "answer", "done"),
    [("", "y\n", True), ("", "n\n", False), ("", None, False), ("--yes", None, True)],
)
def test_drop_old_names_what_it_drops(
    manager, docker, up, server, monkeypatch, capsys, arguments, answer, done
):
    """Before it asks; where the answer is no, or nobody can be asked, nothing is dropped."""
    server.words["template1"] = ["hive_before_20010909T014640Z\n", ""]
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO(answer))
    args = pg.build_parser("hive-pg", "restore").parse_args(["--drop-old", *arguments.split()])
    args.file = None
    if done:
        assert pg.command_restore(manager, args) is ExitCode.DONE
    else:
        with pytest.raises(WorkspaceError, match="nothing was done"):
            pg.command_restore(manager, args)
    dropping = pg.build_drop_sql(pg.comment_kept("hive"))
    assert (("template1", dropping) in scripts_of(docker)) == done
    said = capsys.readouterr().err
    assert ("Drop hive_before_20010909T014640Z? [Y/n]" in said) == (answer is not None)
    assert ("dropped: hive_before_20010909T014640Z" in said) == done


def test_find_old_databases_names(manager, up, server):
    """A line is a name, whatever is in it."""
    server.words["template1"] = ["a b_before_20010909T014640Z\nhive_before_20010909T014640Z\n"]
    old = ["a b_before_20010909T014640Z", "hive_before_20010909T014640Z"]
    assert manager.find_old_databases() == old


def test_restore_no_owner(manager, docker, dump):
    """pg_restore leaves owners and privileges out."""
    manager.restore(dump, owner=False)
    (call,) = docker.calls_of(RESTORING)
    assert {"--no-owner", "--no-privileges"} <= {*call.argv}


def test_restore_no_owner_of_sql(manager, docker, up):
    """A script says itself whose things are: it is refused, rather than done half."""
    (up / "x.sql").write_text("select 1;")
    with pytest.raises(WorkspaceError, match="SQL says itself") as caught:
        manager.restore(str(up / "x.sql"), owner=False)
    assert "create role" in caught.value.hint
    assert docker.calls == []


def assert_undone(docker):
    """Make sure that the names did not change, and that the new database was dropped last."""
    scripts = [sql for _, sql in scripts_of(docker)]
    assert not any("rename" in sql for sql in scripts)
    assert scripts[-1] == CLEANING


def test_restore_that_fails(manager, docker, dump):
    """The new database is dropped, and the present one is not touched."""
    docker.answers[RESTORING] = (1, 'pg_restore: error: role "bob" does not exist')
    with pytest.raises(DockerCommandError, match="a role that is not there") as caught:
        manager.restore(dump)
    assert caught.value.hint.startswith("the same with --no-owner")
    assert_undone(docker)


def test_restore_of_nothing(manager, docker, dump, server):
    """A file that makes nothing does not take the database's place."""
    server.words["restoring"] = ["f\n"]
    with pytest.raises(WorkspaceError, match="makes nothing"):
        manager.restore(dump)
    assert_undone(docker)


def test_restore_that_nobody_can_log_in_to(manager, docker, dump):
    """The application's own login is tried before the names change."""
    docker.answers["docker exec --interactive hive-postgres sh -c"] = (71, "FATAL: no")
    with pytest.raises(pg.PostgreSQLIntegrationError):
        manager.restore(dump)
    assert_undone(docker)


def test_require_source_stdin(monkeypatch, tmp_path):
    """`-` is stdin, whatever is called so in the directory."""
    (tmp_path / "-").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO())
    pg.require_source("-")
    with pytest.raises(WorkspaceError, match="is a directory"):
        pg.require_source("./-")


def test_restore_with_a_refused_password(manager, docker, dump):
    """It is found out at once, and not when a long restore is over."""
    refusal = (82, "FATAL:  password authentication failed")
    docker.answers["docker exec --interactive hive-postgres sh -c"] = refusal
    with pytest.raises(pg.CredentialsRefusedError):
        manager.restore(dump)
    assert scripts_of(docker) == docker.calls_of(RESTORING) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("hive\n", "hive serves as it did\n"),
        ("hive\nhive_before_20010909T014640Z\n", "warning: what was hive is hive_before_2001"),
        ((1, "no such container"), "warning: what an interrupted restore has made stays"),
    ],
    ids=["before the swap", "after it", "nobody knows"],
)
def test_restore_interrupted(manager, docker, dump, server, capsys, names, said):
    """Ctrl-C drops the new database; which one serves is looked up, and said."""
    server.words["template1"] = ["hive\n", "", names]
    docker.answers[RESTORING] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        manager.restore(dump)
    assert_undone(docker)
    assert f"\n{said}" in capsys.readouterr().err


def test_restore_that_cannot_clean_up(manager, docker, dump, server, capsys):
    """What stays is told, and the error is the first one."""
    server.words["template1"] = ["", "", (1, "the container is gone")]
    docker.answers[RESTORING] = (1, "pg_restore: error: out of memory")
    with pytest.raises(DockerCommandError, match="out of memory"):
        manager.restore(dump)
    assert "warning: what an interrupted restore has made stays" in capsys.readouterr().err


BUSY = (3, 'ERROR:  database "hive" is being accessed by other users')


SLOW = (3, "ERROR:  canceling statement due to statement timeout")


@pytest.mark.parametrize(
    ("answers", "tries"), [([BUSY, ""], 2), ([SLOW, BUSY] * 9 + [""], 19)], ids=["once", "often"]
)
def test_restore_while_others_connect(manager, docker, dump, server, answers, tries):
    """Who connects in between is sent away again."""
    server.words["template1"] = ["", "", *answers]
    manager.restore(dump)
    assert sum("rename" in sql for _, sql in scripts_of(docker)) == tries


def test_restore_while_others_always_connect(manager, docker, dump, server):
    """In the end it gives up, and drops the new database."""
    server.words["template1"] = ["", "", *[BUSY] * 20, ""]
    with pytest.raises(DockerCommandError, match="accessed by other users"):
        manager.restore(dump)
    assert scripts_of(docker)[-1][1] == CLEANING


@pytest.fixture
def psql(docker, manager):
    """Return what the psql that runs a script answers; its last words are the script's end."""
    answer = SimpleNamespace(value=(0, "hive-pg-hive_restoring_20010909T014640Z\n"), takes=None)
    execute = docker.answers[RUNNING + " ON_ERROR_STOP=1"]
    own = [False]

    def run(call):
        stream = call.argv[-1].startswith("hive_restoring_") and not own[0]
        own[0] = own[0] or stream
        call.takes = answer.takes
        return answer.value if stream else execute(call)

    docker.answers[RUNNING + " ON_ERROR_STOP=1"] = run
    return answer


def taken_by(docker):
    """Return what the psql that runs a script got."""
    (call,) = (c for c in docker.calls_of(RUNNING) if getattr(c, "taken", None) is not None)
    return call.taken


def test_restore_of_sql(manager, docker, up, psql):
    """Psql gets the script whole, and then says that it has come to the end."""
    script = b"create table t();\n" * 1000
    (up / "x.sql").write_bytes(script)
    manager.restore(str(up / "x.sql"))
    end = "\n" + pg.build_end_script("hive-pg-hive_restoring_20010909T014640Z")
    assert taken_by(docker) == script + end.encode()


def test_restore_of_sql_that_ends_early(manager, docker, up, psql):
    """Where psql does not come to the end of the script, a statement is open."""
    psql.value = (0, "")
    (up / "x.sql").write_bytes(b"select '")
    with pytest.raises(WorkspaceError, match="in the middle of a statement"):
        manager.restore(str(up / "x.sql"))
    assert_undone(docker)


def test_restore_of_sql_that_fails_at_once(manager, docker, up, psql, monkeypatch):
    """The rest is not read: psql's words are the error, but for where they point."""
    psql.value = (3, 'ERROR:  syntax error at "nope"\nLINE 1: nope\n        ^\n')
    psql.takes = 10
    (up / "x.sql").write_bytes(b"nope;\n" * 10_000 + b"drop database hive;\n")
    with pytest.raises(DockerCommandError, match='syntax error at "nope"'):
        manager.restore(str(up / "x.sql"))
    assert len(taken_by(docker)) < 10_000
    assert_undone(docker)


def test_restore_of_sql_on_databases(manager, docker, up, psql):
    """It is refused, and psql has not got the statement."""
    (up / "x.sql").write_bytes(b"create table t();\n" + b"  drop database hive;")
    with pytest.raises(WorkspaceError, match="acts on databases: drop database"):
        manager.restore(str(up / "x.sql"))
    assert b"database" not in taken_by(docker)
    assert_undone(docker)


@pytest.mark.parametrize(
    ("name", "what"),
    [("nope", "there is no file"), ("data", "is a directory"), ("empty", "is empty")],
)
def test_restore_of_no_file(manager, docker, up, name, what):
    """The error says why, and Docker is not even asked."""
    (up / "empty").touch()
    with pytest.raises(WorkspaceError, match=what) as caught:
        manager.restore(str(up / name))
    assert caught.value.hint
    assert docker.calls == []


@pytest.mark.parametrize("command", ["restore x.dump", "destroy --data"])
def test_without_a_terminal_and_without_yes(manager, docker, command, dump):
    """Nothing is done, and the hint is --yes."""
    name, *arguments = command.split()
    args = pg.build_parser("hive-pg", name).parse_args(arguments)
    if name == "restore":
        args.file = dump
    with pytest.raises(WorkspaceError, match="nothing was done") as caught:
        pg._HANDLERS[name](manager, args)
    assert "--yes" in caught.value.hint
    assert docker.calls == []


@pytest.mark.parametrize(
    ("answer", "done"), [("w\n", True), ("y\n", False), ("\n", False), ("", False)]
)
def test_destroy_data_asks_for_the_name(manager, monkeypatch, answer, done):
    """Only the workspace's name is a yes."""
    asked = []
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(pg.sys, "stdin", io.StringIO(answer))
    monkeypatch.setattr(manager, "destroy_container", lambda **options: asked.append(options))
    args = pg.build_parser("hive-pg", "destroy").parse_args(["--data", "--no-backup"])
    if done:
        assert pg.command_destroy(manager, args) is ExitCode.DONE
    else:
        with pytest.raises(WorkspaceError, match="nothing was done"):
            pg.command_destroy(manager, args)
    assert asked == [{"data": True, "backup": False}] * done


# -- rotate -------------------------------------------------------------------------------------


def env_of(workspace):
    """Return what .env says."""
    return pg.CredentialService(str(workspace)).read_values()


def test_rotate(manager, docker, up):
    """The server gets a verifier, .env the password; no clear text is in a statement."""
    old = env_of(up)
    manager.rotate_password()
    new = env_of(up)
    password = new["POSTGRES_PASSWORD"]
    ((database, sql),) = scripts_of(docker)
    assert database == "template1"
    assert sql.startswith('alter role "ann" password \'SCRAM-SHA-256$4096:')
    assert password != old["POSTGRES_PASSWORD"]
    assert len(password) == 32
    assert password not in sql + str([call.argv for call in docker.calls])
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    assert changed == {"HIVE_DATABASE_URL", "POSTGRES_PASSWORD"}
    assert docker.calls[-1].stdin == password + "\n"  # it logs in with it


def test_rotate_that_the_server_refuses(manager, docker, up, server):
    """The old password stays; the new one is beside it, for the next start."""
    server.words["template1"] = [(1, "ERROR:  cannot execute ALTER ROLE")]
    old = env_of(up)
    with pytest.raises(DockerCommandError, match="cannot change the password"):
        manager.rotate_password()
    new = env_of(up)
    assert new.pop("HIVE_POSTGRES_NEXT_PASSWORD")
    assert new == old


@pytest.mark.parametrize("way", ["start_container", "setup_postgres_container"])
@pytest.mark.parametrize("refused", [False, True], ids=["server has the old", "has the new"])
def test_rotation_under_way_is_finished(manager, docker, up, way, refused):
    """Start and init give the server the password that .env has next, and then .env."""
    pg.CredentialService(str(up)).save({"HIVE_POSTGRES_NEXT_PASSWORD": "n3xt"})
    words = "FATAL:  password authentication failed"
    docker.answers["docker exec --interactive hive-postgres sh -c"] = [
        *([(71, words)] if refused else []),
        "16.14|0.8.5|0.8.5\n",
    ]
    getattr(manager, way)(*([False] if way.startswith("setup") else []))
    env = env_of(up)
    assert env["POSTGRES_PASSWORD"] == "n3xt"
    assert ":n3xt@" in env["HIVE_DATABASE_URL"]
    assert "HIVE_POSTGRES_NEXT_PASSWORD" not in env
    assert len(scripts_of(docker)) == 1


def test_rotation_under_way_beside_an_older_container(manager, docker, up):
    """A container from before an earlier rotate bars no init: the server accepts the next one."""
    docker.containers[0]["Config"]["Env"].append("POSTGRES_PASSWORD=0lder")
    service = pg.CredentialService(str(up))
    service.save(pg.url_env(service.read_settings().with_password("n0w").url))
    service.save({"HIVE_POSTGRES_NEXT_PASSWORD": "n3xt"})
    refusal, login = (82, "FATAL:  password authentication failed"), "16.14|0.8.5|0.8.5\n"
    way = "docker exec --interactive hive-postgres sh -c"
    docker.answers[way] = [refusal, login, refusal, login]  # now and next, before and after
    assert manager.setup_postgres_container(False) is True
    said = [call.stdin for call in docker.calls_of(way)]
    assert said == ["n0w\n", "n3xt\n", "n0w\n", "n3xt\n"]
    assert env_of(up)["POSTGRES_PASSWORD"] == "n3xt"
    assert "HIVE_POSTGRES_NEXT_PASSWORD" not in env_of(up)


def test_rotate_with_an_empty_next_password(manager, docker, up):
    """That is none: a new one is made."""
    pg.CredentialService(str(up)).save({"HIVE_POSTGRES_NEXT_PASSWORD": ""})
    old = env_of(up)["POSTGRES_PASSWORD"]
    manager.rotate_password()
    assert env_of(up)["POSTGRES_PASSWORD"] != old
    assert "HIVE_POSTGRES_NEXT_PASSWORD" not in env_of(up)


def test_rotation_under_way_is_named(manager, docker, up):
    """What changes nothing says who finishes it, and not that somebody has mistyped a password."""
    pg.CredentialService(str(up)).save({"HIVE_POSTGRES_NEXT_PASSWORD": "n3xt"})
    refusal = (82, "FATAL:  password authentication failed")
    docker.answers["docker exec --interactive hive-postgres sh -c"] = refusal
    with pytest.raises(pg.CredentialsRefusedError, match="a rotate was about to change") as caught:
        manager.wait_until_ready()
    assert caught.value.hint == "hive-pg start finishes it"
    point = manager.validate_postgres_integration().points[3]
    assert (point.finding, point.remedy) == (str(caught.value), caught.value.hint)


@pytest.mark.parametrize("way", ["rotate_password", "start_container"])
def test_rotate_keeps_what_another_has_written(manager, docker, up, monkeypatch, way):
    """What .env says once the lock is there counts, not what it said before."""
    if way == "start_container":
        pg.CredentialService(str(up)).save({"HIVE_POSTGRES_NEXT_PASSWORD": "n3xt"})

    class Lock(pg.DirectoryLock):
        def __enter__(self):
            super().__enter__()
            service = pg.CredentialService(str(up))
            url = service.read_settings().url.replace(port=6000)
            service.save(pg.url_env(url))

    monkeypatch.setattr(pg, "DirectoryLock", Lock)
    getattr(manager, way)()
    assert "HIVE_POSTGRES_NEXT_PASSWORD" not in env_of(up)
    assert env_of(up)["HIVE_POSTGRES_PORT"] == "6000"
    assert ":6000/" in env_of(up)["HIVE_DATABASE_URL"]


def test_rotate_with_a_password_in_the_compose_file(manager, docker, up):
    """A compose file that does not follow .env would bring the old one back: it is refused."""
    config = docker.config

    def fixed(call):
        return config(call).replace(call.env["POSTGRES_PASSWORD"], "fixed")

    docker.answers["docker compose config"] = fixed
    before = (up / ".env").read_text()
    with pytest.raises(WorkspaceError, match="a password of its own"):
        manager.rotate_password()
    assert (up / ".env").read_text() == before
    assert docker.calls_of("docker exec") == []


# -- destroy ------------------------------------------------------------------------------------


@pytest.fixture
def removable(docker):
    """Have containers, networks and clusters be there to remove."""

    def remove(call):
        docker.containers[:] = [c for c in docker.containers if c["Name"][1:] != call.argv[-1]]
        return ""

    docker.answers["docker rm"] = remove
    docker.answers["docker network ls"] = "n1\n"
    docker.answers["docker network rm"] = ""
    docker.answers["docker run"] = ""


def test_destroy(manager, docker, up, removable):
    """Stopped, removed, the network, too; files and data stay."""
    before = sorted(os.listdir(up)), (up / ".env").read_text()
    manager.destroy_container()
    assert docker.calls_of("docker stop")
    assert [c.argv[2:] for c in docker.calls_of("docker rm")] == [["hive-postgres"]]
    assert [c.argv[2:] for c in docker.calls_of("docker network rm")] == [["rm", "n1"]]
    assert docker.calls_of("docker run") == docker.calls_of("docker exec") == []
    assert (sorted(os.listdir(up)), (up / ".env").read_text()) == before


def test_destroy_again(manager, docker, up, removable, capsys):
    """It says that there is nothing."""
    docker.containers.clear()
    manager.destroy_container()
    assert "there is no container hive-postgres" in capsys.readouterr().err
    assert docker.calls_of("docker rm") == []


def test_destroy_beside_another_service(manager, docker, up, removable):
    """The network of a project that has another container stays."""
    docker.containers.append(make_container("web", up, service="web"))
    manager.destroy_container()
    assert docker.calls_of("docker network rm") == []
    assert [c["Name"] for c in docker.containers] == ["/web"]


def test_destroy_data(manager, docker, up, removable):
    """The backup is written first; then the cluster goes, and nothing above it."""
    manager.destroy_container(data=True)
    backup = up / "backups" / "hive-20010909T014640Z.dump"
    assert backup.read_bytes() == WHOLE
    (run,) = docker.calls_of("docker run")
    assert f'type=bind,"source={up}/data/postgres",target=/target' in run.argv
    assert run.argv[-1] == f"{up}/data/postgres/pgdata"
    words = docker.commands
    assert words.index("docker exec") < words.index("docker stop") < words.index("docker rm")
    assert words.index("docker rm") < words.index("docker run")


def test_destroy_data_of_other_databases(manager, docker, up, removable, server):
    """A backup of one database is none of the others: they are named, and nothing is removed."""
    kept, half = (f"hive_{what}_20010909T014640Z\n" for what in ("before", "restoring"))
    for words, names, hint in (
        ([f"books\n{kept}{half}", half, kept], f"books, {kept}", "save and drop them; or, "),
        ([kept + half, half, kept], kept, "hive-pg restore --drop-old; or, "),
    ):
        server.words["template1"] = words
        with pytest.raises(WorkspaceError, match=f"other databases: {names.strip()}$") as caught:
            manager.destroy_container(data=True)
        assert caught.value.hint.startswith(hint)
        assert "--no-backup" in caught.value.hint
        assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []
        asked = [sql for _, sql in scripts_of(docker)][-3:]  # all, the halves, what is kept
        comments = (pg.comment_staging("hive"), pg.comment_kept("hive"))
        assert asked == [pg.DATABASES_SQL, *map(pg.build_list_sql, comments)]


@pytest.mark.parametrize("command", [DUMPING, READING])
def test_destroy_data_whose_backup_fails(manager, docker, up, removable, command):
    """Nothing is removed, and the hint says how to go without."""
    docker.answers[command] = (1, "pg_dump: error: out of memory")
    with pytest.raises(DockerCommandError, match="no backup: ") as caught:
        manager.destroy_container(data=True)
    assert "--no-backup" in caught.value.hint
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


def test_destroy_data_without_a_backup(manager, docker, up, removable):
    """With --no-backup there is none."""
    manager.destroy_container(data=True, backup=False)
    assert docker.calls_of("docker exec") == []
    assert not (up / "backups").exists()
    assert len(docker.calls_of("docker run")) == 1


@pytest.mark.parametrize("link", ["data", "data/postgres"])
def test_destroy_data_behind_a_link(manager, docker, up, removable, tmp_path, link):
    """Data that is not in the workspace is not deleted, and all stays."""
    os.rename(up / link, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", up / link)
    with pytest.raises(WorkspaceError, match="but elsewhere") as caught:
        manager.destroy_container(data=True, backup=False)
    assert "delete it yourself" in caught.value.hint
    assert docker.calls_of("docker rm") == docker.calls_of("docker run") == []


def test_destroy_data_in_a_volume(manager, docker, up, removable):
    """A volume is not hive-pg's to delete."""
    config = docker.config

    def volume(call):
        found = json.loads(config(call))
        mount = found["services"]["postgres"]["volumes"][0]
        mount.update(type="volume", source="pg")
        return json.dumps({**found, "volumes": {"pg": {"name": "pg"}}})

    docker.answers["docker compose config"] = volume
    with pytest.raises(WorkspaceError, match="but elsewhere"):
        manager.destroy_container(data=True, backup=False)
    assert docker.calls_of("docker run") == []


def test_destroy_data_where_there_is_none(manager, docker, workspace, removable):
    """Without data there is nothing to back up."""
    shutil.rmtree(workspace / "data" / "postgres" / "pgdata")
    manager.destroy_container(data=True)
    assert docker.calls_of("docker exec") == []
    make_cluster(workspace)


# -- psql ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdin", "stdout", "words"),
    [
        pytest.param(True, True, ["--tty", "--env", "PSQL_HISTORY=/tmp/.psql_history"], id="tty"),
        pytest.param(True, False, [], id="stdout elsewhere"),
        pytest.param(False, True, None, id="stdin elsewhere"),
        pytest.param(None, None, None, id="both closed"),
    ],
)
def test_psql(up, manager, docker, monkeypatch, stdin, stdout, words):
    """At a terminal it has one; without, a script is run that ends at its first error."""
    for name, value in (("stdin", stdin), ("stdout", stdout)):
        stream = None if value is None else SimpleNamespace(isatty=lambda value=value: value)
        monkeypatch.setattr(pg.sys, name, stream)
    docker.answers["docker exec"] = (7, "")
    args = SimpleNamespace(argv=["-c", "select 1"])
    if stdin and stdout:
        with pytest.raises(Became):
            pg.command_psql(manager, args)
    else:
        assert pg.command_psql(manager, args) == 7
    call = docker.calls[-1]
    script = ["-X", "-v", "ON_ERROR_STOP=1"] if words is None else []
    at = call.argv.index("psql")
    assert call.argv[at:] == ["psql", *script, "-c", "select 1"]
    assert call.argv[at - 1 - len(words or []) : at - 1] == (words or [])
    assert call.env["PGPASSWORD"] == "s3cret"
    assert "s3cret" not in str(call.argv)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param((130, ""), 130, id="Ctrl-C"),
        pytest.param(KeyboardInterrupt(), None, id="Ctrl-C again"),
        pytest.param(SystemExit(143), None, id="SIGTERM"),
        pytest.param((-9, ""), 137, id="killed"),
        pytest.param((3, ""), 3, id="failed"),
    ],
)
def test_psql_interrupted(up, manager, docker, monkeypatch, answer, code):
    """Without a terminal psql would go on with what it has: its session is ended."""
    monkeypatch.setattr(pg.sys, "stdin", None)
    docker.answers[f"{TERMS} --env PGAPPNAME="] = answer
    docker.answers = {
        k.replace("PGAPPNAME=", f"'PGAPPNAME=hive-pg psql {os.getpid()}'"): v
        for k, v in docker.answers.items()
    }
    args = SimpleNamespace(argv=[])
    if code is None:
        with pytest.raises(type(answer)):
            pg.command_psql(manager, args)
    else:
        assert pg.command_psql(manager, args) == code
    ended = [sql for _, sql in scripts_of(docker) if "pg_terminate_backend" in sql]
    assert len(ended) == (code in (None, 130))
