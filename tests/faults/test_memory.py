"""`.hive-pg.json`: lost, damaged, copied and moved; and the lock of the machine."""

import contextlib
import fcntl
import os
import re
import shutil
import stat

import pytest
from laboratory import LostError, docker, run, wait_until
from test_docker import put_before
from test_interruption import kill
from test_neighbour_faults import copy_of, untouched

pytestmark = pytest.mark.engine

ID = "hive-pg.workspace"


@pytest.fixture(scope="module")
def kept_once(lab):
    """Give a workspace with rows in it, which are there at the end."""
    with lab.workspace("remembered") as workspace:
        workspace.serve()
        workspace.plant()
        yield workspace
        workspace.up()
        workspace.assert_kept()


@pytest.fixture
def kept(kept_once):
    """Give the same one to each test, running and with its state file."""
    kept_once.up()
    text = (kept_once.path / ".hive-pg.json").read_text()
    yield kept_once
    kept_once.write(".hive-pg.json", text, 0o600)


def test_state_file_has_no_secret_and_is_the_owners(kept):
    """It says what the container, the engine and the data are, and nothing to log in with."""
    text, memory = (kept.path / ".hive-pg.json").read_text(), kept.memory
    assert stat.S_IMODE((kept.path / ".hive-pg.json").stat().st_mode) == 0o600
    assert kept.env["POSTGRES_PASSWORD"] not in text
    assert memory["next_password"] == ""
    assert memory["verified"] is True
    assert (memory["user"], memory["database"]) == (kept.env["POSTGRES_USER"], "hive")
    assert (memory["container"], memory["major"]) == (kept.container, "16")
    assert memory["image"] == kept.lab.image
    assert docker("info", "--format", "{{.ID}}") in memory["engine"]
    assert (
        kept.inspect()["Config"]["Labels"][ID]
        == memory["id"]
        == kept.env["HIVE_POSTGRES_WORKSPACE"]
    )


@pytest.mark.parametrize("text", [None, ""], ids=repr)
def test_workspace_without_a_state_file_works(kept, text):
    """`.env` decides; the next command that writes makes a new one."""
    path, identity, known = kept.path / ".hive-pg.json", kept.identity, kept.memory
    path.unlink()
    if text is not None:
        kept.write(".hive-pg.json", text, 0o600)
    for command in ("status", "check", "start", "wait", "url"):
        kept.hive_pg(command, secret=command == "url")
    kept.hive_pg("init")
    assert kept.identity == identity
    assert kept.memory == {**known, "reason": ""}  # why the data is there was in it alone


@pytest.mark.parametrize("text", ["[]", "{", '{"id": 7}', "\0"], ids=repr)
def test_damaged_state_file_is_refused(kept, text):
    """It may have said what is under way: it is named, with what removes it, and stays."""
    path, identity, known = kept.path / ".hive-pg.json", kept.identity, kept.memory
    kept.write(".hive-pg.json", text, 0o600)
    for command in ("status", "start", "wait", "init"):
        said = kept.hive_pg(command, code=1).stderr
        assert f"error: {path} is damaged" in said
        assert f"hint: rm {path}" in said
    assert path.read_text() == text
    path.unlink()
    kept.hive_pg("init")
    assert kept.identity == identity
    assert kept.memory == {**known, "reason": ""}


def test_state_file_comes_back_with_a_start(kept):
    """A command that starts the container writes it, and the workspace stays the same one."""
    kept.hive_pg("stop")
    known = kept.memory
    (kept.path / ".hive-pg.json").unlink()
    kept.hive_pg("start")
    assert kept.memory == {**known, "reason": ""}  # why the data is there was in it alone


def test_copy_with_its_state_file_is_another_workspace(kept, make):
    """Until `init`, no command of the copy touches the original; then it has all of its own."""
    copy = make("copy", env="")
    names = (".env", ".hive-pg.json", "docker-compose.yml")
    assert run(["cp", "-a", *(str(kept.path / n) for n in names), str(copy.path)]).returncode == 0
    with untouched(kept):
        for command in ("start", "stop", "restart", "rotate", "destroy", "status", "psql"):
            said = copy.hive_pg(command, code=1).stderr
            assert "hint: hive-pg init gives it its own\n" in said
        copy.hive_pg("init", "--yes")
        assert copy.login() == "1"
        for key in ("HIVE_POSTGRES_WORKSPACE", "COMPOSE_PROJECT_NAME", "HIVE_POSTGRES_PORT"):
            assert copy.env[key] != kept.env[key], key
        assert copy.container != kept.container
        assert copy.memory["id"] != kept.memory["id"]
        assert copy.psql("select from kept").returncode != 0


