"""What people and programs see of a container, a check and a setup."""

import json

import pytest
from fakes import make_info, make_settings, make_url

from hive_pg import (
    CHECK_POINTS,
    CheckPoint,
    ContainerState,
    ContainerStatus,
    DockerNotAvailableError,
    ExitCode,
    Health,
    Outcome,
    Probe,
    Readiness,
    ValidationResult,
    build_status,
    failed_point,
    format_duration,
    format_json,
    format_next_steps,
    format_status,
    format_validation,
    judge_container,
    judge_pgvector,
    judge_port,
)

WELL = Probe(Readiness.ACCEPTING, None, "16.14", "0.8.5", "0.8.5")
SYMBOLS = dict(zip(Outcome, "+!x-"))


@pytest.mark.parametrize(
    ("changes", "finding", "exit_code", "remedy"),
    [
        pytest.param({}, "runs (healthy)", 0, "", id="healthy"),
        pytest.param({"health": Health.NONE}, "runs (no health check)", 0, "", id="no check"),
        pytest.param({"health": Health.STARTING}, "health check pending", 0, "", id="starting"),
        pytest.param(
            {"health": Health.UNHEALTHY},
            "but its health check fails",
            5,
            "hive-pg logs",
            id="unhealthy",
        ),
        pytest.param(
            {"state": ContainerState.RESTARTING}, "keeps restarting", 5, "hive-pg logs", id="loop"
        ),
        pytest.param(None, "is missing", 3, "hive-pg start", id="missing"),
        pytest.param(
            {"state": ContainerState.PAUSED},
            "is paused",
            3,
            "docker unpause hive-postgres",
            id="paused",
        ),
        *(
            pytest.param({"state": state}, f"is {state.value}", 3, "hive-pg start", id=state.value)
            for state in (
                ContainerState.CREATED,
                ContainerState.EXITED,
                ContainerState.DEAD,
                ContainerState.REMOVING,
            )
        ),
    ],
)
def test_judge_container_state(changes, finding, exit_code, remedy):
    """A container runs and no health check fails, or the finding says what else, and what helps."""
    point = judge_container(None if changes is None else make_info(**changes), "hive-postgres")
    assert finding in point.finding
    assert (point.exit_code, point.remedy) == (exit_code, remedy)
    assert point.outcome is (Outcome.FAILED if exit_code else Outcome.PASSED)


@pytest.mark.parametrize(
    ("available", "created", "outcome", "words"),
    [
        pytest.param("0.8.5", "0.8.5", Outcome.PASSED, "0.8.5 is created", id="well"),
        pytest.param("0.8.2", "0.8.2", Outcome.PASSED, "0.8.2 is created", id="the first safe one"),
        pytest.param("0.10.0", "0.10.0", Outcome.PASSED, "0.10.0", id="two digits"),
        pytest.param("", "", Outcome.FAILED, "hive-pg init --image agnohq", id="none"),
        pytest.param("0.8.5", "", Outcome.WARNING, "hive-pg init creates it", id="not created"),
        pytest.param("0.8.1", "0.8.1", Outcome.WARNING, "--image pgvector/pgvector", id="unsafe"),
        pytest.param("0.6.2", "", Outcome.WARNING, "CVE-2026-3172", id="unsafe, not created"),
        pytest.param("0.8", "0.8", Outcome.WARNING, "CVE-2026-3172", id="short version"),
        pytest.param(
            "0.8.5",
            "0.6.2",
            Outcome.WARNING,
            "in the database: ALTER EXTENSION vector UPDATE",
            id="image new, database old",
        ),
    ],
)
def test_judge_pgvector_versions(available, created, outcome, words):
    """PGvector is there, created and free of known holes, or the remedy says how it gets so."""
    probe = WELL.replace(available_version=available, created_version=created)
    point = judge_pgvector(probe, "agnohq/pgvector:16")
    assert point.outcome is outcome
    assert words in f"{point.finding} | {point.remedy}"
    assert bool(point.remedy) is (outcome is not Outcome.PASSED)
    assert point.exit_code is (ExitCode.FAILED if outcome is Outcome.FAILED else ExitCode.DONE)


def test_judge_pgvector_update_alone():
    """Where the image is new enough, no other image is recommended."""
    point = judge_pgvector(WELL.replace(created_version="0.6.2"), "x")
    assert "--image" not in point.remedy


