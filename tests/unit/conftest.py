"""A workspace, a fake engine and a quiet network for the tests of the managers."""

import inspect
import os
import re
import sys
import tempfile

import pytest
from fakes import FakeDocker, make_cluster, make_container, make_settings, make_url

import hive_pg as pg

# What Windows has not. A test that says one of these is about it, and is left out there.
POSIX = re.compile(
    r"chmod|chown|0o[0-7]{3}|mode_of|symlink|geteuid|AS_ROOT|mkfifo|SIGHUP|SIGKILL|killpg|fcntl"
    r"|st_blocks|/dev/|\[\"?sh\"|posix_spawn|O_NOFOLLOW"
)


def pytest_collection_modifyitems(items):
    """Leave out, on Windows, what is about modes, owners, links, signals and sh."""
    for item in items if pg.WINDOWS else ():
        if found := POSIX.search(inspect.getsource(getattr(item, "function", item.obj))):
            item.add_marker(pytest.mark.skip(reason=f"{found[0]} is not there on Windows"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path_factory):
    """Take out of the environment what hive-pg or Compose would read, and share no lock."""
    base = str(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(tempfile, "tempdir", base)
    monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for name in os.environ:
        if name.startswith(("HIVE_", "POSTGRES_", "COMPOSE_", "SUDO_", "PG", "DOCKER_")):
            monkeypatch.delenv(name)


class Network:
    """Which ports are taken, and what the published one answers; nothing is connected to."""

    def __init__(self):
        self.taken = set()
        self.objection = self.gateway = ""
        self.asked = []

    def is_free(self, bind, port):
        return port not in self.taken

    def ask(self, url, binds):
        self.asked.append(url.port)
        return self.objection, "127.0.0.1"


@pytest.fixture
def network(monkeypatch):
    """Return the network that hive-pg sees."""
    network = Network()
    monkeypatch.setattr(pg, "is_port_free", network.is_free)
    monkeypatch.setattr(pg, "ask_published_port", network.ask)
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url, address: None)
    monkeypatch.setattr(pg, "read_gateway", lambda: network.gateway)
    return network


@pytest.fixture
def workspace(tmp_path):
    """Return a workspace that is set up, but whose container is not there."""
    workspace = tmp_path / "w"
    (workspace / "data").mkdir(parents=True)
    uid, gid = pg.get_postgres_uid_gid()
    pg.make_directory(str(workspace / "data" / "postgres"), (uid, gid), 0o700)
    settings = make_settings(url=make_url(), uid=uid, gid=gid)
    pg.Workspace(str(workspace)).save_env(settings.env)
    (workspace / "docker-compose.yml").write_text(pg.render_compose())
    make_cluster(workspace)
    return workspace


@pytest.fixture
def docker(network):
    """Return an engine without containers."""
    return FakeDocker()


@pytest.fixture
def manager_of(docker):
    """Return a function that makes the manager of a workspace, on the fake engine."""

    def make(workspace, **options):
        console = pg.Console(**options)
        return pg.PostgreSQLManager(str(workspace), console=console, engine=pg.Engine(docker))

    return make


@pytest.fixture
def manager(workspace, manager_of):
    """Return the manager of the workspace."""
    return manager_of(workspace)


@pytest.fixture
def place(workspace, docker):
    """Return the workspace as hive-pg sees it."""
    return pg.Workspace(str(workspace), pg.Console(), pg.Engine(docker))


@pytest.fixture
def up(workspace, docker):
    """Return the workspace, whose database runs."""
    docker.containers.append(make_container(workspace=workspace))
    return workspace


@pytest.fixture
def other(tmp_path):
    """Return another workspace, which exists."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


@pytest.fixture
def quick(monkeypatch):
    """Let no time pass between two questions."""
    monkeypatch.setattr(pg.time, "sleep", lambda seconds: None)


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs a command line on the fake engine, in the workspace."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(pg, "_leave_in_order_on_termination", lambda: None)
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.chdir(workspace)
    return lambda *argv: pg.main(argv)
