"""What Docker and PostgreSQL say, version by version, and what becomes of it."""

import re

import pytest

from hive_pg import (
    DIAGNOSES,
    CommandResult,
    ContainerConflictError,
    ContainerStartupError,
    CredentialsRefusedError,
    DatabaseConnectionError,
    DockerCommandError,
    DockerNotAvailableError,
    EnvFileError,
    ExitCode,
    NotSetUpError,
    PostgreSQLIntegrationError,
    Repair,
    build_error,
    check_result,
    diagnose,
    mask_values,
)

SOCKET = "unix:///var/run/docker.sock"
DAEMON = "Error response from daemon: "
NO_DAEMON = f"Cannot connect to the Docker daemon at {SOCKET}."
SKIPPING = 'NOTICE:  table "documents" does not exist, skipping\n'

# {words of the cause: {which program said it: what}}.
DOCKER_TEXTS = {
    "may not use Docker's socket": {
        "docker 20": "Got permission denied while trying to connect to the Docker daemon socket at"
        f' {SOCKET}: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/json": dial unix',
        "docker 28": "permission denied while trying to connect to the Docker daemon socket at"
        f' {SOCKET}: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix'
        " /var/run/docker.sock: connect: permission denied",
        "docker 29": f"permission denied while trying to connect to the docker API at {SOCKET}",
    },
    "stand-in in this WSL": {
        "WSL 2": "The command 'docker' could not be found in this WSL 2 distro.\nWe recommend to"
        " activate the WSL integration in Docker Desktop settings.",
        "WSL 1": "The command 'docker' could not be found in this WSL 1 distro.",
    },
    "daemon is not running": {
        "docker 28": f"{NO_DAEMON} Is the docker daemon running?",
        "docker 29, no socket": f"failed to connect to the docker API at {SOCKET}; check if the"
        " path is correct and if the daemon is running: dial unix /var/run/docker.sock: connect:"
        " no such file or directory",
        "Windows 28": 'error during connect: Get "http://%2F%2F.%2Fpipe%2Fdocker_engine/v1.24/'
        'info": open //./pipe/docker_engine: The system cannot find the file specified.',
        "Windows 29": "failed to connect to the docker API at npipe:////./pipe/docker_engine",
        "Docker Desktop": DAEMON + "open \\\\.\\pipe\\docker_engine_linux: The system cannot find"
        " the file specified.",
        "odd DOCKER_HOST": "unable to parse docker host `foo`",
        "Desktop, starting": "request returned 500 Internal Server Error for API route and version"
        " http://%2F%2F.%2Fpipe%2Fx/v1.24/info, check if the server supports the requested API",
        "older": "request returned Internal Server Error for API route and version http://x/v1.24",
    },
    "no such docker context": {
        "20.10": 'current context "x" is not found on the file system, please check your config',
        "28": 'Failed to initialize: unable to resolve docker endpoint: context "x":'
        " context not found: open /home/ann/.docker/contexts/meta/0/meta.json: no such file or"
        " directory",
    },
    "your user may not use Podman's socket": {
        "docker 28": "permission denied while trying to connect to the Docker daemon socket at"
        " unix:///run/podman/podman.sock",
    },
    "rootless Docker is not running": {
        "docker 28": "Cannot connect to the Docker daemon at unix:///run/user/1000/docker.sock."
        " Is the docker daemon running?",
        "docker 29": "failed to connect to the docker API at unix:///run/user/1000/docker.sock",
    },
    "Docker there cannot be reached": {
        "docker 28": "Cannot connect to the Docker daemon at tcp://10.0.0.5:2375. Is the docker"
        " daemon running?",
        "docker 28, no such host": 'error during connect: Get "http://nowhere:2375/v1.50/info":'
        " dial tcp: lookup nowhere on 10.0.0.53:53: no such host",
        "docker 28, SSH": 'error during connect: Get "http://docker.example.com/v1.50/info":'
        " command [ssh -o ConnectTimeout=30 -T -l ann -- db docker system dial-stdio] has exited"
        " with exit status 255, make sure the URL is valid, and Docker 18.09 or later is installed"
        " on the remote host: stderr=ann@db: Permission denied (publickey).",
        "docker 29": "failed to connect to the docker API at tcp://nowhere:2375:"
        " dial tcp: lookup nowhere: no such host",
    },
    "too far apart": {
        "engine 29": DAEMON + "client version 1.41 is too old. Minimum supported API version is"
        " 1.44, please upgrade your client to a newer version",
        "engine 20.10": DAEMON + "client version 1.50 is too new. Maximum supported API version is"
        " 1.41",
    },
    "ended, was paused or was about to restart": {  # engine 20.10, runc 1.1
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
        "ended before its exec began": DAEMON + "No such exec instance: 3983cd66",
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
        "Desktop on Windows, reserved": DAEMON + "Ports are not available: listen tcp 0.0.0.0:5532:"
        " bind: An attempt was made to access a socket in a way forbidden by its access"
        " permissions.",
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
    "runs Windows containers": {
        "Docker Desktop": "no matching manifest for windows/amd64 10.0.19045 in the manifest"
        " list entries",
    },
    "disk is full": {
        "layer": "failed to register layer: write /usr/lib/x: no space left on device",
        "blob": "write /var/lib/docker/tmp/GetImageBlob123: no space left on device",
    },
    "no addresses left": {
        "engine 20.10": DAEMON + "could not find an available, non-overlapping IPv4 address pool"
        " among the defaults to assign to the network",
        "engine 28": DAEMON + "all predefined address pools have been fully subnetted",
    },
    "nobody serves Podman's socket": {
        "CLI 28": "Cannot connect to the Docker daemon at unix:///run/user/1001/podman/podman.sock."
        " Is the docker daemon running?",
    },
    "Podman's own program": {
        "podman 4.3.1 info": 'Error: template: info:1:2: executing "info" at <.ID>: can\'t evaluate'
        " field ID in type *define.Info",
        "podman 4.3.1 compose": "Error: unknown flag: --short\nSee 'podman --help'",
    },
    "what is to be mounted is missing": {
        "Desktop": DAEMON + "Mounts denied: \nThe path /srv/app/data/postgres is not shared from"
        " the host and is not known to Docker.",
        "bind": DAEMON + 'invalid mount config for type "bind": bind source path does not exist:'
        " /w/data/postgres",
        "snap": DAEMON + "error while creating mount source path '/srv/w/data/postgres': mkdir"
        " /srv: read-only file system",
    },
}
SERVER_TEXTS = {
    "disk was full": {"pid file": 'FATAL:  lock file "postmaster.pid" is empty\nHINT:  Either'},
    "server setting": {
        "unknown": 'FATAL:  unrecognized configuration parameter "max_conections"',
        "not a number": 'FATAL:  invalid value for parameter "shared_buffers": "lots"',
        "argument": 'postgres: invalid argument: "x"',
        "range": '-1 is outside the valid range for parameter "max_connections" (1 .. 262143)',
        "buffers": "FATAL:  could not map anonymous shared memory: Cannot allocate memory",
        "allocation": "FATAL:  out of memory",
    },
    "keeps the data elsewhere": {
        "18": "Error: in 18+, these Docker images are configured to store database data in a\n"
        "       Counter to that, there appears to be PostgreSQL data in:\n"
        "         /var/lib/postgresql/data (unused mount/volume)",
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
    "a file system that it writes to is read-only": {
        "pid": 'FATAL:  could not create lock file "postmaster.pid": Read-only file system',
        "file": 'PANIC:  could not open file "/d/global/pg_control": Read-only file system',
    },
    "shm is too small": {
        "parallel": 'ERROR:  could not resize shared memory segment "/PostgreSQL.1" to 63999360'
        " bytes: No space left on device",
    },
    "disk is full": {
        "wal": 'PANIC:  could not write to file "pg_wal/xlogtemp.9": No space left on device',
        "initdb": 'could not write to file "base/4/1247": No space left on device',
        "init file": "LOG:  could not write init file",
    },
    "cluster is incomplete": {
        "checkpoint": "PANIC:  could not locate a valid checkpoint record",
        "no PG_VERSION": 'initdb: error: directory "/d" exists but is not empty\\ninitdb: hint: If',
        "system": 'postgres: could not find the database system\nExpected to find it in "/d"',
        "control": 'FATAL:  could not open file "/d/global/pg_control": No such file or directory',
        "map": 'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
        "configuration": "postgres: could not access the server configuration file"
        ' "/d/postgresql.conf": No such file or directory',
        "hba": "FATAL:  could not load /var/lib/postgresql/data/pgdata/pg_hba.conf",
    },
}
LOGIN_TEXTS = {
    "has something locked": {
        "rotate": "ERROR:  canceling statement due to lock timeout",
    },
    "refuses the user and password": {
        "16": 'psql: error: connection to server at "172.18.0.2", port 5432 failed: FATAL: '
        ' password authentication failed for user "ann"',
    },
    "asks nobody for a password": {
        "trust": 'psql: error: connection to server at "172.18.0.2", port 5432 failed:'
        ' authentication method requirement "!none" failed: server did not complete authentication',
    },
    "disk is full, or nearly": {"init file": "psql: error: FATAL:  could not write init file"},
    "lets nobody in": {
        "no local line": 'FATAL:  no pg_hba.conf entry for host "[local]", user "ann", database'
        ' "hive", no encryption',
        "half an init": 'FATAL:  no pg_hba.conf entry for host "172.18.0.1", user "ann", database'
        ' "hive", no encryption',
    },
    "has a subscription": {
        "drop database": 'ERROR:  database "x" is being used by logical replication subscription',
    },
    "no such database": {"other": 'FATAL:  database "hive" does not exist'},
    "cluster is incomplete": {
        "map": 'FATAL:  could not open file "global/pg_filenode.map": No such file or directory',
    },
    "lets the role, or everybody, not in": {
        "role": 'FATAL:  role "ann" is not permitted to log in',
        "database": 'FATAL:  database "hive" is not currently accepting connections',
        "no CONNECT": 'FATAL:  permission denied for database "hive"',
    },
    "all connections of the server, database or role": {
        "a role's": 'FATAL:  too many connections for role "ann"',
        "all": "FATAL:  sorry, too many clients already",
        "but the superuser's": "FATAL:  remaining connection slots are reserved for roles with the"
        " SUPERUSER attribute",
    },
    "does not answer": {
        "frozen": 'psql: error: connection to server on socket "/s" failed: timeout expired',
    },
    "has no such user": {"socket": 'psql: error: FATAL:  role "ann" does not exist'},
}
DUMP_TEXTS = {
    "shm is too small": {
        "parallel HNSW build": 'ERROR:  could not resize shared memory segment "/PostgreSQL.1" to'
        " 63999360 bytes: No space left on device",
    },
    "disk is full, or nearly": {
        "server": 'ERROR:  could not extend file "base/1/2": No space left on device',
        "init file": "pg_restore: error: FATAL:  could not write init file",
        "watched": "hive-pg: less than 128 MB are left for the data\n"
        "FATAL:  terminating connection due to administrator command",
    },
    "a command for psql": {
        "restricted": "psql:<stdin>:3: error: backslash commands are restricted; only \\unrestrict"
        " is allowed",
        "filtered": "hive-pg: a backslash in line 7",
    },
    "newer PostgreSQL": {
        "archive": "pg_restore: error: unsupported version (1.16) in file header",
        "script": 'ERROR:  unrecognized configuration parameter "transaction_timeout"',
    },
    "truncated or damaged": {
        "end": "pg_restore: error: could not read from input file: end of file",
        "end, newer": "pg_restore: error: unexpected end of file",
        "no block": "pg_restore: error: could not find block ID 3 in archive -- possibly corrupt",
        "other block": "pg_restore: error: found unexpected block ID (0) when reading data",
        "odd block": "pg_restore: error: unrecognized data block type (0) while searching archive",
        "compressed": "pg_restore: error: could not uncompress data: (null)",
        "tar": "pg_restore: error: corrupt tar header found in x (expected 0, computed 9)",
        "header": "pg_restore: error: did not find magic string in file header",
    },
    "a role that does not exist here": {
        "archive": 'pg_restore: error: could not execute query: ERROR:  role "bob" does not exist',
    },
    "has something locked": {
        "30 s": "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout",
        "backup": "pg_dump: error: ERROR:  canceling statement due to statement timeout",
        "at once": 'pg_restore: error: could not obtain lock on relation "documents"',
    },
    "ended the session": {
        "stop": f"{SKIPPING}FATAL:  terminating connection due to administrator command",
        "crash": "pg_dump: error: server closed the connection unexpectedly",
        "start": 'psql: error: connection to server on socket "/s" failed: No such file',
        "recovery": "FATAL:  the database system is in recovery mode",
    },
    "drops or uses something": {
        "index": 'ERROR:  index "documents_e_idx" does not exist',
        "relation": f'{SKIPPING}ERROR:  relation "public.documents" does not exist',
        "function": "ERROR:  function public.touch() does not exist",
        "-n": 'pg_restore: error: could not execute query: ERROR:  schema "public" already exists',
    },
}
CONNECTION = 'psql: error: connection to server at "db.test" (10.0.0.3), port 5432 failed: '
# As psql, pg_dump and pg_restore 16.14, PostgreSQL 15 to 18 and PgBouncer 1.18 say it; the tenant
# is Supabase's.
ELSEWHERE_TEXTS = {
    "a connection pooler answers": {
        "1.18": f"{CONNECTION}FATAL:  unsupported startup parameter: options",
        "1.21": f"{CONNECTION}FATAL:  unsupported startup parameter in options: statement_timeout",
        "down": f"{CONNECTION}FATAL:  pgbouncer cannot connect to server",
    },
    "newer than the image": {
        "18": "pg_dump: error: aborting because of server version mismatch\n"
        "pg_dump: detail: server version: 18.4; pg_dump version: 16.14",
    },
    "older than the image": {
        "16": 'ERROR:  unrecognized configuration parameter "transaction_timeout"',
    },
    "only a superuser may make that": {
        "trigger": "pg_restore: error: could not execute query: ERROR:  permission denied to create"
        ' event trigger "watch"\nHINT:  Must be superuser to create an event trigger.',
        "publication": "ERROR:  must be superuser to create FOR ALL TABLES publication",
        "schema": "ERROR:  must be superuser to create FOR TABLES IN SCHEMA publication",
    },
    "lacks a privilege": {
        "extension": 'ERROR:  permission denied to create extension "vector"',
        "a table": "pg_dump: error: query failed: ERROR:  permission denied for table item",
        "schema": "pg_restore: error: could not execute query: ERROR:  permission denied for"
        " schema public",
        "owner": "ERROR:  must be owner of extension vector",
    },
    "does not trust the server's certificate": {
        "other CA": f"{CONNECTION}SSL error: certificate verify failed",
        "no CA": f'{CONNECTION}root certificate file "//.postgresql/root.crt" does not exist',
        "host": f'{CONNECTION}server certificate for "a" does not match host name "b"',
        "no file": f'{CONNECTION}could not read root certificate file "x": no certificate found',
    },
    "the server asks for TLS": {
        "server": f'{CONNECTION}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app",'
        ' database "prod", no encryption',
        "pooler": f"{CONNECTION}FATAL:  SSL required",
    },
    "refuses user, password or database": {
        "password": f'{CONNECTION}FATAL:  password authentication failed for user "app"',
        "tenant": f"{CONNECTION}FATAL:  Tenant or user not found",
        "database": f'{CONNECTION}FATAL:  database "prodd" does not exist',
    },
    "does not let this address, user or database in": {
        "host": f'{CONNECTION}FATAL:  no pg_hba.conf entry for host "10.0.0.9", SSL encryption',
        "Neon": f"{CONNECTION}ERROR:  This IP address 10.0.0.9 is not allowed to connect to this"
        " endpoint.",
        "Supabase": f"{CONNECTION}FATAL:  Address not in tenant allow_list: {{10, 0, 0, 9}}",
    },
    "refuses the connection": {
        "full": f"{CONNECTION}FATAL:  sorry, too many clients already",
        "full pooler": f"{CONNECTION}FATAL:  Max client connections reached",
        "no TLS": f"{CONNECTION}server does not support SSL, but SSL was required",
        "role": f'{CONNECTION}FATAL:  role "app" is not permitted to log in',
        "recovery": f"{CONNECTION}FATAL:  the database system is in recovery mode",
        "Neon": f"{CONNECTION}ERROR:  The endpoint has been disabled. Enable it using Neon API and"
        " retry.",
        "second address": f"{CONNECTION}Connection refused\n\tIs the server running on that host"
        f" and accepting TCP/IP connections?\n{CONNECTION}FATAL:  sorry, too many clients already",
    },
    "does not answer": {
        "name": 'psql: error: could not translate host name "x" to address: Name or service not'
        " known",
        "port": f"{CONNECTION}Connection refused",
        "IPv6": f"{CONNECTION}Network is unreachable",
        "silence": f"{CONNECTION}timeout expired",
        "end": "pg_restore: error: server closed the connection unexpectedly",
    },
}
WARNING_TEXTS = {
    "sorts text otherwise": {
        "16": 'WARNING:  database "hive" has a collation version mismatch',
    },
}
TEXTS = {
    "docker": DOCKER_TEXTS,
    "server": SERVER_TEXTS,
    "login": LOGIN_TEXTS,
    "dump": DUMP_TEXTS,
    "elsewhere": ELSEWHERE_TEXTS,
    "warning": WARNING_TEXTS,
}
ROWS = [
    pytest.param(source, words, text, id=f"{source}: {words}, {who}")
    for source, texts in TEXTS.items()
    for words, samples in texts.items()
    for who, text in samples.items()
]


@pytest.mark.parametrize(("source", "words", "text"), ROWS)
def test_diagnose_text(source, words, text):
    """Each text is explained by the row that is meant for it, in whatever company it comes."""
    found = diagnose(f"some noise\n{text}\nmore noise\n", source)
    assert words in found.cause
    assert found.hint
    assert source in found.source.split()


def test_diagnoses_reached():
    """No row is without a text, and each source has its rows apart."""
    reached = {
        (source, diagnose(text, source).cause)
        for source, texts in TEXTS.items()
        for samples in texts.values()
        for text in samples.values()
    }
    assert reached == {(source, row.cause) for row in DIAGNOSES for source in row.source.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cret' PUBLICATION p",
        "CREATE USER MAPPING FOR ann SERVER far OPTIONS (\n    password 's3cret'\n)",
    ],
    ids=["subscription", "user mapping"],
)
def test_statement_of_a_dump_shows_no_password(statement):
    """Pg_restore shows what it could not run, which may lead to yet another server."""
    words = f"pg_restore: error: could not execute query: ERROR:  no\nCommand was: {statement};\n"
    error = build_error(CommandResult(1, "", words), "cannot", sources=["dump"])
    assert "s3cret" not in f"{error}{error.detail}"
    assert "Command was: CREATE" in error.detail


@pytest.mark.parametrize("source", ["server", "login"])
def test_remedy_of_a_setting_names_both_places(source):
    """`.env` is read by the generated compose file alone: one of one's own has its own line."""
    for text, setting in (
        ("could not resize shared memory segment", "shm_size"),
        ("sorry, too many clients already", "max_connections"),
    ):
        if found := diagnose(text, source):
            assert f"raise {setting}: HIVE_POSTGRES_{setting.upper()} in .env, or" in found.hint
            assert "your compose file" in found.hint


def test_remedy_names_the_line_for_the_socket():
    """A line for the network lets nobody in over the socket."""
    hint = diagnose('FATAL:  no pg_hba.conf entry for host "[local]", user "ann"', "login").hint
    assert "for [local] local all all scram-sha-256" in hint


def test_remedy_of_an_empty_pid_file_names_both_places():
    """The data may be in a volume, too."""
    hint = diagnose('FATAL:  lock file "postmaster.pid" is empty', "server").hint
    assert "rm data/postgres/pgdata/postmaster.pid" in hint
    assert "docker run --rm -v VOLUME:/v " in hint


def test_diagnose_sources():
    """The rows of the first source come first; those of others are not asked."""
    text = f"{DUMP_TEXTS['a role that does not exist here']['archive']}\n{NO_DAEMON}"
    assert diagnose(text, "dump", "docker").source == "dump"
    assert diagnose(text, "docker", "dump").source == "docker"
    assert diagnose(text, "server") is None


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
    ("text", "source"),
    [
        pytest.param(FIRST_START, "server", id="a start as usual"),
        pytest.param("", "server", id="silence"),
        pytest.param("docker: 'compose' is not a docker command.", "docker", id="no plugin, 20.10"),
        pytest.param("unknown flag: --short", "docker", id="no plugin, 27"),
        pytest.param("docker: unknown command: docker compose", "docker", id="no plugin, 28"),
        pytest.param("unable to upgrade to tcp, received 200", "docker", id="a proxy"),
        pytest.param("fe_sendauth: no password supplied", "login", id="no password"),
        pytest.param(
            'psql: error: connection to server on socket "/s" failed: FATAL:  too many connections'
            ' for role "ann"',
            "dump",
            id="a refusal",
        ),
        pytest.param(f'{SKIPPING}ERROR:  syntax error at or near "foo"', "dump", id="a notice"),
        pytest.param(
            'pg_dump: error: query failed: ERROR:  relation "public.t" does not exist',
            "dump",
            id="dropped while it is dumped",
        ),
    ],
)
def test_diagnose_nothing(text, source):
    """What is usual, means something else, or speaks for itself is not explained away."""
    assert diagnose(text, source) is None


