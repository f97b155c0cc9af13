"""The `.env` as people, editors and machines leave it: read, mended, or refused byte for byte."""

import contextlib
import json
import os
import re
import shutil
import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from laboratory import LostError, run
from refusals import call, follow, mounted, refused, tree

import hive_pg

pytestmark = pytest.mark.engine

NAMES = "HIVE_POSTGRES_CONTAINER={0}\nCOMPOSE_PROJECT_NAME={0}\n"
THEIRS = f"# theirs\n{NAMES.format('hive-pg-test-files')}export API_KEY='a b' # kept\nB=x".encode()


def set_up(workspace):
    """Have the files written; return what `.env` then says."""
    call(workspace, "init", "--no-start")
    return (workspace.path / ".env").read_bytes()


@pytest.fixture
def spoil(lab):
    """Give a maker of workspaces without a container, whose `.env` may be anything, or not yet."""

    def clear(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()

    def make(data=b"", mode=0o600, *, starts=False, **options):
        workspace = stack.enter_context(lab.workspace(env="", starts=starts, **options))
        path = workspace.path / ".env"
        stack.callback(clear, path)
        workspace.write(".env.example", THEIRS.decode())
        if data:
            path.write_bytes(data)
            path.chmod(mode)
            lab.give(path, workspace.actor)
        return workspace

    with contextlib.ExitStack() as stack:
        yield make


# -- what is in it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"\xef\xbb\xbfA='\xc3\xa9'\nB=2\n", r"line 1 has b'\xef\xbb\xbf'", id="BOM"),
        pytest.param(b"A='\xe9'\nB=2\n", r".env line 1 has b'\xe9'", id="Latin-1"),
        pytest.param("\ufeffA='é'\nB=2\n".encode("utf-16-le"), r"line 1 has b'\xff'", id="UTF-16"),
        pytest.param(
            "\ufeffA='é'\nB=2\n".encode("utf-16-be"), r"line 1 has b'\xfe'", id="UTF-16-BE"
        ),
        pytest.param(
            "A='é'\r\nB=2\r\n".encode("utf-16"), r"line 1 has b'\xff'", id="UTF-16 and CRLF"
        ),
        pytest.param(b"A='\xc3\xa9'\nB=2\0\n", r"line 2 has b'\x00'", id="NUL"),
    ],
)
def test_env_in_another_encoding_is_refused(spoil, data, words):
    """What the readers would not read alike is named, with what makes it readable."""
    workspace = spoil(data)
    for command in ("status", "url", "init"):
        assert "as plain UTF-8" in refused(workspace, words, command=[command])
    assert (workspace.path / ".env").read_bytes() == data


def test_line_ends_of_windows_are_kept(spoil):
    """Compose and hive-pg read such an .env alike, and what is added ends as the rest does."""
    text = b"# theirs\r\nA='\xc3\xa9' # c\r\nPOSTGRES_DB=shop\r\n"
    workspace = spoil(text, starts=True)
    data = set_up(workspace)
    assert data.startswith("# theirs\r\nA='é' # c\r\nPOSTGRES_DB=shop\r\nHIVE_".encode())
    assert data.count(b"\n") == data.count(b"\r\n")
    workspace.hive_pg("start")
    assert workspace.hive_pg("psql", "-Atc", "select current_database()").stdout == "shop\n"
    workspace.hive_pg("rotate")
    rotated = workspace.path.joinpath(".env").read_bytes()
    assert rotated != data
    assert rotated.count(b"\n") == rotated.count(b"\r\n") == data.count(b"\n")
    config = json.loads(workspace.compose("config", "--format", "json").stdout)
    environment = config["services"]["postgres"]["environment"]
    assert environment["POSTGRES_PASSWORD"] in workspace.hive_pg("url", secret=True).stdout


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"A=1\rB=2\r", r"line 1 has b'\r'"),
        (b"\xef\xbb\xbfA=1\nB=2\n", r"line 1 has b'\xef\xbb\xbf'"),
        ("\ufeffA=1\nB=2\n".encode("utf-16-le"), r"line 1 has b'\xff'"),
    ],
    ids=["lone CR", "BOM", "UTF-16"],
)
def test_example_in_another_encoding_is_refused(spoil, data, words):
    """Without an .env it is the example that is named."""
    workspace = spoil()
    (workspace.path / ".env.example").write_bytes(data)
    said = refused(workspace, f".env.example {words}")
    assert re.search(r"\.env(?!\.example)", said) is None


