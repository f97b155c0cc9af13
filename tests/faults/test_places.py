"""Where a workspace may be, and what stands in it: odd paths, closed ones, other compose files."""

import fcntl
import os
import re

import pytest
from laboratory import run
from refusals import call, follow, refused, tree

import hive_pg

pytestmark = pytest.mark.engine

PLACES = {
    "blanks, quotes, dollars": """ it's  "so" `called` $HOME ${HOME} $$ 5$ """,
    "newline, Unicode, terminal escapes": "two\nlines Größe-数据-🐘-e\u0301 a\x1b[31mb\x07\u202e",
    "other signs, 200 characters": "a,b;c=d&e|f(g)[h]*?!#%:\\n~" + "n" * 180,
}
NO_START = ("init", "--no-start")


@pytest.mark.parametrize(
    ("place", "compose"),
    [*((place, "plugin") for place in PLACES), (next(iter(PLACES)), "standalone")],
)
def test_workspace_path_is_served(make, lab, place, compose):
    """`init` ends with a login, Compose finds the same container, and nothing changes again."""
    workspace = make(PLACES[place], compose=compose)
    name, parent = workspace.path.name, workspace.path.parent
    options = ("--image", lab.image, "--port", str(workspace.port))
    workspace.hive_pg("init", name, *options, cwd=parent)
    assert workspace.login() == "1"
    before, identity = workspace.snapshot(), workspace.identity
    assert "written" not in workspace.hive_pg("init", name, cwd=parent).stderr
    workspace.compose("up", "-d")
    assert (workspace.snapshot(), workspace.identity) == (before, identity)


def test_hint_leads_to_an_odd_path(make):
    """The command in a hint is one that a shell takes, whatever the path is made of."""
    workspace = make(f"{next(iter(PLACES.values()))}two\nlines")
    name, parent = workspace.path.name, workspace.path.parent
    call(workspace, *NO_START, name, cwd=parent)
    said = call(workspace, "status", name, code=3, cwd=parent)
    follow(workspace, said.replace("hint: hive-pg", f"hint: {workspace.lab.script}"), cwd=parent)
    assert workspace.login() == "1"


# -- where there can be none --------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "below/further"], ids=["on a file", "below a file"])
def test_workspace_on_a_file_is_refused(make, below):
    """The file is named, and stays as it is."""
    workspace = make(env="", starts=False)
    file = workspace.path.parent / "file"
    file.write_text("kept")
    place = os.path.join(file, below).rstrip("/")
    said = refused(workspace, f"cannot create {file}: File exists", command=[*NO_START, place])
    assert said.startswith("error: ")
    for command in ("start", "status", "url"):
        refused(workspace, f"there is no directory {place}", command=[command, place], code=3)


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
@pytest.mark.parametrize("below", ["", "further"], ids=["in it", "below it"])
def test_workspace_in_a_directory_without_permission_is_refused(make, mode, below):
    """It cannot be made; where it may be there, nobody says that it is not set up."""
    workspace = make(env="", starts=False, actor="user")
    workspace.path.rmdir()
    parent, place = workspace.path.parent, str(workspace.path / below).rstrip("/")
    parent.chmod(mode)
    said = refused(
        workspace,
        f"cannot {'create' if mode else 'read'} {workspace.path}",
        ": Permission denied",
        command=[*NO_START, place],
        cwd="/",
    )
    words = "Permission denied" if mode == 0 else f"there is no directory {place}"
    code = 1 if mode == 0 else 3
    for command in ("start", "status", "url"):
        refused(workspace, words, command=[command, place], code=code, cwd="/")
    follow(workspace, said, cwd="/")
    call(workspace, *NO_START, place, cwd="/")


@pytest.mark.parametrize("mode", [0o000, 0o300], ids=lambda mode: f"{mode:04o}")
def test_workspace_that_is_closed_is_refused(make, mode):
    """A directory that its user may not open: the error names it, the hint opens it."""
    workspace = make(actor="user")
    workspace.path.chmod(mode)
    command = [*NO_START, str(workspace.path)]
    said = refused(workspace, f"{workspace.path}", "Permission denied", command=command, cwd="/")
    follow(workspace, said, cwd="/")
    call(workspace, *command, cwd="/")


# -- links --------------------------------------------------------------------------------------