@pytest.mark.parametrize(
    ("ports", "finding"),
    [
        pytest.param([("127.0.0.1", 5532)], "", id="the URL's"),
        pytest.param([("127.0.0.1", 1), ("0.0.0.0", 5532)], "", id="one of two"),
        pytest.param([("127.0.0.1", 1)], "the container is published on port 1", id="another"),
        pytest.param([], "", id="none that is known"),
    ],
)
def test_judge_port_published(ports, finding):
    """A container on another port than the URL's is found out without asking that port."""
    assert judge_port(make_info(ports=ports), make_url()) == finding


def test_failed_point_error():
    """A point that failed has the error's message, hint and exit code."""
    error = DockerNotAvailableError("gone", hint="start it")
    expected = CheckPoint("docker", Outcome.FAILED, "gone", "start it", ExitCode(4))
    assert failed_point("docker", error) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, False, id="runs"),
        pytest.param({"state": ContainerState.RESTARTING}, True, id="restarting"),
        pytest.param({"restart_count": 3}, False, id="healthy since"),
        pytest.param({"restart_count": 3, "health": Health.STARTING}, True, id="between two"),
        pytest.param({"restart_count": 3, "health": Health.UNHEALTHY}, True, id="unhealthy"),
        pytest.param({"restart_count": 3, "health": Health.NONE}, False, id="nobody knows"),
        pytest.param(
            {"restart_count": 3, "state": ContainerState.EXITED, "health": Health.STARTING},
            False,
            id="ended",
        ),
    ],
)
def test_container_info_restarting(changes, expected):
    """A container is in a loop also in the moment in which it runs."""
    assert make_info(**changes).restarting is expected


# -- status --------------------------------------------------------------------------------------

NOW = 1795449270.0 + 90061


def status_of(probe=WELL, **changes):
    """Return the status of a container that started a day, an hour and a minute ago."""
    info = make_info(started_at=NOW - 90061, **changes)
    return build_status(make_settings(), info, probe, NOW)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        pytest.param(status_of(), 0, id="well"),
        pytest.param(status_of(health=Health.NONE), 0, id="no health check"),
        pytest.param(status_of(health=Health.STARTING), 0, id="accepting before the engine saw it"),
        pytest.param(status_of(health=Health.UNHEALTHY), 5, id="unhealthy contains healthy"),
        pytest.param(status_of(Probe(Readiness.REJECTING)), 5, id="rejecting"),
        pytest.param(status_of(Probe(Readiness.NO_RESPONSE)), 5, id="no response"),
        pytest.param(status_of(Probe(Readiness.UNKNOWN)), 5, id="not known"),
        pytest.param(status_of(state=ContainerState.RESTARTING), 5, id="restarting"),
        pytest.param(status_of(state=ContainerState.EXITED), 3, id="exited"),
        pytest.param(status_of(state=ContainerState.PAUSED), 3, id="paused"),
        pytest.param(status_of(state=ContainerState.CREATED), 3, id="created"),
        pytest.param(build_status(make_settings(), None, WELL, NOW), 3, id="missing"),
    ],
)
def test_container_status_verdict(status, verdict):
    """The exit code tells up, not running, and running but not well apart."""
    assert status.verdict is ExitCode(verdict)


def test_format_status_running():
    """Everything is there, with the password masked."""
    assert format_status(status_of(restart_count=2)).splitlines() == [
        "container  hive-postgres",
        "state      running (healthy)",
        "readiness  accepting",
        "version    PostgreSQL 16.14",
        "url        postgresql+psycopg://ann:****@localhost:5532/hive",
        "image      agnohq/pgvector:16",
        "port       127.0.0.1:5532",
        "uptime     1 d 1 h",
        "restarts   2",
    ]


def test_format_status_missing():
    """Of a container that is not there, only what .env knows is shown."""
    text = format_status(build_status(make_settings(), None, Probe(Readiness.UNKNOWN), NOW))
    assert text.splitlines() == [
        "container  hive-postgres",
        "state      missing",
        "readiness  unknown",
        "url        postgresql+psycopg://ann:****@localhost:5532/hive",
        "port       5532",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({"health": Health.NONE}, "state      running", id="no health check"),
        pytest.param(
            {"state": ContainerState.EXITED, "exit_code": 1},
            "state      exited (exit code 1)",
            id="exited",
        ),
        pytest.param({"ports": []}, "port       5532", id="not published"),
    ],
)
def test_format_status_line(changes, line):
    """A field says what there is to say, and no more."""
    assert line in format_status(status_of(**changes)).splitlines()