def test_bad_line_of_the_example_is_refused(spoil):
    """The example is named, not the .env that is not there."""
    workspace = spoil()
    (workspace.path / ".env.example").write_text("A=1\n<<<<<<< HEAD\n")
    said = refused(workspace, ".env.example line 2 is no whole assignment")
    assert re.search(r"\.env(?!\.example)", said) is None


PUBLIC = """\
HIVE_DATABASE_URL=postgresql+asyncpg://hive:pub1ic@localhost:5999/shop?sslmode=prefer
POSTGRES_USER=hive # of all of us
POSTGRES_PASSWORD=pub1ic
HIVE_POSTGRES_BIND=0.0.0.0
COMPOSE_PROJECT_NAME=pub1ic
HIVE_POSTGRES_WORKSPACE=pub1ic
POSTGRES_UID=4321
POSTGRES_GID=4321
API_KEY=pub1ic
"""


@pytest.mark.parametrize("compose", [False, True], ids=["alone", "beside a compose file"])
def test_example_gives_nothing_that_is_public(spoil, compose):
    """Login, address, names and ids are the workspace's own; port, database and the rest stay."""
    workspace = spoil()
    (workspace.path / ".env.example").write_text(PUBLIC)
    if compose:
        workspace.write("docker-compose.yml", hive_pg.render_compose())
    lines = set_up(workspace).decode().splitlines()
    assert [line for line in lines if "pub1ic" in line or "0.0.0.0" in line] == ["API_KEY=pub1ic"]
    env = {key: value.strip("'") for key, value in workspace.env.items()}
    assert re.fullmatch("[A-Za-z0-9]{16} # of all of us", env["POSTGRES_USER"])
    assert len(env["POSTGRES_PASSWORD"]) == 32
    assert env["POSTGRES_DB"] == "shop"
    assert env["HIVE_DATABASE_URL"].startswith("postgresql+asyncpg://")
    assert env["HIVE_DATABASE_URL"].endswith(f"@localhost:{workspace.port}/shop?sslmode=prefer")
    assert env["POSTGRES_UID"] == str(workspace.actor.server_uid)
    assert (workspace.path / ".env.example").read_text() == PUBLIC


def test_example_is_no_login_for_data(spoil):
    """Data without credentials is refused, and no `.env` is made of the example's."""
    workspace = spoil()
    (workspace.path / ".env.example").write_text(PUBLIC)
    (workspace.path / "data" / "postgres").mkdir(parents=True)
    (workspace.path / "data" / "postgres" / "PG_VERSION").write_text("16\n")
    refused(workspace, ".env has no user for the data in")
    assert not (workspace.path / ".env").exists()


def test_data_at_another_place_of_the_directory_is_not_passed_over(spoil):
    """The cluster of an earlier layout is named: no second, empty one is made in it."""
    workspace = spoil()
    workspace.write(".env", "POSTGRES_USER=ann\nPOSTGRES_PASSWORD=s3cret\n", 0o600)
    place = workspace.path / "data" / "postgres"
    place.mkdir(parents=True)
    (place / "PG_VERSION").write_text("16\n")
    refused(workspace, f"error: {place}/pgdata holds no data, but {place} does")
    assert [*place.iterdir()] == [place / "PG_VERSION"]


SIGNS = [
    "'",
    '"',
    "\\",
    "\\\\",
    "$",
    "${A}",
    "$A",
    "`",
    "#",
    " #",
    " ",
    "=",
    "a",
    "é",
    "%",
    "!",
    "*",
]
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
VALUES |= st.lists(st.sampled_from(SIGNS), min_size=1, max_size=8).map("".join)


def some_values():
    """Return some hundred values, of all kinds, the same ones every time."""
    values = []

    @settings(max_examples=400, phases=[Phase.generate])
    @given(VALUES)
    def gather(value):
        values.append(value)

    gather()
    return values


