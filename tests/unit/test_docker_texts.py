"""What Docker and PostgreSQL say, version by version, and what becomes of it."""

import json
import re

import pytest
from fakes import make_info, make_url, recorded

from hive_pg import (
    CONTAINER_DIAGNOSES,
    DOCKER_DIAGNOSES,
    LOGIN_DIAGNOSES,
    CommandResult,
    ContainerConflictError,
    ContainerStartupError,
    ContainerState,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    EnvFileError,
    ExitCode,
    Health,
    NotSetUpError,
    PostgreSQLIntegrationError,
    Readiness,
    build_docker_error,
    build_script_argv,
    build_startup_error,
    diagnose,
    last_line,
    mask_values,
    parse_containers,
    parse_time,
    read_probe,
)

INSPECT = json.dumps(recorded("docker_inspect_20.10.24.json"))
SOCKET = "unix:///var/run/docker.sock"
DAEMON = "Error response from daemon: "

# {words of the cause: {which program said it: what}}, in the order of each table.
DOCKER_TEXTS = {
    "may not use Docker's socket": {
        "docker 20": "Got permission denied while trying to connect to the Docker daemon socket at"
        f' {SOCKET}: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/json": dial unix',
        "docker 28": "permission denied while trying to connect to the Docker daemon socket at"
        f' {SOCKET}: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix'
        " /var/run/docker.sock: connect: permission denied",
        "docker 29": f"permission denied while trying to connect to the docker API at {SOCKET}",
        "Compose v1": "docker.errors.DockerException: Error while fetching server API version:"
        " ('Connection aborted.', PermissionError(13, 'Permission denied'))",
    },
    "stand-in in this WSL": {
        "WSL 2": "The command 'docker' could not be found in this WSL 2 distro.\nWe recommend to"
        " activate the WSL integration in Docker Desktop settings.",
        "WSL 1": "The command 'docker' could not be found in this WSL 1 distro.",
    },
    "daemon does not run": {
        "docker 28": f"Cannot connect to the Docker daemon at {SOCKET}."
        " Is the docker daemon running?",
        "docker 29, no socket": f"failed to connect to the docker API at {SOCKET}; check if the"
        " path is correct and if the daemon is running: dial unix /var/run/docker.sock: connect:"
        " no such file or directory",
        "docker 29, no such host": "failed to connect to the docker API at tcp://nowhere:2375:"
        " dial tcp: lookup nowhere: no such host",
        "Windows 28": 'error during connect: Get "http://%2F%2F.%2Fpipe%2Fdocker_engine/v1.24/'
        'info": open //./pipe/docker_engine: The system cannot find the file specified.',
        "Windows 29": "failed to connect to the docker API at npipe:////./pipe/docker_engine",
        "Windows, German": "open //./pipe/dockerDesktopLinuxEngine: Das System kann die angegebene"
        " Datei nicht finden.",
        "Docker Desktop": DAEMON + "open \\\\.\\pipe\\docker_engine_linux: The system cannot find"
        " the file specified.",
        "no such context": 'Failed to initialize: unable to resolve docker endpoint: context "x":'
        " context not found: open /home/ann/.docker/contexts/meta/0/meta.json: no such file or"
        " directory",
        "Compose v1": "docker.errors.DockerException: Error while fetching server API version:"
        " ('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))",
    },
    "still starting, or broken": {
        "Docker Desktop": "request returned 500 Internal Server Error for API route and version"
        " http://%2F%2F.%2Fpipe%2Fx/v1.24/info, check if the server supports the requested API",
        "older": "request returned Internal Server Error for API route and version http://x/v1.24",
    },
    "too far apart": {
        "engine 29": DAEMON + "client version 1.41 is too old. Minimum supported API version is"
        " 1.44, please upgrade your client to a newer version",
        "engine 20.10": DAEMON + "client version 1.50 is too new. Maximum supported API version is"
        " 1.41",
    },
    "ended, was paused, or was about to start again": {  # engine 20.10, runc 1.1
        "gone": DAEMON + "Container 0123 is not running",
        "restarting": DAEMON + "Container 0123 is restarting, wait until the container is running",
        "paused": DAEMON + "Container 0123 is paused, unpause the container before exec",
        "stopped": "OCI runtime exec failed: exec failed: cannot exec in a stopped container",
        "stopped, newer": "OCI runtime exec failed: exec failed: unable to start container process:"
        " cannot exec in a stopped state",
        "deleted": "OCI runtime exec failed: exec failed: cannot exec in a deleted state",
        "pipe": "OCI runtime exec failed: exec failed: unable to start container process: error"
        " writing config to pipe: write init-p: broken pipe",
        "reset": "OCI runtime exec failed: exec failed: unable to start container process: read"
        " init-p: connection reset by peer",
        "setns": "OCI runtime exec failed: exec failed: unable to start container process: error"
        " executing setns process: exit status 1",
        "upgrade": "unable to upgrade to tcp, received 500",
        "upgrade, ended before": "unable to upgrade to tcp, received 409",
    },
    "has the port": {
        "container": DAEMON + "driver failed programming external connectivity on endpoint"
        " hive-postgres (0123): Bind for 0.0.0.0:5532 failed: port is already allocated",
        "container, engine 28.5": DAEMON + "failed to set up container networking: driver failed"
        " programming external connectivity on endpoint hive-postgres (0123): Bind for"
        " 0.0.0.0:5532 failed: port is already allocated",
        "process, engine 27": DAEMON + "driver failed programming external connectivity on endpoint"
        " x (0123): Error starting userland proxy: listen tcp4 0.0.0.0:5532: bind: address already"
        " in use",
        "process, engine 28": DAEMON + "failed to bind host port for 0.0.0.0:5532:172.18.0.2:5432/"
        "tcp: address already in use",
        "process, engine 29": DAEMON + "failed to bind host port 0.0.0.0:5532/tcp: address already"
        " in use",
        "Desktop on a Mac": DAEMON + "Ports are not available: exposing port TCP 0.0.0.0:5532 ->"
        " 0.0.0.0:0: listen tcp 0.0.0.0:5532: bind: address already in use",
        "Desktop on Windows": DAEMON
        + "Ports are not available: listen tcp 0.0.0.0:5532: bind: Only"
        " one usage of each socket address (protocol/network address/port) is normally permitted.",
        "Windows, one usage": "bind: Only one usage of each socket address is normally permitted.",
        "Windows, reserved": "listen tcp 0.0.0.0:5532: bind: An attempt was made to access a socket"
        " in a way forbidden by its access permissions.",
    },
    "no such address": {
        "docker": "driver failed programming external connectivity on endpoint hive-postgres (0123)"
        ": Error starting userland proxy: listen tcp4 10.9.9.9:5532: bind: cannot assign requested"
        " address",
    },
    "has that name": {
        "all versions": DAEMON + 'Conflict. The container name "/hive-postgres" is already in use'
        f' by container "{"0" * 64}". You have to remove (or rename) that container to be able to'
        " reuse that name.",
    },
    "pull limit": {
        "new": DAEMON + "toomanyrequests: You have reached your unauthenticated pull rate limit."
        " https://www.docker.com/increase-rate-limit",
        "older": "toomanyrequests: You have reached your pull rate limit. You may increase the"
        " limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
        "containerd": DAEMON + 'failed to resolve reference "x:1": unexpected status from HEAD'
        " request to https://registry.example/v2/x/manifests/1: 429 Too Many Requests",
    },
    "does not exist for this processor": {
        "all versions": "no matching manifest for linux/arm64/v8 in the manifest list entries",
        "containerd": "no match for platform in manifest: not found",
    },
    "no such image, or it is private": {
        "denied": DAEMON + "pull access denied for nope/nope, repository does not exist or may"
        " require 'docker login': denied: requested access to the resource is denied",
        "no tag": DAEMON + "manifest for agnohq/pgvector:17 not found: manifest unknown: manifest"
        " unknown",
        "no tag, containerd": DAEMON + 'failed to resolve reference "registry.example/x:1":'
        " registry.example/x:1: not found",
        "no repository": DAEMON + "name unknown",
        "denied, elsewhere": DAEMON + "denied",
        "login expired": DAEMON + 'Head "https://registry.example/v2/x/manifests/1": unauthorized:'
        " incorrect username or password",
    },
    "credential helper": {
        "compose": 'error getting credentials - err: exec: "docker-credential-desktop": executable'
        " file not found in $PATH, out: ``",
        "Compose v1, missing": "docker.credentials.errors.InitializationError:"
        " docker-credential-desktop not installed or not available in PATH",
        "Compose v1, broken": "docker.errors.DockerException: Credentials store error: StoreError("
        "'Credentials store docker-credential-desktop exited with \"\".')",
    },
    "registry is out of reach": {
        "DNS": DAEMON + 'Get "https://registry.example/v2/": dial tcp: lookup'
        " registry.example: no such host",
        "headers": DAEMON + 'Get "https://registry.example/v2/": net/http: request canceled'
        " while waiting for connection (Client.Timeout exceeded while awaiting headers)",
        "deadline": "Get https://registry.example/v2/: context deadline exceeded",
        "i/o": "dial tcp 192.0.2.1:443: i/o timeout",
        "TLS": "net/http: TLS handshake timeout",
        "reset": "read tcp 10.0.0.2:5->192.0.2.1:443: read: connection reset by peer",
        "certificate": "tls: failed to verify certificate: x509: certificate signed by unknown"
        " authority",
        "refused": "dial tcp 127.0.0.1:5000: connect: connection refused",
        "unreachable": "dial tcp 192.0.2.1:443: connect: network is unreachable",
        "name server": "dial tcp: lookup registry.example: server misbehaving",
        "out of order": DAEMON + "received unexpected HTTP status: 503 Service Unavailable",
        "out of order, containerd": "unexpected status from HEAD request to"
        " https://registry.example/v2/x/manifests/1: 503 Service Unavailable",
    },
    "Docker's disk is full": {
        "layer": "failed to register layer: write /usr/lib/x: no space left on device",
        "blob": "write /var/lib/docker/tmp/GetImageBlob123: no space left on device",
    },
    "no addresses left": {
        "engine 20.10": DAEMON + "could not find an available, non-overlapping IPv4 address pool"
        " among the defaults to assign to the network",
        "engine 28": DAEMON + "all predefined address pools have been fully subnetted",
    },
    "may not read this directory": {
        "Desktop": DAEMON + "Mounts denied: \nThe path /srv/app/data/postgres is not shared from"
        " the host and is not known to Docker.",
    },
    "does not see the data directory": {
        "bind": DAEMON + 'invalid mount config for type "bind": bind source path does not exist:'
        " /w/data/postgres",
        "snap": DAEMON + "error while creating mount source path '/srv/w/data/postgres': mkdir"
        " /srv: read-only file system",
    },
}
CONTAINER_TEXTS = {
    "another major version": {
        "18 on 16": "FATAL:  database files are incompatible with server\nDETAIL:  The data"
        " directory was initialized by PostgreSQL version 16, which is not compatible with this"
        " version 18.4.",
    },
    "server setting": {
        "unknown": 'FATAL:  unrecognized configuration parameter "max_conections"',
        "not a number": 'FATAL:  invalid value for parameter "shared_buffers": "lots"',
        "argument": 'postgres: invalid argument: "x"',
        "range": '-1 is outside the valid range for parameter "max_connections" (1 .. 262143)',
    },
    "belongs to another user": {
        "made by Docker": "mkdir: cannot create directory ‘/var/lib/postgresql/data/pgdata’:"
        " Permission denied",
        "straight quotes": "mkdir: cannot create directory '/d': Permission denied",
        "no chmod": "chmod: changing permissions of '/d': Operation not permitted\ninitdb: error:"
        ' could not change permissions of directory "/d": Operation not permitted',
        "other owner": 'FATAL:  data directory "/d" has wrong ownership\nHINT:  The server must be'
        " started by the user that owns the data directory.",
        "closed": 'initdb: error: could not access directory "/d": Permission denied',
        "looks empty": "Error: Database is uninitialized and superuser password is not specified.",
    },
    "open to others": {
        "0777": 'FATAL:  data directory "/d" has invalid permissions\nDETAIL:  Permissions should'
        " be u=rwx (0700) or u=rwx,g=rx (0750).",
    },
    "no PG_VERSION": {
        "initdb": 'initdb: error: directory "/d" exists but is not empty\ninitdb: hint: If you',
    },
    "shm is too small": {
        "parallel": 'ERROR:  could not resize shared memory segment "/PostgreSQL.1" to 63999360'
        " bytes: No space left on device",
    },
    "is full": {
        "wal": 'PANIC:  could not write to file "pg_wal/xlogtemp.9": No space left on device',
        "initdb": 'could not write to file "base/4/1247": No space left on device',
    },
    "cluster is incomplete": {
        "checkpoint": "PANIC:  could not locate a valid checkpoint record",
        "system": 'postgres: could not find the database system\nExpected to find it in "/d"',
        "control": 'FATAL:  could not open file "/d/global/pg_control": No such file or directory',
        "map": 'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
        "configuration": "postgres: could not access the server configuration file"
        ' "/d/postgresql.conf": No such file or directory',
        "hba": "FATAL:  could not load /var/lib/postgresql/data/pgdata/pg_hba.conf",
    },
    "disk was full": {"pid file": 'FATAL:  lock file "postmaster.pid" is empty\nHINT:  Either'},
    "another server runs": {
        "pid file": 'FATAL:  lock file "postmaster.pid" already exists\nHINT:  Is another'
        ' postmaster (PID 7) running in data directory "/d"?',
        "memory": "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use",
    },
    "too little memory": {
        "buffers": "FATAL:  could not map anonymous shared memory: Cannot allocate memory",
        "allocation": "FATAL:  out of memory",
    },
    "image is for another processor": {
        "docker": "exec /usr/local/bin/docker-entrypoint.sh: exec format error",
    },
}
LOGIN_TEXTS = {
    "refuses the user and password": {
        "16": 'psql: error: connection to server at "172.18.0.2", port 5432 failed: FATAL: '
        ' password authentication failed for user "ann"',
    },
    "asks nobody for a password": {
        "trust": 'psql: error: connection to server at "172.18.0.2", port 5432 failed:'
        ' authentication method requirement "!none" failed: server did not complete authentication',
    },
    "lets nobody in": {
        "half an init": 'FATAL:  no pg_hba.conf entry for host "172.18.0.1", user "ann", database'
        ' "hive", no encryption',
    },
    "no such database": {"other": 'FATAL:  database "hive" does not exist'},
    "cluster is incomplete": {
        "map": 'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
    },
    "connections are in use": {
        "all": "FATAL:  sorry, too many clients already",
        "but the superuser's": "FATAL:  remaining connection slots are reserved for roles with the"
        " SUPERUSER attribute",
    },
    "knows no such user": {"socket": 'psql: error: FATAL:  role "ann" does not exist'},
}
TABLES = {
    "docker": (DOCKER_DIAGNOSES, DOCKER_TEXTS),
    "container": (CONTAINER_DIAGNOSES, CONTAINER_TEXTS),
    "login": (LOGIN_DIAGNOSES, LOGIN_TEXTS),
}
ROWS = [
    pytest.param(table, number, text, words, id=f"{name}: {words}, {who}")
    for name, (table, texts) in TABLES.items()
    for number, (words, samples) in enumerate(texts.items())
    for who, text in samples.items()
]