def test_gitignore_linked_out_of_the_workspace_is_refused(make):
    """A list that other repositories share stays as it is; no password is written before."""
    workspace = make(env="", starts=False)
    shared = workspace.path.parent / "shared"
    shared.write_text("*.pyc\n")
    run(["git", "init", "-q", workspace.path], **workspace.options())
    (workspace.path / ".gitignore").symlink_to(shared)
    said = refused(workspace, ".gitignore is a link, which git does not follow")
    follow(workspace, said)
    call(workspace, *NO_START)
    assert shared.read_text() == "*.pyc\n"


def test_data_linked_to_a_missing_directory_is_refused(make):
    """It is not made elsewhere, unasked: its disk may not be mounted."""
    workspace = make()
    target = workspace.path.parent / "elsewhere"
    target.mkdir()
    workspace.lab.give(target, workspace.actor)
    (workspace.path / "data").symlink_to(target)
    said = workspace.init("--no-start", code=1).stderr
    assert f"data/postgres leads out of the workspace, to {target}/postgres" in said
    assert [*target.iterdir()] == []
    follow(workspace, said)
    workspace.init("--no-start")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")
def test_data_linked_to_a_disk_with_files_of_others(make):
    """Not one of them gets another owner; what is to be done by hand is said, and works."""
    workspace = make(actor="root")
    disk = workspace.path.parent / "disk"
    (disk / "others").mkdir(parents=True)
    (workspace.path / "data").mkdir()
    (workspace.path / "data" / "postgres").symlink_to(disk)
    before = tree(disk)
    said = workspace.init(code=1).stderr
    assert f"data/postgres leads out of the workspace, to {disk}, which stays as it is" in said
    assert (tree(disk), disk.stat().st_uid) == (before, 0)
    by_hand(workspace, said)
    workspace.init()
    assert workspace.login() == "1"
    assert (disk.stat().st_uid, (disk / "others").stat().st_uid) == (0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")
def test_data_directory_with_files_of_others(make):
    """A disk that is mounted there, perhaps: it is not given away with what else is on it."""
    workspace = make(actor="root")
    data = workspace.path / "data" / "postgres"
    (data / "photos").mkdir(parents=True)
    said = workspace.init(code=1).stderr
    assert f"{data} is not given to 1000:1000: it has other files, too: photos\n" in said
    assert (data.stat().st_uid, (data / "photos").stat().st_uid) == (0, 0)
    by_hand(workspace, said)
    workspace.init()
    assert (workspace.login(), (data / "photos").stat().st_uid) == ("1", 0)


def by_hand(workspace, said):
    """Do all that a hint says, as root."""
    command = re.search("^hint: (.*)", said, re.MULTILINE)[1].replace("sudo ", "")
    assert run(["sh", "-euc", command], **workspace.options()).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_backup_onto_a_strangers_file_is_refused(served, kind):
    """In a shared directory the dump would be the stranger's, or take another file's place."""
    shared, victim = served.path.parent / "shared", served.path.parent / "victim"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o1777)
    victim.write_text("kept")
    path = shared / kind
    path.symlink_to(victim) if kind == "link" else path.write_text("theirs")
    os.chown(path, 4321, 4321, follow_symlinks=False)
    said = served.hive_pg("backup", "-o", path, code=1).stderr
    assert f"cannot write {path}: {path} is another user's" in said
    assert (path.read_text(), victim.read_text()) == (
        "kept" if kind == "link" else "theirs",
        "kept",
    )
    served.hive_pg("backup", "-o", shared / "new")
    assert (shared / "new").stat().st_uid == os.geteuid()


# -- locks --------------------------------------------------------------------------------------


def test_lock_of_anybody_on_the_workspace_is_not_waited_for(make):
    """Whoever may read the directory may lock it, and so may those who read the files in it."""
    workspace = make()
    workspace.init("--no-start")
    locked = [os.open(path, os.O_RDONLY) for path in (workspace.path, *workspace.path.iterdir())]
    for descriptor in locked:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    for command in (("init", "--yes", "--no-start"), ("stop",), ("destroy",)):
        said = workspace.hive_pg(*command).stderr
        # The engine's lock, which says for which directory, may be with other tests.
        assert not re.search("waiting for another hive-pg: [^ ]+, process", said)
    for descriptor in locked:
        os.close(descriptor)


def test_backups_in_the_workspace_itself_are_not_waited_for(make):
    """One directory may be both: `destroy --data` holds one lock while it takes the other."""
    workspace = make()
    workspace.serve()
    (workspace.path / "backups").symlink_to(".")
    workspace.hive_pg("destroy", "--data", "--yes")
    assert [*workspace.path.glob("hive-*.dump")]
    assert not workspace.lock_path.exists()


# -- git work trees -----------------------------------------------------------------------------


