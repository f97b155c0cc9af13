"""`init`: what it decides, writes, recovers and mends, and what it refuses."""

import contextlib
import json
import os
import shutil
import stat

import pytest
from fakes import (
    DATA,
    HERE,
    INFO,
    REFUSED,
    WAITING,
    WELL,
    make_cluster,
    make_container,
    make_image,
    make_settings,
    make_url,
    recorded,
)

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    ContainerStartupError,
    CredentialsRefusedError,
    DockerCommandError,
    DockerNotAvailableError,
    EnvFileError,
    WorkspaceError,
)

pytestmark = pytest.mark.usefixtures("quick")

SET_PASSWORD = "set password_encryption = 'scram-sha-256';\n\\password\n"

NO_DATABASE = (82, 'FATAL:  database "hive" does not exist')
NO_LINE = (82, "FATAL:  no pg_hba.conf entry for host")


@pytest.fixture
def init(tmp_path, manager_of):
    """Return a function that sets a directory up, a new one by default, not asking anybody."""

    def run(directory=None, interactive=False, **options):
        directory = directory or tmp_path / "new"
        manager = manager_of(directory)
        assert manager.setup_postgres_container(interactive=interactive, **options) is True
        return directory

    return run


def env_of(workspace):
    """Return what .env says."""
    return pg.Workspace(str(workspace)).values


def state_of(workspace):
    """Return what the state file has."""
    return pg.Workspace(str(workspace)).state


def remember(workspace, **changes):
    """Write the state file of a workspace."""
    pg.Workspace(str(workspace)).remember(**changes)


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


# -- from nothing --------------------------------------------------------------------------------


def test_init_new(init, docker, capsys):
    """From nothing: files, data, container, and a login that makes the extension."""
    new = init()
    assert docker.commands.index("docker compose up") < docker.commands.index("docker exec")
    assert "create extension if not exists vector" in docker.calls[-1].argv[-1]
    names = [".env", ".gitignore", ".hive-pg.json", "data", "docker-compose.yml"]
    assert sorted(os.listdir(new)) == names
    modes = [stat.S_IMODE((new / name).stat().st_mode) for name in (".env", ".hive-pg.json")]
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE((new / "data" / "postgres").stat().st_mode) == 0o700
    assert (new / "data" / "postgres").stat().st_uid == pg.get_postgres_uid_gid()[0]
    values = env_of(new)
    assert list(values) == [key for key, value in pg.parse_settings(values).env.items() if value]
    assert values["POSTGRES_PASSWORD"] not in capsys.readouterr().err
    assert values["POSTGRES_PASSWORD"] not in (new / ".hive-pg.json").read_text()


def test_init_remembers(init):
    """After the first login the state file says whose the workspace is, and that it serves."""
    new = init()
    state, settings = state_of(new), pg.Workspace(str(new)).settings
    assert (state.id, state.directory) == (settings.workspace, str(new))
    assert (state.user, state.database) == (settings.url.user, "hive")
    assert (state.verified, state.major) == (True, "16")
    assert state.engine == HERE


def in_volume(call):
    """Answer for a volume with a cluster of the image's version."""
    return "16\n" if "/PG_VERSION" in call.command else "base\n"


# -- where the data is ---------------------------------------------------------------------------

ELSEWHERE = INFO.replace(HERE[2], "db")
ROOTLESS = INFO.replace("default]", "default name=rootless]")
EIGHTEEN = make_image("18", "/var/lib/postgresql/18/docker", "/var/lib/postgresql")


@pytest.mark.parametrize(
    ("info", "wanted", "volume", "why"),
    [
        pytest.param(INFO, None, False, "; data here: local engine", id="here"),
        pytest.param(INFO, "volume", True, "_postgres: --data volume", id="here, on request"),
        pytest.param(ROOTLESS, None, True, "_postgres: rootless engine", id="rootless"),
        pytest.param(ROOTLESS, "bind", False, "; data here: --data bind", id="on request, too"),
        pytest.param(ELSEWHERE, None, True, "_postgres: engine with another", id="elsewhere"),
    ],
)
def test_init_places_the_data(init, docker, capsys, info, wanted, volume, why):
    """In a directory, or in a volume that is the image's own user's; again, nothing changes."""
    docker.answers["docker info"] = info
    docker.answers["docker run"] = ""  # the engine's disk has none
    new = init(data=wanted)
    values, state = env_of(new), state_of(new)
    assert values.get("HIVE_POSTGRES_DATA", "") == "volume" * volume
    assert ("POSTGRES_UID" in values) is not volume
    assert (new / "data").exists() is not volume
    assert why in capsys.readouterr().err
    checked = pg.check(pg.Workspace(str(new), engine=pg.Engine(docker)))
    assert f"({state.reason})" in checked.points[1].finding
    before, docker.answers["docker run"] = snapshot(new), "PG_VERSION\n"
    init(new)
    assert snapshot(new) == before
    assert "; data " not in capsys.readouterr().err


def test_init_in_a_directory_that_cannot_work(init, docker, capsys):
    """Who wants one all the same hears why it may fail."""
    docker.answers["docker info"] = ROOTLESS
    init(data="bind")
    said = capsys.readouterr().err
    assert said.count("warning: a directory may not do here (rootless") == 1
    assert "--data volume" in said


@pytest.mark.parametrize("data", ["bind", "volume"])
def test_init_mounts_where_the_image_has_its_volume(init, docker, data):
    """From 18 on that is another directory; the data has the same names in it."""
    docker.answers["docker image inspect"] = EIGHTEEN
    docker.answers["docker exec"] = WELL.replace("16.14", "18.4")
    new = init(data=data, start=False)
    assert env_of(new)["HIVE_POSTGRES_TARGET"] == "/var/lib/postgresql"
    assert init(new) == new


@pytest.mark.parametrize(("data", "other"), [("bind", "volume"), ("volume", "bind")])
def test_init_keeps_data_where_it_is(init, docker, data, other):
    """Another place takes a backup and a restore; once there is no data, it is free."""
    new = init(data=data)
    docker.answers["docker run"] = "PG_VERSION\n"
    assert init(new, data=data) == new
    with pytest.raises(WorkspaceError, match="the data is in") as caught:
        init(new, data=other)
    assert f"hive-pg init {new} --data {other}; hive-pg restore {new} FILE" in caught.value.hint
    docker.containers.clear()
    docker.answers["docker volume ls"] = ""
    shutil.rmtree(new / "data", ignore_errors=True)
    init(new, data=other)
    values, uid = env_of(new), str(pg.get_postgres_uid_gid()[0])
    assert values.get("HIVE_POSTGRES_DATA") == ("" if data == "volume" else "volume")
    assert values["POSTGRES_UID"] == ("" if data == "bind" else uid)


def test_init_bind_in_env(init, workspace):
    """What a person may write for a directory is what the compose file takes for one: nothing."""
    with open(workspace / ".env", "a") as file:
        file.write("HIVE_POSTGRES_DATA=bind\n")
    init(workspace)
    assert env_of(workspace)["HIVE_POSTGRES_DATA"] == ""


@pytest.mark.parametrize("container", [True, False], ids=["a container", "the state"])
def test_init_recovers_a_volume(init, docker, container):
    """A lost `.env` comes back, with the place of the data in it."""
    new = init(data="volume")
    os.unlink(new / ".env")
    docker.answers["docker run"] = "PG_VERSION\n"
    if not container:
        docker.containers.clear()
    init(new)
    values = env_of(new)
    assert values["HIVE_POSTGRES_DATA"] == "volume"
    assert values["POSTGRES_USER"] == state_of(new).user


def test_init_recovers_a_volume_beside_an_example(init, docker):
    """An example's blank keys are no answer: the volume has the name that it had."""
    new = init(data="volume")
    remember(new, project="old-1a2b3c")
    (new / ".env").unlink()
    (new / ".env.example").write_text("COMPOSE_PROJECT_NAME=\nHIVE_POSTGRES_DATA=\n")
    docker.containers.clear()
    docker.answers["docker volume ls"] = "old-1a2b3c_postgres\n"
    docker.answers["docker run"] = "PG_VERSION\n"
    init(new)
    assert env_of(new)["COMPOSE_PROJECT_NAME"] == "old-1a2b3c"


def test_init_of_a_volume_that_another_version_made(init, docker):
    """It is refused before it starts, also where nothing remembers the version."""
    new = init(data="volume")
    remember(new, major="")
    docker.answers["docker run"] = "15\n"
    with pytest.raises(ContainerStartupError, match=r"made by PostgreSQL 15, .* is 16"):
        init(new)


def test_init_never_calls_what_the_engine_has_missing(init, docker, capsys):
    """Where the engine has another disk, it is asked what is there, not this one."""
    docker.answers["docker info"] = ELSEWHERE
    docker.answers["docker run"] = ["", "", "", "PG_VERSION\n"]
    new = init(data="bind")
    assert not (new / "data").exists()
    capsys.readouterr()
    init(new)
    assert "empty database" not in capsys.readouterr().err
    docker.answers["docker run"] = (1, "invalid mount config: bind source path does not exist: /w")
    init(new)
    assert "on the engine's disk, " in capsys.readouterr().err


def test_init_wish_for_data_in_vain(init, docker, workspace):
    """Somebody's own compose file says where the data is."""
    (workspace / "docker-compose.yml").write_text("services: {}\n")
    with pytest.raises(WorkspaceError, match="--data volume has no effect"):
        init(workspace, data="volume")


@pytest.mark.parametrize("change", [None, "the same"], ids=["new", "twice"])
def test_init_parses_env_once_and_after_each_write(monkeypatch, init, change):
    """`.env` is read into values once, and once more after each time it was written."""
    directory = init() if change else None
    parsed, written, parse, write = [], [], pg.parse_env, pg.write_file
    monkeypatch.setattr(pg, "parse_env", lambda *given: parsed.append(1) or parse(*given))
    monkeypatch.setattr(pg, "write_file", lambda *given: written.append(given[0]) or write(*given))
    init(directory)
    writes = sum(path.endswith("/.env") for path in written)
    assert writes == (0 if change else 1)
    assert len(parsed) == 1 + writes