def test_copied_env_alone_gets_an_id_of_its_own(kept, make):
    """As people do it for a git worktree: `.env` and the compose file, nothing else."""
    with untouched(kept):
        copy = copy_of(kept, make)
        copy.hive_pg("init", "--yes")
        assert copy.memory["id"] not in ("", kept.memory["id"])
        assert copy.inspect()["Config"]["Labels"][ID] == copy.memory["id"]


def test_env_that_is_linked_from_another_workspace_stays(kept, make):
    """Its applications would be led to the other's database: refused, and the hint leads out."""
    copy = make("copy", env="")
    copy.path.joinpath(".env").symlink_to(kept.path / ".env")
    with untouched(kept):
        said = copy.hive_pg("init", "--yes", code=1).stderr
        assert f"leads out of the workspace, to {kept.path}/.env, which stays as it is" in said
        hint = re.search("hint: (.*)", said)[1]
        assert run(["sh", "-euc", hint], **copy.options()).returncode == 0
        copy.init()
        assert copy.login() == "1"


def test_project_with_a_new_name(kept):
    """Compose makes another container for it: the hint leads there, and back."""
    before = kept.env["COMPOSE_PROJECT_NAME"]
    for name in (f"{before}-new", before):
        kept.edit_env(COMPOSE_PROJECT_NAME=name)
        said = kept.hive_pg("restart", code=1).stderr
        assert "put that back; or hive-pg destroy, then hive-pg start" in said
        for command in ("destroy", "start"):
            kept.hive_pg(command)
        kept.assert_kept()


def test_moved_workspace_keeps_its_container(make):
    """The id tells, wherever it is now; its rows are there, under the same names."""
    workspace = make()
    workspace.serve()
    workspace.plant()
    workspace.hive_pg("stop")
    name, known = workspace.container, workspace.memory
    workspace.path = workspace.path.rename(workspace.path.with_name("moved"))
    workspace.hive_pg("start")
    assert (workspace.container, workspace.memory["id"]) == (name, known["id"])
    assert workspace.memory["directory"] == str(workspace.path)
    workspace.assert_kept()


def test_state_file_that_is_a_link_is_refused(make):
    """A cloned repository may carry one: nothing is written where it leads."""
    workspace = make()
    victim = workspace.path.parent / "victim"
    victim.write_text("precious")
    (workspace.path / ".hive-pg.json").symlink_to(victim)
    said = workspace.init(code=1).stderr
    assert ".hive-pg.json is damaged, or a link" in said
    assert "hint: rm " in said
    assert victim.read_text() == "precious"


def test_env_that_is_edited_during_an_init_keeps_the_edit(make):
    """A pull may take minutes: what a person wrote meanwhile is still there."""
    workspace = make()
    path = put_before(workspace, "ps*", "grep -q API_KEY .env || echo API_KEY=1 >> .env")
    workspace.init(PATH=path)
    assert workspace.env["API_KEY"] == "1"
    assert workspace.login() == "1"


# -- what a killed restore has protected ---------------------------------------------------------


def protected(workspace):
    """Return the databases that are templates now, but for the server's own."""
    sql = "select string_agg(datname, ' ' order by datname) from pg_database where datistemplate"
    return set(workspace.login(sql).split()) - {"template0", "template1"}


@pytest.mark.parametrize("command", ["start", "init", "restore"])
def test_protection_that_a_killed_restore_left_is_undone(kept, command):
    """The next command frees what it had protected, and no template of somebody's."""
    kept.login("create database own is_template true")
    script = kept.path / "script.sql"
    script.write_text("create table t (i int);\nselect pg_sleep(600);\n")
    with kept.started("restore", str(script), "--yes") as process:
        wait_until(lambda: "hive" in protected(kept))
        kill(process, descendants_too=True)
    kept.hive_pg(*(["restore", "--drop-old", "--yes"] if command == "restore" else [command]))
    try:
        assert protected(kept) == {"own"}
        assert kept.memory["databases"] == []
    finally:
        kept.login("alter database own is_template false")
        kept.login("drop database own")
        script.unlink()
        kept.hive_pg("restore", "--drop-old", "--yes")


def test_start_beside_a_restore_does_not_wait_for_it(kept):
    """What is protected belongs to a restore that goes on: the database is there at once."""
    script = kept.path / "script.sql"
    script.write_text("create table t (i int);\nselect pg_sleep(600);\n")
    with kept.started("restore", str(script), "--yes") as process:
        wait_until(lambda: "hive" in protected(kept))
        kept.hive_pg("start")
        assert process.poll() is None
        assert protected(kept)
        kill(process, descendants_too=True)
    script.unlink()
    kept.hive_pg("start")
    assert protected(kept) == set()


