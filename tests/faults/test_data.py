"""Existing data: lost or refused credentials, half-made clusters, owners, versions, last words."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from laboratory import COMMAND_TIMEOUT_S, STAND_IN, LostError, docker, run, wait_until

import hive_pg

pytestmark = pytest.mark.engine


@pytest.fixture
def unmended(kept):
    """Give the same one to a test that spoils `.env`; it is put back."""
    text = (kept.path / ".env").read_text()
    yield kept
    kept.write(".env", text, 0o600)
    kept.hive_pg("restart")


@pytest.fixture
def slow_image(lab):
    """Give an image whose temporary server stays up before it makes the database."""
    tag = f"{lab.token}:delayed"
    if tag not in lab.images:
        container = docker("create", lab.image)
        docker("commit", "--change", "ENV HIVE_PG_TEST_INIT_DELAY=600", container, tag)
        docker("rm", "--volumes", container)
        lab.images.append(tag)
    return tag


def change_password(workspace, password):
    """Write another password into `.env`, as a person would: in both places."""
    url = hive_pg.parse_database_url(workspace.env["HIVE_DATABASE_URL"])
    url = hive_pg.build_database_url(url.replace(password=password))
    workspace.edit_env(HIVE_DATABASE_URL=url, POSTGRES_PASSWORD=hive_pg.format_env_value(password))


def lose_env(workspace, *left):
    """Take `.env` away, but for some keys."""
    workspace.write(".env", "".join(f"{key}={workspace.env[key]}\n" for key in left), 0o600)


# -- lost credentials ----------------------------------------------------------------------------


TEMPLATE = "postgresql+psycopg://your-user:your-secure-password-here@localhost:5532/hive"


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("template", [False, True], ids=["lost", "a template's"])
def test_lost_env_comes_back_from_the_container(kept, running, template):
    """User, password, database, port and names are those that the container was made with."""
    before, identity = kept.env, kept.identity
    if not running:
        kept.hive_pg("stop")
    (kept.path / ".env").unlink()
    if template:
        kept.write(".env", f"HIVE_DATABASE_URL={TEMPLATE}\n", 0o600)
    result = kept.hive_pg("init")
    assert f"the login is that of container {before['HIVE_POSTGRES_CONTAINER']}\n" in (
        result.stderr
    )
    if kept.env != {**kept.env, **before}:
        raise LostError(f"{set(before.items()) - set(kept.env.items())}")
    assert kept.identity[0] == identity[0]
    assert "written" not in kept.hive_pg("init").stderr


def test_lost_env_with_an_outdated_password_gets_a_new_one(kept):
    """The container's own is not what the server knows any more: exit 6, then one of our own."""
    before = kept.env
    kept.trusted(f"alter role \"{before['POSTGRES_USER']}\" password 'changed-since'")
    (kept.path / ".env").unlink()
    assert "hint: hive-pg init --yes" in kept.hive_pg("init", code=6).stderr
    (kept.path / ".env").unlink()
    kept.hive_pg("init", "--yes")
    assert kept.env["POSTGRES_USER"] == before["POSTGRES_USER"]
    assert kept.env["POSTGRES_PASSWORD"] not in (before["POSTGRES_PASSWORD"], "changed-since")
    kept.login(password=before["POSTGRES_PASSWORD"], code=2)
    assert kept.login() == "1"


@pytest.mark.parametrize("template", [False, True], ids=["lost", "a template's"])
def test_lost_env_without_a_container_comes_back_from_memory(kept, template):
    """User and database are those in `.hive-pg.json`; a new password takes a yes."""
    before = kept.env
    kept.compose("down")
    lose_env(kept, "HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_PORT")
    if template:
        url = TEMPLATE.replace("5532", before["HIVE_POSTGRES_PORT"])
        kept.edit_env(HIVE_DATABASE_URL=url, HIVE_POSTGRES_PORT=None)
    refused = kept.hive_pg("init", "--image", kept.lab.image, code=6)
    assert "hint: hive-pg init --yes" in refused.stderr
    kept.hive_pg("init", "--yes")
    for key in ("POSTGRES_USER", "POSTGRES_DB", "HIVE_POSTGRES_PORT"):
        assert kept.env[key] == before[key]
    kept.login(password=before["POSTGRES_PASSWORD"], code=2)


