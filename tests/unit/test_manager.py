"""The managers: which step follows which, how often Docker is asked, and what is refused."""

import json
import os
import shutil
import stat
import time

import pytest
from fakes import DATA, FakeRunner, make_cluster, make_container, make_info, make_service, recorded

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    ContainerStartupError,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    EnvFileError,
    ExitCode,
    Health,
    NotSetUpError,
    WorkspaceError,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
WAITING = (72, "")
MISSING = "No such container"


@pytest.fixture
def up(workspace, docker):
    """Return a workspace whose database runs."""
    docker.containers.append(make_container(workspace=workspace))
    return workspace


@pytest.fixture
def other(tmp_path):
    """Return another workspace, which exists."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


@pytest.fixture
def manager(workspace, manager_of):
    """Return the manager of the workspace."""
    return manager_of(workspace)


def env_of(workspace):
    """Return what .env says."""
    return pg.CredentialService(str(workspace)).read_values()


def snapshot(workspace):
    """Return all files of a workspace: text, inode and time of change."""
    files = {}
    for directory, _, names in os.walk(workspace):
        for name in names:
            path = os.path.join(directory, name)
            status = os.stat(path)
            with open(path, "rb") as file:
                files[path] = (file.read(), status.st_ino, status.st_mtime_ns)
    return files


# -- how often Docker is asked -------------------------------------------------------------------


def test_start_container_running(up, manager, docker, network):
    """Up already: one inspect, one exec, the published port, and it says so."""
    assert manager.start_container() is False
    assert docker.commands == ["docker inspect", "docker exec"]
    assert network.asked == [5532]


def test_check_container_status_running(up, manager, docker):
    """`status` takes two docker processes, and the server is asked once, without time to wait."""
    status = manager.check_container_status()
    assert docker.commands == ["docker inspect", "docker exec"]
    assert docker.calls[1].argv[-2] == "0"
    assert status.verdict is ExitCode.DONE
    assert (status.server_version, status.host_port) == ("16.14", 5532)
    assert manager.validate_container_health() is True


def test_check_container_status_stopped(up, manager, docker, network):
    """Of a stopped container nothing is asked that only a server knows; no password is given."""
    docker.containers[0]["State"].update(Status="exited", ExitCode=1)
    status = manager.check_container_status()
    assert (status.verdict, status.exit_code) == (ExitCode.NOT_RUNNING, 1)
    assert (status.readiness, status.server_version) == (pg.Readiness.UNKNOWN, None)
    assert [call.stdin for call in docker.calls_of("docker exec")] in ([], [None])
    assert network.asked == []


def test_validate_postgres_integration_running(up, manager, docker, network):
    """`check` takes three docker processes at most, and asks every point."""
    result = manager.validate_postgres_integration()
    assert len(docker.commands) <= 3
    assert [point.name for point in result.points] == list(pg.CHECK_POINTS)
    assert result.healthy
    assert network.asked == [5532]


def test_start_container_stopped(up, manager, docker):
    """A stopped container is started: state, conflicts, file, image, up, login, in that order."""
    docker.containers[0]["State"]["Status"] = "exited"
    assert manager.start_container() is True
    assert docker.commands == [
        "docker inspect",
        "docker exec",
        "docker compose version",
        "docker ps",
        "docker inspect",
        "docker compose config",
        "docker image",
        "docker compose up",
        "docker exec",
    ]


# -- secrets -------------------------------------------------------------------------------------


def test_start_container_secrets(up, manager, docker):
    """The password is in no argv; the login has it from stdin, Compose from its environment."""
    docker.containers[0]["State"]["Status"] = "exited"
    manager.start_container()
    assert all("s3cret" not in " ".join(call.argv) for call in docker.calls)
    assert docker.calls[-1].stdin == "s3cret\n"
    assert docker.calls_of("docker compose up")[0].env["POSTGRES_PASSWORD"] == "s3cret"


def test_look_foreign_container(workspace, manager, docker, other):
    """The password is not handed to a container that is another workspace's."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    with pytest.raises(ContainerConflictError):
        manager.check_container_status()
    assert all(call.stdin is None for call in docker.calls_of("docker exec"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("POSTGRES_PASSWORD", "shell", "s3cret", id="password"),
        pytest.param("POSTGRES_USER", "", "ann", id="empty user"),
        pytest.param("COMPOSE_PROJECT_NAME", "shell", "w-1a2b3c", id="project"),
        pytest.param("HIVE_POSTGRES_PORT", "1", "5532", id="port"),
        pytest.param("HIVE_POSTGRES_IMAGE", "shell", None, id="image"),
        pytest.param("HIVE_POSTGRES_BIND", "0.0.0.0", None, id="bind"),
        pytest.param("COMPOSE_FILE", "other.yml", None, id="file"),
        pytest.param("COMPOSE_PROFILES", "x", None, id="profiles"),
        pytest.param("COMPOSE_ENV_FILES", "x", None, id="env files"),
        pytest.param("DOCKER_HOST", "tcp://x", "tcp://x", id="the daemon is the shell's choice"),
    ],
)
def test_compose_environment(monkeypatch, workspace, manager, docker, name, value, expected):
    """For Compose the workspace's .env wins over the shell, and nothing selects another project."""
    monkeypatch.setenv(name, value)
    manager.compose.start_postgres_service()
    for call in docker.calls_of("docker compose up") + docker.calls_of("docker compose config"):
        assert call.env.get(name) == expected
        assert call.cwd == str(workspace)
        assert call.env["PWD"] == str(workspace)


def test_compose_environment_own_keys(monkeypatch, workspace, manager, docker):
    """Of the other keys of .env, Compose's environment gets those that are about the database."""
    monkeypatch.setenv("PATH", "/usr/bin")
    with open(workspace / ".env", "a") as file:
        file.write("HIVE_POSTGRES_SHM_SIZE=2gb\nPATH=/nowhere\n")
    manager.compose.start_postgres_service()
    env = docker.calls_of("docker compose up")[0].env
    assert (env["HIVE_POSTGRES_SHM_SIZE"], env["PATH"]) == ("2gb", "/usr/bin")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param("compose.yaml", "", id="Compose's own choice"),
        pytest.param("db.yml", "COMPOSE_FILE=db.yml:more.yml\n", id="COMPOSE_FILE"),
    ],
)
def test_find_compose_file_name(workspace, manager, name, line):
    """The compose file is the one that Compose itself would take."""
    (workspace / name).write_text("services: {}\n")
    with open(workspace / ".env", "a") as file:
        file.write(line)
    assert manager.compose.find_compose_file() == str(workspace / name)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "start_container",
        "stop_container",
        "restart_container",
        "check_container_status",
        "validate_postgres_integration",
        "get_container_logs",
    ],
)
def test_manager_never_set_up(tmp_path, manager_of, docker, method):
    """Without .env nothing is asked of Docker, and `init` is the next step."""
    with pytest.raises(NotSetUpError) as caught:
        getattr(manager_of(tmp_path), method)()
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.NOT_RUNNING, "hive-pg init")
    assert docker.calls == []


def test_start_container_no_compose_file(workspace, manager):
    """Without a compose file `init` is the next step."""
    (workspace / "docker-compose.yml").unlink()
    with pytest.raises(NotSetUpError, match=r"there is no docker-compose\.yml"):
        manager.start_container()


