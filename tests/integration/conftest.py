"""Fixtures of the integration tests; what they give is in laboratory.py."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("laboratory")

from laboratory import (  # noqa: E402
    REPOSITORY,
    Laboratory,
    collect_coverage,
    docker,
    find_image,
    find_python,
    make_venv,
    original_compose,
    prepare_coverage,
    run,
    unavailable,
)


@pytest.fixture(scope="session")
def engine():
    """Make sure that an engine answers."""
    if not shutil.which("docker"):
        unavailable("no docker CLI")
    answer = run(["docker", "version", "--format", "{{.Server.Version}}"])
    if answer.returncode:
        unavailable(f"no Docker engine answers: {answer.stderr.strip()}")


@pytest.fixture(scope="session")
def wheel(engine, tmp_path_factory):
    """Build the wheel."""
    target = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--outdir", target, REPOSITORY]
    result = run([*argv, "--no-isolation"], timeout=600)
    if result.returncode:  # the build backend is missing here, or another version than asked for
        result = run(argv, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session")
def lab(wheel):
    """Give the laboratory; at the end, assert that nothing of it is left."""
    image, python = find_image(), find_python()
    directory = Path(tempfile.mkdtemp(prefix="hive-pg-test-")).resolve()
    directory.chmod(0o755)  # pytest's own are closed to other users
    lab = Laboratory(directory, image, directory / "plain", prepare_coverage(directory))
    # A test run that is ended cleans up, and what it starts hears Ctrl-C also in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        installed = make_venv(lab, python, wheel, directory / "plain")
        assert installed.returncode == 0, installed.stderr
        yield lab
    finally:
        collect_coverage(lab)
        lab.close()
    assert not directory.exists()
    assert lab.containers(directory) == []
    assert lab.of_projects("network") == lab.of_projects("volume") == []
    assert docker("image", "ls", "--quiet", lab.token) == ""


@pytest.fixture(scope="session")
def psycopg_script(lab, wheel):
    """Give the console script of an environment that has psycopg."""
    venv = lab.directory / "with-psycopg"
    installed = make_venv(lab, f"{lab.directory}/plain/bin/python", wheel, venv, "psycopg[binary]")
    if installed.returncode:
        unavailable(f"psycopg cannot be installed: {installed.stderr[-300:]}")
    return f"{venv}/bin/hive-pg"


@pytest.fixture
def make(lab):
    """Give a maker of workspaces that go when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *names, **options: stack.enter_context(lab.workspace(*names, **options))


@pytest.fixture(scope="session")
def served(lab):
    """Give a workspace whose database runs, for the tests that only look at it."""
    with lab.workspace("served") as workspace:
        workspace.init()
        yield workspace


@pytest.fixture
def lent(served):
    """Give the same one to a test that spoils its `.env`; it is put back."""
    text = (served.path / ".env").read_text()
    yield served
    served.write(".env", text, 0o600)
    served.hive_pg("start")


@pytest.fixture
def original(lab):
    """Give the original compose file, as it is but for what cannot be had here.

    The image, where only the stand-in is here; name and port, where others have them.
    """
    return original_compose(lab)
