"""`stats`: what a sample says, rates, formats, and how the engine is asked for one."""

import json
import sys
import time

import pytest
from fakes import make_container, recorded

import hive_pg as pg

RECORDED = recorded("stats_16.txt")
FIRST, SECOND = RECORDED[: len(RECORDED) // 2], RECORDED[len(RECORDED) // 2 :]
NONE_YET = dict.fromkeys(pg._RATES)


def read(stdout=RECORDED, code=0, stderr=""):
    """Read what the `docker exec` printed."""
    return pg.read_samples(pg.CommandResult(["docker", "exec"], code, stdout, stderr))


def make_sample(**changes):
    """Return what a person asks for, with some fields changed."""
    first, second = read()
    return {"container": "c", **pg.build_rates(first, second), **second, **changes}


# -- reading -------------------------------------------------------------------------------------


def test_read_samples_recorded():
    """Two samples of PostgreSQL 16 in a control group of version 1, each with its own numbers."""
    first, second = read()
    assert second["timestamp_seconds"] - first["timestamp_seconds"] == pytest.approx(
        1.024238, abs=1e-6
    )
    assert first["container_cpu_seconds_total"] == 3.008694463
    assert second["container_memory_bytes"] == 78770176 - 34455552
    assert second["container_memory_limit_bytes"] is None
    assert [table["table"] for table in second["tables"]] == ["items", 'od"d \\name\nx']
    assert [index["valid"] for index in second["vector_indexes"]] == [True, False]


def test_metrics_are_the_numbers_of_a_sample():
    """Each metric is a field, and each counter is a metric."""
    sample = make_sample()
    names = {*sample, *(f"table_{name}" for name in sample["tables"][0])}
    names |= {f"vector_index_{name}" for name in sample["vector_indexes"][0]}
    assert set(pg._METRICS) <= names
    assert {name for name in names if name.endswith("_total")} <= set(pg._METRICS)


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        pytest.param({}, (None, None, None), id="nothing can be read"),
        pytest.param({"usage_usec": 5}, (None, None, None), id="the machine's own group"),
        pytest.param(
            {"usage_usec": 2500000, "memory.current": 9, "inactive_file": 4, "memory.max": 20},
            (2.5, 5, 20),
            id="version 2",
        ),
        pytest.param(
            {
                "cpuacct.usage": 2500000000,
                "memory.usage_in_bytes": 9,
                "memory.limit_in_bytes": 9223372036854771712,
                "inactive_file": 1,
                "total_inactive_file": 4,
            },
            (2.5, 5, None),
            id="version 1 without a limit",
        ),
    ],
)
def test_read_cgroup_table(found, numbers):
    """Both versions give the same three numbers, None for what is not known."""
    assert tuple(pg.read_cgroup(found).values()) == numbers


@pytest.mark.parametrize(
    ("code", "stderr", "error", "message"),
    [
        pytest.param(
            3,
            "psql:<stdin>:80: ERROR:  canceling statement due to statement timeout\n",
            pg.PostgreSQLIntegrationError,
            "cannot be measured: canceling statement due to statement timeout",
            id="timeout",
        ),
        pytest.param(
            2,
            'psql: error: connection to server on socket "/s" failed: No such file\n\tIs the',
            pg.DatabaseConnectionError,
            "does not accept connections: No such file",
            id="no server",
        ),
        pytest.param(
            2,
            'psql: error: connection to server on socket "/s" failed: FATAL:  the database system'
            " is starting up",
            pg.DatabaseConnectionError,
            "does not accept connections: the database system is starting up",
            id="starting",
        ),
        pytest.param(
            2,
            "psql: error: connection to server failed: FATAL:  sorry, too many clients already",
            pg.DatabaseConnectionError,
            "all of the server's connections are in use",
            id="full",
        ),
        pytest.param(
            127,
            "sh: psql: not found",
            pg.DockerCommandError,
            "cannot ask the container: sh: psql: not found",
            id="no psql",
        ),
    ],
)
def test_read_samples_error(code, stderr, error, message):
    """What went wrong is told in the other program's words."""
    with pytest.raises(pg.PostgreSQLIntegrationError) as raised:
        read("", code, stderr)
    assert type(raised.value) is error
    assert message in str(raised.value)


# -- rates ---------------------------------------------------------------------------------------


def test_build_rates_recorded():
    """The recorded second has two transactions, those of hive-pg itself, and no rows."""
    rates = pg.build_rates(*read())
    assert rates == {
        "transactions_per_second": 1.953,
        "rows_read_per_second": 0.0,
        "rows_written_per_second": 0.0,
        "wal_bytes_per_second": 0.0,
        "container_cpu_ratio": 0.017,
    }


