"""The traps that were measured: each has a test that falls in where hive-pg would."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    OURS,
    USER,
    children_of,
    docker,
    free_port,
    run,
    wait_until,
)

pytestmark = pytest.mark.engine


@contextlib.contextmanager
def silent_daemon(path):
    """Listen like a daemon, and never answer."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()
        connections = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(stack.enter_context(server.accept()[0]))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield connections
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(scope="module", autouse=True)
def hung(lab):
    """Ask a daemon that hangs, in the background: it takes as long as hive-pg lets it."""
    with lab.workspace("hung") as workspace:
        workspace.init("--no-start")
        workspace.socket = workspace.path / "docker.sock"
        with silent_daemon(workspace.socket) as workspace.connections:
            env = workspace.environment(DOCKER_HOST=f"unix://{workspace.socket}")
            with workspace.started("status", env=env) as workspace.process:
                yield workspace


# -- credentials --------------------------------------------------------------------------------


def test_wrong_password_in_env_is_refused_where_loopback_trusts_it(lent):
    """Inside the container everybody is let in: only a login over its network tells, exit 6."""
    lent.up()
    password = lent.env["POSTGRES_PASSWORD"]
    url = lent.env["HIVE_DATABASE_URL"].replace(password, "wrong")
    lent.edit_env(HIVE_DATABASE_URL=url, POSTGRES_PASSWORD="wrong")
    assert lent.trusted("select 1").stdout == "1\n"
    result = lent.hive_pg("start", code=6)
    assert "refuses the user and password" in result.stderr
    assert "hint: hive-pg init --yes" in result.stderr
    report = json.loads(lent.hive_pg("check", "--json", code=6).stdout)
    assert [point["outcome"] for point in report["points"]] == [
        "passed", "passed", "passed", "failed", "skipped", "skipped",
    ]  # fmt: skip
    assert "accepting" in lent.hive_pg("status").stdout


def test_env_and_url_that_disagree_are_an_error(lent):
    """With data, nobody guesses which of the two it was made with."""
    lent.up()
    identity = lent.identity
    lent.edit_env(POSTGRES_PASSWORD="s3cr3t-of-bob")
    for command in ("start", "init"):
        assert "POSTGRES_PASSWORD" in lent.hive_pg(command, code=1).stderr
    assert lent.env["POSTGRES_PASSWORD"] == "s3cr3t-of-bob"
    assert lent.identity == identity


def test_postgres_variables_follow_the_url_where_there_is_no_data(make):
    """The URL is the source of truth, and the database is made with it."""
    workspace = make()
    workspace.edit_env(
        HIVE_DATABASE_URL=f"postgresql://ann:s3cr3t-of-ann@localhost:{workspace.port}/shop",
        POSTGRES_USER="bob", POSTGRES_PASSWORD="other", POSTGRES_DB="other",
    )  # fmt: skip
    workspace.init()
    assert workspace.env["POSTGRES_PASSWORD"] == "s3cr3t-of-ann"
    assert workspace.login("select current_user, current_database()") == "ann|shop"


def test_variables_of_the_shell_do_not_reach_compose(make):
    """With other values exported, the workspace is still the one that `.env` describes."""
    workspace = make()
    shell = {
        "POSTGRES_USER": "shell", "POSTGRES_PASSWORD": "shell-s3cret", "POSTGRES_DB": "shell",
        "POSTGRES_UID": "0", "HIVE_POSTGRES_PORT": "1", "HIVE_POSTGRES_CONTAINER": "shell",
        "HIVE_DATABASE_URL": "postgresql://shell:shell@db.example/shell",
        "HIVE_POSTGRES_BIND": "0.0.0.0", "COMPOSE_PROJECT_NAME": "shell",
        "COMPOSE_FILE": "/nowhere.yml", "COMPOSE_PROFILES": "shell",
        "COMPOSE_ENV_FILES": "/nowhere.env", "COMPOSE_DISABLE_ENV_FILE": "1",
    }  # fmt: skip
    workspace.init(**shell)
    identity = workspace.identity
    assert set(workspace.env.values()).isdisjoint(shell.values())
    for command in ("init", "start", "check", "status"):
        workspace.hive_pg(command, **shell)
    assert workspace.identity == identity
    assert workspace.login("select current_user") == workspace.env["POSTGRES_USER"]
    workspace.hive_pg("restart", **shell)
    assert workspace.identity[0] == identity[0]
    workspace.hive_pg("stop", **shell)
    assert workspace.state == "exited"


# -- readiness ----------------------------------------------------------------------------------


