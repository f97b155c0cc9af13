"""Looking: what status, check, stats and list find out, and how they show it."""

import json
import os
import re
import sys
import time

import pytest
from fakes import REFUSED, WAITING, WELL, make_container, recorded

import hive_pg as pg
from hive_pg import (
    CheckPoint,
    ContainerState,
    ContainerStatus,
    ExitCode,
    Health,
    Outcome,
    Probe,
    Readiness,
    ValidationResult,
    format_status,
    judge_pgvector,
)


@pytest.fixture
def up(docker, workspace):
    """Return the container of the workspace, which runs."""
    docker.containers.append(make_container(workspace=workspace))
    return docker.containers[0]


# -- status --------------------------------------------------------------------------------------

NOW = 1795449270.5 + 90061  # a day, an hour and a minute after the fake container's start


def make_status(**changes):
    """Return the status of a container that runs well, with some fields changed."""
    usual = {"container": "hive-postgres", "state": ContainerState.RUNNING}
    usual |= {"health": Health.HEALTHY, "readiness": Readiness.ACCEPTING}
    usual |= {"server_version": "16.14", "image": "agnohq/pgvector:16", "bind": "127.0.0.1"}
    usual |= {"database_url": "postgresql://ann:****@localhost:5532/hive", "host_port": 5532}
    usual |= {"data": "/w/data/postgres/pgdata", "data_reason": None}
    usual |= {"uptime_s": 90061.0, "restart_count": 2, "exit_code": None}
    usual |= {"condition": pg.Condition("hive-postgres runs (healthy)")}
    return ContainerStatus(**{**usual, **changes})


@pytest.mark.parametrize(
    ("changes", "answer", "code", "hint"),
    [
        pytest.param({}, WELL, 0, "", id="well"),
        pytest.param({"health": "starting"}, WELL, 0, "", id="accepts before the engine saw it"),
        pytest.param({"health": "unhealthy"}, WELL, 5, "{logs}", id="unhealthy"),
        pytest.param({}, REFUSED, 0, "{check}", id="refuses the password"),
        pytest.param({}, (71, ""), 5, "{check}", id="rejecting"),
        pytest.param({}, WAITING, 5, "{check}", id="no response"),
        pytest.param({}, (1, "what?"), 5, "{check}", id="not known"),
        pytest.param({"Status": "restarting"}, (1, "x"), 5, "{logs}", id="restarting"),
        pytest.param({"Status": "paused"}, (1, "x"), 3, "docker unpause", id="paused"),
        *(
            pytest.param({"Status": state}, (1, "x"), 3, "{start}", id=state)
            for state in ("exited", "created", "dead", "removing")
        ),
    ],
)
def test_status_condition(place, docker, network, changes, answer, code, hint):
    """The exit code tells up, not running, and running but not well apart; the hint fits."""
    docker.containers.append(make_container(workspace=place.directory, **changes))
    docker.answers["docker exec"] = answer
    condition = pg.read_status(place).condition
    assert condition.exit_code is ExitCode(code)
    assert condition.hint.startswith(hint) if hint else not condition.hint


def test_format_status_running():
    """Everything is there, with the password masked."""
    assert format_status(make_status()).splitlines() == [
        "container  hive-postgres",
        "state      running (healthy)",
        "readiness  accepting",
        "version    PostgreSQL 16.14",
        "url        postgresql://ann:****@localhost:5532/hive",
        "image      agnohq/pgvector:16",
        "data       /w/data/postgres/pgdata",
        "port       127.0.0.1:5532",
        "uptime     1 d 1 h",
        "restarts   2",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({"health": Health.NONE}, "state      running", id="no health check"),
        pytest.param(
            {"state": ContainerState.EXITED, "exit_code": 0},
            "state      stopped (exit code 0)",
            id="stopped",
        ),
        pytest.param(
            {"state": ContainerState.RESTARTING, "exit_code": 1},
            "state      restarting (exit code 1)",
            id="restarting",
        ),
        pytest.param({"state": ContainerState.PAUSED}, "state      paused", id="paused"),
        pytest.param(
            {"state": ContainerState.CREATED, "health": Health.STARTING},
            "state      created",
            id="created",
        ),
        pytest.param({"bind": None}, "port       5532", id="not published"),
        pytest.param({"restart_count": 0}, "restarts   0", id="no restarts"),
        pytest.param({"uptime_s": 0.0}, "uptime     0 s", id="just started"),
    ],
)
def test_format_status_line(changes, line):
    """A field says what there is to say, and no more."""
    assert line in format_status(make_status(**changes)).splitlines()