def test_written_values_are_read_alike(make):
    """What the editor writes is what python-dotenv, sh and Compose read, whatever it is."""
    import dotenv

    written = {}
    for value in some_values():
        with contextlib.suppress(hive_pg.EnvFileError):  # no spelling carries it
            hive_pg.format_env_value(value)
            written[f"K{len(written) + 1}"] = value
    assert len(written) > 200
    assert any("'" in value and "\\" in value for value in written.values())
    workspace = make(env="")
    workspace.write(".env", hive_pg.edit_env("", [], written))
    environment = "".join(f'      {key}: "${{{key}}}"\n' for key in written)
    text = f"services:\n  postgres:\n    image: x\n    environment:\n{environment}"
    workspace.write("docker-compose.yml", text)
    assert dotenv.dotenv_values(workspace.path / ".env") == written
    words = " ".join(f'"${key}"' for key in written)
    script = f". ./.env; printf '%s\\0' {words}"
    assert run(["sh", "-euc", script], **workspace.options()).stdout.split("\0")[:-1] == [
        *written.values()
    ]
    config = json.loads(workspace.compose("config", "--format", "json").stdout)
    read = config["services"]["postgres"]["environment"]
    assert {key: value.replace("$$", "$") for key, value in read.items()} == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"A=1\nB='x\nC=2\n", "line 2 is no whole assignment", id="quote"),
        pytest.param(
            b"A=1\n\n<<<<<<< HEAD\n", "line 3 is no whole assignment", id="merge conflict"
        ),
        pytest.param(b"POSTGRES_USER = ann\n", "line 1: POSTGRES_USER", id="blanks around ="),
    ],
)
def test_env_that_cannot_be_read_is_refused(spoil, text, words):
    """What Compose would reject, or read otherwise than sh, is an error that names the line."""
    refused(spoil(text), words)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        pytest.param(
            'NOTE="first\n# second\n\nthird" # end\n'
            "OTHER='\nPOSTGRES_PASSWORD=inside\nHIVE_DATABASE_URL=x\n'\nB=2 # and no end of line",
            (),
            id="our key inside another's value",
        ),
        pytest.param(
            "POSTGRES_PASSWORD=f1rst\nHIVE_POSTGRES_PORT=1111\nPOSTGRES_USER=ann\n"
            "POSTGRES_PASSWORD=s3cond\nHIVE_POSTGRES_PORT=2222\nB=2\n",
            ("2222", "PORT"),
            id="our keys twice",
        ),
        pytest.param(
            "# what people write about a value\n" * 200_000
            + "".join(f"KEY_{i}={'v' * 200}\n" for i in range(10_000))
            + f"NOTE='{'words ' * 200_000}'\n",
            (),
            id="10 MB",
        ),
    ],
)
def test_env_with_other_texts_is_served(make, text, changes):
    """The last assignment of a key counts, all other bytes stay, and a second init changes none."""
    workspace = make(env="")
    names = NAMES.format(workspace.path.name)
    workspace.write(".env", names + text)
    workspace.init()
    expected = text.replace("2222", str(workspace.port)) if changes else text
    written = (workspace.path / ".env").read_text()
    end = "" if text.endswith("\n") else "\n"
    if not written.startswith(f"{names}{expected}{end}HIVE_DATABASE_URL="):
        raise LostError("other bytes than ours have changed")
    if changes:
        assert workspace.env["POSTGRES_PASSWORD"] == "s3cond"
    assert workspace.login() == "1"
    before, identity = workspace.snapshot(), workspace.identity
    assert "written" not in workspace.hive_pg("init").stderr
    assert (workspace.snapshot(), workspace.identity) == (before, identity)


# -- what it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["root", "user"])
@pytest.mark.parametrize("mode", [0o400, 0o444], ids=oct)
def test_read_only_env_that_would_change_is_refused(spoil, mode, actor):
    """Somebody took the write bit away, and root does not ignore that either."""
    workspace = spoil(THEIRS, mode, actor=actor)
    follow(workspace, refused(workspace, ".env: it is read-only", "hint: chmod u+w"))
    assert set_up(workspace).startswith(THEIRS + b"\nHIVE_DATABASE_URL=")


@pytest.mark.parametrize("actor", ["root", "user"])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o400, 0o400), (0o444, 0o400), (0o600, 0o600), (0o644, 0o600), (0o666, 0o600)],
    ids=lambda mode: f"{mode:04o}",
)
def test_env_that_is_open_to_others_is_closed(spoil, mode, expected, actor):
    """Nothing changes but the mode, and that is said; a file that only its owner reads stays."""
    workspace = spoil(actor=actor)
    data = set_up(workspace)
    path = workspace.path / ".env"
    path.chmod(mode)
    said = call(workspace, "init", "--no-start")
    assert (f"was open to others; its mode is {expected:04o} now" in said) == (mode != expected)
    assert path.stat().st_mode & 0o777 == expected
    if path.read_bytes() != data:
        raise LostError("the text changed with the mode")
    assert call(workspace, "init", "--no-start").count("mode") == 0


