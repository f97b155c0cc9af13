"""Compose files of one's own: other projects beside them, volumes, ports, health checks, loops."""

from __future__ import annotations

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    WAIT_IN_FIRST_START,
    LostError,
    free_port,
    inspect_containers,
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
    with workspace.started("stop") as process:
        assert any("cannot be stopped" in line for line in process.stderr)
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
    for command in ("init", "start", "check", "status", "restart", "stop", "start"):
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
    wait_until(lambda: "ready" in workspace.compose("logs", "db").stdout.partition("complete;")[2])
    create = ["psql", "-qU", "shop", "-c", "create table kept as select 42 as n"]
    wait_until(lambda: workspace.compose("exec", "-T", "db", *create).returncode == 0)
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