def test_read_status(place, docker, up, monkeypatch):
    """It takes two docker processes; the server is asked once, without time to wait."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    status = pg.read_status(place)
    assert docker.commands == ["docker inspect", "docker exec"]
    assert docker.calls[1].argv[-2] == "0"
    url = "postgresql+psycopg://ann:****@localhost:5532/hive"
    data = f"{os.path.join(place.directory, 'data', 'postgres')}/pgdata"
    assert status == make_status(database_url=url, restart_count=0, data=data)


def test_read_status_of_a_stopped_container(place, docker, up, network):
    """Of a stopped container nothing is asked that only a server knows; no password is given."""
    up["State"].update(Status="exited", ExitCode=1)
    status = pg.read_status(place)
    assert (status.condition.exit_code, status.exit_code) == (ExitCode.NOT_RUNNING, 1)
    assert (status.readiness, status.server_version) == (Readiness.UNKNOWN, None)
    assert status.uptime_s is None
    assert [call.stdin for call in docker.calls_of("docker exec")] == [None]
    assert network.asked == []


@pytest.mark.parametrize("state", ["created", "paused", "removing"])
def test_read_status_of_one_that_has_not_ended(place, docker, up, state):
    """It has no exit code, though Docker says 0."""
    up["State"].update(Status=state, ExitCode=0)
    docker.answers["docker exec"] = (1, f"is {state}")
    assert pg.read_status(place).exit_code is None


def test_read_status_clock_behind(place, up, monkeypatch):
    """A container from a machine whose clock is ahead has been up for no time, not for less."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert pg.read_status(place).uptime_s == 0


def test_status_of_no_container(hive, capsys):
    """Only what .env knows is shown, and the next step; in JSON the rest is null."""
    assert hive("status") == ExitCode.NOT_RUNNING
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "container  hive-postgres",
        "state      missing",
        "readiness  unknown",
        "url        postgresql://ann:****@localhost:5532/hive",
        "port       5532",
    ]
    assert err == "hint: hive-pg start\n"
    assert hive("status", "--json") == ExitCode.NOT_RUNNING
    data = json.loads(capsys.readouterr().out)
    assert data == {
        **dict.fromkeys(ContainerStatus.__annotations__.keys() - {"condition"}),
        **{"container": "hive-postgres", "state": "missing", "health": "none"},
        **{"readiness": "unknown", "host_port": 5532},
        "database_url": "postgresql+psycopg://ann:****@localhost:5532/hive",
    }


# -- check ---------------------------------------------------------------------------------------

PROBED = Probe(Readiness.ACCEPTING, None, "16.14", "0.8.5", "0.8.5")


@pytest.mark.parametrize(
    ("available", "created", "outcome", "words"),
    [
        pytest.param("0.8.5", "0.8.5", Outcome.PASSED, "0.8.5 is created", id="well"),
        pytest.param("0.8.2", "0.8.2", Outcome.PASSED, "0.8.2 is created", id="the first safe one"),
        pytest.param("0.10.0", "0.10.0", Outcome.PASSED, "0.10.0", id="two digits"),
        pytest.param("", "", Outcome.FAILED, "{init} --image pgvector/pgvector:pg16", id="none"),
        pytest.param("0.8.5", "", Outcome.WARNING, "{init} creates it", id="not created"),
        pytest.param("0.8.1", "0.8.1", Outcome.WARNING, "--image pgvector/pgvector", id="unsafe"),
        pytest.param("0.6.2", "", Outcome.WARNING, "CVE-2026-3172", id="unsafe, not created"),
        pytest.param("0.8", "0.8", Outcome.WARNING, "CVE-2026-3172", id="short version"),
        pytest.param(
            *("0.8.5", "0.6.2", Outcome.WARNING),
            "| in the database: ALTER EXTENSION vector UPDATE",
            id="image new, database old",
        ),
    ],
)
def test_judge_pgvector_versions(available, created, outcome, words):
    """PGvector is there, created and free of known holes, or the remedy says how it gets so."""
    probe = PROBED.replace(available_version=available, created_version=created)
    point = judge_pgvector(probe, "agnohq/pgvector:16")
    assert point.outcome is outcome
    assert words in f"{point.finding} | {point.remedy}"
    assert bool(point.remedy) is (outcome is not Outcome.PASSED)
    assert point.exit_code is (ExitCode.FAILED if outcome is Outcome.FAILED else ExitCode.DONE)


@pytest.mark.parametrize(
    ("available", "remedy"),
    [
        (
            "0.8.1",
            "its provider updates it, then in the database: ALTER EXTENSION vector UPDATE",
        ),
        ("0.8.5", "in the database: ALTER EXTENSION vector UPDATE"),
    ],
)
def test_judge_pgvector_elsewhere(available, remedy):
    """An update in the database helps only where the server has a safe version."""
    probe = PROBED.replace(available_version=available, created_version="0.8.1")
    point = judge_pgvector(probe, "")
    assert point.outcome is Outcome.WARNING
    assert point.remedy.startswith(remedy)


