"""Neighbours: who has the port, the name, the project or the directory that a workspace wants."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    OURS,
    SYSTEM_PATH,
    LostError,
    docker,
    free_port,
    pause,
    run,
    wait_until,
)
from refusals import mounted

pytestmark = pytest.mark.engine

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))"
COMMANDS = "init start run stop restart status check logs".split()


@contextlib.contextmanager
def untouched(*workspaces):
    """Make sure that the containers of other workspaces come out as they went in."""
    before = [(workspace.identity, workspace.state) for workspace in workspaces]
    yield
    for workspace, was in zip(workspaces, before):
        if workspace.inspect() is None or (workspace.identity, workspace.state) != was:
            raise LostError(f"{workspace.path.name} is not what it was")


@contextlib.contextmanager
def listening(port, **options):
    """Have a process of its own listen on a port; give it."""
    argv = [sys.executable, "-c", f"{LISTEN}; print(flush=True); time.sleep(600)", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, **options) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def first(lab):
    """Give a neighbour whose database runs and holds rows, which must be there at the end."""
    with lab.workspace("first") as workspace:
        workspace.serve()
        workspace.plant()
        yield workspace
        workspace.assert_kept()


def copy_of(workspace, make, *, data=False):
    """Copy a workspace, as `cp -a` does; `data` with its cluster, which must not run then."""
    copy = make("copy", env="")
    names = [".env", "docker-compose.yml", *(["data"] if data else [])]
    sources = [str(workspace.path / name) for name in names]
    assert run(["cp", "-a", *sources, str(copy.path)], **copy.options()).returncode == 0
    return copy


# -- the port -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(lab):
    """Give a workspace that has rows, and whose database does not run; every test leaves it so."""
    with lab.workspace("stopped") as workspace:
        workspace.serve()
        workspace.plant()
        workspace.hive_pg("stop")
        yield workspace
        workspace.up()
        workspace.assert_kept()


def assert_port_taken(workspace, owner, **options):
    """Make sure that `start` names who has the port, and how to get around it."""
    result = workspace.hive_pg("start", code=1, **options)
    port = workspace.env["HIVE_POSTGRES_PORT"]
    assert f"error: port 127.0.0.1:{port} is taken by {owner}" in result.stderr
    assert "hint: hive-pg init --port N" in result.stderr
    assert workspace.state != "running"
    return result


def test_port_is_taken_by_a_process(stopped):
    """It is named, and with another port the database serves on, its rows in it."""
    if not shutil.which("ss"):
        pytest.skip("ss is not installed")
    taken = stopped.env["HIVE_POSTGRES_PORT"]
    with listening(taken, **stopped.actor.options) as process:
        name = run(["ps", "-o", "comm=", str(process.pid)]).stdout.strip()
        assert_port_taken(stopped, f"a process on this machine: {name} (pid {process.pid})")
        stopped.hive_pg("init", "--port", str(free_port()))
        stopped.assert_kept()
    stopped.hive_pg("init", "--port", taken)
    stopped.hive_pg("stop")


@pytest.mark.parametrize("hidden", ["another user's", "no ss"])
def test_port_is_taken_by_a_process_that_nobody_sees(stopped, make, hidden):
    """Where the host does not say which, it is a process on this machine."""
    if hidden == "no ss":
        workspace, path = stopped, stopped.path.parent / "bin"
        path.mkdir()
        (path / "docker").symlink_to(shutil.which("docker"))
    elif os.geteuid() == 0:
        workspace, path = make(actor="user"), SYSTEM_PATH
        workspace.init("--no-start")
    else:
        pytest.skip("the tests do not run as root")
    with listening(workspace.env["HIVE_POSTGRES_PORT"]):
        result = workspace.hive_pg("start", code=1, PATH=str(path))
    assert "is taken by a process on this machine\n" in result.stderr


@pytest.fixture
def web(stopped, lab):
    """Give a container of another project, not a database, that is published on the port."""
    name = f"{lab.token}-web"
    published = f"127.0.0.1:{stopped.env['HIVE_POSTGRES_PORT']}:80"
    argv = ["run", "--detach", "--name", name, "--publish", published, "--entrypoint", "sleep"]
    where = stopped.path.parent / "web"
    where.mkdir(exist_ok=True)
    for key, value in (("project", name), ("project.working_dir", where), ("service", "web")):
        argv += ["--label", f"com.docker.compose.{key}={value}"]
    docker(*argv, "--label", f"{OURS}={where}", lab.image, "99")
    yield name, where
    docker("rm", "--force", name)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_port_is_taken_by_a_container(stopped, web, state):
    """It is named with its workspace, whatever it serves and also while it is paused."""
    name, where = web
    if state == "paused":
        pause(name)
    assert_port_taken(stopped, f"container {name} of {where}")
    assert docker("inspect", "--format", "{{.State.Status}}", name) == state


def test_port_is_taken_by_a_stale_container(stopped, web):
    """Its directory is gone: that is said, and how to remove it, and then the port is free."""
    name, where = web
    where.rmdir()
    result = assert_port_taken(stopped, f"container {name} of {where}, which is gone")
    assert f"docker rm -f {name}" in result.stderr
    docker("rm", "--force", name)
    stopped.hive_pg("start")
    stopped.assert_kept()
    stopped.hive_pg("stop")


def test_port_of_a_stopped_neighbour_is_left_to_it(stopped, make):
    """`init` takes the next one, and says so: both can run."""
    taken = stopped.env["HIVE_POSTGRES_PORT"]
    workspace = make(env=f"HIVE_POSTGRES_PORT={taken}\n")
    result = workspace.hive_pg("init", "--no-start")
    port = int(workspace.env["HIVE_POSTGRES_PORT"])
    assert int(taken) < port < int(taken) + 100
    assert f"port {taken} is taken; it will be {port}" in result.stderr


@pytest.mark.parametrize("way_out", ["start", "init"])
def test_port_is_taken_while_docker_binds_it(make, lab, way_out):
    """A container is left behind, `created`: it stands in the way of nothing."""
    workspace = make()
    workspace.serve()
    workspace.plant()
    workspace.compose("down")
    asked, go, shim = (workspace.path.parent / name for name in ("asked", "go", "bin"))
    shim.mkdir()
    script = f'[ "$1 $2" = "compose up" ] && touch {asked} && until [ -e {go} ]; do sleep .05; done'
    (shim / "docker").write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("docker")} "$@"\n')
    (shim / "docker").chmod(0o755)
    taken = workspace.env["HIVE_POSTGRES_PORT"]
    env = workspace.environment(PATH=f"{shim}:{SYSTEM_PATH}")
    with workspace.started("start", env=env) as process:
        wait_until(asked.exists)
        with listening(taken):
            go.touch()
            stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
            assert process.returncode == 1, stderr
            assert "another container or process has the port" in stderr
            assert "hint: hive-pg init --port N" in stderr
            assert workspace.state == "created"
            assert "created" in workspace.hive_pg("status", code=3).stdout
            if way_out == "init":
                workspace.hive_pg("init", "--port", str(free_port()))
            else:
                assert_port_taken(workspace, "a process on this machine")
    workspace.hive_pg("start")
    workspace.assert_kept()


# -- the other addresses of localhost -----------------------------------------------------------

# Answers like a PostgreSQL that wants the password in clear, and says what it is given.
STRANGER = """
import contextlib, socket, struct, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
print(flush=True)
while True:
    client, _ = server.accept()
    with client, contextlib.suppress(OSError, struct.error):
        client.settimeout(5)
        while len(head := client.recv(4)) == 4:
            body = client.recv(struct.unpack("!I", head)[0] - 4)
            if struct.unpack("!I", body[:4])[0] in (80877103, 80877104):  # TLS? GSSAPI?
                client.sendall(b"N")
            else:
                client.sendall(b"R" + struct.pack("!II", 8, 3))
                print(client.recv(999)[5:-1].decode(), flush=True)
                break
