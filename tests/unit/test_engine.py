"""The docker CLI: what `docker inspect` says, what a container does, and each question or action.

What docker prints is recorded (tests/data) or as its versions print it; no docker is started.
"""

import io
import json
import shlex
import subprocess
import sys

import pytest
from fakes import HERE, INFO, FakeRunner, make_container, make_image, make_info, recorded

import hive_pg as pg
from hive_pg import (
    CommandResult,
    Console,
    ContainerConflictError,
    ContainerStartupError,
    ContainerState,
    DockerCommandError,
    DockerNotAvailableError,
    Engine,
    Health,
    NotSetUpError,
    Repair,
    WorkspaceError,
    judge_container,
    locate_cluster,
    parse_containers,
    parse_inspect,
    parse_time,
)

INSPECT = json.dumps(recorded("docker_inspect_20.10.24.json"))
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
NO_CONTAINER = (1, "Error: No such container: c")


def engine_of(answers):
    """Return an engine that answers so."""
    return Engine(FakeRunner(answers))


def commands_of(engine):
    """Return what was started, as a shell would take it."""
    return [call.command for call in engine.runner.calls]


# -- docker inspect ------------------------------------------------------------------------------


def test_parse_containers_recorded():
    """Every state that an engine shows is read: running, created, exited, restarting, paused."""
    seen = [
        (info.name, info.state, info.health, info.exit_code, info.restart_count > 0, info.ports)
        for info in parse_containers(INSPECT)
    ]
    state, health = ContainerState, Health
    assert seen == [
        ("unit-rec-healthy", state.RUNNING, health.HEALTHY, 0, False, [("127.0.0.1", 56321)]),
        ("unit-rec-created", state.CREATED, health.NONE, 0, False, [("0.0.0.0", 56322)]),
        ("unit-rec-exited", state.EXITED, health.NONE, 1, False, []),
        ("unit-rec-restarting", state.RESTARTING, health.NONE, 3, True, [("127.0.0.1", 56323)]),
        ("unit-rec-paused", state.PAUSED, health.NONE, 0, False, []),
        ("unit-rec-unhealthy", state.RUNNING, health.UNHEALTHY, 0, False, []),
    ]


def test_parse_containers_port_range():
    """A range of host ports, which somebody else's container may have, is no fixed port."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    ports = [{"HostIp": "", "HostPort": text} for text in ("", "56390-56399", "5599")]
    item["HostConfig"]["PortBindings"]["5432/tcp"], item["NetworkSettings"] = ports, {"Ports": {}}
    item["State"]["Status"] = "exited"
    assert parse_containers(json.dumps([item]))[0].ports == [("0.0.0.0", 5599)]


@pytest.mark.parametrize("status", ["running", "restarting"])
def test_parse_containers_no_port_given(status):
    """What was asked for is not published while it runs in a network that has no way out."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    item["State"]["Status"], item["NetworkSettings"] = status, {"Ports": {}}
    published = [] if status == "running" else [("127.0.0.1", 56321)]
    assert parse_containers(json.dumps([item]))[0].ports == published


def test_parse_containers_ports_given():
    """While it runs, the engine's own word counts: no address means one of each family."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    asked = [{"HostIp": "", "HostPort": text} for text in ("", "5599")]
    item["HostConfig"]["PortBindings"]["5432/tcp"] = asked
    given = [{"HostIp": a, "HostPort": p} for p in ("49153", "5599") for a in ("0.0.0.0", "::")]
    item["NetworkSettings"]["Ports"] = {"5432/tcp": given}
    ports = parse_containers(json.dumps([item]))[0].ports
    assert ports == [("0.0.0.0", 5599), ("::", 5599)]


@pytest.mark.parametrize(("streak", "health"), [(0, Health.STARTING), (10, Health.UNHEALTHY)])
def test_parse_containers_after_pause(streak, health):
    """The engine calls a container unhealthy before it checks it again: that is no failure."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    item["State"]["Health"].update(Status="unhealthy", FailingStreak=streak)
    assert parse_containers(json.dumps([item]))[0].health is health


@pytest.mark.parametrize(
    ("status", "state"), [("stopped", "exited"), ("configured", "unknown"), ("", "unknown")]
)
def test_parse_containers_state_of_another_engine(status, state):
    """A container in a state that Docker does not have, as Podman's may be, breaks nothing."""
    item = json.loads(INSPECT)[0]
    item["State"] |= {"Status": status, "Health": {"Status": "", "FailingStreak": 0}}
    info = parse_containers(json.dumps([item]))[0]
    assert (info.state.value, info.health.value) == (state, "none")


def test_parse_containers_of_compose():
    """Of a container that Compose made, its origin, image, mounts and environment are known."""
    info = parse_containers(INSPECT)[0]
    assert (info.project, info.directory) == ("unit-rec", "/tmp/unit-rec/app")
    assert info.image == "hive-pg-test/pgvector:16"
    assert info.oom_killed is False
    *tmpfs, mount = info.mounts
    assert mount == ("/tmp/unit-rec/app/data/postgres", "/var/lib/postgresql/data")
    assert tmpfs == [("tmpfs:", "/tmp"), ("tmpfs:", "/var/run/postgresql")]
    assert info.environment["POSTGRES_PASSWORD"] == "recorded-password"
    assert info.started_at == pytest.approx(parse_time("2026-11-23T15:54:30Z"), abs=1)
    assert info.running
    assert "recorded-password" not in f"{info} {info!r}"