@pytest.mark.parametrize("method", ["start_container", "stop_container", "check_container_status"])
def test_manager_name_of_other(workspace, manager, docker, other, method):
    """A container of another workspace that exists is refused by name and never touched."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    with pytest.raises(ContainerConflictError, match="hive-postgres") as caught:
        getattr(manager, method)()
    assert str(other) in str(caught.value)
    assert "docker compose up" not in docker.commands
    assert "docker stop" not in docker.commands


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        pytest.param("data/postgres", "data/postgres is missing", id="missing"),
        pytest.param("data/postgres/pgdata", "data/postgres holds no data", id="empty"),
    ],
)
def test_start_container_data_gone(workspace, manager, docker, directory, message):
    """Data that are not where they were are an error: an empty database is no replacement."""
    shutil.rmtree(workspace / directory)
    with pytest.raises(WorkspaceError, match=message) as caught:
        manager.start_container()
    assert "put the data back" in caught.value.hint
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize(
    ("published", "name"),
    [pytest.param("5599", "hive-postgres", id="port"), pytest.param("5532", "other", id="name")],
)
def test_start_container_compose_file_differs(workspace, manager, docker, published, name):
    """What a compose file fixes otherwise than `.env` says is an error, not a guess."""

    def config(call):
        resolved = json.loads(docker.config(call))
        service = resolved["services"]["postgres"]
        service["ports"][0]["published"], service["container_name"] = published, name
        return json.dumps(resolved)

    docker.answers["docker compose config"] = config
    with pytest.raises(WorkspaceError, match=f"{name}.*{published}") as caught:
        manager.start_container()
    assert "hive-pg init" in caught.value.hint
    assert "docker compose up" not in docker.commands


def test_start_container_created(workspace, manager, docker):
    """A container of ours that was made but never ran is started, and not removed."""
    docker.containers.append(make_container(workspace=workspace, Status="created"))
    assert manager.start_container() is True
    assert "docker rm" not in docker.commands


def test_start_container_leftover(workspace, manager, docker):
    """What an interrupted Compose left of a new container is removed, and is no conflict."""
    name = "0123456789ab_hive-postgres"
    docker.containers.append(make_container(name, workspace, Status="created"))
    docker.answers["docker rm"] = ""
    manager.start_container()
    assert docker.calls_of("docker rm")[0].argv == ["docker", "rm", name]


def test_start_container_own_on_other_port(up, manager, docker, network):
    """A port that .env names now is checked, though our container runs on another one."""
    docker.containers[0] = make_container(workspace=up, port=6000)
    network.taken.add(5532)
    with pytest.raises(ContainerConflictError, match="a process on this machine"):
        manager.compose.start_postgres_service()


def test_restart_container_paused(up, manager, docker):
    """A paused container is not replaced."""
    docker.containers[0]["State"]["Status"] = "paused"
    with pytest.raises(ContainerStartupError, match="is paused"):
        manager.restart_container()
    assert "docker stop" not in docker.commands


def test_start_container_not_of_compose(workspace, manager, docker):
    """A container that somebody made by hand is not ours, whatever its name."""
    docker.containers.append(make_container(project=""))
    with pytest.raises(ContainerConflictError, match="somebody else"):
        manager.start_container()


def test_start_container_project_of_other(workspace, manager, docker, other):
    """A copied .env whose container has another name does not replace the original's."""
    docker.containers.append(make_container("original", other, "w-1a2b3c"))
    with pytest.raises(ContainerConflictError, match="original has the Compose project w-1a2b3c"):
        manager.start_container()
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize(
    ("state", "source"),
    [
        pytest.param("running", "data/postgres", id="running"),
        pytest.param("exited", "data/../data/postgres", id="exited, by another path"),
        pytest.param("created", "data/postgres/pgdata", id="created, the cluster in it"),
    ],
)
def test_start_container_data_of_other(workspace, manager, docker, other, state, source):
    """Another container that has the data mounted is refused, in whatever state it is."""
    mount = {"source": f"{workspace}/{source}", "port": 1}
    docker.containers.append(make_container("backup", other, "theirs", Status=state, **mount))
    with pytest.raises(ContainerConflictError, match=rf"backup \({state}\) has .* mounted"):
        manager.start_container()
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize("source", ["data", "data/postgres-old", "app"])
def test_start_container_mount_beside(workspace, manager, docker, other, source):
    """A container that has something else of the workspace mounted is no conflict."""
    mount = {"source": f"{workspace}/{source}", "port": 1}
    docker.containers.append(make_container("app", other, "theirs", **mount))
    assert manager.start_container() is True


@pytest.fixture
def alias(monkeypatch, workspace, tmp_path):
    """Return a place that is the workspace's own directory, as a mount makes one."""
    alias, status = str(tmp_path / "alias"), os.stat

    def stat(path, *arguments, **options):
        if isinstance(path, str) and f"{path}/".startswith(f"{alias}/"):
            path = str(workspace) + path[len(alias) :]
        return status(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    return alias


@pytest.mark.parametrize("state", ["running", "exited", "paused"])
@pytest.mark.parametrize("place", ["data/postgres", "data/postgres/pgdata"])
def test_start_container_data_by_another_path(
    workspace, manager, docker, other, alias, place, state
):
    """What another container has mounted is compared by what it is, not by its path alone."""
    theirs = make_container("theirs", other, "theirs", source=f"{alias}/{place}", port=1)
    theirs["State"]["Status"] = state
    docker.containers.append(theirs)
    with pytest.raises(ContainerConflictError, match=rf"theirs \({state}\) has the data mounted"):
        manager.start_container()
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize("state", ["paused", "running", "exited"])
def test_start_container_unrelated_directory_gone(workspace, manager, docker, other, state):
    """A container of other data whose directory is gone stands in nobody's way, paused or not."""
    docker.containers.append(
        make_container("theirs", other, "theirs", source="/gone", port=1, Status=state)
    )
    docker.answers["docker exec theirs stat"] = "1:1\n"
    assert manager.start_container() is True


SS = 'LISTEN 0 5 127.0.0.1:5532 0.0.0.0:* users:(("node",pid=7,fd=3))\n'


@pytest.mark.parametrize(
    ("listening", "owner"),
    [
        pytest.param(SS, "a process on this machine: node (pid 7)", id="seen"),
        pytest.param(SS.split("users")[0], "a process on this machine", id="another user's"),
        pytest.param(DockerNotAvailableError("hangs"), "a process on this machine", id="ss hangs"),
        pytest.param(None, "a process on this machine", id="no ss"),
    ],
)
def test_start_container_port_of_process(workspace, manager, docker, network, listening, owner):
    """A port that a process listens on is an error that names it, where it may be seen."""
    network.taken.add(5532)
    if listening:
        docker.answers["ss -Hltnp 'sport = :5532'"] = listening
    with pytest.raises(ContainerConflictError, match="5532 is taken by") as caught:
        manager.start_container()
    assert str(caught.value).endswith(f" by {owner}")
    assert caught.value.hint.startswith("hive-pg init --port N")


@pytest.mark.parametrize(
    ("where", "owner", "remedy"),
    [
        pytest.param("other", "of {}/other", "", id="workspace"),
        pytest.param("gone", "of {}/gone, which is gone", "docker rm -f theirs", id="stale"),
        pytest.param("", "of somebody else (Compose did", "docker rm -f theirs", id="by hand"),
    ],
)
def test_start_container_port_of_container(
    workspace, manager, docker, network, other, where, owner, remedy
):
    """A container that is published there is named with its origin, whatever it serves."""
    network.taken.add(5532)
    place, project = other.parent / where if where else "", "theirs" if where else ""
    docker.published = [make_container("theirs", place, project, port=1)]
    docker.containers += docker.published
    with pytest.raises(ContainerConflictError) as caught:
        manager.start_container()
    assert f"is taken by container theirs {owner.format(other.parent)}" in str(caught.value)
    assert caught.value.hint.endswith(remedy or "fixes the port)")
    assert docker.calls_of("ss") == []


def test_owns_workspace_moved(workspace, manager, docker, tmp_path):
    """A container that was made where this workspace was before it moved is its own."""
    docker.containers.append(make_container(workspace=tmp_path / "gone"))
    assert manager.start_container() is False


def test_owns_not_by_the_name_of_a_file(workspace, manager, docker, tmp_path):
    """A container that was made in a directory that is gone has a common file name, and no more."""
    theirs = make_container(workspace=tmp_path / "gone", project="other")
    files = f"{tmp_path}/gone/docker-compose.yml"
    theirs["Config"]["Labels"]["com.docker.compose.project.config_files"] = files
    docker.containers.append(theirs)
    with pytest.raises(ContainerConflictError, match="hive-postgres"):
        manager.start_container()


def test_owns_symlink(workspace, manager, docker, tmp_path):
    """A workspace is the same one by another path."""
    (tmp_path / "link").symlink_to(workspace)
    docker.containers.append(make_container(workspace=tmp_path / "link", project="odd"))
    assert manager.start_container() is False


def of_test_file(workspace, name="test-db", **changes):
    """Return a container of another compose file in the same directory, with its own project."""
    changes = {"port": 1, "source": f"{workspace}/test-data", **changes}
    container = make_container(name, workspace, "other", **changes)
    container["Config"]["Labels"]["com.docker.compose.project.config_files"] = (
        f"{workspace}/docker-compose.test.yml"
    )
    container["Config"]["Env"] += ["POSTGRES_USER=tester", "POSTGRES_PASSWORD=of-the-tests"]
    return container


@pytest.mark.parametrize("state", ["running", "exited", "created"])
@pytest.mark.parametrize("env", ["kept", "lost"])
def test_owns_not_another_project(init, workspace, docker, state, env):
    """Another project's service of this directory is neither adopted, replaced nor removed."""
    theirs = of_test_file(workspace, Status=state)
    docker.containers.append(theirs)
    if env == "lost":
        (workspace / ".env").unlink()
        shutil.rmtree(workspace / "data")
    init(workspace)
    values = env_of(workspace)
    assert theirs in docker.containers
    assert values["COMPOSE_PROJECT_NAME"] != "other"
    assert values["HIVE_POSTGRES_CONTAINER"] != "test-db"
    assert values["POSTGRES_PASSWORD"] != "of-the-tests"
    assert {"docker rm", "docker stop"}.isdisjoint(docker.commands)


@pytest.mark.parametrize(
    "name",
    ["other-postgres-1", "0123456789ab_other", "old_hive-postgres", "0123456789ab_hive-postgres-2"],
)
def test_start_container_no_leftover(workspace, manager, docker, name):
    """What is not called as Compose calls a container that it replaces is not removed."""
    docker.containers.append(
        make_container(name, workspace, Status="created", source="/elsewhere", port=1)
    )
    assert manager.start_container() is True
    assert "docker rm" not in docker.commands


def test_owns_by_another_path(up, manager, docker, alias):
    """The same directory, mounted elsewhere, is the same workspace: its container runs already."""
    docker.containers[0] = make_container(workspace=alias, project="odd")
    assert manager.start_container() is False


# -- Docker and Compose --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        pytest.param(
            FileNotFoundError(2, "No such file or directory", "docker"),
            DockerNotAvailableError,
            "cannot run docker: No such file",
            id="no docker",
        ),
        pytest.param(
            BlockingIOError(11, "Resource temporarily unavailable"),
            DockerNotAvailableError,
            "cannot run docker: Resource",
            id="no process",
        ),
        pytest.param(
            (1, "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"),
            DockerNotAvailableError,
            "daemon does not run",
            id="no daemon",
        ),
        pytest.param(
            DockerNotAvailableError("`docker inspect` did not answer within 20 s"),
            DockerNotAvailableError,
            "did not answer",
            id="hung daemon",
        ),
        pytest.param((1, "odd"), DockerCommandError, "cannot inspect .*: odd", id="odd answer"),
    ],
)
def test_docker_unavailable(workspace, manager, docker, error, expected, message):
    """A Docker that is not there is told from a container that is not there."""
    docker.answers["docker inspect"] = docker.answers["docker exec"] = error
    docker.answers.pop("docker inspect --type container")
    with pytest.raises(expected, match=message):
        manager.check_container_status()


