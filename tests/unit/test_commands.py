"""The command line: what is understood, what is printed where, and which code it ends with."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
from fakes import Became, FakeDocker, full_disk, make_container, make_settings, make_url

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
    read_command_line,
    read_options,
    split_argv,
)

# A console that is closed on Windows is a SIGBREAK.
ENDS = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, n)]


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """Be called as hive-pg, in a terminal of 80 columns, with nobody to answer."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setenv("COLUMNS", "80")
    handlers = {number: signal.getsignal(number) for number in ENDS}
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
        pytest.param("app --postgres-logs", "logs", "app", "", id="DIR first"),
        pytest.param("app status --json", "status", "app --json", "", id="DIR first, command"),
        pytest.param("app app status", "start", "app app status", "", id="two DIRs"),
        pytest.param("app run -- make", "run", "app", "make", id="DIR first, CMD"),
        pytest.param("nothing status", "", "nothing status", "", id="no DIR first"),
        pytest.param("up app", "up", "app", "", id="up"),
        pytest.param("psql -c x", "psql", "", "-c x", id="psql without --"),
        pytest.param("shell app -q -At -c x", "shell", "app -q", "-At -c x", id="psql in DIR"),
        pytest.param("psql -v -v A=b -f -", "psql", "-v", "-v A=b -f -", id="psql's own -v"),
        pytest.param("app psql -c x -- y", "psql", "app", "-c x y", id="psql and --"),
        pytest.param("psql --help -c x", "psql", "--help", "-c x", id="our help of psql"),
        pytest.param("-f --postgres-logs -n 5", "logs", "-f -n 5", "", id="--postgres-logs"),
        pytest.param("--start", "", "--start", "", id="no planned spelling"),
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
    "init": "--timeout --yes --port --database --image --service --bind --data --no-start --from"
    " --attach --detach",
    "start": "--timeout --take-over --yes",
    "run": "--fresh --timeout",
    "stop": "--all",
    "restart": "--timeout",
    "wait": "--timeout",
    "status": "--json",
    "check": "--json",
    "stats": "--watch --json",
    "logs": "--tail --follow --since --timestamps",
    "url": "--format",
    "psql": "",
    "backup": "--output",
    "snapshot": "--list --drop --json --yes",
    "restore": "--no-owner --drop-old --yes",
    "reset": "--seed --yes",
    "push": "--url-env --switch",
    "pull": "--url-env --yes",
    "rotate": "",
    "upgrade": "--yes --image --undo --drop-old",
    "destroy": "--data --no-backup --purge --yes",
    "env": "--json --format",
    "list": "--json",
    "completion": "",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_build_parser_options(command):
    """Each command has its options, and those that all have; its help says each of them."""
    parser = build_parser("hive-pg", command)
    long = {name for action in parser._actions for name in action.option_strings if "--" in name}
    assert long == {"--help", "--quiet", "--verbose", *OPTIONS[command].split()}
    assert all(action.help for action in parser._actions)
    assert parser.prog == f"hive-pg {command}"
    assert parser.format_help().startswith(f"usage: hive-pg {command} [options]")


def test_commands_are_those_of_the_table():
    """A command is a line of the table, and a method or one call: none without the other."""
    assert list(COMMANDS) == list(OPTIONS)
    methods = {command for command in COMMANDS if hasattr(pg.CommandLine, f"_{command}")}
    assert methods ^ pg._CALLS.keys() == {*COMMANDS}
    assert all(usage.strip() == usage and summary for usage, summary in COMMANDS.values())


def test_commands_of_the_table_of_options():
    """Each list of commands in the table is of commands that there are."""
    heads = [line for line in pg.COMMAND_LINE.splitlines() if line[0] != " " and ": " not in line]
    assert heads
    assert all(word in (*COMMANDS, "*") for head in heads for word in head.split())


def test_read_options_of_no_command():
    """Without a command there is what all have."""
    names = [names for names, _, _ in read_options("")]
    assert names == [["-q", "--quiet"], ["-v", "--verbose"], ["-C"]]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("init", {"directory": ".", "timeout": 120.0, "yes": None, "port": None}),
        ("init d -y --port 6000", {"directory": "d", "yes": True, "port": 6000}),
        ("init --bind 0.0.0.0 --database a-b", {"bind": "0.0.0.0", "database": "a-b"}),
        ("init -y", {"directory": ".", "timeout": 120.0}),
        ("start --timeout 1.5", {"timeout": 1.5}),
        ("logs -n all -f -t --since 10m", {"tail": "all", "follow": True, "since": "10m"}),
        ("logs", {"tail": "50", "follow": None, "since": None, "timestamps": None}),
        ("url", {"format": None}),
        ("url d", {"directory": "d"}),
        ("url --format libpq", {"format": "libpq"}),
        ("status -q -v --json", {"quiet": True, "verbose": True, "json": True}),
        ("-v status d", {"directory": "d", "verbose": True}),
        ("run d -- make -j", {"directory": "d", "argv": ["make", "-j"]}),
        ("completion fish", {"shell": "fish"}),
        ("list", {"json": None, "directory": "."}),
        ("restore -", {"directory": ".", "file": "-"}),
        ("restore d x.dump", {"directory": "d", "file": "x.dump"}),
        ("restore x.dump", {"directory": ".", "file": "x.dump"}),
        ("ps d", {"command": "status", "directory": "d"}),
        ("down", {"command": "stop"}),
        ("shell -c x", {"command": "psql", "argv": ["-c", "x"]}),
        ("restore @a /", {"directory": "/", "file": "@a"}),
        ("snapshot @a /", {"directory": "/", "file": "@a"}),
        ("snapshot @a", {"directory": ".", "file": "@a"}),
        ("restore --drop-old /", {"directory": "/", "file": None}),
    ],
)
def test_read_command_line_values(argv, expected):
    """Options have their defaults, and their values are numbers where they should be."""
    line = read_command_line("hive-pg", argv.split())
    assert {key: getattr(line, key) for key in expected} == expected