def test_parse_containers_in_memory():
    """Both forms of Compose's tmpfs: the engine lists one beside the mounts."""
    container = make_container()
    container["Mounts"] = [{"Type": "tmpfs", "Source": "", "Destination": "/a"}]
    container["HostConfig"]["Tmpfs"] = {"/b": "uid=999"}
    (info,) = parse_containers(json.dumps([container]))
    assert sorted(info.mounts) == [("tmpfs:", "/a"), ("tmpfs:", "/b")]
    assert info.replace(environment={"PGDATA": "/b/pgdata"}).home == ("memory", False)


def test_parse_containers_of_others():
    """Of a container that Compose did not make there is no project; a volume has its name."""
    infos = parse_containers(INSPECT)[1:]
    assert {(info.project, info.directory) for info in infos} == {("", "")}
    assert infos[0].mounts == [("unit-rec-volume", "/var/lib/postgresql/data")]
    assert infos[0].cluster == ("", "unit-rec-volume")
    assert infos[4].mounts[0] == ("/tmp/unit-rec/app/data", "/srv")
    assert [info.running for info in infos] == [False, False, False, False, True]


@pytest.mark.parametrize("text", ["", "[]", "[]\n"])
def test_parse_containers_none(text):
    """No container is no error."""
    assert parse_containers(text) == []


@pytest.mark.parametrize("text", ["Hello from docker", "{", "[{]", "\n"])
def test_parse_containers_of_another_program(text):
    """What is called docker and prints no JSON is not Docker: exit 4, its words, a way to see."""
    with pytest.raises(DockerNotAvailableError, match="`docker` does not print JSON") as caught:
        parse_containers(text)
    assert pg.last_line(text) in str(caught.value)
    assert caught.value.hint == "see what it is: type -a docker"


def test_parse_inspect_id():
    """Docker takes the beginning of an id for a name; only the name itself counts."""
    result = CommandResult(0, INSPECT, "")
    assert parse_inspect(result, "unit-rec-exited").exit_code == 1
    assert parse_inspect(result, "unit-rec") is None


@pytest.mark.parametrize(
    "stderr",
    [
        "Error: No such container: c",
        "Error response from daemon: no such object: c",
        'Error response from daemon: no container with name or ID "c" found: no such container',
    ],
    ids=["20.10", "29", "Podman 4.3"],
)
def test_parse_inspect_missing(stderr):
    """A container that is not there is no error; all else is."""
    assert parse_inspect(CommandResult(1, "[]\n", stderr), "c") is None
    with pytest.raises(DockerNotAvailableError, match="cannot inspect the container: the Docker"):
        parse_inspect(CommandResult(1, "", NO_DAEMON), "c")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1970-01-01T00:00:00Z", 0, id="epoch"),
        pytest.param("2026-11-23T15:54:30.563837925Z", 1795449270.563837925, id="nanoseconds"),
        pytest.param("0001-01-01T00:00:00Z", -62135596800, id="never"),
    ],
)
def test_parse_time_text(text, seconds):
    """Docker's times are UTC, and so precise that the log can be asked since then."""
    assert parse_time(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("mounts", "pgdata", "directory", "cluster"),
    [
        pytest.param([], "/d", "", "", id="none"),
        pytest.param([("/h", "/d")], "/d", "/h", "/h", id="the data itself"),
        pytest.param([("/h", "/d/")], "/d/pgdata", "/h", "/h/pgdata", id="above it"),
        pytest.param(
            [("/a", "/"), ("/b", "/d"), ("/c", "/d/x")], "/d/pg", "/b", "/b/pg", id="nearest"
        ),
        pytest.param([("/h", "/data")], "/d", "", "", id="only alike"),
        pytest.param([("/h", "/d/pgdata/sub")], "/d/pgdata", "", "", id="below it"),
        pytest.param([("vol", "/d")], "/d/pgdata", "", "vol/pgdata", id="volume"),
        pytest.param([("vol", "/d")], "/d/", "", "vol", id="a slash at its end"),
        pytest.param(
            [("/h", "/d"), ("vol", "/d/pgdata")], "/d/pgdata", "", "vol", id="volume over it"
        ),
    ],
)
def test_locate_cluster_mounts(mounts, pgdata, directory, cluster):
    """The cluster is below the source of the nearest mount that holds PGDATA."""
    assert locate_cluster(mounts, pgdata) == (directory, cluster)