def test_statistics_of_one_that_is_paused_meanwhile(up, manager, docker):
    """Its silence is not Docker's fault: the container is named, and what helps."""

    def pause(call):
        docker.containers[0]["State"]["Status"] = "paused"
        return DockerNotAvailableError("`docker exec` did not answer within 40 s")

    docker.answers["docker exec"] = pause
    with pytest.raises(NotSetUpError, match="container hive-postgres is paused") as caught:
        manager.read_statistics()
    assert caught.value.hint == "docker unpause hive-postgres"
    docker.containers[0]["State"]["Status"] = "running"
    docker.answers["docker exec"] = DockerNotAvailableError("no answer")
    with pytest.raises(DockerNotAvailableError, match="no answer"):
        manager.read_statistics()


def test_containers_removed_meanwhile(workspace, manager, docker, other):
    """A container that is removed while all are asked for is no error; the others are known."""
    theirs = make_container("theirs", other, "theirs")
    docker.answers["docker ps"] = "id-of-theirs\nid-of-gone\n"
    partial = (1, "Error response from daemon: No such container: id-of-gone", json.dumps([theirs]))
    docker.answers["docker inspect --type container id-of-theirs"] = partial
    assert [info.name for info in manager.docker.containers()] == ["theirs"]


def test_compose_directory_gone(workspace, manager, docker):
    """A directory that cannot be entered is not taken for a missing docker."""
    docker.answers["docker compose config"] = PermissionError(13, "denied", str(workspace))
    with pytest.raises(WorkspaceError, match="cannot enter"):
        manager.compose.start_postgres_service()


V1 = {
    "docker compose version": (1, "docker: 'compose' is not a docker command."),
    "docker-compose config": "services:\n  postgres:\n    image: agnohq/pgvector:16\n",
}


@pytest.fixture
def v1(monkeypatch, docker):
    """Have an engine with Compose v1 alone."""
    docker.answers.update(V1, **{"docker-compose up": docker.up})
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return docker


def test_compose_v1_start(workspace, manager, v1, other):
    """Without the plugin docker-compose does it; the service is read from a created container."""
    v1.containers.append(make_container("theirs", other, "theirs", port=1))
    assert manager.start_container() is True
    compose = [call.argv[1:] for call in v1.calls_of("docker-compose")]
    assert compose == [
        ["config"],
        ["up", "--no-start", "postgres"],
        ["up", "--detach", "postgres"],
    ]


def test_compose_v1_nothing_made(workspace, manager, v1):
    """If Compose v1 makes no container, that is said."""
    v1.answers["docker-compose up"] = ""
    with pytest.raises(WorkspaceError, match="made no container of service 'postgres'"):
        manager.start_container()


def test_compose_missing(monkeypatch, workspace, manager, docker):
    """Neither plugin nor docker-compose: exit 4, with where to get it."""
    docker.answers.update(V1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DockerNotAvailableError, match="Compose is missing") as caught:
        manager.start_container()
    assert caught.value.hint
    assert caught.value.detail == V1["docker compose version"][1]


def test_compose_wsl(workspace, manager, docker):
    """A stand-in for docker is no reason to look for docker-compose."""
    text = "The command 'docker' could not be found in this WSL 2 distro."
    docker.answers["docker compose version"] = (1, text)
    with pytest.raises(DockerNotAvailableError, match="stand-in"):
        manager.start_container()


def test_compose_failed(workspace, manager, docker):
    """What Compose refuses is an error with its words, and the arguments that were given."""
    docker.answers["docker compose up"] = (17, "some\nreason\n")
    with pytest.raises(
        DockerCommandError, match=r"`docker compose up .*` failed: reason"
    ) as caught:
        manager.start_container()
    assert caught.value.detail == "some\nreason\n"


def test_bring_up_pulls(workspace, manager, docker, capsys):
    """An image that is not there is pulled, with progress; one that is there is not."""
    docker.answers["docker image inspect"] = (1, "Error: No such image: agnohq/pgvector:16")
    docker.answers["docker pull"] = ""
    manager.start_container()
    assert docker.calls_of("docker pull")[0].progress
    assert "pulling agnohq/pgvector:16" in capsys.readouterr().err


def test_bring_up_restarting(up, manager, docker):
    """A container in a restart loop is stopped first: Compose would leave it to its loop."""
    docker.containers[0]["State"]["Status"] = "restarting"
    manager.start_container()
    commands = docker.commands
    assert commands.index("docker stop") < commands.index("docker compose up")


@AS_ROOT
def test_give_data_other(workspace, manager, docker, capsys):
    """Data of another user are given to the server's by a container, quoted for --mount."""
    docker.answers["docker run"] = ""
    os.chown(workspace / "data" / "postgres", 4321, 4321)
    manager.start_container()
    argv = docker.calls_of("docker run")[0].argv
    assert argv[argv.index("--mount") + 1] == (
        f'type=bind,"source={workspace}/data/postgres",target=/target'
    )
    assert argv[-3:] == ["-c", 'chown -R "$0" /target && chmod u+rwx /target', "1000:1000"]
    assert "giving" in capsys.readouterr().err


@AS_ROOT
def test_give_data_failed(workspace, manager, docker):
    """If the container cannot change the owner, that is an error, and nothing is started."""
    docker.answers["docker run"] = (1, "boom")
    os.chown(workspace / "data" / "postgres", 4321, 4321)
    with pytest.raises(
        DockerCommandError, match=r"cannot change the owner of .*/data/postgres: boom"
    ):
        manager.start_container()
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize(
    ("uid", "argv"),
    [
        pytest.param(None, [], id="right already"),
        pytest.param(4321, ["docker", "run"], id="another's", marks=AS_ROOT),
    ],
)
def test_fix_postgres_data_permissions_owner(monkeypatch, tmp_path, uid, argv):
    """Data of the right user are left alone, others given to it by a container."""
    runner = FakeRunner({"docker run": ""})
    monkeypatch.setattr(pg, "Runner", lambda console: runner)
    ours = pg.get_postgres_uid_gid()
    os.chown(tmp_path, uid or ours[0], uid or ours[1])
    pg.fix_postgres_data_permissions(str(tmp_path))
    assert [word for call in runner.calls for word in call.argv[:2]] == argv


# -- waiting -------------------------------------------------------------------------------------


def test_verify_waits(workspace, manager, docker, capsys):
    """While the server starts, it is asked again, and the container with it."""
    docker.answers["docker exec"] = [WAITING, (71, ""), "16.14|0.8.5|0.8.5\n"]
    assert manager.start_container() is True
    assert docker.commands[-3:] == ["docker inspect", "docker logs", "docker exec"]
    assert "waiting for PostgreSQL (rejecting)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "message"),
    [
        pytest.param({"Status": "exited", "ExitCode": 1}, "stopped with exit code 1", id="exited"),
        pytest.param({"Status": "restarting", "ExitCode": 1}, "keeps restarting", id="restarting"),
        pytest.param(
            {"restarts": 1, "StartedAt": "2999-01-01T00:00:00Z"},
            "restarted once",
            id="restarted",
        ),
        pytest.param({"Status": "paused"}, "is paused", id="paused"),
    ],
)
def test_verify_container_fails(workspace, manager, docker, state, message):
    """A container that ends while waited for is an error at once, with its words and meaning."""

    def up(call):
        docker.containers.append(make_container(workspace=workspace, **state))
        return ""

    docker.answers["docker compose up"] = up
    docker.answers["docker exec"] = WAITING
    docker.answers["docker logs"] = "cannot create directory '/d': Permission denied\n"
    began = time.time()
    with pytest.raises(ContainerStartupError, match=message) as caught:
        manager.start_container(timeout=600)
    if "paused" not in message:
        assert "belongs to another user" in str(caught.value)
        assert "Permission denied" in caught.value.detail
        since = docker.calls_of("docker logs")[0].argv[4:6]
        assert since[0] == "--since"
        assert began <= float(since[1]) + 0.001 <= time.time() + 0.002


def test_verify_container_removed(workspace, manager, docker):
    """A container that is removed while waited for is said to be."""
    docker.answers["docker compose up"] = ""
    docker.answers["docker exec"] = (1, f"{MISSING}: hive-postgres")
    with pytest.raises(ContainerStartupError, match="was removed"):
        manager.start_container()


def test_verify_earlier_restarts(up, manager, docker):
    """Restarts of long ago are no failure of a server that is only asked again."""
    docker.containers[0]["RestartCount"] = 3
    docker.answers["docker exec"] = [(71, ""), "16.14|0.8.5|0.8.5\n"]
    assert manager.start_container() is False


@pytest.mark.parametrize("state", ["running", "restarting"])
@pytest.mark.parametrize(("more", "steady"), [(1, True), (2, False)], ids=["cured", "a loop"])
def test_verify_restarts_once_more(up, manager, docker, more, steady, state):
    """A server that was found running may crash once more, and be cured; twice is a loop."""
    container = docker.containers[0]
    container["RestartCount"] = 3

    def crash(call):
        container["RestartCount"] = 3 + more
        container["State"].update(Status=state, StartedAt="2999-01-01T00:00:00Z")
        docker.answers["docker exec"] = "16.14|0.8.5|0.8.5\n"
        return WAITING if state == "running" else (1, "Container hive-postgres is restarting")

    docker.answers["docker exec"] = crash
    if steady:
        assert manager.start_container() is False
    else:
        with pytest.raises(ContainerStartupError, match=r"restarted 5 times|keeps restarting"):
            manager.start_container()


