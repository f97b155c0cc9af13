"""What the rows of files and places share: an error says why and what helps, and keeps all."""

from __future__ import annotations

import contextlib
import os
import re

import pytest
from laboratory import LostError, run


@contextlib.contextmanager
def mounted(target, *arguments):
    """Mount something, and unmount it whatever happens."""
    result = run(["mount", *map(str, arguments), str(target)])
    if result.returncode:
        pytest.skip(f"mount: {result.stderr}")
    try:
        yield
    finally:
        assert run(["umount", str(target)]).returncode == 0


def tree(directory):
    """Return what is below a directory: kind, mode, owner, and what it says."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status, content = path.lstat(), b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[path.relative_to(directory)] = (status.st_mode, status.st_uid, content)
    return found


def call(workspace, *arguments, code=0, cwd=None):
    """Run hive-pg also where the tests could not read `.env` themselves; return its stderr."""
    options = {**workspace.options(), "cwd": cwd or workspace.path}
    if arguments[0] == "init":
        arguments += ("--image", workspace.lab.image, "--port", str(workspace.port))
    result = run([workspace.lab.script, *arguments], **options)
    said = f"hive-pg {' '.join(arguments)}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in said, said
    assert result.returncode == code, said
    return result.stderr


def refused(workspace, *words, command=("init", "--no-start"), code=1, cwd=None):
    """Make sure that a command says why not and what helps, and leaves all as it was."""
    before = tree(workspace.path.parent)
    said = call(workspace, *command, code=code, cwd=cwd)
    after = tree(workspace.path.parent)
    lost = [path for path in before if before[path][2:] != after.get(path, ())[2:]]
    if lost:
        raise LostError(f"{lost} changed: {said}")
    assert after == before, said
    assert workspace.lab.containers(workspace.path) == []
    for word in words:
        assert word in said
    assert "\nhint: " in said, said
    return said


def follow(workspace, said, cwd=None):
    """Do what a hint says, as a person would: its first command, in the workspace."""
    command = re.search("^hint: (.*)", said, re.MULTILINE | re.DOTALL)[1]
    command = re.split(r", or\b|; ", re.sub(r"^[a-z ]+: ", "", command))[0]
    options = {**workspace.options(), "cwd": cwd or workspace.path}
    result = run(["sh", "-euc", command], **options)
    assert result.returncode == 0, f"{command}: {result.stderr}"
