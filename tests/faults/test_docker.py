"""Docker itself: hung, dead, out of reach, of another age or missing; images that cannot be had."""

import contextlib
import http.server
import json
import os
import re
import shlex
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from laboratory import (
    COMMAND_TIMEOUT_S,
    REPOSITORY,
    SYSTEM_PATH,
    children_of,
    docker,
    free_port,
    run,
    wait_until,
)

pytestmark = pytest.mark.engine

COMMANDS = "init|start|run|stop|restart|status|status --json|check|check --json|logs|logs -f"
NOT_RUNNING = ("the Docker daemon is not running", "start Docker: sudo systemctl start docker")
NO_CONTEXT = ("there is no such docker context", "docker context ls; then unset DOCKER_CONTEXT")
FORBIDDEN = ("your user may not use Docker's socket", "sudo usermod -aG docker $USER")
OTHER_AGE = ("the docker CLI and the engine are too far apart", "update the older of the two")
STAND_IN = (
    "`docker` is only Docker Desktop's stand-in in this WSL",
    "switch it on: Docker Desktop >",
)
NO_COMPOSE = ("Docker Compose 2 or later is not installed", "apt install docker-compose-v2, or")
PORT = ("another container or process has the port", "hive-pg init --port N, or stop the other")
MOUNT = (
    "what is to be mounted is missing, or the daemon",
    "see the path above; for the data: hive-pg init --data volume",
)
ELSEWHERE = ("Docker there cannot be reached", "start it there; or see docker context ls")
PULL_REMEDY = (
    "check the name, the network and docker login; or name another one: --image IMAGE, or"
    " HIVE_POSTGRES_IMAGE in .env"
)


def words_of(command):
    """Return the arguments of one of the COMMANDS."""
    return [*command.split(), *(["--", "touch", "ran"] if command == "run" else [])]


def assert_said(result, said, command="start"):
    """Make sure that a command gave cause and next step, in the place that is meant for them."""
    cause, remedy = said
    if command.startswith("check"):
        assert (cause in result.stdout, remedy in result.stdout) == (True, True), result.stdout
    else:
        assert (cause in result.stderr, result.stdout) == (True, ""), result.stderr
        assert f"hint: {remedy}" in result.stderr
    if command == "check --json":
        report = json.loads(result.stdout)
        outcomes = [point["outcome"] for point in report["points"]]
        assert (report["exit_code"], outcomes) == (4, ["failed", *["skipped"] * 5])


def executable(workspace, name, text):
    """Write a program of the test's own, in a directory of its own; return its path."""
    directory = Path(tempfile.mkdtemp(dir=workspace.path.parent))
    directory.chmod(0o755)
    (directory / name).write_text(text)
    (directory / name).chmod(0o755)
    return directory / name


def put_before(workspace, pattern, action, program="docker"):
    """Put a program before docker that acts where its arguments match; return its PATH."""
    script = f'case "$*" in {pattern}) {action} ;; esac\nexec {shutil.which(program)} "$@"\n'
    path = executable(workspace, program, f"#!/bin/sh\n{script}")
    shim = f"{workspace.lab.shim}:" if workspace.compose_kind == "standalone" else ""
    return f"{path.parent}:{shim}{SYSTEM_PATH}"


def say(text, code=1, stream=2):
    """Return the action that prints a text and fails."""
    return f"printf '%s\\n' {shlex.quote(text)} >&{stream}; exit {code}"


def within(workspace, **limits):
    """Return a hive-pg whose limits, in seconds, are other ones."""
    text = (REPOSITORY / "hive_pg.py").read_text(encoding="utf-8")
    for name, value in limits.items():
        text, count = re.subn(rf"(?m)^{name} = .*", f"{name} = {value}", text)
        assert count == 1, name
    return str(executable(workspace, "hive-pg", f"#!{workspace.lab.python}\n{text}"))


