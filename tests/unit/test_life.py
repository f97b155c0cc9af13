"""Start, stop, restart and wait: which step follows which, and what is refused."""

import json
import os
import re
import shutil

import pytest
from fakes import (
    HERE,
    INFO,
    REFUSED,
    WAITING,
    WELL,
    Became,
    make_cluster,
    make_container,
    make_image,
    make_info,
    make_service,
)

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    ContainerStartupError,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    NotSetUpError,
    WorkspaceError,
)

pytestmark = pytest.mark.usefixtures("quick")

AS_ROOT = pytest.mark.skipif(not pg.is_root(), reason="only root can make files of others")
NO_EXEC = "OCI runtime exec failed: exec failed: error executing setns process: exit status 1"
GONE = (1, "Error response from daemon: No such container: hive-postgres")


@pytest.fixture
def remember(workspace, docker):
    """Return a function that writes the workspace's state file."""

    def write(**changes):
        place = pg.Workspace(str(workspace), engine=pg.Engine(docker))
        place.remember(**changes)
        return place.state

    return write


def read_state(workspace):
    """Return what the state file has."""
    return pg.Workspace(str(workspace)).state


def set_state(docker, **changes):
    """Change the state of the workspace's container."""
    docker.containers[0]["State"].update(changes)


# -- start ---------------------------------------------------------------------------------------


def test_start_running(up, manager, docker, network):
    """Up already: one inspect, one exec, the published port, and it says so."""
    assert manager.start_container() is False
    assert docker.commands == ["docker inspect", "docker exec"]
    assert network.asked == [5532]


@pytest.mark.parametrize("alone", [True, False], ids=["in it alone", "in a directory"])
def test_start_replaces_no_container_with_the_data(up, manager, docker, capsys, alone):
    """Compose starts it as it is, whatever has changed in the compose file, and that is said."""
    usual = docker.config

    def config(call):
        found = json.loads(usual(call))
        del found["services"]["postgres"]["volumes"]
        return json.dumps(found)

    docker.containers[0]["State"]["Status"] = "exited"
    if alone:
        docker.containers[0]["Mounts"] = []
        docker.answers["docker compose config"] = config
    assert manager.start_container() is True
    (up,) = docker.calls_of("docker compose up")
    assert ("--no-recreate" in up.argv) is alone
    said = "the container stays as it was made: it alone has the data\n"
    assert (said in capsys.readouterr().err) is alone


def test_start_stopped(up, manager, docker):
    """What stands in the way is found out first, then the container is started, and logged in."""
    set_state(docker, Status="exited")
    assert manager.start_container() is True
    commands = docker.commands
    order = ["docker ps", "docker compose config", "docker image", "docker compose up"]
    assert sorted(order, key=commands.index) == order
    assert commands[-1] == "docker exec"


@pytest.mark.parametrize("gone", [False, True], ids=["stopped", "removed"])
def test_start_beside_a_stop(up, manager, docker, gone):
    """One that another command was stopping already is started, once that one is done."""
    lock = pg.Lock(f"{up}/.hive-pg.json.lock", pg.Console(quiet=True), 1)

    def end(call):
        lock.__exit__()
        docker.answers["docker exec"] = WELL
        if gone:
            docker.containers.clear()
        else:
            set_state(docker, Status="exited", ExitCode=0)
        return WAITING

    docker.answers["docker exec"] = end
    with lock:
        assert manager.start_container() is True
    assert docker.calls_of("docker compose up")


def test_start_parses_env_once(monkeypatch, up, manager):
    """One `start` of a running database reads `.env` once into values."""
    parsed, parse = [], pg.parse_env
    monkeypatch.setattr(pg, "parse_env", lambda *given: parsed.append(1) or parse(*given))
    manager.start_container()
    assert len(parsed) == 1


def test_start_secrets(up, manager, docker):
    """The password is in no argv; the login has it from stdin, Compose from its environment."""
    set_state(docker, Status="exited")
    manager.start_container()
    assert all("s3cret" not in " ".join(call.argv) for call in docker.calls)
    assert docker.calls[-1].stdin == "s3cret\n"
    assert docker.calls_of("docker compose up")[0].env["POSTGRES_PASSWORD"] == "s3cret"


def test_look_foreign_container(workspace, manager, docker, other):
    """The password is not handed to a container that is another workspace's."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    with pytest.raises(ContainerConflictError, match=str(other)):
        manager.start_container()
    assert all(call.stdin is None for call in docker.calls_of("docker exec"))


@pytest.mark.parametrize("state", ["exited", "paused"])
def test_look_not_running(up, manager, docker, network, state):
    """Of a container that does not run nothing is asked that only a server knows."""
    set_state(docker, Status=state)
    assert manager.check_container_status().readiness is pg.Readiness.UNKNOWN
    assert all(call.stdin is None for call in docker.calls_of("docker exec"))
    assert network.asked == []


@pytest.mark.parametrize(
    ("ports", "objection"),
    [
        pytest.param([("127.0.0.1", 5532)], "", id="the URL's"),
        pytest.param([("127.0.0.1", 1), ("0.0.0.0", 5532)], "", id="one of two"),
        pytest.param([("127.0.0.1", 1)], "the container is published on port 1", id="another"),
        pytest.param([], "the container is published on no fixed port", id="none"),
    ],
)
def test_look_published(monkeypatch, up, manager, network, ports, objection):
    """A container on another port than the URL's is found out without asking that port."""
    container = make_info(ports=ports, labels={"com.docker.compose.project.working_dir": str(up)})
    container = container.replace(labels={**container.labels, pg.PROJECT_LABEL: "w-1a2b3c"})
    monkeypatch.setattr(pg, "parse_inspect", lambda result, name: container)
    assert pg.look(manager).objection == objection
    assert bool(network.asked) is not bool(objection)


