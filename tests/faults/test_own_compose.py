"""Compose files of one's own: other projects beside them, volumes, ports, health checks, loops."""

from __future__ import annotations

import re

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    WAIT_IN_FIRST_START,
    LostError,
    docker,
    free_port,
    inspect_containers,
    take_away,
    wait_until,
)

import hive_pg

pytestmark = pytest.mark.engine


def names_of(workspace):
    """Return what makes a `.env` that has lost all but the names."""
    keys = ("HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME")
    return "".join(f"{key}={workspace.env[key]}\n" for key in keys)


def test_other_project_in_the_same_directory(make, lab):
    """Its service postgres is neither adopted, replaced nor removed, running or only created."""
    workspace = make()
    service = f'image: "{lab.image}", entrypoint: sleep, command: "99", stop_grace_period: 0s'
    where = "volumes: ['./test-data:/var/lib/postgresql/data'], ports: ['127.0.0.1::5432']"
    environment = "environment: {POSTGRES_USER: tester, POSTGRES_PASSWORD: of-the-tests}"
    text = f"services: {{postgres: {{{service}, {where}, {environment}}}}}\n"
    workspace.write("docker-compose.test.yml", text)
    for project, command in (("up", ["up", "-d"]), ("created", ["create"])):
        project = f"{lab.token}-{project}"
        workspace.compose("-p", project, "-f", "docker-compose.test.yml", *command)
    before = [(info["Id"], info["State"]) for info in lab.containers(workspace.path)]
    assert sorted(state["Status"] for _, state in before) == ["created", "running"]
    workspace.init()
    workspace.plant()
    lost = names_of(workspace)
    for text in ((workspace.path / ".env").read_text(), lost):
        workspace.write(".env", text, 0o600)
        workspace.init("--yes")
        workspace.assert_kept()
        assert "of-the-tests" not in (workspace.path / ".env").read_text()
    ids = {identity for identity, _ in before}
    after = [i for i in inspect_containers() if i["Id"] in ids]
    if sorted((info["Id"], info["State"]["StartedAt"]) for info in after) != sorted(
        (identity, state["StartedAt"]) for identity, state in before
    ):
        raise LostError("the other project's containers are not what they were")


def test_volume_whose_env_is_lost(make, lab):
    """The state file says whose it is; published on two ports, it serves on both all along."""
    workspace, other = make(), free_port()
    workspace.write("docker-compose.yml", f"""\
        services:
          postgres:
            image: "{lab.image}"
            environment: [POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB]
            ports: ["127.0.0.1:{workspace.port}:5432", "127.0.0.1:{other}:5432"]
            volumes: ["db:/var/lib/postgresql/data"]
        volumes: {{db: {{}}}}
        """)  # fmt: skip
    workspace.hive_pg("init", "--database", "shop")
    workspace.plant()
    for command in ("init", "restart", "status", "check"):
        workspace.hive_pg(command)
    lost = {**workspace.env, "HIVE_POSTGRES_PORT": other}
    workspace.edit_env(HIVE_POSTGRES_PORT=other)
    assert workspace.login() == "1"
    workspace.compose("down")
    lines = [f"{key}={lost[key]}\n" for key in ("HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME")]
    workspace.write(".env", "".join(lines), 0o600)
    assert "hint: hive-pg init --yes" in workspace.hive_pg("init", code=6).stderr
    workspace.hive_pg("init", "--yes")
    for key in ("POSTGRES_USER", "POSTGRES_DB"):
        assert workspace.env[key] == lost[key]
    workspace.assert_kept()


def test_stop_waits_for_a_first_start_that_seems_healthy(make, lab):
    """A health check over the socket is content too early: the init scripts run to their end."""
    last = "echo create table last_script_ran as select 1 > /docker-entrypoint-initdb.d/zz.sql"
    image = lab.build_image("slow-then-sql", WAIT_IN_FIRST_START, last)
    workspace = make()
    text = hive_pg.render_compose().replace("-h 127.0.0.1 -p 5432 ", "")
    text = text.replace("interval: 5s", "interval: 1s")
    assert "-h 127.0.0.1" not in text
    workspace.write("docker-compose.yml", text)
    workspace.edit_env(HIVE_POSTGRES_IMAGE=image, HIVE_POSTGRES_PORT=workspace.port)
    with workspace.started("init", "--yes", "--port", str(workspace.port)):
        wait_until(lambda: (workspace.inspect() or {}).get("State", {}).get("Health"))
        wait_until(lambda: workspace.inspect()["State"]["Health"]["Status"] == "healthy")
    assert workspace.psql().returncode != 0
    with workspace.started("stop", "-v") as process:
        assert any("docker exec" in line for line in process.stderr)
        workspace.let_first_start_end()
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    assert process.returncode == 0, stderr
    workspace.hive_pg("start")
    if workspace.login("select count(*) from last_script_ran") != "1":
        raise LostError("the first start was cut short")


