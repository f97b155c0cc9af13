#!/usr/bin/env python3
"""hive-pg: a PostgreSQL 16 + pgvector database in Docker for one project, in one file.

A workspace is a directory with three things in it: `.env` (mode 0600; HIVE_DATABASE_URL is the
source of truth), `docker-compose.yml` (written once, then yours) and `data/postgres/` (the
cluster). `hive-pg init` makes them and ends with a login by the application's own credentials;
`start`, `stop`, `restart`, `run`, `wait`, `status`, `check`, `stats`, `logs`, `url` and `env` keep
the container; `psql`, `backup`, `restore`, `rotate` and `destroy` are for what is in it; `list`
shows those of all workspaces, `completion` is for the shell.

The file reads bottom-up in floors: vocabulary, errors and records, decisions (pure), effects,
Docker, managers, commands, main. It needs Python 3.9 and the docker CLI, nothing else, and may be
copied into a project: `python hive_pg.py init`, or `from hive_pg import PostgreSQLManager`.

Exit codes: 0 done or healthy, 1 failed, 2 usage, 3 not running or not set up, 4 Docker missing or
unreachable, 5 unhealthy or timed out, 6 credentials refused, 130 interrupted.
"""
# SPDX-FileCopyrightText: The hive-pg authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import argparse
import enum
import errno
import os
import re
import sys
import time

TYPE_CHECKING = False  # `typing` would take longer to load than all of this file
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from subprocess import Popen
    from typing import IO, Any, Callable, NoReturn, TypeVar

    from typing_extensions import dataclass_transform

    RecordType = TypeVar("RecordType", bound="Record")
    ProcessType = TypeVar("ProcessType", bound="Process")
    Containers = Sequence["ContainerInfo"]
else:

    def dataclass_transform(**_):
        """Tell type checkers, and nobody else, that a class makes its own `__init__`."""
        return lambda cls: cls


__version__ = "0.1.0"


# == Vocabulary ===============================================================================

DEFAULT_IMAGE = "agnohq/pgvector:16"
DEFAULT_DATABASE = "hive"
DEFAULT_HOST_PORT = 5532
DEFAULT_BIND = "127.0.0.1"
USUAL_BINDS = (DEFAULT_BIND, "0.0.0.0")  # every engine has them, and localhost reaches both
DEFAULT_CONTAINER = "hive-postgres"
DEFAULT_ROLE = "postgres"  # the image's own, and its database
DEFAULT_PGDATA = "/var/lib/postgresql/data"  # the image's own
CONTAINER_PORT = 5432
SERVICE = "postgres"
DATA_DIR = os.path.join("data", "postgres")
BACKUP_DIR = "backups"
ENV_FILE, ENV_EXAMPLE = ".env", ".env.example"
STDOUT = ("-", "/dev/stdout")  # as a file to write
COMPOSE_FILE = "docker-compose.yml"
PROJECT_LABEL, SERVICE_LABEL = "com.docker.compose.project", "com.docker.compose.service"
CONFIG_FILES_LABEL = f"{PROJECT_LABEL}.config_files"
COMPOSE_FILES = ("compose.yaml", "compose.yml", COMPOSE_FILE, "docker-compose.yaml")
FALLBACK_UID = 1000  # of the server, where root acts for nobody: PostgreSQL refuses to be root
FIRST_USER_OID = 16384  # of PostgreSQL's objects that initdb has not made
SAFE_PGVECTOR = (0, 8, 2)  # below it: CVE-2026-3172, a buffer overflow in parallel HNSW builds

READY_TIMEOUT_S = 120.0
QUESTION_TIMEOUT_S = 20.0  # for a call that only asks the daemon something
COMPOSE_TIMEOUT_S = 180.0  # `up` may first stop the container that it replaces, for a minute
PULL_TIMEOUT_S = 1800.0
WALK_TIMEOUT_S = 3600.0  # for what touches each file of a cluster
WAIT_ROUND_S = 5.0  # so long one `docker exec` waits inside the container
STOP_GRACE_S = 60
STALL_S = 20.0  # so long a stream may stand still until the daemon is asked what is the matter
BLOCK_BYTES = 1 << 20
PIPE_BYTES = 1 << 16  # what a pipe of Linux holds

# What .env holds of ours.
URL_KEY = "HIVE_DATABASE_URL"
USER_KEY, PASSWORD_KEY, DB_KEY = "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"
UID_KEY, GID_KEY = "POSTGRES_UID", "POSTGRES_GID"
PORT_KEY, CONTAINER_KEY = "HIVE_POSTGRES_PORT", "HIVE_POSTGRES_CONTAINER"
IMAGE_KEY, BIND_KEY = "HIVE_POSTGRES_IMAGE", "HIVE_POSTGRES_BIND"
FIRST_START_KEY = "HIVE_POSTGRES_FIRST_START"  # there until the first login
NEXT_PASSWORD_KEY = "HIVE_POSTGRES_NEXT_PASSWORD"  # there while `rotate` is under way
PROJECT_KEY = "COMPOSE_PROJECT_NAME"
CREDENTIAL_KEYS = (URL_KEY, USER_KEY, PASSWORD_KEY, DB_KEY)
OUR_KEYS = (
    *(*CREDENTIAL_KEYS, UID_KEY, GID_KEY, PORT_KEY, CONTAINER_KEY, IMAGE_KEY, BIND_KEY),
    *(PROJECT_KEY, FIRST_START_KEY, NEXT_PASSWORD_KEY),
)

# A shell's own values of these would have Compose act on another project or on other files.
COMPOSE_SELECTORS = frozenset(
    "COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PATH_SEPARATOR COMPOSE_PROFILES COMPOSE_ENV_FILES"
    " COMPOSE_DISABLE_ENV_FILE".split()
)
# Values that templates carry in place of a real user or password.
PLACEHOLDERS = frozenset(
    "user username your-user your_user your-username hive_user pass password hive_password"
    " your-password your_password your-secure-password your-secure-password-here changeme"
    " change-me change_me replace-me placeholder example".split()
)
COMMANDS = {
    "init": "set up the database, or mend what is missing, and log in to it",
    "start": "have the database run, and log in to it",
    "run": "start, then become a command with .env in its environment: run [DIR] -- CMD ...",
    "stop": "stop the database gracefully; the data stays",
    "restart": "stop it, and start it with what .env and the compose file say now",
    "wait": "wait until it accepts connections; start nothing",
    "status": "show state, health, readiness now, URL, uptime",
    "check": "ask Docker, container, connections, credentials, pgvector and the published port",
    "stats": "show load, sizes, locks, vacuum, WAL, vector indexes, CPU and memory",
    "logs": "show what PostgreSQL wrote, as docker logs does",
    "url": "print the database URL, with its password, and nothing else",
    "psql": "run the image's psql in the database: psql [DIR] [-- ARGS ...]",
    "backup": "write a dump of the database that was read back to its end",
    "restore": "put a dump in the database's place; the old one is kept beside it",
    "rotate": "give the server and .env a new password",
    "destroy": "remove the container and its network; the data stays",
    "env": "print what applications and psql take from their environment, password included",
    "list": "show every database of hive-pg on this engine",
    "completion": "print what has a shell complete commands, options and directories",
}
# What Ctrl-C leaves, and how to go on; `restore` looks, and says it itself.
INTERRUPTED = {
    **dict.fromkeys(
        ("init", "start", "run", "stop", "restart"),
        "nothing is lost: the same command goes on from what hive-pg status shows",
    ),
    "backup": "no half of a file is left, but on stdout perhaps: the same command begins anew",
    "rotate": "hive-pg start finishes what was begun",
    "destroy": f"the same command goes on; a backup that was made is in {BACKUP_DIR}/",
}
LABEL = "hive-pg.generated-by"  # of the containers that the generated compose file makes
CHECK_POINTS = ("docker", "container", "connections", "credentials", "pgvector", "published port")


class ExitCode(enum.IntEnum):
    """What the process says to the shell that called it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    DOCKER_UNAVAILABLE = 4
    UNHEALTHY = 5
    CREDENTIALS_REFUSED = 6
    INTERRUPTED = 130


class ContainerState(enum.Enum):
    """Docker's states of a container, and `missing` for none."""

    MISSING = "missing"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Health(enum.Enum):
    """The engine's own health of a container; it lags by up to the interval of its checks."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Readiness(enum.Enum):
    """What `pg_isready` says now (its exit codes 0, 1 and 2), or that nobody could ask it."""

    ACCEPTING = "accepting"
    REJECTING = "rejecting"
    NO_RESPONSE = "no response"
    UNKNOWN = "unknown"


class Repair(enum.Enum):
    """What mends a container or a cluster that does not let the application in."""

    PASSWORD = "have the server accept the password in .env (ALTER ROLE)"
    NETWORK = "append the line to pg_hba.conf that lets passwords in over the network"
    DATABASE = "create the database"
    OWNER = "give the data to the user that the server runs as"
    START = "start the container again, which has stopped"
    REMAKE = "move the cluster aside, and make a new one"


class Outcome(enum.Enum):
    """How a point of `check` ended."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


# == Errors and records =======================================================================


class PostgreSQLIntegrationError(Exception):
    """What the managers raise: what failed and why, with `hint` for the next step.

    `detail` is the other program's own words, `repair` what `init` can do about it, or `start`.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self, message: str, *, hint: str = "", detail: str = "", repair: Repair | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.detail = detail
        self.repair = repair


class WorkspaceError(PostgreSQLIntegrationError):
    """A file or directory of the workspace cannot be used as it is."""


class EnvFileError(WorkspaceError):
    """`.env`, or the URL in it, cannot be read or edited without guessing. Carries no value."""


class NotSetUpError(PostgreSQLIntegrationError):
    """The workspace has no database yet, or no container, or none that runs."""

    exit_code = ExitCode.NOT_RUNNING


class DockerNotAvailableError(PostgreSQLIntegrationError):
    """Docker or Compose is missing, or the daemon is out of reach or does not answer in time."""

    exit_code = ExitCode.DOCKER_UNAVAILABLE


class DockerCommandError(PostgreSQLIntegrationError):
    """Docker answered, and refused."""


class ContainerStartupError(PostgreSQLIntegrationError):
    """The container stopped, or keeps restarting, instead of serving."""

    exit_code = ExitCode.UNHEALTHY


class ContainerConflictError(PostgreSQLIntegrationError):
    """Another container has the name, the port or the data directory. Nothing was touched."""


class DatabaseConnectionError(PostgreSQLIntegrationError):
    """The server does not accept connections, or not in time."""

    exit_code = ExitCode.UNHEALTHY


class CredentialsRefusedError(DatabaseConnectionError):
    """The server accepts connections, but not with the credentials in `.env`."""

    exit_code = ExitCode.CREDENTIALS_REFUSED


@dataclass_transform(frozen_default=True)
class Record:
    """An immutable record of the fields that its class annotates, compared by value.

    A dataclass or a NamedTuple would be that, and take as long to load as Python to start.
    """

    def __init__(self, *values: object, **named: object) -> None:
        fields = list(type(self).__annotations__)
        given = {**dict(zip(fields, values)), **named}
        missing = [name for name in fields if name not in given and not hasattr(self, name)]
        if missing or len(values) > len(fields) or not given.keys() <= set(fields):
            raise TypeError(f"{type(self).__name__} takes {fields}; missing: {missing}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.fields() == other.fields()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.fields().items())
        return f"{type(self).__name__}({values})"

    def fields(self) -> dict[str, Any]:
        """Return the fields by name, in their order."""
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def replace(self: RecordType, **changes: object) -> RecordType:
        """Return a copy with other values in some fields."""
        return type(self)(**{**self.fields(), **changes})


class DatabaseURL(Record):
    """The application's way to its database, every part decoded.

    `driver` is what follows the plus sign of the scheme, `query` the raw text after `?`.
    """

    user: str
    password: str
    host: str = "localhost"
    port: int = DEFAULT_HOST_PORT
    database: str = DEFAULT_DATABASE
    driver: str = "psycopg"
    query: str = ""

    def __repr__(self) -> str:
        """Write the URL for people to see."""
        return build_database_url(self.replace(password="x")).replace(":x@", ":****@", 1)


class EnvItem(Record):
    """One assignment in a `.env` text; `start` and `end` delimit its value with the quotes.

    `value` is None where Compose, python-dotenv and `sh` do not read the same one.
    """

    key: str
    value: str | None
    line: int
    start: int
    end: int


class Settings(Record):
    """What a workspace's `.env` says of its database, complete and free of contradiction."""

    url: DatabaseURL
    container: str
    project: str
    uid: int
    gid: int
    image: str = ""
    bind: str = ""
    first_start: bool = False

    def with_password(self, password: str) -> Settings:
        """Return the same settings with another password."""
        return self.replace(url=self.url.replace(password=password))

    @property
    def env(self) -> dict[str, str]:
        """All that `.env` holds of ours, in the order of a new file."""
        env = url_env(self.url)
        port = env.pop(PORT_KEY)
        env.update({UID_KEY: str(self.uid), GID_KEY: str(self.gid), PORT_KEY: port})
        env.update({CONTAINER_KEY: self.container, PROJECT_KEY: self.project})
        optional = {IMAGE_KEY: self.image, BIND_KEY: self.bind}
        optional[FIRST_START_KEY] = "pending" if self.first_start else ""
        return {**env, **{key: value for key, value in optional.items() if value}}


class Wishes(Record):
    """What a person asks of `init`; None leaves it as it is, or to hive-pg."""

    port: int | None = None
    database: str | None = None
    image: str | None = None
    bind: str | None = None


class CommandResult(Record):
    """What became of a process that was run to its end with its streams captured."""

    argv: Sequence[str]
    returncode: int
    stdout: str
    stderr: str


class ContainerInfo(Record):
    """What `docker inspect` says of a container.

    `mounts` are (directory on the host or name of a volume, target) pairs, `ports` the (host
    address, host port) pairs that lead to PostgreSQL's; `started_at` is in seconds since the epoch.
    """

    name: str
    image: str
    state: ContainerState
    health: Health
    exit_code: int
    oom_killed: bool
    restart_count: int
    started_at: float
    user: str
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    mounts: Sequence[tuple[str, str]]
    ports: Sequence[tuple[str, int]]

    @property
    def running(self) -> bool:
        """Whether it runs now; a restarting container does not."""
        return self.state is ContainerState.RUNNING

    @property
    def place(self) -> tuple[str, str]:
        """Where its cluster is, as `locate_cluster` says."""
        return locate_cluster(self.mounts, self.environment.get("PGDATA", DEFAULT_PGDATA))

    @property
    def restarting(self) -> bool:
        """Whether it starts again and again; in between it runs for a moment."""
        unwell = self.health in (Health.STARTING, Health.UNHEALTHY) and self.restart_count > 0
        return self.state is ContainerState.RESTARTING or (self.running and unwell)

    @property
    def working_dir(self) -> str:
        """The directory that Compose was run in, '' for a container that it did not make."""
        return self.labels.get(f"{PROJECT_LABEL}.working_dir", "")

    @property
    def project(self) -> str:
        """The Compose project, '' for a container that is of none."""
        return self.labels.get(PROJECT_LABEL, "")

    def __repr__(self) -> str:  # its environment holds the password
        return f"ContainerInfo({self.name}, {self.state.value})"


class ComposeService(Record):
    """The PostgreSQL service of a compose file, as Compose resolves it.

    `user` is Compose's `UID[:GID]`, '' for the image's own; `cluster` the place of PGDATA on the
    host: below a directory, or below a volume's name; `environment` has what it sets.
    """

    service: str
    container: str
    image: str
    user: str
    bind: str
    host_port: int
    data_dir: str
    cluster: str
    environment: Mapping[str, str]
    builds: bool = False

    @property
    def source(self) -> str:
        """What is mounted for the cluster: a directory, or the name of a volume."""
        return self.data_dir or self.cluster.partition("/")[0]

    @property
    def target(self) -> str:
        """Where a container that has `source` as /target sees the cluster."""
        return os.path.normpath(f"/target/{self.cluster[len(self.source) :]}")

    def __repr__(self) -> str:  # its environment holds the password
        return f"ComposeService({self.service}, {self.container}, {self.image})"


class Diagnosis(Record):
    """A text of Docker or PostgreSQL, what it means and what helps.

    The first alternative of `pattern` is the text as people meet it.
    """

    pattern: str
    cause: str
    remedy: str
    error: type[PostgreSQLIntegrationError] = DockerCommandError
    repair: Repair | None = None


class Probe(Record):
    """What one `docker exec` learnt: readiness, then a login over the container's network.

    `error` is why there was no login, or no pgvector after one; None when all is well. The
    versions are '' where unknown, `created_version` also where the database has no extension.
    `warning` is what the server complained of at a login that it let in.
    """

    readiness: Readiness
    error: PostgreSQLIntegrationError | None = None
    server_version: str = ""
    available_version: str = ""
    created_version: str = ""
    warning: Diagnosis | None = None


class Look(Record):
    """What was found when container, server and published port were asked side by side.

    `objection` is why the port that the URL names does not serve, '' where it does.
    """

    info: ContainerInfo | None
    probe: Probe
    objection: str = ""


class Login(Record):
    """How a login is waited for: `timeout` is in seconds, `creates` has it create pgvector.

    `since` is when the server was started, in epoch seconds: older words in its log are of no
    interest.
    """

    since: float
    timeout: float = READY_TIMEOUT_S
    creates: bool = False


class ContainerStatus(Record):
    """What `status` shows; times in seconds, None where there is nothing to say."""

    container: str
    state: ContainerState
    health: Health
    readiness: Readiness
    server_version: str | None
    database_url: str
    image: str | None
    bind: str | None
    host_port: int
    uptime_s: float | None
    restart_count: int | None
    exit_code: int | None

    @property
    def verdict(self) -> ExitCode:
        """What `status` says to the shell."""
        if self.state is not ContainerState.RUNNING:
            restarting = self.state is ContainerState.RESTARTING
            return ExitCode.UNHEALTHY if restarting else ExitCode.NOT_RUNNING
        well = self.readiness is Readiness.ACCEPTING and self.health is not Health.UNHEALTHY
        return ExitCode.DONE if well else ExitCode.UNHEALTHY


class ListedDatabase(Record):
    """A database of the engine, as `list` shows it; None where there is nothing to say.

    `gone` says that its workspace is no directory of this machine; `size_bytes` is what its data
    directory takes on the disk, None for a volume, and where it is not ours to read.
    """

    workspace: str | None
    gone: bool
    container: str
    state: ContainerState
    health: Health
    image: str
    bind: str | None
    host_port: int | None
    size_bytes: int | None


class CheckPoint(Record):
    """One question of `check`: its finding, or the cause and the remedy."""

    name: str
    outcome: Outcome
    finding: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.DONE


class ValidationResult(Record):
    """All the points of `check`, in their order."""

    points: Sequence[CheckPoint]

    @property
    def exit_code(self) -> ExitCode:
        """The code of the first point that failed."""
        failed = (point.exit_code for point in self.points if point.outcome is Outcome.FAILED)
        return next(failed, ExitCode.DONE)

    @property
    def healthy(self) -> bool:
        """Whether no point failed (a point is skipped only behind a failed one)."""
        return self.exit_code is ExitCode.DONE


# == Decisions (pure): the .env text ==========================================================
# The grammar is what Compose, python-dotenv and POSIX sh read alike, assignment by assignment.
# Everything else in the file is kept byte for byte, and refused only where it is the last
# assignment of a key of ours. (That `sh` stops at an unbalanced quote further up is not judged.)

_ENV_BLANK = r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)"
_ENV_HEAD = (  # of whatever some reader takes for an assignment
    r"[ \t]*(?:export[ \t]+)?['\"]?(?P<key>[\w.\-\[\]]+)['\"]?[ \t]*(?:[=:][ \t]*|(?=\n|\Z))"
)
_ENV_PLAIN_HEAD = r"[ \t]*(?P<export>export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*=(?![ \t])"
_ENV_QUOTED = r"(?s:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_ENV_AFTER_QUOTED = r"(?:[ \t]+#[^\n]*|[ \t]*)(?=\n|\Z)"
_ENV_BARE = r"\S*"
_ENV_AFTER_BARE = r"(?: +#[^\n]*|[ \t]*)(?=\n|\Z)"
_ENV_BARE_VALUE = r"(?![#~=])(?:(?<![:=])~|(?<!:)=|[\w!#%+,\-./:@^*?\[\]{}])*"
_ENV_SAFE_VALUE = r"[A-Za-z0-9_%+,./:@-]*"  # bare, it means itself to every reader
_ENV_REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([A-Za-z0-9_%+,./:@-]*))?\}"
# python-dotenv expands ${...} inside single quotes too, and before 1.2.3 it loses the lines that
# follow a value which ends with a backslash.
_ENV_EXPANDED = r"\$\{(?:[^}:$]|\$(?!\{))*(?::-[^}]*)?\}"
_ENV_SINGLE_UNSAFE = rf"'|\\\\|\\\Z|{_ENV_EXPANDED}"
_ENV_DOUBLE_SAFE = r"(?:[^\\`]|\\[\\\"])*(?<!\\)"
_UNLIKE = "Compose, python-dotenv and sh read it differently"


def decode_env(data: bytes) -> str:
    """Decode a `.env` file; refuse one of which readers would not agree on any line."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "is UTF-16" if utf16 else f"is not UTF-8 (byte {error.start})"
        program = f"iconv -f {'UTF-16' if utf16 else 'LATIN1'} -t UTF-8"
        raise EnvFileError(f"{ENV_FILE} {what}", hint=_advise_filter(program)) from None
    for pattern, name, program in (
        (r"\A\ufeff", "a byte order mark", "tail -c +4"),
        (r"\0", "a NUL character", "tr -d '\\0'"),
        (r"\r(?!\n)", "a carriage return", "tr '\\r' '\\n'"),
        (r"\r", "a carriage return", "tr -d '\\r'"),
    ):
        found = re.search(pattern, text)
        if found:
            line = text.count("\n", 0, found.start()) + 1
            what = f"{ENV_FILE} line {line}: {name}: {_UNLIKE}"
            raise EnvFileError(what, hint=_advise_filter(program))
    return text


def _advise_filter(program: str) -> str:
    """Say how to have a program change `.env`, which keeps its mode, or stays a link."""
    old = f"{ENV_FILE}.old"
    return f"cp -p {ENV_FILE} {old} && {program} < {old} > {ENV_FILE} && rm {old}"


def parse_env(text: str, environ: Mapping[str, str]) -> list[EnvItem]:
    r"""Find the assignments in a `.env` text, in their order.

    `environ` is what a reader's own environment holds: it decides whether `${NAME}` of an
    earlier key means the same to all readers.

    Raises: EnvFileError for a quote that is never closed: Compose then reads nothing at all.

    >>> parse_env("# c\nexport A='x y' # d\n", {})
    [EnvItem(key='A', value='x y', line=2, start=13, end=18)]
    """
    items: list[EnvItem] = []
    known: dict[str, str | None] = {}
    at, line = 0, 1

    def match(pattern: str, start: int) -> re.Match[str] | None:
        return re.compile(pattern).match(text, start)

    while at < len(text):
        blank = match(_ENV_BLANK, at)
        if blank:
            at, line = blank.end(), line + 1
            continue
        head = match(_ENV_HEAD, at)
        if head is None:
            raise EnvFileError(
                f"{ENV_FILE} line {line} is no assignment: Compose rejects the whole file",
                hint="write KEY=value, or make it a comment with #",
            )
        key, start = head["key"], head.end()
        quoted = match(_ENV_QUOTED, start)
        if not quoted and text[start : start + 1] in ("'", '"'):
            raise EnvFileError(
                f"{ENV_FILE} line {line}: the quote of {key} is never closed",
                hint=f"write it on one line: {key}='...'",
            )
        word = quoted or match(_ENV_BARE, start)
        end = word.end() if word else start
        rest = match(_ENV_AFTER_QUOTED if quoted else _ENV_AFTER_BARE, end)
        plain, value = match(_ENV_PLAIN_HEAD, at), None
        if plain and rest:
            value = _read_env_value(text[start:end], bool(plain["export"]), known, environ)
        items.append(EnvItem(key, value, line, start, end))
        known[key] = value
        following = text.find("\n", end) + 1 or len(text)
        at, line = following, line + text.count("\n", at, following)
    return items


def _read_env_value(
    raw: str, exported: bool, known: Mapping[str, str | None], environ: Mapping[str, str]
) -> str | None:
    """Return what every reader makes of a raw value, or None where they differ."""
    if raw.startswith("'"):
        return None if re.search(_ENV_SINGLE_UNSAFE, raw[1:-1]) else raw[1:-1]
    if raw.startswith('"'):
        if not re.fullmatch(_ENV_DOUBLE_SAFE, raw[1:-1]):
            return None
        if "$" not in raw:
            return re.sub(r"\\([\\\"])", r"\1", raw[1:-1])
        return None if "\\" in raw else _expand_env(raw[1:-1], known, environ)
    if "$" in raw:
        expanded = _expand_env(raw, known, environ)
        return expanded if expanded and re.fullmatch(_ENV_SAFE_VALUE, expanded) else None
    if exported and re.search(r"[*?\[\]{}]", raw):
        return None
    return raw if re.fullmatch(_ENV_BARE_VALUE, raw) else None


def _expand_env(
    raw: str, known: Mapping[str, str | None], environ: Mapping[str, str]
) -> str | None:
    """Replace `${NAME}` and `${NAME:-default}` of earlier keys; None where readers differ."""
    if "$" in re.sub(_ENV_REFERENCE, "", raw):
        return None
    values: list[str] = []
    for name, default in re.findall(_ENV_REFERENCE, raw):
        value = known.get(name, default)
        outside = environ.get(name)
        if not value or (outside is not None and (name not in known or outside != value)):
            return None
        if not re.fullmatch(_ENV_SAFE_VALUE, value):
            return None
        values.append(value)
    replaced = iter(values)
    return re.sub(_ENV_REFERENCE, lambda _: next(replaced), raw)


def env_values(items: Iterable[EnvItem], required: Iterable[str] = ()) -> dict[str, str]:
    r"""Return the values that all readers agree on; the last assignment of a key counts.

    A `required` key may be missing, but not be read differently.

    >>> env_values(parse_env("A=1\nA=2\nB=$(id)\n", {}))
    {'A': '2'}
    """
    last = {item.key: item for item in items}
    for key in required:
        if key in last and last[key].value is None:
            hint = f"write it as {key}='...': no blanks around =, and no ' $ ` or \\ in it"
            raise EnvFileError(f"{ENV_FILE} line {last[key].line}: {key}: {_UNLIKE}", hint=hint)
    return {key: item.value for key, item in last.items() if item.value is not None}


def format_env_value(value: str) -> str:
    r"""Write a value so that every reader reads it back; refuse one that no spelling carries.

    >>> format_env_value("s3cret"), format_env_value("a b"), format_env_value("it's")
    ('s3cret', "'a b'", '"it\'s"')
    """
    if not re.search(rf"[\0\r\n\ud800-\udfff]|\\\Z|{_ENV_EXPANDED}", value):
        if value and re.fullmatch(_ENV_SAFE_VALUE, value):
            return value
        if not re.search(_ENV_SINGLE_UNSAFE, value):
            return f"'{value}'"
        if "`" not in value and "$" not in value:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    raise EnvFileError(
        f"no spelling in {ENV_FILE} carries this value to Compose, python-dotenv and sh alike",
        hint="choose one without line ends, ${...}, a final backslash, or ' together with ` or $",
    )


def edit_env(text: str, changes: Mapping[str, str], environ: Mapping[str, str]) -> str:
    r"""Return `text` with the last assignment of each key of `changes` set to its value.

    Nothing else changes; a key that is not there is appended, an equal value is left as it is.

    >>> edit_env("A='1' # one\nB=2", {"A": "3", "C": "x y"}, {})
    "A=3 # one\nB=2\nC='x y'\n"
    """
    items = parse_env(text, environ)
    present = env_values(items, required=changes)
    last = {item.key: item for item in items}
    changed = any(changes[key] != value for key, value in present.items() if key in changes)
    for key, item in sorted(last.items(), key=lambda pair: -pair[1].start):
        refers = changed and "$" in text[item.start : item.end]  # to a value that may change
        if key in changes and (refers or changes[key] != present[key]):
            text = text[: item.start] + format_env_value(changes[key]) + text[item.end :]
    added = [f"{key}={format_env_value(changes[key])}\n" for key in changes if key not in last]
    separator = "\n" if added and text and not text.endswith("\n") else ""
    return text + separator + "".join(added)


def drop_env(text: str, key: str, environ: Mapping[str, str]) -> str:
    r"""Return `text` without the lines that assign a key.

    >>> drop_env("A=1\nB=2 # two\nC=3\n", "B", {})
    'A=1\nC=3\n'
    """
    for item in reversed(parse_env(text, environ)):
        if item.key == key:
            start = text.rfind("\n", 0, item.start) + 1
            text = text[:start] + text[text.find("\n", item.end) + 1 or len(text) :]
    return text


# == Decisions (pure): URLs, credentials and settings =========================================

_URL_SHAPE = (
    r"(?s)(?P<scheme>[^:]*)://(?:(?P<user>[^:@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<host>\[[^\]]*\]|[^:/?#]*)(?::(?P<port>[^/?]*))?(?:/(?P<database>[^?]*))?"
    r"(?:\?(?P<query>.*))?"
)
_USERINFO = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%(?!00)[0-9A-Fa-f]{2})+"
_QUERY_PAIR = (
    r"(?!(?:user|[a-z]*password|passfile|host|hostaddr|port|dbname|service)=)"
    r"[a-z_]+=(?:[A-Za-z0-9_.,/:-]|%(?!00)[0-9A-Fa-f]{2})*"
)
DATABASE_NAME = r"[A-Za-z0-9_.-]{1,63}"
# What SQLAlchemy, libpq, asyncpg and urlsplit read alike, part by part.
_URL_PARTS = {
    "scheme": (r"postgres(?:ql)?(?:\+[a-z0-9_]+)?", "postgresql+psycopg"),
    "user": (_USERINFO, "percent-encoded, as in p%40ss"),
    "password": (_USERINFO, "percent-encoded, as in p%40ss"),
    "host": (r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", "one name or address"),
    "port": (r"[1-9][0-9]{0,4}", "a number from 1 to 65535"),
    "database": (DATABASE_NAME, "letters, digits and _ . - only"),
    "query": (f"(?:{_QUERY_PAIR}(?:&{_QUERY_PAIR})*)?", "libpq's name=value, percent-encoded"),
}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")


def parse_database_url(text: str) -> DatabaseURL:
    """Read a URL that SQLAlchemy and libpq take alike; an error names the part that is not.

    >>> parse_database_url("postgresql+psycopg://u:p%40ss@localhost:5532/hive").password
    'p@ss'
    """
    match = re.fullmatch(_URL_SHAPE, text)
    parts = match.groupdict("") if match else dict.fromkeys(_URL_PARTS, "")
    if match and match["port"] is None:
        parts["port"] = str(CONTAINER_PORT)
    try:
        for name, (pattern, _) in _URL_PARTS.items():
            if not re.fullmatch(pattern, parts[name]):
                raise ValueError
            if name == "port" and int(parts[name]) > 65535:
                raise ValueError
            _decode_percent(parts[name])
    except ValueError:
        raise EnvFileError(
            f"{URL_KEY}: its {name} is missing, or not read alike by SQLAlchemy and libpq",
            hint=f"{name}: {_URL_PARTS[name][1]}; in all:"
            " postgresql+psycopg://USER:PASSWORD@localhost:5532/hive",
        ) from None
    return DatabaseURL(
        _decode_percent(parts["user"]),
        _decode_percent(parts["password"]),
        host=parts["host"].strip("[]"),
        port=int(parts["port"]),
        database=parts["database"],
        driver=parts["scheme"].partition("+")[2],
        query=parts["query"],
    )


def build_database_url(url: DatabaseURL) -> str:
    """Write a URL so that every reader takes it apart alike.

    >>> build_database_url(DatabaseURL("u", "p@ss"))
    'postgresql+psycopg://u:p%40ss@localhost:5532/hive'
    """
    scheme = f"postgresql+{url.driver}" if url.driver else "postgresql"
    host = f"[{url.host}]" if ":" in url.host else url.host
    query = f"?{url.query}" if url.query else ""
    login = f"{_encode_percent(url.user)}:{_encode_percent(url.password)}"
    return f"{scheme}://{login}@{host}:{url.port}/{url.database}{query}"


def _decode_percent(text: str) -> str:
    pattern = rb"%([0-9A-Fa-f]{2})"
    return re.sub(pattern, lambda m: bytes([int(m[1], 16)]), text.encode()).decode("utf-8")


def _encode_percent(text: str) -> str:
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in text.encode("utf-8"))


def url_env(url: DatabaseURL) -> dict[str, str]:
    """Return the URL as `.env` has it: whole, and in the keys that repeat what it says."""
    return {
        URL_KEY: build_database_url(url),
        USER_KEY: url.user,
        PASSWORD_KEY: url.password,
        DB_KEY: url.database,
        PORT_KEY: str(url.port),
    }


def client_env(url: DatabaseURL) -> dict[str, str]:
    """Return what applications and libpq's programs take from their environment.

    Of a URL's query, libpq has a variable for `sslmode` and for all that begins like it.
    Source: https://www.postgresql.org/docs/16/libpq-envars.html

    >>> client_env(DatabaseURL("u", "p@ss", query="sslmode=require"))["PGSSLMODE"]
    'require'
    """
    ssl = re.findall("(?:^|&)(ssl[a-z_]*)=([^&]*)", url.query)
    return {
        "DATABASE_URL": build_database_url(url.replace(driver="")),
        URL_KEY: build_database_url(url),
        "PGHOST": url.host,
        "PGPORT": str(url.port),
        "PGUSER": url.user,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        **{f"PG{name.upper()}": _decode_percent(value) for name, value in ssl},
    }


def is_placeholder(value: str) -> bool:
    """Whether a user or a password is missing, or one that templates carry."""
    return not value or value.lower() in PLACEHOLDERS


def has_credentials(values: Mapping[str, str]) -> bool:
    """Whether `.env` has a URL that is more than a template's."""
    if not values.get(URL_KEY):
        return False
    url = parse_database_url(values[URL_KEY])
    return not is_placeholder(url.user) and not is_placeholder(url.password)


