"""What all tests share: the module of this tree, hypothesis' profile, a guard of the unit tests."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS.parent))  # the hive_pg.py beside tests/, not an installed one

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
    settings.register_profile(
        "tests", max_examples=300, deadline=None, database=None, derandomize=True
    )
    settings.load_profile("tests")


@pytest.fixture(autouse=True)
def guard(request):
    """Make every start of a process an error in tests/unit, unless marked `processes`."""
    global guarded
    inside = TESTS / "unit" in request.path.parents
    guarded = inside and request.node.get_closest_marker("processes") is None
    yield
    guarded = False