@pytest.mark.parametrize("arguments", [[], ["d"]], ids=["alone", "directory"])
@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("restore", "completion")])
def test_read_command_line_without_argparse(monkeypatch, command, arguments):
    """Without an option it is read without argparse, and as argparse reads it."""
    monkeypatch.setattr("os.path.isdir", lambda path: path in ("d", "."))
    if command == "list":
        arguments = []
    rest = ["--", "make"] if command == "run" else []
    line = read_command_line("hive-pg", [command, *arguments, *rest])
    expected = build_parser("hive-pg", command).parse_args(arguments, pg.CommandLine())
    names = {"directory", *(name.strip("-").replace("-", "_") for name in OPTIONS[command].split())}
    for name in names:
        assert getattr(line, name) == getattr(expected, name)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("nonsense", "'nonsense' is neither a command nor a directory\nhint: hive-pg --help\n"),
        ("statu", "'statu' is neither a command nor a directory: did you mean status?\n"),
        ("stauts", "'stauts' is neither a command nor a directory: did you mean status?\n"),
        ("evn", "did you mean env?\n"),
        ("switch", "'switch' is neither a command nor a directory\nhint: hive-pg --help\n"),
        ("init -p 5", "unrecognized arguments: -p\nhint: hive-pg init --help\n"),
        ("init --password x", "arguments: --password\nhint: hive-pg init --help\n"),
        ("init --user x", "arguments: --user\nhint: hive-pg init --help\n"),
        ("status --name x", "arguments: --name\nhint: hive-pg status --help\n"),
        ("shop init", "'shop' is neither a command nor a directory\nhint: hive-pg --help\n"),
        ("--nonsense", "unrecognized arguments: --nonsense\nhint: hive-pg --help\n"),
        ("start --nonsense", "unrecognized arguments: --nonsense\nhint: hive-pg start --help\n"),
        ("start a b", "unrecognized arguments: b\n"),
        ("init --prot=1 d", "unrecognized arguments: --prot=1: did you mean --port?\n"),
        ("init --databas x", "unrecognized arguments: --databas: did you mean --database?\n"),
        ("start --time 5", "unrecognized arguments: --time: did you mean --timeout?\n"),
        ("stats --watch 0", "argument --watch: invalid seconds value: '0'"),
        ("nothing here", "'nothing' is neither a command nor a directory"),
        ("list d", "unrecognized arguments: d\n"),
        ("completion", "the following arguments are required: shell"),
        ("restore", "FILE is missing"),
        ("restore -y", "FILE is missing"),
        ("restore @", "FILE is missing"),
        ("snapshot --drop", "@NAME is missing\nhint: hive-pg snapshot --help\n"),
        ("snapshot --drop @", "@NAME is missing"),
        ("restore /", "FILE is missing\nhint: hive-pg restore --help\n"),
        ("status -C", "argument -C: expected one argument"),
        ("init --port 0", "argument --port: invalid port value: '0'"),
        ("init --port 65536", "invalid port value"),
        ("init --port x", "invalid port value"),
        ("init --bind ::1", "invalid address value"),
        ("init --bind 1", "invalid address value: '1'"),
        ("init --bind localhost", "invalid address value"),
        ("init --bind 127.0.0.256", "invalid address value"),
        ("init --bind 127.0.0.01", "invalid address value"),
        ("init --bind 1.2.3.4.5", "invalid address value"),
        (
            "init --database a'b",
            'invalid name value: "a\'b": letters, digits and _ . - only, 63 at most',
        ),
        (
            "init --database template1",
            "'template1': letters, digits and _ . - only, 63 at most; no template",
        ),
        ("start --timeout 0", "argument --timeout: invalid seconds value: '0'"),
        ("start --timeout nan", "invalid seconds value"),
        ("start --timeout 1e9", "invalid seconds value"),
        ("logs -n x", "argument -n/--tail: invalid lines value: 'x'"),
        ("logs --tail=-1", "invalid lines value: '-1'"),
        ("url --format xml", "invalid choice: 'xml'"),
        ("run", "run [DIR] -- CMD"),
        ("run --", "run [DIR] -- CMD"),
        ("start -- make", "run [DIR] -- CMD"),
        ("run make test", "put -- before the program: run [DIR] -- CMD"),
        ("run --fresh=s1 -- make", "'s1' is no @NAME: run [DIR] --fresh=@NAME -- CMD"),
        ("run --fresh / -- make", "'/' is no @NAME: run [DIR] --fresh=@NAME -- CMD"),
        ("snapshot / s1", "'s1' is no directory, and a name begins with @"),
        (
            "snapshot s1",
            "'s1' is no directory, and a name begins with @\nhint: hive-pg snapshot @s1\n",
        ),
        (
            "restore --drop-old x.dump",
            "--drop-old goes without FILE, afterwards\nhint: hive-pg restore --help\n",
        ),
        ("restore - --drop-old", "--drop-old goes without FILE, afterwards\n"),
        ("snapshot --drop @s1 --list", "--list goes alone"),
        ("snapshot --list @s1", "--list goes alone"),
        ("env --json --format dotenv", "--json goes without --format"),
        ("upgrade --image x --undo", "--image, --undo and --drop-old go one at a time"),
        ("upgrade --image x --drop-old", "--image, --undo and --drop-old go one at a time"),
    ],
)
def test_main_usage(capsys, argv, message):
    """A usage error ends with 2, and says on stderr in a line what is wrong."""
    assert main(argv.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert "usage:" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["destroy", "--data", "--yes", ""],
        ["reset", "--yes", "--seed="],
        ["stop", ""],
        ["-C", "", "stop"],
        ["run", "--", ""],
        ["run", "--fresh", "--", "", "x"],
    ],
)
def test_main_empty_word(hive, docker, capsys, words):
    """A variable that is not set is not the directory that one stands in."""
    assert hive(*words) == 2
    assert capsys.readouterr().err == "error: a word is empty: is a variable unset?\n"
    assert docker.commands == []


@pytest.mark.parametrize(
    "argv",
    [
        "destroy -C../old --data --no-backup --yes",
        "-C../old destroy --data --no-backup --yes",
        "destroy -C=../old --data --no-backup --yes",
        "destroy -qC ../old --data --no-backup --yes",
        "-qC../old destroy --data --no-backup --yes",
        "status -C",
        "run -C../old -- true",
        "list -C../old",
    ],
)
def test_main_attached_directory(hive, docker, capsys, workspace, argv):
    """A -C that is not a word of its own never leaves the command in the current directory."""
    (workspace.parent / "old").mkdir()
    assert hive(*argv.split()) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert (docker.commands, os.getcwd()) == ([], str(workspace))


@pytest.mark.parametrize(
    ("argv", "rest"),
    [("run -- make -C../old", ["make", "-C../old"]), ("psql -- -C../old", ["-C../old"])],
)
def test_read_command_line_leaves_others_options(hive, argv, rest):
    """What stands behind -- is the other program's, -C as well."""
    assert read_command_line("hive-pg", argv.split()).argv == rest


def test_main_nowhere(capsys):
    """-C takes a directory that is there."""
    assert main(["-C", "/nope", "status"]) == 1
    assert capsys.readouterr().err == "error: /nope: No such file or directory\n"


