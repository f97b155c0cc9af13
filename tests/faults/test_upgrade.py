"""`upgrade`: from PostgreSQL 16 to 18 and back, whatever fails or interrupts it."""

import json
import os
import pty
import random
import signal
import socket

import pytest
from dataset import databases, fill, fingerprint
from laboratory import COMMAND_TIMEOUT_S, STAND_IN, LostError, docker, free_port, read_until, run
from test_docker import put_before
from test_interruption import SEED, changing, killer, steps_of

pytestmark = pytest.mark.engine

NEWER = STAND_IN.replace(":16", ":18")
KILLS = int(os.environ.get("HIVE_PG_TEST_UPGRADE_KILLS", "2"))
OTHERS = """\
create role reader password 'x' login;
create role owner;
grant owner to reader;
create database books owner owner;
grant connect on database books to reader;
alter database books set work_mem = '7MB';
alter database postgres set work_mem = '9MB';
alter system set statement_timeout = '70s';
\\connect books
create table page as select i from generate_series(1, 5000) i;
alter table page owner to owner;
grant select on page to reader;
create table "|
'\\! touch /dev/shm/odd" as select 1;
"""
FACTS = """\
select rolname, rolpassword, pg_get_userbyid(roleid) from pg_authid a
left join pg_auth_members m on member = a.oid where a.oid >= 16384 or a.oid = 10 order by 1;
select datname, datdba::regrole, datacl, setconfig from pg_database d
left join pg_db_role_setting on setdatabase = d.oid
where datname in ('books', 'hive', 'postgres') order by 1;
"""


@pytest.fixture(scope="module")
def filled(lab):
    """Give a workspace with two databases and roles, and what it is to be like."""
    if run(["docker", "image", "inspect", NEWER]).returncode:
        pytest.skip(f"no image {NEWER}")
    with lab.workspace("upgrade") as workspace:
        workspace.serve()
        workspace.before = fill(workspace)
        workspace.trusted_script(OTHERS)
        workspace.facts = workspace.trusted(FACTS).stdout
        yield workspace


def major(workspace):
    """Return the major version that serves, once it is known that nothing is lost."""
    if fingerprint(workspace) != workspace.before or databases(workspace) != ["books", "hive"]:
        raise LostError("the database is not what it was")
    assert workspace.trusted(FACTS).stdout == workspace.facts
    pages = workspace.hive_pg("psql", "--", "-AtXd", "books", "-c", "select count(*) from page")
    assert pages.stdout == "5000\n"
    names = [info["Name"] for info in workspace.lab.containers(workspace.path)]
    assert names == [f"/{workspace.container}"]
    return workspace.trusted("show server_version").stdout.partition(".")[0]


def clusters(workspace):
    """Return the names in the data directory."""
    return sorted(path.name for path in (workspace.path / "data" / "postgres").iterdir())


def go_back(workspace):
    """Let the old version serve, with nothing kept beside it."""
    workspace.hive_pg("start")
    if major(workspace) == "18":
        workspace.hive_pg("upgrade", "--undo", "--yes")
    if clusters(workspace) != ["pgdata"]:
        workspace.hive_pg("upgrade", "--drop-old", "--yes")


def test_upgrade_and_back(filled):
    """All is as it was, in either version; what failed on the way is the old one, which serves."""
    upgrade = ("upgrade", "--yes", "--image", NEWER)
    filled.trusted("create view gone as select buffers_backend from pg_stat_bgwriter")
    said = filled.hive_pg(*upgrade, code=1).stderr
    assert "error: PostgreSQL 16 serves as before: cannot copy database hive: " in said
    assert 'column "buffers_backend" does not exist' in said
    assert (major(filled), clusters(filled)) == ("16", ["pgdata"])
    filled.trusted("drop view gone")
    forgotten = filled.path / "data" / "postgres" / "pgdata.18"
    forgotten.mkdir()
    assert f"{forgotten} is in the way" in filled.hive_pg(*upgrade, code=1).stderr
    forgotten.rmdir()
    said = filled.hive_pg(*upgrade, argv=killer(filled, "KILL", "none")).stderr
    filled.steps = changing(said)
    assert "database books is copied, 5001 rows" in said
    assert "by ALTER SYSTEM) was not taken over\n" in said
    assert (major(filled), clusters(filled)) == ("18", ["pgdata", "pgdata.16"])
    assert filled.env["HIVE_POSTGRES_IMAGE"] == NEWER
    assert filled.trusted("select count(*) > 3 from pg_stats").stdout.strip() == "t"
    filled.hive_pg("init")
    filled.trusted("create table later ()")
    filled.hive_pg("upgrade", "--undo", "--yes")
    assert (major(filled), clusters(filled)) == ("16", ["pgdata", "pgdata.18"])
    assert len([*filled.path.glob("backups/*.dump")]) == 2
    assert "is still kept" in filled.hive_pg(*upgrade, code=1).stderr
    filled.hive_pg("upgrade", "--drop-old", "--yes")
    assert clusters(filled) == ["pgdata"]
    assert "no cluster is kept" in filled.hive_pg("upgrade", "--undo", "--yes", code=1).stderr