def wait_for_temporary_server(workspace):
    """Wait until the server of the first start says on its socket that it is ready."""
    argv = ["docker", "exec", workspace.container, "pg_isready", "-q"]
    wait_until(lambda: workspace.inspect() is not None)
    wait_until(lambda: run([*argv, "-U", workspace.env["POSTGRES_USER"]]).returncode == 0)


def test_slow_first_start_is_not_called_ready(make, slow_image):
    """Too short a time is exit 5; done means that the published port accepts the login at once."""
    workspace = make()
    result = workspace.init("--image", slow_image, "--timeout", "1", code=5)
    assert "does not accept connections" in result.stderr
    wait_for_temporary_server(workspace)
    status = json.loads(workspace.hive_pg("status", "--json", code=5).stdout)
    assert (status["state"], status["readiness"]) == ("running", "no response")
    workspace.let_first_start_end()
    workspace.hive_pg("start")
    assert workspace.login("select '[1]'::vector") == "[1]"


def test_first_start_is_not_cut_short_by_stop(make, slow_image):
    """The image ignores the signal until its server is up, and would be killed half-made."""
    workspace = make()
    workspace.init("--image", slow_image, "--timeout", "1", code=5)
    with workspace.started("stop", "-v") as process:
        assert any("docker exec" in line for line in process.stderr)
        workspace.let_first_start_end()
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    assert process.returncode == 0, stderr
    state = workspace.inspect()["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    workspace.hive_pg("start")
    assert workspace.login("select '[1]'::vector") == "[1]"


def test_interrupted_init_goes_on_from_there(make, slow_image):
    """Ctrl-C is exit 130 while the server is still on its way; the same command then ends."""
    workspace = make()
    workspace.init("--no-start")
    options = {"start_new_session": True}
    with workspace.started("init", "-v", "--image", slow_image, **options) as process:
        said = next(line for line in process.stderr if "docker exec" in line)
        wait_until(lambda: "docker" in children_of(process.pid))
        os.killpg(process.pid, signal.SIGINT)
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    assert process.returncode == 130, said + stderr
    assert "interrupted; give the same command again" in stderr
    assert "Traceback" not in stderr
    workspace.let_first_start_end()
    workspace.hive_pg("init")
    assert workspace.login() == "1"


def test_start_finds_a_server_that_somebody_else_has_just_started(lent):
    """It waits for it, and for its published port, like for its own."""
    lent.up()
    for _ in range(3):
        docker("restart", lent.container)
        lent.hive_pg("start")


# -- whose container ----------------------------------------------------------------------------


def test_folders_of_one_name_are_two_workspaces(make):
    """Compose would take both for one project; here each has its own container, port and data."""
    first, second = make("app", env=""), make("app", env="")
    assert first.path.name == second.path.name
    first.init()
    identity = first.identity
    second.init()
    for workspace in (first, second):
        workspace.login(f"create table which as select '{workspace.path}' as path")
    for command in ("restart", "start", "check", "init"):
        second.hive_pg(command)
    assert first.identity == identity
    assert first.login("select path from which") == str(first.path)
    assert second.login("select path from which") == str(second.path)


@pytest.fixture(scope="module")
def copied(lab, served):
    """Give a copy of the served workspace, but for its data, as `cp -a` makes it."""
    with lab.workspace("copy", env="", starts=False) as workspace:
        for name in (".env", "docker-compose.yml"):
            shutil.copy2(served.path / name, workspace.path)
            lab.give(workspace.path / name, workspace.actor)
        yield workspace


@pytest.mark.parametrize("command", "start stop restart status check logs run".split())
def test_copied_workspace_does_not_touch_the_other_container(served, copied, command):
    """It is refused, and said whose it is."""
    served.up()
    identity = served.identity
    result = copied.hive_pg(command, *(["--", "true"] if command == "run" else []), code=1)
    said = result.stdout + result.stderr
    assert f"container {served.container}" in said
    assert str(served.path) in said
    assert served.identity == identity
    assert served.state == "running"


def test_copy_with_another_name_does_not_replace_the_container(served, make):
    """The same Compose project under another container name would be the same container."""
    served.up()
    identity = served.identity
    copy = make("copy", env=(served.path / ".env").read_text())
    shutil.copy(served.path / "docker-compose.yml", copy.path)
    port = str(free_port())
    url = served.env["HIVE_DATABASE_URL"].replace(f":{served.port}/", f":{port}/")
    name = f"{served.container}-copy"
    copy.edit_env(HIVE_DATABASE_URL=url, HIVE_POSTGRES_PORT=port, HIVE_POSTGRES_CONTAINER=name)
    assert str(served.path) in copy.hive_pg("start", code=1).stderr
    assert served.identity == identity


def test_init_of_a_copied_workspace_gives_it_its_own(served, make):
    """Its own project, container and port; the first one's serve on."""
    served.up()
    identity = served.identity
    copy = make("copy", env=(served.path / ".env").read_text())
    shutil.copy(served.path / "docker-compose.yml", copy.path)
    copy.hive_pg("init")
    for key in ("COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_CONTAINER", "HIVE_POSTGRES_PORT"):
        assert copy.env[key] != served.env[key]
    assert copy.login("select '[1]'::vector") == served.login("select '[1]'::vector") == "[1]"
    assert served.identity == identity


def test_container_that_compose_did_not_make_is_refused(make, lab):
    """Somebody's `docker run` under the recorded name is left alone."""
    workspace = make()
    workspace.init("--no-start")
    argv = ("create", "--name", workspace.container, "--label", f"{OURS}={workspace.path}")
    container = docker(*argv, lab.image)
    result = workspace.hive_pg("start", code=1)
    assert f"container {workspace.container}" in result.stderr
    assert "Compose did not make it" in result.stderr
    assert workspace.identity[0] == container


def test_moved_workspace_keeps_its_database(make):
    """While it runs, a restart brings it here; stopped, it comes back by itself."""
    workspace = make()
    workspace.serve()
    workspace.login("create table kept as select 42 as n")
    before = workspace.path
    workspace.path = before.rename(before.with_name(f"{before.name}-moved"))
    workspace.hive_pg("status")
    workspace.hive_pg("restart")
    status = workspace.hive_pg("status")
    assert ("hint" in status.stderr, str(workspace.path) in status.stdout) == (False, True)
    workspace.hive_pg("stop")
    workspace.path = workspace.path.rename(before)
    workspace.hive_pg("start")
    assert workspace.login("select n from kept") == "42"


@pytest.fixture(scope="module")
def stopped(lab):
    """Give a workspace that has data, and whose database does not run."""
    with lab.workspace("stopped") as workspace:
        workspace.serve()
        workspace.hive_pg("stop")
        yield workspace


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("data/postgres", "created"),
        ("data/postgres", "running"),
        ("data/postgres/pgdata", "created"),
    ],
    ids=["created", "running", "cluster alone"],
)
def test_second_container_on_the_data_is_refused(stopped, source, state):
    """Two servers would both start and destroy it: the other container is named, none starts."""
    name = f"{stopped.path.name}-second"
    volume = f"{stopped.path / source}:/var/lib/postgresql/data"
    argv = ("create", "--name", name, "--volume", volume, "--entrypoint", "sleep")
    docker(*argv, stopped.lab.image, "99")
    try:
        if state == "running":
            docker("start", name)
        for command in ("start", "init"):
            result = stopped.hive_pg(command, code=1)
            assert f"container {name}" in result.stderr
            assert stopped.state == "exited"
    finally:
        docker("rm", "--force", name)


