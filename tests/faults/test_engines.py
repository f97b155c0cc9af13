"""Engines: a second one that sees the same directory, and what its containers are called."""

import contextlib
import os
import shutil
import subprocess
import tempfile

import pytest
from laboratory import LostError, run, wait_until

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
            daemon.wait(timeout=60)


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
    other.docker("rm", "--force", workspace.container)


@pytest.mark.parametrize("command", ["start", "init", "restart", "destroy"])
def test_data_that_another_engine_serves_is_left_alone(elsewhere, other, command):
    """Its containers cannot be seen from here, and two servers on one cluster destroy it."""
    options = {"init": ["--yes"], "destroy": ["--data", "--yes"]}.get(command, [])
    said = elsewhere.hive_pg(command, *options, code=1).stderr
    assert "on another engine" in said
    assert f"{other.docker('info', '--format', '{{.DockerRootDir}}')} " in said
    assert "DOCKER_HOST" in said
    if elsewhere.inspect() is not None or ask(other, elsewhere, COUNT) != "1000":
        raise LostError("a second server ran on the data")


def test_data_of_another_engine_whose_server_was_stopped_is_served(elsewhere, other):
    """After a clean stop there it starts here, says that the engine changed, and has all rows."""
    elsewhere.hive_pg("stop", DOCKER_HOST=other.host)
    said = elsewhere.hive_pg("start").stderr
    assert "the engine was " in said
    assert elsewhere.login(COUNT) == "1000"
    assert "on another engine" in elsewhere.hive_pg("start", DOCKER_HOST=other.host, code=1).stderr