@pytest.mark.parametrize(
    ("changes", "restarting"),
    [
        ({"state": ContainerState.RESTARTING}, True),
        ({"restart_count": 2, "health": Health.STARTING}, True),
        ({"restart_count": 2, "health": Health.UNHEALTHY}, True),
        ({"restart_count": 2, "health": Health.HEALTHY}, False),
        ({"restart_count": 2, "health": Health.NONE}, False),
        ({"health": Health.STARTING}, False),
        ({"state": ContainerState.EXITED, "restart_count": 2, "health": Health.UNHEALTHY}, False),
    ],
    ids=[
        "now",
        "for a moment",
        "for a moment, unhealthy",
        "came to",
        "unchecked",
        "first",
        "ended",
    ],
)
def test_container_restarting(changes, restarting):
    """One that starts again and again runs for a moment in between."""
    assert make_info(**changes).restarting is restarting


# -- what a container does -----------------------------------------------------------------------

EXITED, RUNNING = ContainerState.EXITED, ContainerState.RUNNING


def judge(changes, logs=None):
    """Return what is said of the container c."""
    info = None if changes is None else make_info(name="c", **changes)
    return judge_container(info, "c", logs)


@pytest.mark.parametrize(
    ("changes", "words", "hint", "code"),
    [
        pytest.param(None, "c is missing", "{start}", 3, id="missing"),
        pytest.param(
            {"state": ContainerState.PAUSED}, "c is paused", "docker unpause c", 3, id="paused"
        ),
        pytest.param({}, "c runs (healthy)", "", 0, id="healthy"),
        pytest.param(
            {"health": Health.STARTING}, "c runs (health check pending)", "", 0, id="starting"
        ),
        pytest.param({"health": Health.NONE}, "c runs (no health check)", "", 0, id="unchecked"),
        pytest.param(
            {"health": Health.UNHEALTHY},
            "c runs, but its health check fails",
            "{logs}",
            5,
            id="unhealthy",
        ),
        pytest.param(
            {"state": ContainerState.RESTARTING, "exit_code": 3},
            "c keeps restarting (exit code 3)",
            "{logs}",
            5,
            id="restarting",
        ),
        pytest.param(
            {"state": EXITED, "exit_code": 1},
            "c is stopped (exit code 1)",
            "{start}",
            3,
            id="ended",
        ),
        pytest.param({"state": ContainerState.DEAD}, "c is dead", "{start}", 3, id="dead"),
        pytest.param({"state": ContainerState.CREATED}, "c is created", "{start}", 3, id="created"),
    ],
)
def test_judge_container_state(changes, words, hint, code):
    """What it does is said in words, with the next step and the exit code."""
    found = judge(changes)
    assert (found.words, found.hint, found.exit_code) == (words, hint, code)
    awaited = found.error(awaited=True)
    assert (str(awaited), awaited.exit_code) == (f"container {words}", 5)


@pytest.mark.parametrize(
    ("changes", "words", "hint", "code"),
    [
        pytest.param(
            {"state": EXITED, "exit_code": 1},
            "c is stopped (exit code 1): its last words are below",
            "{logs}",
            3,
            id="exited",
        ),
        pytest.param(
            {"state": EXITED},
            "c is stopped (exit code 0): its last",
            "{start}",
            3,
            id="told to stop",
        ),
        pytest.param(
            {"state": ContainerState.RESTARTING, "exit_code": 3},
            "c keeps restarting (exit code 3): its last",
            "{logs}",
            5,
            id="restarting",
        ),
        pytest.param(
            {"restart_count": 1}, "c was restarted once: its last", "{logs}", 5, id="again"
        ),
        pytest.param(
            {"restart_count": 5}, "c was restarted 5 times: its", "{logs}", 5, id="again and again"
        ),
        pytest.param({}, "c runs, but does not serve: its last", "{logs}", 5, id="mute"),
        pytest.param(
            {"state": ContainerState.DEAD}, "c is dead: its last words", "{logs}", 3, id="dead"
        ),
        pytest.param(
            {"state": EXITED, "exit_code": 137, "oom_killed": True},
            "c is stopped (exit code 137): the kernel ended it for lack of memory",
            "give Docker more memory",
            3,
            id="out of memory",
        ),
    ],
)
def test_judge_container_last_words(changes, words, hint, code):
    """With its last words, the cause is said, too, and the words are kept."""
    found = judge(changes, "last\nwords\n")
    assert found.words.startswith(words)
    assert (found.hint, found.exit_code, found.detail) == (hint, code, "last\nwords\n")


def test_judge_container_diagnosis():
    """What the last words mean is said, with the remedy and the repair of their row."""
    found = judge({"state": EXITED, "exit_code": 1}, 'data directory "/d" has wrong ownership')
    assert "belongs to another user" in found.words
    assert (found.hint[:6], found.repair) == ("{init}", Repair.OWNER)


AT = "2026-11-27 10:00:00.000 UTC [77] "