def git(workspace, *arguments):
    """Run git in a workspace; return its stdout."""
    who = {
        f"GIT_{role}_{key}": "a" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    result = run(["git", *arguments], **workspace.options(**who))
    assert result.returncode == 0, result.stderr
    return result.stdout


def staged(workspace):
    """Stage all that git sees; return the names."""
    git(workspace, "add", "--all")
    return git(workspace, "ls-files").splitlines()


@pytest.mark.parametrize("place", [".", "below/here"])
def test_linked_gitignore_keeps_the_password_out_of_git(make, place):
    """Git follows no such link: nothing is written until it is none, or git ignores .env."""
    workspace = make("repository", env="", starts=False)
    git(workspace, "init", "--quiet")
    directory = workspace.path / place
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "shared").write_text("*.pyc\n")
    (directory / ".gitignore").symlink_to("shared")
    said = refused(workspace, "is a link, which git does not follow", command=[*NO_START, place])
    assert f"hint: rm {directory.resolve()}/.gitignore" in said
    assert not (directory / ".env").exists()
    with (workspace.path / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.write("".join(f"{line[1:]}\n" for line in hive_pg.IGNORED.values()))
    call(workspace, *NO_START, place)
    names = {".gitignore", "shared", "docker-compose.yml"}
    assert {*staged(workspace)} == {os.path.normpath(f"{place}/{name}") for name in names}
    assert (directory / "shared").read_text() == "*.pyc\n"


def test_backup_that_git_sees_is_named(make):
    """A .gitignore of somebody's own in backups/ is left alone, and the dump is warned of."""
    workspace = make()
    workspace.serve()
    git(workspace, "init", "--quiet")
    (workspace.path / "backups").mkdir(mode=0o700)
    (workspace.path / "backups" / ".gitignore").write_text("*.txt\n")
    said = workspace.hive_pg("backup").stderr
    assert "warning: git does not ignore backups/" in said
    assert "put /backups/ in .gitignore" in said
    (workspace.path / ".gitignore").write_text("/backups/\n")
    assert "warning" not in workspace.hive_pg("backup").stderr


@pytest.mark.parametrize("kind", ["watches files", "fetches what is missing"])
def test_repository_of_a_stranger_starts_nothing(make, kind):
    """A directory that was unpacked may have a `.git` whose settings name programs."""
    workspace = make("repository", env="", starts=False)
    evil, ran = workspace.path.parent / "evil", workspace.path.parent / "ran"
    evil.write_text(f"#!/bin/sh\ntouch '{ran}'\nexit 1\n")
    evil.chmod(0o755)
    git(workspace, "init", "--quiet")
    settings = {"core.fsmonitor": str(evil)}
    if kind != "watches files":
        (workspace.path / "kept").mkdir()
        (workspace.path / "kept" / "file").write_text("x")
        staged(workspace)
        git(workspace, "commit", "--quiet", "--message", "x")
        git(workspace, "sparse-checkout", "init", "--cone", "--sparse-index")
        settings = {
            "core.repositoryFormatVersion": "1",
            "extensions.partialClone": "origin",
            "remote.origin.promisor": "true",
            "remote.origin.url": "ssh://evil/x",
            "core.sshCommand": str(evil),
        }
    for name, value in settings.items():
        git(workspace, "config", name, value)
    if kind != "watches files":
        assert run(["sh", "-c", "rm -r .git/objects/??"], **workspace.options()).returncode == 0
    call(workspace, *NO_START)
    assert not ran.exists()


def test_hook_of_another_repository_hides_none(make):
    """The variables of the hook that hive-pg runs in are not about this directory."""
    workspace = make("repository", env="", starts=False)
    git(workspace, "init", "--quiet")
    place = workspace.path / "below"
    place.mkdir()
    workspace.hive_pg("init", "--no-start", "below", GIT_DIR=".git", GIT_INDEX_FILE=".git/index")
    assert "below/.env" not in staged(workspace)
    assert (place / ".env").exists()


# -- compose files ------------------------------------------------------------------------------

TWO = """\
services:
  db1: {image: "postgres:16"}
  db2: {image: "pgvector/pgvector:pg16"}
"""
COMPOSE_FILES = {  # the text, and what is said of it
    "no YAML": ("services:\n  postgres: [\n", "expected node content"),
    "tab": ("services:\n\tpostgres:\n", "line 2"),
    "unknown key": ("services:\n  postgres:\n    imagee: x\n", "imagee"),
    "empty": ("", "empty compose file"),
    "missing variable": (
        "services: {postgres: {image: '${NOPE:?set it, please}'}}\n",
        "set it, please",
    ),
    "no PostgreSQL service": (
        "services:\n  web: {image: nginx}\n  cache: {image: redis}\n",
        "the compose file has no PostgreSQL service",
    ),
    "two PostgreSQL services": (TWO, "several PostgreSQL services: db1, db2"),
}


@pytest.fixture
def beside(make):
    """Give a maker of workspaces that have a compose file, and a `.env` with nothing to mend."""

    def make_beside(text, **options):
        workspace = make(**options)
        workspace.write("docker-compose.yml", text)
        if workspace.env:
            (workspace.path / ".env").chmod(0o600)
        return workspace

    return make_beside


@pytest.mark.parametrize("kind", COMPOSE_FILES)
def test_compose_file_that_cannot_be_used_is_refused(beside, kind):
    """Compose's own words are shown, and a hint; no container is left, and no new file."""
    text, words = COMPOSE_FILES[kind]
    refused(beside(text), words)


@pytest.mark.parametrize("kind", ["unknown key", "no PostgreSQL service"])
def test_compose_file_that_cannot_be_used_makes_no_env(beside, kind):
    """What `init` needs for Compose's sake is not there afterwards."""
    text, words = COMPOSE_FILES[kind]
    refused(beside(text, env=""), words)


IN_ENV = ("MARKED${", "'MARKED\" MARKED\nB=1", '"x" MARKED"MARKED\nB=1')
IN_COMPOSE = {  # the key whose value is what Compose cannot read
    "POSTGRES_PASSWORD": ('"MARKED${"', '"pa$MARKED", imagee'),
    "shm_size": ("MARKED", '"MARKED\\nMARKED"'),
    "stop_grace_period": ("MARKED", "*MARKED"),
    "image": ("x\n    env_file: app.env",),
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("API_KEY", value) for value in IN_ENV),
        *((key, value) for key, values in IN_COMPOSE.items() for value in values),
    ],
)
def test_value_that_compose_cannot_read_is_not_shown(beside, key, value):
    """It may be a secret: Compose quotes it in its error, and no output of ours has it."""
    text = hive_pg.render_compose()
    if key in IN_COMPOSE:
        text = re.sub(f"{key}: .*", lambda _: f"{key}: {value}", text)
    workspace = beside(text)
    workspace.write("app.env", "A='MARKED\" MARKED\n", 0o600)
    if key not in IN_COMPOSE:
        env = (workspace.path / ".env").read_text()
        workspace.write(".env", f"{env}{key}={value}\n", 0o600)
    for option in ("--quiet", "--verbose"):
        result = workspace.init("--no-start", option, code=None)
        assert "MARKED" not in result.stdout + result.stderr
        assert result.returncode == 1
        hints = ("correct the compose file, or .env, until", "write KEY='value' on one line")
        assert any(f"hint: {hint}" in result.stderr for hint in hints)