def test_crash_loop_that_is_cured_meanwhile(make):
    """What ends once more while it is waited for, and then serves, has started."""
    workspace = make()
    workspace.init("--no-start")
    path = workspace.path / "docker-compose.yml"
    script = "cd /var/lib/postgresql/data; if [ ! -e cured ]; then"
    script += " [ -e second ] || { touch second; exit 3; };"
    script += " while [ ! -e end ]; do sleep 0.1; done; exit 3; fi; "
    script += "exec docker-entrypoint.sh postgres"
    entry = f'    entrypoint: [sh, -c, "{script}"]\n    command: ['
    workspace.write("docker-compose.yml", path.read_text().replace("    command: [", entry))
    workspace.compose("up", "-d")

    def is_up_again():
        info = workspace.inspect()
        return info["RestartCount"] == 1 and info["State"]["Status"] == "running"

    wait_until(is_up_again)
    with workspace.started("start") as process:
        assert any("waiting for PostgreSQL" in line for line in process.stderr)
        for name in ("cured", "end"):  # this run is lost all the same
            (workspace.path / "data" / "postgres" / name).touch()
        stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    assert process.returncode == 0, stderr
    assert workspace.inspect()["RestartCount"] == 2
    assert workspace.login() == "1"


# -- what Compose resolves -----------------------------------------------------------------------


def one_service(lab, workspace, mount, *, image="", **more):
    """Return the text of somebody's compose file with a service db."""
    rest = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"""\
services:
  db:
    image: "{image or lab.image}"
    environment: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: s3cret-of-shop, POSTGRES_DB: shop}}
    ports: ["127.0.0.1:{workspace.port}:5432"]
    volumes: [{mount}]
{rest}"""


def test_exporter_and_backup_beside_the_database(make, lab):
    """They are called after PostgreSQL, and are none: the database is the one that is meant."""
    workspace = make()
    text = one_service(lab, workspace, "'./pg:/var/lib/postgresql/data'")
    text += "  metrics: {image: 'quay.io/prometheuscommunity/postgres-exporter:v0.15.0'}\n"
    text += "  nightly: {image: 'prodrigestivill/postgres-backup-local:16'}\n"
    workspace.write("docker-compose.yml", text)
    workspace.hive_pg("init", "--no-start")
    assert workspace.env["POSTGRES_USER"] == "shop"


def test_several_servers_take_a_name_once(make, lab):
    """Both are named; what was chosen is known to all later commands."""
    workspace = make()
    text = one_service(lab, workspace, "'./pg:/var/lib/postgresql/data'")
    workspace.write("docker-compose.yml", f"{text}  other: {{image: '{lab.image}'}}\n")
    stderr = workspace.hive_pg("init", "--no-start", code=1).stderr
    assert "several PostgreSQL services: db, other" in stderr
    workspace.hive_pg("init", "--no-start", "--service", "db")
    workspace.hive_pg("init", "--no-start")
    assert workspace.container.endswith("-db-1")
    workspace.hive_pg("start")