@pytest.mark.parametrize(
    "words",
    [
        'ERROR:  unrecognized configuration parameter "app.tenant"',
        'ERROR:  could not open file "/x.csv" for reading: Permission denied',
        "ERROR:  out of memory",
        f"ERROR:  no\n{AT}QUERY:  select 1\n{AT}CONTEXT:  data directory has wrong ownership",
        "STATEMENT:  select 'data directory has wrong ownership'",
        "STATEMENT:  do $$\n\tbegin raise 'has wrong ownership'; end $$",
    ],
)
def test_judge_container_errors_of_its_clients(words):
    """What an application asked for in vain is not why the server ended: nothing is mended."""
    said = f"{AT}{words}\n{AT}LOG:  received fast shutdown request\n"
    found = judge({"state": EXITED, "exit_code": 1}, said)
    assert "its last words are below" in found.words
    assert (found.repair, found.detail) == (None, said)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("psql:/docker-entrypoint-initdb.d/1.sql:3: ERROR:  disk: No space left on device", "disk"),
        (f"{AT}PANIC:  could not write to file: No space left on device", "disk is full"),
        (f"{AT}ERROR:  x\n{AT}FATAL:  could not load /d/pg_hba.conf", "cluster is incomplete"),
        ('initdb: error: could not access directory "/d": Permission denied', "another user"),
    ],
    ids=["a script of the first start", "PANIC", "FATAL", "initdb"],
)
def test_judge_container_errors_of_its_own(words, cause):
    """What the server itself, initdb or a script of the first start died of is said."""
    assert cause in judge({"state": EXITED, "exit_code": 1}, f"{words}\n").words


def test_judge_container_no_words():
    """One whose log cannot be read is judged all the same."""
    found = judge({"state": ContainerState.RESTARTING}, "")
    assert found.words == "c keeps restarting (exit code 0): it left no words to read"


@pytest.mark.parametrize(
    ("changes", "error"),
    [(None, NotSetUpError), ({"state": ContainerState.RESTARTING}, ContainerStartupError)],
    ids=["not running", "unhealthy"],
)
def test_condition_error(changes, error):
    """Its error has the exit code that it stands for, the hint and the last words."""
    found = judge(changes, "words")
    made = found.error()
    assert (type(made), made.exit_code) == (error, found.exit_code)
    assert (str(made), made.hint) == (f"container {found.words}", found.hint)
    assert (made.detail, made.repair) == (found.detail, found.repair)


# -- starting docker -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        pytest.param(
            FileNotFoundError(2, "No such file or directory", "docker"),
            DockerNotAvailableError,
            "^Docker is not installed$",
            id="no docker",
        ),
        pytest.param(
            PermissionError(13, "Permission denied", "docker"),
            WorkspaceError,
            "^cannot run docker in /gone: Permission denied$",
            id="not executable",
        ),
        pytest.param(
            FileNotFoundError(2, "No such file or directory", "/gone"),
            WorkspaceError,
            "^cannot run docker in /gone: No such file or directory$",
            id="no directory",
        ),
        pytest.param(
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            WorkspaceError,
            r"^cannot run docker in /gone: No usable temporary directory found in \['/tmp'\]$",
            id="full disk",
        ),
        pytest.param(
            OSError(24, "Too many open files"),
            WorkspaceError,
            "^cannot run docker in /gone: Too many open files$",
            id="no more files",
        ),
    ],
)
def test_engine_start_refused(error, raised, message):
    """A program that is missing is Docker missing, a directory that is missing is not."""
    with pytest.raises(raised, match=message) as caught:
        engine_of({"docker": error}).run(["docker", "ps"], cwd="/gone")
    assert caught.value.hint


@pytest.mark.parametrize("given", ["", "x\n"], ids=["none", "some"])
def test_engine_run_stdin(given):
    """Without a text for it, nothing can wait for stdin."""
    engine = engine_of({"docker": "out"})
    assert engine.run(["docker", "exec"], stdin=given).stdout == "out"
    (call,) = engine.runner.calls
    assert (call.takes_stdin, call.reads, call.stdin) == (bool(given), None, given)


def test_engine_ask_refused():
    """What fails says what it was for."""
    engine = engine_of({"docker": (1, "Error response from daemon: odd")})
    with pytest.raises(DockerCommandError, match=r"^cannot ask: Error response from daemon: odd$"):
        engine.ask("cannot ask", "ps")


# -- Compose -------------------------------------------------------------------------------------

NO_PLUGIN = (1, "docker: 'compose' is not a docker command.")


NOT_THERE = FileNotFoundError(2, "No such file or directory", "docker-compose")


@pytest.mark.parametrize(
    ("plugin", "standalone", "argv"),
    [
        pytest.param("2.26.1\n", None, ["docker", "compose"], id="plugin"),
        pytest.param("2.26.1\n", "2.20.0\n", ["docker", "compose"], id="both"),
        pytest.param("dev\n", None, ["docker", "compose"], id="plugin of one's own"),
        pytest.param(NO_PLUGIN, "2.20.0\n", ["docker-compose"], id="standalone"),
        pytest.param(NO_PLUGIN, "v10.1.0\n", ["docker-compose"], id="standalone, some day"),
    ],
)
def test_find_compose_there(plugin, standalone, argv):
    """The plugin is taken, or else docker-compose of version 2 or later; asked once."""
    answers = {"docker compose version": plugin, "docker-compose version": standalone}
    engine = engine_of(answers)
    assert engine.compose_argv == engine.compose_argv == argv
    assert commands_of(engine).count("docker compose version --short") == 1