def test_judge_pgvector_elsewhere_that_lacks_its_files():
    """What is created there, and not available any more, is below the safe version, or well."""
    probe = PROBED.replace(available_version="", created_version="0.8.1")
    assert "provider" in judge_pgvector(probe, "").remedy
    assert judge_pgvector(probe.replace(created_version="0.8.5"), "").outcome is Outcome.PASSED


@pytest.mark.parametrize("available", ["", "0.8.1"], ids=["none", "unsafe"])
def test_judge_pgvector_of_another_major_version(available):
    """The image that is named can serve the data."""
    probe = PROBED.replace(server_version="17.2", available_version=available, created_version="")
    assert "{init} --image pgvector/pgvector:pg17" in judge_pgvector(probe, "postgres:17").remedy


def test_format_validation():
    """A line a point, the remedy under it, as it is written already."""
    points = [CheckPoint("a", Outcome.PASSED, "finding")]
    points += [CheckPoint("b", Outcome.FAILED, "finding", "see {a file}", ExitCode(6))]
    result = ValidationResult(False, ExitCode(6), points)
    text = pg.format_validation(result)
    assert text == "✓ a: finding\n✗ b: finding\n    see {a file}"


def outcomes(place):
    """Return the first letter of each point's outcome, the exit code, and the result."""
    result = pg.check(place)
    assert [point.name for point in result.points] == list(pg.CHECK_POINTS)
    letters = "".join(point.outcome.value[0] for point in result.points)
    return letters, int(result.exit_code), result


def test_check_running(place, docker, up, network):
    """Every point is asked, with one inspect and one exec; the port is asked once."""
    letters, code, result = outcomes(place)
    assert (letters, code, result.healthy) == ("pppppp", 0, True)
    assert docker.commands == ["docker inspect", "docker exec"]
    assert network.asked == [5532]


GONE = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
COLLATION = 'WARNING:  database "hive" has a collation version mismatch'


@pytest.mark.parametrize(
    ("change", "answer", "letters", "exit_code"),
    [
        pytest.param({}, "172.18.0.2|16.2|0.6.2|0.6.2\n", "ppppwp", 0, id="old pgvector"),
        pytest.param({}, "172.18.0.2|16.2||\n", "ppppfp", 1, id="no pgvector"),
        pytest.param({}, (0, COLLATION, WELL), "ppwppp", 0, id="a complaint of the server"),
        pytest.param({"health": "unhealthy"}, WELL, "pfpppp", 5, id="unhealthy"),
        pytest.param({"health": "unhealthy"}, REFUSED, "pfpfss", 5, id="the first that failed"),
        pytest.param({"Status": "exited"}, (1, "is not running"), "pfssss", 3, id="stopped"),
        pytest.param({"Status": "restarting"}, (1, "is restarting"), "pfssss", 5, id="restarting"),
        pytest.param({}, WAITING, "ppfsss", 5, id="no connections"),
        pytest.param({}, REFUSED, "pppfss", 6, id="credentials refused"),
        pytest.param({}, (1, GONE), "fsssss", 4, id="the daemon is gone meanwhile"),
        pytest.param({"port": 1}, WELL, "pppppf", 5, id="other port"),
    ],
)
def test_check_points(place, docker, workspace, change, answer, letters, exit_code):
    """Each point has its finding; those behind one that bars the way are skipped.

    The exit code is that of the first point that failed, and a warning is no failure.
    """
    docker.containers.append(make_container(workspace=workspace, **change))
    docker.answers["docker exec"] = answer
    found, code, result = outcomes(place)
    assert (found, code, result.healthy) == (letters, exit_code, exit_code == 0)


def test_check_without_a_container(place):
    """There is nothing behind it to ask."""
    letters, code, result = outcomes(place)
    assert (letters, code) == ("pfssss", 3)
    assert (result.points[1].finding, result.points[1].remedy) == (
        *("hive-postgres is missing", "hive-pg start"),
    )


def test_check_without_a_daemon(place, docker):
    """The first point fails with exit 4, and has the cause and the remedy."""
    gone = (1, GONE)
    docker.answers["docker inspect --type container"] = docker.answers["docker exec"] = gone
    letters, code, result = outcomes(place)
    assert (letters, code) == ("fsssss", 4)
    assert "not running" in result.points[0].finding
    assert "systemctl start docker" in result.points[0].remedy