EVERY = ["0.0.0.0", "::"]


@pytest.mark.parametrize(
    ("mode", "given", "binds"),
    [
        pytest.param("host", {}, EVERY, id="the machine's network"),
        pytest.param("container:1a2b", {}, EVERY, id="another container's"),
        pytest.param("default", {"5432/tcp": [{"HostIp": "", "HostPort": "5532"}]}, None, id="any"),
        pytest.param("default", {"5432/tcp": None}, None, id="nothing is published"),
        pytest.param("w_inside", {}, None, id="an internal network"),
    ],
)
def test_start_where_no_fixed_port_is_published(
    monkeypatch, up, manager, docker, mode, given, binds
):
    """What answers at the URL is the database's only if its container can be reached there."""
    container, asked = docker.containers[0], []
    container["HostConfig"] = {"NetworkMode": mode, "PortBindings": {}}
    if mode == "w_inside":
        container["HostConfig"] = {**make_container()["HostConfig"], "NetworkMode": mode}
    container["NetworkSettings"] = {"Ports": given}
    monkeypatch.setattr(pg, "ask_published_port", lambda url, b: asked.append(b) or ("", ""))
    if binds is None:
        with pytest.raises(
            DatabaseConnectionError, match="is published on no fixed port"
        ) as caught:
            manager.start_container()
        assert "hive-pg restart " in caught.value.hint
        assert asked == []
    else:
        assert manager.start_container() is False
        assert asked == [binds]


@pytest.mark.parametrize(
    ("engine", "bind", "binds"),
    [
        pytest.param("ID", "0.0.0.0", ["0.0.0.0"], id="Docker"),
        pytest.param("Podman", "127.0.0.1", ["127.0.0.1"], id="Podman"),
        pytest.param("Podman", "0.0.0.0", EVERY, id="Podman, on all addresses"),
    ],
)
def test_look_published_by_podman(monkeypatch, up, manager, docker, remember, engine, bind, binds):
    """Without root its proxy listens on ::1, too, where 0.0.0.0 is all that it names."""
    remember(engine=[engine, *HERE[1:]])
    asked = []
    docker.containers[0]["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] = bind
    monkeypatch.setattr(pg, "ask_published_port", lambda url, b: asked.append(b) or ("", ""))
    manager.start_container()
    assert asked == [binds]


def test_look_asks_the_port_of_a_server_that_is_ready(workspace, manager, docker, network):
    """While it starts, a port that does not answer yet says nothing."""
    docker.answers["docker exec"] = [WAITING, (71, ""), WELL]
    assert manager.start_container() is True
    assert network.asked == [5532]


def test_start_no_compose_file(workspace, manager):
    """Without a compose file `init` is the next step."""
    (workspace / "docker-compose.yml").unlink()
    with pytest.raises(NotSetUpError, match=r"there is no docker-compose\.yml"):
        manager.start_container()


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        pytest.param("data/postgres", "data/postgres is missing", id="missing"),
        pytest.param("data/postgres/pgdata", "data/postgres/pgdata holds no data", id="empty"),
    ],
)
def test_start_data_gone(workspace, manager, docker, directory, message):
    """Data that are not where they were are an error: an empty database is no replacement."""
    shutil.rmtree(workspace / directory)
    with pytest.raises(WorkspaceError, match=message) as caught:
        manager.start_container()
    assert "put the data back" in caught.value.hint
    assert "docker compose up" not in docker.commands


def test_start_never_verified_needs_no_data(workspace, manager, remember):
    """After `init --no-start` the first start is allowed to make the cluster, and is verified."""
    remember(verified=False)
    shutil.rmtree(workspace / "data/postgres/pgdata")
    assert manager.start_container() is True
    assert read_state(workspace).verified


@pytest.mark.parametrize(
    ("published", "name"),
    [pytest.param("5599", "hive-postgres", id="port"), pytest.param("5532", "other", id="name")],
)
def test_start_compose_file_differs(workspace, manager, docker, published, name):
    """What a compose file fixes otherwise than `.env` says is an error, not a guess."""

    def config(call):
        resolved = json.loads(docker.config(call))
        service = resolved["services"]["postgres"]
        service["ports"][0]["published"], service["container_name"] = published, name
        return json.dumps(resolved)

    docker.answers["docker compose config"] = config
    with pytest.raises(WorkspaceError, match=f"{name}.*{published}") as caught:
        manager.start_container()
    assert "hive-pg init " in caught.value.hint
    assert "docker compose up" not in docker.commands


@pytest.mark.parametrize(
    ("name", "project", "source", "message"),
    [
        pytest.param("hive-postgres", "", "", "somebody else", id="name"),
        pytest.param("original", "w-1a2b3c", "", "Compose project w-1a2b3c", id="project"),
        pytest.param("backup", "theirs", "data/postgres", r"\(running\) has .* mounted", id="data"),
    ],
)
@pytest.mark.parametrize("stops", [False, True], ids=["start", "restart"])
def test_start_conflict(workspace, manager, docker, other, stops, name, project, source, message):
    """Another's name, project or data are refused before anything is stopped or started."""
    docker.containers = [make_container(workspace=workspace)] if name != "hive-postgres" else []
    source = f"{workspace}/{source}" if source else "/elsewhere"
    place = other if project else ""
    docker.containers.append(make_container(name, place, project, port=1, source=source))
    with pytest.raises(ContainerConflictError, match=message):
        pg.start_service(manager, stops=stops)
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