@pytest.mark.skipif(pg.WINDOWS, reason="there docker is docker.exe, which starts Compose")
@pytest.mark.parametrize(
    ("program", "mode", "name", "plugin", "direct"),
    [
        pytest.param(b"\x7fELF", 0o755, "docker", "/my plugins/compose", True, id="the CLI"),
        pytest.param(b"\x7fELF", 0o755, "docker", "/a|b/compose", True, id="a bar in the path"),
        pytest.param(b"\x7fELF", 0o755, "docker", "plugins/compose", False, id="a relative path"),
        pytest.param(b"#!/bin/sh\n", 0o755, "docker", "/compose", False, id="a script"),
        pytest.param(b"\x7fELF", 0o755, "snap", "/compose", False, id="snap's"),
        pytest.param(b"\x7fELF", 0o2755, "docker", "/compose", False, id="one with a group"),
        pytest.param(b"\x7fELF", 0o644, "docker", "/compose", False, id="no program"),
    ],
)
def test_compose_alone(tmp_path, monkeypatch, program, mode, name, plugin, direct):
    """Compose needs no docker in front, unless that may choose the engine, or reach another one."""
    (tmp_path / "real").mkdir()
    file = tmp_path / "real" / name
    file.write_bytes(program)
    file.chmod(mode)
    (tmp_path / "docker").symlink_to(file)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    engine = engine_of({"docker info": INFO.replace("2.26.1-4", f"2.26.1 (patched)\t{plugin}")})
    assert engine.facts.identity == HERE
    assert engine.compose_version == "2.26.1 (patched)"
    assert engine.compose_argv == ["docker", "compose"]
    assert engine.plugin == (plugin if direct else "")


@pytest.mark.parametrize(
    ("standalone", "message"),
    [
        pytest.param(NOT_THERE, "is not installed$", id="none"),
        pytest.param("1.29.2\n", "is not installed$", id="version 1"),
        pytest.param((1, "odd"), "is not installed$", id="broken"),
    ],
)
def test_find_compose_missing(standalone, message):
    """Without one that will do it is exit 4, and how to get one."""
    answers = {"docker compose version": NO_PLUGIN, "docker-compose version": standalone}
    with pytest.raises(DockerNotAvailableError, match=f"Compose 2 or later {message}") as caught:
        engine_of(answers).compose_argv  # noqa: B018
    assert "https://docs.docker.com/compose/install/" in caught.value.hint
    assert caught.value.detail == NO_PLUGIN[1]


# -- questions and actions -----------------------------------------------------------------------


def test_engine_containers_all():
    """All containers are inspected at once."""
    engine = engine_of({"docker ps": "1\n2\n", "docker inspect": INSPECT})
    assert len(engine.containers()) == 6
    assert commands_of(engine)[1] == "docker inspect --type container 1 2"


def test_engine_containers_none():
    """Without containers there is nothing to inspect."""
    assert engine_of({"docker ps": ""}).containers() == []


def test_engine_containers_one_gone():
    """One that is removed in between is no error: the others are printed."""
    text = json.dumps(recorded("docker_inspect_20.10.24.json")[:1])
    engine = engine_of({"docker ps": "1\n2\n", "docker inspect": (*NO_CONTAINER, text)})
    assert [info.name for info in engine.containers()] == ["unit-rec-healthy"]
    engine = engine_of({"docker ps": "1\n2\n", "docker inspect": (1, "odd", text)})
    with pytest.raises(DockerCommandError, match="cannot inspect the containers: odd"):
        engine.containers()


def test_engine_container_name():
    """A container is found by its name; without one it is None."""
    assert engine_of({"docker inspect": INSPECT}).container("unit-rec-paused").name
    assert engine_of({"docker inspect": NO_CONTAINER}).container("c") is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(
            '{"Env": ["PG_MAJOR=16", "A=b=c"], "Volumes": {"/v": {}}}',
            pg.ImageInfo({"PG_MAJOR": "16", "A": "b=c"}, ["/v"]),
            id="some",
        ),
        pytest.param('{"Env": null, "Volumes": null}', pg.ImageInfo({}, []), id="none"),
        pytest.param("null\n", pg.ImageInfo({}, []), id="no configuration"),
        pytest.param((1, "Error: No such image: x"), None, id="no image"),
        pytest.param((1, "Error: failed to find image x: x: image not known"), None, id="Podman"),
    ],
)
def test_engine_find_image(answer, found):
    """An image that is not there is told from one that sets nothing."""
    assert engine_of({"docker image inspect": answer}).find_image("x") == found


@pytest.mark.parametrize("quiet", [False, True], ids=["shown", "quiet"])
def test_engine_pull_progress(quiet):
    """Docker's own progress goes to stderr, unless it is to be quiet."""
    engine = engine_of({"docker pull x": ""})
    engine.runner.console = Console(quiet=quiet)
    engine.pull("x")
    assert engine.runner.calls[0].writes == (None if quiet else sys.stderr.fileno())