def test_init_twice(init):
    """The second time nothing is written."""
    new = init()
    before = snapshot(new)
    init(new)
    assert snapshot(new) == before


def test_init_no_start(init, docker):
    """Without a start the files and the data directory are there, and no container."""
    new = init(start=False)
    assert (new / "data" / "postgres").is_dir()
    assert docker.containers == []
    assert not state_of(new).verified


def test_init_running(init, up, network):
    """A container of ours that serves the port is no conflict, and its data stay."""
    network.taken.add(5532)
    before = snapshot(up / "data/postgres")
    init(up)
    assert env_of(up)["HIVE_POSTGRES_PORT"] == "5532"
    assert snapshot(up / "data/postgres") == before


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [
        pytest.param({"port": 6000}, "HIVE_POSTGRES_PORT", "6000", id="port"),
        pytest.param({"database": "app"}, "POSTGRES_DB", "app", id="database"),
        pytest.param({"image": "pgvector/pgvector:pg16"}, "HIVE_POSTGRES_IMAGE",
                     "pgvector/pgvector:pg16", id="image"),
        pytest.param({"bind": "0.0.0.0"}, "HIVE_POSTGRES_BIND", "0.0.0.0", id="bind"),
    ],
)  # fmt: skip
def test_init_wish(init, wanted, key, value):
    """What a person asks for is in .env, and the URL agrees."""
    new = init(start=False, **wanted)
    assert env_of(new)[key] == value
    assert pg.Workspace(str(new)).settings.env[key] == value


def test_init_bind_of_specific_address(init):
    """A specific address is where the URL leads; all addresses are reached at localhost."""
    new = init(bind="127.0.0.2", start=False)
    assert "@127.0.0.2:5532/" in env_of(new)["HIVE_DATABASE_URL"]
    init(new, bind="0.0.0.0", start=False)
    assert "@localhost:5532/" in env_of(new)["HIVE_DATABASE_URL"]


def test_init_image_of_shell(monkeypatch, init, docker):
    """The shell's HIVE_POSTGRES_IMAGE is the default of a new workspace, and is written down."""
    monkeypatch.setenv("HIVE_POSTGRES_IMAGE", "mirror/pgvector:16")
    assert env_of(init())["HIVE_POSTGRES_IMAGE"] == "mirror/pgvector:16"
    assert docker.calls_of("docker image inspect")[0].argv[-1] == "mirror/pgvector:16"


def test_init_in_temporary_directory(monkeypatch, init, tmp_path):
    """The directory for temporary files can be a workspace, too: the two locks do not meet."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(pg, "COMPOSE_TIMEOUT_S", 0.1)
    assert init(tmp_path, timeout=0.1) == tmp_path


@pytest.mark.parametrize(("answer", "done"), [(True, True), (False, False)], ids=["yes", "no"])
def test_init_asks(monkeypatch, tmp_path, manager_of, docker, answer, done):
    """At a terminal a person is asked once, before anything happens."""
    manager, questions = manager_of(tmp_path), []
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    manager.console.confirm = lambda question: questions.append(question) or answer
    assert manager.setup_postgres_container() is done
    assert questions == [f"Set up PostgreSQL in Docker for {tmp_path}?"]
    assert bool(docker.calls) is done


def test_init_that_ended_with_a_login_asks_no_more(monkeypatch, tmp_path, init, manager_of):
    """There is nothing to decide any more; in a copy of the workspace there is."""
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    workspace = init()
    manager = manager_of(workspace)
    manager.console.confirm = lambda question: pytest.fail(question)
    assert manager.setup_postgres_container() is True
    copy = shutil.copytree(workspace, tmp_path / "copy")
    manager = manager_of(copy)
    manager.console.confirm = lambda question: False
    assert manager.setup_postgres_container() is False


def test_init_without_terminal(monkeypatch, tmp_path, manager_of):
    """Without a terminal nobody is asked."""
    monkeypatch.setattr(pg, "is_interactive", lambda: False)
    assert manager_of(tmp_path).setup_postgres_container() is True


WIDE = """
  postgresql://JOGs…:****@localhost:5532/hive     in .env: HIVE_DATABASE_URL

  hive-pg psql          a SQL prompt
  hive-pg run -- CMD    your program, with DATABASE_URL set
  hive-pg stop          stop it; the data stays"""
NARROW = """
  postgresql://JOGs…:****@localhost:5532/hive
  in .env: HIVE_DATABASE_URL
  hive-pg psql          a SQL prompt
  hive-pg run -- CMD    your program, with DATABASE_URL set
  hive-pg stop          stop it; the data stays"""
COPIED = """
  postgresql://JOGs…:****@localhost:5532/hive
  in .env: HIVE_DATABASE_URL
  python3 hive_pg.py psql ~/app          a SQL prompt
  python3 hive_pg.py run ~/app -- CMD
  python3 hive_pg.py stop ~/app"""


@pytest.mark.parametrize(
    ("call", "width", "expected"),
    [
        pytest.param((), 76, WIDE, id="wide"),
        pytest.param((), 75, NARROW, id="narrow"),
        pytest.param((), 60, NARROW, id="60 columns"),
        pytest.param(("python3 hive_pg.py", "~/app"), 60, COPIED, id="long commands"),
    ],
)
def test_format_next_steps_width(monkeypatch, call, width, expected):
    """It fits, six lines at most: long commands go without a word on them, not without an end."""
    monkeypatch.setattr(pg, "quote_word", str)
    settings = make_settings(url=make_url(user="JOGsiFFOWxvk6chn"))
    console = pg.Console(False, False, *call)
    assert pg.format_next_steps(settings, console, started=True, width=width) == expected


def test_format_next_steps_volume():
    """What is in a volume is to be in a file, too."""
    settings = make_settings(data="volume")
    text = pg.format_next_steps(settings, pg.Console(), started=True, width=80)
    assert text.splitlines()[-1] == "  hive-pg backup        a dump, outside of Docker's volume"


def test_format_next_steps_not_started():
    """What is only written has yet to be started."""
    text = pg.format_next_steps(make_settings(), pg.Console(), started=False, width=60)
    assert text.endswith("\n  hive-pg start    start it")


# -- names and ports -----------------------------------------------------------------------------


def test_init_default_taken(init, docker, network, other):
    """Where name and port are another workspace's, this one gets its own."""
    docker.containers.append(make_container(workspace=other, project="theirs"))
    values = env_of(init())
    assert values["HIVE_POSTGRES_CONTAINER"] == f"hive-postgres-{values['COMPOSE_PROJECT_NAME']}"
    assert values["HIVE_POSTGRES_PORT"] == "5533"
    assert pg.parse_database_url(values["HIVE_DATABASE_URL"]).port == 5533


def test_init_port_listened(init, docker, network, capsys):
    """A port that a process listens on is passed over, and that is said, once with a pull, too."""
    network.taken.update({5532, 5533})
    pulled, missing = [], (1, "Error: No such image: x")
    docker.answers["docker image inspect"] = lambda _: make_image("16") if pulled else missing
    docker.answers["docker pull"] = lambda call: pulled.append(call) or ""
    assert env_of(init())["HIVE_POSTGRES_PORT"] == "5534"
    err = capsys.readouterr().err
    assert pulled
    assert err.count("port 5532 is taken; it will be 5534") == 1


def test_init_another_program_at_localhost(init, up, network):
    """It is the login that finds it, and says so; the URL stays."""
    network.objection = "another program answers at ::1"
    assert "@localhost:" in env_of(init(up, start=False))["HIVE_DATABASE_URL"]
    with pytest.raises(pg.DatabaseConnectionError, match="another program answers at ::1"):
        init(up)


def copy(directory, target):
    """Copy a workspace without its data, as git worktrees are made."""
    target.mkdir()
    for name in (".env", ".hive-pg.json", "docker-compose.yml"):
        shutil.copy(directory / name, target / name)
    return target


@pytest.mark.parametrize("runs", [True, False])
def test_init_where_env_contradicts_the_data(init, docker, workspace, runs):
    """A key that a person wrote does not move the data: no empty database in its place."""
    init(workspace)
    if not runs:
        docker.containers.clear()
    with (workspace / ".env").open("a") as file:
        file.write("HIVE_POSTGRES_DATA=volume\n")
    with pytest.raises(WorkspaceError, match=r"the data is in .*/w/data/postgres$") as caught:
        init(workspace)
    assert "take HIVE_POSTGRES_DATA=volume out of .env" in caught.value.hint


def test_init_copied_workspace(init, docker, tmp_path):
    """A copy gets an id and names of its own; the password stays, and so does the original."""
    original = init()
    copied = init(copy(original, tmp_path / "copy"))
    mine, theirs = env_of(copied), env_of(original)
    for key in ("HIVE_POSTGRES_WORKSPACE", "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_CONTAINER"):
        assert mine[key] != theirs[key]
    assert mine["POSTGRES_PASSWORD"] == theirs["POSTGRES_PASSWORD"]
    assert state_of(copied).id == mine["HIVE_POSTGRES_WORKSPACE"] != state_of(original).id
    names = {container["Name"][1:] for container in docker.containers}
    assert names == {mine["HIVE_POSTGRES_CONTAINER"], theirs["HIVE_POSTGRES_CONTAINER"]}


def test_init_copied_workspace_with_a_volume(init, docker, tmp_path, capsys):
    """Nothing is missing: the original's data stays its own."""
    original = init(data="volume")
    copied = copy(original, tmp_path / "copy")
    init(copied)
    err = capsys.readouterr().err
    assert "missing" not in err
    assert f"a copy: the data of {original} is not here" in err


@pytest.fixture
def bereft(init, docker, tmp_path):
    """Return a function that makes a copy, on the same disk, whose original and container go."""

    def make(**options):
        original = init(**options)
        copied = shutil.copytree(original, tmp_path / "copy", symlinks=True)
        shutil.rmtree(original)
        docker.containers.clear()
        docker.answers["docker run"] = in_volume
        return original, copied

    return make