def test_container_on_the_whole_workspace_is_no_second_server(make, lab):
    """A development container that has the project mounted does not stand in the way."""
    workspace = make()
    workspace.init("--no-start")
    argv = ("create", "--volume", f"{workspace.path}:/app", "--entrypoint", "true", lab.image)
    docker(*argv)
    workspace.hive_pg("start")
    assert workspace.login() == "1"


def test_taken_port_names_who_has_it(make, served):
    """Another container of ours, or a process: exit 1 and the way out."""
    served.up()
    workspace = make()
    workspace.init("--no-start")
    result = workspace.hive_pg("init", "--port", str(served.port), code=1)
    assert f"port 127.0.0.1:{served.port} is taken by container {served.container}" in result.stderr
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = workspace.hive_pg("init", "--port", str(port), code=1)
    assert f"port 127.0.0.1:{port} is taken by a process on this machine" in result.stderr
    assert "hint: hive-pg init --port N" in result.stderr
    assert workspace.env["HIVE_POSTGRES_PORT"] == str(workspace.port)


# -- owners -------------------------------------------------------------------------------------


def test_root_acts_for_the_user_that_called_sudo(make):
    """SUDO_UID and SUDO_GID own the files and the data, and run the server."""
    workspace = make(actor="root", env="")
    sudo = {"SUDO_UID": str(USER), "SUDO_GID": str(USER)}
    workspace.init(**sudo)
    for name in (".env", "docker-compose.yml", "data", "data/postgres"):
        assert (workspace.path / name).stat().st_uid == USER
    assert workspace.inspect()["Config"]["User"] == f"{USER}:{USER}"
    assert workspace.login() == "1"