def test_data_of_a_templates_user_keep_its_password(make):
    """Somebody did use the example as it is: what looks like a placeholder is what logs in."""
    workspace = make()
    workspace.init("--no-start")
    url = TEMPLATE.replace("5532", str(workspace.port))
    user, password = "your-user", "your-secure-password-here"
    workspace.edit_env(HIVE_DATABASE_URL=url, POSTGRES_USER=user, POSTGRES_PASSWORD=password)
    workspace.compose("up", "-d")
    wait_until(lambda: workspace.psql().returncode == 0)
    workspace.plant()
    workspace.compose("down")
    before = workspace.env
    workspace.hive_pg("init")
    if {key: workspace.env[key] for key in before if "FIRST" not in key} != {
        key: value for key, value in before.items() if "FIRST" not in key
    }:
        raise LostError("the credentials are new ones")
    workspace.assert_kept()


def test_lost_env_that_nothing_remembers_is_an_error(kept):
    """Neither a container nor a state file: whose data it is cannot be guessed; nothing changes."""
    before, memory = kept.env, kept.memory
    kept.compose("down")
    lose_env(kept, "HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_PORT")
    (kept.path / ".hive-pg.json").unlink()
    files = kept.snapshot()
    result = kept.hive_pg("init", "--yes", "--image", kept.lab.image, code=1)
    assert "nor has .hive-pg.json" in result.stderr
    assert "hint: put the HIVE_DATABASE_URL of that data into .env" in result.stderr
    if kept.snapshot() != files or not (kept.path / "data/postgres/pgdata/PG_VERSION").exists():
        raise LostError("something changed")
    kept.edit_env(**before)
    kept.write(".hive-pg.json", json.dumps(memory), 0o600)
    kept.hive_pg("init")
    kept.assert_kept()


# -- refused credentials -------------------------------------------------------------------------


def test_refused_password_is_told_and_mended_with_a_yes(kept):
    """start, check and init without a yes: exit 6, nothing changed; init --yes: ALTER ROLE."""
    old, identity = kept.env["POSTGRES_PASSWORD"], kept.identity
    change_password(kept, "n3w-and-longer")
    before = kept.snapshot()
    for command in ("start", "check", "init"):
        result = kept.hive_pg(command, code=6)
        said = result.stdout + result.stderr
        assert "refuses the user and password in .env" in said
        assert "they count when the data is made" in said
        assert "hive-pg init --yes" in said
    assert kept.login(password=old) == "1"
    assert (kept.identity, kept.snapshot()) == (identity, before)
    if f"POSTGRES_PASSWORD={old}" not in kept.inspect()["Config"]["Env"]:
        raise LostError("nothing knows the password any more")
    kept.hive_pg("init", "--yes")
    assert kept.login() == "1"
    kept.login(password=old, code=2)
    assert "n3w-and-longer" not in docker("logs", kept.container)


def test_refused_password_at_a_terminal_is_a_question(kept):
    """A no leaves the server's password as it is, a yes changes it; each is one key."""
    old = kept.env["POSTGRES_PASSWORD"]
    change_password(kept, "an0ther")
    code, screen = kept.at_terminal("init", answers=[b"n\n"])
    assert code == 6
    assert "set the password in .env for its user in the server (ALTER ROLE)? [Y/n] " in screen
    assert kept.login(password=old) == "1"
    code, screen = kept.at_terminal("init", answers=[b"\n"])
    assert (code, screen.count("[Y/n]")) == (0, 1)
    assert kept.login() == "1"


def test_password_of_any_script_is_set(kept):
    """What libpq hashes is what it logs in with: letters, signs, blanks and ligatures."""
    odd = ["日本語", "a\u00a0\u212b", "I\u00adX", "\u0627b", 'a"b $ c']
    for password in (*odd, "pl4in-again"):
        change_password(kept, password)
        kept.hive_pg("init", "--yes")
        result = kept.psql(password=password)
        assert (result.returncode, result.stdout) == (0, "1\n"), (password, result.stderr)