@pytest.mark.parametrize("change", ["project", "service"])
def test_restart_of_what_has_other_names_now(hive, up, docker, capsys, change):
    """Compose would not take the container for its own: it is refused before that is stopped."""
    if change == "project":
        env = up / ".env"
        env.write_text(env.read_text().replace("w-1a2b3c", "mine"))
    else:
        usual = docker.config

        def config(call):
            found = json.loads(usual(call))
            found["services"]["db"] = found["services"].pop("postgres")
            return json.dumps(found)

        docker.answers["docker compose config"] = config
    assert hive("restart") == pg.ExitCode.FAILED
    err = capsys.readouterr().err
    now = "postgres in project mine" if change == "project" else "db in project w-1a2b3c"
    was = "is of service postgres in project w-1a2b3c"
    assert (
        f"error: container hive-postgres {was}, the compose file and .env say service {now}" in err
    )
    assert "hint: put that back; or hive-pg destroy, then hive-pg start\n" in err
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


@pytest.mark.parametrize("method", ["start_container", "restart_container"])
def test_start_paused(up, manager, docker, method):
    """A paused container is neither started nor replaced, but how to go on is said: exit 3."""
    set_state(docker, Status="paused")
    with pytest.raises(NotSetUpError, match="is paused") as caught:
        getattr(manager, method)()
    assert caught.value.hint == "docker unpause hive-postgres"
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


def test_start_leftover(workspace, manager, docker):
    """What an interrupted Compose left of a new container is removed, and is no conflict."""
    name = "0123456789ab_hive-postgres"
    docker.containers.append(make_container(name, workspace, Status="created"))
    docker.answers["docker rm"] = ""
    manager.start_container()
    assert docker.calls_of("docker rm")[0].argv == ["docker", "rm", name]


def test_start_pulls(workspace, manager, docker, capfd):
    """An image that is not there is pulled; one that is there is not."""
    docker.answers["docker image inspect"] = [(1, "No such image: x"), make_image("16")]
    docker.answers["docker pull"] = ""
    docker.console = manager.console
    manager.start_container()
    manager.restart_container()
    assert len(docker.calls_of("docker pull")) == 1
    assert "pulling agnohq/pgvector:16" in capfd.readouterr().err


def test_start_other_version(workspace, manager, docker):
    """An image of another major than the data is refused before anything changes."""
    docker.answers["docker image inspect"] = make_image("17")
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 16, .* is 17") as caught:
        manager.start_container()
    assert "docker compose up" not in docker.commands
    # Where the compose file fixes it, an upgrade would be refused like this.
    old = "with an image of PostgreSQL 16 in .env or the compose file: "
    way = f"hive-pg upgrade {workspace} --image agnohq/pgvector:16"
    assert caught.value.hint == old + way
    docker.answers["docker image inspect"] = make_image("15")
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 16, .* is 15") as caught:
        manager.start_container()
    assert caught.value.hint == f"{old}hive-pg start {workspace}"


@pytest.mark.parametrize("command", ["start_container", "restart_container"])
def test_start_other_version_of_data_that_is_closed(monkeypatch, up, manager, docker, command):
    """Data that its owner alone can read says its version in a container; the old one serves on."""
    docker.answers["docker image inspect"] = make_image("17")
    docker.answers["docker run"] = "16\n"
    monkeypatch.setattr(pg, "read_cluster_version", lambda _: "")
    if command == "start_container":
        set_state(docker, Status="exited")
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 16, .* is 17"):
        getattr(manager, command)()
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


@pytest.mark.parametrize("known", [True, False], ids=["of the version", "empty"])
def test_start_asks_no_container_for_the_version(monkeypatch, up, manager, docker, remember, known):
    """Where the last login has had the image's, or there is no data, there is nothing to ask."""
    remember(major="16" if known else "", verified=known)
    set_state(docker, Status="exited")
    monkeypatch.setattr(pg, "read_cluster_version", lambda _: "")
    if not known:
        shutil.rmtree(up / "data" / "postgres" / "pgdata")
    manager.start_container()
    assert "docker run" not in docker.commands


def test_start_restarting(up, manager, docker):
    """A container in a restart loop is stopped first: Compose would leave it to its loop."""
    set_state(docker, Status="restarting")
    manager.start_container()
    assert docker.commands.index("docker stop") < docker.commands.index("docker compose up")


@AS_ROOT
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param("", "", id="given"),
        pytest.param((1, "boom"), r"cannot change the owner of .*/data/postgres: boom", id="not"),
    ],
)
def test_start_wrong_owner(workspace, manager, docker, capsys, answer, message):
    """Data of another user are given to the server's by a container; else nothing is started."""
    docker.answers["docker run"] = answer
    os.chown(workspace / "data" / "postgres", 4321, 4321)
    if message:
        with pytest.raises(DockerCommandError, match=message):
            manager.start_container()
        assert "docker compose up" not in docker.commands
    else:
        manager.start_container()
    assert docker.calls_of("docker run")[0].argv[-2:] == ["1000:1000", "pgdata"]
    assert "giving" in capsys.readouterr().err


@AS_ROOT
def test_start_wrong_owner_and_version(monkeypatch, workspace, manager, docker, remember):
    """Data that only its owner can read says its version once it is the server's own."""
    remember(major="16")
    data = workspace / "data" / "postgres"
    os.chown(data, 4321, 4321)
    is_ours = lambda: data.stat().st_uid != 4321  # noqa: E731
    monkeypatch.setattr(pg, "read_cluster_version", lambda _: "15" if is_ours() else "")
    docker.answers["docker run"] = lambda _: os.chown(data, *pg.get_postgres_uid_gid()) or ""
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 15, .* is 16"):
        manager.start_container()
    assert "docker compose up" not in docker.commands


# -- waiting -------------------------------------------------------------------------------------