def test_new_text_of_an_open_env_is_closed(spoil):
    """The credentials go into a file that others cannot read any more, and that is said."""
    workspace = spoil(THEIRS, 0o644)
    assert "✓ .env, docker-compose.yml and " in call(workspace, "init", "--no-start")
    assert (workspace.path / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"", THEIRS], ids=["no .env", "an .env"])
def test_env_in_a_read_only_directory_is_refused(spoil, data):
    """It cannot be replaced there; where nothing is to change, nobody needs to."""
    workspace = spoil(data, actor="user")
    workspace.path.chmod(0o555)
    said = refused(workspace, f"cannot write {workspace.path}/.env: Permission denied")
    follow(workspace, said)
    data = set_up(workspace)
    workspace.path.chmod(0o555)
    assert set_up(workspace) == data


def test_env_on_a_read_only_file_system_is_refused(spoil):
    """It cannot be replaced there either; where nothing is to change, nobody needs to."""
    workspace = spoil(THEIRS, actor="root")
    path = workspace.path
    with mounted(path, "--bind", path):
        assert run(["mount", "-o", "remount,bind,ro", str(path)]).returncode == 0
        refused(workspace, f"cannot write {path}/.env: Read-only file system")
        assert run(["mount", "-o", "remount,bind,rw", str(path)]).returncode == 0
        data = set_up(workspace)
        assert run(["mount", "-o", "remount,bind,ro", str(path)]).returncode == 0
        assert set_up(workspace) == data


def test_pipe_in_place_of_env_is_refused(spoil):
    """Nobody may ever write into it: it is not waited for."""
    workspace = spoil()
    os.mkfifo(workspace.path / ".env")
    began = time.monotonic()
    for command in (["status"], ["url"], ["init", "--no-start"]):
        refused(workspace, f"cannot read {workspace.path}/.env: it is no file", command=command)
    assert time.monotonic() - began < 200


@pytest.mark.parametrize("name", [".env", "docker-compose.yml"])
@pytest.mark.parametrize("ready", [False, True], ids=["new", "set up"])
def test_directory_in_place_of_the_temporary_file_is_refused(spoil, name, ready):
    """What is in the way is named, and the hint moves it away."""
    workspace = spoil(THEIRS)
    if ready:
        set_up(workspace)
    (workspace.path / f"{name}.hive-pg.tmp").mkdir()
    said = call(workspace, "init", "--no-start", code=1)
    assert f"{name}.hive-pg.tmp" in said
    follow(workspace, said)
    assert set_up(workspace).startswith(THEIRS)


def test_env_of_a_foreign_group_is_refused(spoil):
    """A user cannot give the new file to that group; the hint makes the old one the user's."""
    workspace = spoil(THEIRS, actor="user")
    path = workspace.path / ".env"
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    os.chown(path, workspace.actor.uid, 0)
    hint = f"sudo chown $USER: {path}"
    refused(workspace, f"cannot write {path}: ", f"hint: {hint}")
    os.chown(path, workspace.actor.uid, workspace.actor.uid)  # what the hint does
    assert set_up(workspace).startswith(THEIRS)


@pytest.mark.parametrize("link", [False, True], ids=["itself", "behind a link"])
def test_directory_in_place_of_env_is_refused(spoil, link):
    """As Docker makes one where it is to mount a file that is missing."""
    workspace = spoil()
    path = workspace.path / ("elsewhere" if link else ".env")
    path.mkdir()
    (path / "kept").write_text("kept")
    if link:
        (workspace.path / ".env").symlink_to(path)
    for command in ("status", "url"):
        refused(workspace, "Is a directory", command=[command])
    follow(workspace, refused(workspace, f"cannot read {workspace.path}/.env", "Is a directory"))
    assert set_up(workspace)
    assert [*workspace.path.rglob("kept")] != []


