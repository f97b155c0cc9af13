"""What the integration tests stand on: an engine, an image, the built wheel, and workspaces.

All that a test makes lies below one directory, the laboratory's. Containers are known as ours by
that directory (Compose's label, a mount, a label of our own), networks and volumes by the projects
of those, or by the token that every workspace is called after. They go when the test ends, whatever
happened, and nothing else does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import importlib.util
import json
import os
import random
import re
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import NamedTuple

import pytest

from hive_pg import is_port_free

REPOSITORY = Path(__file__).resolve().parents[1]
ORIGINAL_COMPOSE = REPOSITORY / "tests" / "data" / "original-docker-compose.yml"
REAL_IMAGE, STAND_IN = "agnohq/pgvector:16", "hive-pg-test/pgvector:16"
USER = 12345  # no such user anywhere: what hive-pg meets as an ordinary one
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMAND_TIMEOUT_S = 300  # no test means it: a hang is to end some day
FIRST_PORT, FIRST_CLIENT_PORT, PORT_BLOCKS = 12000, 32000, 8
COMPOSE_PROJECT = "com.docker.compose.project"
WORKING_DIR = "com.docker.compose.project.working_dir"
PLANTED = hashlib.md5(
    ",".join(f"({i},{hashlib.md5(str(i).encode()).hexdigest()})" for i in range(1, 1001)).encode()
).hexdigest()  # of the rows that Workspace.plant makes
NAMES_AND_PORT = ("HIVE_POSTGRES_CONTAINER", "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_PORT")
OURS = "hive-pg-test"  # label of the containers that tests start themselves

# For Workspace.let_first_start_end; ten minutes at most.
WAIT_IN_FIRST_START = (
    """echo 'for i in $(seq 6000); do [ -e "$PGDATA/../go" ] && break; sleep 0.1; done'"""
    " > /docker-entrypoint-initdb.d/00-slow.sh"
)

_DOCKER_WITHOUT_COMPOSE = """\
#!/bin/sh
# What docker 28 says where there is no Compose plugin; all else goes to the real one.
if [ "$1" = compose ]; then
  printf "docker: unknown command: docker compose\\n\\nRun 'docker --help'...\\n" >&2
  exit 1
elif [ "$1" = info ]; then
  DOCKER "$@" | sed 's/|[^|]*$/|/' # no plugin of that name
  exit
fi
exec DOCKER "$@"
"""


def unavailable(reason):
    """Skip the test; where the engine's tests are required, fail it."""
    if os.environ.get("HIVE_PG_REQUIRE_ENGINE") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def run(argv, **options):
    """Run a program to its end, streams captured, without a terminal."""
    options = {"stdin": subprocess.DEVNULL, "timeout": COMMAND_TIMEOUT_S, **options}
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", **options)


def docker(*arguments, input=None):  # noqa: A002
    """Run docker as the tests' own user; return its stdout."""
    options = {} if input is None else {"stdin": None, "input": input}
    result = run(["docker", *arguments], **options)
    assert result.returncode == 0, f"docker {' '.join(arguments)}: {result.stderr}"
    return result.stdout.strip()


@functools.cache
def engine_address():
    """Return where the docker CLI finds the engine."""
    return docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")


class EngineConnection(http.client.HTTPConnection):
    """A connection to the engine, by a socket or TCP."""

    def connect(self):
        """Connect with it."""
        kind, _, place = engine_address().partition("://")
        if kind == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(COMMAND_TIMEOUT_S)
            self.sock.connect(place)
        else:
            host, _, port = place.rpartition(":")
            self.sock = socket.create_connection((host, int(port)), COMMAND_TIMEOUT_S)


def ask_engine(path, method="GET", **query):
    """Ask the engine itself, which takes a tenth of what a docker CLI does; None: no such thing."""
    query = {key: json.dumps(value) for key, value in query.items()}
    with contextlib.closing(EngineConnection("docker")) as connection:
        connection.request(method, f"{path}?{urllib.parse.urlencode(query)}")
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status == 404:
        return None
    if (answer.status, method) == (409, "DELETE"):  # who uses it is about to go
        return False
    assert answer.status < 400, f"{method} {path}: {answer.status} {text}"
    return json.loads(text) if text else None