@pytest.mark.parametrize("command", ["init", "start"])
def test_crash_loop_on_a_directory_that_docker_made_is_ended(make, original, command):
    """Plain Compose without the directory restarts for ever on `Permission denied`."""
    workspace = make(compose_file=original, env="")
    if command == "start":
        workspace.hive_pg("init", "--no-start")
        shutil.rmtree(workspace.path / "data")
    else:
        workspace.write(".env", "POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cr3t-of-ann\n")
    workspace.compose("up", "-d")
    name = original.split("container_name: ")[1].split("\n")[0]
    restarts = ("inspect", "--format", "{{.RestartCount}}", name)
    wait_until(lambda: int(docker(*restarts)) >= 3)
    began = time.monotonic()
    workspace.hive_pg(command)
    assert time.monotonic() - began < 60  # nobody waited for a server to be killed
    assert workspace.login() == "1"


# -- states -------------------------------------------------------------------------------------


def test_names_are_not_substrings(make, lab):
    """A container called alike is not this workspace's: `missing`, exit 3."""
    workspace = make()
    workspace.init("--no-start")
    name = f"{workspace.container}-2"
    docker("run", "-d", "--name", name, "--label", f"{OURS}={workspace.path}", "--entrypoint",
           "sleep", lab.image, "99")  # fmt: skip
    status = json.loads(workspace.hive_pg("status", "--json", code=3).stdout)
    assert (status["container"], status["state"]) == (workspace.container, "missing")
    assert "missing" in workspace.hive_pg("check", code=3).stdout


@pytest.mark.parametrize("command", "init start stop restart status check logs".split())
def test_dead_daemon_is_not_a_missing_container(served, command):
    """Exit 4, with the way to start it."""
    result = served.hive_pg(command, code=4, DOCKER_HOST="unix:///nowhere/docker.sock")
    said = result.stdout + result.stderr
    assert "the Docker daemon is not running" in said
    assert "start Docker: sudo systemctl start docker" in said


def test_missing_docker_is_exit_4(served):
    """No CLI on PATH, and the page that says how to get it."""
    result = served.hive_pg("start", code=4, PATH="/nowhere")
    assert "Docker is not installed" in result.stderr
    assert "https://docs.docker.com/get-docker/" in result.stderr


def test_crash_loop_is_an_error_at_once(make):
    """A bad setting: exit 5 with its cause long before time is up; corrected, it starts."""
    workspace = make()
    workspace.serve()
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="nonsense")
    began = time.monotonic()
    result = workspace.hive_pg("restart", "--timeout", "250", code=5)
    assert time.monotonic() - began < 240
    assert "a server setting" in result.stderr
    assert 'invalid value for parameter "shared_buffers": "nonsense"' in result.stderr
    for command, words in (
        ("status", "state      restarting"),
        ("check", "keeps restarting (exit code 1): a server setting"),
    ):
        # Between two restarts it runs for a moment, which is no better: exit 5 either way.
        wait_until(lambda c=command, w=words: w in workspace.hive_pg(c, code=5).stdout)
    workspace.hive_pg("stop")
    assert workspace.state == "exited"
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="128MB")
    workspace.hive_pg("start")
    assert workspace.login("show shared_buffers") == "128MB"


# -- pgvector -----------------------------------------------------------------------------------


def test_init_creates_the_extension_where_the_image_does_not(make, lab):
    """An image without the init script, a database in which somebody dropped it."""
    image = lab.build_image("without-script", "rm /docker-entrypoint-initdb.d/*")
    workspace = make()
    workspace.init("--image", image)
    assert workspace.login("select '[1]'::vector") == "[1]"
    workspace.login("drop extension vector")
    workspace.hive_pg("init")
    assert workspace.login("select '[1]'::vector") == "[1]"


def test_image_without_pgvector_is_named(make, lab):
    """`create extension` fails, and so does `init`; `check` says which image lacks it."""
    image = lab.build_image(
        "without-pgvector",
        "rm /docker-entrypoint-initdb.d/*",
        "find / -xdev -name vector.control -delete",
    )
    workspace = make()
    assert "pgvector cannot be created" in workspace.init("--image", image, code=1).stderr
    assert f"image {image} lacks it" in workspace.hive_pg("check", code=1).stdout


# -- the end of what began with this module -----------------------------------------------------


def test_hung_daemon_is_an_error_within_the_limit(hung):
    """A daemon that accepts and never answers: exit 4, and no docker process is left waiting."""
    stderr = hung.process.communicate(timeout=60)[1]
    assert hung.process.returncode == 4, stderr
    assert hung.connections
    assert "did not answer within" in stderr
    waiting = f"DOCKER_HOST=unix://{hung.socket}".encode()
    wait_until(lambda: not any(waiting in environment for environment in environments()))


def environments():
    """Return the environments of all processes that may be looked at."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            yield Path("/proc", name, "environ").read_bytes()
