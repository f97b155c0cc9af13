"""The guard of tests/conftest.py, which keeps the unit tests from starting processes."""

import os
import subprocess

import pytest
from fakes import FakeRunner


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(lambda: subprocess.run(["true"], check=False), id="subprocess"),
        pytest.param(lambda: os.system("true"), id="os.system"),
        pytest.param(lambda: os.execv("/bin/true", ["true"]), id="os.exec"),
        pytest.param(lambda: os.posix_spawn("/bin/true", ["true"], {}), id="os.posix_spawn"),
    ],
)
def test_guard_process(start):
    """Whatever starts a process fails the test, and no `except Exception` hides it."""
    with pytest.raises(pytest.fail.Exception, match="a unit test starts a process"):
        start()


@pytest.mark.processes
def test_guard_lifted():
    """A test that is marked `processes` may."""
    assert subprocess.run(["true"], check=False).returncode == 0


def test_fake_runner_unexpected():
    """A command that the fake does not expect fails the test, and is shown."""
    with pytest.raises(pytest.fail.Exception, match="docker rm -f 'a b'"):
        FakeRunner({"docker ps": ""}).start(["docker", "rm", "-f", "a b"])