@pytest.mark.parametrize("mount", ["./pg", "pgdata"])
@pytest.mark.parametrize("runs", [True, False])
def test_login_like_a_placeholder(make, lab, mount, runs):
    """Plain Compose has served data with it: `init` keeps it, and lets other programs keep it."""
    workspace = make(env="")
    text = one_service(lab, workspace, f"'{mount}:/var/lib/postgresql/data'")
    for key, value in {"USER": "shop", "PASSWORD": "s3cret-of-shop"}.items():
        text = text.replace(f"POSTGRES_{key}: {value}", f'POSTGRES_{key}: "${{POSTGRES_{key}}}"')
    workspace.write("docker-compose.yml", text + "volumes: {pgdata: {}}\n" * (mount == "pgdata"))
    workspace.write(".env", "POSTGRES_USER=shop\nPOSTGRES_PASSWORD=password\n", 0o600)
    workspace.compose("up", "-d")
    url = f"postgresql://shop@127.0.0.1:{workspace.port}/shop"
    argv = ("-Xqc", "create table kept as select 42 as n", url)
    wait_until(lambda: lab.psql(*argv, password="password").returncode == 0)
    if not runs:
        workspace.compose("down")
    for _ in range(2):
        workspace.hive_pg("init", "--yes")
        assert workspace.env["POSTGRES_PASSWORD"] == "password"
        if workspace.login("select n from kept") != "42":
            raise LostError("init serves another database")


def test_database_beside_others(make, lab):
    """`init` adds one by a file of its own; theirs stay as they are, and run on."""
    plain = lab.build_image("plain", "true\nENV PG_MAJOR= PGDATA=\nENTRYPOINT sleep 1000")
    workspace = make(env="")
    service = f"{{image: '{plain}', init: true, stop_grace_period: 1s}}"
    texts = {"compose.yaml": f"services: {{web: {service}}}\n",
             "compose.override.yaml": f"services: {{cache: {service}}}\n"}  # fmt: skip
    for name, text in texts.items():
        workspace.write(name, text)
    workspace.compose("up", "-d")
    before = workspace.compose("ps", "-q").stdout.split()
    port = ("--port", str(workspace.port))
    stderr = workspace.hive_pg("init", *port, code=1, HIVE_POSTGRES_IMAGE=lab.image).stderr
    assert "has no PostgreSQL service" in stderr
    assert "hive-pg init --yes adds one; hive-pg init --service NAME takes one;" in stderr
    assert {path.name for path in workspace.path.iterdir()} == texts.keys()
    code, screen = workspace.at_terminal("init", "--image", lab.image, answers=[b"\n", b"\n"])
    assert code == 0, screen
    assert "no PostgreSQL service. Add one, in docker-compose.hive-pg.yml? [Y/n]" in screen
    workspace.plant()
    workspace.compose("up", "-d")
    after = workspace.compose("ps", "-q").stdout.split()
    assert (len(after), {*before} < {*after}) == (3, True)
    assert (
        "postgres" in workspace.compose("exec", "-T", "web", "getent", "hosts", "postgres").stdout
    )
    workspace.write(".env", "", 0o600)  # and .env is lost
    workspace.hive_pg("init", "--yes")
    assert {name: (workspace.path / name).read_text() for name in texts} == texts
    workspace.assert_kept()
    workspace.hive_pg("destroy", "--purge", "--yes")  # the project is that of what runs on
    left = {*texts, "backups", ".env", ".gitignore"}
    assert {path.name for path in workspace.path.iterdir()} == left
    assert [*workspace.env] == ["COMPOSE_PROJECT_NAME"]
    assert {*workspace.compose("ps", "-q").stdout.split()} == {*before}
    workspace.compose("down")


@pytest.mark.parametrize("separator", ["", ";"])
def test_compose_file_in_a_subdirectory(make, lab, separator):
    """Compose calls that its directory: the container is the workspace's all the same."""
    workspace, main = make(), "docker/main"
    (workspace.path / main).mkdir(parents=True)
    text = one_service(lab, workspace, "'../../data/postgres:/var/lib/postgresql/data'")
    workspace.write(f"{main}/docker-compose.yml", text)
    workspace.write("more.yml", "services: {db: {shm_size: 128mb}}\n")
    files = f"{main}/docker-compose.yml" + (f"{separator}more.yml" if separator else "")
    workspace.edit_env(COMPOSE_FILE=f"'{files}'", COMPOSE_PATH_SEPARATOR=f"'{separator}'")
    workspace.hive_pg("init")
    workspace.plant()
    identity = workspace.identity
    commands = ("init", "start", "check", "status", "restart", "stop", "start")
    for command in commands if separator else commands[:4]:
        workspace.hive_pg(command)
        if command == "status":
            assert workspace.identity == identity
    workspace.assert_kept()
    assert workspace.inspect()["HostConfig"]["ShmSize"] == (128 if separator else 64) << 20