def has_login(values: Mapping[str, str]) -> bool:
    """Whether `.env` has a user and a password, in the URL or apart, that are no template's."""
    apart = not any(is_placeholder(values.get(key, "")) for key in (USER_KEY, PASSWORD_KEY))
    return has_credentials(values) or (apart and not values.get(URL_KEY))


def plan_database_url(
    values: Mapping[str, str], fresh: DatabaseURL, *, has_data: bool
) -> DatabaseURL:
    """Return the URL that `.env` stands for, with what it lacks taken from `fresh`.

    HIVE_DATABASE_URL decides; where there is none, POSTGRES_* do. Once there is data, even what
    looks like a placeholder may be what the server knows, and is kept.

    >>> plan_database_url({"POSTGRES_USER": "ann"}, DatabaseURL("u", "p"), has_data=False)
    postgresql+psycopg://ann:****@localhost:5532/hive
    """
    if values.get(URL_KEY):
        url = parse_database_url(values[URL_KEY])
    else:
        url = fresh.replace(
            user=values.get(USER_KEY, ""),
            password=values.get(PASSWORD_KEY, ""),
            database=values.get(DB_KEY) or fresh.database,
            port=env_number(values, PORT_KEY, fresh.port, range(1, 65536)),
        )
    if is_placeholder(url.user) and not (has_data and url.user):
        url = url.replace(user=fresh.user)
    if is_placeholder(url.password) and not (has_data and url.password):
        url = url.replace(password=fresh.password)
    return url


def require_carried(url: DatabaseURL) -> None:
    """Make sure that `.env` and the URL in it carry a URL unchanged."""
    for value in (url.user, url.password):
        format_env_value(value)
    if parse_database_url(build_database_url(url)) != url:
        raise EnvFileError(f"{URL_KEY} cannot carry these credentials", hint="choose others")


def env_number(values: Mapping[str, str], key: str, default: int, allowed: range) -> int:
    """Read a number of `.env`."""
    text = values.get(key) or str(default)
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) not in allowed:
        limits = f"a number from {allowed[0]} to {allowed[-1]}"
        raise EnvFileError(f"{ENV_FILE}: {key} is {text!r}", hint=f"make it {limits}")
    return int(text)


def read_settings(values: Mapping[str, str]) -> Settings:
    """Read the `.env` of a workspace that is set up; no key is missing, no two disagree."""
    missing = [key for key in (URL_KEY, CONTAINER_KEY, PROJECT_KEY) if not values.get(key)]
    if missing:
        what = " and no ".join(missing)
        raise NotSetUpError(f"not set up: {ENV_FILE} has no {what}", hint="hive-pg init")
    url = parse_database_url(values[URL_KEY])
    for key, expected in url_env(url).items():
        if key == URL_KEY or values.get(key, expected) == expected:
            continue
        hint = f"hive-pg init makes {key} follow the URL"
        if key == PORT_KEY:
            hint += f", hive-pg init --port {values[key]} both follow {key}"
        elif key in (USER_KEY, PASSWORD_KEY):  # either may be the one that the data knows
            hint = "make both the same; hive-pg init --yes has the server accept a new password"
        raise EnvFileError(f"{ENV_FILE}: {key} and {URL_KEY} disagree", hint=hint)
    return Settings(
        url,
        container=values[CONTAINER_KEY],
        project=values[PROJECT_KEY],
        uid=env_number(values, UID_KEY, FALLBACK_UID, range(2**32)),
        gid=env_number(values, GID_KEY, FALLBACK_UID, range(2**32)),
        image=values.get(IMAGE_KEY, ""),
        bind=values.get(BIND_KEY, ""),
        first_start=bool(values.get(FIRST_START_KEY)),
    )


def choose_project_name(workspace: str) -> str:
    """Return a Compose project name of this path's own, whatever other folders are called.

    >>> choose_project_name("/home/ann/My App")
    'my-app-5f058d'
    """
    import hashlib

    stem = re.sub(r"[^a-z0-9_-]+", "-", os.path.basename(workspace).lower()).strip("-_")[:40]
    return f"{stem or 'hive'}-{hashlib.sha256(os.fsencode(workspace)).hexdigest()[:6]}"


def choose_compose_name(workspace: str) -> str:
    """Return the project name that Compose takes where nobody chose one: for `My App`, `myapp`."""
    name = re.sub("[^a-z0-9_-]", "", os.path.basename(workspace).lower())
    return name.lstrip("_-") or "hive"


def choose_names(
    values: Mapping[str, str], project: str, own: Containers, others: Containers
) -> tuple[str, str, bool]:
    """Return the Compose project, the container name, and whether `.env` had both already.

    Where other workspaces have what `.env` says, it is a copy of theirs, and gets `project` and a
    name of its own. A container that plain Compose made here keeps its project.
    """
    recorded, container = values.get(PROJECT_KEY, ""), values.get(CONTAINER_KEY, "")
    theirs = {info.project for info in others}
    copied = recorded in theirs
    if recorded and not copied:
        project = recorded
    elif not recorded and own:
        project = own[0].project
    else:
        while project in theirs:  # it was made here, and moved away
            project += "-2"
    taken = {info.name for info in others}
    if container and not copied and container not in taken:
        return project, container, bool(recorded)
    usual = DEFAULT_CONTAINER not in taken
    return project, DEFAULT_CONTAINER if usual else f"{DEFAULT_CONTAINER}-{project}", False


def choose_host_port(first: int, reserved: Iterable[int], is_free: Callable[[int], bool]) -> int:
    """Return the first port, of a hundred, that no container has and nothing listens on."""
    for port in range(first, min(first + 100, 65536)):
        if port not in reserved and is_free(port):
            return port
    raise ContainerConflictError(f"no free port from {first} on", hint="hive-pg init --port N")


# == Decisions (pure): the compose file =======================================================

_COMPOSE_TEMPLATE = """\
# Generated by hive-pg VERSION. It is yours now: hive-pg reads this file and never writes it again.
# The values come from .env; `docker compose up -d` in this directory gives the same container.
services:
  postgres:
    image: "${HIVE_POSTGRES_IMAGE:-agnohq/pgvector:16}"
    container_name: "${HIVE_POSTGRES_CONTAINER:-hive-postgres}"
    restart: "${HIVE_POSTGRES_RESTART:-unless-stopped}"
    user: "${POSTGRES_UID:-1000}:${POSTGRES_GID:-1000}"
    environment:
      POSTGRES_USER: "${POSTGRES_USER:?run hive-pg init}"
      POSTGRES_PASSWORD: "${POSTGRES_PASSWORD:?run hive-pg init}"
      POSTGRES_DB: "${POSTGRES_DB:-hive}"
      PGDATA: /var/lib/postgresql/data/pgdata
    volumes:
      # The long form: a missing directory is an error, not one that Docker makes as root.
      - type: bind
        source: ./data/postgres
        target: /var/lib/postgresql/data
    command:
      - postgres
      - -c
      - "max_connections=${HIVE_POSTGRES_MAX_CONNECTIONS:-200}"
      - -c
      - "shared_buffers=${HIVE_POSTGRES_SHARED_BUFFERS:-256MB}"
      - -c
      - "effective_cache_size=${HIVE_POSTGRES_EFFECTIVE_CACHE_SIZE:-1GB}"
    ports:
      - "${HIVE_POSTGRES_BIND:-127.0.0.1}:${HIVE_POSTGRES_PORT:-5532}:5432"
    networks:
      - app_network
    healthcheck:
      # Over TCP: during the first start a temporary server answers on the socket alone.
      test:
        - CMD-SHELL
        - pg_isready -q -h 127.0.0.1 -p 5432 -U "$$POSTGRES_USER" -d "$$POSTGRES_DB"
      interval: 5s
      timeout: 5s
      retries: 10
      start_period: 60s
    shm_size: "${HIVE_POSTGRES_SHM_SIZE:-1gb}" # Docker's 64 MB breaks parallel HNSW builds
    stop_grace_period: "${HIVE_POSTGRES_STOP_GRACE_PERIOD:-1m}"
    security_opt:
      - no-new-privileges:true
    cap_drop:
      - ALL
    read_only: true
    tmpfs:
      - /tmp
      - /var/run/postgresql
    logging:
      driver: json-file
      options:
        max-size: "${HIVE_POSTGRES_LOG_MAX_SIZE:-10m}"
        max-file: "${HIVE_POSTGRES_LOG_MAX_FILE:-3}"
    labels:
      hive-pg.generated-by: hive-pg VERSION
      hive-pg.project: "${COMPOSE_PROJECT_NAME:-}"
networks:
  app_network:
    driver: bridge
"""


def render_compose() -> str:
    """Return the compose file of a new workspace; valid for Compose v2 and v1.29.

    No `start_interval`, `create_host_path` or top-level `name`: engines before 25 and Compose v1
    refuse them.
    """
    return _COMPOSE_TEMPLATE.replace("VERSION", __version__)


def default_service(settings: Settings, workspace: str) -> ComposeService:
    """Return the service of the compose file that hive-pg writes."""
    return ComposeService(
        service=SERVICE,
        container=settings.container,
        image=settings.image or DEFAULT_IMAGE,
        user=f"{settings.uid}:{settings.gid}",
        bind=settings.bind or DEFAULT_BIND,
        host_port=settings.url.port,
        data_dir=os.path.join(workspace, DATA_DIR),
        cluster=os.path.join(workspace, DATA_DIR, "pgdata"),
        environment=url_env(settings.url),
    )


def parse_compose_config(text: str) -> ComposeService:
    """Read the PostgreSQL service from `docker compose config --format json`."""
    # `config` doubles every dollar sign, so that its output is a compose file again.
    config = parse_json(text.replace("$$", "$"))
    name = choose_service(config.get("services") or {})
    service = config["services"][name]
    environment = {k: v for k, v in (service.get("environment") or {}).items() if v}
    published = [
        (port.get("host_ip") or "0.0.0.0", int(port["published"]))
        for port in service.get("ports") or []
        if port.get("target") == CONTAINER_PORT and str(port.get("published") or "").isdigit()
    ]
    names = {key: (v or {}).get("name", key) for key, v in (config.get("volumes") or {}).items()}
    mounts = [
        (names.get(mount.get("source"), mount.get("source") or ""), mount["target"])
        for mount in service.get("volumes") or []
    ]
    data_dir, cluster = locate_cluster(mounts, environment.get("PGDATA", DEFAULT_PGDATA))
    return ComposeService(
        service=name,
        container=service.get("container_name") or f"{config.get('name')}-{name}-1",
        image=service.get("image") or "",
        user=service.get("user") or "",
        bind=require_published(published, name)[0],
        host_port=published[0][1],
        data_dir=data_dir,
        cluster=cluster,
        environment=environment,
        builds="build" in service,
    )


def read_services(text: str) -> dict[str, dict[str, str]]:
    r"""Read the services and their images from the YAML that Compose v1 prints for `config`.

    It is in one fixed form, whatever the compose file looks like.

    >>> read_services("services:\n  db:\n    image: postgres:16\nversion: '3'\n")
    {'db': {'image': 'postgres:16'}}
    """
    section = re.search(r"(?m)^services:\n((?:[ \n].*\n?)*)", text)
    parts = re.split(r"(?m)^  (\S+):$", section[1] if section else "")
    images = (re.search(r"(?m)^    image: (.*)$", part) for part in parts[2::2])
    return {
        name: {"image": image[1].strip("'\"") if image else ""}
        for name, image in zip(parts[1::2], images)
    }


def service_of_container(info: ContainerInfo) -> ComposeService:
    """Read a service from the container that Compose made of it."""
    name = info.labels.get(SERVICE_LABEL, SERVICE)
    bind, host_port = require_published(info.ports, name)
    data_dir, cluster = info.place
    return ComposeService(
        service=name,
        container=info.name,
        image=info.image,
        user=info.user,
        bind=bind,
        host_port=host_port,
        data_dir=data_dir,
        cluster=cluster,
        environment=info.environment,
    )


def require_published(ports: Sequence[tuple[str, int]], service: str) -> tuple[str, int]:
    """Return the first host address and port; a service without one is refused."""
    if not ports:
        raise WorkspaceError(
            f"service {service!r} of the compose file publishes no fixed port for {CONTAINER_PORT}",
            hint=f'give it ports: ["{DEFAULT_BIND}:{DEFAULT_HOST_PORT}:{CONTAINER_PORT}"]',
        )
    return ports[0]


def choose_service(services: Mapping[str, Mapping[str, object]]) -> str:
    """Return the service called postgres, or the only one that runs a PostgreSQL image.

    >>> choose_service({"web": {"image": "nginx"}, "db": {"image": "pgvector/pgvector:pg16"}})
    'db'
    """
    if SERVICE in services:
        return SERVICE
    pattern = r"(?:^|[/_-])(?:postgres(?:ql)?|pgvector|postgis|timescaledb)(?:[:@_-]|$)"
    found = [n for n, s in services.items() if re.search(pattern, str(s.get("image") or ""))]
    if not found:
        hint = f"add a service {SERVICE}, or set up the database in a directory of its own"
        raise WorkspaceError("the compose file has no PostgreSQL service", hint=hint)
    if len(found) > 1:
        what = f"the compose file has several PostgreSQL services: {', '.join(found)}"
        raise WorkspaceError(what, hint=f"call the one to use {SERVICE}")
    return found[0]


def locate_cluster(mounts: Iterable[tuple[str, str]], pgdata: str) -> tuple[str, str]:
    """Return the host directory that is mounted for PGDATA, '' for a volume, and PGDATA's place.

    >>> locate_cluster([("/w", "/app"), ("/w/data", "/var/lib")], "/var/lib/postgresql/data")
    ('/w/data', '/w/data/postgresql/data')
    >>> locate_cluster([("app_pg", "/var/lib/postgresql/data")], "/var/lib/postgresql/data")
    ('', 'app_pg')
    """
    holding = [(s, t) for s, t in mounts if f"{pgdata}/".startswith(t.rstrip("/") + "/")]
    source, target = max(holding, key=lambda mount: len(mount[1]), default=("", pgdata))
    return source if os.path.isabs(source) else "", source + pgdata[len(target.rstrip("/")) :]


def adopt_service(
    settings: Settings, service: ComposeService, wanted: Wishes, *, known: bool
) -> Settings:
    """Return the settings that an existing compose file leaves us with.

    It may not fix what a person asked to be otherwise, nor have other credentials than those that
    were `known` from `.env` before.
    """
    environment = service.environment
    if PASSWORD_KEY in environment:  # the image's own default
        environment = {USER_KEY: DEFAULT_ROLE, **environment}
    user = environment.get(USER_KEY, settings.url.user)
    usual = user if USER_KEY in environment else settings.url.database
    url = settings.url.replace(
        user=user,
        password=environment.get(PASSWORD_KEY, settings.url.password),
        database=environment.get(DB_KEY, usual),
    )
    for option, wish, fixed in (
        ("--port", wanted.port, service.host_port),
        ("--image", wanted.image, service.image),
        ("--bind", wanted.bind, service.bind),
        ("--database", wanted.database, url.database),
    ):
        if wish is not None and wish != fixed:
            raise WorkspaceError(
                f"{option} {wish} has no effect: the compose file says {fixed}",
                hint=f"edit service {service.service} in it",
            )
    if known and url != settings.url:
        raise WorkspaceError(
            f"the compose file and {URL_KEY} in {ENV_FILE} disagree on user, password or database",
            hint=f"let service {service.service} take {USER_KEY}, {PASSWORD_KEY}, {DB_KEY} from"
            f" {ENV_FILE}",
        )
    uid, gid = split_user(service.user) or (settings.uid, settings.gid)
    return settings.replace(
        url=url.replace(port=service.host_port), container=service.container, uid=uid, gid=gid
    )


def split_user(user: str) -> tuple[int, int] | None:
    """Read Compose's `UID[:GID]`; None for root, for a name and for the image's own user.

    >>> split_user("1000:1000"), split_user("501"), split_user("0:0"), split_user("")
    ((1000, 1000), (501, 0), None, None)
    """
    match = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", user)
    return (int(match[1]), int(match[2] or 0)) if match and int(match[1]) else None


# == Decisions (pure): what Docker and PostgreSQL said ========================================
# Each table has the more telling rows first. The texts differ between versions: a pattern holds
# what is stable in them.

# fmt: off
DOCKER_DIAGNOSES = (
    Diagnosis("permission denied while trying to connect to the docker (?:API|daemon socket)|"
        "fetching server API version.*PermissionError",
        "your user may not use Docker's socket",
        "sudo usermod -aG docker $USER, then log in again", DockerNotAvailableError),
    Diagnosis("could not be found in this WSL",
        "`docker` is only Docker Desktop's stand-in in this WSL distribution",
        "switch it on: Docker Desktop > Settings > Resources > WSL integration",
        DockerNotAvailableError),
    Diagnosis("Cannot connect to the Docker daemon|failed to connect to the docker API|"
        "error during connect|docker_engine|dockerDesktopLinuxEngine|"
        "unable to resolve docker endpoint|fetching server API version",
        "the Docker daemon does not run, or DOCKER_HOST or the context points elsewhere",
        "start Docker: sudo systemctl start docker, or Docker Desktop; or see docker context ls",
        DockerNotAvailableError),
    Diagnosis("Internal Server Error for API route",
        "Docker Desktop is still starting, or broken",
        "wait a moment, or restart Docker Desktop", DockerNotAvailableError),
    Diagnosis("client version .* is too (?:old|new)",
        "the docker CLI and the engine are too far apart",
        "update the older of the two, and unset DOCKER_API_VERSION", DockerNotAvailableError),
    Diagnosis("Container .* is (?:not running|restarting|paused)|"
        "upgrade to tcp, received (?:409|500)|"
        "exec failed: .*(?:cannot exec in a (?:stopped|deleted)|init-p: |executing setns process)",
        "the container ended, was paused, or was about to start again, while it was asked",
        "hive-pg logs", ContainerStartupError),
    Diagnosis("port is already allocated|address already in use|Ports are not available|"
        "Only one usage of each socket|forbidden by its access permissions",
        "another container or process has the port, or Windows has reserved it",
        "hive-pg init --port N, or stop the other one (docker ps; ss -ltnp)"),
    Diagnosis("cannot assign requested address",
        "this machine has no such address to publish on",
        "hive-pg init --bind 127.0.0.1"),
    Diagnosis("container name .* is already in use",
        "a container that is not this workspace's has that name",
        "hive-pg init chooses another one where the compose file lets it"),
    Diagnosis("toomanyrequests|429 Too Many Requests",
        "the registry's pull limit is reached",
        "docker login, or wait"),
    Diagnosis("no matching manifest|no match for platform in manifest",
        "the image does not exist for this processor",
        "hive-pg init --image IMAGE"),
    Diagnosis("pull access denied|(?:manifest|name) unknown|manifest for .* not found|"
        "repository does not exist|failed to resolve reference .*: not found|"
        ": (?:denied|unauthorized)",
        "there is no such image, or it is private",
        "hive-pg init --image IMAGE, or docker login"),
    Diagnosis(r"error getting credentials|docker-credential-\S+ (?:not installed|exited)",
        "the credential helper that ~/.docker/config.json names is missing or broken",
        "remove credsStore from ~/.docker/config.json"),
    Diagnosis("no such host|dial tcp|i/o timeout|TLS handshake timeout|Client.Timeout exceeded|"
        "context deadline exceeded|connection reset by peer|x509:|"
        "unexpected (?:HTTP )?status.*: 5[0-9][0-9]",
        "the image registry is out of reach",
        "check the network and Docker's proxy; or hive-pg init --image IMAGE, of docker images"),
    Diagnosis("no space left on device",
        "Docker's disk is full",
        "free space (docker system df), then try again"),
    Diagnosis("could not find an available, non-overlapping IPv4 address pool|"
        "all predefined address pools have been fully subnetted",
        "Docker has no addresses left for another network",
        "docker network prune removes the networks that nobody uses"),
    Diagnosis("Mounts denied|is not shared from the host",
        "Docker Desktop may not read this directory",
        "share it in Docker Desktop's settings, or move the project below your home"),
    Diagnosis("bind source path does not exist|error while creating mount source path",
        "the daemon does not see the data directory: it is remote, or confined (snap)",
        "hive-pg init makes the directory; with snap's Docker, move the project below your home"),
)

# What a container wrote before it stopped.
CONTAINER_DIAGNOSES = (
    Diagnosis("database files are incompatible with server",
        "the data was made by another major version of PostgreSQL",
        "go back to that version's image, dump, and restore into the new one"),
    Diagnosis("unrecognized configuration parameter|invalid value for parameter|invalid argument:|"
        "is outside the valid range",
        "a server setting (-c ..., or HIVE_POSTGRES_... in .env) is not valid",
        "correct it in .env or in the compose file, then hive-pg restart"),
    Diagnosis("cannot create directory .*Permission denied|has wrong ownership|"
        "could not change permissions of directory|could not access directory|"
        "could not open (?:file|directory) .*: Permission denied|"
        "database is uninitialized and superuser password is not specified",
        "the data directory belongs to another user than the server's",
        "hive-pg init gives it to POSTGRES_UID:POSTGRES_GID", repair=Repair.OWNER),
    Diagnosis("has invalid permissions",
        "the data directory is open to others, and its file system cannot change that",
        "chmod 700 data/postgres/pgdata; on a Windows or network drive, move the project"),
    Diagnosis("exists but is not empty",
        "the data directory holds files but no PG_VERSION: no cluster, or a damaged one",
        "if it is one, put PG_VERSION back; else move the files away, then hive-pg init",
        repair=Repair.REMAKE),
    Diagnosis("could not resize shared memory segment",
        "the container's /dev/shm is too small",
        "raise HIVE_POSTGRES_SHM_SIZE in .env, then hive-pg restart"),
    Diagnosis("No space left on device",
        "the disk is full",
        "free space; the server recovers by itself"),
    Diagnosis("could not locate a valid checkpoint record|could not find the database system|"
        r"could not open file .*(?:pg_control|pg_filenode\.map).*No such file|"
        r"could not load \S*pg_hba\.conf|"
        "could not access the server configuration file",
        "the cluster is incomplete: a first start or a copy was cut short",
        "hive-pg init makes it anew, if nobody ever logged in; else restore a backup of the data",
        repair=Repair.REMAKE),
    Diagnosis('lock file "postmaster.pid" is empty',
        "the disk was full, or the machine went down, while the server started",
        "when no other server uses the data: rm data/postgres/pgdata/postmaster.pid"),
    Diagnosis('"postmaster.pid" already exists|pre-existing shared memory block',
        "another server runs on the same data directory",
        "stop it first (docker ps)"),
    Diagnosis("could not map anonymous shared memory|Cannot allocate memory|out of memory",
        "there is too little memory for the server's settings",
        "lower HIVE_POSTGRES_SHARED_BUFFERS, or give Docker more memory"),
    Diagnosis("exec format error",
        "the image is for another processor",
        "hive-pg init --image IMAGE"),
)

# What psql says of a login that failed.
LOGIN_DIAGNOSES = (
    Diagnosis("password authentication failed",
        "the server refuses the user and password in .env; it took them from there only when"
        " the data was made",
        "hive-pg init --yes has the server accept them; or put back the old HIVE_DATABASE_URL",
        CredentialsRefusedError, Repair.PASSWORD),
    Diagnosis("server did not complete authentication",
        "the server asks nobody for a password, so none can be verified",
        "in its pg_hba.conf, replace trust by scram-sha-256 in the host lines",
        CredentialsRefusedError),
    Diagnosis("no pg_hba.conf entry",
        "the server lets nobody in over the network",
        "hive-pg init --yes appends to its pg_hba.conf: host all all all scram-sha-256",
        CredentialsRefusedError, Repair.NETWORK),
    Diagnosis('database ".*" does not exist',
        "the server accepts the credentials, but has no such database",
        "hive-pg init creates it; or correct HIVE_DATABASE_URL in .env",
        DatabaseConnectionError, Repair.DATABASE),
    Diagnosis(r"could not open file .*global/pg_filenode\.map.*No such file",
        "the cluster is incomplete: a first start or a copy was cut short",
        "hive-pg init makes it anew, if nobody ever logged in; else restore a backup of the data",
        DatabaseConnectionError, Repair.REMAKE),
    Diagnosis("too many clients already|remaining connection slots",
        "all of the server's connections are in use",
        "close some, or raise HIVE_POSTGRES_MAX_CONNECTIONS in .env, then hive-pg restart",
        DatabaseConnectionError),
    Diagnosis('role ".*" does not exist',
        "the data knows no such user",
        "put back the user in HIVE_DATABASE_URL that the data was made with",
        CredentialsRefusedError),
)