def test_open_connections_outlive_a_new_password(kept):
    """A session that is there goes on."""
    argv = ["docker", "exec", "-i", kept.container, "psql", "-XqAt"]
    argv += ["-U", kept.env["POSTGRES_USER"], "-d", kept.env["POSTGRES_DB"]]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **streams) as session:
        session.stdin.write("select 'before';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "before\n"
        change_password(kept, "while-it-is-0pen")
        kept.trusted(f"alter role \"{kept.env['POSTGRES_USER']}\" password 'while-it-is-0pen'")
        kept.hive_pg("check")
        assert session.communicate("select 'after';\n")[0] == "after\n"


def test_user_that_the_data_does_not_know_is_named(unmended):
    """No role is made up for it: what is missing is said, with --yes too."""
    url = unmended.env["HIVE_DATABASE_URL"].replace(unmended.env["POSTGRES_USER"], "stranger")
    unmended.edit_env(HIVE_DATABASE_URL=url, POSTGRES_USER="stranger")
    assert "refuses the user and password" in unmended.hive_pg("init", code=6).stderr
    result = unmended.hive_pg("init", "--yes", code=6)
    assert "cannot mend it: the data has no such user" in result.stderr
    assert "hint: put back the user" in result.stderr


# -- what a cluster lacks ------------------------------------------------------------------------


def test_missing_database_is_made(unmended):
    """Init creates it, with pgvector in it; the one with the rows stays."""
    url = unmended.env["HIVE_DATABASE_URL"]
    unmended.edit_env(HIVE_DATABASE_URL=url.rsplit("/", 1)[0] + "/an-other", POSTGRES_DB="an-other")
    assert "has no such database" in unmended.hive_pg("start", code=5).stderr
    assert "mending: create the database" in unmended.hive_pg("init").stderr
    assert unmended.login("select '[1]'::vector") == "[1]"


def test_missing_line_in_pg_hba_is_named(kept):
    """Nobody is let in by hive-pg: exit 6, with the line to write, which helps."""
    hba = "/var/lib/postgresql/data/pgdata/pg_hba.conf"
    docker("exec", kept.container, "sed", "-i", "/^host all all all/d", hba)
    kept.trusted("select pg_reload_conf()")
    wait_until(lambda: kept.psql().returncode)
    line = "host all all all scram-sha-256"
    for command in (["start"], ["init", "--yes"]):
        result = kept.hive_pg(*command, code=6)
        assert "lets nobody in over the network" in result.stderr
        assert f"{line}; then hive-pg restart" in result.stderr
    docker("exec", kept.container, "sh", "-c", f"echo {line} >>{hba}")
    kept.hive_pg("restart")
    kept.login(password="wrong", code=2)


HALVES = {  # other files that a server ends without have their last words in test_diagnoses.py
    "no database": "",
    "no line, no database": "sed -i '/^host all all all/d' pg_hba.conf",
    "no pg_control": "rm global/pg_control",
    "no PG_VERSION": "rm PG_VERSION",
    "empty PG_VERSION": ": > PG_VERSION",
}


@pytest.fixture(scope="module")
def half(lab):
    """Give a workspace whose cluster is spoilt by one test after the other."""
    with lab.workspace("half") as workspace:
        workspace.serve()
        yield workspace


@pytest.mark.parametrize("script", HALVES.values(), ids=HALVES)
def test_half_made_cluster_is_moved_aside_and_made_again(half, script):
    """Where no login was ever verified, after a yes: nothing is deleted, the credentials stay."""
    half.up()
    user, database = half.env["POSTGRES_USER"], half.env["POSTGRES_DB"]
    argv = ["exec", half.container, "psql", "-XqU", user, "template1", "-c"]
    docker(*argv, f"drop database {database} with (force)")
    half.hive_pg("stop")
    data, before = half.path / "data" / "postgres", half.env
    marker = data / "pgdata" / "this-one"
    run(["sh", "-c", f"{script}\ntouch this-one"], cwd=data / "pgdata")
    docker("rm", half.container)  # its log would say that the first start ended
    half.edit_memory(verified=False, begun=True)
    aside = set(data.glob("pgdata.incomplete-*"))
    assert half.hive_pg("start", "--timeout", "3", code=None).returncode in (5, 6)
    result = half.hive_pg("init", "--yes")
    assert "mending: move the cluster aside" in result.stderr
    (moved,) = set(data.glob("pgdata.incomplete-*")) - aside
    if not (moved / "this-one").exists() or marker.exists():
        raise LostError("the half-made cluster is not where it was said to be")
    assert half.env == before
    assert half.login("select '[1]'::vector") == "[1]"


def test_incomplete_cluster_that_was_verified_is_left_alone(half):
    """It may be somebody's data: exit 5, the cause, and every file as it was."""
    half.up()
    half.hive_pg("stop")
    cluster = half.path / "data" / "postgres" / "pgdata"
    (cluster / "global" / "pg_control").rename(cluster / "kept-control")
    for command in ("start", "init"):
        result = half.hive_pg(command, "--yes" if command == "init" else "-v", code=5)
        assert "the cluster is incomplete" in result.stderr
        assert "put back what is missing, or a backup" in result.stderr
        half.hive_pg("stop")
    (cluster / "kept-control").rename(cluster / "global" / "pg_control")
    half.hive_pg("start")
    assert half.login() == "1"


def test_database_in_use_is_never_moved_aside(half):
    """A first start that ended while nobody looked: it is somebody's, and only added to."""
    half.up()
    aside = len([*(half.path / "data" / "postgres").glob("pgdata.incomplete-*")])
    user = half.env["POSTGRES_USER"]
    argv = ["exec", half.container, "psql", "-XqU", user, "template1", "-c"]
    docker(*argv, "alter database hive rename to renamed")
    half.edit_memory(verified=False, begun=True)
    assert "mending: create the database" in half.hive_pg("init").stderr
    docker(*argv, "drop database hive")
    docker(*argv, "alter database renamed rename to hive")
    if len([*(half.path / "data" / "postgres").glob("pgdata.incomplete-*")]) != aside:
        raise LostError("a cluster in use was moved aside")


def test_cluster_that_was_moved_aside_outlives_destroy(make):
    """No backup has it: it is named and kept, but with --no-backup."""
    workspace = make()
    workspace.serve()
    aside = workspace.path / "data" / "postgres" / "pgdata.incomplete-20261126T104557Z"
    aside.mkdir()
    said = workspace.hive_pg("destroy", "--data", "--yes").stderr
    assert f"warning: {aside.name} beside it stay, of which there is no backup" in said
    assert os.listdir(aside.parent) == [aside.name]
    workspace.init()
    said = workspace.hive_pg("destroy", "--data", "--no-backup", "--yes").stderr
    assert ("beside it stay" in said, os.listdir(aside.parent)) == (False, [])


def test_first_start_that_was_killed_is_made_again(make, slow_image):
    """Docker kill before the database is made: only hive-pg's memory tells it from data."""
    workspace = make()
    with workspace.started("init", "--image", slow_image, "--port", str(workspace.port)):
        wait_until(lambda: workspace.inspect() is not None)
        argv = ["docker", "exec", workspace.container, "pg_isready", "-q", "-U", "x"]
        wait_until(lambda: run(argv).returncode == 0)
        docker("kill", workspace.container)
    assert workspace.memory["verified"] is False
    before = workspace.env
    workspace.init("--yes")
    assert len([*(workspace.path / "data" / "postgres").glob("pgdata.incomplete-*")]) == 1
    assert workspace.env["POSTGRES_PASSWORD"] == before["POSTGRES_PASSWORD"]
    assert workspace.memory["verified"] is True
    workspace.plant()
    workspace.init("--yes")
    workspace.assert_kept()


# -- owners and modes ----------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["root", "user"])
def test_directory_that_docker_made_is_given_to_the_server(make, actor):
    """It is root's where Docker made it; mended by a container, without sudo, and said."""
    workspace = make(actor=actor)
    data = workspace.path / "data" / "postgres"
    data.mkdir(parents=True)
    workspace.lab.chown(workspace.path / "data", 0)
    assert f"giving {data}" in workspace.init().stderr
    assert data.stat().st_uid == workspace.actor.server_uid
    assert workspace.login() == "1"


@pytest.mark.parametrize(
    ("script", "command"),
    [
        pytest.param("chown -R 0:0 .", "start", id="root's"),
        pytest.param("chown -R 999:999 .", "start", id="the image's own user's"),
        pytest.param("chown -R 4321:4321 . && chmod 700 .", "init", id="a stranger's"),
        pytest.param("chmod 000 .", "start", id="closed"),
        pytest.param("chmod 777 pgdata", "start", id="open to all"),
        pytest.param("chown 0:0 pgdata/global pgdata/global/pg_control", "init", id="deep down"),
    ],
)
def test_data_of_another_owner_or_mode_is_mended(kept, script, command):
    """It is served again with all its rows; what looks empty to the image is not wiped."""
    kept.hive_pg("stop")
    assert run(["sh", "-c", script], cwd=kept.path / "data" / "postgres").returncode == 0
    kept.hive_pg(command)


# -- versions and last words ---------------------------------------------------------------------


def test_image_of_another_major_is_refused_before_a_start(kept):
    """PostgreSQL 18 on 16's data: both versions, the way out, and the container as it was."""
    other = STAND_IN.replace(":16", ":18")
    if run(["docker", "image", "inspect", other]).returncode:
        pytest.skip(f"no image {other}")
    identity, before = kept.identity, kept.snapshot()
    result = kept.hive_pg("init", "--image", other, code=5)
    assert f"the data was made by PostgreSQL 16, {other} is 18" in result.stderr
    hint = (
        "hint: with an image of PostgreSQL 16 in .env or the compose file: hive-pg upgrade --image"
    )
    assert f"{hint} {other}\n" in result.stderr
    assert (kept.identity, kept.snapshot()) == (identity, before)
    kept.edit_env(HIVE_POSTGRES_IMAGE=other)
    stderr = kept.hive_pg("restart", code=5).stderr
    assert "made by PostgreSQL 16" in stderr
    assert f"{hint} {other}\n" in stderr
    assert kept.identity == identity
    kept.hive_pg("init", "--image", kept.lab.image)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_image_of_another_major_is_refused_where_only_the_owner_reads(make):
    """It is asked of the engine before the owner is mended; nothing is started on the data."""
    other = STAND_IN.replace(":16", ":18")
    if run(["docker", "image", "inspect", other]).returncode:
        pytest.skip(f"no image {other}")
    workspace = make(actor="user")
    workspace.serve()
    workspace.plant()
    workspace.hive_pg("stop")
    identity, data = workspace.identity, workspace.path / "data" / "postgres"
    workspace.lab.chown(data, 4321)
    workspace.edit_env(HIVE_POSTGRES_IMAGE=other)
    result = workspace.hive_pg("start", code=5)
    assert f"giving {data} to" not in result.stderr
    assert f"the data was made by PostgreSQL 16, {other} is 18" in result.stderr
    assert (workspace.identity, workspace.state) == (identity, "exited")
    workspace.edit_env(HIVE_POSTGRES_IMAGE=workspace.lab.image)
    workspace.hive_pg("start")
    workspace.assert_kept()


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        pytest.param(None, "the cluster is incomplete", id="missing"),
        pytest.param(b"\xff\xfe16\n", "", id="garbage"),
    ],
)
def test_version_of_the_data_is_spoilt(kept, version, cause):
    """Exit 5 with the file that is meant; put back, the same rows are served."""
    kept.hive_pg("stop")
    path = kept.path / "data" / "postgres" / "pgdata" / "PG_VERSION"
    path.rename(path.with_name("kept-version"))
    if version:
        path.write_bytes(version)
    for command in ("start", "init") if cause else ("start",):
        result = kept.hive_pg(command, code=5)
        assert cause in result.stderr
        assert ("put back what is missing" in result.stderr) == bool(cause)
    if [*path.parent.parent.glob("pgdata.incomplete-*")]:
        raise LostError("a cluster with rows was moved aside")
    path.with_name("kept-version").rename(path)
    kept.hive_pg("start")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop the server's process")
