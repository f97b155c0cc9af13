"""The one place that starts processes, with real ones: these tests are marked `processes`."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from hive_pg import (
    Console,
    DirectoryLock,
    Docker,
    DockerNotAvailableError,
    Runner,
    WorkspaceError,
)

pytestmark = pytest.mark.processes


@pytest.fixture
def runner():
    """Return the real runner."""
    return Runner(Console())


def sh(script):
    """Return the argv of a shell script."""
    return ["sh", "-c", script]


def is_alive(pid):
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition):
    """Whether something becomes true within five seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_runner_result(runner):
    """Exit code, stdout and stderr come back apart; what is not UTF-8 is replaced."""
    with runner.start(sh(r"printf 'a\377b'; printf 'é\n' >&2; exit 3")) as process:
        result = process.finish(timeout=10)
    assert (result.returncode, result.stdout, result.stderr) == (3, "a\ufffdb", "é\n")


def test_process_that_has_ended_unseen(monkeypatch, runner):
    """On macOS no signal may go to a group that is left only because nobody waited for it."""

    def forbid(pid, number):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", forbid)
    with runner.start(sh("exit 3")) as process:
        os.waitid(os.P_PID, process.process.pid, os.WEXITED | os.WNOWAIT)
    assert process.process.returncode == 3


@pytest.mark.parametrize(
    ("given", "text"), [(False, ""), (True, "line\n")], ids=["empty", "a password"]
)
def test_runner_stdin(runner, given, text):
    """Stdin is not ours but empty, so that nothing can wait for an answer, unless it is given."""
    reading, writing = os.pipe()
    ours = os.dup(0)
    os.write(writing, b"what a person types\n")
    os.close(writing)
    os.dup2(reading, 0)
    try:
        with runner.start(["cat"], stdin=given) as process:
            assert process.finish(timeout=10, stdin=text).stdout == text
    finally:
        os.dup2(ours, 0)
        os.close(ours)
        os.close(reading)


def test_runner_environment(runner, tmp_path):
    """Environment and directory are those that were asked for."""
    environment = {"PATH": os.environ["PATH"], "X": "y"}
    with runner.start(sh("pwd; echo $X"), env=environment, cwd=str(tmp_path)) as process:
        assert process.finish(timeout=10).stdout == f"{tmp_path}\ny\n"


def test_runner_own_session(runner):
    """A program has a session of its own, so that Ctrl-C reaches hive-pg first."""
    argv = [sys.executable, "-c", "import os; print(os.getsid(0))"]
    with runner.start(argv) as process:
        assert int(process.finish(timeout=10).stdout) == process.process.pid != os.getsid(0)


def test_runner_progress(runner, capfd):
    """Progress goes to stderr as it comes, and is not captured; quiet, it is."""
    argv = sh("echo pulled")
    with runner.start(argv, progress=True) as process:
        assert process.finish(timeout=10).stdout == ""
    assert capfd.readouterr() == ("", "pulled\n")
    with Runner(Console(quiet=True)).start(argv, progress=True) as process:
        assert process.finish(timeout=10).stdout == "pulled\n"
    assert capfd.readouterr() == ("", "")


def run_out_of_time(runner, argv, ready):
    """Give a program a fraction of a second, once it is ready."""
    with runner.start(argv) as process:
        assert eventually(ready)
        process.finish(timeout=0.1)


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["polite", "stubborn"])
def test_runner_timeout(runner, tmp_path, trap):
    """On a timeout the program and all that it started are ended, also those that ignore TERM."""
    pids = tmp_path / "pids"
    argv = sh(f"{trap}(sleep 60; echo) & echo $! $$ >{pids}; while :; do sleep 60; done")
    with pytest.raises(DockerNotAvailableError, match="`sh -c` did not answer within 0 s"):
        run_out_of_time(runner, argv, lambda: pids.exists() and pids.read_text().endswith("\n"))
    assert eventually(lambda: not any(map(is_alive, map(int, pids.read_text().split()))))


def test_runner_timeout_of_an_ended_program(runner, tmp_path):
    """What a program left behind, and still holds its streams, is ended with it."""
    pid = tmp_path / "pid"
    argv = sh(f"sleep 77 & echo $! >{pid}; exit")
    with pytest.raises(DockerNotAvailableError, match="did not answer"):
        run_out_of_time(runner, argv, lambda: pid.exists() and pid.read_text().endswith("\n"))
    assert eventually(lambda: not is_alive(int(pid.read_text())))