"""


@contextlib.contextmanager
def stranger_at(port, address="::1"):
    """Have somebody else's program listen there; give its process, which prints what it gets."""
    argv = [sys.executable, "-c", STRANGER, address, str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not process.stdout.readline():
                pytest.skip(f"there is no {address} here")
            yield process
        finally:
            process.kill()


@pytest.fixture
def both(tmp_path):
    """Give the words that start a program where localhost has both addresses, ::1 the first."""
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 localhost\n127.0.0.1 localhost\n")
    words = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    result = run([*words, "getent", "ahosts", "localhost"])
    if not result.stdout.startswith("::1"):
        pytest.skip(f"localhost cannot have two addresses here: {result.stderr}")
    return words


def test_another_program_at_localhost(first, both, psycopg_script):
    """Each command says where, and hands it no password; the hint leads past it."""
    script, port = [*both, first.lab.script], first.env["HIVE_POSTGRES_PORT"]
    with untouched(first), stranger_at(port) as process:
        for words in (["start"], ["run", "--", "true"], ["wait"], ["check"], ["init"]):
            result = first.hive_pg(*words, code=5, argv=script)
            said = result.stdout + result.stderr
            assert f"does not lead to this database at localhost:{port}: another program" in said
            assert "another program answers at ::1\n" in said
            assert "put 127.0.0.1 for localhost in HIVE_DATABASE_URL; or end it" in said
        first.hive_pg("check", code=5, argv=[*both, psycopg_script])
        url = first.env["HIVE_DATABASE_URL"]
        first.edit_env(HIVE_DATABASE_URL=url.replace("localhost", "127.0.0.1"))
        found = first.hive_pg("check", argv=[*both, psycopg_script]).stdout
        assert f"127.0.0.1:{port} answers as PostgreSQL, and psycopg logs in" in found
        first.edit_env(HIVE_DATABASE_URL=url)
        process.kill()
        if process.stdout.read():
            raise LostError("the password went to somebody else's program")
    found = first.hive_pg("check", argv=[*both, psycopg_script]).stdout
    assert f"localhost:{port} answers as PostgreSQL, and psycopg logs in" in found
    first.assert_kept()


def test_another_program_at_localhost_of_a_new_url(make, both):
    """The hint of the first `init` leads past it."""
    workspace = make()
    with stranger_at(workspace.port):
        said = workspace.init(argv=[*both, workspace.lab.script], code=5).stderr
        assert "put 127.0.0.1 for localhost in HIVE_DATABASE_URL" in said
        url = workspace.env["HIVE_DATABASE_URL"].replace("localhost", "127.0.0.1")
        workspace.edit_env(HIVE_DATABASE_URL=url)
        for command in ("init", "check"):
            workspace.hive_pg(command, argv=[*both, workspace.lab.script])
        assert workspace.env["HIVE_DATABASE_URL"] == url


def test_container_on_all_addresses_is_no_other_program(make, both):
    """What a compose file publishes without an address is the container's on ::1, too."""
    workspace = make()
    workspace.init("--no-start")
    text = (workspace.path / "docker-compose.yml").read_text()
    workspace.write("docker-compose.yml", text.replace("${HIVE_POSTGRES_BIND:-127.0.0.1}:", ""))
    for command in ("start", "check", "restart"):
        workspace.hive_pg(command, argv=[*both, workspace.lab.script])
    assert workspace.env["HIVE_DATABASE_URL"].count("@localhost:") == 1


# -- the name and the project -------------------------------------------------------------------


@pytest.fixture(params=["exited", "paused", "restarting", "created"])
def foreign(request, make):
    """Give another workspace's container, in some state."""
    state, workspace = request.param, make("foreign")
    workspace.init("--no-start")
    if state == "restarting":
        text = (workspace.path / "docker-compose.yml").read_text()
        text = text.replace("    command: [", "    entrypoint: [sh, -c, exit 3]\n    command: [")
        workspace.write("docker-compose.yml", text)
    workspace.compose("create" if state == "created" else "up", *["-d"] * (state != "created"))
    if state == "exited":
        docker("kill", workspace.container)
    if state == "paused":
        pause(workspace.container)
    if state == "restarting":
        wait_until(lambda: workspace.inspect()["RestartCount"] > 0)
    else:
        assert workspace.state == state
    workspace.seen = state
    return workspace


def test_container_of_another_workspace_in_any_state(foreign, make):
    """Its name or project is in our `.env`: it is refused and left alone; `init` takes others."""
    for key in ("HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME"):
        assert_refused(foreign, make(), key)


def assert_refused(foreign, workspace, key):
    """Make sure that a workspace with another's name or project is given one of its own."""
    workspace.init("--no-start")
    own = workspace.env[key]
    workspace.edit_env(**{key: foreign.env[key]})
    before = foreign.identity[0]
    for command in ("start", "restart"):
        result = workspace.hive_pg(command, code=1)
        assert f"container {foreign.container} has the " in result.stderr
        assert f"belongs to {foreign.path}\n" in result.stderr
        assert "hint: hive-pg init gives this workspace a " in result.stderr
    if foreign.seen == "paused" and key == "COMPOSE_PROJECT_NAME":  # it may be ours, moved
        result = workspace.hive_pg("init", "--no-start", code=1)
        assert f"hint: docker unpause {foreign.container}" in result.stderr
        docker("unpause", foreign.container)
        foreign.seen = "running"
    workspace.hive_pg("init", "--no-start")
    assert workspace.env[key] not in (own, foreign.env[key])
    if foreign.inspect() is None or foreign.identity[0] != before:
        raise LostError("the other workspace's container was replaced")
    assert foreign.state in (foreign.seen, *["running"] * (foreign.seen == "restarting"))


def test_project_of_another_workspace_is_in_the_shell(first, make):
    """COMPOSE_PROJECT_NAME names the neighbour's: no command acts on it, `init` takes its own."""
    shell = {"COMPOSE_PROJECT_NAME": first.env["COMPOSE_PROJECT_NAME"]}
    workspace = make(env="")
    workspace.edit_env(HIVE_POSTGRES_CONTAINER=f"{workspace.path.name}-own")
    with untouched(first):
        workspace.init(**shell)
        assert workspace.env["COMPOSE_PROJECT_NAME"] != shell["COMPOSE_PROJECT_NAME"]
        for command in ("stop", "start", "restart", "status", "check", "logs"):
            workspace.hive_pg(command, **shell)
    assert workspace.login() == "1"


def test_copy_with_a_name_of_its_own_replaces_nothing(make):
    """A copy whose name and port were edited by hand has the original's project still."""
    original, port = make(), free_port()
    original.serve()
    original.plant()
    copy = make("copy", env="")
    sources = [
        str(original.path / name) for name in (".env", ".hive-pg.json", "docker-compose.yml")
    ]
    assert run(["cp", "-a", *sources, str(copy.path)], **copy.options()).returncode == 0
    url = original.env["HIVE_DATABASE_URL"].replace(f":{original.port}/", f":{port}/")
    own = {"HIVE_POSTGRES_CONTAINER": f"{copy.path.name}-own", "HIVE_DATABASE_URL": url}
    copy.edit_env(**own, HIVE_POSTGRES_PORT=str(port))
    (copy.path / "data" / "postgres" / "pgdata").mkdir(parents=True)
    copy.write("data/postgres/pgdata/PG_VERSION", "16\n")
    with untouched(original):
        for words in (["start"], ["destroy", "--data", "--yes"]):
            said = copy.hive_pg(*words, code=1).stderr
            assert f"this is a copy of {original.path}, and has its names" in said
    original.assert_kept()


def test_project_of_other_services(first, make, lab):
    """A project of that name without a database is another's all the same."""
    name = f"{lab.token}-shop"
    web = make("shop", env=f"COMPOSE_PROJECT_NAME={name}\n")
    service = f'{{image: "{lab.image}", entrypoint: sleep, command: "99"}}'
    web.write("docker-compose.yml", f"services: {{web: {service}}}\n")
    web.compose("up", "-d")
    (before,) = (info["Id"] for info in lab.containers(web.path))
    workspace = make(env="")
    own = f"{workspace.path.name}-own"
    workspace.edit_env(HIVE_POSTGRES_CONTAINER=own)
    workspace.init("--no-start")
    workspace.edit_env(COMPOSE_PROJECT_NAME=name)
    result = workspace.hive_pg("start", code=1)
    assert f"has the Compose project {name}, and belongs to {web.path}" in result.stderr
    workspace.init()
    assert workspace.env["COMPOSE_PROJECT_NAME"] != name
    assert workspace.login() == "1"
    if [info["Id"] for info in lab.containers(web.path)] != [before]:
        raise LostError("the other project's container was replaced")


# -- the data -----------------------------------------------------------------------------------


def test_data_are_mounted_at_another_path(first, make, lab):
    """Two servers on one directory would destroy it: refused, whatever the directory is called."""
    workspace, name = make("alias"), f"{lab.token}-aliased"
    workspace.init("--no-start")
    data = workspace.path / "data" / "postgres"
    with mounted(data, "--bind", first.path / "data" / "postgres"), untouched(first):
        for command in ("start", "init"):
            result = workspace.hive_pg(command, code=1)
            assert f"container {first.container} (running) has the data mounted" in result.stderr
        assert workspace.inspect() is None
        place = f"type=bind,source={data}/pgdata,target=/srv"
        docker("create", "--name", name, "--mount", place, "--entrypoint", "true", lab.image)
        result = first.hive_pg("restart", code=1)
        assert f"container {name} (created) has the data mounted" in result.stderr
        docker("rm", name)


def test_workspace_is_mounted_at_another_path(first):
    """It is the same workspace there: its container is looked at, and no second one is made."""
    alias = first.path.parent / "alias"
    alias.mkdir()
    with mounted(alias, "--bind", first.path), untouched(first):
        for command in ("start", "status", "check"):
            first.hive_pg(command, cwd=alias)
        assert len(first.lab.containers(first.path)) == 1
        assert first.lab.containers(alias) == []


# -- copied, moved, gone ------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["copy inits", "copy starts first"])
def test_workspace_is_copied_with_its_data(make, order):
    """Whoever comes first keeps the names; after `init` both serve, each on its own rows."""
    original = make(env="")
    original.init()
    original.plant()
    original.hive_pg("stop")
    copy = copy_of(original, make, data=True)
    if order == "copy inits":
        copy.hive_pg("init")
        original.hive_pg("start")
    else:
        original.compose("down")
        copy.hive_pg("start")
        with untouched(copy):
            for command in COMMANDS[1:]:
                words = [command, *(["--", "true"] if command == "run" else [])]
                result = original.hive_pg(*words, code=1)
                assert f"belongs to {copy.path}\n" in result.stdout + result.stderr
            original.hive_pg("init")
    for key in ("COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_CONTAINER", "HIVE_POSTGRES_PORT"):
        assert original.env[key] != copy.env[key]
    for workspace in (original, copy):
        workspace.assert_kept()
        workspace.login(f"create table which as select '{workspace.path}' as path")
    assert original.login("select path from which") == str(original.path)


def test_env_alone_is_copied_of_data_in_a_volume(make):
    """A worktree whose original has no container now does not take over its volume."""
    original = make(env="")
    original.init("--data", "volume")
    original.plant()
    original.compose("down")
    copy = copy_of(original, make)
    for words in (["start"], ["init", "--yes"]):
        said = copy.hive_pg(*words, code=1).stderr
        assert "_postgres may be another workspace's: no .hive-pg.json is here" in said
        assert "hint: to use it, take HIVE_POSTGRES_WORKSPACE out of .env; for a database" in said
    original.hive_pg("start")
    original.assert_kept()
    original.compose("down")
    copy.edit_env(HIVE_POSTGRES_WORKSPACE=None, COMPOSE_PROJECT_NAME=None)  # as the hint says
    copy.hive_pg("init", "--yes")
    assert copy.login("select to_regclass('kept') is null") == "t"
    original.hive_pg("init")  # which has lost its name, but not its data
    original.assert_kept()


def move(workspace):
    """Rename a workspace's directory."""
    place = workspace.path
    workspace.path = place.rename(place.with_name(f"{place.name}-moved"))
    return place


def test_workspace_is_copied_and_then_moved(make):
    """The copy takes nothing of the original's, wherever that is, until somebody says so."""
    original = make(env="")
    original.init("--data", "volume")
    original.plant()
    copy = copy_of(original, make)
    (copy.path / ".hive-pg.json").write_bytes((original.path / ".hive-pg.json").read_bytes())
    place = move(original)
    with untouched(original):
        for words in (["start"], ["psql", "-c", "select 1"], ["destroy", "--data", "--yes"]):
            said = copy.hive_pg(*words, code=1).stderr
            assert f"this is a copy of {place}, which is gone, and has its names" in said
        assert "hint: if it is the original: hive-pg start --take-over; for a database" in said
    place.mkdir()  # made again, it takes nothing from the original either
    original.hive_pg("restart")
    original.assert_kept()
    place.rmdir()
    copy.hive_pg("start", "--take-over", "--yes")
    copy.assert_kept()


def test_workspace_is_moved_while_it_runs(make):
    """Its container serves on where it was, is looked at, and comes back at the new place."""
    workspace = make()
    workspace.serve()
    workspace.plant()
    identity = workspace.identity
    move(workspace)
    for command in ("start", "status", "check", "logs"):
        workspace.hive_pg(command)
    assert workspace.identity == identity
    workspace.assert_kept()
    workspace.hive_pg("restart")
    workspace.assert_kept()
    mounts = [mount["Source"] for mount in workspace.inspect()["Mounts"]]
    assert str(workspace.path / "data" / "postgres") in mounts


def test_new_workspace_where_another_was(make):
    """The moved one serves from its new place already: the new one has a project of its own."""
    moved, new = make(env=""), make()
    moved.edit_env(HIVE_POSTGRES_CONTAINER=f"{moved.path.name}-moved")
    moved.init()
    moved.plant()
    shutil.rmtree(new.path)
    new.path = move(moved)
    moved.hive_pg("restart")
    new.path.mkdir()
    new.lab.give(new.path, new.actor)
    new.edit_env(HIVE_POSTGRES_CONTAINER=f"{new.path.name}-new")
    with untouched(moved):
        new.init()
    assert moved.env["COMPOSE_PROJECT_NAME"] != new.env["COMPOSE_PROJECT_NAME"]
    assert new.login("select to_regclass('kept') is null") == "t"
    moved.assert_kept()


def test_place_of_a_moved_workspace_is_taken_while_it_runs(make):
    """Its container stays its own, and serves at the new place after a restart."""
    moved = make()
    moved.serve()
    moved.plant()
    place = move(moved)
    place.mkdir()
    moved.hive_pg("start")
    moved.assert_kept()
    moved.hive_pg("restart")
    moved.assert_kept()
    mounts = [mount["Source"] for mount in moved.inspect()["Mounts"]]
    assert str(moved.path / "data" / "postgres") in mounts
    assert list(place.iterdir()) == []


def test_workspace_is_removed_and_made_anew(make):
    """Its container runs on files that are gone, and it alone has them: it is named, and left."""
    workspace = make()
    text = (workspace.path / ".env").read_text()
    workspace.serve()
    identity = workspace.identity
    shutil.rmtree(workspace.path)
    workspace.path.mkdir()
    workspace.lab.give(workspace.path, workspace.actor)
    workspace.write(".env", text)
    said = workspace.init(code=1).stderr
    remedy = f"docker stop {workspace.container}; docker rm {workspace.container}"
    assert remedy in said
    assert workspace.identity == identity
    assert run(["sh", "-c", remedy]).returncode == 0
    workspace.init()
    assert workspace.login("select '[1]'::vector") == "[1]"
    workspace.plant()
    workspace.hive_pg("restart")
    workspace.assert_kept()


def test_stale_container_has_the_name(make):
    """Its directory is gone: named, left alone, and removed by the command in the message."""
    stale, workspace = make("stale"), make()
    stale.serve()
    name = stale.container
    workspace.init("--no-start")
    workspace.edit_env(HIVE_POSTGRES_CONTAINER=name)
    identity = stale.identity
    gone = stale.path.rename(stale.path.with_name("gone"))
    for command in COMMANDS[1:]:
        words = [command, *(["--", "true"] if command == "run" else [])]
        result = workspace.hive_pg(*words, code=1)
        said = result.stdout + result.stderr
        assert f"belongs to {stale.path}, which is gone\n" in said
        assert f"docker rm -f {name}" in said
    stale.path = gone
    assert stale.identity == identity
    docker("rm", "--force", name)
    workspace.hive_pg("start")
    assert workspace.login() == "1"


def test_server_elsewhere_that_wants_the_password_in_clear(first):
    """`push`, `pull` and `psql` hand it none: who answers there may be anybody on the way."""
    (network,) = first.inspect()["NetworkSettings"]["Networks"].values()
    address, port, there = network["Gateway"], free_port(), first.path / "there"
    url = f"postgresql://app:s3cret-elsewhere@{address}:{port}/x"
    there.mkdir()
    with untouched(first), stranger_at(port, address) as process:
        for words in (["push"], ["pull", "--yes"]):
            said = first.hive_pg(*words, "--url-env", "THERE", THERE=url, code=1).stderr
            assert "the server asks for TLS, or else for the password in clear" in said
        write = f"HIVE_DATABASE_URL={url}\nHIVE_POSTGRES_IMAGE={first.lab.image}\n"
        (there / ".env").write_text(write)
        said = first.hive_pg("init", "--attach", str(there), code=1).stderr
        assert "the server asks for TLS, or else for the password in clear" in said
        process.kill()
        if process.stdout.read().strip():
            raise LostError("the password went to somebody else's program")