@pytest.mark.parametrize(
    ("before", "now", "rate"),
    [
        pytest.param(
            {"timestamp_seconds": 0.0, "rows_read": 5},
            {"timestamp_seconds": 2.0, "rows_read": 10},
            2.5,
            id="grew",
        ),
        pytest.param({"timestamp_seconds": 2.0}, {"timestamp_seconds": 2.0}, None, id="one sample"),
        pytest.param({"rows_read": 9}, {"rows_read": 1}, None, id="began anew"),
        pytest.param({"rows_read": None}, {"rows_read": 1}, None, id="unknown"),
    ],
)
def test_build_rates_table(before, now, rate):
    """A rate is a difference over time, None where there is none."""
    first, second = read()
    assert pg.build_rates({**first, **before}, {**second, **now})["rows_read_per_second"] == rate


# -- what people see -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rows", None, "-"),
        ("size_bytes", 0, "0 B"),
        ("size_bytes", 1023, "1023 B"),
        ("size_bytes", 1024, "1.0 kB"),
        ("size_bytes", 5 * 1024**5, "5120.0 TB"),
        ("wal_bytes_per_second", 2048.0, "2.0 kB/s"),
        ("transactions_per_second", 12.34, "12.3/s"),
        ("container_cpu_ratio", 1.5, "150.0 %"),
        ("transactions_per_second", 1234.56, "1235/s"),
        ("last_vacuum_timestamp_seconds", 0.5, "1970-01-01 00:00:00Z"),
        ("valid", True, "yes"),
        ("longest_query_seconds", 62.5, "1 min 2 s"),
        ("table", "\x1b[2J", "?[2J"),
    ],
)
def test_format_field_table(name, value, text):
    """The name has the unit."""
    assert pg.format_field(name, value) == text


def test_format_statistics_recorded():
    """A field a line, then tables and vector indexes."""
    sample = make_sample(longest_query_pid=7, longest_query_seconds=62)
    lines = pg.format_statistics(sample).splitlines()
    for line in (
        "cpu           1.7 %",
        "memory        42.3 MB, limit -",
        "database      hive, 9.6 MB, PostgreSQL 16.14",
        "transactions  2.0/s, longest -",
        "queries       longest 1 min 2 s (pid 7)",
        "cache hits    99.5 %",
        "public.items                 2.2 MB        9752        149  2026-11-24 04:21:54Z",
        'public.od"d \\name?x             0 B           0          0  -',
        "public.items_flat          256.0 kB     ivfflat         NO  items",
    ):
        assert line in lines


def test_format_statistics_of_nothing():
    """An empty database has no tables to show, and what is not known is a dash."""
    sample = make_sample(tables=[], vector_indexes=[], **NONE_YET)
    text = pg.format_statistics(sample)
    assert "transactions  -, longest -" in text
    assert "table" not in text


def test_format_statistics_fits():
    """Whatever the numbers and names, a line has 80 columns at most."""
    large = 123456789012345
    sample = make_sample(container="c" * 90, database="d" * 63, server_version="16.14")
    names = {"schema": "s" * 63, "table": "t" * 63, "index": "i" * 63, "method": "ivfflat"}
    sample["tables"] = [{**sample["tables"][0], **names, "live_rows": 10**9, "size_bytes": large}]
    sample["vector_indexes"] = [{**sample["vector_indexes"][0], **names, "size_bytes": None}]
    sample.update(longest_transaction_pid=4194304, longest_transaction_seconds=86399)
    sample.update(database_size_bytes=large, wal_bytes_total=large)
    text = pg.format_statistics(sample)
    assert max(map(len, text.splitlines())) <= 80
    assert "sss..." in text


def test_format_statistics_line():
    """Where nothing can be drawn, a sample is one line."""
    line = pg.format_sample(make_sample(), pg._STATISTICS_LINE)
    assert line == "2026-11-24 04:22:25Z  0/200 clients  2.0/s tx  0.0/s rows  CPU 1.7 %"


def test_format_screen_replaces():
    """Lines are overwritten from the top and what is below goes; nothing wraps or scrolls."""
    text = pg.format_screen("abcdef\ngh\nij\nkl", 4, 4)
    assert text == "\x1b[Habcd\x1b[K\ngh\x1b[K\nij\x1b[J"


# -- Prometheus ----------------------------------------------------------------------------------