def test_compose_file_of_something_else_is_refused(beside, lab):
    """Its one service is not taken for a database, and gets no container."""
    text = f"services:\n  web: {{image: '{lab.token}-web', ports: ['127.0.0.1::80']}}\n"
    refused(beside(text), "the compose file has no PostgreSQL service")


@pytest.mark.parametrize("kind", ["unreadable", "directory", "dangling link"])
def test_compose_file_that_cannot_be_read_is_refused(beside, kind):
    """Compose's own words are shown, and a hint; nothing is written in its place."""
    workspace = beside("services: {postgres: {image: x}}\n", actor="user")
    path, words = workspace.path / "docker-compose.yml", "permission denied"
    path.chmod(0o000)
    if kind != "unreadable":
        path.unlink()
    if kind == "directory":
        path.mkdir()
        words = "is a directory"
    elif kind == "dangling link":
        path.symlink_to("elsewhere.yml")
        words = "configuration file"
    said = refused(workspace)
    assert words in said.lower()


def test_compose_file_with_two_databases_serves_the_one_that_is_chosen(beside):
    """The refusal names the way out; without it, the service called postgres is it."""
    workspace = beside(TWO)
    assert "hint: hive-pg init --service NAME takes one" in refused(workspace)
    chosen = f'postgres: {{ports: ["127.0.0.1:{workspace.port}:5432"],'
    workspace.write("docker-compose.yml", TWO.replace("db2: {", chosen))
    workspace.hive_pg("init", "--no-start")
    assert workspace.env["HIVE_POSTGRES_PORT"] == str(workspace.port)
