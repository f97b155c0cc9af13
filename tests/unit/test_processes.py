"""The one place that starts processes, with real ones: these tests are marked `processes`."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import hive_pg as pg
from hive_pg import (
    DEVNULL,
    PIPE,
    Console,
    DockerNotAvailableError,
    Lock,
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
    """Whether something becomes true within a minute."""
    deadline = time.monotonic() + 60
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
    ("given", "text"), [(DEVNULL, ""), (PIPE, "line\n")], ids=["empty", "a password"]
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


def test_runner_stdout_elsewhere(runner, capfd):
    """A program may write to a descriptor itself; nothing of that is captured."""
    with runner.start(sh("echo pulled"), stdout=sys.stderr.fileno()) as process:
        assert process.finish(timeout=10).stdout == ""
    assert capfd.readouterr() == ("", "pulled\n")


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
    assert process.process.wait(timeout=60) == -signal.SIGKILL


def lock_in(directory):
    """Return a lock in a directory."""
    return Lock(str(directory / "lock"), Console(quiet=True), 0)


def is_locked(directory):
    """Whether somebody holds the lock in a directory."""
    try:
        with lock_in(directory):
            return False
    except WorkspaceError:
        return True


def test_runner_lock_of_a_killed_process(runner, tmp_path):
    """What hive-pg has started holds its lock as long as it lives, and no longer."""
    lock = lock_in(tmp_path)
    lock.__enter__()
    with runner.start(["sleep", "60"]):
        os.close(lock.descriptor)  # as the kernel does it
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_runner_lock_released(runner, tmp_path):
    """A lock that is released is free, whatever has outlived it."""
    with contextlib.ExitStack() as stack:
        with lock_in(tmp_path):
            stack.enter_context(runner.start(["sleep", "60"]))
        assert not is_locked(tmp_path)


def test_runner_attach_without_lock(runner, tmp_path):
    """A program on our own streams has no part in the lock."""
    lock, pid = lock_in(tmp_path), tmp_path / "pid"
    lock.__enter__()
    assert runner.attach(sh(f"sleep 60 & echo $! >{pid}")) == 0
    os.close(lock.descriptor)
    assert not is_locked(tmp_path)
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_runner_attach_with_lock(runner, tmp_path):
    """One that we wait for keeps it, where hive-pg alone is killed."""
    lock, pid = lock_in(tmp_path), tmp_path / "pid"
    lock.__enter__()
    assert runner.attach(sh(f"sleep 60 & echo $! >{pid}"), waits=True) == 0
    os.close(lock.descriptor)
    assert is_locked(tmp_path)
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_runner_trace(capsys):
    """With -v the command is shown before it runs."""
    with Runner(Console(verbose=True)).start(["true", "a b"]) as process:
        process.finish(timeout=10)
    assert capsys.readouterr().err == "+ true 'a b'\n"


# -- what takes long -----------------------------------------------------------------------------


def test_watch_result(runner, tmp_path):
    """It reads and writes descriptors; its stderr, however much, is read at its end."""
    (tmp_path / "in").write_bytes(b"data")
    script = r"cat; printf 'a\377b\n' >&2; head -c 300000 /dev/zero | tr '\0' x >&2; exit 3"
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as target:
        descriptors = {"stdin": source.fileno(), "stdout": target.fileno()}
        with runner.start(sh(script), **descriptors, long=True) as process:
            result = process.watch(source.fileno(), "read", lambda: None)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "a\ufffdb\n" + "x" * 300_000
    assert (tmp_path / "out").read_text() == "data"
    assert process.process.stderr.closed


def test_watch_last_words(runner):
    """Of more than a MiB of words, the last one is kept."""
    script = "head -c 2000000 /dev/zero | tr '\\0' x >&2; echo end >&2"
    with runner.start(sh(script), long=True) as process:
        said = process.watch(0, "read", lambda: None).stderr
    assert (len(said), said[-5:]) == (1 << 20, "xend\n")


def test_watch_idle(monkeypatch, runner, tmp_path):
    """Where it stands still, somebody looks whether there is hope; where it moves, nobody does."""
    now, moments = [0.0], []

    def give_up():
        raise WorkspaceError("no hope")

    def sleep(seconds):  # six rows come more often than it takes to be impatient, then none
        now[0] += pg.STALL_S * 0.9
        moments.append(now[0])
        if len(moments) <= 6:
            os.write(out.fileno(), b"\n")

    monkeypatch.setattr(pg, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with (
        open(tmp_path / "out", "wb") as out,
        pytest.raises(WorkspaceError, match="no hope"),
        runner.start(["sleep", "60"], stdout=out.fileno(), long=True) as process,
    ):
        process.watch(out.fileno(), "written", give_up)
    assert (tmp_path / "out").stat().st_size == 6
    assert len(moments) == 8
    assert process.process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("size", "said"), [(3 << 20, "3.0 MB, "), (0, ""), (None, "")], ids=["some", "none", "a pipe"]
)
def test_watch_progress(tmp_path, size, said):
    """It says how far it is, as it goes; a pipe has no position."""
    heard, ends = [], iter([None, 0])
    file = os.pipe()[0] if size is None else os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    if size:
        os.lseek(file, size, os.SEEK_SET)
    program = SimpleNamespace(poll=lambda: next(ends), stderr=io.StringIO(), returncode=0)
    console = SimpleNamespace(doing=heard.append, tick=heard.append)
    pg.Process(program, console).watch(file, "dumping it", lambda: None)
    assert heard == ["dumping it", said]
    os.close(file)


@pytest.mark.parametrize("timeout", [9, 0.15])
def test_finish_ticks(monkeypatch, runner, timeout):
    """Whoever is waited for is shown, and what is said to it is said once."""
    heard = []
    monkeypatch.setattr(runner.console, "tick", lambda: heard.append(1))
    with runner.start(sh("read line; sleep 0.3; echo $line; cat"), stdin=pg.PIPE) as process:
        if timeout < 1:
            with pytest.raises(DockerNotAvailableError, match="did not answer within 0 s"):
                process.finish(timeout=timeout, stdin="word\n")
        else:
            assert process.finish(timeout=timeout, stdin="word\n").stdout == "word\n"
    assert heard


def test_finish_after_ctrl_z(tmp_path):
    """While hive-pg is stopped no time goes by, as the other program may have ended meanwhile."""
    code = """import hive_pg