@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "dangling"])
def test_linked_env_stays_a_link(spoil, exists):
    """The file that it points to is written, or made in its directory."""
    workspace = spoil()
    link = "../secrets.env" if exists else "secrets.env"
    target = workspace.path / link
    if exists:
        target.write_bytes(THEIRS)
        target.chmod(0o644)
    (workspace.path / ".env").symlink_to(link)
    text = set_up(workspace)
    assert text.startswith(b"# theirs\n")
    assert b"\nexport API_KEY='a b' # kept\nB=x\nHIVE_DATABASE_URL=" in text
    assert os.readlink(workspace.path / ".env") == link
    assert target.stat().st_mode & 0o777 == 0o600
    assert not target.is_symlink()
    before = tree(workspace.path.parent)
    set_up(workspace)
    assert tree(workspace.path.parent) == before


@pytest.mark.parametrize("text", [None, "", "PATH='x'\n# theirs\n"], ids=["none", "empty", "full"])
def test_env_linked_out_of_the_workspace_is_refused(spoil, text):
    """What may be any file of the user's is not written to; an `.env` with a key of ours is."""
    workspace = spoil()
    home = workspace.path.parent / "home"
    home.mkdir()
    workspace.lab.give(home, workspace.actor)
    if text is not None:
        (home / ".profile").write_text(text)
        workspace.lab.give(home / ".profile", workspace.actor)
    (workspace.path / ".env").symlink_to(home / ".profile")
    said = refused(workspace, f".env leads out of the workspace, to {home}/.profile, which stays")
    follow(workspace, said)
    assert b"HIVE_DATABASE_URL=postgresql" in set_up(workspace)
    if text is not None:
        assert (home / ".profile").read_text() == text
    assert (home / ".profile").exists() == (text is not None)


def test_env_linked_into_a_missing_directory_is_refused(spoil):
    """The error names the target: the link alone would say nothing."""
    workspace = spoil()
    target = workspace.path / "missing dir" / "secrets.env"
    (workspace.path / ".env").symlink_to(target)
    follow(workspace, refused(workspace, f"a link to {target}: No such file or directory"))
    assert set_up(workspace) == target.read_bytes()


def test_env_that_is_linked_to_itself_is_refused(spoil):
    """A loop leads nowhere; the hint removes it."""
    workspace = spoil()
    (workspace.path / ".env").symlink_to("env.2")
    (workspace.path / "env.2").symlink_to(".env")
    refused(workspace, "Too many levels of symbolic links", command=["url"])
    follow(workspace, refused(workspace, "Too many levels of symbolic links"))
    assert set_up(workspace)


def test_mounted_env_is_refused(spoil):
    """A file that is a mount point cannot be replaced; its text stays, and no other file."""
    workspace = spoil(THEIRS, 0o644, actor="root")
    other = workspace.path.parent / "mounted.env"
    other.write_bytes(THEIRS)
    with mounted(workspace.path / ".env", "--bind", other):
        refused(workspace, "Device or resource busy")
    text = set_up(workspace)
    other.write_bytes(text)
    other.chmod(0o644)
    with mounted(workspace.path / ".env", "--bind", other):  # edited by hand
        assert set_up(workspace) == text
    assert (other.read_bytes(), other.stat().st_mode & 0o777) == (text, 0o600)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        pytest.param(0o644, "cannot write", id="readable"),
        pytest.param(0o600, "cannot read", id="unreadable"),
    ],
)
def test_env_of_another_owner_is_refused(spoil, mode, words):
    """In the user's own directory it could be replaced; then it would be the user's."""
    workspace = spoil(THEIRS, mode, actor="user")
    path = workspace.path / ".env"
    os.chown(path, 0, 0)
    refused(workspace, f"{words} {path}: ", f"sudo chown $USER: {path}")
    os.chown(path, workspace.actor.uid, workspace.actor.uid)
    assert set_up(workspace).startswith(THEIRS)
    os.chown(path, 0, 0)
    path.chmod(mode)  # nothing is to change but, perhaps, a mode that is not ours to change
    refused(workspace, str(path), f"sudo chown $USER: {path}")


def test_env_of_a_user_stays_the_users(spoil):
    """Root writes into it, and the owner may still read it."""
    workspace = spoil(THEIRS, actor="root")
    path = workspace.path / ".env"
    os.chown(path, 4321, 1234)
    assert set_up(workspace).startswith(THEIRS)
    assert (path.stat().st_uid, path.stat().st_gid) == (4321, 1234)