def test_check_of_one_that_ends_meanwhile(up, manager, docker):
    """It ran when it was looked at, and ended when it was asked: it is looked at again."""

    def end(call):
        assert docker.containers[0]["State"]["Status"] == "running"
        return (137, "")

    docker.answers["docker exec"] = end
    docker.answers["docker inspect --type container"] = [
        docker.inspect,
        lambda call: docker.containers[0]["State"].update(Status="exited") or docker.inspect(call),
    ]
    *_, point = manager.validate_postgres_integration().points[:2]
    assert point.finding == "hive-postgres is exited"
    assert point.exit_code is ExitCode.NOT_RUNNING


def test_check_of_a_crash_loop_says_why(up, manager, docker):
    """What the container wrote since its last start has the cause and what helps."""
    docker.containers[0]["State"].update(Status="restarting", ExitCode=1)
    docker.answers["docker exec"] = (1, "Container hive-postgres is restarting")
    docker.answers["docker logs"] = 'FATAL:  invalid value for parameter "shared_buffers": "x"\n'
    point = manager.validate_postgres_integration().points[1]
    assert point.finding.startswith("hive-postgres keeps restarting: a server setting")
    assert point.remedy == "correct it in .env or in the compose file, then hive-pg restart"
    assert point.exit_code is ExitCode.UNHEALTHY
    with pytest.raises(ContainerStartupError, match="keeps restarting: a server setting") as caught:
        manager.compose.require_running()
    assert caught.value.hint == point.remedy


@pytest.mark.parametrize(
    ("oom_killed", "why", "remedy"),
    [(False, "", "hive-pg logs"), (True, ": the kernel ended it for lack", "give Docker more")],
)
def test_require_running_crash_loop_without_logs(up, manager, docker, oom_killed, why, remedy):
    """Where nothing can be read of it, Docker's own word is the cause, if there is one."""
    docker.containers[0]["State"].update(Status="restarting", OOMKilled=oom_killed)
    unreadable = "configured logging driver does not support reading"
    docker.answers["docker logs"] = (1, f"Error response from daemon: {unreadable}")
    with pytest.raises(ContainerStartupError, match=f"keeps restarting{why}") as caught:
        manager.compose.require_running()
    assert caught.value.hint.startswith(remedy)


@pytest.fixture
def ending(docker):
    """Have the container end, orderly, whenever it is asked."""

    def end(call):
        docker.containers[0]["State"].update(Status="exited", ExitCode=0)
        return (1, "Container hive-postgres is not running")

    docker.answers["docker exec"] = end
    return docker


def test_start_of_one_that_was_about_to_stop(up, manager, ending):
    """It is started once, and not fought over."""
    with pytest.raises(ContainerStartupError, match="stopped with exit code 0") as caught:
        manager.start_container()
    assert caught.value.repair is pg.Repair.START
    assert ending.commands.count("docker compose up") == 1


def test_init_of_one_that_was_about_to_stop(up, manager, ending):
    """It is mended once, after it was brought up."""
    make_cluster(up)
    with pytest.raises(ContainerStartupError, match="stopped with exit code 0"):
        manager.setup_postgres_container(interactive=False)
    assert ending.commands.count("docker compose up") == 2


def test_start_of_one_that_is_stopped_meanwhile(up, manager, ending):
    """Who stopped it after the command began has the last word."""
    ending.answers["docker logs"] = "LOG:  received fast shutdown request\n"
    with pytest.raises(ContainerStartupError, match="stopped with exit code 0") as caught:
        manager.start_container()
    assert caught.value.hint.startswith("hive-pg start")
    assert "docker compose up" not in ending.commands


def test_start_of_one_that_is_removed_meanwhile(up, manager, docker):
    """It is gone after it was looked at, and before its logs were: it was removed."""
    docker.answers["docker exec"] = WAITING

    def remove(call):
        docker.containers.clear()
        return (1, f"Error response from daemon: {MISSING}: hive-postgres")

    docker.answers["docker logs"] = remove
    with pytest.raises(ContainerStartupError, match="hive-postgres was removed") as caught:
        manager.start_container()
    assert caught.value.hint == "hive-pg start"