class Relay:
    """A socket that leads to the daemon, until it falls silent or dies."""

    def __init__(self, path):
        self.host, self.connections, self.threads = f"unix://{path}", [], []
        self.flowing = threading.Event()
        self.flowing.set()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        path.chmod(0o777)
        self.server.listen()
        self.in_background(self.accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.die()

    def in_background(self, function, *arguments):
        """Have a thread do it, which ends when the relay dies."""
        self.threads.append(threading.Thread(target=function, args=arguments))
        self.threads[-1].start()

    def accept(self):
        """Connect whoever comes with the daemon."""
        daemon = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        with contextlib.suppress(OSError):
            while True:
                pair = (self.server.accept()[0], socket.socket(socket.AF_UNIX))
                self.connections += pair
                pair[1].connect(daemon.partition("://")[2])
                for ends in (pair, pair[::-1]):
                    self.in_background(self.pass_on, *ends)

    def pass_on(self, source, target):
        """Pass on what comes, while anything may."""
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                self.flowing.wait()
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def die(self):
        """Hang up on everybody, and leave a socket that nobody listens on."""
        for end in (self.server, *self.connections):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.flowing.set()
        for thread in self.threads:
            thread.join()
        for end in (self.server, *self.connections):
            end.close()


@pytest.fixture
def relay(lab):
    """Give a maker of relays; they do not outlive the test."""
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(Relay(path))


@pytest.fixture(scope="module")
def idle(lab):
    """Give an ordinary user's workspace that is set up, but was never started."""
    with lab.workspace("idle", actor="user") as workspace:
        workspace.init("--no-start")
        yield workspace
        assert workspace.inspect() is None


@pytest.fixture(scope="module")
def kept(lab):
    """Give a workspace whose database runs and holds rows, which must still be there at the end."""
    with lab.workspace("kept") as workspace:
        workspace.serve()
        workspace.plant()
        yield workspace
        workspace.up()
        workspace.assert_kept()


# -- the daemon ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unreachable(idle):
    """Give what stands between a command and the daemon, and what is said of it."""
    for name, mode in (("refused", 0o777), ("closed", 0)):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(idle.path.parent / name))
            (idle.path.parent / name).chmod(mode)
    refused, closed = (f"unix://{idle.path.parent}/{name}" for name in ("refused", "closed"))
    return {
        "nobody listens": ({"DOCKER_HOST": refused}, NOT_RUNNING),
        "nobody listens, by TCP": ({"DOCKER_HOST": f"tcp://127.0.0.1:{free_port()}"}, ELSEWHERE),
        "no permission": ({"DOCKER_HOST": closed}, FORBIDDEN),
        "no such context": ({"DOCKER_HOST": None, "DOCKER_CONTEXT": "nowhere"}, NO_CONTEXT),
        "API too new": ({"DOCKER_API_VERSION": "1.999"}, OTHER_AGE),
        "API too old": ({"DOCKER_API_VERSION": "1.10"}, OTHER_AGE),
    }


UNREACHABLE = [
    *((state, c) for state in ("nobody listens", "no permission") for c in COMMANDS.split("|")),
    ("nobody listens, by TCP", "start"),
    *((s, c) for s in ("no such context", "API too new", "API too old") for c in ("init", "check")),
]


@pytest.mark.parametrize(("state", "command"), UNREACHABLE, ids=map(": ".join, UNREACHABLE))
def test_daemon_is_out_of_reach(idle, unreachable, state, command):
    """Every command says so with exit 4, cause and way out, and changes nothing."""
    environment, said = unreachable[state]
    before = idle.snapshot()
    assert_said(idle.hive_pg(*words_of(command), code=4, **environment), said, command)
    assert idle.snapshot() == before
    assert not (idle.path / "ran").exists()


def test_url_needs_no_daemon(idle, unreachable):
    """It is read from `.env`, whatever became of Docker."""
    environment, _ = unreachable["nobody listens"]
    result = idle.hive_pg("url", secret=True, **environment)
    assert result.stdout == idle.env["HIVE_DATABASE_URL"] + "\n"