def test_init_copied_workspace_whose_original_is_gone(hive, bereft, capsys):
    """It may be the original, and the volume its own: another database takes a word."""
    original, copied = bereft(data="volume")
    before, names = snapshot(copied), env_of(copied)
    capsys.readouterr()
    assert hive("init", "--yes", str(copied)) == pg.ExitCode.FAILED
    err = capsys.readouterr().err
    assert f"error: this is a copy of {original}, which is gone, and has its names\n" in err
    assert f"if it is the original: hive-pg start {copied} --take-over; " in err
    assert f"for a database of its own: hive-pg init {copied} --data volume\n" in err
    assert {path: file for path, file in snapshot(copied).items() if path in before} == before
    assert hive("init", "--yes", "--data", "volume", str(copied)) == 0
    assert f"a copy: the data of {original} is not here" in capsys.readouterr().err
    assert env_of(copied)["COMPOSE_PROJECT_NAME"] != names["COMPOSE_PROJECT_NAME"]


def test_init_copied_workspace_that_has_the_data(hive, bereft, capsys):
    """The data came with it: nothing is said to be missing, and it serves."""
    _, copied = bereft()
    capsys.readouterr()
    assert hive("init", "--yes", str(copied)) == 0
    assert "is not here" not in capsys.readouterr().err
    assert (copied / "data" / "postgres" / "pgdata" / "PG_VERSION").exists()
    assert state_of(copied).verified


def test_init_copied_env_alone(init, docker, tmp_path):
    """Where the original's container is gone, the copy has an id of its own all the same."""
    original = init()
    docker.containers.clear()
    (tmp_path / "copy").mkdir()
    shutil.copy(original / ".env", tmp_path / "copy" / ".env")
    copied = init(tmp_path / "copy")
    assert state_of(copied).id != state_of(original).id
    copied.rename(tmp_path / "moved")
    docker.answers["docker inspect --type container"] = docker.inspect
    info = pg.survey(pg.Workspace(str(original), engine=pg.Engine(docker))).own
    assert info == []


def test_init_moved_workspace(init, docker, tmp_path):
    """Where the old place is gone, it was moved: id, names and container stay its own."""
    original, moved = init(), tmp_path / "moved"
    before = env_of(original)
    original.rename(moved)
    docker.containers[0]["Mounts"][0]["Source"] = f"{moved}/data/postgres"
    init(moved)
    assert env_of(moved) == before
    assert state_of(moved).directory == str(moved)


@pytest.mark.parametrize("same", [True, False])
def test_init_moved_while_it_runs(init, docker, other, workspace, same):
    """A container that seems another's, but runs on this very directory, bars a second server."""
    docker.containers.append(make_container("original", other, "w-1a2b3c", port=1))
    status = os.stat(workspace / "data" / "postgres")
    seen = f"{status.st_dev}:{status.st_ino + (not same)}\n"
    docker.answers["docker exec --interactive original stat -c %d:%i"] = seen
    if same:
        with pytest.raises(ContainerConflictError, match=r"original \(running\) has the data mou"):
            init(workspace)
        assert "docker compose up" not in docker.commands
    else:
        init(workspace)


def test_init_plain_compose_was_here(init, docker, workspace):
    """A container that plain Compose made here keeps its project and is no conflict."""
    (workspace / ".env").write_text("POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n")
    docker.containers.append(make_container(workspace=workspace, project="w"))
    init(workspace)
    values = env_of(workspace)
    assert (values["COMPOSE_PROJECT_NAME"], values["HIVE_POSTGRES_PORT"]) == ("w", "5532")
    assert values["HIVE_DATABASE_URL"] == "postgresql+psycopg://ann:s3cret@localhost:5532/hive"


@pytest.mark.parametrize(
    ("values", "volumes", "project", "kept"),
    [
        pytest.param({}, "shop_pgdata\n", "", "shop", id="a volume of it"),
        pytest.param({}, "", "", None, id="no volume"),
        pytest.param({}, "shop_pgdata\n", "shop", None, id="another's project, and volume"),
        pytest.param({"COMPOSE_PROJECT_NAME": "p"}, "shop_pgdata\n", "", "p", id="recorded"),
    ],
)
def test_init_project_of_compose(init, docker, workspace, other, values, volumes, project, kept):
    """Where Compose's own project has a volume, perhaps with data, it is the workspace's."""
    (workspace / ".env").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    shutil.rmtree(workspace / "data")
    if project:
        docker.containers.append(make_container("theirs", other, project, port=1))
    docker.answers["docker volume ls"] = lambda call: volumes * ("project=shop" in call.command)
    init(workspace)
    own = pg.choose_project_name(str(workspace))
    assert env_of(workspace)["COMPOSE_PROJECT_NAME"] == (kept or own)
    asked = [call for call in docker.calls_of("docker volume ls") if "label=" in call.command]
    assert len(asked) == (not (values or project))


@pytest.fixture
def own_volume(docker, tmp_path):
    """Return a directory whose own compose file mounts the volume PROJECT_pg, which exists."""

    def config(call):
        found = json.loads(docker.config(call))
        service = found["services"]["postgres"]
        service["volumes"] = [
            {"type": "volume", "source": "pg", "target": "/var/lib/postgresql/data"}
        ]
        found["volumes"] = {"pg": {"name": f"{found['name']}_pg"}}
        return json.dumps(found)

    docker.answers["docker compose config"] = config
    docker.answers["docker volume ls"] = lambda call: "shop_pg\n" * ("shop" in call.command)
    docker.answers["docker run"] = in_volume
    (tmp_path / "db" / "docker").mkdir(parents=True)
    return tmp_path / "db"


@pytest.mark.parametrize("runs", [False, True], ids=["no container", "its own runs"])
def test_init_project_shared_with_others(init, docker, own_volume, other, runs):
    """A project that the person chose is not changed where its volume may have the data."""
    (own_volume / "compose.yaml").touch()
    (own_volume / ".env").write_text("COMPOSE_PROJECT_NAME=shop\n")
    docker.containers.append(make_container("api", other, "shop", service="api", port=1))
    if runs:
        own = make_container("shop-db-1", own_volume, "shop")
        own["Mounts"] = [{"Name": "shop_pg", "Destination": "/var/lib/postgresql/data"}]
        docker.containers.append(own)
    with pytest.raises(WorkspaceError, match="volume shop_pg may be this workspace's") as caught:
        init(own_volume)
    assert "give it name: shop_pg in the compose file" in caught.value.hint
    assert "COMPOSE_PROJECT_NAME=shop\n" in (own_volume / ".env").read_text()


@pytest.mark.parametrize("file", ["compose.yml", "./compose.yml"])
def test_init_volume_of_the_project_of_compose(init, own_volume, file):
    """The volume that plain Compose made is the workspace's, however `.env` writes the file."""
    (own_volume / "compose.yml").touch()
    login = "POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n"
    (own_volume / ".env").write_text(f"COMPOSE_FILE={file}\n{login}")
    init(own_volume, start=False)
    assert env_of(own_volume)["COMPOSE_PROJECT_NAME"] == "shop"


def test_init_volume_of_a_common_project(init, docker, own_volume):
    """Compose calls each project of a docker/compose.yml `docker`: its data may be another's."""
    (own_volume / "docker" / "compose.yml").touch()
    (own_volume / ".env").write_text(
        "COMPOSE_FILE=docker/compose.yml\nPOSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n"
    )
    with pytest.raises(WorkspaceError, match="volume shop_pg may be this workspace's") as caught:
        init(own_volume)
    assert "to use it, write COMPOSE_PROJECT_NAME=shop into .env" in caught.value.hint
    assert docker.calls_of("docker compose up") == []
    with (own_volume / ".env").open("a") as file:
        file.write("COMPOSE_PROJECT_NAME=shop\n")
    init(own_volume, start=False)
    assert env_of(own_volume)["COMPOSE_PROJECT_NAME"] == "shop"


NAME_TAKEN = (1, 'Conflict. The container name "/hive-postgres" is already in use by container "x"')
PORT_TAKEN = (1, "driver failed: Bind for 127.0.0.1:5532 failed: port is already allocated")


@pytest.mark.parametrize(
    ("refusal", "key", "value"),
    [
        pytest.param(NAME_TAKEN, "HIVE_POSTGRES_CONTAINER", "hive-postgres-", id="name"),
        pytest.param(PORT_TAKEN, "HIVE_POSTGRES_PORT", "5533", id="port"),
    ],
)
def test_init_somebody_was_faster(init, docker, network, other, refusal, key, value):
    """Where Docker refuses a name or a port, init looks again, and chooses another one."""

    def lose(call):
        docker.answers["docker compose up"] = docker.up
        theirs = {"port": 5532 if refusal is PORT_TAKEN else 1}
        name = "theirs" if refusal is PORT_TAKEN else "hive-postgres"
        if refusal is PORT_TAKEN:  # Docker has made ours, and could not start it
            docker.up(call)
            shutil.rmtree(f"{call.cwd}/data/postgres/pgdata")
            docker.containers[-1]["State"]["Status"] = "created"
            network.taken.add(5532)
        docker.containers.append(make_container(name, other, "theirs", **theirs))
        return refusal

    docker.answers["docker compose up"] = lose
    new = init()
    assert env_of(new)[key].startswith(value)
    assert len(docker.calls_of("docker compose up")) == 2
    assert state_of(new).verified


def test_init_somebody_is_always_faster(init, docker):
    """After three refusals by Docker, that is the error."""
    docker.answers["docker compose up"] = NAME_TAKEN
    with pytest.raises(ContainerConflictError, match="has that name"):
        init()
    assert len(docker.calls_of("docker compose up")) == 3


