"""`list`, `env`, `wait` and `completion`, on the engine and in the real shells."""

import time

import pytest
from laboratory import docker, wait_until

pytestmark = pytest.mark.engine

PASSWORD = 'it\'s $HOME "quoted" `id`'


# -- wait ----------------------------------------------------------------------------------------


def test_wait_for_a_slow_first_start(make, slow_image):
    """It returns when the login succeeds, not before, and leaves all as it is."""
    workspace = make()
    workspace.hive_pg("wait", code=3)
    workspace.init("--image", slow_image, "--no-start")
    assert "hint: hive-pg start" in workspace.hive_pg("wait", code=3).stderr
    workspace.compose("up", "--detach")
    before = workspace.snapshot()
    began = time.monotonic()
    assert "not ready in time" in workspace.hive_pg("wait", "--timeout", "0.5", code=5).stderr
    assert time.monotonic() - began < 15
    result = workspace.hive_pg("wait", "--timeout", "60")
    assert (result.stdout, " logs in to hive: PostgreSQL " in result.stderr) == ("", True)
    assert workspace.login("select '[1]'::vector") == "[1]"
    assert workspace.snapshot() == before
    assert workspace.hive_pg("wait", "-q").stderr == ""


def test_wait_for_one_that_does_not_run(served):
    """Stopped or paused is exit 3 at once, with the command that helps; nothing is started."""
    docker("pause", served.container)
    assert f"hint: docker unpause {served.container}" in served.hive_pg("wait", code=3).stderr
    docker("unpause", served.container)
    served.hive_pg("stop")
    assert "hint: hive-pg start" in served.hive_pg("wait", code=3).stderr
    assert served.state == "exited"
    served.hive_pg("start")


def test_wait_for_one_that_refuses(lent):
    """Credentials that the server does not accept will not be waited for: exit 6."""
    url = lent.env["HIVE_DATABASE_URL"].replace(lent.env["POSTGRES_PASSWORD"], "another")
    lent.edit_env(HIVE_DATABASE_URL=url, POSTGRES_PASSWORD="another")
    assert "refuses the user and password" in lent.hive_pg("wait", code=6).stderr


def test_wait_in_a_crash_loop_says_why(make):
    """It ends long before time is up: exit 5, with the cause."""
    workspace = make()
    workspace.init()
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="nonsense")
    workspace.compose("up", "--detach")
    began = time.monotonic()
    assert "a server setting" in workspace.hive_pg("wait", "--timeout", "100", code=5).stderr
    wait_until(lambda: workspace.state == "restarting")
    assert "a server setting" in workspace.hive_pg("wait", "--timeout", "100", code=5).stderr
    assert time.monotonic() - began < 60
    workspace.hive_pg("stop")


def test_wait_without_docker(make):
    """Exit 4."""
    workspace = make()
    workspace.init("--no-start")
    for command in ("wait",):
        assert "cannot run docker" in workspace.hive_pg(command, code=4, PATH="/nowhere").stderr