@pytest.mark.parametrize("command", COMMANDS.split("|"))
def test_daemon_hangs(idle, relay, command):
    """It accepts and never answers: every command ends within its limit, with exit 4."""
    path = idle.path.parent / "hung.sock"
    hung = relay(path)
    hung.flowing.clear()
    argv = [within(idle, QUESTION_TIMEOUT_S=3)]  # docker has to come that far as to connect
    result = idle.hive_pg(*words_of(command), argv=argv, code=4, DOCKER_HOST=hung.host)
    path.unlink()
    assert hung.connections
    said = result.stdout + result.stderr
    assert "` did not answer within 3 s" in said
    assert_said(result, ("`docker ", "restart Docker: sudo systemctl restart docker"), command)
    assert not (idle.path / "ran").exists()


def await_first_start(process):
    """Wait until a first start waits for its server."""
    said = next((line for line in process.stderr if "docker exec" in line), "")
    assert said, process.communicate()
    wait_until(lambda: "docker" in children_of(process.pid))


@pytest.mark.parametrize("fate", ["dies", "falls silent"])
def test_daemon_is_lost_in_mid_wait(make, slow_image, relay, fate):
    """A first start that is waited for: exit 4, and once Docker is back `start` goes on."""
    workspace = make()
    workspace.init("--no-start")
    way = relay(workspace.path.parent / "docker.sock")
    options = {"executable": within(workspace, QUESTION_TIMEOUT_S=15, WAIT_ROUND_S=1)}
    options["env"] = workspace.environment(DOCKER_HOST=way.host)
    with workspace.started("init", "-v", "--image", slow_image, **options) as process:
        await_first_start(process)
        way.die() if fate == "dies" else way.flowing.clear()
        stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 4, stderr
    assert ("Traceback" in stderr, stdout) == (False, "")
    cause, remedy = NOT_RUNNING if fate == "dies" else ("` did not answer within", "restart Docker")
    assert cause in stderr
    assert f"hint: {remedy}" in stderr
    workspace.let_first_start_end()
    workspace.hive_pg("start")
    assert workspace.login("select '[1]'::vector") == "[1]"


@pytest.mark.parametrize(
    ("command", "step"),
    [("check", "exec*"), ("restart", "stop*"), ("stop", "stop*"), ("restart", '"compose up"*')],
    ids=["check", "restart", "stop", "between stop and up"],
)
def test_daemon_dies_between_two_steps(kept, relay, command, step):
    """It answered before: exit 4 nevertheless, and no row is lost."""
    kept.up()
    path = kept.path.parent / "docker.sock"
    way, asked, go = relay(path), path.with_name("asked"), path.with_name("go")
    action = f"touch {asked}; until [ -e {go} ]; do sleep 0.05; done"
    env = kept.environment(DOCKER_HOST=way.host, PATH=put_before(kept, step, action))
    with kept.started(command, env=env) as process:
        wait_until(asked.exists)
        way.die()
        go.touch()
        stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    for used in (path, asked, go):
        used.unlink()
    assert process.returncode == 4, stderr
    said = stdout if command == "check" else stderr
    assert "Traceback" not in said
    assert NOT_RUNNING[0] in said
    assert NOT_RUNNING[1] in said
    kept.up()
    kept.assert_kept()


# -- what other versions say --------------------------------------------------------------------

