"""Workspace: what is read once, what is remembered, whose a container is, and what Compose gets."""

import json
import os
import re
import shutil

import pytest
from fakes import (
    INFO,
    FakeRunner,
    make_image,
    make_info,
    make_service,
    make_settings,
    make_url,
    recorded,
)

import hive_pg as pg
from hive_pg import (
    ContainerConflictError,
    ContainerStartupError,
    ContainerState,
    EnvFileError,
    NotSetUpError,
    State,
    WorkspaceError,
    parse_state,
)

AS_ROOT = pytest.mark.skipif(not pg.is_root(), reason="only root can make files of others")
RUNNING = recorded("docker_inspect_20.10.24.json")


@pytest.fixture
def programs():
    """Return what the workspace starts."""
    return FakeRunner({"docker compose version": "2.26.1\n", "docker info": INFO})


@pytest.fixture
def directory(tmp_path):
    """Return a directory with a whole `.env`."""
    (tmp_path / "w").mkdir()
    write_env(tmp_path / "w", make_settings())
    return tmp_path / "w"


@pytest.fixture
def workspace(directory, programs):
    """Return the workspace of that directory."""
    return make_workspace(directory, programs)


def make_workspace(directory, programs=None):
    """Return the workspace of a directory."""
    return pg.Workspace(str(directory), engine=pg.Engine(programs or FakeRunner()))


def write_env(directory, settings, more=""):
    """Write an `.env`."""
    lines = "".join(f"{key}={value}\n" for key, value in settings.env.items())
    (directory / ".env").write_text(lines + more)
    (directory / ".env").chmod(0o600)


def labels(directory, project="w-1a2b3c", file="docker-compose.yml", **more):
    """Return the labels of a container that Compose made in a directory."""
    return {
        pg.PROJECT_LABEL: project,
        pg.DIRECTORY_LABEL: str(directory),
        pg.CONFIG_FILES_LABEL: f"{directory}/{file}",
        **more,
    }


# -- .env ----------------------------------------------------------------------------------------


def count_parses(monkeypatch):
    """Return a list that grows by each text of `.env` that is parsed."""
    texts, parse = [], pg.parse_env
    monkeypatch.setattr(pg, "parse_env", lambda text, env: texts.append(text) or parse(text, env))
    return texts


def test_env_is_read_once(monkeypatch, workspace, directory):
    """Whatever is asked of it: `.env` is parsed once, and once more where it has changed."""
    texts = count_parses(monkeypatch)
    assert workspace.settings == make_settings()
    with workspace.lock():
        assert workspace.server.url == make_url()
    assert len(texts) == 1
    write_env(directory, make_settings(url=make_url(user="bob")))
    assert workspace.settings.url.user == "ann"
    with workspace.lock():
        assert workspace.settings.url.user == "bob"
    assert len(texts) == 2


def test_env_is_lazy(tmp_path):
    """What needs no `.env` does not stumble over it."""
    (tmp_path / ".env").write_text("no assignment\n")
    workspace = make_workspace(tmp_path)
    workspace.reload()
    with pytest.raises(EnvFileError, match="line 1"):
        workspace.values  # noqa: B018 (reading it is what is tested)


def test_env_example_is_read_where_there_is_none(tmp_path):
    """A template tells values, and does not make a workspace."""
    (tmp_path / ".env.example").write_text("POSTGRES_DB=app\nX=$(id)\n")
    workspace = make_workspace(tmp_path)
    assert workspace.values == {"POSTGRES_DB": "app"}
    assert (workspace.env.exists, workspace.env.unread) == (False, ["X"])
    with pytest.raises(NotSetUpError, match=re.escape(f"there is no {tmp_path}/.env")):
        workspace.settings  # noqa: B018
    (tmp_path / ".env").write_text("POSTGRES_DB=app\nX=$(id)\n")
    workspace.reload()
    assert workspace.env.exists is True


def test_env_example_that_cannot_be_read(tmp_path):
    """The error is about that file."""
    (tmp_path / ".env.example").write_bytes(b"POSTGRES_DB=\xe9\n")
    with pytest.raises(EnvFileError, match=r"^\.env\.example line 1 has ") as caught:
        make_workspace(tmp_path).env  # noqa: B018
    assert "UTF-8" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    ["COMPOSE_FILE = base.yml", "COMPOSE_FILE=a.yml;b.yml", "COMPOSE_PATH_SEPARATOR=;"],
    ids=["blanks", "unquoted", "separator"],
)
def test_env_names_compose_files_unclearly(tmp_path, line):
    """Compose would obey it, and hive-pg not: it is named before anything is written."""
    (tmp_path / ".env").write_text(f"X=$(id)\n{line}\n")
    with pytest.raises(EnvFileError, match=r"line 2: COMPOSE_\w+: Compose, .* differently"):
        make_workspace(tmp_path).compose_file()


def test_settings_of_no_directory(tmp_path):
    """A directory that is not there is said to be missing, not its `.env`."""
    with pytest.raises(NotSetUpError, match=r"there is no directory .*/none$") as caught:
        make_workspace(tmp_path / "none").settings  # noqa: B018
    hint = pg.format_hint(caught.value.hint, directory="none")
    assert hint == "hive-pg list shows every workspace; hive-pg init none makes one"


