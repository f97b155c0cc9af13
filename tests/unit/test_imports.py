"""What a command loads: modules by name, because imports are most of its time."""

import subprocess
import sys

import pytest

import hive_pg

HEAVY = (
    "argparse subprocess json secrets shutil socket dataclasses inspect pathlib tempfile datetime"
    " urllib hashlib platform typing shlex signal string random asyncio logging difflib"
)


def loaded_by(*arguments, **options):
    """Return which of the heavy modules a command loads, and what it prints."""
    argv = [sys.executable, "-S", "-X", "importtime", hive_pg.__file__, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, **options)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "enum" in loaded
    return loaded & set(HEAVY.split()), done.stdout


@pytest.mark.processes
def test_version_imports():
    """`--version` loads nothing that it does not need."""
    assert loaded_by("--version") == (set(), f"hive-pg {hive_pg.__version__}\n")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("url", set()),
        ("env", set()),
        ("url --format libpq", {"argparse"}),
        ("env --format dotenv", {"argparse"}),
        ("env --json", {"argparse", "json"}),
    ],
    ids=["url", "env", "libpq", "dotenv", "json"],
)
def test_imports_of_what_reads_env_alone(workspace, command, needed):
    """What `eval` waits for loads nothing that it does not need."""
    loaded, stdout = loaded_by(*command.split(), cwd=workspace)
    if sys.version_info >= (3, 14):  # whose argparse is coloured
        loaded -= {"dataclasses", "inspect"} if "argparse" in needed else set()
    assert (loaded, "ann:s3cret@localhost:5532/hive" in stdout) == (needed, True)
