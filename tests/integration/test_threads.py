"""The library under load: threads that share a manager, in a process with many open files."""

import os
import sys
from pathlib import Path

import pytest
from laboratory import REPOSITORY, run

pytestmark = pytest.mark.engine

LOAD = str(Path(__file__).with_name("load.py"))


def pythons():
    """Return the oldest and the newest CPython that is here and may run hive-pg."""
    places = [*os.environ["PATH"].split(os.pathsep), sys.prefix]
    places += sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("*/bin")))
    names = [f"python3.{minor}" for minor in range(9, 30)]
    code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    found = {sys.version_info[:2]: sys.executable}
    for path in (os.path.join(place, name) for place in places for name in names):
        if os.access(path, os.X_OK):
            words = run([path, "-c", code]).stdout.split()  # a shim may lead nowhere
            if words[:1] == ["cpython"]:
                found[int(words[1]), int(words[2])] = path
    return [found[version] for version in sorted({min(found), max(found)})]


def test_four_threads_and_two_thousand_files(served):
    """Each answer is right, also while the password changes; nothing hangs, or stays open."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for python in pythons():
        result = run(
            [python, "-W", "error", "-X", "dev", LOAD, str(served.path)], env=env, timeout=400
        )
        assert (result.returncode, result.stdout + result.stderr) == (0, "\n"), python
