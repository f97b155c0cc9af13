"""`stats` on a real server: its numbers are those of SQL and Docker, and nothing changes."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest
from laboratory import COMMAND_TIMEOUT_S, docker, pause, read_until, run, wait_until

import hive_pg

pytestmark = pytest.mark.engine

NEWER_IMAGE = "hive-pg-test/pgvector:18"
SETUP = """
alter system set autovacuum = off;
select pg_reload_conf();
create table items (id serial primary key, embedding vector(3));
insert into items (embedding) select format('[%s,2,3]', i)::vector from generate_series(1, 5000) i;
create index items_hnsw on items using hnsw (embedding vector_l2_ops);
create index items_flat on items using ivfflat (embedding vector_l2_ops) with (lists = 10);
create table "odd ""name\\
of a table" (a int);
vacuum items;
delete from items where id <= 100;
update pg_index set indisvalid = false where indexrelid = 'items_flat'::regclass;
"""


@pytest.fixture(scope="module", params=["", NEWER_IMAGE], ids=["16", "18"])
def measured(lab, request):
    """Give a workspace whose database has vectors, dead rows, and an index that is not valid."""
    image = request.param or lab.image
    if run(["docker", "image", "inspect", image]).returncode:
        pytest.skip(f"no image {image}")
    with lab.workspace("stats") as workspace:
        workspace.init("--image", image, "--no-start")
        path = workspace.path / "docker-compose.yml"
        text = path.read_text()  # whose health check logs in, too, and would be counted
        assert "interval: 5s" in text
        workspace.write(path.name, text.replace("interval: 5s", "interval: 24h"))
        workspace.hive_pg("start")
        assert psql(workspace, SETUP).returncode == 0
        yield workspace


def psql_argv(workspace):
    """Return the argv of a psql in the container, for SQL on its stdin."""
    env = workspace.env
    argv = ["docker", "exec", "--interactive", workspace.container, "psql", "-XwqAt"]
    return [*argv, "-v", "ON_ERROR_STOP=1", "-U", env["POSTGRES_USER"], "-d", "hive"]


def psql(workspace, sql):
    """Run SQL, statement by statement."""
    return run(psql_argv(workspace), stdin=None, input=sql)


def ask(workspace, sql):
    """Return the row that SQL selects."""
    result = psql(workspace, f"select to_json(array({sql}))")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@contextlib.contextmanager
def session(workspace, sql):
    """Have a session run SQL, and end it."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(psql_argv(workspace), text=True, **pipes) as process:
        process.stdin.write(f"select pg_backend_pid(); {sql}\n")
        process.stdin.flush()
        pid = int(process.stdout.readline())
        try:
            yield pid
        finally:
            psql(workspace, f"select pg_terminate_backend({pid}, 5000)")
            process.communicate(timeout=COMMAND_TIMEOUT_S)


def stats(workspace, *options):
    """Return the one JSON object."""
    return json.loads(workspace.hive_pg("stats", "--json", *options).stdout)


# -- the numbers ---------------------------------------------------------------------------------


def test_stats_are_what_sql_says(measured):
    """Sizes, rows, vacuum and indexes are the server's own numbers."""
    sample = stats(measured)
    items = next(table for table in sample["tables"] if table["table"] == "items")
    hnsw, flat = sample["vector_indexes"]
    of_items = "from pg_stat_user_tables where relname = 'items'"
    size = "select pg_relation_size(oid) from pg_class where relname = 'items_%s'"
    for value, sql in (
        (sample["database_size_bytes"], "select pg_database_size('hive')"),
        (sample["connections_limit"], "select current_setting('max_connections')::int"),
        (sample["dead_rows"], "select sum(n_dead_tup) from pg_stat_user_tables"),
        (items["size_bytes"], "select pg_total_relation_size('items')"),
        (items["live_rows"], f"select n_live_tup {of_items}"),
        (items["dead_rows"], f"select n_dead_tup {of_items}"),
        (
            items["last_vacuum_timestamp_seconds"],
            f"select extract(epoch from last_vacuum) {of_items}",
        ),
        (hnsw["size_bytes"], size % "hnsw"),
        (flat["size_bytes"], size % "flat"),
        (
            sample["rows_deleted_total"],
            "select tup_deleted from pg_stat_database where datname = 'hive'",
        ),
        (
            sample["rows_read"],
            "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables",
        ),
    ):
        assert [value] == ask(measured, sql), sql
    assert items["dead_rows"] == 100
    assert (hnsw["index"], hnsw["method"], hnsw["valid"]) == ("items_hnsw", "hnsw", True)
    assert (flat["index"], flat["method"], flat["valid"]) == ("items_flat", "ivfflat", False)
    (version,) = ask(measured, "select current_setting('server_version')")
    assert sample["server_version"] == version.split()[0]
    assert (sample["connections"], sample["locks_waiting"]) == (0, 0)
    assert sample["longest_transaction_seconds"] is None
    assert 0.5 < sample["cache_hit_ratio"] <= 1