def take_away(path, **query):
    """Delete something of the engine's, once nobody uses it any more."""
    wait_until(lambda: ask_engine(path, "DELETE", **query) is not False)


def inspect_containers(*names):
    """Return what `docker inspect` says of containers, of all without names."""
    names = names or [each["Id"] for each in ask_engine("/containers/json", all=True)]
    # One of somebody else's may go in between.
    found = (ask_engine(f"/containers/{urllib.parse.quote(name)}/json") for name in names)
    return [info for info in found if info is not None]


def _own_ports():
    """Yield the ports of this worker of xdist, below those that the kernel gives to clients."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PORT_BLOCKS
    size = (FIRST_CLIENT_PORT - FIRST_PORT) // PORT_BLOCKS
    first = FIRST_PORT + worker * size
    while True:
        yield from random.sample(range(first, first + size), size)


_ports, _port_guard = _own_ports(), threading.Lock()


def free_port():
    """Return a port that nobody listens on now, and that this process has not given lately."""
    with _port_guard:
        return next(port for port in _ports if is_port_free("127.0.0.1", port))


def wait_until(condition, timeout=COMMAND_TIMEOUT_S):
    """Wait for something to come true, and return it."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.05)
    return found


def pause(container):
    """Have Docker pause a container: with cgroup v1 it gives up where processes keep appearing."""

    def is_paused():
        result = run(["docker", "pause", container])
        assert result.returncode == 0 or "unable to freeze" in result.stderr, result.stderr
        return result.returncode == 0

    wait_until(is_paused)


def at_most(seconds):
    """Return a limit of elapsed time as it is on a slow machine, or one with other things to do."""
    began = time.monotonic()
    run([sys.executable, "-ISc", ""])
    start = time.monotonic() - began  # 15 ms on a usual one; the load is the last minute's
    return seconds * max(1, start / 0.05, os.getloadavg()[0] / os.cpu_count())


def read_until(descriptor, words, timeout=COMMAND_TIMEOUT_S):
    """Return what a terminal or a pipe gives up to some words."""
    got, deadline = b"", time.monotonic() + timeout
    while words not in got:
        left = deadline - time.monotonic()
        assert select.select([descriptor], [], [], max(left, 0))[0], f"no {words!r} in {got!r}"
        block = os.read(descriptor, 65536)
        assert block, f"no {words!r} in {got!r}, which is all"
        got += block
    return got


def rows_of(screen):
    """Return the rows that a terminal shows in the end, without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen).replace("\r\n", "\n")
    return [row.rpartition("\r\x1b[K")[2] for row in text.rstrip("\n").split("\n")]


def children_of(pid):
    """Return the names of a process's children."""
    return run(["ps", "-o", "comm=", "--ppid", str(pid)]).stdout.split()


def read_env(path):
    """Return the assignments of a `.env` that hive-pg wrote, in their order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


class LostError(AssertionError):
    """What a person had before is gone, or is another's now."""


class Actor(NamedTuple):
    """Who runs hive-pg: root, or an ordinary user of the docker group."""

    uid: int
    options: dict  # of subprocess.run

    @property
    def server_uid(self):
        """The uid that the server is to run as: PostgreSQL refuses to be root."""
        return self.uid or 1000