@pytest.mark.parametrize("stderr", [io.StringIO(), None], ids=["a notebook's", "none"])
def test_engine_pull_without_a_descriptor(monkeypatch, stderr):
    """Where Docker cannot write its progress, it pulls all the same."""
    engine = engine_of({"docker pull x": ""})
    engine.runner.console = Console(quiet=True)
    engine.runner.console.quiet, engine.runner.console.note = False, lambda text: None
    monkeypatch.setattr(sys, "stderr", stderr)
    engine.pull("x")
    assert engine.runner.calls[0].writes is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(
            DockerNotAvailableError("`docker pull` did not answer within 2 s"),
            "cannot pull x: `docker pull` did not answer within 2 s",
            id="hangs",
        ),
        pytest.param(
            (1, "dial tcp: lookup x: no such host"),
            "cannot pull x: dial tcp: lookup x: no such host",
            id="refused",
        ),
    ],
)
def test_engine_pull_failed(answer, message):
    """A registry that does not answer is not put down to Docker."""
    with pytest.raises(DockerCommandError, match=message) as caught:
        engine_of({"docker pull": answer}).pull("x")
    assert caught.value.hint.endswith("or HIVE_POSTGRES_IMAGE in .env")


@pytest.mark.parametrize(
    ("mounted", "mount"),
    [
        ("/w/d", 'type=bind,"source=/w/d",target=/target'),
        ('/w/a,"b', 'type=bind,"source=/w/a,""b",target=/target'),
        ("app_pg", 'type=volume,"source=app_pg",target=/target'),
    ],
    ids=["directory", "odd name", "volume"],
)
def test_engine_run_in_place_mount(mounted, mount):
    """Root's program sees a directory or a volume at /target, and no network."""
    engine = engine_of({"docker run": ""})
    engine.run_in_place("x", mounted, "mv", "a b", "c")
    (words,) = map(shlex.split, commands_of(engine))
    assert words[words.index("--mount") + 1] == mount
    assert words[words.index("--network") + 1] == "none"
    assert words[words.index("--entrypoint") + 1] == "mv"
    assert words[-3:] == ["x", "a b", "c"]


def test_engine_give_data_to_user():
    """The owner is the program's argument, not a part of the script."""
    engine = engine_of({"docker run": ""})
    engine.give_data_to((5, 6), "/w/d", "/w/d/16/main", "x")
    assert shlex.split(commands_of(engine)[0])[-2:] == ["5:6", "16"]
    with pytest.raises(DockerCommandError, match="cannot change the owner of /w/d: odd"):
        engine_of({"docker run": (1, "odd")}).give_data_to((5, 6), "/w/d", "/w/d", "x")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("own", "names", "foreign"),
    [
        pytest.param(
            "pgdata", ["pgdata/base", "pgdata.incomplete-1/base", "lost+found/"], "", id="ours"
        ),
        pytest.param("pgdata", [], "", id="nothing"),
        pytest.param("pgdata", ["pgdata/base", ".gitkeep", ".gitignore"], "", id="git's own"),
        pytest.param("pgdata", ["pgdata/base", ".git/config"], ".git", id="a repository"),
        pytest.param("pgdata", ["pgdata/base", "photos"], "photos", id="a file"),
        pytest.param("pgdata", [".profile"], ".profile", id="a hidden one"),
        pytest.param("pgdata", ["a' b/c"], "a' b", id="a directory"),
        pytest.param("pgdata", ["PG_VERSION", "base/1"], "PG_VERSION", id="another cluster"),
        pytest.param("", ["PG_VERSION", "base/1", "pg_wal/1"], "", id="it fills the directory"),
        pytest.param("", ["photos"], "photos", id="it would"),
    ],
)
def test_engine_give_data_to_nobody(tmp_path, own, names, foreign):
    """Beside anything else the directory stays as it is, and so does what is in it."""
    (tmp_path / "target").mkdir()
    for name in names:
        path = tmp_path / "target" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    script = pg._GIVE_SCRIPT.replace("/target", str(tmp_path / "target")).replace("chown", "echo")
    argv = ["sh", "-c", script, "5:6", own]
    result = subprocess.run(argv, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (pg._FOREIGN if foreign else 0, "")
    given = "5:6 .\n" + f"-Rh 5:6 ./{own}\n" * bool(names)
    assert result.stdout == (f"{foreign}\n" if foreign else given)


def test_engine_give_data_to_nobody_error():
    """The error names what is there, and what helps."""
    engine = engine_of({"docker run": (pg._FOREIGN, "")})
    with pytest.raises(pg.WorkspaceError, match="/w/d is not given to 5:6: it has other files"):
        engine.give_data_to((5, 6), "/w/d", "/w/d/pgdata", "x", "do it by hand")


def test_engine_try_to_publish_refused():
    """An address that is not the engine's is said to be so."""
    words = "listen tcp4 203.0.113.7:0: bind: cannot assign requested address"
    with pytest.raises(DockerCommandError, match=r"cannot publish on 203.*no such address"):
        engine_of({"docker run": (125, words)}).try_to_publish("x", "203.0.113.7")


def test_engine_stop_grace():
    """The server has its grace, and docker more than that."""
    engine = engine_of({"docker stop -t 7 c": ""})
    engine.stop("c", grace=7)
    with pytest.raises(ContainerConflictError, match="cannot stop the container: "):
        engine_of({"docker stop": (1, "port is already allocated")}).stop("c", grace=7)


IN_USE = "error while removing network: network w_app has active endpoints\nexit status 1"


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"docker network ls": ""}, id="none"),
        pytest.param({"docker network ls": "a\nb\n", "docker network rm a b": ""}, id="gone"),
        pytest.param({"docker network ls": "a\n", "docker network rm": (1, IN_USE)}, id="in use"),
    ],
)
def test_engine_remove_networks(capsys, answers):
    """A network that others use stays, and it is said why."""
    engine = engine_of(answers)
    engine.runner.console = Console()
    engine.remove_networks("w")
    assert ("w_app has active" in capsys.readouterr().err) is ("docker network rm" in answers)


