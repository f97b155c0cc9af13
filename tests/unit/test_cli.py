"""The command line: what is understood, what is printed where, and which code it ends with."""

import io
import json
import os
import signal
import sys

import pytest
from fakes import Became, FakeDocker, make_container

import hive_pg as pg
from hive_pg import (
    COMMANDS,
    ContainerConflictError,
    ContainerStartupError,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    EnvFileError,
    NotSetUpError,
    PostgreSQLIntegrationError,
    WorkspaceError,
    build_parser,
    main,
    split_argv,
)


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """Be called as hive-pg, in a terminal of 80 columns, with nobody to answer."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setenv("COLUMNS", "80")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs a command line on the fake engine, in the workspace."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    docker.containers.append(make_container(workspace=workspace))
    monkeypatch.chdir(workspace)
    return lambda *argv: main(argv)


# -- the argv ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "command", "arguments", "rest"),
    [
        pytest.param("", "", "", "", id="nothing"),
        pytest.param("start", "start", "", "", id="command"),
        pytest.param("start app", "start", "app", "", id="with a directory"),
        pytest.param("app", "start", "app", "", id="directory alone"),
        pytest.param("app -- make test", "run", "app", "make test", id="directory and CMD"),
        pytest.param("run -- psql -c x", "run", "", "psql -c x", id="run"),
        pytest.param("run app -- a -- b", "run", "app", "a -- b", id="CMD with dashes"),
        pytest.param("-q app -v", "start", "-q app -v", "", id="options around the directory"),
        pytest.param("-v logs -f", "logs", "-v -f", "", id="options before the command"),
        pytest.param("--init", "init", "", "", id="--init"),
        pytest.param("--postgres-start", "start", "", "", id="--postgres-start"),
        pytest.param("--postgres-stop app", "stop", "app", "", id="--postgres-stop"),
        pytest.param("--postgres-restart", "restart", "", "", id="--postgres-restart"),
        pytest.param("--postgres-status --json", "status", "--json", "", id="--postgres-status"),
        pytest.param("app --postgres-logs", "start", "app --postgres-logs", "", id="DIR first"),
        pytest.param("-f --postgres-logs -n 5", "logs", "-f -n 5", "", id="--postgres-logs"),
        pytest.param("nothing", "", "nothing", "", id="neither command nor directory"),
        pytest.param("--version", "", "--version", "", id="option alone"),
        pytest.param("stop", "stop", "", "", id="a command, though a directory has its name"),
    ],
)
def test_split_argv_table(argv, command, arguments, rest):
    """A command comes out in front, whatever its spelling and place, and CMD untouched."""
    result = split_argv(argv.split(), {"app", "stop"}.__contains__)
    assert result == (command, arguments.split(), rest.split())


OPTIONS = {
    "init": "--timeout --yes --port --database --image --bind --no-start",
    "start": "--timeout",
    "run": "--timeout",
    "stop": "",
    "restart": "--timeout",
    "wait": "--timeout",
    "status": "--json",
    "check": "--json",
    "stats": "--watch --json --prometheus",
    "logs": "--tail --follow --since --timestamps",
    "url": "--format",
    "psql": "",
    "backup": "--output",
    "restore": "--no-owner --drop-old --yes",
    "rotate": "",
    "destroy": "--data --no-backup --yes",
    "env": "--json --format",
    "list": "--json",
    "completion": "",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_build_parser_options(command):
    """Each command has its options, and those that all have; its help says each of them."""
    parser = build_parser("hive-pg", command)
    long = {name for action in parser._actions for name in action.option_strings if "--" in name}
    assert long == {"--help", "--quiet", "--verbose", *OPTIONS[command].split()}
    assert all(action.help for action in parser._actions)
    assert parser.prog == f"hive-pg {command}"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("init", {"directory": ".", "timeout": 120.0, "yes": False, "port": None}),
        ("init d -y --port 6000", {"directory": "d", "yes": True, "port": 6000}),
        ("init --bind 0.0.0.0 --database a-b", {"bind": "0.0.0.0", "database": "a-b"}),
        ("start --timeout 1.5", {"timeout": 1.5}),
        ("logs -n all -f -t --since 10m", {"tail": "all", "follow": True, "since": "10m"}),
        ("logs", {"tail": "50", "follow": False, "since": None, "timestamps": False}),
        ("url", {"format": "sqlalchemy"}),
        ("url --format libpq", {"format": "libpq"}),
        ("status -q -v --json", {"quiet": True, "verbose": True, "json": True}),
    ],
)
def test_build_parser_values(argv, expected):
    """Options have their defaults, and their values are numbers where they should be."""
    command, *arguments = argv.split()
    args = vars(build_parser("hive-pg", command).parse_args(arguments))
    assert {key: args[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "COMMAND"),
        ("nonsense", "'nonsense' is neither a command nor a directory\n"),
        ("statu", "'statu' is neither a command nor a directory; did you mean status?"),
        ("stauts", "'stauts' is neither a command nor a directory; did you mean status?"),
        ("--nonsense", "hive-pg: error: "),
        ("start --nonsense", "unrecognized arguments: --nonsense"),
        ("start a b", "unrecognized arguments: b"),
        ("stats --watch 0", "argument --watch: invalid seconds value: '0'"),
        ("stats --json --prometheus", "--prometheus: not allowed with argument --json"),
        ("stats --watch 1 --prometheus", "--prometheus is one sample, and does not go with"),
        ("init --port 0", "argument --port: invalid port value: '0'"),
        ("init --port 65536", "invalid port value"),
        ("init --port x", "invalid port value"),
        ("init --bind ::1", "invalid address value"),
        ("init --bind 1", "invalid address value: '1'"),
        ("init --bind localhost", "invalid address value"),
        ("init --database a'b", 'argument --database: "a\'b": letters, digits and _ . - only, 63'),
        ("init --database template1", "template1 is what PostgreSQL makes new databases of"),
        ("start --timeout 0", "argument --timeout: invalid seconds value: '0'"),
        ("start --timeout nan", "invalid seconds value"),
        ("start --timeout 1e9", "invalid seconds value"),
        ("logs -n x", "argument -n/--tail: invalid lines value: 'x'"),
        ("logs --tail=-1", "invalid lines value: '-1'"),
        ("url --format jdbc", "invalid choice: 'jdbc'"),
        ("run", "run [DIR] -- CMD"),
        ("run --", "run [DIR] -- CMD"),
        ("start -- make", "run [DIR] -- CMD"),
        ("-- make", "COMMAND"),
    ],
)
def test_main_usage(capsys, argv, message):
    """A usage error ends with 2, and says on stderr what is wrong."""
    with pytest.raises(SystemExit) as caught:
        main(argv.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert message in err
    assert err.startswith("usage: hive-pg")


def test_main_version(capsys):
    """--version is one line on stdout."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"hive-pg {pg.__version__}\n")


