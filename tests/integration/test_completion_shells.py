"""What the real shells offer when TAB is pressed; bash may be the 3.2 of macOS."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import termios
import threading
from fcntl import ioctl

import pytest
from laboratory import REPOSITORY, run, unavailable, wait_until

# What stands in place of hive-pg: it shows what it got, and that it was started.
PROGRAM = """\
#!/bin/sh
echo >> "$HOME/started"
for word; do printf '<%s>' "${word%/}"; done
echo ' 'end
"""
TYPED = {
    "a command": ("hive-pg sto\t", "<stop>"),
    "an option": ("hive-pg url --fo\t", "<url><--format>"),
    "its value": ("hive-pg url --format l\t", "<url><--format><libpq>"),
    "its value after =": ("hive-pg url --format=l\t", "<url><--format=libpq>"),
    "no value": ("hive-pg init --port \t5", "<init><--port><5>"),
    "a position": ("hive-pg completion f\t", "<completion><fish>"),
    "an option before the command": ("hive-pg -v statu\t", "<-v><status>"),
    "an option's value before a directory": (
        "hive-pg init --port 5 my\t",
        "<init><--port><5><my dir>",
    ),
    "an option after a directory": ("hive-pg url my\\ dir --fo\t", "<url><my dir><--format>"),
    "an option of an alias": ("hive-pg up --ti\t", "<up><--timeout>"),
    "a workspace of an alias": ("hive-pg down my\t", "<down><my dir>"),
    "no option of another command": ("hive-pg stop --wat\t", "<stop><--wat>"),
    "no second command": ("hive-pg status sto\t", "<status><sto>"),
    "a workspace": ("hive-pg start my\t", "<start><my dir>"),
    "a workspace as written": ("hive-pg start my\\ d\t", "<start><my dir>"),
    "a workspace of a workspace": ("hive-pg start my\\ dir/in\t", "<start><my dir/inner>"),
    "a workspace at home": ("hive-pg start ~/app\t", "<start><HOME/app-of-mine>"),
    "a workspace alone": ("hive-pg app\t", "<app-of-mine>"),
    "a workspace with a command's name": ("hive-pg url stop --fo\t", "<url><stop><--format>"),
    "no file as a workspace": ("hive-pg start a-f\t", "<start><a-f>"),
    "a file": ("hive-pg backup -o a-f\t", "<backup><-o><a-file>"),
    "a file after =": ("hive-pg backup --output=a-f\t", "<backup><--output=a-file>"),
    "a file of a workspace": (
        "hive-pg restore my\\ dir my\\ dir/d\t",
        "<restore><my dir><my dir/dump>",
    ),
    "a file with a pattern's name": ("hive-pg backup -o \\[x\t", "<backup><-o><[x]*>"),
    "a file with an odd name": ("hive-pg backup -o \\ o\\ p\t", "<backup><-o>< o p\\dd>"),
    "a program": ("hive-pg run -- fac\t", "<run><--><factor>"),
    "a program's file": ("hive-pg run my\\ dir -- cat a-f\t", "<run><my dir><--><cat><a-file>"),
    "a program's file, not a command": ("hive-pg run -- start a-f\t", "<run><--><start><a-file>"),
    "a program without run": ("hive-pg app-of-mine -- fac\t", "<app-of-mine><--><factor>"),
    "a file of psql": ("hive-pg psql -- -f a-f\t", "<psql><--><-f><a-file>"),
    "no program after another command": ("hive-pg stop -- fac\t", "<stop><--><fac>"),
    "after another program": ("echo start && hive-pg resta\t", "<restart>"),
    "before another word": ("hive-pg url --fo x\x02\x02\t", "<url><--format><x>"),
    "the copied file": ("./hive_pg.py resta\t", "<restart>"),
    "the copied file elsewhere": ("app-of-mine/start/hive_pg.py resta\t", "<restart>"),
}
# What a shell is started with, and what it is told first.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(cat bash.script)"'),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source <(cat zsh.script)"),
    "zsh from fpath": (
        ["zsh", "-f", "-i"],
        "fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D",
    ),
    "fish": (["fish", "--no-config", "-i"], "source fish.script"),
}
AWKS = (["awk"], ["gawk", "--posix"], ["mawk"], ["original-awk"], ["busybox", "awk"])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a directory to type in, with what there is to complete."""
    directory = tmp_path_factory.mktemp("typist")
    for name in ("my dir/inner", "app-of-mine", "functions", "bin", "app-of-mine/start"):
        (directory / name).mkdir(parents=True)
    for name in ("a-file", "my dir/dump", "[x]*", "xyz", " o p\\dd"):
        (directory / name).touch()
    for name in ("bin/hive-pg", "hive_pg.py", "app-of-mine/start/hive_pg.py"):
        (directory / name).write_text(PROGRAM)
        (directory / name).chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        argv = [sys.executable, REPOSITORY / "hive_pg.py", "completion", shell]
        (directory / f"{shell}.script").write_text(run(argv).stdout)
    shutil.copy(directory / "zsh.script", directory / "functions" / "_hive-pg")
    return directory


def environment(directory):
    """Return what a shell is to know of the world."""
    path = f"{directory}/bin:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(directory), "TERM": "dumb", "LANG": "C.UTF-8"}


def require_shell(name):
    """Skip the test where a shell is missing."""
    if not shutil.which(name):
        unavailable(f"no {name}: apt-get install {name}")


