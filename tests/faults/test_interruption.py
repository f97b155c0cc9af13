"""Interruptions: kill -9 at every step and at random, orphans, twenty at once, Ctrl-C.

What goes on afterwards is a plain `init`. HIVE_PG_TEST_KILLS is how many processes the last test
kills, HIVE_PG_TEST_SEED what its choices depend on.
"""

import contextlib
import fcntl
import os
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    LostError,
    at_most,
    docker,
    free_port,
    read_until,
    run,
    wait_until,
)
from test_docker import put_before

from hive_pg import is_locked

pytestmark = pytest.mark.engine

KILLER = str(Path(__file__).with_name("killer.py"))
KILLS = int(os.environ.get("HIVE_PG_TEST_KILLS", "6"))
SEED = os.environ.get("HIVE_PG_TEST_SEED", "1")
WORKERS = 2
SILENT = {"stdout": subprocess.DEVNULL}
CREDENTIALS = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
NOTHING = "nothing was done"
LEFT = "give the same command again"


def killer(workspace, number, step):
    """Return the argv of a hive-pg that sends itself a signal at a step."""
    return [workspace.lab.python, KILLER, number, step]


# What only looks, locks, or goes on with a file that is not yet in its place: a kill leaves the
# same there as before the next change.
LEAVES_THE_SAME = re.compile(
    "(before|during) (git|docker (inspect|ps|info|image|network ls|compose (config|version)))"
    r"|before ((un)?lock|os.ch(mod|own) [0-9]|open \S+\.tmp)"
)


def steps_of(workspace, *command):
    """Run a command to its end; return the steps that it took, one for each state it can leave."""
    return changing(workspace.hive_pg(*command, argv=killer(workspace, "KILL", "none")).stderr)


def changing(said):
    """Return the steps that a killer has said, without those that leave the same."""
    steps = said.rpartition("steps\n")[2].splitlines()
    return [step for step in steps if not LEAVES_THE_SAME.match(step)]


def kill_at(workspace, step, *command):
    """Kill hive-pg at a step; return whether it came to it."""
    result = workspace.hive_pg(*command, argv=killer(workspace, "KILL", step), code=None)
    assert result.returncode in (0, -signal.SIGKILL), result.stderr
    return result.returncode != 0


def known_credentials(workspace):
    """Return the credentials that `.env` has."""
    return {key: value for key, value in workspace.env.items() if key in CREDENTIALS}


def go_on(workspace, *, planted=False):
    """Have a plain `init` end with one database, and with all that was there before it."""
    known = known_credentials(workspace)
    workspace.hive_pg("init", "--yes", HIVE_POSTGRES_IMAGE=workspace.lab.image)
    if not known.items() <= known_credentials(workspace).items():
        raise LostError("the credentials are other ones")
    result = workspace.psql()
    if result.returncode:
        raise LostError(f"nobody can log in: {result.stderr}")
    if planted:
        workspace.assert_kept()
    assert {path.name for path in workspace.path.iterdir()} == {
        ".env", ".gitignore", ".hive-pg.json", "data", "docker-compose.yml",
    }  # fmt: skip
    assert (workspace.path / ".env").stat().st_mode & 0o777 == 0o600
    containers = workspace.lab.containers(workspace.path)
    assert [info["Name"] for info in containers] == [f"/{workspace.container}"]
    project = workspace.env["COMPOSE_PROJECT_NAME"]
    assert len(workspace.lab.of_projects("network", {project})) == 1


def look_at(workspace):
    """Return what there is: the files, and which container in which state since when.

    How long a lock's text is does not count: it names the process that had it last.
    """
    paths = [*workspace.path.iterdir(), *workspace.path.glob("data/*")]
    stats = ((path, path.stat(), path.is_file() and path.suffix != ".lock") for path in paths)
    files = {(p.name, s.st_mode, s.st_uid, sized and s.st_size) for p, s, sized in stats}
    info = workspace.inspect()
    return files, info and (info["Id"], info["State"]["Status"], info["State"]["StartedAt"])