@pytest.mark.parametrize("columns", ["80", "20", "x", ""])
def test_main_help(monkeypatch, capsys, columns):
    """--help lists every command, examples and exit codes, in whatever terminal."""
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert "EXAMPLES" in out
    assert "EXIT CODES" in out


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PostgreSQLIntegrationError, 1),
        (WorkspaceError, 1),
        (EnvFileError, 1),
        (DockerCommandError, 1),
        (ContainerConflictError, 1),
        (NotSetUpError, 3),
        (DockerNotAvailableError, 4),
        (ContainerStartupError, 5),
        (DatabaseConnectionError, 5),
        (CredentialsRefusedError, 6),
    ],
)
def test_main_error(monkeypatch, capsys, hive, error, code):
    """Each error has its code, and reads: what failed, the other's last words, the next step."""

    def fail(*_, **__):
        raise error("what: why", hint="hive-pg start", detail="\n".join(map(str, range(30))))

    monkeypatch.setattr(pg.PostgreSQLManager, "start_container", fail)
    assert hive("start") == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, lines[0], lines[-1]) == ("", "error: what: why", "hint: hive-pg start")
    assert lines[1:-1] == [f"    {n}" for n in range(10, 30)]


@pytest.mark.parametrize(
    ("command", "method", "left"),
    [
        ("start", "start_container", "; nothing is lost: the same command goes on from what"),
        ("status", "check_container_status", "\n"),
        ("backup", "backup", "; no half of a file is left, but on stdout perhaps: the same comm"),
        ("rotate", "rotate_password", "; hive-pg start finishes what was begun"),
        (
            "destroy",
            "destroy_container",
            "; the same command goes on; a backup that was made is in",
        ),
    ],
    ids=["changes something", "only asks", "backup", "rotate", "destroy"],
)
def test_main_interrupted(monkeypatch, capsys, hive, command, method, left):
    """Ctrl-C ends with 130 and one line: what is left of a change, and how to go on."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pg.PostgreSQLManager, method, interrupt)
    assert hive(command) == 130
    err = capsys.readouterr().err
    assert err.startswith(f"warning: interrupted{left}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_main_terminated(monkeypatch, hive, number):
    """A signal to end ends what runs as Ctrl-C does; the code is 128 and its number."""
    signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr(
        pg.PostgreSQLManager, "start_container", lambda *_, **__: signal.raise_signal(number)
    )
    with pytest.raises(SystemExit) as caught:
        hive("start")
    assert caught.value.code == 128 + number


def test_main_nohup(hive):
    """A hangup that nohup has had ignored stays so, for CMD as well."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert hive("stop") == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_main_os_error(monkeypatch, capsys, hive):
    """What the system refuses is an error, not a traceback."""

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr(pg.PostgreSQLManager, "start_container", fail)
    assert hive("start") == 1
    assert capsys.readouterr().err == "error: [Errno 13] Permission denied: '/x'\n"