@pytest.mark.parametrize(("table", "number", "text", "words"), ROWS)
def test_diagnose_text(table, number, text, words):
    """Each text is explained by the row that is meant for it, in whatever company it comes."""
    found = diagnose(f"some noise\n{text}\nmore noise\n", table)
    assert found is table[number]
    assert words in found.cause


@pytest.mark.parametrize("name", TABLES)
def test_diagnose_rows_reached(name):
    """No row is without a text, each has a remedy, and its pattern begins as people meet it."""
    table, texts = TABLES[name]
    assert len(table) == len(texts)
    assert all(row.remedy for row in table)


FIRST_START = """\
chmod: changing permissions of '/var/run/postgresql': Operation not permitted
The files belonging to this database system will be owned by user "postgres".
fixing permissions on existing directory /var/lib/postgresql/data/pgdata ... ok
creating subdirectories ... ok
initdb: warning: enabling "trust" authentication for local connections
LOG:  database system was interrupted; last known up at 2026-11-23 15:54:30 UTC
LOG:  database system was not properly shut down; automatic recovery in progress
PostgreSQL Database directory appears to contain a database; Skipping initialization
LOG:  listening on IPv4 address "0.0.0.0", port 5432
FATAL:  the database system is starting up
LOG:  database system is ready to accept connections
"""