def test_init_without_the_machine_lock(monkeypatch, init, tmp_path, capsys):
    """A machine lock that cannot be had costs a warning, not the database."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    new = init()
    assert "warning: other workspaces may choose the same name or port" in capsys.readouterr().err
    assert state_of(new).verified


def test_init_pulls_outside_the_machine_lock(monkeypatch, init, docker):
    """Whoever waits for a name or a port does not wait for a pull, and what it chose is renewed."""
    docker.answers["docker image inspect"] = [(1, "No such image: x"), make_image("16")]
    held, lock_machine = [], pg.lock_machine
    monkeypatch.setattr(pg, "lock_machine", lambda *args: held.append(1) or lock_machine(*args))
    docker.answers["docker pull"] = lambda call: "" if not held else pytest.fail("it is held")
    init()
    assert len(docker.calls_of("docker ps")) == 2


# -- lost credentials ----------------------------------------------------------------------------

TEMPLATE = (
    "HIVE_DATABASE_URL=postgresql+psycopg://your-user:your-secure-password-here@localhost:5532/hive\n"
    "HIVE_POSTGRES_CONTAINER=hive-postgres\nCOMPOSE_PROJECT_NAME=w-1a2b3c\n"
)
OF_BOB = {"POSTGRES_USER": "bob", "POSTGRES_PASSWORD": "b0b", "POSTGRES_DB": "app"}


@pytest.mark.parametrize("env", [None, "", TEMPLATE], ids=["no file", "empty", "template"])
def test_init_recovers_from_container(init, workspace, docker, env):
    """Where our container is still there, lost credentials and names come from it."""
    if env is None:
        (workspace / ".env").unlink()
    else:
        (workspace / ".env").write_text(env)
    named = "hive-postgres" if env == TEMPLATE else "db-of-bob"
    docker.containers = [make_container(named, workspace, port=5777, environment=OF_BOB)]
    docker.answers["docker stop"] = ""
    init(workspace)
    saved = env_of(workspace)
    assert saved["HIVE_DATABASE_URL"] == "postgresql+psycopg://bob:b0b@localhost:5777/app"
    assert saved["HIVE_POSTGRES_CONTAINER"] == named
    assert saved["COMPOSE_PROJECT_NAME"] == "w-1a2b3c"


def test_init_lost_all_but_a_volume(init, docker):
    """A new database takes a word, where a container made here has the data; or it is taken again.

    Without the container the volume alone is asked about: it has the name of a new one.
    """
    workspace = init(data="volume")
    before = env_of(workspace)
    docker.answers["docker run"] = in_volume

    def lose():
        for name in (".env", ".hive-pg.json"):
            (workspace / name).unlink()

    lose()
    with pytest.raises(
        WorkspaceError, match="container hive-postgres was made here, and"
    ) as caught:
        init(workspace)
    volume, known = f"{before['COMPOSE_PROJECT_NAME']}_postgres", before["HIVE_POSTGRES_WORKSPACE"]
    assert f"has its data in volume {volume}" in str(caught.value)
    assert f"put HIVE_POSTGRES_WORKSPACE={known} into .env" in caught.value.hint
    (workspace / ".env").write_text(f"HIVE_POSTGRES_WORKSPACE={known}\n")
    init(workspace)
    assert {**env_of(workspace), **before} == env_of(workspace)
    lose()
    docker.containers.clear()
    with pytest.raises(WorkspaceError, match=f"has no user for the data in {volume}"):
        init(workspace)


@pytest.fixture
def volume_alone(init, docker):
    """Return a workspace of which the volume alone is left, and the volume's name."""
    workspace = init(data="volume")
    volume = f"{env_of(workspace)['COMPOSE_PROJECT_NAME']}_postgres"
    for name in (".env", ".hive-pg.json"):
        (workspace / name).unlink()
    docker.containers.clear()
    docker.answers["docker run"] = in_volume
    return workspace, volume


def test_init_lost_all_but_a_volume_names_what_removes_it(hive, volume_alone, capsys):
    """Nobody knows a login for it: a new database takes its place only if a person removes it."""
    workspace, volume = volume_alone
    assert hive("init", "--yes", str(workspace)) == pg.ExitCode.FAILED
    err = capsys.readouterr().err
    assert f"has no user for the data in {volume}/" in err
    assert f"; for a new database: docker volume rm {volume}\n" in err


def test_init_in_a_directory_beside_a_lost_volume(hive, docker, volume_alone):
    """A new database in the directory is no objection to the volume, and leaves it alone."""
    workspace, _ = volume_alone
    assert hive("init", "--yes", "--data", "bind", str(workspace)) == 0
    assert "HIVE_POSTGRES_DATA" not in env_of(workspace)
    assert (workspace / "data" / "postgres" / "pgdata" / "PG_VERSION").exists()
    assert docker.calls_of("docker volume rm") == []


@pytest.mark.parametrize(
    ("bind", "host"),
    [("10.9.9.2", "10.9.9.2"), ("0.0.0.0", "localhost"), ("127.0.0.1", "localhost")],
)
def test_init_recovers_where_it_is_published(init, workspace, docker, bind, host):
    """The URL's host is the address that the container is published on, if that is another one."""
    (workspace / ".env").unlink()
    container = make_container("db-of-bob", workspace, port=5777, environment=OF_BOB)
    container["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] = bind
    docker.containers = [container]
    docker.answers["docker stop"] = ""
    init(workspace)
    assert f"@{host}:5777/app" in env_of(workspace)["HIVE_DATABASE_URL"]


@pytest.mark.parametrize(
    ("env", "password"),
    [
        pytest.param(None, None, id="no file"),
        pytest.param("", None, id="empty"),
        pytest.param("POSTGRES_PASSWORD=kept\n", "kept", id="password alone"),
        pytest.param(TEMPLATE, None, id="template"),
        pytest.param("POSTGRES_USER=your-user\n", None, id="a template's user"),
    ],
)
def test_init_recovers_from_state(init, workspace, docker, env, password):
    """Without a container the state file knows user, database and id; the password is set anew."""
    remember(workspace, user="bob", database="app", id="1d")
    if env is None:
        (workspace / ".env").unlink()
    else:
        (workspace / ".env").write_text(env)
    docker.answers["docker exec"] = WELL if password else [REFUSED, "", WELL]
    init(workspace)
    saved = env_of(workspace)
    assert (saved["POSTGRES_USER"], saved["POSTGRES_DB"]) == ("bob", "app")
    assert saved["HIVE_POSTGRES_WORKSPACE"] == "1d"
    if password:
        assert saved["POSTGRES_PASSWORD"] == password
    else:
        new = saved["POSTGRES_PASSWORD"]
        assert len(new) == 32
        assert docker.calls_of("docker exec")[1].stdin == f"{SET_PASSWORD}{new}\n{new}\n"


@pytest.mark.parametrize(
    ("state", "taken", "env", "url"),
    [
        pytest.param({"port": 5777}, 0, None, f"@{pg.LOCALHOST}:5777/", id="free"),
        pytest.param({"port": 5777}, 0, TEMPLATE, f"@{pg.LOCALHOST}:5777/", id="a template's"),
        pytest.param(
            *({"port": 5777}, 0, "HIVE_POSTGRES_PORT=6001\n", f"@{pg.LOCALHOST}:6001/"),
            id="a person's",
        ),
        pytest.param({"port": 5777}, 5777, None, f"@{pg.LOCALHOST}:5778/", id="taken"),
        pytest.param({"port": 5777, "bind": "10.9.9.2"}, 0, None, "@10.9.9.2:5777/", id="bind"),
        pytest.param(
            {"port": 5777, "bind": "0.0.0.0"}, 0, None, f"@{pg.LOCALHOST}:5777/", id="open"
        ),
        pytest.param({"port": 0}, 0, TEMPLATE, f"@{pg.LOCALHOST}:5532/", id="an older hive-pg's"),
    ],
)
def test_init_recovers_port_and_address(init, workspace, docker, network, state, taken, env, url):
    """The state file knows where it was published; if the port is free, it is there again."""
    remember(workspace, user="bob", database="app", id="1d", **state)
    (workspace / ".env").unlink()
    if env:
        (workspace / ".env").write_text(env)
    network.taken.add(taken)
    docker.answers["docker exec"] = [REFUSED, "", WELL]
    init(workspace)
    saved = env_of(workspace)
    assert url in saved["HIVE_DATABASE_URL"]
    assert saved.get("HIVE_POSTGRES_BIND", "") == state.get("bind", "")


@pytest.mark.parametrize("place", ["directory", "volume"])
def test_init_nobody_knows_whose_data(init, workspace, docker, place):
    """Without container and state the data is left alone, and nothing is written."""
    (workspace / ".env").unlink()
    if place == "volume":
        shutil.rmtree(workspace / "data")
        resolve_to(docker, "original", workspace, environment={"PGDATA": "/var/lib/postgresql/d"})
        config = json.loads(docker.answers["docker compose config"])
        mount = {"type": "volume", "source": "db", "target": "/var/lib/postgresql"}
        config["services"]["postgres"]["volumes"] = [mount]
        config["volumes"] = {"db": {"name": "w_db"}}
        docker.answers["docker compose config"] = json.dumps(config)
        docker.answers.update({"docker volume ls": "w_db\n", "docker run": in_volume})
    with pytest.raises(WorkspaceError, match="has no user for the data in") as caught:
        init(workspace)
    assert "HIVE_DATABASE_URL of that data" in caught.value.hint
    assert not (workspace / ".env").exists() or (workspace / ".env").read_text() == ""
    assert "docker compose up" not in docker.commands


@pytest.fixture
def several(workspace, docker):
    """Return a workspace whose `.env` is lost, and that has two containers with credentials."""
    (workspace / ".env").unlink()
    for name in ("a", "b"):
        environment = {**OF_BOB, "POSTGRES_PASSWORD": f"of-{name}"}
        changes = {"environment": environment, "service": name, "source": f"/data/{name}"}
        docker.containers.append(make_container(name, workspace, **changes))
    return workspace


def test_init_several_containers_know(init, several):
    """Two containers of this directory with credentials are one too many to guess from."""
    with pytest.raises(WorkspaceError, match=r"no credentials; a, b have") as caught:
        init(several)
    assert caught.value.hint.endswith(" --service NAME, or the HIVE_DATABASE_URL of one in .env")


@pytest.mark.parametrize("known", ["service", "container"])
def test_init_one_of_several_containers(init, several, docker, known):
    """The one that is wished for, or that `.env` names, has the login; nobody else's is tried."""
    if known == "container":
        (several / ".env").write_text("HIVE_POSTGRES_CONTAINER=b\nPOSTGRES_PASSWORD=password\n")
    changes = {"container_name": "b", "environment": {"POSTGRES_USER": "bob"}}
    resolve_to(docker, "original", several, **changes)
    config = json.loads(docker.answers["docker compose config"])
    config["services"] = {"a": {"image": "postgres"}, "b": config["services"]["postgres"]}
    docker.answers["docker compose config"] = json.dumps(config)
    init(several, service="b" if known == "service" else None, start=False)
    assert env_of(several)["POSTGRES_PASSWORD"] == "of-b"


def test_init_service_without_a_container(init, several, docker):
    """Another one's login is not its."""
    resolve_to(docker, "original", several, container_name="c", environment={})
    config = json.loads(docker.answers["docker compose config"])
    config["services"] = {"c": config["services"]["postgres"]}
    docker.answers["docker compose config"] = json.dumps(config)
    with pytest.raises(WorkspaceError, match="has no user for the data in"):
        init(several, service="c", start=False)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        pytest.param(
            "HIVE_DATABASE_URL=postgresql://ann:s3cret@db.example.org:5432/hive\n",
            WorkspaceError, "leads to db.example.org, not to this machine", id="another machine",
        ),
        pytest.param(
            "HIVE_DATABASE_URL=postgresql://ann:s3cret@localhost:5532/hive\n"
            "POSTGRES_PASSWORD=new\n",
            EnvFileError, "POSTGRES_PASSWORD and .* disagree", id="another password for old data",
        ),
        pytest.param(
            "HIVE_DATABASE_URL='postgresql://u:p#w@localhost:1/d'\n",
            EnvFileError, "its password", id="a URL that readers take differently",
        ),
    ],
)  # fmt: skip
def test_init_refused(init, docker, workspace, env, error, message):
    """What init cannot bring about is refused before anything is written."""
    (workspace / ".env").write_text(env)
    before = snapshot(workspace)
    with pytest.raises(error, match=message):
        init(workspace)
    assert snapshot(workspace) == before
    assert "docker compose up" not in docker.commands