def test_stats_of_a_plain_role(measured):
    """To it the sessions of others are out of sight: their numbers are unknown, not 0."""
    sql = f"begin; create role plain; set role plain;\n{hive_pg._SAMPLE_SQL};\nrollback;"
    sample = json.loads(psql(measured, sql).stdout)
    assert (sample["connections"], sample["connections_active"]) == (None, None)
    assert "connections   - of 200, - active\n" in hive_pg.format_statistics(
        {"container": "x", **dict.fromkeys(hive_pg._RATES), **hive_pg.parse_cgroup({}), **sample}
    )


def test_stats_shows_who_waits_for_a_locked_table(measured):
    """A lock against readers does not stop it: the table's size is unknown then."""
    lock = "begin; create schema s; drop schema s; lock table items; select pg_sleep(60);"
    held = "select count(*) from pg_locks where granted and mode = 'AccessExclusiveLock'"
    waiting = "select count(*) from pg_locks where not granted"
    with session(measured, lock) as holder:
        wait_until(lambda: ask(measured, f"{held} and relation = 'items'::regclass") == [1])
        with session(measured, "select count(*) from items;"):
            wait_until(lambda: ask(measured, waiting) == [1])
            sample = stats(measured)
            text = measured.hive_pg("stats").stdout
    assert (sample["locks_waiting"], sample["connections"]) == (1, 2)
    assert (sample["connections_active"], sample["longest_transaction_pid"]) == (2, holder)
    assert 0 < sample["longest_transaction_seconds"] < 60
    sizes = {table["table"]: table["size_bytes"] for table in sample["tables"]}
    assert sizes == {"items": None, 'odd "name\\\nof a table': 0}
    assert [index["size_bytes"] for index in sample["vector_indexes"]] == [None, None]
    assert "locks         1 waiting\n" in text
    assert f"s (pid {holder})\n" in text


def test_stats_shows_an_idle_transaction(measured):
    """A transaction that was forgotten is the longest, though no query runs."""
    with session(measured, "begin; select 1;") as pid:
        time.sleep(1.2)
        sample = stats(measured)
    assert (sample["longest_transaction_pid"], sample["longest_query_pid"]) == (pid, None)
    assert sample["longest_transaction_seconds"] > 1
    assert sample["connections_active"] == 0


def test_stats_of_the_container_are_those_of_docker(measured):
    """CPU time grows, and memory is what `docker stats` shows."""
    sample = stats(measured)
    template = ("stats", "--no-stream", "--format", "{{.MemUsage}}", measured.container)
    value, unit = re.match(r"([0-9.]+)([A-Z]i?B)", docker(*template)).groups()
    expected = float(value) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    assert sample["container_memory_bytes"] == pytest.approx(expected, rel=0.25)
    assert 0 <= sample["container_cpu_ratio"] < os.cpu_count() + 1
    assert stats(measured)["container_cpu_seconds_total"] > sample["container_cpu_seconds_total"]


def test_stats_rates_are_those_of_the_load(measured):
    """Twenty transactions, each of ten rows read, a second; the server counts them each second."""
    load = (
        r"select count(*) from (select * from items where id between 201 and 210) x \watch i=0.05"
    )
    busy = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off;"
    with (
        session(measured, f"{busy} {load}"),
        measured.started("stats", "--json", "--watch", "4") as process,
    ):
        process.stdout.readline()
        sample = json.loads(process.stdout.readline())
    assert 2 < sample["transactions_per_second"] < 40
    rows = 10 * sample["transactions_per_second"]
    assert sample["rows_read_per_second"] == pytest.approx(rows, rel=0.5)
    assert sample["rows_written_per_second"] == 0