@pytest.mark.parametrize("words", ["no pg_hba.conf entry", 'database "hive" does not exist'])
def test_start_after_an_interrupted_first_start(up, manager, docker, words):
    """That is the cause, and not what the cluster lacks; `init` has the means."""
    docker.answers["docker exec"] = (82, f"FATAL:  {words}")
    with pytest.raises(pg.PostgreSQLIntegrationError) as caught:
        manager.start_container()
    assert "the first start was interrupted" not in str(caught.value)
    with open(up / ".env", "a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    interrupted = "the first start was interrupted"
    with pytest.raises(pg.PostgreSQLIntegrationError, match=interrupted) as caught:
        manager.start_container()
    assert caught.value.hint == "hive-pg init finishes it, or makes the cluster anew"


def test_verify_time_is_up(up, manager, docker):
    """When the time is up, that is exit 5, with how to give it longer."""
    docker.answers["docker exec"] = WAITING
    with pytest.raises(DatabaseConnectionError, match="not ready in time") as caught:
        manager.start_container(timeout=1e-9)
    assert "--timeout" in caught.value.hint
    assert caught.value.exit_code is ExitCode.UNHEALTHY


def test_verify_time_is_up_on_an_engine_that_runs_nothing(up, manager, docker):
    """Its words may mean that the container ended; it did not, so they are shown."""
    words = "OCI runtime exec failed: exec failed: error executing setns process: exit status 1"
    docker.answers["docker exec"] = (126, words)
    with pytest.raises(DatabaseConnectionError, match="not ready in time: cannot ask") as caught:
        manager.start_container(timeout=1e-9)
    assert caught.value.detail == words


def test_verify_unknown(up, manager, docker):
    """A container that nobody can ask is an error at once."""
    docker.answers["docker exec"] = (127, "sh: pg_isready: not found")
    with pytest.raises(DockerCommandError, match="pg_isready: not found"):
        manager.start_container()


def test_verify_credentials_refused(up, manager, docker):
    """Refused credentials are exit 6, at once and without a word of the password."""
    docker.answers["docker exec"] = (82, 'password authentication failed for user "ann"')
    with pytest.raises(CredentialsRefusedError) as caught:
        manager.start_container()
    assert caught.value.exit_code is ExitCode.CREDENTIALS_REFUSED
    assert "s3cret" not in f"{caught.value} {caught.value.hint} {caught.value.detail}"


def test_verify_published_port(up, manager, network):
    """A port that does not lead to this database is exit 5."""
    network.objection = "what answers is not PostgreSQL"
    with pytest.raises(DatabaseConnectionError, match=r"localhost:5532, .* is not this database"):
        manager.start_container()


def test_verify_other_port(up, manager, docker, network):
    """A container that still has its old port is found out, and `restart` is the hint."""
    docker.containers[0] = make_container(workspace=up, port=6000)
    with pytest.raises(DatabaseConnectionError, match="published on port 6000") as caught:
        manager.start_container()
    assert "hive-pg restart" in caught.value.hint
    assert network.asked == []


def test_start_container_paused(up, manager, docker):
    """A paused container is not started, but how to go on is said."""
    docker.containers[0]["State"]["Status"] = "paused"
    docker.answers["docker exec"] = (1, "is paused")
    with pytest.raises(ContainerStartupError, match="is paused") as caught:
        manager.start_container()
    assert caught.value.hint == "docker unpause hive-postgres"


# -- stopping, logs ------------------------------------------------------------------------------


def test_stop_container_running(up, manager, docker):
    """The server gets its whole grace period."""
    assert manager.stop_container() is True
    argv = docker.calls_of("docker stop")[0].argv
    assert argv == ["docker", "stop", "-t", "60", "hive-postgres"]
    assert docker.calls_of("docker stop")[0].timeout > 60


@pytest.mark.parametrize("state", ["exited", "created", None])
def test_stop_container_not_running(workspace, manager, docker, state):
    """Stopping twice is no error."""
    if state:
        docker.containers.append(make_container(workspace=workspace, Status=state))
    assert manager.stop_container() is False
    assert "docker stop" not in docker.commands


def test_stop_container_killed(up, manager, docker):
    """A server that had to be killed is said to be; it is no clean stop."""

    def kill(call):
        docker.containers[0]["State"].update(Status="exited", ExitCode=137)
        return ""

    docker.answers["docker stop"] = kill
    with pytest.raises(ContainerStartupError, match="was killed"):
        manager.stop_container()


def test_stop_container_first_start_for_ever(monkeypatch, up, manager, docker):
    """A first start that does not end within the grace period is stopped all the same."""
    monkeypatch.setattr(pg, "STOP_GRACE_S", 0)
    docker.containers[0]["State"]["Health"]["Status"] = "starting"
    assert manager.stop_container() is True
    assert "docker exec" not in docker.commands


def test_stop_container_first_start_seems_healthy(up, manager, docker, capsys):
    """A health check may be content with the temporary server; the mark of `.env` is not."""
    with (up / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    docker.answers["docker exec"] = [WAITING, "16.14|0.8.5|0.8.5\n"]
    assert manager.stop_container() is True
    assert docker.commands.count("docker exec") == 2
    assert docker.commands.index("docker stop") > docker.commands.index("docker exec")
    assert "it does not listen yet" in capsys.readouterr().err


def test_bring_up_first_start_seems_healthy(up, manager, docker):
    """A container that Compose would replace may still be in its first start: it is awaited."""
    with (up / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    docker.answers["docker exec"] = [WAITING, "16.14|0.8.5|0.8.5\n"]
    manager.compose.start_postgres_service()
    assert docker.commands.count("docker exec") == 2
    assert docker.commands[-1] == "docker compose up"


def test_stop_container_first_start(up, manager, docker, capsys):
    """A first start ignores the signal, so it is awaited before the stop."""
    docker.containers[0]["State"]["Health"]["Status"] = "starting"
    docker.answers["docker exec"] = [WAITING, "16.14|0.8.5|0.8.5\n"]
    assert manager.stop_container() is True
    assert docker.commands.count("docker exec") == 2
    assert docker.commands.index("docker stop") > docker.commands.index("docker exec")
    assert "it does not listen yet" in capsys.readouterr().err


def test_stop_container_slow_login(up, manager, docker):
    """A server that listens takes the signal, also where a login takes too long."""
    with (up / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    docker.answers["docker exec"] = (82, "psql: error: connection failed: timeout expired")
    assert manager.stop_container() is True
    assert docker.commands.count("docker exec") == 1


def test_restart_container_running(up, manager, docker):
    """Stop, then up, then the login."""
    manager.restart_container()
    commands = docker.commands
    assert commands.index("docker stop") < commands.index("docker compose up")
    assert commands[-1] == "docker exec"


def test_restart_container_refused(up, manager, docker, other):
    """What would bar the way to a start is found out before anything is stopped."""
    docker.containers.append(make_container("backup", other, "b", source=f"{up}/data/postgres"))
    with pytest.raises(ContainerConflictError, match="backup"):
        manager.restart_container()
    assert "docker stop" not in docker.commands


def test_restart_container_killed(up, manager, docker, capsys):
    """A server that had to be killed is warned of, and started again."""

    def kill(call):
        docker.containers[0]["State"].update(Status="exited", ExitCode=137)
        return ""

    docker.answers["docker stop"] = kill
    manager.restart_container()
    assert "warning: hive-postgres did not stop" in capsys.readouterr().err
    assert docker.commands[-1] == "docker exec"


def test_restart_postgres_service(up, manager, docker):
    """The compose manager restarts without waiting."""
    manager.compose.restart_postgres_service()
    assert docker.commands[-1] == "docker compose up"


def test_get_container_logs(up, manager, docker):
    """The last lines, as many as asked for."""
    assert manager.get_container_logs(tail=7) == "last words\n"
    assert docker.calls_of("docker logs")[0].argv[2:4] == ["--tail", "7"]


def test_check_service_health(up, workspace, manager, docker):
    """The engine's own health; without a container that is not set up."""
    assert manager.compose.check_service_health() is Health.HEALTHY
    docker.containers.clear()
    with pytest.raises(NotSetUpError, match="no container"):
        manager.compose.check_service_health()


# -- check ---------------------------------------------------------------------------------------


def outcomes(manager):
    """Return the outcome of each point, its first letter, and the exit code."""
    result = manager.validate_postgres_integration()
    letters = "".join(point.outcome.value[0] for point in result.points)
    return letters, int(result.exit_code), result


@pytest.mark.parametrize(
    ("change", "exec_answer", "letters", "exit_code"),
    [
        pytest.param({}, "16.14|0.8.5|0.8.5\n", "pppppp", 0, id="well"),
        pytest.param({}, "16.2|0.6.2|0.6.2\n", "ppppwp", 0, id="old pgvector"),
        pytest.param({}, "16.2||\n", "ppppfp", 1, id="no pgvector"),
        pytest.param({"health": "unhealthy"}, "16.14|0.8.5|0.8.5\n", "pfpppp", 5, id="unhealthy"),
        pytest.param({"Status": "exited"}, (1, "is not running"), "pfssss", 3, id="stopped"),
        pytest.param({"Status": "restarting"}, (1, "is restarting"), "pfssss", 5, id="restarting"),
        pytest.param({}, WAITING, "ppfsss", 5, id="no connections"),
        pytest.param(
            {}, (82, "password authentication failed"), "pppfss", 6, id="credentials refused"
        ),
        pytest.param({"port": 1}, "16.14|0.8.5|0.8.5\n", "pppppf", 5, id="other port"),
    ],
)
def test_validate_postgres_integration_points(
    workspace, manager, docker, change, exec_answer, letters, exit_code
):
    """Each point has its finding; those behind one that bars the way are skipped."""
    docker.containers.append(make_container(workspace=workspace, **change))
    docker.answers["docker exec"] = exec_answer
    assert outcomes(manager)[:2] == (letters, exit_code)


def test_validate_postgres_integration_no_daemon(workspace, manager, docker):
    """Without a daemon the first point fails with exit 4."""
    gone = (1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    docker.answers["docker inspect --type container"] = docker.answers["docker exec"] = gone
    assert outcomes(manager)[:2] == ("fsssss", 4)


def test_validate_postgres_integration_name_of_other(workspace, manager, docker, other):
    """A container of another workspace fails the second point."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    letters, code, result = outcomes(manager)
    assert (letters, code) == ("pfssss", 1)
    assert str(other) in result.points[1].finding


@pytest.mark.parametrize(
    ("refusal", "letter", "words"),
    [
        pytest.param(None, "p", "answers as PostgreSQL", id="no psycopg"),
        pytest.param("", "p", "and psycopg logs in", id="psycopg logs in"),
        pytest.param("FATAL: no", "f", "FATAL: no", id="psycopg does not"),
    ],
)
def test_validate_postgres_integration_psycopg(monkeypatch, up, manager, refusal, letter, words):
    """With psycopg importable it logs in through the published port."""
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url: refusal)
    letters, _, result = outcomes(manager)
    assert letters == "ppppp" + letter
    assert words in result.points[5].finding


# -- clusters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mounts", "shared"),
    [
        pytest.param([("/w/data/postgres", "/var/lib/postgresql/data")], True, id="the same"),
        pytest.param([("/w/data/postgres/pgdata", "/backup")], True, id="the cluster elsewhere"),
        pytest.param([("/w/data/./postgres/", "/x")], True, id="by another path"),
        pytest.param([("/w/data", "/var/lib/postgresql/data")], False, id="above, another cluster"),
        pytest.param([("/w/data", "/var/lib/postgresql")], False, id="above, other folder names"),
        pytest.param([("/w/data/postgres-2", "/x")], False, id="only alike"),
        pytest.param([("volume", "/var/lib/postgresql/data"), ("", "/tmp")], False, id="volume"),
    ],
)
def test_shares_cluster_directory(mounts, shared):
    """A container that has the data of a service mounted shares its cluster."""
    assert pg.shares_cluster(make_info(mounts=mounts), make_service()) is shared


@pytest.mark.parametrize(("source", "shared"), [("app_pg", True), ("other_pg", False)])
def test_shares_cluster_volume(source, shared):
    """Two servers can share a volume, too."""
    service = make_service(data_dir="", cluster="app_pg/pgdata")
    info = make_info(mounts=[(source, "/var/lib/postgresql/data")])
    assert pg.shares_cluster(info, service) is shared


# -- init ----------------------------------------------------------------------------------------


@pytest.fixture
def init(tmp_path, manager_of):
    """Return a function that sets a new directory up, not asking anybody."""

    def run(directory=None, interactive=False, **options):
        manager = manager_of(directory or tmp_path / "new")
        assert manager.setup_postgres_container(interactive, **options) is True
        return directory or tmp_path / "new"

    return run


def test_setup_new(tmp_path, init, docker, capsys):
    """From nothing: Docker, files, data, start, login with the extension created; in that order."""
    new = init()
    assert docker.commands == [
        "docker compose version",
        "docker ps",
        "docker image",
        "git -C",
        "docker compose up",
        "docker exec",
    ]
    assert "create extension if not exists vector" in docker.calls[-1].argv[-1]
    assert sorted(os.listdir(new)) == [".env", "data", "docker-compose.yml"]
    assert stat.S_IMODE((new / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((new / "data" / "postgres").stat().st_mode) == 0o700
    assert (new / "data" / "postgres").stat().st_uid == pg.get_postgres_uid_gid()[0]
    values = env_of(new)
    assert list(values) == list(pg.read_settings(values).env)
    assert values["POSTGRES_PASSWORD"] not in capsys.readouterr().err


def test_setup_twice(init, docker):
    """The second time nothing is written."""
    new = init()
    before = snapshot(new)
    init(new)
    assert snapshot(new) == before


def test_setup_running(init, up, network):
    """A container of ours that serves the port is no conflict."""
    network.taken.add(5532)
    make_cluster(up)
    before = snapshot(up / "data")
    init(up)
    assert env_of(up)["HIVE_POSTGRES_PORT"] == "5532"
    assert snapshot(up / "data") == before


def test_setup_image_of_shell(monkeypatch, init, docker):
    """The shell's HIVE_POSTGRES_IMAGE is the default of a new workspace, and is written down."""
    monkeypatch.setenv("HIVE_POSTGRES_IMAGE", "mirror/pgvector:16")
    assert env_of(init())["HIVE_POSTGRES_IMAGE"] == "mirror/pgvector:16"
    assert docker.calls_of("docker image inspect")[0].argv[-1] == "mirror/pgvector:16"


def test_setup_no_start(init, docker):
    """Without a start the files and the data directory are there, and no container."""
    new = init(start=False)
    assert (new / "data" / "postgres").is_dir()
    assert docker.containers == []
    assert "docker exec" not in docker.commands


def test_setup_default_taken(init, docker, network, other):
    """Where name and port are another workspace's, this one gets its own."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    new = init()
    values = env_of(new)
    assert values["HIVE_POSTGRES_CONTAINER"] == f"hive-postgres-{values['COMPOSE_PROJECT_NAME']}"
    assert values["HIVE_POSTGRES_PORT"] == "5533"
    assert pg.parse_database_url(values["HIVE_DATABASE_URL"]).port == 5533


def test_setup_port_listened(init, network, capsys):
    """A port that a process listens on is passed over, and that is said."""
    network.taken.update({5532, 5533})
    assert env_of(init())["HIVE_POSTGRES_PORT"] == "5534"
    assert "port 5532 is taken; it will be 5534" in capsys.readouterr().err


def test_setup_copied_workspace(init, docker, other, workspace):
    """A copied .env gets a project and a name of its own; its password is kept."""
    docker.containers.append(make_container(workspace=other))
    shutil.rmtree(workspace / "data")
    init(workspace)
    values = env_of(workspace)
    assert values["COMPOSE_PROJECT_NAME"] == pg.choose_project_name(str(workspace))
    assert values["HIVE_POSTGRES_CONTAINER"] != "hive-postgres"
    assert values["POSTGRES_PASSWORD"] == "s3cret"
    assert docker.containers[0]["Name"] == "/hive-postgres"


@pytest.mark.parametrize("same", [True, False])
def test_setup_moved_while_it_runs(init, docker, other, workspace, same):
    """A container that seems another's, but runs on this very directory, bars a second server."""
    original = make_container("original", other, "w-1a2b3c", port=1)
    docker.containers.append(original)
    status = os.stat(workspace / "data" / "postgres")
    seen = f"{status.st_dev}:{status.st_ino + (not same)}\n"
    docker.answers["docker exec original stat -c %d:%i /var/lib/postgresql/data"] = seen
    if same:
        with pytest.raises(ContainerConflictError, match=r"original \(running\) has the data mou"):
            init(workspace)
        assert "docker compose up" not in docker.commands
    else:
        init(workspace)


def test_setup_name_taken_since(init, docker, other, workspace):
    """A name that another workspace took while our container was gone is given up."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    init(workspace)
    assert env_of(workspace)["HIVE_POSTGRES_CONTAINER"] == "hive-postgres-w-1a2b3c"


def test_setup_plain_compose_was_here(init, docker, workspace):
    """A container that plain Compose made here keeps its project and is no conflict."""
    (workspace / ".env").write_text("POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n")
    docker.containers.append(make_container(workspace=workspace, project="w"))
    init(workspace)
    values = env_of(workspace)
    assert (values["COMPOSE_PROJECT_NAME"], values["HIVE_POSTGRES_PORT"]) == ("w", "5532")
    assert values["HIVE_DATABASE_URL"] == "postgresql+psycopg://ann:s3cret@localhost:5532/hive"


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [
        ({"port": 6000}, "HIVE_POSTGRES_PORT", "6000"),
        ({"database": "app"}, "POSTGRES_DB", "app"),
        ({"image": "pgvector/pgvector:pg16"}, "HIVE_POSTGRES_IMAGE", "pgvector/pgvector:pg16"),
        ({"bind": "0.0.0.0"}, "HIVE_POSTGRES_BIND", "0.0.0.0"),
    ],
)
def test_setup_wish(init, wanted, key, value):
    """What a person asks for is in .env, and the URL agrees."""
    new = init(wanted=pg.Wishes(**wanted), start=False)
    assert env_of(new)[key] == value
    assert pg.CredentialService(str(new)).read_settings().env[key] == value


ANSWER_OF_CLUSTER = '\t 1: owner = "bob"\t(typeid = 19)\n\t 2: databases = "app"\t(typeid = 25)\n'


@pytest.mark.parametrize(
    ("env", "password"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("POSTGRES_PASSWORD=s3cret\n", "s3cret", id="password alone"),
    ],
)
def test_setup_lost_env_asks_cluster(init, docker, workspace, env, password):
    """Data whose user nobody knows are asked for it, by a container of their own."""
    make_cluster(workspace)
    (workspace / ".env").write_text(env)
    docker.answers["docker run"] = ANSWER_OF_CLUSTER
    init(workspace)
    (call,) = docker.calls_of("docker run")
    assert call.argv[-1] == "/target/pgdata"
    assert call.stdin == pg.OWNER_AND_DATABASES_SQL + "\n"
    saved = env_of(workspace)
    assert (saved["POSTGRES_USER"], saved["POSTGRES_DB"]) == ("bob", "app")
    assert saved["POSTGRES_PASSWORD"] == (password or saved["POSTGRES_PASSWORD"])
    assert len(docker.calls_of("docker compose up")) == 1


TEMPLATE = (
    "HIVE_DATABASE_URL=postgresql+psycopg://your-user:your-secure-password-here@localhost:5532/hive\n"
    "HIVE_POSTGRES_CONTAINER=hive-postgres\nCOMPOSE_PROJECT_NAME=w-1a2b3c\n"
)


def test_setup_template_asks_container(init, up, docker):
    """A template's credentials are none: those of the data are what their container has."""
    (up / ".env").write_text(TEMPLATE)
    docker.containers[0]["Config"]["Env"] += [
        "POSTGRES_USER=bob", "POSTGRES_PASSWORD=b0b", "POSTGRES_DB=app",
    ]  # fmt: skip
    init(up)
    url = env_of(up)["HIVE_DATABASE_URL"]
    assert url == "postgresql+psycopg://bob:b0b@localhost:5532/app"


@pytest.mark.parametrize("owner", ["bob", "your-user"])
def test_setup_template_asks_cluster(init, docker, workspace, owner):
    """Without a container the data say whose they are; a template's user may be the real one."""
    (workspace / ".env").write_text(TEMPLATE)
    docker.answers["docker run"] = ANSWER_OF_CLUSTER.replace("bob", owner)
    init(workspace)
    saved = env_of(workspace)
    assert saved["POSTGRES_USER"] == owner
    is_template = saved["POSTGRES_PASSWORD"] == "your-secure-password-here"
    assert (is_template, saved["POSTGRES_DB"]) == (
        (True, "hive") if owner == "your-user" else (False, "app")
    )


@pytest.mark.parametrize("there", [True, False])
def test_setup_lost_env_asks_volume(init, docker, workspace, there):
    """A volume of the compose file may hold a cluster; it is asked as a directory is."""
    (workspace / ".env").unlink()
    volumes = {"volumes": [{"type": "volume", "source": "db", "target": "/var/lib/postgresql"}]}
    resolve_to(docker, "original", workspace, environment={"PGDATA": "/var/lib/postgresql/d"})
    config = json.loads(docker.answers["docker compose config"])
    config["services"]["postgres"].update(volumes)
    config["volumes"] = {"db": {"name": "w_db"}}
    docker.answers["docker compose config"] = json.dumps(config)
    docker.answers["docker volume ls"] = "w_db\n"
    docker.answers["docker run"] = [("" if there else (1, "")), ANSWER_OF_CLUSTER]
    init(workspace)
    look, *asked = docker.calls_of("docker run")
    assert look.argv[-2:] == ["-s", "/target/d/PG_VERSION"]
    mount = look.argv[look.argv.index("--mount") + 1]
    assert mount == 'type=volume,"source=w_db",target=/target'
    assert [call.argv[-1] for call in asked] == (["/target/d"] if there else [])
    assert (env_of(workspace)["POSTGRES_USER"] == "bob") is there


def test_setup_lost_env_cluster_silent(init, docker, workspace):
    """Where the cluster does not say whose it is, nothing is written."""
    make_cluster(workspace, "postmaster.opts")
    (workspace / ".env").unlink()
    docker.answers["docker run"] = (0, "FATAL:  no such thing\n")
    with pytest.raises(WorkspaceError, match="does not say whose it is: FATAL:  no such thing"):
        init(workspace)
    assert env_of(workspace) == {}
    assert "docker compose up" not in docker.commands


def test_setup_lost_env_container_knows(init, up, docker):
    """Where our container is still there, all of it comes from there."""
    make_cluster(up)
    (up / ".env").unlink()
    docker.containers[0]["Name"] = "/db-of-bob"
    docker.containers[0]["Config"]["Env"] += ["POSTGRES_USER=bob", "POSTGRES_PASSWORD=b0b"]
    init(up)
    saved = env_of(up)
    assert saved["HIVE_DATABASE_URL"] == "postgresql+psycopg://bob:b0b@localhost:5532/bob"
    assert saved["HIVE_POSTGRES_CONTAINER"] == "db-of-bob"
    assert saved["COMPOSE_PROJECT_NAME"] == "w-1a2b3c"
    assert "HIVE_POSTGRES_FIRST_START" not in saved


def test_setup_image_out_of_reach(init, docker, tmp_path):
    """An image that cannot be pulled is found out before anything is written."""
    docker.answers["docker image inspect"] = (1, "Error: No such image: agnohq/pgvector:16")
    docker.answers["docker pull"] = (1, "dial tcp 192.0.2.1:443: i/o timeout")
    with pytest.raises(DockerCommandError, match=r"cannot pull .*: the image registry"):
        init()
    assert os.listdir(tmp_path / "new") == []


def test_setup_data_closed(monkeypatch, init, workspace, docker):
    """Data that cannot be looked at may be a cluster."""
    (workspace / ".env").unlink()
    docker.answers["docker run"] = ANSWER_OF_CLUSTER

    def refuse(path):
        raise PermissionError(13, "denied", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", refuse)
        init(workspace)
    assert env_of(workspace)["POSTGRES_USER"] == "bob"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        pytest.param(
            "HIVE_DATABASE_URL=postgresql://ann:s3cret@db.example.org:5432/hive\n",
            "leads to db.example.org, not to this machine",
            id="URL of another machine",
        ),
        pytest.param(
            "HIVE_DATABASE_URL=postgresql://ann:s3cret@localhost:5532/hive\n"
            "POSTGRES_PASSWORD=new\n",
            "two values of POSTGRES_PASSWORD",
            id="another password for old data",
        ),
    ],
)
def test_setup_refused(init, docker, workspace, env, message):
    """What init cannot bring about is refused before anything is written."""
    make_cluster(workspace)
    (workspace / ".env").write_text(env)
    with pytest.raises(WorkspaceError, match=message):
        init(workspace)
    assert (workspace / ".env").read_text() == env
    assert "docker compose up" not in docker.commands


def test_setup_in_temporary_directory(monkeypatch, init, tmp_path):
    """The directory for temporary files can be a workspace, too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(pg, "COMPOSE_TIMEOUT_S", 0.1)
    assert init(tmp_path, timeout=0.1) == tmp_path


def test_setup_data_missing(init, up, capsys):
    """Where a database was and its data are missing, init makes a new one, and warns."""
    shutil.rmtree(up / "data")
    init(up)
    assert "holds no data: this is a new, empty database" in capsys.readouterr().err
    assert (up / "data" / "postgres").is_dir()


def test_setup_volumes_of_compose(init, docker, workspace):
    """Where plain Compose has put data into a volume, its project name is kept."""
    (workspace / ".env").unlink()
    shutil.rmtree(workspace / "data")
    docker.answers["docker volume ls"] = "w_data\n"
    init(workspace)
    assert env_of(workspace)["COMPOSE_PROJECT_NAME"] == "w"


def test_setup_bind_of_specific_address(init):
    """A specific address is where the URL leads; all addresses are reached at localhost."""
    new = init(wanted=pg.Wishes(bind="127.0.0.2"), start=False)
    assert "@127.0.0.2:5532/" in env_of(new)["HIVE_DATABASE_URL"]
    init(new, wanted=pg.Wishes(bind="0.0.0.0"), start=False)
    assert "@localhost:5532/" in env_of(new)["HIVE_DATABASE_URL"]


def test_setup_bind_that_the_engine_does_not_have(init, docker, up):
    """The engine is asked before anything is written, or replaced."""
    words = "listen tcp4 192.0.2.1:0: bind: cannot assign requested address."
    docker.answers["docker run --rm --publish"] = (125, f"docker: {words}")
    before = snapshot(up)
    with pytest.raises(DockerCommandError, match=r"cannot publish on 192\.0\.2\.1: this machine"):
        init(up, wanted=pg.Wishes(bind="192.0.2.1"))
    assert snapshot(up) == before
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


def test_setup_database_beside_another(init, up, capsys):
    """Where there is data, a new name makes a new database beside the one that `.env` names."""
    make_cluster(up)
    init(up, wanted=pg.Wishes(database="shop"))
    assert "database hive stays as it is, beside shop\n" in capsys.readouterr().err
    (up / ".env").write_text("POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n")
    init(up, wanted=pg.Wishes(database="other"))
    assert "stays as it is" not in capsys.readouterr().err


def test_setup_bad_url(init, docker, workspace):
    """A URL that readers take differently stops it before anything is written."""
    (workspace / ".env").write_text("HIVE_DATABASE_URL='postgresql://u:p#w@localhost:1/d'\n")
    before = snapshot(workspace)
    with pytest.raises(EnvFileError, match="its password"):
        init(workspace)
    assert snapshot(workspace) == before


def resolve_to(docker, name, workspace, **changes):
    """Have Compose resolve the file to a recorded service with some fields changed."""
    config = json.loads(recorded("compose_config_2.26.1.json")[name]["output"])
    service = config["services"]["postgres"]
    service["user"] = ":".join(map(str, pg.get_postgres_uid_gid()))
    service["environment"] = {"POSTGRES_USER": "bob", "POSTGRES_PASSWORD": "b0b"}
    service["ports"][0]["published"] = "6001"
    service["volumes"][0]["source"] = f"{workspace}/data/postgres"
    service.update(changes)
    docker.answers["docker compose config"] = json.dumps(config)


def test_setup_existing_compose_file(init, docker, workspace):
    """The original compose file is the foundation, and not edited; .env takes what it fixes."""
    (workspace / ".env").unlink()
    original = (DATA / "original-docker-compose.yml").read_text()
    (workspace / "docker-compose.yml").write_text(original)
    resolve_to(docker, "original", workspace, container_name="fixed")
    init(workspace)
    values = env_of(workspace)
    assert values["HIVE_DATABASE_URL"] == "postgresql+psycopg://bob:b0b@localhost:6001/bob"
    assert values["HIVE_POSTGRES_CONTAINER"] == "fixed"
    assert (workspace / "docker-compose.yml").read_text() == original


def test_setup_existing_name_of_other(init, docker, workspace, other):
    """A name that the compose file fixes and another workspace has is refused, nothing written."""
    docker.containers.append(make_container("fixed", other, "theirs", port=1))
    resolve_to(
        docker, "original", workspace, container_name="fixed", environment={"POSTGRES_DB": "hive"}
    )
    before = snapshot(workspace)
    with pytest.raises(ContainerConflictError, match="fixed has the"):
        init(workspace)
    assert snapshot(workspace) == before


def test_setup_template_url(init, docker, workspace):
    """A template's URL is no objection to the compose file's own credentials."""
    url = "postgresql+psycopg://user:pass@localhost:5532/hive"
    (workspace / ".env").write_text(f"HIVE_DATABASE_URL={url}\n")
    resolve_to(docker, "generated", workspace)
    init(workspace)
    assert env_of(workspace)["POSTGRES_USER"] == "bob"


@pytest.mark.parametrize(("answer", "done"), [(True, True), (False, False)], ids=["yes", "no"])
def test_setup_asks(monkeypatch, tmp_path, manager_of, docker, answer, done):
    """At a terminal a person is asked once, before anything happens."""
    manager, questions = manager_of(tmp_path), []
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    manager.console.confirm = lambda question: questions.append(question) or answer
    assert manager.setup_postgres_container() is done
    assert questions == [f"Set up PostgreSQL in Docker for {tmp_path}?"]
    assert bool(docker.calls) is done


def test_setup_without_terminal(monkeypatch, tmp_path, manager_of):
    """Without a terminal nobody is asked."""
    monkeypatch.setattr(pg, "is_interactive", lambda: False)
    assert manager_of(tmp_path).setup_postgres_container() is True


# -- mending -------------------------------------------------------------------------------------

REFUSED = (82, "FATAL:  password authentication failed")


def test_setup_refused_password(monkeypatch, init, docker):
    """With a yes the server is told the password in .env, as a verifier, and asked again."""
    monkeypatch.setattr(os, "urandom", lambda size: b"s" * size)
    docker.answers["docker exec"] = [REFUSED, "", "16.14|0.8.5|0.8.5\n"]
    new = init()
    url = pg.CredentialService(str(new)).read_settings().url
    call = docker.calls_of("docker exec")[1]
    words = "hive-postgres psql -XqAtw -v ON_ERROR_STOP=1 -d template1"
    assert " ".join(call.argv).endswith(words)
    assert "PGPASSWORD" in call.argv  # by its name alone
    assert call.stdin == pg.build_repair_sql(pg.Repair.PASSWORD, url, b"s" * 16)
    assert url.password not in call.stdin


def test_setup_refused_password_twice(init, docker):
    """Each way of mending is tried once."""
    docker.answers["docker exec"] = [REFUSED, "", REFUSED]
    with pytest.raises(CredentialsRefusedError):
        init()


@pytest.fixture
def other_password(up, docker):
    """Return a workspace whose container was made with another password than `.env` has now."""
    docker.containers[0]["Config"]["Env"] += ["POSTGRES_USER=ann", "POSTGRES_PASSWORD=the-old-one"]
    return up


def test_setup_other_password_is_refused_first(monkeypatch, init, other_password, docker):
    """Without a yes the container stays, the last to know the password, and so does `.env`."""
    docker.answers["docker exec"] = REFUSED
    monkeypatch.setattr(pg, "is_interactive", lambda: False)
    before = snapshot(other_password)
    with pytest.raises(CredentialsRefusedError) as caught:
        init(other_password, interactive=True)
    assert "hive-pg init --yes" in caught.value.hint
    assert "docker compose up" not in docker.commands
    assert snapshot(other_password) == before


def test_setup_other_password_is_accepted_first(init, other_password, docker):
    """With a yes the server is told the new one before its container is replaced."""
    docker.answers["docker exec"] = [REFUSED, "", "16.14|0.8.5|0.8.5\n"]
    init(other_password)
    commands = docker.commands
    assert commands.index("docker exec") < commands.index("docker compose up")
    assert docker.calls_of("docker exec")[1].stdin.startswith('alter role "ann" password ')


@pytest.mark.parametrize("state", ["running", "exited"])
def test_setup_other_password_that_is_right(init, other_password, docker, state):
    """Where the server knows the new one already, or cannot be asked, the container is made."""
    docker.containers[0]["State"]["Status"] = state
    init(other_password)
    assert all("alter role" not in (call.stdin or "") for call in docker.calls)
    assert "docker compose up" in docker.commands


@pytest.mark.parametrize("answer", [None, "no"], ids=["no terminal", "no"])
def test_setup_refused_password_unasked(monkeypatch, init, workspace, docker, answer):
    """Without a yes the server's password stays; what would change it is said."""
    docker.answers["docker exec"] = REFUSED
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(pg.Console, "confirm", lambda _, question: "ALTER ROLE" not in question)
    with pytest.raises(CredentialsRefusedError) as caught:
        init(workspace, interactive=True)
    assert "hive-pg init --yes" in caught.value.hint
    assert len(docker.calls_of("docker exec")) == 1


def test_setup_refused_password_of_container(init, up, docker):
    """What a container of a lost .env was made with may be outdated: a new one is set."""
    make_cluster(up)
    (up / ".env").unlink()
    docker.containers[0]["Config"]["Env"] += ["POSTGRES_USER=bob", "POSTGRES_PASSWORD=b0b"]
    docker.answers["docker exec"] = [REFUSED, "", "16.14|0.8.5|0.8.5\n"]
    init(up)
    saved = env_of(up)
    assert saved["POSTGRES_USER"] == "bob"
    assert saved["POSTGRES_PASSWORD"] != "b0b"
    assert docker.calls_of("docker compose up")[-1].env["POSTGRES_PASSWORD"] != "b0b"


def test_setup_mends_in_turn(init, workspace, docker):
    """A cluster can lack the line in pg_hba.conf and the database: one after the other."""
    make_cluster(workspace)
    docker.answers["docker exec"] = [
        (82, "FATAL:  no pg_hba.conf entry for host"),
        "",
        (82, 'FATAL:  database "hive" does not exist'),
        "",
        "16.14|0.8.5|0.8.5\n",
    ]
    init(workspace)
    mending = [call.stdin for call in docker.calls_of("docker exec")[1::2]]
    assert "host all all all scram-sha-256" in mending[0]
    assert mending[1] == 'create database "hive";'


@pytest.mark.parametrize(
    "words",
    ["no pg_hba.conf entry for host", 'database "hive" does not exist'],
    ids=["no line", "no database"],
)
def test_setup_first_start_interrupted(init, workspace, docker, words):
    """A cluster that nobody ever logged in to is moved aside, and made again."""
    make_cluster(workspace)
    with (workspace / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    docker.answers["docker exec"] = [(82, f"FATAL:  {words}"), "16.14|0.8.5|0.8.5\n"]
    docker.answers["docker run"] = ["1\n4\n5\n", ""]
    init(workspace)
    look, move = docker.calls_of("docker run")
    assert look.argv[-1] == "/target/pgdata/base"
    assert move.argv[-3:-1] == ["--no-target-directory", "/target/pgdata"]
    assert move.argv[-1].startswith("/target/pgdata.incomplete-")
    assert len(docker.calls_of("docker compose up")) == 2
    assert "HIVE_POSTGRES_FIRST_START" not in env_of(workspace)


def test_setup_first_start_not_watched(init, workspace, docker):
    """A cluster with a database in it has come to life while nobody looked: only added to."""
    make_cluster(workspace)
    with (workspace / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    missing = (82, 'FATAL:  database "hive" does not exist')
    docker.answers["docker exec"] = [missing, "", "16.14|0.8.5|0.8.5\n"]
    docker.answers["docker run"] = "1\n4\n5\n16384\n"
    init(workspace)
    assert docker.calls_of("docker exec")[1].stdin == 'create database "hive";'
    assert len(docker.calls_of("docker run")) == 1


def test_setup_first_start_cannot_look(init, workspace, docker):
    """A container that cannot say which databases there are has not said that there are none."""
    with (workspace / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    docker.answers["docker exec"] = (82, 'FATAL:  database "hive" does not exist')
    docker.answers["docker run"] = (125, "docker: Error response from daemon: boom")
    with pytest.raises(DockerCommandError, match=r"cannot look into .*/pgdata: .*boom"):
        init(workspace)
    assert len(docker.calls_of("docker run")) == 1
    assert os.listdir(workspace / "data" / "postgres") == ["pgdata"]


def test_setup_data_directory_refused(init, workspace):
    """Where the data directory cannot be made, no first start is to come."""
    shutil.rmtree(workspace / "data" / "postgres")
    (workspace / "data" / "postgres").symlink_to("nowhere/further")
    before = (workspace / ".env").read_text()
    with pytest.raises(WorkspaceError, match=r"cannot create .*/data/postgres"):
        init(workspace)
    assert (workspace / ".env").read_text() == before


@AS_ROOT
def test_start_container_other_owner_and_version(monkeypatch, workspace, manager, docker):
    """Data that only its owner can read says its version once it is the server's own."""
    data = workspace / "data" / "postgres"
    os.chown(data, 4321, 4321)
    is_ours = lambda: data.stat().st_uid != 4321  # noqa: E731
    monkeypatch.setattr(pg, "read_cluster_version", lambda _: "15" if is_ours() else "")
    docker.answers["docker run"] = lambda _: os.chown(data, *pg.get_postgres_uid_gid()) or ""
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 15, .* is 16"):
        manager.start_container()
    assert "docker compose up" not in docker.commands


def test_start_notes_first_login(workspace, manager):
    """The mark of a first start goes with the first login, whoever made it."""
    before = (workspace / ".env").read_text()
    with (workspace / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_FIRST_START=pending\n")
    manager.start_container()
    assert (workspace / ".env").read_text() == before


def test_setup_wrong_owner_deep_down(init, workspace, docker):
    """What only the server notices is mended, too, once it has been seen."""
    make_cluster(workspace)
    restarting = {"Status": "restarting", "ExitCode": 1}
    up = docker.up

    def fail_once(call):
        up(call)
        docker.answers["docker compose up"] = up
        docker.containers[-1]["State"].update(restarting)
        return ""

    docker.answers["docker compose up"] = fail_once
    docker.answers["docker exec"] = [WAITING, "16.14|0.8.5|0.8.5\n"]
    docker.answers["docker logs"] = 'FATAL:  data directory "/d" has wrong ownership\n'
    docker.answers["docker run"] = ""
    init(workspace)
    assert "chown" in docker.calls_of("docker run")[0].argv[-2]


# -- git -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "before", "after"),
    [
        pytest.param((1, ""), None, "/.env\n/.env.*.tmp\n/data/\n", id="no file"),
        pytest.param((1, ""), "x", "x\n/.env\n/.env.*.tmp\n/data/\n", id="no final newline"),
        pytest.param(".env\ndata/\n", "a\n", "a\n/.env.*.tmp\n", id="some"),
        pytest.param(".env\n.env.hive-pg.tmp\ndata/\n", "a\n", "a\n", id="all"),
        pytest.param((128, "fatal: not a git repository"), None, None, id="no work tree"),
        pytest.param(FileNotFoundError(2, "No such file", "git"), None, None, id="no git"),
    ],
)
def test_ignore_in_git(workspace, init, docker, ignored, before, after):
    """In a work tree .env, its temporary file and the data are ignored; lines are only added."""
    path = workspace / ".gitignore"
    if before is not None:
        path.write_text(before)
        path.chmod(0o664)
    at = f"git -C {workspace}"
    docker.answers.update({f"{at} check-ignore": ignored, f"{at} ls-files": ""})
    init(workspace)
    assert (path.read_text() if path.exists() else None) == after
    if before is not None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_ignore_in_git_refused(workspace, init, docker, capsys):
    """If git cannot say, that is warned of: the password could be committed."""
    docker.answers["git"] = (128, "fatal: detected dubious ownership in repository at '/w'\n")
    init(workspace)
    assert "warning: .env may not be ignored: fatal: detected dubious" in capsys.readouterr().err


def test_ignore_in_git_committed(workspace, init, docker, capsys):
    """An .env that git has already is warned of."""
    at = f"git -C {workspace}"
    docker.answers.update({f"{at} check-ignore": (1, ""), f"{at} ls-files": ".env\n"})
    init(workspace)
    assert (
        "warning: git tracks .env, and with it the password: git rm --cached .env"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("question", ["check-ignore", "ls-files"])
def test_ignore_in_git_hangs(workspace, init, docker, capsys, question):
    """A git that does not answer is warned of, and keeps nobody from the database."""
    at = f"git -C {workspace}"
    hangs = DockerNotAvailableError("`git -C` did not answer within 20 s")
    docker.answers.update({f"{at} check-ignore": (1, ""), f"{at} ls-files": ""})
    docker.answers[f"{at} {question}"] = hangs
    init(workspace)
    said = capsys.readouterr().err
    assert "warning: .env may not be ignored: `git -C` did not answer" in said
    assert "docker compose up" in docker.commands


@pytest.mark.processes
def test_ignore_in_git_sleeps(monkeypatch, workspace, init, docker, tmp_path, capsys):
    """A git that sleeps is given up when its time is over."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 77\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(pg, "QUESTION_TIMEOUT_S", 0.3)
    real, faked = pg.Runner(pg.Console()), docker.start
    monkeypatch.setattr(
        docker, "start",
        lambda argv, **how: (real.start if argv[0] == "git" else faked)(argv, **how),
    )  # fmt: skip
    began = time.monotonic()
    init(workspace)
    assert time.monotonic() - began < 5
    assert "warning: .env may not be ignored: `git -C` did not answer" in capsys.readouterr().err