@pytest.mark.skipif(sys.platform != "linux", reason="others keep a directory that one is in")
@pytest.mark.parametrize("argv", ["status", "init", "run -- true", "list", "completion bash"])
def test_main_in_a_directory_that_is_gone(hive, docker, capsys, monkeypatch, tmp_path, argv):
    """It is named, with what helps."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert hive(*argv.split()) == 1
    assert capsys.readouterr().err == ("error: the current directory is gone: cd DIR, or -C DIR\n")
    assert docker.commands == []


@pytest.mark.parametrize("argv", ["", "-q", "-- make"])
def test_main_without_a_command(capsys, argv):
    """Where nothing is said, that ends with 2, and the help on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(argv.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("usage: hive-pg")
    assert "COMMAND" in err


def test_main_version(capsys):
    """--version is one line on stdout, and an option of the help."""
    for word in ("--version", "-V", "version"):
        assert main([word]) == 0
        assert capsys.readouterr().out == f"hive-pg {pg.__version__}\n"
    for argv in ("-v --version", "-q version", "version -v", "-C . version", "-C . -q version"):
        with pytest.raises(SystemExit) as caught:
            main(argv.split())
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
    assert {"EXAMPLES", "--version"} <= {*out.split()}
    codes = re.findall("[0-9]+", out.partition("EXIT CODES")[2])
    assert codes == [str(code.value) for code in pg.ExitCode]


GIT_URL = "https://example.com/hive-pg"
SOURCES = {
    "": None,
    "file:///home/ann/hive-pg": {"url": "file:///home/ann/hive-pg", "dir_info": {}},
    f"git+{GIT_URL}": {"url": GIT_URL, "vcs_info": {"vcs": "git", "commit_id": "1a"}},
    f"git+{GIT_URL}@v1": {"url": GIT_URL, "vcs_info": {"vcs": "git", "requested_revision": "v1"}},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("prefix", "named", "plain"),
    [
        ("/home/ann/.cache/uv/archive-v0/sxH9JBGVUa0SXZOS", "uvx --from {} hive-pg", "uvx hive-pg"),
        ("/uv c/archive-v2/sxH9JBGVUa0SXZOS", "uvx --from {} hive-pg", "uvx hive-pg"),
        ("/home/ann/.cache/pipx/22dc321be81e0c7", "pipx run --spec {} hive-pg", "pipx run hive-pg"),
        ("/home/ann/.local/share/uv/tools/hive-pg", "hive-pg", "hive-pg"),
        ("/home/ann/.local/share/pipx/venvs/hive-pg", "hive-pg", "hive-pg"),
        ("/usr", "hive-pg", "hive-pg"),
    ],
    ids=["uvx", "another cache", "pipx run", "uv tool", "pipx", "system"],
)
def test_name_program(monkeypatch, tmp_path, prefix, named, plain, source):
    """What is printed works when it is pasted, also where nothing is installed for good."""
    info = tmp_path / f"hive_pg-{pg.__version__}.dist-info"
    info.mkdir()
    if source:
        (info / "direct_url.json").write_text(json.dumps(SOURCES[source]))
    monkeypatch.setattr(pg, "__file__", str(tmp_path / "hive_pg.py"))
    expected = named.format(source) if source else plain
    assert pg.name_program(f"{prefix}/bin/hive-pg", prefix) == expected
    assert pg.name_program("./hive_pg.py", prefix) == "python3 ./hive_pg.py"
    assert pg.name_program("/my tools/hive_pg.py", "/usr") == "python3 '/my tools/hive_pg.py'"


def test_url_on_stdin_in_another_encoding(monkeypatch, hive, capsys):
    """PowerShell writes UTF-16: that is no URL, and no traceback."""
    stdin = io.TextIOWrapper(io.BytesIO("postgresql://u:p@h/d\n".encode("utf-16")), "utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    assert hive("pull") == 1
    assert "error: the URL on stdin: its scheme is missing" in capsys.readouterr().err


def test_main_after_stdin_was_read(monkeypatch, capsys):
    """Who calls it may have read from there, or closed it."""
    stdin = io.TextIOWrapper(io.BytesIO(b"a\nb\n"), "utf-8")
    stdin.readline()
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["--version"]) == 0
    stdin.close()
    assert main(["--version"]) == 0


@pytest.mark.parametrize(
    ("argv", "code"), [("status", 3), ("stauts", 2)], ids=["not set up", "a typing error"]
)
def test_main_whose_stderr_is_full(monkeypatch, tmp_path, argv, code):
    """The exit code is what it would be if somebody read the words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", full_disk())
    assert main([argv]) == code


def test_help_whose_stderr_is_full(monkeypatch):
    """No command is one that is missing, whether somebody reads the help or not."""
    monkeypatch.setattr(sys, "stderr", full_disk())
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


def test_main_under_uvx(monkeypatch, capsys, tmp_path):
    """Hints, examples and usage begin with the program as it was called."""
    monkeypatch.setattr(sys, "prefix", "/c/uv/archive-v0/x")
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 3
    assert capsys.readouterr().err.endswith("\nhint: uvx hive-pg init\n")
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: uvx hive-pg [options] COMMAND")
    assert "\n  uvx hive-pg start && uvx hive-pg check " in out


def test_main_help_fits(monkeypatch, capsys):
    """In 60 columns no line is wrapped."""
    monkeypatch.setattr(pg, "terminal_width", lambda _: 60)
    for command in ("", *COMMANDS):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ("help", ""),
        ("help stats", "stats"),
        ("help up", "start"),
        ("-q help stats", "stats"),
        ("help -q stats", "stats"),
    ],
)
def test_main_help_as_a_command(capsys, argv, command):
    """`help` is --help, of a command as well."""
    with pytest.raises(SystemExit) as caught:
        main(argv.split())
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: hive-pg {command}".rstrip() + " [options]")


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

    monkeypatch.setattr(pg, "start", fail)
    assert hive("start") == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, lines[0], lines[-1]) == ("", "error: what: why", "hint: hive-pg start")
    assert lines[1:-1] == [f"    {n}" for n in range(10, 30)]


LEFT = "; give the same command again"


@pytest.mark.parametrize(
    ("argv", "function", "worked", "left"),
    [
        ("start", "start", True, LEFT),
        ("start", "start", False, "; nothing was done"),
        ("init", "set_up", False, "; nothing was done"),
        # It may have stopped others.
        ("stop --all", "find_homes", False, LEFT),
        ("restore x", "restore", False, "; nothing was done"),
        ("restore x", "restore", True, ""),  # which has said it
        ("status", "read_status", False, ""),
        ("backup", "back_up", False, ""),
        ("rotate", "rotate", True, LEFT),
        ("destroy", "destroy", True, LEFT),
        ("push", "push", True, f"{LEFT}: the copy is there whole, or not at all"),
    ],
)
def test_main_interrupted(monkeypatch, capsys, hive, workspace, argv, function, worked, left):
    """Ctrl-C ends with 130 and one line: what is left of a change, and how to go on."""

    def interrupt(workspace, *_, **__):
        workspace.worked = worked
        raise KeyboardInterrupt

    monkeypatch.setattr(pg, function, interrupt)
    monkeypatch.setattr(sys, "stdin", io.StringIO("postgresql://ann:pw@db.test/prod\n"))
    assert hive(*argv.split()) == 130
    assert capsys.readouterr().err == f"warning: interrupted{left}\n"


def test_main_interrupted_rotation(monkeypatch, capsys, hive):
    """Only one that has a new password under way is to be finished."""

    def interrupt(workspace):
        with workspace.lock():
            pg.Workspace(workspace.directory).remember(next_password="new")
            raise KeyboardInterrupt

    monkeypatch.setattr(pg, "rotate", interrupt)
    assert hive("rotate") == 130
    assert "interrupted; hive-pg start finishes what was begun" in capsys.readouterr().err


def test_main_interrupted_early(monkeypatch, capsys):
    """So it is before there is a command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
    monkeypatch.setattr(pg, "split_argv", lambda *_: signal.raise_signal(signal.SIGINT))
    assert main(["start"]) == 130
    assert capsys.readouterr().err == "warning: interrupted\n"


@pytest.mark.parametrize("number", ENDS, ids=lambda n: n.name)
def test_main_terminated(monkeypatch, hive, number):
    """A signal to end ends what runs as Ctrl-C does; the code is 128 and its number."""
    signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr(pg, "start", lambda *_, **__: signal.raise_signal(number))
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

    monkeypatch.setattr(pg, "start", fail)
    assert hive("start") == 1
    assert capsys.readouterr().err == "error: /x: Permission denied\n"


@pytest.mark.parametrize("argv", ["url", "--version", "--help", "-v --version", "completion zsh"])
@pytest.mark.parametrize("full", [True, False], ids=["full", "closed"])
def test_main_stdout_that_takes_nothing(monkeypatch, capsys, hive, argv, full):
    """A result that cannot be written is an error with exit code 1; Python has nothing to add."""
    with contextlib.suppress(OSError), open("/dev/full", "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout if full else None)
        assert hive(*argv.split()) == 1
    why = "stdout: No space left on device" if full else "there is no stdout"
    assert capsys.readouterr().err.endswith(f"error: {why}\n")


def test_main_closed_stdout_and_a_missing_directory(monkeypatch, capsys, hive):
    """An error of the system is said also where nothing can be printed but errors."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="/nowhere") as refused:
        os.chdir("/nowhere")
    assert hive("-C", "/nowhere", "status") == 1
    assert capsys.readouterr().err == f"error: /nowhere: {refused.value.strerror}\n"


def test_main_broken_pipe(monkeypatch, hive):
    """If the reader of stdout has gone, that is exit 1 without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with contextlib.suppress(OSError), os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert hive("url") == 1


@pytest.mark.parametrize(("code", "status"), [(0, 0), (130, 130), (0xC000013A, -0x3FFFFEC6)])
def test_run_program(monkeypatch, code, status):
    """The process ends with the exit code, also with one of Windows that C takes for negative."""
    ended = []
    monkeypatch.setattr(pg, "main", lambda: code)
    monkeypatch.setattr(os, "_exit", ended.append)
    pg.run_program()
    assert ended == [status]


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
    """Running already: exit 0, and it says so; two docker processes, and no other."""
    assert hive("start") == 0
    assert "it was running already" in capsys.readouterr().err
    assert docker.commands == ["docker inspect", "docker exec"]


def test_command_start_tracked(capsys, hive, docker):
    """What has started the database says that git has its password."""
    docker.answers["git"] = ".env\0"
    assert (hive("stop"), hive("start")) == (0, 0)
    said = capsys.readouterr().err
    assert "warning: git tracks .env, and with it the password: git rm --cached .env" in said


def test_command_up(monkeypatch, capsys, hive, docker, tmp_path):
    """`up` starts what is set up, and sets up what is not; another failure stays one."""
    assert hive("up") == 0
    assert hive("up", "-d") == 0
    assert "it was running already" in capsys.readouterr().err
    done = []
    monkeypatch.setattr(pg, "set_up", lambda workspace, *_, **__: done.append(workspace.directory))
    places = [str(tmp_path), str(tmp_path / "new")]
    assert [hive("up", place) for place in places] == [1, 1]  # as one who declines
    assert done == places
    assert hive("start", str(tmp_path)) == 3
    docker.containers[0]["State"]["Status"] = "paused"
    docker.answers["docker exec"] = (1, "is paused")
    assert hive("up") == 3
    assert len(done) == 2


def test_main_elsewhere(capsys, hive, tmp_path):
    """-C is a change of directory, which hints repeat; several are one after the other."""
    (tmp_path / "a b" / "c").mkdir(parents=True)
    assert hive("-C", str(tmp_path), "status", "-C", "a b", "c") == 3
    assert os.getcwd() == str(tmp_path / "a b")
    hint = f"hint: hive-pg -C {tmp_path} -C 'a b' init c\n"
    assert capsys.readouterr().err.endswith(hint)
    with pytest.raises(SystemExit):
        main(["--", "-C", "/"])
    assert os.getcwd() == str(tmp_path / "a b")


def test_command_start_directory(capsys, hive, workspace):
    """A directory in place of a command is `start`."""
    assert hive(str(workspace)) == 0
    assert "PostgreSQL 16.14 + pgvector 0.8.5 on localhost:5532, login" in capsys.readouterr().err


def test_command_stop_twice(capsys, hive):
    """Stopped, then stopped already: both 0."""
    assert (hive("stop"), hive("stop")) == (0, 0)
    err = capsys.readouterr().err
    assert "stopped; the data stays" in err
    assert "it was not running" in err


def test_command_stop_all(capsys, hive, docker, workspace, tmp_path):
    """Each that runs, and is this user's and here; one that fails keeps no other one up."""
    places = [tmp_path / name for name in ("a", "b", "c", "gone", "theirs")]
    for place in (*places[:3], places[4]):
        shutil.copytree(workspace, place)
    (places[1] / ".env").unlink()
    if os.geteuid():
        del places[4]
    else:
        os.chown(places[4], 4321, 4321)
    labels = {"hive-pg.generated-by": "hive-pg"}
    docker.containers = [
        make_container(place.name, place, place.name, labels=labels) for place in places
    ]
    docker.containers[2]["State"]["Status"] = "exited"
    volume = {"Type": "volume", "Name": "pg", "Destination": "/var/lib/postgresql/data"}
    docker.containers[0]["Mounts"] = [volume]
    for place in (*places[:1], *places[2:3], *places[4:]):
        settings = make_settings(url=make_url(), container=place.name, project=place.name)
        pg.Workspace(str(place)).save_env(settings.env)
    assert hive("stop", "--all") == 3
    err = capsys.readouterr().err
    assert f"{places[0]}:\n✓ stopped; the data stays\n{places[1]}:\nerror: not set up" in err
    assert f"hive-pg init {places[1]}\n" in err
    assert [call.argv[-1] for call in docker.calls_of("docker stop")] == ["a"]
    assert docker.calls_of("docker run") == []  # nobody wants to know their sizes


def test_command_stop_all_of_an_adopted_compose_file(capsys, hive, docker, workspace):
    """Its container has no label; the workspace's state knows it."""
    pg.Workspace(str(workspace)).remember()
    assert hive("stop", "--all") == 0
    assert capsys.readouterr().err == f"{workspace}:\n✓ stopped; the data stays\n"


def test_command_stop_all_of_an_attached(capsys, hive, docker, workspace):
    """Where `.env` leads elsewhere, the database here stays as it is: that is no error."""
    opened, url = pg.Workspace(str(workspace)), make_url(host="db.test")
    opened.remember()
    opened.remember(attached=[repr(url)])
    opened.save_env({"HIVE_DATABASE_URL": pg.build_database_url(url)})
    assert hive("stop", "--all") == 0
    assert capsys.readouterr().err == f"{workspace}:\nit stays as it is: .env leads elsewhere\n"
    assert docker.calls_of("docker stop") == []


def test_command_stop_all_of_none(capsys, hive, docker):
    """It says so; a directory beside --all would be misunderstood."""
    docker.containers.clear()
    assert hive("stop", "--all") == 0
    assert capsys.readouterr().err == "none of yours was running\n"
    assert hive("stop", "--all", directory := "app") == 2, directory
    assert "--all takes no directory" in capsys.readouterr().err


@pytest.mark.parametrize(("granted", "grace"), [(300, 300), (5, 60), (-1, 86400)])
def test_command_stop_of_a_patient_container(hive, docker, granted, grace):
    """What the compose file grants beyond a minute is granted."""
    docker.containers[0]["Config"]["StopTimeout"] = granted
    assert hive("stop") == 0
    (call,) = docker.calls_of("docker stop")
    assert call.argv[2:4] == ["-t", str(grace)]


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
def test_command_url(capsys, hive, docker, workspace, argv, out):
    """The URL alone is on stdout, and Docker is not asked."""
    pg.Workspace(str(workspace)).remember()
    assert hive(*argv) == 0
    assert capsys.readouterr() == (out, "")
    assert docker.calls == []


def test_command_url_names_what_it_leaves_out(capsys, hive, workspace):
    """An option that a driver has no word for is named, and the rest is there."""
    pg.Workspace(str(workspace)).remember()
    text = (workspace / ".env").read_text().replace("/hive\n", "/hive?keepalives=0\n")
    (workspace / ".env").write_text(text)
    assert hive("url", "--format", "jdbc") == 0
    out, err = capsys.readouterr()
    assert out == "jdbc:postgresql://localhost:5532/hive?user=ann&password=s3cret\n"
    assert err == "warning: left out of it: keepalives\n"


@pytest.mark.parametrize("command", ["env", "run -- make"])
@pytest.mark.parametrize("theirs", [True, False], ids=["another", "ours"])
def test_command_with_a_url_of_its_own(capsys, hive, docker, workspace, command, theirs):
    """Where `.env` has a DATABASE_URL that leads elsewhere, they say so, and ours wins."""
    pg.Workspace(str(workspace)).remember()
    ours = "postgresql://ann:s3cret@localhost:5532/hive"
    with open(workspace / ".env", "a") as file:
        file.write(f"DATABASE_URL={'sqlite:///x' if theirs else ours}\n")
    docker.answers["make"] = ""
    with contextlib.suppress(Became):
        assert hive(*command.split()) == 0
    out, err = capsys.readouterr()
    said = (
        "warning: .env has another DATABASE_URL; hive-pg run and hive-pg env say postgresql://ann:"
    )
    assert (said in err) is theirs
    assert "s3cret" not in err
    ran = docker.calls[-1].env["DATABASE_URL"] if command != "env" else ours
    assert ran == ours
    assert command != "env" or f"export DATABASE_URL={ours}\n" in out


@pytest.fixture
def below(hive, workspace, monkeypatch):
    """Go into a subdirectory of the workspace."""
    pg.Workspace(str(workspace)).remember()
    (workspace / "src").mkdir()
    monkeypatch.chdir(workspace / "src")
    return workspace


def test_command_below(capsys, hive, below, docker):
    """The workspace that a subdirectory is in is found, and named, also in hints; not with DIR."""
    assert hive("url") == 0
    out, err = capsys.readouterr()
    assert out == "postgresql+psycopg://ann:s3cret@localhost:5532/hive\n"
    assert err == f"the workspace is {below}\n"
    docker.containers[0]["State"]["Status"] = "exited"
    docker.answers["docker exec"] = (1, "is not running")
    assert hive("status", "-q") == 3
    assert capsys.readouterr().err == ""
    assert hive("status") == 3
    assert capsys.readouterr().err.endswith(f"hint: hive-pg start {below}\n")
    assert hive("status", str(below / "src")) == 3
    assert f"there is no {below}/src/.env" in capsys.readouterr().err


def test_command_below_that_destroys(monkeypatch, capsys, hive, below, done):
    """It asks with the path of the workspace."""
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("src\n"))
    assert hive("destroy", "--data") == 1
    asked = f"{below}: this deletes the data. Type w to go on: "
    assert asked in capsys.readouterr().err
    assert done == []


def test_command_destroy_of_nothing(monkeypatch, capsys, tmp_path):
    """Where nothing is set up, it says so, and asks for no name."""
    monkeypatch.setattr(pg, "is_interactive", lambda: True)
    assert main(["destroy", "--data", str(tmp_path)]) == 3
    missing = tmp_path / ".env"
    assert capsys.readouterr().err.startswith(f"error: not set up: there is no {missing}\n")


@pytest.mark.parametrize(
    ("argv", "answer", "made"),
    [
        ("init", None, False),
        ("init", "\n", False),
        ("init", "y\ny\n", True),
        ("init --yes", None, True),
        ("init ../src", None, True),
    ],
    ids=["nobody", "no", "yes", "--yes", "DIR"],
)
def test_command_init_below(monkeypatch, capsys, hive, below, argv, answer, made):
    """`init` in a subdirectory of a workspace asks; where nobody answers, it says so, and stops."""
    monkeypatch.setattr(pg, "is_interactive", lambda: answer is not None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert hive(*argv.split(), "--no-start") == int(not made)
    assert (below / "src" / ".env").exists() is made
    err = capsys.readouterr().err
    question = f"{below}/src: this is in the workspace {below}. Set up another one?"
    assert (question in err) == (argv == "init")
    assert (f"nobody is there to answer: {question}\nhint: the same with --yes" in err) == (
        argv == "init" and answer is None
    )


@pytest.mark.parametrize("command", ["url", "env"])
@pytest.mark.parametrize(
    ("place", "warns"),
    [("", True), ("..", True), (".", False), ("../gone", False)],
    ids=["without state", "a copy", "another device number", "moved to another disk"],
)
def test_command_of_a_copied_env(capsys, hive, workspace, command, place, warns):
    """Where `.env` may have come from another workspace, they say that it leads there."""
    if place:
        known = {"directory": os.path.normpath(workspace / place), "inode": "1:2"}
        (workspace / ".hive-pg.json").write_text(json.dumps(known))
    assert hive(command) == 0
    out, err = capsys.readouterr()
    assert "ann:s3cret@localhost:5532/hive" in out
    said = "warning: .env may be a copy, and lead to another workspace's database"
    assert err.startswith(said) is warns


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
    assert "stopped (exit code 0)" in out
    assert err == "hint: hive-pg start\n"


@pytest.mark.parametrize("command", ["status", "check"])
def test_command_status_without_data(capsys, hive, docker, workspace, command):
    """Where the data of a stopped container is gone, `start` alone is no remedy."""
    docker.containers[0]["State"]["Status"] = "exited"
    docker.answers["docker exec"] = (1, "is not running")
    shutil.rmtree(workspace / "data" / "postgres")
    assert hive(command) == 3
    said = "".join(capsys.readouterr())
    assert "put the data back, or mount it: hive-pg start" in said


@pytest.mark.parametrize("command", ["status", "check"])
def test_command_status_whose_data_was_deleted(capsys, hive, workspace, command):
    """A server that still runs has some of it open, and cannot last: that is said."""
    shutil.rmtree(workspace / "data" / "postgres")
    assert hive(command) == 5
    said = "".join(capsys.readouterr())
    assert "hive-pg stop; then hive-pg init makes an empty one, after a yes" in said
    assert hive("stop") == 0
    missing = f"{workspace / 'data' / 'postgres'}/pgdata is missing"
    assert missing in capsys.readouterr().err


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
    pg.Workspace(name).save_env(make_settings(container="c").env)
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


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (None, 130)])
def test_command_logs(monkeypatch, capsys, hive, docker, code, expected, terminal):
    """Both streams come on stdout, harmless to a terminal; Ctrl-C ends it without a word."""
    monkeypatch.setattr(pg, "is_terminal", lambda stream: stream is sys.stdout and terminal)
    said = "FATAL:  evil\x1b[31m\n", "out\n"
    docker.answers["docker logs"] = KeyboardInterrupt() if code is None else (code, *said)
    assert hive("logs", "-f") == expected
    out, err = capsys.readouterr()
    evil = "evil\\x1b[31m" if terminal else "evil\x1b[31m"
    assert out == ("\n" * terminal if code is None else f"FATAL:  {evil}\nout\n")
    assert err == ("error: cannot read the logs\n    out\n" if code else "")


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
    """A CMD that is not there, or not to be run, is an error with its name, and a shell's code."""
    docker.answers["nope"] = FileNotFoundError(2, "No such file or directory", "nope")
    docker.answers["/etc"] = PermissionError(13, "Permission denied", "/etc")
    assert hive("run", "--", "nope") == 127
    assert "error: cannot run nope: No such file" in capsys.readouterr().err
    assert hive("run", "--", "/etc") == 126