def test_verify_waits(workspace, manager, docker):
    """While the server starts, it is asked again, and the container with it."""
    docker.answers["docker exec"] = [WAITING, (71, ""), WELL]
    assert manager.start_container() is True
    assert len(docker.calls_of("docker exec")) == 3


@pytest.mark.parametrize(
    ("state", "message"),
    [
        pytest.param(
            {"Status": "exited", "ExitCode": 1}, r"is stopped \(exit code 1\)", id="exited"
        ),
        pytest.param({"Status": "restarting", "ExitCode": 1}, "keeps restarting", id="restarting"),
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
    with pytest.raises(ContainerStartupError, match=f"{message}.* belongs to another") as caught:
        manager.start_container(timeout=600)
    assert "Permission denied" in caught.value.detail
    assert docker.calls_of("docker logs")[0].argv[4] == "--since"


def test_verify_container_removed(workspace, manager, docker):
    """A container that is removed while waited for is said to be missing, as unhealthy."""
    docker.answers["docker compose up"] = ""
    docker.answers["docker exec"] = GONE
    with pytest.raises(ContainerStartupError, match="is missing") as caught:
        manager.start_container()
    assert caught.value.hint == f"hive-pg start {manager.workspace}"


def test_verify_earlier_restarts(up, manager, docker):
    """Restarts of long ago are no failure of a server that is only asked again."""
    docker.containers[0]["RestartCount"] = 3
    docker.answers["docker exec"] = [(71, ""), WELL]
    assert manager.start_container() is False


@pytest.mark.parametrize("state", ["running", "restarting"])
@pytest.mark.parametrize(("more", "steady"), [(1, True), (2, False)], ids=["cured", "a loop"])
def test_verify_restarts_once_more(up, manager, docker, more, steady, state):
    """A server that was found running may crash once more, and be cured; twice is a loop."""
    container = docker.containers[0]
    container["RestartCount"] = 3

    def crash(call):
        container["RestartCount"] = 3 + more
        set_state(docker, Status=state)
        docker.answers["docker exec"] = recover if steady else answer
        return answer

    def recover(call):
        if container["State"]["Status"] == "running":
            return WELL
        set_state(docker, Status="running")
        return answer

    answer = WAITING if state == "running" else (1, "Container hive-postgres is restarting")
    docker.answers["docker exec"] = crash
    if steady:
        assert manager.start_container() is False
    else:
        with pytest.raises(ContainerStartupError, match=r"restarted 5 times|keeps restarting"):
            manager.start_container()


def test_start_of_one_that_ends(up, manager, docker):
    """Who stopped it has the last word: that is said, and what starts it again."""

    def end(call):
        set_state(docker, Status="exited", ExitCode=0)
        return (1, "Container hive-postgres is not running")

    docker.answers["docker exec"] = end
    with pytest.raises(ContainerStartupError, match=r"is stopped \(exit code 0\)") as caught:
        manager.start_container()
    assert caught.value.hint == f"hive-pg start {manager.workspace}"
    assert docker.calls_of("docker compose up") == []


def test_start_of_a_crash_loop_between_two_restarts(up, manager, docker):
    """It ran when it was looked at: that its data is another user's is mended all the same."""

    def end(call):
        set_state(docker, Status="exited", ExitCode=1)
        return (1, "Container hive-postgres is not running")

    def begin(call):
        set_state(docker, Status="running")
        docker.answers["docker exec"] = WELL
        return ""

    docker.answers["docker exec"], docker.answers["docker compose up"] = end, begin
    docker.answers["docker logs"] = "mkdir: cannot create directory '/d': Permission denied\n"
    manager.start_container()
    assert docker.calls_of("docker compose up") != []


@pytest.mark.parametrize("answer", [WELL, (82, 'FATAL:  database "hive" does not exist')])
@pytest.mark.parametrize("begun", [True, False])
def test_start_after_an_interrupted_first_start(up, manager, docker, remember, answer, begun):
    """Where hive-pg began it, and nobody saw its end, that is the cause; `init` has the means."""
    remember(verified=False, begun=begun)
    docker.answers["docker exec"] = answer
    if answer == WELL and not begun:
        manager.start_container()
        return
    for command in (manager.start_container, manager.wait_until_ready):
        with pytest.raises(pg.PostgreSQLIntegrationError) as caught:
            command()
        assert ("the first start was interrupted" in str(caught.value)) is begun
        assert "init" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "error", "message", "exit_code"),
    [
        pytest.param(WAITING, DatabaseConnectionError, "not ready in time", 5, id="time is up"),
        pytest.param((126, NO_EXEC), DatabaseConnectionError,
                     "not ready in time: cannot ask", 5, id="an engine that runs nothing"),
        pytest.param((127, "no psql: not found"), DockerCommandError, "not found", 1, id="no psql"),
        pytest.param(REFUSED, CredentialsRefusedError, "refuses", 6, id="refused"),
    ],
)  # fmt: skip
def test_verify_gives_up(up, manager, docker, answer, error, message, exit_code):
    """What bars the way is an error with its own exit code, without a word of the password."""
    docker.answers["docker exec"] = answer
    with pytest.raises(error, match=message) as caught:
        manager.start_container(timeout=1e-9)
    assert caught.value.exit_code == exit_code
    if answer == WAITING:
        assert re.match("see hive-pg logs.*; hive-pg wait.* --timeout S", caught.value.hint)
    assert "s3cret" not in f"{caught.value} {caught.value.hint} {caught.value.detail}"


