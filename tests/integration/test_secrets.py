"""The password is nobody else's: in no process list, and on no stream but `url`'s."""

import contextlib
import os
import secrets
import subprocess
import threading
from pathlib import Path

import pytest
from laboratory import inspect_containers, wait_until

import hive_pg

pytestmark = pytest.mark.engine

PASSWORD = f"marked0S3cret{secrets.token_hex(6)}"  # nobody else's on this machine
EVERY_COMMAND = [  # but init; the last one leaves no container
    *(["stop"], ["start"], ["start"], ["restart"], ["status"], ["check"], ["logs"], ["url"]),
    *(["run", "--", "true"], ["psql", "--", "-c", "select 1"], ["backup", "--output", "dump"]),
    *(["wait"], ["stats"], ["list"], ["completion", "bash"], ["env"]),
    *(["restore", "--yes", "dump"], ["snapshot", "@kept"], ["reset", "--yes"]),
    *(["push", "--url-env", "ELSEWHERE"], ["pull", "--yes", "--url-env", "ELSEWHERE"]),
    *(["upgrade", "--drop-old", "--yes"], ["rotate"], ["destroy", "--yes"]),
]
CODES = {"upgrade": 1, "push": 5, "pull": 5}  # nothing to drop, and nobody there


@contextlib.contextmanager
def watched_arguments():
    """Read the argument lists of all processes again and again; give all that were seen.

    The second list has an item for each time.
    """
    seen, looks, done = set(), [], threading.Event()

    def watch():
        while not done.wait(0.01):  # no docker process is faster
            looks.append(None)
            for name in os.listdir("/proc"):
                with contextlib.suppress(OSError):  # it has ended, or it is no process
                    seen.add(Path("/proc", name, "cmdline").read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen, looks
    finally:
        done.set()
        thread.join()
    assert len(looks) > 10


def test_password_is_in_no_argument_list(make):
    """Not while the database is set up, started, checked or used: any user may read those."""
    workspace = make()
    workspace.edit_env(**workspace.env, POSTGRES_USER="ann", POSTGRES_PASSWORD=PASSWORD)
    assert {words[0] for words in EVERY_COMMAND} == hive_pg.COMMANDS.keys() - {"init"}
    with watched_arguments() as (seen, _):
        workspace.init()
        for words in EVERY_COMMAND[:-1]:
            options = {"code": CODES.get(words[0], 0), "secret": words[0] in ("url", "env")}
            options["ELSEWHERE"] = f"postgresql://ann:{PASSWORD}@192.0.2.1:1/x?connect_timeout=1"
            workspace.hive_pg(*words, **options)
        passwords = {PASSWORD, workspace.env["POSTGRES_PASSWORD"]}
        (container,) = inspect_containers(workspace.container)
        workspace.hive_pg(*EVERY_COMMAND[-1])
    assert len(passwords) == 2
    for password in passwords:
        assert [words for words in seen if password.encode() in words] == []
    assert PASSWORD not in str([container["Path"], container["Args"], container["Config"]["Cmd"]])


def test_watcher_sees_what_it_looks_for():
    """The test above would fail: an argument that is there for a moment is seen.

    How long a moment is, depends on how long the lists of all processes take.
    """
    argv = ["sh", "-c", "read -r line", f"{PASSWORD}0planted"]
    with watched_arguments() as (seen, looks), subprocess.Popen(argv, stdin=subprocess.PIPE):
        wait_until(lambda: len(looks) > 10)
    assert any(b"read -r line" in words and b"0planted" in words for words in seen)


def test_password_is_on_no_stream(make):
    """Nothing prints it, not even with -v, and no log has it; `url` alone does."""
    workspace = make(env="")
    workspace.edit_env(POSTGRES_USER="ann", POSTGRES_PASSWORD=PASSWORD)
    said = ""
    for command in ("init", "start", "restart", "status", "check", "logs", "stop", "status"):
        options = ("--image", workspace.lab.image, "--port", str(workspace.port))
        result = workspace.hive_pg(
            command, "-v", *(options if command == "init" else ()), code=None
        )
        said += result.stdout + result.stderr
    result = workspace.hive_pg("run", "-v", "--", "true")
    wrong = workspace.env["HIVE_DATABASE_URL"].replace("ann:", "bob:")
    workspace.edit_env(HIVE_DATABASE_URL=wrong, POSTGRES_USER="bob")
    refused = workspace.hive_pg("start", "-v", code=6)
    said += result.stdout + result.stderr + refused.stdout + refused.stderr
    assert said.count("+ docker ") > 10
    assert PASSWORD not in said
    assert PASSWORD in workspace.hive_pg("url", secret=True).stdout