SOCKET = "unix:///var/run/docker.sock"
DAEMON = "Error response from daemon: "
ENDPOINT = "driver failed programming external connectivity on endpoint hive-postgres (0123): "
SAID_OF_THE_DAEMON = {
    "docker 20: permission": (
        "Got permission denied while trying to connect to the Docker daemon socket at"
        f' {SOCKET}: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/json": dial unix'
        " /var/run/docker.sock: connect: permission denied", FORBIDDEN),
    "docker 29: permission": (
        f"permission denied while trying to connect to the docker API at {SOCKET}", FORBIDDEN),
    "docker 29: no socket": (
        f"failed to connect to the docker API at {SOCKET}; check if the path is correct and if the"
        " daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory",
        NOT_RUNNING),
    "docker 29: no such host": (
        "failed to connect to the docker API at tcp://nowhere:2375: dial tcp: lookup nowhere: no"
        " such host", ELSEWHERE),
    "Windows 28": (
        'error during connect: in the default daemon configuration on Windows, the docker client'
        ' must be run with elevated privileges to connect: Get "http://%2F%2F.%2Fpipe%2F'
        'docker_engine/v1.24/info": open //./pipe/docker_engine: The system cannot find the file'
        " specified.", NOT_RUNNING),
    "Windows 29": (
        "failed to connect to the docker API at npipe:////./pipe/docker_engine", NOT_RUNNING),
    "Windows, in German": (
        "open //./pipe/dockerDesktopLinuxEngine: Das System kann die angegebene Datei nicht"
        " finden.", NOT_RUNNING),
    "Windows: Desktop's engine": (
        f"{DAEMON}open \\\\.\\pipe\\docker_engine_linux: The system cannot find the file"
        " specified.", NOT_RUNNING),
    "Desktop starts": (
        "request returned 500 Internal Server Error for API route and version"
        " http://%2F%2F.%2Fpipe%2Fx/v1.24/info, check if the server supports the requested API"
        " version", NOT_RUNNING),
    "engine 29: old CLI": (
        f"{DAEMON}client version 1.41 is too old. Minimum supported API version is 1.44, please"
        " upgrade your client to a newer version", OTHER_AGE),
}  # fmt: skip


@pytest.mark.parametrize("who", SAID_OF_THE_DAEMON)
def test_daemon_is_out_of_reach_of_another_version(idle, who):
    """Its text is understood as well: exit 4, cause and way out."""
    text, said = SAID_OF_THE_DAEMON[who]
    path = put_before(idle, "*", say(text))
    for command in ("start", "check --json"):
        assert_said(idle.hive_pg(*words_of(command), code=4, PATH=path), said, command)


@pytest.mark.parametrize("command", COMMANDS.split("|"))
def test_docker_is_the_stand_in_of_wsl(idle, command):
    """Docker Desktop's script of that name explains itself on stdout: exit 4 and the switch."""
    text = "The command 'docker' could not be found in this WSL 2 distro.\n"
    text += "We recommend to activate the WSL integration in Docker Desktop settings.\n\n"
    text = f"\n{text}For details about using Docker Desktop with WSL 2, visit:\n\n"
    path = put_before(idle, "*", say(f"{text}https://docs.docker.com/go/wsl2/\n", stream=1))
    assert_said(idle.hive_pg(*words_of(command), code=4, PATH=path), STAND_IN, command)


SAID_BY_UP = {
    "name": (
        f'{DAEMON}Conflict. The container name "/hive-postgres" is already in use by container'
        f' "{"0" * 64}". You have to remove (or rename) that container to be able to reuse that'
        " name.",
        ("another container has that name", "hive-pg init chooses another")),
    "port: container": (
        f"{DAEMON}{ENDPOINT}Bind for 0.0.0.0:5532 failed: port is already allocated", PORT),
    "port: container, engine 28": (
        f"{DAEMON}failed to set up container networking: {ENDPOINT}Bind for 0.0.0.0:5532 failed:"
        " port is already allocated", PORT),
    "port: process, engine 27": (
        f"{DAEMON}{ENDPOINT}Error starting userland proxy: listen tcp4 0.0.0.0:5532: bind: address"
        " already in use", PORT),
    "port: process, engine 28": (
        f"{DAEMON}failed to bind host port for 0.0.0.0:5532:172.18.0.2:5432/tcp: address already in"
        " use", PORT),
    "port: process, engine 29": (
        f"{DAEMON}failed to bind host port 0.0.0.0:5532/tcp: address already in use", PORT),
    "port: Desktop on a Mac": (
        f"{DAEMON}Ports are not available: exposing port TCP 0.0.0.0:5532 -> 0.0.0.0:0: listen tcp"
        " 0.0.0.0:5532: bind: address already in use", PORT),
    "port: Desktop on Windows": (
        f"{DAEMON}Ports are not available: listen tcp 0.0.0.0:5532: bind: Only one usage of each"
        " socket address (protocol/network address/port) is normally permitted.", PORT),
    "port: Windows has reserved it": (
        f"{DAEMON}Ports are not available: listen tcp 0.0.0.0:5532: bind: An attempt was made to"
        " access a socket in a way forbidden by its access permissions.", PORT),
    "disk": (
        f"{DAEMON}write /var/lib/docker/tmp/x: no space left on device",
        ("the disk is full", "free space: df -h")),
    "networks": (
        f"{DAEMON}could not find an available, non-overlapping IPv4 address pool among the defaults"
        " to assign to the network",
        ("Docker has no addresses left for another network", "docker network prune")),
    "networks, engine 28": (
        f"{DAEMON}all predefined address pools have been fully subnetted",
        ("Docker has no addresses left for another network", "docker network prune")),
    "directory: Desktop": (
        f"{DAEMON}Mounts denied: \nThe path /srv/app/data/postgres is not shared from the host and"
        " is not known to Docker.",
        MOUNT),
    "directory: remote": (
        f'{DAEMON}invalid mount config for type "bind": bind source path does not exist:'
        " /srv/app/data/postgres",
        MOUNT),
    "directory: snap": (
        f"{DAEMON}error while creating mount source path '/srv/app/data/postgres': mkdir /srv:"
        " read-only file system",
        MOUNT),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID_BY_UP)