@pytest.mark.parametrize(
    ("text", "table"),
    [
        pytest.param(FIRST_START, CONTAINER_DIAGNOSES, id="a start as usual"),
        pytest.param("", CONTAINER_DIAGNOSES, id="silence"),
        pytest.param("docker: 'compose' is not a docker command.", DOCKER_DIAGNOSES, id="20.10"),
        pytest.param("unknown flag: --short", DOCKER_DIAGNOSES, id="no plugin, 27"),
        pytest.param("docker: unknown command: docker compose", DOCKER_DIAGNOSES, id="28"),
        pytest.param("fe_sendauth: no password supplied", LOGIN_DIAGNOSES, id="no password"),
        pytest.param("unable to upgrade to tcp, received 200", DOCKER_DIAGNOSES, id="a proxy"),
    ],
)
def test_diagnose_nothing(text, table):
    """What is usual, or means something else, is not explained away."""
    assert diagnose(text, table) is None


@pytest.mark.parametrize(
    ("stderr", "error", "message"),
    [
        *(
            pytest.param(text, DockerNotAvailableError, f"asking: .*{words}", id=f"{words}, {who}")
            for words, samples in list(DOCKER_TEXTS.items())[:5]
            for who, text in samples.items()
        ),
        *(
            pytest.param(text, ContainerStartupError, words, id=f"{words}, {who}")
            for words, samples in list(DOCKER_TEXTS.items())[5:6]
            for who, text in samples.items()
        ),
        *(
            pytest.param(next(iter(samples.values())), DockerCommandError, words, id=words)
            for words, samples in list(DOCKER_TEXTS.items())[6:]
        ),
        pytest.param("\nodd\nlast\n\n", DockerCommandError, "asking: last$", id="unknown"),
        pytest.param("", DockerCommandError, "asking: exit code 9$", id="silent"),
    ],
)
def test_build_docker_error_class(stderr, error, message):
    """Docker out of reach is exit 4, a refusal exit 1; Docker's own words are kept."""
    made = build_docker_error(CommandResult(["docker", "x"], 9, "out", stderr), "asking")
    assert type(made) is error
    assert re.search(message, str(made))
    assert made.detail == stderr
    assert made.exit_code is error.exit_code