CLASSES = {
    "Podman's own program": DockerNotAvailableError,
    "nobody serves Podman's socket": DockerNotAvailableError,
    "may not use Docker's socket": DockerNotAvailableError,
    "stand-in in this WSL": DockerNotAvailableError,
    "daemon is not running": DockerNotAvailableError,
    "your user may not use Podman's socket": DockerNotAvailableError,
    "rootless Docker is not running": DockerNotAvailableError,
    "Docker there cannot be reached": DockerNotAvailableError,
    "no such docker context": DockerNotAvailableError,
    "too far apart": DockerNotAvailableError,
    "ended, was paused or was about to restart": ContainerStartupError,
    "has the port": ContainerConflictError,
    "has that name": ContainerConflictError,
}


def failed(stderr, stdout="", returncode=9):
    """Return the end of a command that failed."""
    return CommandResult(returncode, stdout, stderr)


@pytest.mark.parametrize(
    ("stderr", "error", "message"),
    [
        *(
            pytest.param(text, CLASSES.get(words, DockerCommandError), words, id=f"{words}, {who}")
            for words, samples in DOCKER_TEXTS.items()
            for who, text in samples.items()
        ),
        pytest.param("\nodd\nlast\n\n", DockerCommandError, "last$", id="unknown"),
        pytest.param("", DockerCommandError, "exit code 9$", id="silent"),
        pytest.param(
            'psql:<stdin>:1: ERROR:  column "x" does not exist\nLINE 1: select x\n        ^',
            DockerCommandError,
            'column "x" does not exist$',
            id="PostgreSQL's, of more lines",
        ),
    ],
)
def test_build_error_class(stderr, error, message):
    """Docker out of reach is exit 4, a refusal exit 1; Docker's own words are kept."""
    made = build_error(failed(stderr), "asking", "what next")
    assert type(made) is error
    assert re.search(f"^asking: .*{message}", str(made))
    assert made.detail == stderr.partition("LINE 1")[0]  # in which a password may be
    assert made.hint


