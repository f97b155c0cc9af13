"""`list`, `env`, `wait` and `completion`: what they say, and how often they ask Docker."""

import json
import re
import shlex
import sys

import pytest
from fakes import make_container, make_url

import hive_pg as pg
from hive_pg import COMMANDS, build_parser, client_env, format_list, main, measure_directory

GENERATED = {pg.LABEL: "hive-pg 0"}


@pytest.fixture(autouse=True)
def program(monkeypatch):
    """Be called as hive-pg, and leave the signals alone."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(pg, "_leave_in_order_on_termination", lambda: None)


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs a command line on the fake engine, in the workspace."""
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.chdir(workspace)
    return lambda *argv: main(argv)


@pytest.fixture
def up(docker, workspace):
    """Return the container of the workspace, which runs."""
    docker.containers.append(make_container(workspace=workspace))
    return docker.containers[0]


def generated(name, workspace, **changes):
    """Return a container that a generated compose file made."""
    container = make_container(name, workspace, **changes)
    container["Config"]["Labels"].update(GENERATED)
    return container


# -- list ----------------------------------------------------------------------------------------


def test_list_asks_docker_twice_for_fifty(hive, docker, capsys):
    """Whatever their number, `docker ps` and one `docker inspect`; two more are others'."""
    docker.containers += [generated(f"pg-{n:02}", f"/w/{n}") for n in range(50)]
    docker.containers += [make_container("web", "/w/0"), make_container("redis", project="")]
    assert hive("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)["databases"]
    assert sorted(d["container"] for d in found) == [f"pg-{n:02}" for n in range(50)]
    assert docker.commands == ["docker ps", "docker inspect"]


def test_list_json_fields(hive, docker, up, workspace, capsys):
    """A container that `.env` names is listed without a label; a field is null, not left out."""
    docker.containers.append(generated("bare", "", project="", source="volume"))
    docker.containers[1]["Config"]["Labels"] = GENERATED
    docker.containers[1]["HostConfig"] = {}
    assert hive("list", "--json") == 0
    bare, named = json.loads(capsys.readouterr().out)["databases"]
    size = named.pop("size_bytes")
    assert size > 0
    assert named == {
        **{"workspace": str(workspace), "gone": False, "container": "hive-postgres"},
        **{"state": "running", "health": "healthy", "image": "agnohq/pgvector:16"},
        **{"bind": "127.0.0.1", "host_port": 5532},
    }
    unknown = {name for name, value in bare.items() if value is None}
    assert unknown == {"workspace", "bind", "host_port", "size_bytes"}
    assert bare["gone"] is False


@pytest.mark.parametrize(
    "text",
    ["HIVE_POSTGRES_CONTAINER=other\n", "HIVE_POSTGRES_CONTAINER=$(id)\n", "no assignment\n", None],
    ids=["another name", "not read alike", "not read at all", "a directory"],
)
def test_list_leaves_out_what_env_does_not_name(hive, up, workspace, capsys, text):
    """A container without the label is hive-pg's only where `.env` says so."""
    (workspace / ".env").unlink()
    (workspace / ".env").mkdir() if text is None else (workspace / ".env").write_text(text)
    assert hive("list") == 0
    assert capsys.readouterr() == ("", "hive-pg has no database on this engine\n")


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
    assert "cannot run docker" in err


def test_list_table(monkeypatch, hive, docker, tmp_path, capsys):
    """Aligned, sorted by workspace, `~` for home; what is gone or reachable by others shows."""
    monkeypatch.setenv("HOME", str(tmp_path))
    gone = generated("hive-postgres-lost", f"{tmp_path}/x/lost", Status="exited")
    here = generated("hive-postgres", tmp_path / "w", health="unhealthy", port=5540)
    here["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] = ""
    docker.containers += [gone, here]
    assert hive("list") == 0
    out = re.sub(r"[0-9.]+ kB", "SIZE", capsys.readouterr().out)
    assert out.splitlines() == [
        "WORKSPACE        CONTAINER           STATE                PORT          IMAGE"
        "               SIZE",
        "~/w              hive-postgres       running (unhealthy)  0.0.0.0:5540  agnohq/pgvector:16"
        "  SIZE",
        "~/x/lost (gone)  hive-postgres-lost  exited               5532          agnohq/pgvector:16"
        "  -",
    ]


def make_database(**changes):
    """Return a database of /home/ann/app, with some fields changed."""
    usual = {"workspace": "/home/ann/app", "gone": False, "container": "hive-postgres"}
    usual.update(state=pg.ContainerState.RUNNING, health=pg.Health.HEALTHY, host_port=5532)
    usual.update(image="agnohq/pgvector:16", bind="127.0.0.1", size_bytes=48_000_000)
    return pg.ListedDatabase(**{**usual, **changes})


@pytest.mark.parametrize(
    ("changes", "width", "begins"),
    [
        ({}, 0, "~/app      hive-postgres  running  5532  agnohq/pgvector:16  45.8 MB"),
        ({"workspace": "/home/ann"}, 0, "~  "),
        ({"workspace": "/home/annie"}, 0, "/home/annie  "),
        ({"workspace": None, "host_port": None, "bind": None}, 0, "-          hive-postgres"),
        ({"workspace": "/w/\x1b[2J\n"}, 0, "/w/?[2J?  "),
        ({"workspace": f"/w/{'x' * 90}/app"}, 0, f"/w/{'x' * 90}/app  hive-postgres"),
        ({"workspace": f"/w/{'x' * 90}/app"}, 80, f"...{'x' * 14}/app  hive-postgres"),
        ({"workspace": f"/w/{'x' * 90}", "gone": True}, 80, f"...{'x' * 11} (gone)  hive-"),
        ({"workspace": "/w", "image": "r" * 99 + "/pg:16"}, 80, "/w         hive-postgres  run"),
        ({}, 20, "~/app      hive-postgres  running  5532  ...q/pgvector:16  45.8 MB"),
    ],
    ids="plain home beside unknown control long cut gone image narrow".split(),
)
def test_format_list_row(changes, width, begins):
    """Where the terminal is narrow, workspace, image and container keep their ends."""
    head, row = format_list([make_database(**changes)], "/home/ann", width).splitlines()
    assert row.startswith(begins)
    assert head.startswith("WORKSPACE  ")
    assert width in (0, 20) or max(len(head), len(row)) <= width


def test_measure_directory(tmp_path):
    """The blocks of all that is in it; None where there is none."""
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    assert 100_000 <= measure_directory(str(tmp_path / "d")) < 150_000
    assert measure_directory(str(tmp_path / "none")) is None
    assert measure_directory("") is None


# -- env -----------------------------------------------------------------------------------------


def test_client_env_order():
    """Both URLs first, then what libpq reads; the driver is for SQLAlchemy alone."""
    assert list(client_env(make_url(password="it's $5")).items()) == [
        ("DATABASE_URL", "postgresql://ann:it%27s%20%245@localhost:5532/hive"),
        ("HIVE_DATABASE_URL", "postgresql+psycopg://ann:it%27s%20%245@localhost:5532/hive"),
        ("PGHOST", "localhost"),
        ("PGPORT", "5532"),
        ("PGUSER", "ann"),
        ("PGPASSWORD", "it's $5"),
        ("PGDATABASE", "hive"),
    ]


@pytest.mark.parametrize(
    ("query", "extra"),
    [
        ("sslmode=require", {"PGSSLMODE": "require"}),
        ("application_name=sslmode", {}),
        ("connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fa%20b", None),
    ],
    ids=["sslmode", "only a value", "certificate"],
)
def test_client_env_query(query, extra):
    """The query stays in both URLs; what is about SSL has variables, too."""
    env = client_env(make_url(query=query))
    extra = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/a b"} if extra is None else extra
    assert {key: env[key] for key in env if key.startswith("PGSSL")} == extra
    assert all(env[key].endswith(f"/hive?{query}") for key in ("DATABASE_URL", pg.URL_KEY))


def test_client_env_address():
    """An IPv6 address has its brackets in the URLs alone."""
    env = client_env(make_url(host="::1"))
    assert (env["PGHOST"], "@[::1]:5532/" in env["DATABASE_URL"]) == ("::1", True)


def test_query_that_is_no_text():
    """A query that no variable could carry is refused with its name."""
    with pytest.raises(pg.EnvFileError, match="its query is"):
        pg.parse_database_url("postgresql://u:p@localhost/hive?sslrootcert=%FF")


def test_env_formats(hive, docker, workspace, capsys):
    """Shell, dotenv and JSON say the same; Docker is not asked."""
    url = make_url(password="a b'$c")
    lines = (f"{key}={value}\n" for key, value in pg.url_env(url).items() if "PASSWORD" not in key)
    rest = "HIVE_POSTGRES_CONTAINER=c\nCOMPOSE_PROJECT_NAME=p\n"
    (workspace / ".env").write_text("".join(lines) + rest)
    assert hive("env") == 0
    words = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert {word for word, _ in words} == {"export"}
    assert dict(pair.split("=", 1) for _, pair in words) == client_env(url)
    assert hive("env", "--json") == 0
    assert json.loads(capsys.readouterr().out) == client_env(url)
    assert docker.calls == []


def test_env_dotenv_that_no_spelling_carries(hive, workspace, capsys):
    """A value that the readers of `.env` would not read alike is an error, not a guess."""
    text = (workspace / ".env").read_text().replace("s3cret", "s%27%60%24")
    (workspace / ".env").write_text(re.sub("(?m)^POSTGRES_PASSWORD.*\n", "", text))
    assert hive("env", "--format", "dotenv") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no spelling in .env carries this value" in err


def test_env_not_set_up(hive, tmp_path, capsys):
    """Exit 3, and `eval` gets nothing."""
    assert hive("env", str(tmp_path)) == 3
    assert capsys.readouterr().out == ""


# -- wait ----------------------------------------------------------------------------------------


def test_wait_for_one_that_serves(hive, docker, up, workspace, capsys):
    """One look is enough, and nothing is changed: the first start stays to be noted."""
    text = (workspace / ".env").read_text() + "HIVE_POSTGRES_FIRST_START=pending\n"
    (workspace / ".env").write_text(text)
    assert hive("wait") == 0
    assert docker.commands == ["docker inspect", "docker exec"]
    assert (workspace / ".env").read_text() == text
    out, err = capsys.readouterr()
    assert out == ""
    assert "ann logs in to hive" in err


@pytest.mark.parametrize(
    ("state", "words", "hint"),
    [
        ("", "is missing", "hive-pg start"),
        ("exited", "is exited", "hive-pg start"),
        ("created", "is created", "hive-pg start"),
        ("paused", "is paused", "docker unpause hive-postgres"),
    ],
)
def test_wait_for_none_that_runs(hive, docker, up, capsys, state, words, hint):
    """Nobody starts it, so there is nothing to wait for: exit 3 at once."""
    up["State"]["Status"] = state
    if not state:
        docker.containers.clear()
    assert hive("wait") == 3
    err = capsys.readouterr().err
    assert err == f"error: hive-postgres {words}\nhint: {hint}\n"
    assert set(docker.commands) <= {"docker inspect", "docker exec"}


def test_wait_until_it_accepts(monkeypatch, hive, docker, up):
    """It asks again until the login succeeds."""
    monkeypatch.setattr(pg.time, "sleep", lambda _: None)
    waiting = (72, "")
    docker.answers["docker exec"] = [waiting, waiting, "16.14|0.8.5|0.8.5\n"]
    assert hive("wait") == 0
    assert docker.commands.count("docker exec") == 3


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((72, ""), 5, "not ready in time"),
        ((82, "FATAL: password authentication failed for user"), 6, "the server refuses"),
    ],
    ids=["time is up", "refused"],
)
def test_wait_in_vain(monkeypatch, hive, docker, up, capsys, answer, code, words):
    """Time that is up is 5, credentials that are refused are 6."""
    monkeypatch.setattr(pg.time, "sleep", lambda _: None)
    docker.answers["docker exec"] = answer
    assert hive("wait", "--timeout", "0.01") == code
    assert words in capsys.readouterr().err


