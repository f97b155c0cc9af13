"""What goes wrong in the middle of backup, restore and rotate: signals, a stop, a full disk."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from dataset import ROWS, assert_no_program, assert_same, databases, drop_kept, dump_of, fill
from laboratory import COMMAND_TIMEOUT_S, LostError, at_most, docker, run, wait_until
from test_data import small_disk
from test_docker import within
from test_interruption import killer, steps_of

from hive_pg import is_locked

pytestmark = pytest.mark.engine

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -signal.SIGKILL}


@pytest.fixture(scope="module")
def dumped(lab):
    """Give a workspace with some of everything, what it is like, and dumps of it."""
    with lab.workspace("cut") as workspace:
        workspace.serve()
        workspace.whole = fill(workspace)
        archive = dump_of(workspace, "-Fc")
        (workspace.path / "whole.dump").write_bytes(archive)
        # A restore of these stands in the middle for a while: there the view sleeps.
        seconds = "case when current_database() ~ 'restoring' then 15 else 0 end"
        workspace.trusted_script(
            f"create materialized view slow as select pg_sleep({seconds})::text as slept"
        )
        workspace.dumps = {"archive": dump_of(workspace, "-Fc"), "script": dump_of(workspace)}
        workspace.trusted_script("drop materialized view slow")
        yield workspace
        restore(workspace)


@pytest.fixture
def whole(dumped):
    """Give it to a test; afterwards it is as it was, and a restore leaves nothing beside it."""
    yield dumped
    dumped.up()
    assert_same(dumped, dumped.whole, restoring=True)
    if databases(dumped) != ["hive"]:
        restore(dumped)


def restore(workspace):
    """Make sure that a restore works, and that no half of one outlives it."""
    workspace.hive_pg("restore", "--yes", "whole.dump")
    drop_kept(workspace)
    assert_same(workspace, workspace.whole)
    assert databases(workspace) == ["hive"]


@contextlib.contextmanager
def backing_up(workspace, *arguments):
    """Give a backup that stands in the middle: a session of another has a table locked."""
    env = workspace.env
    argv = ["docker", "exec", "-i", workspace.container, "psql", "-XqAt"]
    argv += ["-U", env["POSTGRES_USER"], "-d", env["POSTGRES_DB"]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, **pipes) as other:
        try:
            other.stdin.write("begin; lock table kept;\nselect 'locked';\n")
            other.stdin.flush()
            assert other.stdout.readline() == "locked\n"
            with workspace.started("backup", *arguments) as process:
                waits = "select count(*) from pg_locks where not granted"
                wait_until(lambda: workspace.trusted(waits).stdout.strip() == "1")
                yield process
        finally:
            run(["docker", "exec", workspace.container, "true"])
            with contextlib.suppress(OSError):
                other.stdin.close()


@contextlib.contextmanager
def restoring(workspace, kind):
    """Give a restore that stands in the middle: a view in its dump sleeps there."""
    (workspace.path / "slow.dump").write_bytes(workspace.dumps[kind])
    with workspace.started("restore", "--yes", "slow.dump") as process:
        sleeps = "select datname from pg_stat_activity where wait_event = 'PgSleep'"
        wait_until(lambda: "_restoring_" in workspace.trusted(sleeps).stdout)
        yield process


def backups(workspace):
    """Return what is in backups/."""
    return sorted(p.name for p in (workspace.path / "backups").glob("[!.]*"))


# -- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNALS)
def test_backup_interrupted(whole, name):
    """No file, no program in the container; a killed one's temporary file goes with the next."""
    with backing_up(whole) as process:
        began = time.monotonic()
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == SIGNALS[name]
        assert time.monotonic() - began < at_most(3)
        left = [".dump.hive-pg.tmp"] if name == "SIGKILL" else []
        assert [name[-17:] for name in backups(whole)] == left
        assert "Traceback" not in process.stderr.read()
    assert_no_program(whole)
    whole.hive_pg("backup")
    assert [name[-5:] for name in backups(whole)] == [".dump"]
    for path in (whole.path / "backups").glob("*.dump"):
        path.unlink()