def test_check_of_anothers_container(place, docker, tmp_path):
    """A container of another workspace fails the second point."""
    (tmp_path / "other").mkdir()
    docker.containers.append(make_container(workspace=tmp_path / "other", project="theirs"))
    letters, code, result = outcomes(place)
    assert (letters, code) == ("pfssss", 1)
    assert str(tmp_path / "other") in result.points[1].finding


def test_check_of_one_that_ends_meanwhile(place, docker, up):
    """It ran when it was looked at, and ended when it was asked."""
    docker.answers["docker exec"] = (137, "")
    point = pg.check(place).points[2]
    assert point.finding == "the container ended while it was asked"
    assert point.exit_code is ExitCode.UNHEALTHY


def test_check_of_a_crash_loop_says_why(place, docker, up):
    """What the container wrote since its last start has the cause and what helps."""
    up["State"].update(Status="restarting", ExitCode=1)
    docker.answers["docker exec"] = (1, "Container hive-postgres is restarting")
    docker.answers["docker logs"] = 'FATAL:  invalid value for parameter "shared_buffers": "x"\n'
    point = pg.check(place).points[1]
    assert "keeps restarting (exit code 1): a server setting" in point.finding
    assert point.remedy == "correct it in .env or in the compose file, then hive-pg restart"
    assert point.exit_code is ExitCode.UNHEALTHY


def test_check_of_a_crash_loop_of_unknown_cause(hive, up, docker, capsys):
    """Its last words are in the finding, for people and in JSON."""
    up["State"].update(Status="restarting", ExitCode=1)
    docker.answers["docker exec"] = (1, "Container hive-postgres is restarting")
    docker.answers["docker logs"] = "LOG:  first\nFATAL:  odd words of an extension\n\n"
    said = "keeps restarting (exit code 1): its last words are: FATAL:  odd words of an extension"
    assert hive("check") == ExitCode.UNHEALTHY
    assert f"✗ container: hive-postgres {said}\n" in capsys.readouterr().out
    assert hive("check", "--json") == ExitCode.UNHEALTHY
    points = json.loads(capsys.readouterr().out)["points"]
    assert points[1]["finding"] == f"hive-postgres {said}"


@pytest.mark.parametrize(
    ("refusal", "letter", "words"),
    [
        pytest.param(None, "p", "answers as PostgreSQL", id="no psycopg"),
        pytest.param("", "p", "and psycopg logs in", id="psycopg logs in"),
        pytest.param("FATAL: no", "f", "FATAL: no", id="psycopg does not"),
    ],
)
def test_check_with_psycopg(monkeypatch, place, up, refusal, letter, words):
    """With psycopg importable it logs in through the published port."""
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url, address, **_: refusal)
    letters, _, result = outcomes(place)
    assert letters == "ppppp" + letter
    assert words in result.points[5].finding