def test_init_image_out_of_reach(init, docker, tmp_path):
    """An image that cannot be pulled is found out before anything is written."""
    docker.answers["docker image inspect"] = (1, "Error: No such image: agnohq/pgvector:16")
    docker.answers["docker pull"] = (1, "dial tcp 192.0.2.1:443: i/o timeout")
    with pytest.raises(DockerCommandError, match=r"cannot pull .*: dial tcp"):
        init()
    assert os.listdir(tmp_path / "new") == []


def test_init_bind_that_the_engine_does_not_have(init, docker, up):
    """The engine is asked before anything is written, or replaced."""
    words = "listen tcp4 192.0.2.1:0: bind: cannot assign requested address."
    docker.answers["docker run --rm --publish"] = (125, f"docker: {words}")
    before = snapshot(up)
    with pytest.raises(DockerCommandError, match=r"cannot publish on 192\.0\.2\.1: this machine"):
        init(up, bind="192.0.2.1")
    assert snapshot(up) == before
    assert {"docker stop", "docker compose up"}.isdisjoint(docker.commands)


def test_init_data_directory_refused(init, workspace):
    """Where the data directory cannot be made, no first start is to come."""
    shutil.rmtree(workspace / "data" / "postgres")
    (workspace / "data" / "postgres").symlink_to("nowhere/further")
    with pytest.raises(WorkspaceError, match=r"cannot create .*/data/postgres"):
        init(workspace)
    assert state_of(workspace).verified


@pytest.mark.parametrize("answer", ["y", "", None], ids=["yes", "enter", "nobody there"])
def test_init_data_missing_asks(monkeypatch, init, up, capsys, answer):
    """A disk may only be unmounted: an empty database takes a yes."""
    remember(up, id="1a", verified=True)
    shutil.rmtree(up / "data")
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(pg.Console, "ask", lambda console, question: answer)
    if answer:
        init(up, interactive=True)
        assert "this is a new, empty database" in capsys.readouterr().err
        return
    with pytest.raises(WorkspaceError, match="postgres is missing") as caught:
        init(up, interactive=True)
    assert f"hive-pg init {up} --yes makes an empty database" in caught.value.hint
    assert not (up / "data").exists()


def test_init_data_missing_where_a_directory_may_not_do(monkeypatch, init, up):
    """A volume would be as empty: the hint of an engine that wants one is not for lost data."""
    remember(up, id="1a", verified=True)
    shutil.rmtree(up / "data")
    monkeypatch.setattr(pg, "is_interactive", lambda: False)
    monkeypatch.setattr(pg, "choose_data_placement", lambda *_: ("volume", "rootless engine"))
    with pytest.raises(WorkspaceError, match="postgres is missing") as caught:
        init(up, interactive=True, data="bind")
    assert "put the data back" in caught.value.hint


def test_init_data_missing(init, up, docker, capsys):
    """Where a database was and its data are missing, init makes a new one, and warns."""
    shutil.rmtree(up / "data")
    init(up)
    assert "postgres is missing: this is a new, empty database" in capsys.readouterr().err
    assert docker.commands.index("docker stop") < docker.commands.index("docker compose up")
    assert state_of(up).verified


# -- a compose file of somebody's own ------------------------------------------------------------


def resolve_to(docker, name, workspace, **changes):
    """Make Compose resolve the file to a recorded service with some fields changed."""
    config = json.loads(recorded("compose_config_2.26.1.json")[name]["output"])
    service = config["services"]["postgres"]
    service["user"] = ":".join(map(str, pg.get_postgres_uid_gid()))
    service["environment"] = {"POSTGRES_USER": "bob", "POSTGRES_PASSWORD": "b0b"}
    service["ports"][0]["published"] = "6001"
    service["volumes"][0]["source"] = f"{workspace}/data/postgres"
    service.update(changes)
    docker.answers["docker compose config"] = json.dumps(config)


def test_init_existing_compose_file(init, docker, workspace):
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


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        pytest.param({"POSTGRES_DB": "my db"}, "its database is missing, or not", id="a blank"),
        pytest.param({"POSTGRES_DB": "döb"}, "its database is missing, or not", id="umlaut"),
        pytest.param({"POSTGRES_PASSWORD": "a${b}"}, "carries POSTGRES_PASSWORD to", id="dollar"),
        pytest.param({"POSTGRES_USER": "a\\"}, "carries POSTGRES_USER to", id="backslash"),
    ],
)
def test_init_of_a_service_with_credentials_that_no_url_carries(
    docker, workspace, manager_of, credentials, message
):
    """What each later command would refuse is refused before anything is written."""
    (workspace / ".env").unlink()
    environment = {"POSTGRES_USER": "bob", "POSTGRES_PASSWORD": "b0b", **credentials}
    resolve_to(docker, "original", workspace, environment=environment)
    with pytest.raises(EnvFileError, match=message):
        manager_of(workspace).setup_postgres_container(interactive=False)
    assert not (workspace / ".env").exists()
    assert "docker compose up" not in docker.commands


def test_init_of_a_service_with_a_password_in_latin_1(docker, workspace, manager_of):
    """Neither `.env` nor a URL carries one that is no UTF-8."""
    (workspace / "password").write_bytes(b"p\xe4ss\n")
    environment = {"POSTGRES_USER": "bob", "POSTGRES_PASSWORD_FILE": "/run/secrets/password"}
    mount = {"type": "bind", "source": f"{workspace}/password"}
    data = {"type": "bind", "source": f"{workspace}/data/postgres", "target": pg.DEFAULT_PGDATA}
    volumes = [data, {**mount, "target": "/run/secrets/password"}]
    resolve_to(docker, "original", workspace, environment=environment, volumes=volumes)
    (workspace / ".env").unlink()
    with pytest.raises(EnvFileError, match="carries POSTGRES_PASSWORD to") as caught:
        manager_of(workspace).setup_postgres_container(interactive=False)
    assert "UTF-8" in caught.value.hint
    assert not (workspace / ".env").exists()


@pytest.fixture
def beside(docker, workspace):
    """Return a workspace whose compose file has `web` alone, until ours is beside it."""
    for name in ("docker-compose.yml", ".env"):
        (workspace / name).unlink()
    shutil.rmtree(workspace / "data")
    (workspace / "compose.yaml").write_text("services: {}\n")
    usual = docker.config

    def config(call):
        own = json.loads(usual(call))
        if call.env.get("COMPOSE_FILE") != "compose.yaml:docker-compose.hive-pg.yml":
            own["services"] = {"web": {"image": "nginx"}}
        return json.dumps(own)

    docker.answers["docker compose config"] = config
    nginx, postgres = '{"Env": null}', make_image("16")
    docker.answers["docker image inspect"] = lambda c: nginx if c.argv[-1] == "nginx" else postgres
    return workspace


@pytest.mark.parametrize("answer", ["y", "n", None], ids=["yes", "no", "nobody there"])
def test_init_beside_others(monkeypatch, beside, manager_of, network, answer):
    """A service is added after a yes, in the project that the others are in; else nothing is."""
    answers = iter(["y", answer])
    network.taken.add(5532)
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(pg.Console, "ask", lambda console, question: next(answers))
    manager = manager_of(beside)
    if answer == "y":
        manager.setup_postgres_container()
        values = env_of(beside)
        assert values["COMPOSE_PROJECT_NAME"] == "shop"
        assert values["HIVE_DATABASE_URL"].endswith("@localhost:5533/hive")
        assert (beside / "docker-compose.hive-pg.yml").exists()
    else:
        with pytest.raises(pg.NoServiceError, match="no PostgreSQL service"):
            manager.setup_postgres_container()
        assert sorted(os.listdir(beside)) == ["compose.yaml"]


def test_init_asks_nothing_twice(monkeypatch, tmp_path, manager_of, docker):
    """Who has to plan again, after a pull, knows the answer."""
    (tmp_path / "compose.yaml").write_text("services: {}")
    asked, pulled = [], []
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(
        pg.Console, "ask", lambda _, text: asked.append(text) or answers[len(asked)]
    )
    answers, config = ["", "y", "n"], docker.config

    def unpublished(call):
        found = json.loads(config(call))
        del found["services"]["postgres"]["ports"]
        return json.dumps(found)

    docker.answers["docker compose config"] = unpublished
    missing = (1, "Error: No such image: x")
    docker.answers["docker image inspect"] = lambda _: make_image("16") if pulled else missing
    docker.answers["docker pull"] = lambda call: pulled.append(call) or ""
    with contextlib.suppress(pg.PostgreSQLIntegrationError):  # nobody serves at its name
        manager_of(tmp_path).setup_postgres_container()
    assert pulled
    assert [text.partition(". ")[0] for text in asked[1:]] == ["postgres publishes no fixed port"]