@pytest.fixture
def anew(monkeypatch, hive, docker, tmp_path):
    """Return a function that runs `init` in a new directory, where nothing is unusual."""
    (tmp_path / "new").mkdir()
    docker.containers.clear()
    monkeypatch.chdir(tmp_path / "new")
    monkeypatch.setattr(pg, "name_user", lambda _: "")
    return lambda *argv: hive("init", *argv)


def test_command_init_new(capsys, docker, anew):
    """As the README shows it, after its question; what was done is on stderr."""
    there = lambda: "\n".join(pg.IGNORED) if Path(".gitignore").exists() else (1, "")  # noqa: E731
    docker.answers["git"] = lambda call: there() if "check-ignore" in call.argv else ""
    readme = Path(__file__).parents[2] / "README.md"
    told = readme.read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    assert anew() == 0
    out, err = capsys.readouterr()
    differs = r"[0-9]+(\.[0-9]+)+|(?<=//)\w+"  # versions, seconds, the user
    said, told = (re.sub(differs, "_", text).splitlines() for text in (err + out, told))
    assert (said, err.count("\n")) == (told[2:], 3)
    password = pg.CredentialService(".").read_settings().url.password
    assert password not in out + err


@pytest.mark.parametrize(("options", "lines"), [((), 1), (("-q",), 0)], ids=["usual", "quiet"])
def test_command_init_again(capsys, anew, options, lines):
    """A second one is one line; where it is quiet, none."""
    assert anew("-q") == 0
    assert capsys.readouterr() == ("", "")
    assert anew(*options) == 0
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.count("login verified")) == ("", lines, lines)