def test_engine_remove_networks_refused():
    """Any other reason is an error."""
    engine = engine_of({"docker network ls": "a\n", "docker network rm": (1, "odd")})
    with pytest.raises(DockerCommandError, match="cannot remove the network: odd"):
        engine.remove_networks("w")


LOCAL = {"identity": ["ID", "/var/lib/docker", "me"], "system": "Debian GNU/Linux 12"}


@pytest.mark.parametrize(
    ("system", "changes", "elsewhere"),
    [
        pytest.param("Linux", {}, False, id="here"),
        pytest.param("Linux", {"endpoint": "unix:///run/user/1/docker.sock"}, False, id="rootless"),
        pytest.param("Linux", {"endpoint": "tcp://127.0.0.1:2375"}, False, id="over loopback"),
        pytest.param("Linux", {"endpoint": "tcp://10.0.0.5:2375"}, True, id="over TCP"),
        pytest.param("Linux", {"endpoint": "ssh://bob@db"}, True, id="over SSH"),
        pytest.param("Darwin", {"endpoint": "ssh://bob@db"}, True, id="over SSH, from macOS"),
        pytest.param("Linux", {"identity": ["ID", "/", "db"]}, True, id="a forwarded socket"),
        pytest.param("Linux", {"near": False}, True, id="in a container with the host's name"),
        pytest.param("Linux", {"system": "Docker Desktop", "near": False}, False, id="Desktop"),
        pytest.param("Darwin", {"near": False}, False, id="macOS"),
    ],
)
def test_is_elsewhere(system, changes, elsewhere):
    """A remote engine, and any engine from inside a container, has another disk and ports."""
    facts = pg.EngineFacts(**{**LOCAL, **changes})
    assert pg.is_elsewhere(pg.Host(system, "me"), facts) is elsewhere


RECORDED = recorded("docker_info_20.10.24.json")  # each of a dockerd of its own, in IDENTITY's form
PODMAN = recorded("docker_info_podman_4.3.1.json")  # two calls of one engine, through its socket
MOUNTS = """\
22 1 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
28 27 0:30 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\
29 27 0:31 / /media/a\\040stick rw - vfat /dev/sdb1 rw
30 27 0:32 / /mnt/nas rw - nfs4 nas:/ rw
31 27 0:33 / /mnt/share rw - cifs //nas/share rw
32 27 0:34 / /mnt/ntfs rw - fuseblk /dev/sdc1 rw
33 27 0:35 / /mnt/exfat rw - exfat /dev/sdd1 rw
34 27 0:36 / /mnt/sshfs rw - fuse.sshfs nas:/ rw
35 27 0:37 / /mnt/fast rw - xfs /dev/sde1 rw
36 27 0:38 / /vagrant rw - vboxsf vagrant rw
37 27 0:39 / /media/psf rw - prl_fs none rw
"""  # proc(5): the root and a disk, and what WSL, sticks and network drives look like in it


