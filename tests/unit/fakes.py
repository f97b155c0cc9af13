"""What stands in for Docker in the unit tests, builders of records, and recorded texts."""

import errno
import io
import json
import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

import hive_pg as pg

DATA = Path(__file__).parents[1] / "data"


def recorded(name):
    """Return what a file of tests/data holds."""
    text = (DATA / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else text


def make_info(**changes):
    """Return a container of the workspace /w that runs well, with some fields changed."""
    usual = {
        "name": "hive-postgres",
        "image": "agnohq/pgvector:16",
        "state": pg.ContainerState.RUNNING,
        "health": pg.Health.HEALTHY,
        "exit_code": 0,
        "oom_killed": False,
        "restart_count": 0,
        "started_at": 1795449270.5,
        "environment": {"PGDATA": "/var/lib/postgresql/data/pgdata"},
        "labels": {
            "com.docker.compose.project": "w-1a2b3c",
            "com.docker.compose.project.working_dir": "/w",
            "com.docker.compose.service": "postgres",
        },
        "mounts": [("/w/data/postgres", "/var/lib/postgresql/data")],
        "ports": [("127.0.0.1", 5532)],
    }
    return pg.ContainerInfo(**{**usual, **changes})


def make_service(**changes):
    """Return the service of a generated compose file in /w, with some fields changed."""
    usual = {
        "service": "postgres",
        "container": "hive-postgres",
        "image": "agnohq/pgvector:16",
        "user": "1000:1000",
        "bind": "127.0.0.1",
        "host_port": 5532,
        "data_dir": "/w/data/postgres",
        "cluster": "/w/data/postgres/pgdata",
        "environment": {
            "POSTGRES_USER": "ann",
            "POSTGRES_PASSWORD": "s3cret",
            "POSTGRES_DB": "hive",
        },
        "project": "w-1a2b3c",
    }
    return pg.ComposeService(**{**usual, **changes})


def make_settings(**changes):
    """Return the settings of the workspace /w, with some fields changed."""
    usual = {"url": make_url(), "container": "hive-postgres", "project": "w-1a2b3c"}
    return pg.Settings(**{**usual, "uid": 1000, "gid": 1000, **changes})


def make_url(**changes):
    """Return the URL of the workspace /w, with some parts changed."""
    return pg.DatabaseURL(**{"user": "ann", "password": "s3cret", **changes})


def make_cluster(workspace, name="PG_VERSION"):
    """Make what looks like a cluster, the server's own, in a workspace."""
    directory = Path(workspace, "data", "postgres")
    (directory / "pgdata").mkdir(exist_ok=True)
    if not (directory / "pgdata" / name).exists():
        (directory / "pgdata" / name).write_text("16\n")
    if not pg.WINDOWS:
        os.chown(directory / "pgdata", directory.stat().st_uid, -1)


# -- in place of Docker --------------------------------------------------------------------------

WELL = "172.18.0.2|16.14|0.8.5|0.8.5\n"  # the answer to a probe's login
WAITING = (72, "")
REFUSED = (82, 'FATAL:  password authentication failed for user "ann"')


def make_container(name="hive-postgres", workspace="/w", project="w-1a2b3c", **changes):
    """Return what `docker inspect` says of a container that Compose made in a workspace."""
    port, uid = changes.pop("port", "5532"), changes.pop("user", "1000:1000")
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.project.working_dir": str(workspace),
        "com.docker.compose.project.config_files": f"{workspace}/docker-compose.yml",
        "com.docker.compose.service": changes.pop("service", "postgres"),
        **changes.pop("labels", {}),
    }
    environment = {"PGDATA": "/var/lib/postgresql/data/pgdata", **changes.pop("environment", {})}
    mount = {"Type": "bind", "Destination": "/var/lib/postgresql/data"}
    mount["Source"] = changes.pop("source", os.path.join(workspace, "data", "postgres"))
    health = changes.pop("health", "healthy")
    return {
        "Id": f"id-of-{name}",
        "Name": f"/{name}",
        "RestartCount": changes.pop("restarts", 0),
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "OOMKilled": False,
            "StartedAt": "2026-11-23T15:54:30.5Z",
            "Health": {"Status": health},
            **changes,
        },
        "Config": {
            "Image": "agnohq/pgvector:16",
            "User": uid,
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Labels": labels if project else {},
        },
        "HostConfig": {
            "PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        },
        "Mounts": [mount],
    }