class Terminal:
    """An interactive shell on a pseudo-terminal that is its own: fish wants one."""

    def __init__(self, argv, directory):
        self.screen, (self.ours, theirs) = b"", pty.openpty()
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        own = {"start_new_session": True, "preexec_fn": lambda: ioctl(0, termios.TIOCSCTTY, 0)}
        self.process = subprocess.Popen(
            argv, env=environment(directory), cwd=directory, **streams, **own
        )
        os.close(theirs)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(OSError):  # EIO: the shell has ended
            while block := os.read(self.ours, 65536):
                self.screen += block

    def type(self, keys, expected):
        """Type a line; return what comes until something expected is there."""
        before = len(self.screen)
        os.write(self.ours, keys.encode() + b"\n")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: expected.encode() in self.screen[before:], timeout=60)
        return self.screen[before:].decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def terminal(request, directory):
    """Return a shell that was told of the completion."""
    argv, first = SHELLS[request.param]
    require_shell(argv[0])
    (directory / "started").unlink(missing_ok=True)
    terminal = Terminal(argv, directory)
    try:
        assert "ready" in terminal.type(f"{first}; echo re''ady", "ready")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_completion_of_typed_lines(directory, terminal):
    """TAB completes what can stand there, says nothing else, and starts no hive-pg."""
    wrong = {}
    for what, (keys, expected) in TYPED.items():
        shown = terminal.type(keys, "> end")
        expected = expected.replace("HOME", str(directory))
        if f"{expected} end" not in shown or "awk:" in shown:
            wrong[what] = shown
    assert wrong == {}
    assert len((directory / "started").read_text()) == len(TYPED)


@pytest.mark.parametrize("terminal", ["bash", "zsh"], indirect=True)
def test_completion_lists_what_is_possible(terminal):
    """Words of a kind: commands and directories, or options; fish draws its lists anew and anew."""
    listing = terminal.type("hive-pg st\t\t", "end")
    assert all(command in listing for command in ("start", "stop", "status", "stats"))
    listing = terminal.type("hive-pg logs --t\t\t", "end")
    assert all(option in listing for option in ("--tail", "--timestamps"))
    listing = terminal.type("hive-pg \t\t", "end")
    assert all(word in listing for word in ("destroy", "my", "app-of-mine"))
    assert not any(word in listing for word in ("--version", "a-file", "@", "NAMES", "ROWS"))


def test_completion_lists_in_fish(directory):
    """What fish offers, in full."""
    require_shell("fish")

    def offered(line):
        script = "source fish.script; complete -C $argv[1]"
        argv = ["fish", "--no-config", "-c", script, line]
        result = run(argv, cwd=directory, env=environment(directory))
        assert result.stderr == ""
        return {offer.partition("\t")[0] for offer in result.stdout.splitlines()}

    assert offered("hive-pg st") == {"start", "stop", "status", "stats"}
    everything = offered("hive-pg ")
    assert {"start", "completion", "my dir/", "app-of-mine/"} <= everything
    assert not {"a-file", "--version", "@directory", ""} & everything
    assert offered("hive-pg -") == {"-h", "--help", "--version"}
    assert offered("hive-pg logs -") >= {"-n", "--tail", "-f", "--since"}
    assert offered("hive-pg stop --wat") == offered("hive-pg status sto") == set()
    assert offered("hive-pg env --format ") == {"shell", "powershell", "dotenv"}
    assert offered("hive-pg url --format=l") == {"--format=libpq"}
    assert offered("hive-pg init --port ") == offered("hive-pg stop -- fac") == set()
    assert offered("hive-pg start my\\ d") == {"my dir/"}
    assert offered("hive-pg start a") == {"app-of-mine/"}
    assert offered("hive-pg restore a") >= {"a-file", "app-of-mine/"}


@pytest.mark.parametrize("awk", AWKS, ids=" ".join)
def test_completion_with_each_awk(directory, tmp_path, awk):
    """macOS, Debian, Fedora and Alpine each have another awk; the words are the same."""
    require_shell("bash")
    program = shutil.which(awk[0])
    if not program:
        pytest.skip(f"no {awk[0]}")
    (tmp_path / "awk").write_text(f'#!/bin/sh\nexec {" ".join([program, *awk[1:]])} "$@"\n')
    (tmp_path / "awk").chmod(0o755)
    script = (
        "source bash.script; COMP_LINE=$1 COMP_POINT=${#1}; COMPREPLY=(of before)"
        '; _hive_pg hive-pg "$2"; printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def offered(line, word):
        env = environment(directory)
        env["PATH"] = f"{tmp_path}:{env['PATH']}"
        result = run(["bash", "-c", script, "bash", line, word], cwd=directory, env=env)
        assert result.stderr == ""
        return result.stdout.split()

    assert offered("hive-pg st", "st") == ["start", "stop", "status", "stats"]
    assert offered("hive-pg  -q url  --fo", "--fo") == ["--format"]
    assert offered("hive-pg env --format=", "") == ["shell", "powershell", "dotenv"]
    assert offered("hive-pg init --port ", "") == []
    assert offered("hive-pg start app", "app") == ["app-of-mine"]
    assert offered("hive-pg backup -o my\\ dir/a-f", "a-f") == ["a-file"]
    assert "factor" in offered("hive-pg app-of-mine -- fac", "fac")
