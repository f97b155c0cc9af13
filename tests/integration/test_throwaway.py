"""run --fresh: a database of its own for one command."""

import os
import signal
from pathlib import Path

import pytest
from dataset import databases
from laboratory import COMMAND_TIMEOUT_S, run, wait_until

pytestmark = pytest.mark.engine

MANAGER = """\
import hive_pg, sys
manager = hive_pg.PostgreSQLManager(console=hive_pg.Console(quiet=True))
with manager.temporary_database() as url, manager.temporary_database(sys.argv[1]) as copy:
    print(url.database, copy.database, url.database != copy.database)
"""


@pytest.fixture
def workspace(served):
    """Give the workspace; nothing of a command's own database is left in it."""
    files = {path.name for path in served.path.iterdir()}
    yield served
    assert databases(served) == ["hive"]
    assert {path.name for path in served.path.iterdir()} == files


def fresh(workspace):
    """Return the databases of commands that are there."""
    return [name for name in databases(workspace) if name.startswith("hive_fresh_")]


def test_run_fresh(workspace):
    """It is empty but for pgvector, or what a snapshot has, and goes when the command ends."""
    ask = 'docker exec "$0" psql -XAt -U "$PGUSER" -d "$PGDATABASE" -c "$1"; exit 7'
    asking = ("--", "sh", "-c", ask, workspace.container)
    sql = "create table made (); select extname from pg_extension; select current_database()"
    said = workspace.hive_pg("run", "--fresh", *asking, sql, code=7, HOME="/root").stdout
    assert said.splitlines()[:2] == ["CREATE TABLE", "plpgsql"]
    assert said.splitlines()[2] == "vector"
    assert said.splitlines()[3].startswith("hive_fresh_")
    assert fresh(workspace) == []
    workspace.login("create table ours as select 42 as number")
    workspace.hive_pg("snapshot", "@ours")
    argv = ("run", "--fresh=@ours", *asking, "select number from ours")
    assert workspace.hive_pg(*argv, code=7, HOME="/root").stdout == "42\n"
    argv = [workspace.lab.python, "-c", MANAGER, "ours"]
    assert workspace.hive_pg(argv=argv).stdout.endswith(" True\n")
    workspace.hive_pg("snapshot", "--drop", "--yes", "@ours")
    workspace.login("drop table ours")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_run_fresh_killed(workspace, tmp_path, name):
    """It goes when the command has gone, too: at once, or with the next command of hive-pg."""
    pid = tmp_path / "pid"
    script = f"echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 600"
    with workspace.started("run", "--fresh", "--", "sh", "-c", script) as process:
        child = int(wait_until(lambda: Path(pid).exists() and pid.read_text()))
        assert len(fresh(workspace)) == 1
        process.send_signal(getattr(signal, name))
        process.wait(timeout=COMMAND_TIMEOUT_S)
    assert len(fresh(workspace)) == (1 if name == "SIGKILL" else 0)
    workspace.hive_pg("start")
    assert len(fresh(workspace)) == (1 if name == "SIGKILL" else 0), "somebody works in it"
    if name == "SIGKILL":
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: run(["ps", "-p", str(child)]).returncode)
        workspace.hive_pg("start")
