"""The commands on a container that is there, and every way to call them."""

import json
import os
import re
import shutil
import signal
import time

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    REPOSITORY,
    children_of,
    docker,
    pause,
    rows_of,
    run,
    wait_until,
)

pytestmark = pytest.mark.engine

LIBRARY_LIFE = """\
import json, sys
import hive_pg
from hive_pg import *
from hive_pg import PostgreSQLManager, DockerComposeManager, CredentialService

image, port = sys.argv[1:]
manager = PostgreSQLManager(".")
seen = {}
try:
    manager.start_container()
except NotSetUpError as error:
    seen["before"] = int(error.exit_code)
seen["set up"] = manager.setup_postgres_container(interactive=False, port=int(port), image=image)
seen["state"] = manager.check_container_status().state.value
seen["health"] = manager.validate_container_health()
seen["valid"] = manager.validate_postgres_integration().healthy
seen["stops"] = [manager.stop_container(), manager.stop_container()]
seen["unhealthy"] = manager.validate_container_health()
seen["starts"] = [manager.start_container(), manager.start_container()]
seen["restart"] = manager.restart_container()
seen["logs"] = "ready to accept connections" in manager.get_container_logs(tail=50)

credentials = CredentialService(".")
url = credentials.extract_postgres_credentials_from_env()
credentials.validate_credentials(url)
seen["saves"] = credentials.save_credentials_to_env(url)
seen["user"] = url.user == credentials.read_settings().url.user
fresh = credentials.generate_postgres_credentials(port=7)
seen["fresh"] = [len(fresh.user), len(fresh.password), fresh.port]
seen["masked"] = fresh.password not in repr(fresh) + repr(manager.credentials.read_settings())

compose = DockerComposeManager(".", credentials)
seen["service stops"] = compose.stop_postgres_service()
compose.start_postgres_service()
compose.restart_postgres_service()
manager.start_container()
seen["service logs"] = "ready to accept connections" in compose.get_service_logs(tail=50)
seen["service health"] = compose.check_service_health().value
seen["uid"] = list(hive_pg.get_postgres_uid_gid())
hive_pg.fix_postgres_data_permissions("data/postgres", image=image)
print(json.dumps(seen))
"""


# -- without a workspace ------------------------------------------------------------------------


@pytest.mark.parametrize("command", "start stop restart status check stats logs url".split())
def test_command_in_an_empty_directory_says_init(make, command):
    """Exit 3, the next step, and nothing is made."""
    workspace = make(env="", starts=False)
    result = workspace.hive_pg(command, code=3)
    assert "not set up" in result.stderr
    assert "hint: hive-pg init" in result.stderr
    assert [*workspace.path.iterdir()] == []


def test_run_without_a_database_does_not_run_the_command(make):
    """No database, no CMD."""
    workspace = make(env="", starts=False)
    workspace.hive_pg("run", "--", "touch", "ran", code=3)
    assert not (workspace.path / "ran").exists()


# -- start, run, stop ---------------------------------------------------------------------------


def test_start_of_a_paused_container_says_how_to_go_on(served):
    """It is neither stopped nor serving: exit 3 and Docker's own command, as in `status`."""
    pause(served.container)
    try:
        assert "paused" in served.hive_pg("status", code=3).stdout
        assert f"docker unpause {served.container}" in served.hive_pg("start", code=3).stderr
    finally:
        docker("unpause", served.container)


def test_run_becomes_the_command(served):
    """The process is CMD's own, and so is its exit code."""
    with served.started("run", "-q", "--", "sh", "-c", "echo $$; exit 7") as process:
        stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert (int(stdout), process.returncode) == (process.pid, 7), stderr


def test_run_dies_of_the_signal_that_its_command_dies_of(served):
    """A shell sees what it would see without hive-pg."""
    result = served.hive_pg("run", "--", "sh", "-c", "kill -TERM $$", code=None)
    assert result.returncode == -signal.SIGTERM


def test_run_of_a_missing_command_fails(served):
    """It is an error, not a traceback, and a shell's own exit code."""
    result = served.hive_pg("run", "--", "no-such-command", code=127)
    assert "cannot run no-such-command: No such file" in result.stderr