@pytest.mark.parametrize("name", ["{token}-shop", "'${{SHOP:-{token}-shop}}'", ""])
def test_volume_of_composes_own_project(make, lab, name):
    """Whatever Compose calls the project, its volume with the data is found."""
    workspace = make(f"app-{bool(name)}", env="")
    text = f"name: {name.format(token=lab.token)}\n" if name else ""
    text += one_service(lab, workspace, "'pgdata:/var/lib/postgresql/data'")
    workspace.write("docker-compose.yml", text + "volumes: {pgdata: {}}\n")
    workspace.compose("up", "-d")
    url = f"postgresql://shop@127.0.0.1:{workspace.port}/shop"
    argv = ("-Xqc", "create table kept as select 42 as n", url)  # which is there after the scripts
    wait_until(lambda: lab.psql(*argv, password="s3cret-of-shop").returncode == 0)
    workspace.compose("down")
    workspace.hive_pg("init")
    if workspace.login("select n from kept") != "42":
        raise LostError("init serves another volume")


def test_volume_of_a_project_that_others_have(make, lab):
    """It may be this workspace's: `init` names it, and its hint leads to that volume."""
    workspace, project = make(env=""), f"{lab.token}-shared"
    data = f"{project}_pgdata"
    text = f"name: {project}\n" + one_service(lab, workspace, "'pgdata:/var/lib/postgresql/data'")
    workspace.write("docker-compose.yml", text + "volumes: {pgdata: {}}\n")
    workspace.compose("create")
    workspace.compose("down")
    other = make()
    other.write("web.yml", f"services: {{web: {{image: '{lab.image}'}}}}\n")
    other.compose("-p", project, "-f", "web.yml", "create")
    stderr = workspace.hive_pg("init", code=1).stderr
    assert f"volume {data} may be this workspace's" in stderr
    assert f"name: {data}" in stderr
    workspace.write("docker-compose.yml", text + f"volumes: {{pgdata: {{name: {data}}}}}\n")
    workspace.hive_pg("init")
    mounts = workspace.inspect()["Mounts"]
    assert [mount["Name"] for mount in mounts] == [data]
    other.compose("-p", project, "-f", "web.yml", "rm", "-f")


# -- where the data are, and whether they still are ----------------------------------------------

VOLUMES = "volumes: {pgdata: {}}\n"
EIGHTEEN = "hive-pg-test/pgvector:18"


@pytest.mark.parametrize(
    ("pull", "mount"),
    [
        pytest.param(EIGHTEEN, "'./pg:/var/lib/postgresql'", id="image, directory"),
        pytest.param(EIGHTEEN, "'pgdata:/var/lib/postgresql'", id="image, volume"),
        pytest.param("build", "'./pg:/var/lib/postgresql'", id="built, directory"),
    ],
)
def test_layout_of_postgresql_18(make, lab, pull, mount):
    """The image says where the data are: they are found, and serving them is not disturbed."""
    workspace = make()
    text = one_service(lab, workspace, mount, image=EIGHTEEN)
    if pull == "build":
        build = f"build: {{context: ., dockerfile_inline: 'FROM {EIGHTEEN}'}}"
        text = text.replace(f'image: "{EIGHTEEN}"', build).replace("  db:", "  postgres:")
    workspace.write("docker-compose.yml", text + (VOLUMES if "pgdata" in mount else ""))
    workspace.hive_pg("init")
    workspace.plant()
    identity = workspace.identity
    stderr = workspace.hive_pg("init").stderr
    assert workspace.identity == identity
    assert "empty" not in stderr
    for command in ("stop", "start") if pull == "build" else ("destroy", "start"):
        workspace.hive_pg(command)
    workspace.assert_kept()
    if pull == "build":
        image = f"{workspace.env['COMPOSE_PROJECT_NAME']}-postgres"
        workspace.hive_pg("destroy")
        docker("image", "rm", image)
        workspace.hive_pg("start")
        workspace.assert_kept()
        workspace.hive_pg("destroy")
        docker("image", "rm", image)


