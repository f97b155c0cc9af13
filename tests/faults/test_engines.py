"""Engines: a second one that sees the same directory, and what its containers are called."""

import contextlib
import os
import shutil
import subprocess
import tempfile

import pytest
from laboratory import COMMAND_TIMEOUT_S, LostError, free_port, read_env, run, wait_until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="needs dockerd"),
]

COUNT = "select count(*) from kept"


class Engine:
    """A dockerd of the tests' own."""

    def __init__(self, directory):
        self.host = f"unix://{directory}/socket"

    def docker(self, *arguments, **options):
        """Run docker on this engine; return its stdout."""
        result = run(["docker", "--host", self.host, *arguments], **options)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def answers(self):
        """Whether it is ready."""
        return run(["docker", "--host", self.host, "info"]).returncode == 0


@pytest.fixture(scope="module")
def other(lab):
    """Give a second engine, in a network namespace of its own, which has the tests' image."""
    # Short, because a socket's path has 108 bytes at most; on a disk, because of overlayfs.
    with tempfile.TemporaryDirectory(prefix="hpe", dir="/tmp") as directory:
        engine = Engine(directory)
        options = f"--data-root {directory}/data --exec-root {directory}/exec --host {engine.host}"
        options += f" --pidfile {directory}/pid --bridge none --iptables=false --ip-masq=false"
        script = f"ip link set lo up; exec dockerd {options}"
        with open(f"{directory}/log", "w") as log:
            daemon = subprocess.Popen(
                ["unshare", "--mount", "--net", "sh", "-c", script], stdout=log, stderr=log
            )
        try:
            wait_until(engine.answers)
            image = f"{directory}/image.tar"
            assert run(["docker", "save", "--output", image, lab.image]).returncode == 0
            engine.docker("load", "--input", image)
            yield engine
        finally:
            with contextlib.suppress(Exception):
                engine.docker("rm", "--force", *engine.docker("ps", "--all", "--quiet").split())
            daemon.terminate()
            daemon.wait(timeout=COMMAND_TIMEOUT_S)


def ask(other, workspace, sql):
    """Ask the server that runs on the second engine; its port cannot be reached from here."""
    env = workspace.env
    login = ("-U", env["POSTGRES_USER"], "-d", env["POSTGRES_DB"])
    return other.docker("exec", workspace.container, "psql", "-XwqAt", *login, "-c", sql)


@pytest.fixture
def elsewhere(make, other):
    """Give a workspace that the second engine serves, with rows."""
    workspace = make()
    workspace.init(DOCKER_HOST=other.host, code=5)  # but for the port, all is well
    ask(other, workspace, "create table kept as select generate_series(1, 1000) as i")
    yield workspace
    run(["docker", "--host", other.host, "rm", "--force", workspace.container])


def test_data_that_another_engine_serves_is_left_alone(elsewhere, other):
    """Its containers cannot be seen from here, and two servers on one cluster destroy it."""
    root = other.docker("info", "--format", "{{.DockerRootDir}}")
    for command in ("start", "init --yes", "restart", "destroy --data --yes"):
        said = elsewhere.hive_pg(*command.split(), code=1).stderr
        assert "on another engine" in said
        assert f"{root} " in said
        assert "DOCKER_HOST" in said
    if elsewhere.inspect() is not None or ask(other, elsewhere, COUNT) != "1000":
        raise LostError("a second server ran on the data")


def test_data_of_an_engine_that_is_gone_is_taken_over(elsewhere, other):
    """A yes that names the danger serves it here, as after a crash."""
    elsewhere.hive_pg("stop", DOCKER_HOST=other.host)
    other.docker("start", elsewhere.container)
    lock = elsewhere.path / "data" / "postgres" / "pgdata" / "postmaster.pid"
    wait_until(lambda: lock.exists() and "ready" in lock.read_text())
    other.docker("rm", "--force", elsewhere.container)
    assert "start --take-over" in elsewhere.hive_pg("start", code=1).stderr
    assert "nothing was done" in elsewhere.hive_pg("start", "--take-over", code=1).stderr
    elsewhere.hive_pg("start", "--take-over", "--yes")
    assert elsewhere.login(COUNT) == "1000"


def test_data_of_another_engine_whose_server_was_stopped_is_served(elsewhere, other):
    """After a clean stop there it starts here, says that the engine changed, and has all rows."""
    elsewhere.hive_pg("stop", DOCKER_HOST=other.host)
    said = elsewhere.hive_pg("start").stderr
    assert "the engine was " in said
    assert elsewhere.login(COUNT) == "1000"
    assert "on another engine" in elsewhere.hive_pg("start", DOCKER_HOST=other.host, code=1).stderr