def test_format_prometheus_recorded():
    """HELP and TYPE before the samples of a metric, labels escaped, unknown values left out."""
    lines = pg.format_prometheus(make_sample()).split("\n")
    place = 'container="c",database="hive"'
    table = r'schema="public",table="od\"d \\name\nx"'
    for line in (
        "# HELP hive_pg_transactions_committed_total Transactions committed.",
        "# TYPE hive_pg_transactions_committed_total counter",
        f"hive_pg_transactions_committed_total{{{place}}} 105.0",
        "# TYPE hive_pg_cache_hit_ratio gauge",
        f"hive_pg_table_dead_rows{{{place},{table}}} 0.0",
        f'hive_pg_vector_index_valid{{{place},schema="public",table="items",'
        'index="items_flat",method="ivfflat"} 0.0',
    ):
        assert line in lines
    assert not any("memory_limit" in line or "None" in line for line in lines)
    assert not any("per_second" in line for line in lines)
    named = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert named == [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))


# -- the manager and the command -----------------------------------------------------------------


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs `stats` on the fake engine, in the workspace."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.chdir(workspace)
    docker.containers.append(make_container(workspace=workspace))
    docker.answers["docker exec"] = lambda call: RECORDED if call.argv[-2] == "2" else SECOND
    return lambda *argv: pg.main(["stats", *argv])


@pytest.mark.parametrize(
    ("option", "count"),
    [((), "2"), (("--json",), "2"), (("--prometheus",), "1")],
    ids=["text", "json", "prometheus"],
)
def test_command_stats_asks_once(capsys, hive, docker, option, count):
    """One inspect and one exec; the password goes through stdin, into no argument or output."""
    assert hive(*option, "-v") == 0
    out, err = capsys.readouterr()
    assert docker.commands == ["docker inspect", "docker exec"]
    call = docker.calls[1]
    assert call.argv[-2] == count
    assert call.stdin == "s3cret\n"
    assert "s3cret" not in out + err + "".join(call.argv)


@pytest.mark.parametrize("argv", [["stats"], ["stats", "--json"], ["list"]])
def test_command_with_a_closed_stdout(monkeypatch, hive, argv):
    """There is nobody to read it, and no traceback."""
    monkeypatch.setattr(pg.sys, "stdout", None)
    assert pg.main(argv) == 0


def test_command_stats_json(capsys, hive):
    """One object of all fields, null rather than left out."""
    assert hive("--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["container"] == "hive-postgres"
    assert data["transactions_per_second"] == 1.953
    assert data["longest_query_seconds"] is None


@pytest.mark.parametrize(
    ("state", "code", "hint"),
    [
        ("exited", 3, "hive-pg start"),
        ("paused", 3, "docker unpause hive-postgres"),
        ("restarting", 5, "hive-pg logs"),
        ("", 3, "start"),
    ],
)
def test_command_stats_not_running(capsys, hive, docker, state, code, hint):
    """It is exit 3 with the next step, and the container is not asked."""
    docker.containers[0]["State"]["Status"] = state
    if not state:
        docker.containers.clear()
    assert hive("--json") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(f"{hint}\n")
    why = ["docker logs"] if state == "restarting" else []
    assert docker.commands == ["docker inspect", *why]


def test_command_stats_of_another_workspace(capsys, hive, docker):
    """A container that is not ours gets no password."""
    docker.containers[:] = [make_container(workspace="/", project="other")]
    assert hive() == 1
    assert docker.commands == ["docker inspect"]
    assert "has the name that .env says" in capsys.readouterr().err


@pytest.fixture
def sleeps(monkeypatch):
    """Count the pauses; the third is interrupted."""
    pauses = []

    def sleep(pause):
        pauses.append(pause)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    return pauses


def test_command_stats_watch_lines(capsys, hive, docker, sleeps):
    """Where nothing can be drawn, a line a sample: the first takes two; 130 without a word."""
    assert hive("--watch", "5") == 130
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out
    assert (err, sleeps) == ("", [5.0] * 3)
    assert [call.argv[-2] for call in docker.calls_of("docker exec")] == ["2", "1", "1"]


def test_command_stats_watch_json(capsys, hive, sleeps):
    """A compact object a line; the rates are those since the sample before."""
    assert hive("--watch", "0.5", "--json") == 130
    first, second, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["transactions_per_second"], second["transactions_per_second"]) == (1.953, None)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_command_stats_watch_terminal(monkeypatch, capsys, hive, sleeps, term):
    """On a terminal it is drawn in place; one that cannot gets lines."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert hive("--watch", "5") == 130
    out = capsys.readouterr().out
    assert out.count("\x1b[H") == out.count("\x1b[J") == (3 if term == "xterm" else 0)
    assert "\x1b[2J" not in out


def test_command_stats_interrupted_once(capsys, hive, docker):
    """Without --watch, Ctrl-C is an interruption like any other."""
    docker.answers["docker exec"] = KeyboardInterrupt()
    assert hive() == 130
    assert "interrupted" in capsys.readouterr().err
