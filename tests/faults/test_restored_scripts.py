"""What an SQL script does to the role it runs as, and to databases beside the one it is for."""

import time

import pytest
from laboratory import LostError, docker, run, wait_until
from test_interruption import kill, killer, steps_of

from hive_pg import is_locked

pytestmark = pytest.mark.engine

FACTS = """
select 'role', * from pg_authid where rolname !~ '^pg_' order by 2;
select 'setting', * from pg_db_role_setting where setdatabase = 0 or setrole > 0 order by 2, 3;
select 'membership', roleid::regrole, member::regrole, to_jsonb(m) - 'oid' from pg_auth_members m
    order by 2, 3, 4;
select 'database', oid, datname, datistemplate, datallowconn, datconnlimit from pg_database
    order by 3;
"""
PREPARE = """
create role app superuser login password 'app-s3cret' connection limit 77;
create role bob; create role eve login; create role readers; create role writers;
grant readers to app with admin option; grant app to eve;
alter role app set search_path = 'public', 'a "b"';
alter role app in database hive set work_mem = '5MB';
create database own is_template true;
create table kept as select i, md5(i::text) as word from generate_series(1, 1000) i;
"""
SCRIPTS = {
    "password": "alter role app password 'x' valid until '2001-01-01';",
    "no login": "alter role app nologin;",
    "no superuser": "alter role app nosuperuser createdb password null;",
    "attributes": "alter role app connection limit 0 noinherit nocreaterole nocreatedb bypassrls;",
    "settings": "alter role app set search_path = x; alter role app set role = bob;"
    " alter role app in database hive set default_transaction_read_only = on;",
    "settings, reset": "alter role app reset all; alter role app in database hive reset all;",
    "memberships": "grant writers to app; grant app to bob with admin option;"
    " revoke readers from app cascade; revoke app from eve;",
    "pg_dumpall": "create role more; alter role more with login password 'x'; drop role more;"
    " alter role app with nosuperuser inherit nologin password 'x';",
    "grants to everybody": "do $$ declare name name; begin for name in select rolname from pg_roles"
    " where rolcanlogin loop execute format('grant all on schema public to %I', name); end loop;"
    " end $$;",
    "renamed": "alter database hive rename to hive_old;",
    "nobody let in": "alter database hive allow_connections false connection limit 0;"
    " alter role app nologin;",
    "made anew": "update pg_database set datallowconn = false where datname = 'hive';"
    " select pg_terminate_backend(pid) from pg_stat_activity where datname = 'hive';"
    " drop database if exists hive; create database hive;",
}


def facts(workspace):
    """Return all that there is to know of roles, and of the databases that are no restore's."""
    result = workspace.trusted_as_first(FACTS)
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if "_before_" not in line]


@pytest.fixture(scope="module")
def owned(lab):
    """Give a workspace of a superuser's that is not the server's first one."""
    with lab.workspace("owned") as workspace:
        workspace.serve()
        workspace.trusted_script(PREPARE)
        first, name = workspace.env["POSTGRES_USER"], workspace.container
        argv = ["-XqAt", "-h", "127.0.0.1", "-U", first, "-d", "template1"]
        workspace.trusted_as_first = lambda sql: run(
            [*lab.psql_inside(name), *argv], stdin=None, input=sql
        )
        url = f"postgresql://app:app-s3cret@localhost:{workspace.env['HIVE_POSTGRES_PORT']}/hive"
        as_app = {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "app-s3cret"}
        workspace.edit_env(HIVE_DATABASE_URL=url, **as_app)
        workspace.hive_pg("restart")
        yield workspace


@pytest.fixture
def as_it_was(owned):
    """Give it to a test, after which role and databases are what they were."""
    owned.up()
    before = facts(owned)
    yield owned
    if facts(owned) != before:
        raise LostError("\n".join({*facts(owned)} ^ {*before}))
    owned.assert_kept()
    assert owned.memory["staging"] == owned.memory["keeper"] == ""


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_script_that_fails_changes_nobody(as_it_was, script):
    """Role, verifier, settings, memberships and databases are what they were: hive serves."""
    (as_it_was.path / "x.sql").write_text(f"create table t ();\n{script}\nselect 1/0;\n")
    said = as_it_was.hive_pg("restore", "--yes", "x.sql", code=1).stderr
    assert "hive serves as it did" in said
    as_it_was.hive_pg("check")


@pytest.mark.parametrize("script", ["password", "no login", "memberships", "grants to everybody"])
def test_script_that_succeeds_changes_its_own_database(owned, script):
    """The same where it is loaded to its end; the database is the new one."""
    before = [line for line in facts(owned) if "|hive|" not in line]
    dump = docker("exec", owned.container, "pg_dump", "-h", "127.0.0.1", "-U", "app", "hive")
    (owned.path / "x.sql").write_text(f"{SCRIPTS[script]}\ncreate table made ();\n{dump}\n")
    owned.hive_pg("restore", "--yes", "x.sql")
    owned.hive_pg("restore", "--yes", "--drop-old")
    now = [line for line in facts(owned) if "|hive|" not in line]
    assert [line for line in now if "work_mem" not in line] == [
        line for line in before if "work_mem" not in line
    ]
    assert "hive_pg_undo" not in owned.trusted("select nspacl from pg_namespace").stdout
    owned.hive_pg("check")
    owned.assert_kept()
    assert owned.login("drop table made") == ""