def test_volume_of_another_engine_is_not_called_missing(make, other):
    """No empty database takes its place, until a person says that the engine is gone."""
    workspace = make()
    workspace.init("--data", "volume", DOCKER_HOST=other.host, code=5)
    workspace.edit_memory(verified=True)  # but for the port, it was
    ask(other, workspace, "create table kept as select generate_series(1, 1000) as i")
    before = workspace.snapshot()
    for command in (["start"], ["init", "--yes"], ["destroy", "--data", "--yes"]):
        said = workspace.hive_pg(*command, code=1).stderr
        assert "_postgres is on another engine (" in said
        assert "if it is gone, hive-pg start --take-over" in said
    if workspace.snapshot() != before or ask(other, workspace, COUNT) != "1000":
        raise LostError("the workspace has lost its database")
    assert "is missing" in workspace.hive_pg("start", "--take-over", "--yes", code=1).stderr
    assert "new, empty database" in workspace.hive_pg("init", "--yes").stderr


# -- an engine that has another disk -------------------------------------------------------------

# What a remote engine's client is, and one in a container: its disk, name and ports are its own,
# and the workspace may have a path that others have, too.
AS_CLIENT = 'hostname client; ip link set lo up; mount --bind "$0" "$PWD"; cd "$PWD"; exec "$@"'


class Client:
    """A machine that has a disk of its own in the place of the workspace."""

    def __init__(self, workspace, name):
        self.workspace, self.disk = workspace, workspace.path.parent / name
        shutil.copytree(workspace.path, self.disk)

    def hive_pg(self, *arguments, **options):
        """Run hive-pg there."""
        script = self.workspace.lab.script
        argv = ["unshare", "-mnu", "sh", "-ec", AS_CLIENT, str(self.disk), script]
        return self.workspace.hive_pg(*arguments, argv=argv, **options)

    def init(self, *arguments, image="", **options):
        """Set the workspace up there."""
        image = image or self.workspace.lab.image
        port = ("--port", str(self.workspace.port))
        return self.hive_pg("init", "--yes", "--image", image, *port, *arguments, **options)

    def query(self, sql):
        """Ask the database."""
        return self.hive_pg("psql", "--", "-Atc", sql).stdout.strip()

    @property
    def dumps(self):
        """What was backed up."""
        return [*(self.disk / "backups").glob("*.dump")]


@pytest.fixture
def client(make):
    """Give a client of this engine."""
    return Client(make(), "client")


def test_whole_life_on_an_engine_elsewhere(client, lab):
    """The data is in a volume, which has all that a directory has; the way to its port is said."""
    said = client.init(image=lab.image.replace(":16", ":18")).stderr
    volume = f"{read_env(client.disk / '.env')['COMPOSE_PROJECT_NAME']}_postgres"
    assert f"data in volume {volume}: engine with another disk" in said
    assert "warning: the database serves; at localhost:" in said
    assert "init --bind ADDRESS" in said
    assert [*client.disk.glob("data")] == []
    (mount,) = client.workspace.inspect()["Mounts"]
    assert (mount["Name"], mount["Destination"]) == (volume, "/var/lib/postgresql")
    client.query("create table kept as select generate_series(1, 1000) as i")
    assert f"its data in volume {volume}" in client.hive_pg("check").stdout
    listed = client.hive_pg("list").stdout
    assert "MB" in next(line for line in listed.splitlines() if client.workspace.container in line)
    dump = client.hive_pg("backup").stdout.strip()
    client.hive_pg("restore", "--yes", os.path.relpath(dump, client.workspace.path))
    client.hive_pg("rotate")
    client.hive_pg("stop")
    (client.disk / ".env").unlink()
    client.hive_pg("init", "--yes")  # from the container
    client.hive_pg("destroy")
    (client.disk / ".env").unlink()
    client.hive_pg("init", "--yes")  # from what hive-pg remembers
    assert client.query(COUNT) == "1000"
    assert "is missing" not in client.hive_pg("destroy", "--data", "--yes").stderr
    assert len(client.dumps) == 3  # with the one that the restore has kept
    assert volume not in lab.of_projects("volume")


def test_data_that_only_the_engine_sees(client, lab):
    """It is never called missing, and not deleted without its backup."""
    data = client.workspace.path / "data" / "postgres"  # on the engine's disk
    data.mkdir(parents=True)
    os.chown(data, 1000, 1000)
    client.init("--data", "bind")
    client.query("create table kept as select generate_series(1, 1000) as i")
    assert "empty database" not in client.init().stderr
    client.hive_pg("destroy")
    assert [*client.disk.glob("data")] == []
    client.hive_pg("destroy", "--data", "--yes")
    if not client.dumps:
        raise LostError("there is no backup")
    assert [*data.iterdir()] == []


def test_two_clients_whose_workspaces_have_one_path(make):
    """The second one gets a database of its own, whatever it remembers."""
    workspace = make(env="")
    first, second = Client(workspace, "first"), Client(workspace, "second")
    first.init()
    first.query("create table kept as select generate_series(1, 1000) as i")
    workspace.port = free_port()
    second.init()
    names = [read_env(c.disk / ".env")["HIVE_POSTGRES_CONTAINER"] for c in (first, second)]
    assert len({*names}) == 2
    if first.query(COUNT) != "1000":
        raise LostError("the second client has the first one's database")
    assert second.query("select to_regclass('kept') is null") == "t"