def names_in(workspace):
    """Return the files that there are, with their modes and owners."""
    return {file[:3] for file in look_at(workspace)[0]}


def acts_on(step):
    """Whether at a step a program runs that changes something, and will go on with it."""
    return step.startswith(("during docker compose up", "during docker stop"))


# -- kill -9 at every step ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(lab):
    """Give a workspace with rows that have to survive, and the steps that its first init took."""
    with lab.workspace("planted") as workspace:
        command = ("init", "--image", lab.image, "--port", str(workspace.port))
        workspace.first_steps = steps_of(workspace, *command)
        workspace.plant()
        yield workspace


def test_first_init_killed_at_every_step(lab, planted):
    """The next one goes on to a database with the credentials that `.env` got, and leaves nothing.

    Where a kill leaves what another one left, that will do; where it leaves no container, so will
    the files that an `init` makes which is not killed. The last of those is started.
    """
    seen, guard, last = [], threading.Lock(), "before docker compose up"
    made = names_in(planted)

    def kill(step):
        with contextlib.ExitStack() as stack:
            with guard:
                workspace = stack.enter_context(lab.workspace())
            env = (workspace.path / ".env").read_text()
            command = ("init", "--image", lab.image, "--port", str(workspace.port))
            if not kill_at(workspace, step, *command):
                return
            text = (workspace.path / ".env").read_text()
            whole = text.startswith(env) and {*CREDENTIALS, "HIVE_DATABASE_URL"} <= {*workspace.env}
            assert text == env or whole, step
            files, container = look_at(workspace)
            state = files, container and container[1]
            if acts_on(step) or step == last or state not in seen:
                seen.append(state)
                known = known_credentials(workspace)
                files_alone = not container and not acts_on(step) and step != last
                if files_alone:
                    workspace.init("--no-start")
                    assert known.items() <= known_credentials(workspace).items(), step
                if not files_alone or names_in(workspace) != made:
                    go_on(workspace)

    with ThreadPoolExecutor(WORKERS) as pool:
        assert len([*pool.map(kill, planted.first_steps)]) > 12
    assert len(seen) > 10


@pytest.mark.parametrize("command", ["start", "restart", "init --port"])
def test_killed_at_every_step_keeps_the_rows(planted, command):
    """The next `init` has the rows and the login; `.env` has the old text or the new one.

    Where a kill leaves what another one left, that will do.
    """
    ports = [planted.env["HIVE_POSTGRES_PORT"], str(free_port())]

    def words():  # to the other port, whichever it is now
        new = [port for port in ports if port != planted.env["HIVE_POSTGRES_PORT"]]
        return [*command.split(), *new] if command == "init --port" else [command]

    def prepare():
        planted.hive_pg("stop" if command == "start" else "init")
        return look_at(planted)

    prepare()
    steps = steps_of(planted, *words())
    before, seen = prepare(), []
    for step in steps:
        text = (planted.path / ".env").read_text()
        new = text.replace(planted.env["HIVE_POSTGRES_PORT"], words()[-1])
        kill_at(planted, step, *words())
        left = (planted.path / ".env").read_text()
        assert left in (text, new), step
        files, container = look_at(planted)
        if not acts_on(step) and (files, container) == before:
            continue
        state = files, container and container[1], left == text
        if acts_on(step) or state not in seen:
            seen.append(state)
            go_on(planted, planted=True)
            before = look_at(planted) if command != "start" else prepare()
        else:
            before = prepare()
    assert "during docker compose up" in steps


# -- orphans, and many at once ------------------------------------------------------------------


def descendants(pid):
    """Return the processes that a process started, and those that they started."""
    pairs = [line.split() for line in run(["ps", "-eo", "pid=,ppid="]).stdout.splitlines()]
    found = {str(pid)}
    while more := {child for child, parent in pairs if parent in found} - found:
        found |= more
    return sorted(map(int, found - {str(pid)}))