# What the server complains of while it lets somebody in.
LOGIN_WARNINGS = (
    Diagnosis("collation version mismatch",
        "the image sorts text otherwise than the one that the data was made with",
        "in each database: REINDEX DATABASE name; ALTER DATABASE name REFRESH COLLATION VERSION"),
)
# fmt: on


def diagnose(text: str, table: Iterable[Diagnosis]) -> Diagnosis | None:
    """Return the first row of a table whose pattern occurs in the text."""
    return next((row for row in table if re.search(row.pattern, text, re.IGNORECASE)), None)


def mask_values(text: str) -> str:
    """Take out what Compose quotes of a file that it cannot read: it may be a password.

    >>> mask_values('invalid interpolation format for a.b: "s3cret${"')
    'invalid interpolation format for a.b: "****"'
    """
    text = re.sub(r"(?s)(escape any \$ with another \$\.)\n.*", r"\1", text)
    quoting = "interpolation format|invalid template|near "
    return re.sub(rf'(?is)((?:{quoting})[^"]*)".*"', r'\1"****"', text)


def last_line(text: str) -> str:
    """Return the last line that is not blank, '' for none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def build_docker_error(
    result: CommandResult, what: str, hint: str = "", table: Sequence[Diagnosis] = ()
) -> PostgreSQLIntegrationError:
    """Turn a docker command that failed into an error with cause and remedy, or else `hint`.

    A program that ran in a container may have words of its own, in `table`.
    """
    words = result.stderr
    if "Traceback (most recent call last)" in words:  # Compose v1's; it ends with what happened
        words = last_line(words)
    # WSL's stand-in speaks on stdout.
    found = diagnose(words, table) or diagnose(words or result.stdout, DOCKER_DIAGNOSES)
    if not found:
        said = re.search(r"\bERROR:  (.*)", words)  # PostgreSQL's, which may have more lines
        cause = said[1] if said else last_line(words) or f"exit code {result.returncode}"
        found = Diagnosis("", cause, hint)
    message = f"{what}: {found.cause}"
    return found.error(message, hint=found.remedy, detail=words, repair=found.repair)


def find_named(containers: Containers, name: str) -> ContainerInfo | None:
    """Return the container of a name, None where there is none."""
    return next((info for info in containers if info.name == name), None)


def diagnose_container(info: ContainerInfo, logs: str) -> Diagnosis | None:
    """Return the cause by Docker's own word, else by what the container wrote."""
    if info.oom_killed:
        return Diagnosis("", "the kernel ended it for lack of memory", "give Docker more memory")
    return diagnose(logs, CONTAINER_DIAGNOSES)


def build_startup_error(info: ContainerInfo | None, name: str, logs: str) -> ContainerStartupError:
    """Say why a container is not up, from its state and what it wrote since it was looked for."""
    if info is None:
        return ContainerStartupError(f"container {name} was removed", hint="hive-pg start")
    if info.state is ContainerState.PAUSED:
        return ContainerStartupError(f"container {name} is paused", hint=f"docker unpause {name}")
    times = "once" if info.restart_count == 1 else f"{info.restart_count} times"
    again = f"restarted {times}" if info.restart_count else ""
    happened = {
        ContainerState.EXITED: f"stopped with exit code {info.exit_code}",
        ContainerState.RESTARTING: f"keeps restarting (exit code {info.exit_code})",
        ContainerState.RUNNING: again or "runs, but does not serve",
    }.get(info.state, f"is {info.state.value}")
    found = diagnose_container(info, logs)
    below = "its last words are below" if logs else "it left no words to read"
    if not found and info.state is ContainerState.EXITED and info.exit_code == 0:
        cause = f"it was told to, or has nothing to do; {below}"
        hint = "hive-pg start; if it stops again, see hive-pg logs"
        # One who told it to since then is not to be contradicted.
        repair = None if "shutdown request" in logs else Repair.START
        found = Diagnosis("", cause, hint, repair=repair)
    found = found or Diagnosis("", below, "hive-pg logs")
    message = f"container {name} {happened}: {found.cause}"
    return ContainerStartupError(message, hint=found.remedy, detail=logs, repair=found.repair)


def parse_listener(text: str) -> str:
    """Say which process `ss -Hltnp` names; it names none of another user's.

    >>> parse_listener('LISTEN 0 5 127.0.0.1:5532 0.0.0.0:* users:(("node",pid=7,fd=3))')
    'a process on this machine: node (pid 7)'
    """
    found = re.search(r'\(\("(.*?)",pid=([0-9]+)', text)
    return "a process on this machine" + (f": {found[1]} (pid {found[2]})" if found else "")


def parse_time(text: str) -> float:
    """Read Docker's RFC 3339 time in UTC, to the second; return seconds since the epoch."""
    import datetime

    moment = datetime.datetime.fromisoformat(text[:19])
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def parse_containers(text: str) -> list[ContainerInfo]:
    """Read the JSON array that `docker inspect` prints for containers.

    Source: https://docs.docker.com/reference/api/engine/ (ContainerInspect).
    """
    return [_read_container(item) for item in parse_json(text or "[]")]


def parse_json(text: str) -> Any:
    """Read what docker prints as JSON; something else may have its name."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        raise DockerNotAvailableError(
            f"`docker` does not print JSON, but: {last_line(text)}",
            hint="see what it is: type -a docker",
        ) from None


def _read_container(item: dict[str, Any]) -> ContainerInfo:
    state, config = item["State"], item["Config"]
    health = state.get("Health") or {}
    # Until the first check after a pause, the engine calls a container unhealthy.
    unchecked = health.get("Status") == "unhealthy" and health.get("FailingStreak") == 0
    bindings = (item["HostConfig"].get("PortBindings") or {}).get(f"{CONTAINER_PORT}/tcp") or []
    return ContainerInfo(
        name=item["Name"].lstrip("/"),
        image=config["Image"],
        state=ContainerState(state["Status"]),
        health=Health.STARTING if unchecked else Health(health.get("Status") or "none"),
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        restart_count=item["RestartCount"],
        started_at=parse_time(state["StartedAt"]),
        user=config.get("User") or "",
        environment=dict(entry.partition("=")[::2] for entry in config.get("Env") or []),
        labels=config.get("Labels") or {},
        mounts=[
            (mount.get("Name") or mount.get("Source") or "", mount["Destination"])
            for mount in item.get("Mounts") or []
        ],
        ports=[  # a range, of which Docker takes any, is no fixed port
            (b["HostIp"] or "0.0.0.0", int(b["HostPort"]))
            for b in bindings
            if b["HostPort"].isdigit()
        ],
    )


# Runs in the container: waits for the server on the container's own address, then logs in there.
# The socket and 127.0.0.1 are `trust` in the image, and answer too early during the first start;
# `!none` makes psql 16 refuse a server that asks for no password at all.
_PROBE_SCRIPT = """\
user=$1 database=$2 deadline=$(($(date +%s) + $3)) sql=$4
address=$(hostname -i) && address=${address%% *}
case $address in "" | 127.* | ::1) echo "its own address is '$address'" >&2; exit 64 ;; esac
until pg_isready -q -t 1 -h "$address" -p 5432 -U "$user" -d "$database"; do
  ready=$?
  if [ "$ready" -gt 2 ] || [ "$(date +%s)" -ge "$deadline" ]; then exit $((70 + ready)); fi
  sleep 0.02
done
IFS= read -r PGPASSWORD
export PGPASSWORD PGREQUIREAUTH='!none' PGCONNECT_TIMEOUT=5
psql -XwqAt -v ON_ERROR_STOP=1 -h "$address" -p 5432 -U "$user" -d "$database" -c "$sql"
login=$?
[ "$login" -eq 0 ] || exit $((80 + login))
"""
# The script's exit codes: pg_isready's once time is up, psql's when the login failed.
_PROBE_REJECTING, _PROBE_NO_RESPONSE, _PROBE_SQL_FAILED, _PROBE_LOGIN_FAILED = 71, 72, 81, 82
# What psql says of a server that accepted a moment ago, and has had to stop, recover or wait since.
_NOT_NOW = (
    "the database system is (?:starting up|shutting down|in recovery|not yet accepting)"
    "|terminating connection|server closed the connection|Connection re(?:fused|set)"
    "|timeout expired"
)

VERSIONS_SQL = (
    "select current_setting('server_version'),"
    " (select default_version from pg_available_extensions where name = 'vector'),"
    " (select extversion from pg_extension where extname = 'vector')"
)
CREATE_EXTENSION_SQL = "set client_min_messages = warning; create extension if not exists vector; "


# What a role or a database is set to may keep nobody from dumping or mending it.
_OWN_SESSION = (
    "--env",
    "PGOPTIONS=-c role=none -c default_transaction_read_only=off -c statement_timeout=0",
)


def build_client_argv(
    settings: Settings, program: str, *arguments: str, options: Sequence[str] = _OWN_SESSION
) -> tuple[list[str], dict[str, str]]:
    """Build the `docker exec` of a client of the image, and the environment that it takes.

    It logs in over the socket; the password is there for a server that asks for it there.
    """
    url = settings.url
    argv = ["docker", "exec", "--interactive", "--env", "PGPASSWORD", "--env", f"PGUSER={url.user}"]
    argv += ["--env", f"PGDATABASE={url.database}", *options]
    env = {**os.environ, "PGPASSWORD": url.password}
    return [*argv, settings.container, program, *arguments], env


def build_script_argv(container: str, url: DatabaseURL, script: str, *more: str) -> list[str]:
    """Build the `docker exec` of a script of ours; the password is the line on its stdin.

    >>> build_script_argv("name", DatabaseURL("u", "p"), "exit", "2")[4:]
    ['sh', '-c', 'exit', 'hive-pg', 'u', 'hive', '2']
    """
    argv = ["docker", "exec", "--interactive", container, "sh", "-c", script]
    return [*argv, "hive-pg", url.user, url.database, *more]


def read_probe(result: CommandResult) -> Probe:
    """Read the end of a probe."""
    code, words = result.returncode, result.stderr.strip()
    if code == 0:
        server, available, created = last_line(result.stdout).split("|")
        warning = diagnose(words, LOGIN_WARNINGS)
        return Probe(Readiness.ACCEPTING, None, server.split(" ")[0], available, created, warning)
    if code == _PROBE_SQL_FAILED:
        why = f"pgvector cannot be created in the database: {last_line(words)}"
        hint = f"use an image that has it: hive-pg init --image {DEFAULT_IMAGE}"
        return Probe(Readiness.ACCEPTING, PostgreSQLIntegrationError(why, hint=hint))
    logs, not_now = "hive-pg logs", re.search(f".*(?:{_NOT_NOW}).*", words)
    if code == _PROBE_LOGIN_FAILED and not not_now:
        why = f"the login failed: {last_line(words)}"
        unknown = Diagnosis("", why, logs, DatabaseConnectionError)
        found = diagnose(words, LOGIN_DIAGNOSES) or unknown
        error = found.error(found.cause, hint=found.remedy, repair=found.repair)
        return Probe(Readiness.ACCEPTING, error)
    not_ready = {
        _PROBE_REJECTING: (Readiness.REJECTING, "it starts, stops or recovers"),
        _PROBE_NO_RESPONSE: (Readiness.NO_RESPONSE, "nothing answers on its address"),
        _PROBE_LOGIN_FAILED: (Readiness.REJECTING, not_now[0] if not_now else ""),
    }
    if code in not_ready:
        readiness, why = not_ready[code]
        why = f"PostgreSQL does not accept connections: {why}"
        return Probe(readiness, DatabaseConnectionError(why, hint=logs))
    if not words:
        why = "the container ended while it was asked"
        return Probe(Readiness.UNKNOWN, ContainerStartupError(why, hint=logs))
    return Probe(Readiness.UNKNOWN, build_docker_error(result, "cannot ask the container"))


# == Decisions (pure): mending ================================================================

# What a cluster may want whose first start was interrupted.
HALF_MADE = (Repair.NETWORK, Repair.DATABASE, Repair.REMAKE)


def choose_repair(wanted: Repair | None, *, untouched: bool) -> Repair | None:
    """Return the repair that is safe; only an `untouched` cluster, without a database, is remade.

    >>> choose_repair(Repair.DATABASE, untouched=True)
    <Repair.REMAKE: 'move the cluster aside, and make a new one'>
    >>> choose_repair(Repair.REMAKE, untouched=False)
    """
    if untouched and wanted in HALF_MADE:
        return Repair.REMAKE  # the image's init scripts have not run to their end
    return None if wanted is Repair.REMAKE else wanted


# The image writes this line after initdb; \gexec runs the statement that the first one selects.
_APPEND_NETWORK_LINE_SQL = r"""
select format('copy (values (%L), (%L)) to program %L', '',
    'host all all all scram-sha-256', format('cat >> "%s"', current_setting('hba_file')))
\gexec
select pg_reload_conf();
"""
# In single-user mode PostgreSQL asks for no role, and lets nobody else in; but it wants its own
# user to have a name, which that of a container need not have.
# Source: https://www.postgresql.org/docs/16/app-postgres.html (Options for Single-User Mode)
_SINGLE_USER_SCRIPT = """\
set -e
owner=$(stat -c %u:%g "$0/PG_VERSION")
echo "hive-pg:x:$owner::/:/bin/sh" >> /etc/passwd
exec gosu "$owner" postgres --single -D "$0" template1
"""
# The image's POSTGRES_USER is the role that initdb made.
OWNER_AND_DATABASES_SQL = (
    "select rolname as owner, (select string_agg(datname, ' ' order by datname) from pg_database"
    " where not datistemplate and datname <> 'postgres') as databases from pg_authid where oid = 10"
)


def build_repair_sql(repair: Repair, url: DatabaseURL, salt: bytes) -> str:
    """Write the psql script that has a server let `url` in."""
    if repair is Repair.PASSWORD:
        verifier = build_scram_verifier(url.password, salt)
        return f"alter role {quote_identifier(url.user)} password '{verifier}';"
    if repair is Repair.DATABASE:
        return f"create database {quote_identifier(url.database)};"
    return _APPEND_NETWORK_LINE_SQL


def read_owner_and_databases(text: str) -> tuple[str, list[str]]:
    r"""Read what PostgreSQL's single-user mode answers; '' where it does not say.

    >>> read_owner_and_databases('\t 1: owner = "ann"\t(typ...)\n\t 2: databases = "a b"\t(..)')
    ('ann', ['a', 'b'])
    """
    found = dict(re.findall(r'(?m)^\t *\d: (\w+) = "(.*)"\t\(', text))
    return found.get("owner", ""), found.get("databases", "").split()


def choose_database(wanted: str | None, owner: str, databases: Sequence[str]) -> str:
    """Return the database that an application has used; several that could be it are refused.

    >>> choose_database(None, "ann", ["app"]), choose_database(None, "postgres", [])
    ('app', 'postgres')
    """
    if wanted:
        return wanted
    if not databases:
        return DEFAULT_ROLE if owner == DEFAULT_ROLE else DEFAULT_DATABASE
    for name in (DEFAULT_DATABASE, owner):
        if name in databases:
            return name
    if len(databases) > 1:
        hint = "hive-pg init --database NAME says which one is the application's"
        raise WorkspaceError(f"the data has several databases: {', '.join(databases)}", hint=hint)
    return databases[0]


def build_scram_verifier(password: str, salt: bytes, iterations: int = 4096) -> str:
    """Return what the server keeps of a password, so that the password itself need not travel.

    Source: RFC 5802 (3), RFC 7677, https://www.postgresql.org/docs/16/catalog-pg-authid.html

    >>> build_scram_verifier("pencil", b"salt")[:32]
    'SCRAM-SHA-256$4096:c2FsdA==$u+iL'
    """
    import base64
    import hashlib
    import hmac

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    prepared = prepare_password(password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{text(salt)}${text(stored)}:{text(server)}"


def prepare_password(password: str) -> str:
    """Return a password as libpq hashes it: by SASLprep, or as it is where that forbids it.

    Source: RFC 4013; pg_saslprep in PostgreSQL's src/common/saslprep.c.

    >>> prepare_password("ﬁ\u00a0x")
    'fi x'
    """
    if password.isascii():
        return password
    import stringprep
    import unicodedata

    blank, dropped = stringprep.in_table_c12, stringprep.in_table_b1
    mapped = "".join(" " if blank(c) else c for c in password if not dropped(c))
    forbidden = [stringprep.in_table_a1, stringprep.in_table_c21_c22]
    forbidden += [getattr(stringprep, f"in_table_c{number}") for number in range(3, 10)]
    leftward = [stringprep.in_table_d1(c) for c in mapped]  # written from right to left
    mixed = any(leftward) and not (
        leftward[0] and leftward[-1] and not any(map(stringprep.in_table_d2, mapped))
    )
    refused = any(table(c) for c in mapped for table in forbidden)  # libpq looks before NFKC
    return password if mixed or refused or not mapped else unicodedata.normalize("NFKC", mapped)


# == Decisions (pure): dumps and passwords ====================================================

# Deletes a cluster in /target, and what was moved aside of it.
_DELETE_SCRIPT = """\
set -e
cluster=/target/${0##*/}
rm -rf "$cluster".incomplete-*
[ ! -e "$cluster" ] || mv "$cluster" "$cluster".incomplete-deleted
rm -rf "$cluster".incomplete-*
"""

# Ends pg_dump when its stdin does, so that none goes on for nobody when hive-pg was killed.
_DUMP_SCRIPT = """\
exec 3<&0
{ cat <&3; kill $$; } >/dev/null 2>&1 &
exec pg_dump -Fc -w --lock-wait-timeout=30s 3<&-
"""

# fmt: off
# What pg_dump, pg_restore and psql say of a file that is not restored.
DUMP_DIAGNOSES = (
    Diagnosis(r"unsupported version \(.*\) in file header|unrecognized configuration parameter|"
        r"invalid command \\(?:un)?restrict",
        "the dump was made by a newer PostgreSQL than the image's",
        "dump it again with pg_dump of the image's version; or hive-pg init --image, with a newer"
        " one, in a new workspace"),
    Diagnosis("could not read from input file: end of file|could not find block ID|"
        "could not uncompress data|corrupt tar header|found unexpected block ID|"
        "unrecognized data block type|unexpected end of file|"
        "did not find magic string in file header",
        "the dump is truncated or damaged",
        "take another one; a copy that ended early has fewer bytes than the original"),
    Diagnosis('schema "public" already exists',
        "the dump makes the schema public, as that of pg_dump -n does",
        "dump it without -n; or pg_restore -f x.sql FILE, and take CREATE SCHEMA public out of it"),
    Diagnosis('role ".*" does not exist',
        "the dump has objects of a role that is not there",
        "the same with --no-owner gives them to the workspace's own"),
    Diagnosis('extension ".*" is not available|could not open extension control file',
        "the dump needs an extension that the image does not have",
        "hive-pg init --image, with one that has it"),
    Diagnosis("canceling statement due to lock timeout|could not obtain lock on relation",
        "another session has a table locked",
        "end it (select pid, query from pg_stat_activity), then try again"),
    Diagnosis("terminating connection|server closed the connection|the database system is|"
        "connection to server .* failed",
        "the server ended the session: it stops, or has crashed",
        "see hive-pg status, then try again", DatabaseConnectionError),
    Diagnosis("(?m)^ERROR:  (?:index|relation|table|sequence|view|schema|trigger|function) .*"
        " does not exist",
        "the script drops or uses something that is not there",
        "dump all of it: without -a, -t or --clean (or with --if-exists, too)"),
)
# fmt: on


def choose_backup_name(database: str, now: float) -> str:
    """Return the file name of a backup that is begun at `now`, in epoch seconds.

    >>> choose_backup_name("hive", 1.0)
    'hive-19700101T000001Z.dump'
    """
    return f"{database}-{format_stamp(now)}.dump"


def choose_database_name(database: str, purpose: str, now: float) -> str:
    """Return a name beside a database's, within PostgreSQL's 63 bytes.

    >>> choose_database_name("hive", "before", 1.0)
    'hive_before_19700101T000001Z'
    """
    suffix = f"_{purpose}_{format_stamp(now)}"
    return database[: 63 - len(suffix)] + suffix


def format_stamp(moment: float) -> str:
    """Write a time, in epoch seconds, for a name: to the second, in UTC."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


def is_archive(head: bytes) -> bool:
    r"""Tell pg_dump's custom format from SQL by the first bytes of a file; refuse what is neither.

    >>> is_archive(b"PGDMP\x01"), is_archive(b"create table t (i int);")
    (True, False)
    """
    if head.startswith(b"PGDMP"):
        return True
    packed = head.startswith((b"\x1f\x8b", b"(\xb5/\xfd", b"BZh"))  # by gzip, zstd or bzip2
    whole = b"-- PostgreSQL database cluster dump" in head
    part = "take the part of the one database, or pg_dump it:"
    for what, found, advice in (
        ("is empty", not head.strip(), ""),
        ("is compressed", packed, "gunzip -c FILE |"),
        ("is a tar archive", head[257:262] == b"ustar", "pg_restore -f - FILE |"),
        ("is a dump of a whole server (pg_dumpall)", whole, part),
        ("is neither a dump nor SQL", b"\0" in head, "pg_dump -Fc |"),
    ):
        if found:
            hint = f"{advice} hive-pg restore -".lstrip() if advice else "take another one"
            raise WorkspaceError(f"the file {what}", hint=hint)
    return False


# Where a script enters a string, a name, a comment or a body, and where that ends. Most commands
# have no use for it, so that it is compiled only where it is used.
_SCRIPT_TOKEN = rb"""(?x)
    (?P<end> ;) | \\ (?P<kept> (?:un)?restrict [ ] \w+ \r?\n)? | -- | /\* | ["']
    | (?<! [\w$\x80-\xff]) (?: [eE]' | \$ (?: [A-Za-z_\x80-\xff][\w\x80-\xff]*)? \$)
    """
_SCRIPT_ENDS = {
    b"'": rb"'",
    b'"': rb'"',
    b"e'": rb"(?s)\\.|''|'",
    b"/*": rb"/\*|\*/",
    b"--": rb"\n",
    b"copy": rb"\n\\\.\r?\n",
}


class ScriptGuard:
    r"""Follows an SQL script, block by block, to find what acts on other databases than its own.

    psql's own commands are refused, too: they may run what was selected (\gexec), or hide what
    follows (\\). What strings, comments, bodies of functions and the rows of a COPY say is of no
    interest.
    """

    _HEADER = b"-- PostgreSQL database dump"
    _TRAILER = _HEADER + b" complete"
    _AHEAD = 100  # no token is longer

    def __init__(self) -> None:
        self.first = self.last = b""  # of the script
        self.rest, self.position = b"", 0  # what is not looked through yet begins there
        self.token = re.compile(_SCRIPT_TOKEN)
        self.ends = {token: re.compile(pattern) for token, pattern in _SCRIPT_ENDS.items()}
        self.inside: re.Pattern[bytes] | None = None  # what ends the string or the like
        self.depth = 0  # of comments
        self.head = self.tail = b""  # of the statement, but for strings and comments

    def check(self, block: bytes) -> bytes:
        """Return what psql may have by now: a little is held back until more is known."""
        self.first = (self.first + block)[:1000]
        self.last = (self.last + block)[-1000:]
        return self._scan(block, self._AHEAD)

    def finish(self) -> bytes:
        """Return the rest, if pg_dump's last line was there where its first one was."""
        if self._HEADER in self.first and self._TRAILER not in self.last:
            raise WorkspaceError("the dump is truncated: its last line is missing")
        return self._scan(b"\n", 0)

    def _scan(self, block: bytes, ahead: int) -> bytes:
        text = self.rest + block
        begin = position = self.position
        end = max(begin, len(text) - ahead)
        while position < end:
            found = (self.inside or self.token).search(text, position)
            if found is None or found.start() >= end:
                self._note(text[position:end])
                position = end
            else:
                self._note(text[position : found.start()])
                position = found.end()
                if self.inside:
                    self._leave(found[0])
                else:
                    self._enter(found)
        kept = max(0, position - 1)  # what stands before a token counts
        self.rest, self.position = text[kept:], position - kept
        return text[begin:position]

    def _note(self, code: bytes) -> None:
        """Look at a part of a statement, before psql has it: at its end, it would be run."""
        if self.inside:
            return
        self.tail = (self.tail + code)[-200:]
        if len(self.head) < 100:
            self.head = (self.head + code).lstrip()[:100]
            # What follows tells whether the word has ended.
            if re.match(rb"(?i)(?:drop|create|alter)\s+database[^\w$\x80-\xff]", self.head):
                hint = "dump the one database without --create (-C)"
                self._refuse("acts on databases", self.head, hint)

    def _enter(self, found: re.Match[bytes]) -> None:
        """Take a token outside of strings and the like."""
        token = found[0]
        if found["kept"]:  # what pg_dump writes for psql
            return
        if token == b"\\":
            words = found.string[found.start() :].split(None, 1)[0]
            hint = 'eval "$(hive-pg env)"; psql -f FILE runs it in the present database'
            self._refuse("has a command for psql", words, hint)
        if found["end"]:
            statement = self.head[:5] + b" " + self.tail
            rows = re.match(rb"(?is)copy\b.*\bfrom\s+stdin\b", statement)
            self.inside = self.ends[b"copy"] if rows else None
            self.head = self.tail = b""
        elif token.startswith(b"$"):
            self.inside = re.compile(re.escape(token))
        else:
            self._note(b" ")
            self.inside, self.depth = self.ends[token.lower()], 1

    def _leave(self, token: bytes) -> None:
        """Take a token within them."""
        if self.inside is self.ends[b"/*"]:
            self.depth += 1 if token == b"/*" else -1
            if self.depth:
                return
        elif self.inside is self.ends[b"e'"] and token != b"'":
            return
        self.inside = None

    @staticmethod
    def _refuse(what: str, words: bytes, hint: str) -> NoReturn:
        text = last_line(words.decode("utf-8", "replace"))
        raise WorkspaceError(f"the script {what}: {text}", hint=hint)


def quote_identifier(name: str) -> str:
    """Write a name as SQL has it.

    >>> quote_identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Write a text as SQL has it, whatever standard_conforming_strings says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def build_staging_sql(database: str, staging: str) -> str:
    """Write the psql script that makes an empty database with the settings of the present one.

    The provider of its locale is in columns that not every major version has.
    """
    present, new = quote_literal(database), quote_literal(staging)
    return f"""\
select format('create database %I owner %I connection limit %s template template0 encoding %L'
    ' lc_collate %L lc_ctype %L tablespace %I%s', {new}, pg_get_userbyid(datdba), datconnlimit,
    pg_encoding_to_char(encoding), datcollate, datctype,
    (select spcname from pg_tablespace where oid = dattablespace),
    case to_jsonb(d) ->> 'datlocprovider'
    when 'c' then ' locale_provider libc'
    when 'b' then format(' locale_provider builtin builtin_locale %L', to_jsonb(d) ->> 'datlocale')
    when 'i' then format(' locale_provider icu icu_locale %L',
        coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale'))
        || coalesce(' icu_rules ' || quote_literal(to_jsonb(d) ->> 'daticurules'), '') end)
from (select * from pg_database where datname in ({present}, 'template0')
    order by datname = {present} desc limit 1) as d
\\gexec
comment on database {quote_identifier(staging)} is {comment_staging(database)};
select format('revoke all on database %I from public', {new}) from pg_database
where datname = {present} and datacl is not null
\\gexec
select format('grant %s on database %I to %s', privilege_type, {new},
    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end
    || case when is_grantable then ' with grant option' else '' end)
from pg_database, aclexplode(datacl) where datname = {present}
\\gexec
select format('alter %s set %I to %s', case setrole when 0 then '' else
    format('role %I in ', pg_get_userbyid(setrole)) end || format('database %I', {new}),
    split_part(setting, '=', 1),
    case when setting ~ '^(search_path|temp_tablespaces|.*_preload_libraries|DateStyle)='
    then coalesce(nullif(substr(setting, position('=' in setting) + 1), '""'), quote_literal(''))
    else quote_literal(substr(setting, position('=' in setting) + 1)) end)
from pg_db_role_setting, unnest(setconfig) as setting
where setdatabase = (select oid from pg_database where datname = {present})
\\gexec
"""


def build_list_sql(comment: str, what: str = "datname") -> str:
    """Write the query for the databases that `restore` made, with a comment, an SQL literal.

    Who renames one back may have left the comment there.
    """
    return f"""\
select {what} from pg_database
where shobj_description(oid, 'pg_database') = {comment}
    and datname ~ '_(before|restoring)_[0-9]+T[0-9]+Z$'
order by datname
"""


def build_drop_sql(comment: str) -> str:
    """Write the psql script that drops what `build_list_sql` lists, if it is still there then."""
    what = "format('drop database if exists %I with (force)', datname)"
    return build_list_sql(comment, what) + "\\gexec\n"


def comment_staging(database: str) -> str:
    """Return the comment, an SQL literal, on what is to be `database` after a restore."""
    return quote_literal(f"hive-pg restore of {database} is under way, or was interrupted")


def comment_kept(database: str) -> str:
    """Return the comment, an SQL literal, on what was `database` before a restore."""
    return quote_literal(f"{database} before hive-pg restore")


def build_swap_sql(database: str, staging: str, kept: str) -> str:
    """Write the script that puts a restored database in the present one's place, both at once.

    Sessions are ended: a database is renamed only where nobody is connected. For those who come in
    between, the server would wait for five seconds; they are to be ended soon, by another try.
    """
    present, aside, new = map(quote_identifier, (database, kept, staging))
    own = f"nullif(shobj_description(oid, 'pg_database'), {comment_kept(database)})"
    return f"""\
set statement_timeout = '1s';
begin;
select format('comment on database %I is %L', {quote_literal(staging)}, {own})
from pg_database where datname = {quote_literal(database)}
\\gexec
select pg_terminate_backend(pid) from pg_stat_activity where datname = {quote_literal(database)};
alter database {present} rename to {aside};
comment on database {aside} is {comment_kept(database)};
alter database {new} rename to {present};
commit;
"""


def build_end_script(word: str) -> str:
    """Write what has psql say a word, if it is not in a statement, nor in a transaction, then.

    There is no quote in it, which could end a string that a script leaves open.
    """
    return f"""
;
select now() = statement_timestamp() as hive_pg_end \\gset
\\if :hive_pg_end
\\warn {word}
\\endif
\\q
"""


DATABASES_SQL = "select datname from pg_database where not datistemplate order by datname;"

# Whether a script has made anything; initdb's own objects are below FIRST_USER_OID.
MADE_SQL = "select " + " or ".join(
    f"exists (select from {catalog} where oid >= {FIRST_USER_OID})"
    for catalog in ("pg_class", "pg_proc", "pg_type", "pg_extension", "pg_largeobject_metadata")
)

# Whether there are rows of somebody's; an extension, which an image may make, has none.
USED_SQL = (
    f"select exists (select from pg_class where oid >= {FIRST_USER_OID} and relkind in"
    " ('r', 'p', 'm')) or exists (select from pg_largeobject_metadata)"
)


# == Decisions (pure): stats ==================================================================
# A sample is the JSON object of `stats --json`. Its numbers are called as Prometheus calls them:
# counters `_total`, the rest by their unit, which also says how people see them.

# Runs in the container: the control group's files (version 2, then 1), then the server, which is
# asked over its own socket; as often as wanted, a second apart.
_SAMPLE_SCRIPT = """\
user=$1 database=$2 count=$3 sql=$4
IFS= read -r PGPASSWORD
export PGPASSWORD PGCONNECT_TIMEOUT=5 PGCLIENTENCODING=UTF8 PGAPPNAME=hive-pg
export PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=5s -c lock_timeout=1s'
cd /sys/fs/cgroup
while :; do
  grep -sE '^(((total_)?inactive_file|usage_usec) )?[0-9]+$' cpu.stat memory.current memory.max \
    memory.stat cpuacct/cpuacct.usage memory/memory.usage_in_bytes memory/memory.limit_in_bytes \
    memory/memory.stat
  printf '%s' "$sql" | psql -XwqAt -v ON_ERROR_STOP=1 -U "$user" -d "$database" || exit
  count=$((count - 1))
  [ "$count" -gt 0 ] || exit 0
  sleep 1
done
"""
# One statement, so that a sample is one transaction; a shell of psql's compares the version.
# Sizes wait for whoever has locked a table or index against readers: there they are null.
# Rows read are those of the tables that are there now, without the catalogs that this reads.
_SAMPLE_SQL = r"""
\set checkpoints 'num_timed as timed, num_requested as requested from pg_stat_checkpointer'
\if `[ :SERVER_VERSION_NUM -lt 170000 ] && echo true || echo false`
\set checkpoints 'checkpoints_timed as timed, checkpoints_req as requested from pg_stat_bgwriter'
\endif
with activity as (
  select pid, state, extract(epoch from clock_timestamp() - xact_start) as xact_age,
    case when state = 'active' then extract(epoch from clock_timestamp() - query_start) end
      as query_age
  from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
), locked as (
  select l.relation as oid, coalesce(i.indrelid, t.oid, l.relation) as of
  from pg_locks l left join pg_index i on i.indexrelid = l.relation
  left join pg_class t on t.reltoastrelid = coalesce(i.indrelid, l.relation)
  where l.mode = 'AccessExclusiveLock' and l.relation > 0
), tables as (
  select *, case when relid not in (select of from locked) then pg_total_relation_size(relid) end
    as size
  from pg_stat_user_tables join (select oid as relid, relpages from pg_class) c using (relid)
)
select row_to_json(sample) from (select
  extract(epoch from clock_timestamp()) as timestamp_seconds, datname as database,
  split_part(current_setting('server_version'), ' ', 1) as server_version,
  (select count(*) from activity) as connections,
  (select count(*) from activity where state = 'active') as connections_active,
  current_setting('max_connections')::int as connections_limit,
  pg_database_size(datid) as database_size_bytes,
  round(blks_hit / nullif(blks_hit + blks_read, 0)::numeric, 4) as cache_hit_ratio,
  xact_commit as transactions_committed_total, xact_rollback as transactions_rolled_back_total,
  (select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) from tables) as rows_read,
  tup_returned as rows_returned_total, tup_inserted as rows_inserted_total,
  tup_updated as rows_updated_total, tup_deleted as rows_deleted_total,
  (select coalesce(sum(n_dead_tup), 0) from tables) as dead_rows,
  q.pid as longest_query_pid, q.query_age as longest_query_seconds,
  x.pid as longest_transaction_pid, x.xact_age as longest_transaction_seconds,
  (select count(*) from pg_locks where not granted) as locks_waiting,
  temp_files as temporary_files_total, temp_bytes as temporary_bytes_total,
  wal_bytes as wal_bytes_total,
  timed as checkpoints_timed_total, requested as checkpoints_requested_total,
  array(select row_to_json(t) from (
    select schemaname as schema, relname as table, size as size_bytes, n_live_tup as live_rows,
      n_dead_tup as dead_rows, extract(epoch from greatest(last_vacuum, last_autovacuum))
      as last_vacuum_timestamp_seconds
    from tables order by coalesce(size, relpages::bigint * 8192) desc, 1, 2 limit 10
  ) t) as tables,
  array(select row_to_json(v) from (
    select n.nspname as schema, t.relname as table, i.relname as index, amname as method,
      case when i.oid not in (select oid from locked) and t.oid not in (select of from locked)
      then pg_relation_size(i.oid) end as size_bytes, indisvalid as valid
    from pg_index join pg_class i on i.oid = indexrelid join pg_class t on t.oid = indrelid
    join pg_namespace n on n.oid = i.relnamespace join pg_am on pg_am.oid = i.relam
    where amname in ('hnsw', 'ivfflat') and i.relkind = 'i' order by i.relpages desc, 1, 3
  ) v) as vector_indexes
from pg_stat_database cross join pg_stat_wal cross join (select :checkpoints) c
left join (select * from activity where query_age >= 0 order by query_age desc limit 1) q on true
left join (select * from activity where xact_age >= 0 order by xact_age desc limit 1) x on true
where datname = current_database()) sample
"""
_METRICS = {
    "connections": "Client connections of the server, without the one that asks.",
    "connections_active": "Client connections that run a query.",
    "connections_limit": "The server's max_connections.",
    "database_size_bytes": "Size of the database on disk.",
    "cache_hit_ratio": "Blocks found in shared buffers, of all that were wanted.",
    "transactions_committed_total": "Transactions committed.",
    "transactions_rolled_back_total": "Transactions rolled back.",
    "rows_returned_total": "Rows that scans returned, those of the catalogs included.",
    "rows_inserted_total": "Rows inserted.",
    "rows_updated_total": "Rows updated.",
    "rows_deleted_total": "Rows deleted.",
    "dead_rows": "Dead rows of all tables, whose space a vacuum frees.",
    "longest_query_seconds": "How long the oldest running query has run.",
    "longest_transaction_seconds": "How long the oldest open transaction has been open.",
    "locks_waiting": "Locks that somebody waits for.",
    "temporary_files_total": "Temporary files that queries wrote.",
    "temporary_bytes_total": "Bytes that queries wrote to temporary files.",
    "wal_bytes_total": "Bytes written to the write-ahead log.",
    "checkpoints_timed_total": "Checkpoints that were due.",
    "checkpoints_requested_total": "Checkpoints that were requested, as by much WAL.",
    "container_cpu_seconds_total": "CPU time of the container.",
    "container_memory_bytes": "Memory of the container, without the file cache that it can drop.",
    "container_memory_limit_bytes": "The container's memory limit.",
    "table_size_bytes": "Size of a table, with its indexes; of the ten largest.",
    "table_live_rows": "Live rows of a table.",
    "table_dead_rows": "Dead rows of a table.",
    "table_last_vacuum_timestamp_seconds": "When a table was last vacuumed.",
    "vector_index_size_bytes": "Size of an hnsw or ivfflat index.",
    "vector_index_valid": "Whether queries use the index (1), or its build failed (0).",
}
_TIME = "timestamp_seconds"
_RATES = {
    "transactions_per_second": ("transactions_committed_total", "transactions_rolled_back_total"),
    "rows_read_per_second": ("rows_read",),
    "rows_written_per_second": tuple(f"rows_{x}_total" for x in ("inserted", "updated", "deleted")),
    "wal_bytes_per_second": ("wal_bytes_total",),
    "container_cpu_ratio": ("container_cpu_seconds_total",),
}
_STATISTICS = """\
container     {container}
cpu           {container_cpu_ratio}
memory        {container_memory_bytes}, limit {container_memory_limit_bytes}
database      {database}, {database_size_bytes}, PostgreSQL {server_version}
connections   {connections} of {connections_limit}, {connections_active} active
transactions  {transactions_per_second}, longest {longest_transaction_seconds}\
 (pid {longest_transaction_pid})
queries       longest {longest_query_seconds} (pid {longest_query_pid})
locks         {locks_waiting} waiting
rows          {rows_read_per_second} read, {rows_written_per_second} written, {dead_rows} dead
cache hits    {cache_hit_ratio}
temporary     {temporary_files_total} files, {temporary_bytes_total}
wal           {wal_bytes_total}, {wal_bytes_per_second}
checkpoints   {checkpoints_timed_total} timed, {checkpoints_requested_total} requested"""
_STATISTICS_LINE = (
    "{timestamp_seconds}  {connections}/{connections_limit} clients  {transactions_per_second} tx"
    "  {rows_read_per_second} rows  CPU {container_cpu_ratio}"
)
_TABLE = "{:<25} {:>9} {:>11} {:>10}  {}"
_TABLES = {
    "tables": (("schema", "table"), "size_bytes live_rows dead_rows last_vacuum_timestamp_seconds"),
    "vector_indexes": (("schema", "index"), "size_bytes method valid table"),
}


def read_samples(result: CommandResult) -> list[dict[str, Any]]:
    """Read the end of a `docker exec` that took samples."""
    import json

    words, samples, cgroup = result.stderr.strip(), [], dict[str, int]()
    if result.returncode:
        found = diagnose(words, LOGIN_DIAGNOSES)
        if found:
            raise found.error(found.cause, hint=found.remedy)
        said = re.search("(connection to .* failed: (?:FATAL: +)?|FATAL: +)|ERROR: +", words)
        why = words[said.end() :].split("\n")[0] if said else ""
        if said and said[1]:
            message = f"PostgreSQL does not accept connections: {why}"
            raise DatabaseConnectionError(message, hint="hive-pg logs")
        if said:
            raise PostgreSQLIntegrationError(f"PostgreSQL cannot be measured: {why}")
        raise build_docker_error(result, "cannot ask the container", "hive-pg logs")
    for line in result.stdout.rstrip("\n").split("\n"):
        if line.startswith("{"):
            samples.append({**read_cgroup(cgroup), **json.loads(line)})
        else:  # FILE:VALUE or FILE:NAME VALUE
            *_, name, value = re.split("[/: ]", line)
            cgroup[name] = int(value)
    return samples


def read_cgroup(found: Mapping[str, int]) -> dict[str, float | None]:
    """Read a control group's numbers, of version 2 or 1; the machine's own group has no memory.

    >>> list(read_cgroup({"usage_usec": 1500000, "memory.current": 5000}).values())
    [1.5, 5000, None]

    Source: https://docs.docker.com/reference/cli/docker/container/stats/ (what memory counts).
    """
    unit, names = 1e6, ["usage_usec", "memory.current", "memory.max", "inactive_file"]
    if "memory.current" not in found:
        unit, names = 1e9, ["cpuacct.usage", "memory.usage_in_bytes", "memory.limit_in_bytes"]
        names.append("total_inactive_file")
    cpu, memory, limit, cache = map(found.get, names)
    return {
        "container_cpu_seconds_total": None if cpu is None else cpu / unit,
        "container_memory_bytes": None if memory is None else memory - (cache or 0),
        # Version 1 writes "unlimited" as almost 1 << 63.
        "container_memory_limit_bytes": limit if limit and limit < 1 << 60 else None,
    }


def build_rates(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what grew per second, None without two samples or where a counter began anew."""
    elapsed, rates = now[_TIME] - before[_TIME], dict[str, "float | None"]()
    for rate, names in _RATES.items():
        known = elapsed > 0 and all(None not in (before[name], now[name]) for name in names)
        grown = sum(now[name] - before[name] for name in names) if known else -1
        rates[rate] = round(grown / elapsed, 3) if grown >= 0 else None
    return rates


def format_size(size: float) -> str:
    """Write a size in units of 1024, as PostgreSQL does.

    >>> format_size(512), format_size(12900000), format_size(1048570)
    ('512 B', '12.3 MB', '1.0 MB')
    """
    unit, units = "B", ["TB", "GB", "MB", "kB"]
    while round(size, 1) >= 1024 and units:
        size, unit = size / 1024, units.pop()
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def format_field(name: str, value: Any, width: int = 25) -> str:
    r"""Write a field of a sample as its unit wants it; a word as a terminal bears it, cut.

    >>> format_field("cache_hit_ratio", 0.9876), format_field("table", "an\nembedding", 9)
    ('98.8 %', 'an?emb...')
    """
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "NO"}[value]
    if isinstance(value, str):
        word = "".join(letter if letter.isprintable() else "?" for letter in value)
        return word if len(word) <= width else word[: width - 3] + "..."
    if name.endswith(_TIME):
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(value))
    if name.endswith("_ratio"):
        return f"{value * 100:.1f} %"
    if name.endswith("_seconds"):
        return format_duration(value)
    text = format_size(value) if "_bytes" in name else str(value)
    if name.endswith("_per_second"):
        return (text if "_bytes" in name else f"{value:.{int(value < 100)}f}") + "/s"
    return text