@pytest.mark.parametrize("kind", ["archive", "script"])
@pytest.mark.parametrize("name", SIGNALS)
def test_restore_interrupted(whole, name, kind):
    """The present database serves on; no program is left, and no half after the next restore."""
    with restoring(whole, kind) as process:
        began = time.monotonic()
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == SIGNALS[name]
        assert time.monotonic() - began < at_most(3)
        said = process.stderr.read()
        assert "Traceback" not in said
        log = docker("logs", "--tail", "40", whole.container)
        assert ("hive serves as it did\n" in said) == (name != "SIGKILL"), f"{said}\n{log}"
    assert_no_program(whole)
    assert_same(whole, whole.whole, restoring=name == "SIGKILL")


SWAPPER = """\
#!/bin/sh
# The swap is held up before it is asked for, or after it was done.
case "$*" in
  *"='template1'")
    script=$(cat; echo .)
    case "$script" in *"rename to"*) swap=yes ;; esac
    if [ "$swap" ] && [ WHEN = before ]; then touch GATE/reached; exec sleep 600; fi
    printf %s "${script%.}" | DOCKER "$@" || exit
    if [ "$swap" ]; then touch GATE/reached; exec sleep 600; fi
    exit ;;
esac
exec DOCKER "$@"
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_restore_interrupted_in_the_swap(whole, tmp_path, when, name):
    """It says which of the two databases serves now, and it is so."""
    text = SWAPPER.replace("WHEN", when).replace("GATE", str(tmp_path))
    text = text.replace("DOCKER", shutil.which("docker"))
    (tmp_path / "docker").write_text(text)
    (tmp_path / "docker").chmod(0o755)
    whole.trusted("insert into kept values (-1, 'not in the dump')")
    path = f"{tmp_path}:{whole.environment()['PATH']}"
    with whole.started(
        "restore", "--yes", "whole.dump", env=whole.environment(PATH=path)
    ) as process:
        wait_until((tmp_path / "reached").exists)
        process.send_signal(getattr(signal, name))
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
        assert process.returncode == SIGNALS[name]
    kept = [base for base in databases(whole) if base != "hive"]
    assert ("hive serves as it did\n" in stderr) == (when == "before")
    assert bool(kept) == (when == "after")
    for base in kept:
        assert f"warning: what was hive is {base} now" in stderr
    rows = whole.trusted("select count(*) from kept where i = -1").stdout
    assert rows == ("1\n" if when == "before" else "0\n")
    drop_kept(whole)
    whole.trusted("delete from kept where i = -1")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_psql_interrupted(whole, name):
    """The script ends where it is, with the signal's code, also within a statement."""
    script = "select 1;\nselect pg_sleep(600);\ndrop table kept;\n"
    with whole.started("psql", stdin=subprocess.PIPE) as process:
        process.stdin.write(script)
        process.stdin.flush()
        sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        wait_until(lambda: whole.trusted(sleeps).stdout.strip() == "1")
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == SIGNALS[name]
        process.stdin.close()
    assert_no_program(whole)


def test_server_is_not_interrupted(whole):
    """Whatever becomes of a client in the container, PostgreSQL does not take it for a crash.

    It is PID 1 there: an orphan that dies of a signal is its child, and it would restart.
    """
    since = str(time.time())
    began = whole.trusted("select pg_postmaster_start_time()").stdout
    whole.hive_pg("backup", "-o", "x.dump")
    for sends in (("child",), ("hive-pg",), ("child", "hive-pg"), ("hive-pg", "child")):
        with backing_up(whole, "-o", "x.dump") as process:
            children = run(["ps", "-o", "pid=", "--ppid", str(process.pid)]).stdout.split()
            assert children
            for send in sends:
                for pid in children if send == "child" else [process.pid]:
                    os.kill(int(pid), signal.SIGKILL)
            process.wait(timeout=COMMAND_TIMEOUT_S)
        assert_no_program(whole)
    for kind in ("archive", "script"):
        with restoring(whole, kind) as process:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=COMMAND_TIMEOUT_S)
        assert_no_program(whole)
    cut = (whole.path / "whole.dump").read_bytes()[:-100]
    for data in (cut, b"create table x (i int);\nselect nope;\n" + b"select 1;\n" * 100_000):
        (whole.path / "bad").write_bytes(data)
        whole.hive_pg("restore", "--yes", "bad", code=1)
    script = f"{whole.lab.script} backup -o - | head -c 10 >/dev/null"
    whole.hive_pg(argv=["sh", "-c", script])
    assert_no_program(whole)
    time.sleep(1)
    assert whole.trusted("select pg_postmaster_start_time()").stdout == began
    said = run(["docker", "logs", "--since", since, whole.container])
    assert "terminating any other active server processes" not in said.stderr + said.stdout
    for path in whole.path.glob("x.dump*"):
        path.unlink()