# -- what it does to the server ------------------------------------------------------------------


def test_stats_changes_nothing(measured):
    """No transaction of its own ever got a number, so none wrote; its session cannot, either."""
    number = "select pg_snapshot_xmax(pg_current_snapshot())::text"
    before = ask(measured, number)
    measured.hive_pg("stats")
    assert ask(measured, number) == before


def test_stats_gives_up_where_it_would_wait(measured):
    """It waits for a second, and says so: exit 1."""
    with session(measured, "begin; lock table pg_stat_wal; select pg_sleep(600);"):
        began = time.monotonic()
        result = measured.hive_pg("stats", code=1)
        assert time.monotonic() - began < 200
    assert "cannot be measured: another session has something locked" in result.stderr


def test_stats_where_the_socket_asks_for_a_password(measured):
    """It has one; a wrong one is refused with 6."""
    place = ask(measured, "select current_setting('hba_file')")[0]
    text = docker("exec", measured.container, "cat", place)
    write = ["exec", "--interactive", measured.container, "sh", "-c", f"cat > {place}"]
    docker(*write, input=text.replace("trust", "scram-sha-256") + "\n")
    reload = ["kill", "--signal", "HUP", measured.container]
    env = (measured.path / ".env").read_text()
    try:
        docker(*reload)
        wait_until(lambda: psql(measured, "select 1").returncode == 2)
        assert stats(measured)["database"] == "hive"
        password = measured.env["POSTGRES_PASSWORD"]
        measured.write(".env", env.replace(password, "x" * 32), 0o600)
        assert "hint: " in measured.hive_pg("stats", code=6).stderr
    finally:
        measured.write(".env", env, 0o600)
        docker(*write, input=text + "\n")
        docker(*reload)
        wait_until(lambda: psql(measured, "select 1").returncode == 0)


# -- --watch, and no server ----------------------------------------------------------------------


def test_watch_in_a_pipe_prints_all(measured):
    """A sample follows the other; Ctrl-C ends it with 130, without a word."""
    with measured.started("stats", "--watch", "0.2") as process:
        heads = (line for line in process.stdout if line.startswith("container  "))
        assert [next(heads) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    said = [line for line in stderr.splitlines() if "measuring … " not in line]  # for that long
    assert (process.returncode, said) == (130, [])


def test_watch_on_a_terminal_draws_in_place(measured):
    """It starts at the top each time, and leaves a line of its own for the prompt."""
    ours, theirs = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    env = measured.environment(TERM="xterm", COLUMNS="60", LINES="10")
    with measured.started("stats", "--watch", "0.2", env=env, **streams) as process:
        os.close(theirs)
        screen = b"".join(read_until(ours, b"\x1b[J") for _ in range(3))
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while block := os.read(ours, 65536):
                screen += block
        process.wait(timeout=COMMAND_TIMEOUT_S)
    os.close(ours)
    first, *frames = screen.decode().split("\x1b[H\x1b[J")
    assert re.fullmatch(r"(.*measuring … [0-9.]+ s)+\r\x1b\[K", first)
    assert process.returncode == 130
    assert b"interrupted" not in screen
    for frame in frames:
        *lines, _ = frame.split("\r\n")
        assert len(lines) == 9 + (frame is frames[-1])
        assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize(
    ("do", "undo", "hint"),
    [
        (pause, "unpause", "docker unpause"),
        (lambda container: docker("stop", container), "start", "hive-pg start"),
    ],
    ids=["paused", "stopped"],
)
def test_stats_without_a_server(measured, do, undo, hint):
    """Exit 3 with the next step; a watch that runs ends with it."""
    with measured.started("stats", "--watch", "3") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)  # or it may measure again meanwhile
        do(measured.container)
        process.send_signal(signal.SIGCONT)
        try:
            _, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
            result = measured.hive_pg("stats", "--json", code=3)
        finally:
            docker(undo, measured.container)
    assert result.stdout == ""
    assert re.search(f"error: container .* is .*\nhint: {hint}", result.stderr)
    assert process.returncode in (1, 3, 5)
    assert "Traceback" not in stderr
    wait_until(lambda: psql(measured, "select 1").returncode == 0)
