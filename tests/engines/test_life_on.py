"""One life of a database on an engine that `.ci/engines` has brought up, and named.

The client may be a user, in another network or in a container: HIVE_PG_TEST_CLIENT are the words
that bring a command there, and HIVE_PG_TEST_PLACE is a directory of it.
"""

import os
import re
import shlex

import pytest
from laboratory import LostError, free_port, run

ENGINE = os.environ["HIVE_PG_TEST_ENGINE"]
CLIENT = shlex.split(os.environ["HIVE_PG_TEST_CLIENT"])
PLACE, SCRIPT = os.environ["HIVE_PG_TEST_PLACE"], os.environ["HIVE_PG_TEST_SCRIPT"]
IMAGES = ("hive-pg-test/pgvector:16", "hive-pg-test/pgvector:18")
ROWS = "select count(*), sum(i) from kept"

# Why the data of a new database is in a volume there.
REASONS = {
    "rootless": "rootless engine",
    "rootless-high-uid": "rootless engine",
    "userns-remap": "engine that maps users",
    "remote": "engine with another disk",
    "container": "engine with another disk",
    "podman": "Podman",
    "exfat": "(exfat|fuseblk) lacks owners or locks",
    "ntfs": "(ntfs3?|fuse|fuseblk) lacks owners or locks",
}
# Where a directory works on request; elsewhere it is refused, with the reason.
BIND_WORKS = ("rootless", "podman")
APART = ("remote", "container")  # the port is not this machine's


class Life:
    """A workspace of the client."""

    def __init__(self, name, *options, image=IMAGES[0]):
        self.directory = f"{PLACE}/{name}"
        self.init = ("init", "--yes", "--image", image, "--port", str(free_port()), *options)
        at_client("mkdir", "-p", self.directory)

    def hive_pg(self, *arguments, code=0, stdin=None):
        """Run hive-pg; return what it said, the results last."""
        given = {} if stdin is None else {"stdin": None, "input": stdin}
        argv = [*CLIENT, "python3", SCRIPT, "-C", self.directory, *arguments]
        result = run(argv, **given)
        said = f"{result.stderr}{result.stdout}"
        assert code in (None, result.returncode), (
            f"{shlex.join(arguments)}: {result.returncode}\n{said}"
        )
        assert "Traceback" not in said
        return said

    def remove(self, name):
        """Lose a file."""
        at_client("rm", f"{self.directory}/{name}")

    def assert_kept(self):
        """Make sure that all rows are there."""
        if self.hive_pg("psql", "-Atc", ROWS).splitlines()[-1] != "1000|500500":
            raise LostError("rows are missing")

    def stores(self, command, *arguments):
        """Run a command that may delete; return the dumps that it has made."""
        before = self.dumps
        self.hive_pg(command, *arguments)
        return self.dumps - before

    @property
    def dumps(self):
        """The names of the dumps."""
        listed = run([*CLIENT, "ls", f"{self.directory}/backups"]).stdout.split()
        return {name for name in listed if name.endswith(".dump")}


def at_client(*argv):
    """Run a program where the client is; return its stdout."""
    result = run([*CLIENT, *argv])
    assert result.returncode == 0, result.stderr
    return result.stdout


def left_over():
    """Return the containers, volumes and networks of Compose projects that are called after us."""
    label = '{{.Label "com.docker.compose.project"}}'
    kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
    listed = (at_client("docker", *kind, "--format", label).split() for kind in kinds)
    return [name for names in listed for name in names if name.startswith("life-")]


@pytest.fixture
def live():
    """Give a maker of workspaces; in the end their databases and volumes go."""
    lives = []

    def make(*arguments, **options):
        lives.append(Life(*arguments, **options))
        return lives[-1]

    yield make
    for life in lives:
        argv = ["python3", SCRIPT, "-C", life.directory, "destroy", "--data", "--no-backup"]
        run([*CLIENT, *argv, "--yes"])


def come_near(life, said):
    """Do what a client of an engine elsewhere is told, so that it reaches the port."""
    if ENGINE not in APART:
        return
    assert "warning: the database serves; at localhost:" in said
    address = re.search(r"--bind ([0-9.]+),|ssh -NL \S+ ([0-9.]+), or", said)
    life.hive_pg("init", "--yes", "--bind", address[1] or address[2])


def test_life(live):
    """From `init` to `destroy --data`, each step keeps the rows, and nothing is left."""
    life = live("life-whole")
    said = life.hive_pg(*life.init)
    assert re.search(f"data in volume life-whole\\S*_postgres: {REASONS[ENGINE]}", said)
    come_near(life, said)
    life.hive_pg("psql", stdin="create table kept as select generate_series(1, 1000) as i;")
    again = life.hive_pg("init", "--yes")
    assert "written" not in again
    assert "mending" not in again
    checked = life.hive_pg("check")
    assert checked.count("✓") == 6, checked
    assert "✓ container" in checked
    assert "running" in life.hive_pg("status")
    assert life.directory in life.hive_pg("list")
    (dump,) = life.stores("backup")
    life.hive_pg("restore", "--yes", f"{life.directory}/backups/{dump}")
    life.hive_pg("restore", "--yes", "--drop-old")
    assert "hive_fresh_" in life.hive_pg("run", "--fresh", "--", "sh", "-c", "echo $PGDATABASE")
    life.hive_pg("rotate")
    life.hive_pg("stop")
    assert "stopped (exit code 0)" in life.hive_pg("status", code=3)
    assert "the engine was" not in life.hive_pg("start")
    life.assert_kept()
    life.remove(".env")
    life.hive_pg("init", "--yes")  # from the container
    life.assert_kept()
    life.hive_pg("destroy")
    life.remove(".env")
    life.hive_pg("init", "--yes")  # from what hive-pg remembers
    life.assert_kept()
    assert len(life.stores("destroy", "--data", "--yes")) == 1
    assert left_over() == []


def test_life_of_the_next_major_version(live):
    """Its mount point is another one: the rows outlive the container."""
    life = live("life-18", image=IMAGES[1])
    life.hive_pg(*life.init)
    life.hive_pg("psql", "-c", "create table kept as select generate_series(1, 1000) as i")
    life.hive_pg("destroy")
    life.hive_pg("start")
    life.assert_kept()
    assert len(life.stores("destroy", "--data", "--yes")) == 1
    assert left_over() == []


def test_life_in_a_directory(live):
    """On request it is there where that works; where not, that is an error."""
    life = live("life-here", "--data", "bind")
    if ENGINE not in BIND_WORKS:
        assert "error: " in life.hive_pg(*life.init, code=None)
        return
    assert "data here: --data bind" in life.hive_pg(*life.init)
    life.hive_pg("psql", "-c", "create table kept as select generate_series(1, 1000) as i")
    life.hive_pg("stop")
    life.hive_pg("start")
    life.hive_pg("destroy")
    life.remove(".env")
    life.hive_pg("init", "--yes")
    life.assert_kept()
    assert len(life.stores("destroy", "--data", "--yes")) == 1
    assert left_over() == []