def test_start_is_refused(idle, what):
    """Docker refuses the container: exit 1, its words, what they mean and what helps."""
    text, said = SAID_BY_UP[what]
    idle.edit_memory(begun=True)  # as it is noted before a first start, once
    before = idle.snapshot()
    result = idle.hive_pg("start", code=1, PATH=put_before(idle, '"compose up"*', say(text)))
    assert_said(result, said)
    assert f"    {text.splitlines()[-1]}\n" in result.stderr
    assert idle.snapshot() == before


def test_address_is_not_this_machines(idle):
    """It cannot be published on: exit 1 with what is wrong, and the hint is the way out."""
    before = idle.snapshot()
    result = idle.init("--bind", "203.0.113.7", code=1)
    assert "cannot publish on 203.0.113.7" in result.stderr
    assert "this machine has no such address to publish on" in result.stderr
    assert "hint: hive-pg init --bind 127.0.0.1" in result.stderr
    assert idle.snapshot() == before
    idle.edit_env(HIVE_POSTGRES_BIND="203.0.113.7")
    result = idle.hive_pg("start", code=1)
    assert "this machine has no such address to publish on" in result.stderr
    assert "hint: hive-pg init --bind 127.0.0.1" in result.stderr
    idle.init("--bind", "127.0.0.1", "--no-start")
    docker("rm", "--force", idle.container)


@pytest.mark.parametrize("command", ["init", "status", "start", "check"])
def test_docker_prints_no_json(idle, command):
    """Something else is called docker: exit 4, one error that shows its words."""
    before = idle.snapshot()
    path = put_before(idle, "*", say("Hello, I am no Docker", 0, 1))
    result = idle.hive_pg(command, code=4, PATH=path)
    said = result.stdout if command == "check" else result.stderr
    assert said.count("`docker` does not print JSON, but: Hello, I am no Docker") == 1
    assert "see what it is: type -a docker" in said
    assert result.stderr.count("error: ") == (command != "check")
    assert idle.snapshot() == before


def test_stderr_is_closed(kept):
    """What is meant for stderr does not go where the results go."""
    kept.up()
    script = f"exec {kept.lab.script} status -v 2>&-"
    result = run(["sh", "-c", script], **kept.options())
    assert result.returncode == 0
    assert "running" in result.stdout
    assert "+ docker" not in result.stdout


# -- Compose ------------------------------------------------------------------------------------

WITHOUT_PLUGIN = {
    "docker 20": (1, "docker: 'compose' is not a docker command.\nSee 'docker --help'"),
    "docker 27": (125, "unknown flag: --short\nSee 'docker --help'."),
    "docker 28": (1, "docker: unknown command: docker compose\n\nRun 'docker --help' for more"),
}


def without_compose(workspace, code, text):
    """Put a docker first whose plugin Compose is not there, or broken; return its PATH."""
    info = f"""{shutil.which("docker")} "$@" | {shutil.which("sed")} 's/|[^|]*$/|/'; exit"""
    action = f'if [ "$1" = info ]; then {info}; fi; {say(text, code)}'
    return put_before(workspace, "compose* | info*", action)


