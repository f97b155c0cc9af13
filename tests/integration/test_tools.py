"""`list`, `env`, `wait` and `completion`, on the engine and in the real shells."""

import json
import os
import shutil
import time

import pytest
from laboratory import OURS, docker, run, wait_until

pytestmark = pytest.mark.engine

PASSWORD = 'it\'s $HOME "quoted" `id`'


# -- env -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quoting(lab):
    """Give a workspace whose password needs quoting wherever it goes."""
    from urllib.parse import quote

    with lab.workspace("quoting") as workspace:
        own = f"{lab.token}-quoting"
        url = f"postgresql+psycopg://ann:{quote(PASSWORD, safe='')}@localhost:{workspace.port}/hive"
        names = f"HIVE_POSTGRES_CONTAINER={own}\nCOMPOSE_PROJECT_NAME={own}\n"
        workspace.write(".env", f"HIVE_DATABASE_URL={url}\n{names}", 0o600)
        yield workspace


def test_env_of_a_password_that_needs_quoting(quoting, lab):
    """What shells, python-dotenv and JSON make of it is the password."""
    script = f'eval "$({lab.script} env)" && printf %s "$PGPASSWORD"'
    for shell in ("sh", "bash", "zsh"):
        if shutil.which(shell):
            result = run([shell, "-c", script], **quoting.options())
            assert (result.stdout, result.stderr) == (PASSWORD, ""), shell
    env = json.loads(quoting.hive_pg("env", "--json", secret=True).stdout)
    assert env["PGPASSWORD"] == PASSWORD


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    "password",
    ["", "'a $HOME \"b\" `id`'", '"it\'s \\"5\\""'],
    ids=["generated", "dollar", "quotes"],
)
def test_env_has_plain_psql_work(make, lab, shell, password):
    """`eval "$(hive-pg env)"`, and psql needs no argument, nor does a URL."""
    workspace = make()
    if password:
        workspace.edit_env(POSTGRES_USER="ann", POSTGRES_PASSWORD=password)
    if not shutil.which("psql"):
        client = (
            "exec DOCKER run --rm --network host --entrypoint psql -e PGHOST -e PGPORT -e PGUSER"
        )
        client += ' -e PGPASSWORD -e PGDATABASE --label LABEL IMAGE "$@"'
        (workspace.path / "bin").mkdir()
        for old, new in (
            ("DOCKER", shutil.which("docker")),
            ("LABEL", f"{OURS}={workspace.path}"),
            ("IMAGE", lab.image),
        ):
            client = client.replace(old, new)
        workspace.write("bin/psql", f"#!/bin/sh\n{client}\n", 0o755)
    workspace.init()
    options = workspace.options(PATH=f"{workspace.path}/bin:{os.environ['PATH']}")
    ask = "psql -XwqAtc 'select current_user'"
    script = f'eval "$({lab.script} env)"; {ask}; {ask} -d "$DATABASE_URL"'
    result = run([shell, "-c", script], **options)
    assert result.stdout.split() == [workspace.env["POSTGRES_USER"]] * 2, result.stderr


def test_env_as_dotenv(make):
    """python-dotenv and `sh` read what `--format dotenv` writes as it was meant."""
    dotenv = pytest.importorskip("dotenv")
    workspace = make()
    workspace.init("--no-start")
    workspace.edit_env(POSTGRES_PASSWORD=None)
    url = workspace.env["HIVE_DATABASE_URL"].split("@")[1]
    url = f"postgresql+psycopg://ann:it%27s%20%235%22@{url}?sslmode=prefer"
    workspace.edit_env(HIVE_DATABASE_URL=f"'{url}'", POSTGRES_USER="ann")
    target = workspace.path / "app.env"
    result = workspace.hive_pg("env", "--format", "dotenv", secret=True)
    workspace.write("app.env", result.stdout)
    expected = json.loads(workspace.hive_pg("env", "--json", secret=True).stdout)
    assert (expected["PGPASSWORD"], expected["PGSSLMODE"]) == ("it's #5\"", "prefer")
    assert expected["DATABASE_URL"].endswith("/hive?sslmode=prefer")
    assert dict(dotenv.dotenv_values(target)) == expected
    script = '. ./app.env && printf %s "$PGPASSWORD"'
    assert run(["sh", "-c", script], cwd=workspace.path).stdout == expected["PGPASSWORD"]


# -- wait ----------------------------------------------------------------------------------------


def test_wait_for_a_slow_first_start(make, slow_image):
    """It returns when the login succeeds, not before, and leaves all as it is."""
    workspace = make()
    workspace.hive_pg("wait", code=3)
    workspace.init("--image", slow_image, "--no-start")
    assert "hint: hive-pg start" in workspace.hive_pg("wait", code=3).stderr
    workspace.compose("up", "--detach")
    before = workspace.snapshot()
    began = time.monotonic()
    assert "not ready in time" in workspace.hive_pg("wait", "--timeout", "0.5", code=5).stderr
    assert time.monotonic() - began < 15
    result = workspace.hive_pg("wait", "--timeout", "60")
    assert (result.stdout, " logs in to hive: PostgreSQL " in result.stderr) == ("", True)
    assert workspace.login("select '[1]'::vector") == "[1]"
    assert workspace.snapshot() == before
    assert workspace.hive_pg("wait", "-q").stderr == ""


def test_wait_for_one_that_does_not_run(served):
    """Stopped or paused is exit 3 at once, with the command that helps; nothing is started."""
    docker("pause", served.container)
    assert f"hint: docker unpause {served.container}" in served.hive_pg("wait", code=3).stderr
    docker("unpause", served.container)
    served.hive_pg("stop")
    assert "hint: hive-pg start" in served.hive_pg("wait", code=3).stderr
    assert served.state == "exited"
    served.hive_pg("start")


def test_wait_for_one_that_refuses(lent):
    """Credentials that the server does not accept will not be waited for: exit 6."""
    url = lent.env["HIVE_DATABASE_URL"].replace(lent.env["POSTGRES_PASSWORD"], "another")
    lent.edit_env(HIVE_DATABASE_URL=url, POSTGRES_PASSWORD="another")
    assert "refuses the user and password" in lent.hive_pg("wait", code=6).stderr


def test_wait_in_a_crash_loop_says_why(make):
    """It ends long before time is up: exit 5, with the cause."""
    workspace = make()
    workspace.init()
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="nonsense")
    workspace.compose("up", "--detach")
    began = time.monotonic()
    assert "a server setting" in workspace.hive_pg("wait", "--timeout", "100", code=5).stderr
    wait_until(lambda: workspace.state == "restarting")
    assert "a server setting" in workspace.hive_pg("wait", "--timeout", "100", code=5).stderr
    assert time.monotonic() - began < 60
    workspace.hive_pg("stop")


def test_wait_without_docker(make):
    """Exit 4."""
    workspace = make()
    workspace.init("--no-start")
    for command in ("wait",):
        assert "cannot run docker" in workspace.hive_pg(command, code=4, PATH="/nowhere").stderr