def test_server_is_not_interrupted_by_the_watch_over_the_disk(lab, make):
    """What looks for room while a dump is loaded ends with its programs, and not before them.

    An orphaned df would write to nobody, and die of that as PostgreSQL's child.
    """
    place = "/usr/local/bin"
    commands = (f"printf '#!/bin/sh\\nsleep 1\\nexec /usr/bin/df \"$@\"\\n' > {place}/df",)
    commands += (f"printf '#!/bin/sh\\nexit 0\\n' > {place}/awk", f"chmod +x {place}/*")
    workspace = make()
    workspace.init("--image", lab.build_image("slow-df", *commands))
    workspace.hive_pg("backup", "-o", "x.dump")
    for _ in range(3):
        workspace.hive_pg("restore", "--yes", "x.dump")
        workspace.hive_pg("restore", "--yes", "--drop-old")
    said = run(["docker", "logs", workspace.container])
    assert "terminating any other active server processes" not in said.stderr + said.stdout


# -- kill -9 at every step ----------------------------------------------------------------------


def kill_at(workspace, step, *command):
    """Kill hive-pg at a step."""
    result = workspace.hive_pg(*command, argv=killer(workspace, "KILL", step), code=None)
    assert result.returncode in (0, -signal.SIGKILL), result.stderr


def test_restore_killed_at_every_step(whole):
    """Whenever it is, the database is the old one or the new one, whole; and the next goes on."""
    command = ("restore", "--yes", "whole.dump")
    steps = steps_of(whole, *command)
    assert len(steps) > 10
    for step in steps:
        kill_at(whole, step, *command)
        assert_same(whole, whole.whole, restoring=True)
        drop_kept(whole)


