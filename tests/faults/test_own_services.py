"""Services as people write them: secrets, scripts, directories, ports, TLS that is not there."""

from __future__ import annotations

import re

import pytest
from laboratory import LostError, docker, read_env, run, wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def serve(make, lab):
    """Give a maker of workspaces with a compose file whose service `db` has some lines."""

    def write(*lines, actor=""):
        workspace = make(actor=actor)
        text = f"services:\n  db:\n    image: '{lab.image}'\n"
        text += "".join(f"    {line}\n" for line in lines) + "volumes: {pg: {}}\n"
        workspace.write("compose.yaml", text)
        return workspace

    return write


LOGIN = "environment: {POSTGRES_USER: shop, POSTGRES_PASSWORD: s3cret-of-shop}"
VOLUME = "volumes: ['pg:/var/lib/postgresql/data']"


# -- logins in files -----------------------------------------------------------------------------


def with_secrets(serve):
    """Give a workspace whose service takes its whole login from files."""
    keys = ("USER", "PASSWORD", "DB")
    login = ", ".join(f"POSTGRES_{key}_FILE: /run/secrets/{key}" for key in keys)
    workspace = serve(
        f"environment: {{{login}}}", "secrets: [USER, PASSWORD, DB]", VOLUME, "ports: ['PORT']"
    )
    text = (workspace.path / "compose.yaml").read_text()
    text = text.replace("'PORT'", f"'127.0.0.1:{workspace.port}:5432'")
    files = ", ".join(f"{key}: {{file: ./{key}}}" for key in keys)
    workspace.write("compose.yaml", f"{text}secrets: {{{files}}}\n")
    for key, value in zip(keys, ("shop", "from-the-secret", "goods")):
        workspace.write(key, f"{value}\n")
    return workspace


def test_login_in_files_is_taken_from_them(serve):
    """Compose's secrets are the login: .env follows, and a lost .env comes back from them."""
    workspace = with_secrets(serve)
    workspace.hive_pg("init")
    workspace.plant()
    assert workspace.login(password="from-the-secret") == "1"
    workspace.hive_pg("init")
    workspace.write(".env", "", 0o600)
    workspace.hive_pg("init", "--yes")
    assert workspace.login("select current_user, current_database()") == "shop|goods"
    workspace.assert_kept()


def test_login_in_files_stays_theirs(serve):
    """`rotate` says what to write in their place; a file that changed is refused, not set."""
    workspace = with_secrets(serve)
    workspace.hive_pg("init")
    before = workspace.snapshot()
    stderr = workspace.hive_pg("rotate", code=1).stderr
    assert "let it take ${POSTGRES_PASSWORD} from .env" in stderr
    workspace.write("PASSWORD", "another\n")
    assert "disagree on user, password" in workspace.hive_pg("init", "--yes", code=1).stderr
    assert {**workspace.snapshot(), "PASSWORD": 0} == {**before, "PASSWORD": 0}
    assert workspace.login(password="from-the-secret") == "1"
    text = (workspace.path / "compose.yaml").read_text()
    there = "POSTGRES_PASSWORD_FILE: /run/secrets/PASSWORD"
    workspace.write("compose.yaml", text.replace(there, "POSTGRES_PASSWORD: $POSTGRES_PASSWORD"))
    workspace.hive_pg("rotate")
    workspace.login()


def test_login_in_a_file_that_nobody_here_may_read_is_refused(serve):
    """By its name, and before anything is made: a password of our own would not be the secret."""
    workspace = with_secrets(serve)
    (workspace.path / "PASSWORD").unlink()
    (workspace.path / "PASSWORD").mkdir()
    stderr = workspace.hive_pg("init", "--yes", code=1).stderr
    assert "POSTGRES_PASSWORD_FILE of service db is /run/secrets/PASSWORD, which cannot" in stderr
    assert workspace.inspect() is None


# -- logins of the image's own -------------------------------------------------------------------


