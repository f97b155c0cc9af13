"""What `init` makes of options, and of what is in the workspace already."""

import contextlib
import os
import re
import socket

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    OURS,
    REPOSITORY,
    docker,
    free_port,
    inspect_containers,
    rows_of,
    run,
    wait_until,
)

pytestmark = pytest.mark.engine


def test_init_port_moves_the_database(kept):
    """A second init with another port: URL and container follow, the data stay."""
    port, password = str(free_port()), kept.env["POSTGRES_PASSWORD"]
    kept.hive_pg("init", "--port", port)
    assert kept.env["HIVE_POSTGRES_PORT"] == port
    assert kept.env["HIVE_DATABASE_URL"].endswith(f"@localhost:{port}/hive")
    assert kept.env["POSTGRES_PASSWORD"] == password
    kept.assert_kept()


def test_init_takes_the_next_port_where_the_default_is_taken(make, lab):
    """It says so, and the database is served there."""
    workspace = make(env="")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it: just as well
            holder.bind(("127.0.0.1", 5532))
            holder.listen()
        result = workspace.hive_pg("init", "--image", lab.image)
    port = int(workspace.env["HIVE_POSTGRES_PORT"])
    assert 5532 < port < 5632
    assert f"port 5532 is taken; it will be {port}" in result.stderr
    assert workspace.login() == "1"


def test_init_with_chosen_names_takes_the_next_port_too(make, lab):
    """Names in `.env` do not settle the port, which nobody asked for."""
    workspace, own = make(env=""), f"{lab.token}-named"
    workspace.write(".env", f"HIVE_POSTGRES_CONTAINER={own}\nCOMPOSE_PROJECT_NAME={own}\n")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            holder.bind(("127.0.0.1", 5532))
            holder.listen()
        workspace.hive_pg("init", "--no-start")
    assert 5532 < int(workspace.env["HIVE_POSTGRES_PORT"]) < 5632


def test_init_takes_its_own_name_where_the_default_is_taken(make, lab):
    """A container of somebody else under the default name is left alone."""
    workspace = make(env="")
    if "/hive-postgres" not in {info["Name"] for info in inspect_containers()}:
        label = f"{OURS}={workspace.path}"
        docker("create", "--name", "hive-postgres", "--label", label, lab.image)
    other = docker("inspect", "--format", "{{.Id}}", "hive-postgres")
    workspace.init()
    assert workspace.container == f"hive-postgres-{workspace.env['COMPOSE_PROJECT_NAME']}"
    assert workspace.login() == "1"
    assert other == docker("inspect", "--format", "{{.Id}}", "hive-postgres")


def test_init_no_start_only_writes_the_files(make):
    """No container exists until `start`, which then needs nothing else."""
    workspace = make()
    assert "hive-pg start" in workspace.init("--no-start").stdout
    assert workspace.inspect() is None
    assert {path.name for path in workspace.path.iterdir()} == {
        ".env", ".gitignore", ".hive-pg.json", "docker-compose.yml", "data",
    }  # fmt: skip
    workspace.hive_pg("start")
    assert workspace.login() == "1"


def test_init_image_changes_the_image_and_keeps_the_data(kept, lab):
    """The container is made anew from the other image, on the same cluster."""
    for image in (lab.build_image("other", "true"), lab.image):
        kept.hive_pg("init", "--image", image)
        assert kept.env["HIVE_POSTGRES_IMAGE"] == image
        assert kept.inspect()["Config"]["Image"] == image
        kept.assert_kept()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.2"])
def test_init_bind_publishes_on_that_address(make, address):
    """The URL leads to the database there; an address that others can reach is a warning."""
    workspace = make()
    result = workspace.init("--bind", address)
    (binding,) = workspace.inspect()["HostConfig"]["PortBindings"]["5432/tcp"]
    assert binding["HostIp"] == workspace.env["HIVE_POSTGRES_BIND"] == address
    assert ("other machines can reach it" in result.stderr) == (address == "0.0.0.0")
    workspace.hive_pg("check")