def test_build_error_hint():
    """The caller's hint is for what no row explains."""
    assert build_error(failed("odd"), "asking", "what next").hint == "what next"
    known = DOCKER_TEXTS["no addresses left"]["engine 28"]
    assert build_error(failed(known), "asking", "what next").hint.startswith("docker network prune")


@pytest.mark.parametrize(
    "more", ["Run 'docker run --help' for more information", "See 'docker run --help'."]
)
def test_build_error_without_the_pointer_to_help(more):
    """The cause is what Docker's daemon said, before it points to its help."""
    said = "docker: Error response from daemon: unable to find user postgres"
    assert str(build_error(failed(f"{said}\n\n{more}\n"), "asking")) == f"asking: {said}"


def test_build_error_stdout():
    """Docker Desktop's stand-in in WSL explains itself on stdout; only the cause is taken there."""
    text = "\nThe command 'docker' could not be found in this WSL 2 distro.\n"
    made = build_error(failed("", text), "asking")
    assert (type(made), made.detail) == (DockerNotAvailableError, "")
    assert "stand-in" in str(made)


def test_build_error_of_a_program_that_was_killed():
    """It says more than a bare exit code: the container has ended, perhaps."""
    made = build_error(failed("", returncode=137), "cannot list them")
    assert (str(made), made.exit_code) == ("cannot list them: its program was killed", 5)
    assert made.hint == "see {status}, then try again"