def test_upgrade_is_interrupted(filled):
    """At any step, by SIGKILL or Ctrl-C: one of the two serves all the rows, after a start."""
    upgrade = ("upgrade", "--yes", "--image", NEWER)
    steps = getattr(filled, "steps", None) or steps_of(filled, *upgrade)
    chosen, ended = random.Random(SEED), set()
    for number in range(KILLS):
        go_back(filled)
        step, name = chosen.choice(steps), ("INT", "KILL")[number % 2]
        result = filled.hive_pg(*upgrade, argv=killer(filled, name, step), code=None)
        assert result.returncode in (0, 130, -signal.SIGKILL), f"{step}: {result.stderr}"
        if name == "KILL":
            filled.hive_pg("start")
        ended.add(major(filled))
        kept = {"16": [["pgdata"], ["pgdata", "pgdata.18"]], "18": [["pgdata", "pgdata.16"]]}
        assert clusters(filled) in kept[major(filled)], step
    assert docker("ps", "--all", "--quiet", "--filter", f"name={filled.container}-upgrade") == ""


@pytest.mark.parametrize("ends", ["the pipe", "the terminal"])
def test_upgrade_that_nobody_listens_to(filled, ends):
    """`2>&1 | tee` ends of the same Ctrl-C, a terminal is closed: the old one serves again.

    It takes a while, and says so after 5 s.
    """
    go_back(filled)
    ours, theirs = os.pipe() if ends == "the pipe" else pty.openpty()
    streams = dict.fromkeys(("stdout", "stderr"), theirs)
    slowly = '[ "$1" = exec ] && sleep 0.5 || sleep 6'
    env = filled.environment(PATH=put_before(filled, "'compose up'*|exec*", slowly))
    upgrade = ("upgrade", "--yes", "--image", NEWER)
    own = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)}  # not nohup's
    with filled.started(*upgrade, **streams, env=env, start_new_session=True, **own) as process:
        os.close(theirs)
        read_until(ours, b"is copied")
        os.close(ours)
        process.send_signal(signal.SIGINT if ends == "the pipe" else signal.SIGHUP)
        process.wait(timeout=COMMAND_TIMEOUT_S)
    assert (major(filled), clusters(filled)) == ("16", ["pgdata"])


def test_upgrade_killed_whose_port_is_taken(filled):
    """`stop` needs no port, and `init --port` goes on with all the rows."""
    go_back(filled)
    inside = "set allow_in_place_tablespaces = on;\ncreate tablespace beside location '';\n"
    filled.trusted_script(inside)
    said = filled.hive_pg("upgrade", "--yes", "--image", NEWER, code=1).stderr
    assert "error: beside leads out of the cluster" in said
    filled.trusted("drop tablespace beside")
    filled.hive_pg("stop")
    state, port = filled.path / ".hive-pg.json", int(filled.env["HIVE_POSTGRES_PORT"])
    known = json.loads(state.read_text())
    state.write_text(json.dumps({**known, "exchange": [""] * 5}))
    with socket.create_server(("127.0.0.1", port)):
        assert f"127.0.0.1:{port} is taken by" in filled.hive_pg("start", code=None).stderr
        filled.hive_pg("stop")
        assert json.loads(state.read_text())["exchange"] == [""] * 5
        filled.hive_pg("init", "--port", str(free_port()))
    assert json.loads(state.read_text())["exchange"] == []
    assert major(filled) == "16"
    filled.hive_pg("init", "--port", str(port))