def test_check_of_no_workspace(tmp_path, docker):
    """A directory that is not set up has no points: it is an error, with 3."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(pg.NotSetUpError):
        pg.check(pg.Workspace(str(tmp_path / "empty"), pg.Console(), pg.Engine(docker)))
    assert docker.calls == []


def test_check_json(hive, up, docker, capsys):
    """The points have words for outcomes, and remedies as a person types them."""
    docker.answers["docker exec"] = "172.18.0.2|16.2||\n"
    assert hive("check", "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["healthy"], data["exit_code"], len(data["points"])) == (False, 1, 6)
    assert data["points"][4] == {
        **{"name": "pgvector", "outcome": "failed", "exit_code": 1},
        "finding": "image agnohq/pgvector:16 lacks it",
        "remedy": "hive-pg init --image pgvector/pgvector:pg16, or in your compose file",
    }


# -- stats: reading ------------------------------------------------------------------------------

RECORDED = recorded("stats_16.txt")
FIRST, SECOND = RECORDED[: len(RECORDED) // 2], RECORDED[len(RECORDED) // 2 :]
NONE_YET = dict.fromkeys(pg._RATES)


def read(stdout=RECORDED, code=0, stderr=""):
    """Read what the `docker exec` printed."""
    return pg.parse_samples(pg.CommandResult(code, stdout, stderr), ["login"])


def make_sample(**changes):
    """Return what a person asks for, with some fields changed."""
    first, second = read()
    return {"container": "c", **pg.build_rates(first, second), **second, **changes}


def test_parse_samples_recorded():
    """Two samples of PostgreSQL 16 in a control group of version 1, each with its own numbers."""
    first, second = read()
    elapsed = second["timestamp_seconds"] - first["timestamp_seconds"]
    assert elapsed == pytest.approx(1.024238, abs=1e-6)
    assert first["container_cpu_seconds_total"] == 3.008694463
    assert second["container_memory_bytes"] == 78770176 - 34455552
    assert second["container_memory_limit_bytes"] is None
    assert [table["table"] for table in second["tables"]] == ["items", 'od"d \\name\nx']
    assert [index["valid"] for index in second["vector_indexes"]] == [True, False]


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
def test_parse_cgroup(found, numbers):
    """Both versions give the same three numbers, None for what is not known."""
    assert tuple(pg.parse_cgroup(found).values()) == numbers


@pytest.mark.parametrize(
    ("code", "stderr", "exit_code", "message"),
    [
        pytest.param(
            *(3, "psql:<stdin>:80: ERROR:  canceling statement due to statement timeout\n", 1),
            "PostgreSQL cannot be measured: canceling statement due to statement timeout",
            id="timeout",
        ),
        pytest.param(
            *(2, 'psql: error: connection to server on socket "/s" failed: No such file\n\tIs', 5),
            "PostgreSQL does not accept connections: No such file",
            id="no server",
        ),
        pytest.param(
            2,
            'psql: error: connection to server on socket "/s" failed: FATAL:  the database system'
            " is starting up",
            *(5, "PostgreSQL does not accept connections: the database system is starting up"),
            id="starting",
        ),
        pytest.param(
            *(2, "psql: error: connection to server failed: FATAL:  sorry, too many clients", 5),
            "PostgreSQL does not accept connections: sorry, too many clients",
            id="said otherwise",
        ),
        pytest.param(
            2,
            "psql: error: connection to server failed: FATAL:  sorry, too many clients already",
            *(5, "PostgreSQL cannot be measured: all connections of the server, database or"),
            id="full",
        ),
        pytest.param(
            *(2, "psql: error: connection failed: FATAL:  password authentication failed", 6),
            "PostgreSQL cannot be measured: the server refuses the user and password in .env",
            id="refused",
        ),
        pytest.param(
            *(127, "sh: psql: not found", 1),
            "PostgreSQL cannot be measured: sh: psql: not found",
            id="no psql",
        ),
    ],
)
def test_parse_samples_error(code, stderr, exit_code, message):
    """What went wrong has its exit code, a cause or the other program's words, and a hint."""
    with pytest.raises(pg.PostgreSQLIntegrationError) as raised:
        read("", code, stderr)
    assert str(raised.value).startswith(message)
    assert raised.value.exit_code == exit_code
    assert raised.value.hint


def test_build_rates_recorded():
    """The recorded second has two transactions, those of hive-pg itself, and no rows."""
    assert pg.build_rates(*read()) == {
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


# -- stats: what people see ----------------------------------------------------------------------


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
        ("last_vacuum_timestamp_seconds", -3725, "1 h ago"),
        ("valid", True, "yes"),
        ("longest_query_seconds", 62.5, "1 min 2 s"),
        ("table", "\x1b[2J", "\\x1b[2J"),
    ],
)
def test_format_field(name, value, text):
    """The name has the unit."""
    assert pg.format_field(name, value) == text


def test_format_statistics_recorded():
    """A field a line, then tables and vector indexes."""
    sample = make_sample(longest_query_pid=7, longest_query_seconds=62)
    lines = pg.format_statistics(sample).splitlines()
    for line in (
        "cpu           1.7 %",
        "memory        42.3 MB, limit -",
        "container     c, PostgreSQL 16.14",
        "database      hive, 9.6 MB",
        "transactions  2.0/s, longest -",
        "queries       longest 1 min 2 s (pid 7)",
        "cache hits    99.5 %",
        "tables           size  live  dead    vacuum",
        "items          2.2 MB  9752   149  30 s ago",
        'od"d \\name\\nx     0 B     0     0         -',
        "items_flat           256.0 kB  ivfflat  NO     items",
    ):
        assert line in lines


def test_format_statistics_of_nothing():
    """An empty database has no tables to show, and what is not known is a dash."""
    text = pg.format_statistics(make_sample(tables=[], vector_indexes=[], **NONE_YET))
    assert "transactions  -, longest -" in text
    assert "table" not in text


@pytest.mark.parametrize("width", [60, 100])
def test_format_statistics_fits(width):
    """Whatever the numbers and names, a line fits."""
    large = 123456789012345
    sample = make_sample(container="c" * 90, database="d" * 63, server_version="16.14")
    names = {"schema": "s" * 63, "table": "t" * 63, "index": "i" * 63, "method": "ivfflat"}
    sample["tables"] = [{**sample["tables"][0], **names, "live_rows": 10**9, "size_bytes": large}]
    sample["vector_indexes"] = [{**sample["vector_indexes"][0], **names, "size_bytes": None}]
    sample.update(longest_transaction_pid=4194304, longest_transaction_seconds=86399)
    sample.update(database_size_bytes=large, wal_bytes_total=large)
    lines = pg.format_statistics(sample, width).splitlines()
    assert 58 <= max(map(len, lines)) <= width
    assert sum(line.startswith("...") for line in lines) == 2