def kill(process, *, descendants_too):
    """Kill hive-pg, alone or with all that it started."""
    process.send_signal(signal.SIGSTOP)  # so that it starts no more of them
    others = descendants(process.pid) if descendants_too else []
    for pid in [process.pid, *others]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def gate(lab, planted):
    """Give a `docker` that waits before `compose up` until it is let through."""
    gate = lab.directory / "gate"
    gate.mkdir()
    text = f"""\
#!/bin/sh
if [ "$1 $2" = "compose up" ]; then
  : > {gate}/reached
  while [ -d {gate} ] && [ ! -e {gate}/open ]; do sleep 0.05; done
fi
exec {shutil.which("docker")} "$@"
"""
    (gate / "docker").write_text(text)
    (gate / "docker").chmod(0o755)
    gate.chmod(0o777)
    yield gate
    lab.remove(gate)


@pytest.mark.parametrize("command", ["start", "init"])
def test_orphan_of_a_killed_command_is_waited_for(planted, gate, command):
    """A `compose up` that outlives its hive-pg holds the lock until it has ended."""
    planted.hive_pg("stop")
    env = planted.environment(PATH=f"{gate}:{planted.environment()['PATH']}")
    with planted.started(command, env=env) as first:
        wait_until((gate / "reached").exists)
        kill(first, descendants_too=False)
    assert is_locked(planted.lock_path)
    with planted.started("init", "--yes") as second:
        holder = f"waiting for another hive-pg: {command}, process {first.pid}\n"
        assert holder in iter(second.stderr.readline, "")
        if shutil.which("fuser"):  # which the error names that ends the wait
            assert "docker" in run(["fuser", "-v", planted.lock_path]).stderr
        assert planted.state == "exited"
        (gate / "open").touch()
        stderr = second.communicate(timeout=COMMAND_TIMEOUT_S)[1]
    assert second.returncode == 0, stderr
    assert not is_locked(planted.lock_path)
    go_on(planted, planted=True)


def test_lock_dies_with_its_processes(planted, gate):
    """With hive-pg and its children killed, nobody waits, and no file is left."""
    planted.hive_pg("stop")
    env = planted.environment(PATH=f"{gate}:{planted.environment()['PATH']}")
    with planted.started("restart", env=env) as first:
        wait_until((gate / "reached").exists)
        assert is_locked(planted.lock_path)
        kill(first, descendants_too=True)
    wait_until(lambda: not is_locked(planted.lock_path))
    go_on(planted, planted=True)


def test_command_of_run_has_no_part_in_the_lock(planted):
    """It may live for days, also where hive-pg had to start the database first."""
    planted.hive_pg("stop")
    files = planted.hive_pg("run", "--", "ls", "-l", "/proc/self/fd").stdout
    assert "/dev/null" in files
    assert str(planted.path) not in files