@pytest.fixture(params=WITHOUT_PLUGIN)
def without_plugin(request, idle):
    """Give the PATH of a docker without the Compose plugin, of several versions."""
    return without_compose(idle, *WITHOUT_PLUGIN[request.param])


@pytest.mark.parametrize("command", ["init", "start", "run", "restart"])
def test_compose_is_missing(idle, without_plugin, command):
    """Neither the plugin nor docker-compose: exit 4, and where to get it."""
    path = without_plugin.partition(":")[0]
    assert_said(idle.hive_pg(*words_of(command), code=4, PATH=path), NO_COMPOSE)


def test_only_docker_compose_is_there(make):
    """Compose as a program of its own is used, and said to be."""
    workspace = make(actor="user", compose="standalone")
    said = workspace.hive_pg("init", "--no-start").stderr
    assert re.search(r"Docker [0-9.]+, Compose [0-9.]+\n", said)


def test_only_compose_1_is_there(idle, without_plugin):
    """Its end of life was in 2023: exit 4."""
    old = executable(idle, "docker-compose", "#!/bin/sh\necho 1.29.2\n").parent
    path = f"{old}:{without_plugin}"
    result = idle.hive_pg("start", code=4, PATH=path)
    assert_said(result, NO_COMPOSE)


@pytest.mark.parametrize("command", ["start", "status", "check", "logs"])
def test_compose_is_missing_and_not_needed(kept, command):
    """A database that runs is looked at without it."""
    kept.up()
    path = without_compose(kept, *WITHOUT_PLUGIN["docker 28"]).partition(":")[0]
    kept.hive_pg(command, PATH=path)


def test_compose_plugin_is_broken(idle):
    """What it says of itself is shown, with where to get another."""
    text = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found"
    path = without_compose(idle, 1, text).partition(":")[0]
    result = idle.hive_pg("start", code=4, PATH=path)
    assert_said(result, NO_COMPOSE)
    assert f"    {text}\n" in result.stderr


# -- images -------------------------------------------------------------------------------------