def test_init_beside_others_again(init, beside):
    """The file that is there says that it is wanted; a second time writes nothing."""
    init(beside)
    assert env_of(beside)["COMPOSE_PROJECT_NAME"] == "shop"  # Compose's own
    (beside / ".env").unlink()
    init(beside, interactive=True)
    before = snapshot(beside)
    init(beside, interactive=True)
    assert snapshot(beside) == before


@pytest.mark.parametrize(
    "env", [None, "KEY=1\n", "COMPOSE_FILE=compose.yaml:more.yml\n", "COMPOSE_FILE=compose.yaml\n"]
)
def test_init_beside_others_that_fails(init, docker, beside, env):
    """Theirs is left as it was: plain Compose would miss the login of the service beside it."""
    if env:
        (beside / ".env").write_text(env)
        (beside / ".env").chmod(0o600)
    usual = docker.answers["docker compose config"]

    def config(call):
        files = call.env.get("COMPOSE_FILE", "").replace(":more.yml", "")
        call.env["COMPOSE_FILE"] = files
        return usual(call)

    docker.answers["docker compose config"] = config
    docker.answers["docker image inspect"] = (1, "Error: No such image: x")
    docker.answers["docker pull"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        init(beside)
    assert not (beside / "docker-compose.hive-pg.yml").exists()
    text = (beside / ".env").read_text() if env else None
    assert text == env
    assert env or os.listdir(beside) == ["compose.yaml"]


@pytest.mark.parametrize("name", [".env", "docker-compose.hive-pg.yml"])
def test_init_that_fails_keeps_what_somebody_wrote_meanwhile(init, docker, beside, name):
    """A pull takes minutes: a file that a person has edited stays, and what it needs."""

    def pull(call):
        with (beside / name).open("a") as file:
            file.write("#=1\n")
        return (1, "no such host")

    docker.answers["docker image inspect"] = (1, "Error: No such image: x")
    docker.answers["docker pull"] = pull
    with pytest.raises(DockerCommandError):
        init(beside)
    assert (beside / name).read_text().endswith("\n#=1\n")
    assert (beside / "docker-compose.hive-pg.yml").exists()
    assert (beside / ".env").exists() == (name == ".env")


def test_init_beside_a_profile(init, docker, beside):
    """What cannot be added, as their service of that name is behind a profile, is not left over."""
    found = {"name": "w", "services": {"web": {"image": "nginx"}}}
    docker.answers["docker compose config"] = json.dumps(found)
    with pytest.raises(pg.NoServiceError, match="no PostgreSQL service") as caught:
        init(beside)
    assert "for one behind a profile, set COMPOSE_PROFILES in .env" in caught.value.hint
    assert os.listdir(beside) == ["compose.yaml"]


@pytest.mark.parametrize("taken", [False, True])
def test_init_beside_others_at_the_port_of_env(init, network, beside, taken):
    """The port that `.env` has is the one that is published, if nobody else has it."""
    url = "postgresql://app:s3cret@localhost:6000/app"
    (beside / ".env").write_text(f"HIVE_DATABASE_URL={url}\nHIVE_POSTGRES_PORT=6000\n")
    network.taken.update({6000} if taken else ())
    init(beside, start=False)
    values = env_of(beside)
    assert values["HIVE_POSTGRES_PORT"] == ("6001" if taken else "6000")
    assert values["HIVE_DATABASE_URL"].endswith(f"@localhost:{values['HIVE_POSTGRES_PORT']}/app")


def test_init_service_of_no_file(init):
    """A name takes a compose file; a new one would have another."""
    with pytest.raises(pg.NotSetUpError, match="there is no docker-compose"):
        init(service="db")


def test_init_port_beside(init, docker, workspace):
    """An unpublished service is, by a yes, on a port of this machine; not from a closed network."""
    bare = {"environment": {}, "ports": []}
    resolve_to(docker, "original", workspace, **bare, network_mode="host")
    init(workspace)
    assert not (workspace / "docker-compose.hive-pg.yml").exists()
    resolve_to(docker, "original", workspace, **bare)
    unpublished = docker.answers["docker compose config"]
    resolve_to(docker, "original", workspace, environment={})
    published = docker.answers["docker compose config"]
    docker.answers["docker compose config"] = [unpublished, published]
    init(workspace, port=6001)
    text = (workspace / "docker-compose.hive-pg.yml").read_text()
    assert text == pg.render_addition("postgres", "./data/postgres")


@pytest.mark.parametrize(
    ("mount", "port", "refused"),
    [
        pytest.param({}, None, False, id="a directory"),
        pytest.param({"Type": "tmpfs", "Source": ""}, None, True, id="memory"),
        pytest.param({"Type": "tmpfs", "Source": ""}, "6001", False, id="published before"),
    ],
)
def test_init_keeps_a_container_whose_data_would_end(init, docker, workspace, mount, port, refused):
    """It is not replaced by one that publishes a port, while it serves what is in memory."""
    container = make_container(workspace=workspace, port=port or "6001", environment=OF_BOB)
    container["Mounts"][0].update(mount)
    if not port:
        container["HostConfig"] = {}
    docker.containers, docker.answers["docker stop"] = [container], ""
    changes = {"container_name": "hive-postgres", "environment": {}}
    resolve_to(docker, "original", workspace, **changes)
    why = "only container hive-postgres has the data; publishing port 6001 would replace it"
    with pytest.raises(WorkspaceError, match=why) if refused else contextlib.nullcontext():
        init(workspace, port=6001)


@pytest.mark.parametrize("there", [True, False], ids=["with .env", "without"])
def test_init_existing_name_of_other(init, docker, workspace, other, there):
    """A name that the compose file fixes and another workspace has is refused, nothing written."""
    if not there:
        shutil.rmtree(workspace / "data")
        (workspace / ".env").unlink()
    docker.containers.append(make_container("fixed", other, "theirs", port=1))
    environment = {"POSTGRES_DB": "hive"}
    resolve_to(docker, "original", workspace, container_name="fixed", environment=environment)
    before = snapshot(workspace) if there else {}
    with pytest.raises(ContainerConflictError, match="fixed has the"):
        init(workspace)
    if there:
        assert snapshot(workspace) == before


def test_init_existing_file_refused(init, docker, workspace):
    """A `.env` that was only made for Compose to read goes, where the compose file is refused."""
    shutil.rmtree(workspace / "data")
    (workspace / ".env").unlink()
    resolve_to(docker, "original", workspace)
    with pytest.raises(WorkspaceError, match="--port 7000 has no effect"):
        init(workspace, port=7000)
    assert os.listdir(workspace) == ["docker-compose.yml"]


def test_init_template_url(init, docker, workspace):
    """A template's URL is no objection to the compose file's own credentials."""
    url = "postgresql+psycopg://user:pass@localhost:5532/hive"
    (workspace / ".env").write_text(f"HIVE_DATABASE_URL={url}\n")
    resolve_to(docker, "generated", workspace)
    init(workspace)
    assert env_of(workspace)["POSTGRES_USER"] == "bob"


@pytest.fixture
def elsewhere(docker, workspace):
    """Return a function that has a compose file of somebody's own, with a place for the data."""
    shutil.rmtree(workspace / "data")
    (workspace / "docker-compose.yml").write_text("services: {}\n")
    usual = docker.config

    def place(source="db"):
        def config(call):
            found = json.loads(usual(call))
            service = found["services"]["postgres"]
            kind = "bind" if "/" in source else "volume"
            service["volumes"][0].update(type=kind, source=source)
            found["volumes"] = {"db": {"name": "w_db"}}
            return json.dumps(found)

        docker.answers["docker compose config"] = config
        return workspace

    return place


@pytest.mark.parametrize("place", ["directory", "container", "volume"])
def test_init_login_like_a_placeholder(init, docker, capsys, elsewhere, workspace, place):
    """Somebody's data has been served with it: it stays, as other programs have it, too."""
    source = f"{workspace}/pg"
    elsewhere("db" if place == "volume" else source)
    env = "POSTGRES_USER=app\nPOSTGRES_PASSWORD=password\nPOSTGRES_DB=app\n"
    (workspace / ".env").write_text(env)
    if place == "volume":
        docker.answers.update({"docker volume ls": "w_db\n", "docker run": in_volume})
    else:
        (workspace / "pg/pgdata").mkdir(parents=True)
        (workspace / "pg/pgdata/PG_VERSION").write_text("16\n")
    if place == "container":
        environment = dict(line.split("=") for line in env.split())
        docker.containers = [make_container(workspace=workspace, environment=environment)]
        docker.containers[0]["Mounts"][0]["Source"] = source
    init(workspace, start=False)
    values = env_of(workspace)
    assert (values["POSTGRES_USER"], values["POSTGRES_PASSWORD"]) == ("app", "password")
    assert ".env has no credentials" not in capsys.readouterr().err


def test_init_placeholder_without_data(init, docker, elsewhere, workspace):
    """Nobody has used it: what everybody knows is no password for a new database."""
    elsewhere()
    (workspace / ".env").write_text("POSTGRES_USER=app\nPOSTGRES_PASSWORD=password\n")
    init(workspace, start=False)
    assert len(env_of(workspace)["POSTGRES_PASSWORD"]) == 32


# -- mending -------------------------------------------------------------------------------------


def test_init_refused_password(init, docker):
    r"""With a yes the server is told the password in .env, by psql's \password, and asked again."""
    docker.answers["docker exec"] = [REFUSED, "", WELL]
    password = env_of(init())["POSTGRES_PASSWORD"]
    call = docker.calls_of("docker exec")[1]
    assert call.argv[-2:] == ["-d", "dbname='template1'"]
    assert call.stdin == f"{SET_PASSWORD}{password}\n{password}\n"
    assert password not in " ".join(call.argv)


def test_init_refused_password_twice(init, docker):
    """Each way of mending is tried once."""
    docker.answers["docker exec"] = [REFUSED, "", REFUSED]
    with pytest.raises(CredentialsRefusedError):
        init()


@pytest.mark.parametrize("terminal", [False, True], ids=["no terminal", "no"])
def test_init_refused_password_unasked(monkeypatch, init, workspace, docker, terminal):
    """Without a yes the server's password stays; what would change it is said."""
    docker.answers["docker exec"] = REFUSED
    monkeypatch.setattr(pg, "is_interactive", lambda: terminal)
    monkeypatch.setattr(
        pg.Console, "confirm", lambda _, question, **_enter: "ALTER ROLE" not in question
    )
    with pytest.raises(CredentialsRefusedError) as caught:
        init(workspace, interactive=True)
    assert f"hive-pg init {workspace} --yes" in caught.value.hint
    assert len(docker.calls_of("docker exec")) == 1


@pytest.fixture
def other_password(up, docker):
    """Return a workspace whose container was made with another password than `.env` has now."""
    environment = {"POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "the-old-one"}
    docker.containers[:] = [make_container(workspace=up, environment=environment)]
    return up


def test_init_other_password_is_refused_first(monkeypatch, init, other_password, docker):
    """Without a yes the container stays, the last to know the password, and so does `.env`."""
    docker.answers["docker exec"] = REFUSED
    monkeypatch.setattr(pg, "is_interactive", lambda: False)
    before = snapshot(other_password)
    with pytest.raises(CredentialsRefusedError):
        init(other_password, interactive=True)
    assert "docker compose up" not in docker.commands
    assert snapshot(other_password) == before


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param([REFUSED, "", WELL], True, id="another one"),
        pytest.param([WELL], False, id="that one"),
        pytest.param([(71, ""), WELL], False, id="starts"),
    ],
)
def test_init_other_password(init, other_password, docker, answers, told):
    """With a yes the server is told the new one, if need be, before its container is replaced."""
    docker.answers["docker exec"] = answers
    init(other_password)
    commands = docker.commands
    assert commands.index("docker exec") < commands.index("docker compose up")
    passwords = [call.stdin for call in docker.calls_of("docker exec") if "psql" in call.argv]
    assert passwords == ([f"{SET_PASSWORD}s3cret\ns3cret\n"] if told else [])