def test_trusting_service_has_the_image_s_own_user(serve):
    """Nobody's password can be verified; where that is mended as the hints say, `init` goes on."""
    workspace = serve("environment: {POSTGRES_HOST_AUTH_METHOD: trust}", VOLUME)
    assert "replace trust by scram-sha-256" in workspace.hive_pg("init", code=6).stderr
    assert workspace.env["POSTGRES_USER"] == "postgres"
    hba = "sed -i '/^host all all all /s/trust/scram-sha-256/' $PGDATA/pg_hba.conf"
    execute = ["docker", "exec", "--user", "postgres", workspace.container, "sh", "-c"]
    assert run([*execute, f"{hba} && psql -c 'select pg_reload_conf()'"]).returncode == 0
    assert "init --yes sets them" in workspace.hive_pg("start", code=6).stderr
    workspace.hive_pg("init", "--yes")
    assert workspace.hive_pg("psql", "--", "-Atc", "select current_user").stdout == "postgres\n"


def test_login_in_the_built_image_is_taken_from_it(serve):
    """It is built first: a user of our own would not be in the data."""
    workspace = serve(VOLUME)
    text = (workspace.path / "compose.yaml").read_text()
    workspace.write("compose.yaml", re.sub("image: .*", "build: .", text))
    login = "POSTGRES_USER=shop POSTGRES_PASSWORD=of-the-image"
    workspace.write("Dockerfile", f"FROM {workspace.lab.image}\nENV {login}\n")
    workspace.hive_pg("init", "--service", "db")
    assert workspace.env["POSTGRES_USER"] == "shop"
    workspace.hive_pg("init")
    image = workspace.inspect()["Config"]["Image"]
    workspace.hive_pg("destroy")
    docker("image", "rm", image)


# -- init scripts that fail ----------------------------------------------------------------------

FAILS = "create table a (i int); create table b (j int references aa); create table c (k int)"
MOUNTS = {
    "volume": VOLUME,
    "below a volume": VOLUME.replace("/data'", "/d'"),
    "directory": "volumes: ['./pg:/var/lib/postgresql/data']",
    "below a directory": "volumes: ['./pg:/var/lib/postgresql/d']",
}


def with_script(serve, mount, sql, *lines):
    """Give a workspace whose database is made by a script of its own."""
    script = "./1.sql:/docker-entrypoint-initdb.d/1.sql:ro"
    workspace = serve(LOGIN, mount.replace("['", f"['{script}', '"), *lines)
    workspace.write("1.sql", sql)
    return workspace


def count_tables(workspace):
    """Return how many tables there are, but for those of extensions."""
    sql = "select count(*) from pg_tables where schemaname = 'public'"
    return workspace.hive_pg("psql", "--", "-Atc", sql).stdout.strip()


def await_half(workspace):
    """Wait until the container has been started again, and serves what there is."""
    argv = ["docker", "exec", workspace.container, "pg_isready", "-qh", "127.0.0.1", "-U", "x"]
    wait_until(lambda: run(argv).returncode == 0)


@pytest.mark.parametrize("mount", MOUNTS.values(), ids=MOUNTS)
def test_init_script_that_fails_is_run_again(serve, mount):
    """Docker starts the container again, and the image serves a half: it is moved aside, whole."""
    workspace = with_script(serve, mount, FAILS, "restart: always")
    path = workspace.path / "compose.yaml"
    if "/d'" in mount:
        pgdata = "s3cret-of-shop, PGDATA: /var/lib/postgresql/d/16"
        workspace.write(path.name, path.read_text().replace("s3cret-of-shop", pgdata))
    stderr = workspace.hive_pg("init", code=5).stderr
    assert '1.sql:1: ERROR:  relation "aa" does not exist' in stderr
    await_half(workspace)
    for command in ("start", "wait", "check") if mount == VOLUME else ("start",):
        result = workspace.hive_pg(command, code=5)
        assert "an init script of the image failed" in result.stdout + result.stderr
    workspace.write("1.sql", FAILS.replace(" references aa", ""))
    stderr = workspace.hive_pg("init").stderr
    place = stderr.partition("the cluster is in ")[2].partition(" now")[0]
    assert ".incomplete-" in place
    assert count_tables(workspace) == "3"
    base = place if place[0] == "/" else place.partition("/")[0]
    below = "" if place[0] == "/" else place.partition("/")[2]
    client = [
        "run",
        "--rm",
        "--volume",
        f"{base}:/x:ro",
        "--entrypoint",
        "cat",
        workspace.lab.image,
    ]
    if docker(*client, f"/x/{below}/PG_VERSION") != "16":
        raise LostError("the half-made cluster is not where it was said to be")
    volume = base if base[0] != "/" and mount == VOLUME else ""
    assert "mending" not in workspace.hive_pg("init").stderr
    assert workspace.memory["verified"] is True
    if volume:
        docker("volume", "rm", volume)