def test_save_env_changes(workspace, directory):
    """Only what changes is written, at once and for its owner alone; the new values count."""
    (directory / ".env").write_text("# mine\nPOSTGRES_DB=hive\nX=$(id)\n")
    assert workspace.save_env({"POSTGRES_DB": "app"}) is True
    assert (directory / ".env").read_text() == "# mine\nPOSTGRES_DB=app\nX=$(id)\n"
    assert (directory / ".env").stat().st_mode & 0o777 == 0o600
    assert workspace.values == {"POSTGRES_DB": "app"}


def test_save_env_keeps_what_was_written_meanwhile(workspace, directory):
    """What a person has put into `.env` since it was read stays in it."""
    assert "MINE" not in workspace.values
    with (directory / ".env").open("a") as file:
        file.write("MINE=1\n")
    assert workspace.save_env({"POSTGRES_DB": "app"}) is True
    assert (workspace.values["MINE"], workspace.values["POSTGRES_DB"]) == ("1", "app")
    assert "MINE=1\n" in (directory / ".env").read_text()


@pytest.mark.parametrize(
    ("own_id", "beside", "refused"),
    [("1a", "", False), ("2b", "", True), ("1a", ".hive-pg.json", True)],
    ids=["its own", "another id", "another workspace there"],
)
def test_save_env_through_a_link(directory, tmp_path, own_id, beside, refused):
    """One that leads to another workspace's `.env` is refused, and that stays as it is."""
    place = tmp_path / "linked"
    place.mkdir()
    text = directory.joinpath(".env").read_text() + "HIVE_POSTGRES_WORKSPACE=1a\n"
    directory.joinpath(".env").write_text(text)
    directory.joinpath(beside or "other").touch()
    place.joinpath(".env").symlink_to(directory / ".env")
    workspace = make_workspace(place)
    changes = {"HIVE_POSTGRES_WORKSPACE": own_id, "POSTGRES_DB": "app"}
    if refused:
        with pytest.raises(WorkspaceError, match="leads out of the workspace, to ") as caught:
            workspace.save_env(changes)
        assert caught.value.hint == f"rm {place}/.env"
        assert directory.joinpath(".env").read_text() == text
    else:
        assert workspace.save_env(changes)


def test_save_env_that_is_open_to_others(workspace, directory, capsys):
    """One that says all already is not written, and closed."""
    (directory / ".env").chmod(0o644)
    before = (directory / ".env").stat().st_ino
    assert workspace.save_env(make_settings().env) is False
    status = (directory / ".env").stat()
    assert (status.st_ino, status.st_mode & 0o777) == (before, 0o600)
    assert ".env was open to others; its mode is 0600 now" in capsys.readouterr().err


def test_reload_without_env(tmp_path):
    """Where `.env` is gone, what a template says counts again."""
    (tmp_path / ".env.example").write_text("POSTGRES_DB=app\n")
    workspace = make_workspace(tmp_path)
    workspace.save_env({"POSTGRES_DB": "other"})
    (tmp_path / ".env").unlink()
    workspace.reload()
    assert workspace.values == {"POSTGRES_DB": "app"}


def test_secrets_are_in_no_repr(workspace):
    """What is printed by mistake has no password."""
    state = State(next_password="s3cret")
    assert "s3cret" not in f"{workspace.env!r} {state!r} {make_service()!r}"


# -- the state file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state"),
    [
        pytest.param("{}", State(), id="nothing"),
        pytest.param('{"engine": ["a", "/b", "c"]}', State(engine=["a", "/b", "c"]), id="list"),
        pytest.param('{"verified": false, "new": {}}', State(verified=False), id="a later field"),
        pytest.param('{"verified": "no"}', None, id="another kind"),
        pytest.param('{"verified": 0}', None, id="a number"),
        pytest.param('{"databases": "hive"}', None, id="a word for a list"),
        pytest.param('{"id": null}', None, id="null"),
        pytest.param('{"exchange": ["a"]}', None, id="too short an exchange"),
        pytest.param('{"exchange": [1, 2, 3, 4, 5]}', None, id="numbers for words"),
        pytest.param('{"engine": [[]]}', None, id="a list for a word"),
        pytest.param("[" * 100_000, None, id="too deep"),
        pytest.param("[]", None, id="another shape"),
        pytest.param('{"id": "1a"', None, id="cut off"),
        pytest.param("\ufffd", None, id="no text"),
    ],
)
def test_parse_state_text(text, state):
    """What hive-pg did not write so counts as damaged; fields of later versions are left out."""
    assert parse_state(text) == state


@pytest.mark.parametrize("data", [None, b""], ids=["none", "empty"])
def test_state_that_says_nothing(workspace, directory, data):
    """Without it a first login counts as verified: a workspace may be older than it."""
    if data is not None:
        (directory / ".hive-pg.json").write_bytes(data)
    assert workspace.state == State()
    assert workspace.state.verified is True


def test_state_that_is_damaged(workspace, directory):
    """It may have said what is under way: a person decides that it goes."""
    path = directory / ".hive-pg.json"
    path.write_bytes(b"\xff{")
    for use in (lambda: workspace.state, workspace.remember):
        with pytest.raises(WorkspaceError, match=r"\.hive-pg\.json is damaged") as caught:
            use()
        assert caught.value.hint == f"rm {path}"
    assert path.read_bytes() == b"\xff{"


def test_state_by_a_link(workspace, directory):
    """What it leads to may be a stranger's: it is neither read nor written."""
    path = directory / ".hive-pg.json"
    (directory.parent / "elsewhere").write_text('{"id": "1a"}')
    path.symlink_to(directory.parent / "elsewhere")
    for use in (lambda: workspace.state, workspace.remember):
        with pytest.raises(WorkspaceError, match=r"\.hive-pg\.json is .*a link$") as caught:
            use()
        assert caught.value.hint == f"rm {path}"
    assert (directory.parent / "elsewhere").read_text() == '{"id": "1a"}'