def test_mount_at_the_old_place_of_postgresql_18(make, lab):
    """`init` warns that the data end with the container, whose volume has no name."""
    workspace = make()
    mount = "'pgdata:/var/lib/postgresql/data'"
    text = one_service(lab, workspace, mount, image=EIGHTEEN)
    workspace.write("docker-compose.yml", text + VOLUMES)
    stderr = workspace.hive_pg("init").stderr
    assert "the data ends with the container: nothing is mounted for it" in stderr


@pytest.mark.parametrize("how", ["down -v", "another project", "made anew"])
def test_volume_that_is_gone(make, lab, how):
    """`start` makes no empty database in its place, and names it; `init` does, after a yes."""
    workspace = make()
    text = one_service(lab, workspace, "'pgdata:/var/lib/postgresql/data'")
    workspace.write("docker-compose.yml", text + VOLUMES)
    workspace.hive_pg("init")
    project = workspace.env["COMPOSE_PROJECT_NAME"]
    volume = f"{project}_pgdata"
    workspace.compose("down", *(["-v"] if how != "another project" else []))
    if how != "another project":  # Compose only says so where Docker has not let go of it yet
        take_away(f"/volumes/{volume}")
    loss = f"volume {volume} is missing"
    if how == "another project":
        workspace.edit_env(
            COMPOSE_PROJECT_NAME=f"{project}-2",
            HIVE_POSTGRES_CONTAINER=f"{project}-2-db-1",
        )
        volume = f"{project}-2_pgdata"
        loss = f"volume {volume} is missing"
    elif how == "made anew":
        docker("volume", "create", "--label", f"com.docker.compose.project={project}", volume)
        loss = f"volume {volume} holds no data"
    for command in ("start", "restart", "run -- true") if how == "down -v" else ("start",):
        assert f"error: {loss}" in workspace.hive_pg(*command.split(), code=1).stderr
    assert (volume in docker("volume", "ls", "-q").split()) is (how == "made anew")
    assert loss in workspace.hive_pg("init", code=1).stderr
    stderr = workspace.hive_pg("init", "--yes").stderr
    assert f"{loss}: this is a new, empty database" in stderr
    assert "empty" not in workspace.hive_pg("init").stderr
    workspace.plant()
    workspace.hive_pg("destroy")
    workspace.hive_pg("start")
    workspace.assert_kept()


@pytest.mark.parametrize("mount", ["./pg", "pgdata"])
def test_pgdata_that_is_moved(make, lab, mount):
    """What is where the compose file says now is no database: the one that was there is kept."""
    workspace = make()
    text = one_service(lab, workspace, f"'{mount}:/var/lib/postgresql/data'")
    text += VOLUMES * (mount == "pgdata")
    workspace.write("docker-compose.yml", text)
    workspace.hive_pg("init")
    workspace.plant()
    below = text.replace(
        "{POSTGRES_USER", "{PGDATA: /var/lib/postgresql/data/pgdata, POSTGRES_USER"
    )
    workspace.write("docker-compose.yml", below)
    for command in ("restart", "init"):
        assert "pgdata holds no data" in workspace.hive_pg(command, code=1).stderr
    workspace.assert_kept()
    workspace.write("docker-compose.yml", text)
    workspace.hive_pg("restart")
    workspace.assert_kept()


def test_volume_without_a_name(make, lab):
    """Its container is replaced with it, and where that is gone, `start` names the volume."""
    workspace = make()
    text = one_service(lab, workspace, "'/var/lib/postgresql/data'")
    workspace.write("docker-compose.yml", text)
    workspace.hive_pg("init")
    workspace.plant()
    workspace.write("docker-compose.yml", text + "    shm_size: 128mb\n")
    for command in ("restart", "stop"):
        workspace.hive_pg(command)
    docker("network", "rm", f"{workspace.env['COMPOSE_PROJECT_NAME']}_default")  # or by a prune
    workspace.hive_pg("start")
    workspace.assert_kept()
    (volume,) = [mount["Name"] for mount in workspace.inspect()["Mounts"]]
    assert volume in workspace.hive_pg("destroy", code=1).stderr
    docker("rm", "--force", workspace.container)
    stderr = workspace.hive_pg("start", code=1).stderr
    assert f"the container is gone, and the data was in volume {volume}" in stderr
    if volume not in docker("volume", "ls", "-q").split():
        raise LostError("the volume is gone")
    docker("volume", "rm", volume)