def test_build_docker_error_stdout():
    """Docker Desktop's stand-in in WSL explains itself on stdout; only the cause is taken there."""
    text = "\nThe command 'docker' could not be found in this WSL 2 distro.\n"
    made = build_docker_error(CommandResult(["docker", "x"], 1, text, ""), "asking")
    assert (type(made), made.detail) == (DockerNotAvailableError, "")
    assert "stand-in" in str(made)


def test_build_docker_error_traceback():
    """Compose v1 ends in a traceback: its last line is what people get to see."""
    text = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 1\n'
    made = build_docker_error(CommandResult(["docker-compose", "up"], 1, "", text), "asking")
    assert (str(made), made.detail) == ("asking: KeyError: 1", "KeyError: 1")


def test_exit_codes():
    """Each class of error has the exit code that the issue's table names."""
    assert DockerNotAvailableError.exit_code is ExitCode.DOCKER_UNAVAILABLE
    assert DockerCommandError.exit_code is ExitCode.FAILED
    assert ContainerStartupError.exit_code is ExitCode.UNHEALTHY
    assert DatabaseConnectionError.exit_code is ExitCode.UNHEALTHY
    assert CredentialsRefusedError.exit_code is ExitCode.CREDENTIALS_REFUSED
    assert ContainerConflictError.exit_code is ExitCode.FAILED
    assert NotSetUpError.exit_code is ExitCode.NOT_RUNNING
    assert EnvFileError.exit_code is ExitCode.FAILED