def test_run_prefers_the_shell_but_for_credentials(lent):
    """A variable that is set already wins; user, password, database and URL are the file's."""
    lent.edit_env(**lent.env, APP_MODE="file", APP_ONLY="file")
    script = 'printf "%s %s " "$APP_MODE" "$APP_ONLY"; [ "$(env | grep -cxFf .env)" = "$1" ]'
    keys = "HIVE_DATABASE_URL POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB".split()
    shell = {"APP_MODE": "shell", **dict.fromkeys(keys, "shell")}
    count = str(len(lent.env) - 1)  # all lines of .env but APP_MODE's
    result = lent.hive_pg("run", "--", "sh", "-c", script, "-", count, **shell)
    assert result.stdout == "shell file "


def test_run_starts_a_stopped_database_first(served):
    """CMD finds it accepting connections."""
    served.hive_pg("stop")
    script = 'psql -XAtc "select 42" "postgresql${HIVE_DATABASE_URL#*+psycopg}"'
    if not shutil.which("psql"):
        script = "echo 42"
    assert served.hive_pg("run", "--", "sh", "-c", script).stdout == "42\n"
    assert served.state == "running"


def test_quiet_start_says_nothing(served):
    """With -q only results, warnings and errors are heard."""
    served.up()
    result = served.hive_pg("start", "-q")
    assert (result.stdout, result.stderr) == ("", "")


# -- status and check ---------------------------------------------------------------------------


def test_status_says_what_the_engine_says(served):
    """One JSON object, with the password masked, or a field a line."""
    served.up()
    wait_until(lambda: served.inspect()["State"]["Health"]["Status"] == "healthy")
    env = served.env
    status = json.loads(served.hive_pg("status", "--json").stdout)
    assert 0 <= status.pop("uptime_s") < 86400
    version = status.pop("server_version")
    assert re.fullmatch(r"16\.[0-9]+", version)
    place = f"localhost:{env['HIVE_POSTGRES_PORT']}/hive"
    assert status == {
        "container": served.container,
        "state": "running",
        "health": "healthy",
        "readiness": "accepting",
        "database_url": f"postgresql+psycopg://{env['POSTGRES_USER']}:****@{place}",
        "image": served.lab.image,
        "data": f"{served.path}/data/postgres/pgdata",
        "data_reason": "local engine",
        "bind": "127.0.0.1",
        "host_port": served.port,
        "restart_count": 0,
        "exit_code": None,
    }
    text = served.hive_pg("status").stdout
    for value in ("running (", "accepting", f"PostgreSQL {version}", served.lab.image, place):
        assert value in text


@pytest.mark.parametrize("columns", [60, 100])
def test_what_is_looked_at_fits(served, columns):
    """No row is wrapped, in colour or without, but for one with a path that is as long as it is."""
    served.up()
    for command in ("start", "status", "check", "stats", "list", "--help"):
        color = {"NO_COLOR": "1"} if columns == 60 else {}
        code, screen = served.at_terminal(command, columns=columns, **color)
        assert code == 0, screen
        rows = [row for row in rows_of(screen) if str(served.path) not in row]
        assert max(map(len, rows)) <= columns
        assert ("\x1b[32m" in screen) is (columns == 100 and command in ("start", "check"))


def test_container_becomes_healthy(served):
    """The engine's own health check passes, and leaves no complaint in the log."""
    served.up()
    wait_until(lambda: served.inspect()["State"]["Health"]["Status"] == "healthy")
    assert "running (healthy)" in served.hive_pg("status").stdout
    assert "FATAL:  database" not in served.hive_pg("logs", "-n", "all").stdout


def test_check_shows_each_point_with_its_finding(served):
    """Six lines for people, one object for programs."""
    served.up()
    lines = served.hive_pg("check").stdout.splitlines()
    names = " ".join(line[2:].split(":")[0] for line in lines if line[0] in "✓!")
    assert names == "docker container connections credentials pgvector published port"
    report = json.loads(served.hive_pg("check", "--json").stdout)
    assert [set(point) for point in report["points"]] == [
        {"name", "outcome", "finding", "remedy", "exit_code"}
    ] * 6
    assert "psycopg" not in report["points"][5]["finding"]


def test_check_with_psycopg_logs_in_from_the_host(lent, psycopg_script):
    """The sixth point is then a login through the published port."""
    lent.up()
    report = json.loads(lent.hive_pg("check", "--json", argv=[psycopg_script]).stdout)
    assert report["points"][5]["finding"].endswith("answers as PostgreSQL, and psycopg logs in")