@pytest.mark.parametrize(
    ("port", "objection"),
    [pytest.param(5532, "no PostgreSQL", id="silent"), pytest.param(6000, "", id="other port")],
)
def test_verify_published_port(up, manager, docker, network, port, objection):
    """A port that does not lead to this database is exit 5, and `restart` is the hint."""
    docker.containers[0] = make_container(workspace=up, port=port)
    network.objection = objection
    with pytest.raises(
        DatabaseConnectionError, match="does not lead to this database at localhost:5532"
    ) as c:
        manager.start_container()
    assert "hive-pg restart " in c.value.hint


def test_wait_while_an_upgrade_is_under_way(up, manager, docker, quick):
    """Its servers are nobody's to log in to yet: that is waited for."""
    docker.containers[0]["Config"]["Labels"]["com.docker.compose.oneoff"] = "True"
    with pytest.raises(DatabaseConnectionError, match="not ready in time: an upgrade is under way"):
        manager.wait_until_ready(timeout=0.1)


THROUGH = "127.0.0.1:5532:127.0.0.1:5532"  # ssh alone would listen on ::1, too


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        pytest.param("", "hive-pg init --bind ADDRESS, one of", id="no name"),
        pytest.param("ssh://bob@db", f"ssh -NL {THROUGH} bob@db, or", id="over SSH"),
        pytest.param("tcp://db:2376", f"ssh -NL {THROUGH} db, or", id="over TCP"),
        pytest.param(
            *("ssh://bob@db:2222", f"ssh -NL {THROUGH} ssh://bob@db:2222, or"),
            id="over SSH, at another port",
        ),
    ],
)
def test_verify_port_on_another_machine(
    monkeypatch, up, manager, docker, network, capsys, endpoint, words
):
    """There the login inside the container is enough; how the port comes here is a warning."""
    monkeypatch.setenv("DOCKER_HOST", endpoint)
    docker.answers["docker info"] = INFO.replace(os.uname().nodename, "db")
    network.objection = "Connection refused"
    manager.start_container()
    said = capsys.readouterr().err
    assert f"warning: the database serves; at localhost:5532: Connection refused; {words}" in said
    point = manager.validate_postgres_integration().points[-1]
    assert (point.outcome, point.finding) == (
        pg.Outcome.WARNING,
        "at localhost:5532: Connection refused",
    )
    assert point.remedy.startswith(words)


@pytest.mark.parametrize(
    ("bind", "host", "binds"),
    [
        pytest.param("127.0.0.1", "localhost", [], id="a tunnel, or another server"),
        pytest.param("0.0.0.0", "db.test", [], id="there, on all addresses"),
        pytest.param("10.0.0.5", "10.0.0.5", ["10.0.0.5"], id="an address of that machine"),
    ],
)
def test_look_published_on_another_machine(
    monkeypatch, up, manager, docker, remember, bind, host, binds
):
    """The loopback there is not the one here: what answers here is known by a login only."""
    docker.answers["docker info"] = INFO.replace(os.uname().nodename, "db")
    remember(engine=["ID", "/", "db"])
    url = manager.settings.url.replace(host=host)
    manager.save_env(manager.settings.replace(url=url).env)
    asked = []
    docker.containers[0]["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] = bind
    monkeypatch.setattr(pg, "ask_published_port", lambda url, b: asked.append(b) or ("", ""))
    pg.look(manager)
    assert asked == [binds]


def test_verify_asks_for_tls_on_another_machine(up, manager, docker, network):
    """What answers through the tunnel has none: another tunnel is no remedy."""
    docker.answers["docker info"] = INFO.replace(os.uname().nodename, "db")
    network.objection = "the server has no TLS, which sslmode=require in it asks for"
    with pytest.raises(DatabaseConnectionError, match="has no TLS") as caught:
        manager.start_container()
    assert caught.value.hint == "take that out of HIVE_DATABASE_URL; or switch ssl on in the server"


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        pytest.param("exited", NotSetUpError, "is stopped", id="stopped"),
        pytest.param("paused", NotSetUpError, "is paused", id="paused"),
        pytest.param("restarting", ContainerStartupError, "restarting .*: a server", id="a loop"),
        pytest.param(None, NotSetUpError, "is missing", id="none"),
    ],
)
def test_wait_not_running(up, manager, docker, state, error, words):
    """`wait` starts nothing: what does not run is an error at once, with the cause of a loop."""
    docker.answers["docker logs"] = 'FATAL:  invalid value for parameter "shared_buffers": "x"\n'
    if state:
        set_state(docker, Status=state)
    else:
        docker.containers.clear()
    with pytest.raises(error, match=words):
        manager.wait_until_ready()
    assert "docker compose up" not in docker.commands


def test_wait_until_it_serves(up, manager, docker):
    """`wait` asks until the server accepts the login."""
    docker.answers["docker exec"] = [WAITING, WELL]
    manager.wait_until_ready()
    assert len(docker.calls_of("docker exec")) == 2


@pytest.mark.parametrize(
    ("places", "named"),
    [
        pytest.param(["127.0.0.1 5432", "::1 5432"], "127.0.0.1 port 5432", id="loopback"),
        pytest.param(["0.0.0.0 5433"], "0.0.0.0 port 5433", id="another port"),
        pytest.param(["0.0.0.0 5432", ":: 5432"], "", id="everywhere"),
        pytest.param(["127.0.0.1 5432", "172.18.0.2 5432"], "", id="its own address, too"),
        pytest.param([], "", id="a first start"),
    ],
)
def test_wait_for_a_server_that_nobody_reaches(up, manager, docker, places, named):
    """Where the server listens otherwise, it is not waited for."""
    lines = ('LOG:  listening on IPv4 address "{}", port {}'.format(*p.split()) for p in places)
    docker.answers["docker logs"] = "\n".join([*lines, ""])
    docker.answers["docker exec"] = [WAITING, WAITING, WELL]
    if named:
        with pytest.raises(DatabaseConnectionError, match=f"listens on {named}, where nobody"):
            manager.wait_until_ready()
    else:
        manager.wait_until_ready()