def test_command_init_after_a_failure(capsys, docker, anew):
    """Where the first one came to no login, the next one shows the way to it."""
    docker.answers["docker compose up"] = (1, "boom")
    assert anew() != 0
    docker.answers["docker compose up"] = docker.up
    assert anew() == 0
    out, err = capsys.readouterr()
    assert "hive-pg psql" in out
    assert "as it is" not in err


def test_command_init_of_a_compose_file(capsys, docker, anew):
    """It names the file that it found, and the service."""
    Path("compose.yaml").write_text("services: {}\n")
    assert anew() == 0
    err = capsys.readouterr().err
    assert " .env and .gitignore written\n" in err
    assert " compose.yaml stays as it is; the database is service postgres\n" in err
    assert anew() == 0
    assert "compose.yaml" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("info", "plugin", "said"),
    [
        ("ID|/d|host|Debian|[]|default|28.1.1|v2.38.2\n", "", "Docker 28.1.1, Compose 2.38.2"),
        (
            "ID|/d|host|Debian|[]|default|20.10.24+dfsg1|2.26.1-4\n",
            "",
            "Docker 20.10.24, Compose 2.26.1",
        ),
        ("ID|/d|host|Debian|[]|default|28.1.1|\n", "2.26.1\n", "Docker 28.1.1, Compose 2.26.1"),
    ],
    ids=["v", "suffix", "asked"],
)
def test_command_init_versions(capsys, docker, anew, info, plugin, said):
    """They come with the engine's identity; where they do not, Compose is asked."""
    docker.answers["docker info"], docker.answers["docker compose version"] = info, plugin
    assert anew() == 0
    assert f" {said}\n" in capsys.readouterr().err
    assert bool(docker.calls_of("docker compose version")) is bool(plugin)


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


