"""What a command loads: modules by name, because imports are most of its time."""

import subprocess
import sys

import pytest

import hive_pg

HEAVY = (
    "subprocess json secrets shutil socket dataclasses inspect pathlib tempfile datetime urllib"
    " hashlib platform typing shlex signal string random asyncio logging"
)


@pytest.mark.processes
def test_version_imports():
    """`--version` loads nothing that it does not need."""
    argv = [sys.executable, "-S", "-X", "importtime", hive_pg.__file__, "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert done.stdout == f"hive-pg {hive_pg.__version__}\n"
    assert "argparse" in loaded
    assert loaded & set(HEAVY.split()) == set()
