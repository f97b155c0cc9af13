"""What a command loads: modules by name, because imports are most of its time."""

import subprocess
import sys

import pytest

import hive_pg

HEAVY = (
    "subprocess json secrets shutil socket dataclasses inspect pathlib tempfile datetime urllib"
    " hashlib platform typing shlex signal string random asyncio logging"
)


def loaded_by(*arguments):
    """Return which of the heavy modules a command loads, and what it prints."""
    argv = [sys.executable, "-S", "-X", "importtime", hive_pg.__file__, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in loaded
    return loaded & set(HEAVY.split()), done.stdout


@pytest.mark.processes
def test_version_imports():
    """`--version` loads nothing that it does not need."""
    assert loaded_by("--version") == (set(), f"hive-pg {hive_pg.__version__}\n")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "needed"),
    [("url", set()), ("env", {"shlex"}), ("env --format dotenv", set()), ("env --json", {"json"})],
    ids=["url", "env", "dotenv", "json"],
)
def test_imports_of_what_reads_env_alone(workspace, command, needed):
    """What `eval` waits for loads what quotes its values, and no more."""
    loaded, stdout = loaded_by(*command.split(), str(workspace))
    assert (loaded, "ann:s3cret@localhost:5532/hive" in stdout) == (needed, True)