@pytest.fixture
def in_ascii(monkeypatch, hive, workspace):
    """Return a function that runs a command whose stdout carries no letter of the password."""
    pg.Workspace(str(workspace)).save_env(pg.build_environment(make_url(password="pé😀")))

    def run(argv):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stdout)
        return hive(*argv.split()), stdout.buffer.getvalue().decode()

    return run


def test_command_env_json_in_ascii(in_ascii):
    """JSON is JSON, whatever the letters."""
    code, out = in_ascii("env --json")
    assert (code, json.loads(out)["PGPASSWORD"]) == (0, "pé😀")


@pytest.mark.parametrize("argv", ["env", "env --format dotenv", "url --format dotnet"])
def test_command_env_in_ascii(capsys, in_ascii, argv):
    """What cannot be said there is an error, and never another password."""
    assert in_ascii(argv) == (1, "")
    said = capsys.readouterr().err
    assert said.endswith("error: stdout is ascii: set PYTHONIOENCODING=utf-8\n")


def test_command_url_in_ascii(in_ascii):
    """A URL has no other letters."""
    code, out = in_ascii("url")
    assert (code, ":p%C3%A9%F0%9F%98%80@" in out) == (0, True)


# -- env -----------------------------------------------------------------------------------------


def test_command_env_formats(hive, docker, workspace, capsys):
    """Shell, dotenv and JSON say the same; Docker is not asked."""
    url = make_url(password="a b'c")
    values = pg.build_environment(url)
    env = {key: values[key] for key in (pg.URL_KEY, pg.USER_KEY, pg.DB_KEY, pg.PORT_KEY)}
    env.update(HIVE_POSTGRES_CONTAINER="c", COMPOSE_PROJECT_NAME="p")
    (workspace / ".env").write_text("".join(f"{key}={value}\n" for key, value in env.items()))
    expected = pg.build_client_environment(url)
    assert hive("env") == 0
    unset, *words = (shlex.split(line) for line in capsys.readouterr().out.splitlines())
    assert (unset[0], {*unset[1:]}) == ("unset", pg.LEADING_VARIABLES)
    assert {word for word, _ in words} == {"export"}
    assert dict(pair.split("=", 1) for _, pair in words) == expected
    assert hive("env", "--json") == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert hive("env", "--format", "dotenv") == 0
    items = pg.parse_env(capsys.readouterr().out, {})
    assert {item.key: item.value for item in items} == expected
    assert hive("env", "--format", "powershell") == 0
    remove, *lines = capsys.readouterr().out.splitlines()
    assert {*re.findall(r"Env:(\w+)", remove)} == pg.LEADING_VARIABLES
    found = dict(re.fullmatch(r"\$env:(\w+) = '(.*)'", line).groups() for line in lines)
    assert {key: value.replace("''", "'") for key, value in found.items()} == expected
    assert docker.calls == []