def test_wait_in_a_crash_loop(hive, docker, up, capsys):
    """Between two restarts its last start tells why: exit 5 at once."""
    up["State"]["Status"], up["RestartCount"] = "restarting", 3
    up["State"]["ExitCode"] = 1
    docker.answers["docker logs"] = 'FATAL: invalid value for parameter "shared_buffers"\n'
    assert hive("wait") == 5
    assert "a server setting" in capsys.readouterr().err
    since = docker.calls_of("docker logs")[0].argv[5]
    assert float(since) == pg.parse_time("2026-11-23T15:54:30Z")


# -- completion ----------------------------------------------------------------------------------


def test_completion_rows():
    """Options, values and places come from the parser: a new one needs nothing but its parser."""
    parser = build_parser(command="url")
    parser.add_argument("--into", metavar="FILE", help="a file")
    parser.add_argument("--secret", help=pg.argparse.SUPPRESS)
    rows = pg.build_completion_rows({"url": parser})
    assert rows[:3] == ["::DIR", "url::-h:show this help message and exit", rows[2]]
    assert {"url::DIR", "url::--into:a file", "url:--into:FILE"} <= set(rows)
    assert {"url:--format:libpq", "url:--format:sqlalchemy"} <= set(rows)
    assert not any("--secret" in row or row.startswith("url:--quiet") for row in rows)


@pytest.mark.parametrize("shell", pg.COMPLETIONS)
def test_completion_says_every_option(hive, capsys, shell):
    """Each command, each option of it and each choice is in each shell's script."""
    assert hive("completion", shell) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert f"::{command}:{COMMANDS[command]}" in script.replace("'\"'\"'", "'")
        for action in build_parser(command=command)._actions:
            for name in action.option_strings:
                assert f"\n{command}::{name}:" in script
                assert all(f"\n{command}:{name}:{c}\n" in script for c in action.choices or ())
    assert "\\" not in "".join(pg.build_completion_rows({"": build_parser()}))


def test_completion_of_another_shell(capsys):
    """There are three."""
    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
