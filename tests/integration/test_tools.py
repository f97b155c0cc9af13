"""`list`, `env` and `wait`, on the engine."""

import json
import os
import shutil
import time

import pytest
from laboratory import OURS, at_most, docker, pause, run, wait_until

pytestmark = pytest.mark.engine

PASSWORD = 'it\'s $HOME "quoted" `id`'
COUNTING_DOCKER = '#!/bin/sh\necho "$1" >> "$COUNT"\nexec DOCKER "$@"\n'


def listed(workspace, **extra):
    """Return what `list --json` says, by container."""
    result = workspace.hive_pg("list", "--json", **extra)
    return {found["container"]: found for found in json.loads(result.stdout)["databases"]}


# -- list ----------------------------------------------------------------------------------------


def test_list_of_fifty_takes_two_processes(lab, make):
    """Whatever their number; those of other tests may be among them."""
    workspace = make(env="", starts=False)
    counter = workspace.path / "bin"
    counter.mkdir()
    script = COUNTING_DOCKER.replace("DOCKER", shutil.which("docker"))
    workspace.write("bin/docker", script, 0o755)
    names = {f"{lab.token}-many-{number}" for number in range(50)}
    labels = ["--label", f"{OURS}={workspace.path}", "--label", "hive-pg.generated-by=hive-pg 0"]
    labels += ["--label", f"com.docker.compose.project.working_dir={workspace.path}/gone"]
    for name in names:
        docker("create", "--name", name, *labels, "--network", "none", lab.image, "true")
    count = workspace.path / "count"
    extra = {"PATH": f"{counter}:{os.environ['PATH']}", "COUNT": str(count)}
    found = listed(workspace, **extra)
    assert names <= found.keys()
    assert {found[name]["state"] for name in names} == {"created"}
    assert {found[name]["gone"] for name in names} == {True}
    programs = count.read_text().split()
    # The sizes of others, which may be moved or in a volume, take some more.
    assert [name for name in programs if name not in ("exec", "run")] == ["ps", "inspect"]


def test_list_of_a_life(lab, make):
    """Running, with its size; moved meanwhile; gone once it is stopped; never a password."""
    workspace, onlooker = make(), make(env="", starts=False)
    workspace.serve()
    name, password = workspace.container, workspace.env["POSTGRES_PASSWORD"]
    found = listed(onlooker)[name]
    disk = run(["du", "-sB1", workspace.path / "data" / "postgres"]).stdout.split()[0]
    assert abs(found.pop("size_bytes") - int(disk)) < 40_000_000  # it writes on
    assert found == {
        **{"workspace": str(workspace.path), "gone": False, "container": name},
        **{"state": "running", "health": found["health"], "image": lab.image},
        **{"bind": "127.0.0.1", "host_port": workspace.port},
    }
    if os.geteuid() == 0:  # another user, to whom the data is closed
        other = make(env="", actor="user", starts=False)
        assert listed(other)[name]["size_bytes"] is None
    moved = workspace.path.with_name("m oved")
    workspace.path.rename(moved)
    found = listed(onlooker)[name]
    assert (found["workspace"], found["gone"]) == (str(moved), False)
    assert found["size_bytes"] > 0
    workspace.hive_pg("stop", cwd=moved)
    found = listed(onlooker)[name]
    assert (found["state"], found["gone"], found["size_bytes"]) == ("exited", True, None)
    table = onlooker.hive_pg("list").stdout
    (line,) = (line for line in table.splitlines() if name in line.split())
    assert line.startswith(f"{workspace.path} (gone)  ")
    assert password not in table
    moved.rename(workspace.path)


def test_list_of_a_compose_file_of_ones_own(make, original):
    """The workspace's state knows its container; for another user it has to carry the label."""
    workspace, onlooker = make(compose_file=original, env=""), make(env="", actor="user")
    workspace.hive_pg("init", "--yes")
    assert listed(workspace)[workspace.container]["workspace"] == str(workspace.path)
    closed = os.geteuid() == 0  # whose files another user cannot read
    assert (workspace.container in listed(onlooker)) is not closed
    label = '    labels: {hive-pg.workspace: "${HIVE_POSTGRES_WORKSPACE:-}"}\n'
    name = workspace.path / "docker-compose.yml"
    text = name.read_text().replace("    image:", f"{label}    image:", 1)
    name.write_text(text)
    workspace.hive_pg("restart")
    assert listed(onlooker)[workspace.container]["workspace"] == str(workspace.path)


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
        status = workspace.path.stat()
        memory = {"inode": f"{status.st_dev}:{status.st_ino}"}  # it is no copy
        workspace.write(".hive-pg.json", json.dumps(memory), 0o600)
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


def test_env_has_plain_psql_work(make, lab):
    """`eval "$(hive-pg env)"`, and psql needs no argument, nor does a URL."""
    workspace = make()
    workspace.serve()
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
    options = workspace.options(PATH=f"{workspace.path}/bin:{os.environ['PATH']}")
    ask = "psql -XwqAtc 'select current_user'"
    script = f'eval "$({lab.script} env)"; {ask}; {ask} -d "$DATABASE_URL"'
    for password in ("", "'a $HOME \"b\" `id`'", '"it\'s \\"5\\""'):
        if password:  # the URL follows
            workspace.edit_env(POSTGRES_PASSWORD=password, HIVE_DATABASE_URL=None)
            workspace.hive_pg("init", "--yes")
        for shell in ("sh", "bash"):
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
    assert time.monotonic() - began < at_most(15)
    workspace.let_first_start_end()
    result = workspace.hive_pg("wait", "--timeout", "60")
    assert (result.stdout, "login verified" in result.stderr) == ("", True)
    assert workspace.login("select '[1]'::vector") == "[1]"
    assert workspace.snapshot() == before
    assert workspace.hive_pg("wait", "-q").stderr == ""


def test_wait_for_one_that_does_not_run(served):
    """Stopped or paused is exit 3 at once, with the command that helps; nothing is started."""
    pause(served.container)
    try:
        assert f"hint: docker unpause {served.container}" in served.hive_pg("wait", code=3).stderr
    finally:
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
    workspace.serve()
    workspace.edit_env(HIVE_POSTGRES_SHARED_BUFFERS="nonsense")
    workspace.compose("up", "--detach")
    for _ in range(2):
        began = time.monotonic()
        assert "a server setting" in workspace.hive_pg("wait", "--timeout", "250", code=5).stderr
        assert time.monotonic() - began < 240
        wait_until(lambda: workspace.state == "restarting")
    workspace.hive_pg("stop")


def test_wait_without_docker(make):
    """Exit 4."""
    workspace = make()
    workspace.init("--no-start")
    for command in ("wait", "list"):
        assert (
            "Docker is not installed" in workspace.hive_pg(command, code=4, PATH="/nowhere").stderr
        )