def test_command_env_unsets_nothing_that_the_url_says(hive, workspace, capsys):
    """A variable is set or unset, not both."""
    text = (workspace / ".env").read_text().replace("/hive\n", "/hive?sslmode=prefer\n")
    (workspace / ".env").write_text(text)
    assert hive("env") == 0
    unset, *lines = capsys.readouterr().out.splitlines()
    assert "export PGSSLMODE=prefer" in lines
    assert {*unset.split()} == {"unset", *pg.LEADING_VARIABLES} - {"PGSSLMODE"}


def test_command_env_dotenv_that_no_spelling_carries(hive, workspace, capsys):
    """A value that the readers of `.env` would not read alike is an error, not a guess."""
    text = (workspace / ".env").read_text().replace("s3cret", "s%27%60%24")
    (workspace / ".env").write_text(re.sub("(?m)^POSTGRES_PASSWORD.*\n", "", text))
    assert hive("env", "--format", "dotenv") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no spelling in .env carries PGPASSWORD to Compose" in err


@pytest.mark.parametrize("command", ["env", "url"])
def test_command_not_set_up(hive, tmp_path, capsys, command):
    """Exit 3, and `eval` gets nothing."""
    assert hive(command, str(tmp_path)) == 3
    assert capsys.readouterr().out == ""


# -- wait, list ----------------------------------------------------------------------------------