def test_state_that_cannot_be_read(workspace, directory):
    """It may say what is under way, so nothing goes on without it."""
    (directory / ".hive-pg.json").mkdir()
    with pytest.raises(WorkspaceError, match=r"cannot read .*\.hive-pg\.json"):
        workspace.state  # noqa: B018 (reading it is what is tested)


@pytest.mark.parametrize(
    ("changes", "raises"),
    [
        ({"major": "16"}, False),
        ({"next_password": "n3w"}, True),
        ({"major": "16", "staging": "x"}, True),
    ],
    ids=["a fact", "a rotation", "a restore"],
)
def test_remember_that_cannot_be_written(monkeypatch, workspace, capsys, changes, raises):
    """It is a warning, but for what a later command has to finish."""

    def refuse(path, *_):
        raise WorkspaceError(f"cannot write {path}: Read-only file system")

    monkeypatch.setattr(pg, "write_file", refuse)
    if raises:
        with pytest.raises(WorkspaceError, match="cannot write "):
            workspace.remember(**changes)
        return
    workspace.remember(**changes)
    assert "warning: cannot write " in capsys.readouterr().err
    assert workspace.state.major == "16"


def test_remember_writes_what_it_is_told(workspace, directory):
    """Who and where is always there, what was remembered before stays, and it is private."""
    workspace.remember(verified=False, engine=["id", "/root", "host"])
    workspace.remember(image="x", next_password="n3w")
    path = directory / ".hive-pg.json"
    status = directory.stat()
    assert json.loads(path.read_text()) == {
        **{"id": "", "directory": str(directory), "inode": f"{status.st_dev}:{status.st_ino}"},
        **{"engine": ["id", "/root", "host"], "user": "ann", "database": "hive"},
        **{"url": "postgresql+psycopg://ann:****@localhost:5532/hive"},
        **{"container": "hive-postgres", "project": "w-1a2b3c", "image": "x", "major": ""},
        "service": "",
        **{"port": 5532, "bind": ""},
        **{"volume": "", "reason": ""},
        **{"verified": False, "begun": False, "next_password": "n3w"},
        **{"staging": "", "keeper": "", "databases": []},
        **{"exchange": [], "kept": "", "kept_image": "", "attached": []},
        "attached_by_hand": False,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_workspace(directory).state == workspace.state.replace(
        databases=[], exchange=[], attached=[]
    )
    before = path.stat().st_ino
    workspace.remember(image="x")
    assert path.stat().st_ino == before


def test_remember_in_a_copy(workspace, directory, tmp_path):
    """What was under way in the original is not its own, once it has names."""
    workspace.remember(next_password="n3w", exchange=["16", "upgrade", "b", "a", "18"], kept="15")
    copy = shutil.copytree(directory, tmp_path / "copy")
    make_workspace(copy).remember()
    state = make_workspace(copy).state
    assert (state.next_password, state.exchange, state.kept) == ("", [], "15")


def test_remember_keeps_the_id(workspace, directory):
    """The one in `.env` decides, else the one that was remembered stays."""
    write_env(directory, make_settings(workspace="1a"))
    workspace.remember()
    write_env(directory, make_settings())
    workspace.reload()
    workspace.remember()
    assert workspace.state.id == "1a"


def test_lock_reads_the_state_again(workspace, directory):
    """Another hive-pg may have written it while this one waited."""
    assert workspace.state.next_password == ""
    make_workspace(directory).remember(next_password="n3w")
    with workspace.lock():
        assert workspace.state.next_password == "n3w"


@pytest.mark.parametrize(
    ("where", "inode", "copied"),
    [
        pytest.param("w", "1:1", False, id="the same place, restored from a backup"),
        pytest.param("other", "", True, id="copied from one that exists"),
        pytest.param("gone", "1:1", False, id="moved to another disk"),
        pytest.param("gone", "same disk", True, id="a copy, whose original was moved"),
        pytest.param("gone", "own", False, id="moved"),
        pytest.param("", "1:1", False, id="a state without a place"),
        pytest.param("other", "own", False, id="the same directory by another path"),
    ],
)
def test_is_copy_of_another(workspace, directory, where, inode, copied):
    """It is one where the old place still exists, or where its inode is another one."""
    (directory.parent / "other").mkdir()
    before = str(directory.parent / where) if where else ""
    own = pg.identify_file(str(directory))
    inode = {"own": own, "same disk": own.split(":")[0] + ":1"}.get(inode, inode)
    text = json.dumps({"id": "1a", "directory": before, "inode": inode})
    (directory / ".hive-pg.json").write_text(text)
    assert workspace.is_copy is copied


@pytest.mark.parametrize("place", ["other", "gone"])
def test_remember_of_a_copy(workspace, directory, place):
    """A copy has no part in the original's rotation; a workspace that moved goes on with it."""
    (directory.parent / "other").mkdir()
    before = {"directory": str(directory.parent / place), "inode": "1:1", "next_password": "n3w"}
    (directory / ".hive-pg.json").write_text(json.dumps(before))
    workspace.remember()
    assert make_workspace(directory).state.next_password == ("" if place == "other" else "n3w")


# -- whose a container is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "project", "file", "owned"),
    [
        pytest.param("w", "w-1a2b3c", "docker-compose.yml", True, id="made here"),
        pytest.param("link", "odd", "docker-compose.yml", True, id="by another path"),
        pytest.param("w", "odd", "docker-compose.yml", True, id="plain Compose was here"),
        pytest.param("w", "odd", "docker-compose.test.yml", False, id="another file, project"),
        pytest.param("w", "w-1a2b3c", "db.yml", True, id="another file, the same project"),
        pytest.param("gone", "w-1a2b3c", "docker-compose.yml", True, id="before it moved"),
        pytest.param("gone", "odd", "docker-compose.yml", False, id="gone, another project"),
        pytest.param("other", "w-1a2b3c", "docker-compose.yml", False, id="of a copied .env"),
        pytest.param("other", "odd", "docker-compose.yml", False, id="another workspace"),
    ],
)
@pytest.mark.parametrize("label", [{}, {pg.WORKSPACE_LABEL: ""}], ids=["no label", "an empty one"])
def test_owns_without_id(workspace, directory, label, place, project, file, owned):
    """Compose made it here, or for this project where the workspace was before it moved."""
    (directory.parent / "link").symlink_to(directory)
    (directory.parent / "other").mkdir()
    info = make_info(labels=labels(directory.parent / place, project, file, **label))
    assert workspace.owns(info) is owned


