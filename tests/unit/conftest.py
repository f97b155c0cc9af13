"""A workspace, a fake engine and a quiet network for the tests of the managers."""

import os
import tempfile

import pytest
from fakes import FakeDocker, make_cluster, make_settings, make_url

import hive_pg as pg


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path_factory):
    """Take out of the environment what hive-pg or Compose would read, and share no lock."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.getbasetemp()))
    for name in os.environ:
        if name.startswith(("HIVE_", "POSTGRES_", "COMPOSE_", "SUDO_", "PG", "DOCKER_")):
            monkeypatch.delenv(name)


class Network:
    """Which ports are taken, and what the published one answers; nothing is connected to."""

    def __init__(self):
        self.taken = set()
        self.objection = ""
        self.asked = []

    def is_free(self, bind, port):
        return port not in self.taken

    def ask(self, url, bind=""):
        self.asked.append(url.port)
        return self.objection


@pytest.fixture
def network(monkeypatch):
    """Return the network that hive-pg sees."""
    network = Network()
    monkeypatch.setattr(pg, "is_port_free", network.is_free)
    monkeypatch.setattr(pg, "ask_published_port", network.ask)
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url: None)
    return network


@pytest.fixture
def workspace(tmp_path):
    """Return a workspace that is set up, but whose container is not there."""
    workspace = tmp_path / "w"
    (workspace / "data").mkdir(parents=True)
    uid, gid = pg.get_postgres_uid_gid()
    pg.make_directory(str(workspace / "data" / "postgres"), (uid, gid), 0o700)
    settings = make_settings(url=make_url(), uid=uid, gid=gid)
    pg.CredentialService(str(workspace)).save(settings.env)
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
        return pg.PostgreSQLManager(str(workspace), console=console, docker=pg.Docker(docker))

    return make
