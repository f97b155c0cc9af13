"""A database with some of everything, and how to tell whether two of them are the same.

HIVE_PG_TEST_ROWS is how many rows its largest table has: 1,400,000 are 100 MB.
"""

from __future__ import annotations

import os
import re
import subprocess

from laboratory import LostError, docker, wait_until

# What a row may say, without being what it looks like.
ODD_ROWS = [
    "drop database hive;",
    "\\connect postgres",
    "\\.",
    'it\'s $$ "so" -- /* \\',
    "a;\ndrop database hive;\n\\c postgres\ncreate database x;\n",
    "",
]
ROWS = int(os.environ.get("HIVE_PG_TEST_ROWS", "1000"))
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'"})
_ODD = ", ".join(f"(E'{row.translate(_ESCAPES)}')" for row in ODD_ROWS)

SCRIPT = f"""\
create table kept as select i, md5(i::text) as word from generate_series(1, {ROWS}) i;
create table odd (line text);
insert into odd values {_ODD}, (null);
create schema "Other Schema";
create table "Other Schema".item (
    id serial primary key, embedding vector(3), changed timestamptz, "Größe" numeric check (id > 0)
);
create index on "Other Schema".item using hnsw (embedding vector_l2_ops);
create function touch() returns trigger language plpgsql as $body$
begin
    -- drop database hive;
    new.changed := '2026-01-01 00:00+00';
    return new;
end $body$;
create trigger touch before insert or update on "Other Schema".item
    for each row execute function touch();
insert into "Other Schema".item (embedding, "Größe")
    select array[i, i * 2, 1]::vector(3), i / 7.0 from generate_series(1, 200) i;
create view near as select id from "Other Schema".item order by embedding <-> '[1,2,3]' limit 5;
comment on view near is 'it''s; drop database x';
select lo_from_bytea(0, decode(repeat(md5(i::text), 100), 'hex')) from generate_series(1, 3) i;
"""
FINGERPRINT = """
set timezone = 'UTC';
set datestyle = iso;
set search_path = public;
select md5(string_agg(line, '|' order by line)) from (
    select 'kept' || k::text as line from kept k
    union all select 'odd' || o::text from odd o
    union all select 'item' || i::text from "Other Schema".item i
    union all select 'near' || n::text from near n
    union all select 'lo' || md5(lo_get(oid)) from pg_largeobject_metadata
    union all select 'sequence' || last_value from "Other Schema".item_id_seq
    union all select 'index' || pg_get_indexdef(indexrelid) from pg_index
        where indexrelid >= 16384 and indrelid::regclass::text !~ 'pg_toast'
    union all select 'trigger' || pg_get_triggerdef(oid) from pg_trigger
    union all select 'function' || pg_get_functiondef('touch'::regproc)
    union all select 'comment' || obj_description('near'::regclass)
    union all select 'extension' || extname || extversion from pg_extension
) as lines
"""


def fill(workspace):
    """Put some of everything into a workspace's database; return what it is to be like."""
    # Without the checkpoint a sequence goes on 32 numbers later when the server is killed.
    workspace.trusted_script(f"{SCRIPT}checkpoint;\n")
    return fingerprint(workspace)


def fingerprint(workspace):
    """Return a checksum of all that a database holds."""
    result = workspace.trusted(FINGERPRINT)
    if result.returncode:
        raise LostError(f"the database cannot be read: {result.stderr}")
    return result.stdout.strip()


def assert_same(workspace, before, *, restoring=False):
    """Make sure that the database is what it was, and that no half of another is beside it."""
    if fingerprint(workspace) != before:
        raise LostError("the database is not what it was")
    if not restoring:
        assert [name for name in databases(workspace) if "_restoring_" in name] == []


def databases(workspace):
    """Return the names of the databases, but for the server's own."""
    sql = "select datname from pg_database where datname !~ '^(template|postgres$)' order by 1"
    result = workspace.trusted(sql)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def drop_kept(workspace):
    """Drop what restores have kept."""
    for name in databases(workspace):
        if "_before_" in name:
            workspace.trusted(f'drop database "{name}"')


def programs_in(workspace):
    """Return what runs in the container, but for the server's own processes."""
    lines = docker("top", workspace.container, "-eo", "pid,args").splitlines()[1:]
    names = [line.split(None, 1)[1] for line in lines]
    return [name for name in names if not re.match("postgres|sh -c .*pg_isready|pg_isready", name)]


def assert_no_program(workspace):
    """Make sure that nothing goes on in the container for nobody."""
    wait_until(lambda: not programs_in(workspace))


def dump_of(workspace, *options, database=None):
    """Return what the image's own pg_dump writes."""
    argv = ["docker", "exec", workspace.container, "pg_dump", "-h", "127.0.0.1"]
    argv += ["-U", workspace.env["POSTGRES_USER"], *options]
    argv += ["-d", database or workspace.env["POSTGRES_DB"]]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60).stdout