def test_main_broken_pipe(monkeypatch, hive):
    """If the reader of stdout has gone, that is exit 1 without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert hive("url") == 1
        print("into the void", flush=True)


def test_main_odd_stream(monkeypatch, hive):
    """A stdout that is no text file of Python's own is written to as it is."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert hive("url") == 0
    assert sys.stdout.getvalue().startswith("postgresql+psycopg://")


def test_main_argv_of_process(monkeypatch, capsys, hive, workspace):
    """Without an argument the process' own argv counts."""
    monkeypatch.setattr(sys, "argv", ["hive-pg", "url"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("postgresql+psycopg://")


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("/usr/bin/hive-pg", "hint: hive-pg init {}"),
        ("tools/hive_pg.py", "hint: python3 tools/hive_pg.py init {}"),
    ],
    ids=["installed", "copied"],
)
def test_main_hint(monkeypatch, capsys, tmp_path, program, hint):
    """A hint can be typed as it stands: the program as it was called, and the directory."""
    monkeypatch.setattr(sys, "argv", [program])
    assert main(["start", str(tmp_path)]) == 3
    assert capsys.readouterr().err.splitlines()[-1] == hint.format(tmp_path)


# -- commands ------------------------------------------------------------------------------------


def test_command_start_running(capsys, hive, docker):
    """Running already: exit 0, and it says so; two docker processes."""
    assert hive("start") == 0
    assert "it was running already" in capsys.readouterr().err
    assert len(docker.calls) == 2


def test_command_start_directory(capsys, hive, workspace):
    """A directory in place of a command is `start`."""
    assert hive(str(workspace)) == 0
    assert "ann logs in to hive" in capsys.readouterr().err


def test_command_stop_twice(capsys, hive):
    """Stopped, then stopped already: both 0."""
    assert (hive("stop"), hive("stop")) == (0, 0)
    err = capsys.readouterr().err
    assert "stopped; the data stays" in err
    assert "it was not running" in err


def test_command_restart(hive, docker):
    """Restart stops and starts."""
    assert hive("restart") == 0
    assert {"docker stop", "docker compose up"} <= set(docker.commands)


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (["url"], "postgresql+psycopg://ann:s3cret@localhost:5532/hive\n"),
        (["url", "--format", "libpq"], "postgresql://ann:s3cret@localhost:5532/hive\n"),
    ],
    ids=["as it is", "libpq"],
)
def test_command_url(capsys, hive, docker, argv, out):
    """The URL alone is on stdout, and Docker is not asked."""
    assert hive(*argv) == 0
    assert capsys.readouterr() == (out, "")
    assert docker.calls == []