def test_build_error_sources():
    """What ran in the container is explained before what Docker says, with its repair."""
    text = LOGIN_TEXTS["refuses the user and password"]["16"]
    made = build_error(failed(text), "logging in", sources=["login"])
    assert (type(made), made.repair) == (CredentialsRefusedError, Repair.PASSWORD)
    assert build_error(failed(text), "logging in").repair is None
    text = DUMP_TEXTS["shm is too small"]["parallel HNSW build"]  # Docker's row: the disk is full
    assert "shm" in str(build_error(failed(text), "loading", sources=["dump"]))


def test_check_result_code():
    """Only exit code 0 is success, whatever was said."""
    result = failed("odd words", returncode=0)
    assert check_result(result, "asking") is result
    with pytest.raises(DockerCommandError, match=r"^asking: odd words$"):
        check_result(failed("odd words", returncode=-2), "asking")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PostgreSQLIntegrationError, ExitCode.FAILED),
        (EnvFileError, ExitCode.FAILED),
        (NotSetUpError, ExitCode.NOT_RUNNING),
        (DockerNotAvailableError, ExitCode.DOCKER_UNAVAILABLE),
        (DockerCommandError, ExitCode.FAILED),
        (ContainerStartupError, ExitCode.UNHEALTHY),
        (ContainerConflictError, ExitCode.FAILED),
        (DatabaseConnectionError, ExitCode.UNHEALTHY),
        (CredentialsRefusedError, ExitCode.CREDENTIALS_REFUSED),
    ],
)
def test_exit_code_of_class(error, code):
    """Each class of error has the exit code of the README's table."""
    assert error("x").exit_code is code