def test_server_that_stands_still_is_given_up_in_time(kept):
    """It neither answers nor ends: exit 5 when the time is up, and Docker is not to blame."""
    pid, began = kept.inspect()["State"]["Pid"], time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        result = kept.hive_pg("start", "--timeout", "3", code=5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 120  # which is what the default adds to the rest
    assert "not ready in time" in result.stderr
    assert "restart Docker" not in result.stderr
    kept.hive_pg("start")


def test_crash_is_recovered_from_and_waited_for(kept):
    """The server was killed: the next start waits for its recovery."""
    kept.login("create table if not exists more as select generate_series(1, 50000)")
    docker("kill", kept.container)
    kept.hive_pg("start")
    assert "automatic recovery in progress" in "\n".join(logs_of(kept))


@contextlib.contextmanager
def slow_logins(workspace):
    """Have the server take a login in, and then its time, until the context ends."""
    settings = workspace.path / "data" / "postgres" / "pgdata" / "postgresql.auto.conf"
    text = settings.read_text()

    def apply(text, delay):
        settings.write_text(text)
        docker("kill", "--signal", "HUP", workspace.container)
        wait_until(lambda: workspace.trusted("show post_auth_delay").stdout.strip() == delay)

    apply(f"{text}post_auth_delay = 2\n", "2s")
    try:
        yield
    finally:
        apply(text, "0")


def login_of(workspace):
    """Return the server's process that lets the application in just now, if any."""
    user, database = workspace.env["POSTGRES_USER"], workspace.env["POSTGRES_DB"]
    title = re.compile(rf"postgres: {user} {database} (?!127\.)\S+ startup[ \0]*")
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if title.fullmatch((place / "cmdline").read_text(errors="replace")):
                return int(place.name)
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can end the server's process")
@pytest.mark.parametrize("argv", [["start"], ["wait"], ["init", "--yes"]], ids=" ".join)
def test_server_that_ends_in_mid_login_is_waited_for(kept, argv):
    """It was ready, and crashes while the application logs in: it recovers, and is asked again."""
    with slow_logins(kept):
        with kept.started(*argv) as process:
            os.kill(wait_until(lambda: login_of(kept)), signal.SIGKILL)
            said = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
        assert process.returncode == 0, said
        assert "login verified" in said
        wait_until(lambda: login_of(kept) is None)  # the one above may not have ended yet
        postmaster = kept.inspect()["State"]["Pid"]
        with kept.started("check") as process:
            session = wait_until(lambda: login_of(kept))
            os.kill(postmaster, signal.SIGSTOP)  # or it could have recovered before it is asked
            try:
                os.kill(session, signal.SIGKILL)
                report = process.communicate(timeout=COMMAND_TIMEOUT_S)[0]
            finally:
                os.kill(postmaster, signal.SIGCONT)
        assert process.returncode == 5
        assert "does not accept connections" in report


def logs_of(workspace):
    """Return the lines that the container wrote."""
    result = run(["docker", "logs", workspace.container])
    return (result.stdout + result.stderr).splitlines()


def test_empty_pid_file_is_named(kept):
    """What a full disk leaves behind: exit 5 with the file to remove, and that helps."""
    kept.hive_pg("stop")
    pid_file = kept.path / "data" / "postgres" / "pgdata" / "postmaster.pid"
    pid_file.touch()
    result = kept.hive_pg("start", code=5)
    assert "the disk was full, or the machine went down" in result.stderr
    assert "rm data/postgres/pgdata/postmaster.pid" in result.stderr
    pid_file.unlink()
    kept.hive_pg("start")


def test_collation_of_another_library_is_a_warning(kept):
    """The database serves, start and check say what is to be done, and exit 0."""
    name = kept.env["POSTGRES_DB"]
    kept.trusted(
        f"update pg_database set datcollversion = '1.0' where datname = '{name}'", "-d", "template1"
    )
    assert "warning: the image sorts text otherwise" in kept.hive_pg("start").stderr
    report = json.loads(kept.hive_pg("check", "--json").stdout)
    (point,) = [point for point in report["points"] if point["outcome"] == "warning"]
    assert point["name"] == "connections"
    assert "REFRESH COLLATION VERSION" in point["remedy"]
    kept.trusted(f"alter database {name} refresh collation version")
    assert "warning" not in kept.hive_pg("start").stderr


@pytest.mark.parametrize(
    ("key", "value", "cause", "remedy"),
    [
        pytest.param("SHM_SIZE", "4k", "/dev/shm is too small", "raise shm_size: HIVE_POSTGRES_SHM",
                     id="shm"),
        pytest.param("SHARED_BUFFERS", "lots", "a server setting", "hive-pg restart", id="flag"),
        pytest.param("SHARED_BUFFERS", "900GB", "not valid, or too high", "hive-pg restart",
                     id="memory"),
    ],
)  # fmt: skip
def test_setting_that_keeps_the_server_down_is_named(unmended, key, value, cause, remedy):
    """Exit 5 as soon as the container has given up, with its cause; corrected, it starts."""
    unmended.edit_env(**{f"HIVE_POSTGRES_{key}": value})
    result = unmended.hive_pg("restart", code=5)
    assert cause in result.stderr
    assert remedy in result.stderr


def test_server_that_keeps_no_logs(lab, make):
    """Where its last words cannot be read, what it does is said all the same."""
    json_file = r"driver: json-file\n +options:\n +max-size.*\n +max-file.*"
    text, replaced = re.subn(json_file, "driver: none", hive_pg.render_compose())
    assert replaced
    workspace = make(compose_file=text)
    workspace.init("--yes")
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="lots")
    for command in ("restart", "wait"):
        said = workspace.hive_pg(command, code=5).stderr
        assert re.search("(?:keeps restarting|restarted) .*: it left no words to read", said)
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="16MB")
    workspace.hive_pg("restart")