@pytest.mark.parametrize(
    ("info", "path", "changes", "placement", "why"),
    [
        pytest.param("local", "/home/ann/app", {}, "bind", "local engine", id="rootful, local"),
        pytest.param("local", "/mnt/fast/app", {}, "bind", "local engine", id="another disk"),
        pytest.param("local", "/mnt/cold", {}, "bind", "local engine", id="beside a mount"),
        pytest.param("rootless", "/home/ann/app", {}, "volume", "rootless", id="rootless"),
        pytest.param(
            "userns-remap", "/home/ann", {}, "volume", "that maps users", id="userns-remap"
        ),
        pytest.param("podman", "/home/ann/app", {}, "volume", "Podman", id="rootless Podman"),
        pytest.param(
            *("remote-tcp", "/home/ann", {"endpoint": "tcp://10.9.9.2:2375"}),
            *("volume", "another disk"),
            id="remote, over TCP",
        ),
        pytest.param("local", "/w", {"near": False}, "volume", "another disk", id="in a container"),
        pytest.param(
            *("local", "/home/ann", {"system": "Docker Desktop"}, "volume", "Docker Desktop"),
            id="Docker Desktop on Linux",
        ),
        pytest.param("local", "/Users/ann", {"os": "Darwin"}, "volume", "Darwin", id="macOS"),
        pytest.param("local", "C:\\app", {"os": "Windows"}, "volume", "Windows", id="Windows"),
        pytest.param("local", "/mnt/c/app", {}, "volume", "9p lacks owners", id="WSL, a drive"),
        pytest.param("local", "/media/a stick/app", {}, "volume", "vfat lacks owners", id="vfat"),
        pytest.param("local", "/mnt/nas/app", {}, "volume", "nfs4 lacks owners", id="NFS"),
        pytest.param("local", "/mnt/share/app", {}, "volume", "cifs lacks owners", id="CIFS"),
        pytest.param("local", "/mnt/ntfs/app", {}, "volume", "fuseblk lacks owners", id="ntfs"),
        pytest.param("local", "/mnt/exfat/app", {}, "volume", "exfat lacks owners", id="exfat"),
        pytest.param("local", "/mnt/sshfs", {}, "volume", "fuse.sshfs lacks owners", id="FUSE"),
        pytest.param("local", "/vagrant/app", {}, "volume", "vboxsf lacks", id="VirtualBox"),
        pytest.param("local", "/media/psf/app", {}, "volume", "prl_fs lacks", id="Parallels"),
        pytest.param(
            *("local", "/home/ann", {"security": "[name=selinux]"}, "volume", "SELinux"),
            id="SELinux",
        ),
    ],
)
def test_choose_data_placement(info, path, changes, placement, why):
    """A directory where it works, for people to see; a volume where it does not, and why."""
    system = changes.pop("os", "Linux") if changes else "Linux"
    host = pg.Host(system, "vm", pg.find_filesystem(MOUNTS, path))
    said = {**RECORDED, "podman": PODMAN["rootless"]}[info]
    facts = engine_of({"docker info": said}).facts.replace(**{"near": True, **changes})
    chosen, reason = pg.choose_data_placement(host, facts)
    assert (chosen, why in reason) == (placement, True), reason


def test_engine_facts_podman():
    """It is the same engine at each call, whatever ID it gives, and has its name in `init`."""
    engines = [engine_of({"docker info": said}) for said in PODMAN.values()]
    first, again = (engine.facts.identity for engine in engines)
    assert first == again == ["Podman", "/home/hive-pg-test/.local/share/containers/storage", "vm"]
    assert engines[0].versions == "Podman 4.3.1, Compose 2.26.1"


@pytest.mark.parametrize("shell", [True, False], ids=["DOCKER_HOST", "a context"])
def test_engine_facts_endpoint(monkeypatch, shell):
    """The endpoint is the shell's, or the context's: of one with a name of its own, it is asked."""
    info = INFO.replace("default|", "far|") if not shell else INFO
    engine = engine_of({"docker info": info, "docker context inspect": "ssh://bob@db\n"})
    if shell:
        monkeypatch.setenv("DOCKER_HOST", "ssh://bob@db")
    assert engine.facts.endpoint == "ssh://bob@db"
    assert len(engine.runner.calls) == 2 - shell


@pytest.mark.parametrize("said", ["hello\n", INFO.replace("|", " ")])
def test_engine_facts_unknown(said):
    """Another program's answer is an error: it would be any engine."""
    with pytest.raises(DockerCommandError, match="cannot ask the engine"):
        engine_of({"docker info": said}).facts  # noqa: B018


def test_engine_facts_refused():
    """Docker's CLI 23 to 27 exits with 0, and an empty answer, where the engine refuses it."""
    answer = (0, "Error response from daemon: 403 Forbidden", "||||[][]|default||2.38.2\t/x\n")
    with pytest.raises(DockerCommandError, match=r"cannot ask the engine: .* 403 Forbidden"):
        engine_of({"docker info": answer}).facts  # noqa: B018
    answer = (0, NO_DAEMON, answer[2])
    with pytest.raises(DockerNotAvailableError, match="the Docker daemon is not running"):
        engine_of({"docker info": answer}).facts  # noqa: B018


@pytest.mark.parametrize(("answer", "there"), [("w_pg\n", True), ("\n", False)])
def test_engine_has_volume(answer, there):
    """A volume is there where docker lists one."""
    engine = engine_of({"docker volume ls": answer})
    assert engine.has_volume("w_pg") is there


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param((0, "err\n", "out\n"), "out\nerr\n", id="both streams"),
        pytest.param(NO_CONTAINER, "", id="gone"),
        pytest.param(
            (1, "Error response from daemon: configured logging driver does not support reading"),
            "",
            id="kept nowhere",
        ),
    ],
)
def test_engine_logs(answer, text):
    """Where there are no words to read there are none, and no error."""
    engine = engine_of({"docker logs --tail 3 --since 1.500000 c": answer})
    assert engine.logs("c", 3, since=1.5) == text


def test_engine_logs_refused():
    """Any other reason is an error."""
    with pytest.raises(DockerNotAvailableError, match="cannot read the logs: "):
        engine_of({"docker logs": (1, NO_DAEMON)}).logs("c")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(make_image("16"), True, id="PostgreSQL"),
        pytest.param(make_image("16", ""), False, id="a client's"),
        pytest.param('{"Env": null}', False, id="another"),
        pytest.param((1, "Error: No such image: x"), False, id="not here"),
    ],
)
def test_is_server(answer, found):
    """The official image and those built from it say so in their environment."""
    engine = Engine(FakeRunner({"docker image inspect": answer}))
    assert engine.is_server("x") is found