def test_init_script_that_fails_where_nothing_lasts(serve):
    """A cluster that is gone with its container is not moved: a person removes both."""
    workspace = with_script(serve, "volumes: ['']", FAILS, "restart: always")
    path = workspace.path / "compose.yaml"
    workspace.write(path.name, path.read_text().replace(", '']", "]"))
    workspace.hive_pg("init", code=5)
    await_half(workspace)
    stderr = workspace.hive_pg("init", code=5).stderr
    assert "an init script of the image failed" in stderr
    assert "mending" not in stderr
    assert "hive-pg destroy --data --no-backup, then hive-pg init" in stderr
    workspace.write("1.sql", FAILS.replace(" references aa", ""))
    workspace.hive_pg("destroy", "--data", "--no-backup", "--yes")
    workspace.hive_pg("init")
    assert count_tables(workspace) == "3"


def test_init_script_that_fails_is_run_again_without_the_container(serve):
    """`docker compose down` takes the log with it: whether all is there, a person has to say."""
    workspace = with_script(serve, VOLUME, FAILS, "restart: always")
    workspace.hive_pg("init", code=5)
    workspace.compose("down")
    workspace.write("1.sql", FAILS.replace(" references aa", ""))
    stderr = workspace.hive_pg("init", code=5).stderr
    hint = "hint: if all is there: rm .hive-pg.json; else hive-pg init --yes makes it anew"
    assert hint in stderr
    assert count_tables(workspace) == "1"
    stderr = workspace.hive_pg("init", "--yes").stderr
    assert "mending: move the cluster aside" in stderr
    assert count_tables(workspace) == "3"
    docker("volume", "rm", stderr.partition("the cluster is in ")[2].partition(" now")[0])


def test_first_start_that_goes_on_alone_is_kept(serve):
    """hive-pg is killed meanwhile, and the container replaced: its log said that all is there."""
    workspace = with_script(serve, VOLUME, "select pg_sleep(4); create table a (i int)")
    with workspace.started("init") as process:
        wait_until(lambda: workspace.env.get("HIVE_POSTGRES_CONTAINER") and workspace.inspect())
        process.kill()
    assert workspace.memory["begun"] is True
    text = (workspace.path / "compose.yaml").read_text()
    workspace.write("compose.yaml", text.replace("    image:", "    shm_size: 128mb\n    image:"))
    result = workspace.hive_pg("init")
    assert "mending" not in result.stderr
    assert count_tables(workspace) == "1"
    assert (workspace.memory["verified"], workspace.memory["begun"]) == (True, False)


def test_cluster_that_plain_compose_made_is_never_moved(serve):
    """After `init --no-start`, or without a state file: it is not hive-pg's to judge."""
    workspace = with_script(serve, VOLUME, FAILS, "restart: always")
    workspace.hive_pg("init", "--no-start")
    workspace.compose("up", "-d")
    await_half(workspace)
    workspace.hive_pg("init")
    assert count_tables(workspace) == "1"


# -- a directory that is the image's -------------------------------------------------------------


@pytest.mark.parametrize(
    ("actor", "pgdata"),
    [("root", "data/pgdata"), ("user", "data")],
    ids=["root, below", "a user, itself"],
)
def test_directory_for_the_image_s_own_user_stays_the_image_s(serve, actor, pgdata):
    """Without `user:` the image gives its cluster to its own user, as under plain Compose."""
    workspace = serve(
        LOGIN.replace("}", f", PGDATA: /var/lib/postgresql/{pgdata}}}"),
        "volumes: ['./pg:/var/lib/postgresql/data']",
        "ports: ['127.0.0.1:PORT:5432']",
        actor=actor,
    )
    path = workspace.path / "compose.yaml"
    workspace.write(path.name, path.read_text().replace("PORT", str(workspace.port)))
    workspace.hive_pg("init")
    workspace.plant()
    for command in ("init", "restart", "check"):
        workspace.hive_pg(command)
    workspace.assert_kept()