# -- containers ----------------------------------------------------------------------------------


def test_parse_containers_recorded():
    """Every state that an engine shows is read: running, created, exited, restarting, paused."""
    seen = [
        (info.name, info.state, info.health, info.exit_code, info.restart_count > 0, info.ports)
        for info in parse_containers(INSPECT)
    ]
    state, health = ContainerState, Health
    assert seen == [
        ("unit-rec-healthy", state.RUNNING, health.HEALTHY, 0, False, [("127.0.0.1", 56321)]),
        ("unit-rec-created", state.CREATED, health.NONE, 0, False, [("0.0.0.0", 56322)]),
        ("unit-rec-exited", state.EXITED, health.NONE, 1, False, []),
        ("unit-rec-restarting", state.RESTARTING, health.NONE, 3, True, [("127.0.0.1", 56323)]),
        ("unit-rec-paused", state.PAUSED, health.NONE, 0, False, []),
        ("unit-rec-unhealthy", state.RUNNING, health.UNHEALTHY, 0, False, []),
    ]


def test_parse_containers_port_range():
    """A range of host ports, which somebody else's container may have, is no fixed port."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    ports = [{"HostIp": "", "HostPort": text} for text in ("", "56390-56399", "5599")]
    item["HostConfig"]["PortBindings"]["5432/tcp"] = ports
    assert parse_containers(json.dumps([item]))[0].ports == [("0.0.0.0", 5599)]


@pytest.mark.parametrize(("streak", "health"), [(0, Health.STARTING), (10, Health.UNHEALTHY)])
def test_parse_containers_after_pause(streak, health):
    """The engine calls a container unhealthy before it checks it again: that is no failure."""
    item = recorded("docker_inspect_20.10.24.json")[0]
    item["State"]["Health"].update(Status="unhealthy", FailingStreak=streak)
    assert parse_containers(json.dumps([item]))[0].health is health


def test_parse_containers_of_compose():
    """Of a container that Compose made, its origin, user, mounts and environment are known."""
    info = parse_containers(INSPECT)[0]
    assert (info.project, info.working_dir) == ("unit-rec", "/tmp/unit-rec/app")
    assert (info.user, info.image, info.oom_killed) == (
        "1000:1000",
        "hive-pg-test/pgvector:16",
        False,
    )
    assert info.mounts == [("/tmp/unit-rec/app/data/postgres", "/var/lib/postgresql/data")]
    assert info.environment["POSTGRES_PASSWORD"] == "recorded-password"
    assert info.started_at == parse_time("2026-11-23T15:54:30Z")
    assert info.running
    assert "recorded-password" not in f"{info} {info!r}"


def test_parse_containers_of_others():
    """Of a container that Compose did not make there is no project; a volume has its name."""
    infos = parse_containers(INSPECT)[1:]
    assert {(info.project, info.working_dir, info.user) for info in infos} == {("", "", "")}
    assert infos[0].mounts == [("unit-rec-volume", "/var/lib/postgresql/data")]
    assert infos[0].place == ("", "unit-rec-volume")
    assert infos[4].mounts[0] == ("/tmp/unit-rec/app/data", "/srv")
    assert [info.running for info in infos] == [False, False, False, False, True]


@pytest.mark.parametrize("text", ["Hello from docker", "{", "[{]", "\n"])
def test_parse_json_of_another_program(text):
    """What is called docker and prints no JSON is not Docker: exit 4, its words, a way to see."""
    with pytest.raises(DockerNotAvailableError, match="`docker` does not print JSON") as caught:
        parse_containers(text)
    assert last_line(text) in str(caught.value)
    assert caught.value.hint == "see what it is: type -a docker"


SECRETS = {
    "interpolation": 'invalid interpolation format for services.p.environment.X: "MARKED${"',
    "own line": "invalid interpolation format for services.p.environment.X.\n"
    "You may need to escape any $ with another $.\nMARKED${\nMARKED",
    "capital": 'Invalid interpolation format for "environment" option: "MARKED${"',
    "template": 'failed to read .env: Invalid template: "MARKED${"',
    "several": 'invalid template: "a\nMARKED${"\nand near "x": "MARKED"',
    "near": 'unexpected character "$" in variable name near "MARKED${\\nB=MARKED\\n"',
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_mask_values_of_compose(text):
    """What Compose quotes of a value in an error is not passed on."""
    masked = mask_values(text)
    assert "MARKED" not in masked
    assert masked.startswith(text.split('"')[0].split("\n")[0])


@pytest.mark.parametrize("text", ["", "[]", "[]\n"])
def test_parse_containers_none(text):
    """No container is no error."""
    assert parse_containers(text) == []


@pytest.mark.parametrize(
    ("info", "message", "hint"),
    [
        pytest.param(None, "container c was removed", "hive-pg start", id="removed"),
        pytest.param({"state": "paused"}, "container c is paused", "docker unpause c", id="paused"),
        pytest.param(
            {"state": "exited", "exit_code": 1},
            "container c stopped with exit code 1: its last words are below",
            "hive-pg logs",
            id="exited",
        ),
        pytest.param(
            {"state": "exited", "exit_code": 0},
            "container c stopped with exit code 0: it was told to, or has nothing to do",
            "hive-pg start; if it stops again, see hive-pg logs",
            id="told to stop",
        ),
        pytest.param(
            {"state": "restarting", "exit_code": 3},
            "container c keeps restarting (exit code 3): its last",
            "hive-pg logs",
            id="restarting",
        ),
        pytest.param(
            {"state": "running", "restart_count": 5},
            "container c restarted 5 times: its last",
            "hive-pg logs",
            id="running again",
        ),
        pytest.param({"state": "dead"}, "container c is dead", "hive-pg logs", id="dead"),
        pytest.param({"state": "created"}, "container c is created", "hive-pg logs", id="created"),
        pytest.param(
            {"state": "exited", "exit_code": 137, "oom_killed": True},
            "exit code 137: the kernel ended it for lack of memory",
            "give Docker more memory",
            id="out of memory",
        ),
    ],
)
def test_build_startup_error_state(info, message, hint):
    """What became of the container is said, with its last words and the next step."""
    if info:
        info = make_info(name="c", **{**info, "state": ContainerState(info["state"])})
    error = build_startup_error(info, "c", "last\nwords\n")
    assert message in str(error)
    assert error.hint == hint
    assert error.exit_code is ExitCode.UNHEALTHY


@pytest.mark.parametrize("words", CONTAINER_TEXTS)
def test_build_startup_error_diagnosis(words):
    """What the last words mean is said, with the remedy of their row, and the words are kept."""
    logs = next(iter(CONTAINER_TEXTS[words].values()))
    info = make_info(state=ContainerState.EXITED, exit_code=1)
    error = build_startup_error(info, "c", logs)
    assert words in str(error)
    assert error.hint == diagnose(logs, CONTAINER_DIAGNOSES).remedy
    assert error.detail == logs


# -- the probe -----------------------------------------------------------------------------------


def probe(code, stdout="", stderr=""):
    """Return what a probe's end is read as."""
    return read_probe(CommandResult(["docker", "exec"], code, stdout, stderr))