class Registry(http.server.BaseHTTPRequestHandler):
    """A registry that is asked for one image; its server says what it answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer like a registry; where there is no answer, keep whoever asks waiting."""
        answer = {} if self.path == "/v2/" else self.server.answer
        if answer is None:
            self.server.over.wait()
            self.close_connection = True
            return
        body = json.dumps(answer).encode()
        self.send_response(200 if self.path == "/v2/" else self.server.code)
        self.send_header("Content-Type", answer.get("mediaType", "application/json"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def registry(lab):
    """Give a registry of this machine; the daemon takes it without a certificate."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.image = f"127.0.0.1:{server.server_port}/hive/none:1"
        server.over = threading.Event()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def refusal(code, message):
    """Return the body with which a registry refuses."""
    return {"errors": [{"code": code, "message": message}]}


MANIFEST = "application/vnd.docker.distribution.manifest"
OTHER_PROCESSOR = {
    "mediaType": f"{MANIFEST}.v2+json",
    "digest": f"sha256:{'0' * 64}",
    "size": 1,
    "platform": {"os": "linux", "architecture": "s390x"},
}
ANSWERS = {
    "pull limit": (429, refusal("TOOMANYREQUESTS", "You have reached your pull limit"), "limit"),
    "no such tag": (404, refusal("MANIFEST_UNKNOWN", "manifest unknown"), "manifest unknown"),
    "private": (403, refusal("DENIED", "access to the resource is denied"), "is denied"),
    "other processor": (
        200,
        {
            "schemaVersion": 2,
            "mediaType": f"{MANIFEST}.list.v2+json",
            "manifests": [OTHER_PROCESSOR],
        },
        "no matching manifest",
    ),
    "out of order": (503, {}, "503 Service Unavailable"),
}


def assert_not_pulled(workspace, image, cause, remedy=PULL_REMEDY, **options):
    """Make sure that `init` with an image says why it is not to be had, and changes nothing."""
    before = workspace.snapshot()
    result = workspace.hive_pg("init", "--image", image, code=1, **options)
    assert f"error: cannot pull {image}: " in result.stderr
    assert_said(result, (cause, remedy))
    assert workspace.snapshot() == before


@pytest.mark.parametrize("answer", ANSWERS)
def test_image_is_refused_by_the_registry(idle, registry, answer):
    """A real registry's refusal, in this engine's words: exit 1, cause and next step."""
    registry.code, registry.answer, cause = ANSWERS[answer]
    assert_not_pulled(idle, registry.image, cause)


@pytest.mark.parametrize("where", ["name", "address"])
def test_image_without_a_network(idle, where):
    """No name server knows the registry, or nobody listens: exit 1, and an image that is here."""
    host = "nowhere.invalid" if where == "name" else f"127.0.0.1:{free_port()}"
    assert_not_pulled(idle, f"{host}/hive/none:1", "dial tcp")
    idle.init("--no-start")


def test_registry_hangs(idle, registry):
    """It accepts and never answers: given up in time, and not put down to the daemon."""
    registry.answer = None
    argv = [within(idle, PULL_TIMEOUT_S=2)]
    assert_not_pulled(idle, registry.image, "did not answer within 2 s", argv=argv)


def test_image_for_which_there_is_no_room(idle):
    """A full disk has its own remedy: exit 1, and nothing changes."""
    path = put_before(idle, "pull*", say("write /usr/lib/x: no space left on device"))
    said = ("the disk is full", "free space: df -h")
    assert_not_pulled(idle, "hive/none:1", *said, PATH=path)


def test_image_that_is_not_to_be_had_stops_nothing(kept):
    """`restart` with such an image in `.env` fails before it stops the database that runs."""
    kept.up()
    identity, text = kept.identity, (kept.path / ".env").read_text()
    kept.edit_env(HIVE_POSTGRES_IMAGE=f"127.0.0.1:{free_port()}/hive/none:1")
    result = kept.hive_pg("restart", code=1)
    kept.write(".env", text, 0o600)
    assert_said(result, ("connection refused", PULL_REMEDY))
    assert (kept.identity, kept.state) == (identity, "running")


# -- ~/.docker/config.json ----------------------------------------------------------------------


def home_with(workspace, config):
    """Make a home directory whose config.json says something."""
    home = executable(workspace, "home", "").parent
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(config)
    return str(home)


@pytest.mark.parametrize("helper", ["is missing", "fails"])
def test_credential_helper(make, helper):
    """Compose pulls an image for a service that the database's depends on, and gets no further."""
    workspace = make()
    image, port = workspace.lab.image, workspace.port
    workspace.write("docker-compose.yml", f"""\
        version: "3.4"
        services:
          postgres:
            image: "{image}"
            environment: [POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB]
            ports: ["127.0.0.1:{port}:5432"]
            depends_on: [cache]
          cache: {{image: "127.0.0.1:{free_port()}/hive/none:1"}}
        """)  # fmt: skip
    path = workspace.environment()["PATH"]
    if helper == "fails":
        script = "#!/bin/sh\ncat > /dev/null\necho 'gpg: decryption failed'\nexit 1\n"
        path = f"{executable(workspace, 'docker-credential-hive', script).parent}:{path}"
    home = home_with(workspace, '{"credsStore": "hive"}')
    result = workspace.hive_pg("init", code=1, HOME=home, PATH=path)
    assert re.search("error: `docker.*: .*error getting credentials", result.stderr)
    assert "(for an image: its name, the network, docker login)" in result.stderr


@pytest.mark.parametrize("config", ['{"credsStore": "hive"}', "{", "[]"])
def test_config_json_is_broken_and_not_needed(kept, config):
    """Neither a missing helper nor a damaged file bothers those whose image is here."""
    kept.up()
    home = home_with(kept, config)
    kept.hive_pg("init", HOME=home)
    assert json.loads(kept.hive_pg("status", "--json", HOME=home).stdout)["state"] == "running"
    kept.hive_pg("check", HOME=home)
    kept.hive_pg("logs", HOME=home)