def test_directory_that_the_image_s_own_user_cannot_use_is_said_once(serve):
    """With `user:` by name the image changes no owner, and hive-pg knows no number: exit 5."""
    workspace = serve(LOGIN, "user: postgres", "volumes: ['./pg:/var/lib/postgresql/data']")
    (workspace.path / "pg").mkdir(mode=0o700)
    stderr = workspace.hive_pg("init", code=5).stderr
    assert "belongs to another user than the server's" in stderr
    assert "mending" not in stderr


# -- a port that is not published ----------------------------------------------------------------


@pytest.mark.parametrize(
    "port", ["deploy: {replicas: 2}", "ports: ['5432']"], ids=["none, of two replicas", "random"]
)
def test_service_without_a_fixed_port_is_served_inside(serve, port):
    """What goes through the container works; the URL is for the inside, and says so."""
    workspace = serve(LOGIN, VOLUME, port)
    text = (workspace.path / "compose.yaml").read_text()
    result = workspace.hive_pg("init")
    assert "db publishes no fixed port: the URL is for its networks alone" in result.stderr
    assert len(workspace.lab.containers(workspace.path)) == 1  # two would destroy the data
    assert "hive-pg psql  " in result.stdout
    assert "hive-pg run" not in result.stdout
    url = "postgresql+psycopg://shop:s3cret-of-shop@db:5432/shop"
    assert workspace.env["HIVE_DATABASE_URL"] == url
    if "ports" in port:  # the rest is the same
        return
    psql = ("psql", "--", "-Atc")
    workspace.hive_pg(*psql, "create table kept as select 7 as i")
    dump = workspace.hive_pg("backup").stdout.strip()
    workspace.hive_pg(*psql, "drop table kept")
    workspace.hive_pg("restore", dump, "--yes")
    for command in ("start", "wait", "restart", "init", "stats", "status"):
        workspace.hive_pg(command)
    assert "the URL is for its networks alone" in workspace.hive_pg("run", "--", "true").stderr
    check = workspace.hive_pg("check").stdout.splitlines()
    assert [line[0] for line in check] == [*"✓✓✓✓✓-"]
    assert check[5] == "- published port: skipped: db:5432 is for its networks alone"
    network = next(iter(workspace.inspect()["NetworkSettings"]["Networks"]))
    libpq = workspace.hive_pg("url", "--format", "libpq", secret=True).stdout.strip()
    client = ["run", "--rm", "--network", network, "--entrypoint", "psql", workspace.lab.image]
    assert docker(*client, libpq, "-Atc", "select i from kept") == "7"
    workspace.write(".env", "", 0o600)  # and .env is lost
    workspace.hive_pg("init")
    assert workspace.env["HIVE_DATABASE_URL"] == url
    if workspace.hive_pg(*psql, "select i from kept").stdout != "7\n":
        raise LostError("the rows are gone")
    workspace.hive_pg("init", "--yes")  # publishes one
    assert workspace.login("select i from kept") == "7"
    assert workspace.env["COMPOSE_FILE"] == "compose.yaml:docker-compose.hive-pg.yml"
    assert (workspace.path / "compose.yaml").read_text() == text


def test_service_whose_data_is_in_its_container_alone(serve):
    """The container is not replaced: `init` publishes no port, and changes wait."""
    workspace = serve(LOGIN.replace("{", "{PGDATA: /elsewhere/pg, "))
    text = (workspace.path / "compose.yaml").read_text()
    workspace.compose("up", "--detach")
    name = workspace.compose("ps", "--format", "{{.Name}}").stdout.strip()
    psql = ("exec", "--user", "postgres", name, "psql", "-U", "shop", "-Atc")
    wait_until(lambda: run(["docker", *psql, "create table kept as select 7 as i"]).returncode == 0)
    wait_until(lambda: "init process complete" in docker("logs", name))
    refused = workspace.hive_pg("init", "--yes", code=1).stderr
    assert f"error: only container {name} has the data; publishing port" in refused
    assert f"hint: docker exec {name} pg_dump -Fc -U shop shop >kept.dump; then" in refused
    assert not (workspace.path / "docker-compose.hive-pg.yml").exists()
    workspace.hive_pg("init")  # which asks, and nobody says yes
    workspace.write("compose.yaml", text.replace("    image:", "    stdin_open: true\n    image:"))
    for command in ("start", "restart", "init"):
        workspace.hive_pg(command)
        if workspace.hive_pg("psql", "-Atc", "select i from kept", code=None).stdout != "7\n":
            raise LostError(f"the rows are gone after {command}")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["network_mode: none"], id="none"),
        pytest.param(["networks: [inside]", "ports: ['5432:5432']"], id="internal"),
    ],
)
def test_service_that_nobody_reaches_is_refused(serve, lines):
    """Before anything starts: it would take until time is up to find out."""
    workspace = serve(LOGIN, *lines)
    text = (workspace.path / "compose.yaml").read_text()
    workspace.write("compose.yaml", text + "networks: {inside: {internal: true}}\n")
    stderr = workspace.hive_pg("init", "--yes", code=1).stderr
    assert "nobody reaches service db: its network is" in stderr
    assert workspace.inspect() is None


