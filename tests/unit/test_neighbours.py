"""Neighbours: names and ports that nobody else has, and what is never taken away from anybody."""

import contextlib
import json
import os
import re

import pytest
from fakes import HERE, INFO, FakeRunner, make_info, make_service, make_settings, recorded

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    ContainerState,
    DockerNotAvailableError,
    Neighbours,
    NotSetUpError,
    choose_project_name,
    shares_cluster,
)

LISTENING = 'LISTEN 0 5 127.0.0.1:5532 0.0.0.0:* users:(("node",pid=7,fd=3))\n'


@pytest.fixture
def programs():
    """Return what is started."""
    return FakeRunner({"docker info": INFO})


@pytest.fixture
def workspace(tmp_path, programs):
    """Return the workspace `w`, beside a directory `other`, with its names in `.env`."""
    for name in ("w/data/postgres/pgdata", "other"):
        (tmp_path / name).mkdir(parents=True)
    env = make_settings(workspace="1a").env
    (tmp_path / "w" / ".env").write_text("".join(f"{k}={v}\n" for k, v in env.items()))
    return pg.Workspace(str(tmp_path / "w"), engine=pg.Engine(programs))


@pytest.fixture
def taken(monkeypatch):
    """Return the ports that somebody listens on; the machine's own are not asked."""
    taken = set()
    monkeypatch.setattr(pg, "is_port_free", lambda bind, port: port not in taken)
    return taken


def container(workspace, name="hive-postgres", place="w", project="w-1a2b3c", **changes):
    """Return a container that Compose made in a directory beside the workspace, or in it."""
    directory = os.path.join(os.path.dirname(workspace.directory), place) if place else ""
    labels = {pg.PROJECT_LABEL: project, pg.DIRECTORY_LABEL: directory}
    labels[pg.CONFIG_FILES_LABEL] = f"{directory}/docker-compose.yml"
    labels |= {pg.WORKSPACE_LABEL: changes.pop("label")} if "label" in changes else {}
    source = changes.pop("source", f"{directory}/data/postgres")
    mounts = [(source, "/var/lib/postgresql/data")]
    usual = {"name": name, "labels": labels, "mounts": mounts}
    return make_info(**{**usual, **changes})


def theirs(workspace, name="theirs", **changes):
    """Return a container of another workspace, which has neither our name, project nor port."""
    usual = {"place": "other", "project": "theirs", "ports": [("127.0.0.1", 6000)]}
    return container(workspace, name, **{**usual, **changes})


def service(workspace, **changes):
    """Return the workspace's service."""
    data_dir = f"{workspace.directory}/data/postgres"
    return make_service(**{"data_dir": data_dir, "cluster": f"{data_dir}/pgdata", **changes})


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/home/ann/app", id="plain"),
        pytest.param("/home/ann/My App!", id="blanks and capitals"),
        pytest.param("/", id="root"),
        pytest.param("/home/ann/日本", id="nothing of it usable"),
        pytest.param("/home/ann/__init__", id="underscores"),
        pytest.param("/home/ann/" + "x" * 200, id="long"),
        pytest.param("/home/ann/\udce9", id="not UTF-8"),
    ],
)
def test_choose_project_name_path(path):
    """The name is one that Compose takes, is stable, and is no other path's."""
    name = choose_project_name(path)
    assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,46}", name)
    assert name == choose_project_name(path)
    assert name != choose_project_name(path + "/sub" + path)


def test_choose_project_name_same_folder():
    """Two folders of one name are two projects."""
    assert choose_project_name("/a/app") != choose_project_name("/b/app")


PROJECT, NAME = "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_CONTAINER"
USUAL = "hive-postgres"