def test_server_that_the_kernel_ended_is_named(lab, make):
    """Too little memory for the container: the cause is Docker's own word, not a guess."""
    text = hive_pg.render_compose().replace("    shm_size", "    mem_limit: 16m\n    shm_size")
    workspace = make(compose_file=text)
    result = workspace.hive_pg("init", "--image", lab.initdb_image, code=None)
    if result.returncode == 1 and "no effect" in result.stderr:
        workspace.edit_env(HIVE_POSTGRES_IMAGE=lab.initdb_image)
        result = workspace.hive_pg("init", code=5)
    assert "the kernel ended it for lack of memory" in result.stderr
    assert "hint: give Docker more memory" in result.stderr


@contextlib.contextmanager
def small_disk(directory, size):
    """Mount a file system of some megabytes there."""
    directory.mkdir(parents=True, exist_ok=True)
    assert run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory]).returncode == 0
    try:
        yield
    finally:
        run(["umount", "--lazy", directory])


def test_full_disk_in_the_first_start(make):
    """Exit 5 with the cause; with space, the same command makes the cluster anew."""
    workspace = make()
    data = workspace.path / "data" / "postgres"
    with small_disk(data, "16m"):
        result = workspace.init("--yes", code=5)
        assert "the disk is full" in result.stderr
        assert "hint: free space" in result.stderr
        run(["mount", "-o", "remount,size=512m", data])
        workspace.init("--yes")
        workspace.plant()
        workspace.assert_kept()
        workspace.hive_pg("stop")


def test_full_disk_of_a_database_in_use(make):
    """The server says so, and loses nothing: with space it recovers by itself."""
    workspace = make()
    data = workspace.path / "data" / "postgres"
    with small_disk(data, "160m"):
        workspace.serve()
        workspace.plant()
        run(["dd", "if=/dev/zero", f"of={data}/filler", "bs=1M"])
        result = workspace.psql("create table more as select * from generate_series(1, 1e6)")
        assert "No space left on device" in result.stderr
        workspace.hive_pg("restart", code=None)
        (data / "filler").unlink()
        workspace.hive_pg("start")
        workspace.assert_kept()
        workspace.hive_pg("stop")


def test_rows_are_those_that_were_planted(kept):
    """What `assert_kept` compares with is what is there: a single other row would be seen."""
    kept.assert_kept()
    kept.login("insert into kept values (0, 'one more')")
    with pytest.raises(LostError):
        kept.assert_kept()
    kept.login("delete from kept where i = 0")