@pytest.mark.parametrize(
    ("sql", "undo", "finding"),
    [
        (
            "update pg_extension set extversion = '0.6.2' where extname = 'vector'",
            "drop extension vector; create extension vector",
            "CVE-2026-3172",
        ),
        ("drop extension vector", "create extension vector", "not created"),
    ],
    ids=["old", "not created"],
)
def test_check_warns_of_pgvector(served, sql, undo, finding):
    """A warning leaves the database healthy."""
    served.up()
    assert served.trusted(sql).returncode == 0
    try:
        report = json.loads(served.hive_pg("check", "--json").stdout)
    finally:
        served.trusted(undo)
    point = report["points"][4]
    assert (point["outcome"], report["healthy"]) == ("warning", True)
    assert finding in point["finding"]
    assert point["remedy"]


def test_check_finds_a_url_that_leads_elsewhere(lent):
    """The container is fine, but the application would not reach it: exit 5."""
    lent.up()
    port = lent.env["HIVE_POSTGRES_PORT"]
    url = lent.env["HIVE_DATABASE_URL"].replace(f":{port}/", ":1/")
    lent.edit_env(HIVE_DATABASE_URL=url, HIVE_POSTGRES_PORT="1")
    report = json.loads(lent.hive_pg("check", "--json", code=5).stdout)
    assert [point["outcome"] for point in report["points"]] == ["passed"] * 5 + ["failed"]
    assert f"published on port {port}" in report["points"][5]["finding"]


@pytest.mark.parametrize("delay", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("command", ["restart", "stop"])
def test_run_beside_what_stops_it(served, command, delay):
    """Whatever moment it comes in, it waits for that command, and then has its database."""
    served.up()
    with served.started(command) as process:
        wait_until((served.path / ".hive-pg.json.lock").exists)
        time.sleep(delay)
        served.hive_pg("run", "--", "true")
        said = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 0, said
    served.hive_pg("start")


# -- logs and url -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [(), ("-n", "3"), ("-n", "all"), ("-t", "-n", "all"), ("--since", "2000-01-01T00:00:00")],
    ids=lambda options: " ".join(options) or "default",
)
def test_logs_are_those_of_docker(served, options):
    """Both streams come through, on stdout, so that what reads it finds all."""
    served.up()
    said = f"said by {' '.join(options)}"
    speak = ["docker", "exec", served.container, "sh", "-c"]
    assert run([*speak, f"echo '{said}' > /proc/1/fd/1"]).returncode == 0
    argv = ["docker", "logs", "--tail", "50", *options]
    argv = [{"-n": "--tail", "-t": "--timestamps"}.get(word, word) for word in argv]

    def read():
        result = run([*argv, served.container])
        return result.stdout, result.stderr

    def read_both():  # while the server writes nothing
        before, result = read(), served.hive_pg("logs", *options)
        return before == read() and f"{said}\n" in before[0] and (before, result)

    expected, found = wait_until(read_both)
    assert found.stderr == ""
    lines = [line for text in expected for line in text.splitlines()]
    assert sorted(found.stdout.splitlines()) == sorted(lines)
    assert "ready to accept connections" in found.stdout or "3" in options
    assert f"{said}\n" in found.stdout