def make_image(major, pgdata="/var/lib/postgresql/data", volume="/var/lib/postgresql/data"):
    """Return what `docker image inspect` says of an image of PostgreSQL."""
    config = {"Env": [f"PG_MAJOR={major}", f"PGDATA={pgdata}"], "Volumes": {volume: {}}}
    return json.dumps(config) + "\n"


# What `docker info` says of an engine of this machine.
HERE = ["ID", "/", pg.read_machine()[1]]
INFO = f"{'|'.join(HERE)}|Debian GNU/Linux 12|[name=seccomp,profile=default]|"
INFO += "default|20.10.24+dfsg1|2.26.1-4\n"


class FakeRunner:
    """Answers in place of programs; a command that it does not expect fails the test.

    `answers` is {the first words of a command: answer}, the most words win. An answer is a text
    for stdout, (exit code, stderr[, stdout]), an error to raise, a function of the call that
    returns one of these, or a list of them for one call after the other, the last one for all
    that follow.
    """

    def __init__(self, answers=None):
        self.answers = dict(answers or {})
        self.calls = []
        self.console = pg.Console(quiet=True)

    def start(
        self,
        argv,
        *,
        env=None,
        cwd=None,
        stdin=pg.DEVNULL,
        stdout=pg.PIPE,
        stderr=pg.PIPE,
        long=False,
        executable=None,
    ):
        assert not (long and stdout == pg.PIPE), "nobody reads the pipe of a long program"
        call = SimpleNamespace(argv=[*argv], env=env, cwd=cwd, long=long, timeout=None, stdin=None)
        call.command, call.takes_stdin = shlex.join(argv), stdin == pg.PIPE
        call.executable, call.stderr = executable, stderr
        call.reads, call.writes = (file if file >= 0 else None for file in (stdin, stdout))
        self.calls.append(call)
        call.answer = self._answer(call)
        if isinstance(call.answer, OSError):
            raise call.answer
        return FakeProcess(call)

    ask = pg.Runner.ask

    def attach(self, argv, env=None, *, waits=False):
        return self.start(argv, env=env).finish(timeout=1).returncode

    def replace(self, argv, env):
        raise Became(self.start(argv, env=env).call)

    def _answer(self, call):
        matching = [words for words in self.answers if f"{call.command} ".startswith(f"{words} ")]
        if not matching:
            pytest.fail(f"a command that was not expected: {call.command[:300]}")
        words = max(matching, key=len)
        answer = self.answers[words]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer(call) if callable(answer) and not call.long else answer

    @property
    def commands(self):
        """Return the first words of each command that was started."""
        return [" ".join(call.argv[: 3 if call.argv[1] == "compose" else 2]) for call in self.calls]

    def calls_of(self, words):
        """Return the calls that begin with some words."""
        return [call for call in self.calls if f"{call.command} ".startswith(f"{words} ")]


class Became(BaseException):
    """The process has become another one."""