@pytest.mark.parametrize("separator", [None, ";", os.pathsep])
@pytest.mark.parametrize(
    ("place", "project", "known", "owned"),
    [
        pytest.param("w/docker/main", "w-1a2b3c", {}, True, id="the project"),
        pytest.param("w/docker/main", "odd", {}, False, id="another project of that file"),
        pytest.param("w/docker", "w-1a2b3c", {}, False, id="another directory"),
        pytest.param("w/docker/main", "w-1a2b3c", {"directory": "other"}, False, id="a copy's"),
    ],
)
def test_owns_beside_its_compose_file(
    workspace, directory, separator, place, project, known, owned
):
    """Compose takes the directory of the first file in COMPOSE_FILE for its own."""
    main, files = directory / "docker" / "main", ["docker/main/compose.yml", "own.yml"]
    main.mkdir(parents=True)
    (directory.parent / "other").mkdir()
    if known:
        known = {"directory": str(directory.parent / "other"), "inode": "1:1"}
        (directory / ".hive-pg.json").write_text(json.dumps(known))
    text = f"COMPOSE_FILE='{(separator or os.pathsep).join(files)}'\n"
    text += f"COMPOSE_PATH_SEPARATOR='{separator}'\n" if separator else ""
    write_env(directory, make_settings())
    env = directory / ".env"
    env.write_text(env.read_text() + text)
    assert workspace.compose_file() == str(main / "compose.yml")
    labelled = labels(directory.parent / place, project, "compose.yml")
    assert workspace.owns(make_info(labels=labelled)) is owned


def test_owns_not_what_compose_did_not_make(workspace):
    """A container that somebody made by hand is not ours, whatever its name."""
    assert workspace.owns(make_info(labels={})) is False


@pytest.mark.parametrize(
    ("label", "place", "owned"),
    [
        pytest.param("1a", "w", True, id="its label"),
        pytest.param("1a", "gone", True, id="its label, from where it was before"),
        pytest.param("1a", "other", False, id="a copied label, made elsewhere"),
        pytest.param("2b", "w", False, id="another's label, made here"),
        pytest.param("", "w", True, id="no label, made here"),
        pytest.param("", "other", False, id="no label, made elsewhere"),
    ],
)
def test_owns_by_id(workspace, directory, label, place, owned):
    """The label decides where both have an id."""
    (directory.parent / "other").mkdir()
    (directory / ".hive-pg.json").write_text('{"id": "1a"}')
    more = {pg.WORKSPACE_LABEL: label} if label else {}
    info = make_info(labels=labels(directory.parent / place, **more))
    assert workspace.owns(info) is owned


@pytest.mark.parametrize(("place", "owned"), [("w", True), ("other", False)])
def test_owns_by_the_id_in_env(workspace, directory, place, owned):
    """A container made here may have the id in `.env`, where the state file has another one."""
    (directory.parent / "other").mkdir()
    (directory / ".hive-pg.json").write_text('{"id": "1a"}')
    write_env(directory, make_settings(workspace="2b"))
    more = {pg.WORKSPACE_LABEL: "2b"}
    assert workspace.owns(make_info(labels=labels(directory.parent / place, **more))) is owned


@pytest.mark.parametrize("mounted", [True, False], ids=["this very directory", "one of its path"])
def test_owns_by_path_what_has_another_id(workspace, directory, programs, mounted):
    """Another client of the engine may call its directory the same: it has to be this one."""
    data = directory / "data" / "postgres"
    data.mkdir(parents=True)
    programs.answers["docker run"] = lambda call: (
        (1 - (mounted and os.path.exists(data / os.path.basename(call.argv[-1]))), "")
    )
    made = labels(directory, **{pg.WORKSPACE_LABEL: "2b"})
    info = make_info(labels=made, mounts=[(str(data), "/var/lib/postgresql/data")])
    assert workspace.owns(info) is mounted
    assert os.listdir(data) == []
    write_env(directory, make_settings(workspace="2b"))
    assert make_workspace(directory).owns(info) is True  # its id, without a question


@pytest.mark.parametrize(
    ("place", "project"), [("w", "odd"), ("gone", "w-1a2b3c")], ids=["its path", "moved"]
)
def test_owns_not_by_path_on_another_machine(workspace, directory, programs, place, project):
    """There, the path of a container's directory says nothing."""
    programs.answers["docker info"] = INFO.replace(os.uname().nodename, "elsewhere")
    info = make_info(labels=labels(directory.parent / place, project))
    assert workspace.owns(info) is False