def test_service_that_gets_a_port_later_is_served_on_it(serve):
    """`restart` says that the two differ, `init` has the URL follow, and the data stays."""
    workspace = serve(LOGIN, VOLUME)
    workspace.hive_pg("init")
    text = (workspace.path / "compose.yaml").read_text()
    port = f"    ports: ['127.0.0.1:{workspace.port}:5432']\n"
    workspace.write("compose.yaml", text.replace("volumes: {", port + "volumes: {"))
    stderr = workspace.hive_pg("restart", code=1).stderr
    assert "init makes .env follow the compose file" in stderr
    workspace.hive_pg("init")
    assert workspace.env["HIVE_DATABASE_URL"].endswith(f"@localhost:{workspace.port}/shop")
    assert workspace.login() == "1"


def test_password_of_a_service_inside_is_changed(serve):
    """`rotate` needs no port either."""
    password = LOGIN.replace("s3cret-of-shop", '"${POSTGRES_PASSWORD:-s3cret-of-shop}"')
    workspace = serve(password, VOLUME)
    workspace.hive_pg("init")
    before = workspace.env["POSTGRES_PASSWORD"]
    workspace.hive_pg("rotate")
    assert workspace.env["POSTGRES_PASSWORD"] != before
    workspace.hive_pg("check")


# -- what the URL asks for -----------------------------------------------------------------------


@pytest.mark.parametrize("query", ["sslmode=require", "sslmode=verify-full"])
def test_url_that_asks_for_tls_is_not_verified_without(lent, query):
    """Copied from a hosted environment: exit 5, the option, and what to take out of `.env`."""
    lent.edit_env(HIVE_DATABASE_URL=f"{lent.env['HIVE_DATABASE_URL']}?{query}")
    for command in ("start", "wait", "check", "init"):
        result = lent.hive_pg(command, code=5)
        said = result.stdout + result.stderr
        assert f"the server has no TLS, which {query} in it asks for" in said
        assert "take that out of HIVE_DATABASE_URL" in said
    assert lent.hive_pg("psql", "--", "-Atc", "select 1").stdout == "1\n"


def test_options_of_another_driver_are_kept_and_named(lent):
    """What is not libpq's, nothing here can try, and libpq's URL goes without; ssl is sslmode."""
    url = lent.env["HIVE_DATABASE_URL"].replace("+psycopg:", "+asyncpg:")
    url = f"'{url}?ssl=prefer&command_timeout=5'"
    lent.edit_env(HIVE_DATABASE_URL=url)
    words = "HIVE_DATABASE_URL has command_timeout, which only asyncpg can check"
    assert words in lent.hive_pg("check").stdout
    for command in ("start", "init"):
        assert f"warning: {words}" in lent.hive_pg(command).stderr
    assert read_env(lent.path / ".env")["HIVE_DATABASE_URL"] == url
    libpq = lent.hive_pg("url", "--format", "libpq", secret=True).stdout.strip()
    assert libpq.endswith("?sslmode=prefer")
    assert lent.lab.psql(libpq, "-Atc", "select 1").stdout == "1\n"


def test_option_that_libpq_does_not_know_is_refused(lent):
    """With psycopg, or no driver, no application can connect: the option's name is said."""
    lent.edit_env(HIVE_DATABASE_URL=f"{lent.env['HIVE_DATABASE_URL']}?ssl=require")
    for command in ("check", "start", "init"):
        assert "libpq's, which does not know ssl" in lent.hive_pg(command, code=1).stderr