def test_logs_follow_until_interrupted(served):
    """New lines come as they are written; Ctrl-C ends it without a word."""
    served.up()
    marker = f"follow_{time.monotonic_ns()}"
    with served.started("logs", "-f", "-n", "5", start_new_session=True) as process:
        wait_until(lambda: "docker" in children_of(process.pid))
        served.trusted(f"select {marker}")
        assert any(marker in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 130
    assert not re.search("hive-pg|interrupt|Traceback", stdout + stderr)


def test_url_is_alone_on_stdout_and_needs_no_docker(served):
    """It is the file's own URL; no program is looked for."""
    result = served.hive_pg("url", secret=True, PATH="/nowhere")
    assert (result.stdout, result.stderr) == (served.env["HIVE_DATABASE_URL"] + "\n", "")


def test_url_for_libpq_is_understood_by_psql(served):
    """It is the same without the driver, and logs in."""
    served.up()
    url = served.hive_pg("url", "--format", "libpq", secret=True).stdout.strip()
    assert url == served.env["HIVE_DATABASE_URL"].replace("+psycopg", "")
    result = served.lab.psql("-XAtc", "select current_database()", url)
    assert result.stdout == "hive\n", result.stderr


# -- ways to call it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--postgres-status",), "accepting"),
        (("--postgres-start",), "running already"),
        (("--postgres-logs", "-n", "all"), "LOG:"),
        (("--init", "--no-start"), "the files are ready: hive-pg start"),
        (("-v", "--postgres-status"), "+ docker inspect"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_planned_spelling_is_the_command(served, arguments, said):
    """`--postgres-status` is `status`, and so on."""
    served.up()
    result = served.hive_pg(*arguments)
    assert said in result.stdout + result.stderr


def test_planned_stop_and_restart_are_the_commands(served):
    """They do what the words say."""
    served.up()
    served.hive_pg("--postgres-stop")
    assert served.state == "exited"
    served.hive_pg("--postgres-restart")
    assert served.state == "running"


def test_directory_in_place_of_a_command(served):
    """Alone it is `start`, with a command after -- it is `run`."""
    served.up()
    place = served.path.name
    result = served.hive_pg(place, cwd=served.path.parent)
    assert "running already" in result.stderr
    served.hive_pg(place, "--", "sh", "-c", "exit 5", cwd=served.path.parent, code=5)


def test_every_command_takes_a_directory(served):
    """From anywhere; its hints name the directory."""
    served.up()
    for command in ("start", "status", "check", "logs"):
        served.hive_pg(command, str(served.path), cwd="/")
    result = served.hive_pg("init", "--no-start", str(served.path), cwd="/")
    assert f"hive-pg start {served.path}" in result.stderr


def test_module_and_copied_file_are_the_program(served, lab):
    """`python -m hive_pg` and a copy of the one file work the same, and say how to call them."""
    served.up()
    assert "accepting" in served.hive_pg("status", argv=[lab.python, "-m", "hive_pg"]).stdout
    home = lab.home(served.actor)
    hint = served.hive_pg("status", home, argv=[lab.python, "-m", "hive_pg"], code=3).stderr
    assert re.search(f"hint: python3? -m hive_pg init {home}\n", hint)
    place = lab.directory / "copied"
    place.mkdir(exist_ok=True)
    copy = shutil.copy(REPOSITORY / "hive_pg.py", place)
    bare = [lab.python, "-I", copy]
    version = served.hive_pg("--version").stdout
    assert served.hive_pg("--version", argv=bare).stdout == version
    assert "accepting" in served.hive_pg("status", argv=bare).stdout
    hint = served.hive_pg("status", home, argv=bare, code=3).stderr
    assert re.search(f"hint: python3? {copy} init {home}\n", hint)


def test_library_does_what_the_commands_do(make, lab):
    """A repository that copied the file has every step as a method that succeeds or raises."""
    workspace = make()
    argv = [lab.python, "-c", LIBRARY_LIFE, lab.image, str(workspace.port)]
    result = run(argv, **workspace.options())
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen.pop("service health") in ("starting", "healthy")
    assert seen == {
        "before": 3, "set up": True, "state": "running", "health": True, "valid": True,
        "stops": [True, False], "unhealthy": False, "starts": [True, False], "restart": None,
        "logs": True, "saves": False, "user": True, "fresh": [16, 32, 7], "masked": True,
        "service stops": True, "service logs": True, "uid": [workspace.actor.server_uid] * 2,
    }  # fmt: skip
    assert workspace.login() == "1"


def test_logs_of_a_stranger_at_a_terminal(served):
    """Who may not even log in chooses words of the log: no terminal acts on them."""
    evil = "evil\x1b]0;title\x07"
    login = ["exec", "--env", "PGPASSWORD=x", served.container, "sh", "-c"]
    docker(*login, 'psql -w -h "$(hostname)" -U "$0" hive || :', evil)
    wait_until(lambda: "evil" in run(["docker", "logs", "-n", "5", served.container]).stderr)
    code, screen = served.at_terminal("logs", "-n", "5")
    assert code == 0
    assert "evil\\x1b]0;title\\x07" in screen
    assert "\x1b]0" not in screen
