"""What differs by operating system, behind functions that say what they do."""

import errno
import os
import re

import pytest

import hive_pg as pg

BARRED = "sudo|chmod|ss|ls|df|fuser|type|eval|systemctl|mkdir -p"
SYSTEMS = pytest.mark.parametrize("windows", [False, True], ids=["POSIX", "Windows"])


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        (r"C:\Users\ann\app", r"C:\Users\ann\app"),
        (r"C:\my app", r'"C:\my app"'),
        ("", '""'),
        ("a&b", '"a&b"'),
    ],
)
def test_quote_word_windows(monkeypatch, word, quoted):
    """Double quotes are read by cmd and by PowerShell; a plain path needs none."""
    monkeypatch.setattr(pg, "WINDOWS", True)
    assert pg.quote_word(word) == quoted


@pytest.mark.parametrize(
    ("hint", "typed"),
    [
        ("restart Docker: sudo systemctl restart docker, or Docker Desktop", "Docker Desktop"),
        ("{init} --port N, or stop the other one (docker ps; ss -ltnp)", "docker ps; netstat -ano"),
        (pg._FILE_REMEDIES[errno.EACCES], "close what has it open; icacls {place}"),
        (pg._FILE_REMEDIES[errno.EPERM], "close what has it open; icacls {path}"),
        ("chmod u+w C:\\app\\x", "attrib -r C:\\app\\x"),
        ("ls -ld C:\\app", "dir C:\\app"),
        ("mkdir -p C:\\app", "mkdir C:\\app"),
        ("rm C:\\app\\.env; or", "del C:\\app\\.env; or"),
        ("free space: df -h C:\\app; docker system df", "free space; docker system df"),
        ("see what it is: type -a docker", "where.exe docker"),
        ('eval "$(hive-pg env)"; psql', "env --format powershell | Out-String | Invoke-Expression"),
        ("or, if that container is not needed: docker rm -f x", "docker rm -f x"),
        ("git rm --cached .env", "git rm --cached .env"),
    ],
)
def test_translate_commands(monkeypatch, hint, typed):
    """A hint names no command that Windows does not have; elsewhere it is as it was."""
    assert pg.translate_commands(hint) == hint
    monkeypatch.setattr(pg, "WINDOWS", True)
    there = pg.translate_commands(hint)
    assert typed in there
    assert not re.search(rf"\b(?:{BARRED}) ", there)


def test_every_diagnosis_can_be_followed_on_windows(monkeypatch):
    """No row of the table names a command that Windows does not have."""
    monkeypatch.setattr(pg, "WINDOWS", True)
    rows = [row for row in pg.DIAGNOSES if not re.search("rootless|Podman", row.cause)]
    hints = [pg.translate_commands(row.hint) for row in rows]
    assert [hint for hint in hints if re.search(rf"\b(?:{BARRED}) ", hint)] == []


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("/w/data", True),
        (r"C:\w\data", True),
        ("c:/w/data", True),
        (r"\\server\share", True),
        ("app_postgres", False),
        ("app_postgres/pgdata", False),
        ("", False),
    ],
)
@SYSTEMS
def test_is_path(monkeypatch, windows, text, is_path):
    """The engine's paths are known on each system, which may be another than the engine's."""
    monkeypatch.setattr(pg, "WINDOWS", windows)
    assert pg.is_path(text) is is_path


@SYSTEMS
def test_is_gone_foreign(monkeypatch, windows):
    """Another system's path is never gone, as nobody can look; one of our own is."""
    paths = ["/nowhere/at/all", r"C:\nowhere\at\all"]
    monkeypatch.setattr(pg, "WINDOWS", windows)
    assert pg.is_gone(paths[0]) is not windows
    assert pg.is_gone(paths[1]) is windows


@pytest.mark.parametrize(
    ("windows", "error", "is_gone"),
    [
        (False, BrokenPipeError(errno.EPIPE, "x"), True),
        (False, OSError(errno.EINVAL, "x"), False),
        (True, OSError(errno.EINVAL, "x"), True),
        (True, OSError(errno.ENOSPC, "x"), False),
    ],
)
def test_is_reader_gone(monkeypatch, windows, error, is_gone):
    """A reader that has gone has another error on Windows; a full disk is no such one."""
    monkeypatch.setattr(pg, "WINDOWS", windows)
    assert pg.is_reader_gone(error) is is_gone


@pytest.mark.parametrize("windows", [False, True])
def test_no_program_of_the_current_directory(monkeypatch, place, windows):
    """On Windows that would come first, before PATH; what `run` starts may have its own there."""
    name = "NODEFAULTCURRENTDIRECTORYINEXEPATH"
    environ = {"PATH": "/usr/bin"}
    module = {"__name__": "hive_pg_there", "__file__": pg.__file__, "__doc__": pg.__doc__}
    with open(pg.__file__, encoding="utf-8") as file, monkeypatch.context() as there:
        there.setattr(os, "name", "nt" if windows else "posix")
        there.setattr(os, "environ", environ)
        exec(compile(file.read(), pg.__file__, "exec"), module)
    found = {key.upper(): value for key, value in environ.items()}
    assert found == {"PATH": "/usr/bin", **({name: "1"} if windows else {})}
    monkeypatch.setattr(os, "environ", found)
    assert name not in pg.build_run_environment(place, place.settings.url)


@pytest.mark.parametrize("names", [[], ["WT_SESSION"], ["TERM"]])
def test_has_escapes(monkeypatch, names):
    """The old console shows escape sequences as letters; newer terminals say who they are."""
    for name in ("WT_SESSION", "TERM", "TERM_PROGRAM", "ANSICON"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(pg, "WINDOWS", False)
    assert pg.has_escapes()
    monkeypatch.setattr(pg, "WINDOWS", True)
    assert pg.has_escapes() is bool(names)


def test_replace_file_in_use(monkeypatch, tmp_path):
    """Who has a file open for a moment, as a virus scanner has, is waited for; no longer."""
    monkeypatch.setattr(pg, "WINDOWS", True)
    replace, tries = os.replace, []

    def busy(*paths):
        tries.append(paths)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "in use")
        replace(*paths)

    monkeypatch.setattr(os, "replace", busy)
    with open(tmp_path / "new", "wb") as file:
        pg.replace_file(file, str(tmp_path / "new"), str(tmp_path / "f"))
    assert (len(tries), (tmp_path / "f").exists()) == (3, True)
    monkeypatch.setattr(os, "replace", lambda *_: busy(tries.clear()))
    with open(tmp_path / "new", "wb") as file, pytest.raises(PermissionError):
        pg.replace_file(file, str(tmp_path / "new"), str(tmp_path / "f"))