def test_command_status_text(capsys, hive):
    """The status is for people, with the password masked."""
    assert hive("status") == 0
    out, err = capsys.readouterr()
    assert "state      running (healthy)" in out
    assert "s3cret" not in out + err


def test_command_status_paused(capsys, hive, docker):
    """A paused container is not running, and `start` would not help it."""
    docker.containers[0]["State"]["Status"] = "paused"
    docker.answers["docker exec"] = (1, "is paused")
    assert hive("status") == 3
    assert capsys.readouterr().err == "hint: docker unpause hive-postgres\n"


def test_command_status_stopped(capsys, hive, docker):
    """Not running is exit 3, with the next step on stderr."""
    docker.containers[0]["State"]["Status"] = "exited"
    docker.answers["docker exec"] = (1, "is not running")
    assert hive("status") == 3
    out, err = capsys.readouterr()
    assert "exited" in out
    assert err == "hint: hive-pg start\n"


def test_command_status_unhealthy(capsys, hive, docker):
    """What runs and does not serve is exit 5, with the command that finds out why."""
    docker.answers["docker exec"] = (71, "")
    assert hive("status") == 5
    assert capsys.readouterr().err == "hint: hive-pg check\n"


def test_command_restore_asks_for_what_there_is(capsys, hive, docker):
    """A file that is not there needs no yes to be called so."""
    assert hive("restore", "nope.dump") == 1
    assert "error: there is no file 'nope.dump'" in capsys.readouterr().err
    assert docker.calls == []


def test_command_status_refused(capsys, hive, docker):
    """A server that accepts, but not the password, is up; who it keeps out is said by `check`."""
    docker.answers["docker exec"] = (82, "FATAL:  password authentication failed")
    assert hive("status") == 0
    out, err = capsys.readouterr()
    assert "version" not in out
    assert err == "hint: hive-pg check\n"


@pytest.mark.parametrize("command", ["status", "check"])
def test_command_json(capsys, hive, docker, command):
    """--json prints one object and nothing else, also where the database is down."""
    docker.containers.clear()
    assert hive(command, "--json") == 3
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert err == ""
    if command == "check":
        assert (data["healthy"], data["exit_code"], len(data["points"])) == (False, 3, 6)
        keys = ["name", "outcome", "finding", "remedy", "exit_code"]
        assert [list(point) for point in data["points"]] == [keys] * 6
    else:
        assert (data["state"], data["uptime_s"]) == ("missing", None)


@pytest.mark.parametrize("name", ["it's", 'a"b', "a\\b", "a b"])
def test_command_json_directory(monkeypatch, capsys, docker, tmp_path, name):
    """JSON is JSON whatever the workspace is called."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    pg.CredentialService(name).save(pg.Settings(pg.DatabaseURL("u1", "p1"), "c", "p", 1, 1).env)
    assert main(["check", name, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["points"][1]["finding"] == "c is missing"


def test_command_check_text(capsys, hive):
    """Six lines, one a point."""
    assert hive("check") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split(" ", 1)[1] for line in lines] == list(pg.CHECK_POINTS)


def test_command_check_remedy(capsys, hive, docker, workspace):
    """A point that failed has its remedy under it, as one can type it."""
    docker.containers.clear()
    assert hive("check", str(workspace)) == 3
    assert f"\n    hive-pg start {workspace}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "argv"),
    [
        ([], ["--tail", "50"]),
        (["-n", "all"], ["--tail", "all"]),
        (["-f", "-t", "--since", "10m"], "--tail 50 --follow --timestamps --since 10m".split()),
    ],
    ids=["usual", "all", "follow"],
)
def test_command_logs_argv(hive, docker, options, argv):
    """The options are docker's own, and the container comes last."""
    assert hive("logs", *options) == 0
    assert docker.calls[-1].argv == ["docker", "logs", *argv, "hive-postgres"]