class FakeProcess:
    """What FakeRunner starts; `call` has what it was started with, and what it was given."""

    def __init__(self, call):
        self.call = call

    @property
    def process(self):
        """Return what reads the program's own stream, and waits for it."""
        assert self.call.stderr == pg.JOINED, "a second pipe might be full"
        result = self._end()
        text = io.StringIO(result.stderr + result.stdout)
        return SimpleNamespace(stdout=text, wait=lambda: result.returncode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def finish(self, *, timeout, stdin=""):
        assert timeout > 0, "every call has a time limit"
        assert bool(stdin) <= self.call.takes_stdin
        self.call.timeout, self.call.stdin = timeout, stdin
        return self._end()

    def watch(self, file, done, idle):
        """Write the answer's stdout to the descriptor, and read the other one to its end.

        The answer may be a function of the call, which has `idle`.
        """
        call = self.call
        assert call.long, "only a long program is watched"
        call.idle, call.taken = idle, b""
        if callable(call.answer):
            call.answer = call.answer(call)
        result = self._end()
        if call.writes is not None:
            os.write(call.writes, result.stdout.encode())
        while call.reads is not None and (block := os.read(call.reads, 1 << 16)):
            call.taken += block
        return result.replace(stdout="")

    def _end(self):
        answer = self.call.answer
        if isinstance(answer, BaseException):
            raise answer
        code, err, out = (0, "", answer) if isinstance(answer, str) else (*answer, "")[:3]
        return pg.CommandResult(code, out, err)


class FakeDocker(FakeRunner):
    """An engine with some containers, and Compose 2; there is no git work tree."""

    def __init__(self, *containers):
        super().__init__(
            {
                "git": (128, "fatal: not a git repository"),
                "docker ps": lambda _: "\n".join(c["Id"] for c in self.containers),
                "ss": FileNotFoundError(2, "No such file or directory", "ss"),
                "docker inspect --type container": self.inspect,
                "docker image inspect": make_image("16"),
                "docker logs": "last words\n",
                "docker stop": self.stop,
                "docker volume ls": "",
                "docker info": INFO,
                "docker exec": WELL,
                "docker compose version": "2.26.1\n",
                "docker compose config": self.config,
                "docker compose up": self.up,
            }
        )
        self.containers = list(containers)

    def inspect(self, call):
        wanted = call.argv[4:]
        found = [c for c in self.containers if c["Id"] in wanted or c["Name"][1:] in wanted]
        given = [{"Ports": c["HostConfig"].get("PortBindings")} for c in found]  # where it runs
        found = [{"NetworkSettings": ports, **c} for ports, c in zip(given, found)]
        missing = f"Error response from daemon: No such container: {wanted[0]}"
        return json.dumps(found) if found else (1, missing)

    def stop(self, call):
        (container,) = (c for c in self.containers if c["Name"][1:] == call.argv[-1])
        container["State"]["Status"] = "exited"
        return ""

    def config(self, call):
        """Resolve the generated compose file with Compose's own environment."""
        config = json.loads(recorded("compose_config_2.26.1.json")["generated"]["output"])
        service, env = config["services"]["postgres"], call.env
        config["name"] = env.get("COMPOSE_PROJECT_NAME", "shop")  # of a top-level `name:`
        service["container_name"] = env.get("HIVE_POSTGRES_CONTAINER", "hive-postgres")
        service["image"] = env.get("HIVE_POSTGRES_IMAGE", "agnohq/pgvector:16")
        service["user"] = f"{env['POSTGRES_UID']}:{env['POSTGRES_GID']}"
        service["ports"][0]["published"] = env["HIVE_POSTGRES_PORT"]
        service["ports"][0]["host_ip"] = env.get("HIVE_POSTGRES_BIND", "127.0.0.1")
        mount = service["volumes"][0]
        mount["source"] = f"{call.cwd}/data/postgres"
        mount["target"] = env.get("HIVE_POSTGRES_TARGET") or mount["target"]
        service["environment"]["PGDATA"] = f"{mount['target']}/pgdata"
        if env.get("HIVE_POSTGRES_DATA"):
            mount.update(type="volume", source="volume")
            config["volumes"] = {"volume": {"name": f"{config['name']}_postgres"}}
            service["user"] = "postgres:postgres"
        for key in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
            service["environment"][key] = env[key].replace("$", "$$")
        return json.dumps(config)

    def up(self, call):
        env, name = call.env, call.env["HIVE_POSTGRES_CONTAINER"]
        self.containers = [c for c in self.containers if c["Name"] != f"/{name}"]
        project, port = env["COMPOSE_PROJECT_NAME"], env["HIVE_POSTGRES_PORT"]
        user = f"{env['POSTGRES_UID']}:{env['POSTGRES_GID']}"
        keys = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
        made = {"environment": {key: env[key] for key in keys}, "port": port, "user": user}
        made["labels"] = {"hive-pg.workspace": env.get("HIVE_POSTGRES_WORKSPACE", "")}
        self.containers.append(make_container(name, call.cwd, project, **made))
        if env.get("HIVE_POSTGRES_DATA"):
            mount = {"Name": f"{project}_postgres", "Destination": "/var/lib/postgresql/data"}
            self.containers[-1]["Mounts"] = [mount]
            volume = f"{project}_postgres\n"
            self.answers["docker volume ls"] = lambda call: volume * (project in call.command)
        elif Path(call.cwd, "data", "postgres").is_dir():
            make_cluster(call.cwd)
        return ""


class FullDisk(io.RawIOBase):
    """Takes nothing, as a disk without room, or a pipe without a reader."""

    def writable(self):
        """Whether it is for writing."""
        return True

    def write(self, _):
        """Fail."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk():
    """Return a text stream that takes nothing, and does not complain at its end."""
    stream = io.TextIOWrapper(FullDisk(), "utf-8", write_through=True)
    stream.close = lambda: None
    return stream