@pytest.mark.parametrize(
    ("there", "owned"),
    [
        pytest.param(None, True, id="a new directory"),
        pytest.param({"id": "2b", "inode": "before"}, True, id="another workspace"),
        pytest.param({"id": "1a", "inode": "before"}, False, id="one that has its id"),
        pytest.param({"id": "1a", "inode": "w"}, True, id="copied back, never used"),
    ],
)
def test_owns_what_it_made_before_it_moved(workspace, directory, there, owned):
    """A new directory at its old place takes nothing from it, but for a workspace of its id."""
    (directory.parent / "before").mkdir()
    if there:
        there = {**there, "inode": pg.identify_file(str(directory.parent / there["inode"]))}
        (directory.parent / "before" / ".hive-pg.json").write_text(json.dumps(there))
    before, inode = str(directory.parent / "before"), pg.identify_file(str(directory))
    text = json.dumps({"id": "1a", "directory": before, "inode": inode})
    (directory / ".hive-pg.json").write_text(text)
    info = make_info(labels=labels(before, **{pg.WORKSPACE_LABEL: "1a"}))
    assert workspace.owns(info) is owned


@pytest.mark.parametrize("takes_over", [False, True])
def test_container_of_a_copy_whose_original_was_moved(workspace, directory, programs, takes_over):
    """Nobody knows which of the two this is: it is refused until somebody says that it is it."""
    before, here = str(directory.parent / "gone"), pg.identify_file(str(directory))
    known = {"id": "1a", "directory": before, "inode": here.split(":")[0] + ":1"}
    (directory / ".hive-pg.json").write_text(json.dumps(known))
    (item,) = json.loads(inspect(directory))
    item["Config"]["Labels"] = labels(before, **{pg.WORKSPACE_LABEL: "1a"})
    programs.answers["docker inspect"] = json.dumps([item])
    workspace.takes_over = takes_over
    if takes_over:
        assert workspace.get_container().name == "hive-postgres"
        return
    with pytest.raises(WorkspaceError, match=f"a copy of {before}, which is gone, and") as caught:
        workspace.get_container()
    own = "for a database of its own: {init} --data volume"
    ways = f"if it is the original: {{start}} --take-over; {own}"
    assert caught.value.hint == ways


def test_owns_not_as_a_copy(workspace, directory):
    """The container with the copied id is the original's."""
    (directory.parent / "other").mkdir()
    text = json.dumps({"id": "1a", "directory": str(directory.parent / "other"), "inode": "1:1"})
    (directory / ".hive-pg.json").write_text(text)
    more = {pg.WORKSPACE_LABEL: "1a"}
    assert workspace.owns(make_info(labels=labels(directory.parent / "other", **more))) is False


def inspect(directory, **state):
    """Return what `docker inspect` says of the workspace's container."""
    item = json.loads(json.dumps(RUNNING[0]))
    item["Name"] = "/hive-postgres"
    item["Config"]["Labels"] = labels(directory)
    item["State"].update(state)
    return json.dumps([item])


@pytest.mark.parametrize(
    ("place", "words", "hint"),
    [
        ("other", "belongs to {}/other", "of its own"),
        ("gone", "belongs to {}/gone, which is gone", "docker rm -f hive-postgres"),
    ],
)
def test_find_container_of_another(workspace, directory, programs, place, words, hint):
    """It is named with its origin, and with what helps where that is gone."""
    (directory.parent / "other").mkdir()
    write_env(directory, make_settings(project="mine"))
    programs.answers["docker inspect"] = inspect(directory.parent / place)
    with pytest.raises(ContainerConflictError) as caught:
        workspace.find_container()
    assert str(caught.value).endswith(words.format(directory.parent))
    assert caught.value.hint.endswith(hint)


def test_get_container_missing(workspace, programs):
    """Without one the next step is to start it."""
    programs.answers["docker inspect"] = (1, "Error: No such container: hive-postgres")
    assert workspace.find_container() is None
    with pytest.raises(NotSetUpError, match="has no container") as caught:
        workspace.get_running()
    assert caught.value.hint == "{start}"


def test_get_running_of_one_that_runs(workspace, directory, programs):
    """It is returned, with its state."""
    programs.answers["docker inspect"] = inspect(directory, Status="running")
    assert workspace.get_running().state is ContainerState.RUNNING


def test_get_running_of_one_that_is_stopped(workspace, directory, programs):
    """The error says so, with 3."""
    programs.answers["docker inspect"] = inspect(directory, Status="exited", ExitCode=0)
    with pytest.raises(NotSetUpError, match=r"container hive-postgres is stopped \(exit code 0\)"):
        workspace.get_running()


@pytest.mark.parametrize(
    ("logs", "why"),
    [
        ("FATAL:  out of memory\n", "a server setting .* is not valid, or too high"),
        ("", "it left no words to read"),
    ],
    ids=["diagnosed", "silent"],
)
def test_get_running_of_a_crash_loop(workspace, directory, programs, logs, why):
    """What it wrote since its last start has the cause."""
    state = {"Status": "restarting", "ExitCode": 1, "StartedAt": "1970-01-01T00:00:10Z"}
    programs.answers["docker inspect"] = inspect(directory, **state)
    programs.answers["docker logs"] = logs
    with pytest.raises(ContainerStartupError, match=rf"restarting \(exit code 1\): .*{why}"):
        workspace.get_running()
    assert "--since 9.9" in programs.calls[-1].command