@pytest.mark.parametrize(
    ("values", "others", "expected"),
    [
        pytest.param({}, {}, ("NEW", USUAL, False), id="nothing yet"),
        pytest.param({}, {"name": USUAL}, ("NEW", "hive-postgres-NEW", False), id="default taken"),
        pytest.param({PROJECT: "p", NAME: "c"}, {"name": USUAL}, ("p", "c", True), id="recorded"),
        pytest.param({PROJECT: "p"}, {}, ("p", USUAL, False), id="project only"),
        pytest.param({NAME: "c"}, {}, ("NEW", "c", False), id="container only"),
        pytest.param(
            {NAME: "c"}, {"project": ""}, ("NEW", "c", False), id="beside one without a project"
        ),
        pytest.param(
            {PROJECT: "theirs", NAME: USUAL},
            {"name": USUAL},
            ("NEW", "hive-postgres-NEW", False),
            id="project of another",
        ),
        pytest.param(
            {PROJECT: "p", NAME: USUAL},
            {"name": USUAL},
            ("p", "hive-postgres-p", False),
            id="name taken since",
        ),
        pytest.param(
            {PROJECT: "p", NAME: "c", pg.WORKSPACE_KEY: "2b"},
            {"label": "2b"},
            ("NEW", USUAL, False),
            id="id of another",
        ),
        pytest.param({}, {"project": "NEW"}, ("NEW-2", USUAL, False), id="made here, moved away"),
        pytest.param(
            {PROJECT: "NEW", NAME: "c", pg.WORKSPACE_KEY: "2b"},
            {"label": "2b"},
            ("NEW-2", USUAL, False),
            id="copied to where it was made",
        ),
    ],
)
def test_choose_names_beside_another(workspace, values, others, expected):
    """What .env names is kept, unless another workspace has it; the default is taken if free."""
    own = choose_project_name(workspace.directory)
    values, others = ({k: v.replace("NEW", own) for k, v in d.items()} for d in (values, others))
    found = Neighbours(workspace, [theirs(workspace, **others)]).choose_names(values)
    assert found == tuple(x if isinstance(x, bool) else x.replace("NEW", own) for x in expected)


def test_choose_names_of_a_copy(workspace):
    """A directory that was copied with its state gets names of its own, and keeps no old ones."""
    other = os.path.join(os.path.dirname(workspace.directory), "other")
    with open(workspace.state_path, "w") as file:
        json.dump({"id": "1a", "directory": other, "inode": "1:1"}, file)
    project, name, kept = Neighbours(workspace, []).choose_names(workspace.values)
    assert (project, kept) == (choose_project_name(workspace.directory), False)
    assert name == USUAL


def test_choose_names_of_plain_compose(workspace):
    """A container that plain Compose made here keeps its project."""
    found = Neighbours(workspace, [container(workspace, "w-postgres-1", project="w")])
    assert found.choose_names({}) == ("w", USUAL, False)


# -- ports ---------------------------------------------------------------------------------------


def test_choose_port_free(workspace, taken):
    """The first one that no other container has and nothing listens on, but for our own server."""
    taken |= {5533, 5535}
    own, other = ("127.0.0.1", 5535), ("127.0.0.1", 5532)
    found = [container(workspace, ports=[own]), theirs(workspace, ports=[other, ("::1", 5534)])]
    assert Neighbours(workspace, found).choose_port(5532, "127.0.0.1") == 5535
    found.append(theirs(workspace, "stopped", ports=[own], state=ContainerState.EXITED))
    assert Neighbours(workspace, found).choose_port(5535, "127.0.0.1") == 5535  # we have it


@pytest.mark.parametrize("first", [5532, 65530], ids=["usual", "end"])
def test_choose_port_none(monkeypatch, workspace, first):
    """Where none is free within a hundred, or up to the last, that is an error with a way out."""
    asked = []
    monkeypatch.setattr(pg, "is_port_free", lambda bind, port: asked.append(port))
    with pytest.raises(ContainerConflictError, match=f"from {first}") as caught:
        Neighbours(workspace, []).choose_port(first, "127.0.0.1")
    assert asked == list(range(first, min(first + 100, 65536)))
    assert caught.value.hint == "{init} --port N"