@contextlib.contextmanager
def copying(workspace, *command):
    """Give a command that waits, in the middle, for a lock on the database: another has it."""
    client = ["docker", "exec", "-i", workspace.container, "psql", "-XqAt", "-U"]
    client += [workspace.env["POSTGRES_USER"], "-d", "postgres"]

    def is_copied():
        sql = "select pid from pg_stat_activity where query ~ '^create database '"
        return run([*client, "-c", sql]).stdout.strip()

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(client, **pipes) as other:
        other.stdin.write("begin; comment on database hive is null;\nselect 'locked';\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\n"
        with workspace.started(*command) as process:
            wait_until(is_copied)
            yield process
    wait_until(lambda: not is_copied())


def test_snapshot_killed(whole):
    """It is there, whole, or not; no half of one, or of its restore, outlives the next."""
    with copying(whole, "snapshot", "@killed") as process:
        process.kill()
    with copying(whole, "snapshot", "@interrupted") as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
        assert "interrupted; give the same command again" in said
    assert_no_program(whole)
    whole.hive_pg("snapshot", "@first")
    steps = steps_of(whole, "restore", "--yes", "@first")
    # The first three only look.
    for step in [step for step in steps if step.startswith("during docker exec")][3:]:
        kill_at(whole, step, "restore", "--yes", "@first")
        assert_same(whole, whole.whole, restoring=True)
    whole.hive_pg("snapshot", "@last")
    found = json.loads(whole.hive_pg("snapshot", "--list", "--json").stdout)["snapshots"]
    assert [each["name"] for each in found] == ["killed", "first", "last"]
    whole.hive_pg("restore", "--yes", "@killed")
    whole.hive_pg("restore", "--yes", "--drop-old")
    assert_same(whole, whole.whole)
    assert databases(whole) == ["hive", *(each["database"] for each in found)]
    for each in found:
        whole.hive_pg("snapshot", "--drop", "--yes", f"@{each['name']}")


def kill_rotate(workspace, step):
    """Kill a rotate at a step; return the passwords that may be the server's, and the state."""
    before = workspace.env
    kill_at(workspace, step, "rotate")
    changed = [key for key, value in workspace.env.items() if before.get(key) != value]
    under_way = workspace.memory["next_password"]
    known = {before["POSTGRES_PASSWORD"], under_way, *workspace.env.values()}
    return known, (workspace.psql().returncode == 0, bool(under_way), *changed)


def test_rotate_killed_at_every_step(whole):
    """The next init, or start, has the server and .env agree, and nothing is left half done."""
    steps = steps_of(whole, "rotate")  # so that the container has been made with an older password
    assert len(steps) >= 7
    seen = set()
    for step in steps:
        known, state = kill_rotate(whole, step)
        if state in seen and not step.startswith("during docker exec"):
            continue
        seen.add(state)
        for way in ("init", "start"):
            if way == "start":
                known, _ = kill_rotate(whole, step)
            whole.hive_pg(way)
            if whole.login() != "1":
                raise LostError("nobody can log in")
            assert whole.env["POSTGRES_PASSWORD"] in known
            assert whole.memory["next_password"] == ""
            assert not [*whole.path.glob(".env*.tmp")]
            assert (whole.path / ".env").stat().st_mode & 0o777 == 0o600
    assert len(seen) >= 4
    whole.hive_pg("rotate")  # writes over what a killed one has left of the state file
    assert not [*whole.path.glob("*.tmp")]


def test_rotate_where_the_socket_asks_for_a_password(make):
    """Somebody trusts nobody: the password that the server has lets the next command in."""
    workspace = make("strict")
    workspace.serve()
    rules = "local all all scram-sha-256\\nhost all all all scram-sha-256\\n"
    script = f"printf '{rules}' > \"$PGDATA/pg_hba.conf\""
    docker("exec", workspace.container, "sh", "-c", script)
    workspace.login("select pg_reload_conf()")
    first = workspace.env["POSTGRES_PASSWORD"]
    for step in steps_of(workspace, "rotate"):
        if step.startswith("during docker exec"):
            kill_at(workspace, step, "rotate")
            workspace.hive_pg("rotate")
            assert workspace.login() == "1"
    workspace.login(password=first, code=2)


def test_destroy_killed_at_every_step(make):
    """The data is there, whole, or it is gone, and then there is a backup of it."""
    workspace = make("doomed")
    command, cluster = ("destroy", "--data", "--yes"), workspace.path / "data/postgres/pgdata"

    def begin():
        workspace.init()
        workspace.plant()

    begin()
    steps = steps_of(workspace, *command)
    assert any("docker run" in step for step in steps)
    begin()
    for step in steps[steps.index("before docker stop -t") :]:  # the backup has its own tests
        kill_at(workspace, step, *command)
        wait_until(lambda: not is_locked(workspace.lock_path))  # a `docker` that outlives it has it
        if cluster.exists():
            workspace.hive_pg("start")
        else:
            workspace.init()
            workspace.hive_pg("restore", "--yes", f"backups/{backups(workspace)[-1]}")
            workspace.hive_pg("restore", "--yes", "--drop-old")
        workspace.assert_kept()


# -- the container stops ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stop", "kill"])
@pytest.mark.parametrize("what", ["backup", "archive", "script"])
def test_container_stops(whole, way, what):
    """It says that the container does not run; no file is left, and nothing is lost."""
    begin = backing_up(whole) if what == "backup" else restoring(whole, what)
    with begin as process:
        assert run(["docker", way, whole.container]).returncode == 0
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    if process.returncode == 3:
        assert f"container {whole.container} is stopped" in stderr
        assert "hint: hive-pg start" in stderr
    else:  # while it was about to stop
        assert process.returncode == 5, stderr
        assert "the server ended the session" in stderr or "its program was killed" in stderr
        assert "hint: see hive-pg status" in stderr
    assert backups(whole) == []
    whole.hive_pg("start")


# -- a full disk --------------------------------------------------------------------------------


@AS_ROOT
def test_full_disk_in_a_backup(whole):
    """Exit 1 with the cause, and no file; with space the same command succeeds."""
    with small_disk(whole.path / "backups", "12k"):
        for place in ((), ("-o", "backups/x.dump")):
            result = whole.hive_pg("backup", *place, code=1)
            assert "o space left on device" in result.stderr
            assert "hint: free space" in result.stderr
            assert backups(whole) == []
        script = f"{whole.lab.script} backup -o - > backups/out"
        result = whole.hive_pg(argv=["sh", "-c", script], code=1)
        assert "o space left on device" in result.stderr
        assert "Exception ignored" not in result.stderr
        assert_no_program(whole)
        (whole.path / "backups" / "out").unlink()
        run(["mount", "-o", "remount,size=64m", whole.path / "backups"])
        whole.hive_pg("backup")
        assert len(backups(whole)) == 1


@AS_ROOT
def test_full_disk_in_a_restore(make):
    """It ends before the server would: the present database serves, and nothing is beside it."""
    workspace = make()
    with small_disk(workspace.path / "data" / "postgres", "400m"):
        workspace.serve()
        workspace.plant()
        rows = "case when current_database() ~ 'restoring' then 1e8 else 0 end"
        view = f"create materialized view m as select md5(i::text) from generate_series(1, {rows})"
        workspace.trusted_script(f"{view} i")
        began = workspace.trusted("select pg_postmaster_start_time()").stdout
        for options in (["-Fc"], []):
            (workspace.path / "x").write_bytes(dump_of(workspace, *options))
            said = workspace.hive_pg("restore", "--yes", "x", code=1).stderr
            assert "cannot restore it: the disk is full" in said
            assert "hint: free space" in said
            assert "hive serves as it did" in said
            assert_no_program(workspace)
            assert databases(workspace) == ["hive"]
        filler = workspace.path / "data" / "postgres" / "filler"
        run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M", "count=250"])
        said = workspace.hive_pg("restore", "--yes", "x", code=1).stderr  # not even begun
        assert "less than 128 MB are left" in said
        filler.unlink()
        assert workspace.trusted("select pg_postmaster_start_time()").stdout == began
        workspace.assert_kept()
        workspace.hive_pg("stop")


# -- a server that does not answer --------------------------------------------------------------


@AS_ROOT
def test_server_is_frozen(whole):
    """Each command ends in time and says why; stop kills it in the end, and nothing is lost."""
    argv = [within(whole, LOGIN_TIMEOUT_S=3, STOP_GRACE_S=5)]
    whole.edit_env(HIVE_POSTGRES_STOP_GRACE_PERIOD="5s")
    whole.hive_pg("restart")
    os.kill(whole.inspect()["State"]["Pid"], signal.SIGSTOP)
    whole.hive_pg("psql", "--", "-c", "select 1", argv=argv, code=2)
    for command in (["backup"], ["rotate"], ["restore", "--yes", "whole.dump"]):
        began = time.monotonic()
        said = whole.hive_pg(*command, argv=argv, code=5).stderr
        assert time.monotonic() - began < at_most(23)
        assert re.search("the server does not answer|nothing answers on its address", said)
        assert "\nhint: " in said
        assert "restart Docker" not in said
    began = time.monotonic()
    said = whole.hive_pg("stop", argv=argv, code=5).stderr
    assert time.monotonic() - began < at_most(20)
    assert "did not stop within 5 s and was killed" in said
    whole.edit_env(HIVE_POSTGRES_STOP_GRACE_PERIOD=None)
    whole.hive_pg("start")  # which finishes the rotate
    assert 'next_password": ""' in (whole.path / ".hive-pg.json").read_text()


# -- many at once -------------------------------------------------------------------------------


def test_restores_at_once(whole):
    """One waits for the other, and the database is whole at any time."""
    with contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(whole.started("restore", "--yes", "whole.dump")) for _ in range(3)
        ]
        words = [process.communicate(timeout=COMMAND_TIMEOUT_S)[1] for process in crowd]
    assert [process.returncode for process in crowd] == [0, 0, 0], words
    assert_same(whole, whole.whole)