def test_build_status_clock_behind():
    """A container from a machine whose clock is ahead has been up for no time, not for less."""
    assert build_status(make_settings(), make_info(started_at=NOW + 5), WELL, NOW).uptime_s == 0


def test_format_json_status():
    """Every field of the record is there, null where there is nothing to say, no enums left."""
    status = build_status(make_settings(), None, Probe(Readiness.UNKNOWN), NOW)
    data = json.loads(format_json(status))
    assert data == {
        "container": "hive-postgres",
        "state": "missing",
        "health": "none",
        "readiness": "unknown",
        "server_version": None,
        "database_url": "postgresql+psycopg://ann:****@localhost:5532/hive",
        "image": None,
        "bind": None,
        "host_port": 5532,
        "uptime_s": None,
        "restart_count": None,
        "exit_code": None,
    }
    assert list(data) == list(ContainerStatus.__annotations__)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(ExitCode.UNHEALTHY, 5, id="number of an enum"),
        pytest.param([Outcome.PASSED, "x"], ["passed", "x"], id="list"),
        pytest.param((None, 1.5), [None, 1.5], id="tuple"),
        pytest.param({"a": 1}, {"a": 1}, id="dictionary"),
    ],
)
def test_format_json_value(value, expected):
    """Enums are their values, sequences lists, the rest itself."""
    assert json.loads(format_json(value)) == expected


def test_format_json_text():
    """JSON is indented for people, and keeps their letters."""
    assert format_json({"a": "ä"}) == '{\n  "a": "ä"\n}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3605, "1 h 5 s"),
        (86400, "1 d"),
        (400 * 86400, "400 d"),
    ],
)
def test_format_duration_units(seconds, text):
    """A duration is in its two largest units, without empty ones."""
    assert format_duration(seconds) == text


# -- check ---------------------------------------------------------------------------------------


def point(name, outcome=Outcome.PASSED, exit_code=ExitCode.DONE):
    """Return a point of a check."""
    return CheckPoint(name, outcome, "finding", "remedy" if exit_code else "", exit_code)


@pytest.mark.parametrize(
    ("points", "exit_code"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([point("a"), point("b", Outcome.WARNING)], 0, id="a warning is no failure"),
        pytest.param([point("a", Outcome.SKIPPED)], 0, id="skipped"),
        pytest.param(
            [point("a"), point("b", Outcome.FAILED, ExitCode(6)), point("c", Outcome.SKIPPED)],
            6,
            id="failed",
        ),
        pytest.param(
            [point("a", Outcome.FAILED, ExitCode(5)), point("b", Outcome.FAILED, ExitCode(6))],
            5,
            id="the first that failed",
        ),
    ],
)
def test_validation_result_exit_code(points, exit_code):
    """The exit code is that of the first point that failed."""
    result = ValidationResult(points)
    assert result.exit_code is ExitCode(exit_code)
    assert result.healthy is (exit_code == 0)


def test_format_validation_lines():
    """A line a point, the remedy under it."""
    result = ValidationResult([point("a"), point("b", Outcome.FAILED, ExitCode(6))])
    assert format_validation(result, SYMBOLS) == "+ a: finding\nx b: finding\n    remedy"


def test_check_points_names():
    """The five points of the issue, and the sixth."""
    assert CHECK_POINTS == (
        "docker",
        "container",
        "connections",
        "credentials",
        "pgvector",
        "published port",
    )


@pytest.mark.parametrize(
    ("started", "head", "step"),
    [
        pytest.param(True, "ready", 'psql   psql "$(hive-pg url --format libpq)"', id="started"),
        pytest.param(False, "set up", "next   hive-pg start", id="not started"),
    ],
)
def test_format_next_steps_words(started, head, step):
    """After init one knows the state, where the URL is, and what comes next; not the password."""
    text = format_next_steps(make_settings(), started=started)
    assert text.startswith(f"\nThe database is {head}.\n")
    assert "ann:****@localhost:5532/hive" in text
    assert f"\n  {step}" in text