# -- one data directory --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mounts", "shared"),
    [
        pytest.param([("/w/data/postgres", "/var/lib/postgresql/data")], True, id="the same"),
        pytest.param([("/w/data/postgres/pgdata", "/backup")], True, id="the cluster elsewhere"),
        pytest.param([("/w/data/./postgres/", "/x")], True, id="by another path"),
        pytest.param([("/w", "/var/lib/postgresql/data")], False, id="above, another cluster"),
        pytest.param([("/w/data", "/var/lib/postgresql")], False, id="above, other folder names"),
        pytest.param([("/w/data/postgres-2", "/x")], False, id="only alike"),
        pytest.param([("volume", "/var/lib/postgresql/data"), ("", "/tmp")], False, id="volume"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_shares_cluster_directory(mounts, shared):
    """A container that has the data of a service mounted shares its cluster."""
    assert shares_cluster(make_info(mounts=mounts), make_service()) is shared


def test_shares_cluster_above():
    """A container whose PGDATA is below what it has mounted may have the same cluster."""
    environment = {"PGDATA": "/all/postgres/pgdata"}
    info = make_info(mounts=[("/w/data", "/all")], environment=environment)
    assert shares_cluster(info, make_service()) is True


@pytest.mark.parametrize(
    ("cluster", "source", "shared"),
    [
        ("app_pg/pgdata", "app_pg", True),
        ("app_pg/pgdata", "other_pg", False),
        ("app_pg/pgdata", "/app_pg", False),
        ("", "", False),
    ],
)
def test_shares_cluster_volume(cluster, source, shared):
    """Two servers can share a volume, too."""
    mounts = [(source, "/var/lib/postgresql/data")] if source else []
    changes = {"data_dir": "", "cluster": cluster}
    assert shares_cluster(make_info(mounts=mounts), make_service(**changes)) is shared


@pytest.mark.parametrize(
    ("mounts", "ports", "cluster", "port", "refused"),
    [
        pytest.param([], [], "", 5777, True, id="a port where there is none"),
        pytest.param([], [("0.0.0.0", 5532)], "", 5777, True, id="another port"),
        pytest.param([], [("0.0.0.0", 5777)], "", 5777, False, id="as it is"),
        pytest.param([], [], "", 0, False, id="none is published"),
        pytest.param([("pg", "/var/lib/postgresql/data")], [], "", 5777, False, id="a volume"),
        pytest.param([(pg.IN_MEMORY, "/var/lib")], [], pg.IN_MEMORY, 5777, True, id="memory"),
        pytest.param([], [], "pg/pgdata", 5777, False, id="lost by a volume: another question"),
    ],
)
def test_refuse_replacement(workspace, mounts, ports, cluster, port, refused):
    """A container that alone has the data is not replaced by one that publishes a port."""
    found = Neighbours(workspace, [container(workspace, mounts=mounts, ports=ports)])
    wanted = make_service(data_dir="", cluster=cluster, host_port=port)
    if not refused:
        found.refuse_replacement(wanted)
        return
    with pytest.raises(
        pg.WorkspaceError,
        match=r"only container hive-postgres has the data; publishing port 5777 would replace",
    ) as error:
        found.refuse_replacement(wanted)
    dump = "docker exec hive-postgres pg_dump -Fc -U postgres postgres >kept.dump; then a volume"
    assert error.value.hint.startswith(dump)


@pytest.fixture
def alias(monkeypatch, workspace, tmp_path):
    """Return a place that is the workspace's own directory, as a mount makes one."""
    alias, status = str(tmp_path / "alias"), os.stat

    def stat(path, *arguments, **options):
        if isinstance(path, str) and f"{path}/".startswith(f"{alias}/"):
            path = workspace.directory + path[len(alias) :]
        return status(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    return alias


@pytest.mark.parametrize("place", ["data/postgres", "data/postgres/pgdata"])
def test_refuse_conflicts_data_by_another_path(workspace, taken, alias, place):
    """What another container has mounted is compared by what it is, not by its path alone."""
    found = Neighbours(workspace, [theirs(workspace, source=f"{alias}/{place}")])
    with pytest.raises(ContainerConflictError, match=r"theirs \(running\) has the data mounted"):
        found.refuse_conflicts(service(workspace))


@pytest.mark.parametrize("state", ["running", "exited", "created", "paused"])
@pytest.mark.parametrize("starts", [True, False])
def test_refuse_conflicts_data_of_another(workspace, taken, state, starts):
    """Two servers on one directory destroy it: a container that has it is refused in any state."""
    source = f"{workspace.directory}/data/postgres"
    found = theirs(workspace, source=source, state=ContainerState(state))
    with pytest.raises(ContainerConflictError, match=rf"theirs \({state}\) .*mounted") as caught:
        Neighbours(workspace, [found]).refuse_conflicts(service(workspace), starts=starts)
    assert caught.value.hint.endswith("docker stop theirs; docker rm theirs")


@pytest.mark.parametrize("source", ["data", "data/postgres-old", "app"])
def test_refuse_conflicts_mount_beside(workspace, taken, source):
    """A container that has something else of the workspace mounted is no conflict."""
    os.makedirs(f"{workspace.directory}/{source}", exist_ok=True)
    found = theirs(workspace, source=f"{workspace.directory}/{source}")
    Neighbours(workspace, [found]).refuse_conflicts(service(workspace))


@pytest.mark.parametrize("same", [True, False], ids=["here", "elsewhere"])
def test_refuse_conflicts_moved_while_it_runs(workspace, programs, taken, same):
    """A container whose directory is gone may run on this very one: it is asked."""
    found = container(workspace, "original", "gone", "theirs")
    here = pg.identify_file(f"{workspace.directory}/data/postgres")
    programs.answers["docker exec --interactive original stat -c %d:%i"] = here if same else "1:1"
    neighbours = Neighbours(workspace, [found])
    if same:
        with pytest.raises(ContainerConflictError, match=r"original \(running\) has the data mou"):
            neighbours.refuse_conflicts(service(workspace))
    else:
        neighbours.refuse_conflicts(service(workspace))
    assert len(programs.calls) == 1


THERE = ["ID", "/home/ann/docker", "host"]


@pytest.mark.parametrize(
    ("before", "now", "clean", "runs_here", "refused"),
    [
        pytest.param(THERE, HERE, False, False, True, id="another engine, not shut down"),
        pytest.param(THERE, HERE, True, False, False, id="another engine, shut down"),
        pytest.param(THERE, HERE, False, True, False, id="the engine has another name now"),
        pytest.param(HERE, HERE, False, False, False, id="the same engine, after a crash"),
        pytest.param([], HERE, False, False, False, id="not known before"),
        pytest.param(THERE, [], False, False, False, id="not known now"),
    ],
)
def test_refuse_conflicts_engine(workspace, taken, before, now, clean, runs_here, refused):
    """Data that another engine's server may have open is not served by a second one."""
    workspace.state = pg.State(engine=before)
    lock = os.path.join(service(workspace).cluster, "postmaster.pid")
    if not clean:
        open(lock, "w").close()
    own = [container(workspace)] if runs_here else []
    neighbours = Neighbours(workspace, own, now)
    if not refused:
        neighbours.refuse_conflicts(service(workspace))
        return
    with pytest.raises(ContainerConflictError, match="/home/ann/docker") as error:
        neighbours.refuse_conflicts(service(workspace))
    assert "if it is gone, {start} --take-over" in error.value.hint
    workspace.takes_over = True
    neighbours.refuse_conflicts(service(workspace))


@pytest.mark.parametrize(
    ("verified", "listed", "refused"),
    [
        pytest.param(True, "", True, id="not here"),
        pytest.param(True, "w_postgres\n", False, id="one of its name is here"),
        pytest.param(False, "", False, id="nobody ever logged in"),
    ],
)
def test_refuse_conflicts_volume_of_another_engine(
    workspace, programs, taken, verified, listed, refused
):
    """It is not called missing, nor made anew; once taken over, the other engine is forgotten."""
    in_volume = service(workspace, data_dir="", cluster="w_postgres/pgdata")
    workspace.remember(engine=THERE, verified=verified)
    programs.answers = {"docker volume ls": listed}
    neighbours = Neighbours(workspace, [], HERE)
    if refused:
        with pytest.raises(
            ContainerConflictError, match="volume w_postgres is on another"
        ) as error:
            neighbours.refuse_conflicts(in_volume)
        assert "if it is gone, {start} --take-over" in error.value.hint
        workspace.takes_over = True
        neighbours.refuse_conflicts(in_volume)
        assert workspace.state.engine == HERE
        workspace.takes_over = False
    neighbours.refuse_conflicts(in_volume)


@pytest.mark.parametrize("clean", [True, False], ids=["shut down", "not shut down"])
def test_refuse_conflicts_engine_unseen(monkeypatch, workspace, programs, taken, clean):
    """Where the cluster is another user's, a container looks whether it was shut down."""
    workspace.state = pg.State(engine=THERE)
    programs.answers["docker run"] = (1 - clean, "")
    monkeypatch.setattr(pg, "is_gone", lambda path: False)  # it may not be seen
    refused = contextlib.nullcontext() if clean else pytest.raises(ContainerConflictError)
    with refused:
        Neighbours(workspace, [], HERE).refuse_conflicts(service(workspace))
    (call,) = programs.calls_of("docker run")
    assert call.argv[-3:] == ["!", "-e", "/target/pgdata/postmaster.pid"]


@pytest.mark.parametrize("state", ["paused", "exited"])
def test_refuse_conflicts_unrelated_directory_gone(workspace, taken, state):
    """One of other data whose directory is gone stands in nobody's way, and is not asked."""
    found = theirs(workspace, source="/gone", state=ContainerState(state))
    Neighbours(workspace, [found]).refuse_conflicts(service(workspace))


def test_refuse_conflicts_paused_of_this_project(workspace, taken):
    """One of this project that is paused may serve the data, and cannot say so."""
    found = container(workspace, "before", "gone", state=ContainerState.PAUSED)
    with pytest.raises(ContainerConflictError, match="before is paused, and cannot say") as caught:
        Neighbours(workspace, [found]).refuse_conflicts(service(workspace))
    assert caught.value.hint == "docker unpause before"


# -- names and ports of others -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "project", "words", "remedy"),
    [
        pytest.param("other", "theirs", "belongs to {}/other", False, id="workspace"),
        pytest.param("gone", "theirs", "belongs to {}/gone, which is gone", True, id="stale"),
        pytest.param("", "", "belongs to somebody else (Compose did not", True, id="by hand"),
    ],
)
def test_refuse_conflicts_name_of_another(workspace, taken, place, project, words, remedy):
    """A container of the name that is not ours is named with its origin, and what helps."""
    found = container(workspace, place=place, project=project)
    with pytest.raises(ContainerConflictError, match="container hive-postgres has") as caught:
        Neighbours(workspace, [found]).refuse_conflicts(service(workspace))
    assert words.format(os.path.dirname(workspace.directory)) in str(caught.value)
    assert "${HIVE_POSTGRES_CONTAINER:-hive-postgres}" in caught.value.hint
    assert caught.value.hint.endswith("docker rm -f hive-postgres") is remedy


def test_refuse_conflicts_paused(workspace, taken):
    """A paused container of ours is not replaced."""
    found = container(workspace, state=ContainerState.PAUSED)
    with pytest.raises(NotSetUpError, match="is paused"):
        Neighbours(workspace, [found]).refuse_conflicts(service(workspace))


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        pytest.param({}, False, id="our server's own"),
        pytest.param({"state": ContainerState.RESTARTING}, False, id="our server's, now and then"),
        pytest.param({"state": ContainerState.EXITED}, True, id="ours is stopped"),
        pytest.param({"ports": [("127.0.0.1", 6000)]}, True, id="ours has another one"),
    ],
)
@pytest.mark.parametrize("starts", [True, False])
def test_refuse_conflicts_port_that_is_taken(workspace, programs, taken, changes, refused, starts):
    """Where a server is to start, its port is free, or its own."""
    taken.add(5532)
    programs.answers |= {"docker ps": "", "ss -Hltnp": LISTENING}
    neighbours = Neighbours(workspace, [container(workspace, **changes)])
    if refused and starts:
        with pytest.raises(ContainerConflictError, match=r"port 127\.0\.0\.1:5532 is taken by"):
            neighbours.refuse_conflicts(service(workspace))
    else:
        neighbours.refuse_conflicts(service(workspace), starts=starts)