def test_rotate_where_passwords_are_md5(make):
    """The server's own choice for new passwords does not matter: the application gets in."""
    workspace = make()
    workspace.serve()
    workspace.login("alter system set password_encryption = 'md5'")
    workspace.login("select pg_reload_conf()")
    old = workspace.env["POSTGRES_PASSWORD"]
    workspace.hive_pg("rotate")
    assert workspace.login() == "1"
    workspace.login(password=old, code=2)
    user = workspace.env["POSTGRES_USER"]
    stored = workspace.login(f"select rolpassword from pg_authid where rolname = '{user}'")
    assert stored.startswith("SCRAM-SHA-256$")


ROLES = """\
create role reader login password 'r3ad' connection limit 3;
create role readers;
grant readers to reader;
alter role reader set work_mem = '5MB';
alter role reader in database hive set work_mem = '6MB';
create database seeds owner reader;
create database "a/b 'c";
alter database hive set work_mem = '7MB';
\\c seeds
create table precious as select generate_series(1, 1000) as i;
alter table precious owner to readers;
\\c "a/b 'c"
select lo_from_bytea(0, 'large');
\\c postgres
create function forty() returns int language sql as 'select 40';
\\c template1
create foreign data wrapper far;
create server away foreign data wrapper far;
\\c hive
grant select on kept to readers;
alter database seeds is_template true;
"""