def test_immutable_env_is_refused(spoil):
    """Root's permission is not enough; the hint's second way out is."""
    workspace = spoil(THEIRS, actor="root")
    path = str(workspace.path / ".env")
    if not shutil.which("chattr") or run(["chattr", "+i", path]).returncode:
        pytest.skip("chattr +i does not work here")
    try:
        refused(workspace, f"cannot write {path}: Operation not permitted", f"chattr -i {path}")
    finally:
        run(["chattr", "-i", path])
    assert set_up(workspace).startswith(THEIRS)


def test_env_behind_a_closed_directory_is_refused(spoil):
    """Nobody can say whether it is there: it is not `not set up`."""
    workspace = spoil(THEIRS, actor="user")
    workspace.path.chmod(0o600)
    for command in ("init", "start", "status", "check", "url", "logs"):
        said = refused(
            workspace, "Permission denied", command=[command, str(workspace.path)], cwd="/"
        )
    follow(workspace, said)
    assert set_up(workspace).startswith(THEIRS)


# -- whose it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann", ""], ids=["somebody's", "nobody's"])
def test_uid_of_a_user_of_the_machine_is_named(spoil, tmp_path, name):
    """Where root acts for nobody, the server gets an id that may be a user's: said once."""
    workspace = spoil(actor="root")
    users = "root:x:0:0::/root:/bin/sh\n" + (f"{name}:x:1000:1000::/:/bin/sh\n" if name else "")
    (tmp_path / "passwd").write_text(users)
    mount = f'mount --bind "{tmp_path}/passwd" /etc/passwd && exec "$0" "$@"'
    argv = ["unshare", "-m", "sh", "-c", mount, workspace.lab.script]
    if run([*argv[:4], "mount --make-rprivate /"]).returncode:
        pytest.skip("unshare does not work here")
    said = [workspace.init("--no-start", argv=argv).stderr for _ in range(2)]
    words = f"warning: the server runs as user {name}, who can read the password in /proc"
    assert [words in text for text in said] == [bool(name), False]
    assert ("POSTGRES_UID, POSTGRES_GID in .env" in said[0]) is bool(name)
    assert workspace.env["POSTGRES_UID"] == "1000"


# -- where it is --------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(workspace):
    """Put the workspace on a disk of eight pages; give the function that fills all but some."""
    page = os.sysconf("SC_PAGE_SIZE")

    def fill(pages=1):
        (workspace.path / "filler").write_bytes(b"x" * page)
        with contextlib.suppress(OSError), (workspace.path / "filler").open("ab") as file:
            while file.write(b"x" * page):
                file.flush()
        size = (workspace.path / "filler").stat().st_size
        os.truncate(workspace.path / "filler", size - pages * page)

    target = workspace.path
    with mounted(target, "-t", "tmpfs", "-o", f"size={8 * page}", "tmpfs"):
        yield fill


def test_disk_full_in_the_middle_of_env_is_refused(spoil):
    """The old text stays, and no half of the new one; with space, it goes on."""
    workspace = spoil(actor="root")
    path = workspace.path / ".env"
    text = THEIRS + b"\n# much more\n" * 500
    with full_disk(workspace) as fill:
        path.write_bytes(text)
        path.chmod(0o600)
        fill()
        said = refused(workspace, f"cannot write {path}: No space left on device")
        assert "hint: free space" in said
        (workspace.path / "filler").unlink()
        assert set_up(workspace).startswith(text)


def test_disk_full_after_env_goes_on_with_it(spoil):
    """The credentials are kept; of the other files there is nothing, until there is space."""
    workspace = spoil(actor="root")
    with full_disk(workspace) as fill:
        fill(2)  # for the lock, which says who has it, and for .env
        said = call(workspace, "init", "--no-start", code=1)
        assert "No space left on device" in said
        assert "hint: free space" in said
        assert sorted(os.listdir(workspace.path)) == [".env", "filler"]
        text = (workspace.path / ".env").read_text()
        (workspace.path / "filler").unlink()
        call(workspace, "init", "--no-start")
        password = re.search("POSTGRES_PASSWORD=(.*)", text)[1]
        if f"POSTGRES_PASSWORD={password}\n" not in (workspace.path / ".env").read_text():
            raise LostError("the credentials are new ones")