@pytest.mark.parametrize(
    ("place", "source", "changes", "hint"),
    [
        pytest.param("/gone/w", "/gone/w/data", {}, "", id="moved"),
        pytest.param("w", "w/data", {}, "", id="here"),
        pytest.param(
            "/gone/w", "/gone/w/data", {"state": ContainerState.EXITED}, "{start}", id="stopped"
        ),
    ],
)
def test_judge_of_a_moved_workspace(workspace, directory, place, source, changes, hint):
    """While its server runs, all is well, wherever Docker has mounted it from."""
    place, source = (str(directory.parent / p) if p[:1] == "w" else p for p in (place, source))
    mounts = [(source, "/var/lib/postgresql/data")]
    info = make_info(labels={pg.DIRECTORY_LABEL: place}, mounts=mounts, **changes)
    (directory / "data" / "pgdata").mkdir(parents=True)
    assert workspace.judge(info, "c").hint == hint


# -- Compose -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "named", "found"),
    [
        (["docker-compose.yml"], "", "docker-compose.yml"),
        (["docker-compose.yml", "compose.yaml"], "", "compose.yaml"),
        (["docker-compose.yml", "db.yml"], "db.yml:more.yml", "db.yml"),
        ([], "", None),
    ],
    ids=["usual", "Compose's own choice", "COMPOSE_FILE", "none"],
)
def test_compose_file_name(workspace, directory, files, named, found):
    """The compose file is the one that Compose itself would take."""
    for name in files:
        (directory / name).write_text("services: {}\n")
    write_env(directory, make_settings(), f"COMPOSE_FILE={named}\n" if named else "")
    assert workspace.compose_file() == (found and str(directory / found))


@pytest.mark.parametrize(
    ("files", "named", "listed"),
    [
        pytest.param("compose.yaml", "", "compose.yaml:{}", id="alone"),
        pytest.param("compose.yml compose.override.yaml compose.override.yml", "",
                     "compose.yml:compose.override.yml:{}", id="with what overrides it"),
        pytest.param("a/db.yml compose.override.yml", "a/db.yml:b.yml", "a/db.yml:b.yml:a/{}",
                     id="in COMPOSE_FILE"),
        pytest.param("db.yml", "db.yml;b.yml", "db.yml;b.yml;{}", id="with its separator"),
    ],
)  # fmt: skip
def test_add_compose_file(workspace, directory, files, named, listed):
    """Compose reads what it reads today, and ours beside that; what is there stays."""
    for name in files.split():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
    separator = ";" if ";" in named else ":"
    settings = f"COMPOSE_FILE='{named}'\n" + (separator == ";") * "COMPOSE_PATH_SEPARATOR=';'\n"
    write_env(directory, make_settings(), settings if named else "")
    workspace.add_compose_file("services: {}\n")
    values, found = workspace.values, workspace.compose_file()
    assert values["COMPOSE_FILE"] == listed.format("docker-compose.hive-pg.yml")
    assert values["COMPOSE_PATH_SEPARATOR"] == separator
    assert found == str(directory / files.split()[0])
    added = directory / values["COMPOSE_FILE"].split(separator)[-1]
    assert added.read_text() == "services: {}\n"
    workspace.add_compose_file("other\n")
    assert added.read_text() == "services: {}\n"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("POSTGRES_PASSWORD", "shell", "s3cret", id="password"),
        pytest.param("POSTGRES_USER", "", "ann", id="empty user"),
        pytest.param("COMPOSE_PROJECT_NAME", "shell", "w-1a2b3c", id="project"),
        pytest.param("HIVE_POSTGRES_PORT", "1", "5532", id="port"),
        pytest.param("HIVE_POSTGRES_IMAGE", "shell", None, id="image"),
        pytest.param("HIVE_POSTGRES_BIND", "0.0.0.0", None, id="bind"),
        pytest.param("COMPOSE_FILE", "other.yml", None, id="file"),
        pytest.param("COMPOSE_PROFILES", "x", None, id="profiles"),
        pytest.param("COMPOSE_ENV_FILES", "x", None, id="env files"),
        pytest.param("DOCKER_HOST", "tcp://x", "tcp://x", id="the daemon is the shell's choice"),
        pytest.param("COMPOSE_ANSI", "always", "never", id="how Compose behaves"),
        pytest.param("HIVE_POSTGRES_SHM_SIZE", "4gb", None, id="a setting of the file"),
        pytest.param("DB_PASSWORD", "shell", None, id="a key of one's own"),
        pytest.param("TITLE", "shell", None, id="one that readers differ on"),
        pytest.param("UNSET", "shell", "shell", id="one that .env does not have"),
        pytest.param("BARE", "shell", "shell", id="one that .env leaves to the shell"),
        pytest.param("PATH", "/usr/bin", "/usr/bin", id="path"),
        pytest.param("HOME", "/root", "/root", id="home"),
        pytest.param("DOCKER_CONTEXT", "x", "x", id="docker's own"),
    ],
)
def test_run_compose_environment(
    monkeypatch, workspace, directory, programs, name, value, expected
):
    """For Compose `.env`, which it reads itself, wins over the shell, but not on docker."""
    monkeypatch.setenv(name, value)
    more = "HIVE_POSTGRES_SHM_SIZE=2gb\nDB_PASSWORD=x\nTITLE=a b\nBARE\nCOMPOSE_ANSI=never\n"
    more += "PATH=/nowhere\nHOME=/nowhere\nDOCKER_CONTEXT=nowhere\nDOCKER_HOST=tcp://nowhere\n"
    write_env(directory, make_settings(), more)
    programs.answers["docker compose up"] = "done\n"
    assert workspace.run_compose(workspace.settings, "up", "--detach") == "done\n"
    call = programs.calls[-1]
    assert call.env.get(name) == expected
    assert (call.cwd, call.env["PWD"]) == (str(directory), str(directory))
    assert "s3cret" not in str(call.argv)
    assert call.executable is None