with hive_pg.Runner(hive_pg.Console()).start(["sh", "-c", "sleep 1; echo done"]) as process:
    print("it waits", flush=True)
    print(process.finish(timeout=1.5).stdout)
"""
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(
        argv, cwd=os.path.dirname(pg.__file__), stdout=PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "it waits\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        assert "done" in process.stdout.read()


def test_watch_hope(monkeypatch, runner):
    """While there is hope it goes on, and somebody looks again after the same time."""
    monkeypatch.setattr(pg, "STALL_S", 0.1)
    asked = []

    def hope():
        asked.append(time.monotonic())
        if len(asked) == 3:
            process.process.stdin.close()  # which ends it

    argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with runner.start(argv, stdin=PIPE, long=True) as process:
        result = process.watch(0, "read", hope)
    assert result.returncode == 0
    assert len(asked) >= 3
    assert all(later - first > 0.1 for first, later in zip(asked, asked[1:]))


# -- on our own streams --------------------------------------------------------------------------


def test_runner_attach(runner, capfd):
    """An attached program has our streams, and its exit code is returned."""
    assert runner.attach(sh("echo out; echo err >&2; exit 7")) == 7
    assert capfd.readouterr() == ("out\n", "err\n")


def test_runner_attach_takes_long(runner, capfd):
    """An hour of psql is nothing that hive-pg has waited for."""
    runner.console.doing()
    runner.console._since -= 3600
    runner.attach([sys.executable, "-c", ""])
    runner.console.tick()
    assert capfd.readouterr().err == ""


def test_runner_attach_interrupted(monkeypatch, runner):
    """Ctrl-C reaches the attached program too, which is waited for; the code is 130."""

    def interrupt(process, timeout=None):
        monkeypatch.undo()
        process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    assert runner.attach(["sleep", "60"]) == 130


def test_runner_attach_waits(monkeypatch, runner):
    """The first Ctrl-C is the program's, which ends as it likes; the second one is ours."""
    wait, interrupts = subprocess.Popen.wait, [1, 2, 2]

    def interrupt(process, timeout=None):
        if interrupts.pop(0) == 1:
            raise KeyboardInterrupt
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    assert runner.attach(sh("exit 7"), waits=True) == 7
    interrupts[:] = [1, 1, 2, 2]
    assert runner.attach(["sleep", "60"], waits=True) == 130


def test_runner_attach_told_alone(monkeypatch, runner):
    """A signal for hive-pg alone ends the attached program, too."""

    def interrupt(process, timeout=None):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    began = time.monotonic()
    assert runner.attach(["sleep", "600"]) == 130
    assert time.monotonic() - began < 60


def test_runner_replace():
    """It becomes the other program: the same pid, its environment, signals and exit code."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import hive_pg as pg;"
        "script = 'echo $$ $X; grep SigIgn /proc/$$/status; exit 9';"
        "argv, env = ['sh', '-c', script], {**os.environ, 'X': 'y'};"
        "print(os.getpid(), flush=True); pg.Runner(pg.Console()).replace(argv, env)"
    )
    root = os.path.dirname(os.path.abspath(sys.modules["hive_pg"].__file__))
    done = subprocess.run(
        [sys.executable, "-c", code, root], stdout=subprocess.PIPE, text=True, check=False
    )
    before, after, ignored = done.stdout.splitlines()
    assert (done.returncode, after) == (9, f"{before} y")
    assert int(ignored.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
