#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# ///
"""hive-pg: a PostgreSQL 16 + pgvector database in Docker for one project, in one file.

A workspace is a directory with four things in it: `.env` (mode 0600; HIVE_DATABASE_URL is the
source of truth), `docker-compose.yml` (written once, then yours), `data/postgres/` (the cluster)
and `.hive-pg.json` (what hive-pg remembers). `hive-pg init` makes them and ends with a login by
the application's own credentials; `start`, `stop`, `run`, `status`, `check` and the rest keep the
container; `psql`, `backup`, `restore`, `rotate` and `destroy` are for what is in it.

The file is read from the top. Each banner names a room after what a user would call it; a room
uses only the rooms above it, and in a room the pure functions come first. It needs Python 3.9 and
the docker CLI, nothing else, and may be copied into a project: `python hive_pg.py init`, or
`from hive_pg import PostgreSQLManager`.

Exit codes: 0 done or healthy, 1 failed, 2 usage, 3 not running or not set up, 4 Docker missing or
unreachable, 5 unhealthy or timed out, 6 credentials refused, 130 interrupted; `run` and `psql` end
with their program's own.
"""
# SPDX-FileCopyrightText: The hive-pg authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", sys.flags.isolated):
    # A project may have a secrets.py or a types.py beside the file.
    sys.path[:] = [place for place in sys.path if place != sys.path[0]]

import enum
import errno
import os
import posixpath
import re
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import cached_property, partial, wraps
from os.path import basename, dirname, islink, join, lexists, realpath

TYPE_CHECKING = False  # importing `typing` would take longer than the rest of the file
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from subprocess import Popen
    from typing import IO, Any, Callable, NoReturn, TypeVar

    from typing_extensions import Self, dataclass_transform

    FunctionType = TypeVar("FunctionType", bound=Callable[..., Any])
else:

    def dataclass_transform(**_):
        """Tell type checkers alone that a class makes its `__init__`."""
        return lambda cls: cls


__version__ = "0.1.0"


# == Vocabulary ============================================
# Names, limits and the table of commands.

DEFAULT_IMAGE = "agnohq/pgvector:16"
DEFAULT_DATABASE = "hive"
DEFAULT_HOST_PORT = 5532
DEFAULT_BIND = "127.0.0.1"
USUAL_BINDS = (DEFAULT_BIND, "0.0.0.0")  # every engine has them, and localhost reaches both
DEFAULT_CONTAINER = "hive-postgres"
DEFAULT_ROLE = "postgres"  # of the image, which calls its database so, too
DEFAULT_PGDATA = "/var/lib/postgresql/data"  # of most images, as long as one is not there
IN_MEMORY = "tmpfs:"  # in place of a volume's name
CONTAINER_PORT = 5432
SERVICE = "postgres"
DATA_DIR, BACKUP_DIR = "data/postgres", "backups"
ENV_FILE, ENV_EXAMPLE, STATE_FILE = ".env", ".env.example", ".hive-pg.json"
STDOUT = ("-", "/dev/stdout")  # as the name of a file to write
COMPOSE_FILE = "docker-compose.yml"
COMPOSE_FILES = ("compose.yaml", "compose.yml", COMPOSE_FILE, "docker-compose.yaml")
ADDED_FILE = "docker-compose.hive-pg.yml"  # beside a compose file of somebody's own
PROJECT_LABEL = "com.docker.compose.project"
DIRECTORY_LABEL = f"{PROJECT_LABEL}.working_dir"
CONFIG_FILES_LABEL = f"{PROJECT_LABEL}.config_files"
SERVICE_LABEL = "com.docker.compose.service"
ONEOFF_LABEL = "com.docker.compose.oneoff"  # of `compose run`
GENERATED_LABEL = "hive-pg.generated-by"  # of the containers of a generated compose file
WORKSPACE_LABEL = "hive-pg.workspace"  # the random id of the workspace
FALLBACK_UID = 1000  # of the server, where root acts for nobody: PostgreSQL refuses to be root
FIRST_USER_OID = 16384  # initdb's own objects are below it
SAFE_PGVECTOR = "0.8.2"  # below it: CVE-2026-3172, a buffer overflow in parallel HNSW builds

READY_TIMEOUT_S = 120.0
QUESTION_TIMEOUT_S = 20.0  # for a call that only asks the daemon something
COMPOSE_TIMEOUT_S = 180.0  # `up` may first stop the container that it replaces, for a minute
PULL_TIMEOUT_S = 1800.0
WALK_TIMEOUT_S = 3600.0  # for what touches each file of a cluster
MACHINE_LOCK_TIMEOUT_S = 10.0
WAIT_ROUND_S = 5.0  # how long one `docker exec` waits inside the container
STOP_GRACE_S = 60  # as the compose template has it; a first start may take as long, too
UNLIMITED_S = 86400  # where Docker is to wait for ever
STALL_S = 20.0  # how long a dump may stand still before the server is looked at
LOGIN_TIMEOUT_S = 10  # of the clients in the container
RESERVE_MB = 128  # on the disk of the data, which a restore leaves free

# The keys in `.env` that are hive-pg's.
URL_KEY = "HIVE_DATABASE_URL"
USER_KEY, PASSWORD_KEY, DB_KEY = "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"
UID_KEY, GID_KEY = "POSTGRES_UID", "POSTGRES_GID"
PORT_KEY, CONTAINER_KEY = "HIVE_POSTGRES_PORT", "HIVE_POSTGRES_CONTAINER"
IMAGE_KEY, BIND_KEY = "HIVE_POSTGRES_IMAGE", "HIVE_POSTGRES_BIND"
DATA_KEY, TARGET_KEY = "HIVE_POSTGRES_DATA", "HIVE_POSTGRES_TARGET"
PROJECT_KEY, WORKSPACE_KEY = "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_WORKSPACE"
URL_KEYS = (URL_KEY, USER_KEY, PASSWORD_KEY, DB_KEY, PORT_KEY)
PLACE_KEYS = (UID_KEY, GID_KEY, DATA_KEY, TARGET_KEY)
PRIVATE_KEYS = (USER_KEY, PASSWORD_KEY, *PLACE_KEYS, PROJECT_KEY, WORKSPACE_KEY)
OUR_KEYS = (*URL_KEYS, *PRIVATE_KEYS, CONTAINER_KEY, IMAGE_KEY, BIND_KEY)

# With a shell's own values of these, Compose would act on another project, or other files.
COMPOSE_SELECTORS = frozenset(
    "COMPOSE_PROJECT_NAME COMPOSE_FILE COMPOSE_PATH_SEPARATOR COMPOSE_PROFILES COMPOSE_ENV_FILES"
    " COMPOSE_DISABLE_ENV_FILE COMPOSE_COMPATIBILITY".split()
)
_NAMING_KEYS = ("COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR")
# Values that templates carry in place of a real user or password.
PLACEHOLDERS = frozenset(
    "user username your-user your_user your-username hive_user pass password hive_password"
    " your-password your_password your-secure-password your-secure-password-here changeme"
    " change-me change_me replace-me placeholder example".split()
)
CHECK_POINTS = ("docker", "container", "connections", "credentials", "pgvector", "published port")

# The commands as people read them: usage, a colon, a summary. Options stand below, or below a list
# of commands (`*` for all) that have them: names, a value or a choice, two blanks, the help.
# Each command is a method of CommandLine: `_NAME`.
COMMAND_LINE = f"""\
*
  -q --quiet            only results, warnings and errors
  -v --verbose          show every program that is run
  -C DIR                as if called in DIR, like git -C
init start run restart wait
  --timeout S           how long to wait for the database (default: {READY_TIMEOUT_S:.0f} s)
init start snapshot restore reset pull upgrade destroy
  -y --yes              do not ask
status check env list snapshot
  --json                one JSON object
push pull
  --url-env VARIABLE    which has the URL; else a prompt, or stdin
init [DIR]: set up the database, or mend it, and log in
  --port N              port on this machine (default: {DEFAULT_HOST_PORT}, or the next free one)
  --database NAME       database (default: {DEFAULT_DATABASE})
  --image IMAGE         default: ${IMAGE_KEY}, or {DEFAULT_IMAGE}
  --service SERVICE     the service of your compose file, where several run PostgreSQL
  --bind ADDRESS        address to publish on (default: {DEFAULT_BIND}, for this machine only)
  --data bind|volume    data in {DATA_DIR}, or a volume (default: what works here)
  --no-start            only write the files
  --from DIR            with a copy of another workspace's data
  --attach              the URL in {ENV_FILE} leads to a server elsewhere
  --detach              back to the database here
start [DIR]: start the database if need be, and log in
  -d                    changes nothing; docker compose up has it
  --take-over           serve the data of an engine, or a directory, that is gone
run [DIR] -- CMD ...: start the database; run a command that uses it
  --fresh @NAME         with a database of its own, empty or of a snapshot, dropped at its end
stop [DIR]: stop the database gracefully; the data stays
  --all                 every one of yours that `list` shows, if its directory is here
restart [DIR]: stop the database; start it as the files say
wait [DIR]: wait until the database serves; start nothing
status [DIR]: show state, health, readiness, URL and uptime
check [DIR]: test Docker, container, login, pgvector, port
stats [DIR]: show load, sizes, locks, vacuum, CPU, memory
  --watch S             every S seconds, until Ctrl-C
  --json                one JSON object; with --watch, one a line
logs [DIR]: show PostgreSQL's log, as docker logs does
  -n --tail LINES       lines (default: 50), or all
  -f --follow           go on until Ctrl-C
  --since TIME          10m, or a date and time
  -t --timestamps       with Docker's times
url [DIR]: print the database URL, with its password
  --format sqlalchemy|libpq|asyncpg|jdbc|dotnet  default: sqlalchemy; libpq: psql, Django, Node
psql [DIR] [ARGS ...]: run psql in the database: a prompt, or -c SQL
backup [DIR]: write a dump, and read it back to its end
  -o --output FILE      replaced if there; - is stdout (default: {BACKUP_DIR}/DATABASE-TIME.dump)
snapshot [DIR] [@NAME]: keep a copy in the server, for restore @NAME
  file @NAME            its name (default: the time)
  --list                show the snapshots
  --drop                drop the snapshot @NAME
restore [DIR] FILE: replace the database by a dump; keep the old
  file FILE             a dump or an SQL script, - for stdin; or @NAME, a snapshot
  --no-owner            give everything to the workspace's role
  --drop-old            drop what earlier restores kept
reset [DIR]: empty the database; keep the old one
  --seed FILE           a dump or an SQL script to load into it
push [DIR]: copy the database to a server elsewhere
  --switch              then let {ENV_FILE} lead there
pull [DIR]: copy a database from elsewhere; keep the old
rotate [DIR]: change the password, in the server and in .env
upgrade [DIR]: move to a later major version
  --image IMAGE         an image of that version
  --undo                take the old data again
  --drop-old            delete what was kept
destroy [DIR]: remove the container; the data stays
  --data                delete the data, too, after a backup
  --no-backup           with --data: without a backup
  --purge               as --data, and what init has written
env [DIR]: print variables for programs, with password
  --format shell|powershell|dotenv  default: shell, for eval; dotenv: as in .env
list: show every database of hive-pg on this engine
completion SHELL: print a shell completion script
  shell bash|zsh|fish   the shell
"""
COMMANDS = {  # name: usage, summary
    head.partition(" ")[0]: (head.partition(" ")[2], summary)
    for head, _, summary in (line.partition(": ") for line in COMMAND_LINE.splitlines())
    if summary and head[0] != " "
}
ALIASES = {"up": "start", "down": "stop", "ps": "status", "shell": "psql"}  # `up` may be init


class ExitCode(enum.IntEnum):
    """The exit codes; `--help` has their words from the module's docstring."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    DOCKER_UNAVAILABLE = 4
    UNHEALTHY = 5
    CREDENTIALS_REFUSED = 6
    INTERRUPTED = 130


class ContainerState(enum.Enum):
    """Docker's states, and three of ours: for none, another server's, another engine's."""

    MISSING = "missing"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"

    @classmethod
    def _missing_(cls, value: object) -> ContainerState:
        return cls.EXITED if value == "stopped" else cls.UNKNOWN  # Podman's


class Health(enum.Enum):
    """The engine's own health of a container; it lags by seconds."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"

    @classmethod
    def _missing_(cls, value: object) -> Health:
        return cls.NONE  # Podman's ''


class Readiness(enum.Enum):
    """What `pg_isready` says (0, 1, 2), `unknown` if it cannot be asked."""

    ACCEPTING = "accepting"
    REJECTING = "rejecting"
    NO_RESPONSE = "no response"
    UNKNOWN = "unknown"


class Repair(enum.Enum):
    """What mends a cluster that keeps the application out."""

    PASSWORD = "set the password in .env for its user in the server (ALTER ROLE)"
    DATABASE = "create the database"
    OWNER = "give the data to the user that the server runs as"
    REMAKE = "move the cluster aside, and make a new one"
    REPLACE = "move the cluster aside, which may be whole, and make a new one"


class Outcome(enum.Enum):
    """How a point of `check` ended."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


# == Errors and records ====================================
# Exceptions with their exit codes, and the base of all records.

SECRET_FIELDS = ("password", "environment", "next_password")  # are left out of a `repr`


@dataclass_transform(frozen_default=True)
class Record:
    """An immutable record; a dataclass takes too long to import."""

    def __init__(self, *values: object, **named: object) -> None:
        fields = type(self).__annotations__
        given = {**dict(zip(fields, values)), **named}
        if len(values) > len(fields) or not given.keys() <= fields.keys():
            raise TypeError(f"{type(self).__name__} takes {[*fields]}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.fields() == other.fields()

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.fields().items() if name not in SECRET_FIELDS}
        values = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({values})"

    def fields(self) -> dict[str, Any]:
        """Return the fields by name, in their order."""
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def replace(self, **changes: object) -> Self:
        """Return a copy with other values in some fields."""
        return type(self)(**{**self.fields(), **changes})


class PostgreSQLIntegrationError(Exception):
    """The base of all errors: what failed and why, with the next step.

    In a hint, `{init}` stands for the command, which the console writes as it is called here.
    `detail` has the other program's own words, `repair` says how `init` or `start` can mend it.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self, message: str, hint: str = "", *, detail: str = "", repair: Repair | None = None
    ) -> None:
        super().__init__(message)
        self.hint, self.detail, self.repair = hint, detail, repair


class UsageError(PostgreSQLIntegrationError):
    """The command line is not understood."""

    exit_code = ExitCode.USAGE


class WorkspaceError(PostgreSQLIntegrationError):
    """A file or directory of the workspace cannot be used as it is."""


class NoServiceError(WorkspaceError):
    """The compose file has no PostgreSQL service."""


class EnvFileError(WorkspaceError):
    """`.env`, or the URL in it, cannot be read without guessing."""


class NotSetUpError(PostgreSQLIntegrationError):
    """There is no database yet, or no container, or none that runs."""

    exit_code = ExitCode.NOT_RUNNING


class DockerNotAvailableError(PostgreSQLIntegrationError):
    """Docker or Compose is missing, out of reach or silent."""

    exit_code = ExitCode.DOCKER_UNAVAILABLE


class DockerCommandError(PostgreSQLIntegrationError):
    """Docker answered, and refused."""


class ContainerStartupError(PostgreSQLIntegrationError):
    """The container ended, or keeps restarting."""

    exit_code = ExitCode.UNHEALTHY


class ContainerConflictError(PostgreSQLIntegrationError):
    """Another container has the name, the port or the data."""


class DatabaseConnectionError(PostgreSQLIntegrationError):
    """The server does not accept connections, or not in time."""

    exit_code = ExitCode.UNHEALTHY


class CredentialsRefusedError(DatabaseConnectionError):
    """The server does not accept the credentials in `.env`."""

    exit_code = ExitCode.CREDENTIALS_REFUSED


# == The .env text =========================================
# The grammar is what Compose, python-dotenv and POSIX sh read alike, assignment by assignment; sh
# does not count where lines end with CR LF, as CR is the value's to it. The rest is kept byte for
# byte, and refused only where it decides on a key of ours or Compose's.

_UNLIKE = "Compose, python-dotenv and sh read it differently"
# Another encoding, a byte order mark, a NUL, a carriage return alone.
_ENV_FAULT = r"\A\ufeff|[\0\udc80-\udcff]|\r(?!\n)"
# A blank line, a comment, an assignment to some reader, or what is none to any.
_ENV_LINE = r"""(?xs)[ \t]*(?:
    (?:(?P<plain>(?=(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*=(?![ \t])))|)
    (?P<export>export[ \t]+)?(?P<key>[\w.\-\[\]]+)[ \t]*(?:[=:][ \t]*|(?=\r?\n|\Z))
    (?P<value>(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<unclosed>['"])|\S*)
    (?P<end>(?:(?(quoted)[ \t]|[ ])+\#[^\n]*|[ \t]*)(?=\r?\n|\Z))?[^\n]*
    |(?:\#[^\n]*)?
    |(?P<garbage>[^\n]+)
)(?:\r?\n|\Z)"""
_ENV_BARE = r"(?![#~=])(?:(?<![:=])~|(?<!:)=|[\w!#%+,\-./:@^*?\[\]{}])*"
_ENV_SAFE = r"[A-Za-z0-9_%+,./:@-]*"  # bare, it means itself to every reader
_ENV_REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([A-Za-z0-9_%+,./:@-]*))?\}"
# python-dotenv expands ${...} inside single quotes too, and before 1.2.3 it loses the lines that
# follow a value which ends with a backslash.
_ENV_EXPANDED = r"\$\{(?:[^}:$]|\$(?!\{))*(?::-[^}]*)?\}"
_ENV_SINGLE_UNSAFE = rf"'|\r|\\\\|\\\Z|{_ENV_EXPANDED}"
# To sh, the next line goes on with this one.
_ENV_CONTINUED = r"(?<!\\)(?:\\\\)*\\\n?\Z"
_ENV_DOUBLE = r"(?:[^\\`$\r]|\\[\\\"])*(?<!\\)|[^\\`\r]*"


class EnvItem(Record):
    """One assignment in a `.env` text."""

    key: str
    value: str | None  # None where Compose, python-dotenv and sh do not read the same one
    line: int
    start: int  # of the value, with its quotes
    end: int


def decode_env(data: bytes) -> str:
    """Decode a `.env` file; refuse what readers decode differently."""
    text = data.decode("utf-8", "surrogateescape")
    if found := re.search(_ENV_FAULT, text):
        byte, line = found[0].encode("utf-8", "surrogateescape"), text.count("\n", 0, found.start())
        hint = "save it as plain UTF-8, without a byte order mark, and with line ends of one kind"
        raise EnvFileError(f"{ENV_FILE} line {line + 1} has {byte!r}: {_UNLIKE}", hint)
    return text


def parse_env(text: str, environ: Mapping[str, str]) -> list[EnvItem]:
    r"""Find the assignments in a `.env` text; refuse what Compose rejects.

    >>> parse_env("# c\nexport A='x y' # d\n", {})
    [EnvItem(key='A', value='x y', line=2, start=13, end=18)]
    """
    items: list[EnvItem] = []
    known: dict[str, str | None] = {}
    line, continued = 1, False  # by the line before

    def follow(reference: re.Match[str]) -> str:  # a dollar stays where `environ` may differ
        name, default = reference.groups()
        value = known.get(name, default) or "$"
        alike = environ.get(name, value) == value and re.fullmatch(_ENV_SAFE, value)
        return value if alike else "$"

    for found in re.finditer(_ENV_LINE, text):
        key = found["key"]
        if found["garbage"] or found["unclosed"]:
            said = f"{ENV_FILE} line {line} is no whole assignment: Compose rejects the file"
            raise EnvFileError(said, "write KEY='value' on one line, or make it a comment with #")
        if key:
            alike = None not in found.group("plain", "end") and not continued
            known[key] = _read_env_value(found, follow) if alike else None
            items.append(EnvItem(key, known[key], line, *found.span("value")))
        comment = "#" in (found["end"] or "")
        goes_on = re.search(_ENV_CONTINUED, found[0]) and not comment
        continued = bool((key or continued) and goes_on)
        line += found[0].count("\n")
    return items


def _read_env_value(found: re.Match[str], follow: Callable[[re.Match[str]], str]) -> str | None:
    """Return the value that every reader sees, None where they differ."""
    raw = found["value"]
    if raw.startswith("'"):
        return None if re.search(_ENV_SINGLE_UNSAFE, raw[1:-1]) else raw[1:-1]
    value = re.sub(_ENV_REFERENCE, follow, raw)
    if "$" in value:
        return None
    if raw.startswith('"'):
        alike = re.fullmatch(_ENV_DOUBLE, raw[1:-1])
        return re.sub(r"\\([\\\"])", r"\1", value[1:-1]) if alike else None
    if found["export"] and re.search(r"[*?\[\]{}]", value):
        return None
    return value if re.fullmatch(_ENV_SAFE if "$" in raw else _ENV_BARE, value) else None


def env_values(items: Iterable[EnvItem], required: Iterable[str] = ()) -> dict[str, str]:
    """Return each key's last value; refuse a `required` one that readers differ on."""
    last = {item.key: item for item in items}
    for key in required:
        if key in last and last[key].value is None:
            hint = f"write it as {key}='...': no blanks around =, and no ' $ ` or \\ in it"
            raise EnvFileError(f"{ENV_FILE} line {last[key].line}: {key}: {_UNLIKE}", hint)
    return {key: item.value for key, item in last.items() if item.value is not None}


def format_env_value(value: str, subject: str = "this value") -> str:
    r"""Write a value as every reader reads it; refuse one that cannot be.

    >>> format_env_value("s3cret"), format_env_value("a b"), format_env_value("it's")
    ('s3cret', "'a b'", '"it\'s"')
    """
    if not re.search(rf"[\0\r\n\ud800-\udfff]|\\\Z|{_ENV_EXPANDED}", value):
        if value and re.fullmatch(_ENV_SAFE, value):
            return value
        if not re.search(_ENV_SINGLE_UNSAFE, value):
            return f"'{value}'"
        if not re.search("[`$]", value):
            return '"' + re.sub(r"([\\\"])", r"\\\1", value) + '"'
    said = f"no spelling in {ENV_FILE} carries {subject} to Compose, python-dotenv and sh alike"
    hint = "choose UTF-8 without line ends, ${...}, a final \\, or ' or \\\\ together with ` or $"
    raise EnvFileError(said, hint)


def edit_env(text: str, items: Sequence[EnvItem], changes: Mapping[str, str]) -> str:
    r"""Return `text` with the last item of each key of `changes` set.

    >>> text = "A='1' # one\nB=2"
    >>> edit_env(text, parse_env(text, {}), {"A": "3", "C": "x y"})
    "A=3 # one\nB=2\nC='x y'\n"
    """
    present = env_values(items, required=changes)
    changed = any(present.get(key, value) != value for key, value in changes.items())
    last = {item.key: item for item in items if item.key in changes}
    for key, item in sorted(last.items(), key=lambda pair: -pair[1].start):
        refers = changed and "$" in text[item.start : item.end]  # to a value that may change
        if refers or changes[key] != present[key]:
            text = text[: item.start] + format_env_value(changes[key]) + text[item.end :]
    end = "\r\n" if "\r\n" in text else "\n"
    added = [f"{key}={format_env_value(changes[key])}{end}" for key in changes if key not in last]
    separator = end if text and not text.endswith("\n") else ""
    separator += end * bool(re.search(_ENV_CONTINUED, text))  # or sh would read on
    return text + separator * bool(added) + "".join(added)


def remove_keys(text: str, items: Sequence[EnvItem], keys: set[str]) -> str:
    r"""Return `text` without the lines of some keys.

    >>> text = "A='1' # one\nB=2\n"
    >>> remove_keys(text, parse_env(text, {}), {"A"})
    'B=2\n'
    """
    for item in reversed(items):
        if item.key in keys:
            start = text.rfind("\n", 0, item.start) + 1
            text = text[:start] + text[item.end :].partition("\n")[2]
    return text


def blank_example(text: str, environ: Mapping[str, str]) -> str:
    r"""Take out of `.env.example` what each workspace has of its own.

    >>> blank_example("A=b\nPOSTGRES_PASSWORD=known # by all", {})
    "A=b\nPOSTGRES_PASSWORD='' # by all"
    """
    items = parse_env(text, environ)
    values = env_values(items, required=(*PRIVATE_KEYS, URL_KEY, BIND_KEY))
    url = re.sub("//.*@", "//user:password@", values.get(URL_KEY, ""))
    blank = {**dict.fromkeys(PRIVATE_KEYS, ""), URL_KEY: url, BIND_KEY: DEFAULT_BIND}
    return edit_env(text, items, {key: blank[key] for key in blank if values.get(key)})


# == URLs and settings =====================================
# The application's URL, and what else `.env` says.


class DatabaseURL(Record):
    """The application's way to its database, every part decoded."""

    user: str
    password: str
    host: str = "localhost"
    port: int = DEFAULT_HOST_PORT
    database: str = DEFAULT_DATABASE
    driver: str = "psycopg"  # in the scheme, after the plus sign
    query: str = ""  # the raw text after the question mark

    @property
    def options(self) -> dict[str, str]:
        """The query's options; the last of a name counts, as in libpq."""
        pairs = (pair.partition("=")[::2] for pair in self.query.split("&") if pair)
        found = {name: _decode_percent(value) for name, value in pairs}
        if self.driver == "asyncpg" and found.get("ssl", "true").lower() not in ("true", "false"):
            found["sslmode"] = found.pop("ssl")  # SQLAlchemy's word
        return found

    @property
    def unchecked(self) -> str:
        """The options that only another driver knows, in words."""
        names = ", ".join(sorted(self.options.keys() - LIBPQ_OPTIONS))
        return f"{URL_KEY} has {names}, which only {self.driver} can check" if names else ""

    def __repr__(self) -> str:  # for people to see
        return build_database_url(self.replace(password="x")).replace(":x@", ":****@", 1)


class Settings(Record):
    """The settings in `.env`, complete and free of contradiction."""

    url: DatabaseURL
    uid: int
    gid: int
    container: str
    project: str
    image: str = ""
    bind: str = ""
    workspace: str = ""
    data: str = ""  # or "volume", which is the image's own user's
    target: str = ""  # where the data is mounted

    def with_password(self, password: str) -> Settings:
        """Return the same settings with another password."""
        return self.replace(url=self.url.replace(password=password))

    @property
    def env(self) -> dict[str, str]:
        """hive-pg's variables in `.env`, in the order of a new file."""
        values = {
            **build_environment(self.url),
            UID_KEY: "" if self.data else str(self.uid),
            GID_KEY: "" if self.data else str(self.gid),
            CONTAINER_KEY: self.container,
            PROJECT_KEY: self.project,
            WORKSPACE_KEY: self.workspace,
            IMAGE_KEY: self.image,
            BIND_KEY: self.bind,
            DATA_KEY: self.data,
            TARGET_KEY: self.target,
        }
        return {k: value for k, value in values.items() if value or k in PLACE_KEYS}


DATABASE_NAME, _NAME_RULE = r"[A-Za-z0-9_.-]{1,63}", "letters, digits and _ . - only, 63 at most"
_USERINFO = r"((?:[A-Za-z0-9._~!$&'()*+,;=-]|%(?!00)[0-9A-Fa-f]{2})+)"
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_PAIR = (
    r"(?!(?:user|[a-z_]*(?:password|secret|token)|passfile|host|hostaddr|port|dbname|service)=)"
    r"[a-z_]+=(?:[A-Za-z0-9_.,/:-]|%(?!00)[0-9A-Fa-f]{2})*"
)
# What libpq 18 knows, but for what _PAIR refuses. These have a variable each: PGSSLMODE.
_LEADING_OPTIONS = (
    "channel_binding gssdelegation gssencmode gsslib krbsrvname load_balance_hosts"
    " max_protocol_version min_protocol_version options require_auth requirepeer"
    " ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl"
    " sslcrldir sslkey sslmode sslnegotiation sslrootcert sslsni target_session_attrs".split()
)
LIBPQ_OPTIONS = frozenset(
    "application_name client_encoding connect_timeout fallback_application_name keepalives"
    " keepalives_count keepalives_idle keepalives_interval replication sslkeylogfile"
    " tcp_user_timeout".split()
).union(_LEADING_OPTIONS)
_VARIABLES = {name: f"PG{name.upper().replace('_', '')}" for name in _LEADING_OPTIONS}
# Those by which a shell may lead elsewhere than the URL, or log in otherwise.
# Source: https://www.postgresql.org/docs/16/libpq-envars.html
LEADING_VARIABLES = {*"PGHOSTADDR PGPASSFILE PGREQUIRESSL PGSERVICE PGSERVICEFILE".split()}
LEADING_VARIABLES |= {*_VARIABLES.values()}
# Libpq's options that drivers have, as NAME or NAME=THEIRS.
_DRIVERS = {
    "libpq": " ".join(LIBPQ_OPTIONS),
    "asyncpg": "application_name options sslcert sslkey sslmode sslrootcert",
    "jdbc": "options sslmode sslrootcert",
    "dotnet": "options=Options sslmode=SSLMode sslrootcert=RootCertificate",
}
# What SQLAlchemy, libpq, asyncpg and urlsplit read alike, part by part.
_URL_PARTS = {
    "scheme": (r"(postgres(?:ql)?(?:\+[a-z0-9_]+)?)://", "postgresql+psycopg"),
    "user": (_USERINFO + r"(?=(?::[^@]*)?@)", "percent-encoded, as in p%40ss"),
    "password": (f":{_USERINFO}@", "percent-encoded, as in p%40ss"),
    "host": (r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?=[:/?]|\Z)", "one name or address"),
    "port": (rf"(?::({_PORT}))?(?=[/?]|\Z)", "a number from 1 to 65535"),
    "database": (rf"/({DATABASE_NAME})(?=\?|\Z)", _NAME_RULE),
    "query": (rf"(?:\?((?:{_PAIR}(?:&(?!\Z)|\Z))*))?\Z", "libpq's name=value, percent-encoded"),
}


def shorten_url(text: str) -> str:
    """Write a masked URL without its driver and most of a long user.

    >>> shorten_url("postgresql+psycopg://JOGsiFFOWxvk6chn:****@localhost:5532/hive")
    'postgresql://JOGs…:****@localhost:5532/hive'
    """
    text = re.sub(r"^(postgresql)\+\w+", r"\1", text)
    return re.sub("//([^:@]{4})[^:@]{5,}:", r"//\1…:", text)


def parse_database_url(text: str, subject: str = URL_KEY) -> DatabaseURL:
    """Read a URL that SQLAlchemy and libpq read alike; `subject` begins the error.

    >>> parse_database_url("postgresql+psycopg://u:p%40ss@localhost:5532/hive").password
    'p@ss'
    """
    parts, at = [], 0
    for name, (pattern, rule) in _URL_PARTS.items():
        found = re.compile(pattern).match(text, at)
        if not found or re.search("[\udc80-\udcff]", _decode_percent(found[0])):
            said = f"{subject}: its {name} is missing, or not read alike by SQLAlchemy and libpq"
            hint = f"{name}: {rule}; in all: postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
            raise EnvFileError(said, hint)
        parts.append(found[1] or "")
        at = found.end()
    scheme, user, password, host, port, database, query = parts
    user, password, host = _decode_percent(user), _decode_percent(password), host.strip("[]")
    number, driver = int(port or CONTAINER_PORT), scheme.partition("+")[2]
    url = DatabaseURL(user, password, host, number, database, driver, query)
    unknown = ", ".join(sorted(url.options.keys() - LIBPQ_OPTIONS))
    if unknown and (not driver or driver.startswith("psycopg")):
        hint = "query: libpq's own key words; for asyncpg's, postgresql+asyncpg://"
        said = f"{subject}: its query is not libpq's, which does not know {unknown}"
        raise EnvFileError(said, hint)
    return url


def build_database_url(url: DatabaseURL) -> str:
    """Write a URL so that every reader takes it apart alike.

    >>> build_database_url(DatabaseURL("u", "p@ss"))
    'postgresql+psycopg://u:p%40ss@localhost:5532/hive'
    """
    scheme = f"postgresql+{url.driver}" if url.driver else "postgresql"
    host = f"[{url.host}]" if ":" in url.host else url.host
    query = f"?{url.query}" if url.query else ""
    user, password = _encode_percent(url.user), _encode_percent(url.password)
    return f"{scheme}://{user}:{password}@{host}:{url.port}/{url.database}{query}"


def format_database_url(url: DatabaseURL, form: str) -> tuple[str, list[str]]:
    """Write a URL as a driver takes it; return what is left out, too."""
    words = dict(word.partition("=")[::2] for word in _DRIVERS[form].split())
    options = {words[key] or key: value for key, value in url.options.items() if key in words}
    left = sorted(url.options.keys() - words)
    if form == "dotnet":
        values = {"Host": url.host, "Port": str(url.port), "Database": url.database}
        values |= {"Username": url.user, "Password": url.password, **options}
        if "SSLMode" in values:
            values["SSLMode"] = values["SSLMode"].replace("-", "")
        quoted = {key: value.replace('"', '""') for key, value in values.items()}
        return ";".join(f'{key}="{value}"' for key, value in quoted.items()), left
    if form == "jdbc":
        options = {"user": url.user, "password": url.password, **options}
    query = "&".join(f"{key}={_encode_percent(value)}" for key, value in options.items())
    text = build_database_url(url.replace(driver="", query=query))
    return re.sub(".*@", "jdbc:postgresql://", text) if form == "jdbc" else text, left


def _decode_percent(text: str) -> str:
    """Decode a part of a URL; bad UTF-8 becomes lone surrogates."""
    data = re.sub(b"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return data.decode("utf-8", "surrogateescape")


def _encode_percent(text: str) -> str:
    return re.sub(rb"[^\w.-]", lambda match: b"%%%02X" % ord(match[0]), text.encode()).decode()


def build_environment(url: DatabaseURL) -> dict[str, str]:
    """Return the variables of `.env` that a URL decides on."""
    text = build_database_url(url)
    return dict(zip(URL_KEYS, (text, url.user, url.password, url.database, str(url.port))))


def build_client_environment(url: DatabaseURL) -> dict[str, str]:
    """Return the variables for applications and libpq's programs."""
    return {
        "DATABASE_URL": format_database_url(url, "libpq")[0],
        URL_KEY: build_database_url(url),
        "PGHOST": url.host,
        "PGPORT": str(url.port),
        "PGUSER": url.user,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        **{_VARIABLES[name]: value for name, value in url.options.items() if name in _VARIABLES},
    }


def has_login(values: Mapping[str, str]) -> bool:
    """Whether `.env` has a user and a password of its own."""
    url = plan_database_url(values, DatabaseURL("", ""), has_data=False)
    return bool(url.user and url.password)


def plan_database_url(values: Mapping[str, str], fresh: DatabaseURL, has_data: bool) -> DatabaseURL:
    """Return the URL of `.env`; what it lacks comes from `fresh`."""
    if values.get(URL_KEY):
        url = parse_database_url(values[URL_KEY])
    else:
        user, password = values.get(USER_KEY, ""), values.get(PASSWORD_KEY, "")
        port = parse_number(values, PORT_KEY, fresh.port, range(1, 65536))
        database = values.get(DB_KEY) or fresh.database
        url = fresh.replace(user=user, password=password, port=port, database=database)

    def choose(value: str, new: str) -> str:
        return value if value and (has_data or value.lower() not in PLACEHOLDERS) else new

    user, password = choose(url.user, fresh.user), choose(url.password, fresh.password)
    return url.replace(user=user, password=password)


def check_carried(url: DatabaseURL) -> None:
    """Make sure that `.env` and the URL in it carry a URL unchanged."""
    for key, value in ((USER_KEY, url.user), (PASSWORD_KEY, url.password)):
        format_env_value(value, key)
    if parse_database_url(build_database_url(url)) != url:
        raise EnvFileError(f"{URL_KEY} cannot carry these credentials", "choose others")


def parse_number(values: Mapping[str, str], key: str, default: int, allowed: range) -> int:
    """Read a number of `.env`."""
    text = values.get(key) or str(default)
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) not in allowed:
        hint = f"make it a number from {allowed[0]} to {allowed[-1]}"
        raise EnvFileError(f"{ENV_FILE}: {key} is {text!r}", hint)
    return int(text)


def check_agreement(values: Mapping[str, str], url: DatabaseURL, keys: Sequence[str]) -> None:
    """Make sure that none of `keys` in `.env` contradicts the URL."""
    for key, value in build_environment(url).items():
        if key in keys and values.get(key, value) != value:
            hint = "put the same into both"
            if not is_local(url.host):
                hint += f"; for the server on {url.host}: {{init}} --attach"
            raise EnvFileError(f"{ENV_FILE}: {key} and {URL_KEY} disagree", hint)


def parse_settings(values: Mapping[str, str], *, attached: bool = False) -> Settings:
    """Read the settings of a workspace that is set up, or `attached`."""
    needed = (URL_KEY, CONTAINER_KEY, PROJECT_KEY)[: 1 if attached else None]
    missing = [key for key in needed if not values.get(key)]
    if missing:
        said = f"not set up: {ENV_FILE} has no {' and no '.join(missing)}"
        raise NotSetUpError(said, "{init}")
    url = parse_database_url(values[URL_KEY])
    if not attached:  # else the rest is of the database here
        check_agreement(values, url, URL_KEYS[1:])
    uid, gid = (parse_number(values, k, FALLBACK_UID, range(2**32)) for k in (UID_KEY, GID_KEY))
    keys = (CONTAINER_KEY, PROJECT_KEY, IMAGE_KEY, BIND_KEY, WORKSPACE_KEY, DATA_KEY, TARGET_KEY)
    return Settings(url, uid, gid, *(values.get(key, "") for key in keys))


def is_local(host: str) -> bool:
    """Whether a URL's host is this machine for certain."""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", host))


def generate_credentials() -> tuple[str, str]:
    """Return a user of 16 and a password of 32 letters and digits."""
    import secrets
    import string

    letters = string.ascii_letters
    text = "".join(secrets.choice(letters + string.digits) for _ in range(47))
    return secrets.choice(letters) + text[:15], text[15:]


# == The operating system ==================================
# All that differs by it, behind what says what it is for. Python shows neither modes nor owners on
# Windows, where a file that is open can be neither moved nor removed.

WINDOWS = os.name == "nt"
if WINDOWS:  # or a docker.exe that lies here is run
    os.environ.setdefault("NoDefaultCurrentDirectoryInExePath", "1")
HAS_MODES = OPEN_FILES_MOVE = not WINDOWS
LOCALHOST = "127.0.0.1" if WINDOWS else "localhost"  # Docker Desktop lets ::1 wait for 20 s there
PYTHON = "python" if WINDOWS else "python3"
TEMPORARY = os.environ.get("TEMP", ".") if WINDOWS else "/tmp"
# A file of our own is nobody's link or pipe, and has the line ends that it is given.
OWN_FILE = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
PORT_TAKEN = (errno.EADDRINUSE, errno.EACCES) if WINDOWS else (errno.EADDRINUSE,)
_LOCKED_BYTE = 1 << 30  # behind all text, as nobody can read what is locked on Windows
_TYPED_THERE = {  # in cmd and in PowerShell
    r"sudo systemctl (?:re)?start docker, or ": "",
    r"sudo usermod -aG docker \$USER": "join the group docker-users",
    r"ss -ltnp(?: '[^']*')?": "netstat -ano",
    r"ls -ld?\b": "dir",
    "mkdir -p": "mkdir",
    r"(?<![a-z] )\brm (?!-)": "del ",
    r"chmod u\+w": "attrib -r",
    r"(?:chmod u\+rwX|sudo chown \$USER:) (.*), or, if .*": r"close what has it open; icacls \1",
    "type -a": "where.exe",
    r": (?:fuser -v|df -h)[^;]*": "",
    r'eval "\$\((.*?)\)"': r"\1 --format powershell | Out-String | Invoke-Expression",
}


def quote_sh(text: str) -> str:
    """Quote a word for sh."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", text):  # shlex takes long
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def quote_powershell(text: str) -> str:
    """Quote a word for PowerShell, which takes four more letters for a quote.

    >>> quote_powershell("it's $1")
    "'it''s $1'"
    """
    return "'" + re.sub("['\u2018-\u201b]", r"\g<0>\g<0>", text) + "'"


def quote_word(text: str) -> str:
    """Quote a word for this system's shells."""
    if not WINDOWS:
        return quote_sh(text)
    return text if re.fullmatch(r"[\w.:\\/@%+=-]+", text) else f'"{text}"'


def translate_commands(text: str) -> str:
    """Write a hint's commands as this system has them."""
    for ours, theirs in _TYPED_THERE.items() if WINDOWS else ():
        text = re.sub(ours, theirs, text)
    return text


def has_escapes() -> bool:
    """Whether a terminal here understands escape sequences."""
    return not WINDOWS or bool({"WT_SESSION", "TERM", "TERM_PROGRAM", "ANSICON"} & {*os.environ})


def is_path(text: str) -> bool:
    """Whether a text is an absolute path of some system."""
    return bool(re.match(r"/|[A-Za-z]:[\\/]|\\\\", text))


def is_foreign_path(text: str) -> bool:
    """Whether a path is another system's, which leads nowhere here."""
    return bool(re.match("/" if WINDOWS else r"[A-Za-z]:[\\/]|\\\\", text))


def get_user() -> tuple[int, int]:
    """Return our uid and gid; on Windows root's, as those of all files."""
    return (0, 0) if WINDOWS else (os.geteuid(), os.getegid())


def is_root() -> bool:
    """Whether we may give files away."""
    return HAS_MODES and os.geteuid() == 0


def name_user(uid: int) -> str:
    """Return the name of a user of this machine, '' for none."""
    with suppress(ImportError, KeyError):
        import pwd

        return pwd.getpwuid(uid).pw_name
    return ""


def read_machine() -> tuple[str, str]:
    """Return the system, and the machine's name."""
    return ("Windows", os.environ.get("COMPUTERNAME", "")) if WINDOWS else os.uname()[:2]


def set_mode(file: str | int, mode: int) -> int:
    """Set a file's mode as far as its file system keeps any; return what it is."""
    if not HAS_MODES:
        return mode
    try:
        os.chmod(file, mode)
    except OSError as error:  # FAT refuses what it cannot keep; others say nothing
        refused = error.errno in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS)
        if not refused or (not is_root() and os.stat(file).st_uid != get_user()[0]):
            raise OSError(error.errno, error.strerror) from None  # without a descriptor as name
    return os.stat(file).st_mode & 0o777


def lock_file(descriptor: int) -> OSError | None:
    """Lock an open file; return why not: BlockingIOError if it is locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return BlockingIOError() if WINDOWS else error  # whose errno under Wine is an earlier one
    return None


def end_lock(descriptor: int, path: str) -> None:
    """Remove and close a locked file, so that nobody gets it without its name."""
    if WINDOWS:  # in this order; while somebody waits for it, it stays
        os.close(descriptor)
    with suppress(OSError):
        os.unlink(path)
    if not WINDOWS:
        os.close(descriptor)


def let_go(file: IO[bytes]) -> None:
    """Close a file where it could else not be moved or removed."""
    if WINDOWS:
        file.close()


def replace_file(file: IO[bytes], path: str, target: str) -> None:
    """Put a file of ours in another's place; on Windows wait a second where that is open."""
    let_go(file)
    deadline = time.monotonic() + 1
    while True:
        try:
            return os.replace(path, target)
        except PermissionError:
            if not WINDOWS or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def sync_directory(path: str) -> None:
    """Write a directory to the disk: its names survive a power cut."""
    if not WINDOWS:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a VirtualBox share
                raise
        finally:
            os.close(descriptor)


def is_reader_gone(error: OSError) -> bool:
    """Whether nobody reads any more what we write."""
    return isinstance(error, BrokenPipeError) or (WINDOWS and error.errno == errno.EINVAL)


# == Console ===============================================
# What people see: sizes, tables, colours, progress, questions.


def format_hint(text: str, program: str = "hive-pg", directory: str = ".") -> str:
    """Write the commands in a text as a person would type them.

    >>> format_hint("{init} --port N, or stop it", directory="app")
    'hive-pg init app --port N, or stop it'
    """
    place = "" if directory == "." else f" {quote_word(directory)}"

    def write(found: re.Match[str]) -> str:
        return f"{program} {found[1]}{place * ('DIR' in COMMANDS[found[1]][0])}"

    return re.sub(rf"\{{({'|'.join(COMMANDS)})\}}", write, text)


def format_commands(text: str, write: Callable[[str], str], width: int) -> str:
    """Align lines of `COMMAND: what it does`, or leave that out."""
    rows = [line.split(": ") for line in text.splitlines()]
    commands = [write(command) for command, _ in rows]
    column = max(map(len, commands)) + 4
    lines = [f"  {command:<{column}}{told}" for command, (_, told) in zip(commands, rows)]
    return "\n".join(x if len(x) <= width else x[:column].rstrip() for x in lines)


def last_line(text: str) -> str:
    """Return the last line that is not blank, '' for none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def format_size(size: float) -> str:
    """Write a size in units of 1024, as PostgreSQL does.

    >>> format_size(512), format_size(12900000), format_size(1048570)
    ('512 B', '12.3 MB', '1.0 MB')
    """
    unit, units = "B", ["TB", "GB", "MB", "kB"]
    while round(size, 1) >= 1024 and units:
        size, unit = size / 1024, units.pop()
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> format_duration(42), format_duration(3 * 3600 + 62), format_duration(90000)
    ('42 s', '3 h 1 min', '1 d 1 h')
    """
    rest = int(seconds)
    counts = {"d": rest // 86400, "h": rest // 3600 % 24, "min": rest // 60 % 60, "s": rest % 60}
    return " ".join([f"{count} {unit}" for unit, count in counts.items() if count][:2]) or "0 s"


def format_stamp(moment: float) -> str:
    """Write a time for a name: to the second, in UTC."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


def format_table(rows: Sequence[Sequence[str]], width: int, keep: int = sys.maxsize) -> str:
    """Align columns below their heads; numbers stand to the right.

    To fit `width`, columns behind the first `keep` go, then the first one is cut.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    while len(widths) > keep and min(widths[0], 24) + sum(w + 2 for w in widths[1:]) > width:
        widths.pop()
    widths[0] = min(widths[0], max(width - sum(w + 2 for w in widths[1:]), 12))
    counts = [all(re.match("[-0-9]", cell) for cell in column) for column in zip(*rows[1:])]
    lines = []
    for row in rows:  # the end of a path tells more than its beginning
        cells = [c if len(c) <= w else f"...{c[3 - w :]}" for c, w in zip(row, widths)]
        cells = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, counts)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def format_json(value: object, indent: int | None = 2, *, ensure_ascii: bool = True) -> str:
    """Write one JSON value; a record is its fields by name."""
    import json

    def plain(item: Any) -> object:
        return item.value if isinstance(item, enum.Enum) else item.fields()

    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii, default=plain)


def printable(text: str, kept: str = "") -> str:
    r"""Write what a terminal would act on, but `kept` letters, as escapes.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


class Console:
    """Results go to stdout, everything else to stderr."""

    command = "a program"  # that this process is, as others may want to know who wait for it

    def __init__(
        self, quiet: bool = False, verbose: bool = False, program: str = "hive-pg", path: str = "."
    ) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.program, self.path = program, path  # how hive-pg and the workspace are named here
        self._line_end = "\n"  # of what was printed last: '' for the line of `tick` that moves
        self._next_tick = 0.0
        self.doing()

    def format(self, text: str) -> str:
        """Write the commands in a text as they work here."""
        return translate_commands(format_hint(text, self.program, self.path))

    def result(self, text: str, *, shown: bool = False, exact: bool = False) -> None:
        """Print a result in one piece, as programs want it."""
        if sys.stdout is None:
            raise WorkspaceError("there is no stdout")
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        if exact and text.encode(encoding, "ignore").decode(encoding) != text:
            raise WorkspaceError(f"stdout is {encoding}: set PYTHONIOENCODING=utf-8")
        self.clear()
        try:
            print((self._show(text, sys.stdout) if shown else text) + "\n", end="", flush=True)
        except OSError as error:
            error.filename = "stdout"
            raise

    def step(self, text: str) -> None:
        """Say that a step is done."""
        self.note(f"{SYMBOLS[Outcome.PASSED]} {text}")
        self.doing()

    def note(self, text: str) -> None:
        """Print a line of progress for a person."""
        if not self.quiet:
            self._print(text)

    def doing(self, text: str = "asking Docker") -> None:
        """Name what goes on from now on, for `tick`."""
        self._doing, self._since = text, time.monotonic()

    def tick(self, done: str = "") -> None:
        """Show what goes on, for how long, and how much is `done`.

        On a terminal one line moves, after half a second; elsewhere a line comes every ten.
        """
        now, draws = time.monotonic(), can_draw(sys.stderr)
        elapsed, (first, period) = now - self._since, (0.5, 0.1) if draws else (5.0, 10.0)
        if self._doing and not self.quiet and elapsed >= first and now >= self._next_tick:
            self._next_tick = now + period
            took = f"{elapsed:.1f} s" if elapsed < 60 else format_duration(elapsed)
            text = f"{self._doing} … {done}{took}"
            self._print(text[: terminal_width(sys.stderr) - 1], end="" if draws else "\n")

    def clear(self) -> None:
        """Take the line of `tick` away, before something else is written."""
        if not self._line_end:
            self._print("", end="")
            self._line_end = "\n"

    def warn(self, text: str) -> None:
        """Print a warning, also when quiet."""
        self._print(f"warning: {text}")

    def interrupted(self, left: str) -> None:
        """Say what Ctrl-C left, over the ^C of the terminal."""
        self._line_end = "" if is_terminal(sys.stderr) else self._line_end
        self.warn(f"interrupted{self.format(left)}")

    def error(self, error: PostgreSQLIntegrationError) -> None:
        """Print an error, the other program's last 20 lines, and the hint."""
        detail = [f"    {line}" for line in error.detail.splitlines() if line.strip()][-20:]
        if len(detail) == 1 and str(error).endswith(detail[0].strip().removeprefix("ERROR:  ")):
            detail = []
        hint = [f"hint: {self.format(error.hint)}"] if error.hint else []
        self._print("\n".join([f"error: {error}", *detail, *hint]))

    def trace(self, argv: Sequence[str]) -> None:
        """Show a command before it runs, with -v."""
        if self.verbose:
            words = (re.sub(r"\n.*", " ...", word, flags=re.DOTALL) for word in argv)
            self._print("+ " + " ".join(map(quote_word, words)))

    def confirm(self, question: str, *, enter: bool = True) -> bool:
        """Ask a person; what Enter means is in capitals."""
        answer = self.ask(f"{question} [{'Y/n' if enter else 'y/N'}]")
        return answer is not None and answer.lower() in ("", "y", "yes")[not enter :]

    def ask(self, question: str) -> str | None:
        """Return a person's answer, None at the end of the input."""
        self._print(question, end=" ")
        answer = ""
        try:
            answer = sys.stdin.readline()
        finally:
            if not answer.endswith("\n"):  # Ctrl-C or the end
                self._print("")
            self._since = time.monotonic()
        return answer.strip() if answer.endswith("\n") else None

    def _show(self, text: str, stream: Any) -> str:
        """Write a text in colours, and harmless to a terminal."""
        text = printable(text, "\n\t")
        if "utf" not in str(getattr(stream, "encoding", "")).lower():
            text = text.translate(_PLAIN)
        # Source: https://no-color.org, https://force-color.org.
        if not os.environ.get("NO_COLOR") and (os.environ.get("FORCE_COLOR") or can_draw(stream)):
            commands = "|".join(re.escape(self.format(f"{{{name}}}")) for name in COMMANDS)
            commands = rf"(?:{commands})(?!\w)(?: -[\w-]*(?: [A-Z]+\b)?)*"
            for pattern, color in {**_COLORS, commands: 36}.items():
                text = re.sub(pattern, f"\x1b[{color}m\\g<0>\x1b[m", text)
        return text

    def _print(self, text: str, end: str = "\n") -> None:
        clear = "" if self._line_end else "\r\x1b[K"
        with suppress(OSError, ValueError):  # the reader is gone
            print(clear + self._show(text, sys.stderr), end=end, file=sys.stderr, flush=True)
        self._line_end = end


SYMBOLS = dict(zip(Outcome, "✓!✗-"))
_PLAIN = str.maketrans({"✓": "ok", "✗": "FAIL", "…": "..."})
_COLORS = {  # how lines begin that are green, yellow, red
    r"(?m)^(?:✓|ok)(?= )": 32,
    r"(?m)^(?:!|warning:)(?= )": 33,
    r"(?m)^(?:✗|FAIL|error:)(?= )": 31,
}


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal, and open."""
    return bool(stream and not getattr(stream, "closed", False) and stream.isatty())


def can_draw(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal that can write over what it shows."""
    return is_terminal(stream) and has_escapes() and os.environ.get("TERM") != "dumb"


def is_interactive() -> bool:
    """Whether a person sits at the terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def terminal_width(stream: IO[str] | None) -> int:
    """Return the columns of a terminal, any number for a file."""
    if not is_terminal(stream):
        return sys.maxsize
    import shutil

    return shutil.get_terminal_size().columns or 80  # which Python 3.9 leaves at 0


# == Files and locks =======================================
# Files replaced at once, locks, facts of this machine.

# What helps where a file cannot be had; `place` is it, or the directory that bars the way.
_FILE_REMEDIES = {
    errno.EACCES: "chmod u+rwX {place}, or, if it is another user's: sudo chown $USER: {place}",
    errno.EPERM: "sudo chown $USER: {path}, or, if it is immutable: sudo chattr -i {path}",
    errno.ENOSPC: "free space: df -h {place}",
    errno.EDQUOT: "free space of your own: quota -s",
    errno.EROFS: "mount it for writing: df -h {place}",
    errno.EISDIR: "mv {place} {place}.old; Docker makes a directory where it mounts a missing file",
    errno.ELOOP: "rm {path}",
    errno.ENOENT: "mkdir -p {place}",
}
_GONE = (FileNotFoundError, NotADirectoryError)


@contextmanager
def explaining(action: str, path: str) -> Iterator[None]:
    """Say what the system refuses to do with a file, and what helps."""
    try:
        yield
    except OSError as error:
        target, at = realpath(path), realpath(error.filename or path)
        place = at if lexists(at) else dirname(at)
        while error.errno == errno.EACCES and not lexists(place):  # behind one that is closed
            place = dirname(place)
        link = "" if target == path else f", a link to {target}"
        remedy = _FILE_REMEDIES.get(error.errno or 0, "ls -ld {place}")
        barred = error.errno == errno.EACCES and place != at
        if barred and os.stat(place).st_uid != get_caller()[0]:
            if action == "create":
                remedy = "sudo mkdir -p {path}; sudo chown $USER: {path}"
            elif place.count("/") < 2:
                remedy = "name another place: {place} is the system's"
        hint = remedy.format(path=quote_word(path), place=quote_word(place))
        said = f"cannot {action} {path}{link}: {error.strerror}"
        raise WorkspaceError(said, hint) from None


def read_file(path: str) -> bytes | None:
    """Return a file's bytes, None where there is no such file."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):  # a pipe
        raise WorkspaceError(f"cannot read {path}: it is no file", f"ls -l {quote_word(path)}")
    refuse_strangers(path, "read")
    with explaining("read", path), suppress(*_GONE), open(path, "rb") as file:
        return file.read()
    return None


def write_file(path: str, text: str, mode: int | None = None) -> None:
    """Replace a file's text at once and for good, as `replacement` does."""
    with explaining("write", path), replacement(path, mode) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


@contextmanager
def replacement(path: str, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Give a new file that takes the place of `path` at the end.

    It is locked while it is written. A link stays one; an existing file keeps its owner and,
    without `mode`, its mode; under sudo a new one is the caller's.

    Raises: OSError; WorkspaceError for a read-only file.
    """
    refuse_strangers(path)
    target = realpath(path)
    status = os.stat(target) if lexists(target) else None
    if status and not status.st_mode & 0o200:  # root could replace it all the same
        hint = f"chmod u+w {quote_word(target)}"
        raise WorkspaceError(f"cannot write {target}: it is read-only", hint)
    owner = (status.st_uid, status.st_gid) if status else get_caller()
    usual = status.st_mode & 0o777 if status else 0o644
    temporary = remove_leftover(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | OWN_FILE
    with open(os.open(temporary, flags, 0o600), "wb") as file:
        try:
            lock_file(file.fileno())
            os.scandir(dirname(target)).close()  # to be synced
            if owner != get_user():
                os.fchown(file.fileno(), *owner)
            yield file
            file.flush()
            set_mode(file.fileno(), usual if mode is None else mode)
            os.fsync(file.fileno())
            replace_file(file, temporary, target)
            sync_directory(dirname(target))
        except BaseException:
            let_go(file)
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def refuse_strangers(path: str, action: str = "write") -> None:
    """Refuse to read or write what a stranger put into a shared place."""
    place, places = os.path.abspath(path), [realpath(path)]
    while place != dirname(place):
        places += [place] * islink(place)
        place = dirname(place)
    for place in filter(lexists, places):
        try:
            directory, owner = os.stat(dirname(place)), os.lstat(place).st_uid
        except FileNotFoundError:  # a lock that went with its holder
            continue
        own = (0, directory.st_uid, get_caller()[0])
        others = 0o002 if action == "read" else 0o022  # a team's checkout is read
        if directory.st_mode & others and owner not in own:
            why = f"cannot {action} {path}: {place} is another user's, where others may write"
            hint = f"if it is right: sudo chown $USER: {quote_word(place)}"
            raise WorkspaceError(why, hint)


def remove_leftover(path: str) -> str:
    """Remove what a killed `replacement` has left; return its path."""
    temporary = f"{realpath(path)}.hive-pg.tmp"
    if is_locked(temporary):
        raise WorkspaceError(f"another hive-pg is writing {path}", "wait, or name another file")
    if lexists(temporary):  # a read-only file system refuses even to look for it
        with explaining("remove", temporary):
            os.unlink(temporary)
    return temporary


def is_locked(path: str, *, perhaps: bool = False) -> bool:
    """Whether a file is locked, or `perhaps`, where there are no locks."""
    # NFS locks nothing that is open for reading alone.
    with suppress(OSError), open(os.open(path, os.O_RDWR | OWN_FILE), "rb") as file:
        refusal = lock_file(file.fileno())
        return isinstance(refusal, BlockingIOError) or (perhaps and refusal is not None)
    return False


class Lock:
    """An exclusive lock that dies with its process: a user's own file.

    Nobody else can open it, or anybody could keep hive-pg waiting. What `Runner.start` starts has
    it, too, but not on Windows. The file says who holds it: the command, `where` it works, and the
    process.
    """

    def __init__(self, path: str, console: Console, timeout: float, where: str = "") -> None:
        self.path, self.console, self.timeout = path, console, timeout
        self.holder = f": {console.command}{where}, process {os.getpid()}"
        self.descriptor, self.waited = -1, False

    def __enter__(self) -> Lock:
        deadline = time.monotonic() + self.timeout
        while isinstance(refusal := self._try(), BlockingIOError):
            holder = "another hive-pg" + printable(os.fsdecode(os.read(self.descriptor, 4096)))
            self.close()
            if not self.waited:
                self.waited = True
                self.console.note(f"waiting for {holder}")
            if time.monotonic() > deadline:
                why = f"{self.path} has been held for {self.timeout:.0f} s by {holder}"
                raise WorkspaceError(why, f"see who holds it: fuser -v {quote_word(self.path)}")
            time.sleep(0.05)
        self.console.doing()
        if refusal:  # some network file systems have no locks
            self.console.warn(f"cannot lock {self.path}: {refusal.strerror}")
        else:
            with suppress(OSError):
                os.ftruncate(self.descriptor, 0)
                os.write(self.descriptor, os.fsencode(self.holder))
        return self

    def _try(self) -> OSError | None:
        """Open the file and lock it; return why not."""
        refuse_strangers(self.path, "lock")
        try:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | OWN_FILE, 0o600)
            os.set_inheritable(self.descriptor, True)
            status = os.fstat(self.descriptor)
            if status.st_mode & 0o170000 != 0o100000 or status.st_nlink > 1:
                raise OSError(errno.ELOOP, "it is no file, or has another name, too")
            # The directory's owner waits for root, but gets no file that they moved here.
            owner = os.stat(dirname(self.path)).st_uid
            if owner != status.st_uid == 0 and not status.st_size:
                os.fchown(self.descriptor, owner, -1)
            set_mode(self.descriptor, 0o600)
        except OSError as error:
            self.close()
            bars = (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT)
            if error.errno in bars and not lexists(self.path):
                return error  # a directory that nothing can be changed in, either
            with explaining("lock", self.path):
                raise
        refusal = lock_file(self.descriptor)
        here = identify_file(self.path)
        gone = OPEN_FILES_MOVE and here != f"{status.st_dev}:{status.st_ino}"  # with its holder
        return refusal or (BlockingIOError() if gone else None)

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            end_lock(self.descriptor, self.path)
            self.descriptor = -1

    def close(self) -> None:
        """Let go of it; the file stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@contextmanager
def lock_machine(engine: str, directory: str, console: Console) -> Iterator[Lock]:
    """Lock the choice of names and ports on an engine, or warn."""
    name = re.sub(r"\W", "_", engine)[-200:]
    place = join(os.environ.get("TMPDIR") or TEMPORARY, f"hive-pg-{get_user()[0]}")
    lock = Lock(f"{place}-{name}.lock", console, MACHINE_LOCK_TIMEOUT_S, f" of {directory}")
    with ExitStack() as held:
        try:
            held.enter_context(lock)
        except WorkspaceError as error:  # in /tmp it may be a stranger's trap
            console.warn(f"other workspaces may choose the same name or port now: {error}")
        yield lock


def make_directory(path: str, owner: tuple[int, int] | None, mode: int = 0o755) -> None:
    """Make a directory and its parents; root gives it to `owner`."""
    if os.path.isdir(path):
        return
    make_directory(dirname(path), get_caller())
    with explaining("create", path):
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if os.path.isdir(path):  # another hive-pg was faster
                return
            raise
        if owner not in (None, get_user()) and is_root():
            os.chown(path, *owner, follow_symlinks=False)


def is_usable_by(data_dir: str, uid: int) -> bool:
    """Whether a user can have its cluster in a data directory."""
    cluster = join(data_dir, "pgdata")
    if not HAS_MODES:
        return True
    with explaining("look at", data_dir):
        status, made = os.stat(data_dir), os.path.exists(cluster)
        bits = 0o700 if status.st_uid == uid else 0o001
        usable = status.st_mode & bits == bits and (made or status.st_uid == uid)
        return usable and (not made or os.stat(cluster).st_uid == uid)


def holds_data(data_dir: str, cluster: str = "") -> bool:
    """Whether a directory may hold a cluster, or `cluster` in it."""
    try:
        found = not cluster and "PG_VERSION" in os.listdir(data_dir)
        return found or bool(os.listdir(cluster or join(data_dir, "pgdata")))
    except OSError as error:  # another user's, and closed: it may well be one
        return not isinstance(error, FileNotFoundError)


def read_cluster_version(cluster: str) -> str:
    """Return the major version of a cluster, '' where unknown."""
    path, text = join(cluster, "PG_VERSION"), ""
    # There may be none yet, it may be another user's, or in a volume.
    with suppress(OSError), open(path, encoding="latin-1") as file:
        text = file.read().strip()
    return text if re.fullmatch("[0-9.]+", text) else ""


def identify_file(path: str) -> str:
    """Return DEVICE:INODE of a path, as `stat -c %d:%i`, '' if unseen."""
    with suppress(OSError):
        status = os.stat(path)
        return f"{status.st_dev}:{status.st_ino}"
    return ""


def is_gone(path: str) -> bool:
    """Whether a path is known to be gone: another system's is not, nor one unseen."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, _GONE) and not is_foreign_path(path)
    return False


class Host(Record):
    """A machine, and a workspace's file system."""

    system: str
    name: str
    filesystem: str = ""


def decode_mount(path: str) -> str:
    r"""Read a path of mountinfo, where blanks and the like are octal.

    >>> decode_mount(r"/my\040app")
    '/my app'
    """
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def find_filesystem(mounts: str, path: str) -> str:
    r"""Return the kind of a path's file system, as /proc/self/mountinfo has it.

    >>> find_filesystem("1 0 0:1 / / rw - ext4 a\n2 1 0:2 / /c rw - 9p C:", "/c/w")
    '9p'
    """
    at, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = decode_mount(left.split()[4])
        if f"{path}/".startswith(point.rstrip("/") + "/") and len(point) >= len(at):
            at, kind = point, right.split()[0]
    return kind


def read_host(directory: str) -> Host:
    """Return what this machine is."""
    mounts = read_file("/proc/self/mountinfo") or b""
    return Host(*read_machine(), find_filesystem(os.fsdecode(mounts), directory))


def measure_directory(directory: str) -> int | None:
    """Return the bytes in a directory's files, None where it may not."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    with suppress(OSError):
        size = os.stat(directory).st_size
        for place, _, files in os.walk(directory, onerror=fail):
            for name in files:
                with suppress(FileNotFoundError):
                    size += os.lstat(join(place, name)).st_size
        return size
    return None


def get_postgres_uid_gid() -> tuple[int, int]:
    """Return the server's uid and gid: the caller's, but never root's."""
    caller = get_caller()
    return caller if caller[0] else (FALLBACK_UID, FALLBACK_UID)


def get_caller() -> tuple[int, int]:
    """Return uid and gid of whom we act for: the user behind sudo, or our own."""
    ids = f"{os.environ.get('SUDO_UID')}:{os.environ.get('SUDO_GID')}"
    found = re.fullmatch("([1-9][0-9]*):([0-9]+)", ids)
    return (int(found[1]), int(found[2])) if found and is_root() else get_user()


def is_port_free(bind: str, port: int) -> bool:
    """Whether a server could listen there now."""
    import socket

    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port whose last connections have just ended is free.
        free = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)  # as on Windows
        probe.setsockopt(socket.SOL_SOCKET, free, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            return error.errno not in PORT_TAKEN  # the rest is for Docker to judge
    return True


# == Processes =============================================
# Nothing else starts a program.

DEVNULL, JOINED, PIPE = -3, -2, -1  # as in subprocess, which takes long to import


class CommandResult(Record):
    """The end of a process whose streams were captured."""

    returncode: int
    stdout: str
    stderr: str


def end_tree(process: Popen[str], *, at_once: bool = False) -> None:
    """End a process that leads a session, and all that it started."""
    import signal
    import subprocess

    if WINDOWS:
        argv = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(argv, stdout=DEVNULL, stderr=DEVNULL, timeout=QUESTION_TIMEOUT_S)
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):  # the second one on macOS
        os.killpg(process.pid, signal.SIGKILL if at_once else signal.SIGTERM)


class Process:
    """A running program; leaving the context ends its whole group."""

    def __init__(self, process: Popen[str], console: Console) -> None:
        self.process, self.console = process, console

    def finish(self, *, timeout: float, stdin: str = "") -> CommandResult:
        """Wait for its end; after `timeout` s raise DockerNotAvailableError."""
        import subprocess

        for _ in range(round(timeout * 10) or 1):  # by no clock, which Ctrl-Z does not stop
            try:
                stdout, stderr = self.process.communicate(stdin or None, timeout=0.1)
            except subprocess.TimeoutExpired:
                stdin = ""  # it has been handed over
                self.console.tick()
            else:
                return CommandResult(self.process.returncode, stdout or "", stderr or "")
        argv: Any = self.process.args
        why = f"`{' '.join(argv[:2])}` did not answer within {timeout:.0f} s"
        hint = "restart Docker: sudo systemctl restart docker, or Docker Desktop"
        raise DockerNotAvailableError(why, hint)

    def watch(self, file: int, doing: str, idle: Callable[[], object]) -> CommandResult:
        """Wait for a `long` program on a file; if it stalls, `idle` may raise."""
        size, moved = 0, time.monotonic()
        self.console.doing(doing)
        while self.process.poll() is None:
            before, now = size, time.monotonic()
            with suppress(OSError):  # a pipe has no position
                size = os.lseek(file, 0, os.SEEK_CUR)
            if size != before:
                moved = now
            elif now - moved > STALL_S:
                idle()
                moved = time.monotonic()
            self.console.tick(f"{format_size(size)}, " * (size > 0))
            time.sleep(0.05)
        words: Any = self.process.stderr  # a file
        words.seek(max(0, words.seek(0, os.SEEK_END) - (1 << 20)))
        return CommandResult(self.process.returncode, "", words.read())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        import subprocess

        with self.process:
            if self.process.returncode is None:  # else the group may be another program's
                try:
                    end_tree(self.process)
                    with suppress(subprocess.TimeoutExpired):
                        self.process.wait(timeout=0.5)
                finally:  # the rest of the group, also where a second Ctrl-C comes meanwhile
                    end_tree(self.process, at_once=True)


class Runner:
    """The one place that starts processes."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def start(self, argv: Sequence[str], *, long: bool = False, **options: Any) -> Process:
        """Start a program in a session of its own, as Ctrl-C is for hive-pg.

        `options` are Popen's: `stdin` and `stdout` may be DEVNULL, PIPE, or a descriptor.
        The stderr of a `long` one is a file, so that it never waits for a reader.

        Raises: OSError where it cannot be started.
        """
        import subprocess

        self.console.trace(argv)
        text: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}
        words: IO[str] | None = None
        if long:
            import tempfile

            words = tempfile.TemporaryFile("w+", **text)  # noqa: SIM115
        options = {"stdin": DEVNULL, "stdout": PIPE, "stderr": words or PIPE, **text, **options}
        # Python's own files are not inherited, except a Lock's.
        process = subprocess.Popen(argv, close_fds=False, start_new_session=True, **options)
        process.stderr = words or process.stderr  # which the Process closes
        if process.stdin:
            process.stdin.reconfigure(newline="\n")  # type: ignore[attr-defined]
        return Process(process, self.console)

    def ask(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> CommandResult:
        """Ask a program that may be missing (127), or hang (124)."""
        try:
            with self.start(argv, env=env) as process:
                return process.finish(timeout=QUESTION_TIMEOUT_S)
        except OSError:
            return CommandResult(127, "", "")
        except DockerNotAvailableError as error:
            return CommandResult(124, "", str(error))

    def attach(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, waits: bool = False
    ) -> int:
        """Run a program on our streams, which Ctrl-C ends with 130.

        With `waits` the program has the first one for itself, and a Lock with us.
        """
        import subprocess

        self.console.trace(argv)
        self.console.clear()
        try:
            with subprocess.Popen(argv, env=env, close_fds=not waits) as process:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    if not waits:
                        raise
                    return process.wait()
                finally:  # a signal may be for us alone
                    process.terminate()
                    self.console.doing()
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED

    def replace(self, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        """Become another program, or raise OSError."""
        import signal

        if WINDOWS:  # where the caller would not wait for the other one; and npm is npm.cmd
            import shutil

            os.environ.pop("NoDefaultCurrentDirectoryInExePath", None)  # it may be here
            program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
            raise SystemExit(self.attach([program, *argv[1:]], env, waits=True))
        self.console.trace(argv)
        self.console.clear()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), env)


# == Diagnoses =============================================
# More telling rows come first. A pattern holds what is the same in all versions.


class Diagnosis(Record):
    """A text of Docker or PostgreSQL, its cause and what helps."""

    source: str  # who prints it: docker, the server, a login, a dump or load
    pattern: str  # its first alternative is the text as people meet it
    cause: str
    hint: str
    error: type[PostgreSQLIntegrationError] = DockerCommandError
    repair: Repair | None = None


_NO_SOURCE = "bind source path does not exist"
POOLER_HINT = "take the direct URL: Neon's host without -pooler, Supabase's port 5432"

# The rows of two errors, which are many.
_unavailable = partial(Diagnosis, "docker", error=DockerNotAvailableError)
_refused = partial(Diagnosis, "login", error=CredentialsRefusedError)

# fmt: off
DIAGNOSES = (
    _unavailable("permission denied .*podman", "your user may not use Podman's socket",
        "DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock"),
    _unavailable("permission denied while trying to connect to the docker (?:API|daemon)",
        "your user may not use Docker's socket",
        "sudo usermod -aG docker $USER, then log in again"),
    _unavailable("could not be found in this WSL",
        "`docker` is only Docker Desktop's stand-in in this WSL",
        "switch it on: Docker Desktop > Settings > Resources > WSL integration"),
    _unavailable("See 'podman --help'|can't evaluate field ID in type",
        "`docker` here is Podman's own program, which has no Compose",
        "install Docker's CLI and Compose; DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock"),
    _unavailable(r"docker \S* at unix://\S*podman", "nobody serves Podman's socket",
        "systemctl --user start podman.socket; root's own: sudo systemctl start podman.socket"),
    _unavailable(r"docker \S* at unix:///run/user", "rootless Docker is not running",
        "systemctl --user start docker"),
    _unavailable(r"docker \S* at (?:tcp|ssh|http)|error during connect: .*(?:\[ssh|dial tcp)",
        "Docker there cannot be reached", "start it there; or see docker context ls, DOCKER_HOST"),
    _unavailable(r'context "\S*"(?:: context| is) not found', "there is no such docker context",
        "docker context ls; then unset DOCKER_CONTEXT, or docker context use default"),
    _unavailable("Cannot connect to the Docker daemon|failed to connect to the docker API|"
        "error during connect|unable to (?:resolve docker endpoint|parse docker host)|"
        "docker_engine|dockerDesktopLinuxEngine|Internal Server Error for API route",
        "the Docker daemon is not running, or DOCKER_HOST or the context points elsewhere",
        "start Docker: sudo systemctl start docker, or Docker Desktop; or see docker context ls"),
    _unavailable("client version .* is too (?:old|new)",
        "the docker CLI and the engine are too far apart",
        "update the older of the two, and unset DOCKER_API_VERSION"),
    Diagnosis("docker", "Container .* is (?:not running|restarting|paused)|"
        "upgrade to tcp, received (?:409|500)|No such exec instance|"
        "exec failed: .*(?:cannot exec in a (?:stopped|deleted)|init-p: |executing setns process)",
        "the container ended, was paused or was about to restart at that moment",
        "{logs}", ContainerStartupError),
    Diagnosis("docker", "port is already allocated|address already in use|Ports are not available",
        "another container or process has the port, or Windows has reserved it",
        "{init} --port N, or stop the other one (docker ps; ss -ltnp)", ContainerConflictError),
    Diagnosis("docker", "bind(?:: | host port .*: )cannot assign requested address",
        "this machine has no such address to publish on", "{init} --bind 127.0.0.1"),
    Diagnosis("docker", "container name .* is already in use", "another container has that name",
        "{init} chooses another one, if it may; for a new project name {destroy}, then {start}",
        ContainerConflictError),
    Diagnosis("docker", "no matching manifest for windows",
        "Docker runs Windows containers now, and the image is one of Linux",
        "Docker Desktop > Switch to Linux containers"),
    Diagnosis("docker", "non-overlapping IPv4 address pool|address pools have been fully subnetted",
        "Docker has no addresses left for another network",
        "docker network prune removes the networks that nobody uses"),
    Diagnosis("docker", f"Mounts denied|{_NO_SOURCE}|error while creating mount source path",
        "what is to be mounted is missing, or the daemon (remote, a snap, Desktop) does not see it",
        "see the path above; for the data: {init} --data volume"),

    Diagnosis("server dump", "could not resize shared memory segment",
        "the container's /dev/shm is too small",
        "raise shm_size: HIVE_POSTGRES_SHM_SIZE in .env, or your compose file's; then {restart}"),
    Diagnosis("docker server login dump", "no space left on device|hive-pg: less than|"
        "could not write init file",
        "the disk is full, or nearly", "free space: df -h; docker system df"),
    Diagnosis("server", "Read-only file system", "a file system that it writes to is read-only",
        "mount it for writing (/var/run/postgresql: as tmpfs); dmesg may say why it is not"),
    Diagnosis("server", "unrecognized configuration parameter|invalid value for parameter|"
        "invalid argument:|is outside the valid range|allocate memory|out of memory",
        "a server setting (-c ..., or HIVE_POSTGRES_... in .env) is not valid, or too high",
        "correct it in .env or in the compose file, then {restart}"),
    Diagnosis("server", r"unused mount/volume|in 18\+, these Docker images",
        "PostgreSQL 18's image keeps the data elsewhere, and found data or a mount at 17's place",
        "mount it at /var/lib/postgresql, or set PGDATA; data of an older version: dump, restore"),
    Diagnosis("server", "cannot create directory .*Permission denied|has wrong ownership|"
        "could not change permissions of directory|could not access directory|"
        "could not open (?:file|directory) .*: Permission denied|"
        "database is uninitialized and superuser password is not specified",
        "the data directory belongs to another user than the server's",
        "{init} gives it to the user: of the compose file, where that is a number",
        repair=Repair.OWNER),
    Diagnosis("server login", "could not locate a valid checkpoint record|exists but is not empty|"
        r"could not find the database system|could not load \S*pg_hba\.conf|"
        r"could not open file .*(?:pg_control|pg_filenode\.map).*No such file|"
        "could not access the server configuration file",
        "the cluster is incomplete: a first start or a copy was cut short",
        "{init} makes it anew if nobody ever logged in; else put back what is missing, or a backup",
        DatabaseConnectionError, Repair.REMAKE),
    Diagnosis("server", 'lock file "postmaster.pid" is empty',
        "the disk was full, or the machine went down, while the server started",
        "if no other server uses the data: rm data/postgres/pgdata/postmaster.pid; in a volume:"
        " docker run --rm -v VOLUME:/v --entrypoint rm IMAGE /v/pgdata/postmaster.pid"),

    _refused("password authentication failed",
        "the server refuses the user and password in .env: they count when the data is made",
        "{init} --yes sets them in the server; or put back the old HIVE_DATABASE_URL",
        repair=Repair.PASSWORD),
    _refused("server did not complete authentication",
        "the server asks nobody for a password, so none can be verified",
        "in its pg_hba.conf, replace trust by scram-sha-256 in the host lines"),
    _refused("no pg_hba.conf entry",
        "the server lets nobody in over the network",
        "append to its pg_hba.conf: for [local] local all all scram-sha-256, else"
        " host all all all scram-sha-256; then {restart}"),
    Diagnosis("login", "used by logical replication subscription",
        "it has a subscription",
        "there: alter subscription … disable, … set (slot_name = none); drop subscription …"),
    Diagnosis("login", 'database ".*" does not exist',
        "the server has no such database",
        "{init} creates it; or correct HIVE_DATABASE_URL in .env",
        DatabaseConnectionError, Repair.DATABASE),
    _refused("is not permitted to log in|not currently accepting connections|"
        "permission denied for database", "the server lets the role, or everybody, not in",
        "by a superuser: ALTER ROLE … LOGIN, GRANT CONNECT, ALTER DATABASE … ALLOW_CONNECTIONS"),
    Diagnosis("login", "too many (?:clients already|connections for)|remaining connection slots",
        "all connections of the server, database or role are in use", "close some; or alter their"
        " CONNECTION LIMIT; or raise max_connections: HIVE_POSTGRES_MAX_CONNECTIONS in .env, or"
        " your compose file's; then {restart}", DatabaseConnectionError),
    Diagnosis("login", "timeout expired", "the server does not answer: it or its disk hangs",
        "see {logs}; {restart} ends it, after a minute", DatabaseConnectionError),
    _refused('role ".*" does not exist', "the data has no such user",
        "put back the user in HIVE_DATABASE_URL that the data was made with"),
    Diagnosis("warning", "collation version mismatch",
        "the image sorts text otherwise than the one that the data was made with",
        "in each database: REINDEX DATABASE name; ALTER DATABASE name REFRESH COLLATION VERSION"),

    Diagnosis("dump", "backslash commands are restricted|hive-pg: a backslash in line",
        "the script has, or may have, a command for psql",
        'eval "$({env})"; psql -f FILE runs it in the present database'),
    Diagnosis("dump", r"unsupported version \(.*\) in file header|"
        r'unrecognized configuration parameter "\w+"',
        "the dump was made by a newer PostgreSQL than the image's",
        "dump it again with pg_dump of the image's version; or {upgrade} --image IMAGE"),
    Diagnosis("dump", "could not read from input file: end of file|unexpected end of file|block ID|"
        "unrecognized data block|could not uncompress|corrupt tar header|find magic string",
        "the dump is truncated or damaged",
        "take another one; a copy that ended early has fewer bytes than the original"),
    Diagnosis("dump", 'role ".*" does not exist',
        "the dump names a role that does not exist here",
        "{psql} -c 'create role \"NAME\"'; if it only owns, in pg_dump -Fc: {restore} --no-owner"),
    Diagnosis("login dump", "canceling statement due to lock timeout|"
        "pg_dump: .* due to statement timeout|could not obtain lock on relation",
        "another session has something locked",
        "end it (select pid, query from pg_stat_activity), then try again"),
    Diagnosis("dump", "terminating connection|server closed the connection|"
        "the database system is|connection to server .* failed: (?!FATAL)",
        "the server ended the session: it stops, or has crashed",
        "see {status}, then try again", DatabaseConnectionError),
    Diagnosis("dump", r"(?m)^(?:|psql:\S+ )ERROR:  "
        "(?:index|relation|table|sequence|view|schema|trigger|function) .* does not exist|"
        'schema "public" already exists',
        "the script drops or uses something that is not there, or makes what is",
        "dump all of it: without -a, -n, -t or --clean (or with --if-exists, too)"),

    Diagnosis("elsewhere", "unsupported startup parameter|pgbouncer cannot connect",
        "a connection pooler answers there", POOLER_HINT),
    Diagnosis("elsewhere", "server version mismatch", "the server there is newer than the image",
        "{upgrade} --image IMAGE; attached: a newer HIVE_POSTGRES_IMAGE in .env"),
    Diagnosis("elsewhere", r'unrecognized configuration parameter "\w+"',
        "the server there is older than the image",
        "push to one of the image's version, or later"),
    Diagnosis("elsewhere", "create (?:event trigger|FOR )", "only a superuser may make that",
        "drop it here first, after a snapshot"),
    Diagnosis("elsewhere", "permission denied|must be (?:owner|superuser|able to)",
        "the role there lacks a privilege",
        "as administrator: create extension NAME; to read, grant pg_read_all_data to ROLE; to"
        " write, grant create on schema public to ROLE"),
    Diagnosis("elsewhere", "certificate verify failed|root certificate file|"
        "does not match host name",
        "the URL does not trust the server's certificate",
        "sslrootcert=FILE in the URL: the provider's CA"),
    Diagnosis("elsewhere", "no encryption|SSL (?:connection )?(?:is )?required|cleartext password",
        "the server asks for TLS, or else for the password in clear",
        "sslmode=require in the URL, or verify-full"),
    Diagnosis("elsewhere", "password authentication failed|Tenant or user not found|"
        'FATAL:  database ".*" does not exist', "it refuses user, password or database there",
        "correct the URL", CredentialsRefusedError),
    Diagnosis("elsewhere", "no pg_hba.conf entry|is not allowed to connect|allow_list",
        "the server there does not let this address, user or database in",
        "its pg_hba.conf, or the provider's list of addresses, has to allow it",
        CredentialsRefusedError),
    Diagnosis("elsewhere", "connection to server .* failed: (?:FATAL|ERROR|server does not)",
        "the server there refuses the connection",
        "correct the URL; or see the provider's console", DatabaseConnectionError),
    Diagnosis("elsewhere", "could not (?:translate host name|connect to server)|timeout expired|"
        "connection to server .* failed|server closed the connection|terminating connection",
        "the server there does not answer, or not any more",
        "see host and port in the URL; Supabase has IPv4 at its session pooler alone",
        DatabaseConnectionError),
)
# fmt: on


def diagnose(text: str, *sources: str) -> Diagnosis | None:
    """Return the first diagnosis of these sources that fits a text."""
    rows = [row for source in sources for row in DIAGNOSES if source in row.source.split()]
    return next((row for row in rows if re.search(row.pattern, text, re.IGNORECASE)), None)


# What Compose and Docker quote: a name, or a password perhaps, with quotes in it.
_QUOTED = r"""(?xs)
    (\b(?:service|network|volume|container|container[ ]name|type|exec:)[ ]"[\w./-]+"
    |'services\[[\w.\[\]-]+'|\bsource[ ]path[ ]'[\w./-]+')
    |(?<=unterminated[ ]quoted[ ]value[ ])[^\n]*
    |(?<![\w\\])(["'`])(?:[^\n]*\2|.*\2|[^\n]*)
"""


def mask_values(text: str) -> str:
    """Mask what Compose and Docker quote, but for names: a secret perhaps.

    >>> mask_values('service "db": time: invalid duration "s3cret"')
    'service "db": time: invalid duration "****"'
    """
    text = re.sub(r"(?s)(escape any \$ with another \$\.)\n.*", r"\1", text)
    text = re.sub(r'(?m)^time="[^"]*" level=warning .*\n?', "", text)
    return re.sub(_QUOTED, lambda found: found[1] or '"****"', text)


def build_error(
    result: CommandResult, action: str, hint: str = "", sources: Sequence[str] = ()
) -> PostgreSQLIntegrationError:
    """Turn a docker command that failed into an error with a remedy."""
    # WSL's stand-in for docker prints to stdout.
    found = diagnose(result.stderr or result.stdout, *sources, "docker")
    if result.returncode == 137 and not result.stderr.strip():  # SIGKILL
        hint = "see {status}, then try again"
        found = Diagnosis("", "", "its program was killed", hint, ContainerStartupError)
    if not found:
        said = re.search(r"\bERROR:  (.*)", result.stderr)  # PostgreSQL's may have more lines
        words = last_line(re.sub(r"(?m)^(?:Run|See) 'docker .*", "", result.stderr))
        cause = said[1] if said else words or f"exit code {result.returncode}"
        found = Diagnosis("", "", cause, hint)
    message = f"{action}: {found.cause}"
    # pg_restore shows the statement, in which another server's password may be.
    detail = re.sub(r"(?s)(Command was: [^']*)'.*", r"\1'****", result.stderr)
    detail = re.sub(r"(?m)^LINE \d+: .*\n *\^\n?", "", detail)  # so does psql
    return found.error(message, hint=found.hint, detail=detail, repair=found.repair)


def check_result(
    result: CommandResult, action: str, hint: str = "", sources: Sequence[str] = ()
) -> CommandResult:
    """Return a result whose exit code is 0; raise the error of another."""
    if result.returncode != 0:
        raise build_error(result, action, hint, sources)
    return result


# == Engine ================================================
# The docker CLI, but for `docker exec`, and what it says.

INSPECT = ("docker", "inspect", "--type", "container")
# Two engines of one machine can share an ID: Docker 20.10 has it from /etc/docker/key.json.
# Podman's is another one at each call; it alone has the driver k8s-file for logs.
# It knows the versions, too, and where Compose is: '' where the plugin does not work.
_IDENTITY_FORMAT = (
    "{{.ID}}|{{.DockerRootDir}}|{{.Name}}|{{.OperatingSystem}}|{{.SecurityOptions}}"
    "{{.Plugins.Log}}|{{.ClientInfo.Context}}|{{.ServerVersion}}|"
    '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Version}}\t{{.Path}}{{end}}{{end}}'
)
IDENTITY = ("docker", "info", "--format", _IDENTITY_FORMAT)


# Gives a directory to a user, with the cluster in it, or that fills it, and nothing else.
_FOREIGN = 73
_GIVE_SCRIPT = f"""\
cd /target || exit
for name in * .[!.]*; do
  [ -e "$name" ] || [ -L "$name" ] || continue
  case $name in "$1" | "$1".incomplete-* | "$1".[1-9u]* | lost+found | .git[ik]*) continue ;; esac
  [ -z "$1" ] && [ -e PG_VERSION ] || {{ echo "$name"; exit {_FOREIGN}; }}
done
chown "$0" . && chmod u+rwx . && {{ [ ! -e "./$1" ] || chown -Rh "$0" "./$1"; }}
"""


class ContainerInfo(Record):
    """What `docker inspect` says of a container."""

    name: str
    image: str
    state: ContainerState
    health: Health
    exit_code: int
    oom_killed: bool
    restart_count: int
    started_at: float  # in seconds since the epoch
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    mounts: Sequence[tuple[str, str]]  # (directory on the host or name of a volume, target)
    ports: Sequence[tuple[str, int]]  # the (host address, port) that lead to PostgreSQL's
    host_ports: Sequence[str] = ()  # all that it has on this machine
    joins: bool = False  # the machine's network, or a container's
    grace: int = STOP_GRACE_S  # how many seconds its server may take to stop

    @property
    def running(self) -> bool:
        """Whether it runs now; a restarting container does not."""
        return self.state is ContainerState.RUNNING

    @property
    def restarting(self) -> bool:
        """Whether it starts again and again; in between it runs."""
        unwell = self.health in (Health.STARTING, Health.UNHEALTHY) and self.restart_count > 0
        return self.state is ContainerState.RESTARTING or (self.running and unwell)

    @property
    def cluster(self) -> tuple[str, str]:
        """Its cluster's mounted directory and place: `locate_cluster`."""
        return locate_cluster(self.mounts, self.environment.get("PGDATA", DEFAULT_PGDATA))

    @property
    def login(self) -> tuple[str, str]:
        """The user and the database that its image has made."""
        user = self.environment.get(USER_KEY) or DEFAULT_ROLE
        return user, self.environment.get(DB_KEY) or user

    @property
    def home(self) -> tuple[str, bool]:
        """Where its cluster is, and whether that outlives it."""
        directory, cluster = self.cluster
        volume = cluster.partition("/")[0]
        if directory:
            return cluster, True
        if volume in ("", IN_MEMORY):
            return "memory" if volume else "the container alone", False
        return f"volume {volume}", not re.fullmatch("[0-9a-f]{64}", volume)

    @property
    def directory(self) -> str:
        """The directory that Compose was run in, '' without Compose."""
        return self.labels.get(DIRECTORY_LABEL, "")

    @property
    def inner_host(self) -> str:
        """Its name on its networks where no port is published, else ''."""
        return "" if self.ports else self.labels.get(SERVICE_LABEL, "")

    @property
    def is_oneoff(self) -> bool:
        """Whether `compose run` made it, as `upgrade` does."""
        return self.labels.get(ONEOFF_LABEL) == "True"

    @property
    def project(self) -> str:
        """The Compose project, '' for a container without one."""
        return self.labels.get(PROJECT_LABEL, "")


class Condition(Record):
    """A container's state in words, its remedy and its exit code."""

    words: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.DONE
    detail: str = ""
    repair: Repair | None = None

    def error(self, *, awaited: bool = False) -> PostgreSQLIntegrationError:
        """Return the error of a container that does not serve; one `awaited` is unhealthy."""
        stopped = self.exit_code is ExitCode.NOT_RUNNING and not awaited
        kind = NotSetUpError if stopped else ContainerStartupError
        why = f"container {self.words}"
        return kind(why, hint=self.hint, detail=self.detail, repair=self.repair)


def judge_container(info: ContainerInfo | None, name: str, logs: str | None = None) -> Condition:
    """Judge a container: its state, the remedy, and with `logs` the cause."""
    if info is None:
        return Condition(f"{name} is missing", "{start}", ExitCode.NOT_RUNNING)
    state, hint, code = info.state, "{start}", ExitCode.NOT_RUNNING
    if state is ContainerState.PAUSED:
        return Condition(f"{name} is paused", f"docker unpause {name}", code)
    if state in (ContainerState.RUNNING, ContainerState.RESTARTING):
        hint, code = "{logs}", ExitCode.UNHEALTHY
    if info.running and logs is None and info.health is not Health.UNHEALTHY:
        health = {Health.NONE: "no health check", Health.STARTING: "health check pending"}
        return Condition(f"{name} runs ({health.get(info.health, 'healthy')})")
    words = {
        ContainerState.RUNNING: "runs, but its health check fails",
        ContainerState.RESTARTING: f"keeps restarting (exit code {info.exit_code})",
        ContainerState.EXITED: f"is stopped (exit code {info.exit_code})",
    }.get(state, f"is {state.value}")
    if logs is None:
        return Condition(f"{name} {words}", hint, code)
    if info.running:
        times = "once" if info.restart_count == 1 else f"{info.restart_count} times"
        words = f"was restarted {times}" if info.restart_count else "runs, but does not serve"
    cause, hint, repair = _diagnose_end(info, logs)
    return Condition(f"{name} {words}: {cause}", hint, code, logs, repair)


def _diagnose_end(info: ContainerInfo, logs: str) -> tuple[str, str, Repair | None]:
    """Return cause, hint and repair, by Docker's word or by the log."""
    if info.oom_killed:
        return "the kernel ended it for lack of memory", "give Docker more memory", None
    # A client's error is no cause, but psql's in the first start is.
    asked = r"(?m)^(?![a-z_]+:).*(?:ERROR|STATEMENT):  .*"
    asked += r"(?:\n(?:\t|.*(?:DETAIL|HINT|QUERY|CONTEXT|LOCATION):  ).*)*"
    if found := diagnose(re.sub(asked, "", logs), "server"):
        return found.cause, found.hint, found.repair
    cause = "its last words are below" if logs else "it left no words to read"
    ended = info.state is ContainerState.EXITED and not info.exit_code
    return cause, "{start}" if ended else "{logs}", None


def name_placement(cluster: str) -> str:
    """Return what `.env` says of a cluster's place: nothing of a directory."""
    return "" if is_path(cluster) or not cluster else "volume"


def locate_cluster(mounts: Iterable[tuple[str, str]], pgdata: str) -> tuple[str, str]:
    """Return PGDATA's host directory, '' for a volume, and its place.

    >>> locate_cluster([("/w", "/app"), ("/w/data", "/var/lib")], "/var/lib/postgresql/data")
    ('/w/data', '/w/data/postgresql/data')
    """
    holding = [(s, t) for s, t in mounts if f"{pgdata}/".startswith(t.rstrip("/") + "/")]
    source, target = max(holding, key=lambda mount: len(mount[1]), default=("", pgdata))
    cluster = source and source + pgdata[len(target.rstrip("/")) :].rstrip("/")
    return source if is_path(source) else "", cluster


class ImageInfo(Record):
    """What an image sets: environment, and directories in volumes."""

    environment: Mapping[str, str]
    volumes: Sequence[str]


class EngineFacts(Record):
    """What one `docker info` says."""

    identity: Sequence[str]  # its ID, or `Podman`; its root directory and name
    system: str = ""
    security: str = ""
    endpoint: str = ""
    near: bool = True  # its root is on this disk

    @property
    def program(self) -> str:
        """Whose engine it is."""
        return "Podman" if self.identity[0] == "Podman" else "Docker"


def is_elsewhere(host: Host, engine: EngineFacts) -> bool:
    """Whether an engine is remote, or a host a container in front of it."""
    remote = r"ssh:|(?:tcp|https?)://(?!(?:localhost|127\.[0-9.]+)(?::|\Z))"
    if re.match(remote, engine.endpoint):
        return True
    if host.system != "Linux" or "Docker Desktop" in engine.system:
        return False
    return engine.identity[2] != host.name or not engine.near


# Without owners or locks, or with another machine's.
_FOREIGN_DISKS = r"v?fat|msdos|exfat|ntfs3?|nfs4?|cifs|smb3|9p|drvfs|virtiofs|vboxsf|prl_fs|fuse.*"


def choose_data_placement(host: Host, engine: EngineFacts) -> tuple[str, str]:
    """Return `bind` for a directory, if that works, else `volume`; and why."""
    kind, security = host.filesystem, engine.security
    reasons = {
        "engine with another disk": is_elsewhere(host, engine),
        host.system: host.system != "Linux",
        "Docker Desktop": "Docker Desktop" in engine.system,
        "Podman": engine.program == "Podman",  # rootful or not, it does not say
        "rootless engine": "name=rootless" in security,
        "engine that maps users": "name=userns" in security,
        "SELinux": "name=selinux" in security,
        f"{kind} lacks owners or locks": re.fullmatch(_FOREIGN_DISKS, kind),
    }
    why = [reason for reason, applies in reasons.items() if applies]
    return ("volume", why[0]) if why else ("bind", "local engine")


def follow_image(settings: Settings, image: ImageInfo | None) -> Settings:
    """Return the settings with the data mounted where the image has its volume."""
    if image is None:
        return settings
    pgdata = image.environment.get("PGDATA", DEFAULT_PGDATA)
    volumes = [place for place in image.volumes if f"{pgdata}/".startswith(f"{place}/")]
    target = (*volumes, pgdata)[0]
    return settings.replace(target="" if target == DEFAULT_PGDATA else target)


def starts_alone(plugin: str) -> bool:
    """Whether a plugin can do without `docker`: no script that chooses the engine."""
    paths = (join(place, "docker") for place in os.get_exec_path())
    path = realpath(next(filter(partial(os.access, mode=os.X_OK), paths), "."))
    with suppress(OSError), open(path, "rb") as file:
        plain = file.read(2) != b"#!" and not os.stat(path).st_mode & 0o6000
        return plain and basename(path) == "docker" and plugin[:1] == "/"
    return False


def find_named(containers: Iterable[ContainerInfo], name: str) -> ContainerInfo | None:
    """Return the container of a name, None where there is none."""
    return next((info for info in containers if info.name == name), None)


def parse_json(text: str) -> Any:
    """Read docker's JSON; another program may have its name."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        why = f"`docker` does not print JSON, but: {last_line(text)}"
        raise DockerNotAvailableError(why, "see what it is: type -a docker") from None


def parse_time(text: str) -> float:
    """Read an RFC 3339 time; return seconds since the epoch.

    >>> parse_time("1970-01-01T00:00:02.563837925Z"), parse_time("1970-01-01T01:00:02+01:00")
    (2.563837925, 2.0)
    """
    import datetime

    fraction, zone = re.findall(r"^(\.[0-9]+|)(.*)", text[19:])[0]
    whole = datetime.datetime.fromisoformat(text[:19] + zone.replace("Z", "+00:00"))
    return whole.timestamp() + float(f"0{fraction}")


def parse_containers(text: str) -> list[ContainerInfo]:
    """Read what `docker inspect` prints for containers."""
    return [_parse_container(item) for item in parse_json(text or "[]")]


def _parse_container(item: Mapping[str, Any]) -> ContainerInfo:
    state, config = item["State"], item["Config"]
    published = (item.get("NetworkSettings") or {}).get("Ports") or {}
    mounts = [(IN_MEMORY, target) for target in item["HostConfig"].get("Tmpfs") or ()]
    for mount in item.get("Mounts") or []:
        source = mount.get("Name") or mount.get("Source") or ""
        source = IN_MEMORY if mount.get("Type") == "tmpfs" else source
        mounts.append((source, mount["Destination"]))
    return ContainerInfo(
        name=item["Name"].lstrip("/"),
        image=config["Image"],
        state=ContainerState(state["Status"]),
        health=_parse_health(state.get("Health") or {}),
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        restart_count=item["RestartCount"],
        started_at=parse_time(state["StartedAt"]),
        environment=_parse_environment(config.get("Env")),
        labels=config.get("Labels") or {},
        mounts=mounts,
        ports=_parse_ports(item, published),
        host_ports=[b["HostPort"] for given in published.values() for b in given or ()],
        joins=item["HostConfig"].get("NetworkMode", "").partition(":")[0] in ("host", "container"),
        grace=_parse_grace(config),
    )


def _parse_grace(config: Mapping[str, Any]) -> int:
    """Read how many seconds it may take to stop: Docker's -1 is for ever."""
    limit = config.get("StopTimeout") or 0
    return max(STOP_GRACE_S, limit) if limit >= 0 else UNLIMITED_S


def _parse_health(health: Mapping[str, Any]) -> Health:
    """Read the health, which is called bad from a pause to the first check after it."""
    unchecked = health.get("Status") == "unhealthy" and health.get("FailingStreak") == 0
    return Health.STARTING if unchecked else Health(health.get("Status"))


def _parse_ports(item: Mapping[str, Any], published: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return where PostgreSQL's port is published, or is to be."""
    port = f"{CONTAINER_PORT}/tcp"
    asked = (item["HostConfig"].get("PortBindings") or {}).get(port) or []
    # A range, of which Docker takes any, is no fixed port.
    fixed = {b["HostPort"] for b in asked if b["HostPort"].isdigit()}
    # An internal network gives none.
    given = published.get(port) or asked * (item["State"]["Status"] != "running")
    return [(b["HostIp"] or "0.0.0.0", int(b["HostPort"])) for b in given if b["HostPort"] in fixed]


def _parse_environment(entries: Sequence[str] | None) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in entries or ())


def parse_inspect(result: CommandResult, name: str) -> ContainerInfo | None:
    """Read the end of INSPECT for a container, None for none."""
    if _is_missing(result):
        return None
    text = check_result(result, "cannot inspect the container").stdout
    return find_named(parse_containers(text), name)  # docker takes the beginning of an id, too


def _is_missing(result: CommandResult) -> bool:
    """Whether docker says that there is no such thing."""
    pattern = "no such (?:object|container|image)|image not known"  # the last is Podman's
    return result.returncode != 0 and bool(re.search(pattern, result.stderr, re.IGNORECASE))


class Engine:
    """The docker CLI: one method for each question or action."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.version = self.compose_version = self.plugin = ""

    def start(self, argv: Sequence[str], cwd: str | None = None, **options: Any) -> Process:
        """Start docker or docker-compose, as `Runner.start` does."""
        try:
            return self.runner.start(argv, cwd=cwd, **options)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == argv[0]:
                hint = "install Docker: https://docs.docker.com/get-docker/"
                raise DockerNotAvailableError("Docker is not installed", hint) from None
            # no directory any more, no memory, no descriptors
            why = f"cannot run {argv[0]} in {cwd or '.'}: {error.strerror}"
            hint = f"ls -ld {quote_word(cwd or '.')}; df -h; ulimit -a"
            raise WorkspaceError(why, hint) from None

    def run(
        self, argv: Sequence[str], timeout: float = QUESTION_TIMEOUT_S, stdin: str = "", **how: Any
    ) -> CommandResult:
        """Run docker or docker-compose, whatever its exit code."""
        with self.start(argv, stdin=PIPE if stdin else DEVNULL, **how) as process:
            return process.finish(timeout=timeout, stdin=stdin)

    def ask(self, action: str, *argv: str, timeout: float = QUESTION_TIMEOUT_S) -> str:
        """Run docker, and return its stdout; `action` begins the error."""
        return check_result(self.run(["docker", *argv], timeout), action).stdout

    @cached_property
    def facts(self) -> EngineFacts:
        """What the engine says of itself."""
        return self.read_facts(self.run(IDENTITY))

    def read_facts(self, result: CommandResult) -> EngineFacts:
        """Read the answer to IDENTITY."""
        said = last_line(result.stdout).split("|", _IDENTITY_FORMAT.count("|"))
        # Docker 23 to 27 exits with 0, without a version, where the engine does not answer.
        if result.returncode or len(said) <= _IDENTITY_FORMAT.count("|") or not said[-2]:
            raise build_error(result, "cannot ask the engine")
        *identity, system, security, context, self.version, plugin = said
        self.compose_version, _, path = plugin.partition("\t")
        if self.compose_version:
            self.compose_argv = ["docker", "compose"]
            self.plugin = path * starts_alone(path)  # docker takes 60 ms for itself
        endpoint = os.environ.get("DOCKER_HOST", "")
        if context != "default" and not endpoint:
            argv = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
            endpoint = self.run(argv).stdout.strip()
        if "k8s-file" in security:
            identity[0] = "Podman"
        self.facts = EngineFacts(identity, system, security, endpoint, not is_gone(identity[1]))
        return self.facts

    @cached_property
    def compose_argv(self) -> list[str]:
        """How Compose is started: the CLI's plugin, or docker-compose."""
        plugin = self.run(["docker", "compose", "version", "--short"])
        self.compose_version = last_line(plugin.stdout)
        if plugin.returncode == 0:
            return ["docker", "compose"]
        other = self.runner.ask(["docker-compose", "version", "--short"])
        self.compose_version = last_line(other.stdout)
        if re.match(r"v?([2-9]|[1-9][0-9])\.", self.compose_version):
            return ["docker-compose"]
        hint = "apt install docker-compose-v2, or see https://docs.docker.com/compose/install/"
        why = "Docker Compose 2 or later is not installed"
        raise DockerNotAvailableError(why, hint, detail=plugin.stderr)

    @property
    def versions(self) -> str:
        """Which Docker and Compose answer, in numbers."""
        self.compose_argv  # noqa: B018 (which knows the version)
        said = f"{self.facts.program} {self.version}, Compose {self.compose_version}"
        return re.sub(r"(?<= )v(?=\d)|(?<=\d)[^0-9., ][^, ]*", "", said)

    def container(self, name: str) -> ContainerInfo | None:
        """Return a container, None where there is none of that name."""
        return parse_inspect(self.run([*INSPECT, name]), name)

    def containers(self) -> list[ContainerInfo]:
        """Return all containers of the engine, running or not."""
        argv = ("ps", "--all", "--quiet", "--no-trunc")
        ids = self.ask("cannot list the containers", *argv).split()
        if not ids:
            return []
        result = self.run([*INSPECT, *ids])
        if not _is_missing(result):  # one was removed in between; the others are printed
            check_result(result, "cannot inspect the containers")
        return parse_containers(result.stdout)

    def find_image(self, image: str) -> ImageInfo | None:
        """Return what an image sets, None where it is not on the engine."""
        result = self.run(["docker", "image", "inspect", "--format", "{{json .Config}}", image])
        if _is_missing(result):
            return None
        config = parse_json(check_result(result, f"cannot look for {image}").stdout) or {}
        return ImageInfo(_parse_environment(config.get("Env")), [*(config.get("Volumes") or [])])

    def is_server(self, image: str) -> bool:
        """Whether an image that is here has PostgreSQL, whatever its name."""
        info = self.find_image(image)
        return bool(info and info.environment.get("PGDATA"))

    def pull(self, image: str) -> None:
        """Pull an image, with Docker's own progress on stderr."""
        console = self.runner.console
        console.note(f"pulling {image}")
        console.doing("")
        shown = PIPE
        with suppress(OSError, AttributeError):  # a notebook's stderr has no descriptor
            shown = PIPE if console.quiet else sys.stderr.fileno()
        action = f"cannot pull {image}"
        hint = "check the name, the network and docker login; or name another one:"
        hint += f" --image IMAGE, or {IMAGE_KEY} in {ENV_FILE}"
        try:
            result = self.run(["docker", "pull", image], PULL_TIMEOUT_S, stdout=shown)
        except DockerNotAvailableError as error:  # docker answers; the registry does not
            raise DockerCommandError(f"{action}: {error}", hint) from None
        check_result(result, action, hint)

    def run_in_place(
        self, image: str, at: str, *argv: str, aside: str = "", timeout: float = COMPOSE_TIMEOUT_S
    ) -> CommandResult:
        """Run a program as root on a directory or volume, /target."""
        options = ["--rm", "--network", "none", "--user", "0:0", "--entrypoint", argv[0]]
        mounts = {"/target": at, "/aside": aside}
        for target in filter(mounts.get, mounts):
            source, kind = mounts[target], "bind" if is_path(mounts[target]) else "volume"
            quoted = source.replace('"', '""')
            options += ["--mount", f'type={kind},"source={quoted}",target={target}']
        return self.run(["docker", "run", *options, image, *argv[1:]], timeout)

    @contextmanager
    def hold(self, name: str, image: str, network: str) -> Iterator[None]:
        """Have a container for an image's programs, which ends with this process."""
        argv = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", network]
        argv += ["--user", DEFAULT_ROLE, "--entrypoint", "cat", image]  # its stdin is ours
        deadline = time.monotonic() + COMPOSE_TIMEOUT_S
        with self.start(argv, stdin=PIPE) as process:
            try:
                while not ((info := self.container(name)) and info.running):
                    if process.process.poll() is not None or time.monotonic() > deadline:
                        result = process.finish(timeout=QUESTION_TIMEOUT_S)
                        raise build_error(result, f"cannot run the programs of {image}")
                yield
            finally:
                with suppress(DockerNotAvailableError):  # it ends all the same, later
                    process.finish(timeout=QUESTION_TIMEOUT_S)

    def try_to_publish(self, image: str, bind: str) -> None:
        """Make sure that an address is one of the engine's."""
        argv = ("run", "--rm", "--publish", f"{bind}::{CONTAINER_PORT}", "--entrypoint", "true")
        self.ask(f"cannot publish on {bind}", *argv, image, timeout=COMPOSE_TIMEOUT_S)

    def give_data_to(
        self, user: tuple[int, int], source: str, cluster: str, image: str, hint: str = ""
    ) -> None:
        """Give a cluster, and the directory or volume, to a user."""
        owner, own = f"{user[0]}:{user[1]}", cluster[len(source) + 1 :].partition("/")[0]
        argv = ("sh", "-c", _GIVE_SCRIPT, owner, own)
        result = self.run_in_place(image, source, *argv, timeout=WALK_TIMEOUT_S)
        if result.returncode == _FOREIGN:
            why = f"{source} is not given to {owner}: it has other files, too: {result.stdout}"
            raise WorkspaceError(why.strip(), hint)
        check_result(result, f"cannot change the owner of {source}")

    def stop(self, *containers: str, grace: int) -> None:
        """Stop servers side by side (SIGINT, fast shutdown) in `grace` seconds."""
        argv, timeout = ("stop", "-t", str(grace), *containers), grace + QUESTION_TIMEOUT_S
        self.ask("cannot stop the container", *argv, timeout=timeout)

    def remove_networks(self, project: str) -> None:
        """Remove a project's networks, or warn of one that others use."""
        argv = ("network", "ls", "--quiet", "--filter", f"label={PROJECT_LABEL}={project}")
        networks = self.ask("cannot list the networks", *argv).split()
        if not networks:
            return
        result = self.run(["docker", "network", "rm", *networks])
        if used := re.search(".*has active endpoints.*", result.stderr):
            self.runner.console.warn(f"the network stays, which other containers use: {used[0]}")
        else:
            check_result(result, "cannot remove the network")

    def has_volume(self, name: str = "", project: str = "") -> bool:
        """Whether a volume has a name, and a Compose project."""
        known = {f"name=^{name}$": name, f"label={PROJECT_LABEL}={project}": project}
        argv = [f"--filter={text}" for text, given in known.items() if given]
        return bool(self.ask("cannot list the volumes", "volume", "ls", "--quiet", *argv).strip())

    def logs(self, container: str, tail: int = 50, *, since: float = 0) -> str:
        """Return the last lines, '' for none; `since` is by its own clock."""
        options = ("--tail", str(tail), "--since", f"{since:.6f}")
        result = self.run(["docker", "logs", *options, container])
        if _is_missing(result) or "does not support reading" in result.stderr:
            return ""
        check_result(result, "cannot read the logs")
        return result.stdout + result.stderr

    def show_logs(self, container: str, options: Sequence[str]) -> None:
        """Print what `docker logs` does, harmless to a terminal."""
        line, shown = "", is_terminal(sys.stdout)
        with self.start(["docker", "logs", *options, container], stderr=JOINED) as process:
            for line in process.process.stdout or ():
                self.runner.console.result(line.rstrip("\n"), shown=shown)
            if process.process.wait():
                raise DockerCommandError("cannot read the logs", detail=line)


# == Service ===============================================
# What Compose and the image say of the container to be.

# Without `start_interval`, which engines before 25 refuse, and without a top-level `name`: people
# commit this file, and `.env` has the project's name. `destroy --purge` knows it by this text.
_COMPOSE_TEMPLATE = """\
# Generated by hive-pg VERSION. It is yours now: hive-pg reads this file and never writes it again.
# The values come from .env; `docker compose up -d` in this directory gives the same container.
services:
  postgres:
    image: "${HIVE_POSTGRES_IMAGE:-agnohq/pgvector:16}"
    container_name: "${HIVE_POSTGRES_CONTAINER:-hive-postgres}"
    restart: "${HIVE_POSTGRES_RESTART:-unless-stopped}"
    user: "${POSTGRES_UID:-postgres}:${POSTGRES_GID:-postgres}"
    environment:
      POSTGRES_USER: "${POSTGRES_USER:?run hive-pg init}"
      POSTGRES_PASSWORD: "${POSTGRES_PASSWORD:?run hive-pg init}"
      POSTGRES_DB: "${POSTGRES_DB:-hive}"
      PGDATA: "${HIVE_POSTGRES_TARGET:-/var/lib/postgresql/data}/pgdata"
    volumes:
      # A directory or, with HIVE_POSTGRES_DATA=volume, the volume below.
      # The long form: a missing directory is an error, not one that Docker makes as root.
      - type: "${HIVE_POSTGRES_DATA:-bind}"
        source: "${HIVE_POSTGRES_DATA:-./data/postgres}"
        target: "${HIVE_POSTGRES_TARGET:-/var/lib/postgresql/data}"
    command: [postgres,
      -c, "max_connections=${HIVE_POSTGRES_MAX_CONNECTIONS:-200}",
      -c, "shared_buffers=${HIVE_POSTGRES_SHARED_BUFFERS:-256MB}",
      -c, "effective_cache_size=${HIVE_POSTGRES_EFFECTIVE_CACHE_SIZE:-1GB}"]
    ports: ["${HIVE_POSTGRES_BIND:-127.0.0.1}:${HIVE_POSTGRES_PORT:-5532}:5432"]
    networks: [app_network]
    healthcheck:
      # Over TCP: during the first start a temporary server answers on the socket alone.
      test: pg_isready -q -h 127.0.0.1 -p 5432 -U "$$POSTGRES_USER" -d "$$POSTGRES_DB"
      interval: 5s
      timeout: 5s
      retries: 10
      start_period: 60s
    shm_size: "${HIVE_POSTGRES_SHM_SIZE:-1gb}" # Docker's 64 MB breaks parallel HNSW builds
    stop_grace_period: "${HIVE_POSTGRES_STOP_GRACE_PERIOD:-1m}"
    security_opt: ["no-new-privileges:true"]
    cap_drop: [ALL]
    read_only: true
    tmpfs: [/tmp, /var/run/postgresql]
    logging:
      driver: json-file
      options:
        max-size: "${HIVE_POSTGRES_LOG_MAX_SIZE:-10m}"
        max-file: "${HIVE_POSTGRES_LOG_MAX_FILE:-3}"
    labels:
      hive-pg.generated-by: hive-pg VERSION
      hive-pg.workspace: "${HIVE_POSTGRES_WORKSPACE:-}"
networks:
  app_network: {driver: bridge}
volumes:
  volume: {name: "${COMPOSE_PROJECT_NAME:-hive}_postgres"}
"""


def render_compose() -> str:
    """Return the compose file of a new workspace."""
    return _COMPOSE_TEMPLATE.replace("VERSION", __version__)


def render_addition(service: str, data_dir: str) -> str:
    """Return a file beside theirs: a service, or the port of one."""
    text = render_compose()
    head, _, body = text.partition("services:\n")
    if service:
        ports = re.findall("(?m)^    ports: .*$", body)[0]
        return f"{head}services:\n  {format_json(service)}:\n{ports}\n"
    text = re.sub(r"(?m)^ *networks:.*\n(  app_.*\n)?", "", text)
    return text.replace(f"./{DATA_DIR}", data_dir.replace(os.sep, "/"))


class ComposeService(Record):
    """The PostgreSQL service of a compose file, as Compose resolves it."""

    service: str
    container: str
    image: str
    user: str  # UID[:GID], '' for the image's own
    bind: str
    host_port: int  # 0 where no fixed one is published
    data_dir: str
    cluster: str  # PGDATA below a directory or a volume's name, '' in a volume without one
    environment: Mapping[str, str]
    project: str = ""
    builds: bool = False
    closed: str = ""  # the kind of network from which no port can be published
    mounts: Sequence[tuple[str, str]] = ()
    command: Sequence[str] = ()
    image_info: ImageInfo | None = None

    def with_image(self, image: ImageInfo | None) -> ComposeService:
        """Return the service with its image, which places the cluster."""
        if image is None or not self.mounts:
            return self.replace(image_info=image)
        volumes = [("", target) for target in image.volumes]
        pgdata = {"PGDATA": DEFAULT_PGDATA, **image.environment, **self.environment}["PGDATA"]
        data_dir, cluster = locate_cluster([*self.mounts, *volumes], pgdata)
        return self.replace(image_info=image, data_dir=data_dir, cluster=cluster)

    @property
    def source(self) -> str:
        """The directory or the volume of the cluster."""
        return self.data_dir or self.cluster.partition("/")[0]

    @property
    def lasts(self) -> bool:
        """Whether the cluster outlives a container."""
        return self.source not in ("", IN_MEMORY)

    def is_in(self, info: ContainerInfo | None) -> bool:
        """Whether a container alone has the cluster."""
        return info is not None and not (info.cluster[1] or self.source)

    @property
    def in_volume(self) -> bool:
        """Whether the cluster is in a named volume."""
        return self.lasts and not self.data_dir

    @property
    def target(self) -> str:
        """Where a container that has `source` as /target sees the cluster."""
        return posixpath.normpath(f"/target/{self.cluster[len(self.source) :]}")


def default_service(settings: Settings, directory: str) -> ComposeService:
    """Return the service of the compose file that hive-pg writes."""
    data_dir = "" if settings.data else os.path.normpath(f"{directory}/{DATA_DIR}")
    user = (DEFAULT_ROLE, DEFAULT_ROLE) if settings.data else (settings.uid, settings.gid)
    return ComposeService(
        service=SERVICE,
        container=settings.container,
        image=settings.image or DEFAULT_IMAGE,
        user=f"{user[0]}:{user[1]}",
        bind=settings.bind or DEFAULT_BIND,
        host_port=settings.url.port,
        data_dir=data_dir,
        cluster=f"{data_dir or f'{settings.project}_{SERVICE}'}/pgdata",
        environment=settings.env,
        project=settings.project,
    )


def _drop_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in (None, "")}


def _find_closed_network(config: Mapping[str, Any], service: Mapping[str, Any]) -> str:
    """Return the kind of network that publishes no port, or ''."""
    networks = [config["networks"][name] for name in service.get("networks", ())]
    internal = networks and all(each.get("internal") for each in networks)
    mode = "internal" if internal else service.get("network_mode", "")
    return mode if mode in ("internal", "host", "none") or ":" in mode else ""


def parse_compose_config(text: str, wanted: str = "", **choice: Any) -> ComposeService:
    """Read the PostgreSQL service from what `config` prints."""
    # `config` doubles every dollar, so that its output is a compose file again.
    config = parse_json(text.replace("$$", "$"))
    project, services, volumes = config.get("name"), {}, config.get("volumes", {})
    for name, service in config.get("services", {}).items():
        usual = {"container_name": f"{project}-{name}-1", "image": f"{project}-{name}"}
        services[name] = {**usual, **_drop_empty(service)}
    if wanted not in {"", *services}:
        raise WorkspaceError(f"the compose file has {', '.join(services)}, but no {wanted}")
    name = wanted or choose_service(services, **choice)
    service = services[name]
    environment = _drop_empty(service.get("environment", {}))
    ports = [port for port in service.get("ports", []) if port.get("target") == CONTAINER_PORT]
    fixed = [port for port in ports if str(port.get("published")).isdigit()]
    port = (*fixed, *ports, {"host_ip": DEFAULT_BIND})[0]
    mounts = [(IN_MEMORY, entry.partition(":")[0]) for entry in service.get("tmpfs", [])]
    for mount in service.get("volumes", []):
        source = IN_MEMORY if mount["type"] == "tmpfs" else mount.get("source", "")
        mounts.append((volumes.get(source, {}).get("name", source), mount["target"]))
    for secret in service.get("secrets", []):
        target = posixpath.join("/run/secrets", secret.get("target", secret["source"]))
        mounts.append((config["secrets"][secret["source"]].get("file", ""), target))
    data_dir, cluster = locate_cluster(mounts, environment.get("PGDATA", DEFAULT_PGDATA))
    return ComposeService(
        service=name,
        container=service["container_name"],
        image=service["image"],
        user=service.get("user", ""),
        bind=port.get("host_ip", "0.0.0.0"),
        host_port=int(port["published"]) if fixed else 0,
        data_dir=data_dir,
        cluster=cluster,
        environment=environment,
        project=project or "",
        builds="build" in service,
        closed=_find_closed_network(config, service),
        mounts=mounts,
        command=service.get("command", []),
    )


# The last part of its name: not postgres-exporter or postgres-backup-s3.
_SERVER_IMAGE = (
    r"(?:^|[/_-])(?:postgres(?:ql)?|pgvector|postgis|timescaledb|paradedb)"
    r"(?:-ha|-docker-ha|[_-]?(?:pg)?[0-9.]+)?(?:[:@][^/]*)?\Z"
)


def choose_service(
    services: Mapping[str, Mapping[str, str]],
    known: str = "",
    before: str = "",
    is_server: Callable[[str], bool] = lambda image: False,
) -> str:
    """Return a known container's service, one before, postgres, or the only server.

    >>> choose_service({"web": {"image": "nginx"}, "db": {"image": "pgvector/pgvector:pg16"}})
    'db'
    """
    images = [(name, service.get("image", "")) for name, service in services.items()]
    names = [name for name in services if services[name].get("container_name") == known]
    names = names or [name for name in (before, SERVICE) if name in services][:1]
    names = names or [name for name, image in images if re.search(_SERVER_IMAGE, image)]
    names = names or [name for name, image in images if is_server(image)]
    if len(names) == 1:
        return names[0]
    if names:
        why = f"the compose file has several PostgreSQL services: {', '.join(names)}"
        raise WorkspaceError(why, "{init} --service NAME takes one")
    hint = "{init} --yes adds one; {init} --service NAME takes one;"
    hint += " for one behind a profile, set COMPOSE_PROFILES in .env"
    raise NoServiceError("the compose file has no PostgreSQL service", hint)


def read_login_files(service: ComposeService) -> ComposeService:
    """Return the service with what its POSTGRES_..._FILE hold."""
    environment, name = dict(service.environment), service.service
    for key in [k for k in (USER_KEY, PASSWORD_KEY, DB_KEY) if f"{k}_FILE" in environment]:
        file, text = environment[f"{key}_FILE"], b""
        if key in environment:
            why = f"service {name} gets {key} and {key}_FILE, and the image takes one only"
            raise WorkspaceError(why, "take one out; env_file: .env brings the first, too")
        path = locate_cluster(service.mounts, file)[1]
        with suppress(WorkspaceError):
            text = (is_path(path) and read_file(path)) or b""
        if not text.strip():
            why = f"{key}_FILE of service {name} is {file}, which cannot be read here"
            hint = f"make it a file that you may read, or let {name} take {key} from {ENV_FILE}"
            raise WorkspaceError(why, hint)
        environment[key] = text.decode("utf-8", "surrogateescape").rstrip("\n")
    return service.replace(environment=environment)


def adopt_service(
    settings: Settings, service: ComposeService, wanted: Mapping[str, object], *, known: bool
) -> Settings:
    """Follow a compose file, which contradicts neither options nor `.env`."""
    name, url = service.service, settings.url
    environment = {**(service.image_info or ImageInfo({}, ())).environment, **service.environment}
    if PASSWORD_KEY in environment or environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
        environment = {USER_KEY: DEFAULT_ROLE, **environment}
    user = environment.get(USER_KEY, url.user)
    password = environment.get(PASSWORD_KEY, url.password)
    database = environment.get(DB_KEY, environment.get(USER_KEY, url.database))
    url = url.replace(user=user, password=password, database=database)
    fixed = {"port": service.host_port, "image": service.image, "bind": service.bind}
    fixed["data"] = name_placement(service.cluster) or "bind"
    if not service.host_port:
        fixed |= dict.fromkeys(("port", "bind"), "no fixed port is published")
    for option, value in {**fixed, "database": database}.items():
        if wanted.get(option) not in (None, value):
            why = f"--{option} {wanted[option]} has no effect: the compose file says {value}"
            raise WorkspaceError(why, f"edit service {name} in it")
    if known and url != settings.url:
        why = f"the compose file and {URL_KEY} disagree on user, password or database"
        hint = f"let service {name} take POSTGRES_... from {ENV_FILE}, or correct {URL_KEY}"
        raise WorkspaceError(why, hint)
    uid, gid = parse_user(service.user) or (settings.uid, settings.gid)
    if not service.host_port and service.closed != "host":
        url = url.replace(host=name)
    elif url.host == name:  # it was not published before
        url = url.replace(host=LOCALHOST)
    url = url.replace(port=service.host_port or CONTAINER_PORT)
    return settings.replace(url=url, container=service.container, uid=uid, gid=gid)


def parse_user(user: str) -> tuple[int, int] | None:
    """Read Compose's `UID[:GID]`; None for root, a name, the image's own.

    >>> parse_user("1000:1000"), parse_user("501"), parse_user("0:0"), parse_user("")
    ((1000, 1000), (501, 0), None, None)
    """
    match = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", user)
    return (int(match[1]), int(match[2] or 0)) if match and int(match[1]) else None


def has_wrong_owner(service: ComposeService) -> bool:
    """Whether the data is another user's than the server's."""
    user, place = parse_user(service.user), service.data_dir
    return bool(user and os.path.isdir(place) and not is_usable_by(place, user[0]))


# == Server ================================================
# All that runs in the database's container, or in the clients'.

# Logs in over the container's own address: the socket and 127.0.0.1 are `trust` in the image, and
# answer too early during the first start. `!none` makes psql 16 refuse a server that asks for no
# password at all. Where the login fails, pg_isready says why, and waits.
_PROBE_SCRIPT = """\
IFS= read -r PGPASSWORD
export PGPASSWORD PGUSER="$1" PGDATABASE="$2" PGHOST="$(uname -n)" PGHOSTADDR= PGPORT=5432
export PGSSLMODE=prefer PGREQUIREAUTH='!none' PGCONNECT_TIMEOUT=5 LC_ALL=C
ready() { pg_isready -q -t 1; }
until psql -XwqAt -v ON_ERROR_STOP=1 -c "$4"; do
  login=$?
  ready && exit $((80 + login))
  deadline=${deadline:-$(($(date +%s) + $3))}
  until ready; do
    ready=$?
    if [ "$ready" -gt 2 ] || [ "$(date +%s)" -ge "$deadline" ]; then exit $((70 + ready)); fi
    sleep 0.02
  done
  echo "hive-pg: once more" >&2
done
"""
# Its exit codes: psql's where the login failed, and pg_isready's once time is up.
_SQL_FAILED, _LOGIN_FAILED, _REJECTING, _NO_RESPONSE = 81, 82, 71, 72
# What psql says of a server that stops, recovers or waits after it accepted.
_NOT_NOW = (
    ".*(?:the database system is (?:starting up|shutting down|in recovery|not yet accepting)"
    "|terminating connection|server closed the connection|Connection re(?:fused|set)"
    "|timeout expired).*"
)
VERSIONS_SQL = (
    "select host(inet_server_addr()), current_setting('server_version'),"
    " (select default_version from pg_available_extensions where name = 'vector'),"
    " (select extversion from pg_extension where extname = 'vector')"
)
CREATE_EXTENSION_SQL = "set client_min_messages = warning; create extension if not exists vector; "

# Settings of a role or a database must not keep anybody from dumping or mending it.
_OWN_SESSION = "PGOPTIONS=-c role=none -c default_transaction_read_only=off -c statement_timeout=0"
_OWN_SESSION += " -c lock_timeout=30s"  # or docker is given up before, and it goes on there
# Has $0 read the dump to its end: `pg_restore --list` would be content with a truncated one. Where
# stdin ends, as hive-pg was killed, so does pg_dump. No child may outlive its shell and die of a
# signal: it would be PostgreSQL's, as PID 1, which takes that for a crash and restarts.
_DUMP_FAILED = "hive-pg: pg_dump failed"
_DUMP_SCRIPT = f"""\
exec 3<&0 4>&1
{{ {{
    pg_dump -Fc -w --lock-wait-timeout=30s "$@" 3<&- 4>&- 5>&- & dump=$!
    {{ cat <&3; kill "$dump"; :; }} >/dev/null 2>&1 4>&- 5>&- & watch=$!
    wait "$dump" || echo "{_DUMP_FAILED}" >&2
    kill "$watch"
    wait "$watch"
  }} | tee /dev/fd/5 >&4
}} 5>&1 | $0
"""
_READ_BACK, _READ_LATER = "pg_restore --file=/dev/null", "dd of=/dev/null status=none"
# A server without room for its log stops: a client that loads is watched, and its session ended in
# time. The trap waits for a program that runs: none may be left behind.
_ROOM = f"""\
room() {{
  need=$(({RESERVE_MB} + ${{1:-0}}))
  df -Pk "$PGDATA" "$PGDATA/pg_wal" 2>/dev/null |
    awk -v need="$need" 'NR > 1 && $4 < need * 1024 {{ exit 1 }}' && return
  echo "hive-pg: less than $need MB are left for the data" >&2
  return 1
}}
"""
END_LOADS_SQL = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname ~ '_restoring_[0-9]+T[0-9]+Z$'"
    " or query ~ '^create database .*_(restoring|snapshot|fresh)_[0-9]+T[0-9]+Z.? owner '"
)
_WATCH_SCRIPT = f"""\
{_ROOM}exec 3<&0
"$@" <&3 3<&- & client=$!
{{
  trap 'exit' TERM
  while room; do sleep 0.2; done
  trap '' TERM
  psql -XqAtw -d template1 -c "{END_LOADS_SQL}"
}} >/dev/null 3<&- & watch=$!
wait "$client"; code=$?
{{ kill "$watch"; wait "$watch"; }} 2>/dev/null
exit "$code"
"""
_LOAD_SCRIPT = """\
filter=$1 after=$2
shift 2
{ LC_ALL=C eval "$filter" && printf '%s\\n' "$after"; } | "$@"
"""
# For a psql without \\restrict. The letters that may follow a backslash are those of COPY's rows;
# the commands of psql that begin with them print otherwise, or run what is in backquotes. It may
# refuse too much.
_GUARD = r"""awk '{ line = $0; gsub(/\\[bfnrtvxN.0-7\\]/, "", line)
  if (line ~ /\\/ || /\\(bind(_named)?|f|r|reset|t|timing|x)[ \t\f\v\r].*`/) {
    print "hive-pg: a backslash in line " NR | "cat 1>&2"; exit 1 }
  print }'"""
# Measures the control group (version 2, then 1), then the server.
_SAMPLE_LIMITS = "-c default_transaction_read_only=on -c statement_timeout=5s -c lock_timeout=1s"
_SAMPLE_SCRIPT = """\
count=$1 sql=$2
cd "$0"
while :; do
  grep -sE '^(((total_)?inactive_file|usage_usec) )?[0-9]+$' cpu.stat memory.current memory.max \
    memory.stat cpuacct/cpuacct.usage memory/memory.usage_in_bytes memory/memory.limit_in_bytes \
    memory/memory.stat
  printf '%s' "$sql" | PGCLIENTENCODING=UTF8 psql -XwqAt -v ON_ERROR_STOP=1 || exit
  count=$((count - 1))
  [ "$count" -gt 0 ] || exit 0
  sleep 1
done
"""


class Probe(Record):
    """What one look at the database found."""

    readiness: Readiness
    error: PostgreSQLIntegrationError | None = None  # why there was no login, or no pgvector
    server_version: str = ""
    available_version: str = ""  # of pgvector
    created_version: str = ""  # in the database
    warning: Diagnosis | None = None
    info: ContainerInfo | None = None
    objection: str = ""  # why the published port does not serve
    address: str = ""  # the one where it does
    binds: Sequence[str] = ()  # of the URL's port

    @property
    def major(self) -> str:
        """The server's major version, '' where unknown."""
        return self.server_version.partition(".")[0]


def parse_versions(said: str) -> tuple[str, Probe]:
    """Read the answer to VERSIONS_SQL: the server's address, and the probe."""
    fields = last_line(said).split("|")
    if len(fields) != 4:
        raise DatabaseConnectionError("what answers is not PostgreSQL", detail=said)
    address, server, available, created = fields
    return address, Probe(Readiness.ACCEPTING, None, server.split(" ")[0], available, created)


def parse_probe(result: CommandResult, sql: str = "") -> Probe:
    """Read the end of a probe by `sql`."""
    code, words = result.returncode, result.stderr.rpartition("hive-pg: once more\n")[2].strip()
    if code == 0:
        address, probe = parse_versions(result.stdout)
        if address and not is_local(address):
            return probe.replace(warning=diagnose(words, "warning"))
        why = f"the container's own address is '{address}', where no password is asked for"
        hint = "give the machine's name an address of its own in /etc/hosts"
        return Probe(Readiness.ACCEPTING, DatabaseConnectionError(why, hint))
    if code == _SQL_FAILED:
        said, *_ = [*re.findall("ERROR:  (.*)", words), last_line(words)]
        why, hint = "the database fails", "{logs}"
        if CREATE_EXTENSION_SQL in sql:
            why = "pgvector cannot be created in the database"
            hint = "as a superuser, in the database: CREATE EXTENSION vector SCHEMA public"
        if re.search("is not available|extension control file", words):
            hint = "{init} --image, or in your compose file, one of this version with pgvector"
        return Probe(Readiness.ACCEPTING, PostgreSQLIntegrationError(f"{why}: {said}", hint))
    refusal = "PostgreSQL does not accept connections: "
    refuse = partial(DatabaseConnectionError, hint="{logs}", detail=words)
    if code == _NO_RESPONSE:
        return Probe(Readiness.NO_RESPONSE, refuse(f"{refusal}nothing answers on its address"))
    not_now = re.findall(_NOT_NOW, words) if code == _LOGIN_FAILED else []
    if not_now or code == _REJECTING:
        why = [*not_now, "it starts, stops or recovers"][0]
        return Probe(Readiness.REJECTING, refuse(refusal + why))
    if code == _LOGIN_FAILED:
        why = "the login failed: " + [*re.findall("FATAL:  (.*)", words), last_line(words)][0]
        hint = "{logs}; where that is not English, -c lc_messages=C in the server's command"
        row = diagnose(words, "login") or Diagnosis("", "", why, hint, DatabaseConnectionError)
        return Probe(Readiness.ACCEPTING, row.error(row.cause, hint=row.hint, repair=row.repair))
    if words and code != 137:  # SIGKILL, at the container's end
        return Probe(Readiness.UNKNOWN, build_error(result, "cannot ask the container"))
    why = "the container ended while it was asked"
    return Probe(Readiness.UNKNOWN, ContainerStartupError(why, "{logs}"))


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(map(int, re.findall("[0-9]+", text)))


def build_script_filter(head: bytes, *, restricts: bool) -> str:
    """Write the shell filter for an SQL script that begins with `head`."""
    key = re.search(rb"(?m)^\\restrict (\w+)\r?$", head)
    # Its line stays, empty: psql counts them.
    own = f"s/^\\\\(un)?restrict {key[1].decode('ascii')}\r?$//" if key else ""
    return f"sed -E '{own}'" + ("" if restricts else f" | {_GUARD}")


def quote_identifier(name: str) -> str:
    """Quote a name for SQL.

    >>> quote_identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote a text for SQL, whatever the server's settings."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_ROLE = (
    "rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,"
    " rolconnlimit, rolpassword, rolvaliduntil"
)


def build_copy_role_sql(source: str, target: str) -> str:
    """Write the psql script that makes a role like another."""

    def memberships(of: str, other: str) -> str:
        return f"""\
from (select *, to_jsonb(m) - '{{oid,roleid,member,grantor}}'::text[] as options,
    case roleid when {of} then {other} else roleid end::regrole as other_roleid,
    case member when {of} then {other} else member end::regrole as other_member
    from pg_auth_members m where {of} in (roleid, member)) m
where not exists (select from pg_auth_members o where to_jsonb(o) @> options
    and o.roleid = other_roleid and o.member = other_member)
\\gexec
"""

    return f"""\
select s.oid as source, t.oid as target from pg_authid s, pg_authid t
where s.rolname = {quote_literal(source)} and t.rolname = {quote_literal(target)} \\gset
update pg_authid set ({_ROLE}) = (select {_ROLE} from pg_authid where oid = :source)
where oid = :target;
delete from pg_db_role_setting where setrole = :target;
insert into pg_db_role_setting
select setdatabase, :target, setconfig from pg_db_role_setting where setrole = :source;
select format('revoke %s from %s granted by %s cascade',
    roleid::regrole, member::regrole, grantor::regrole)
{memberships(":target", ":source")}\
select format('grant %s to %s%s', other_roleid, other_member, case
    when options ? 'set_option' then (select ' with ' || string_agg(
        replace(key, '_option', ' ' || value), ', ') from jsonb_each_text(options))
    when admin_option then ' with admin option' end)
{memberships(":source", ":target")}"""


class Server:
    """The server in a container, for the credentials of a URL."""

    sources = ("login",)  # of the diagnoses of what it says
    session, cgroup = _OWN_SESSION, "/sys/fs/cgroup"
    guard: Sequence[str] = ("sh", "-c", _WATCH_SCRIPT, "hive-pg")  # of who loads
    options: Sequence[str] = ()  # of `docker exec`, for a person's own session

    def __init__(self, engine: Engine, container: str, url: DatabaseURL) -> None:
        self.engine, self.container, self.url = engine, container, url
        self.inside = ["docker", "exec", "--interactive", container]

    def with_url(self, **changes: str) -> Server:
        """Return the same server for other parts of the URL."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), url=self.url.replace(**changes))
        return other

    @property
    def login(self) -> dict[str, str]:
        """Libpq's variables, but for the password; the container's may mislead."""
        place = {"PGHOST": "", "PGHOSTADDR": "", "PGPORT": "5432", "PGSSLMODE": "prefer"}
        return {**place, "PGUSER": self.url.user, "PGDATABASE": self.url.database}

    def build_client(
        self, program: str, *arguments: str, options: Sequence[str] | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """Build a client's `docker exec` and its environment."""
        login = {**self.login, "PGCONNECT_TIMEOUT": str(LOGIN_TIMEOUT_S)}
        argv = ["docker", "exec", "--interactive", "--env", "PGPASSWORD"]
        argv += [word for pair in login.items() for word in ("--env", "=".join(pair))]
        argv += ("--env", "LC_ALL=C", "--env", self.session) if options is None else options
        argv += [self.container, program, *arguments]
        return argv, {**os.environ, "PGPASSWORD": self.url.password}

    def start_probe(self, *, wait: float, sql: str) -> Process:
        """Start to log in; wait for the server for `wait` s at most."""
        seconds = round(max(0.0, min(wait, WAIT_ROUND_S)))
        script = (_PROBE_SCRIPT, "hive-pg", self.url.user, self.url.database, str(seconds), sql)
        return self.engine.start([*self.inside, "sh", "-c", *script], stdin=PIPE)

    def finish_probe(self, process: Process, sql: str) -> Probe:
        """Hand over the password, and return the result."""
        timeout = WAIT_ROUND_S + QUESTION_TIMEOUT_S
        return parse_probe(process.finish(timeout=timeout, stdin=self.url.password + "\n"), sql)

    def probe(self, wait: float = 0, sql: str = VERSIONS_SQL) -> Probe:
        """Log in to the server; see `start_probe`."""
        with self.start_probe(wait=wait, sql=sql) as process:
            return self.finish_probe(process, sql)

    def query(
        self, sql: str, action: str, database: str = "template1", timeout: float = COMPOSE_TIMEOUT_S
    ) -> str:
        """Run SQL over the socket; `action` begins the error."""
        place = f"dbname={quote_literal(database)[1:]}"  # a name may hold host=
        argv, env = self.build_client("psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", place)
        result = self.engine.run(argv, timeout, sql, env=env)
        return check_result(result, action, sources=self.sources).stdout

    def end_sessions(self, name: str) -> None:
        """End what goes on for those who have a name."""
        sql = "select pg_terminate_backend(pid) from pg_stat_activity"
        sql += f" where application_name = {quote_literal(name)} and pid <> pg_backend_pid()"
        try:
            self.query(sql, "cannot end its session", self.url.database, timeout=QUESTION_TIMEOUT_S)
        except PostgreSQLIntegrationError as error:
            self.engine.runner.console.warn(f"what it ran may go on: {error}")

    def list_rows(self, *query: Any) -> list[str]:
        """Return the rows of a `query`: a name may hold what `splitlines` takes for an end."""
        return self.query(*query).split("\n")[:-1]

    def set_password(self, password: str, action: str) -> None:
        """Give the role a new password, which the server and its log never see."""
        # The client computes the verifier; a name after \password would lose its capitals.
        scram = "set password_encryption = 'scram-sha-256';"
        self.query(f"{scram}\n\\password\n{password}\n{password}\n", action)

    def start_dump(self, file: int, *, lasts: bool = False) -> Process:
        """Start to write pg_dump's output; what `lasts` is read back."""
        how = (_READ_BACK,) if lasts else (_READ_LATER, "-Z1")
        argv, env = self.build_client("sh", "-c", _DUMP_SCRIPT, *how)
        return self.engine.start(argv, env=env, stdin=PIPE, stdout=file, long=True)

    def check_alive(self) -> None:
        """Raise the error of a server that does not answer."""
        probe = self.probe(WAIT_ROUND_S)
        if probe.error and probe.readiness in (Readiness.NO_RESPONSE, Readiness.UNKNOWN):
            raise probe.error

    def dump(self, process: Process, file: int) -> CommandResult:
        """Wait for the end of what `start_dump` started; see `Process.watch`."""
        with process:
            result = process.watch(file, f"dumping {self.url.database}", self.check_alive)
        words = result.stderr.replace(f"{_DUMP_FAILED}\n", "")
        failed = words != result.stderr
        return result.replace(returncode=result.returncode or int(failed), stderr=words)

    def dump_globals(self, host: str = "") -> str:
        """Return roles, memberships and tablespaces as SQL, also of another host's server."""
        options = ["--globals-only", "--encoding=UTF8", "-w", "-l", self.url.database, "-h", host]
        argv, env = self.build_client("pg_dumpall", *options)
        result = self.engine.run(argv, COMPOSE_TIMEOUT_S, env=env)
        return check_result(result, "cannot dump the roles", sources=("login",)).stdout

    def check_room(self, action: str) -> None:
        """Make sure that there is room for another cluster."""
        script = f'{_ROOM}room "$(du -sm "$PGDATA" | cut -f1)"'
        result = self.engine.run([*self.inside, "sh", "-c", script], WALK_TIMEOUT_S)
        check_result(result, action, sources=("dump",))

    def load(self, file: int, client: Sequence[str], doing: str) -> CommandResult:
        """Run a client that reads a file, while there is room."""
        argv, env = self.build_client(*self.guard, *client)
        with self.engine.start(argv, env=env, stdin=file, stdout=DEVNULL, long=True) as process:
            return process.watch(file, doing, self.check_alive)

    def list_contents(self, action: str, file: int) -> str:
        """Return what `pg_restore --list` says of a dump, a descriptor."""
        with self.engine.start([*self.inside, "pg_restore", "--list"], stdin=file) as process:
            result = process.finish(timeout=COMPOSE_TIMEOUT_S)
        return check_result(result, action, sources=("dump",)).stdout

    def create(self, sql: str, action: str, source: str = "") -> str:
        """Run SQL that makes a database, while there is room."""
        size = "select size + least(size, 1 << 30) >> 20 from pg_database_size"
        size = f"$(psql -XqAtwd template1 -c {quote_sh(f'{size}({quote_literal(source)}) size')})"
        script = f"{_ROOM}room {size if source else ''} && exec psql -XqAtwv ON_ERROR_STOP=1"
        argv, env = self.build_client("sh", "-c", f"{script} -d template1")
        result = self.engine.run(argv, WALK_TIMEOUT_S, sql, env=env)
        return check_result(result, action, sources=("dump", "login")).stdout

    def sample(self, sql: str, count: int) -> CommandResult:
        """Measure the server's container, and run `sql`, each `count` times."""
        options = ("--env", f"{self.session} {_SAMPLE_LIMITS}")
        script = ("sh", "-c", _SAMPLE_SCRIPT, self.cgroup, str(count), sql)
        argv, env = self.build_client(*script, options=options)
        return self.engine.run(argv, 2 * QUESTION_TIMEOUT_S, env=env)

    def identify_mount(self, info: ContainerInfo) -> str:
        """Return DEVICE:INODE of the directory that a running server has, '' if unseen."""
        path = dict(info.mounts)[info.cluster[0]]
        return self.engine.run([*self.inside, "stat", "-c", "%d:%i", path]).stdout.strip()

    def locate(self, path: str) -> Iterator[str]:
        """Yield what a mounted directory may be called now, after a move."""
        file = "/proc/self/mountinfo"
        there = self.engine.run([*self.inside, "cat", file]).stdout
        here = os.fsdecode(read_file(file) or b"")
        inner, own = (re.findall(r"(?m)^\S+ \S+ (\S+) (\S+) (\S+) ", t) for t in (there, here))
        for device, root, target in inner:
            for same, base, point in own:
                if (target, device) == (path, same) and root.startswith(base):
                    yield decode_mount(join(point, root[len(base) :].lstrip("/")))

    @property
    def restricts(self) -> bool:
        r"""Whether psql has `\restrict`, against its own commands (CVE-2025-8714)."""
        return "\\restrict" in self.engine.run([*self.inside, "psql", "--help=commands"]).stdout

    def run_psql(self, arguments: Sequence[str]) -> int:
        """Run the image's psql on our streams."""
        asked, runner = is_terminal(sys.stdin), self.engine.runner
        if asked and is_terminal(sys.stdout):
            # The container's root is read-only, and its user has no home there.
            options = ["--tty", "--env", "PSQL_HISTORY=/tmp/.psql_history", *self.options]
            if arguments:  # the terminal's size comes later: to a pager, one line is too much
                options += ["--env", "PSQL_PAGER="]
            argv, env = self.build_client("psql", *arguments, options=options)
            return runner.attach(argv, env, waits=True)
        name = self.login.get("PGAPPNAME", f"hive-pg psql {os.urandom(8).hex()}")
        script = [] if asked else ["-X", "-v", "ON_ERROR_STOP=1"]
        options = ["--env", f"PGAPPNAME={name}", *self.options]
        argv, env = self.build_client("psql", *script, *arguments, options=options)
        returncode: int = ExitCode.INTERRUPTED
        try:
            returncode = runner.attach(argv, env)
        finally:
            if returncode == ExitCode.INTERRUPTED:  # psql itself would go on with what it has
                self.end_sessions(name)
        return returncode if returncode >= 0 else 128 - returncode


class Elsewhere(Server):
    """A server elsewhere, for an image's clients in a container of their own.

    Raises: WorkspaceError for a URL that no client there can use.
    """

    sources, guard, cgroup = ("elsewhere",), (), "/"

    def __init__(
        self, engine: Engine, image: str, url: DatabaseURL, network: str = "bridge"
    ) -> None:
        if "-pooler." in url.host or (url.port == 6543 and "supabase" in url.host):
            raise WorkspaceError(f"{url.host}:{url.port} is a connection pooler", POOLER_HINT)
        if is_local(url.host):
            why = f"psql runs in a container, for which {url.host} is that container itself"
            raise WorkspaceError(why, "name this machine by its address")
        super().__init__(engine, f"hive-pg-clients-{os.urandom(8).hex()}", url)
        self.image, self.network = image, network
        self.files: dict[str, str] = {}
        own = f"PGOPTIONS={url.options.get('options', '')}"
        self.options, self.session = ("--env", own), f"{own} -c statement_timeout=0"

    @property
    def login(self) -> dict[str, str]:
        """Libpq's variables, but for the password: it is not sent in clear."""
        own = build_client_environment(self.url)
        named = {k: own[k] for k in own if re.match("PG(?!PASSWORD|OPTIONS)", k)}
        safe = re.match("require|verify", self.url.options.get("sslmode", ""))
        named = named if safe else {"PGREQUIREAUTH": "!password", **named}
        return {"PGAPPNAME": self.container, **named, **self.files}

    def probe(self, wait: float = 0, sql: str = VERSIONS_SQL) -> Probe:
        """Log in, once: `wait` is for a server that starts."""
        try:
            said = self.query(sql, f"cannot log in to {self.url.host}", self.url.database)
        except DatabaseConnectionError as error:
            refused = isinstance(error, CredentialsRefusedError)
            return Probe(Readiness.ACCEPTING if refused else Readiness.NO_RESPONSE, error)
        return parse_versions(said)[1]

    def put(self, name: str, text: str) -> str:
        """Write a file there; return its path."""
        path = f"/dev/shm/{name}"
        argv = [*self.inside, "sh", "-c", 'umask 077; cat >"$0"', path]
        check_result(self.engine.run(argv, stdin=text), f"cannot write {path}")
        return path

    def load(self, file: int, client: Sequence[str], doing: str) -> CommandResult:
        """Run a client that reads a file; if it fails, nothing of it goes on."""
        with ExitStack() as failing:
            failing.callback(self.end_sessions, self.container)
            result = super().load(file, client, doing)
            if not result.returncode:  # else docker was killed perhaps, not the client
                failing.pop_all()
        return result

    @contextmanager
    def opened(self) -> Iterator[Elsewhere]:
        """Give it while its clients' container runs, with the URL's files in memory."""
        with self.engine.hold(self.container, self.image, self.network):
            for name in ("sslrootcert", "sslcrl", "sslcert", "sslkey"):
                path = self.url.options.get(name, "system")  # the image's own
                if path != "system":
                    data = read_file(path) or b""
                    if b"-----BEGIN " not in data or len(data) > 1 << 20:
                        why = f"{path!r}, the URL's {name}, is not there, or not in PEM form"
                        raise WorkspaceError(why, "give its whole path")
                    self.files[_VARIABLES[name]] = self.put(name, data.decode("utf-8", "replace"))
            yield self


# == Workspace =============================================
# A directory's `.env`, state and lock, and which container is its own.

_PUT_BACK, _TAKE_OVER = "put the data back, or mount it", "{start} --take-over"
UPGRADING = "an upgrade is under way, or was killed"


class EnvFile:
    """What `.env` says, or a blank example in its place."""

    def __init__(self, text: str, *, exists: bool = True) -> None:
        self.text, self.exists = text, exists
        self.items = parse_env(text, os.environ)
        self.values = env_values(self.items, required=(*OUR_KEYS, *_NAMING_KEYS))
        self.unread = sorted({item.key for item in self.items} - self.values.keys())


class State(Record):
    """What hive-pg remembers; on credentials `.env` decides."""

    id: str = ""
    directory: str = ""
    inode: str = ""  # and the device of the directory
    engine: Sequence[str] = ()
    user: str = ""
    database: str = ""
    url: str = ""  # the one here
    container: str = ""
    project: str = ""
    service: str = ""
    port: int = 0
    bind: str = ""
    image: str = ""
    major: str = ""
    volume: str = ""
    reason: str = ""
    verified: bool = True
    begun: bool = False  # hive-pg began a first start, and has not seen its end
    next_password: str = ""  # of a `rotate` that is under way
    staging: str = ""  # the database that a script is loaded into
    keeper: str = ""  # the role that undoes what it changes; `databases` are what others were
    databases: Sequence[Mapping[str, Any]] = ()
    exchange: Sequence[str] = ()  # what `exchange_clusters` does
    kept: str = ""  # the major version of the old cluster
    kept_image: str = ""
    attached: Sequence[str] = ()  # the URL elsewhere, and the one here, without passwords
    attached_by_hand: bool = False  # a person wrote the first one, which may be nowhere else


def parse_state(text: str) -> State | None:
    """Read the state file; None where hive-pg did not write it so.

    >>> parse_state('{"id": "1a", "later": 1}').id, parse_state("[]")
    ('1a', None)
    """
    import json

    usual = json.loads(format_json(State()))
    try:
        known = {key: value for key, value in json.loads(text).items() if key in usual}
    except (AttributeError, ValueError, RecursionError):
        return None
    if any(type(known[key]) is not type(usual[key]) for key in known):
        return None
    state = State(**known)
    kinds = {*map(type, (*state.engine, *state.exchange, *state.attached))}
    return state if kinds <= {str} and len(state.exchange) in (0, 5) else None


def describe_origin(info: ContainerInfo) -> tuple[str, str]:
    """Return where a container was made, and a remedy if that is gone."""
    remedy = f"; or, if that container is not needed: docker rm -f {info.name}"
    if not info.directory:
        return "somebody else (Compose did not make it)", remedy
    if is_gone(info.directory):
        return f"{info.directory}, which is gone", remedy
    return info.directory, ""


def build_conflict(info: ContainerInfo, claim: str, hint: str) -> ContainerConflictError:
    """Build the error for a name that another's container has."""
    owner, remedy = describe_origin(info)
    message = f"container {info.name} {claim}, and belongs to {owner}"
    return ContainerConflictError(message, hint + remedy)


def find_workspace(directory: str, *, by_env: bool = True) -> str:
    """Return the nearest workspace upwards, the directory itself for none.

    No repository, home, file system or stranger's directory is left.
    """
    here = place = realpath(directory)
    home, key = os.path.expanduser("~"), f"\n{CONTAINER_KEY}=".encode()
    own = (0, get_caller()[0])
    with suppress(OSError, WorkspaceError):
        device = os.stat(here).st_dev
        while os.stat(place).st_dev == device:
            state, env = (join(place, name) for name in (STATE_FILE, ENV_FILE))
            there = (place, *filter(lexists, (state, env)))
            if any(os.lstat(path).st_uid not in own for path in there):
                break
            if state in there or (by_env and key in b"\n" + (read_file(env) or b"")):
                return place
            edges = (dirname(place), realpath(home))
            if place in edges or lexists(f"{place}/.git"):
                break
            place = dirname(place)
    return here


class Workspace:
    """A directory, its `.env`, its state, and the engine."""

    agree: Callable[[str], None] = staticmethod(lambda question: None)  # or raises; see `main`
    begins = False  # this command has begun a first start
    takes_over = False  # from an engine, or a directory, that is gone
    worked = False  # this command has had the lock

    def __init__(
        self, directory: str = ".", console: Console | None = None, engine: Engine | None = None
    ) -> None:
        self.directory = realpath(directory)
        self.console = console or Console()
        self.engine = engine or Engine(Runner(self.console))
        self.runner = self.engine.runner
        self.held = False  # whether we have the lock
        self.context = ExitStack()
        self.data_dir = os.path.normpath(join(self.directory, DATA_DIR))
        self.env_path = join(self.directory, ENV_FILE)
        self.state_path = join(self.directory, STATE_FILE)
        self.lock_path = f"{self.state_path}.lock"

    @cached_property
    def env(self) -> EnvFile:
        """`.env`, as it was read or written last."""
        data = read_file(self.env_path)
        example = read_file(join(self.directory, ENV_EXAMPLE)) if data is None else None
        if example is None:
            return EnvFile(decode_env(data or b""), exists=data is not None)
        try:
            return EnvFile(blank_example(decode_env(example), os.environ), exists=False)
        except EnvFileError as error:
            raise EnvFileError(str(error).replace(ENV_FILE, ENV_EXAMPLE), error.hint) from None

    @property
    def values(self) -> Mapping[str, str]:
        """The values in `.env` that all readers agree on."""
        return self.env.values

    def reload(self) -> None:
        """Read `.env` and the state again, as others may write them."""
        vars(self).pop("state", None)
        env = vars(self).pop("env", None)
        if env and read_file(self.env_path) == (env.text.encode("utf-8") if env.exists else None):
            self.env = env  # no need to parse it again

    def save_env(self, changes: Mapping[str, str]) -> bool:
        """Write `changes` into `.env`; return whether it changed."""
        self.reload()  # a person may have edited it meanwhile
        if islink(self.env_path):
            self._refuse_others_env(changes)
        changes = {k: new for k, new in changes.items() if new or self.values.get(k)}
        edited = edit_env(self.env.text, self.env.items, changes)
        changed = not self.env.exists or edited != self.env.text
        if changed:
            write_file(self.env_path, edited, 0o600)
            self.env = EnvFile(edited)
        self.close_file(self.env_path)
        return changed

    def _refuse_others_env(self, changes: Mapping[str, str]) -> None:
        """Refuse a link to another workspace's `.env`, or to what is none of hive-pg's."""
        known = self.values.get(WORKSPACE_KEY, "")
        theirs = known not in ("", changes.get(WORKSPACE_KEY, known))
        theirs = theirs or lexists(join(dirname(realpath(self.env_path)), STATE_FILE))
        if theirs or not (self.env.exists and any(item.key in OUR_KEYS for item in self.env.items)):
            self.refuse_link_out(self.env_path, f"rm {quote_word(self.env_path)}")

    def close_file(self, path: str) -> None:
        """Close a file to others, or warn."""
        before = os.stat(path).st_mode & 0o777 if HAS_MODES else 0
        with explaining("change the mode of", path):
            mode = set_mode(path, before & 0o700) if before & 0o077 else before
        if mode & 0o077:
            self.console.warn(f"others may read {path}: its mode cannot be changed here")
        elif mode != before:
            self.console.step(f"{path} was open to others; its mode is {mode:04o} now")

    def refuse_link_out(self, path: str, hint: str) -> None:
        """Refuse to change what a link outside leads to."""
        target, here = realpath(path), join(self.directory, "")
        if path.startswith(here) and not target.startswith(here):
            why = f"{path} leads out of the workspace, to {target}, which stays as it is"
            raise WorkspaceError(why, hint)

    @cached_property
    def state(self) -> State:
        """What hive-pg remembers, or that the first login was verified."""
        path, state = self.state_path, None
        if not islink(path):  # it may lead to a stranger's file
            state = parse_state((read_file(path) or b"{}").decode("utf-8", "replace"))
        if state is None:
            raise WorkspaceError(f"{path} is damaged, or a link", f"rm {quote_word(path)}")
        return state

    @property
    def attached(self) -> DatabaseURL | None:
        """The URL in `.env`, if `attach` knows that its server is elsewhere."""
        text = self.values.get(URL_KEY)
        url = parse_database_url(text) if text else None
        elsewhere = url and not is_local(url.host)
        return url if elsewhere and repr(url) in self.state.attached[:1] else None

    def refuse_attached(self) -> None:
        """Refuse to change a server elsewhere, or the one here in its stead."""
        if url := self.attached:
            why = f"the server is elsewhere, {url.host}:{url.port}, and perhaps in production"
            hint = "{init} --detach goes back to the database here"
            raise WorkspaceError(f"{why}: this command is for a database here", hint)

    @property
    def is_new(self) -> bool:
        """Whether nobody has logged in here yet."""
        return is_gone(self.state_path) or not self.state.verified

    @property
    def is_copy(self) -> bool:
        """Whether this is another's copy: what moved on its disk keeps its inode."""
        before, known, here = self.state.directory, self.state.inode, identify_file(self.directory)
        same_disk = known.partition(":")[0] == here.partition(":")[0]
        apart = os.path.isdir(before) or (same_disk and not self.takes_over)
        return known != here and before not in (self.directory, "") and apart

    def refuse_copy(self) -> None:
        """Refuse what leads to another workspace's data."""
        if self.is_copy:
            why, hint = f"this is a copy of {self.state.directory}", "{init} gives it its own"
            if not os.path.isdir(self.state.directory):
                why += ", which is gone"
                own = "" if holds_data(self.data_dir) else " --data volume"
                hint = (
                    f"if it is the original: {_TAKE_OVER}; for a database of its own: {{init}}{own}"
                )
            raise WorkspaceError(f"{why}, and has its names", hint)

    def remember(self, **changes: object) -> None:
        """Update the state file; the lock is held."""
        known: dict[str, object] = {"directory": self.directory}
        known["inode"] = identify_file(self.directory)
        if "attached" in changes:
            known = {} if self.is_copy else known  # until it has names of its own
        else:
            settings, url = self.settings, self.settings.url
            known |= {"id": settings.workspace or self.state.id, "attached": []}
            known |= {"user": url.user, "database": url.database, "port": url.port}
            known |= {"container": settings.container, "project": settings.project}
            known |= {"bind": settings.bind, "url": repr(url)}
            known |= {"next_password": "", "exchange": []} if self.is_copy else {}
        state = self.state.replace(**{**known, **changes})
        if state != self.state or is_gone(self.state_path):
            try:
                write_file(self.state_path, format_json(state) + "\n", 0o600)
            except WorkspaceError as error:
                if changes.keys() & {"next_password", "staging", "exchange", "attached"}:
                    raise
                self.console.warn(str(error))
        self.state = state

    @property
    def settings(self) -> Settings:
        """The settings in `.env`, which has to be whole."""
        if is_gone(self.env_path) and not islink(self.env_path):
            missing, hint = self.env_path, "{init}"
            if not os.path.isdir(self.directory):
                missing = f"directory {self.directory}"
                hint = "{list} shows every workspace; {init} makes one"
            raise NotSetUpError(f"not set up: there is no {missing}", hint)
        return parse_settings(self.values, attached=bool(self.attached))

    @property
    def server(self) -> Server:
        """The server in this workspace's container, or elsewhere."""
        if self.attached:
            return self._elsewhere
        settings = self.settings
        return Server(self.engine, settings.container, settings.url)

    @cached_property
    def _elsewhere(self) -> Elsewhere:
        chosen = self.settings.image or os.environ.get(IMAGE_KEY)
        image = chosen or self.state.image or DEFAULT_IMAGE
        server = Elsewhere(self.engine, image, self.settings.url)
        if self.engine.find_image(image) is None:
            self.engine.pull(image)
        return self.context.enter_context(server.opened())

    def close(self) -> None:
        """End the container that `server` may have for a server elsewhere."""
        vars(self).pop("_elsewhere", None)
        self.context.close()

    @contextmanager
    def lock(self, timeout: float = READY_TIMEOUT_S, *, new: bool = False) -> Iterator[None]:
        """Let no other hive-pg change the workspace, which is set up or `new`.

        Its files are read again inside; the one who has the lock may wait for `timeout` s, too.
        """
        if not new:
            self.settings  # noqa: B018
        with Lock(self.lock_path, self.console, timeout + COMPOSE_TIMEOUT_S):
            self.reload()
            if not new:
                self.refuse_attached()
            self.held = self.worked = True
            try:
                yield
            finally:
                self.held = False

    def await_rotation(self) -> DatabaseURL:
        """Read `.env` after a `rotate` that goes on; return the URL."""
        for _ in range(int(QUESTION_TIMEOUT_S / 0.05)):
            self.reload()
            if self.held or not (self.state.next_password and is_locked(self.lock_path)):
                break
            time.sleep(0.05)
        return self.settings.url

    def compose_file(self) -> str | None:
        """Return the compose file that Compose takes, None for none."""
        paths = [join(self.directory, n) for n in self.named_files or COMPOSE_FILES]
        return next((p for p in paths if self.named_files or lexists(p)), None)

    @property
    def _separator(self) -> str:
        """What parts the names in COMPOSE_FILE."""
        return self.values.get("COMPOSE_PATH_SEPARATOR") or os.pathsep

    @property
    def named_files(self) -> list[str]:
        """The compose files that `.env` names."""
        return [name for name in self.values.get("COMPOSE_FILE", "").split(self._separator) if name]

    @property
    def has_added_file(self) -> bool:
        """Whether `.env` names the file that `add_compose_file` writes."""
        return ADDED_FILE in map(basename, self.named_files)

    @property
    def overruled(self) -> set[str]:
        """The shell's variables that `.env` has a say on: not docker's own."""
        # Where `.env` has a bare KEY, the shell's value is asked for.
        assigned = {i.key for i in self.env.items if i.value is not None or i.end > i.start}
        ours = {*assigned, *COMPOSE_SELECTORS, *OUR_KEYS} & os.environ.keys()
        return {key for key in ours if not re.fullmatch(r"PATH|HOME|DOCKER_\w*", key)}

    def run_compose(
        self, settings: Settings, *argv: str, timeout: float = COMPOSE_TIMEOUT_S
    ) -> str:
        """Run Compose, with `.env` in place of the shell's values."""
        beside = [name.replace(".y", ".override.y") for name in COMPOSE_FILES]
        for name in (ENV_FILE, *(self.named_files or (*COMPOSE_FILES, *beside))):
            refuse_strangers(join(self.directory, name), "read")
        left_out, engine, compose = self.overruled, self.engine, self.engine.compose_argv
        env = {key: value for key, value in os.environ.items() if key not in left_out}
        env |= {key: value for key, value in self.values.items() if key.startswith("COMPOSE_")}
        env |= {**settings.env, "PWD": self.directory}
        env |= {"DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": "docker"} if engine.plugin else {}
        how: Any = {"env": env, "cwd": self.directory, "executable": engine.plugin or None}
        result = engine.run([*compose, *argv], timeout, **how)
        result, program = result.replace(stderr=mask_values(result.stderr)), " ".join(compose)
        hint = f"correct the compose file, or {ENV_FILE}, until `{program} config` succeeds"
        if argv[0] != "config":  # which has succeeded
            hint = "mend what it names (for an image: its name, the network, docker login)"
        return check_result(result, f"`{program} {' '.join(argv)}` failed", hint).stdout

    def warn_of_shell(self) -> None:
        """Name what plain Compose and applications would take from this shell."""
        others = {key for key in self.overruled if os.environ[key] != self.values.get(key)}
        if names := " ".join(sorted(others | ({"PGHOSTADDR", "PGSERVICE"} & os.environ.keys()))):
            said = f"plain docker compose and applications take {names} from this shell"
            self.console.warn(f"{said}, not from {ENV_FILE}: unset {names}")

    def resolve_service(self, settings: Settings | None = None, wanted: str = "") -> ComposeService:
        """Return the PostgreSQL service as Compose resolves it."""
        settings = settings or self.settings
        if self.compose_file() is None:
            raise NotSetUpError(f"there is no {COMPOSE_FILE}", "{init}")
        text = self.run_compose(settings, "config", "--format", "json")
        choice = {"known": settings.container, "before": self.state.service}
        service = parse_compose_config(text, wanted, is_server=self.engine.is_server, **choice)
        return service.with_image(self.engine.find_image(service.image))

    def add_compose_file(self, text: str) -> None:
        """Write a file that Compose reads beside the compose file."""
        place, name = os.path.split(self.compose_file() or "")
        pattern = r"(docker-)?compose\.override\.ya?ml"
        beside = [name for name in os.listdir(place) if re.fullmatch(pattern, name)]
        # Compose prefers one as their lengths do, by chance.
        files = self.named_files or [name, *sorted(beside, key=len)[:1]]
        path = join(place, ADDED_FILE)
        if not lexists(path):
            write_file(path, text)
            self.console.step(f"{ADDED_FILE} is written, and yours to edit")
        text = self._separator.join([*files, os.path.relpath(path, self.directory)])
        self.save_env({"COMPOSE_FILE": text, "COMPOSE_PATH_SEPARATOR": self._separator})

    def drop_compose_file(self) -> set[str]:
        """Let Compose read theirs alone; return the keys that are not needed for that."""
        theirs = [name for name in self.named_files if basename(name) != ADDED_FILE]
        self.save_env({"COMPOSE_FILE": self._separator.join(theirs)})
        usual = all(name in COMPOSE_FILES or ".override." in name for name in theirs)
        return {*_NAMING_KEYS} if usual else set()

    def run_in_place(self, service: ComposeService, *argv: str, **options: Any) -> CommandResult:
        """Run a program as root on the service's data, /target."""
        return self.engine.run_in_place(service.image, service.source, *argv, **options)

    @property
    def is_apart(self) -> bool:
        """Whether the engine has a disk and ports of its own."""
        return is_elsewhere(read_host(self.directory), self.engine.facts)

    def _resembles(self, info: ContainerInfo, here: bool) -> bool:
        """Whether a container has our project or compose file."""
        named = info.project == self.values.get(PROJECT_KEY)
        if not here:
            return named and info.project != "" and is_gone(info.directory) and not self.is_apart
        files = map(basename, info.labels.get(CONFIG_FILES_LABEL, "").split(","))
        if not named and basename(self.compose_file() or COMPOSE_FILE) not in files:
            return False
        label = info.labels.get(WORKSPACE_LABEL)
        known = label == self.values.get(WORKSPACE_KEY) if label else named or not self.is_apart
        return known or self._mounts_this(info)

    def _mounts_this(self, info: ContainerInfo) -> bool:
        """Whether a container has this very directory mounted, not one of its path."""
        import tempfile

        place = info.cluster[0]
        if not place.startswith(join(self.directory, "")):
            return False
        with suppress(OSError), tempfile.NamedTemporaryFile(prefix=".hive-pg.", dir=place) as mark:
            argv = ("test", "-e", f"/target/{basename(mark.name)}")
            return not self.engine.run_in_place(info.image, place, *argv).returncode
        return False

    def owns(self, info: ContainerInfo) -> bool:
        """Whether a container is this workspace's.

        Its label says so, if Compose made it here, or where this workspace was before it moved.
        Without label or state, the project or the compose file has to match.
        By its path alone it has to have this very directory.
        """
        label, known = info.labels.get(WORKSPACE_LABEL), self.state.id
        project, file = self.values.get(PROJECT_KEY), self.compose_file()
        places = {identify_file(self.directory)}
        if file and info.project == project and not self.is_copy:
            places.add(identify_file(dirname(file)))
        here = identify_file(info.directory) in places - {""}
        if label and known:
            ids = {known, self.values.get(WORKSPACE_KEY)} if here else {known}
            return label in ids and not self.is_copy and (here or self._has_left(info.directory))
        return self._resembles(info, here)

    def _has_left(self, place: str) -> bool:
        """Whether it moved from a place, which may have a new directory."""
        if self.state.inode != identify_file(self.directory) or not os.path.isdir(place):
            return is_gone(place)
        with suppress(WorkspaceError):  # it is a stranger's
            text = (read_file(join(place, STATE_FILE)) or b"").decode("utf-8", "replace")
            there, known = parse_state(text), (self.state.id, identify_file(place))
            return there is None or (there.id, there.inode) != known  # a copy has another's
        return True

    def check_own(self, info: ContainerInfo | None) -> ContainerInfo | None:
        """Return a container, unless it is another's."""
        if info is not None and not self.owns(info):
            self.refuse_copy()
            hint = "{init} gives this workspace a name of its own"
            raise build_conflict(info, f"has the name in {ENV_FILE}", hint)
        return info

    def find_container(self) -> ContainerInfo | None:
        """Return this workspace's container, None where it is not there."""
        return self.check_own(self.engine.container(self.settings.container))

    def get_container(self) -> ContainerInfo:
        """Return this workspace's container, which has to exist."""
        self.refuse_attached()
        info = self.find_container()
        if info is None:
            raise NotSetUpError("the workspace has no container", "{start}")
        return info

    def get_running(self) -> ContainerInfo:
        """Return this workspace's container, which has to run."""
        info = self.get_container()
        if not info.running:
            raise self.judge(info, info.name).error()
        if info.is_oneoff:  # what is written there would be lost
            raise NotSetUpError(UPGRADING, "{start}")
        return info

    def judge(self, info: ContainerInfo | None, name: str) -> Condition:
        """Judge a container by its data's directory and its log."""
        if self.attached:
            return Condition("the server is elsewhere")
        logs = None
        if info and info.state is ContainerState.RESTARTING:
            logs = self.engine.logs(name, since=info.started_at - 0.1)
        condition = judge_container(info, name, logs)
        if info and (missing := self.find_missing(info)):
            hint = f"{_PUT_BACK}: {{start}}"
            if info.running:  # it still has some of it open
                hint = "{stop}; then {init} makes an empty one, after a yes"
            words = f"{condition.words}, and {missing} is missing"
            code = condition.exit_code or ExitCode.UNHEALTHY
            return condition.replace(words=words, hint=hint, exit_code=code)
        return condition

    def find_missing(self, info: ContainerInfo) -> str:
        """Return a container's cluster that was here, and is gone, or ''."""
        place, cluster = info.cluster
        here = place.startswith(join(self.directory, ""))
        return cluster if here and is_gone(cluster) and not self.is_apart else ""


# == Neighbours ============================================
# Who else has the name, the port or the data.


def choose_project_name(directory: str) -> str:
    """Return a Compose project name of this path's own.

    >>> choose_project_name("/home/ann/My App")
    'my-app-5f058d'
    """
    import hashlib

    stem = re.sub(r"[^a-z0-9_-]+", "-", basename(directory).lower()).strip("-_")[:40]
    return f"{stem or 'hive'}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:6]}"


def shares_cluster(info: ContainerInfo, service: ComposeService) -> bool:
    """Whether a container has a service's data mounted."""
    data_dir, cluster = service.data_dir, info.cluster[1]
    if not data_dir:
        return service.lasts and cluster == service.cluster
    places = [p for p in (*dict(info.mounts), cluster) if is_path(p)]
    # It may have another path: a mount, or a file system without case.
    own = {identify_file(data_dir), identify_file(service.cluster)} - {""}
    base = join(realpath(data_dir), "")
    return any(
        join(realpath(place), "").startswith(base) or identify_file(place) in own
        for place in places
    )


class Neighbours:
    """All containers of an engine at one moment: ours and others."""

    def __init__(
        self, workspace: Workspace, containers: Sequence[ContainerInfo], engine: Sequence[str] = ()
    ) -> None:
        self.workspace, self.containers, self.engine = workspace, containers, engine
        self.own = [info for info in containers if workspace.owns(info)]
        self.others = [info for info in containers if info not in self.own]
        self.projects = {info.project for info in self.others} - {""}

    def choose_names(self, values: Mapping[str, str]) -> tuple[str, str, bool]:
        """Return project and container, and whether `.env` has them."""
        recorded, container = values.get(PROJECT_KEY, ""), values.get(CONTAINER_KEY, "")
        copied = self.is_copy(values) or recorded in self.projects
        project = choose_project_name(self.workspace.directory)
        while project in {*self.projects, recorded}:  # made here, and moved away
            project += "-2"
        if recorded:
            project = project if copied else recorded
        elif self.own:
            project = self.own[0].project
        taken = {info.name for info in self.others}
        if container and not copied and container not in taken:
            return project, container, bool(recorded)
        container = DEFAULT_CONTAINER
        while container in taken:
            container += f"-{project}" if container == DEFAULT_CONTAINER else "-2"
        return project, container, False

    def is_copy(self, values: Mapping[str, str]) -> bool:
        """Whether the directory, or its `.env`, is another's copy."""
        ids = {info.labels.get(WORKSPACE_LABEL) for info in self.others}
        return self.workspace.is_copy or values.get(WORKSPACE_KEY, "") in ids - {""}

    def choose_port(self, first: int, bind: str) -> int:
        """Return the first port that nobody else has or may want."""
        usable = {port for info in self.own if info.running for _, port in info.ports}
        reserved = {port for info in self.others for _, port in info.ports}
        for port in range(first, min(first + 100, 65536)):
            if port in usable or (port not in reserved and is_port_free(bind, port)):
                return port
        raise ContainerConflictError(f"no free port from {first} on", "{init} --port N")

    def is_leftover(self, info: ContainerInfo, service: ComposeService) -> bool:
        """Whether an interrupted Compose has left a container of ours."""
        named = re.fullmatch(f"[0-9a-f]{{12}}_{re.escape(service.container)}", info.name)
        return bool(named) and info.state is ContainerState.CREATED and info in self.own

    def refuse_conflicts(self, service: ComposeService, *, starts: bool = True) -> None:
        """Make sure that nothing is taken from another container."""
        own = find_named(self.containers, service.container)
        self._refuse_other_engine(service, own)
        if own is not None and own not in self.own:
            hint = "{init} gives this workspace a name of its own, where the compose file has"
            hint += f" container_name: ${{{CONTAINER_KEY}:-{own.name}}}"
            raise build_conflict(own, "has the name in the compose file", hint)
        if own is not None and own.state is ContainerState.PAUSED:
            raise judge_container(own, own.name).error()
        for info in [i for i in self.others if starts and i.project == service.project]:
            hint = "{init} gives this workspace a project of its own"
            raise build_conflict(info, f"has the Compose project {info.project}", hint)
        rest = [i for i in self.containers if i is not own and not self.is_leftover(i, service)]
        for info in rest:
            if self._has_data_of(service, info):
                why = f"container {info.name} ({info.state.value}) has the data mounted that is in"
                why += f" {service.cluster}, and two servers on one data directory destroy it"
                hint = f"if it is not needed: docker stop {info.name}; docker rm {info.name}"
                raise ContainerConflictError(why, hint)
        if starts:
            self._refuse_other_names(service, own)
            self._refuse_strange_volume(service)
            self.refuse_replacement(service)
            self._check_port(service, own, rest)

    def _refuse_other_names(self, service: ComposeService, own: ContainerInfo | None) -> None:
        """Refuse one's own container of another service or project: Compose would."""
        now = service.service, service.project
        made = (own.labels.get(SERVICE_LABEL, now[0]), own.project) if own else now
        if made != now and made[1]:
            why = f"container {service.container} is of service {made[0]} in project {made[1]}, the"
            why += f" compose file and {ENV_FILE} say service {now[0]} in project {now[1]}"
            raise ContainerConflictError(why, "put that back; or {destroy}, then {start}")

    def _refuse_strange_volume(self, service: ComposeService) -> None:
        """Refuse a volume that may be another workspace's, as `.env` may be a copy."""
        workspace = self.workspace
        usual = service.project == choose_project_name(workspace.directory)
        known = usual or self.own or workspace.state.id or not workspace.values.get(WORKSPACE_KEY)
        if service.in_volume and not known and workspace.engine.has_volume(service.source):
            why = f"volume {service.source} may be another workspace's: no {STATE_FILE} is here"
            hint = f"to use it, take {WORKSPACE_KEY} out of {ENV_FILE}; for a database of its own,"
            raise WorkspaceError(why, f"{hint} {PROJECT_KEY}, too; then {{init}}")

    def refuse_replacement(self, service: ComposeService) -> None:
        """Refuse to replace a container that alone has the data."""
        own, port = find_named(self.own, service.container), service.host_port
        if own is None or port in [0, *(port for _, port in own.ports)]:
            return
        if service.is_in(own) or (own.running and own.home[0] == "memory"):
            why = f"only container {own.name} has the data; publishing port {port} would replace it"
            user, database = map(quote_word, own.login)
            hint = f"docker exec {own.name} pg_dump -Fc -U {user} {database} >kept.dump;"
            hint += " then a volume in the compose file, {init}, {restore} kept.dump"
            raise WorkspaceError(why, hint)

    def _refuse_other_engine(self, service: ComposeService, own: ContainerInfo | None) -> None:
        """Make sure that no other engine has the data, or its server."""
        workspace, state = self.workspace, self.workspace.state
        before, now = list(state.engine), list(self.engine)
        if before == now or not (before and now and service.lasts) or (own and own.running):
            return
        there, here = (" ".join(reversed(engine)) for engine in (before, now))
        if service.in_volume:
            why = f"volume {service.source} is on another engine ({there}) than this one ({here})"
            way = "{start}"
            elsewhere = state.verified and not workspace.engine.has_volume(service.source)
        else:
            # PostgreSQL's own lock is no help: each server is process 1 of its container.
            lock, inside = f"{service.cluster}/postmaster.pid", f"{service.target}/postmaster.pid"
            elsewhere, way = not is_gone(lock), "{stop}"
            if elsewhere and not lexists(lock):  # it is not ours to see
                test = workspace.run_in_place(service, "test", "!", "-e", inside)
                elsewhere = test.returncode != 0
            why = f"the server on another engine ({there}) than this one ({here}) was not shut down"
        if elsewhere and not workspace.takes_over:
            hint = f"{way}, with its DOCKER_HOST or context; if it is gone, {_TAKE_OVER}"
            raise ContainerConflictError(why, hint)
        workspace.console.note(f"the engine was {there} before, and is {here} now")
        if elsewhere:
            workspace.remember(engine=now)

    def _check_port(
        self, service: ComposeService, own: ContainerInfo | None, others: Sequence[ContainerInfo]
    ) -> None:
        port, owner, remedy = service.host_port, "", ""
        serves = own and (own.running or own.restarting) and port in [p for _, p in own.ports]
        if serves or is_port_free(service.bind, port):
            return
        for info in others:
            stopped = info.state is ContainerState.EXITED  # Podman shows its ports all the same
            if not stopped and str(port) in info.host_ports:
                place, remedy = describe_origin(info)
                owner = f"container {info.name} of {place}"
        if not owner and self.workspace.is_apart:
            return  # perhaps the tunnel to the engine's own port
        if not owner:
            argv, owner = ["ss", "-Hltnp", f"sport = :{port}"], "a process on this machine"
            listening = self.workspace.runner.ask(argv).stdout  # but for those of other users
            named = re.search(r'\(\("(.*?)",pid=([0-9]+)', listening)
            owner += f": {named[1]} (pid {named[2]})" if named else ""
        message = f"port {service.bind}:{port} is taken by {owner}"
        hint = "{init} --port N (or edit the compose file, if it fixes the port)"
        raise ContainerConflictError(message, hint + remedy)

    def _has_data_of(self, service: ComposeService, info: ContainerInfo) -> bool:
        """Whether a container has a service's data, even moved since."""
        if shares_cluster(info, service):
            return True
        data_dir, source = service.data_dir, info.cluster[0]
        ours = info.project == self.workspace.values.get(PROJECT_KEY)
        if not (source and os.path.isdir(data_dir) and (ours or is_gone(source))):
            return False
        if ours and info.state is ContainerState.PAUSED:
            why = f"container {info.name} is paused, and cannot say whether it serves {data_dir}"
            raise ContainerConflictError(why, f"docker unpause {info.name}")
        if not info.running:
            return False
        there = Server(self.workspace.engine, info.name, DatabaseURL("", ""))
        return there.identify_mount(info) == identify_file(data_dir)


def survey(workspace: Workspace) -> Neighbours:
    """Look at all containers and at the engine, side by side."""
    with workspace.engine.start(IDENTITY) as identity:
        containers = workspace.engine.containers()
        said = identity.finish(timeout=QUESTION_TIMEOUT_S)
    return Neighbours(workspace, containers, workspace.engine.read_facts(said).identity)


# == Life ==================================================

# -- ports and logins --------------------------------------

ASK_TLS = {*"sslmode=require sslmode=verify-ca sslmode=verify-full channel_binding=require".split()}
_NO_TLS, _STRANGER = "the server has no TLS", "another program answers at "


def ask_published_port(url: DatabaseURL, binds: Sequence[str] | None) -> tuple[str, str]:
    """Ask each address of the URL's host whether it leads to the database.

    `binds` are the addresses where it is published, [] where only a login tells,
    None for a server elsewhere. Returns the first objection and the right address.
    """
    import socket

    objection, failure, right = "", "", ""
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error), ""
    for address in dict.fromkeys(str(place[0]) for *_, place in found):
        try:
            connection = socket.create_connection((address, url.port), timeout=5)
        except OSError as error:
            failure = error.strerror or str(error)
            continue
        answer = b""
        # Source: https://www.postgresql.org/docs/16/protocol-flow.html (SSLRequest).
        with connection, suppress(OSError):
            connection.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            answer = connection.recv(1)
        refusal = judge_answer(url, binds, address, answer)
        objection, right = objection or refusal, right or ("" if refusal else address)
    return objection or ("" if right else failure), right


def judge_answer(url: DatabaseURL, binds: Sequence[str] | None, address: str, answer: bytes) -> str:
    """Return why what answers at an address is not the database, or ''."""
    asked = {f"{key}={value}" for key, value in url.options.items()} & ASK_TLS
    local, every = is_local(address), "::" if ":" in address else "0.0.0.0"
    published = binds is None or address in binds or (local and every in binds)
    if local and binds and not published:
        return f"{_STRANGER}{address}"
    if answer not in (b"S", b"N"):
        return "what answers is not PostgreSQL"
    if answer == b"N" and asked:
        return f"{_NO_TLS}, which {min(asked)} in it asks for"
    refusal = "" if published else login_with_psycopg(url, address)
    return "only a login tells whose it is: install psycopg" if refusal is None else refusal


def login_with_psycopg(url: DatabaseURL, address: str, *, known: bool = False) -> str | None:
    """Log in as `run`, but never with the password in clear.

    Returns the objection, '' for none; None where psycopg is not installed.
    """
    try:
        import psycopg
    except ImportError:
        return None
    options = {"hostaddr": address}
    if psycopg.pq.version() >= 160000 and "require_auth" not in url.options:
        options["require_auth"] = "scram-sha-256,md5"  # the image's, or older ones
        if re.match("require|verify" if known else "verify", url.options.get("sslmode", "")):
            options["require_auth"] += ",password"
    shell = {key: os.environ.pop(key) for key in LEADING_VARIABLES & os.environ.keys()}
    try:
        plain, _ = format_database_url(url, "libpq")
        psycopg.connect(plain, connect_timeout=10, **options).close()
    except psycopg.Error as error:
        return last_line(str(error)) or type(error).__name__
    finally:
        os.environ.update(shell)
    return ""


def tell_login(workspace: Workspace, probe: Probe, began: float) -> None:
    """Say what a login has found, as far as there is room."""
    url, created = workspace.settings.url, probe.created_version
    if url.unchecked:
        workspace.console.warn(url.unchecked)
    beside = f"+ pgvector {created}" if created else "without pgvector"
    found, place = f"PostgreSQL {probe.server_version} {beside}", f" on {url.host}:{url.port}"
    took = f", login verified ({time.monotonic() - began:.1f} s)"
    fits = len(found + place + took) + 2 <= terminal_width(sys.stderr)
    workspace.console.step(found + place * fits + took)


def refuse_port(workspace: Workspace, probe: Probe) -> str:
    """Raise the error of a URL that leads elsewhere, or asks for too much.

    With an engine elsewhere, return in words how its port is reached from here.
    """
    url, objection, binds = workspace.settings.url, probe.objection, probe.binds
    if workspace.attached:
        return "only the image's clients log in" + ": a VPN, a firewall?" * (not probe.address)
    if objection.startswith(_NO_TLS) or not workspace.is_apart:
        usual = {*USUAL_BINDS, "::"}.issuperset(binds)
        good = [LOCALHOST, "localhost"] * usual + [*binds]
        hint = "{restart} applies .env"
        if objection.startswith(_NO_TLS):
            hint = f"take that out of {URL_KEY}; or switch ssl on in the server"
        elif objection.startswith(_STRANGER) and probe.address:
            program = f"ss -ltnp 'sport = :{url.port}'"
            hint = f"put {probe.address} for {url.host} in {URL_KEY}; or end it: {program}"
        elif binds and workspace.settings.bind in ("", *binds) and url.host not in good:
            hint = f"put {good[0]} for {url.host} in {URL_KEY}"
        why = f"{URL_KEY} does not lead to this database at {url.host}:{url.port}: {objection}"
        raise DatabaseConnectionError(why, hint)
    remedy = "{init} --bind ADDRESS, one of the engine's machine"
    found = re.search(r"^ssh://[^/]+:\d+|(?<=://)[^/:]+", workspace.engine.facts.endpoint)
    if found:
        # Else ssh listens on ::1, too, which is not the engine's.
        remedy = f"ssh -NL 127.0.0.1:{url.port}:127.0.0.1:{url.port} {found[0]}, or {remedy}"
    return workspace.console.format(remedy)


def look(workspace: Workspace, wait: float = 0, sql: str = VERSIONS_SQL) -> Probe:
    """Ask container and server side by side, then the port."""
    url, name, server = workspace.settings.url, workspace.settings.container, workspace.server
    if workspace.attached:
        objection, address = ask_published_port(url, None)
        return server.probe(wait, sql).replace(objection=objection, address=address)
    with (
        workspace.engine.start([*INSPECT, name]) as inspect,
        server.start_probe(wait=wait, sql=sql) as process,
    ):
        info = parse_inspect(inspect.finish(timeout=QUESTION_TIMEOUT_S), name)
        workspace.check_own(info)  # before it gets the password
        if info is None or not info.running:
            error = ContainerStartupError("the container does not run", "{start}")
            return Probe(Readiness.UNKNOWN, error, info=info)
        # In the machine's network it listens on every address.
        ports = info.ports or [("0.0.0.0", url.port), ("::", url.port)] * info.joins
        binds = [bind for bind, port in ports if port == url.port]
        probe = server.finish_probe(process, sql)
    found, address = f"port {ports[0][1]}" if ports else "no fixed port", ""
    objection = f"the container is published on {found}"
    if url.host == info.inner_host or (binds and probe.error):
        objection = ""
    elif binds:
        objection, address = ask_published_port(url, _judge_binds(workspace, binds))
    if isinstance(probe.error, CredentialsRefusedError) and workspace.await_rotation() != url:
        return look(workspace, wait, sql)
    probe = probe.replace(info=info, objection=objection, address=address, binds=binds)
    return _tell_unfinished(workspace, probe)


def _judge_binds(workspace: Workspace, binds: list[str]) -> list[str]:
    """Return where it alone answers; [] where only a login tells."""
    engine = workspace.state.engine
    if "Podman" in engine[:1] and "0.0.0.0" in binds:
        return [*binds, "::"]  # both, if rootless
    if {*engine[2:]} - {read_machine()[1], "docker-desktop"} and workspace.is_apart:
        return [bind for bind in binds if bind not in {*USUAL_BINDS, "::"}]
    return binds


def _tell_unfinished(workspace: Workspace, probe: Probe) -> Probe:
    """Say what a command that goes on, or was killed, has spoilt."""
    if probe.info and probe.info.is_oneoff:
        begun = DatabaseConnectionError(UPGRADING, "{start}")
        return probe.replace(readiness=Readiness.REJECTING, error=begun, objection="")
    spoilt = workspace.state.staging or workspace.state.next_password
    if spoilt and isinstance(probe.error, CredentialsRefusedError):
        probe.error.hint = "{start} finishes what was begun, or undoes it"
    return probe


# -- images and losses -------------------------------------


def ensure_image(
    workspace: Workspace, settings: Settings, service: ComposeService
) -> ComposeService:
    """Return the service with its image, pulled or built if missing.

    Raises: ContainerStartupError for one of another major version than the data.
    """
    engine, name = workspace.engine, service.image
    if service.image_info is None:
        if service.builds:
            workspace.console.doing(f"building {name}")
            workspace.run_compose(settings, "build", service.service, timeout=PULL_TIMEOUT_S)
        else:
            engine.pull(name)
        workspace.console.doing()
        service = service.with_image(engine.find_image(name))
    if service.closed == "none" or (service.closed == "internal" and service.host_port):
        why = f"nobody reaches service {service.service}: its network is {service.closed}"
        raise WorkspaceError(why, "give it another one; an internal one publishes no port")
    made_by, image = read_cluster_version(service.cluster), service.image_info
    version = image and image.environment.get("PG_MAJOR")
    gone = service.data_dir and is_gone(f"{service.cluster}/PG_VERSION") and not workspace.is_apart
    if not (made_by or gone) and version not in (None, workspace.state.major):
        made_by = look_in_place(workspace, service, "cat", "/PG_VERSION")
    if made_by and version and made_by != version:
        why = f"the data was made by PostgreSQL {made_by}, {name} is {version}"
        later = parse_version(version) > parse_version(made_by)
        way = ("{start}", f"{{upgrade}} --image {name}")[later]
        hint = f"with an image of PostgreSQL {made_by} in {ENV_FILE} or the compose file: {way}"
        raise ContainerStartupError(why, hint)
    return service


def look_in_place(
    workspace: Workspace, service: ComposeService, program: str = "ls -A", what: str = ""
) -> str:
    """Return the names in a cluster, or what a program prints of `what` there."""
    # To look into a volume would make it.
    there = service.data_dir or (service.in_volume and workspace.engine.has_volume(service.source))
    if not there:
        return ""
    script = f'cd /target && {{ [ ! -e "$0" ] || {program} "$0"; }}'
    result = workspace.run_in_place(service, "sh", "-c", script, service.target + what)
    if re.search(_NO_SOURCE, result.stderr):
        return ""
    return check_result(result, f"cannot look into {service.cluster}").stdout.strip()


def find_loss(workspace: Workspace, service: ComposeService, own: ContainerInfo | None) -> str:
    """Return why there is no cluster, '' where there may be."""
    place, cluster, last = service.source, service.cluster, workspace.state.volume
    if service.data_dir and workspace.is_apart:
        found = bool(look_in_place(workspace, service))
        words = f"on the engine's disk, {cluster} holds no data"
    elif service.data_dir:
        found = holds_data(place, cluster)
        words = f"{place} is missing" if is_gone(place) else f"{cluster} holds no data"
        words += f", but {place} does" * holds_data(place)
    elif place == IN_MEMORY:
        found = own is not None and own.running
        words = "the data was in memory, and ended with its server"
    elif not place:
        found = own is not None
        words = f"the container is gone, and the data was in {f'volume {last}' if last else 'it'}"
    elif not workspace.engine.has_volume(place):
        found, words = False, f"volume {place} is missing"
    else:
        found, words = bool(look_in_place(workspace, service)), f"volume {cluster} holds no data"
    return "" if found else words


# -- the container -----------------------------------------


def bring_up(
    workspace: Workspace, service: ComposeService, neighbours: Neighbours, *, mend: bool = False
) -> None:
    """Start the container; with `mend` its user is given the data."""
    engine, own = workspace.engine, find_named(neighbours.containers, service.container)
    for info in neighbours.containers:
        if neighbours.is_leftover(info, service):
            engine.ask(f"cannot remove {info.name}", "rm", info.name)
    serves = own is not None and own.running and not own.restarting
    mend = mend or (not serves and has_wrong_owner(service))
    timeout = max(COMPOSE_TIMEOUT_S, PULL_TIMEOUT_S * service.builds)
    if own:
        timeout += own.grace  # Compose may stop and replace it
        if mend or own.restarting:  # or it would start by itself in between
            engine.stop(own.name, grace=10 if own.restarting else own.grace)
        else:
            _await_first_start(workspace, own)  # Compose would cut it short
    user = parse_user(service.user)
    if mend and user:
        source, cluster, owner = service.source, service.cluster, f"{user[0]}:{user[1]}"
        hint = "sudo mkdir -p {0}; sudo chown -R {1} {0}".format(quote_word(cluster), owner)
        workspace.refuse_link_out(service.data_dir, hint)
        workspace.console.note(f"giving {source} to {owner}")
        engine.give_data_to(user, source, cluster, service.image, hint)
        ensure_image(workspace, workspace.settings, service)  # its version can be read
    _note_first_start(workspace, service, own)
    kept = ["--no-recreate"] * service.is_in(own)
    if kept:
        workspace.console.note("the container stays as it was made: it alone has the data")
    workspace.console.doing(("starting PostgreSQL", "creating the cluster")[workspace.begins])
    _start_one(workspace, service, timeout, *kept)
    workspace.remember(engine=[*neighbours.engine], image=service.image, service=service.service)


def _start_one(workspace: Workspace, service: ComposeService, timeout: float, *how: str) -> None:
    """Start one container with Compose: two would destroy the data."""
    argv = ("up", "--detach", *how, "--scale", f"{service.service}=1", service.service)
    try:
        workspace.run_compose(workspace.settings, *argv, timeout=timeout)
    except DockerCommandError as error:
        if how or not re.search("network [0-9a-f]+ not found", str(error)):  # after a prune
            raise
        _start_one(workspace, service, timeout, "--force-recreate")


def _await_first_start(workspace: Workspace, info: ContainerInfo) -> None:
    """Wait until the server listens: the image cannot be stopped before."""
    verified = workspace.state.verified
    deadline = time.monotonic() + (WAIT_ROUND_S if verified else STOP_GRACE_S)
    if not info.running or (info.health is Health.HEALTHY and verified):
        return
    workspace.console.doing("waiting for the first start to end, or it would be cut short")
    while (left := deadline - time.monotonic()) > 0:
        if workspace.server.probe(left).readiness is not Readiness.NO_RESPONSE:
            return
        if "listening on IPv" in workspace.engine.logs(info.name, since=info.started_at - 0.1):
            return  # at an address that is not asked
    if not verified:
        why = "its first start is still under way: stopping it now would leave half a database"
        hint = f"{{stop}}, later; or docker stop {info.name}, to begin anew"
        raise ContainerStartupError(why, hint)


# The image's words as it makes a cluster, and when its init scripts are done.
_FIRST_START = "The files belonging to this database system"
_SCRIPT_ERROR = r"(?m)^.*/docker-entrypoint-initdb\.d/\S+: (?!NOTICE|WARNING).*$"
_FIRST_START_ENDED = f"(?s)PostgreSQL init process complete(?!.*{_FIRST_START})"


def _note_first_start(
    workspace: Workspace, service: ComposeService, own: ContainerInfo | None
) -> None:
    if not workspace.state.verified and find_loss(workspace, service, own):
        workspace.begins |= not (workspace.state.begun and own)
        workspace.remember(begun=True)
    elif own:
        workspace.begins = workspace.begins and _FIRST_START not in _read_half_start(workspace, own)
        _note_its_end(workspace, own)


def _note_its_end(workspace: Workspace, info: ContainerInfo) -> None:
    if workspace.state.begun and not _read_half_start(workspace, info):
        workspace.remember(begun=False)


def _read_half_start(workspace: Workspace, info: ContainerInfo) -> str:
    """Return the log of a first start that did not end, else ''."""
    log = workspace.engine.logs(info.name, -1) or "it has no log"
    return "" if re.search(_FIRST_START_ENDED, log) else log


def check_first_start(workspace: Workspace, info: ContainerInfo | None) -> None:
    """Refuse a cluster of hive-pg's whose init scripts did not end."""
    unbroken = workspace.begins and info and info.restart_count == 0
    if info is None or unbroken or not workspace.state.begun:
        return
    if log := _read_half_start(workspace, info):
        errors = "\n".join(re.findall(_SCRIPT_ERROR, log))
        why = "the first start was interrupted, or an init script of the image failed"
        hint = "{init} makes the cluster anew, once the cause is mended"
        hint = hint if info.home[1] else "{destroy} --data --no-backup, then {init}"
        known = _FIRST_START in log  # else what told of its end may be gone
        if not known:
            hint = f"if all is there: rm {STATE_FILE}; else {{init}} --yes makes it anew"
        repair = Repair.REMAKE if known else Repair.REPLACE
        raise ContainerStartupError(why, hint, detail=errors or log, repair=repair)


def _check_listening(logs: str) -> None:
    ports = re.findall(r'listening on IPv[46] address "(.*?)", port ([0-9]+)', logs)
    if ports and all(is_local(host) or int(port) != CONTAINER_PORT for host, port in ports):
        why = f"the server listens on {' port '.join(ports[0])}, where nobody reaches it"
        hint = f"listen_addresses=*, port {CONTAINER_PORT}, by command or PGPORT; {{restart}}"
        raise DatabaseConnectionError(why, hint)


def _check_steady(workspace: Workspace, first: Probe, now: Probe, allowed: int) -> None:
    """Raise the error of a container that is not on its way to serve."""
    info, since, restarts = now.info, 0.0, 0
    if info is None:
        raise judge_container(None, workspace.settings.container, "").error(awaited=True)
    if first.info:  # Docker notes a start's time a moment after the program's first words
        since, restarts = first.info.started_at - 0.1, first.info.restart_count + allowed
    logs = workspace.engine.logs(info.name, since=since)
    _check_listening(logs)
    condition = judge_container(info, workspace.settings.container, logs)
    soon = restarts > 0 and info.state is ContainerState.RESTARTING
    steady = (info.running or soon) and info.restart_count <= restarts
    # Words of a run before the command's may be about what was mended since.
    if not steady or (restarts == 0 and condition.repair is Repair.REMAKE):
        half = _read_half_start(workspace, info) if workspace.begins else ""
        if re.search(_SCRIPT_ERROR, half) and not info.oom_killed:
            check_first_start(workspace, info)  # it may be far up in the log
        raise condition.error(awaited=True)


def verify(
    workspace: Workspace,
    *,
    timeout: float = READY_TIMEOUT_S,
    creates: bool = False,
    probe: Probe | None = None,
) -> Probe:
    """Wait until `.env` logs in, here or elsewhere, and the port answers."""
    began, console, url = time.monotonic(), workspace.console, workspace.settings.url
    if not workspace.begins:
        console.doing("waiting for PostgreSQL")
    writes = f"set transaction read write; {CREATE_EXTENSION_SQL}"  # also where that is no default
    sql, allowed = writes * creates + VERSIONS_SQL, int(probe is not None)
    # One that ran before may be started again, after a crash.
    first = probe = probe or look(workspace, timeout, sql)
    while probe.error:
        readiness, left = probe.readiness, began + timeout - time.monotonic()
        if readiness is Readiness.ACCEPTING:
            check_first_start(workspace, probe.info)
        elif not workspace.attached:
            _check_steady(workspace, first, probe, allowed)
        ended = isinstance(probe.error, ContainerStartupError)  # and may be up again soon
        final = readiness in (Readiness.ACCEPTING, Readiness.UNKNOWN) and not ended
        if final or (workspace.attached and left <= 0):
            raise probe.error
        if left <= 0:
            hint = "see {logs}; {wait} --timeout S waits longer"
            why = f"not ready in time: {probe.error}"
            raise DatabaseConnectionError(why, hint, detail=probe.error.detail)
        console.tick()
        time.sleep(0.3)  # a server that has just crashed is asked again at once otherwise
        probe = look(workspace, left, sql)
    check_first_start(workspace, probe.info)
    if why := probe.objection:
        reach = refuse_port(workspace, probe)
        console.warn(f"the database serves; at {url.host}:{url.port}: {why}; {reach}")
    if probe.warning:
        console.warn(f"{probe.warning.cause}; {probe.warning.hint}")
    if probe.info and url.host == probe.info.inner_host:
        said = f"{url.host} publishes no fixed port: the URL is for its networks alone"
        console.warn(console.format(f"{said}; {{init}} --yes publishes one, if none is internal"))
    tell_login(workspace, probe, began)
    return probe


# -- what was left half done -------------------------------


def finish_rotation(workspace: Workspace) -> None:
    """Finish a `rotate` that is under way; the lock is held."""
    password, action = workspace.state.next_password, "cannot change the password"
    server = workspace.server
    try:
        server.set_password(password, action)
    except CredentialsRefusedError:  # its socket asks for one, and it has the new one already
        server.with_url(password=password).set_password(password, action)
    workspace.save_env(workspace.settings.with_password(password).env)
    workspace.remember(next_password="")
    workspace.console.step(f"the password is a new one, in the server and in {ENV_FILE}")
    workspace.console.note(f"restart what has read {ENV_FILE}")


FRESH_COMMENT = "hive-pg run --fresh of "  # and the time in the names of database and lock


def build_undo_sql(databases: object) -> str:
    """Write the psql script that gives databases names and limits back."""
    return f"""\
select unnest(array[case when d.oid <> o.oid then format('alter database %I rename to %I',
        d.datname, left(d.datname, 50) || '_' || d.oid)
    when d.datname <> name then format('alter database %I rename to %I', d.datname, name) end,
    case d.oid when o.oid then format('alter database %I is_template false allow_connections %s'
        ' connection limit %s', name, o.datallowconn, o.datconnlimit) end])
from jsonb_to_recordset({quote_literal(format_json(databases, None, ensure_ascii=False))})
    o(oid oid, name name, datallowconn text, datconnlimit int)
join pg_database own on own.oid = o.oid and pg_has_role(own.datdba, 'usage')
join pg_database d on d.oid = o.oid or d.datname = name order by d.oid = o.oid
\\gexec
"""


def build_list_sql(database: str, comment: str, *, drops: bool = False) -> str:
    """Write the query for the databases that hive-pg made, or drop them."""
    # One whose DROP was interrupted (-2) can only be dropped; a renamed one keeps its comment.
    drop = "unnest(array[case when datconnlimit <> -2 then"
    drop += " format('alter database %I is_template false', datname) end,"
    drop += " format('drop database if exists %I with (force)', datname)])"
    return f"""\
select {drop if drops else "datname"} from pg_database
where split_part(shobj_description(oid, 'pg_database'), E'\\n', 1)
= {quote_literal(comment.replace("{}", database))}
and datname ~ '_(before|restoring|snapshot|fresh)_[0-9]+T[0-9]+Z$' order by datname
""" + ("\\gexec\n" if drops else "")


def find_abandoned(workspace: Workspace) -> list[str]:
    """Return the locks of throwaway databases that nobody holds."""
    with suppress(OSError):
        paths = [join(workspace.directory, n) for n in os.listdir(workspace.directory)]
        ours = re.compile(re.escape(workspace.lock_path) + r"\.\d{8}T\d{6}Z").fullmatch
        return [path for path in filter(ours, paths) if not is_locked(path, perhaps=True)]
    return []


def drop_databases(workspace: Workspace, comment: str) -> None:
    """Drop the databases that hive-pg marked with a comment."""
    sql = build_list_sql(workspace.settings.url.database, comment, drops=True)
    workspace.server.query(sql, "cannot drop what is not needed")


def drop_fresh(workspace: Workspace, lock: str, held: Lock | None = None) -> None:
    """Drop a throwaway database and its lock, if it can be, or else warn."""
    try:
        drop_databases(workspace, FRESH_COMMENT + lock[-16:])
        if held and not OPEN_FILES_MOVE:
            held.close()
        with suppress(OSError):
            os.unlink(lock)
    except PostgreSQLIntegrationError as error:
        workspace.console.warn(str(error))


def has_left(workspace: Workspace) -> bool:
    """Whether a killed command has left what no other one undoes."""
    left = workspace.state.staging or find_abandoned(workspace)
    return bool(workspace.state.exchange or (left and not is_locked(workspace.lock_path)))


def undo_restore(workspace: Workspace) -> None:
    """Undo what a script that was loaded, or a killed command, has left."""
    for lock in find_abandoned(workspace):
        drop_fresh(workspace, lock)
    state, action = workspace.state, "cannot undo what a restore has changed"
    if not state.staging:
        return
    server, keeper, sql = workspace.server, state.keeper, build_undo_sql(state.databases)
    own = server.url.user
    if keeper:
        staging = f"from pg_database where datname = {quote_literal(state.staging)}"
        sql = f"""\
{END_LOADS_SQL};
select coalesce(max(datname), 'template1') as place {staging} \\gset
\\connect :place
begin;
lock table pg_authid in share row exclusive mode;
{build_copy_role_sql(keeper, own)}{sql}\
drop owned by {quote_identifier(keeper)};
set session authorization {quote_identifier(own)};
drop role {quote_identifier(keeper)};
commit;
"""
        try:
            server.with_url(user=keeper).query(sql, action)
        except CredentialsRefusedError:
            there = f"select rolname from pg_roles where rolname = {quote_literal(keeper)}"
            if server.query(there, action):
                raise
    else:
        if isinstance(server.probe().error, CredentialsRefusedError):
            server.set_password(server.url.password, action)
        server.query(sql, action)
    workspace.remember(staging="", keeper="", databases=[])


def settle(workspace: Workspace, timeout: float = READY_TIMEOUT_S, creates: bool = False) -> None:
    """Log in, and finish what was killed; the lock is held."""
    if workspace.state.next_password or workspace.state.staging:
        with suppress(CredentialsRefusedError):  # the server may have another one
            verify(workspace, timeout=timeout)
        undo_restore(workspace)
    if workspace.state.next_password:
        finish_rotation(workspace)
    _remember_login(workspace, verify(workspace, timeout=timeout, creates=creates))
    undo_restore(workspace)


def _remember_login(workspace: Workspace, probe: Probe) -> None:
    volume = probe.info.cluster[1] if probe.info else ""
    workspace.remember(verified=True, begun=False, major=probe.major, volume=volume)


def serve(workspace: Workspace, *, seen: bool = False, stops: bool = False) -> ComposeService:
    """Start the container, if nothing bars the way; with `stops`, stop it before."""
    settings, neighbours = workspace.settings, survey(workspace)
    service = ensure_image(workspace, settings, workspace.resolve_service(settings))
    found = f"{service.container} on {service.host_port or CONTAINER_PORT}"
    if found != (known := f"{settings.container} on {settings.url.port}"):
        why = f"the compose file has {found}, {ENV_FILE} has {known}"
        raise WorkspaceError(why, f"{{init}} makes {ENV_FILE} follow the compose file")
    workspace.refuse_copy()
    neighbours.refuse_conflicts(service)
    own = find_named(neighbours.containers, service.container)
    loss = "" if seen else find_loss(workspace, service, own)  # seen on the engine's disk
    if loss and workspace.state.verified:
        raise WorkspaceError(loss, f"{_PUT_BACK}; {{init}} makes an empty database, after a yes")
    if stops and service.source == IN_MEMORY:
        workspace.console.warn("the data was in memory: this is a new, empty database")
    try:
        if stops:
            stop_container(workspace)
    except ContainerStartupError as error:  # it had to be killed, and is to run again
        workspace.console.warn(str(error))
    bring_up(workspace, service, neighbours)
    return service


# Puts $0.$2 into the place of $0, which becomes $0.$1, unless that is done.
_EXCHANGE_SCRIPT = """\
if [ -e "$0.$2" ]; then
  { [ ! -e "$0" ] || mv -T "$0" "$0.$1"; } && mv -T "$0.$2" "$0" || exit
fi
rm -rf "$0.upgrade"
[ ! -e "$0.$1" ] || echo kept
"""


def goes_back(state: State) -> bool:
    """Whether the exchange of clusters that is under way undoes an upgrade."""
    return bool(state.exchange) and "" != state.exchange[1] == state.kept


def finish_upgrade(workspace: Workspace, *, port: int | None = None, ends: bool = False) -> None:
    """Finish an interrupted `upgrade`, or undo one whose cluster was not whole.

    Where that fails, what `ends` the database anyway only warns.
    """
    try:
        exchange_clusters(workspace, port)
    except PostgreSQLIntegrationError as error:
        if "upgrade" in workspace.state.exchange:  # the new one may have later rows
            ways = (error.hint, "{upgrade} --undo takes the old cluster")
            error.hint = "; or, ".join(filter(None, ways))
        if not ends:
            raise
        workspace.console.warn(str(error))


def exchange_clusters(workspace: Workspace, port: int | None = None) -> None:
    """Let the clusters change places as the state's `exchange` says, and serve.

    `exchange`: what to keep the present cluster as, which to take, its image, the image before,
    and what to keep the one taken as on the way back.
    """
    if not workspace.state.exchange or workspace.is_copy:
        return
    workspace.reload()  # the copy took long, and somebody may have edited `.env` meanwhile
    engine, state = workspace.engine, workspace.state
    if port:  # of an `init`: the present one may be taken
        url = workspace.settings.url.replace(port=port)
        workspace.save_env(workspace.settings.replace(url=url).env)
    aside, coming, image, before, _ = state.exchange
    _remove_oneoffs(workspace, whole=bool(coming))
    stop_container(workspace)
    service = workspace.resolve_service()
    argv = ("sh", "-c", _EXCHANGE_SCRIPT, service.target, aside, coming)
    result = workspace.run_in_place(service, *argv, timeout=WALK_TIMEOUT_S)
    kept = check_result(result, f"cannot move {service.cluster}").stdout.strip()
    if coming:
        settings = workspace.settings.replace(image=image)
        workspace.save_env(follow_image(settings, engine.find_image(image)).env)
    serve(workspace)
    settle(workspace)
    _remove_oneoffs(workspace, whole=False)  # one that Docker was about to make is there now
    workspace.remember(exchange=[], kept=kept and aside, kept_image=before)


def _remove_oneoffs(workspace: Workspace, *, whole: bool) -> None:
    """Remove the containers of an upgrade; in 3 s where a cluster is not `whole`."""
    engine, name = workspace.engine, workspace.settings.container
    left = [info for info in survey(workspace).own if info.is_oneoff]
    left = [info for info in left if info.name.removesuffix("-upgrade") == name]
    if left:
        names, grace = [info.name for info in left], max(info.grace for info in left)
        engine.stop(*names, grace=grace if whole else 3)
        engine.ask(f"cannot remove {' and '.join(names)}", "rm", "--volumes", *names)


def get_settled(workspace: Workspace) -> ContainerInfo:
    """Return the container, which has to run, and undo what is left."""
    info = workspace.get_running()
    if has_left(workspace):
        with workspace.lock():
            undo_restore(workspace)
    return info


# -- start, stop, restart, wait, run -----------------------


def verify_alone(workspace: Workspace, timeout: float, probe: Probe | None = None) -> None:
    """Log in, without a repair, and without the lock."""
    state = workspace.state
    if state.next_password or has_left(workspace):
        with workspace.lock(timeout):
            finish_upgrade(workspace)
            settle(workspace, timeout)
        return
    probe = verify(workspace, timeout=timeout, probe=probe)
    if not state.verified or workspace.takes_over or (state.id and not state.major):
        with workspace.lock(timeout):
            _remember_login(workspace, probe)


def start(workspace: Workspace, *, timeout: float = READY_TIMEOUT_S) -> bool:
    """Start the database, and log in; return whether it was started."""
    workspace.refuse_attached()
    busy = is_locked(workspace.lock_path)  # perhaps with stopping it
    probe = look(workspace)
    if probe.info and probe.info.running:
        try:
            verify_alone(workspace, timeout, probe)
            return False
        except PostgreSQLIntegrationError as error:
            if not busy and error.repair is not Repair.OWNER:  # which a start mends
                raise
    start_service(workspace, timeout)
    verify_alone(workspace, timeout)
    return True


def start_service(
    workspace: Workspace, timeout: float = READY_TIMEOUT_S, *, stops: bool = False
) -> None:
    """Do the work of `start` or `restart`, but for the login."""
    with workspace.lock(timeout):
        finish_upgrade(workspace)
        serve(workspace, stops=stops)


def restart(workspace: Workspace, *, timeout: float = READY_TIMEOUT_S) -> None:
    """Stop the database, start it as the files say now, and log in."""
    start_service(workspace, timeout, stops=True)
    verify_alone(workspace, timeout)


def stop(workspace: Workspace) -> bool:
    """Stop the database; return whether it ran."""
    with workspace.lock():
        finish_upgrade(workspace, ends=True)
        info = stop_container(workspace)
    if info:
        missing, ends = workspace.find_missing(info), info.home[0] == "memory"
        said = "the data was in memory, and is gone" if ends else "the data stays"
        workspace.console.step("stopped; " + (f"{missing} is missing" if missing else said))
    return info is not None


def stop_container(workspace: Workspace) -> ContainerInfo | None:
    """Do the work of `stop`, if it runs; the lock is held."""
    info, engine = workspace.find_container(), workspace.engine
    if info is None or info.state in (ContainerState.CREATED, ContainerState.EXITED):
        return None
    began = time.monotonic()
    _await_first_start(workspace, info)
    _note_its_end(workspace, info)
    waited = round(time.monotonic() - began) if workspace.state.verified else 0
    workspace.console.doing("stopping PostgreSQL")
    engine.stop(info.name, grace=max(info.grace - waited, 1))
    stopped = engine.container(info.name)
    crashed = info.state is ContainerState.RESTARTING
    if stopped and stopped.exit_code == 137 and not crashed:
        why = f"{info.name} did not stop within {info.grace} s and was killed"
        raise ContainerStartupError(why, "{start}: PostgreSQL recovers by itself")
    return info


def wait(workspace: Workspace, *, timeout: float = READY_TIMEOUT_S) -> None:
    """Wait until the database serves; start nothing.

    Raises: NotSetUpError at once where no container runs; else as `start` does.
    """
    probe = look(workspace)
    if not (workspace.attached or (probe.info and probe.info.running)):
        raise workspace.judge(probe.info, workspace.settings.container).error()
    verify(workspace, timeout=timeout, probe=probe)


def read_logs(workspace: Workspace, tail: int = 50) -> str:
    """Return the container's last lines, stdout before stderr."""
    return workspace.engine.logs(workspace.get_container().name, tail)


def warn_of_another_url(workspace: Workspace) -> None:
    """Name a DATABASE_URL of `.env`, and which one wins."""
    url, console = workspace.settings.url, workspace.console
    ours, theirs = build_client_environment(url), workspace.values.get("DATABASE_URL")
    if theirs not in (None, ours["DATABASE_URL"], ours[URL_KEY]):
        said = f"{ENV_FILE} has another DATABASE_URL; {{run}} and {{env}} say"
        console.warn(f"{console.format(said)} {shorten_url(repr(url))}")


def build_run_environment(workspace: Workspace, url: DatabaseURL) -> dict[str, str]:
    """Return the environment of `run`: the shell's, but for the URL."""
    warn_of_another_url(workspace)
    if names := " ".join(workspace.env.unread):
        workspace.console.warn(f"{ENV_FILE}: not read alike by all, so left out: {names}")
    env = {**workspace.values, **os.environ}
    env.pop("NODEFAULTCURRENTDIRECTORYINEXEPATH", None)  # of our own; so Windows spells it
    kept = {key: env[key] for key in env if key not in LEADING_VARIABLES}
    return {**kept, **build_environment(url), **build_client_environment(url)}


# == Set-up ================================================
# In parts: what git is to ignore, init, attach and detach.

# -- git ---------------------------------------------------

# Git is to ignore these paths, or .gitignore gets these lines.
IGNORED = {
    ENV_FILE: "/.env",
    f"{ENV_FILE}.hive-pg.tmp": "/.env.*.tmp",
    STATE_FILE: "/.hive-pg.json*",
    f"{STATE_FILE}.hive-pg.tmp": "/.hive-pg.json*",
}


def ask_git(workspace: Workspace, *arguments: str) -> CommandResult:
    """Ask git; the repository may be a stranger's, and shall start no program."""
    # A hook's repository may be another one.
    env = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_INDEX_FILE")}
    env |= {"GIT_ALLOW_PROTOCOL": "none", "LC_ALL": "C"}  # its words are read
    options = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    return workspace.runner.ask(["git", *options, "-C", workspace.directory, *arguments], env)


def find_unignored(workspace: Workspace, lines: Mapping[str, str]) -> list[str] | None:
    """Return the lines of .gitignore that git lacks, None if it cannot say."""
    result = ask_git(workspace, "check-ignore", "--no-index", *lines)
    if result.returncode > 1:
        if result.stderr and "not a git repository" not in result.stderr:
            why = f"{next(iter(lines))} may not be ignored: {last_line(result.stderr)}"
            workspace.console.warn(why)
        return None
    there = result.stdout.split("\n")
    return [*dict.fromkeys(line for path, line in lines.items() if path not in there)]


def append_lines(path: str, lines: Iterable[str], *, again: bool = False) -> list[str]:
    """Append the lines that a file lacks, or all `again`; return them."""
    text = (read_file(path) or b"").decode("utf-8", "surrogateescape")
    there = [] if again else [line.strip("/ ") for line in text.splitlines()]
    new = [line for line in dict.fromkeys(lines) if line.strip("/") not in there]
    separator = "\n" if text and not text.endswith("\n") else ""
    if new:
        write_file(path, text + separator + "".join(f"{line}\n" for line in new))
    return new


def find_missing_lines(workspace: Workspace) -> list[str] | None:
    """Return what .gitignore lacks; refuse a link, which git does not follow."""
    missing, path = find_unignored(workspace, IGNORED), join(workspace.directory, ".gitignore")
    if missing and islink(path):
        why = f"{path} is a link, which git does not follow"
        raise WorkspaceError(why, f"rm {quote_word(path)}")
    return missing


def keep_private(
    workspace: Workspace, missing: Sequence[str] | None, data_dir: str = ""
) -> list[str]:
    """Keep data and credentials out of git and of images; return the files written."""
    ignored, written = join(dirname(DATA_DIR), ".gitignore"), []
    files = {".gitignore": [*IGNORED.values()] if missing is None else missing}
    if data_dir == workspace.data_dir:
        there = lexists(join(workspace.directory, ignored))
        files[ignored] = ["/postgres/"] if there else ["/postgres/", "/.gitignore"]  # itself, too
    if os.path.isfile(join(workspace.directory, ".dockerignore")):
        files[".dockerignore"] = [f"{DATA_DIR}/", f"{BACKUP_DIR}/", ENV_FILE, STATE_FILE]
    for name, lines in files.items():
        path = join(workspace.directory, name)
        directory = dirname(path)
        if not lexists(directory):
            make_directory(directory, get_caller())
        if not lines or any(map(islink, (path, directory))) or not os.access(directory, os.W_OK):
            continue  # git follows no link, and reads no other user's data
        added = append_lines(path, lines, again=lines is missing)  # to git, it lacks them
        if added and directory == workspace.directory:
            written.append(name)
    warn_of_tracked(workspace)
    return written


def find_tracked(workspace: Workspace, *names: str) -> list[str]:
    """Return which of some files git has, or would get."""
    return [*filter(None, ask_git(workspace, "ls-files", "-z", *names).stdout.split("\0"))]


def warn_of_tracked(workspace: Workspace) -> None:
    """Say that git has the credentials."""
    if tracked := " ".join(find_tracked(workspace, ENV_FILE, STATE_FILE)):
        remedy = f"git rm --cached {tracked}, and commit that"
        workspace.console.warn(f"git tracks {tracked}, and with it the password: {remedy}")


# -- init --------------------------------------------------


def run_repair(server: Server, repair: Repair) -> None:
    """Make a running server let the application in, where that takes SQL."""
    action = "cannot mend it"
    if repair is Repair.PASSWORD:
        server.set_password(server.url.password, action)
    elif repair is Repair.DATABASE:
        server.query(f"create database {quote_identifier(server.url.database)};", action)


def format_next_steps(settings: Settings, console: Console, *, started: bool, width: int) -> str:
    """Return the last lines of `init`: the URL, and commands."""
    url, key = shorten_url(repr(settings.url)), f"in {ENV_FILE}: {URL_KEY}"
    reached = is_local(settings.url.host) or settings.url.host == settings.bind
    wide = len(url + key) + 7 <= width
    gap = " " * 5 if wide else "\n  "
    steps = "{psql}: a SQL prompt\n"
    steps += "{run} -- CMD: your program, with DATABASE_URL set\n" * reached
    # A volume goes with Docker's own data, and is easily pruned.
    dump = "{backup}: a dump, outside of Docker's volume"
    steps += dump if settings.data else "{stop}: stop it; the data stays"
    steps = steps if started else "{start}: start it"
    rows = format_commands(steps, console.format, width)
    return "\n".join(["", f"  {url}{gap}{key}", *[""] * wide, rows])


def describe_container(info: ContainerInfo) -> State:
    """Return what the state file would have of a container."""
    bind, port = (*info.ports, (DEFAULT_BIND, CONTAINER_PORT))[0]
    user, database = info.login
    return State(
        id=info.labels.get(WORKSPACE_LABEL, ""),
        user=user,
        database=database,
        container=info.name,
        project=info.project,
        port=port,
        bind="" if is_local(bind) else bind,
        image=info.image,
        volume=info.cluster[1],
    )


def recover_values(values: Mapping[str, str], known: State) -> dict[str, str]:
    """Complete the values of `.env` from what is known."""
    names = {CONTAINER_KEY: known.container, PROJECT_KEY: known.project, IMAGE_KEY: known.image}
    names |= {DATA_KEY: name_placement(known.volume), BIND_KEY: known.bind}
    names |= {PORT_KEY: str(known.port or DEFAULT_HOST_PORT), WORKSPACE_KEY: known.id}
    names |= {key: value for key, value in values.items() if value}  # an example's are blank
    return {**names, URL_KEY: "", USER_KEY: known.user, DB_KEY: known.database}


# What a person may choose in place of `init`; None for that.
WISHES = ("port", "database", "image", "bind", "service", "data")


class SetUp:
    """One `init`: from whatever a workspace is to a verified login.

    `ask` permits questions; `wanted` has the WISHES. The lock is held.
    """

    def __init__(self, workspace: Workspace, wanted: Mapping[str, Any], *, ask: bool) -> None:
        self.workspace, self.console = workspace, workspace.console
        self.wanted, self.ask = {**wanted, "service": wanted["service"] or ""}, ask
        self.fresh = DatabaseURL(*generate_credentials(), LOCALHOST)
        self.fresh_id = os.urandom(8).hex()
        self.values = workspace.values
        self.neighbours = survey(workspace)
        self.named = False  # whether the names in `.env` are this workspace's
        self.answers: dict[str, bool] = {}  # by question: who has to plan again asks no more
        self.blank, self.reason = not workspace.env.exists, ""  # an example has no login
        self.lost = self.blank or not has_login(self.values)
        self.in_use = False  # what looks like a placeholder logs in
        self.undo = ExitStack()  # of what comes before `.env`

    def run(self, *, start: bool, timeout: float) -> None:
        """Write the files, and with `start` bring the database up."""
        workspace = self.workspace
        if workspace.is_new:
            self.console.step(workspace.engine.versions)
        if self.lost:
            self._recover()
        settings, planned = self._plan()
        # Whoever waits for a name or a port shall not wait for a pull.
        service = ensure_image(workspace, settings, planned) if start else planned
        pulled, engine = service is not planned, "|".join(self.neighbours.engine)
        bind = self.wanted["bind"]
        if start and bind and bind not in USUAL_BINDS and not service.builds:
            workspace.engine.try_to_publish(service.image, bind)
        with lock_machine(engine, workspace.directory, self.console) as lock:
            for tries_left in (2, 1, 0):
                if pulled or lock.waited or tries_left < 2:
                    self.neighbours = survey(workspace)
                    settings, service = self._plan()
                try:
                    self._apply(settings, service, start=start)
                    break
                except ContainerConflictError as error:  # somebody without the lock was faster
                    if not tries_left:
                        raise
                    self.console.note(f"once more: {error}")
        warn_of_another_url(workspace)
        workspace.warn_of_shell()
        if start:
            self._verify_or_mend(service, timeout)

    def _find_known(self) -> list[ContainerInfo]:
        """Return the containers that may have the login."""
        wanted = self.wanted["service"]
        own = [info for info in self.neighbours.own if PASSWORD_KEY in info.environment]
        own = [info for info in own if info.ports or "PGDATA" in info.environment]
        own = [info for info in own if wanted in ("", info.labels.get(SERVICE_LABEL))]
        own = [info for info in own if info.name == self.values.get(CONTAINER_KEY)] or own
        return [info for info in own if info.cluster[0] == self.workspace.data_dir] or own

    def _recover(self) -> None:
        """Find lost credentials in the container, or in the state file."""
        state, values = self.workspace.state, self.values
        own = self._find_known()
        if len(own) > 1:
            names = ", ".join(info.name for info in own)
            hint = f"{{init}} --service NAME, or the {URL_KEY} of one in {ENV_FILE}"
            raise WorkspaceError(f"{ENV_FILE} has no credentials; {names} have", hint)
        user = plan_database_url(values, self.fresh, has_data=False).user
        if own:
            self.console.note(f"the login is that of container {own[0].name}")
            known, password = describe_container(own[0]), own[0].environment[PASSWORD_KEY]
            values = {**values, PORT_KEY: str(known.port), PASSWORD_KEY: password}
            self.values, self.in_use = recover_values(values, known), True
        elif state.user and state.verified and user == self.fresh.user:
            self.console.note(f"{ENV_FILE} has no credentials; {STATE_FILE} knows the user")
            self.values, self.in_use = recover_values(values, state), True
        if not (own or state.id):
            self._refuse_to_pass_over()
        self.blank = self.blank and not self.in_use

    def _refuse_to_pass_over(self) -> None:
        """Refuse a new database beside one that was made in this directory."""
        here = identify_file(self.workspace.directory)
        knows = self.wanted["data"] or self.workspace.is_apart
        for info in [] if knows else self.neighbours.others:
            known_id = info.labels.get(WORKSPACE_LABEL)
            if known_id and not info.cluster[0] and identify_file(info.directory) == here:
                why = f"container {info.name} was made here, and has its data in {info.home[0]}"
                hint = "for a new database: {init} --data volume; for that one, if no other"
                hint += f" directory has it now: put {WORKSPACE_KEY}={known_id} into {ENV_FILE}"
                raise WorkspaceError(why, hint)

    def _plan(self) -> tuple[Settings, ComposeService]:
        """Decide on settings and service; refuse a conflict."""
        workspace = self.workspace
        settings = self._plan_settings()
        if workspace.compose_file() or self.wanted["service"]:  # follow it
            if not workspace.env.exists and workspace.save_env({}):  # for an env_file
                self.undo.callback(self._take_back, workspace.env_path, workspace.env.text)
            known = bool(self.values.get(URL_KEY)) and has_login(self.values)
            settings, service = self._resolve(settings)
            following = follow_image(settings, service.image_info)
            if self._follows_env and following != settings:
                settings, service = self._resolve(following)
            service = read_login_files(service)
            settings = adopt_service(settings, service, self.wanted, known=known)
            check_carried(settings.url)
        else:
            service = default_service(settings, workspace.directory)
            service = service.with_image(workspace.engine.find_image(service.image))
            settings = follow_image(settings, service.image_info)
        host = settings.url.host
        if service.host_port and not self.named and not (is_local(host) or host == settings.bind):
            hint = "make the host localhost; or, if its server is the one to take, {init} --attach"
            raise WorkspaceError(f"{URL_KEY} leads to {host}, not to this machine", hint)
        self.neighbours.refuse_conflicts(service)
        if self.lost and self._finds_use(service, settings.url.user):
            return self._plan()
        return settings, service

    def _finds_use(self, service: ComposeService, user: str) -> bool:
        """Whether to plan again, as data may need what looks like a placeholder."""
        own = find_named(self.neighbours.containers, service.container)
        if not holds_data(service.data_dir) and find_loss(self.workspace, service, own):
            return False
        if self.in_use and user == self.fresh.user:
            why = f"{ENV_FILE} has no user for the data in {service.cluster}, nor has {STATE_FILE}"
            hint = f"put the {URL_KEY} of that data into {ENV_FILE}"
            new = f"; for a new database: docker volume rm {service.source}" * service.in_volume
            raise WorkspaceError(why, hint + new)
        before, self.in_use = self.in_use, True
        return not before

    def _take_back(self, path: str, made: str, before: str | None = None) -> None:
        """Undo a file that nobody has edited, and that `.env` does not name."""
        workspace = self.workspace
        with suppress(OSError, PostgreSQLIntegrationError):  # or they would hide the cause
            workspace.reload()
            same = read_file(path) == made.encode("utf-8", "surrogateescape")
            if same and before is not None:
                write_file(path, before, 0o600)
            elif same and not workspace.has_added_file:
                os.unlink(realpath(path))

    @property
    def _follows_env(self) -> bool:
        """Whether the compose file takes the data's place from `.env`."""
        file = self.workspace.compose_file()
        added = join(dirname(file or ""), ADDED_FILE)
        texts = (read_file(path) or b"" for path in (file, added) if path)
        return file is None or any(TARGET_KEY.encode() in text for text in texts)

    def _know_place(self, own: ContainerInfo | None, volume: str) -> str:
        """Return `bind` or `volume`, if known: a person may have edited `.env`."""
        workspace, key = self.workspace, self.values.get(DATA_KEY, "")
        if cluster := own.cluster[1] if own else workspace.state.volume * (not workspace.is_copy):
            return name_placement(cluster) or "bind"
        has_volume = workspace.engine.has_volume
        if holds_data(workspace.data_dir) and not (key and has_volume(volume)):
            return "bind"
        known = key or self.wanted["data"] or self.values.get(PROJECT_KEY)
        return key if known else "volume" * has_volume(volume)

    def _place_data(self, project: str, own: ContainerInfo | None) -> str:
        """Return '' or `volume`: where the data is, is wanted or works."""
        workspace, wanted = self.workspace, self.wanted["data"]
        if not self._follows_env:
            return ""
        data_dir, volume = workspace.data_dir, f"{project}_{SERVICE}"
        known, key = self._know_place(own, volume), self.values.get(DATA_KEY)
        goal = wanted or key or known
        moves = known not in ("", goal)
        if moves and (holds_data(data_dir) or workspace.engine.has_volume(volume)):
            why = f"the data is in {volume if known == 'volume' else data_dir}"
            hint = f"take {DATA_KEY}={key} out of {ENV_FILE}"
            if wanted:
                hint = f"{{backup}}; {{destroy}} --data; {{init}} --data {wanted}; {{restore}} FILE"
            raise WorkspaceError(why, hint)
        host = read_host(workspace.directory)
        chosen, why = choose_data_placement(host, workspace.engine.facts)
        if wanted == "bind" != chosen:
            self._note(f"a directory may not do here ({why}): --data volume", warns=True)
        self.reason = f"--data {wanted}" if wanted else "" if known else why
        return "volume" if (goal or chosen) == "volume" else ""

    def _resolve(self, settings: Settings) -> tuple[Settings, ComposeService]:
        """Resolve the service, in plain Compose's project if that was used."""
        workspace, wanted, engine = self.workspace, self.wanted["service"], self.workspace.engine
        settings, service = self._find_service(settings)
        recorded = self.values.get(PROJECT_KEY, "")
        known = self.neighbours.is_copy(self.values) if recorded else self.neighbours.own
        if known or recorded == settings.project:
            return settings, service
        before = settings.replace(project=recorded)  # others have it, or it is Compose's own
        plain = workspace.resolve_service(before, wanted or service.service)
        taken = plain.project in self.neighbours.projects
        # Whatever has a docker/compose.yml shares the project `docker`.
        place = dirname(os.path.relpath(str(workspace.compose_file()), workspace.directory))
        if (
            (taken or place)
            and plain.cluster != service.cluster
            and not any(shares_cluster(info, plain) for info in self.neighbours.others)
            and engine.has_volume(plain.source)
        ):
            why = f"volume {plain.source} may be this workspace's, or others', of project"
            way = f"write {PROJECT_KEY}={plain.project} into {ENV_FILE}"
            way = f"give it name: {plain.source} in the compose file" if taken else way
            hint = f"to use it, {way}; for a new one, {PROJECT_KEY}={settings.project}"
            raise WorkspaceError(f"{why} {plain.project}", hint)
        if not taken and (workspace.has_added_file or engine.has_volume(project=plain.project)):
            return settings.replace(project=plain.project), plain
        return settings, service

    def _find_service(self, settings: Settings) -> tuple[Settings, ComposeService]:
        """Find the service, or add one, or its port."""
        workspace, wanted, name = self.workspace, self.wanted, ""
        path = join(dirname(workspace.compose_file() or ""), ADDED_FILE)
        try:
            service = workspace.resolve_service(settings, wanted["service"])
            name, missing = service.service, None
            if service.host_port or service.closed:
                return settings, service
            question = f"{name} publishes no fixed port. Publish it on this machine"
        except NoServiceError as error:
            question, missing = f"{error}. Add one", error
        added, there = workspace.has_added_file, lexists(path)
        if added or not (there or not self.ask or self._confirm(f"{question}, in {ADDED_FILE}?")):
            if missing:
                raise missing
            return settings, service
        first = DEFAULT_HOST_PORT if settings.url.host == name else settings.url.port
        port = wanted["port"] or self.neighbours.choose_port(first, wanted["bind"] or DEFAULT_BIND)
        if not missing:
            self.neighbours.refuse_replacement(service.replace(host_port=port))
        wanted["port"] = port
        data_dir = os.path.relpath(workspace.data_dir, dirname(path))
        text, before = render_addition(name, f"./{data_dir}"), workspace.env.text
        if not there:
            self.undo.callback(self._take_back, path, text)
        workspace.add_compose_file(text)  # its login is yet to come
        self.undo.callback(self._take_back, workspace.env_path, workspace.env.text, before)
        settings = self._plan_settings()  # with its file
        return settings, workspace.resolve_service(settings, wanted["service"])

    def _plan_settings(self) -> Settings:
        values, url = self.values, self._plan_url()
        project, container, self.named = self.neighbours.choose_names(values)
        bind = self.wanted["bind"] or values.get(BIND_KEY, "")
        known = values.get(URL_KEY) or values.get(PORT_KEY)
        settled = self.named and known and not self.lost
        if not settled and not self.wanted["port"]:
            port = self.neighbours.choose_port(url.port, bind or DEFAULT_BIND)
            if port != url.port and not self.workspace.compose_file():
                self._note(f"port {url.port} is taken; it will be {port}")
            url = url.replace(port=port)
        check_carried(url)
        allowed, (uid, gid) = range(2**32), get_postgres_uid_gid()
        uid = parse_number(values, UID_KEY, uid, allowed)
        gid = parse_number(values, GID_KEY, gid, allowed)
        images = self.wanted["image"], values.get(IMAGE_KEY), os.environ.get(IMAGE_KEY)
        image = next(filter(None, images), "")
        id_here = values.get(WORKSPACE_KEY) if self.neighbours.own else ""
        known = self.workspace.state.id or id_here
        own_id = known if known and not self.neighbours.is_copy(values) else self.fresh_id
        data = self._place_data(project, find_named(self.neighbours.own, container))
        target = values.get(TARGET_KEY, "")
        return Settings(url, uid, gid, container, project, image, bind, own_id, data, target)

    def _plan_url(self) -> DatabaseURL:
        values, wanted = self.values, self.wanted
        has_data = self.in_use or holds_data(self.workspace.data_dir) or bool(values.get(DATA_KEY))
        url = plan_database_url(values, self.fresh, has_data=has_data and not self.blank)
        if has_data:
            given = {key: value for key, value in values.items() if value}
            check_agreement(given, url, (USER_KEY, PASSWORD_KEY))
        host = url.host
        bind = wanted["bind"] or (not values.get(URL_KEY) and values.get(BIND_KEY))
        if bind:
            host = LOCALHOST if bind in USUAL_BINDS else bind
        database, port = wanted["database"] or url.database, wanted["port"] or url.port
        return url.replace(host=host, port=port, database=database)

    def _apply(self, settings: Settings, service: ComposeService, *, start: bool) -> None:
        """Write the files, make the directory, and `start` the container."""
        workspace, state = self.workspace, self.workspace.state
        own = find_named(self.neighbours.containers, service.container)
        loss = find_loss(workspace, service, own)
        # It is at another place; but a copy's is the original's, and not missing.
        known = state.id * (not workspace.is_copy) or holds_data(service.data_dir)
        replaces = loss and state.verified and (own or known)
        if replaces and known:
            self._agree_to_begin_anew(service, loss)
        if start and not (loss or self.lost):
            self._agree_with_server(settings, own)
        self._write_files(settings, service, lost=bool(loss))
        reason = self.reason or state.reason
        workspace.remember(verified=state.verified and not loss, reason=reason)
        self._describe(service)
        if replaces:
            self.console.warn(f"{loss}: this is a new, empty database")
            if own:  # it may have another directory mounted
                workspace.engine.stop(own.name, grace=own.grace)
        if start:
            bring_up(workspace, service, self.neighbours)

    def _agree_to_begin_anew(self, service: ComposeService, loss: str) -> None:
        """Refuse it if nobody says yes: a disk may only be unmounted."""
        asks = self.ask and service.source != IN_MEMORY  # which is lost at each stop
        if asks and not self._confirm(f"{loss}. Make a new, empty database?", enter=False):
            raise WorkspaceError(loss, f"{_PUT_BACK}; {{init}} --yes makes an empty database")

    def _describe(self, service: ComposeService) -> None:
        """Say who can reach it, and how long it lasts."""
        if not is_local(service.bind):
            self._note(f"published on {service.bind}: other machines can reach it", warns=True)
        chosen = get_caller()[0] or self.values.get(UID_KEY)
        user = parse_user(service.user) or (0, 0)
        name = name_user(FALLBACK_UID) if user[0] == FALLBACK_UID and not chosen else ""
        if name:
            why = f"the server runs as user {name}, who can read the password in /proc"
            self._note(f"{why}; {UID_KEY}, {GID_KEY} in {ENV_FILE} change that", warns=True)
        if service.image_info and not service.lasts:
            self._note("the data ends with the container: nothing is mounted for it", warns=True)

    def _agree_with_server(self, settings: Settings, own: ContainerInfo | None) -> None:
        """Set our password in the server before a container goes."""
        following = self.workspace.state.next_password
        known = own.environment.get(PASSWORD_KEY) if own and own.running else None
        if known in (None, settings.url.password):
            return
        server = Server(self.workspace.engine, settings.container, settings.url)
        error = server.probe().error
        if isinstance(error, CredentialsRefusedError) and following:  # a `rotate` came that far
            error = server.with_url(password=following).probe().error
        if isinstance(error, CredentialsRefusedError):
            if not error.repair or not self._may(error):
                raise error
            self.console.note(f"mending: {error.repair.value}")
            run_repair(server, error.repair)

    def _write_files(self, settings: Settings, service: ComposeService, *, lost: bool) -> None:
        """Write the files, and the directory if it is `lost`; name them."""
        workspace, theirs = self.workspace, self.workspace.compose_file()
        data_dir, user = service.data_dir, parse_user(service.user)
        missing, save = find_missing_lines(workspace), partial(workspace.save_env, settings.env)
        keep = partial(keep_private, workspace, missing, data_dir * (not workspace.is_apart))
        if missing is None:
            changed, ignoring = save(), keep()
        else:  # git is to ignore it first
            ignoring, changed = keep(), save()
        self.undo.pop_all()
        if lost and data_dir and user and not workspace.is_apart:
            if not os.path.isdir(data_dir):
                workspace.refuse_link_out(data_dir, f"mkdir -p {quote_word(data_dir)}")
            make_directory(data_dir, user, 0o700)
        written = [ENV_FILE] * changed
        if theirs is None:
            write_file(join(workspace.directory, COMPOSE_FILE), render_compose())
            written.append(COMPOSE_FILE)
        for name in (ENV_FILE, STATE_FILE, COMPOSE_FILE, ".gitignore"):
            remove_leftover(join(workspace.directory, name))
        place = "here" if data_dir else f"in volume {service.source}"
        why = f"; data {place}: {self.reason}" if self.reason else ""
        if names := ", ".join([*written, *ignoring]):
            said = f"{' and'.join(names.rsplit(',', 1))} written"
            wide = len(said + why) + 2 <= terminal_width(sys.stderr)
            self.console.step(said + why * (wide or not data_dir))
        if theirs and not workspace.state.id:
            name = os.path.relpath(theirs, workspace.directory)
            self.console.step(f"{name} stays as it is; the database is service {service.service}")

    def _verify_or_mend(self, service: ComposeService, timeout: float) -> None:
        """Log in; what keeps the application out is mended, each way once."""
        workspace = self.workspace
        moves = (Repair.REMAKE, Repair.REPLACE)
        lasts = not workspace.begins and service.lasts  # else there is nothing to move aside
        tried = set[Repair](() if lasts else moves)
        while True:
            try:
                settle(workspace, timeout, creates=True)
                return
            except PostgreSQLIntegrationError as error:
                repair = error.repair
                if repair in moves and not workspace.state.begun:
                    raise  # it may be somebody's data
                if repair is None or repair in tried or not self._may(error):
                    raise
                if repair is Repair.OWNER and not parse_user(service.user):
                    raise  # the image's own user cannot use it
            tried.add(repair)
            self.console.note(f"mending: {repair.value}")
            if repair is Repair.PASSWORD and self.lost:  # what the container had is outdated
                workspace.save_env(workspace.settings.with_password(self.fresh.password).env)
            if repair in moves:
                self._move_cluster_aside(service)
            run_repair(workspace.server, repair)
            bring_up(workspace, service, survey(workspace), mend=repair is Repair.OWNER)

    def _may(self, error: PostgreSQLIntegrationError) -> bool:
        """Whether its repair is wanted; one that changes who gets in takes a yes."""
        repair, changes = error.repair, error.repair is Repair.PASSWORD
        asks = changes or repair is Repair.REPLACE or (repair is Repair.REMAKE and is_interactive())
        if not (self.ask and asks and repair):
            return True
        return self._confirm(f"{error}.\n{repair.value}?", enter=changes)

    def _note(self, text: str, *, warns: bool = False) -> None:
        """Print a note, or a warning, nothing twice."""
        if text not in self.answers:
            self.answers[text] = True
            (self.console.warn if warns else self.console.note)(text)

    def _confirm(self, question: str, *, enter: bool = True) -> bool:
        """Ask a person, if one is there, nothing twice."""
        if question not in self.answers:
            asks = is_interactive()
            self.answers[question] = asks and self.console.confirm(question, enter=enter)
        return self.answers[question]

    def _move_cluster_aside(self, service: ComposeService) -> None:
        workspace, source, target = self.workspace, service.source, service.target
        workspace.engine.stop(service.container, grace=3)  # there is nothing to lose
        suffix, other = f".incomplete-{format_stamp(time.time())}", ""
        script = 'mv -T "$0" "$0$1"'
        if service.cluster == source:  # what is mounted has to stay, and to be empty
            other = source + suffix
            script = "cp -a /target/. /aside && cd /target && rm -rf -- ..?* .[!.]* *"
            if service.data_dir:
                make_directory(other, None, 0o700)
        argv = ("sh", "-c", script, target, suffix)
        result = workspace.run_in_place(service, *argv, timeout=WALK_TIMEOUT_S, aside=other)
        check_result(result, f"cannot move {service.cluster} aside")
        self.console.warn(f"the cluster is in {service.cluster}{suffix} now")


def _leave_original(workspace: Workspace, placement: str | None) -> None:
    """Say that a copy gets no data; refuse it where it may be the original, copied to here."""
    before = workspace.state.directory
    if not (placement or os.path.isdir(before)):
        workspace.refuse_copy()
    workspace.console.note(f"a copy: the data of {before} is not here")


def set_up(
    workspace: Workspace,
    interactive: bool = True,
    *,
    start: bool = True,
    timeout: float = READY_TIMEOUT_S,
    foreign: str = "",
    **wishes: str | int | None,
) -> bool:
    """Set a workspace up with WISHES; return False if a person declined."""
    if unknown := wishes.keys() - WISHES:
        raise TypeError(f"{', '.join(unknown)}: init takes {', '.join(WISHES)}")
    question = f"Set up PostgreSQL in Docker for {workspace.directory}?"
    new = not workspace.state.major or workspace.is_copy  # nobody ever logged in here
    if new and interactive and is_interactive() and not workspace.console.confirm(question):
        return False
    make_directory(workspace.directory, get_caller())
    wanted: dict[str, Any] = {**dict.fromkeys(WISHES), **wishes}
    with workspace.lock(timeout, new=True):
        workspace.refuse_attached()
        data_dir, path = workspace.data_dir, workspace.env_path
        if workspace.is_copy and not holds_data(data_dir):
            _leave_original(workspace, wanted["data"])
        copied = foreign and new and workspace.values.get(PASSWORD_KEY) == foreign
        if copied and not holds_data(data_dir):
            workspace.refuse_link_out(path, f"rm {quote_word(path)}")
            write_file(path, blank_example(workspace.env.text, os.environ), 0o600)
            workspace.reload()
        if workspace.env.exists:
            finish_upgrade(workspace, port=wanted["port"])
        with (setup := SetUp(workspace, wanted, ask=interactive)).undo:
            setup.run(start=start, timeout=timeout)
    return True


# -- attach and detach -------------------------------------


def attach(workspace: Workspace) -> None:
    """Let `.env` lead to the server elsewhere that it names, after a login.

    The database here stays as it is.
    """
    with workspace.lock(new=True):
        here, text = workspace.state, workspace.values.get(URL_KEY)
        hint = f"put the {URL_KEY} of a server elsewhere there"
        if not text:
            raise NotSetUpError(f"{ENV_FILE} has no {URL_KEY}", hint)
        plan = [repr(parse_database_url(text)), *(here.attached[1:] or [here.url])]
        by_hand = here.attached_by_hand or plan[:1] != [*here.attached[:1]]  # not `push --switch`
        workspace.state = here.replace(attached=plan)
        if not workspace.attached:
            raise WorkspaceError(f"{URL_KEY} in {ENV_FILE} leads to this machine", hint)
        verify(workspace, timeout=0)
        workspace.state = here
        image = workspace.values.get(IMAGE_KEY) or os.environ.get(IMAGE_KEY, "")
        _lead(workspace, plan, {IMAGE_KEY: image}, by_hand=by_hand)


def _lead(
    workspace: Workspace, plan: Sequence[str], changes: Mapping[str, str], *, by_hand: bool = False
) -> None:
    """Write `changes` of `.env`, and remember where they lead."""
    here = workspace.state
    keep_private(workspace, find_missing_lines(workspace))
    verified = here.verified and bool(here.id)
    workspace.remember(attached=plan, attached_by_hand=by_hand, verified=verified)
    workspace.save_env(changes)
    said = f"{ENV_FILE} leads there; {{init}} --detach goes back to the database here"
    workspace.console.note(workspace.console.format(said))


def detach(workspace: Workspace) -> None:
    """Let `.env` lead to the database here; `set_up` finds what it lacks then."""
    with workspace.lock(new=True):
        env, values = workspace.env, workspace.values
        if not workspace.attached:
            if workspace.state.attached:
                return  # this was done before: `set_up` goes on
            raise WorkspaceError("it is not attached to a server elsewhere", "{init}")
        here = workspace.state.attached[1:]
        if workspace.state.attached_by_hand:
            at = max(item.start for item in env.items if item.key == URL_KEY)
            at = env.text.rfind("\n", 0, at) + 1
            write_file(workspace.env_path, f"{env.text[:at]}# {env.text[at:]}", 0o600)
            workspace.console.note(f"the URL of elsewhere is a comment in {ENV_FILE} now")
        if any(here):
            user, password = values.get(USER_KEY), values.get(PASSWORD_KEY)
            known = parse_database_url(here[0]).replace(user=user, password=password)
            workspace.save_env({URL_KEY: build_database_url(known) if user and password else ""})


# == Dumps and copies ======================================
# In parts: backup, restore, snapshots, rotate and destroy, upgrade, push and pull.


def check_dump_format(head: bytes, tail: bytes = b"") -> bool:
    r"""Tell pg_dump's custom format from SQL; refuse any other file.

    >>> check_dump_format(b"PGDMP\x01"), check_dump_format(b"create table t (i int);")
    (True, False)
    """
    if head.startswith(b"PGDMP"):
        return True
    whole = b"-- PostgreSQL database cluster dump" in head
    truncated = _DUMP_LINE in head and _DUMP_LINE + b" complete" not in tail
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    unpack = "gunzip -c FILE | {restore} -, or zstdcat, or bzcat"
    part = "take the part of the one database, or pg_dump it: {restore} -"
    for found, fault, hint in (
        (not head.strip(), "is empty", "take another one"),
        (whole, "is a dump of a whole server (pg_dumpall)", part),
        (b"; Type: DATABASE;" in head, "is made by pg_dump -C", "pg_dump it without -C"),
        (head[257:262] == b"ustar", "is a tar archive", "pg_restore -f - FILE | {restore} -"),
        (utf16, "is UTF-16, as PowerShell's > writes", "pg_dump -f FILE"),
        (b"\0" in head, "is neither pg_dump -Fc's nor SQL", unpack),
        (truncated, "is truncated: its last line is missing", "take another one"),
    ):
        if found:
            raise WorkspaceError(f"the file {fault}", hint)
    return False


_DUMP_LINE = b"-- PostgreSQL database dump"  # and, at its end, " complete"
# The comments of the database that a restore loads, and of those that it replaced.
STAGING_COMMENT = "hive-pg restore of {} is under way, or was interrupted"
KEPT_COMMENT = "{} before hive-pg restore"
# That of a snapshot goes on with its name, and has the database's own below it.
SNAPSHOT_COMMENT, _SNAPSHOT = "hive-pg snapshot of {} @", r"\w[\w.-]{,62}"
OWN_COMMENT = r"^(hive-pg snapshot of [^\n]*|[^\n]* before hive-pg restore)(\n|$)"
DATABASES_SQL = "select datname from pg_database where not datistemplate order by datname;"


def build_staging_sql(
    database: str, staging: str, source: str = "", mark: str = "", *, extends: bool = False
) -> str:
    """Write the psql script that makes an empty database like another.

    With a `source` it is a copy of that, whose sessions are ended; who connects to it meanwhile
    waits. One that `extends` has pgvector. A `mark` is its comment in the end, above that of the
    present one. Not every major version has a locale's provider.
    """
    place = f"\\connect {quote_identifier(staging)}\nset search_path = public;\n"
    extension = f"{place}{CREATE_EXTENSION_SQL}\n" * extends
    present, new, last = map(quote_literal, (source or database, staging, mark))
    template, mark = source or "template0", quote_literal(STAGING_COMMENT.format(database))
    return f"""\
select pg_terminate_backend(pid) from pg_stat_activity where datname = {quote_literal(source)};
select format('create database %I owner %I connection limit %s template %I encoding %L'
    ' lc_collate %L lc_ctype %L tablespace %I%s', {new}, pg_get_userbyid(datdba), datconnlimit,
    {quote_literal(template)}, pg_encoding_to_char(encoding), datcollate, datctype,
    (select spcname from pg_tablespace where oid = dattablespace),
    case j ->> 'datlocprovider' when 'c' then ' locale_provider libc'
    when 'b' then format(' locale_provider builtin builtin_locale %L', j ->> 'datlocale')
    when 'i' then format(' locale_provider icu icu_locale %L',
        coalesce(j ->> 'daticulocale', j ->> 'datlocale'))
        || coalesce(' icu_rules ' || quote_literal(j ->> 'daticurules'), '') end)
from pg_database d, to_jsonb(d) as j where datname = {present}
\\gexec
comment on database {quote_identifier(staging)} is {mark};
{build_settings_sql(source or database, staging)}\\gexec
select format('comment on database %I is %L', {new},
    concat_ws(E'\\n', {last}, shobj_description(oid, 'pg_database')))
from pg_database where datname = {present} and {last} <> ''
\\gexec
{extension}"""


def build_settings_sql(database: str, new: str) -> str:
    """Write the query for SQL with a database's grants and settings."""
    present, new = quote_literal(database), quote_literal(new)
    return f"""\
select statement || ';' from (
select format('revoke all on database %I from public', {new}) from pg_database
where datname = {present} and datacl is not null
union all select format('grant %s on database %I to %s', privilege_type, {new},
    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end
    || case when is_grantable then ' with grant option' else '' end)
from pg_database, aclexplode(datacl) where datname = {present}
union all select format('alter %s database %I set %I to %s', case when setrole > 0 then
    format('role %I in', pg_get_userbyid(setrole)) end, {new}, pair[1],
    case when pair[1] !~ '^(search_path|temp_tablespaces|(local|session)_preload_libraries)$'
    then quote_literal(pair[2]) else (select string_agg(quote_literal(concat(
    replace(m[1], '""', '"'), m[3])), ', ')
    from regexp_matches(pair[2], '"(([^"]|"")*)"|([^,\\s]+)|^$', 'g') m) end)
from pg_db_role_setting join pg_database d on d.oid = setdatabase,
    unnest(setconfig) as setting, regexp_match(setting, '([^=]*)=(.*)') as pair
where datname = {present}) as each (statement)
"""


# Deletes a cluster in /target, and earlier ones that were moved aside, if they match $1, or lists
# them. It is moved aside first: at any time it is there whole, or not there. A cluster that
# fills /target is deleted in place: the driver of a volume may keep what is in it.
_DELETE_SCRIPT = """\
[ "$2" != / ] || exec find /target -mindepth 1 -delete
cd "$2" && rm -rf "$0".$1 || exit
[ "$1" = incomplete-deleted ] || rm -rf "$0".[1-9][0-9]
[ ! -e "$0" ] || mv "$0" "$0".incomplete-deleted && rm -rf "$0".$1 || exit
ls -d "$0".incomplete-* "$0".[1-9][0-9] 2>/dev/null | grep . || [ -z "$3" ] ||
  find /target -type f ! -name ".*" -print -quit
"""

# Whether somebody made something in a database of initdb's; an image may make extensions.
_USED_SQL = f"""\
select exists (select from pg_depend o where refclassid = 'pg_namespace'::regclass
and objid >= {FIRST_USER_OID} and classid <> 'pg_extension'::regclass and not exists (select
from pg_depend e where (e.classid, e.objid, e.deptype) = (o.classid, o.objid, 'e')))
or exists (select from pg_largeobject_metadata)"""
# Or what is in no schema; or in an extension's tables, which an image may fill.
_HELD_SQL = f"""{_USED_SQL}
or exists (select from pg_foreign_server) or exists (select from pg_publication)"""
_KEPT_SQL = f"""{_HELD_SQL}
or exists (select from pg_extension where oid >= {FIRST_USER_OID} and extconfig is not null)"""


def open_unnamed(directory: str) -> IO[bytes]:
    """Open a file that nobody else finds, and that goes when it is closed."""
    import tempfile

    return tempfile.TemporaryFile(dir=directory, buffering=0)


def _check_dump(workspace: Workspace, result: CommandResult, action: str) -> None:
    if not result.returncode:
        return
    if not workspace.attached:
        workspace.get_running()
    login = workspace.attached or "connection to server" in result.stderr
    sources = workspace.server.sources if login else ()
    raise build_error(result, action, sources=(*sources, "dump"))


# -- backup ------------------------------------------------


def back_up(workspace: Workspace, path: str = "", *, database: str = "") -> str:
    """Write a dump, and read it back to its end; return its path.

    `path` is `backups/DATABASE-TIME.dump` in the workspace by default, and `-` for stdout. A
    file is there once the dump is whole.
    """
    if not workspace.attached:
        get_settled(workspace)
    database = database or workspace.settings.url.database
    if path in STDOUT:
        if sys.stdout is None:
            raise WorkspaceError("there is no stdout", "{backup} -o FILE")
        sys.stdout.flush()
        _dump(workspace, database, sys.stdout.fileno())
        return "-"
    directory, named = join(workspace.directory, BACKUP_DIR), path
    if named:
        refuse_strangers(named)
        path = realpath(named)
        if not basename(named) or (lexists(path) and not os.path.isfile(path)):  # a device
            raise WorkspaceError(f"{named} is no file", "name one; {backup} -o - writes to stdout")
    with explaining("write", path or directory), ExitStack() as held:
        if not path:
            make_directory(directory, get_caller(), 0o700)
            lock = Lock(join(directory, ".lock"), workspace.console, READY_TIMEOUT_S)
            held.enter_context(lock)
            path = _choose_dump(directory, database)
        if dirname(path) == directory and not islink(directory):
            if not lexists(ignored := join(directory, ".gitignore")):
                write_file(ignored, "*\n")
            dump = os.path.relpath(path, workspace.directory)
            if find_unignored(workspace, {dump: dump}):
                why = f"git does not ignore {dump}: put /{BACKUP_DIR}/ in .gitignore"
                workspace.console.warn(why)
        with replacement(path, 0o600) as file:
            _dump(workspace, database, file.fileno())
        workspace.close_file(path)
    return path


def _choose_dump(directory: str, database: str) -> str:
    """Return the path of a new dump; remove what killed ones have left."""
    for name in os.listdir(directory):
        left = join(directory, name)
        ours = re.fullmatch(r".*-\d{8}T\d{6}Z\.dump\.hive-pg\.tmp", name)
        if ours and not is_locked(left):
            os.unlink(left)
    base, now = join(directory, database.replace("/", "_")), time.time()
    while lexists(path := f"{base}-{format_stamp(now)}.dump"):
        now += 1  # another one is of the same second
    return path


def _dump(workspace: Workspace, database: str, file: int, begun: Process | None = None) -> None:
    """Write a dump; what nobody has `begun` is read back."""
    workspace.await_rotation()
    server = workspace.server.with_url(database=database)
    result = server.dump(begun or server.start_dump(file, lasts=True), file)
    ended = "broken pipe" in result.stderr or result.returncode == -13  # SIGPIPE
    if ended and not os.path.isfile(file):  # else docker's own pipe
        raise BrokenPipeError
    _check_dump(workspace, result, f"cannot dump database {database}")


# -- restore -----------------------------------------------


def open_source(path: str, directory: str) -> IO[bytes]:
    """Open a dump; a pipe's is copied into an unnamed file first."""
    import shutil

    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise WorkspaceError("there is no dump on stdin", "{restore} FILE")
    if path != "-" and is_gone(path):
        raise WorkspaceError(f"there is no file {path!r}", f"ls {BACKUP_DIR}; or {{restore}} @NAME")
    if path != "-" and os.path.isdir(path):
        raise WorkspaceError(f"{path} is a directory", "pg_dump -Fc writes a file")
    with explaining("read", os.path.abspath(path)):
        place = os.dup(sys.stdin.fileno()) if path == "-" else path
        file = open(place, "rb", buffering=0)  # noqa: SIM115 (the caller closes it)
        if file.seekable():
            return file
        copy = open_unnamed(directory)
        with file:
            shutil.copyfileobj(file, copy, 1 << 20)
        copy.seek(0)
        return copy


def choose_database_name(database: str, kind: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken, of 63 bytes at most."""
    now = time.time()
    while (name := f"{database[: 45 - len(kind)]}_{kind}_{format_stamp(now)}") in taken:
        now += 1
    return name


def drop_unfinished(workspace: Workspace) -> list[str]:
    """Drop what an interrupted command has made; return all names."""
    sql = f"{END_LOADS_SQL} \\g /dev/null\n"
    sql += build_list_sql(workspace.settings.url.database, STAGING_COMMENT, drops=True)
    try:
        undo_restore(workspace)
        left = "what a restore may have left stays until the next, or --drop-old"
        return workspace.server.list_rows(sql + DATABASES_SQL, left)
    except PostgreSQLIntegrationError as error:
        workspace.console.warn(str(error))
        return []


def find_snapshot(workspace: Workspace, name: str) -> str:
    """Return the database of a snapshot."""
    name = name.removeprefix("@")
    for database in find_databases(workspace, SNAPSHOT_COMMENT + name):
        return database
    raise WorkspaceError(f"there is no snapshot @{name}", "{snapshot} --list")


def insist(run: Callable[[], str], tries_left: int = 19) -> str:
    """Run SQL that ends sessions, again where others connect meanwhile."""
    try:
        return run()
    except DockerCommandError as error:
        others = r"accessed by other users|statement timeout"
        if not re.search(others, error.detail) or not tries_left:
            raise
    return insist(run, tries_left - 1)


def analyze(server: Server, database: str) -> None:
    """Let the planner know the tables before somebody's first query."""
    try:
        action = f"the planner does not know all tables of {database} yet"
        server.query("analyze;", action, database, timeout=WALK_TIMEOUT_S)
    except DockerCommandError as error:  # in a function that an index calls, perhaps
        server.engine.runner.console.warn(str(error))


class Restore:
    """One restore into a new database, which changes names with the old one."""

    file: IO[bytes]
    head, archive, has_pgvector = b"", False, False  # of the file, where there is one

    def __init__(self, workspace: Workspace, file: IO[bytes] | None, *, owner: bool = True) -> None:
        self.workspace, self.console, self.owner = workspace, workspace.console, owner
        if not file:
            return
        self.file, self.start, self.head = file, file.tell(), file.read(4096)
        made = rb"(?m)(?:^|\0)CREATE EXTENSION [^\n]* vector WITH SCHEMA "
        self.has_pgvector = bool(re.search(made, self.head + file.read(1 << 16)))
        file.seek(max(self.start, file.seek(0, os.SEEK_END) - 1000))
        tail = file.read()
        if _DUMP_LINE in self.head and _DUMP_LINE not in tail:  # more may follow its end
            file.seek(self.start)
            with open(file.fileno(), "rb", closefd=False) as lines:
                tail = [tail, *(line for line in lines if line.startswith(_DUMP_LINE))][-1]
        self.archive = check_dump_format(self.head, tail)
        if not self.archive and not owner:
            hint = "pg_dump --no-owner; or make the role: {psql} -c 'create role \"NAME\"'"
            raise WorkspaceError("--no-owner is for pg_dump -Fc: SQL sets its owners itself", hint)

    def run(self, *, source: str = "", extends: bool = False, tells: bool = True) -> str:
        """Do it, with the lock; return the present database's new name, which it `tells`."""
        server, database = self.workspace.server, self.workspace.settings.url.database
        names = drop_unfinished(self.workspace)
        kept = choose_database_name(database, "before", names)
        staging = choose_database_name(database, "restoring", names)
        remedy = self.console.format("drop it: {restore} --drop-old")
        done = f"what was {database} is {kept} now; {remedy}"
        try:
            if self.archive and self.owner:
                self._look_into_it()
            sql = build_staging_sql(database, staging, source, extends=extends)
            insist(lambda: server.create(sql, "cannot restore it", source))
            if self.head:
                self._load(staging)
            if error := server.with_url(database=staging).probe().error:
                raise error
            self._swap(staging, kept, source or database)
        except BaseException:  # the swap may have been done when it came
            names = drop_unfinished(self.workspace)
            if kept in names:
                self.console.warn(done)
            elif database in names:
                self.console.note(f"{database} serves as it did")
            raise
        if tells:
            self.console.step(done)
        verify(self.workspace)
        return kept

    def _query(self, sql: str, database: str = "template1") -> str:
        return self.workspace.server.query(sql, "cannot restore it", database)

    def _look_into_it(self) -> None:
        """Give all to our role where the only owner in the dump is not here."""
        server = self.workspace.server
        self.file.seek(self.start)
        listing = server.list_contents("cannot restore it", self.file.fileno())
        owners = {*re.findall(r"(?m)^[0-9]+; .*( (?!pg_)\S+)$", listing)}  # or their last words
        if len(owners) != 1:
            return
        (word,) = owners
        known = f"select from pg_roles where right(' ' || rolname, {len(word)})"
        if self._query(f"select exists ({known} = {quote_literal(word)});").strip() == "f":
            self.owner = False
            self.console.note(f"objects of{word} in the dump become {server.url.user}'s")
            if re.search(r"(?m)^[0-9]+; \S+ \S+ (DEFAULT )?ACL ", listing):
                self.console.warn("the grants in the dump are left out")

    def _load(self, staging: str) -> None:
        client = ["pg_restore", "--exit-on-error", "-w", "-d", staging]
        if not self.owner:  # and a subscription has the password of yet another server
            client += ["--no-owner", "--no-privileges", "--no-subscriptions"]
        workspace, word = self.workspace, f"hive-pg-{staging}"
        if not self.archive:
            self._protect(staging)
            client = self._build_script_client(staging, word)
        self.file.seek(self.start)
        result = workspace.server.load(self.file.fileno(), client, "restoring the dump")
        _check_dump(workspace, result, "cannot restore it")
        if not self.archive and word not in result.stderr:
            said = f"{result.stderr}it ends in the middle of a statement or transaction"
            raise build_error(result.replace(stderr=said), "cannot restore it", "", ["dump"])
        undo_restore(workspace)
        made = f"select exists (select from pg_depend where objid >= {FIRST_USER_OID})"
        made += " or exists (select from pg_largeobject_metadata)"
        if self._query(made, staging).strip() != "t":
            raise WorkspaceError("the file makes nothing in a database", "take another one")
        analyze(workspace.server, staging)

    def _protect(self, staging: str) -> None:
        """Remember what a script may change.

        The databases become templates, which even FORCE does not drop. A superuser gets a
        keeper: a role that is like its own, and has its password.
        """
        undo_restore(self.workspace)  # or what a killed one has left would be forgotten
        superuser, found = self._query(f"""\
show is_superuser;
select coalesce(jsonb_agg(to_jsonb(d)), '[]')
from (select oid, datname as name, datallowconn, datconnlimit from pg_database
    where not datistemplate and datconnlimit <> -2 and pg_has_role(datdba, 'usage')) d
where name <> {quote_literal(staging)};
""").split("\n")[:-1]
        keeper = f"hive_pg_undo_{os.urandom(8).hex()}" if superuser == "on" else ""
        databases, own = parse_json(found), self.workspace.settings.url.user
        sql = f"create role {keeper};\n{build_copy_role_sql(own, keeper)}" if keeper else ""
        for database in databases:
            sql += f"alter database {quote_identifier(database['name'])} is_template true;\n"
        self.workspace.remember(staging=staging, keeper=keeper, databases=databases)
        self._query(f"begin;\n{sql}commit;\n")

    def _build_script_client(self, staging: str, word: str) -> list[str]:
        """Return the psql of a script, which says a word at its end."""
        key, restricts = os.urandom(16).hex(), self.workspace.server.restricts
        unrestrict = f"\\unrestrict {key}\n" * restricts
        # It is said outside of a transaction only; a quote could end a string left open.
        end = f"\n;\n{unrestrict}select now() = statement_timestamp() as hive_pg_end \\gset\n"
        end += f"\\if :hive_pg_end\n\\warn {word}\n\\endif\n\\q\n"
        client = [build_script_filter(self.head, restricts=restricts), end, "psql"]
        client += ["-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", staging]
        client += ["-c", f"\\restrict {key}"] * restricts
        # psql counts the lines of a file.
        return ["sh", "-c", _LOAD_SCRIPT, "hive-pg", *client, "-f", "-"]

    def _swap(self, staging: str, kept: str, source: str) -> None:
        """Put a database in the present one's place, and end all sessions.

        It gets the comment of its source, without what hive-pg has written there. A try that
        waits for new sessions to end is soon given up: another one ends them sooner.
        """
        database = self.workspace.settings.url.database
        present, aside, new = map(quote_identifier, (database, kept, staging))
        name, comment = quote_literal(database), quote_literal(KEPT_COMMENT.format(database))
        sql = f"""\
set statement_timeout = '1s';
begin;
select format('comment on database %I is %L', {quote_literal(staging)}, regexp_replace(
    shobj_description(oid, 'pg_database'), {quote_literal(OWN_COMMENT)}, ''))
from pg_database where datname = {quote_literal(source)}
\\gexec
select pg_terminate_backend(pid) from pg_stat_activity where datname = {name};
alter database {present} rename to {aside};
comment on database {aside} is {comment};
alter database {new} rename to {present};
commit;
"""
        insist(lambda: self._query(sql))


def reset(workspace: Workspace, seed: str = "") -> str:
    """Put an empty database, or what `seed` makes, in the present one's place."""
    with open_source(seed, workspace.directory) if seed else nullcontext() as file:
        task = Restore(workspace, file)
        get_settled(workspace)
        _agree_to(workspace, "an empty database")
        return _run_alone(task, extends=not task.has_pgvector)


def restore(workspace: Workspace, path: str, *, owner: bool = True) -> str:
    """Put a dump in the database's place; return the old one's name.

    It goes into a new database, and the two change names, which ends all sessions. `path` may be
    `-` for stdin, or @NAME. Without `owner` all is the workspace's role's.
    """
    copies = path.startswith("@")
    if path == "-":  # on which nobody can answer
        _agree_to(workspace, path)
    with nullcontext() if copies else open_source(path, workspace.directory) as file:
        task = Restore(workspace, file, owner=owner)  # refuses what is no dump
        get_settled(workspace)
        source = find_snapshot(workspace, path) if copies else ""
        _agree_to(workspace, path)
        return _run_alone(task, source=source)


def _agree_to(workspace: Workspace, new: str) -> None:
    database = workspace.settings.url.database
    workspace.agree(f"put {new} in the place of database {database}, and end its sessions?")


def _run_alone(task: Restore, **how: Any) -> str:
    workspace = task.workspace
    with workspace.lock():
        probe = look(workspace)  # what bars the way is found out before a long restore
        if probe.error:
            raise probe.error
        if probe.objection:
            refuse_port(workspace, probe)
        return task.run(**how)


@contextmanager
def naming(workspace: Workspace) -> Iterator[None]:
    """Name a workspace that is not the command's in the hint of an error."""
    try:
        yield
    except PostgreSQLIntegrationError as error:
        error.hint = workspace.console.format(error.hint)
        raise


def set_up_copy(
    workspace: Workspace, source: str, interactive: bool = True, **options: Any
) -> bool:
    """Set a workspace up with the data of another one, which goes on.

    Names, port and login are its own, image and database the other's, unless `.env` has some.
    """
    console = workspace.console
    named = Console(console.quiet, console.verbose, console.program, source)
    other = Workspace(source, named, workspace.engine)
    if other.directory == workspace.directory or not options.pop("start", True):
        raise WorkspaceError("--from takes another workspace, and a database that runs")
    with naming(other):
        get_settled(other)
    url, values = other.settings.url, workspace.values
    for name, key in (("image", IMAGE_KEY), ("database", DB_KEY)):
        usual = None if values.get(key) else other.values.get(key)
        options[name] = options.get(name) or usual
    with open_unnamed(other.directory) as file:
        with other.server.start_dump(file.fileno()) as begun:
            if not set_up(workspace, interactive, foreign=url.password, **options):
                return False
            server, database = workspace.server, workspace.settings.url.database
            if is_used(server, database):
                hint = named.format("{backup} -o - | ") + console.format("{restore} - --yes")
                raise WorkspaceError(f"{database} has data, and stays as it is", hint)
            with naming(other):
                _dump(other, url.database, file.fileno(), begun)
        file.seek(0)
        task = Restore(workspace, file, owner=False)  # none of the other's roles is here
        with workspace.lock():
            kept = task.run(tells=False)
    if is_used(server, kept):
        console.warn(f"somebody wrote to {database} meanwhile: {kept} stays")
    else:
        server.query(f"drop database {quote_identifier(kept)};", "cannot drop it")
    console.step(f"the data is that of {source}")
    return True


def find_databases(workspace: Workspace, comment: str) -> list[str]:
    """Return the databases that `restore` marked with a comment."""
    sql = build_list_sql(workspace.settings.url.database, comment)
    return workspace.server.list_rows(sql, "cannot list the databases")


def drop_old_databases(workspace: Workspace) -> None:
    """Drop the databases that restores kept or left."""
    get_settled(workspace)
    old = find_databases(workspace, KEPT_COMMENT)
    if old:
        workspace.agree(f"drop {', '.join(old)}?")
    with workspace.lock():
        if find_databases(workspace, KEPT_COMMENT) != old:
            raise WorkspaceError("what is kept has changed meanwhile", "{restore} --drop-old")
        for comment in (KEPT_COMMENT, STAGING_COMMENT):
            drop_databases(workspace, comment)
    workspace.console.step(f"dropped: {', '.join(old) or 'nothing, as nothing was kept'}")


# -- snapshots ---------------------------------------------


class Snapshot(Record):
    """A copy of the database in the same server."""

    name: str
    created: str
    size_bytes: int
    database: str


def list_snapshots(workspace: Workspace) -> list[Snapshot]:
    """Return the snapshots of the database, the oldest first."""
    get_settled(workspace)
    mark = SNAPSHOT_COMMENT.format(workspace.settings.url.database)
    sql = f"""\
select substr(split_part(said, E'\\n', 1), {len(mark) + 1}), pg_database_size(oid), datname
from pg_database, shobj_description(oid, 'pg_database') said
where starts_with(said, {quote_literal(mark)}) order by right(datname, 16);
"""
    said = workspace.server.query(sql, "cannot list the snapshots")
    rows = re.findall(rf"(?m)^({_SNAPSHOT})\|(\d+)\|(.*_(\d+T\d+Z))$", said)
    return [Snapshot(name, created, int(size), base) for name, size, base, created in rows]


def drop_snapshot(workspace: Workspace, name: str) -> None:
    """Drop a snapshot."""
    get_settled(workspace)
    find_snapshot(workspace, name)
    name = name.removeprefix("@")
    workspace.agree(f"drop the snapshot @{name}?")
    with workspace.lock():
        drop_databases(workspace, SNAPSHOT_COMMENT + name)
    workspace.console.step(f"@{name} is dropped")


def snapshot(workspace: Workspace, name: str = "") -> str:
    """Copy the database within its server; return the name for `restore`.

    It ends all sessions, and who connects meanwhile waits. Until it is whole, the next command
    drops it.
    """
    name = name.removeprefix("@")
    if not re.fullmatch(rf"({_SNAPSHOT})?", name):
        raise WorkspaceError(f"{name!r} is no name of a snapshot: {_NAME_RULE}")
    workspace.get_running()
    with workspace.lock():
        database, names = workspace.settings.url.database, drop_unfinished(workspace)
        new = choose_database_name(database, "snapshot", names)
        name = name or new[-16:]
        if find_databases(workspace, SNAPSHOT_COMMENT + name):
            hint = f"take another name; or {{snapshot}} --drop @{name}"
            raise WorkspaceError(f"there is a snapshot @{name}", hint)
        mark = SNAPSHOT_COMMENT.format(database) + name
        ended = _make_database(workspace, new, database, mark).count("t\n")
    workspace.console.step(f"{database} is copied; sessions that had to end: {ended}")
    return name


def _make_database(workspace: Workspace, new: str, source: str, mark: str) -> str:
    """Make a database, with pgvector or a copy; return psql's words."""
    workspace.console.doing(f"making database {new}")
    database = workspace.settings.url.database
    sql = build_staging_sql(database, new, source, mark, extends=not source)
    try:
        return insist(lambda: workspace.server.create(sql, "cannot make the database", source))
    except BaseException:  # the server may be at it
        drop_unfinished(workspace)
        raise


@contextmanager
def temporary_database(workspace: Workspace, snapshot: str = "") -> Iterator[DatabaseURL]:
    """Give the URL of a new database, which is dropped at the end.

    Its lock dies with this process and those that it runs: then the next command drops it.
    """
    with naming(workspace), ExitStack() as stack:
        get_settled(workspace)
        with workspace.lock():
            database, locks = workspace.settings.url.database, os.listdir(workspace.directory)
            taken = [f"{database[:40]}_fresh_{name[-16:]}" for name in locks]
            new = choose_database_name(database, "fresh", taken)
            lock = Lock(f"{workspace.lock_path}.{new[-16:]}", workspace.console, 1)
            stack.callback(lock.__enter__().close)
            stack.callback(drop_fresh, workspace, lock.path, lock)
            source = find_snapshot(workspace, snapshot) if snapshot else ""
            _make_database(workspace, new, source, FRESH_COMMENT + new[-16:])
        workspace.console.clear()
        yield workspace.settings.url.replace(database=new)


# -- rotate and destroy ------------------------------------


def rotate(workspace: Workspace) -> None:
    """Give server and `.env` a new password; `start` goes on with it."""
    with workspace.lock():
        workspace.get_running()
        undo_restore(workspace)
        password = generate_credentials()[1]
        service = workspace.resolve_service(workspace.settings.with_password(password))
        if service.environment.get(PASSWORD_KEY) != password:
            hint = f"let it take ${{{PASSWORD_KEY}}} from {ENV_FILE}"
            raise WorkspaceError("the compose file has a password of its own", hint)
        if not workspace.state.next_password:  # else the server may have that one already
            workspace.remember(next_password=password)
            with ExitStack() as undo:  # what refuses it does so before the server knows
                undo.callback(workspace.remember, next_password="")
                workspace.save_env({})
                write_file(workspace.env_path, workspace.env.text, 0o600)
                undo.pop_all()
        finish_rotation(workspace)
        verify(workspace)


def destroy(
    workspace: Workspace, *, data: bool = False, backup: bool = True, purge: bool = False
) -> None:
    """Remove the container and its network; with `data` the cluster, after a backup.

    `purge` goes on to our keys in `.env` and to files that are as `init` has written them.

    Raises: WorkspaceError where data would be lost, or is not this workspace's alone.
    """
    console = workspace.console
    data = data or purge
    with workspace.lock():
        finish_upgrade(workspace, ends=not all((data, backup)))
        neighbours = survey(workspace)
        info = find_named(neighbours.own, workspace.settings.container)
        place, stays = info.home if info else ("", True)
        if not data:
            if not stays:
                hint = "{backup} saves it, and {destroy} --data deletes it"
                raise WorkspaceError(f"the data would be lost, which is in {place}", hint)
            _remove_container(workspace)
            missing = info and workspace.find_missing(info)
            said = "the data stays" + f" in {place}" * bool(place)
            console.note(f"{missing} is missing" if missing else said)
            return
        service = _get_own_cluster(workspace, neighbours, info)
        held = not stays or _has_cluster(workspace, service, info)
        hint = "with nothing saved: {destroy} --data --no-backup"
        dump = _back_up_all(workspace, hint, seen=True) if held and backup else ""
        _remove_container(workspace, "--volumes")
        workspace.remember(verified=False, begun=False, exchange=[], major="", volume="")  # as new
        if stays:
            place = service.cluster
            _delete_cluster(workspace, service, backup)
            if not backup:  # what an upgrade kept went, too
                workspace.remember(kept="", kept_image="")
        if held:
            console.step(f"{place} is deleted")
        else:
            console.note(f"there was no data in {service.source}")
        back = f", then {{restore}} {dump}" if dump else " makes a new, empty database"
        if purge:
            _remove_files(workspace, service, neighbours)
        console.note(console.format(f"to come back: {{init}}{back}"))


def _delete_cluster(workspace: Workspace, service: ComposeService, backup: bool) -> None:
    """Delete a cluster, and a volume that is empty then."""
    engine, volume = workspace.engine, "" if service.data_dir else service.source
    action = f"cannot delete {service.cluster}"
    if volume and not engine.has_volume(volume):
        return
    workspace.console.doing(f"deleting {service.cluster}")
    (place, name), aside = os.path.split(service.target), "deleted" if backup else "*"
    argv = ("sh", "-c", _DELETE_SCRIPT, name, f"incomplete-{aside}", place, volume)
    result = workspace.run_in_place(service, *argv, timeout=WALK_TIMEOUT_S)
    found = "" if re.search(_NO_SOURCE, result.stderr) else check_result(result, action).stdout
    if left := " ".join(found.replace("/target", volume).split()):
        workspace.console.warn(f"{left} beside it stay, of which there is no backup")
    elif volume:
        engine.ask(action, "volume", "rm", volume)


def _remove_files(workspace: Workspace, service: ComposeService, neighbours: Neighbours) -> None:
    """Remove our keys from `.env`, and unchanged files."""
    directory, base = workspace.directory, workspace.compose_file() or ""
    data_dir, keys = workspace.data_dir, {*OUR_KEYS}
    data, ours = dirname(data_dir), dirname(base)
    added, place = join(ours, ADDED_FILE), f"./{os.path.relpath(data_dir, ours)}"
    beside = [*filter(re.compile(r"compose.*\.ya?ml\Z").search, os.listdir(directory))]
    written = {
        **{join(directory, name): [] for name in workspace.named_files + beside},
        base: [render_compose()],
        added: [render_addition(name, place) for name in ("", service.service)],
    }
    with suppress(OSError):  # a kept cluster is in it
        os.rmdir(data_dir)
    if not lexists(data_dir):  # else git would see that
        written[join(data, ".gitignore")] = ["/postgres/\n/.gitignore\n"]
    removed = [*find_abandoned(workspace), workspace.state_path]
    for path, texts in written.items():
        text = (read_file(path) or b"").decode(errors="replace")
        if re.sub(r"hive-pg [0-9][.\w]*\w", f"hive-pg {__version__}", text) in texts:
            removed.append(path)
        elif re.search(r"\bPOSTGRES_|env_file|include|extends", text):
            keys -= {USER_KEY, PASSWORD_KEY, DB_KEY}
    if added in removed:
        keys |= workspace.drop_compose_file()
    if _has_others(workspace, neighbours):  # plain Compose would make them again
        keys -= {PROJECT_KEY}
    workspace.reload()  # somebody may have edited it meanwhile
    left = remove_keys(workspace.env.text, workspace.env.items, keys)
    if left.strip() or islink(workspace.env_path):
        write_file(workspace.env_path, left)
    else:
        lines = "\n".join([*dict.fromkeys(IGNORED.values()), ""])
        ignored = join(directory, ".gitignore")
        removed += [workspace.env_path] + [ignored] * (read_file(ignored) == lines.encode())
    names = {os.path.relpath(path, directory) for path in removed}
    names -= {*find_tracked(workspace, *names)}  # which came with the clone
    for name in sorted(names):  # `.env` before `.gitignore`
        with suppress(FileNotFoundError):
            os.unlink(join(directory, name))
    workspace.console.step(f"{', '.join(sorted(names))} removed")
    with suppress(OSError):  # somebody uses it
        os.rmdir(data)


def _has_others(workspace: Workspace, neighbours: Neighbours) -> bool:
    """Whether the project has something beside the database, which is removed."""
    settings = workspace.settings
    projects = [i.project for i in neighbours.containers if i.name != settings.container]
    return settings.project in projects or workspace.engine.has_volume(project=settings.project)


def _remove_container(workspace: Workspace, *options: str) -> None:
    """Stop and remove the container, and its network if unused."""
    engine, console, settings = workspace.engine, workspace.console, workspace.settings
    name, project = settings.container, settings.project
    if workspace.find_container() is None:
        console.note(f"there is no container {name}")
    else:
        stop_container(workspace)
        engine.ask(f"cannot remove {name}", "rm", *options, name)
        console.step(f"container {name} is removed")
    if all(other.project != project for other in survey(workspace).containers):
        engine.remove_networks(project)


def _get_own_cluster(
    workspace: Workspace, neighbours: Neighbours, info: ContainerInfo | None
) -> ComposeService:
    """Return the service, if its cluster is the workspace's own."""
    workspace.refuse_copy()
    service, stays = workspace.resolve_service(), info is None or info.home[1]
    own, cluster = workspace.data_dir, service.cluster
    real = realpath(service.data_dir), realpath(cluster)
    ours = real in ((own, own), (own, join(own, basename(cluster))))
    if service.in_volume:
        # Without its container and state, `.env` may be a copy.
        known = (info and info.cluster[1] == cluster) or not is_gone(workspace.state_path)
        volumes = partial(workspace.engine.has_volume, service.source)
        ours = (known and volumes(service.project)) or not volumes()
    neighbours.refuse_conflicts(service, starts=False)
    if not ours and stays:
        hint = f"delete it yourself, if it is not needed: {cluster}"
        why = f"the data is neither in {own} nor in a volume of this project"
        raise WorkspaceError(why, hint)
    there = info and info.running and info.cluster[0] and workspace.server.identify_mount(info)
    if there and identify_file(own) not in ("", there) and not workspace.is_apart:
        why = f"the server's files are not those in {own} any more, which were moved or replaced"
        raise WorkspaceError(why, "{restart} takes those")
    return service


def _has_cluster(workspace: Workspace, service: ComposeService, info: ContainerInfo | None) -> bool:
    """Whether there is a cluster; refuse where it is at another place than the files say."""
    cluster = service.cluster
    if holds_data(service.data_dir, cluster) or look_in_place(workspace, service):
        return True  # perhaps on the engine's disk alone
    last = info.cluster[1] if info else workspace.state.volume * (not workspace.is_copy)
    for place in (last, join(workspace.data_dir, "pgdata") * service.in_volume):
        other = service.replace(data_dir=place * is_path(place), cluster=place)
        if look_in_place(workspace, other):
            why = f"the data is in {place}, and {ENV_FILE} and the compose file say {cluster}"
            raise WorkspaceError(why, "put back what they said before, then {destroy} --data")
    return False


def is_used(server: Server, database: str, sql: str = _USED_SQL) -> bool:
    """Whether somebody made something in a database."""
    return server.query(sql, f"cannot look into {database}", database).strip() == "t"


def find_used(workspace: Workspace, sql: str) -> list[str]:
    """Return all databases, those of initdb if somebody made something there."""
    server, main = workspace.server, workspace.settings.url.database
    every = "select json_agg(datname) from pg_database where datname <> 'template0'"
    found = {*parse_json(server.query(every, "cannot list the databases"))}
    names = sorted(found - {*find_databases(workspace, STAGING_COMMENT)})
    usual = {DEFAULT_ROLE, "template1"} - {main}
    return [name for name in names if name not in usual or is_used(server, name, sql)]


def _back_up_all(workspace: Workspace, otherwise: str, *, seen: bool = False) -> str:
    """Back up all databases and roles; return what a restore takes."""
    console, dump = workspace.console, ""
    try:
        serve(workspace, seen=seen)
        settle(workspace)
        server, main, path = workspace.server, workspace.settings.url.database, ""
        for name in find_used(workspace, _KEPT_SQL):
            path = back_up(workspace, database=name)
            dump = path if name == main else dump
            console.step(f"the backup is {path}")
        text = server.dump_globals()
        text += server.query(build_settings_sql(main, main), "cannot read the settings")
        path = f"{dirname(path)}/globals-{format_stamp(time.time())}.sql"
        write_file(path, text, 0o600)
        workspace.close_file(path)
        console.step(f"the roles are in {path}")
        return quote_word(dump)
    except PostgreSQLIntegrationError as error:
        error.hint = "; or, ".join(filter(None, (error.hint, otherwise)))
        raise


# -- upgrade -----------------------------------------------

# Copies the database of PGDATABASE from the host $1: into $2, or with `--create`.
_COPY_SCRIPT = f"""\
{{ PGHOST=$1 pg_dump -Fc -Z0 -w || echo "{_DUMP_FAILED}" >&2; }} |
  pg_restore -w --exit-on-error -d "$2" $3
"""
_COUNT_SQL = f"""\
select format('select json_build_array(%L, %L, count(*)) from only %I.%I',
    nspname, relname, nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where c.oid >= {FIRST_USER_OID} and relkind = 'r' and relpersistence <> 't'
and pg_has_role(relowner, 'usage') and not relforcerowsecurity and not exists (select
from pg_depend where (classid, objid, deptype) = ('pg_class'::regclass, c.oid, 'e'))
\\gexec
select json_build_array('large objects', count(*)) from pg_largeobject_metadata
having count(*) > 0;
"""


def compare_rows(old: Server, new: Server, action: str) -> int:
    """Count a database's rows, which are those of its copy, too."""
    rows, copied = (
        server.list_rows(_COUNT_SQL, action, server.url.database, WALK_TIMEOUT_S)
        for server in (old, new)
    )
    if differing := sorted({*rows} - {*copied}):
        why = f"{action}: the copy has other rows than these: {'; '.join(differing[:10])}"
        raise WorkspaceError(why, "let nobody write to either meanwhile")
    return sum(parse_json(row)[-1] for row in rows)


# Drops what init scripts made; returns the roles.
_CLEAR_SQL = """\
select format('drop database %I', datname) from pg_database
where datname !~ '^(postgres|template[01])$'
\\gexec
select rolname from pg_roles;
"""
_KEPT = "{upgrade} --undo takes it again, {upgrade} --drop-old deletes it"


def _turn_back(workspace: Workspace) -> None:
    """Let the cluster serve that did before; the one in its place is kept."""
    if (plan := workspace.state.exchange) and plan[1]:
        aside, _, image, before, back = plan
        workspace.remember(exchange=[back, aside, before, image, aside])
    exchange_clusters(workspace)


@contextmanager
def _going_back(workspace: Workspace, *plan: str) -> Iterator[None]:
    """Do what `exchange_clusters` does, or let the present cluster serve again."""
    major = workspace.state.major
    try:
        workspace.remember(exchange=plan)
        yield
        exchange_clusters(workspace)
    except BaseException as error:
        try:
            _turn_back(workspace)
        except PostgreSQLIntegrationError as bar:
            said = (str(error), f"PostgreSQL {major} does not serve again: {bar}")
            bar.args = ("; ".join(filter(None, said)),)  # Ctrl-C says nothing
            raise
        if not isinstance(error, PostgreSQLIntegrationError):
            raise
        why = f"PostgreSQL {major} serves as before: {error}"
        hint = "" if "{logs}" in error.hint else error.hint
        raise PostgreSQLIntegrationError(why, hint, detail=error.detail) from None


class Upgrade:
    """A new cluster is made and compared beside the old one; then they change places.

    Meanwhile no application writes to them. The old one has the container's own name: so nobody
    starts a second server on it.
    """

    def __init__(self, workspace: Workspace, service: ComposeService, image: str) -> None:
        self.workspace, self.service, self.image = workspace, service, image
        self.engine, self.console = workspace.engine, workspace.console
        self.settings = workspace.settings

    def run(self) -> None:
        """Do it; the lock is held."""
        workspace, service = self.workspace, self.service
        before = workspace.state.major
        major = self.check(before)
        workspace.server.check_room("there is no room")
        databases = find_used(workspace, _HELD_SQL)
        for name in sorted({*find_used(workspace, _KEPT_SQL)} - {*databases}):
            self.console.note(f"what extensions hold in {name} is not taken over")
        first = "select rolname from pg_roles where oid = 10;"
        boot = workspace.server.query(first, "cannot upgrade").strip()
        with _going_back(workspace, "", "", "", "", ""):
            stop_container(workspace)
            self.engine.ask("cannot remove the container", "rm", service.container)
            self._make(databases, boot)
            workspace.remember(exchange=[before, "upgrade", self.image, service.image, major])
        self.console.step(f"the old cluster is {service.cluster}.{before}")
        self.console.note(self.console.format(_KEPT))
        said = "what is set in its files (postgresql.conf, pg_hba.conf, by ALTER SYSTEM)"
        self.console.note(f"{said} was not taken over")

    def check(self, before: str) -> str:
        """Return the image's major version, if there is a way to it."""
        engine, service, image = self.engine, self.service, self.image
        if kept := self.workspace.state.kept:
            raise WorkspaceError(f"PostgreSQL {kept}'s cluster is still kept", _KEPT)
        new = self.workspace.resolve_service(self.settings.replace(image=image))
        if new.image == image and not new.image_info:
            engine.pull(image)
            new = new.with_image(engine.find_image(image))
        below = service.lasts and service.source != service.cluster
        if (command := service.command) and not re.match("postgres$|-", command[0]):
            why = f"service {service.service} runs {command[0]}, which cannot be kept from writing"
            raise WorkspaceError(why, "let its command be a list that begins with postgres")
        if not below or (new.image, new.cluster) != (image, service.cluster):
            needs = f"""\
the compose file is yours, and nothing was moved; service {service.service} needs
    image: {image}
    environment: PGDATA, below the target of the volume
    volumes: an empty one at that target"""
            raise WorkspaceError(needs, "{backup}; change it; {init}; {restore} FILE")
        self.environment = {**(new.image_info or ImageInfo({}, ())).environment, **new.environment}
        self._refuse_outside()
        major = self.environment.get("PG_MAJOR", "")
        if parse_version(major) <= parse_version(before):
            why = f"{image} has PostgreSQL {major or '?'}, and the data is of {before}"
            raise WorkspaceError(why, "name a later one")
        names = "select pg_ls_dir(current_setting('data_directory') || '/..');"
        beside = self.workspace.server.list_rows(names, "cannot upgrade")
        for place in (f"{service.cluster}.{version}" for version in (before, major)):
            if basename(place) in beside:  # it would be taken on the way back
                raise WorkspaceError(f"{place} is in the way", "move it, or delete it")
        return major

    def _refuse_outside(self) -> None:
        """Refuse what is not below PGDATA: the clusters would share it, or lose sight of it."""
        spaces = f"select spcname from pg_tablespace where oid >= {FIRST_USER_OID};"
        outside = self.workspace.server.list_rows(spaces, "cannot upgrade")
        key = "POSTGRES_INITDB_WALDIR"
        outside += [key] * bool(self.environment.get(key))
        if outside:
            why = f"{', '.join(outside)} leads out of the cluster"
            hint = "alter table … set tablespace pg_default, drop that; or {backup}, {restore}"
            raise WorkspaceError(why, hint)

    def _make(self, databases: Sequence[str], boot: str) -> None:
        settings, url = self.settings, self.settings.url
        action = "cannot make the new cluster"
        old = self._start(settings.container, settings, url)
        pgdata = {"PGDATA": DEFAULT_PGDATA, **self.environment}["PGDATA"]
        values = (f"PGDATA={pgdata}.upgrade", f"{USER_KEY}={boot}", f"{DB_KEY}=hive_pg_upgrade")
        boot_url = url.replace(user=boot, database=DEFAULT_ROLE)
        name = f"{settings.container}-upgrade"
        new = self._start(name, settings.replace(image=self.image), boot_url, *values)
        for server in (old, new):
            self._await(server)
        roles = "|".join(map(re.escape, new.list_rows(_CLEAR_SQL, action)))
        there = rf'(?m)^(?:CREATE ROLE "?(?:{roles})"?;|\\(?:un)?restrict .*)\n'
        forget = f"alter role {quote_identifier(boot)} password null;\n"  # ours
        # Settings of these pg_dump has only with --create.
        sql = ";\n".join(build_settings_sql(n, n) for n in (DEFAULT_ROLE, "template1"))
        # 15's own program names who granted a role, which 16 refuses.
        first, new = new, new.with_url(user=url.user, database=url.database)
        roles_sql = re.sub(there, "", new.dump_globals(old.container))
        first.query(forget + roles_sql + old.query(sql, action), action)
        for name in databases:
            self._copy(old, new, name)
        if error := new.probe().error:
            raise error

    def _start(self, name: str, settings: Settings, url: DatabaseURL, *values: str) -> Server:
        argv = ["run", "--detach", "--no-deps", "--name", name]
        argv += [f"--env={value}" for value in values]
        self.console.doing("starting PostgreSQL")
        argv.append(self.service.service)
        if not values:  # who finds it by its name, on its network, is not to write to it
            command = self.service.command or ["postgres"]
            argv += [*command, "-c", "default_transaction_read_only=on"]
            argv += ["-c", "max_logical_replication_workers=0"]  # not bound by that
        self.workspace.run_compose(settings, *argv)
        return Server(self.engine, name, url)

    def _await(self, server: Server) -> None:
        engine, name = self.engine, server.container
        deadline = time.monotonic() + READY_TIMEOUT_S
        while error := (probe := server.probe(WAIT_ROUND_S)).error:
            info = engine.container(name)
            if info is None or not info.running:
                raise judge_container(info, name, engine.logs(name)).error(awaited=True)
            if probe.readiness is Readiness.ACCEPTING or time.monotonic() > deadline:
                raise error
            time.sleep(0.1)

    def _copy(self, old: Server, new: Server, name: str) -> None:
        action = f"cannot copy database {name}"
        target = (name, "") if name in (DEFAULT_ROLE, "template1") else ("template1", "--create")
        client = ("sh", "-c", _COPY_SCRIPT, "hive-pg", old.container, *target)
        place = new.with_url(database=name)
        result = place.load(DEVNULL, client, f"copying database {name}")
        if result.returncode or _DUMP_FAILED in result.stderr:
            login = "connection to server" in result.stderr
            raise build_error(result, action, sources=["login"] * login + ["dump"])
        analyze(new, name)
        count = compare_rows(old.with_url(database=name), place, action)
        self.console.step(f"database {name} is copied, {count} rows")


def upgrade(workspace: Workspace, image: str) -> None:
    """Move the data to a later major version."""
    workspace.find_container()  # another's is refused
    workspace.agree(f"upgrade to {image}, with the database out of use meanwhile?")
    with workspace.lock():
        finish_upgrade(workspace)
        service = serve(workspace)
        settle(workspace)
        Upgrade(workspace, service, image).run()


def end_upgrade(workspace: Workspace, *, undo: bool) -> None:
    """Delete the cluster that was kept, or take it again."""
    workspace.refuse_copy()
    aside, coming = (*workspace.state.exchange, "", "")[:2]  # what is under way is finished first
    kept, going_back = aside if coming else workspace.state.kept, goes_back(workspace.state)
    if not kept:
        raise WorkspaceError("no cluster is kept", "{upgrade} --image IMAGE makes one")
    cluster = f"the cluster of PostgreSQL {kept}"
    back = f"take {cluster} again, without the rows written since?"
    if not (undo and going_back):  # that was agreed to
        workspace.agree(back if undo else f"delete {cluster}?")
    with workspace.lock():
        try:
            finish_upgrade(workspace)
        except PostgreSQLIntegrationError as error:
            if goes_back(workspace.state) or not (undo and coming):
                raise
            workspace.console.warn(f"the new cluster does not serve: {error}")
            _turn_back(workspace)
            return
        if undo and going_back:  # which is done now
            return
        if workspace.state.kept != kept:
            raise WorkspaceError(f"PostgreSQL {kept}'s cluster is not kept any more", "{status}")
        if undo:
            _take_again(workspace, kept)
        else:
            _delete_kept(workspace, kept)


def _take_again(workspace: Workspace, kept: str) -> None:
    """Let the clusters change places again, after a backup."""
    try:
        _back_up_all(workspace, "")
    except PostgreSQLIntegrationError as error:
        workspace.console.warn(f"no backup: {error}")
        workspace.agree("go back without one?")
    service, major = workspace.resolve_service(), workspace.state.major
    with _going_back(workspace, major, kept, workspace.state.kept_image, service.image, kept):
        pass
    workspace.console.step(f"PostgreSQL {kept} serves; {service.cluster}.{major} is kept")
    workspace.console.note(workspace.console.format("{upgrade} --drop-old deletes it"))


def _delete_kept(workspace: Workspace, kept: str) -> None:
    service = workspace.resolve_service()
    argv = ("rm", "-rf", f"{service.target}.{kept}")
    result = workspace.run_in_place(service, *argv, timeout=WALK_TIMEOUT_S)
    check_result(result, f"cannot delete {service.cluster}.{kept}")
    workspace.remember(kept="", kept_image="")
    workspace.console.step(f"{service.cluster}.{kept} is deleted")


# -- push and pull -----------------------------------------

# What a dump would make.
_MADE_SQL = f"""\
set search_path = '';
select json_build_object(
'schemas', array(select nspname from pg_namespace
    where oid >= {FIRST_USER_OID} and nspname !~ '^pg_'),
'extensions', (select coalesce(json_object_agg(extname, nspname), '{{}}')
    from pg_extension join pg_namespace n on n.oid = extnamespace),
'relations', array(select c.oid::regclass::text from pg_class c
    where oid >= {FIRST_USER_OID} and relkind !~ '[iIt]' and relpersistence <> 't' and not exists (
    select from pg_depend where (classid, objid, deptype) = ('pg_class'::regclass, c.oid, 'e'))),
'large objects', exists (select from pg_largeobject_metadata))
"""


def find_obstacles(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Return what a push would make that is there.

    >>> sides = [{"schemas": [], "extensions": {}, "relations": ["public.t"], "large objects": 0}]
    >>> find_obstacles(*sides * 2)
    ['public.t']
    """
    schemas = {*here["schemas"]} & {*there["schemas"]} - {*here["extensions"].values(), "public"}
    found = sorted({*here["relations"]} & {*there["relations"]})
    found = [f"schema {name}" for name in sorted(schemas)] + found
    found += ["large objects"] * bool(here["large objects"] and there["large objects"])
    for name, schema in there["extensions"].items():
        if here["extensions"].get(name, schema) != schema:
            found.append(f"extension {name} in schema {schema}")
    return found


def choose_entries(listing: str, present: Iterable[str]) -> str:
    r"""Leave what is somebody else's out of a list of `pg_restore`.

    >>> choose_entries("7; 2615 9 SCHEMA - ext ann\n2; 0 0 COMMENT - EXTENSION a \n", ["ext"])
    ''
    """
    present = {*present, "public"}  # which is initdb's, and so not in the list
    names = "|".join(re.escape(word) for name in present for word in (name, quote_identifier(name)))
    own = rf"COMMENT - EXTENSION |SUBSCRIPTION |(?:SCHEMA - |COMMENT - SCHEMA )(?:{names}) \S*$"
    lines = listing.split("\n")
    return "\n".join(line for line in lines if not re.match(rf"\d+; \d+ \d+ (?:{own})", line))


def push(workspace: Workspace, url: DatabaseURL, *, switch: bool = False) -> None:
    """Copy the database to a server elsewhere: all of it, or nothing.

    All becomes the role's there, without grants. Nothing that is there is replaced. With
    `switch`, `.env` leads there then.
    """
    console, target = workspace.console, f"{url.database} on {url.host}"
    action = f"cannot push to {target}"
    if switch:
        url = url.replace(driver=url.driver or workspace.settings.url.driver)
        if url.driver == "asyncpg":
            if left := " ".join(sorted(url.options.keys() - {"ssl", "sslmode"})):
                raise WorkspaceError(f"asyncpg takes no {left} from a URL", "leave it out")
            url = url.replace(query=re.sub(r"\bsslmode=", "ssl=", url.query))
    info = get_settled(workspace)
    network = "bridge" if switch else f"container:{info.name}"
    with (
        Elsewhere(workspace.engine, info.image, url, network).opened() as there,
        open_unnamed(workspace.directory) as file,
    ):
        here, database = workspace.server, workspace.settings.url.database
        ours = parse_json(here.query(_MADE_SQL, action, database))
        theirs = parse_json(there.query(_MADE_SQL, action, url.database))
        if found := find_obstacles(ours, theirs):
            some = ", ".join(found[:5] + ["…"] * (len(found) > 5))
            why = f"{target} has {some}, in the way of the copy"
            hint = "push into an empty database; drop them; or alter extension … set schema …"
            raise WorkspaceError(why, hint)
        _dump(workspace, database, file.fileno(), here.start_dump(file.fileno()))
        file.seek(0)
        entries = choose_entries(here.list_contents(action, file.fileno()), theirs["schemas"])
        client = ["pg_restore", "-1", "--no-owner", "--no-privileges", "-w"]
        client += ["-L", there.put("list", entries), "-d", url.database]
        file.seek(0)
        workspace.worked = True
        result = there.load(file.fileno(), client, f"pushing to {target}")
        made, hint = "where the copy is whole, or not at all", "give the same command again"
        if "ERROR: " in result.stderr:  # else docker was lost, or the answer to COMMIT
            made, hint = "where nothing was made", ""
        check_result(result, f"{action}, {made}", hint, sources=(*there.sources, "dump"))
        analyze(there, url.database)
        rows = compare_rows(here, there, f"{target} has been made")
    console.step(f"{database} is {target} now, {rows} rows, login verified")
    if switch:
        with workspace.lock():
            before = workspace.settings.url
            # Its password may be in no other variable.
            changes = {**build_environment(before), URL_KEY: build_database_url(url)}
            _lead(workspace, [repr(url), repr(before)], changes)


def pull(workspace: Workspace, url: DatabaseURL) -> str:
    """Put a database of elsewhere in the place of ours; see `restore`."""
    info, action = get_settled(workspace), f"cannot pull {url.database} from {url.host}"
    server = Elsewhere(workspace.engine, info.image, url, f"container:{info.name}")
    _agree_to(workspace, f"{url.database} of {url.host}")
    with open_unnamed(workspace.directory) as file:
        with server.opened() as there:
            result = there.dump(there.start_dump(file.fileno()), file.fileno())
            check_result(result, action, sources=(*there.sources, "dump"))
        file.seek(0)
        return _run_alone(Restore(workspace, file, owner=False))


# == Looking ===============================================

# -- status ------------------------------------------------


class ContainerStatus(Record):
    """The fields of `status`; None where there is nothing to say."""

    container: str | None
    state: ContainerState
    health: Health
    readiness: Readiness
    server_version: str | None
    database_url: str
    image: str | None
    data: str | None
    data_reason: str | None
    bind: str | None
    host_port: int | None
    uptime_s: float | None
    restart_count: int | None
    exit_code: int | None
    condition: Condition  # not in the JSON object


def judge_server(container: Condition, probe: Probe) -> Condition:
    """Judge a database by its container, then by its server's answer."""
    accepts = probe.readiness is Readiness.ACCEPTING  # perhaps not these credentials
    if container.exit_code or (accepts and not probe.error):
        return container
    code = ExitCode.DONE if accepts else ExitCode.UNHEALTHY
    return container.replace(hint="{check}", exit_code=code)


def read_status(workspace: Workspace) -> ContainerStatus:
    """Return state, health, readiness now and the rest of `status`."""
    settings, probe = workspace.settings, look(workspace)
    info, name = probe.info, settings.container
    ports: Sequence[tuple[str | None, int | None]] = info.ports if info else ()
    bind, host_port = (*ports, (None, None if info else settings.url.port))[0]
    shown: str | None = name
    reason = workspace.state.reason
    state = info.state if info else ContainerState.MISSING
    ended = (ContainerState.EXITED, ContainerState.DEAD, ContainerState.RESTARTING)
    if workspace.attached:
        state, shown, reason = ContainerState.ELSEWHERE, None, ""
    return ContainerStatus(
        container=shown,
        state=state,
        health=info.health if info else Health.NONE,
        readiness=probe.readiness,
        server_version=probe.server_version or None,
        database_url=repr(settings.url),
        image=info.image if info else None,
        data=info.home[0] if info else None,
        data_reason=reason or None,
        bind=bind,
        host_port=host_port,
        uptime_s=max(0.0, time.time() - info.started_at) if info and info.running else None,
        restart_count=info.restart_count if info else None,
        exit_code=info.exit_code if info and info.state in ended else None,
        condition=judge_server(workspace.judge(info, name), probe),
    )


def format_status(status: ContainerStatus) -> str:
    """Return the lines of `status`, one field a line."""
    state = "stopped" if status.state is ContainerState.EXITED else status.state.value
    if status.exit_code is not None:
        state += f" (exit code {status.exit_code})"
    elif status.state is ContainerState.RUNNING and status.health is not Health.NONE:
        state += f" ({status.health.value})"
    fields = {
        "container": status.container,
        "state": state,
        "readiness": status.readiness.value,
        "version": status.server_version and f"PostgreSQL {status.server_version}",
        "url": shorten_url(status.database_url),
        "image": status.image,
        "data": status.data,
        "port": f"{status.bind}:{status.host_port}" if status.bind else status.host_port,
        "uptime": None if status.uptime_s is None else format_duration(status.uptime_s),
        "restarts": status.restart_count,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in fields.items() if value is not None)


# -- check -------------------------------------------------


class CheckPoint(Record):
    """One question of `check`: its finding, or cause and remedy."""

    name: str
    outcome: Outcome
    finding: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.DONE


class ValidationResult(Record):
    """The points of `check`, and the first exit code of a failed one."""

    healthy: bool
    exit_code: ExitCode
    points: Sequence[CheckPoint]


def judge_pgvector(probe: Probe, image: str) -> CheckPoint:
    """Say whether pgvector is there, created and safe; `image` is '' elsewhere."""
    available, created = probe.available_version, probe.created_version
    if not (image or created):
        remedy = "as its administrator, if the application needs it: CREATE EXTENSION vector"
        return CheckPoint("pgvector", Outcome.WARNING, "not created in the database", remedy)
    other = f"{{init}} --image pgvector/pgvector:pg{probe.major}"  # the data is of that version
    if image and not available:
        finding, remedy = f"image {image} lacks it", f"{other}, or in your compose file"
        return CheckPoint("pgvector", Outcome.FAILED, finding, remedy, ExitCode.FAILED)
    if parse_version(created or available) < parse_version(SAFE_PGVECTOR):
        finding = f"{created or available}; below {SAFE_PGVECTOR} it has CVE-2026-3172"
        remedy = "in the database: ALTER EXTENSION vector UPDATE"
        if parse_version(available) < parse_version(SAFE_PGVECTOR):
            newer = f"{other}-bookworm" if image else "its provider updates it"
            remedy = f"{newer}, then {remedy}"
        return CheckPoint("pgvector", Outcome.WARNING, finding, remedy)
    if not created:
        finding = f"{available} is available, but not created in the database"
        return CheckPoint("pgvector", Outcome.WARNING, finding, "{init} creates it")
    return CheckPoint("pgvector", Outcome.PASSED, f"{created} is created")


def check(workspace: Workspace) -> ValidationResult:
    """Ask the points in order, up to one that bars the way."""
    workspace.settings  # noqa: B018 (or there is nothing to check)
    points = [CheckPoint("docker", Outcome.PASSED, "the daemon answers")]
    try:
        for point in _answer_points(workspace):
            points.append(point)
    except PostgreSQLIntegrationError as error:
        if isinstance(error, DockerNotAvailableError):
            points.clear()
        name, words = CHECK_POINTS[len(points)], str(error)
        points.append(CheckPoint(name, Outcome.FAILED, words, error.hint, error.exit_code))
    left = CHECK_POINTS[len(points) :]
    points += [CheckPoint(name, Outcome.SKIPPED, "skipped") for name in left]
    points = [point.replace(remedy=workspace.console.format(point.remedy)) for point in points]
    failed = next((point.exit_code for point in points if point.exit_code), ExitCode.DONE)
    return ValidationResult(not failed, failed, points)


def _answer_points(workspace: Workspace) -> Iterator[CheckPoint]:
    """Answer the points after the first; the error of one ends it."""
    passed, probe = Outcome.PASSED, look(workspace)
    info = probe.info
    condition = workspace.judge(info, workspace.settings.container)
    outcome = Outcome.FAILED if condition.exit_code else passed
    outcome = Outcome.SKIPPED if workspace.attached else outcome
    words = condition.words.replace("are below", f"are: {last_line(condition.detail)}")
    if info and not condition.exit_code:
        reason = workspace.state.reason
        words += f", its data in {info.home[0]}" + f" ({reason})" * bool(reason)
    yield CheckPoint("container", outcome, words, condition.hint, condition.exit_code)
    if not workspace.attached and (info is None or not info.running):
        return
    if probe.error and probe.readiness is not Readiness.ACCEPTING:
        raise probe.error
    finding = f"PostgreSQL {probe.server_version}".rstrip() + " accepts them"
    if probe.warning:
        finding += f", but {probe.warning.cause}"
        yield CheckPoint("connections", Outcome.WARNING, finding, probe.warning.hint)
    else:
        yield CheckPoint("connections", passed, finding)
    check_first_start(workspace, info)
    if probe.error:
        raise probe.error
    url = workspace.settings.url
    yield CheckPoint("credentials", passed, f"{url.user} logs in to {url.database}")
    yield judge_pgvector(probe, info.image if info else "")
    yield _answer_port(workspace, probe, info)


def _answer_port(workspace: Workspace, probe: Probe, info: ContainerInfo | None) -> CheckPoint:
    url = workspace.settings.url
    outcome, place = Outcome.PASSED, f"{url.host}:{url.port}"
    if info and url.host == info.inner_host:
        finding = f"skipped: {place} is for its networks alone"
        return CheckPoint("published port", Outcome.SKIPPED, finding)
    refusal = probe.objection or login_with_psycopg(url, probe.address, known=True)
    if refusal:
        remedy = refuse_port(workspace, probe.replace(objection=refusal))
        finding = f"at {place}: {refusal}"
        return CheckPoint("published port", Outcome.WARNING, finding, remedy)
    finding = f"{place} answers as PostgreSQL"
    finding += "" if refusal is None else ", and psycopg logs in"
    if url.unchecked:
        outcome, finding = Outcome.WARNING, f"{finding}; {url.unchecked}"
    return CheckPoint("published port", outcome, finding)


def format_validation(result: ValidationResult) -> str:
    """Return the lines of `check`, each remedy below its point."""
    return "\n".join(
        f"{SYMBOLS[point.outcome]} {point.name}: {point.finding}\n    {point.remedy}".rstrip()
        for point in result.points
    )


# -- stats -------------------------------------------------

# A sample is `stats --json`: counters end with `_total`, other numbers with their unit.
# Sizes of what is locked against readers are null, as they would wait. Rows read are those
# of today's tables, without the catalogs. A shell of psql's compares the version.
_SAMPLE_SQL = r"""
\set checkpoints 'num_timed, num_requested from pg_stat_checkpointer'
\if `[ :SERVER_VERSION_NUM -lt 170000 ] && echo true || echo false`
\set checkpoints 'checkpoints_timed, checkpoints_req from pg_stat_bgwriter'
\endif
with locked as (
  select coalesce(t.oid, indrelid, relation) as relid
  from pg_locks left join pg_index on indexrelid = relation
  left join pg_class t on reltoastrelid = coalesce(indrelid, relation)
  where mode = 'AccessExclusiveLock' and relation > 0
), tables as (
  select *, case when relid not in (table locked) then pg_total_relation_size(relid) end as size
  from pg_stat_user_tables
)
select row_to_json(sample) from (select
  extract(epoch from clock_timestamp()) as timestamp_seconds, datname as database,
  split_part(current_setting('server_version'), ' ', 1) as server_version,
  sessions.*, checkpoints.*, current_setting('max_connections')::int as connections_limit,
  pg_database_size(datid) as database_size_bytes,
  round(blks_hit / nullif(blks_hit + blks_read, 0)::numeric, 4) as cache_hit_ratio,
  xact_commit as transactions_committed_total, xact_rollback as transactions_rolled_back_total,
  (select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) from tables) as rows_read,
  tup_returned as rows_returned_total, tup_inserted as rows_inserted_total,
  tup_updated as rows_updated_total, tup_deleted as rows_deleted_total,
  (select coalesce(sum(n_dead_tup), 0) from tables) as dead_rows,
  (select count(*) from pg_locks where not granted) as locks_waiting,
  temp_files as temporary_files_total, temp_bytes as temporary_bytes_total,
  wal_bytes as wal_bytes_total,
  array(select row_to_json(t) from (
    select schemaname as schema, relname as table, size as size_bytes, n_live_tup as live_rows,
      n_dead_tup as dead_rows, extract(epoch from greatest(last_vacuum, last_autovacuum))
      as last_vacuum_timestamp_seconds
    from tables order by size desc, 1, 2 limit 10
  ) t) as tables,
  array(select row_to_json(v) from (
    select schemaname as schema, t.relname as table, i.relname as index, amname as method,
      case when relid not in (table locked) then pg_relation_size(i.oid) end as size_bytes,
      indisvalid as valid
    from tables t join pg_index on indrelid = relid join pg_class i on i.oid = indexrelid
    join pg_am on pg_am.oid = relam
    where amname in ('hnsw', 'ivfflat') and i.relkind = 'i' order by i.relpages desc, 1, 3
  ) v) as vector_indexes
from pg_stat_database, pg_stat_wal,
(select :checkpoints) as checkpoints (checkpoints_timed_total, checkpoints_requested_total)
left join (
  select count(*) as connections, count(*) filter (where active) as connections_active,
    extract(epoch from clock_timestamp() - min(query_start) filter (where active))
      as longest_query_seconds,
    (array_agg(pid order by query_start) filter (where active))[1] as longest_query_pid,
    extract(epoch from clock_timestamp() - min(xact_start)) as longest_transaction_seconds,
    (array_agg(pid order by xact_start) filter (where xact_start is not null))[1]
      as longest_transaction_pid
  from (select *, state = 'active' as active from pg_stat_activity) as activity
  where backend_type = 'client backend' and pid <> pg_backend_pid()
  having pg_has_role('pg_read_all_stats', 'usage')
) as sessions on true
where datname = current_database()) as sample
"""
_RATES = {
    "transactions_per_second": ("transactions_committed_total", "transactions_rolled_back_total"),
    "rows_read_per_second": ("rows_read",),
    "rows_written_per_second": tuple(f"rows_{x}_total" for x in ("inserted", "updated", "deleted")),
    "wal_bytes_per_second": ("wal_bytes_total",),
    "container_cpu_ratio": ("container_cpu_seconds_total",),
}
_STATISTICS = """\
container     {container}, PostgreSQL {server_version}
cpu           {container_cpu_ratio}
memory        {container_memory_bytes}, limit {container_memory_limit_bytes}
database      {database}, {database_size_bytes}
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
_TABLES = {
    "tables": (("schema", "table"), "size_bytes live_rows dead_rows last_vacuum_timestamp_seconds"),
    "vector_indexes": (("schema", "index"), "size_bytes method valid table"),
}


def parse_samples(result: CommandResult, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Read the end of `Server.sample`."""
    if result.returncode:
        refused = re.search("(?:connection to .* failed: |FATAL: +)+(.*)", result.stderr)
        if refused and not diagnose(result.stderr, *sources):
            message = f"PostgreSQL does not accept connections: {refused[1]}"
            raise DatabaseConnectionError(message, "{logs}")
        raise build_error(result, "PostgreSQL cannot be measured", "{logs}", sources)
    samples, cgroup = [], dict[str, int]()
    for line in result.stdout.rstrip("\n").split("\n"):
        if line.startswith("{"):
            samples.append({**parse_cgroup(cgroup), **parse_json(line)})
        else:  # FILE:VALUE or FILE:NAME VALUE
            *_, name, value = re.split("[/: ]", line)
            cgroup[name] = int(value)
    return samples


def parse_cgroup(found: Mapping[str, int]) -> dict[str, float | None]:
    """Read a control group's numbers, of version 2 or 1.

    >>> list(parse_cgroup({"usage_usec": 1500000, "memory.current": 5000}).values())
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
    """Return the growth per second, None where it is not known."""
    elapsed, rates = now["timestamp_seconds"] - before["timestamp_seconds"], {}
    for rate, names in _RATES.items():
        known = elapsed > 0 and all(None not in (before[name], now[name]) for name in names)
        grown = sum(now[name] - before[name] for name in names) if known else -1
        rates[rate] = round(grown / elapsed, 3) if grown >= 0 else None
    return rates


def format_field(name: str, value: Any, width: int = 25, now: float = 0.0) -> str:
    r"""Write a field of a sample as its unit wants it.

    >>> format_field("cache_hit_ratio", 0.9876), format_field("table", "an\nembedding", 9)
    ('98.8 %', 'an\\nem...')
    """
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "NO"}[value]
    if isinstance(value, str):
        word = printable(value)
        return word if len(word) <= width else word[: width - 3] + "..."
    if name.endswith("timestamp_seconds"):
        return " ".join([*format_duration(now - value).split()[:2], "ago"])
    if name.endswith("_ratio"):
        return f"{value * 100:.1f} %"
    if name.endswith("_seconds"):
        return format_duration(value)
    rate = "/s" if name.endswith("_per_second") else ""
    if "_bytes" in name:
        return format_size(value) + rate
    return f"{value:.{int(value < 100)}f}/s" if rate else str(value)


def format_statistics(sample: Mapping[str, Any], width: int = 80) -> str:
    """Return the lines of `stats` for people."""
    room = max(width - 35, 25)  # for a name
    fields = {name: format_field(name, value, room) for name, value in sample.items()}
    parts = [_STATISTICS.format(**fields).replace(" (pid -)", "")]
    now = sample["timestamp_seconds"]
    for key, (place, columns) in _TABLES.items():
        heads = re.sub("_(bytes|rows|timestamp_seconds)|last_", "", f"{key} {columns}").split()
        rows = [[head.replace("_", " ") for head in heads]]
        for item in sample[key]:
            name = printable(".".join(item[part] for part in place)).removeprefix("public.")
            rows.append([name, *(format_field(c, item[c], 14, now) for c in columns.split())])
        parts += ["", format_table(rows, width)] if sample[key] else []
    return "\n".join(parts)


def read_statistics(
    workspace: Workspace, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the sample of `stats`, with rates since `before`."""
    workspace.console.doing("measuring")
    name = None if workspace.attached else workspace.get_running().name
    workspace.await_rotation()
    server, count = workspace.server, 1 if before else 2
    samples = parse_samples(server.sample(_SAMPLE_SQL, count), server.sources)
    return {"container": name, **build_rates(before or samples[0], samples[-1]), **samples[-1]}


# -- list --------------------------------------------------


class ListedDatabase(Record):
    """A database of the engine, as `list` shows it."""

    workspace: str | None
    gone: bool  # the workspace is no directory of this machine
    container: str
    state: ContainerState
    health: Health
    image: str
    bind: str | None
    host_port: int | None
    size_bytes: int | None  # of what may be read


def find_home(engine: Engine, info: ContainerInfo) -> str | None:
    """Return a container's workspace now, None for a stranger's."""
    place, source = info.directory, info.cluster[0]
    home = find_workspace(place, by_env=False) if place else ""
    with suppress(WorkspaceError):  # its state is another user's, or damaged
        if place and Workspace(home, engine=engine).state.container == info.name:
            return home
    if not {GENERATED_LABEL, WORKSPACE_LABEL} & info.labels.keys():
        return None
    if place and is_gone(place) and info.running and source.startswith(place):
        server, below = Server(engine, info.name, DatabaseURL("", "")), source[len(place) :]
        for there in server.locate(dict(info.mounts)[source]):
            home = there.removesuffix(below)
            with suppress(PostgreSQLIntegrationError):  # its .env is broken
                if Workspace(home, Console(quiet=True), engine).owns(info):
                    return home
    return place


def find_homes(engine: Engine) -> Iterator[tuple[ContainerInfo, str]]:
    """Yield each container of hive-pg, and where its workspace is now."""
    for info in engine.containers():
        if (home := find_home(engine, info)) is not None:
            yield info, home


def list_databases(engine: Engine | None = None) -> list[ListedDatabase]:
    """Return every database of hive-pg on the engine."""
    found, engine = [], engine or Engine(Runner(Console(quiet=True)))
    for info, home in find_homes(engine):
        before = info.directory if is_gone(info.directory) else home
        size = measure_directory(info.cluster[0].replace(before, home, 1))
        place, gone = home or None, home != "" and is_gone(home)
        if info.home[1] and not info.cluster[0]:
            volume = info.cluster[1].partition("/")[0]
            told = engine.run_in_place(info.image, volume, "du", "-sk", "/target").stdout
            size = int(told.split()[0]) << 10 if told else None
        bind, port = info.ports[0] if info.ports else (None, None)
        known = (place, gone, info.name, info.state, info.health, info.image, bind, port, size)
        found.append(ListedDatabase(*known))
    return sorted(found, key=lambda database: (database.workspace or "", database.container))


def format_list(databases: Iterable[ListedDatabase], home: str, width: int) -> str:
    """Return the table of `list`, as much of it as fits."""
    rows = [["WORKSPACE", "STATE", "PORT", "SIZE", "CONTAINER", "IMAGE"]]
    for found in databases:
        place, state = found.workspace or "-", found.state.value
        port = str(found.host_port or "-")
        if f"{place}/".startswith(f"{home}/"):
            place = f"~{place[len(home) :]}"
        if not is_local(found.bind or "localhost"):
            port = f"{found.bind}:{port}"
        size = "-" if found.size_bytes is None else format_size(found.size_bytes)
        cells = (place + " (gone)" * found.gone, state, port, size, found.container, found.image)
        rows.append([*map(printable, cells)])
    return format_table(rows, width, 3)


# == Library ===============================================
# The planned classes, whose methods are functions from above.


def _afresh(function: FunctionType) -> FunctionType:
    """Return the method of a function, on a copy: threads may share `self`."""

    @wraps(function)
    def method(self: Workspace, *arguments: Any, **options: Any) -> Any:
        workspace = object.__new__(type(self))
        vars(workspace).update(vars(self))
        workspace.context = ExitStack()
        workspace.reload()
        workspace.console.doing()
        try:
            return function(workspace, *arguments, **options)
        except PostgreSQLIntegrationError as error:
            error.hint = format_hint(error.hint, directory=workspace.directory)
            raise
        finally:
            workspace.close()
            workspace.console.clear()

    return method  # type: ignore[return-value]


class _Library(Workspace):
    """A workspace as an object of the planned library."""

    def __init__(
        self, workspace: str = ".", credential_service: Workspace | None = None, **options: Any
    ) -> None:
        directory = credential_service.directory if credential_service else workspace
        super().__init__(directory, **{"console": Console(path=realpath(directory)), **options})
        self.workspace = self.directory


class CredentialService(_Library):
    """The workspace's `.env`, with the settings around it."""

    def generate_postgres_credentials(
        self,
        host: str = "localhost",
        port: int = DEFAULT_HOST_PORT,
        database: str = DEFAULT_DATABASE,
    ) -> DatabaseURL:
        """Return a URL with a new user and password."""
        return DatabaseURL(*generate_credentials(), host, port, database)

    @_afresh
    def read_settings(self) -> Settings:
        """Return the settings of a workspace that is set up."""
        return self.settings

    @_afresh
    def extract_postgres_credentials_from_env(self) -> DatabaseURL | None:
        """Return HIVE_DATABASE_URL, None where there is none."""
        url = self.env.exists and self.values.get(URL_KEY)
        return parse_database_url(url) if url else None

    @_afresh
    def validate_credentials(self, url: DatabaseURL) -> None:
        """Make sure that credentials are real, and can be written."""
        if not has_login({USER_KEY: url.user, PASSWORD_KEY: url.password}):
            raise EnvFileError("the user or the password is missing or a placeholder", "{init}")
        check_carried(url)

    @_afresh
    def save_credentials_to_env(self, url: DatabaseURL) -> bool:
        """Write credentials into `.env`; return whether it changed."""
        self.validate_credentials(url)
        return self.save_env(build_environment(url))


class DockerComposeManager(_Library):
    """The compose file, and the container of its service."""

    start_postgres_service = _afresh(start_service)
    stop_postgres_service = _afresh(stop)
    restart_postgres_service = _afresh(partial(start_service, stops=True))
    get_service_logs = _afresh(read_logs)

    @_afresh
    def check_service_health(self) -> Health:
        """Return the engine's own health of the container."""
        return self.get_container().health


class PostgreSQLManager(_Library):
    """A workspace's database: methods do as the commands, or raise the base error."""

    setup_postgres_container = _afresh(set_up)
    attach = _afresh(attach)
    detach = _afresh(detach)
    start_container = _afresh(start)
    stop_container = _afresh(stop)
    restart_container = _afresh(restart)
    wait_until_ready = _afresh(wait)
    get_container_logs = _afresh(read_logs)
    check_container_status = _afresh(read_status)
    validate_postgres_integration = _afresh(check)
    read_statistics = _afresh(read_statistics)
    backup = _afresh(back_up)
    snapshot = _afresh(snapshot)
    list_snapshots = _afresh(list_snapshots)
    drop_snapshot = _afresh(drop_snapshot)
    restore = _afresh(restore)
    push = _afresh(push)
    pull = _afresh(pull)
    reset = _afresh(reset)
    temporary_database = _afresh(temporary_database)
    copy_workspace = _afresh(set_up_copy)
    drop_old_databases = _afresh(drop_old_databases)
    rotate_password = _afresh(rotate)
    upgrade = _afresh(upgrade)
    end_upgrade = _afresh(end_upgrade)
    destroy_container = _afresh(destroy)

    @property
    def credentials(self) -> CredentialService:
        """The credentials of the same workspace."""
        return CredentialService(self.directory, console=self.console, engine=self.engine)

    def validate_container_health(self) -> bool:
        """Whether the container is well, and the server accepts."""
        return self.check_container_status().condition.exit_code is ExitCode.DONE


def fix_postgres_data_permissions(data_dir: str, *, image: str = DEFAULT_IMAGE) -> None:
    """Give a data directory to the server's user, without sudo."""
    target, user = realpath(data_dir), get_postgres_uid_gid()
    if not is_usable_by(target, user[0]):
        Engine(Runner(Console())).give_data_to(user, target, f"{target}/pgdata", image)


# == Completion ============================================
# ROWS is the word list, COMMAND:PREVIOUS:WORD. CHOOSE picks by `line`, the text before the cursor.
# @directory, @file and @command are the shells' own lists.

_CHOOSE = r"""(printf '%s\n' "$line" ROWS | awk -F: '
    NR == 1 {
      gsub("\134\134 ", "_") # a blank within a word; fish reads a backslash otherwise
      last = split($0, typed, /[ =]+/)
      for (i = 1; i < last && typed[i] != "--"; i++)
        if (!command && typed[i] ~ /^(NAMES)$/) command = typed[i]
      if (i < last) { print (i == last - 1 && command ~ /^(run)?$/ ? "@command" : "@file"); exit }
    }
    $1 == command && $2 == typed[last - 1] { values = values $3 "\n" }
    $1 == command && $2 == "" { words[$3 ~ /^-/] = words[$3 ~ /^-/] $3 "\n" }
    END { printf "%s", (values ? values : words[typed[last] ~ /^-/]) }')"""
COMPLETIONS = {
    "bash": r"""_hive_pg() {
  local line=${COMP_LINE:0:COMP_POINT} words word
  words=$CHOOSE COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(
    compgen -W "${words%%@*}" -- "$2"
    [[ $words != *@* ]] || compgen -A "${words##*@}" -- "$2")
}
complete -o filenames -F _hive_pg hive-pg hive_pg.py""",
    "zsh": r"""#compdef hive-pg hive_pg.py
_hive-pg() {
  local line="$words[1,CURRENT-1] $PREFIX"
  local -a found=(${(f)"$CHOOSE"})
  compset -P '--*='
  compadd -- ${found:#@*}
  case $found[-1] in
    @directory) _path_files -/ ;;
    @file) _files ;;
    @command) _command_names ;;
  esac
}
compdef _hive-pg hive-pg hive_pg.py
[[ $funcstack[1] != _hive-pg ]] || _hive-pg""",
    "fish": r"""function _hive_pg
  set -l line (commandline -cp)
  set -l typed (commandline -ct)
  for word in CHOOSE
    switch $word
      case @directory; __fish_complete_directories $typed
      case @file; complete -C "cat $typed"
      case @command; complete -C "$typed"
      case '*'; string join '' -- (string match -r -- '^--.*=' $typed) $word
    end
  end
end
complete -c hive-pg -c hive_pg.py -f -a '(_hive_pg)'""",
}


def read_options(command: str) -> Iterator[tuple[Sequence[str], str, str]]:
    """Yield names, value and help of each option of a command.

    >>> next(read_options("logs"))
    (['directory'], 'DIR', 'the workspace (default: .)')
    """
    if "[DIR]" in COMMANDS.get(command, ("", ""))[0]:
        yield ["directory"], "DIR", "the workspace (default: .)"
    for part in re.split(r"\n(?! )", COMMAND_LINE):
        head, *lines = part.splitlines() or [""]
        if head == "*" or command in head.partition(": ")[0].split():
            for line in lines:
                words, _, told = line.strip().partition("  ")
                names = words.split()
                value = names.pop() if names[-1][0] != "-" else ""
                yield names, value, told.strip()


def option_names(command: str) -> list[str]:
    """Return the names of all options of a command."""
    return [name for names, *_ in read_options(command) for name in names if name[0] == "-"]


def render_completion(shell: str) -> str:
    """Return the script for a shell."""
    rows = [f"::{word}" for word in ("-h", "--help", "--version", *COMMANDS)]
    for typed, command in {**dict(zip(COMMANDS, COMMANDS)), **ALIASES}.items():
        rows += [f"{typed}::{name}" for name in ("-h", "--help", *option_names(command))]
        for names, value, _ in read_options(command):
            named = [name for name in names if name[0] == "-"]
            path = {"DIR": "@directory", "FILE": "@file"}.get(value, "")
            words = value.split("|") if "|" in value else [path]
            if value not in ("", "@NAME"):
                rows += [f"{typed}:{name}:{word}" for name in named or [""] for word in words]
    names = "|".join([*COMMANDS, *ALIASES])
    script = COMPLETIONS[shell].replace("CHOOSE", _CHOOSE).replace("NAMES", names)
    return script.replace("ROWS", quote_sh("\n".join([*rows, "::@directory"])))


# == Commands ==============================================
# The commands, the parser, and `main`.


class CommandLine:
    """One call: an attribute for each option, a method for each command."""

    workspace: Workspace
    console: Console
    command: str
    word: str  # as the command was typed
    program: str
    directory = "."
    timeout = READY_TIMEOUT_S
    tail = "50"
    argv: Sequence[str] = ()
    file: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of argparse's own
            raise AttributeError(name)
        return None

    def act(self) -> int:
        """Do what the command does; return the exit code."""
        if self.command not in ("url", "env", "completion"):  # which start nothing
            _leave_in_order_on_termination()
        with closing(self.workspace):
            if self.command in _CHANGES and not self.all:
                self.workspace.refuse_attached()
            if call := _CALLS.get(self.command):
                call(self)
                return ExitCode.DONE
            return int(getattr(self, f"_{self.command}")() or ExitCode.DONE)

    def look_upwards(self) -> None:
        """Take the workspace that a subdirectory is in."""
        if self.directory != "." or self.all or self.command in ("list", "completion"):
            return
        here, place = realpath("."), find_workspace(".")
        if place != here and self.command == "init":
            self.get_yes(f"this is in the workspace {place}. Set up another one?")
        elif place != here:
            self.directory = self.console.path = place
            self.console.note(f"the workspace is {place}")

    def _init(self) -> None:
        options = {name: getattr(self, name) for name in ("timeout", *WISHES)}
        source, options["start"] = getattr(self, "from"), not self.no_start
        if self.attach or (self.workspace.attached and not self.detach):
            if given := [name for name in (*WISHES, "from", "detach") if getattr(self, name)]:
                why = f"--{given[0]} is for a database here, and {URL_KEY} leads elsewhere"
                raise UsageError(why, "{init} --detach")
            attach(self.workspace)
            return
        if self.detach:
            detach(self.workspace)
        new = self.workspace.is_new
        act = set_up if source is None else partial(set_up_copy, source=source)
        if not act(self.workspace, interactive=not self.yes, **options):
            raise WorkspaceError("nothing else was done" if self.detach else "nothing was done")
        if new and not self.quiet:
            width, settings = terminal_width(sys.stdout), self.workspace.settings
            steps = format_next_steps(settings, self.console, started=options["start"], width=width)
            self.console.result(steps, shown=True)
        elif self.no_start:
            self.console.note(self.console.format("the files are ready: {start}"))

    def _start(self) -> None:
        if self.take_over:
            self.get_yes("who still uses the data elsewhere may destroy it, or lose it; go on?")
            self.workspace.takes_over = True
        try:
            if start(self.workspace, timeout=self.timeout):
                warn_of_tracked(self.workspace)
            else:
                self.console.note("it was running already")
        except NotSetUpError as error:
            if self.word != "up" or "{init}" not in error.hint:
                raise
            self._init()

    def _run(self) -> int:
        workspace, runner = self.workspace, self.workspace.runner
        if workspace.attached and self.fresh is None:
            verify(workspace, timeout=0)
            workspace.close()
        else:
            start(workspace, timeout=self.timeout)
        url = workspace.await_rotation()
        try:
            if self.fresh is None:
                runner.replace(self.argv, build_run_environment(workspace, url))
            with temporary_database(workspace, self.fresh) as url:
                env = build_run_environment(workspace, url)
                returncode = runner.attach(self.argv, env, waits=True)
            return returncode if returncode >= 0 else 128 - returncode
        except OSError as error:
            self.console.error(WorkspaceError(f"cannot run {self.argv[0]}: {error.strerror}"))
            return 127 if isinstance(error, FileNotFoundError) else 126  # as shells do

    def _stop(self) -> int:
        if self.all:
            return self._stop_all()
        if not stop(self.workspace):
            self.console.note("it was not running")
        return ExitCode.DONE

    def _stop_all(self) -> int:
        """Stop what runs of this user's, also after one that fails."""
        if self.directory != ".":
            raise UsageError("--all takes no directory")
        code, engine, own = ExitCode.DONE, self.workspace.engine, {get_user()[0], get_caller()[0]}
        ended = (ContainerState.CREATED, ContainerState.EXITED)
        homes = [place for info, place in find_homes(engine) if info.state not in ended]
        homes = [place for place in homes if os.path.isdir(place) and os.stat(place).st_uid in own]
        for place in homes:
            self.console.note(f"{place}:")
            workspace = Workspace(place, self.console, engine)
            self.console.path = place
            try:
                if workspace.attached:
                    self.console.note(f"it stays as it is: {ENV_FILE} leads elsewhere")
                else:
                    stop(workspace)
            except PostgreSQLIntegrationError as error:
                self.console.error(error)
                code = error.exit_code
        if not homes:
            self.console.note("none of yours was running")
        return code

    def _status(self) -> int:
        status = read_status(self.workspace)
        condition, fields = status.condition, status.fields()
        del fields["condition"]
        text = format_json(fields) if self.json else format_status(status)
        self.console.result(text, shown=not self.json)
        if condition.hint and not self.json:
            self.console.note(f"hint: {self.console.format(condition.hint)}")
        return condition.exit_code

    def _check(self) -> int:
        result = check(self.workspace)
        text = format_json(result) if self.json else format_validation(result)
        self.console.result(text, shown=not self.json)
        return result.exit_code

    def _stats(self) -> None:
        import shutil

        sample: dict[str, Any] = {}
        while True:
            sample = read_statistics(self.workspace, sample)
            text = format_statistics(sample, terminal_width(sys.stdout))
            if self.json:
                text = format_json(sample, None if self.watch else 2)
            elif self.watch and can_draw(sys.stdout):
                shown = text.splitlines()[: shutil.get_terminal_size().lines - 1]
                text = "\x1b[H\x1b[J" + "\n".join(shown)  # on an empty screen
            self.console.result(text)
            if not self.watch:
                return
            time.sleep(self.watch)

    def _logs(self) -> None:
        options = ["--tail", self.tail]
        options += [f"--{name}" for name in ("follow", "timestamps") if getattr(self, name)]
        options += ["--since", self.since] if self.since else []
        self.workspace.engine.show_logs(self.workspace.get_container().name, options)

    def _warn_of_copy(self) -> None:
        """Say that `.env` may be another workspace's, as no engine is asked."""
        workspace = self.workspace
        here = f'"inode": "{identify_file(workspace.directory)}"'.encode()
        state = read_file(workspace.state_path)
        if state is None or (here not in state and workspace.is_copy):  # which loads json
            said = f"{ENV_FILE} may be a copy, and lead to another workspace's database"
            self.console.warn(self.console.format(f"{said}: {{start}} tells, {{init}} mends it"))

    def _url(self) -> None:
        url, form = self.workspace.settings.url, self.format
        self._warn_of_copy()
        text = build_database_url(url)
        if form not in (None, "sqlalchemy"):
            text, left = format_database_url(url, form)
            if left:
                self.console.warn(f"left out of it: {' '.join(left)}")
        self.console.result(text, exact=True)

    def _psql(self) -> int:
        if not self.workspace.attached:
            get_settled(self.workspace)
        self.workspace.await_rotation()
        return self.workspace.server.run_psql(self.argv)

    def _backup(self) -> None:
        if self.output in STDOUT and is_terminal(sys.stdout):
            raise WorkspaceError("a dump cannot be shown on a terminal", "{backup} -o FILE")
        path = back_up(self.workspace, self.output or "")
        if path != "-":
            self.console.step(f"{format_size(os.path.getsize(path))}, read back to its end")
            self.console.result(path)

    def _snapshot(self) -> None:
        workspace, name = self.workspace, self.file or ""
        if self.list and (self.drop or name):
            raise UsageError("--list goes alone")
        if self.list and self.json:
            self.console.result(format_json({"snapshots": list_snapshots(workspace)}))
        elif self.list:
            for found in list_snapshots(workspace):
                size = format_size(found.size_bytes)
                self.console.result(f"@{found.name:<24}  {found.created}  {size:>9}")
        elif self.drop:
            drop_snapshot(workspace, name)
        else:
            name = snapshot(workspace, name)
            self.console.result(format_json({"name": name}) if self.json else f"@{name}")

    def _restore(self) -> None:
        if self.file is None:
            drop_old_databases(self.workspace)
        else:
            restore(self.workspace, self.file, owner=not self.no_owner)

    def read_url(self) -> DatabaseURL:
        """Read the URL of a server elsewhere."""
        text, subject = "", "the URL"
        if self.url_env is not None:
            text, subject = os.environ.get(self.url_env, ""), f"the URL in ${self.url_env}"
        elif is_terminal(sys.stdin):
            import getpass

            with suppress(EOFError):
                text = getpass.getpass("URL, which is not shown: ")
            self.console.doing()
        elif sys.stdin:
            text, subject = sys.stdin.readline(), "the URL on stdin"
        if not text.strip():
            raise WorkspaceError(f"{subject} is missing", "--url-env VARIABLE")
        return parse_database_url(text.strip(), subject)

    def _upgrade(self) -> None:
        if sum(map(bool, (self.image, self.undo, self.drop_old))) > 1:
            raise UsageError("--image, --undo and --drop-old go one at a time")
        if self.undo or self.drop_old:
            end_upgrade(self.workspace, undo=bool(self.undo))
        elif self.image:
            upgrade(self.workspace, self.image)
        else:
            raise UsageError("--image is missing, such as --image pgvector/pgvector:pg18")

    def _destroy(self) -> None:
        if self.data or self.purge:
            self.workspace.settings  # noqa: B018 (or it is refused after the question)
            name = basename(self.workspace.directory)
            self.get_yes(f"this deletes the data. Type {name} to go on:", name)
        options = {"data": bool(self.data), "purge": bool(self.purge)}
        destroy(self.workspace, backup=not self.no_backup, **options)

    def get_yes(self, question: str, name: str = "") -> None:
        """Return if a person agrees, types `name`, or has said --yes."""
        if self.yes:
            return
        question = f"{realpath(self.directory)}: {question}"
        if not is_interactive():
            said = f"nothing was done, as nobody is there to answer: {question}"
            raise WorkspaceError(said, "the same with --yes does not ask")
        if name and self.console.ask(question) != name:
            raise WorkspaceError(f"that is not {name}: nothing was done")
        if not name and not self.console.confirm(question, enter=False):
            raise WorkspaceError("nothing was done")

    def tell_left(self) -> str:
        """Say what is true after Ctrl-C."""
        workspace = vars(self).get("workspace")
        if self.command not in ("init", "run", *_CHANGES):
            return ""
        if workspace is None or not (workspace.worked or self.all):
            return "; nothing was done"
        vars(workspace).pop("state", None)
        if workspace.state.next_password or workspace.state.exchange:
            return "; {start} finishes what was begun"
        if self.command in ("restore", "reset", "pull"):  # which have said it
            return ""
        whole = ": the copy is there whole, or not at all" * (self.command == "push")
        return f"; give the same command again{whole}"

    def _env(self) -> None:
        env = build_client_environment(self.workspace.settings.url)
        self._warn_of_copy()
        warn_of_another_url(self.workspace)
        others = sorted(LEADING_VARIABLES - env.keys())
        if self.json:
            lines = [format_json(env)]
        elif self.format == "dotenv":
            lines = [f"{key}={format_env_value(value, key)}" for key, value in env.items()]
        elif self.format == "powershell":
            places = ", ".join(f"Env:{name}" for name in others)
            lines = [f"Remove-Item {places} -ErrorAction Ignore"]
            lines += [f"$env:{key} = {quote_powershell(value)}" for key, value in env.items()]
        else:
            lines = [f"unset {' '.join(others)}"]
            lines += [f"export {key}={quote_sh(value)}" for key, value in env.items()]
        self.console.result("\n".join(lines), exact=True)

    def _list(self) -> None:
        databases = list_databases(self.workspace.engine)
        if self.json:
            self.console.result(format_json({"databases": databases}))
        elif databases:
            width = terminal_width(sys.stdout)
            self.console.result(format_list(databases, os.path.expanduser("~"), width))
        else:
            self.console.note("hive-pg has no database on this engine")


# The commands that are one call.
_CALLS: dict[str, Callable[[CommandLine], object]] = {
    "restart": lambda line: restart(line.workspace, timeout=line.timeout),
    "wait": lambda line: wait(line.workspace, timeout=line.timeout),
    "reset": lambda line: reset(line.workspace, line.seed or ""),
    "push": lambda line: push(line.workspace, line.read_url(), switch=bool(line.switch)),
    "pull": lambda line: pull(line.workspace, line.read_url()),
    "rotate": lambda line: rotate(line.workspace),
    "completion": lambda line: line.console.result(render_completion(line.shell)),
}
# What changes a server or database.
_CHANGES = "start stop restart logs snapshot restore reset push pull rotate upgrade destroy".split()
_EXAMPLES = """\
{init}: set up this directory
{init} ~/app --yes: set up ~/app, unasked
{start} && {check}: start it, test all
{run} -- pytest: start it, run tests
{logs} -f --since 10m: follow the log
eval "$({env})"; psql: this machine's psql"""
_EPILOG = """\
A directory in place of a command is start, or run with
a command after --. up is start, or init; down is stop,
ps is status, shell is psql."""


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"
_NAME = rf"(?!template[01]\Z){DATABASE_NAME}"
# Values of options: kind, rule in words, reader, rule.
_VALUES: dict[str, tuple[str, str, Callable[[str], Any], Callable[[Any], object]]] = {
    "S": ("seconds", "above 0, a day at most", float, lambda s: 0 < s <= 86400),
    "N": ("port", "1 to 65535", int, lambda n: 0 < n < 65536),
    "LINES": ("lines", "a number, or all", str, lambda word: re.fullmatch("all|[0-9]+", word)),
    "ADDRESS": ("address", "IPv4 only", str, lambda word: re.fullmatch(_ADDRESS, word)),
    "NAME": ("name", f"{_NAME_RULE}; no template's", str, lambda name: re.fullmatch(_NAME, name)),
}


def _read_value(metavar: str, text: str) -> Any:
    import argparse

    kind, rule, read, fits = _VALUES[metavar]
    with suppress(ValueError):
        if fits(value := read(text)):
            return value
    raise argparse.ArgumentTypeError(f"invalid {kind} value: {text!r}: {rule}")


def format_epilog(program: str, width: int) -> str:
    """Return what `--help` says of all commands."""
    import textwrap

    listing = "".join(f"  {name:<11} {about}\n" for name, (_, about) in COMMANDS.items())
    examples = format_commands(_EXAMPLES, partial(format_hint, program=program), width)
    codes = textwrap.fill((__doc__ or "").partition("Exit codes: ")[2], width)
    return f"COMMANDS\n{listing}\nEXAMPLES\n{examples}\n\n{_EPILOG}\n\nEXIT CODES\n{codes}"


def build_parser(prog: str = "hive-pg", command: str = "") -> argparse.ArgumentParser:
    """Build the parser of one command, or of all."""
    import argparse

    whole = "PostgreSQL 16 + pgvector in Docker, for one project."
    usage, summary = COMMANDS.get(command, ("COMMAND ...", whole))
    style = argparse.RawDescriptionHelpFormatter
    width = max(min(terminal_width(sys.stdout), 80) - 2, 20)

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            words = message.partition("unrecognized arguments: ")[2].split()
            if words and not command and words[0][0] != "-":
                message = f"{words[0]!r} is neither a command nor a directory"
            _refuse(message, self.prog, *words)

        def _print_message(self, message: str, file: Any = None) -> None:
            Console().result(message.rstrip())  # argparse would ignore an error

    parser = Parser(
        prog=f"{prog} {command}".rstrip(),
        usage=f"%(prog)s [options] {usage}".rstrip(),
        description=summary,
        epilog=None if command else format_epilog(prog, width),
        # Else argparse loads shutil for every argument.
        formatter_class=lambda prog: style(prog, max_help_position=26, width=width),
        allow_abbrev=False,
    )
    if not command:
        parser.add_argument("-V", "--version", action="version", version=f"hive-pg {__version__}")
    for names, value, told in read_options(command):
        settings: dict[str, Any] = {"help": told}
        if "|" in value:
            settings["choices"] = value.split("|")
        elif value == "@NAME":
            settings.update(metavar=value, nargs="?", const="")
        elif value:
            read = partial(_read_value, value) if value in _VALUES else str
            settings.update(metavar=value, type=read)
        else:
            settings["action"] = "store_true"
        if names[0] in ("directory", "file"):
            settings.update(nargs="?", default=argparse.SUPPRESS)
        parser.add_argument(*names, **settings)
    return parser


def split_argv(
    argv: Sequence[str], is_directory: Callable[[str], bool]
) -> tuple[str, list[str], list[str]]:
    """Return the command as typed, its arguments, and another program's.

    Those follow `--`, or begin with an option that is psql's alone.

    >>> split_argv(["./app", "--", "make", "test"], lambda path: path == "./app")
    ('run', ['./app'], ['make', 'test'])
    """
    at = argv.index("--") if "--" in argv else len(argv)
    arguments, rest, without = list(argv[:at]), list(argv[at + 1 :]), ""
    for index, argument in enumerate(arguments):
        command = "init" if argument == "--init" else argument.removeprefix("--postgres-")
        if command in COMMANDS or command in ALIASES:
            others = arguments[:index] + arguments[index + 1 :]
            if ALIASES.get(command, command) == "psql":
                pairs = zip(others, [*others[1:], ""])  # -v NAME=VALUE is psql's, too
                own = ("-h", "--help", *option_names("psql"))
                theirs = [word[:1] == "-" and (word not in own or "=" in v) for word, v in pairs]
                at = [*theirs, True].index(True)
                others, rest = others[:at], others[at:] + rest
            return command, others, rest
        if not argument.startswith("-"):
            if without or not is_directory(argument):
                break
            without = "run" if rest else "start"
    return without, arguments, rest


def enter_directory(program: str, argv: Sequence[str]) -> tuple[str, list[str]]:
    """Obey `-C DIR`; return how hive-pg is called there, and the rest."""
    words = [*argv]
    while "-C" in words[: words.index("--") if "--" in words else -1]:
        at = words.index("-C")
        place = words[at + 1]
        del words[at : at + 2]
        _refuse_words("", [place])
        program += f" -C {quote_word(place)}"
        os.chdir(place)
    return program, words


def read_command_line(program: str, argv: Sequence[str]) -> CommandLine:
    """Read a command line; the help ends the program."""
    program, words = enter_directory(program, argv)
    asked = [word for word in words if word[:1] != "-"]
    if asked[:1] in (["help"], ["version"]):
        words = [*asked[1:2], f"--{asked[0]}"]
    word, arguments, rest = split_argv(words, os.path.isdir)
    line, command = CommandLine(), ALIASES.get(word, word)
    line.program, line.word, line.command, line.argv = program, word, command, rest
    if command == "run" and not rest and not {"-h", "--help"} & {*arguments}:
        _refuse("put -- before the program: run [DIR] -- CMD", f"{program} run")
    other = command in ("", "restore", "list", "completion")  # than DIR is what they take
    _refuse_words(command, [*arguments, *rest[: command == "run"]])
    if other or len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        build_parser(program, command).parse_intermixed_args(arguments, line)
    else:  # argparse takes a fifth of the time of `url`
        line.directory = [*arguments, "."][0]
    if not command:
        with suppress(OSError):
            sys.stderr.write(build_parser(program).format_help())
        raise SystemExit(int(ExitCode.USAGE))
    _refuse_misread(line)
    if command in ("restore", "snapshot"):
        _sort_arguments(line)
    return line


def _refuse_words(command: str, arguments: Sequence[str]) -> None:
    """Refuse a URL, which others would see, and what lacks its option."""
    what, option = {"psql": (r"[\s;]", "-c"), "backup": (r"\.\w+$", "-o")}.get(command, ("$.", ""))
    for before, word in zip(("", *arguments), arguments):
        if not word or re.fullmatch("--.*=", word):
            raise UsageError("a word is empty: is a variable unset?")
        if "://" in word:
            why = "everybody on this machine sees a URL on the command line"
            raise UsageError(why, "--url-env VARIABLE, or stdin; or in .env: {init} --attach")
        if word[0] == "-" or not re.search(what, word) or os.path.isdir(word):
            continue
        takes = {name for names, value, _ in read_options(command) if value for name in names}
        if before not in takes:
            raise UsageError(f"{word!r} is no directory: did you mean {option} {quote_word(word)}?")


def _refuse_misread(line: CommandLine) -> None:
    """Refuse what would act elsewhere than is meant."""
    if line.C is not None:  # as -CDIR
        raise UsageError("-C and its directory are two words")
    if line.json and line.format:
        raise UsageError("--json goes without --format")
    if line.fresh and line.fresh[0] != "@":
        raise UsageError(f"{line.fresh!r} is no @NAME: run [DIR] --fresh=@NAME -- CMD")
    if line.argv and line.command not in ("run", "psql"):
        _refuse("a command after -- goes with run: run [DIR] -- CMD", f"{line.program} run")


def _sort_arguments(line: CommandLine) -> None:
    """Tell DIR from FILE and @NAME, in either order."""
    if not os.path.isdir(line.directory) and os.path.isdir(line.file or "."):
        line.directory, line.file = line.file or ".", line.directory
    needs_file = line.drop or (line.command == "restore" and not line.drop_old)
    if needs_file and line.file in (None, "@"):
        kind = "@NAME" if line.drop else "FILE"
        _refuse(f"{kind} is missing", f"{line.program} {line.command}")
    if line.drop_old and line.file:
        _refuse("--drop-old goes without FILE, afterwards", f"{line.program} restore")
    if line.command == "snapshot" and line.file and line.file[0] != "@":
        why = f"{line.file!r} is no directory, and a name begins with @"
        raise UsageError(why, f"{line.program} snapshot @{quote_word(line.file)}")


def _refuse(fault: str, program: str, word: str = "", *others: str) -> NoReturn:
    """Refuse a command line; say what a word may be."""
    import difflib

    choices = [] if COMMANDS.keys() & {*others} else [*COMMANDS]
    if word.startswith("-"):
        choices = option_names(program.rpartition(" ")[2])
    word = word.partition("=")[0]
    close = [name for name in choices if sorted(name) == sorted(word)]  # stauts
    close += difflib.get_close_matches(word, choices, cutoff=0.7)
    if close:
        raise UsageError(f"{fault}: did you mean {close[0]}?")
    raise UsageError(fault, f"{program} --help")


def name_program(called: str, prefix: str) -> str:
    """Return how hive-pg is called here, for what can be pasted."""
    if basename(called) == "hive_pg.py":
        as_module = __name__ == "__main__" and __spec__
        return f"{PYTHON} {'-m hive_pg' if as_module else quote_word(called)}"
    for place, run, option in (  # where uvx and pipx keep what they run
        (r"/archive-v\d+/", "uvx", "--from"),
        ("/[0-9a-f]{15}$", "pipx run", "--spec"),
    ):
        if re.search(place, prefix):
            source = read_source()
            return f"{run} {option} {quote_word(source)} hive-pg" if source else f"{run} hive-pg"
    return "hive-pg"


def read_source() -> str:
    """Return what was installed as hive-pg, '' for the name. Source: PEP 610."""
    import json

    info = join(dirname(__file__), f"hive_pg-{__version__}.dist-info")
    with suppress(OSError), open(join(info, "direct_url.json")) as file:
        source = json.load(file)
        vcs, url = source.get("vcs_info", {}), str(source["url"])
        revision = f"@{vcs['requested_revision']}" if "requested_revision" in vcs else ""
        return f"{vcs['vcs']}+{url}{revision}" if vcs else url
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    streams: Sequence[Any] = (sys.stdin, sys.stdout, sys.stderr)
    for stream in streams:
        with suppress(AttributeError, ValueError):  # odd, or closed
            stream.reconfigure(errors="backslashreplace", newline="\n")
    given = [*(sys.argv[1:] if argv is None else argv)]
    program = name_program(sys.argv[0], sys.prefix)
    line = CommandLine()
    line.console = Console(program=program)
    try:
        if given in (["--version"], ["-V"], ["version"]):  # argparse would take longer
            line.console.result(f"hive-pg {__version__}")
            return ExitCode.DONE
        line = read_command_line(program, given)
        line.console = Console(line.quiet, line.verbose, line.program, line.directory)
        line.console.command = line.command
        line.look_upwards()
        line.workspace = Workspace(line.directory, line.console)
        line.workspace.agree = line.get_yes
        return line.act()
    except PostgreSQLIntegrationError as error:
        line.console.error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        if not any((line.watch, line.follow)):  # which end so
            line.console.interrupted(line.tell_left())
        elif can_draw(sys.stdout):
            line.console.result("")  # ends the line of the terminal's ^C
        return int(ExitCode.INTERRUPTED)
    except OSError as error:
        if not is_reader_gone(error):  # who has gone knows
            why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            if isinstance(error, FileNotFoundError) and not error.filename:
                why = "the current directory is gone: cd DIR, or -C DIR"
            line.console.error(WorkspaceError(why))
    finally:
        line.console.clear()
    return int(ExitCode.FAILED)


def _leave_in_order_on_termination() -> None:
    """On SIGTERM and SIGHUP, end in order, with 128 + signal."""
    import signal

    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, signal.SIGTERM)
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def run_program() -> NoReturn:
    """Run the command line; end without Python's slow clean-up."""
    code = main()  # Windows' are unsigned
    os._exit(code if code < 1 << 31 else code - (1 << 32))


if __name__ == "__main__":
    run_program()