def test_twenty_inits_at_once_make_one_database(make, lab):
    """All end with 0; one of them writes the credentials and the compose file."""
    workspace = make()
    argv = ("init", "--image", lab.image, "--port", str(workspace.port))
    argv += ("--timeout", "900")  # so long, and some more, the last one waits for the others
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(workspace.started(*argv)) for _ in range(20)]
        words = [process.communicate(timeout=4 * COMMAND_TIMEOUT_S)[1] for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 20, words
    assert sum(".env, docker-compose.yml and .gitignore written" in text for text in words) == 1
    assert sum("waiting for another hive-pg" in text for text in words) >= 10
    go_on(workspace)


# -- stopped meanwhile --------------------------------------------------------------------------


def outlive_a_stop(workspace, *command):
    """Run a command that meets a server which is told to stop already; return code and stderr."""
    workspace.hive_pg("start")
    with about_to_stop(workspace) as go_on_stopping, workspace.started(*command) as process:
        words = []
        for line in process.stderr:
            words.append(line)
            if "waiting for PostgreSQL" in line:
                go_on_stopping()
        return process.wait(timeout=COMMAND_TIMEOUT_S), "".join(words)


@pytest.mark.parametrize("command", ["start", "init", "run -- true", "wait"])
def test_container_that_is_about_to_stop(planted, command):
    """It was told to, and takes its time: exit 5, with what starts it again."""
    code, stderr = outlive_a_stop(planted, *command.split())
    assert code == 5, stderr
    assert "is stopped (exit code 0)" in stderr
    assert "hint: hive-pg start" in stderr
    planted.hive_pg("start")
    planted.assert_kept()


def test_container_that_is_stopped_meanwhile_stays_stopped(planted):
    """Whoever stops it while a command waits for it has the last word: exit 5, and it is said."""
    planted.hive_pg("start")
    server = Path("/proc", str(planted.inspect()["State"]["Pid"]), "status")
    docker("kill", "--signal", "STOP", planted.container)  # it neither answers nor ends
    with planted.started("start") as process:
        assert any("waiting for PostgreSQL" in line for line in process.stderr)
        with subprocess.Popen(["docker", "stop", "-t", "600", planted.container], **SILENT) as stop:
            wait_until(lambda: signal.SIGINT in pending_signals(server))
            docker("kill", "--signal", "CONT", planted.container)
            stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)[1]
            stop.wait(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 5, stderr
    assert "is stopped (exit code 0)" in stderr
    assert "hint: hive-pg start" in stderr
    assert planted.state == "exited"


def pending_signals(status):
    """Give the signals that wait for a process, of its file in /proc."""
    pending = int(re.search(r"^ShdPnd:\s*(\w+)", status.read_text(), re.MULTILINE)[1], 16)
    return [number for number in signal.valid_signals() if pending >> (number - 1) & 1]


@contextlib.contextmanager
def about_to_stop(workspace):
    """Have `docker stop` wait for a server that rejects logins; give what lets it end."""
    find = 'grep -l "[c]heckpointer" /proc/[0-9]*/cmdline | cut -d / -f 3'
    kill = f'kill "-$0" $({find})'
    argv = ["docker", "exec", workspace.container, "sh", "-c", kill]
    assert run([*argv, "STOP"]).returncode == 0
    with subprocess.Popen(["docker", "stop", "-t", "600", workspace.container], **SILENT) as stop:
        try:
            wait_until(lambda: "shutting down" in workspace.psql().stderr)
            yield lambda: run([*argv, "CONT"])
        finally:
            run([*argv, "CONT"])
            stop.wait(timeout=COMMAND_TIMEOUT_S)


# -- Ctrl-C -------------------------------------------------------------------------------------


@contextlib.contextmanager
def at_terminal(workspace, *arguments, env):
    """Start hive-pg on a terminal of its own; give the process and our end of the terminal.

    Afterwards the terminal's settings have to be what they were.
    """
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    own = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    try:
        with workspace.started(*arguments, env=env, **streams, **own) as process:
            yield process, ours
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "moment", "said"),
    [
        pytest.param(("destroy", "--data"), "to go on: ", NOTHING, id="destroy, question"),
        pytest.param(("restart",), "waiting for PostgreSQL … ", LEFT, id="restart, waiting"),
        pytest.param(("logs", "-f"), "ready to accept connections", "", id="logs -f"),
    ],
)
def test_ctrl_c_at_a_terminal(planted, arguments, moment, said):
    """Exit 130 within two seconds, the terminal as it was, and what to do next."""
    planted.up()
    up = planted.path.parent / "up"  # from there on it waits long enough
    slowly = f'case "$1 $2" in "compose up") touch {up} ;; exec*) [ ! -e {up} ] || sleep 60 ;; esac'
    env = planted.environment(PATH=put_before(planted, "*", slowly), NO_COLOR="1")
    try:
        with at_terminal(planted, *arguments, env=env) as (process, terminal):
            read_until(terminal, moment.encode())
            began = time.monotonic()
            os.write(terminal, b"\x03")
            assert process.wait(timeout=COMMAND_TIMEOUT_S) == 130
            assert time.monotonic() - began < at_most(2)
            screen = read_until(terminal, said.encode() or b"^C").decode()
        assert "Traceback" not in screen
        assert not said or "\r\x1b[K" in screen.rpartition("interrupted")[0].rpartition("^C")[2]
    finally:
        up.unlink(missing_ok=True)
    go_on(planted, planted=True)