def test_format_statistics_has_whole_names_where_there_is_room():
    """A long name can be taken from it, by a person with a wide terminal, or from a file."""
    names = {"container": "hive-development-postgres-of-ann", "database": "d" * 63}
    lines = pg.format_statistics(make_sample(**names), sys.maxsize).splitlines()
    assert lines[0] == f"container     {names['container']}, PostgreSQL 16.14"
    assert f"database      {names['database']}, 9.6 MB" in lines
    assert lines[0] == pg.format_statistics(make_sample(**names)).splitlines()[0]


# -- stats: the command --------------------------------------------------------------------------


@pytest.fixture
def stats(docker, up, hive):
    """Return a function that runs `stats` where the samples are the recorded ones."""
    docker.answers["docker exec"] = lambda call: RECORDED if call.argv[-2] == "2" else SECOND
    return lambda *argv: hive("stats", *argv)


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_stats_asks_once(capsys, stats, docker, options):
    """One inspect and one exec; the password goes into no argument or output."""
    assert stats(*options, "-v") == 0
    out, err = capsys.readouterr()
    assert docker.commands == ["docker inspect", "docker exec"]
    call = docker.calls[1]
    assert (call.argv[-2], call.env["PGPASSWORD"]) == ("2", "s3cret")
    assert "s3cret" not in out + err + "".join(call.argv)


@pytest.mark.parametrize("argv", [["stats"], ["stats", "--json"], ["list"]])
def test_command_with_a_closed_stdout(monkeypatch, capsys, stats, docker, argv):
    """There is nobody to read it, which is an error, and no traceback."""
    docker.containers[0]["Config"]["Labels"][pg.GENERATED_LABEL] = "hive-pg"
    monkeypatch.setattr(sys, "stdout", None)
    assert pg.main(argv) == 1
    assert capsys.readouterr().err.endswith("error: there is no stdout\n")


def test_stats_json(capsys, stats):
    """One object of all fields, null rather than left out."""
    assert stats("--json") == 0
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
        ("", 3, "hive-pg start"),
    ],
)
def test_stats_not_running(capsys, stats, docker, state, code, hint):
    """The exit code and the next step are those of the state, and the container is not asked."""
    docker.containers[0]["State"]["Status"] = state
    if not state:
        docker.containers.clear()
    assert stats("--json") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(f"{hint}\n")
    assert docker.calls_of("docker exec") == []


def test_stats_of_another_workspace(capsys, stats, docker, tmp_path):
    """A container that is not ours gets no password."""
    docker.containers[:] = [make_container(workspace=tmp_path, project="other")]
    assert stats() == 1
    assert docker.calls_of("docker exec") == []
    assert "has the name in .env" in capsys.readouterr().err


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


def test_stats_watch_lines(capsys, stats, docker, sleeps):
    """Where nothing can be drawn, they follow each other; the first takes two; 130, no word."""
    assert stats("--watch", "5") == 130
    out, err = capsys.readouterr()
    assert out.count("\ncpu  ") == out.count("\ncontainer  ") + 1 == 3
    assert "\x1b" not in out
    assert (err, sleeps) == ("", [5.0] * 3)
    assert [call.argv[-2] for call in docker.calls_of("docker exec")] == ["2", "1", "1"]