@AS_ROOT
@pytest.mark.parametrize("mode", [0o1777, 0o2775, 0o755], ids=["shared", "a group's", "our own"])
@pytest.mark.parametrize(
    ("name", "env"),
    [
        ("compose.yaml", ""),
        ("docker-compose.override.yml", ""),
        ("mine.yml", "COMPOSE_FILE=mine.yml\n"),
        (".env", ""),
        (".env.example", None),
        (".hive-pg.json", ""),
    ],
)
def test_a_strangers_files_in_a_shared_directory(workspace, directory, programs, name, env, mode):
    """They would mount what they like, or lead elsewhere: they are refused, where others write."""
    programs.answers["docker compose config"] = "{}"
    directory.chmod(mode)
    (directory / "docker-compose.yml").touch()
    if env is None:
        (directory / ".env").unlink()
    else:
        write_env(directory, make_settings(), env)
    (directory / name).touch()
    os.chown(directory / name, 1234, 1234)

    def use():
        return workspace.values, workspace.state, workspace.run_compose(make_settings(), "config")

    if mode != 0o1777:
        assert use()
    else:
        refused = f"cannot read .*{name} is another user's, where others may write"
        with pytest.raises(WorkspaceError, match=refused) as caught:
            use()
        assert caught.value.hint == f"if it is right: sudo chown $USER: {directory / name}"
        assert programs.calls_of("docker compose") == []


def test_run_compose_by_its_plugin(monkeypatch, workspace, programs):
    """It is called as docker calls it, also where hive-pg itself was called by a plugin."""
    variable = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
    monkeypatch.setenv(variable, "docker hive-pg")
    workspace.engine.plugin = "/plugins/docker-compose"
    programs.answers["docker compose up"] = ""
    workspace.run_compose(workspace.settings, "up")
    call = programs.calls[-1]
    assert (call.argv, call.executable) == (["docker", "compose", "up"], workspace.engine.plugin)
    assert call.env[variable] == "docker"


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"DB_PASSWORD": "x", "POSTGRES_USER": "ann"}, [], id="the same"),
        pytest.param({"DB_PASSWORD": "y", "DB_PORT": ""}, ["DB_PASSWORD", "DB_PORT"], id="another"),
        pytest.param({"EDITOR": "vi"}, [], id="one that .env does not have"),
        pytest.param({"POSTGRES_USER": "bob"}, ["POSTGRES_USER"], id="ours"),
        pytest.param({"COMPOSE_FILE": "x.yml"}, ["COMPOSE_FILE"], id="other files"),
        pytest.param({"PGSERVICE": "prod"}, ["PGSERVICE"], id="another server"),
        pytest.param({"PATH": "/usr/bin", "DOCKER_HOST": "x", "SHLVL": "2"}, [], id="the rest"),
    ],
)
def test_warn_of_shell(monkeypatch, capsys, workspace, directory, shell, expected):
    """What the shell has otherwise than `.env` leads plain Compose and applications elsewhere."""
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    write_env(directory, make_settings(), "DB_PASSWORD=x\nDB_PORT=1\nPATH=/nowhere\n")
    workspace.warn_of_shell()
    names = " ".join(expected)
    said = f"warning: plain docker compose and applications take {names} from this shell"
    said = f"{said}, not from .env: unset {names}\n" if names else ""
    assert capsys.readouterr().err == said


def test_run_compose_failed(workspace, programs):
    """Its words are the error, without a value that it quotes; the hint is how to look into it."""
    words = 'invalid interpolation format for services.x: "s3cret${"'
    programs.answers["docker compose"] = (1, words)
    for command, hint in (("config", "`docker compose config` succeeds"), ("up", "docker login")):
        with pytest.raises(pg.DockerCommandError, match=f"`docker compose {command}`") as caught:
            workspace.run_compose(workspace.settings, command)
        assert "s3cret" not in f"{caught.value} {caught.value.detail}"
        assert hint in caught.value.hint


def test_resolve_service_of_the_file(workspace, directory, programs):
    """Compose says what the file says; without a file `init` is the next step."""
    with pytest.raises(NotSetUpError, match=r"there is no docker-compose\.yml"):
        workspace.resolve_service(workspace.settings)
    (directory / "docker-compose.yml").write_text(pg.render_compose())
    output = recorded("compose_config_2.26.1.json")["generated"]["output"]
    programs.answers["docker compose config --format json"] = output
    programs.answers["docker image inspect"] = make_image("16")
    assert workspace.resolve_service(workspace.settings).container == "hive-postgres"


def test_run_in_place_of_a_built_image(workspace, programs):
    """Its data is looked at with that image."""
    programs.answers["docker run"] = ""
    service = make_service(image="w-db", builds=True, data_dir="", cluster="vol/pgdata")
    workspace.run_in_place(service, "ls", service.target)
    call = programs.calls[-1]
    assert call.argv[-2:] == ["w-db", "/target/pgdata"]
    assert 'type=volume,"source=vol",target=/target' in call.argv