@pytest.mark.parametrize(
    ("arguments", "step", "said"),
    [
        pytest.param("init --port", "before os.rename .env.hive-pg.tmp", LEFT, id="init, .env"),
        pytest.param("init --port", "during docker compose up", LEFT, id="init, compose up"),
        pytest.param("init", "during docker exec --interactive", LEFT, id="init, waiting"),
        pytest.param("start", "before lock .hive-pg.json.lock", NOTHING, id="start, lock"),
        pytest.param("start", "during docker compose config", LEFT, id="start, compose config"),
        pytest.param("start", "during docker compose up", LEFT, id="start, compose up"),
        pytest.param("restart", "during docker stop -t", LEFT, id="restart, docker stop"),
        pytest.param("restart", "before docker compose up", LEFT, id="restart, in between"),
        pytest.param("stop", "during docker stop -t", LEFT, id="stop, docker stop"),
        pytest.param("run -- true", "before os.exec true", NOTHING, id="run, exec"),
        pytest.param("status", "during docker exec --interactive", "", id="status"),
        pytest.param("check", "during docker inspect --type", "", id="check"),
    ],
)
def test_ctrl_c_leaves_what_the_same_command_goes_on_from(planted, arguments, step, said):
    """Exit 130 within two seconds, one line that says so, and nothing is lost."""
    planted.hive_pg("stop" if arguments == "start" else "start")
    command = arguments.split()
    command += [str(free_port())] if "--port" in command else []
    argv = [*killer(planted, "INT", step), *command]
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **streams, **planted.options()) as process:
        assert f"signal {step}\n" in iter(process.stderr.readline, "")
        began = time.monotonic()
        stderr = process.stderr.read().partition("steps\n")[0]
        assert process.wait(timeout=COMMAND_TIMEOUT_S) == 130
        assert time.monotonic() - began < at_most(2)
    warning = f"warning: interrupted; {said}" if said else "warning: interrupted"
    assert stderr.splitlines() == [warning]
    planted.hive_pg(*command)
    go_on(planted, planted=True)


# -- at random ----------------------------------------------------------------------------------


def begin(workspace, chance):
    """Bring about what the next command meets; return what."""
    what = chance.choices(["as it is", "stopped", "removed", "anew"], [4, 2, 1, 3])[0]
    if not workspace.planted:
        what = "anew"
    if what == "stopped":
        run(["docker", "kill", workspace.container])  # where it runs
    elif what != "as it is":
        run(["docker", "rm", "--force", workspace.container])
    if what == "anew":
        workspace.lab.remove(workspace.path)
        workspace.path.mkdir()
        workspace.lab.give(workspace.path, workspace.actor)
        workspace.write(".env", workspace.names)
        workspace.planted = False
    return what


def cut_power(workspace, chance):
    """Kill the server, by Docker or behind its back, if it runs; return which."""
    info = workspace.inspect()
    if info is None or not info["State"]["Running"]:
        return "no server"
    if os.geteuid() == 0 and chance.random() < 0.5:
        with contextlib.suppress(ProcessLookupError):
            os.kill(info["State"]["Pid"], signal.SIGKILL)
        return "server"
    run(["docker", "kill", workspace.container])  # it may just have ended
    return "container"