def test_stats_watch_json(capsys, stats, sleeps):
    """A compact object a line; the rates are those since the sample before."""
    assert stats("--watch", "0.5", "--json") == 130
    first, second, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["transactions_per_second"], second["transactions_per_second"]) == (1.953, None)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_stats_watch_terminal(monkeypatch, capsys, stats, sleeps, term):
    """On a terminal it is drawn in place; one that cannot gets lines."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert stats("--watch", "5") == 130
    out = capsys.readouterr().out
    assert out.count("\x1b[H") == out.count("\x1b[J") == (3 if term == "xterm" else 0)
    assert "\x1b[2J" not in out


def test_stats_interrupted_once(capsys, stats, docker):
    """Without --watch, Ctrl-C is an interruption like any other."""
    docker.answers["docker exec"] = KeyboardInterrupt()
    assert stats() == 130
    assert "interrupted" in capsys.readouterr().err


# -- list ----------------------------------------------------------------------------------------


def labelled(name, workspace, label=pg.GENERATED_LABEL, **changes):
    """Return a container that a generated compose file made."""
    return make_container(name, workspace, labels={label: "x"}, **changes)


def test_list_asks_docker_twice_for_fifty(hive, docker, capsys, tmp_path):
    """Whatever their number, `docker ps` and one `docker inspect`; two more are others'."""
    docker.containers += [labelled(f"pg-{n:02}", tmp_path) for n in range(50)]
    docker.containers += [make_container("web", "/w/0"), make_container("redis", project="")]
    assert hive("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)["databases"]
    assert sorted(d["container"] for d in found) == [f"pg-{n:02}" for n in range(50)]
    assert docker.commands == ["docker ps", "docker inspect"]


@pytest.mark.parametrize("label", [pg.GENERATED_LABEL, pg.WORKSPACE_LABEL])
def test_list_json_fields(hive, docker, workspace, capsys, label):
    """Either label will do; a field is null, not left out."""
    bare = labelled("bare", "", label, project="p", source="volume")
    bare["Config"]["Labels"], bare["HostConfig"] = {label: "x"}, {}
    docker.containers += [labelled("hive-postgres", workspace, label), bare]
    docker.answers["docker run"] = (1, "Unable to find image")
    assert hive("list", "--json") == 0
    bare, named = json.loads(capsys.readouterr().out)["databases"]
    assert named.pop("size_bytes") > 0
    assert named == {
        **{"workspace": str(workspace), "gone": False, "container": "hive-postgres"},
        **{"state": "running", "health": "healthy", "image": "agnohq/pgvector:16"},
        **{"bind": "127.0.0.1", "host_port": 5532},
    }
    unknown = {name for name, value in bare.items() if value is None}
    assert unknown == {"workspace", "bind", "host_port", "size_bytes"}
    assert bare["gone"] is False


def test_list_without_a_label(hive, up, capsys):
    """A container without one is not hive-pg's, whatever some .env says."""
    assert hive("list") == 0
    assert capsys.readouterr() == ("", "hive-pg has no database on this engine\n")


@pytest.mark.parametrize(
    ("directory", "known", "shown"),
    [
        pytest.param("w", "hive-postgres", True, id="its directory"),
        pytest.param("w/infra", "hive-postgres", True, id="COMPOSE_FILE in a subdirectory"),
        pytest.param("w", "another", False, id="another's name"),
        pytest.param("", "hive-postgres", False, id="without Compose"),
    ],
)
def test_list_of_an_adopted_compose_file(hive, docker, workspace, capsys, directory, known, shown):
    """A container without a label is the workspace's whose state has its name; no .env is read."""
    (workspace / "infra").mkdir()
    (workspace / ".hive-pg.json").write_text(json.dumps({"container": known}))
    (workspace / ".env").unlink()
    (workspace / ".env").mkdir()  # to read it would be an error
    place = workspace.parent / directory if directory else ""
    docker.containers.append(make_container(workspace=place))
    source = workspace / "infra" / "pg"
    source.mkdir()
    docker.containers[0]["Mounts"][0]["Source"] = str(source)
    assert hive("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)["databases"]
    assert [one["workspace"] for one in found] == [str(workspace)] * shown
    assert all(one["size_bytes"] is not None for one in found)


def test_list_through_a_link(hive, docker, workspace, capsys):
    """A state file that is a link may lead to a stranger's, and tells nothing."""
    state = workspace.parent / "state"
    state.write_text('{"container": "hive-postgres"}')
    (workspace / ".hive-pg.json").unlink(missing_ok=True)
    (workspace / ".hive-pg.json").symlink_to(state)
    docker.containers.append(make_container(workspace=workspace))
    assert hive("list") == 0
    assert capsys.readouterr().out == ""


def test_list_without_any(hive, docker, capsys):
    """No container at all is no error either, and an empty list as JSON."""
    assert hive("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"databases": []}
    assert docker.commands == ["docker ps"]


def test_list_without_docker(hive, docker, capsys):
    """Exit 4, and nothing on stdout."""
    docker.answers["docker ps"] = FileNotFoundError(2, "No such file or directory", "docker")
    assert hive("list", "--json") == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "Docker is not installed" in err


def test_list_table(monkeypatch, hive, docker, tmp_path, capsys):
    """Aligned, sorted by workspace, `~` for home; what is gone or reachable by others shows."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w").mkdir(exist_ok=True)
    gone = labelled("hive-postgres-lost", f"{tmp_path}/x/lost", Status="exited")
    here = labelled("hive-postgres", tmp_path / "w", health="unhealthy", port=5540)
    here["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] = ""
    docker.containers += [gone, here]
    assert hive("list") == 0
    out = re.sub(r"[0-9.]+ k?B", "SIZE", capsys.readouterr().out)
    image = "agnohq/pgvector:16"
    assert [re.sub(" +", " ", line) for line in out.splitlines()] == [
        "WORKSPACE STATE PORT SIZE CONTAINER IMAGE",
        f"~/w running 0.0.0.0:5540 SIZE hive-postgres {image}",
        f"~/x/lost (gone) exited 5532 - hive-postgres-lost {image}",
    ]


MOUNTED = "306 280 254:0 {} /var/lib/postgresql/data rw - ext4 /dev/vda rw\n"


@pytest.mark.parametrize(
    ("place", "own", "id_there", "shown"),
    [
        ("{}/m vd", "/ /", "1a2b", "~/m vd"),
        ("/a/m vd", "/a {}", "1a2b", "~/m vd"),
        ("/m vd", "/ {}", "1a2b", "~/m vd"),
        ("{}/m vd", "/ /", "another", "~/w (gone)"),
        ("{}/w//deleted", "/ /", "1a2b", "~/w (gone)"),
    ],
    ids=["moved", "below a mount", "of its own file system", "another's", "removed"],
)
def test_list_of_a_moved_workspace(
    monkeypatch, hive, docker, workspace, capsys, place, own, id_there, shown
):
    """While its server runs, a moved workspace is where it is now; a removed one is gone."""
    home = workspace.parent
    monkeypatch.setenv("HOME", str(home))
    docker.containers.append(labelled("pg", workspace, pg.WORKSPACE_LABEL, Status="running"))
    docker.containers[-1]["Config"]["Labels"][pg.WORKSPACE_LABEL] = "1a2b"
    mounted = MOUNTED.format(place.format(home).replace(" ", "\\040") + "/data/postgres")
    docker.answers["docker exec --interactive pg cat /proc/self/mountinfo"] = mounted
    mounts = f"1 0 254:9 / /x rw\n22 1 254:0 {own.format(home)} rw\n".encode()
    read_file = pg.read_file
    monkeypatch.setattr(pg, "read_file", lambda p: mounts if p[:5] == "/proc" else read_file(p))
    monkeypatch.chdir(home)
    workspace.rename(home / "m vd")
    state = {"id": id_there, "directory": str(workspace)}
    (home / "m vd" / ".hive-pg.json").write_text(json.dumps(state))
    assert hive("list") == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.startswith(f"{shown}  ")
    assert ("B  " in row) is (shown == "~/m vd")


def make_database(**changes):
    """Return a database of /home/ann/app, with some fields changed."""
    usual = {"workspace": "/home/ann/app", "gone": False, "container": "hive-postgres"}
    usual.update(state=ContainerState.RUNNING, health=Health.HEALTHY, host_port=5532)
    usual.update(image="agnohq/pgvector:16", bind="127.0.0.1", size_bytes=48_000_000)
    return pg.ListedDatabase(**{**usual, **changes})


LONG = {"workspace": f"/w/{'x' * 90}/app"}


@pytest.mark.parametrize(
    ("changes", "width", "begins"),
    [
        ({}, 0, "~/app      running  5532  45.8 MB  hive-postgres  agnohq/pgvector:16"),
        ({"workspace": "/home/ann"}, 0, "~  "),
        ({"workspace": "/home/annie"}, 0, "/home/annie  "),
        ({"workspace": None, "host_port": None, "bind": None}, 0, "        -  running     -  45"),
        ({"workspace": "/w/\x1b[2J\n"}, 0, "/w/\\x1b[2J\\n  "),
        (LONG, 0, f"{LONG['workspace']}  running  5532  45.8 MB  hive-postgres  agnohq/"),
        (LONG, 100, f"...{'x' * 34}/app  running  5532  45.8 MB  hive-postgres  agnohq/"),
        (LONG, 80, f"...{'x' * 34}/app  running  5532  45.8 MB  hive-postgres"),
        (LONG, 60, f"...{'x' * 29}/app  running  5532  45.8 MB"),
        ({"workspace": f"/w/{'x' * 90}", "gone": True}, 60, f"...{'x' * 26} (gone)  running"),
        ({}, 60, "~/app      running  5532  45.8 MB  hive-postgres"),
        ({}, 30, "~/app      running  5532"),
        ({}, 20, "~/app      running  5532"),
    ],
    ids="plain home beside unknown control long 100 80 60 gone 60-all 30 narrow".split(),
)
def test_format_list_row(changes, width, begins):
    """As many columns as fit, then as much of the workspace's end; a pipe gets all of it."""
    found = [make_database(**changes)]
    head, row = pg.format_list(found, "/home/ann", width or sys.maxsize).splitlines()
    assert row.startswith(begins)
    assert head.startswith("WORKSPACE  " if changes.get("workspace", "") else "")
    assert width in (0, 20) or max(len(head), len(row)) <= width