@pytest.mark.parametrize(
    ("stdout", "versions"),
    [
        pytest.param("16.14|0.8.5|0.8.5\n", ("16.14", "0.8.5", "0.8.5"), id="all"),
        pytest.param("16.14|0.8.5|\n", ("16.14", "0.8.5", ""), id="not created"),
        pytest.param("16.14||\n", ("16.14", "", ""), id="no pgvector"),
        pytest.param(
            "16.2 (Debian 16.2-1.pgdg120+2)|0.6.2|0.6.2\n", ("16.2", "0.6.2", "0.6.2"), id="Debian"
        ),
        pytest.param(
            "NOTICE\n18.4|0.8.5|0.8.5\n\n", ("18.4", "0.8.5", "0.8.5"), id="after a notice"
        ),
    ],
)
def test_read_probe_success(stdout, versions):
    """A login tells the versions of PostgreSQL and pgvector."""
    result = probe(0, stdout)
    assert (result.readiness, result.error) == (Readiness.ACCEPTING, None)
    assert (result.server_version, result.available_version, result.created_version) == versions


NOT_RUNNING = DAEMON + "Container 0123 is not running"
RESTARTING = DAEMON + "Container 0123 is restarting, wait until the container is running"


@pytest.mark.parametrize(
    ("code", "stderr", "readiness", "error", "message"),
    [
        pytest.param(1, NOT_RUNNING, "unknown", ContainerStartupError, "ended", id="1, ended"),
        pytest.param(1, RESTARTING, "unknown", ContainerStartupError, "ended", id="1, restarting"),
        pytest.param(
            1,
            DOCKER_TEXTS["daemon does not run"]["docker 28"],
            "unknown",
            DockerNotAvailableError,
            "daemon does not run",
            id="1, no daemon",
        ),
        pytest.param(2, "", "unknown", ContainerStartupError, "ended", id="2"),
        pytest.param(
            64,
            "its own address is '127.0.0.1'",
            "unknown",
            DockerCommandError,
            "'127.0.0.1'",
            id="64",
        ),
        pytest.param(71, "", "rejecting", DatabaseConnectionError, "starts, stops", id="71"),
        pytest.param(
            71,
            "WARNING: Error loading config file: no permission",
            "rejecting",
            DatabaseConnectionError,
            "starts, stops",
            id="71, docker warns",
        ),
        pytest.param(72, "", "no response", DatabaseConnectionError, "nothing answers", id="72"),
        pytest.param(73, "no attempt", "unknown", DockerCommandError, "no attempt", id="73"),
        pytest.param(
            81,
            'ERROR:  extension "vector" is not available',
            "accepting",
            PostgreSQLIntegrationError,
            "cannot be created in the database: ERROR:  ext",
            id="81",
        ),
        pytest.param(
            82,
            "psql: error: could not\ntranslate host name",
            "accepting",
            DatabaseConnectionError,
            "the login failed: translate host name",
            id="82, unknown words",
        ),
        pytest.param(
            126, "exec: permission denied", "unknown", DockerCommandError, "denied", id="126"
        ),
        pytest.param(
            127, "sh: psql: not found", "unknown", DockerCommandError, "not found", id="127"
        ),
        pytest.param(137, "", "unknown", ContainerStartupError, "ended", id="137"),
        pytest.param(197, "", "unknown", ContainerStartupError, "ended", id="197"),
    ],
)
def test_read_probe_failure(code, stderr, readiness, error, message):
    """Every exit code has one meaning: readiness now, and why there was no login."""
    result = probe(code, "", stderr)
    assert result.readiness is Readiness(readiness)
    assert type(result.error) is error
    assert message in str(result.error)
    assert result.server_version == ""


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("refuses the user and password", CredentialsRefusedError),
        ("asks nobody for a password", CredentialsRefusedError),
        ("lets nobody in", CredentialsRefusedError),
        ("no such database", DatabaseConnectionError),
        ("connections are in use", DatabaseConnectionError),
    ],
)
def test_read_probe_login_refused(words, error):
    """A login that the server refuses says by its class whether the credentials are to blame."""
    for text in LOGIN_TEXTS[words].values():
        result = probe(82, "", text)
        assert type(result.error) is error
        assert words in str(result.error)
        assert result.error.hint
        assert result.readiness is Readiness.ACCEPTING