def test_init_rotation_interrupted(init, other_password, docker):
    """A `rotate` that came to the server is finished by init: the next password is the one."""
    remember(other_password, next_password="n3xt")
    docker.answers["docker exec"] = [REFUSED, WELL, REFUSED, "", WELL]
    init(other_password)
    assert [call.stdin for call in docker.calls_of("docker exec")][1] == "n3xt\n"
    assert env_of(other_password)["POSTGRES_PASSWORD"] == "n3xt"
    assert state_of(other_password).next_password == ""


def test_init_outdated_password_of_container(init, workspace, docker):
    """What a container of a lost .env was made with may be outdated: a new one is set."""
    (workspace / ".env").unlink()
    docker.containers.append(make_container(workspace=workspace, environment=OF_BOB))
    docker.answers["docker exec"] = [REFUSED, "", WELL]
    init(workspace)
    password = env_of(workspace)["POSTGRES_PASSWORD"]
    assert password != "b0b"
    assert docker.calls_of("docker compose up")[-1].env["POSTGRES_PASSWORD"] == password


def test_init_mends_in_turn(init, workspace, docker):
    """A cluster can have another password and lack the database: one after the other."""
    docker.answers["docker exec"] = [REFUSED, "", NO_DATABASE, "", WELL]
    init(workspace)
    mending = [call.stdin for call in docker.calls_of("docker exec")[1::2]]
    assert mending[0].startswith(SET_PASSWORD)
    assert mending[1] == 'create database "hive";'


def test_init_leaves_pg_hba_alone(init, docker):
    """Where it lets nobody in over the network, that is the error, with the line to write."""
    docker.answers["docker exec"] = NO_LINE
    with pytest.raises(CredentialsRefusedError, match="lets nobody in over the network") as caught:
        init()
    assert "host all all all scram-sha-256" in caught.value.hint


BEGUN = "The files belonging to this database system will be owned by user postgres.\n"
ENDED = "PostgreSQL init process complete; ready for start up.\n"


@pytest.mark.parametrize("answer", [NO_LINE, NO_DATABASE, REFUSED, WELL], ids=lambda a: a[-1][:20])
@pytest.mark.parametrize("logs", [BEGUN, BEGUN + ENDED + BEGUN, "", "words\n"])
def test_init_first_start_interrupted(init, workspace, docker, answer, logs):
    """A cluster that hive-pg began, and that lacks the end, is moved aside whole, and made again.

    Whether it lets the application in, or not: the container may have been replaced since.
    """
    remember(workspace, verified=False, begun=True)
    docker.containers.append(make_container(workspace=workspace))
    docker.answers["docker exec"] = [WELL, answer, WELL]
    docker.answers["docker logs"] = [logs, logs, BEGUN + ENDED]

    def move(call):
        shutil.rmtree(workspace / "data/postgres/pgdata")
        return ""

    docker.answers["docker run"] = move
    init(workspace)
    (moved,) = docker.calls_of("docker run")
    script, target, suffix = moved.argv[-3:]
    assert (script, target) == ('mv -T "$0" "$0$1"', "/target/pgdata")
    assert suffix.startswith(".incomplete-")
    assert len(docker.calls_of("docker compose up")) == 2
    assert (state_of(workspace).verified, state_of(workspace).begun) == (True, False)


@pytest.mark.parametrize("stops", [False, True])
def test_init_first_start_that_went_on_by_itself(init, workspace, docker, stops):
    """The log says that it ended: it is served, even where the container is replaced after that."""
    remember(workspace, verified=False, begun=True)
    docker.containers.append(make_container(workspace=workspace))
    docker.answers["docker logs"] = [BEGUN + ENDED, ""]
    if stops:
        pg.stop(pg.Workspace(str(workspace), docker.console, pg.Engine(docker)))
    init(workspace)
    assert docker.calls_of("docker run") == []
    assert (state_of(workspace).verified, state_of(workspace).begun) == (True, False)


def test_init_does_not_try_its_own_first_start_again(init, workspace, docker):
    """What failed a moment ago would fail again: the error names the script."""
    shutil.rmtree(workspace / "data")

    def up(call):
        docker.up(call)
        docker.containers[-1]["RestartCount"] = 1
        return ""

    words = "psql:/docker-entrypoint-initdb.d/1.sql:2: ERROR:  no"
    docker.answers.update({"docker compose up": up, "docker logs": f"{BEGUN}{words}\nLOG:  x\n"})
    with pytest.raises(ContainerStartupError, match="an init script of the image failed") as caught:
        init(workspace)
    assert caught.value.detail == words
    assert (state_of(workspace).verified, state_of(workspace).begun) == (False, True)
    assert docker.calls_of("docker run") == []


def test_init_names_a_script_whose_words_are_far_up_in_the_log(init, workspace, docker):
    """The container was started again meanwhile, and has said much since."""
    shutil.rmtree(workspace / "data")

    def wait(_):
        docker.containers[-1]["RestartCount"] += 1
        return WAITING

    words = "psql:/docker-entrypoint-initdb.d/1.sql:2: ERROR:  no"
    whole = f"{BEGUN}psql:/docker-entrypoint-initdb.d/1.sql:1: NOTICE:  x\n{words}\nLOG:  x\n"
    docker.answers["docker exec"] = wait
    docker.answers["docker logs"] = lambda call: whole if "-1" in call.argv else "LOG:  x\n"
    with pytest.raises(ContainerStartupError, match="an init script of the image failed") as caught:
        init(workspace)
    assert caught.value.detail == words


@pytest.mark.parametrize("state", ["exited", "restarting"])
def test_init_does_not_serve_the_half_of_a_script_without_a_right(init, workspace, docker, state):
    """The owner that its words speak of is no mend: what was made stays no whole database."""
    shutil.rmtree(workspace / "data")
    states, cluster = [state], workspace / "data" / "postgres" / "pgdata"

    def up(call):
        docker.up(call)
        cluster.mkdir(parents=True, exist_ok=True)
        (cluster / "PG_VERSION").write_text("16\n")
        if states:
            docker.containers[-1]["State"].update(Status=states.pop(), Running=False, ExitCode=1)
        return ""

    words = 'psql:/docker-entrypoint-initdb.d/1.sql:2: ERROR:  could not open file "/x" for reading'
    logs = f"{BEGUN}{words}: Permission denied\n"
    docker.answers.update({"docker compose up": up, "docker logs": logs, "docker run": ""})
    with pytest.raises(ContainerStartupError):
        init(workspace)
    assert (state_of(workspace).verified, state_of(workspace).begun) == (False, True)


@pytest.mark.parametrize(
    ("answer", "logs"),
    [
        pytest.param(NO_DATABASE, "", id="no database"),
        pytest.param(WAITING, 'could not open file "global/pg_control"', id="incomplete"),
    ],
)
def test_init_verified_cluster_is_never_moved(init, workspace, docker, answer, logs):
    """Without a state file, or after a login, a cluster is somebody's data: only added to."""

    def up(call):
        docker.up(call)
        docker.containers[-1]["State"].update(
            Status="restarting" if logs else "running", ExitCode=1
        )
        return ""

    docker.answers.update({"docker compose up": up, "docker logs": logs})
    docker.answers["docker exec"] = answer if logs else [answer, "", WELL]
    if logs:
        with pytest.raises(ContainerStartupError):
            init(workspace)
    else:
        init(workspace)
    assert docker.calls_of("docker run") == []


def test_init_again_asks_for_the_image_once(init, up, docker):
    """The service that the compose file has is the one whose image is asked for."""
    init(up)
    assert len(docker.calls_of("docker image inspect")) == 1


def test_init_first_start_that_a_person_wants_to_keep(monkeypatch, init, workspace, docker):
    """Somebody may have worked with it all the same: without a yes at a terminal it stays."""
    remember(workspace, verified=False, begun=True)
    docker.answers.update({"docker exec": NO_DATABASE, "docker logs": BEGUN})
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(
        pg.Console, "confirm", lambda _, question, **_enter: "aside" not in question
    )
    with pytest.raises(ContainerStartupError, match="the first start was interrupted"):
        init(workspace, interactive=True)
    assert docker.calls_of("docker run") == []