def test_restore_of_a_role_that_owns_but_its_own_database(make):
    """It can drop no others, so that none is protected, and none is in the way."""
    workspace = make()
    workspace.serve()
    for sql in (
        "create role app login createdb password 'app-s3cret'",
        "alter database hive owner to app",
        "grant create on tablespace pg_default to app",
        "alter schema public owner to app",
    ):
        workspace.login(sql)
    url = f"postgresql://app:app-s3cret@localhost:{workspace.env['HIVE_POSTGRES_PORT']}/hive"
    workspace.edit_env(HIVE_DATABASE_URL=url, POSTGRES_USER="app", POSTGRES_PASSWORD="app-s3cret")
    (workspace.path / "script.sql").write_text("create table t (i int);\n")
    workspace.hive_pg("restore", "script.sql", "--yes")
    workspace.hive_pg("start")
    assert workspace.login("select count(*) from t") == "0"


# -- the lock of the machine ---------------------------------------------------------------------


def machine_lock_path(workspace, place):
    """Return where the lock on names and ports is."""
    identity = "{{.ID}}|{{.DockerRootDir}}|{{.Name}}"
    engine = run(["docker", "info", "--format", identity]).stdout.strip()
    return place / f"hive-pg-{workspace.actor.uid}-{re.sub('[^A-Za-z0-9_]', '_', engine)}.lock"


@contextlib.contextmanager
def machine_lock(workspace, place):
    """Hold the lock on names and ports as another hive-pg of the same user does."""
    path = machine_lock_path(workspace, place)
    with path.open("w") as file:
        os.chown(path, workspace.actor.uid, -1)
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(": init of /somewhere/else, process 1")
        file.flush()
        yield


def test_lock_of_the_machine_that_is_held_costs_a_warning(make, tmp_path):
    """After ten seconds it goes on, and says who has it."""
    tmp_path.chmod(0o777)
    first, second = make(), make()
    with machine_lock(first, tmp_path):
        said = second.init(TMPDIR=str(tmp_path)).stderr
    assert "waiting for another hive-pg: init of /somewhere/else, process 1\n" in said
    assert "warning: " in said
    assert second.login() == "1"


@pytest.mark.parametrize("trap", ["a link", "a directory"])
def test_lock_of_the_machine_is_not_put_into_a_trap(make, tmp_path, trap):
    """What stands in /tmp already may be a stranger's: a warning, and nothing is written there."""
    tmp_path.chmod(0o777)
    workspace, victim = make(), tmp_path / "victim"
    victim.write_text("theirs")
    victim.chmod(0o666)
    path = machine_lock_path(workspace, tmp_path)
    if trap == "a link":
        path.symlink_to(victim)
    else:
        path.mkdir(mode=0o777)
    said = workspace.init("--no-start", TMPDIR=str(tmp_path)).stderr
    assert "warning: other workspaces may choose the same name or port now" in said
    assert victim.read_text() == "theirs"


def test_name_and_port_that_docker_refuses_are_chosen_again(make, lab):
    """Somebody without the lock was faster: `init` takes other ones, and leaves the stranger's."""
    workspace = make(env="")
    mark = workspace.path.parent / "taken"
    stranger = f"{lab.token}-stranger"
    steal = (
        f"if [ ! -e {mark} ]; then touch {mark}; {shutil.which('docker')} run -d --name"
        f' "$HIVE_POSTGRES_CONTAINER" --label hive-pg-test={stranger} -p'
        f" 127.0.0.1:$HIVE_POSTGRES_PORT:5432 --entrypoint sleep {lab.image} 600 >&2; fi"
    )
    try:
        path = put_before(workspace, '"compose up"*', steal)
        said = workspace.hive_pg("init", "--image", lab.image, PATH=path).stderr
        assert len(re.findall(r"✓ .*[.]env\b.* written", said)) == 2, said
        assert workspace.login() == "1"
        (name,) = docker(
            "ps", "--filter", f"label=hive-pg-test={stranger}", "--format", "{{.Names}}"
        ).split()
        if name == workspace.container:
            raise LostError("the stranger's container was taken")
    finally:
        ids = docker("ps", "--all", "--quiet", "--filter", f"label=hive-pg-test={stranger}")
        if ids:
            docker("rm", "--force", *ids.split())