FAILED = 'psql: error: connection to server at "172.17.0.2", port 5432 failed: '
LOST = "server closed the connection unexpectedly\n\tThis probably means the server terminated"
LOST += " abnormally\n\tbefore or while processing the request."


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        pytest.param(f"{FAILED}FATAL:  the database system is {words}", words, id=words)
        for words in ("starting up", "shutting down", "in recovery mode")
    ]
    + [
        pytest.param(FAILED + LOST, "server closed the connection unexpectedly", id="crash"),
        pytest.param("FATAL:  terminating connection due to administrator command", "", id="stop"),
        pytest.param(
            FAILED + "could not receive data from server: Connection reset by peer", "", id="reset"
        ),
        pytest.param(
            FAILED + "Connection refused\n\tIs the server running on that host and accepting"
            " TCP/IP connections?",
            "Connection refused",
            id="refused",
        ),
        pytest.param(FAILED + "timeout expired", "timeout expired", id="timeout"),
    ],
)
@pytest.mark.parametrize("before", ["", "WARNING: Error loading config file: no permission\n"])
def test_read_probe_not_now(before, stderr, said):
    """A server that goes while somebody logs in refuses nobody: it is to be asked again."""
    result = probe(82, "", before + stderr)
    assert result.readiness is Readiness.REJECTING
    assert type(result.error) is DatabaseConnectionError
    assert str(result.error).startswith("PostgreSQL does not accept connections: ")
    assert str(result.error).endswith(said or stderr)


def test_build_script_argv_secret():
    """The password is nowhere in the argv; user, database and what is more are its end."""
    url = make_url(user="a b", database="d")
    argv = build_script_argv("name", url, "exit", "2", "select 1")
    assert argv[-5:] == ["hive-pg", "a b", "d", "2", "select 1"]
    assert argv[:2] == ["docker", "exec"]
    assert "s3cret" not in " ".join(argv)


# -- small ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("\n \n", ""), ("a\n b \n\n", "b"), ("a\r\n", "a")],
    ids=["nothing", "blank", "two", "CRLF"],
)
def test_last_line_text(text, line):
    """The last line with anything in it, without blanks around it."""
    assert last_line(text) == line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1970-01-01T00:00:00Z", 0, id="epoch"),
        pytest.param("2026-11-23T15:54:30.563837925Z", 1795449270, id="nanoseconds"),
        pytest.param("0001-01-01T00:00:00Z", -62135596800, id="never"),
    ],
)
def test_parse_time_text(text, seconds):
    """Docker's times are UTC."""
    assert parse_time(text) == seconds