class Workspace:
    """A directory, who works in it, and whether Compose is a plugin or a program of its own."""

    def __init__(self, lab, path, actor, compose):
        self.lab, self.path, self.actor, self.compose_kind = lab, path, actor, compose
        self.port = free_port()

    def environment(self, **extra):
        """Return the environment that hive-pg starts with; None takes a variable away."""
        home = self.lab.home(self.actor)
        shim = f"{self.lab.shim}:" if self.compose_kind == "standalone" else ""
        # Names and ports are this worker's own, so that the machine's lock on them can be, too.
        env = {"PATH": shim + SYSTEM_PATH, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
        env["GOGC"] = "800"  # docker lives for milliseconds: no garbage collection
        env.update({k: os.environ[k] for k in ("DOCKER_HOST",) if k in os.environ})
        env.update(extra)
        return {key: value for key, value in env.items() if value is not None}

    def options(self, **extra):
        """Return what subprocess needs to run something here as the actor."""
        return {"env": self.environment(**extra), "cwd": self.path, **self.actor.options}

    def hive_pg(self, *arguments, code=0, argv=None, cwd=None, secret=False, stdin=None, **extra):
        """Run hive-pg; assert its exit code, and that it printed no password.

        `argv` is another way to start it, `extra` goes into its environment.
        """
        options = {**self.options(**extra), **({"cwd": cwd} if cwd else {})}
        if stdin is not None:
            options["stdin"] = stdin
        result = run([*(argv or [self.lab.script]), *arguments], **options)
        said = f"hive-pg {' '.join(map(str, arguments))}: {result.returncode}\n{result.stdout}"
        said += f"\n{result.stderr}"
        assert code is None or result.returncode == code, said
        assert "Traceback" not in said
        assert "\x1b" not in result.stderr, "a terminal would act on what is said"
        password = self.env.get("POSTGRES_PASSWORD")
        assert secret or not password or password not in said, "the password was printed"
        return result

    @contextlib.contextmanager
    def started(self, *arguments, **options):
        """Start hive-pg and give the process; it does not outlive the test."""
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        options = {"stdin": subprocess.DEVNULL, **streams, **self.options(), **options}
        with subprocess.Popen([self.lab.script, *arguments], text=True, **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def at_terminal(self, command, *arguments, answers=(), columns=80, **extra):
        """Run hive-pg on a pseudo-terminal; return its exit code and what the screen shows.

        `answers` are typed one after the other, at each question that ends with [Y/n] or [y/N];
        `extra` goes into its environment.
        """
        import fcntl  # which Windows has not, where the unit tests run without all this
        import pty
        import termios

        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        port = ("--port", str(self.port)) if command == "init" else ()
        argv, answers = (command, *port, *arguments), list(answers)
        options = {**streams, "env": self.environment(**extra), "start_new_session": True}
        with self.started(*argv, **options) as process:
            os.close(theirs)
            screen = b""
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while block := os.read(ours, 65536):
                    screen += block
                    if answers and screen.endswith((b"[Y/n] ", b"[y/N] ")):
                        os.write(ours, answers.pop(0))
            os.close(ours)
            process.wait(timeout=COMMAND_TIMEOUT_S)
        return process.returncode, screen.decode()

    def init(self, *arguments, **options):
        """Run `init` with the tests' image and this workspace's own port."""
        return self.hive_pg(
            "init", "--image", self.lab.image, "--port", str(self.port), *arguments, **options
        )

    def serve(self):
        """Have it serve as after an `init`, where that is not what is tested: on a copied cluster.

        A first start takes thrice as long. Whoever looks at it more closely sees that it is a copy:
        the credentials and the system identifier are those of the cluster that was copied.
        """
        made = self.lab.made_for(self.actor)
        names = (".env", ".gitignore", ".hive-pg.json", "docker-compose.yml", "data")
        own = {key: self.env[key] for key in NAMES_AND_PORT}
        result = run(["cp", "-a", *(made.path / name for name in names), self.path])
        assert result.returncode == 0, result.stderr
        status, known = self.path.stat(), {**made.memory, "id": secrets.token_hex(8)}
        url = self.env["HIVE_DATABASE_URL"].replace(f":{made.port}/", f":{self.port}/")
        self.edit_env(**own, HIVE_DATABASE_URL=url, HIVE_POSTGRES_WORKSPACE=known["id"])
        known["directory"], known["inode"] = str(self.path), f"{status.st_dev}:{status.st_ino}"
        known["container"], known["project"], known["port"] = *list(own.values())[:2], self.port
        known["volume"] = known["volume"].replace(str(made.path), str(self.path))
        self.write(".hive-pg.json", json.dumps(known), 0o600)
        self.hive_pg("start")

    def compose(self, *arguments):
        """Run plain Compose, as a person would, in a shell of their own."""
        result = run(["docker", "compose", *arguments], **self.options(PATH=SYSTEM_PATH))
        assert result.returncode == 0, result.stderr
        return result

    @property
    def env(self):
        """What `.env` says now."""
        return read_env(self.path / ".env")

    def write(self, name, text, mode=0o644):
        """Write a file as the actor's own."""
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        self.lab.give(path, self.actor)

    def edit_env(self, **values):
        """Change assignments in `.env`, as a person would with an editor; None removes one."""
        values = {**self.env, **values}
        lines = (f"{key}={value}\n" for key, value in values.items() if value is not None)
        self.write(".env", "".join(lines), 0o600)

    @property
    def lock_path(self):
        """The file that a hive-pg which changes the workspace holds."""
        return self.path / ".hive-pg.json.lock"

    @property
    def memory(self):
        """What `.hive-pg.json` says now."""
        return json.loads((self.path / ".hive-pg.json").read_text())

    def edit_memory(self, **values):
        """Change what hive-pg remembers."""
        self.write(".hive-pg.json", json.dumps({**self.memory, **values}), 0o600)

    def snapshot(self):
        """Return bytes and time of change of the files, but for the data."""
        files = (path for path in self.path.iterdir() if path.is_file())
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    @property
    def container(self):
        """The container's name, as `.env` records it."""
        return self.env["HIVE_POSTGRES_CONTAINER"]

    def inspect(self):
        """Return what `docker inspect` says of the container, None where there is none."""
        return next(iter(inspect_containers(self.container)), None)

    @property
    def identity(self):
        """Which container it is, and since when it runs: equal if nobody touched it."""
        info = self.inspect()
        return info["Id"], info["State"]["StartedAt"]

    def up(self):
        """Have the database run, in case that an earlier test left it otherwise."""
        info = self.inspect()
        if info is not None and info["State"]["Paused"]:
            docker("unpause", self.container)
        if info is None or info["State"]["Status"] != "running":
            self.hive_pg("start")

    def let_first_start_end(self):
        """Let the image of `slow_image` go on."""
        (self.path / "data" / "postgres" / "go").touch()

    @property
    def state(self):
        """Docker's own word for the container's state."""
        return self.inspect()["State"]["Status"]

    def psql(self, sql="select 1", *, password=None):
        """Ask through the published port, from outside the container."""
        env = self.env
        argv = ["-XwqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        argv += ["-p", env["HIVE_POSTGRES_PORT"], "-U", env["POSTGRES_USER"]]
        argv += ["-d", env["POSTGRES_DB"], "-c", sql]
        return self.lab.psql(*argv, password=password or env["POSTGRES_PASSWORD"])

    def login(self, sql="select 1", *, password=None, code=0):
        """Do the same, once and at once; return what psql says."""
        result = self.psql(sql, password=password)
        assert result.returncode == code, result.stderr
        return (result.stderr if code else result.stdout).strip()

    def trusted(self, sql, *options):
        """Run SQL inside the container, on the loopback that trusts everybody."""
        env = self.env
        argv = ["-XwqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", *options]
        argv += ["-U", env["POSTGRES_USER"], "-d", env["POSTGRES_DB"], "-c", sql]
        return run([*self.lab.psql_inside(self.container), *argv])

    def trusted_script(self, script):
        """Run a script there, to its end or its first error."""
        argv = [*self.lab.psql_inside(self.container), "-Xq", "-v", "ON_ERROR_STOP=1"]
        argv += ["-h", "127.0.0.1", "-U", self.env["POSTGRES_USER"], "-d", self.env["POSTGRES_DB"]]
        result = run(argv, stdin=None, input=script)
        assert result.returncode == 0, result.stderr

    def plant(self):
        """Put rows into the database that `assert_kept` looks for."""
        self.login(
            "create table kept as select i, md5(i::text) as word from generate_series(1, 1000) i"
        )

    def assert_kept(self):
        """Make sure that the database still has every row that `plant` put there."""
        result = self.psql("select md5(string_agg(kept::text, ',' order by i)) from kept")
        if result.returncode:
            raise LostError(f"the rows cannot be read: {result.stderr}")
        if result.stdout.strip() != PLANTED:
            raise LostError("the rows are not what they were")


class Laboratory:
    """The one directory of a test run, and everything that is made in it."""

    def __init__(self, directory, image, venv):
        self.directory, self.image = directory, image
        self.script, self.python = f"{venv}/bin/hive-pg", f"{venv}/bin/python"
        self.token = f"it{secrets.token_hex(3)}"
        self.count = 0
        self.images, self.made, self.kept = [], {}, contextlib.ExitStack()
        self.volumes = set()  # that go in the end
        self.lock, self.holders = -1, 0  # of the default names, in this process
        self.shim = directory / "without-compose"
        self.shim.mkdir()
        text = _DOCKER_WITHOUT_COMPOSE.replace("DOCKER", shutil.which("docker"))
        (self.shim / "docker").write_text(text)
        (self.shim / "docker").chmod(0o755)
        (self.shim / "docker-compose").symlink_to(compose_plugin())

    @property
    def initdb_image(self):
        """The image whose first start runs initdb, as released ones do."""
        return f"{self.image}-initdb" if self.image == STAND_IN else self.image

    @staticmethod
    def actor(name=""):
        """Return root or the ordinary user; by default root where the tests themselves are."""
        if os.geteuid() != 0:
            if name == "root":
                pytest.skip("the tests do not run as root")
            return Actor(os.geteuid(), {})
        if name != "user":
            return Actor(0, {})
        return user_of_docker_group()

    @staticmethod
    def give(path, actor):
        """Make a path the actor's own."""
        if os.geteuid() == 0:
            os.chown(path, actor.uid, actor.uid, follow_symlinks=False)

    def home(self, actor):
        """Return the actor's home directory."""
        home = self.directory / f"home-{actor.uid}"
        home.mkdir(exist_ok=True)
        self.give(home, actor)
        return str(home)

    @contextlib.contextmanager
    def default_names(self):
        """Keep the default names and ports from the tests that run in other processes."""
        if not self.holders:
            self.lock = os.open("/tmp", os.O_RDONLY)  # the same for every checkout
            import fcntl

            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1
            if not self.holders:
                os.close(self.lock)

    @contextlib.contextmanager
    def workspace(
        self, name="app", *, actor="", compose="plugin", compose_file="", env=None, starts=True
    ):
        """Give a directory of a parent of its own; afterwards take away all that came of it.

        Without `env` its `.env` has names and a port of its own; with it, '' for an empty
        directory, the default ones may be taken, and the tests in other processes wait that want
        them too: not where `starts` says that no container of it is started.
        """
        self.count += 1
        parent = self.directory / str(self.count)
        workspace = Workspace(self, parent / f"{self.token}-{name}", self.actor(actor), compose)
        for path in (parent, workspace.path):
            path.mkdir()
            self.give(path, workspace.actor)
        own = f"{self.token}-{self.count}" if env is None else ""
        if own:
            env = f"HIVE_POSTGRES_CONTAINER={own}\nCOMPOSE_PROJECT_NAME={own}\n"
            env += f"HIVE_POSTGRES_PORT={workspace.port}\n"
        if env:
            workspace.write(".env", env)
        if compose_file:
            workspace.write("docker-compose.yml", compose_file)
        with contextlib.nullcontext() if own or not starts else self.default_names():
            try:
                yield workspace
                names = [info["Name"] for info in self.containers(parent)]
                assert self.holders or "/hive-postgres" not in names, (
                    "a test has to say env= and starts="
                )
            finally:
                self.sweep(parent, lasting=bool(own))

    def made_for(self, actor):
        """Return a workspace that `init` has made for an actor, and that has no container now."""
        if actor.uid not in self.made:
            name = "root" if actor.uid == 0 else "user"
            workspace = self.made[actor.uid] = self.kept.enter_context(
                self.workspace("made", actor=name)
            )
            workspace.init()
            workspace.hive_pg("destroy")
            path = workspace.path / "docker-compose.yml"  # ten servers' probes take a core's eighth
            workspace.write(path.name, path.read_text().replace("interval: 5s", "interval: 30s"))
        return self.made[actor.uid]

    def build_image(self, name, *commands, keep=False, base=""):
        """Build a variant of the image for this run; `keep` what takes long for the next ones."""
        tag = f"hive-pg-test/{name}" if keep else f"{self.token}:{name}"
        # With a layer of its own: Docker fails where two processes remove the same one at once.
        lines = [f"FROM {base or self.image}", *[f"LABEL run={self.token}"] * (not keep)]
        lines += [f"RUN {command}" for command in commands]
        if tag not in self.images:
            docker("build", "--quiet", "--tag", tag, "-", input="\n".join(lines))
            if not keep:
                self.images.append(tag)
        return tag

    def psql(self, *arguments, password=""):
        """Run psql on this machine, or the image's own in the machine's network."""
        argv = [psql_here()]
        if not argv[0]:
            argv = ["docker", "run", "--rm", "--network", "host", "--entrypoint", "psql"]
            argv += ["--label", f"{OURS}={self.directory}", "-e", "PGPASSWORD", self.image]
        return run([*argv, *arguments], env={**os.environ, "PGPASSWORD": password})

    def psql_inside(self, container):
        """Return how to start psql where the container's loopback is.

        Root's own may enter the network, which takes a fifth of what `docker exec` does.
        """
        if os.geteuid() == 0 and psql_here() and shutil.which("nsenter"):
            for info in inspect_containers(container):
                pid, groups = str(info["State"]["Pid"]), ""
                with contextlib.suppress(OSError):  # it has ended, or is on another machine
                    groups = Path("/proc", pid, "cgroup").read_text()
                if info["State"]["Status"] == "running" and info["Id"] in groups:
                    return ["nsenter", "--target", pid, "--net", psql_here()]
        return ["docker", "exec", "--interactive", container, "psql"]

    def containers(self, below):
        """Return the containers that came of a directory."""

        def is_ours(info):
            paths = [info["Labels"].get(WORKING_DIR, ""), info["Labels"].get(OURS, "")]
            paths += [mount.get("Source", "") for mount in info["Mounts"]]
            return any(f"{path}/".startswith(f"{below}/") for path in paths)

        every = ask_engine("/containers/json", all=True)
        ids = [info["Id"] for info in every if is_ours(info)]
        return inspect_containers(*ids) if ids else []

    def of_projects(self, kind, projects=None):
        """Return networks or volumes of some projects, or of all that are called after us."""
        every = ask_engine(f"/{kind}s")
        every = every["Volumes"] or [] if kind == "volume" else every
        found = {each["Name"]: (each["Labels"] or {}).get(COMPOSE_PROJECT, "") for each in every}
        if projects is None:
            return [name for name, project in found.items() if project.startswith(self.token)]
        return [name for name, project in found.items() if project and project in projects]

    def sweep(self, below, *, lasting=False):
        """Take away the containers and networks that came of a directory, and the directory.

        Volumes that are `lasting`, for nobody has their names again, go in the end: an ext4 without
        a journal makes files slowly for a minute after many were deleted (see bench.py).
        """
        containers = self.containers(below)
        for info in containers:
            self.volumes |= {mount.get("Name") for mount in info["Mounts"]} - {None}
            take_away(f"/containers/{info['Id']}", force=True, v=not lasting)
        projects = {info["Config"]["Labels"].get(COMPOSE_PROJECT, "") for info in containers}
        projects |= {read_env(path).get("COMPOSE_PROJECT_NAME", "") for path in below.rglob(".env")}
        # A copied .env names another workspace's project.
        left = ask_engine("/containers/json", all=True)
        projects -= {info["Labels"].get(COMPOSE_PROJECT) for info in left}
        for kind in ("network",) if lasting else ("network", "volume"):
            for name in self.of_projects(kind, projects):
                take_away(f"/{kind}s/{name}")
        self.remove(below)

    def chown(self, directory, uid):
        """Give a directory, with all in it, to a uid; a container may where the tests may not."""
        argv = ["run", "--rm", "--user", "0:0", "--network", "none", "--entrypoint", "chown"]
        argv += ["--mount", f"type=bind,source={directory},target=/target", self.image]
        docker(*argv, "--recursive", f"{uid}:{uid}", "/target")

    def remove(self, directory):
        """Remove a directory, with what belongs to other users in it."""
        if os.geteuid() != 0:
            self.chown(directory, os.geteuid())
        shutil.rmtree(directory)

    def close(self):
        """Take everything away that is left."""
        self.kept.close()
        self.sweep(self.directory)
        for kind in ("network", "volume"):
            for name in self.of_projects(kind):
                take_away(f"/{kind}s/{name}")
        for name in self.volumes:
            take_away(f"/volumes/{name}")
        if self.images:
            docker("image", "rm", "--force", *self.images)


def user_of_docker_group():
    """Return an ordinary user who may use Docker's socket."""
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")[2]
    gid = os.stat(path).st_gid
    return Actor(USER, {"user": USER, "group": USER, "extra_groups": [gid]})


def compose_plugin():
    """Return the path of the CLI's Compose plugin, which also runs as docker-compose."""
    form = '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}'
    return docker("info", "--format", form)


def find_python():
    """Return a Python that both root and the ordinary user can run."""
    actor = user_of_docker_group() if os.geteuid() == 0 else Actor(os.geteuid(), {})
    question = "import sys, venv; sys.exit(sys.version_info < (3, 9))"
    for python in (sys._base_executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            if run([python, "-c", question], env={}, cwd="/", **actor.options).returncode == 0:
                return python
    return unavailable(f"there is no Python >= 3.9 here that uid {actor.uid} can run")


def find_image():
    """Return the real image where it is here or may be pulled, else the stand-in."""

    def is_here(image):
        return run(["docker", "image", "inspect", image]).returncode == 0

    if os.environ.get("HIVE_PG_TEST_PULL") == "1" and not is_here(REAL_IMAGE):
        run(["docker", "pull", REAL_IMAGE], timeout=1800)
    if is_here(REAL_IMAGE):
        return REAL_IMAGE
    if not is_here(f"{STAND_IN}-initdb"):
        build = run([REPOSITORY / "tests" / "image" / "build"], timeout=1800)
        if build.returncode:
            unavailable(f"no image {STAND_IN}, and tests/image/build: {build.stderr[-500:]}")
    return STAND_IN


def pip_install(venv, *what):
    """Install into a virtual environment that has no pip."""
    if importlib.util.find_spec("pip"):
        argv = [sys.executable, "-m", "pip", "--python", f"{venv}/bin/python", "install", "--quiet"]
    else:
        argv = ["uv", "pip", "install", "--python", f"{venv}/bin/python"]
    return run([*argv, *what], timeout=600)


@functools.cache
def psql_here():
    """Return this machine's psql, if any: itself, and not Debian's script that looks for it."""
    found = Path("/usr/lib/postgresql").glob("*/bin/psql")
    newest = max(found, key=lambda path: float(path.parents[1].name), default=None)
    return str(newest) if newest else shutil.which("psql")


def make_venv(python, wheel, venv, *extras):
    """Make a virtual environment with the wheel in it."""
    assert run([python, "-m", "venv", "--without-pip", venv]).returncode == 0
    return pip_install(venv, wheel, *extras)


def original_compose(lab):
    """Return the text of the original compose file, with as few substitutes as possible."""
    text = ORIGINAL_COMPOSE.read_text()
    text = text.replace(REAL_IMAGE, lab.initdb_image)
    names = {info["Name"] for info in inspect_containers()}
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken = "/hive-postgres" in names or probe.connect_ex(("127.0.0.1", 5532)) == 0
    if taken:
        text = text.replace("hive-postgres", f"{lab.token}-original")
        text = re.sub(r'"5532:', f'"{free_port()}:', text)
    return text