COMMANDS = {
    "start": ["start"],
    "init": ["init", "--yes"],
    "backup": ["backup", "-o", "x.dump"],
    "psql": ["psql", "--", "-c", "select 1"],
    "rotate": ["rotate"],
    "restore": ["restore", "--drop-old", "--yes"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_script_whose_restore_was_killed_changes_nobody(owned, command):
    """The next command undoes it, whichever it is, and drops the role that could."""
    owned.up()
    before = facts(owned)
    script = "alter database hive connection limit 0; grant app to bob;"
    script += " alter role app nologin nosuperuser password 'x'; select pg_sleep(60);"
    (owned.path / "x.sql").write_text(script)
    sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    with owned.started("restore", "--yes", "x.sql") as process:
        wait_until(lambda: owned.trusted_as_first(sleeps).stdout.strip() == "1")
        kill(process, descendants_too=True)
    assert owned.memory["keeper"].startswith("hive_pg_undo_")
    assert "SCRAM-SHA-256" not in (owned.path / ".hive-pg.json").read_text()
    said = owned.hive_pg("check", code=6).stdout  # which changes nothing
    assert "hive-pg start finishes what was begun, or undoes it" in said
    owned.hive_pg(*command)
    owned.hive_pg("restore", "--drop-old", "--yes")
    if command != ["rotate"] and facts(owned) != before:
        raise LostError("\n".join({*facts(owned)} ^ {*before}))
    assert "hive_pg_undo" not in "\n".join(facts(owned))
    assert owned.login() == "1"
    owned.hive_pg("start")
    owned.assert_kept()


def test_script_whose_restore_is_killed_at_every_step_changes_nobody(owned):
    """Wherever it is, the next start undoes all, and nobody has to remember anything."""
    owned.up()
    before = [line for line in facts(owned) if "|hive|" not in line and "work_mem" not in line]
    dump = docker("exec", owned.container, "pg_dump", "-h", "127.0.0.1", "-U", "app", "hive")
    (owned.path / "x.sql").write_text(f"alter role app nologin password 'x';\n{dump}\n")
    command = ("restore", "--yes", "x.sql")
    steps = steps_of(owned, *command)
    first = next(i for i, step in enumerate(steps) if "hive-pg.json" in step)
    steps = [s for s in steps[first:] if "json" in s or s.startswith("during docker exec")]
    assert len(steps) > 10
    for step in steps:
        owned.hive_pg(*command, argv=killer(owned, "KILL", step), code=None)
        wait_until(lambda: not is_locked(str(owned.lock_path)))
        owned.hive_pg("start")
        now = [line for line in facts(owned) if "|hive|" not in line and "work_mem" not in line]
        if [line for line in now if "_restoring_" not in line] != before:
            raise LostError(f"{step}: { ({*now} ^ {*before}) }")
        assert (owned.memory["staging"], owned.login()) == ("", "1")
    owned.hive_pg("restore", "--yes", "--drop-old")
    owned.assert_kept()


def test_database_whose_drop_was_interrupted_stands_in_nobodys_way(owned):
    """PostgreSQL alters none that is half dropped: restores go on, and --drop-old ends it."""
    owned.up()
    (owned.path / "x.sql").write_text("create table t (i int);")
    owned.hive_pg("restore", "--yes", "x.sql")
    half = "update pg_database set datconnlimit = -2 where datname ~ '_before_'"
    assert owned.trusted_as_first(half).returncode == 0
    owned.hive_pg("restore", "--yes", "x.sql")
    owned.hive_pg("restore", "--yes", "--drop-old")
    assert "_before_" not in owned.trusted_as_first("select datname from pg_database").stdout


def test_script_of_an_ordinary_role_changes_no_password(make):
    """It may change its own: that of `.env` is set again."""
    workspace = make()
    workspace.serve()
    workspace.trusted_script("create role app login createdb password 'app-s3cret';")
    workspace.trusted_script("alter database hive owner to app; alter schema public owner to app;")
    workspace.trusted_script("grant create on tablespace pg_default to app;")
    url = f"postgresql://app:app-s3cret@localhost:{workspace.env['HIVE_POSTGRES_PORT']}/hive"
    workspace.edit_env(HIVE_DATABASE_URL=url, POSTGRES_USER="app", POSTGRES_PASSWORD="app-s3cret")
    for end, code in (("select 1/0;", 1), ("", 0)):
        text = f"create table t ();\nalter role app password 'x';\n{end}\n"
        (workspace.path / "x.sql").write_text(text)
        workspace.hive_pg("restore", "--yes", "x.sql", code=code)
        workspace.hive_pg("check", code=None)
        assert workspace.login() == "1"
        time.sleep(1)  # its name has the second