def test_init_database_names_the_database(make):
    """The database is created under that name, with the extension in it."""
    workspace = make()
    workspace.init("--database", "shop-2")
    assert workspace.env["POSTGRES_DB"] == "shop-2"
    assert workspace.login("select current_database(), '[1]'::vector") == "shop-2|[1]"
    workspace.login("create table kept ()")
    workspace.init("--database", "shop-3")
    assert workspace.login("select current_database(), to_regclass('kept')") == "shop-3|"
    workspace.init("--database", "shop-2")
    assert workspace.login("select to_regclass('kept')") == "kept"


def test_init_keeps_the_name_that_env_has(make):
    """A container name that a person chose, and that is free, is the container's name."""
    workspace = make(env="")
    name = f"{workspace.path.name}-chosen"
    workspace.edit_env(HIVE_POSTGRES_CONTAINER=name)
    workspace.init()
    assert workspace.container == name
    assert workspace.login() == "1"


def test_init_starts_from_env_example(make):
    """Its text is kept, its placeholders are replaced, and the example stays as it is."""
    workspace = make(env="")
    example = (
        "# how the app talks\nAPP_MODE=dev # or prod\n\n"
        "HIVE_DATABASE_URL=postgresql+psycopg://user:pass@localhost:5532/shop # theirs\n"
        f"HIVE_POSTGRES_CONTAINER={workspace.path.name}\nPOSTGRES_USER=hive_user\n# the end\n"
    )
    workspace.write(".env.example", example)
    workspace.init()
    lines = (workspace.path / ".env").read_text().splitlines()
    assert lines[:3] == ["# how the app talks", "APP_MODE=dev # or prod", ""]
    assert lines[3].endswith(f"@localhost:{workspace.port}/shop # theirs")
    assert "user:pass" not in lines[3]
    assert lines[6] == "# the end"
    assert (workspace.path / ".env.example").read_text() == example
    assert workspace.login("select current_database()") == "shop"


def test_init_builds_the_url_from_postgres_variables(make):
    """Where only POSTGRES_* exist, the URL is built from them, and they stay."""
    text = "POSTGRES_USER=ann\nPOSTGRES_PASSWORD='b c@d'\nPOSTGRES_DB=shop\n"
    workspace = make(env=text)
    workspace.init()
    assert (workspace.path / ".env").read_text().startswith(text)
    url = f"postgresql+psycopg://ann:b%20c%40d@localhost:{workspace.port}/shop"
    assert workspace.env["HIVE_DATABASE_URL"] == url
    assert workspace.login("select current_user", password="b c@d") == "ann"


def test_init_keeps_a_symlinked_env_a_symlink(make):
    """The file that it points to gets the credentials, where it has a key of hive-pg's."""
    workspace = make(env="")
    target = workspace.path.parent / "secrets.env"
    target.write_text("# shared\nHIVE_DATABASE_URL=\n")
    workspace.lab.give(target, workspace.actor)
    (workspace.path / ".env").symlink_to("../secrets.env")
    workspace.init("--no-start")
    assert os.readlink(workspace.path / ".env") == "../secrets.env"
    assert target.read_text().startswith("# shared\nHIVE_DATABASE_URL=")
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", [".", "services/db"], ids=["top", "below"])
def test_init_keeps_secrets_and_data_out_of_git(make, place):
    """`git status` shows neither, but people's own data; a second init leaves .gitignore alone."""
    workspace = make("repository", env="")

    def git(*arguments):
        return run(["git", *arguments], **workspace.options()).stdout.splitlines()

    if place == ".":  # else git comes later
        git("init", "--quiet")
    workspace.init("--no-start", place)
    git("init", "--quiet")
    (workspace.path / place / "data" / "theirs.csv").touch()
    names = (".gitignore", "data/theirs.csv", "docker-compose.yml")
    assert [*git("status", "--porcelain", "--untracked-files=all")] == [
        "?? " + os.path.normpath(f"{place}/{name}") for name in names
    ]
    assert git("check-ignore", f"{place}/.env", f"{place}/data/postgres/pgdata/PG_VERSION")[1:]
    before = (workspace.path / place / ".gitignore").stat()
    assert "names" not in workspace.hive_pg("init", "--no-start", place).stderr
    assert (workspace.path / place / ".gitignore").stat() == before