def test_destroy_of_data_backs_up_every_database_and_the_roles(make):
    """Templates, what a restore kept and initdb's own, if used, too; all of it comes back."""
    workspace = make("many")
    workspace.serve()
    workspace.plant()
    workspace.trusted_script(ROLES)
    workspace.hive_pg("backup", "-o", "x.dump")
    workspace.hive_pg("restore", "--yes", "x.dump")
    said = workspace.hive_pg("destroy", "--data", "--yes").stderr
    assert not (workspace.path / "data" / "postgres" / "pgdata").exists()
    files = [*(workspace.path / "backups").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in files if path.name != ".gitignore"} == {0o600}
    kept = {path.name.rpartition("-")[0]: path for path in files if str(path) in said}
    (before,) = (name for name in kept if name.startswith("hive_before_"))
    used = {"postgres", "template1"}  # the latter for what is in no schema
    assert {*kept} == {"hive", "seeds", "a_b 'c", *used, "globals", before}
    workspace.hive_pg("init", "--yes")
    with kept["globals"].open() as file:
        workspace.hive_pg("psql", "--", "-v", "ON_ERROR_STOP=0", stdin=file)
    workspace.hive_pg("restore", "--yes", kept["hive"])
    workspace.assert_kept()
    for name, option in {"seeds": "-C", "a_b 'c": "-C", before: "-C", "postgres": "-x"}.items():
        argv = ["docker", "exec", "-i", workspace.container, "pg_restore", option, "-d", "postgres"]
        with kept[name].open() as file:
            result = run([*argv, "-U", workspace.env["POSTGRES_USER"]], stdin=file)
        assert result.returncode == 0, result.stderr
    asked = {
        "seeds": "select count(*), min(tableowner::text) from precious, pg_tables"
        " where tablename = 'precious'",
        "a/b 'c": "select convert_from(lo_get(oid), 'UTF8') from pg_largeobject_metadata",
        "postgres": "select forty()",
        before: "select count(*) from kept",
        "template1": "select string_agg(datname, ' ') from pg_database where datistemplate",
    }
    argv = ["exec", workspace.container, "psql", "-XqAtU", workspace.env["POSTGRES_USER"]]
    found = {name: docker(*argv, "-d", name, "-c", sql) for name, sql in asked.items()}
    assert found.pop("template1").split() == ["template1", "template0", "seeds"]
    whole = {"seeds": "1000|readers", "a/b 'c": "large", "postgres": "40", before: str(ROWS)}
    if found != whole:
        raise LostError(f"{found} is not {whole}")
    argv = ["-XwqAt", "-h", "127.0.0.1", "-p", workspace.env["HIVE_POSTGRES_PORT"], "-U", "reader"]
    sql = "select count(*) from kept; show work_mem"
    result = workspace.lab.psql(*argv, "-d", "hive", "-c", sql, password="r3ad")
    assert result.stdout.split() == [str(ROWS), "6MB"], result.stderr