def test_runner_timeout_escaped(runner, tmp_path):
    """One that left the group cannot be ended, but neither can it hold hive-pg up."""
    pid = tmp_path / "pid"
    code = "import os, sys, time; os.setsid(); print(os.getpid(), file=open(sys.argv[1], 'w'));"
    argv = sh(f'{sys.executable} -c "{code} time.sleep(60)" {pid} & wait')
    with pytest.raises(DockerNotAvailableError, match="did not answer"):
        run_out_of_time(runner, argv, lambda: pid.exists() and pid.read_text().endswith("\n"))
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_runner_exception(runner):
    """Any exception ends the program, Ctrl-C included."""
    with pytest.raises(KeyboardInterrupt), runner.start(sh("sleep 60")) as process:
        raise KeyboardInterrupt
    assert process.process.returncode == -signal.SIGTERM


def test_runner_exception_twice(monkeypatch, runner, tmp_path):
    """A second Ctrl-C leaves nobody behind who takes his time."""
    ready = tmp_path / "ready"

    def interrupt(process, timeout=None):
        monkeypatch.undo()
        raise KeyboardInterrupt

    process = runner.start(sh(f"trap '' TERM; >{ready}; while :; do sleep 1; done"))
    assert eventually(ready.exists)
    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        process.__exit__()
    assert process.process.wait(timeout=5) == -signal.SIGKILL


def is_locked(directory):
    """Whether somebody holds the lock on a directory."""
    try:
        with DirectoryLock(str(directory), Console(quiet=True), 0):
            return False
    except WorkspaceError:
        return True


def test_runner_lock_of_a_killed_process(runner, tmp_path):
    """What hive-pg has started holds its lock as long as it lives, and no longer."""
    lock = DirectoryLock(str(tmp_path), Console(), 0)
    lock.__enter__()
    with runner.start(["sleep", "60"]):
        os.close(lock.descriptor)  # as the kernel does it
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_runner_lock_released(runner, tmp_path):
    """A lock that is released is free, whatever has outlived it."""
    with contextlib.ExitStack() as stack:
        with DirectoryLock(str(tmp_path), Console(), 0):
            stack.enter_context(runner.start(["sleep", "60"]))
        assert not is_locked(tmp_path)


def test_runner_attach_without_lock(runner, tmp_path):
    """A program on our own streams has no part in the lock."""
    lock, pid = DirectoryLock(str(tmp_path), Console(), 0), tmp_path / "pid"
    lock.__enter__()
    assert runner.attach(sh(f"sleep 60 & echo $! >{pid}")) == 0
    os.close(lock.descriptor)
    assert not is_locked(tmp_path)
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_runner_trace(capsys):
    """With -v the command is shown before it runs."""
    with Runner(Console(verbose=True)).start(["true", "a b"]) as process:
        process.finish(timeout=10)
    assert capsys.readouterr().err == "+ true 'a b'\n"


def test_docker_missing_executable(runner):
    """A program that is missing is Docker missing."""
    with pytest.raises(DockerNotAvailableError, match="cannot run /hive-pg-nope: No such file"):
        Docker(runner).run(["/hive-pg-nope"])


def test_docker_missing_directory(runner, tmp_path):
    """A directory that is missing is not Docker missing."""
    with pytest.raises(WorkspaceError, match="cannot enter"):
        Docker(runner).run(["true"], cwd=str(tmp_path / "gone"))


def test_runner_attach(runner, capfd):
    """An attached program has our streams, and its exit code is returned."""
    assert runner.attach(sh("echo out; echo err >&2; exit 7")) == 7
    assert capfd.readouterr() == ("out\n", "err\n")


def test_runner_attach_interrupted(monkeypatch, runner):
    """Ctrl-C reaches the attached program too, which is waited for; the code is 130."""

    def interrupt(process, timeout=None):
        monkeypatch.undo()
        process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    assert runner.attach(["sleep", "60"]) == 130


def test_runner_replace():
    """The process becomes the other program: the same pid, its environment, its exit code."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import hive_pg as pg;"
        "argv, env = ['sh', '-c', 'echo $$ $X; exit 9'], {**os.environ, 'X': 'y'};"
        "print(os.getpid(), flush=True); pg.Runner(pg.Console()).replace(argv, env)"
    )
    root = os.path.dirname(os.path.abspath(sys.modules["hive_pg"].__file__))
    done = subprocess.run(
        [sys.executable, "-c", code, root], stdout=subprocess.PIPE, text=True, check=False
    )
    before, after = done.stdout.splitlines()
    assert (done.returncode, after) == (9, f"{before} y")