def test_init_leaves_files_alone_where_the_compose_file_disagrees(make, original):
    """A wish that an existing compose file denies is an error, before anything is decided."""
    workspace = make(compose_file=original, env="")
    result = workspace.hive_pg("init", "--port", "5999", code=1)
    assert "--port 5999 has no effect" in result.stderr
    assert (workspace.path / "docker-compose.yml").read_text() == original
    assert workspace.env == {}
    assert not (workspace.path / "data").exists()


def test_init_takes_over_what_plain_compose_serves(make, original):
    """The container of the workspace's own compose file is adopted: same one, same data."""
    workspace = make(compose_file=original, env="POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cr3t\n")
    data = workspace.path / "data" / "postgres"
    data.mkdir(parents=True)
    uid = workspace.actor.server_uid
    if os.geteuid() == 0:
        os.chown(data, uid, uid)
    workspace.compose("up", "-d")
    name = original.split("container_name: ")[1].split("\n")[0]
    before = docker("inspect", "--format", "{{.Id}}", name)
    workspace.hive_pg("init")
    assert workspace.env["HIVE_DATABASE_URL"].startswith("postgresql+psycopg://ann:s3cr3t@")
    assert workspace.container == name
    assert workspace.identity[0] == before
    workspace.compose("up", "-d")
    assert workspace.identity[0] == before
    assert workspace.login("select current_user") == "ann"


def compose_with_volume(workspace):
    """Return another compose file: any file name, no container_name, a volume, a bad check."""
    image = workspace.lab.image
    return f"""\
        version: "3.4"
        services:
          cache: {{image: "{image}", entrypoint: "true"}}
          postgres:
            image: "{image}"
            environment: [POSTGRES_USER, POSTGRES_PASSWORD]
            ports: ["127.0.0.1:{workspace.port}:5432"]
            volumes: ["db:/var/lib/postgresql/data"]
            healthcheck: {{test: ["CMD", "false"], interval: 1s, retries: 1}}
        volumes: {{db: {{}}}}
        """


def test_init_finds_the_service_of_another_compose_file(make):
    """It is used as Compose resolves it, and its failing health check is told."""
    workspace = make(env="")
    workspace.write("docker-compose.yaml", compose_with_volume(workspace))
    workspace.hive_pg("init")
    env = workspace.env
    assert env["POSTGRES_DB"] == env["POSTGRES_USER"]  # the image's default
    assert workspace.container == f"{env['COMPOSE_PROJECT_NAME']}-postgres-1"
    assert workspace.login("select '[1]'::vector") == "[1]"
    assert not (workspace.path / "data").exists()
    wait_until(lambda: workspace.inspect()["State"]["Health"]["Status"] == "unhealthy")
    assert "running (unhealthy)" in workspace.hive_pg("status", code=5).stdout
    assert "its health check fails" in workspace.hive_pg("check", code=5).stdout


def test_init_keeps_the_volume_of_plain_compose(make):
    """A volume belongs to a project: `init` stays with the one that has the data."""
    workspace = make(env="POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cr3t-of-ann\n")
    workspace.write("docker-compose.yaml", compose_with_volume(workspace))
    workspace.compose("up", "-d", "postgres")
    workspace.edit_env(HIVE_POSTGRES_PORT=workspace.port, POSTGRES_DB="ann")
    wait_until(lambda: workspace.psql().returncode == 0)
    workspace.login("create table kept as select 42 as n")
    workspace.compose("down")
    workspace.write(".env", "POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cr3t-of-ann\n")
    workspace.hive_pg("init")
    assert workspace.login("select n from kept") == "42"