def kill_at_random(workspace, chance):
    """Kill one command at some moment; return whether it still ran."""
    met = begin(workspace, chance)
    command = ("init", "--image", workspace.lab.image, "--port", str(workspace.port))
    if workspace.planted:
        moved = ("init", "--port", str(free_port()))
        command = chance.choice([command, moved, ("start",), ("restart",), ("stop",)])
    wait = chance.uniform(0, 2.5) * chance.choice([0.1, 0.4, 1])
    with workspace.started(*command) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait)
        running, all_of_it = process.poll() is None, chance.random() < 0.5
        if running:
            kill(process, descendants_too=all_of_it)
        killed = ["its children"] if all_of_it else []
        if running and chance.random() < 0.4:
            killed += [cut_power(workspace, chance)]
        stderr = process.stderr.read()
    if running:
        print(workspace.path, met, "|", *command[:2], f"| {wait:.2f} s |", *killed)
    assert "Traceback" not in stderr
    assert running or process.returncode == 0, stderr
    return running


def test_random_kills(lab, capsys):
    """Whatever is killed, and the server with it: the next `init` has all that was there."""
    guard, began = threading.Lock(), time.monotonic()
    kills, stopped = iter(range(KILLS)), threading.Event()

    def work(number):
        chance, missed, made_anew = random.Random(f"{SEED}-{number}"), 0, 0
        with contextlib.ExitStack() as stack:
            with guard:
                workspace = stack.enter_context(lab.workspace())
            workspace.names, workspace.planted = (workspace.path / ".env").read_text(), False
            try:
                while not stopped.is_set() and next(kills, None) is not None:
                    while not kill_at_random(workspace, chance):
                        missed += 1
                    go_on(workspace, planted=workspace.planted)
                    if not workspace.planted:
                        workspace.plant()
                        workspace.planted = True
                        made_anew += any(workspace.path.glob("data/postgres/*.incomplete-*"))
            except BaseException:
                stopped.set()
                raise
        return missed, made_anew

    with ThreadPoolExecutor(WORKERS) as pool:
        missed, made_anew = map(sum, zip(*pool.map(work, range(WORKERS))))
    with capsys.disabled():
        seconds = time.monotonic() - began
        print(f"\nkilled at random: {KILLS} in {seconds:.0f} s (seed {SEED}), {missed} too late;")
        print(f"{made_anew} half-made clusters were made anew")


# -- a rotation meanwhile ------------------------------------------------------------------------

# Where the server has the new password, and `.env` not yet.
SLOW_ROTATE = """\
import sys, time, hive_pg
save = hive_pg.Workspace.save_env
def save_later(workspace, changes):
    if changes:  # not where it tries whether it may
        print("now", flush=True)
        time.sleep(2)
    return save(workspace, changes)
hive_pg.Workspace.save_env = save_later
hive_pg.PostgreSQLManager(sys.argv[1]).rotate_password()
"""


@pytest.fixture(scope="module")
def asking(lab):
    """Give a workspace whose server asks for the password on its socket, too."""
    with lab.workspace("asking") as workspace:
        workspace.serve()
        workspace.hive_pg("backup", "-o", "a.dump")
        line = "local all all scram-sha-256"
        script = f'sed -i "s/^local .*/{line}/" "$PGDATA/pg_hba.conf"'
        docker("exec", workspace.container, "sh", "-c", script)
        assert workspace.trusted("select pg_reload_conf()").returncode == 0
        yield workspace


@pytest.mark.parametrize(
    "command",
    [
        "start",
        "restart",
        "wait",
        "check",
        "status",
        "stats",
        "backup -o b.dump",
        "restore --yes a.dump",
        "psql -- -c select",
        """run -- sh -c 'test "$(sed -n s/^POSTGRES_PASSWORD=//p .env)" = "$PGPASSWORD"'""",
    ],
    ids=lambda command: command.split()[0],
)
def test_command_during_a_rotation(asking, command):
    """It logs in with the password that `.env` has in the end: nothing is refused."""
    before = asking.env["POSTGRES_PASSWORD"]
    argv = [asking.lab.python, "-c", SLOW_ROTATE, str(asking.path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, **asking.options()) as rotate:
        assert rotate.stdout.readline() == b"now\n"
        asking.hive_pg(*shlex.split(command))
    assert rotate.returncode == 0
    assert asking.env["POSTGRES_PASSWORD"] != before
    assert asking.login() == "1"
