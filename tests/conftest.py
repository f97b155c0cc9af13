"""What all tests share: the module of this tree, hypothesis' profile, a guard, the laboratory.

The laboratory (laboratory.py) is what the tests on a real engine stand on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS.parent))  # the hive_pg.py beside tests/, not an installed one
pytest.register_assert_rewrite("laboratory")

from laboratory import (  # noqa: E402
    REPOSITORY,
    WAIT_IN_FIRST_START,
    Laboratory,
    LostError,
    docker,
    find_image,
    find_python,
    make_venv,
    original_compose,
    run,
    unavailable,
)

# Those take an engine that .ci/engines brings up.
collect_ignore = [] if "HIVE_PG_TEST_ENGINE" in os.environ else ["engines"]

STARTS_A_PROCESS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}
guarded = False


def _audit(event, arguments):
    if guarded and event in STARTS_A_PROCESS:
        pytest.fail(f"a unit test starts a process: {event} {arguments[:2]}")


sys.addaudithook(_audit)


def pytest_configure(config):
    """Register what only the tests know of."""
    config.addinivalue_line("markers", "processes: a unit test that may start real processes")
    try:
        from hypothesis import settings
    except ImportError:  # the engine tests do without
        return
    # The same examples everywhere, no time limits, no files: a red run can be repeated.
    # HIVE_PG_TEST_EXAMPLES is how many each property gets.
    examples = int(os.environ.get("HIVE_PG_TEST_EXAMPLES", "300"))
    settings.register_profile(
        "tests", max_examples=examples, deadline=None, database=None, derandomize=True
    )
    settings.load_profile("tests")


# -- the table of faults -------------------------------------------------------------------------
# Every test in tests/faults is a row of it, its docstring what happens: a row puts up a state that
# real use leaves behind, and says what hive-pg makes of it.

faults: list[str] = []  # how each row ended


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Note how a row ended; `LostError` says that somebody's data or names did not survive."""
    report = (yield).get_result()
    ended = report.when == "call" or report.failed
    if TESTS / "faults" in item.path.parents and ended and not report.skipped:
        lost = call.excinfo is not None and call.excinfo.errisinstance(LostError)
        report.user_properties.append(("fault", "lost" if lost else report.outcome))


def pytest_runtest_logreport(report):
    """Gather what the rows' processes noted."""
    faults.extend(outcome for name, outcome in report.user_properties if name == "fault")


def pytest_terminal_summary(terminalreporter):
    """Print what became of the rows that were tried."""
    if faults:
        tried, survived, lost = len(faults), faults.count("passed"), faults.count("lost")
        terminalreporter.write_line(f"faults: {tried} tried, {survived} survived, {lost} lost")


# -- the guard of the unit tests -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def guard(request):
    """Make every start of a process an error in tests/unit, unless marked `processes`."""
    global guarded
    inside = TESTS / "unit" in request.path.parents
    guarded = inside and request.node.get_closest_marker("processes") is None
    yield
    guarded = False


# -- on a real engine ----------------------------------------------------------------------------


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
    lab = Laboratory(directory, image, directory / "plain")
    # A test run that is ended cleans up, and what it starts hears Ctrl-C also in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        installed = make_venv(python, wheel, directory / "plain")
        assert installed.returncode == 0, installed.stderr
        yield lab
    finally:
        lab.close()
    assert not directory.exists()
    assert lab.containers(directory) == []
    assert lab.of_projects("network") == lab.of_projects("volume") == []
    assert docker("image", "ls", "--quiet", lab.token) == ""


@pytest.fixture(scope="session")
def psycopg_script(lab, wheel):
    """Give the console script of an environment that has psycopg."""
    venv = lab.directory / "with-psycopg"
    installed = make_venv(f"{lab.directory}/plain/bin/python", wheel, venv, "psycopg[binary]")
    if installed.returncode:
        unavailable(f"psycopg cannot be installed: {installed.stderr[-300:]}")
    return f"{venv}/bin/hive-pg"


@pytest.fixture
def make(lab):
    """Give a maker of workspaces that go when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *names, **options: stack.enter_context(lab.workspace(*names, **options))


@pytest.fixture(scope="module")
def kept_once(lab):
    """Give a workspace with rows in it, and at the end make sure that they are still there."""
    with lab.workspace("kept") as workspace:
        workspace.serve()
        workspace.plant()
        yield workspace


@pytest.fixture
def kept(kept_once):
    """Give the same one to each test, which leaves it serving its rows."""
    kept_once.up()
    yield kept_once
    kept_once.assert_kept()


@pytest.fixture(scope="session")
def slow_image(lab):
    """Give an image whose first start waits, with its temporary server up, to be let through."""
    return lab.build_image("slow", WAIT_IN_FIRST_START)


@pytest.fixture(scope="session")
def served(lab):
    """Give a workspace whose database runs, for the tests that only look at it."""
    with lab.workspace("served") as workspace:
        workspace.serve()
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