@pytest.mark.parametrize(
    ("answer", "owner"),
    [
        pytest.param(LISTENING, "a process on this machine: node (pid 7)", id="seen"),
        pytest.param(LISTENING.split("users")[0], "a process on this machine", id="not ours"),
        pytest.param(DockerNotAvailableError("x"), "a process on this machine", id="ss hangs"),
        pytest.param(FileNotFoundError(2, "x"), "a process on this machine", id="no ss"),
        pytest.param("", "a process on this machine", id="nothing there"),
    ],
)
def test_refuse_conflicts_port_of_a_process(workspace, programs, taken, answer, owner):
    """A port that a process listens on is an error that names it, where it may be seen."""
    taken.add(5532)
    programs.answers |= {"docker ps": "", "ss -Hltnp 'sport = :5532'": answer}
    with pytest.raises(ContainerConflictError) as caught:
        Neighbours(workspace, []).refuse_conflicts(service(workspace))
    assert str(caught.value) == f"port 127.0.0.1:5532 is taken by {owner}"
    assert caught.value.hint.startswith("{init} --port N")


def test_refuse_conflicts_port_of_a_tunnel(workspace, programs, taken):
    """Where the engine is on another machine, who listens here may be the way to it."""
    taken.add(5532)
    programs.answers |= {"docker info": INFO.replace(os.uname().nodename, "db")}
    Neighbours(workspace, []).refuse_conflicts(service(workspace))