# -- stopping ------------------------------------------------------------------------------------


def kill(docker):
    """Make `docker stop` end in a kill."""
    docker.answers["docker stop"] = lambda _: set_state(docker, Status="exited", ExitCode=137) or ""


def test_stop_running(up, manager, docker):
    """The server gets its whole grace period."""
    assert manager.stop_container() is True
    (call,) = docker.calls_of("docker stop")
    assert call.argv == ["docker", "stop", "-t", "60", "hive-postgres"]
    assert call.timeout > 60


@pytest.mark.parametrize("tmpfs", [{}, {"/var/lib/postgresql/data": ""}], ids=["disk", "memory"])
def test_stop_says_what_becomes_of_the_data(up, manager, docker, capsys, tmpfs):
    """It stays, but for what was in memory."""
    docker.containers[0]["HostConfig"]["Tmpfs"] = tmpfs
    docker.containers[0]["Mounts"] *= not tmpfs
    manager.stop_container()
    said = "the data was in memory, and is gone" if tmpfs else "the data stays"
    assert f"stopped; {said}\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stop_container", "destroy_container"])
@pytest.mark.parametrize("place", ["here", "moved away"])
def test_data_that_was_deleted_does_not_stay(up, manager, docker, capsys, command, place):
    """A directory of this workspace that is gone is missing; where it was before is no loss."""
    shutil.rmtree(up / "data" / "postgres")
    cluster = str(up / "data" / "postgres")
    if place != "here":
        docker.containers[0]["Mounts"][0]["Source"] = cluster = "/gone/w/data/postgres"
    docker.answers.update({"docker rm": "", "docker network": ""})
    getattr(manager, command)()
    said = capsys.readouterr().err
    assert (f"{cluster}/pgdata is missing" in said) is (place == "here")
    assert ("the data stays" in said) is (place != "here")


@pytest.mark.parametrize("state", ["exited", "created", None])
def test_stop_not_running(workspace, manager, docker, state):
    """Stopping twice is no error."""
    if state:
        docker.containers.append(make_container(workspace=workspace, Status=state))
    assert manager.stop_container() is False
    assert "docker stop" not in docker.commands


def test_stop_killed(up, manager, docker):
    """A server that had to be killed is said to be; it is no clean stop."""
    kill(docker)
    with pytest.raises(ContainerStartupError, match="was killed"):
        manager.stop_container()


def test_stop_of_a_server_that_the_system_kills(up, manager, docker, capsys):
    """The exit code of its last crash is not that of the stop."""
    set_state(docker, Status="restarting", ExitCode=137)
    assert manager.stop_container() is True
    assert "stopped; the data stays" in capsys.readouterr().err


def test_restart_killed(up, manager, docker, capsys):
    """A server that had to be killed is warned of, and started again."""
    kill(docker)
    manager.restart_container()
    assert "warning: hive-postgres did not stop" in capsys.readouterr().err
    assert docker.commands[-1] == "docker exec"


@pytest.mark.parametrize(
    ("health", "verified", "answers", "asked"),
    [
        pytest.param("healthy", True, [], 0, id="serves"),
        pytest.param("starting", True, [WAITING, WELL], 2, id="starts"),
        pytest.param("healthy", False, [WAITING, WELL], 2, id="seems healthy in its first start"),
        pytest.param("healthy", False, [(82, "timeout expired")], 1, id="listens, login too slow"),
    ],
)
@pytest.mark.parametrize("command", ["stop", "bring up"])
def test_first_start_is_awaited(
    up, manager, docker, remember, health, verified, answers, asked, command
):
    """A server that does not listen yet ignores the signal, so it is awaited before a stop."""
    remember(verified=verified)
    docker.containers[0]["State"]["Health"]["Status"] = health
    docker.answers["docker exec"] = [*answers] or WELL
    if command == "stop":
        assert manager.stop_container() is True
        assert "docker stop" in docker.commands
    else:
        pg.start_service(manager)
        assert docker.commands[-1] == "docker compose up"
    assert len(docker.calls_of("docker exec")) == asked


def test_stop_of_a_server_that_does_not_answer(monkeypatch, up, manager, docker):
    """It takes a minute in all, with the time that it was waited for."""
    clock = [100.0]
    monkeypatch.setattr(pg.time, "monotonic", lambda: clock[0])

    def hang(call):
        clock[0] += 12
        return WAITING

    docker.answers["docker exec"] = hang
    docker.containers[0]["State"]["Health"]["Status"] = "unhealthy"
    assert manager.stop_container() is True
    (call,) = docker.calls_of("docker stop")
    assert call.argv == ["docker", "stop", "-t", "48", "hive-postgres"]


@pytest.mark.parametrize("verified", [True, False])
def test_first_start_does_not_end(monkeypatch, up, manager, docker, remember, verified):
    """After its grace period a server is stopped all the same, but its first start is not."""
    remember(verified=verified)
    monkeypatch.setattr(pg, "STOP_GRACE_S", 0)
    docker.containers[0]["State"]["Health"]["Status"] = "starting"
    if verified:
        assert manager.stop_container() is True
    else:
        with pytest.raises(ContainerStartupError, match="its first start is still under way"):
            manager.stop_container()
        assert "docker stop" not in docker.commands


def test_restart_running(up, manager, docker):
    """Stop, then up, then the login."""
    manager.restart_container()
    commands = docker.commands
    assert commands.index("docker stop") < commands.index("docker compose up")
    assert commands[-1] == "docker exec"