def format_sample(sample: Mapping[str, Any], form: str) -> str:
    """Fill in the fields of a sample."""
    fields = {name: format_field(name, value) for name, value in sample.items()}
    return form.format(**fields).replace(" (pid -)", "")


def format_statistics(sample: Mapping[str, Any]) -> str:
    """Return what `stats` prints for people, in 80 columns."""
    lines = [format_sample(sample, _STATISTICS)]
    for key, (name, columns) in _TABLES.items():
        heads = (re.sub("_(bytes|timestamp_seconds)", "", c) for c in columns.split())
        title = _TABLE.format(key, *heads).replace("_", " ")
        lines += ["", title] if sample[key] else []
        for item in sample[key]:
            cells = [format_field(column, item[column], 20) for column in columns.split()]
            lines.append(_TABLE.format(format_field("", ".".join(item[n] for n in name)), *cells))
    return "\n".join(lines)


def format_screen(text: str, columns: int, lines: int) -> str:
    """Have a text replace what a terminal shows, line by line: so it does not flicker."""
    shown = [line[:columns] for line in text.split("\n")[: lines - 1]]
    return "\x1b[H" + "\x1b[K\n".join(shown) + "\x1b[J"


def format_prometheus(sample: Mapping[str, Any]) -> str:
    """Return a sample in Prometheus' text format; the words of a table or index are its labels.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    values: dict[str, list[str]] = {metric: [] for metric in _METRICS}
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    place = {"container": sample["container"], "database": sample["database"]}
    series = [("", {**place, **{name: sample.get(name) for name in _METRICS}})]
    for prefix, key in (("table_", "tables"), ("vector_index_", "vector_indexes")):
        series += [(prefix, {**place, **item}) for item in sample[key]]
    for prefix, item in series:
        words = ((name, word) for name, word in item.items() if isinstance(word, str))
        labels = ",".join(f'{name}="{word.translate(escapes)}"' for name, word in words)
        for name, value in item.items():
            metric = f"{prefix}{name}"
            if metric in values and value is not None:
                values[metric].append(f"hive_pg_{metric}{{{labels}}} {float(value)!r}")
    lines = []
    for metric, found in values.items():
        kind = "counter" if metric.endswith("_total") else "gauge"
        about = [f"# HELP hive_pg_{metric} {_METRICS[metric]}", f"# TYPE hive_pg_{metric} {kind}"]
        lines += [*about, *found] if found else []
    return "\n".join(lines)


# == Decisions (pure): what people see ========================================================


def judge_container(info: ContainerInfo | None, name: str) -> CheckPoint:
    """Say whether a container runs and is healthy, as far as the engine knows."""
    if info and info.running and info.health is not Health.UNHEALTHY:
        health = {Health.NONE: "no health check", Health.STARTING: "health check pending"}
        finding = f"{name} runs ({health.get(info.health, info.health.value)})"
        return CheckPoint("container", Outcome.PASSED, finding)
    state, logs = info.state if info else ContainerState.MISSING, "hive-pg logs"
    finding, remedy, code = {
        ContainerState.RUNNING: ("runs, but its health check fails", logs, ExitCode.UNHEALTHY),
        ContainerState.RESTARTING: ("keeps restarting", logs, ExitCode.UNHEALTHY),
        ContainerState.PAUSED: ("is paused", f"docker unpause {name}", ExitCode.NOT_RUNNING),
    }.get(state, (f"is {state.value}", "hive-pg start", ExitCode.NOT_RUNNING))
    return CheckPoint("container", Outcome.FAILED, f"{name} {finding}", remedy, code)


def judge_connections(probe: Probe) -> CheckPoint:
    """Say which server accepts connections, and of what it complains."""
    finding = f"PostgreSQL {probe.server_version}".rstrip() + " accepts them"
    if probe.warning:
        finding += f", but {probe.warning.cause}"
        return CheckPoint("connections", Outcome.WARNING, finding, probe.warning.remedy)
    return CheckPoint("connections", Outcome.PASSED, finding)


def judge_pgvector(probe: Probe, image: str) -> CheckPoint:
    """Say whether pgvector is there, created, and free of known holes."""
    available, created = probe.available_version, probe.created_version
    safe = ".".join(map(str, SAFE_PGVECTOR))
    if not available:
        finding, remedy = f"image {image} lacks it", f"hive-pg init --image {DEFAULT_IMAGE}"
        return CheckPoint("pgvector", Outcome.FAILED, finding, remedy, ExitCode.FAILED)
    if _version(created or available) < SAFE_PGVECTOR:
        finding = f"{created or available}; below {safe} it has CVE-2026-3172"
        remedy = "in the database: ALTER EXTENSION vector UPDATE"
        if _version(available) < SAFE_PGVECTOR:
            remedy = f"hive-pg init --image pgvector/pgvector:pg16-bookworm, then {remedy}"
        return CheckPoint("pgvector", Outcome.WARNING, finding, remedy)
    if not created:
        finding = f"{available} is available, but not created in the database"
        return CheckPoint("pgvector", Outcome.WARNING, finding, "hive-pg init creates it")
    return CheckPoint("pgvector", Outcome.PASSED, f"{created} is created")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", text))


def is_local(host: str) -> bool:
    """Whether a host of a URL is this machine, whatever name servers say."""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", host))


def judge_port(info: ContainerInfo, url: DatabaseURL) -> str:
    """Say where the container is published instead, '' for the port that the URL names."""
    published = [port for _, port in info.ports]
    if not published or url.port in published:
        return ""
    return f"the container is published on port {published[0]}"


def failed_point(name: str, error: PostgreSQLIntegrationError) -> CheckPoint:
    """Turn an error into the finding of a point."""
    return CheckPoint(name, Outcome.FAILED, str(error), error.hint, error.exit_code)


def build_status(
    settings: Settings, info: ContainerInfo | None, probe: Probe, now: float
) -> ContainerStatus:
    """Put together what `status` shows; `now` in seconds since the epoch."""
    bind, host_port = info.ports[0] if info and info.ports else (None, settings.url.port)
    return ContainerStatus(
        container=settings.container,
        state=info.state if info else ContainerState.MISSING,
        health=info.health if info else Health.NONE,
        readiness=probe.readiness,
        server_version=probe.server_version or None,
        database_url=repr(settings.url),
        image=info.image if info else None,
        bind=bind,
        host_port=host_port,
        uptime_s=max(0.0, now - info.started_at) if info and info.running else None,
        restart_count=info.restart_count if info else None,
        exit_code=info.exit_code if info and not info.running else None,
    )


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> format_duration(42), format_duration(3 * 3600 + 62), format_duration(90000)
    ('42 s', '3 h 1 min', '1 d 1 h')
    """
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts[:2]) or "0 s"


def format_status(status: ContainerStatus) -> str:
    """Return what `status` prints, one field a line."""
    state = status.state.value
    if status.state is ContainerState.RUNNING:
        state += "" if status.health is Health.NONE else f" ({status.health.value})"
    elif status.exit_code is not None:
        state += f" (exit code {status.exit_code})"
    fields = {
        "container": status.container,
        "state": state,
        "readiness": status.readiness.value,
        "version": status.server_version and f"PostgreSQL {status.server_version}",
        "url": status.database_url,
        "image": status.image,
        "port": f"{status.bind}:{status.host_port}" if status.bind else str(status.host_port),
        "uptime": None if status.uptime_s is None else format_duration(status.uptime_s),
        "restarts": None if status.restart_count is None else str(status.restart_count),
    }
    return "\n".join(f"{name:<10} {value}" for name, value in fields.items() if value)


def format_validation(result: ValidationResult, symbols: Mapping[Outcome, str]) -> str:
    """Return what `check` prints: a line a point, and under it the remedy."""
    lines = []
    for point in result.points:
        lines.append(f"{symbols[point.outcome]} {point.name}: {point.finding}")
        lines += [f"    {point.remedy}"] if point.remedy else []
    return "\n".join(lines)


def format_next_steps(settings: Settings, *, started: bool) -> str:
    """Return what `init` ends with."""
    head = f"""
The database is {"ready" if started else "set up"}.

  URL    {settings.url!r}
         with its password in {ENV_FILE}, as {URL_KEY}
"""
    if not started:
        return f"{head}  next   hive-pg start"
    return f"""{head}  psql   psql "$(hive-pg url --format libpq)"
  next   hive-pg status
         hive-pg check
         hive-pg logs -f
         hive-pg stop"""


def format_list(databases: Iterable[ListedDatabase], home: str, width: int) -> str:
    """Return what `list` prints: a table, its long columns cut to fit `width`, 0 for any."""
    rows = [("WORKSPACE", "CONTAINER", "STATE", "PORT", "IMAGE", "SIZE")]
    for found in databases:
        place, state, port = found.workspace or "-", found.state.value, str(found.host_port or "-")
        if f"{place}/".startswith(f"{home}/"):
            place = f"~{place[len(home) :]}"
        if found.state is ContainerState.RUNNING and found.health is Health.UNHEALTHY:
            state += " (unhealthy)"
        if not is_local(found.bind or "localhost"):
            port = f"{found.bind}:{port}"
        place += " (gone)" if found.gone else ""
        size = "-" if found.size_bytes is None else format_size(found.size_bytes)
        rows.append((place, found.container, state, port, found.image, size))
    table = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    excess = sum(widths) + 2 * (len(widths) - 1) - (width or sys.maxsize)
    for column in (0, 4, 1):  # workspace, image, container
        cut = max(0, min(excess, widths[column] - 16))
        widths[column], excess = widths[column] - cut, excess - cut
    lines = []
    for row in table:  # the end of a path, or of an image, tells more than its beginning
        cells = [c if len(c) <= w else f"...{c[3 - w :]}" for c, w in zip(row, widths)]
        lines.append("  ".join(c.ljust(w) for c, w in zip(cells, widths)).rstrip())
    return "\n".join(lines)


def format_json(value: object, indent: int | None = 2) -> str:
    """Write one JSON value, in one line without `indent`; a record is its fields by name."""
    import json

    def plain(item: Any) -> object:
        return item.value if isinstance(item, enum.Enum) else item.fields()

    return json.dumps(value, indent=indent, ensure_ascii=False, default=plain)


def quote_word(text: str) -> str:
    """Write a word as a shell has it.

    >>> quote_word("/home/ann/My App")
    "'/home/ann/My App'"
    """
    import shlex

    return shlex.quote(text)


# == Decisions (pure): completion =============================================================
# The parsers say all there is to complete; the scripts only choose among the ROWS of it. After the
# `--` of `run` comes another command's line, after that of other commands a file.

_BASH_COMPLETION = """\
# For ~/.bashrc: eval "$(hive-pg completion bash)"
_hive_pg_rows=ROWS
_hive_pg() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command= words= options= kind= key i row
  if [ "$current" = "=" ]; then current=
  elif [ "$previous" = "=" ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --)
        kind=-f
        [[ $i -lt COMP_CWORD-1 || ${command:-run} != run || $current == */* ]] || kind=-c
        break ;;
      NAMES) command=${command:-${COMP_WORDS[i]}} ;;
    esac
  done
  if [ -z "$kind" ]; then
    key=$command:$previous:
    [[ $'\\n'$_hive_pg_rows == *$'\\n'"$key"* ]] || key=$command::
    while IFS= read -r row; do
      [[ $row == "$key"* ]] || continue
      row=${row#"$key"}
      case ${row%%:*} in
        DIR) kind=${kind:--d} ;;
        FILE) kind=-f ;;
        -*) options="$options ${row%%:*}" ;;
        *) words="$words ${row%%:*}" ;;
      esac
    done <<< "$_hive_pg_rows"
  fi
  if [[ $current == -* || -z $words$kind ]]; then words=$options kind=; fi
  [ -n "$kind" ] || compopt +o filenames 2>/dev/null # which the bash of macOS has not
  COMPREPLY=()
  while IFS= read -r row; do COMPREPLY+=("$row"); done < <(
    compgen -W "$words" -- "$current"
    [ -z "$kind" ] || compgen "$kind" -- "$current"
  )
}
complete -o filenames -F _hive_pg hive-pg hive_pg.py
"""
_ZSH_COMPLETION = """\
#compdef hive-pg hive_pg.py
# For ~/.zshrc, after compinit: source <(hive-pg completion zsh). Or as _hive-pg in the $fpath.
_hive-pg() {
  local rows=ROWS command previous=$words[CURRENT-1]
  local -a found options names
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      --)
        shift $i words
        ((CURRENT -= i))
        if [[ ${command:-run} == run ]]; then _normal; else _files; fi
        return ;;
      NAMES) command=${command:-$words[i]} ;;
    esac
  done
  if [[ $PREFIX == --*=* ]]; then previous=${PREFIX%%=*}; compset -P '*='; fi
  found=(${(M)${(f)rows}:#${command}:${previous}:*})
  (($#found)) || found=(${(M)${(f)rows}:#${command}::*})
  found=(${found#*:*:})
  options=(${(M)found:#-*}) names=(${found:#(-*|DIR|FILE)})
  if [[ $PREFIX == -* ]] || (($#found == $#options)); then _describe -o option options; return; fi
  _describe argument names
  if (($found[(Ie)FILE])); then _files; elif (($found[(Ie)DIR])); then _path_files -/; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _hive-pg
else compdef _hive-pg hive-pg hive_pg.py; fi
"""
_FISH_COMPLETION = """\
# For ~/.config/fish/config.fish: hive-pg completion fish | source
function __hive_pg
    set -l rows (string split \\n -- ROWS)
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    set -l at (contains -i -- -- $words)
    set -l command
    for word in $words
        contains -- $word NAMES; and set command $word
        test -n "$command" -o "$word" = --; and break
    end
    if test -n "$at"
        set -e words[1..$at]
        contains -- "$command" '' run; or set words cat
        complete -C (string join -- ' ' (string escape -- $words) "$current")
        return
    end
    set -l previous $words[-1]
    set -l glued (string match -r -- '^--[^=]*=' "$current")
    and set previous (string trim -c = -- $glued)
    set -l found (string match -- "$command:$previous:*" $rows)
    or set found (string match -- "$command::*" $rows)
    for row in (string replace -r '^[^:]*:[^:]*:' '' -- $found)
        set -l pair (string split -m 1 : -- $row)
        switch "$pair[1]"
            case ''
            case DIR
                __fish_complete_directories "$current"
            case FILE
                complete -C "cat $current"
            case '-*'
                string match -q -- '-*' "$current"; and printf '%s\\t%s\\n' $pair
            case '*'
                printf '%s\\t%s\\n' "$glued$pair[1]" "$pair[2]"
        end
    end
end
complete -c hive-pg -c hive_pg.py -f -a '(__hive_pg)'
"""
COMPLETIONS = {"bash": _BASH_COMPLETION, "zsh": _ZSH_COMPLETION, "fish": _FISH_COMPLETION}