def test_workspace_by_a_link(directory, tmp_path):
    """A workspace is its real path."""
    os.symlink(directory, tmp_path / "link")
    assert make_workspace(tmp_path / "link").directory == str(directory)


@pytest.mark.parametrize("name", ["no", "."])
def test_lock_of_a_directory_that_is_not_set_up(tmp_path, name):
    """It is refused, and nothing is made in it."""
    with pytest.raises(pg.NotSetUpError, match="not set up"):
        make_workspace(tmp_path / name).lock().__enter__()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "after"),
    [(0o644, 0o600), (0o640, 0o600), (0o600, 0o600), (0o400, 0o400)],
    ids=["open to all", "open to the group", "closed", "read-only"],
)
def test_close_file_mode(workspace, tmp_path, capsys, mode, after):
    """Group and others lose their bits, the owner keeps his."""
    path = tmp_path / "f"
    path.touch()
    path.chmod(mode)
    workspace.close_file(str(path))
    assert path.stat().st_mode & 0o777 == after
    said = f"{path} was open to others; its mode is {after:04o} now"
    assert (said in capsys.readouterr().err) is (mode != after)


# -- looking upwards -----------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a workspace with a subdirectory, two deep, outside of home."""
    monkeypatch.setenv("HOME", "/nowhere")
    (tmp_path / "w" / "a" / "b").mkdir(parents=True)
    return tmp_path / "w"


@pytest.mark.parametrize("directory", ["", "a", "a/b"])
@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        (".hive-pg.json", "", True),
        (".env", "HIVE_POSTGRES_CONTAINER=c\n", True),
        (".env", "# x\nHIVE_POSTGRES_CONTAINER=c\n", True),
        (".env", "HIVE_DATABASE_URL=x\nPOSTGRES_USER=x\n#HIVE_POSTGRES_CONTAINER=c\n", False),
        ("docker-compose.yml", "", False),
    ],
    ids=["state", ".env", "in .env", "another .env", "compose file"],
)
def test_find_workspace_marks(tree, directory, name, text, found):
    """A workspace has a state file, or an `.env` that names its container."""
    (tree / name).write_text(text)
    here = tree / directory
    assert pg.find_workspace(str(here)) == str(tree if found else here)


def test_find_workspace_nearest(tree):
    """The nearest one counts, in a directory that a link leads to as well."""
    for place in (tree, tree / "a"):
        (place / ".hive-pg.json").touch()
    (tree.parent / "link").symlink_to(tree / "a" / "b")
    assert pg.find_workspace(str(tree.parent / "link")) == str(tree / "a")


def own_by(path, monkeypatch, user=1):
    """Let a path seem to be a stranger's."""
    real = os.lstat, os.stat

    def seem(function):
        def look(place, *rest, **options):
            status = function(place, *rest, **options)
            mine = str(place) != str(path)
            return status if mine else os.stat_result([*status[:4], user, *status[5:10]])

        return look

    monkeypatch.setattr(os, "lstat", seem(real[0]))


@pytest.mark.parametrize(
    "edge", ["repository", "home", "device", "below", "directory", "state", "env", "unreadable"]
)
def test_find_workspace_edges(tree, monkeypatch, edge):
    """It looks past no repository, home, file system, or stranger's directory; into none either."""
    here = tree / "a" / "b"
    (tree / ".hive-pg.json").touch()
    (tree / ".env").write_text("HIVE_POSTGRES_CONTAINER=c\n")
    assert pg.find_workspace(str(here)) == str(tree)
    if edge == "repository":
        (tree / "a" / ".git").touch()  # a worktree's is a file
    elif edge == "home":
        monkeypatch.setenv("HOME", str(tree / "a"))
    elif edge == "device":
        real = os.stat

        def look(place, **options):
            status = real(place, **options)
            device = status.st_dev + (str(place) == str(tree))
            return os.stat_result([*status[:2], device, *status[3:10]])

        monkeypatch.setattr(os, "stat", look)
    elif edge == "unreadable":
        (tree / ".hive-pg.json").unlink()
        (tree / ".env").unlink()
        (tree / ".env").mkdir()
    else:
        places = {"below": "a", "directory": "", "state": ".hive-pg.json", "env": ".env"}
        own_by(tree / places[edge], monkeypatch)
    assert pg.find_workspace(str(here)) == str(here)


def test_find_workspace_reads_no_strangers_env(tree, monkeypatch):
    """In a parent that all may write to, its size is a stranger's choice."""
    with (tree / ".env").open("wb") as file:
        file.truncate(1 << 43)
    own_by(tree / ".env", monkeypatch)
    assert pg.find_workspace(str(tree / "a")) == str(tree / "a")


@pytest.mark.parametrize("place", ["root", "home"])
def test_find_workspace_within_edges(tree, monkeypatch, place):
    """A repository's root and home may be the workspace; root's directories are passed."""
    (tree / ".hive-pg.json").touch()
    if place == "root":
        (tree / ".git").mkdir()
        own_by(tree / "a", monkeypatch, user=0)
    else:
        monkeypatch.setenv("HOME", str(tree))
    assert pg.find_workspace(str(tree / "a" / "b")) == str(tree)


def test_find_workspace_here_is_taken_as_it_is(tree, monkeypatch):
    """A stranger's directory that somebody works in is theirs to choose."""
    (tree / ".hive-pg.json").touch()
    own_by(tree, monkeypatch)
    assert pg.find_workspace(str(tree)) == str(tree)