def test_restart_of_data_in_memory(up, manager, docker, capsys, monkeypatch):
    """What ends with its server is not ended without a word."""
    resolve = pg.Workspace.resolve_service
    change = lambda *given: resolve(*given).replace(data_dir="", cluster=pg.IN_MEMORY)  # noqa: E731
    monkeypatch.setattr(pg.Workspace, "resolve_service", change)
    manager.restart_container()
    assert "the data was in memory" in capsys.readouterr().err


def test_compose_manager_does_not_wait(up, docker):
    """The compose manager restarts without a login, and knows the engine's own health."""
    compose = pg.DockerComposeManager(str(up), engine=pg.Engine(docker))
    compose.restart_postgres_service()
    assert docker.commands[-1] == "docker compose up"
    assert compose.check_service_health() is pg.Health.HEALTHY
    assert compose.get_service_logs(tail=7) == "last words\n"
    assert docker.calls_of("docker logs")[0].argv[2:4] == ["--tail", "7"]
    docker.containers.clear()
    with pytest.raises(NotSetUpError, match="no container"):
        compose.check_service_health()


# -- what a killed command has left --------------------------------------------------------------


@pytest.mark.parametrize("begun", ["not yet", "in the server"])
def test_start_finishes_a_rotation(up, manager, docker, remember, begun):
    """A killed `rotate` is finished, whether the server has the next password or not."""
    remember(next_password="n3xt")
    first = WELL if begun == "not yet" else REFUSED
    docker.answers["docker exec"] = [first, first, "", WELL]
    assert manager.start_container() is False
    setting = docker.calls_of("docker exec")[2]
    assert setting.stdin.endswith(";\n\\password\nn3xt\nn3xt\n")
    assert setting.argv[-2:] == ["-d", "dbname='template1'"]
    assert pg.Workspace(str(up)).settings.url.password == "n3xt"
    assert read_state(up).next_password == ""


def test_rotation_where_the_socket_asks(up, manager, docker, remember):
    """Where the socket asks for a password too, the server may want the next one already."""
    remember(next_password="n3xt")
    refused = (2, REFUSED[1])
    docker.answers["docker exec"] = [WELL, REFUSED, refused, "", WELL]
    manager.start_container()
    last, again = docker.calls_of("docker exec")[2:4]
    assert (last.env["PGPASSWORD"], again.env["PGPASSWORD"]) == ("s3cret", "n3xt")


def test_wait_finishes_no_rotation(up, manager, docker, remember):
    """`wait` changes nothing: it says that the login is refused, and who finishes it."""
    remember(next_password="n3xt")
    docker.answers["docker exec"] = REFUSED
    with pytest.raises(CredentialsRefusedError, match="refuses the user and password") as caught:
        manager.wait_until_ready()
    assert (
        caught.value.hint
        == f"hive-pg start {manager.workspace} finishes what was begun, or undoes it"
    )
    assert read_state(up).next_password == "n3xt"


LEFT = {
    "staging": "hive_restoring_20010909T014640Z",
    "keeper": "hive_pg_undo_0",
    "databases": [{"oid": "7", "name": "it's", "datallowconn": True, "datconnlimit": -1}],
}
MISSING = (2, 'psql: error: FATAL:  role "hive_pg_undo_0" does not exist')
NO_LOGIN = (82, 'psql: error: FATAL:  role "ann" is not permitted to log in')


@pytest.mark.parametrize(
    "refused", [WELL, NO_LOGIN, REFUSED], ids=["let in", "no login", "refused"]
)
def test_start_undoes_what_a_killed_restore_changed(up, manager, docker, remember, refused):
    """The role that it made does so, in one transaction, and goes; then it is forgotten."""
    remember(**LEFT)
    docker.answers["docker exec"] = [WELL, refused, "", WELL]
    manager.start_container()
    undo = docker.calls_of("docker exec")[-2]
    assert "PGUSER=hive_pg_undo_0" in undo.argv
    lines = undo.stdin.splitlines()
    assert lines.index("begin;") < lines.index('drop role "hive_pg_undo_0";') < len(lines) - 1
    assert lines[-1] == "commit;"
    assert r"it\'s" in undo.stdin
    state = read_state(up)
    assert (state.staging, state.keeper, [*state.databases]) == ("", "", [])


def test_start_after_a_restore_that_was_undone(up, manager, docker, remember):
    """Where the role is not there any more, or not yet, there is nothing to undo."""
    remember(**LEFT)
    docker.answers["docker exec"] = [WELL, WELL, MISSING, "", WELL]
    manager.start_container()
    assert read_state(up).staging == ""


@pytest.mark.parametrize("there", ["hive_pg_undo_0\n", MISSING], ids=["it is", "nobody can ask"])
def test_start_that_cannot_undo(up, manager, docker, remember, there):
    """Where the role may be there, but cannot log in, it is an error, and not forgotten."""
    remember(**LEFT)
    docker.answers["docker exec"] = [WELL, WELL, (2, REFUSED[1]), there]
    with pytest.raises(CredentialsRefusedError, match="cannot undo what a restore has changed"):
        manager.start_container()
    assert read_state(up).keeper == "hive_pg_undo_0"


@pytest.mark.parametrize(("changed", "calls"), [(False, 5), (True, 6)])
def test_start_undoes_for_an_ordinary_role(up, manager, docker, remember, changed, calls):
    """It frees its databases by itself, and has the password of `.env` again."""
    remember(**{**LEFT, "keeper": ""})
    refused = REFUSED if changed else WELL
    docker.answers["docker exec"] = [WELL, refused, refused, *["", ""][: calls - 4], WELL]
    manager.start_container()
    scripts = [call.stdin for call in docker.calls_of("docker exec")]
    assert len(scripts) == calls
    assert ("\\password" in "".join(scripts)) is changed
    assert "is_template false" in scripts[-2]