@pytest.mark.parametrize(
    ("place", "owner", "remedy"),
    [
        pytest.param("other", "of {}/other", "", id="workspace"),
        pytest.param("gone", "of {}/gone, which is gone", "docker rm -f theirs", id="stale"),
        pytest.param("", "of somebody else (Compose did", "docker rm -f theirs", id="by hand"),
    ],
)
def test_refuse_conflicts_port_of_a_container(workspace, programs, taken, place, owner, remedy):
    """A container that is published there is named with its origin, whatever it serves."""
    taken.add(5532)
    changes = {"place": place, "mounts": [], "project": "theirs" if place else ""}
    has_it = {**changes, "host_ports": ["80", "5532"]}
    stopped = {**has_it, "state": ContainerState.EXITED}
    found = [theirs(workspace, "beside", **changes), theirs(workspace, **has_it)]
    found.append(theirs(workspace, "stopped", **stopped))
    with pytest.raises(ContainerConflictError) as caught:
        Neighbours(workspace, found).refuse_conflicts(service(workspace))
    parent = os.path.dirname(workspace.directory)
    assert f"is taken by container theirs {owner.format(parent)}" in str(caught.value)
    assert caught.value.hint.endswith(remedy or "fixes the port)")


# -- what Compose left ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "left"),
    [
        pytest.param("0123456789ab_hive-postgres", {}, True, id="interrupted"),
        pytest.param("0123456789ab_hive-postgres-2", {}, False, id="another name"),
        pytest.param("old_hive-postgres", {}, False, id="no id"),
        pytest.param("0123456789ab_hive-postgres", {"state": "exited"}, False, id="it ran once"),
        pytest.param("0123456789ab_hive-postgres", {"place": "other"}, False, id="another's"),
    ],
)
def test_is_leftover_name(workspace, taken, name, changes, left):
    """A container that was made and never ran, called as Compose calls it, is no conflict."""
    state = ContainerState(changes.pop("state", "created"))
    found = container(workspace, name, state=state, **changes)
    neighbours = Neighbours(workspace, [found])
    assert neighbours.is_leftover(found, service(workspace)) is left
    if left:
        neighbours.refuse_conflicts(service(workspace))


