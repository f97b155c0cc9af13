"""What stands in for Docker in the unit tests, builders of records, and recorded texts."""

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
        "started_at": "2026-11-23T15:54:30.563837925Z",
        "user": "1000:1000",
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
    """Have a workspace hold what looks like a cluster, the server's own."""
    directory = Path(workspace, "data", "postgres")
    (directory / "pgdata").mkdir(exist_ok=True)
    if not (directory / "pgdata" / name).exists():
        (directory / "pgdata" / name).write_text("16\n")
    os.chown(directory / "pgdata", directory.stat().st_uid, -1)


# -- in place of Docker --------------------------------------------------------------------------


def make_container(name="hive-postgres", workspace="/w", project="w-1a2b3c", **changes):
    """Return what `docker inspect` says of a container that Compose made in a workspace."""
    port, uid = changes.pop("port", "5532"), changes.pop("user", "1000:1000")
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.project.working_dir": str(workspace),
        "com.docker.compose.project.config_files": f"{workspace}/docker-compose.yml",
        "com.docker.compose.service": changes.pop("service", "postgres"),
    }
    mount = {"Type": "bind", "Destination": "/var/lib/postgresql/data"}
    mount["Source"] = changes.pop("source", f"{workspace}/data/postgres")
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
            "Env": ["PGDATA=/var/lib/postgresql/data/pgdata"],
            "Labels": labels if project else {},
        },
        "HostConfig": {
            "PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        },
        "Mounts": [mount],
    }


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

    def start(self, argv, *, env=None, cwd=None, stdin=False, progress=False):
        call = SimpleNamespace(argv=[*argv], env=env, cwd=cwd, takes_stdin=stdin, stdin=None)
        call.progress, call.timeout = progress, None
        self.calls.append(call)
        call.answer = self._answer(call)
        if isinstance(call.answer, OSError):
            raise call.answer
        return FakeProcess(call)

    def stream(self, argv, *, idle, env=None, output=False):
        process = self.start(argv, env=env)
        process.call.output, process.call.idle = output, idle
        return FakeStream(process.call)

    def attach(self, argv, env=None):
        return self.start(argv, env=env).finish(timeout=1).returncode

    def replace(self, argv, env):
        process = self.start(argv, env=env)
        raise Became(process.call)

    def _answer(self, call):
        command = shlex.join(call.argv)
        matching = [words for words in self.answers if f"{command} ".startswith(f"{words} ")]
        if not matching:
            pytest.fail(f"a command that was not expected: {command[:300]}")
        words = max(matching, key=len)
        answer = self.answers[words]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer(call) if callable(answer) else answer

    @property
    def commands(self):
        """Return the first words of each command that was started."""
        return [" ".join(call.argv[: 3 if call.argv[1] == "compose" else 2]) for call in self.calls]

    def calls_of(self, words):
        """Return the calls that begin with some words."""
        return [call for call in self.calls if shlex.join(call.argv).startswith(words)]


class Became(BaseException):
    """The process has become another one."""


class FakeProcess:
    """What FakeRunner starts."""

    def __init__(self, call):
        self.call = call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def finish(self, *, timeout, stdin=""):
        assert timeout > 0, "every call has a time limit"
        assert bool(stdin) <= self.call.takes_stdin
        self.call.timeout, self.call.stdin = timeout, stdin
        answer = self.call.answer
        if isinstance(answer, BaseException):
            raise answer
        code, err, out = (0, "", answer) if isinstance(answer, str) else (*answer, "")[:3]
        return pg.CommandResult(self.call.argv, code, out, err)


class FakeStream(FakeProcess):
    """What FakeRunner streams: it gives `stdout`, and keeps what it takes in `call.taken`.

    A call whose `takes` is set takes so many bytes, then it has ended.
    """

    def __init__(self, call):
        super().__init__(call)
        call.taken, call.takes = b"", getattr(call, "takes", None)

    def read(self):
        result = super().finish(timeout=1)
        out, self.call.answer = result.stdout, (result.returncode, result.stderr)
        return out if isinstance(out, bytes) else out.encode()

    def take(self, file):
        return file.read(pg.BLOCK_BYTES)

    def write(self, data):
        self.call.taken += data
        return self.call.takes is None or len(self.call.taken) < self.call.takes

    def finish(self, *, timeout=0, stdin=""):
        return super().finish(timeout=timeout or pg.STALL_S)


class FakeDocker(FakeRunner):
    """An engine with some containers, and Compose v2; there is no git work tree."""

    def __init__(self, *containers):
        super().__init__(
            {
                "git": (128, "fatal: not a git repository"),
                "docker ps": lambda _: "\n".join(c["Id"] for c in self.containers),
                "docker ps --filter": lambda _: "\n".join(c["Name"][1:] for c in self.published),
                "ss": FileNotFoundError(2, "No such file or directory", "ss"),
                "docker inspect --type container": self.inspect,
                "docker image inspect": '["PG_MAJOR=16"]\n',
                "docker logs": "last words\n",
                "docker stop": self.stop,
                "docker volume ls": "",
                "docker exec": "16.14|0.8.5|0.8.5\n",
                "docker compose version": "2.26.1\n",
                "docker compose config": self.config,
                "docker compose up": self.up,
            }
        )
        self.containers = list(containers)
        self.published = []  # on the port that is asked for

    def inspect(self, call):
        wanted = call.argv[4:]
        found = [c for c in self.containers if c["Id"] in wanted or c["Name"][1:] in wanted]
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
        service["container_name"] = env.get("HIVE_POSTGRES_CONTAINER", "hive-postgres")
        service["image"] = env.get("HIVE_POSTGRES_IMAGE", "agnohq/pgvector:16")
        service["user"] = f"{env['POSTGRES_UID']}:{env['POSTGRES_GID']}"
        service["ports"][0]["published"] = env["HIVE_POSTGRES_PORT"]
        service["ports"][0]["host_ip"] = env.get("HIVE_POSTGRES_BIND", "127.0.0.1")
        service["volumes"][0]["source"] = f"{call.cwd}/data/postgres"
        for key in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
            service["environment"][key] = env[key].replace("$", "$$")
        return json.dumps(config)

    def up(self, call):
        env, name = call.env, call.env["HIVE_POSTGRES_CONTAINER"]
        self.containers = [c for c in self.containers if c["Name"] != f"/{name}"]
        project, port = env["COMPOSE_PROJECT_NAME"], env["HIVE_POSTGRES_PORT"]
        user = f"{env['POSTGRES_UID']}:{env['POSTGRES_GID']}"
        self.containers.append(make_container(name, call.cwd, project, port=port, user=user))
        if Path(call.cwd, "data", "postgres").is_dir():
            make_cluster(call.cwd)
        return ""