@pytest.mark.parametrize("places", [1, 2], ids=["one workspace", "two workspaces"])
def test_init_twice_at_once_makes_one_database_each(make, lab, places):
    """One waits for the other: one credential and container a workspace, other names and ports."""
    workspaces = [make(env="") for _ in range(places)]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(workspace.started("init", "--image", lab.image))
            for workspace in (workspaces[0], workspaces[-1])
        ]
        words = [process.communicate(timeout=COMMAND_TIMEOUT_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert sum("docker-compose.yml and .gitignore written" in text for text in words) == places
    assert [workspace.login() for workspace in workspaces] == ["1"] * places
    for key in ("HIVE_POSTGRES_PORT", "HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME"):
        assert len({workspace.env[key] for workspace in workspaces}) == places


# -- the first screen ---------------------------------------------------------------------------


def without_numbers(rows):
    """Take out of rows what is not the same everywhere."""
    text = re.sub(r"//[^:]*:|(?<=localhost:)[0-9]+|[0-9]+([.][0-9]+)+", "N", "\n".join(rows))
    return re.sub(" +", " ", text)


def rows_but_for_others(screen):
    """Leave out that other tests set up their own workspaces meanwhile."""
    return [row for row in rows_of(screen) if not row.startswith("waiting for another hive-pg")]


@pytest.mark.parametrize(("columns", "environ"), [(60, {}), (100, {"NO_COLOR": "1"})])
def test_first_screen(make, lab, columns, environ):
    """Nine rows at most, none of them wrapped, which are the README's; a second `init` has one."""
    workspace = make(actor="user")
    options = ("init", "--yes", "--image", lab.image)
    code, screen = workspace.at_terminal(*options, columns=columns, **environ)
    rows = rows_but_for_others(screen)
    assert code == 0, screen
    assert (len(rows) <= 9, max(map(len, rows)) <= columns) == (True, True), rows
    assert re.search(r"creating the cluster … [0-9.]+ s", screen)
    for mark in ("\x1b[32m✓\x1b[m", "\x1b[36mhive-pg psql\x1b[m"):
        assert (mark in screen) is (not environ)
    if columns == 100:
        readme = (REPOSITORY / "README.md").read_text()
        shown = readme.split("$ hive-pg init\n")[1].split("```")[0].splitlines()[1:]
        assert without_numbers(rows) == without_numbers(shown)
    code, screen = workspace.at_terminal("init", columns=columns, **environ)  # asks no more
    (row,) = rows_but_for_others(screen)
    assert (code, "login verified" in row) == (0, True)


# -- the question -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"\n", b"y\n"], ids=["enter", "y"])
def test_init_at_a_terminal_asks_once(make, answer):
    """Enter is yes."""
    workspace = make()
    code, screen = workspace.at_terminal("init", "--no-start", answers=[answer])
    assert code == 0, screen
    assert screen.count("[Y/n]") == 1
    assert f"Set up PostgreSQL in Docker for {workspace.path}? [Y/n]" in screen
    assert "HIVE_DATABASE_URL" in workspace.env


@pytest.mark.parametrize("answer", [b"n\n", b"\x04"], ids=["n", "end of input"])
def test_init_at_a_terminal_takes_no_for_an_answer(make, answer):
    """Nothing is written, exit 1."""
    workspace = make(env="", starts=False)
    code, screen = workspace.at_terminal("init", answers=[answer])
    assert (code, screen.count("[Y/n]")) == (1, 1)
    assert "nothing was done" in screen
    assert [*workspace.path.iterdir()] == []


def test_init_at_a_terminal_with_yes_asks_nothing(make):
    """--yes is the answer."""
    code, screen = make().at_terminal("init", "--yes", "--no-start")
    assert code == 0, screen
    assert "[Y/n]" not in screen


def test_init_of_a_database_that_is_read_only_by_default(kept):
    """That is for the applications, and keeps pgvector out of no login."""
    option = "default_transaction_read_only"
    kept.trusted(f"alter database hive set {option} = on")
    try:
        assert kept.login(f"show {option}") == "on"
        kept.hive_pg("init")
    finally:
        reset = f"set transaction read write; alter database hive reset {option}"
        assert kept.trusted(reset).returncode == 0