# -- the survey ----------------------------------------------------------------------------------


def test_survey_of_an_engine(workspace, programs):
    """All containers are known, whose they are, Compose, and the engine's identity."""
    listed = recorded("docker_inspect_20.10.24.json")
    programs.answers = {
        "docker info": INFO,
        "docker ps --all": "".join(f"{item['Id']}\n" for item in listed),
        "docker inspect": json.dumps(listed),
    }
    neighbours = pg.survey(workspace)
    assert neighbours.engine == HERE
    assert workspace.engine.compose_argv == ["docker", "compose"]
    names = {item["Name"].lstrip("/") for item in listed}
    assert {info.name for info in neighbours.containers} == names
    assert neighbours.own == []
    name = min(names)
    assert pg.find_named(neighbours.containers, name).name == name
    assert pg.find_named(neighbours.containers, "none") is None


def test_survey_of_an_engine_without_the_plugin(workspace, programs):
    """Where `docker info` knows of no Compose, it is looked for, and what is wrong with it said."""
    programs.answers = {"docker ps": "", "docker info": INFO.replace("2.26.1-4", "")}
    assert pg.survey(workspace).engine == HERE
    programs.answers["docker compose version"] = (1, "unknown command: docker compose")
    programs.answers["docker-compose version"] = (1, "broken")
    with pytest.raises(DockerNotAvailableError, match="or later is not installed") as caught:
        workspace.engine.compose_argv  # noqa: B018 (reading it is what is tested)
    assert caught.value.detail == "unknown command: docker compose"


def test_survey_of_an_engine_that_refuses(workspace, programs):
    """A socket's proxy may forbid the question: no container is touched on an unknown engine."""
    programs.answers = {"docker ps": ""}
    programs.answers["docker info"] = (1, "Error response from daemon: 403 Forbidden")
    with pytest.raises(pg.DockerCommandError, match=r"cannot ask the engine: .*403 Forbidden"):
        pg.survey(workspace)


def test_survey_of_an_engine_that_is_gone(workspace, programs):
    """Where the daemon cannot be reached, that is the error."""
    programs.answers = {"docker ps": ""}
    programs.answers["docker info"] = (1, "Cannot connect to the Docker daemon at unix:///x")
    with pytest.raises(DockerNotAvailableError, match="cannot ask the engine: "):
        pg.survey(workspace)