def test_wait_undoes_no_restore(up, manager, docker, remember):
    """`wait` changes nothing: it says that the login is refused, and what undoes it."""
    remember(**LEFT)
    docker.answers["docker exec"] = NO_LOGIN
    with pytest.raises(CredentialsRefusedError, match="lets the role, or everybody") as caught:
        manager.wait_until_ready()
    assert (
        caught.value.hint
        == f"hive-pg start {manager.workspace} finishes what was begun, or undoes it"
    )
    assert read_state(up).keeper == "hive_pg_undo_0"


def test_start_beside_a_restore(up, manager, docker, remember):
    """What a restore that goes on has protected stays so: `start` logs in, and does not wait."""
    remember(**LEFT)
    with pg.Workspace(str(up)).lock():
        assert manager.start_container(timeout=1) is False
    assert read_state(up).keeper == "hive_pg_undo_0"
    assert docker.commands == ["docker inspect", "docker exec"]


# -- a rotation meanwhile ------------------------------------------------------------------------


def give_another_password(workspace):
    """Do to `.env` what a `rotate` does."""
    other = pg.Workspace(str(workspace))
    other.save_env(other.settings.with_password("new").env)


LOGINS = {
    "start_container": lambda result: result is False,
    "wait_until_ready": lambda result: result is None,
    "check_container_status": lambda status: status.server_version == "16.14",
    "validate_postgres_integration": lambda result: result.healthy,
}


@pytest.mark.parametrize("name", LOGINS)
def test_login_with_a_password_that_env_no_longer_has(up, manager, docker, name):
    """A refusal is not believed before `.env` was read again."""

    def refuse(call):
        give_another_password(up)
        return REFUSED

    docker.answers["docker exec"] = [refuse, WELL]
    assert LOGINS[name](getattr(manager, name)())
    assert [call.stdin for call in docker.calls_of("docker exec")] == ["s3cret\n", "new\n"]


@pytest.mark.parametrize("name", LOGINS)
def test_login_while_a_rotation_goes_on(monkeypatch, up, manager, docker, remember, name):
    """The server may have the new password before `.env` has it: that is waited for."""
    lock, waited = pg.Workspace(str(up)).lock(), []

    def refuse(call):
        lock.__enter__()
        remember(next_password="new")
        return REFUSED

    def go_on(seconds):
        waited.append(seconds)
        give_another_password(up)
        remember(next_password="")
        lock.__exit__(None, None, None)

    monkeypatch.setattr(pg.time, "sleep", go_on)
    docker.answers["docker exec"] = [refuse, WELL]
    assert LOGINS[name](getattr(manager, name)())
    assert [call.stdin for call in docker.calls_of("docker exec")] == ["s3cret\n", "new\n"]
    assert len(waited) == 1


def test_run_after_a_rotation(monkeypatch, up, hive, docker):
    """CMD gets what `.env` says when it starts, not what it said before the wait."""

    def serve(call):
        give_another_password(up)
        return WELL

    docker.answers.update({"docker exec": serve, "printenv": ""})
    with pytest.raises(Became) as became:
        hive("run", "--", "printenv")
    assert became.value.args[0].env["POSTGRES_PASSWORD"] == "new"


# -- run -----------------------------------------------------------------------------------------


def test_run_environment(monkeypatch, up, manager, capsys):
    """The shell's own values win, except over the credentials; unclear ones are left out."""
    monkeypatch.setenv("A", "shell")
    monkeypatch.setenv("POSTGRES_PASSWORD", "shell")
    with (up / ".env").open("a") as file:
        file.write("A=env\nB=env\nC=a b\n")
    env = pg.build_run_environment(manager, manager.settings.url)
    assert (env["A"], env["B"], env["POSTGRES_PASSWORD"]) == ("shell", "env", "s3cret")
    assert "C" not in env
    assert "warning: .env: not read alike by all, so left out: C" in capsys.readouterr().err


def test_run_environment_leads_to_the_database(monkeypatch, up, manager):
    """As `env` does: neither the shell's variables of libpq nor `.env`'s lead elsewhere."""
    shell = {"PGSERVICE": "prod", "PGHOSTADDR": "10.0.0.1", "PGHOST": "prod", "DATABASE_URL": "x"}
    for name, value in {**shell, "HIVE_POSTGRES_PORT": "1", "PGTZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    with (up / ".env").open("a") as file:
        file.write("PGOPTIONS=--x\nPGPORT=1\nDATABASE_URL=postgresql://prod/x\n")
    env = pg.build_run_environment(manager, manager.settings.url)
    assert pg.build_environment(manager.settings.url).items() <= env.items()
    assert env.keys().isdisjoint(pg.LEADING_VARIABLES)
    assert env["PGTZ"] == "UTC"


def test_docker_hangs(up, manager, docker):
    """A daemon that does not answer is exit 4."""
    docker.answers["docker inspect --type container"] = DockerNotAvailableError("no answer")
    with pytest.raises(DockerNotAvailableError, match="no answer"):
        manager.start_container()


def test_make_cluster_is_kept(up, manager):
    """A start changes no file of the cluster."""
    make_cluster(up)
    before = sorted(os.listdir(up / "data/postgres/pgdata"))
    manager.start_container()
    assert sorted(os.listdir(up / "data/postgres/pgdata")) == before


@pytest.mark.parametrize("cluster", ["", "tmpfs:/pgdata"], ids=["no name", "memory"])
def test_look_in_place_of_what_ends_with_its_container(place, docker, cluster):
    """There is nothing to look into."""
    assert pg.look_in_place(place, make_service(data_dir="", cluster=cluster), "ls", "") == ""
    assert docker.calls == []