@pytest.mark.parametrize("place", ["directory", "volume"])
def test_init_first_start_in_a_mount_of_its_own(init, docker, workspace, place):
    """A half-made cluster that is what is mounted is copied out of it before it is deleted."""
    remember(workspace, verified=False, begun=True)
    environment = {"POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "s3cret", "POSTGRES_DB": "hive"}
    resolve_to(docker, "original", workspace, environment=environment, container_name="c")
    config = json.loads(docker.answers["docker compose config"])
    (mount,) = config["services"]["postgres"]["volumes"]
    mount.update(target="/var/lib/postgresql/data")
    if place == "volume":
        mount.update(type="volume", source="db")
        config["volumes"] = {"db": {"name": "w_db"}}
    docker.answers["docker compose config"] = json.dumps(config)
    docker.answers["docker exec"] = [NO_DATABASE, WELL]
    docker.answers.update({"docker stop": "", "docker run": in_volume, "docker logs": BEGUN})
    docker.answers["docker volume ls"] = "w_db\n"
    with pytest.raises(ContainerStartupError):  # this docker has the rest as before
        init(workspace)
    moved = next(call for call in docker.calls_of("docker run") if "/aside" in call.command)
    here, aside = (word for word in moved.argv if word.startswith("type="))
    kind, source = (
        ("volume", "w_db") if place == "volume" else ("bind", f"{workspace}/data/postgres")
    )
    assert here == f'type={kind},"source={source}",target=/target'
    assert aside.startswith(f'type={kind},"source={source}.incomplete-2')
    assert moved.argv[-3] == "cp -a /target/. /aside && cd /target && rm -rf -- ..?* .[!.]* *"
    assert len([*(workspace / "data").glob("postgres.incomplete-*")]) == (place == "directory")


def test_init_of_one_that_was_about_to_stop(init, up, docker):
    """A container that ends orderly is not started again: somebody has stopped it."""

    def end(call):
        docker.containers[0]["State"].update(Status="exited", ExitCode=0)
        return (1, "Container hive-postgres is not running")

    docker.answers["docker exec"] = end
    with pytest.raises(ContainerStartupError, match=r"is stopped \(exit code 0\)"):
        init(up)
    assert docker.commands.count("docker compose up") == 1


def test_init_wrong_owner_deep_down(init, workspace, docker):
    """What only the server notices is mended, too, once it has been seen."""

    def fail_once(call):
        docker.up(call)
        docker.answers["docker compose up"] = docker.up
        docker.containers[-1]["State"].update(Status="restarting", ExitCode=1)
        return ""

    docker.answers["docker compose up"] = fail_once
    docker.answers["docker exec"] = [WAITING, WELL]
    docker.answers["docker logs"] = 'FATAL:  data directory "/d" has wrong ownership\n'
    docker.answers["docker run"] = ""
    init(workspace)
    assert "chown" in docker.calls_of("docker run")[0].argv[-3]
    commands = docker.commands
    assert commands.index("docker stop") < commands.index("docker run")


# -- git -----------------------------------------------------------------------------------------

GIT = "git -c core.fsmonitor=false -c core.quotePath=false"
ALL_LINES = "/.env\n/.env.*.tmp\n/.hive-pg.json*\n"
ALL_PATHS = ".env\n.env.hive-pg.tmp\n.hive-pg.json\n.hive-pg.json.hive-pg.tmp\n"
NO_GIT = (128, "fatal: not a git repository\n")
HANGS = DockerNotAvailableError("`git -C` did not answer within 20 s")


@pytest.mark.parametrize(
    ("ignored", "before", "after"),
    [
        pytest.param((1, ""), None, ALL_LINES, id="no file"),
        pytest.param((1, ""), "x", f"x\n{ALL_LINES}", id="no final newline"),
        pytest.param(".env\n", "a\n", "a\n/.env.*.tmp\n/.hive-pg.json*\n", id="some"),
        pytest.param(ALL_PATHS, "a\n", "a\n", id="all"),
        pytest.param((1, ""), "/.env\n!.env\n", f"/.env\n!.env\n{ALL_LINES}", id="taken back"),
        pytest.param(NO_GIT, None, ALL_LINES, id="git comes later"),
        pytest.param(NO_GIT, ".env \n", ".env \n/.env.*.tmp\n/.hive-pg.json*\n", id="some by text"),
        pytest.param(NO_GIT, ALL_LINES, ALL_LINES, id="all, by text"),
        pytest.param(FileNotFoundError(2, "No such file", "git"), None, ALL_LINES, id="no git"),
        pytest.param(HANGS, None, ALL_LINES, id="git hangs"),
    ],
)  # fmt: skip
def test_ignore_in_git(workspace, init, docker, capsys, ignored, before, after):
    """Secrets and temporary files are ignored, also where git comes later; lines are only added."""
    path = workspace / ".gitignore"
    if before is not None:
        path.write_text(before)
        path.chmod(0o664)
    at = f"{GIT} -C {workspace}"
    docker.answers.update({f"{at} check-ignore": [ignored, ALL_PATHS], f"{at} ls-files": ""})
    init(workspace)
    assert path.read_text() == after
    assert ("warning" in capsys.readouterr().err) is (ignored is HANGS)
    if before is not None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_ignore_data(init):
    """The cluster is ignored, and nothing that people have in data/; git has nothing to show."""
    new = init()
    path = new / "data/.gitignore"
    assert path.read_text() == "/postgres/\n/.gitignore\n"
    path.write_text("*.csv\n")
    init(new)
    init(new)
    assert path.read_text() == "*.csv\n/postgres/\n"


def test_ignore_data_elsewhere(tmp_path, workspace, init):
    """Nothing is written through a link, and none that leads nowhere is followed by git."""
    (workspace / "data").rename(tmp_path / "disk")
    (workspace / "data").symlink_to(tmp_path / "disk")
    (workspace / ".gitignore").symlink_to("shared")
    init(workspace)
    assert not (tmp_path / "disk/.gitignore").exists()
    assert not (workspace / "shared").exists()


def test_dockerignore(workspace, init):
    """An image that is built here gets neither credentials nor data; no file is made for that."""
    init(workspace)
    path = workspace / ".dockerignore"
    assert not path.exists()
    path.write_text("*\n!data\n/.env\n")
    init(workspace)
    init(workspace)
    assert path.read_text() == "*\n!data\n/.env\ndata/postgres/\nbackups/\n.hive-pg.json\n"


@pytest.mark.parametrize(
    ("question", "answer", "warning"),
    [
        pytest.param("check-ignore", (128, "fatal: detected dubious ownership"),
                     "may not be ignored: fatal: detected dubious", id="git cannot say"),
        pytest.param("check-ignore", HANGS, "may not be ignored: `git -C` did not", id="hangs"),
        pytest.param("ls-files", ".env\0.hive-pg.json\0",
                     "the password: git rm --cached .env .hive-pg.json, and", id="tracked"),
    ],
)  # fmt: skip
def test_ignore_in_git_warns(workspace, init, docker, capsys, question, answer, warning):
    """That the password could be committed is warned of, and keeps nobody from the database."""
    at = f"{GIT} -C {workspace}"
    docker.answers.update({f"{at} check-ignore": [(1, ""), ALL_PATHS], f"{at} ls-files": ""})
    docker.answers[f"{at} {question}"] = answer
    init(workspace)
    assert warning in capsys.readouterr().err
    assert "docker compose up" in docker.commands


def test_ignore_in_git_that_speaks_another_language(workspace, init, docker, capsys):
    """Its words are read: outside of a repository there is nothing to warn of."""
    said = {"C": "fatal: not a git repository"}
    docker.answers["git"] = lambda call: (128, said.get(call.env["LC_ALL"], "Schwerwiegend: x"))
    init(workspace)
    assert "may not be ignored" not in capsys.readouterr().err


def test_init_removes_leftovers(workspace, init):
    """A temporary file that a killed hive-pg has left goes, and the cluster stays."""
    make_cluster(workspace)
    (workspace / ".env.hive-pg.tmp").write_text("POSTGRES_PASSWORD=old\n")
    init(workspace)
    assert not (workspace / ".env.hive-pg.tmp").exists()
    assert (workspace / "data/postgres/pgdata/PG_VERSION").exists()


def test_init_unverified_cluster_that_hive_pg_did_not_begin_is_never_moved(init, workspace, docker):
    """After `init --no-start` somebody may have used it without hive-pg: the database is made."""
    remember(workspace, verified=False)
    docker.containers.append(make_container(workspace=workspace))
    docker.answers["docker exec"] = [NO_DATABASE, NO_DATABASE, "", WELL]
    init(workspace)
    assert docker.calls_of("docker run") == []
    assert (workspace / "data/postgres/pgdata/PG_VERSION").exists()


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        pytest.param("postgresql+asyncpg://ann:of-prod@prod/x", True, id="elsewhere"),
        pytest.param("postgresql://ann:s3cret@localhost:5532/hive", False, id="as env has it"),
        pytest.param("${HIVE_DATABASE_URL}", False, id="a reference"),
    ],
)
def test_init_names_another_database_url(workspace, manager, docker, capsys, line, warned):
    """`run` and `env` say otherwise than `.env` does, which nobody would expect."""
    with (workspace / ".env").open("a") as file:
        file.write(f"DATABASE_URL={line}\n")
    assert manager.setup_postgres_container(interactive=False, start=False)
    err = capsys.readouterr().err
    said = (
        "warning: .env has another DATABASE_URL; hive-pg run and hive-pg env say postgresql://ann:"
    )
    assert (f"{said}****@localhost:5532/hive" in err) is warned
    assert f"DATABASE_URL={line}\n" in (workspace / ".env").read_text()
    assert "of-prod" not in err


def test_init_names_what_leads_elsewhere(monkeypatch, workspace, manager, docker, capsys):
    """A shell that would have libpq, or plain Compose, go elsewhere."""
    monkeypatch.setenv("PGSERVICE", "prod")
    monkeypatch.setenv("POSTGRES_USER", "bob")
    assert manager.setup_postgres_container(interactive=False, start=False)
    said = (
        "applications take PGSERVICE POSTGRES_USER from this shell, not from .env: unset PGSERVICE"
    )
    assert said in capsys.readouterr().err