def build_completion_rows(parsers: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """Return COMMAND:PREVIOUS:WORD[:HELP] for each word that may be typed.

    PREVIOUS is the option whose value the word is, or ''. WORD is DIR or FILE where the metavar
    says that a path goes there, '' where nobody can know. A DIR may stand in place of a command.
    """
    rows = ["::DIR"]
    for command, parser in parsers.items():
        for action in parser._actions:
            if action.help == argparse.SUPPRESS:
                continue
            names = [] if action.nargs == 0 else action.option_strings or [""]
            values = action.choices or [action.metavar if action.metavar in ("DIR", "FILE") else ""]
            rows += [f"{command}::{name}:{action.help}" for name in action.option_strings]
            for word in values:
                told = "" if command or word not in COMMANDS else f":{COMMANDS[word]}"
                rows += [f"{command}:{name}:{word}{told}" for name in names]
    return rows


def render_completion(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the script that has a shell complete hive-pg; '' is the parser without a command."""
    rows = quote_word("\n".join(build_completion_rows(parsers)))
    names = (" " if shell == "fish" else "|").join(COMMANDS)
    return COMPLETIONS[shell].replace("NAMES", names).replace("ROWS", rows).rstrip("\n")


# == Effects ==================================================================================


class Console:
    """What a person sees: results on stdout, everything else on stderr.

    Commands in a text (`hive-pg start`) are written as this copy of the program is called, with
    the workspace where it is not the current directory.
    """

    def __init__(
        self,
        quiet: bool = False,
        verbose: bool = False,
        program: str = "hive-pg",
        directory: str = ".",
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.program = program
        self.directory = directory
        self._moving = False  # whether the cursor is in a line of progress
        self._next_progress = 0.0

    def result(self, text: str) -> None:
        """Print what was asked for, in one piece: no Ctrl-C parts it from its last line end."""
        print(f"{text}\n", end="", flush=True)

    def step(self, text: str) -> None:
        """Say that a step is done."""
        self.note(f"{self.symbols(sys.stderr)[Outcome.PASSED]} {text}")

    def note(self, text: str) -> None:
        """Say what is going on."""
        if not self.quiet:
            self._print(text)

    def progress(self, text: str, period: float = 10.0) -> None:
        """Say how far it is: in one line that moves, or without a terminal once in `period` s."""
        now, terminal = time.monotonic(), is_terminal(sys.stderr)
        if self.quiet or now < self._next_progress:
            return
        self._next_progress = now + (0.1 if terminal else period)
        if terminal:
            print(f"\r\x1b[K{text[: _terminal_width() - 1]}", end="", file=sys.stderr, flush=True)
            self._moving = True
        else:
            self._print(text)

    def warn(self, text: str) -> None:
        """Say what is not as it should be; heard also when quiet."""
        self._print(f"warning: {text}")

    def error(self, error: PostgreSQLIntegrationError) -> None:
        """Print an error, the other program's last words unless it ends with them, and the hint."""
        words = [line for line in error.detail.splitlines() if line.strip()]
        if len(words) == 1 and str(error).endswith(words[0].strip()):
            words = []
        hint = [f"hint: {error.hint}"] if error.hint else []
        self._print("\n".join([f"error: {error}", *(f"    {w}" for w in words[-20:]), *hint]))

    def trace(self, argv: Sequence[str]) -> None:
        """Show a command before it runs, with -v; of an argument with many lines, the first."""
        if self.verbose:
            words = (re.sub(r"\n.*", " ...", word, flags=re.DOTALL) for word in argv)
            self._print("+ " + " ".join(map(quote_word, words)))

    def confirm(self, question: str) -> bool:
        """Ask a person; Enter is yes, the end of the input no."""
        answer = self.ask(f"{question} [Y/n]")
        return answer is not None and answer.lower() in ("", "y", "yes")

    def ask(self, question: str) -> str | None:
        """Return what a person answers, None at the end of the input."""
        print(f"{question} ", end="", file=sys.stderr, flush=True)
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            print(file=sys.stderr)
            raise
        if not answer.endswith("\n"):
            print(file=sys.stderr)
            return None
        return answer.strip()

    def localize(self, text: str) -> str:
        """Write the commands in a text as they work here."""
        if "hive-pg " not in text:
            return text
        place = "" if self.directory == "." else " " + quote_word(self.directory)
        pattern = rf"\bhive-pg ({'|'.join(COMMANDS)})\b"
        return re.sub(pattern, lambda match: f"{self.program} {match[1]}{place}", text)

    @staticmethod
    def symbols(stream: Any) -> Mapping[Outcome, str]:
        """Return a symbol for each outcome, in letters where the stream's encoding has none."""
        try:
            "✓!✗-".encode(stream.encoding or "ascii")
        except (AttributeError, LookupError, UnicodeEncodeError):
            return dict(zip(Outcome, ("ok  ", "warn", "FAIL", "skip")))
        return dict(zip(Outcome, "✓!✗-"))

    def _print(self, text: str) -> None:
        if self._moving:
            print("\r\x1b[K", end="", file=sys.stderr)
            self._moving = False
        print(self.localize(text), file=sys.stderr, flush=True)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal; a closed one is None."""
    return stream is not None and stream.isatty()


def is_interactive() -> bool:
    """Whether a person sits at the terminal: both stdin and stderr are one."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


class Process:
    """A running program; leaving the context ends it, and all that it started, if it still runs."""

    def __init__(self, argv: Sequence[str], process: Popen[str]) -> None:
        self.argv = argv
        self.process = process

    def finish(self, *, timeout: float, stdin: str = "") -> CommandResult:
        """Wait for its end, and return what it said.

        Raises: DockerNotAvailableError on a timeout, in seconds.
        """
        import subprocess

        try:
            stdout, stderr = self.process.communicate(stdin or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise DockerNotAvailableError(
                f"`{' '.join(self.argv[:2])}` did not answer within {timeout:.0f} s",
                hint="restart Docker: sudo systemctl restart docker, or Docker Desktop",
            ) from None
        return CommandResult(self.argv, self.process.returncode, stdout or "", stderr)

    def __enter__(self: ProcessType) -> ProcessType:
        return self

    def __exit__(self, *_: object) -> None:
        import contextlib
        import signal
        import subprocess

        with self.process:
            if self.process.returncode is not None:
                return  # as long as nobody asked for it, the group is still this program's
            gone = (ProcessLookupError, PermissionError)  # the second one on macOS
            try:
                with contextlib.suppress(*gone):
                    os.killpg(self.process.pid, signal.SIGTERM)
                self.process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                pass
            finally:  # the rest of the group, also where a second Ctrl-C comes meanwhile
                with contextlib.suppress(*gone):
                    os.killpg(self.process.pid, signal.SIGKILL)


class Stream(Process):
    """A running program that takes or gives bytes as they come, whatever their number.

    What it writes to stderr goes into a file, so that it never waits for a reader. `idle` is
    called where it has stood still for STALL_S, and raises if there is no more to hope for.
    """

    def __init__(
        self, argv: Sequence[str], process: Any, words: IO[bytes], idle: Callable[[], object]
    ) -> None:
        super().__init__(argv, process)
        self.stdin, self.stdout = process.stdin, process.stdout
        self.words = words
        self.idle = idle
        os.set_blocking(self.stdin.fileno(), False)

    def read(self) -> bytes:
        """Return the next PIPE_BYTES, fewer only at the end: pg_dump writes 4 kB at a time."""
        block = b""
        while len(block) < PIPE_BYTES:
            self._await([self.stdout], [])
            more = os.read(self.stdout.fileno(), PIPE_BYTES - len(block))
            if not more:
                break
            block += more
        return block

    def write(self, data: bytes) -> bool:
        """Hand over all of `data`; return whether it takes more; `finish` says why not."""
        view = memoryview(data)
        try:
            while view:
                self._await([], [self.stdin])
                view = view[os.write(self.stdin.fileno(), view) :]
        except BrokenPipeError:
            return False
        return True

    def take(self, file: IO[bytes]) -> bytes | None:
        """Return the next bytes that a file has for it, b"" at the end; None if it has ended."""
        import select

        stall = time.monotonic() + STALL_S
        while not select.select([file], [], [], 0.5)[0]:
            if self.process.poll() is not None:
                return None
            if time.monotonic() > stall:
                self.idle()
                stall += STALL_S
        return file.read(BLOCK_BYTES)

    def finish(self, *, timeout: float = 0, stdin: str = "") -> CommandResult:
        """Wait for its end, and return what it said on stderr."""
        import subprocess

        self.stdin.close()
        while True:
            try:
                self.process.wait(timeout or STALL_S)
                break
            except subprocess.TimeoutExpired:
                self.idle()
        size = self.words.seek(0, os.SEEK_END)
        self.words.seek(max(0, size - BLOCK_BYTES))
        words = self.words.read().decode("utf-8", "replace")
        return CommandResult(self.argv, self.process.returncode, "", words)

    def __exit__(self, *error: object) -> None:
        with self.words:
            super().__exit__(*error)

    def _await(self, readable: list[Any], writable: list[Any]) -> None:
        import select

        while not any(select.select(readable, writable, [], STALL_S)):
            self.idle()


class Runner:
    """The one place that starts processes."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        progress: bool = False,
    ) -> Process:
        """Start a program with its streams captured, in a session of its own.

        So Ctrl-C reaches hive-pg first, which then ends the program and all that it started,
        Docker's plugins included. Its stdin is empty, but for `stdin`, which `finish` then gives;
        with `progress` its stdout goes to our stderr as it comes. It shares a lock that is held.

        Raises: OSError where it cannot be started.
        """
        from subprocess import DEVNULL, PIPE

        given = PIPE if stdin else DEVNULL
        shown = sys.stderr if progress and not self.console.quiet else PIPE
        how = {"env": env, "cwd": cwd, "encoding": "utf-8", "errors": "replace"}
        process = self._popen(argv, stdin=given, stdout=shown, stderr=PIPE, **how)
        return Process(argv, process)

    def stream(
        self,
        argv: Sequence[str],
        *,
        idle: Callable[[], object],
        env: Mapping[str, str] | None = None,
        output: bool = False,
    ) -> Stream:
        """Start a program as `start` does, to give it bytes, or with `output` to take them."""
        import tempfile
        from subprocess import DEVNULL, PIPE

        words = tempfile.TemporaryFile()  # noqa: SIM115 (the Stream's, as long as that lives)
        stdout = PIPE if output else DEVNULL
        process = self._popen(argv, stdin=PIPE, stdout=stdout, stderr=words, bufsize=0, env=env)
        return Stream(argv, process, words, idle)

    def _popen(self, argv: Sequence[str], **options: Any) -> Popen[Any]:
        import subprocess

        self.console.trace(argv)
        # Python's own files are not inherited, but for DirectoryLock's.
        return subprocess.Popen(argv, close_fds=False, start_new_session=True, **options)

    def attach(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Run a program on our own streams, in the terminal's group; return its exit code.

        Ctrl-C reaches the program as well: it ends both, with 130.
        """
        import subprocess

        self.console.trace(argv)
        try:
            with subprocess.Popen(argv, env=env) as process:
                try:
                    return process.wait()
                finally:  # a signal may be for us alone
                    process.terminate()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED

    def replace(self, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        """Become another program: signals and the exit code are its own.

        Raises: OSError where it cannot be started.
        """
        import signal

        self.console.trace(argv)
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and CMD would inherit that
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), env)


# What helps where a file cannot be had; `place` is the file, or the directory that bars the way.
_FILE_REMEDIES = {
    errno.EACCES: "chmod u+rwX {place}, or, if it is another user's: sudo chown $USER: {place}",
    errno.EPERM: "sudo chown $USER: {path}, or, if it is immutable: sudo chattr -i {path}",
    errno.ENOSPC: "free space: df -h {place}",
    errno.EDQUOT: "free space: quota",
    errno.EROFS: "mount it for writing: findmnt -T {place}",
    errno.EBUSY: "mount its directory instead, or edit it by hand",
    errno.EISDIR: "mv {place} {place}.old; Docker makes a directory where it mounts a missing file",
    errno.ELOOP: "rm {path}",
    errno.ENOENT: "mkdir -p {place}",
    errno.EEXIST: "something else is in its place: ls -ld {path}",
}


def _file_error(action: str, path: str, error: OSError) -> WorkspaceError:
    """Say why a file or directory cannot be had, where a link leads, and what helps."""
    target, at = os.path.realpath(path), os.path.realpath(error.filename or path)
    place = at if os.path.lexists(at) else os.path.dirname(at)
    link = "" if target == path else f", a link to {target}"
    mounted = error.errno == errno.EBUSY
    why = "it is mounted there, and cannot be replaced at once" if mounted else error.strerror
    remedy = _FILE_REMEDIES.get(error.errno or 0, "ls -ld {place}")
    hint = remedy.format(path=quote_word(path), place=quote_word(place))
    return WorkspaceError(f"cannot {action} {path}{link}: {why}", hint=hint)


def read_file(path: str) -> bytes | None:
    """Return a file's bytes, None where there is no such file."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):  # a pipe
        hint = f"see what it is, and move it away: ls -l {quote_word(path)}"
        raise WorkspaceError(f"cannot read {path}: it is no regular file", hint=hint)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _file_error("read", path, error) from None


def write_file(path: str, text: str, mode: int | None = None) -> None:
    """Replace a file's text at once and for good: a crash leaves the old text or the new one.

    A symbolic link stays one: the file that it points to is replaced. An existing file keeps its
    owner and, without `mode`, its mode; under sudo a new one is the caller's. The lock is held: a
    temporary file that is there already was left over.
    """
    try:
        with Replacement(path, mode) as file:
            file.write(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise _file_error("write", path, error) from None


class Replacement:
    """A new file that takes the place of `path` where its context ends well, and is gone if not.

    It is locked as long as it is written; other things are as `write_file` says.

    Raises: OSError; WorkspaceError for a read-only file.
    """

    def __init__(self, path: str, mode: int | None = None) -> None:
        self.target, self.mode = os.path.realpath(path), mode

    def __enter__(self) -> IO[bytes]:
        import fcntl

        target, mode = self.target, self.mode
        status = os.stat(target) if os.path.lexists(target) else None
        if status and not status.st_mode & 0o200:  # also to root, who could replace it all the same
            hint = f"chmod u+w {quote_word(target)}"
            raise WorkspaceError(f"cannot write {target}: it is read-only", hint=hint)
        owner = (status.st_uid, status.st_gid) if status else get_sudo_user()
        if mode is None:
            mode = status.st_mode & 0o777 if status else 0o644
        self.temporary = remove_leftover(target)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.file = open(os.open(self.temporary, flags, 0o600), "wb")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            if owner and owner != (os.geteuid(), os.getegid()):
                os.fchown(self.file.fileno(), *owner)
            os.fchmod(self.file.fileno(), mode)
        except BaseException:
            self._discard()
            raise
        return self.file

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            if not failed:
                self.file.flush()
                os.fsync(self.file.fileno())
                os.replace(self.temporary, self.target)
                self.temporary = ""
                sync_directory(os.path.dirname(self.target))
        finally:
            self._discard()

    def _discard(self) -> None:
        """Remove what has not got to its place."""
        try:
            if self.temporary and os.path.lexists(self.temporary):
                os.unlink(self.temporary)
        finally:
            self.file.close()


def sync_directory(path: str) -> None:
    """Have a directory's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftover(path: str) -> str:
    """Remove the temporary file of a `Replacement` that was killed; return its path."""
    temporary = f"{os.path.realpath(path)}.hive-pg.tmp"
    if os.path.lexists(temporary):
        if is_locked(temporary):
            hint = "wait for it, or name another file"
            raise WorkspaceError(f"another hive-pg is writing {path}", hint=hint)
        try:
            os.unlink(temporary)
        except OSError as error:
            raise _file_error("write", path, error) from None
    return temporary


def is_locked(path: str) -> bool:
    """Whether somebody holds a lock on a file; one that cannot be opened is nobody's of ours."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_directory(path: str, owner: tuple[int, int] | None, mode: int = 0o755) -> None:
    """Make a directory and its parents where there are none; root gives it to `owner`'s ids."""
    if os.path.isdir(path):
        return
    if os.path.dirname(path) != path:
        make_directory(os.path.dirname(path), get_sudo_user())
    try:
        os.mkdir(path, mode)
        if owner and os.geteuid() == 0:
            os.chown(path, *owner)
    except OSError as error:
        raise _file_error("create", path, error) from None


def is_usable_by(data_dir: str, uid: int) -> bool:
    """Whether a data directory and the cluster in it are a user's."""
    paths = (data_dir, os.path.join(data_dir, "pgdata"))
    try:
        owners = {os.stat(path).st_uid for path in paths if os.path.exists(path)}
        return owners <= {uid} and os.stat(data_dir).st_mode & 0o700 == 0o700
    except OSError as error:
        raise _file_error("look at", data_dir, error) from None


def holds_data(data_dir: str, cluster: str = "") -> bool:
    """Whether there is anything in a cluster's directory, usually `pgdata`, or one around it."""
    try:
        if "PG_VERSION" in os.listdir(data_dir):
            return True
        return bool(os.listdir(cluster or os.path.join(data_dir, "pgdata")))
    except FileNotFoundError:
        return False
    except OSError:  # another user's, and closed: it may well be one
        return True


def read_cluster_version(cluster: str) -> str:
    """Return the major version that made a cluster, '' where it is not to be read here."""
    try:
        with open(os.path.join(cluster, "PG_VERSION"), encoding="latin-1") as file:
            found = re.fullmatch(r"([0-9.]+)\s*", file.read())
    except OSError:  # there is none yet, or it is another user's, or in a volume
        return ""
    return found[1] if found else ""


def shares_cluster(info: ContainerInfo, service: ComposeService) -> bool:
    """Whether a container has a service's cluster, or a directory of its data, mounted."""

    def canonical(place: str) -> str:
        return os.path.join(os.path.realpath(place), "") if os.path.isabs(place) else place

    if service.cluster and canonical(info.place[1]) == canonical(service.cluster):
        return True
    if not service.data_dir:
        return False
    data_dir = canonical(service.data_dir)
    mounted = [source for source, _ in info.mounts if os.path.isabs(source)]
    # The same directory may have another path: a mount, or a file system without case.
    own = {identify_file(service.data_dir), identify_file(service.cluster)} - {""}
    theirs = {identify_file(place) for place in (*mounted, *info.place) if os.path.isabs(place)}
    return any(canonical(m).startswith(data_dir) for m in mounted) or bool(own & theirs)


def identify_file(path: str) -> str:
    """Return DEVICE:INODE of a path, as `stat -c %d:%i` does, '' where there is none to be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def require_place(path: str) -> None:
    """Make sure that a file may be put somewhere, in place of another one perhaps."""
    if os.path.isdir(path) or not os.path.basename(path):
        raise WorkspaceError(f"{path} is a directory", hint="name a file in it")
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    if os.path.lexists(path) and not os.path.isfile(path):  # a device, which would be replaced
        raise WorkspaceError(f"{path} is no file", hint="hive-pg backup -o - writes to stdout")
    if not os.path.isdir(directory):
        hint = f"mkdir -p {quote_word(directory)}"
        raise WorkspaceError(f"there is no directory {directory}", hint=hint)


def require_source(path: str) -> None:
    """Make sure that a file, `-` for stdin, is there; it may be a pipe, which opens but once."""
    if path == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise WorkspaceError("there is no dump on stdin", hint="hive-pg restore FILE")
    elif is_gone(path):
        raise WorkspaceError(f"there is no file {path!r}", hint=f"ls {BACKUP_DIR}")
    elif os.path.isdir(path):
        raise WorkspaceError(f"{path} is a directory", hint="pg_dump -Fc writes a file")


def open_source(path: str) -> IO[bytes]:
    """Open a file, `-` for stdin, to read what it has at the time."""
    require_source(path)
    try:
        place, own = (sys.stdin.fileno(), False) if path == "-" else (path, True)
        return open(place, "rb", buffering=0, closefd=own)
    except OSError as error:
        raise _file_error("read", os.path.abspath(path), error) from None


def read_head(file: IO[bytes]) -> bytes:
    """Return the first 4 kB of a file, fewer only where it has no more."""
    head = b""
    while len(head) < 4096:
        more = file.read(4096 - len(head))
        if not more:
            break
        head += more
    return head


def is_gone(path: str) -> bool:
    """Whether there is no such file or directory; one that we may not see is there."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def measure_directory(directory: str) -> int | None:
    """Return the bytes that a directory takes on the disk, as `du` does; None where it may not."""
    import contextlib

    places = [directory]
    try:
        total = os.stat(directory).st_blocks
        for place in places:
            # A server makes and removes files all the time.
            with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
    except OSError:
        return None
    return total * 512


class DirectoryLock:
    """One hive-pg at a time changes what a directory stands for.

    The lock is on the directory itself: it leaves no file and dies with its process. The programs
    that `Runner.start` starts share it, so that where hive-pg alone is killed, the next one waits
    until those have ended, too.
    """

    def __init__(self, directory: str, console: Console, timeout: float) -> None:
        self.directory = directory
        self.console = console
        self.timeout = timeout

    def __enter__(self) -> None:
        try:
            self.descriptor = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise _file_error("open", self.directory, error) from None
        os.set_inheritable(self.descriptor, True)
        if self._acquire():
            return
        self.console.note("waiting for another hive-pg")
        deadline = time.monotonic() + self.timeout
        while not self._acquire():
            if time.monotonic() > deadline:
                os.close(self.descriptor)
                place = quote_word(self.directory)
                raise WorkspaceError(
                    f"another hive-pg has held {self.directory} for {self.timeout:.0f} s",
                    hint=f"see who holds it, a docker perhaps: fuser -v {place}",
                )
            time.sleep(0.05)

    def _acquire(self) -> bool:
        import fcntl

        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # some network file systems have no locks
            self.console.warn(f"cannot lock {self.directory}: {error.strerror}")
        return True

    def __exit__(self, *_: object) -> None:
        import contextlib
        import fcntl

        with contextlib.suppress(OSError):  # where there are no locks
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # whoever may still have a copy of it
        os.close(self.descriptor)


def get_postgres_uid_gid() -> tuple[int, int]:
    """Return the uid and gid that the server runs as and that own the data.

    They are the caller's; root acts for the user that called sudo, or else for 1000:1000, because
    PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return get_sudo_user() or (FALLBACK_UID, FALLBACK_UID)


def get_sudo_user() -> tuple[int, int] | None:
    """Return the uid and gid of the user that root acts for by sudo, None where it does not."""
    uid, gid = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    if os.geteuid() != 0 or not (uid + gid).isdigit():
        return None
    return (int(uid), int(gid)) if int(uid or 0) and gid else None


def is_port_free(bind: str, port: int) -> bool:
    """Whether a server could listen there now."""
    import socket

    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port whose last connections have just ended is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # what else there is, Docker knows better
    return True


def ask_published_port(url: DatabaseURL, bind: str = "") -> str:
    """Ask whether PostgreSQL answers where the URL leads; return '' or what happened instead.

    Sends SSLRequest, which a server answers with S or N before any login. On this machine the
    port that our container holds is ours; elsewhere only a login could tell whose it is.
    Source: https://www.postgresql.org/docs/16/protocol-flow.html (SSL Session Encryption).
    """
    import socket

    try:
        with socket.create_connection((url.host, url.port), timeout=5) as connection:
            connection.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            answer = connection.recv(1)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    if answer not in (b"S", b"N"):
        return "what answers is not PostgreSQL"
    if is_local(url.host) or url.host == bind:
        return ""
    refusal = login_with_psycopg(url)
    return "it is another machine; install psycopg to log in there" if refusal is None else refusal


def login_with_psycopg(url: DatabaseURL) -> str | None:
    """Log in from the host; return '' or the server's objection, None where psycopg is missing."""
    try:
        import psycopg
    except ImportError:
        return None
    try:
        psycopg.connect(build_database_url(url.replace(driver="")), connect_timeout=10).close()
    except psycopg.Error as error:
        return last_line(str(error)) or type(error).__name__
    return ""


# == Docker ===================================================================================


class Docker:
    """The docker CLI: one method for each question or action."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def start(self, argv: Sequence[str], cwd: str | None = None, **options: Any) -> Process:
        """Start docker or docker-compose, with the options of `Runner.start`."""
        try:
            return self.runner.start(argv, cwd=cwd, **options)
        except OSError as error:
            if cwd is not None and error.filename == cwd:
                raise WorkspaceError(f"cannot enter {cwd}: {error.strerror}") from None
            hint = "install Docker: https://docs.docker.com/get-docker/"
            message = f"cannot run {argv[0]}: {error.strerror}"
            raise DockerNotAvailableError(message, hint=hint) from None

    def run(
        self, argv: Sequence[str], timeout: float = QUESTION_TIMEOUT_S, stdin: str = "", **how: Any
    ) -> CommandResult:
        """Run docker or docker-compose to its end, whatever its exit code."""
        with self.start(argv, stdin=stdin != "", **how) as process:
            return process.finish(timeout=timeout, stdin=stdin)

    def start_inspect(self, container: str) -> Process:
        """Start to ask for a container."""
        return self.start(["docker", "inspect", "--type", "container", container])

    def finish_inspect(self, process: Process) -> ContainerInfo | None:
        """Return the container that was asked for, None where there is none of that name."""
        result = process.finish(timeout=QUESTION_TIMEOUT_S)
        if _is_missing(result):
            return None
        return parse_containers(_expect(result, "cannot inspect the container").stdout)[0]

    def container(self, name: str) -> ContainerInfo | None:
        """Return a container, None where there is none of that name."""
        with self.start_inspect(name) as process:
            return self.finish_inspect(process)

    def containers(self) -> list[ContainerInfo]:
        """Return all containers of the engine, running or not."""
        result = self.run(["docker", "ps", "--all", "--quiet", "--no-trunc"])
        ids = _expect(result, "cannot list the containers").stdout.split()
        if not ids:
            return []
        result = self.run(["docker", "inspect", "--type", "container", *ids])
        if not _is_missing(result):  # one that was removed in between; the others are told
            _expect(result, "cannot inspect the containers")
        return parse_containers(result.stdout)

    def publishing(self, port: int) -> list[str]:
        """Return the names of the containers that are published on a host port now."""
        argv = ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]
        return _expect(self.run(argv), "cannot list the containers").stdout.split()

    def identify(self, container: str, path: str) -> str:
        """Return DEVICE:INODE of a path as a running container sees it, '' where it cannot say."""
        return self.run(["docker", "exec", container, "stat", "-c", "%d:%i", path]).stdout.strip()

    def image_environment(self, image: str) -> dict[str, str] | None:
        """Return the environment that an image sets, None where it is not there."""
        result = self.run(["docker", "image", "inspect", "--format", "{{json .Config.Env}}", image])
        if _is_missing(result):
            return None
        entries = parse_json(_expect(result, f"cannot look for {image}").stdout) or []
        return dict(entry.partition("=")[::2] for entry in entries)

    def pull(self, image: str) -> None:
        """Pull an image, with Docker's own progress on stderr."""
        with self.start(["docker", "pull", image], progress=True) as process:
            try:
                result = process.finish(timeout=PULL_TIMEOUT_S)
            except DockerNotAvailableError as error:  # docker is there; it is the registry's doing
                hint = "check the network and Docker's proxy; or hive-pg init --image IMAGE"
                raise DockerCommandError(f"cannot pull {image}: {error}", hint=hint) from None
        _expect(result, f"cannot pull {image}")

    def run_in_place(
        self,
        image: str,
        mounted: str,
        command: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = COMPOSE_TIMEOUT_S,
    ) -> CommandResult:
        """Run a program as root in a short-lived container, on a directory or volume at /target."""
        kind, source = ("bind" if os.path.isabs(mounted) else "volume"), mounted.replace('"', '""')
        argv = ["docker", "run", "--rm", "--interactive", "--network", "none", "--user", "0:0"]
        argv += ["--mount", f'type={kind},"source={source}",target=/target']
        argv += ["--entrypoint", command[0], image, *command[1:]]
        return self.run(argv, timeout, stdin)

    def try_to_publish(self, image: str, bind: str) -> None:
        """Make sure that an address is the engine's, before a container needs it."""
        argv = ["docker", "run", "--rm", "--publish", f"{bind}::{CONTAINER_PORT}"]
        argv += ["--entrypoint", "true", image]
        _expect(self.run(argv, COMPOSE_TIMEOUT_S), f"cannot publish on {bind}")

    def give_data_to(self, user: tuple[int, int], data_dir: str, image: str) -> None:
        """Have a directory and all in it belong to (uid, gid), which we may not be able to do."""
        script = 'chown -R "$0" /target && chmod u+rwx /target'
        argv = ["sh", "-c", script, f"{user[0]}:{user[1]}"]
        result = self.run_in_place(image, data_dir, argv, timeout=WALK_TIMEOUT_S)
        _expect(result, f"cannot change the owner of {data_dir}")

    def execute(self, settings: Settings, sql: str, what: str, database: str = "template1") -> str:
        """Run SQL over the server's socket, where the image asks nobody for a password.

        It runs in template1, the first database that there is, and returns what it selects; `what`
        is what has failed where it fails.
        """
        client = ["psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", database]
        argv, env = build_client_argv(settings, *client)
        result = self.run(argv, COMPOSE_TIMEOUT_S, sql, env=env)
        found = result.returncode and diagnose(result.stderr, LOGIN_DIAGNOSES)
        if found:
            raise found.error(f"{what}: {found.cause}", hint=found.remedy)
        return _expect(result, what).stdout

    def start_probe(self, container: str, url: DatabaseURL, *, wait: float, sql: str) -> Process:
        """Start to wait for the server, for about `wait` seconds; it has no password yet."""
        argv = build_script_argv(container, url, _PROBE_SCRIPT, str(round(wait)), sql)
        return self.start(argv, stdin=True)

    def finish_probe(self, process: Process, url: DatabaseURL, *, wait: float) -> Probe:
        """Hand over the password, log in over the container's network, and say what came of it."""
        timeout = wait + QUESTION_TIMEOUT_S
        return read_probe(process.finish(timeout=timeout, stdin=url.password + "\n"))

    def probe(self, settings: Settings, wait: float, sql: str) -> Probe:
        """Wait for the server, a round or `wait` seconds if they are fewer, and log in to it."""
        wait = max(0.0, min(wait, WAIT_ROUND_S))
        with self.start_probe(settings.container, settings.url, wait=wait, sql=sql) as process:
            return self.finish_probe(process, settings.url, wait=wait)

    def sample(self, settings: Settings, count: int) -> list[dict[str, Any]]:
        """Measure server and container, over the server's socket; `count` times, a second apart."""
        url, more = settings.url, (str(count), _SAMPLE_SQL)
        argv = build_script_argv(settings.container, url, _SAMPLE_SCRIPT, *more)
        return read_samples(self.run(argv, 2 * QUESTION_TIMEOUT_S, url.password + "\n"))

    def stop(self, container: str, grace: int = STOP_GRACE_S) -> None:
        """Have the server end all sessions and stop (SIGINT, fast shutdown), in `grace` seconds."""
        argv = ["docker", "stop", "-t", str(grace), container]
        _expect(self.run(argv, timeout=grace + QUESTION_TIMEOUT_S), "cannot stop the container")

    def remove(self, container: str) -> None:
        """Remove a container that does not run."""
        _expect(self.run(["docker", "rm", container]), f"cannot remove {container}")

    def remove_networks(self, project: str) -> str:
        """Remove the networks of a Compose project; return why one stays: others use it."""
        label = f"label={PROJECT_LABEL}={project}"
        result = self.run(["docker", "network", "ls", "--quiet", "--filter", label])
        networks = _expect(result, "cannot list the networks").stdout.split()
        if not networks:
            return ""
        result = self.run(["docker", "network", "rm", *networks])
        used = re.search(r".*has active endpoints.*", result.stderr)
        if not used:
            _expect(result, "cannot remove the network")
        return used[0] if used else ""

    def has_volume(self, condition: str) -> bool:
        """Whether there is a volume that meets a filter of `docker volume ls`."""
        result = self.run(["docker", "volume", "ls", "--quiet", "--filter", condition])
        return bool(_expect(result, "cannot list the volumes").stdout.strip())

    def logs(self, container: str, tail: int, *, since: float = 0) -> str:
        """Return a container's last lines, stdout before stderr.

        '' where it is gone by now, or keeps none (`logging: {driver: none}`). `since` is in epoch
        seconds.
        """
        argv = ["docker", "logs", "--tail", str(tail), "--since", f"{since:.3f}", container]
        result = self.run(argv)
        if _is_missing(result) or "does not support reading" in result.stderr:
            return ""
        _expect(result, "cannot read the logs")
        return result.stdout + result.stderr


def _expect(
    result: CommandResult, what: str, hint: str = "", table: Sequence[Diagnosis] = ()
) -> CommandResult:
    if result.returncode != 0:
        raise build_docker_error(result, what, hint, table)
    return result


def _is_missing(result: CommandResult) -> bool:
    """Whether docker says that there is no such thing; the exit code alone does not."""
    pattern = r"no such (?:object|container|image)"
    return result.returncode != 0 and bool(re.search(pattern, result.stderr, re.IGNORECASE))


# == Managers =================================================================================


class CredentialService:
    """The workspace's `.env`: its credentials, and the settings around them."""

    def __init__(self, workspace: str = ".", *, console: Console | None = None) -> None:
        if os.name != "posix":  # no modes, owners, locks and process groups
            raise WorkspaceError("hive-pg needs Linux, macOS or WSL", hint="wsl --install")
        self.workspace = os.path.realpath(workspace)
        self.console = console or Console()
        self.path = os.path.join(self.workspace, ENV_FILE)

    def generate_postgres_credentials(
        self,
        host: str = "localhost",
        port: int = DEFAULT_HOST_PORT,
        database: str = DEFAULT_DATABASE,
    ) -> DatabaseURL:
        """Return a new user and password of letters and digits, which nothing has to quote."""
        import secrets
        import string

        alphabet = string.ascii_letters + string.digits
        user = secrets.choice(string.ascii_letters)
        user += "".join(secrets.choice(alphabet) for _ in range(15))
        password = "".join(secrets.choice(alphabet) for _ in range(32))
        return DatabaseURL(user, password, host, port, database)

    def extract_postgres_credentials_from_env(self) -> DatabaseURL | None:
        """Return what HIVE_DATABASE_URL says, None where there is none."""
        url = self.read_values().get(URL_KEY)
        return parse_database_url(url) if url else None

    def validate_credentials(self, url: DatabaseURL) -> None:
        """Make sure that credentials are real, and that `.env` and the URL carry them unchanged."""
        for name, value in (("user", url.user), ("password", url.password)):
            if is_placeholder(value):
                raise EnvFileError(f"the {name} is missing or a placeholder", hint="hive-pg init")
        require_carried(url)

    def save_credentials_to_env(self, url: DatabaseURL) -> bool:
        """Make `.env` say these credentials; return whether it changed."""
        self.validate_credentials(url)
        return self.save(url_env(url))

    def read_values(self) -> dict[str, str]:
        """Return the values in `.env`, or in `.env.example` where there is no `.env` yet."""
        items = parse_env(self._read_text()[0], os.environ)
        return env_values(items, required=OUR_KEYS)

    def unread_keys(self) -> list[str]:
        """Return the keys of `.env` that have no value which all readers agree on."""
        items = parse_env(self._read_text()[0], os.environ)
        return sorted({item.key for item in items} - env_values(items).keys())

    def read_settings(self) -> Settings:
        """Return what the `.env` of a workspace that is set up says."""
        if is_gone(self.path) and not os.path.islink(self.path):
            there = os.path.isdir(self.workspace)
            missing = self.path if there else f"directory {self.workspace}"
            raise NotSetUpError(f"not set up: there is no {missing}", hint="hive-pg init")
        return read_settings(self.read_values())

    def drop(self, key: str) -> None:
        """Have `.env` say nothing of a key."""
        write_file(self.path, drop_env(self._read_text()[0], key, os.environ), 0o600)

    def save(self, changes: Mapping[str, str]) -> bool:
        """Make `.env` say `changes`, readable by its owner alone; return whether it changed."""
        text, exists = self._read_text()
        edited = edit_env(text, changes, os.environ)
        if exists and edited == text:
            mode = os.stat(self.path).st_mode & 0o777
            if mode & 0o077:
                mode &= 0o700
                try:
                    os.chmod(self.path, mode)
                except OSError as error:
                    raise _file_error("change the mode of", self.path, error) from None
                self.console.step(f"{ENV_FILE} was open to others; its mode is {mode:04o} now")
            return False
        write_file(self.path, edited, 0o600)
        return True

    def _read_text(self) -> tuple[str, bool]:
        """Return the text to start from, and whether it is `.env`'s own."""
        data = read_file(self.path)
        if data is not None:
            return decode_env(data), True
        example = read_file(os.path.join(self.workspace, ENV_EXAMPLE))
        try:
            text = decode_env(example or b"")
            env_values(parse_env(text, os.environ), required=OUR_KEYS)
        except EnvFileError as error:
            said, hint = (t.replace(ENV_FILE, ENV_EXAMPLE) for t in (str(error), error.hint))
            raise EnvFileError(said, hint=hint) from None
        return text, False


class DockerComposeManager:
    """The workspace's compose file, and the container of its PostgreSQL service."""

    def __init__(
        self,
        workspace: str = ".",
        credential_service: CredentialService | None = None,
        *,
        console: Console | None = None,
        docker: Docker | None = None,
    ) -> None:
        self.workspace = os.path.realpath(workspace)
        self.console = console or Console()
        self.credentials = credential_service or CredentialService(workspace, console=self.console)
        self.docker = docker or Docker(Runner(self.console))
        self.compose_argv = ["docker", "compose"]  # until a survey found another

    def start_postgres_service(self) -> None:
        """Bring the container up as the compose file and `.env` say; does not wait for it."""
        self.bring_up(*self._prepare())

    def _prepare(self) -> tuple[Settings, ComposeService, list[ContainerInfo]]:
        """Find out all that could stand in the way of a start, before anything changes."""
        settings = self.credentials.read_settings()
        containers = self.survey()
        for info in containers:
            if info.project == settings.project and not self.owns(info):
                hint = "hive-pg init gives this workspace a project of its own"
                raise build_conflict(info, f"has the Compose project {settings.project}", hint)
        service = self.resolve_service(settings)
        if (service.container, service.host_port) != (settings.container, settings.url.port):
            raise WorkspaceError(
                f"the compose file has container {service.container} on port {service.host_port},"
                f" {ENV_FILE} has {settings.container} on {settings.url.port}",
                hint=f"hive-pg init makes {ENV_FILE} follow the compose file",
            )
        self.refuse_conflicts(service, containers)
        self.ensure_image(service)
        return settings, service, containers

    def stop_postgres_service(self) -> bool:
        """Stop the container gracefully; return whether it ran. A server that is killed fails."""
        info = self.find_container()
        if info is None or info.state in (ContainerState.CREATED, ContainerState.EXITED):
            return False
        self._await_first_start(info)
        self.docker.stop(info.name)
        stopped = self.docker.container(info.name)
        if stopped is not None and stopped.exit_code == 137:
            raise ContainerStartupError(
                f"{info.name} did not stop within {STOP_GRACE_S} s and was killed",
                hint="hive-pg start: PostgreSQL recovers by itself",
            )
        return True

    def _await_first_start(self, info: ContainerInfo) -> None:
        """Wait until the server listens: before that, the image ignores the signal to stop.

        A health check may be content with the temporary server of the first start.
        """
        settings, deadline = self.credentials.read_settings(), time.monotonic() + STOP_GRACE_S
        if not info.running or (info.health is Health.HEALTHY and not settings.first_start):
            return
        while (left := deadline - time.monotonic()) > 0:
            probe = self.docker.probe(settings, left, VERSIONS_SQL)
            if probe.readiness is not Readiness.NO_RESPONSE:
                return
            self.console.note(f"it does not listen yet, and cannot be stopped; {left:.0f} s left")
        if settings.first_start:
            raise ContainerStartupError(
                "its first start is still under way: stopping it now would leave half a database",
                hint=f"hive-pg stop, later; or docker stop {settings.container}, to begin anew",
            )

    def remove_postgres_service(self, settings: Settings) -> bool:
        """Remove the container, gracefully stopped, and its network; return whether it was there.

        A network that has another container of the project stays.
        """
        info = self.find_container()
        if info is not None:
            self.stop_postgres_service()
            self.docker.remove(info.name)
        if all(info.project != settings.project for info in self.docker.containers()):
            used = self.docker.remove_networks(settings.project)
            if used:
                self.console.warn(f"the network stays, which other containers use: {used}")
        return info is not None

    def require_own_cluster(self, settings: Settings, containers: Containers) -> ComposeService:
        """Return the service, if its cluster may be deleted: one right below the data directory.

        Raises: WorkspaceError for one that is elsewhere, by a link perhaps, or in a volume.
        """
        service = self.resolve_service(settings)
        self.refuse_conflicts(service, containers, starts=False)
        own = os.path.join(self.workspace, DATA_DIR)
        if os.path.realpath(service.data_dir) != own or os.path.dirname(service.cluster) != own:
            hint = f"delete it yourself, if it is not needed: {service.cluster}"
            raise WorkspaceError(f"the data is not in {own}, but elsewhere", hint=hint)
        return service

    def delete_cluster(self, service: ComposeService) -> None:
        """Delete a cluster, and what was moved aside of it; its files may be another user's.

        It is moved aside first, so that at any time it is there, whole, or not there.
        """
        argv = ["sh", "-c", _DELETE_SCRIPT, service.cluster]
        result = self._run_in_place(service, argv, timeout=WALK_TIMEOUT_S)
        _expect(result, f"cannot delete {service.cluster}")

    def require_follows(self, settings: Settings) -> None:
        """Make sure that the compose file takes the password from `.env`."""
        if settings.url.password not in self._compose(settings, "config"):
            hint = f"let it take ${{{PASSWORD_KEY}}} from {ENV_FILE}"
            raise WorkspaceError("the compose file has a password of its own", hint=hint)

    def restart_postgres_service(self) -> None:
        """Stop the container, and bring it up as the compose file and `.env` say now."""
        settings, service, containers = self._prepare()
        try:
            self.stop_postgres_service()
        except ContainerStartupError as error:  # it had to be killed, and is to run again
            self.console.warn(str(error))
        self.bring_up(settings, service, containers)

    def get_service_logs(self, tail: int = 50) -> str:
        """Return the container's last lines, stdout before stderr."""
        return self.docker.logs(self.require_container().name, tail)

    def check_service_health(self) -> Health:
        """Return the engine's own health of the container; it lags behind by some seconds."""
        return self.require_container().health

    def find_container(self) -> ContainerInfo | None:
        """Return this workspace's container, None where it is not there."""
        return self._own(self.docker.container(self.credentials.read_settings().container))

    def look(self, settings: Settings) -> Look:
        """Ask container, server and published port side by side; it all takes one `docker exec`.

        The password is handed over once the container is known to be this workspace's. The
        container is asked first: the daemon holds a lock while it starts the `exec`.
        """
        name, url = settings.container, settings.url
        with (
            self.docker.start_inspect(name) as inspect,
            self.docker.start_probe(name, url, wait=0, sql=VERSIONS_SQL) as process,
        ):
            info = self._own(self.docker.finish_inspect(inspect))
            if info is None or not info.running:
                return Look(info, Probe(Readiness.UNKNOWN))
            objection = judge_port(info, url) or ask_published_port(url, settings.bind)
            found = self.docker.finish_probe(process, url, wait=0)
            if objection and not found.error:  # it may have become ready in between
                objection = judge_port(info, url) or ask_published_port(url, settings.bind)
            return Look(info, found, objection)

    def require_container(self) -> ContainerInfo:
        """Return this workspace's container, which has to be there."""
        info = self.find_container()
        if info is None:
            raise NotSetUpError("the workspace has no container", hint="hive-pg start")
        return info

    def require_running(self) -> ContainerInfo:
        """Return this workspace's container, which has to run."""
        info = self.require_container()
        if not info.running:
            point = self.judge(info, info.name)
            stopped = point.exit_code is ExitCode.NOT_RUNNING
            error = NotSetUpError if stopped else ContainerStartupError
            raise error(f"container {point.finding}", hint=point.remedy)
        return info

    def judge(self, info: ContainerInfo | None, name: str) -> CheckPoint:
        """Say whether a container runs; where it keeps restarting, why, by its last words."""
        point = judge_container(info, name)
        if info and info.state is ContainerState.RESTARTING:
            found = diagnose_container(info, self.docker.logs(name, 50, since=info.started_at))
            if found:
                why = f"{point.finding}: {found.cause}"
                return point.replace(finding=why, remedy=found.remedy)
        return point

    def require_steady(self, name: str, since: float, restarts: int) -> None:
        """Make sure that a container which does not serve yet is on its way to it.

        It runs, and after `since` (epoch seconds) it has not been restarted, in all more than
        `restarts` times; where it may be at all, it may be about to. The error shows what it wrote
        after `since`.
        """
        info = self.docker.container(name)
        if info is None:
            raise build_startup_error(None, name, "")
        error = build_startup_error(info, name, self.docker.logs(name, 50, since=since))
        earlier = info.restart_count <= restarts or info.started_at < since
        up = info.running or (restarts > 0 and info.state is ContainerState.RESTARTING)
        if not up or not earlier or error.repair is Repair.REMAKE:
            raise error

    def _own(self, info: ContainerInfo | None) -> ContainerInfo | None:
        if info is not None and not self.owns(info):
            hint = "hive-pg init gives this workspace a name of its own"
            raise build_conflict(info, "has the name that .env says", hint)
        return info

    def owns(self, info: ContainerInfo) -> bool:
        """Whether Compose made a container here, or where this workspace was before it moved.

        Another project may be here, too, with a compose file of its own.
        """
        here = identify_file(info.working_dir) == identify_file(self.workspace)
        if not here and not (info.project and is_gone(info.working_dir)):
            return False
        if info.project == self.credentials.read_values().get(PROJECT_KEY):
            return True
        files = map(os.path.basename, info.labels.get(CONFIG_FILES_LABEL, "").split(","))
        own = os.path.basename(self.find_compose_file() or COMPOSE_FILE)
        return here and own in files

    def find_compose_file(self) -> str | None:
        """Return the compose file that Compose itself would take, None where there is none."""
        named = self.credentials.read_values().get("COMPOSE_FILE")
        if named:
            return os.path.join(self.workspace, named.split(os.pathsep)[0])
        paths = (os.path.join(self.workspace, name) for name in COMPOSE_FILES)
        return next((path for path in paths if os.path.lexists(path)), None)

    def survey(self) -> list[ContainerInfo]:
        """Return all containers of the engine, and find Compose at the same time."""
        with self.docker.start(["docker", "compose", "version", "--short"]) as plugin:
            containers = self.docker.containers()
            self.compose_argv = self._choose_compose(plugin.finish(timeout=QUESTION_TIMEOUT_S))
        return containers

    def _choose_compose(self, plugin: CommandResult) -> list[str]:
        """Return the argv that is Compose here: the CLI's plugin, else docker-compose (v1)."""
        import shutil

        if plugin.returncode == 0:
            return ["docker", "compose"]
        if diagnose(plugin.stderr, DOCKER_DIAGNOSES):
            raise build_docker_error(plugin, "cannot run docker compose")
        if shutil.which("docker-compose"):
            return ["docker-compose"]
        hint = "install it: https://docs.docker.com/compose/install/"
        raise DockerNotAvailableError("Docker Compose is missing", hint=hint, detail=plugin.stderr)

    def resolve_service(self, settings: Settings) -> ComposeService:
        """Return the PostgreSQL service as Compose resolves it.

        Compose v1 cannot say so as JSON: there a container tells, created but not started.
        """
        if self.find_compose_file() is None:
            raise NotSetUpError(f"there is no {COMPOSE_FILE}", hint="hive-pg init")
        if len(self.compose_argv) > 1:
            return parse_compose_config(self._compose(settings, "config", "--format", "json"))
        service = choose_service(read_services(self._compose(settings, "config")))
        self._compose(settings, "up", "--no-start", service)
        for info in self.docker.containers():
            if info.labels.get(SERVICE_LABEL) == service and info.project == settings.project:
                return service_of_container(info)
        raise WorkspaceError(f"Compose made no container of service {service!r}")

    def bring_up(self, settings: Settings, service: ComposeService, containers: Containers) -> None:
        """Make the container run as the compose file and `.env` say; does not wait for it.

        Data that are gone are an error: an empty database in their place would look like a loss.
        """
        data_dir = service.data_dir
        if data_dir and not settings.first_start and not holds_data(data_dir, service.cluster):
            what = "holds no data" if os.path.isdir(data_dir) else "is missing"
            hint = "put the data back, or mount it; hive-pg init makes an empty database"
            raise WorkspaceError(f"{data_dir} {what}", hint=hint)
        for info in containers:
            if self._is_leftover(info, service):
                self.docker.remove(info.name)
        own = find_named(containers, service.container)
        serves = own is not None and own.running and not own.restarting
        mend = not serves and self.has_wrong_owner(service)
        if own and (mend or own.restarting):  # or it would start by itself in between
            self.docker.stop(own.name, 10 if own.restarting else STOP_GRACE_S)
        elif own:
            self._await_first_start(own)  # which Compose would cut short to replace it
        if mend:
            self.mend_owner(service)
            self.ensure_image(service)  # only now its version is to be read
        timeout = PULL_TIMEOUT_S if service.builds else COMPOSE_TIMEOUT_S
        self._compose(settings, "up", "--detach", service.service, timeout=timeout)

    def ensure_image(self, service: ComposeService) -> None:
        """Pull the image where it is not there; refuse one of another version than the data."""
        if service.builds:
            return
        environment = self.docker.image_environment(service.image)
        if environment is None:
            self.console.note(f"pulling {service.image}")
            self.docker.pull(service.image)
            environment = self.docker.image_environment(service.image) or {}
        made_by, image = read_cluster_version(service.cluster), environment.get("PG_MAJOR", "")
        if made_by and image and made_by != image:
            raise ContainerStartupError(
                f"the data was made by PostgreSQL {made_by}, {service.image} is {image}",
                hint=f"hive-pg init --image, with one of PostgreSQL {made_by}; to upgrade, dump"
                " with that one, and restore into a new workspace",
            )

    def require_address(self, service: ComposeService) -> None:
        """Make sure that the engine has the address that the service is to be published on."""
        if service.bind not in USUAL_BINDS and not service.builds:
            self.docker.try_to_publish(service.image, service.bind)

    def has_wrong_owner(self, service: ComposeService) -> bool:
        """Whether the data belongs to another user than the one that the server runs as."""
        user = split_user(service.user)
        return bool(user and service.data_dir and not is_usable_by(service.data_dir, user[0]))

    def mend_owner(self, service: ComposeService) -> None:
        """Have the data belong to the user that the server runs as."""
        user = split_user(service.user)
        if user and service.data_dir:
            self.console.note(f"giving {service.data_dir} to {user[0]}:{user[1]}")
            self.docker.give_data_to(user, service.data_dir, service.image or DEFAULT_IMAGE)

    def ask_cluster(self, service: ComposeService, containers: Containers) -> tuple[str, list[str]]:
        """Return the role that a cluster was made for, and its databases; nobody may serve it."""
        unknown = f"{ENV_FILE} has no user for the data in {service.cluster}"
        hint = f"put the {URL_KEY} of that data into {ENV_FILE}"
        own = find_named(containers, service.container)
        if own and own.state not in (ContainerState.CREATED, ContainerState.EXITED):
            raise ContainerConflictError(f"{unknown}, and {own.name} serves it", hint=hint)
        if self.has_wrong_owner(service):
            self.mend_owner(service)
        argv = ["sh", "-c", _SINGLE_USER_SCRIPT, service.target]
        result = self._run_in_place(service, argv, stdin=OWNER_AND_DATABASES_SQL + "\n")
        user, databases = read_owner_and_databases(result.stdout)
        if not user:
            why = f"it does not say whose it is: {last_line(result.stderr)}"
            raise WorkspaceError(f"{unknown}, and {why}", hint=hint)
        return user, databases

    def holds_databases(self, service: ComposeService) -> bool:
        """Whether a cluster has a database that initdb did not make: somebody's data."""
        result = self._run_in_place(service, ["ls", f"{service.target}/base"])
        names = _expect(result, f"cannot look into {service.cluster}").stdout.split()
        return any(int(name) >= FIRST_USER_OID for name in names if name.isdigit())

    def move_cluster_aside(self, service: ComposeService) -> str:
        """Take a half-made cluster out of the way, within what is mounted; return its new name."""
        place, name = os.path.split(service.cluster)
        aside = f"{name}.incomplete-{format_stamp(time.time())}"
        if place != service.data_dir:
            raise WorkspaceError(
                f"the first start of the cluster in {service.cluster} was interrupted",
                hint="move what is in it elsewhere, then hive-pg init",
            )
        argv = ["mv", "--no-target-directory", service.target, f"/target/{aside}"]
        _expect(self._run_in_place(service, argv), f"cannot move {service.cluster} aside")
        return os.path.join(place, aside)

    def _run_in_place(
        self, service: ComposeService, argv: Sequence[str], **options: Any
    ) -> CommandResult:
        image = service.image or DEFAULT_IMAGE
        return self.docker.run_in_place(image, service.source, argv, **options)

    def has_volume(self, service: ComposeService) -> bool:
        """Whether a service has its cluster in a volume, and there is one in it."""
        name = service.source
        if service.data_dir or not name or not self.docker.has_volume(f"name=^{name}$"):
            return False
        argv = ["test", "-s", f"{service.target}/PG_VERSION"]
        return self._run_in_place(service, argv).returncode == 0

    def refuse_conflicts(
        self, service: ComposeService, containers: Containers, *, starts: bool = True
    ) -> None:
        """Make sure that nothing is taken away from another container of the engine.

        Two servers on one directory both start, and corrupt it, whatever they are called.
        """
        own = find_named(containers, service.container)
        if own is not None and not self.owns(own):
            hint = "hive-pg init gives this workspace a name of its own, where the compose file has"
            hint += f" container_name: ${{{CONTAINER_KEY}:-{own.name}}}"
            raise build_conflict(own, "has the name that the compose file says", hint)
        if own is not None and own.state is ContainerState.PAUSED:
            raise build_startup_error(own, own.name, "")
        others = [i for i in containers if i is not own and not self._is_leftover(i, service)]
        for info in others:
            if shares_cluster(info, service) or self._serves_from(info, service.data_dir):
                raise ContainerConflictError(
                    f"container {info.name} ({info.state.value}) has the data mounted that is in"
                    f" {service.cluster}, and two servers on one data directory destroy it",
                    hint=f"if it is not needed: docker stop {info.name}; docker rm {info.name}",
                )
        port = service.host_port
        has_it = own and (own.running or own.restarting) and port in [p for _, p in own.ports]
        if starts and not has_it and not is_port_free(service.bind, port):
            raise self._taken_port(service, others)

    def _taken_port(self, service: ComposeService, others: Containers) -> ContainerConflictError:
        """Say who has the port that a service is to have."""
        hint = "hive-pg init --port N (or edit the compose file, if it fixes the port)"
        names = self.docker.publishing(service.host_port)
        serving = next((info for info in others if info.name in names), None)
        if serving:
            place, remedy = _origin(serving)
            owner, hint = f"container {serving.name} of {place}", hint + remedy
        else:
            owner = self._name_listener(service.host_port)
        address = f"{service.bind}:{service.host_port}"
        return ContainerConflictError(f"port {address} is taken by {owner}", hint=hint)

    def _serves_from(self, info: ContainerInfo, data_dir: str) -> bool:
        """Whether a container runs on a directory that was elsewhere when it was started.

        Its mount names the old place, where something else may be by now: only it can tell.
        """
        source, paused = info.place[0], info.state is ContainerState.PAUSED
        if not (source and (info.running or paused) and os.path.isdir(data_dir)):
            return False
        ours = info.project == self.credentials.read_values().get(PROJECT_KEY)
        if not ours and (paused or not is_gone(source)):
            return False
        if paused:
            why = f"container {info.name} is paused, and cannot say whether it serves {data_dir}"
            raise ContainerConflictError(why, hint=f"docker unpause {info.name}")
        return self.docker.identify(info.name, dict(info.mounts)[source]) == identify_file(data_dir)

    def _name_listener(self, port: int) -> str:
        """Say which process listens on a port, as far as one may see."""
        argv = ["ss", "-Hltnp", f"sport = :{port}"]
        try:
            with self.docker.runner.start(argv) as process:
                return parse_listener(process.finish(timeout=QUESTION_TIMEOUT_S).stdout)
        except (OSError, DockerNotAvailableError):  # no `ss` here, or it hangs
            return parse_listener("")

    def _is_leftover(self, info: ContainerInfo, service: ComposeService) -> bool:
        """Whether Compose was interrupted before a new container of ours could take its place."""
        named = re.fullmatch(f"[0-9a-f]{{12}}_{re.escape(service.container)}", info.name)
        return bool(named) and info.state is ContainerState.CREATED and self.owns(info)

    def _compose(
        self, settings: Settings, *arguments: str, timeout: float = COMPOSE_TIMEOUT_S
    ) -> str:
        """Run Compose in the workspace, with `.env` in place of the shell's own values."""
        ours = COMPOSE_SELECTORS.union(OUR_KEYS)
        env = {key: value for key, value in os.environ.items() if key not in ours}
        prefixes = ("POSTGRES_", "HIVE_", "COMPOSE_")  # the rest Compose reads in .env itself
        values = self.credentials.read_values()
        env.update({key: value for key, value in values.items() if key.startswith(prefixes)})
        env.update(settings.env, PWD=self.workspace)
        argv = [*self.compose_argv, *arguments]
        result = self.docker.run(argv, timeout, env=env, cwd=self.workspace)
        result = result.replace(stderr=mask_values(result.stderr))
        program = " ".join(self.compose_argv)
        hint = f"correct the compose file, or {ENV_FILE}, until `{program} config` succeeds"
        return _expect(result, f"`{' '.join(argv)}` failed", hint).stdout


def build_conflict(info: ContainerInfo, what: str, hint: str) -> ContainerConflictError:
    """Say what another's container has that this workspace's would need."""
    owner, remedy = _origin(info)
    message = f"container {info.name} {what}, and belongs to {owner}"
    return ContainerConflictError(message, hint=hint + remedy)


def _origin(info: ContainerInfo) -> tuple[str, str]:
    """Return where another's container comes from, and what helps where that is gone."""
    remedy = f"; or, if that container is not needed: docker rm -f {info.name}"
    if not info.working_dir:
        return "somebody else (Compose did not make it)", remedy
    if is_gone(info.working_dir):
        return f"{info.working_dir}, which is gone", remedy
    return info.working_dir, ""


def fix_postgres_data_permissions(data_dir: str, *, image: str = DEFAULT_IMAGE) -> None:
    """Have a data directory belong to the user that the server runs as, without sudo."""
    target, user = os.path.realpath(data_dir), get_postgres_uid_gid()
    if not is_usable_by(target, user[0]):
        Docker(Runner(Console())).give_data_to(user, target, image)


def list_databases(docker: Docker | None = None) -> list[ListedDatabase]:
    """Return every database of hive-pg on the engine, by workspace."""
    found = []
    for info in (docker or Docker(Runner(Console()))).containers():
        if LABEL in info.labels or _is_named(info):
            bind, host_port = info.ports[0] if info.ports else (None, None)
            database = ListedDatabase(
                workspace=info.working_dir or None,
                gone=bool(info.working_dir) and is_gone(info.working_dir),
                container=info.name,
                state=info.state,
                health=info.health,
                image=info.image,
                bind=bind,
                host_port=host_port,
                size_bytes=measure_directory(info.place[0]),
            )
            found.append(database)
    return sorted(found, key=lambda database: (database.workspace or "", database.container))


def _is_named(info: ContainerInfo) -> bool:
    """Whether the `.env` where Compose made a container says that it is hive-pg's."""
    try:
        text = decode_env(read_file(os.path.join(info.working_dir, ENV_FILE)) or b"")
        values = env_values(parse_env(text, os.environ))
    except PostgreSQLIntegrationError:
        return False
    return bool(info.working_dir) and values.get(CONTAINER_KEY) == info.name


class PostgreSQLManager:
    """A workspace's database, from nothing to verified, and its life."""

    def __init__(
        self,
        workspace: str = ".",
        credential_service: CredentialService | None = None,
        *,
        console: Console | None = None,
        docker: Docker | None = None,
    ) -> None:
        self.compose = DockerComposeManager(
            workspace, credential_service, console=console, docker=docker
        )
        self.workspace, self.console = self.compose.workspace, self.compose.console
        self.credentials, self.docker = self.compose.credentials, self.compose.docker

    # -- setting up ----------------------------------------------------------------------------

    def setup_postgres_container(
        self,
        interactive: bool = True,
        *,
        wanted: Wishes | None = None,
        start: bool = True,
        timeout: float = READY_TIMEOUT_S,
    ) -> bool:
        """Take the workspace from whatever it is to a database that the application logs in to.

        What is there is reused: a second call changes nothing. Returns False where a person at
        the terminal declined.
        """
        wanted = wanted or Wishes()
        question = f"Set up PostgreSQL in Docker for {self.workspace}?"
        if interactive and is_interactive() and not self.console.confirm(question):
            return False
        make_directory(self.workspace, get_sudo_user())
        ask = interactive
        with self._lock(timeout):
            # Names and ports are the machine's; whoever holds them may have an image to pull.
            with self._lock(timeout + PULL_TIMEOUT_S, os.sep):
                lost = not self._has_login()
                began = time.time()
                settings, service = self._bring_about(wanted, start=start, lost=lost, ask=ask)
            if start:
                self.console.step(f"container {settings.container} is up")
                login = Login(began, timeout, creates=True)
                self._verify_or_mend(settings, service, login, lost=lost, ask=ask)
        return True

    def _bring_about(
        self, wanted: Wishes, *, start: bool, lost: bool, ask: bool
    ) -> tuple[Settings, ComposeService]:
        """Have the files, and the container if it shall start, as they should be.

        `lost` says that `.env` has no credentials, so that those of existing data are to be found.
        """
        compose = self.compose
        containers = compose.survey()
        self.console.step(f"Docker answers, and so does {' '.join(compose.compose_argv)}")
        values = self.credentials.read_values()
        known = has_credentials(values)
        found = self._recover_values(values, containers) if lost else None
        values = found or values
        fresh = self.credentials.generate_postgres_credentials()
        settings = self._plan_settings(values, fresh, containers, wanted)
        service = default_service(settings, self.workspace)
        if compose.find_compose_file():
            settings, service = self._adopt(settings, wanted, known=known)
        compose.refuse_conflicts(service, containers)
        has_data = holds_data(service.data_dir, service.cluster)
        before, database = values.get(DB_KEY), settings.url.database
        if has_data and before and before != database:
            self.console.note(f"database {before} stays as it is, beside {database}")
        guessed = settings.url.user == fresh.user or not has_credentials(settings.env)
        unknown = lost and not found and guessed and (has_data or compose.has_volume(service))
        if start or unknown:
            compose.ensure_image(service)
        if start and wanted.bind:
            compose.require_address(service)
        if unknown:
            user, databases = compose.ask_cluster(service, containers)
            if user != settings.url.user:  # the guess is right where an example's user is used
                database = choose_database(wanted.database, user, databases)
                url = settings.url.replace(user=user, database=database)
                if is_placeholder(url.password):
                    url = url.replace(password=fresh.password)
                settings = settings.replace(url=url)
        if start and has_data and not lost:
            self._agree_with_server(settings, find_named(containers, service.container), ask=ask)
        begun, anew = FIRST_START_KEY in values, service.data_dir != "" and not has_data
        settings = settings.replace(first_start=begun or anew)
        self._write_files(settings)
        if anew:
            self._make_data_directory(service, begun=begun)
        if not is_local(service.bind):
            self.console.warn(f"published on {service.bind}: other machines can reach it")
        if anew and not begun and find_named(containers, service.container):
            self.console.warn(f"{service.data_dir} holds no data: this is a new, empty database")
            self.docker.stop(service.container)  # it may have another directory mounted
        if start:
            compose.bring_up(settings, service, containers)
        return settings, service

    def _make_data_directory(self, service: ComposeService, *, begun: bool) -> None:
        """Make the directory for a new cluster; where it cannot be made, no first start is due."""
        try:
            make_directory(service.data_dir, split_user(service.user), 0o700)
        except WorkspaceError:
            if not begun:
                self.credentials.drop(FIRST_START_KEY)
            raise

    def _has_login(self) -> bool:
        """Whether `.env` says how to log in; an example does not."""
        return os.path.lexists(self.credentials.path) and has_login(self.credentials.read_values())

    def _adopt(
        self, settings: Settings, wanted: Wishes, *, known: bool
    ) -> tuple[Settings, ComposeService]:
        """Follow the compose file that is there; where it is refused, nothing has changed."""
        made = self.credentials.save({})  # a service may have it as its env_file
        try:
            service = self.compose.resolve_service(settings)
            return adopt_service(settings, service, wanted, known=known), service
        except BaseException:
            if made:
                os.unlink(os.path.realpath(self.credentials.path))
            raise

    def _agree_with_server(
        self, settings: Settings, own: ContainerInfo | None, *, ask: bool
    ) -> None:
        """Before a container is replaced that has another password, have its server accept ours.

        Where that is not wanted, the container stays: it may be the last to know the right one.
        """
        known = own.environment.get(PASSWORD_KEY) if own and own.running else None
        if known in (None, settings.url.password):
            return
        error = self.docker.probe(settings, 0, VERSIONS_SQL).error
        following = self._next_password()
        if isinstance(error, CredentialsRefusedError) and following:  # a `rotate` came that far
            error = self.docker.probe(settings.with_password(following), 0, VERSIONS_SQL).error
        if isinstance(error, CredentialsRefusedError):
            if not error.repair or not self._may(error.repair, error, ask=ask):
                raise error
            sql = build_repair_sql(error.repair, settings.url, os.urandom(16))
            self.docker.execute(settings, sql, "cannot mend it")

    def _recover_values(
        self, values: dict[str, str], containers: Containers
    ) -> dict[str, str] | None:
        """Complete what `.env` says with what the workspace's container was made with, if any."""
        own = [info for info in containers if self.compose.owns(info) and info.ports]
        own = [info for info in own if PASSWORD_KEY in info.environment]
        data_dir = os.path.join(self.workspace, DATA_DIR)
        own = [info for info in own if info.place[0] == data_dir] or own
        if len(own) > 1:
            names = ", ".join(info.name for info in own)
            hint = f"put the {URL_KEY} of one into {ENV_FILE}; docker inspect shows what they have"
            raise WorkspaceError(f"{ENV_FILE} has no credentials; {names} have", hint=hint)
        if not own:
            return None
        (info,) = own
        self.console.note(f"{ENV_FILE} has no credentials; container {info.name} has")
        bind, port = info.ports[0]
        user = info.environment.get(USER_KEY) or DEFAULT_ROLE
        return {
            **{CONTAINER_KEY: info.name, PROJECT_KEY: info.project, IMAGE_KEY: info.image},
            **({} if is_local(bind) else {BIND_KEY: bind}),
            **{**values, PORT_KEY: str(port), URL_KEY: "", USER_KEY: user},
            PASSWORD_KEY: info.environment[PASSWORD_KEY],
            DB_KEY: info.environment.get(DB_KEY) or user,
        }

    def _plan_settings(
        self, values: Mapping[str, str], fresh: DatabaseURL, containers: Containers, wanted: Wishes
    ) -> Settings:
        """Decide what `.env` shall say, reusing all that it says already."""
        own = [info for info in containers if self.compose.owns(info)]
        others = [info for info in containers if info not in own]
        default = self._own_project(values, others)
        project, container, named = choose_names(values, default, own, others)
        url = self._plan_url(values, fresh, wanted)
        if not named and not is_local(url.host):
            hint = f"keep that {ENV_FILE} elsewhere, or make the host localhost"
            raise WorkspaceError(f"{URL_KEY} leads to {url.host}, not to this machine", hint=hint)
        bind = wanted.bind or values.get(BIND_KEY, "")
        if wanted.bind:
            url = url.replace(host="localhost" if wanted.bind in USUAL_BINDS else wanted.bind)
        settled = named and (values.get(URL_KEY) or values.get(PORT_KEY))
        if not wanted.port and not settled:
            url = url.replace(port=self._free_port(url.port, bind or DEFAULT_BIND, own, others))
        require_carried(url)
        uid, gid = get_postgres_uid_gid()
        return Settings(
            url,
            container,
            project,
            uid=env_number(values, UID_KEY, uid, range(2**32)),
            gid=env_number(values, GID_KEY, gid, range(2**32)),
            image=wanted.image or values.get(IMAGE_KEY) or os.environ.get(IMAGE_KEY, ""),
            bind=bind,
        )

    def _own_project(self, values: Mapping[str, str], others: Containers) -> str:
        """Return the Compose project that is this workspace's own."""
        usual, theirs = choose_compose_name(self.workspace), {info.project for info in others}
        unnamed = not values.get(PROJECT_KEY) and self.compose.find_compose_file() is not None
        label = f"label={PROJECT_LABEL}={usual}"
        if unnamed and usual not in theirs and self.docker.has_volume(label):
            return usual  # plain Compose has put data into a volume of that project
        return choose_project_name(self.workspace)

    def _plan_url(
        self, values: Mapping[str, str], fresh: DatabaseURL, wanted: Wishes
    ) -> DatabaseURL:
        """Return the URL that `.env` stands for, with what is wanted and what is missing."""
        has_data = holds_data(os.path.join(self.workspace, DATA_DIR))
        url = plan_database_url(values, fresh, has_data=has_data)
        for key, value in ((USER_KEY, url.user), (PASSWORD_KEY, url.password)):
            if has_data and (values.get(key) or value) != value:
                raise EnvFileError(
                    f"{ENV_FILE} has two values of {key}: its own, and another in {URL_KEY}",
                    hint="make both the same; hive-pg init --yes has the server accept it",
                )
        return url.replace(database=wanted.database or url.database, port=wanted.port or url.port)

    def _free_port(self, first: int, bind: str, own: Containers, others: Containers) -> int:
        """Return the port to publish on: the first that nobody else has or may want again."""
        usable = {port for info in own for _, port in info.ports}
        reserved = {port for info in others for _, port in info.ports}
        port = choose_host_port(first, reserved, lambda p: p in usable or is_port_free(bind, p))
        if port != first and not self.compose.find_compose_file():
            self.console.note(f"port {first} is taken; it will be {port}")
        return port

    def _write_files(self, settings: Settings) -> None:
        changed = self.credentials.save(settings.env)
        says = "holds the credentials (mode 0600), and" if changed else "is as it was, with"
        self.console.step(f"{ENV_FILE} {says} port {settings.url.port}")
        if self.compose.find_compose_file() is None:
            write_file(os.path.join(self.workspace, COMPOSE_FILE), render_compose())
            self.console.step(f"{COMPOSE_FILE} is written, and yours to edit")
        try:
            self._ignore_in_git()
        except DockerNotAvailableError as error:  # git does not answer
            self.console.warn(f"{ENV_FILE} may not be ignored: {error}")
        for name in (ENV_FILE, COMPOSE_FILE, ".gitignore"):
            remove_leftover(os.path.join(self.workspace, name))

    def _ignore_in_git(self) -> None:
        """In a git work tree, keep the credentials and the data out of it."""
        lines = {ENV_FILE: "/.env", f"{ENV_FILE}.hive-pg.tmp": "/.env.*.tmp", "data/": "/data/"}

        def git(*arguments: str) -> CommandResult:
            with self.docker.runner.start(["git", "-C", self.workspace, *arguments]) as process:
                return process.finish(timeout=QUESTION_TIMEOUT_S)

        try:
            ignored = git("check-ignore", "--no-index", *lines)
        except OSError:
            return  # no git, so nobody commits
        if ignored.returncode not in (0, 1):
            if "not a git repository" not in ignored.stderr:
                self.console.warn(f"{ENV_FILE} may not be ignored: {last_line(ignored.stderr)}")
            return
        missing = [line for path, line in lines.items() if path not in ignored.stdout.split("\n")]
        if missing:
            path = os.path.join(self.workspace, ".gitignore")
            text = (read_file(path) or b"").decode("utf-8", "surrogateescape")
            separator = "\n" if text and not text.endswith("\n") else ""
            write_file(path, text + separator + "\n".join([*missing, ""]))
            self.console.step(f".gitignore names {' '.join(missing)}")
        if git("ls-files", "--", ENV_FILE).stdout:
            remedy = f"git rm --cached {ENV_FILE}, and commit that"
            self.console.warn(f"git tracks {ENV_FILE}, and with it the password: {remedy}")

    # -- the container's life ------------------------------------------------------------------

    def start_container(self, *, timeout: float = READY_TIMEOUT_S) -> bool:
        """Have the database run, and log in to it; return whether it had to be started."""
        settings, login = self.credentials.read_settings(), Login(time.time(), timeout)
        look = self.compose.look(settings)
        if look.info and look.info.state is ContainerState.PAUSED:
            raise build_startup_error(look.info, settings.container, "")
        if look.info and look.info.running:
            try:
                self._verify_alone(settings, login, look)
                return False
            except ContainerStartupError as error:
                if error.repair is not Repair.START:  # it was about to stop
                    raise
        with self._lock(timeout):
            self.compose.start_postgres_service()
            self.console.step(f"container {settings.container} is up")
        self._verify_alone(settings, login)
        return True

    def stop_container(self) -> bool:
        """Stop the container gracefully; return whether it ran."""
        self.credentials.read_settings()
        with self._lock():
            return self.compose.stop_postgres_service()

    def restart_container(self, *, timeout: float = READY_TIMEOUT_S) -> None:
        """Stop the container, start it as `.env` and the compose file say now, and log in."""
        settings, login = self.credentials.read_settings(), Login(time.time(), timeout)
        with self._lock(timeout):
            self.compose.restart_postgres_service()
            self.console.step(f"container {settings.container} is up")
        self._verify_alone(settings, login)

    def wait_until_ready(self, *, timeout: float = READY_TIMEOUT_S) -> None:
        """Wait until the database serves; starts nothing, and changes nothing.

        Raises: NotSetUpError at once where no container runs; else as `start_container` does.
        """
        settings, login = self.credentials.read_settings(), Login(time.time(), timeout)
        look = self.compose.look(settings)
        info, point = look.info, judge_container(look.info, settings.container)
        if point.exit_code is ExitCode.NOT_RUNNING:
            raise NotSetUpError(point.finding, hint=point.remedy)
        if info and not info.running:  # it keeps restarting; why, it said since its last start
            self.compose.require_steady(info.name, info.started_at, restarts=0)
        self._verify(settings, login, look if info and info.running else None)

    def get_container_logs(self, tail: int = 50) -> str:
        """Return the container's last lines, stdout before stderr."""
        return self.compose.get_service_logs(tail)

    def check_container_status(self) -> ContainerStatus:
        """Return state, health, readiness now and the rest of what `status` shows."""
        settings = self.credentials.read_settings()
        look = self.compose.look(settings)
        return build_status(settings, look.info, look.probe, time.time())

    def validate_container_health(self) -> bool:
        """Whether the container runs, no health check fails, and the server accepts now."""
        return self.check_container_status().verdict is ExitCode.DONE

    def validate_postgres_integration(self) -> ValidationResult:
        """Ask the five points and the published port; those that cannot be asked are skipped."""
        points = list(self._check_points(self.credentials.read_settings()))
        left = CHECK_POINTS[len(points) :]
        skipped = [CheckPoint(name, Outcome.SKIPPED, "skipped") for name in left]
        return ValidationResult([*points, *skipped])

    def read_statistics(
        self, before: Mapping[str, Any] | None = None, *, rates: bool = True
    ) -> dict[str, Any]:
        """Return what `stats` shows, with rates since the sample `before`, or in one second.

        Raises: NotSetUpError where the container does not run, or what keeps it from serving.
        """
        settings, info = self.credentials.read_settings(), self.compose.require_running()
        try:
            samples = self.docker.sample(settings, 2 if rates and not before else 1)
        except PostgreSQLIntegrationError:
            self.compose.require_running()  # it may have been stopped, or paused, meanwhile
            raise
        speed = build_rates(before or samples[0], samples[-1])
        return {"container": info.name, **speed, **samples[-1]}

    def _check_points(self, settings: Settings) -> Iterator[CheckPoint]:
        """Answer the points in their order, up to the first that bars the way to the next."""
        answers = CheckPoint("docker", Outcome.PASSED, "the daemon answers")
        try:
            look = self.compose.look(settings)
        except DockerNotAvailableError as error:
            yield failed_point("docker", error)
            return
        except ContainerConflictError as error:
            yield answers
            yield failed_point("container", error)
            return
        yield answers
        info, probe, url = look.info, look.probe, settings.url
        if isinstance(probe.error, ContainerStartupError):  # it ended while it was asked
            info = self.compose.find_container()
        yield self.compose.judge(info, settings.container)
        if info is None or not info.running:
            return
        if probe.error and probe.readiness is not Readiness.ACCEPTING:
            yield failed_point("connections", probe.error)
            return
        yield judge_connections(probe)
        if probe.error:
            yield failed_point("credentials", self._name_rotation(probe.error))
            return
        finding = f"{url.user} logs in to {url.database} with the password"
        yield CheckPoint("credentials", Outcome.PASSED, finding)
        yield judge_pgvector(probe, info.image)
        refusal = look.objection or login_with_psycopg(url)
        if refusal:
            yield failed_point("published port", _published_error(url, refusal))
        else:
            login = "" if refusal is None else ", and psycopg logs in"
            finding = f"{url.host}:{url.port} answers as PostgreSQL{login}"
            yield CheckPoint("published port", Outcome.PASSED, finding)

    # -- dumps and passwords -------------------------------------------------------------------

    def backup(self, path: str = "") -> str:
        """Write a dump of the database that was read back to its end; return its path.

        `path` is `backups/DATABASE-TIME.dump` in the workspace by default, and `-` for stdout. A
        file is there when the dump is whole, and not before.
        """
        settings = self.credentials.read_settings()
        self.compose.require_running()
        if path in STDOUT:
            if sys.stdout is None:
                raise WorkspaceError("there is no stdout", hint="hive-pg backup -o FILE")
            # With a buffer of its own: what it cannot write is not left for the interpreter's end.
            with open(sys.stdout.fileno(), "wb", closefd=False) as file:
                self._dump(settings, file)
            return "-"
        directory = os.path.join(self.workspace, BACKUP_DIR)
        try:
            if path:
                require_place(path)
                path = os.path.realpath(path)
                return self._write_dump(settings, path)
            make_directory(directory, get_sudo_user(), 0o700)
            with self._lock(directory=directory):
                path = self._prepare_backup(directory, settings.url.database)
                return self._write_dump(settings, path)
        except OSError as error:
            raise _file_error("write", path or directory, error) from None

    def _write_dump(self, settings: Settings, path: str) -> str:
        with Replacement(path, 0o600) as file:
            self._dump(settings, file)
        return path

    def _prepare_backup(self, directory: str, database: str) -> str:
        """Return the path of a new backup; what killed ones left is removed, the lock is held."""
        if not os.path.lexists(os.path.join(directory, ".gitignore")):
            write_file(os.path.join(directory, ".gitignore"), "*\n")
        now = time.time()
        while os.path.lexists(path := os.path.join(directory, choose_backup_name(database, now))):
            now += 1  # another one is of the same second
        for name in os.listdir(directory):
            left = os.path.join(directory, name)
            if re.fullmatch(r".*-\d{8}T\d{6}Z\.dump\.hive-pg\.tmp", name) and not is_locked(left):
                os.unlink(left)
        return path

    def _dump(self, settings: Settings, file: IO[bytes]) -> None:
        """Copy pg_dump's output to a file, and to a pg_restore that reads it to the end.

        (`pg_restore --list` reads the table of contents only, which a truncated dump has, too.)
        """
        idle, began, size = self.compose.require_running, time.monotonic(), 0
        dump_argv, env = build_client_argv(settings, "sh", "-c", _DUMP_SCRIPT)
        read_argv, _ = build_client_argv(settings, "pg_restore", "--file=/dev/null")
        stream = self.docker.runner.stream
        with (
            stream(dump_argv, idle=idle, env=env, output=True) as dump,
            stream(read_argv, idle=idle, env=env) as reader,
        ):
            while block := dump.read():
                file.write(block)
                reader.write(block)
                size += len(block)
                self._show_flow("dumped", size, began)
            self._expect_dump(dump.finish(), "cannot dump the database")
            self._expect_dump(reader.finish(), "the dump cannot be read back")

    def _expect_dump(self, result: CommandResult, what: str) -> None:
        if result.returncode:
            self.compose.require_running()
        if result.returncode == 137 and not result.stderr.strip():
            hint = "see hive-pg status, then try again"
            raise ContainerStartupError(f"{what}: its program was killed", hint=hint)
        refused = LOGIN_DIAGNOSES if "connection to server" in result.stderr else ()
        _expect(result, what, table=(*refused, *DUMP_DIAGNOSES))

    def _show_flow(self, done: str, size: int, began: float) -> None:
        elapsed = time.monotonic() - began
        if elapsed > 0.5:
            rate = format_size(size / elapsed)
            self.console.progress(f"{format_size(size)} {done} in {elapsed:.0f} s, {rate}/s")

    def restore(self, path: str, *, owner: bool = True, drop_old: bool = False) -> str:
        """Put a dump in the database's place; return what the old one is called now.

        It goes into a new database first, which is logged in to before the two change names; that
        takes an instant, and ends all sessions. `-` is stdin. Without `owner` everything belongs
        to the workspace's own role; with `drop_old` old ones are dropped.

        Raises: PostgreSQLIntegrationError; the present database then serves as before. What is
        interrupted says whether it did, or whether the two had changed names already.
        """
        settings = self.credentials.read_settings()
        database = settings.url.database
        with open_source(path) as file:
            head = read_head(file)
            if not is_archive(head) and not owner:
                hint = "pg_dump --no-owner; or make the role: hive-pg psql -- -c 'create role NAME'"
                raise WorkspaceError("SQL says itself whose its objects are", hint=hint)
            self.compose.require_running()
            refusal = self.docker.probe(settings, 0, VERSIONS_SQL).error
            if isinstance(refusal, CredentialsRefusedError):  # as at the end, when it took long
                raise self._name_rotation(refusal)
            with self._lock():
                now, names = time.time(), self._drop_staging(settings)
                while (kept := choose_database_name(database, "before", now)) in names:
                    now += 1
                staging = choose_database_name(database, "restoring", now)
                remedy = "" if drop_old else "; drop it: hive-pg restore --drop-old"
                done = f"what was {database} is {kept} now{remedy}"
                try:
                    self._execute(settings, build_staging_sql(database, staging))
                    self._load(settings, staging, file, head, owner=owner)
                    self._verify_restored(settings, staging)
                    self._swap(settings, build_swap_sql(database, staging, kept))
                except BaseException:  # the swap may have been done when it came
                    names = self._drop_staging(settings)
                    if kept in names:
                        self.console.warn(done)
                    elif database in names:
                        self.console.note(f"{database} serves as it did")
                    raise
                self.console.note(done)
                self._verify(settings, Login(now))
                if drop_old:
                    self._drop_old(settings)
        return kept

    def _drop_staging(self, settings: Settings) -> list[str]:
        """Drop what an interrupted restore has made; return the databases there are, if known."""
        sql = build_drop_sql(comment_staging(settings.url.database)) + DATABASES_SQL
        try:
            return self.docker.execute(settings, sql, "cannot drop it now").split()
        except PostgreSQLIntegrationError as error:
            left = "what an interrupted restore has made stays until the next one, or --drop-old"
            self.console.warn(f"{left}: {error}")
            return []

    def _load(
        self, settings: Settings, staging: str, file: IO[bytes], head: bytes, *, owner: bool
    ) -> None:
        """Have pg_restore or psql run a dump, which begins with `head`, in a database."""
        archive = is_archive(head)
        block: bytes | None = head
        client = ["pg_restore", "--exit-on-error", "-w"] if archive else ["psql", "-XqAtw"]
        client += ["--no-owner", "--no-privileges"] if archive and not owner else []
        client += [] if archive else ["-v", "ON_ERROR_STOP=1"]
        argv, env = build_client_argv(settings, *client, "-d", staging)
        guard, size, began, end = ScriptGuard(), 0, time.monotonic(), f"hive-pg-{staging}"
        idle = self.compose.require_running
        with self.docker.runner.stream(argv, idle=idle, env=env) as process:
            while block and process.write(block if archive else guard.check(block)):
                size += len(block)
                self._show_flow("restored", size, began)
                block = process.take(file)
            if not archive and block == b"":
                process.write(guard.finish() + build_end_script(end).encode())
            self.console.progress("building what comes after the rows")
            result = process.finish()
        words = re.sub(rf"(?m)^(?:LINE \d+: .*\n *\^|{end})\n", "", result.stderr)
        self._expect_dump(result.replace(stderr=words), "cannot restore it")
        if not archive and end not in result.stderr:
            raise WorkspaceError("the script ends in the middle of a statement or transaction")

    def _verify_restored(self, settings: Settings, staging: str) -> None:
        """Make sure that there is something in a database, and that the application gets in."""
        if self._execute(settings, MADE_SQL, staging).strip() != "t":
            raise WorkspaceError("the file makes nothing in a database", hint="take another one")
        new = settings.replace(url=settings.url.replace(database=staging))
        probe = self.docker.probe(new, 0, VERSIONS_SQL)
        if probe.error:
            raise probe.error
        objection = ask_published_port(settings.url, settings.bind)
        if objection:
            raise _published_error(settings.url, objection)

    def _swap(self, settings: Settings, sql: str) -> None:
        """Change names; somebody may connect between the end of the sessions and that."""
        for tries_left in reversed(range(20)):
            try:
                self._execute(settings, sql)
                return
            except DockerCommandError as error:
                others = r"accessed by other users|statement timeout"
                if not re.search(others, error.detail) or not tries_left:
                    raise

    def find_old_databases(self) -> list[str]:
        """Return the names of what `restore` kept of earlier databases."""
        settings = self.credentials.read_settings()
        self.compose.require_running()
        return self._list_databases(settings, build_list_sql(comment_kept(settings.url.database)))

    def _list_databases(self, settings: Settings, sql: str) -> list[str]:
        return self.docker.execute(settings, sql, "cannot list the databases").splitlines()

    def drop_old_databases(self) -> None:
        """Drop them, and what an interrupted restore has left."""
        settings = self.credentials.read_settings()
        self.compose.require_running()
        with self._lock():
            self._drop_staging(settings)
            self._drop_old(settings)

    def _drop_old(self, settings: Settings) -> None:
        sql = build_drop_sql(comment_kept(settings.url.database))
        self.docker.execute(settings, sql, "cannot drop what was there before")

    def _execute(self, settings: Settings, sql: str, database: str = "template1") -> str:
        return self.docker.execute(settings, sql, "cannot restore it", database)

    def end_session(self, application: str) -> None:
        """End a client whose `docker exec` was ended: it would go on with what it has."""
        sql = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
        try:
            self._execute(self.credentials.read_settings(), sql + quote_literal(application))
        except PostgreSQLIntegrationError as error:
            self.console.warn(f"what it ran may go on: {error}")

    def rotate_password(self) -> None:
        """Give the server and `.env` a new password; open connections stay.

        `.env` has it beside the old one first: where this is interrupted, `start` and `init` go on.
        """
        self.credentials.read_settings()
        password = self.credentials.generate_postgres_credentials().password
        with self._lock():
            settings = self.credentials.read_settings()
            self.compose.require_running()
            self.compose.survey()
            self.compose.require_follows(settings.with_password(password))
            if not self._next_password():  # else the server may have that one already
                self.credentials.save({NEXT_PASSWORD_KEY: password})
            settings = self._finish_rotation(settings)
            self._verify(settings, Login(time.time()))

    def _finish_rotation(self, settings: Settings) -> Settings:
        """Do what is left of a `rotate`, if one is under way; the lock is held."""
        password = self._next_password()
        if not password:
            return settings
        old = self.credentials.read_settings()
        settings = old.with_password(password)
        sql = build_repair_sql(Repair.PASSWORD, settings.url, os.urandom(16))
        what = "cannot change the password"
        try:
            self.docker.execute(old, sql, what)
        except CredentialsRefusedError:  # its socket asks for one, and it has the new one already
            self.docker.execute(settings, sql, what)
        self.credentials.save(settings.env)
        self.credentials.drop(NEXT_PASSWORD_KEY)
        self.console.step(f"the password is a new one, in the server and in {ENV_FILE}")
        return settings

    def destroy_container(self, *, data: bool = False, backup: bool = True) -> None:
        """Remove the container and its network, and with `data` the cluster, after a backup."""
        settings = self.credentials.read_settings()
        with self._lock():
            containers = self.compose.survey()
            service = self.compose.require_own_cluster(settings, containers) if data else None
            held = service and holds_data(service.data_dir, service.cluster)
            if service and held and backup:
                self._back_up_last(settings, service, containers)
            if self.compose.remove_postgres_service(settings):
                self.console.step(f"container {settings.container} is removed")
            else:
                self.console.note(f"there is no container {settings.container}")
            if service:
                self.compose.delete_cluster(service)
                if held:
                    self.console.step(f"{service.cluster} is deleted")
                else:
                    self.console.note(f"there was no data in {service.data_dir}")

    def _back_up_last(
        self, settings: Settings, service: ComposeService, containers: Containers
    ) -> None:
        login = Login(time.time())
        try:
            self.compose.bring_up(settings, service, containers)
            self._verify(settings, login)
            others = self._find_other_databases(settings)
            if others:
                names, old = ", ".join(sorted(others)), self.find_old_databases()
                hint = "hive-pg restore --drop-old" if others <= {*old} else "save and drop them"
                raise WorkspaceError(f"there are other databases: {names}", hint=hint)
            self.console.step(f"the backup is {self.backup()}")
        except PostgreSQLIntegrationError as error:
            without = "with nothing saved: hive-pg destroy --data --no-backup"
            hint = f"{error.hint}; or, {without}" if error.hint else without
            raise type(error)(f"no backup: {error}", hint=hint, detail=error.detail) from None

    def _find_other_databases(self, settings: Settings) -> set[str]:
        """Return the databases that are somebody's, and that a backup does not have."""
        database, what = settings.url.database, "cannot look into postgres"
        others = {*self._list_databases(settings, DATABASES_SQL)} - {database}
        if "postgres" in others:  # the server's own: it counts if somebody has a table there
            used = self.docker.execute(settings, USED_SQL, what, "postgres").strip() == "t"
            others -= set() if used else {"postgres"}
        if others:  # the half that an interrupted restore has left is nobody's
            others -= {*self._list_databases(settings, build_list_sql(comment_staging(database)))}
        return others

    # -- waiting and mending -------------------------------------------------------------------

    def _verify_or_mend(
        self, settings: Settings, service: ComposeService, login: Login, *, lost: bool, ask: bool
    ) -> None:
        """Log in; where the cluster keeps the application out, mend it, each way once."""
        tried: set[Repair] = set()
        while True:
            try:
                settings = self._verify_rotation(settings, login)
                return self._note_login(settings)
            except PostgreSQLIntegrationError as error:
                untouched = error.repair in HALF_MADE and self._is_untouched(settings, service)
                repair = choose_repair(error.repair, untouched=untouched)
                if repair is None or repair in tried or not self._may(repair, error, ask=ask):
                    raise
            if repair is Repair.PASSWORD and lost:  # what the container had is outdated
                fresh = self.credentials.generate_postgres_credentials()
                settings = settings.with_password(fresh.password)
            login = login.replace(since=self._mend(repair, settings, service))
            tried.add(repair)

    def _is_untouched(self, settings: Settings, service: ComposeService) -> bool:
        """Whether nobody has ever logged in to a cluster, nor made a database in it."""
        if not settings.first_start or settings.url.database == DEFAULT_ROLE:
            return False  # the application's database is the one that initdb makes
        return not self.compose.holds_databases(service)

    def _may(self, repair: Repair, error: PostgreSQLIntegrationError, *, ask: bool) -> bool:
        """Whether a repair is wanted; one that changes who gets in takes a yes."""
        if not ask or repair not in (Repair.PASSWORD, Repair.NETWORK):
            return True
        return is_interactive() and self.console.confirm(f"{error}.\n{repair.value}?")

    def _mend(self, repair: Repair, settings: Settings, service: ComposeService) -> float:
        """Mend a cluster, and have it served; return when its server was to start again."""
        self.console.note(f"mending: {repair.value}")
        if repair is Repair.OWNER:
            self.docker.stop(settings.container)
            self.compose.mend_owner(service)
        elif repair is Repair.REMAKE:
            self.docker.stop(settings.container, 3)  # it has nothing to write, and may crash on end
            self.console.warn(f"the cluster is in {self.compose.move_cluster_aside(service)} now")
        elif repair is not Repair.START:
            sql = build_repair_sql(repair, settings.url, os.urandom(16))
            self.docker.execute(settings, sql, "cannot mend it")
            self.credentials.save(settings.env)
        began = time.time()
        self.compose.bring_up(settings, service, ())
        return began

    def _note_login(self, settings: Settings) -> None:
        """Have `.env` say no more that the first start is still to come; the lock is held."""
        if not settings.first_start:
            return
        try:
            self.credentials.drop(FIRST_START_KEY)
        except WorkspaceError as error:  # the database serves all the same
            self.console.warn(f"{error}; so {FIRST_START_KEY} stays in it")

    def _verify_alone(self, settings: Settings, login: Login, look: Look | None = None) -> None:
        """Log in, without a repair, and without holding others up while it takes its time."""
        try:
            if self._next_password():
                with self._lock(login.timeout):
                    self._verify_rotation(settings, login)
            else:
                self._verify(settings, login, look)
        except PostgreSQLIntegrationError as error:
            if not settings.first_start or error.repair not in HALF_MADE:
                raise
            what = f"the first start was interrupted: {error}"
            hint = "hive-pg init finishes it, or makes the cluster anew"
            raise type(error)(what, hint=hint, detail=error.detail) from None
        if settings.first_start:
            with self._lock(login.timeout):
                self._note_login(settings)

    def _verify_rotation(self, settings: Settings, login: Login) -> Settings:
        """Log in, having done what an interrupted `rotate` left; return what `.env` says then."""
        rotating = self._next_password() != ""
        try:
            self._verify(settings, login)
        except CredentialsRefusedError:
            if not rotating:
                raise
        if rotating:
            settings = self._finish_rotation(settings)
            self._verify(settings, login)
        return settings

    def _verify(self, settings: Settings, login: Login, look: Look | None = None) -> None:
        """Wait until the credentials in `.env` log in and the published port answers.

        `look` is a first one that was taken already, of a container that ran then.
        """
        began, url = time.monotonic(), settings.url
        probe = self._await_login(settings, login, look)
        if look and probe is look.probe:
            objection = look.objection
        else:
            objection = ask_published_port(url, settings.bind)
        if objection:
            raise _published_error(url, objection)
        if probe.warning:
            self.console.warn(f"{probe.warning.cause}; {probe.warning.remedy}")
        self.console.step(
            f"{url.user} logs in to {url.database}: PostgreSQL {probe.server_version},"
            f" pgvector {probe.created_version or 'not created'} ({time.monotonic() - began:.1f} s)"
        )

    def _await_login(self, settings: Settings, login: Login, look: Look | None) -> Probe:
        """Probe, unless `look` has, until a login succeeds or is refused, or the container ends."""
        deadline = time.monotonic() + login.timeout
        sql = CREATE_EXTENSION_SQL + VERSIONS_SQL if login.creates else VERSIONS_SQL
        probe = look.probe if look else self.docker.probe(settings, login.timeout, sql)
        # One that was found running may be started once more after a crash that is over now.
        restarts = look.info.restart_count + 1 if look and look.info else 0
        while probe.error:
            left = deadline - time.monotonic()
            if probe.readiness is not Readiness.ACCEPTING:
                self.compose.require_steady(settings.container, login.since, restarts)
            ended = isinstance(probe.error, ContainerStartupError)  # and may be up again soon
            if probe.readiness in (Readiness.ACCEPTING, Readiness.UNKNOWN) and not ended:
                raise self._name_rotation(probe.error)
            if left <= 0:
                hint = "see hive-pg logs, or give it longer with --timeout"
                why = f"not ready in time: {probe.error}"
                raise DatabaseConnectionError(why, hint=hint, detail=probe.error.detail)
            waiting = f"waiting for PostgreSQL ({probe.readiness.value}), {left:.0f} s left"
            self.console.progress(waiting, period=WAIT_ROUND_S - 1)
            time.sleep(0.3)  # a server that has just crashed is asked again at once otherwise
            probe = self.docker.probe(settings, left, sql)
        return probe

    def _name_rotation(self, error: PostgreSQLIntegrationError) -> PostgreSQLIntegrationError:
        """Name a `rotate` as the cause of a refused password, where one has not come to its end."""
        if error.repair is not Repair.PASSWORD or not self._next_password():
            return error
        why = f"the server refuses the password in {ENV_FILE}, which a rotate was about to change"
        return CredentialsRefusedError(why, hint="hive-pg start finishes it", repair=error.repair)

    def _next_password(self) -> str:
        """Return the password that a `rotate` is about to give out, '' where none is under way."""
        return self.credentials.read_values().get(NEXT_PASSWORD_KEY, "")

    def _lock(self, timeout: float = READY_TIMEOUT_S, directory: str = "") -> DirectoryLock:
        return DirectoryLock(directory or self.workspace, self.console, timeout + COMPOSE_TIMEOUT_S)


def _published_error(url: DatabaseURL, objection: str) -> DatabaseConnectionError:
    return DatabaseConnectionError(
        f"{url.host}:{url.port}, where {URL_KEY} leads, is not this database: {objection}",
        hint="hive-pg restart applies .env; with a remote Docker, name its host in the URL",
    )


# == Commands: a namespace in, an exit code out ===============================================


def command_init(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Set the workspace up, and say what next."""
    wanted = Wishes(args.port, args.database, args.image, args.bind)
    start = not args.no_start
    if not manager.setup_postgres_container(
        not args.yes, wanted=wanted, start=start, timeout=args.timeout
    ):
        manager.console.warn("nothing was done")
        return ExitCode.FAILED
    settings = manager.credentials.read_settings()
    if not args.quiet:
        text = format_next_steps(settings, started=start)
        manager.console.result(manager.console.localize(text))
    return ExitCode.DONE


def command_start(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Have the database run."""
    if not manager.start_container(timeout=args.timeout):
        manager.console.note("it was running already")
    return ExitCode.DONE


def command_run(manager: PostgreSQLManager, args: argparse.Namespace) -> NoReturn:
    """Have the database run, then become CMD."""
    manager.start_container(timeout=args.timeout)
    values, left_out = manager.credentials.read_values(), manager.credentials.unread_keys()
    if left_out:
        names = " ".join(left_out)
        manager.console.warn(f"{ENV_FILE}: not read alike by all, so left out: {names}")
    credentials = {key: values[key] for key in CREDENTIAL_KEYS if key in values}
    try:
        manager.docker.runner.replace(args.argv, {**values, **os.environ, **credentials})
    except OSError as error:
        raise WorkspaceError(f"cannot run {args.argv[0]}: {error.strerror}") from None


def command_stop(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Stop the database."""
    if manager.stop_container():
        manager.console.step("stopped; the data stays")
    else:
        manager.console.note("it was not running")
    return ExitCode.DONE


def command_restart(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Stop the database, and start it with what `.env` and the compose file say now."""
    manager.restart_container(timeout=args.timeout)
    return ExitCode.DONE


def command_wait(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Wait until the database serves."""
    manager.wait_until_ready(timeout=args.timeout)
    return ExitCode.DONE


def command_status(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Show state, health and readiness."""
    status = manager.check_container_status()
    manager.console.result(format_json(status) if args.json else format_status(status))
    refused = status.readiness is Readiness.ACCEPTING and status.server_version is None
    if (refused or status.verdict is not ExitCode.DONE) and not args.json:
        remedy = "hive-pg start" if status.verdict is ExitCode.NOT_RUNNING else "hive-pg check"
        if status.state is ContainerState.PAUSED:
            remedy = f"docker unpause {status.container}"
        manager.console.note(f"hint: {remedy}")
    return status.verdict


def command_check(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Ask every point, and show each with its finding."""
    result = manager.validate_postgres_integration()
    if args.json:
        summary = {"healthy": result.healthy, "exit_code": int(result.exit_code)}
        manager.console.result(format_json({**summary, **result.fields()}))
    else:
        text = format_validation(result, manager.console.symbols(sys.stdout))
        manager.console.result(manager.console.localize(text))
    return result.exit_code


def command_stats(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Show what server and container do, once or until Ctrl-C."""
    import shutil

    terminal = is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"
    sample = None
    try:
        while True:
            sample = manager.read_statistics(sample, rates=not args.prometheus)
            if args.json:
                text = format_json(sample, indent=None if args.watch else 2)
            elif args.prometheus:
                text = format_prometheus(sample)
            elif not args.watch:
                text = format_statistics(sample)
            elif terminal:
                text = format_screen(format_statistics(sample), *shutil.get_terminal_size())
            else:
                text = format_sample(sample, _STATISTICS_LINE)
            manager.console.result(text)
            if not args.watch:
                return ExitCode.DONE
            time.sleep(args.watch)
    except KeyboardInterrupt:
        if not args.watch:
            raise
        if terminal:
            manager.console.result("")  # ends the line in which the terminal wrote ^C
        return ExitCode.INTERRUPTED


def command_logs(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Pass `docker logs` through."""
    argv = ["docker", "logs", "--tail", args.tail]
    argv += ["--follow"] if args.follow else []
    argv += ["--timestamps"] if args.timestamps else []
    argv += ["--since", args.since] if args.since else []
    returncode = manager.docker.runner.attach([*argv, manager.compose.require_container().name])
    if returncode == ExitCode.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if returncode else ExitCode.DONE


def command_url(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Print the URL and nothing else."""
    url = manager.credentials.read_settings().url
    url = url.replace(driver="") if args.format == "libpq" else url
    manager.console.result(build_database_url(url))
    return ExitCode.DONE


def command_psql(manager: PostgreSQLManager, args: argparse.Namespace) -> int:
    """Become the image's psql, or wait for it: one without a terminal hears no Ctrl-C."""
    settings = manager.credentials.read_settings()
    manager.compose.require_running()
    asked = is_terminal(sys.stdin)
    terminal = asked and is_terminal(sys.stdout)
    # The container's root is read-only, and its user has no home there.
    options = ["--tty", "--env", "PSQL_HISTORY=/tmp/.psql_history"]
    session = f"hive-pg psql {os.getpid()}"
    options = options if terminal else ["--env", f"PGAPPNAME={session}"]
    script = [] if asked else ["-X", "-v", "ON_ERROR_STOP=1"]
    argv, env = build_client_argv(settings, "psql", *script, *args.argv, options=options)
    runner = manager.docker.runner
    if terminal:
        runner.replace(argv, env)
    returncode: int = ExitCode.INTERRUPTED
    try:
        returncode = runner.attach(argv, env)
    finally:
        if returncode == ExitCode.INTERRUPTED:
            manager.end_session(session)
    return returncode if returncode >= 0 else 128 - returncode


def command_backup(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Write a dump."""
    if args.output in STDOUT and is_terminal(sys.stdout):
        raise WorkspaceError("a dump is nothing for a terminal", hint="hive-pg backup -o FILE")
    path = manager.backup(args.output)
    if path != "-":
        manager.console.step(f"{format_size(os.path.getsize(path))}, read back to its end")
        manager.console.result(path)
    return ExitCode.DONE


def command_restore(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Put a dump in the database's place."""
    database = manager.credentials.read_settings().url.database
    if args.file is None:
        return _drop_old(manager, args, database)
    require_source(args.file)
    question = f"Put {args.file} in the place of database {database}, and end its sessions?"
    _require_yes(manager, args, question)
    manager.restore(args.file, owner=not args.no_owner, drop_old=args.drop_old)
    if args.drop_old:
        manager.console.step(f"what was {database} before is dropped")
    return ExitCode.DONE


def _drop_old(manager: PostgreSQLManager, args: argparse.Namespace, database: str) -> ExitCode:
    """Drop what earlier ones kept."""
    old = ", ".join(manager.find_old_databases())
    if old:
        _require_yes(manager, args, f"Drop {old}?")
    manager.drop_old_databases()
    if old:
        manager.console.step(f"dropped: {old}")
    else:
        manager.console.note(f"there was nothing of what was {database} before")
    return ExitCode.DONE


def _require_yes(manager: PostgreSQLManager, args: argparse.Namespace, question: str) -> None:
    """Make sure that a person wants it, or has said --yes."""
    if not args.yes and not is_interactive():
        raise WorkspaceError("nothing was done", hint="the same with --yes does not ask")
    if not args.yes and not manager.console.confirm(question):
        raise WorkspaceError("nothing was done")


def command_rotate(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Give the server and `.env` a new password."""
    manager.rotate_password()
    return ExitCode.DONE


def command_destroy(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Remove the container, and with `--data` the data."""
    name = os.path.basename(manager.workspace)
    if args.data and not args.yes:
        question = f"This deletes the data of {manager.workspace}. Type {name} to go on:"
        if not is_interactive():
            hint = "hive-pg destroy --data --yes does not ask"
            raise WorkspaceError("nothing was done", hint=hint)
        if manager.console.ask(question) != name:
            raise WorkspaceError(f"that is not {name}: nothing was done")
    manager.destroy_container(data=args.data, backup=not args.no_backup)
    return ExitCode.DONE


def command_env(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Print what applications and psql take from their environment."""
    env = client_env(manager.credentials.read_settings().url)
    if args.json:
        text = format_json(env)
    elif args.format == "dotenv":
        text = "\n".join(f"{key}={format_env_value(value)}" for key, value in env.items())
    else:
        text = "\n".join(f"export {key}={quote_word(value)}" for key, value in env.items())
    manager.console.result(text)
    return ExitCode.DONE


def command_list(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Show every database of hive-pg on the engine."""
    databases = list_databases(manager.docker)
    if args.json:
        manager.console.result(format_json({"databases": databases}))
    elif databases:
        width = _terminal_width() if is_terminal(sys.stdout) else 0
        manager.console.result(format_list(databases, os.path.expanduser("~"), width))
    else:
        manager.console.note("hive-pg has no database on this engine")
    return ExitCode.DONE


def command_completion(manager: PostgreSQLManager, args: argparse.Namespace) -> ExitCode:
    """Print the script that has a shell complete hive-pg."""
    parsers = {name: build_parser(command=name) for name in ("", *COMMANDS)}
    manager.console.result(render_completion(args.shell, parsers))
    return ExitCode.DONE


# == The parser and main ======================================================================

_DESCRIPTION = "PostgreSQL 16 + pgvector in Docker for one project: set up, verified, kept."
_EPILOG = """\
EXAMPLES
  hive-pg init                      set up the current directory
  hive-pg init ~/app --yes          set up another one, without a question
  hive-pg start && hive-pg check    have it run, and look at it from every side
  hive-pg run -- pytest             have it run, then run a command with .env in its environment
  hive-pg logs -f --since 10m       follow what PostgreSQL writes
  eval "$(hive-pg env)"; psql       have psql and applications find it

A directory in place of a command is start, or run with a command after --.

EXIT CODES
  0 done or healthy    1 failed    2 usage    3 not running or not set up
  4 Docker missing or unreachable  5 unhealthy or timed out  6 credentials refused
  130 interrupted; run and psql end with their program's own
"""
_HANDLERS: dict[str, Callable[[PostgreSQLManager, argparse.Namespace], int]] = {
    name: globals()[f"command_{name}"] for name in COMMANDS
}
_USAGES = {"run": "[DIR] -- CMD ...", "psql": "[DIR] [-- ARGS ...]", "restore": "[DIR] FILE"}
_PLANNED_SPELLINGS = {
    "--init": "init",
    **{f"--postgres-{name}": name for name in ("start", "stop", "restart", "status", "logs")},
}


def build_parser(prog: str = "hive-pg", command: str = "") -> argparse.ArgumentParser:
    """Build the parser of one command, or for '' of the command line as a whole.

    One at a time: argparse takes longer to build a parser than most commands take for the rest.
    """
    width = max(_terminal_width() - 2, 20)
    listing = "\n".join(f"  {name:<11} {summary}" for name, summary in COMMANDS.items())
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=f"{prog} {command}".rstrip(),
        usage=f"%(prog)s [options] {_USAGES[command]}" if command in _USAGES else None,
        description=COMMANDS.get(command, _DESCRIPTION),
        epilog=None if command else f"COMMANDS\n{listing}\n\n{_EPILOG}",
        # Without a width argparse loads shutil to find it, for every argument again.
        formatter_class=lambda prog: style(prog, max_help_position=26, width=width),
    )
    option = parser.add_argument
    if not command:
        option("--version", action="version", version=f"hive-pg {__version__}")
        option("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
        return parser
    if command in ("list", "completion"):
        parser.set_defaults(directory=".")
    else:
        what = "the workspace (default: .)"
        option("directory", nargs="?", default=".", metavar="DIR", help=what)
    option("-q", "--quiet", action="store_true", help="only results, warnings and errors")
    option("-v", "--verbose", action="store_true", help="show every program that is run")
    if command in ("init", "start", "run", "restart", "wait"):
        what = f"how long to wait for the database (default: {READY_TIMEOUT_S:.0f} s)"
        option("--timeout", type=seconds, default=READY_TIMEOUT_S, metavar="S", help=what)
    if command in ("status", "check", "env", "list"):
        option("--json", action="store_true", help="one JSON object")
    if command == "init":
        option("-y", "--yes", action="store_true", help="do not ask")
        what = f"port on this machine (default: {DEFAULT_HOST_PORT}, or the next that is free)"
        option("--port", type=port, metavar="N", help=what)
        what = f"database (default: {DEFAULT_DATABASE})"
        option("--database", type=database_name, metavar="NAME", help=what)
        option("--image", help=f"default: ${IMAGE_KEY}, or {DEFAULT_IMAGE}")
        what = f"address to publish on (default: {DEFAULT_BIND}, for this machine only)"
        option("--bind", type=address, metavar="ADDRESS", help=what)
        option("--no-start", action="store_true", help="only write the files")
    if command == "stats":
        option("--watch", type=seconds, metavar="S", help="every S seconds, until Ctrl-C")
        form = parser.add_mutually_exclusive_group().add_argument
        form("--json", action="store_true", help="one JSON object; with --watch, one a line")
        form("--prometheus", action="store_true", help="one sample in Prometheus' text format")
    if command == "logs":
        what = "lines (default: 50), or all"
        option("-n", "--tail", type=lines, default="50", metavar="N", help=what)
        option("-f", "--follow", action="store_true", help="go on until Ctrl-C")
        option("--since", metavar="TIME", help="10m, or a date and time")
        option("-t", "--timestamps", action="store_true", help="with Docker's times")
    if command == "backup":
        what = f"where to write it (default: {BACKUP_DIR}/DATABASE-TIME.dump), - for stdout"
        option("-o", "--output", default="", metavar="FILE", help=what)
    if command == "restore":
        option("file", nargs="?", metavar="FILE", help="a dump or an SQL script, - for stdin")
        option("--no-owner", action="store_true", help="have all belong to the workspace's role")
        option("--drop-old", action="store_true", help="drop what earlier restores kept")
    if command == "destroy":
        option("--data", action="store_true", help="delete the data, too, after a backup")
        option("--no-backup", action="store_true", help="delete it without")
    if command in ("restore", "destroy"):
        option("-y", "--yes", action="store_true", help="do not ask")
    if command == "url":
        what = "libpq: without the driver, as psql takes it"
        option("--format", choices=("sqlalchemy", "libpq"), default="sqlalchemy", help=what)
    if command == "env":
        what = "shell: export lines for eval; dotenv: as in .env"
        option("--format", choices=("shell", "dotenv"), default="shell", help=what)
    if command == "completion":
        option("shell", choices=COMPLETIONS, metavar="SHELL", help=", ".join(COMPLETIONS))
    return parser


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns) or 80
    except (OSError, ValueError):
        return 80


# argparse names these in its messages: "invalid port value: '0'".


def seconds(text: str) -> float:
    """Read a time limit of a day at most."""
    if not 0 < float(text) <= 86400:
        raise ValueError
    return float(text)


def port(text: str) -> int:
    """Read a TCP port."""
    if int(text) not in range(1, 65536):
        raise ValueError
    return int(text)


def lines(text: str) -> str:
    """Read a number of lines, or `all`."""
    if text != "all" and int(text) < 0:
        raise ValueError
    return text


def address(text: str) -> str:
    """Read an IPv4 address of this machine."""
    import socket

    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        raise ValueError from None
    return text


def database_name(text: str) -> str:
    """Read a database name that every reader of a URL takes alike, and that can be replaced."""
    if not re.fullmatch(DATABASE_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits and _ . - only, 63 at most")
    if re.fullmatch("template[01]", text):
        raise argparse.ArgumentTypeError(f"{text} is what PostgreSQL makes new databases of")
    return text


def split_argv(
    argv: Sequence[str], is_directory: Callable[[str], bool]
) -> tuple[str, list[str], list[str]]:
    """Return the command, '' for none, its arguments, and what follows `--`.

    >>> split_argv(["./app", "--", "make", "test"], lambda path: path == "./app")
    ('run', ['./app'], ['make', 'test'])
    >>> split_argv(["-v", "--postgres-logs", "-f"], lambda path: False)
    ('logs', ['-v', '-f'], [])
    """
    at = argv.index("--") if "--" in argv else len(argv)
    arguments, rest = list(argv[:at]), list(argv[at + 1 :])
    for index, argument in enumerate(arguments):
        command = _PLANNED_SPELLINGS.get(argument, argument)
        if command in COMMANDS:
            return command, arguments[:index] + arguments[index + 1 :], rest
        if not argument.startswith("-"):
            command = "run" if rest else "start"
            return command if is_directory(argument) else "", arguments, rest
    return "", arguments, rest


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Errors become messages here and only here."""
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 (closed by who called us)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    copied = os.path.basename(sys.argv[0]) == "hive_pg.py"
    python = "python3" if os.name == "posix" else "python"
    program = f"{python} {sys.argv[0]}" if copied else "hive-pg"
    given = sys.argv[1:] if argv is None else argv
    command, arguments, rest = split_argv(given, os.path.isdir)
    parser = build_parser(program, command)
    if not command and not any(a.startswith("-") for a in arguments):
        _refuse_command(parser, arguments)
    args = parser.parse_args(arguments)
    if (rest and command not in _USAGES) or (command == "run" and not rest):
        parser.error("a command after -- goes with run: run [DIR] -- CMD ...")
    if command == "stats" and args.prometheus and args.watch:
        parser.error("--prometheus is one sample, and does not go with --watch")
    args.argv = rest
    if command == "restore":
        _sort_out_file(parser, args)
    console = Console(args.quiet, args.verbose, program, args.directory)
    if command not in ("url", "env", "completion"):  # they start nothing that is to be ended
        _leave_in_order_on_termination()
    try:
        manager = PostgreSQLManager(args.directory, console=console)
        return int(_HANDLERS[command](manager, args))
    except PostgreSQLIntegrationError as error:
        console.error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        left = INTERRUPTED.get(command)
        console.warn(f"interrupted; {left}" if left else "interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:  # whoever read our stdout has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)
    except OSError as error:
        console.error(WorkspaceError(str(error)))
        return int(ExitCode.FAILED)


def _sort_out_file(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Tell DIR from FILE where there is only one of them."""
    if args.file is None and not (args.drop_old and os.path.isdir(args.directory)):
        args.directory, args.file = ".", args.directory
    if args.file == ".":
        parser.error("FILE is missing")


def _refuse_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> NoReturn:
    """Say what a command line without a command could have meant."""
    import difflib

    if not arguments:
        parser.print_help(sys.stderr)
        raise SystemExit(int(ExitCode.USAGE))
    close = difflib.get_close_matches(arguments[0], COMMANDS)
    letters = sorted(arguments[0])
    close.sort(key=lambda command: sorted(command) != letters)  # stauts is status, not stats
    meant = f"; did you mean {close[0]}?" if close else ""
    parser.error(f"{arguments[0]!r} is neither a command nor a directory{meant}")


def _leave_in_order_on_termination() -> None:
    """Have SIGTERM and SIGHUP end what runs, as Ctrl-C does; the exit code is 128 + signal."""
    import signal

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, leave)


if __name__ == "__main__":
    sys.exit(main())
