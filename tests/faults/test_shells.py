"""What a person's shell has beside `.env`: it leads neither Compose nor applications elsewhere."""

import shutil

import pytest
from laboratory import run

pytestmark = pytest.mark.engine

OWN_NAMES = """\
services:
  db:
    image: "{image}"
    container_name: "{own}"
    environment:
      POSTGRES_USER: "${{DB_USER}}"
      POSTGRES_PASSWORD: "${{DB_PASSWORD}}"
      POSTGRES_DB: shop
      NOTE:
    ports: ["127.0.0.1:${{DB_PORT:?missing}}:5432"]
    volumes: ["./data/postgres:/var/lib/postgresql/data"]
    user: "{uid}:{uid}"
"""


@pytest.fixture
def interpolating(make, lab):
    """Give a workspace whose compose file takes keys of `.env` that are a person's own."""
    workspace = make()
    own = workspace.env["HIVE_POSTGRES_CONTAINER"]
    text = OWN_NAMES.format(image=lab.image, own=own, uid=workspace.actor.server_uid)
    workspace.write("compose.yaml", text)
    values = {"COMPOSE_PROJECT_NAME": own, "DB_USER": "shop", "DB_PASSWORD": "of-the-file"}
    lines = {**values, "DB_PORT": workspace.port, "DOCKER_HOST": "tcp://127.0.0.1:1", "HOME": "/x"}
    workspace.write(".env", "".join(f"{key}={value}\n" for key, value in lines.items()), 0o600)
    return workspace


@pytest.mark.parametrize("compose", ["plugin", "standalone"])
def test_shell_has_another_value_than_env(interpolating, compose):
    """`.env` wins for all that the compose file takes; `init` names what plain Compose would take.

    Where docker is, the shell alone says.
    """
    workspace = interpolating
    workspace.compose_kind = compose
    shell = {"DB_PASSWORD": "of-the-shell", "DB_PORT": "", "EDITOR": "vi", "NOTE": "of-the-shell"}
    said = workspace.hive_pg("init", "--yes", **shell).stderr
    assert "applications take DB_PASSWORD DB_PORT from this shell, not from .env" in said
    assert "unset DB_PASSWORD DB_PORT\n" in said
    assert workspace.login(password="of-the-file") == "1"
    info = workspace.inspect()
    assert "NOTE=of-the-shell" in info["Config"]["Env"]  # .env has no such key
    for command in ("start", "init", "check"):
        said = workspace.hive_pg(command).stderr
        assert "unset" not in said
    assert workspace.login() == "1"


@pytest.mark.skipif(not shutil.which("psql"), reason="needs psql on this machine")
@pytest.mark.parametrize(
    "shell",
    [
        pytest.param({"PGSERVICE": "prod"}, id="a service"),
        pytest.param({"PGHOSTADDR": "127.0.0.9"}, id="an address"),
        pytest.param({"PGSSLMODE": "require", "PGGSSENCMODE": "disable"}, id="TLS"),
        pytest.param({"PGTARGETSESSIONATTRS": "standby"}, id="a standby"),
        pytest.param({"PGOPTIONS": "-c role=nobody"}, id="another role"),
    ],
)
def test_libpq_variables_of_the_shell_lead_nowhere_else(served, shell):
    """`run -- psql`, and psql after `eval "$(hive-pg env)"`, are in this database."""
    served.write("services", "[prod]\nhost=127.0.0.9\nport=1\nuser=prod\ndbname=prod\n")
    shell = {
        "PGSERVICEFILE": str(served.path / "services"),
        "DATABASE_URL": "postgres://x/",
        **shell,
    }
    ask = """psql -Atwc 'select current_user' && psql "$DATABASE_URL" -Atwc 'select current_user'"""
    script = f'eval "$({served.lab.script} env)"; {ask}'
    here = served.env["POSTGRES_USER"]
    result = run(["sh", "-c", script], **served.options(**shell))
    assert result.stdout.split() == [here, here], result.stderr
    result = served.hive_pg("run", "--", "sh", "-c", ask, **shell)
    assert result.stdout.split() == [here, here], result.stderr