@pytest.mark.parametrize(("code", "expected"), [(1, 1), (130, 130)], ids=["failed", "Ctrl-C"])
def test_command_logs_code(capsys, hive, docker, code, expected):
    """A failure is exit 1; Ctrl-C ends it quietly."""
    docker.answers["docker logs"] = (code, "")
    assert hive("logs", "-f") == expected
    assert capsys.readouterr().err == ""


def test_command_run_environment(monkeypatch, hive, docker, workspace):
    """CMD gets .env; a variable that is set wins, the credentials excepted."""
    with open(workspace / ".env", "a") as file:
        file.write("MINE=file\nOURS=file\n")
    monkeypatch.setenv("MINE", "shell")
    monkeypatch.setenv("POSTGRES_PASSWORD", "shell")
    docker.answers["make"] = ""
    with pytest.raises(Became):
        hive("run", "--", "make", "-j", "test")
    call = docker.calls[-1]
    assert call.argv == ["make", "-j", "test"]
    assert {name: call.env[name] for name in ("MINE", "OURS", "POSTGRES_PASSWORD")} == {
        "MINE": "shell",
        "OURS": "file",
        "POSTGRES_PASSWORD": "s3cret",
    }
    assert call.env["HIVE_DATABASE_URL"].endswith("@localhost:5532/hive")
    assert "PATH" in call.env


def test_command_run_left_out(capsys, hive, docker, workspace):
    """Keys that readers take differently are left out of CMD's environment, and named."""
    with open(workspace / ".env", "a") as file:
        file.write("ODD=`id`\nEVEN=1\n")
    docker.answers["make"] = ""
    with pytest.raises(Became):
        hive("run", "--", "make")
    assert "so left out: ODD\n" in capsys.readouterr().err
    assert "ODD" not in docker.calls[-1].env
    assert docker.calls[-1].env["EVEN"] == "1"


def test_command_run_without_database(hive, docker):
    """No database, no CMD."""
    docker.answers["docker exec"] = (82, "password authentication failed")
    assert hive("run", "--", "make") == 6
    assert "make" not in [call.argv[0] for call in docker.calls]


def test_command_run_missing(capsys, hive, docker):
    """A CMD that is not there is an error with its name."""
    docker.answers["nope"] = FileNotFoundError(2, "No such file or directory", "nope")
    assert hive("run", "--", "nope") == 1
    assert "error: cannot run nope: No such file" in capsys.readouterr().err


def test_command_init_new(monkeypatch, capsys, docker, tmp_path):
    """Init ends with the next steps on stdout; where it is quiet, with nothing."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    assert main(["init", str(tmp_path), "--yes"]) == 0
    out, err = capsys.readouterr()
    assert "The database is ready." in out
    assert f"hive-pg status {tmp_path}" in out
    password = pg.CredentialService(str(tmp_path)).read_values()["POSTGRES_PASSWORD"]
    assert password not in out + err
    assert main(["init", "-q", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("address", "warned"), [("0.0.0.0", True), ("127.0.0.2", False)], ids=["all", "loopback"]
)
def test_command_init_bind(monkeypatch, capsys, docker, tmp_path, address, warned):
    """An address that other machines reach is warned of."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    assert main(["init", str(tmp_path), "--bind", address, "--no-start"]) == 0
    assert ("other machines can reach it" in capsys.readouterr().err) is warned


def test_command_init_declined(monkeypatch, capsys, docker, tmp_path):
    """Who declines has nothing done, and exit 1."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert main(["init", str(tmp_path / "new")]) == 1
    assert "nothing was done" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_verbose_shows_no_secret(monkeypatch, capsys, network, workspace):
    """-v shows every program that is run, and no secret."""

    class Tracing(FakeDocker):
        def __init__(self, console):
            super().__init__()
            self.console = console

        def start(self, argv, **options):
            self.console.trace(argv)
            return super().start(argv, **options)

    monkeypatch.setattr(pg, "Runner", Tracing)
    assert main(["start", "-v", str(workspace)]) == 0
    err = capsys.readouterr().err
    assert "+ docker inspect --type container hive-postgres\n" in err
    assert "+ docker compose up --detach postgres\n" in err
    assert "s3cret" not in err