def test_data_in_memory(make, lab):
    """Once the server has stopped, `start` says that they are gone, and `init` makes new ones."""
    workspace = make()
    text = one_service(lab, workspace, "", tmpfs="['/var/lib/postgresql/data:uid=999']")
    workspace.write("docker-compose.yml", text.replace("    volumes: []\n", ""))
    workspace.hive_pg("init")
    workspace.plant()
    for command in ("init", "start"):
        workspace.hive_pg(command)
    assert "the data would be lost" in workspace.hive_pg("destroy", code=1).stderr
    workspace.assert_kept()
    assert "this is a new, empty database" in workspace.hive_pg("restart").stderr
    assert "stopped; the data was in memory, and is gone" in workspace.hive_pg("stop").stderr
    assert "the data was in memory" in workspace.hive_pg("start", code=1).stderr
    assert "this is a new, empty database" in workspace.hive_pg("init").stderr
    assert workspace.login() == "1"


@pytest.mark.parametrize(
    ("command", "address"),
    [("-c listen_addresses=localhost", "[^ ]+ port 5432"), ("-p 5433", "[^ ]+ port 5433")],
)
def test_server_that_nobody_reaches(make, lab, command, address):
    """It is said at once, not when time is up, by whatever command waits for it."""
    workspace = make()
    mount = "'pgdata:/var/lib/postgresql/data'"
    text = one_service(lab, workspace, mount, command=f"postgres {command}")
    workspace.write("docker-compose.yml", text + VOLUMES)
    for argument in ("init", "start", "wait"):
        stderr = workspace.hive_pg(argument, code=5).stderr
        assert re.search(f"error: the server listens on {address}, where nobody", stderr), stderr
    workspace.write("docker-compose.yml", text.replace(f" {command}", "") + VOLUMES)
    workspace.hive_pg("init")
    assert workspace.login() == "1"


def test_env_file_that_leads_elsewhere(make, lab):
    """The application's variables are there for its own database: every command works on ours."""
    workspace = make()
    mount = "'pgdata:/var/lib/postgresql/data'"
    text = one_service(lab, workspace, mount, env_file="app.env")
    workspace.write("docker-compose.yml", text + VOLUMES)
    workspace.write("app.env", "")
    workspace.hive_pg("init")
    workspace.plant()
    words = "PGHOST=staging.invalid PGHOSTADDR=127.0.0.1 PGSSLMODE=require HOSTNAME=0.0.0.0"
    workspace.write("app.env", words.replace(" ", "\n"))
    workspace.hive_pg("restart")
    assert workspace.hive_pg("psql", "-Atc", "select 1").stdout == "1\n"
    workspace.hive_pg("check")
    workspace.hive_pg("snapshot", "@a", "--yes")
    workspace.hive_pg("reset", "--yes")
    workspace.hive_pg("restore", "@a", "--yes")
    workspace.hive_pg("backup", "-o", "x.dump")
    workspace.assert_kept()


def test_service_behind_a_profile(make, lab):
    """The hint of the refusal leads out."""
    workspace = make()
    text = one_service(lab, workspace, "'pgdata:/var/lib/postgresql/data'", profiles="[db]")
    workspace.write("docker-compose.yml", text + VOLUMES)
    assert "set COMPOSE_PROFILES in .env" in workspace.hive_pg("init", code=1).stderr
    workspace.edit_env(COMPOSE_PROFILES="db")
    for command in ("init", "stop", "start"):
        workspace.hive_pg(command, COMPOSE_COMPATIBILITY="1")
    assert workspace.login() == "1"


def test_data_in_the_container_itself(make, lab):
    """No mount holds them: `destroy` refuses, and a stop does no harm."""
    workspace = make()
    text = one_service(lab, workspace, "").replace("POSTGRES_DB", "PGDATA: /tmp/pg, POSTGRES_DB")
    workspace.write("docker-compose.yml", text.replace("    volumes: []\n", ""))
    assert "the data ends with the container" in workspace.hive_pg("init").stderr
    workspace.plant()
    assert "the data would be lost" in workspace.hive_pg("destroy", code=1).stderr
    for command in ("stop", "start"):
        workspace.hive_pg(command)
    workspace.assert_kept()