def test_command_wait(hive, docker, capsys):
    """Nothing on stdout; two docker processes."""
    assert hive("wait") == 0
    assert docker.commands == ["docker inspect", "docker exec"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "login verified" in err


def test_command_list(hive, docker, capsys):
    """A table, or one object; without any database a word on stderr, or an empty list."""
    label = docker.containers[0]["Config"]["Labels"]
    assert hive("list") == 0
    assert capsys.readouterr() == ("", "hive-pg has no database on this engine\n")
    assert hive("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"databases": []}
    label[pg.WORKSPACE_LABEL] = "1a"
    assert hive("list") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-2] == "hive-postgres"
    assert hive("list", "--json") == 0
    (database,) = json.loads(capsys.readouterr().out)["databases"]
    assert (database["container"], database["host_port"]) == ("hive-postgres", 5532)


def test_command_without_docker(hive, docker, capsys):
    """Exit 4, nothing on stdout, and what is missing."""
    docker.answers["docker ps"] = FileNotFoundError(2, "No such file or directory", "docker")
    assert hive("list", "--json") == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "Docker is not installed" in err


# -- stats ---------------------------------------------------------------------------------------


SAMPLE = {"container": "c", "tables": [], "vector_indexes": []}


@pytest.fixture
def samples(monkeypatch):
    """Give samples that need no server; the second sleep is interrupted, as by Ctrl-C."""
    sleeps = []

    def sleep(period):
        sleeps.append(period)
        if len(sleeps) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(pg, "read_statistics", lambda workspace, before=None: SAMPLE)
    monkeypatch.setattr(pg, "format_statistics", lambda sample, width: "the table")
    monkeypatch.setattr(pg.time, "sleep", sleep)
    return sleeps


@pytest.mark.parametrize(
    ("argv", "code", "out", "sleeps"),
    [
        ("", 0, "the table\n", []),
        ("--json", 0, f"{json.dumps(SAMPLE, indent=2)}\n", []),
        ("--watch 2", 130, "the table\n" * 2, [2, 2]),
        ("--watch 2 --json", 130, f"{json.dumps(SAMPLE)}\n" * 2, [2, 2]),
    ],
    ids=["once", "JSON", "watch", "watch JSON"],
)
def test_command_stats(hive, samples, capsys, argv, code, out, sleeps):
    """Once, or every S seconds until Ctrl-C, which ends it without a word."""
    assert hive("stats", *argv.split()) == code
    assert capsys.readouterr() == (out, "")
    assert samples == sleeps


def test_command_stats_on_a_terminal(monkeypatch, hive, samples, capsys):
    """A sample replaces the other on the screen, and does not scroll; the prompt has its line."""
    monkeypatch.setattr(pg, "can_draw", lambda stream: True)
    monkeypatch.setattr(pg, "format_statistics", lambda sample, width: "the\ntable")
    monkeypatch.setenv("LINES", "2")
    assert hive("stats", "--watch", "2") == 130
    assert capsys.readouterr().out == "\x1b[H\x1b[Jthe\n" * 2 + "\n"


def test_command_stats_interrupted(monkeypatch, hive, capsys):
    """Ctrl-C in the only sample is as everywhere."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pg, "read_statistics", interrupt)
    assert hive("stats") == 130
    assert capsys.readouterr().err == "warning: interrupted\n"


# -- psql, backup, restore, rotate, destroy ------------------------------------------------------


@pytest.mark.parametrize("words", [["select 1"], [".", "select 1"], ["select 1", "-At"]])
def test_command_psql_of_a_statement(capsys, hive, docker, words):
    """It is no workspace, and is not to be made one; psql takes it with -c."""
    assert hive("psql", *words) == 2
    said = f"error: 'select 1' is no directory: did you mean -c {pg.quote_word('select 1')}?\n"
    assert capsys.readouterr() == ("", said)
    assert docker.commands == []


@pytest.mark.parametrize("words", [["out.dump"], [".", "out.dump"]])
def test_command_backup_of_a_file(capsys, hive, docker, words):
    """It is no workspace; backup takes it with -o."""
    assert hive("backup", *words) == 2
    said = "error: 'out.dump' is no directory: did you mean -o out.dump?\n"
    assert capsys.readouterr() == ("", said)
    assert docker.commands == []


def test_command_psql_of_a_directory_with_a_blank(monkeypatch, hive, workspace):
    """It is a workspace like any other."""
    monkeypatch.setattr(pg.Server, "run_psql", lambda self, argv: 7)
    monkeypatch.chdir(workspace.parent)  # on Windows, where one is keeps its name
    workspace.rename(workspace.with_name("a b"))
    assert hive("psql", str(workspace.with_name("a b"))) == 7


def test_command_psql(monkeypatch, hive, docker):
    """Its exit code is psql's; where no container runs, it is 3."""
    monkeypatch.setattr(pg.Server, "run_psql", lambda self, argv: len(argv))
    assert hive("psql", "--", "-c", "select 1") == 2
    docker.containers[0]["State"]["Status"] = "exited"
    assert hive("psql") == 3


def test_command_backup(monkeypatch, hive, capsys, tmp_path):
    """The path is the result; a dump for stdout is not followed by one."""
    (tmp_path / "x.dump").write_bytes(b"x" * 2048)
    asked = []

    def back_up(workspace, path):
        asked.append(path)
        return path or str(tmp_path / "x.dump")

    monkeypatch.setattr(pg, "back_up", back_up)
    assert hive("backup") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/x.dump\n"
    assert "2.0 kB, read back to its end" in err
    assert hive("backup", "-o", "-") == 0
    assert capsys.readouterr() == ("", "")
    assert asked == ["", "-"]
    monkeypatch.setattr(pg, "is_terminal", lambda stream: True)
    assert hive("backup", "-o", "-") == 1
    assert "hint: hive-pg backup -o FILE" in capsys.readouterr().err


ACTIONS = {  # command line: the function that it ends with, its keyword arguments
    "restore x.sql": ("_run_alone", {"source": ""}),
    "restore --drop-old": ("drop_databases", {}),
    "reset": ("_run_alone", {"extends": True}),
    "destroy --data": ("destroy", {"data": True, "backup": True, "purge": False}),
    "destroy --data --no-backup": ("destroy", {"data": True, "backup": False, "purge": False}),
    "destroy --purge": ("destroy", {"data": False, "backup": True, "purge": True}),
    "destroy": ("destroy", {"data": False, "backup": True, "purge": False}),
    "rotate": ("rotate", {}),
}


@pytest.fixture
def done(monkeypatch, workspace):
    """Give what was done; nothing is."""
    done = []
    for name in {name for name, _ in ACTIONS.values()}:
        monkeypatch.setattr(pg, name, lambda *_, name=name, **named: done.append((name, named)))
    monkeypatch.setattr(pg, "find_databases", lambda *_: {"hive_before"})
    (workspace / "x.sql").write_text("select 1;")
    return done


@pytest.mark.parametrize("answer", ["yes", "no", "--yes", "nobody"])
@pytest.mark.parametrize("argv", ACTIONS)
def test_command_that_asks(monkeypatch, hive, done, capsys, workspace, argv, answer):
    """What loses something is done if a person wants it, or has said --yes, and not otherwise.

    Enter alone is a no. The question says where it is done.
    """
    named = "--data" in argv or "--purge" in argv
    asks = argv.startswith("re") or named
    said = ("w\n" if named else "y\n") if answer == "yes" else "\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    monkeypatch.setattr(pg, "is_interactive", lambda: answer in ("yes", "no"))
    words = argv.split() + (["--yes"] if answer == "--yes" and argv != "rotate" else [])
    refused = asks and answer in ("no", "nobody")
    assert hive(*words) == int(refused)
    assert done[:1] == ([] if refused else [ACTIONS[argv]])
    err = capsys.readouterr().err
    assert ("nothing was done" in err) == refused
    assert ("--yes does not ask" in err) == (refused and answer == "nobody")
    assert (f"{workspace}: " in err) == (asks and answer != "--yes")
    assert ("that is not w: nothing" in err) == (refused and answer == "no" and named)


@pytest.mark.parametrize("words", ["", "--no-owner"])
def test_command_restore_no_owner(monkeypatch, hive, workspace, words):
    """The dump keeps its owners, unless they are not wanted."""
    tasks = []
    monkeypatch.setattr(pg, "_run_alone", lambda task, **_: tasks.append(task.owner))
    (workspace / "x.dump").write_bytes(b"PGDMP")
    assert hive("restore", "--yes", "x.dump", *words.split()) == 0
    assert tasks == [not words]


def test_command_restore_drop_old_without_any(monkeypatch, hive, done, capsys):
    """Nothing to lose is nothing to ask for; what an interrupted restore has left goes."""
    monkeypatch.setattr(pg, "find_databases", lambda *_: set())
    assert hive("restore", "--drop-old") == 0
    assert done == [("drop_databases", {})] * 2
    assert "dropped: nothing, as nothing was kept" in capsys.readouterr().err


# -- what all have in common ---------------------------------------------------------------------


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
    assert "+ docker compose up --detach --scale postgres=1 postgres\n" in err
    assert "s3cret" not in err