SECRETS = {
    "interpolation": 'invalid interpolation format for services.p.environment.X: "MARKED${"',
    "own line": "invalid interpolation format for services.p.environment.X.\n"
    "You may need to escape any $ with another $.\nMARKED${\nMARKED",
    "capital": 'Invalid interpolation format for "environment" option: "MARKED${"',
    "template": 'failed to read .env: Invalid template: "MARKED${"',
    "several": 'invalid template: "a\nMARKED${"\nand near "x": "MARKED"',
    "near": 'unexpected character "$" in variable name near "MARKED${\\nB=MARKED\\n"',
    # As Compose 2.26.1 prints them.
    "unterminated": """failed to read e: line 3: unterminated quoted value "MA'RK"ED MARKED""",
    "variable name": 'line 1: unexpected character "\\"" in variable name "y\\"MARKED"',
    "duration": 'services.p.x: time: invalid duration "MARKED"',
    "size of many lines": "services.p.shm_size: invalid size: 'MARKED\nMARKED\nx'",
    "number": 'services.p.cpus: strconv.ParseFloat: parsing "MA\\"RKED": invalid syntax',
    "mapping key": 'yaml: unmarshal errors:\n  line 6: mapping key "MARKED" already defined',
    "anchor": "yaml: unknown anchor 'MARKED' referenced",
    "scalar": "yaml: cannot unmarshal !!str `MARKED` into int",
    "variable": 'x\ntime="2026-11-26T08:45:08Z" level=warning msg="The \\"MARKED\\" variable"\ny',
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_mask_values_of_compose(text):
    """What Compose quotes of a value in an error is not passed on."""
    masked = mask_values(text)
    assert "MARKED" not in masked
    assert masked.startswith(re.split("[\n\"'`]", text)[0])


@pytest.mark.parametrize(
    "text",
    [
        'service "web" depends on undefined service "db": invalid compose project',
        "services.postgres Additional property imagee is not allowed; it can't be",
        'The container name "/hive-postgres" is already in use by container "0a1b".',
        'invalid mount config for type "bind": bind source path does not exist: /w/data',
        'exec: "/bin/postgrs": executable file not found in $PATH: unknown',
        "error decoding 'services[postgres].command': invalid command line string",
    ],
)
def test_mask_values_keeps_names(text):
    """What is called a service, a container or the like is no secret, and leads on."""
    assert mask_values(text) == text