def test_destroy_of_data_that_cannot_be_backed_up(make):
    """What keeps a database from being dumped is said, with its name, and nothing is deleted."""
    workspace = make("closed")
    workspace.serve()
    workspace.plant()
    workspace.trusted_script("create database books allow_connections false;")
    said = workspace.hive_pg("destroy", "--data", "--yes", code=6).stderr
    assert "error: cannot dump database books: " in said
    assert 'database "books" is not currently accepting connections' in said
    assert "; or, with nothing saved: hive-pg destroy --data --no-backup" in said
    workspace.assert_kept()
    workspace.trusted_script("drop database books;")
    workspace.hive_pg("destroy", "--data", "--yes")


ALONE = """\
services:
  postgres:
    image: {image}
    ports: ["127.0.0.1:{port}:5432"]
    environment: {{POSTGRES_USER: ann, POSTGRES_PASSWORD: s3cret, POSTGRES_DB: d, PGDATA: {home}}}
    {more}
volumes: {{pg: {{}}}}
"""
USUAL = "/var/lib/postgresql/data"
HOMES = {  # PGDATA, what the compose file has for it, and what is said of it
    "a volume without a name": (f"{USUAL}/pgdata", f"volumes: [{USUAL}]", "volume "),
    "the image's own": (USUAL, "", "volume "),
    "memory": (USUAL, f"tmpfs: [{USUAL}]", "memory"),
    "the container": ("/tmp/data", "", "the container alone"),
}


def make_alone(make, home, more):
    """Give a workspace whose compose file keeps the data somewhere."""
    workspace = make("alone")
    text = ALONE.format(image=workspace.lab.image, port=workspace.port, home=home, more=more)
    workspace.write("compose.yaml", text)
    workspace.hive_pg("init", "--yes")
    workspace.plant()
    return workspace


@pytest.mark.parametrize("home", HOMES)
def test_destroy_of_a_container_that_alone_has_the_data(make, home):
    """Without --data it is refused; with it, the data is backed up first, and leaves nothing."""
    *place, words = HOMES[home]
    workspace = make_alone(make, *place)
    volumes = {mount.get("Name") for mount in workspace.inspect()["Mounts"]}
    said = workspace.hive_pg("destroy", code=1).stderr
    assert f"the data would be lost, which is in {words}" in said
    workspace.assert_kept()
    said = workspace.hive_pg("destroy", "--data", "--yes").stderr
    assert words in said.splitlines()[-2]
    assert workspace.inspect() is None
    assert not volumes & {*docker("volume", "ls", "--quiet").split()}
    (dump,) = (workspace.path / "backups").glob("d-*.dump")
    assert said.endswith(f"to come back: hive-pg init, then hive-pg restore {dump}\n")
    if home in ("a volume without a name", "the container"):  # the dump is made as for the others
        return
    workspace.hive_pg("init", "--yes")
    workspace.hive_pg("restore", "--yes", dump)
    workspace.assert_kept()


def test_destroy_says_where_the_data_stays(make):
    """A volume with a name outlives the container, and is found again."""
    workspace = make_alone(make, USUAL, f"volumes: [pg:{USUAL}]")
    said = workspace.hive_pg("destroy").stderr
    assert f"the data stays in volume {workspace.env['COMPOSE_PROJECT_NAME']}_pg\n" in said
    workspace.hive_pg("start")
    workspace.assert_kept()
