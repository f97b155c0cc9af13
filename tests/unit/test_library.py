"""The library: the planned classes are a workspace, with the functions of the rooms as methods."""

import inspect

import pytest
from fakes import REFUSED, make_url

import hive_pg as pg
from hive_pg import CredentialService, DockerComposeManager, NotSetUpError, PostgreSQLManager

PLANNED = {
    PostgreSQLManager: "setup_postgres_container start_container stop_container restart_container"
    " wait_until_ready get_container_logs check_container_status validate_container_health"
    " validate_postgres_integration read_statistics backup restore drop_old_databases"
    " rotate_password destroy_container",
    DockerComposeManager: "start_postgres_service stop_postgres_service restart_postgres_service"
    " get_service_logs check_service_health",
    CredentialService: "generate_postgres_credentials extract_postgres_credentials_from_env"
    " validate_credentials save_credentials_to_env read_settings",
}


@pytest.mark.parametrize("planned", PLANNED, ids=lambda planned: planned.__name__)
def test_library_has_the_planned_methods(planned):
    """Each has its name, says what it does, and takes nothing by place that has only a name."""
    for name in PLANNED[planned].split():
        method = getattr(planned, name)
        assert inspect.getdoc(method), name
        first = next(iter(inspect.signature(method).parameters))
        assert first in ("self", "workspace"), name


def test_library_functions():
    """The planned functions are there, too."""
    for name in (
        "parse_database_url build_database_url get_postgres_uid_gid list_databases"
        " fix_postgres_data_permissions"
    ).split():
        assert callable(getattr(pg, name))


def test_manager_life(up, manager, docker):
    """What the commands do, with their results as values."""
    assert manager.check_container_status().state is pg.ContainerState.RUNNING
    assert manager.validate_container_health() is True
    assert manager.validate_postgres_integration().healthy
    assert manager.start_container() is False
    assert (manager.stop_container(), manager.stop_container()) == (True, False)
    assert manager.validate_container_health() is False
    assert manager.start_container(timeout=5) is True
    assert manager.get_container_logs(tail=1) == "last words\n"
    assert manager.restart_container() is None


def test_manager_raises(up, manager, docker, workspace):
    """What fails is an error with its exit code and its hint, not a message."""
    docker.answers["docker exec"] = REFUSED
    with pytest.raises(pg.CredentialsRefusedError) as caught:
        manager.start_container()
    assert caught.value.exit_code is pg.ExitCode.CREDENTIALS_REFUSED
    assert caught.value.hint.startswith(f"hive-pg init {workspace} --yes ")


@pytest.mark.parametrize("name", PLANNED[PostgreSQLManager].split()[1:])
@pytest.mark.parametrize("place", [".", "missing"])
def test_manager_never_set_up(tmp_path, manager_of, docker, name, place):
    """Each method but one names `init` as the next step, and Docker is not asked."""
    arguments = [str(tmp_path / "x.dump")] if name == "restore" else []
    (tmp_path / "x.dump").write_text("select 1;\n")
    with pytest.raises(NotSetUpError, match="not set up") as caught:
        getattr(manager_of(tmp_path / place), name)(*arguments)
    assert caught.value.exit_code == pg.ExitCode.NOT_RUNNING
    assert f"hive-pg init {tmp_path / place}" in caught.value.hint
    assert docker.calls == []


def test_manager_names_the_workspace_in_remedies(up, docker, workspace):
    """Those of `check` work wherever the process is, too."""
    docker.containers.clear()
    manager = PostgreSQLManager(str(workspace), engine=pg.Engine(docker))
    point = manager.validate_postgres_integration().points[1]
    assert point.remedy == f"hive-pg start {workspace}"


def test_manager_sets_up(tmp_path, manager_of):
    """The first method makes all that the others need; a second call finds it."""
    manager = manager_of(tmp_path / "new")
    assert manager.setup_postgres_container(interactive=False, port=5999) is True
    assert manager.setup_postgres_container(False) is True  # as the planned signature has it
    assert manager.credentials.read_settings().url.port == 5999
    assert manager.validate_container_health() is True


def test_library_reads_again(up, manager, workspace):
    """A file that somebody wrote between two calls counts in the next one."""
    service, env = manager.credentials, workspace / ".env"
    assert service.read_settings().url.user == "ann"
    env.write_text(env.read_text().replace("ann", "bob"))
    assert service.read_settings().url.user == "bob"
    assert "bob:****@" in manager.check_container_status().database_url
    env.write_text(env.read_text().replace("bob", "eve"))
    assert "eve:****@" in manager.check_container_status().database_url


def test_library_workspace(monkeypatch, tmp_path):
    """A workspace is known by its real path, wherever the process goes later."""
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    manager = PostgreSQLManager("link")
    monkeypatch.chdir("/")
    assert manager.workspace == manager.credentials.workspace == str(tmp_path)


def test_library_credential_service(tmp_path):
    """A manager takes the workspace of the credentials that it is given."""
    service = CredentialService(str(tmp_path / "a"))
    for planned in (DockerComposeManager, PostgreSQLManager):
        assert planned(credential_service=service).workspace == service.workspace
        assert planned(".", service).workspace == service.workspace


def test_library_console(workspace, capsys):
    """Progress goes where the console says, for the credentials of a manager as well."""
    (workspace / ".env").chmod(0o644)
    manager = PostgreSQLManager(str(workspace), console=pg.Console(quiet=True))
    assert manager.credentials.console is manager.console
    manager.credentials.save_credentials_to_env(make_url())
    assert capsys.readouterr().err == ""


def test_compose_manager(up, docker, workspace):
    """The service alone: it is started without a login."""
    manager = DockerComposeManager(str(workspace), engine=pg.Engine(docker))
    assert manager.check_service_health() is pg.Health.HEALTHY
    assert manager.get_service_logs(tail=3) == "last words\n"
    assert manager.stop_postgres_service() is True
    manager.start_postgres_service()
    manager.restart_postgres_service()
    assert docker.commands.count("docker compose up") == 2


# -- the owner of the data -----------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "asked"), [(0, 0), (1, 1)], ids=["the server's", "another's"])
def test_fix_postgres_data_permissions(monkeypatch, docker, tmp_path, offset, asked):
    """Data that is not the server's is given to it by a container; the rest is left as it is."""
    uid = tmp_path.stat().st_uid + offset
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.setattr(pg, "get_postgres_uid_gid", lambda: (uid, uid))
    docker.answers["docker run"] = ""
    pg.fix_postgres_data_permissions(str(tmp_path), image="i")
    calls = docker.calls_of("docker run")
    assert len(calls) == asked
    assert all({"i", f"{uid}:{uid}"} <= {*call.argv} for call in calls)
    assert all(str(tmp_path) in str(call.argv) for call in calls)


def test_library_shows_what_takes_time(monkeypatch, up, manager, docker, capsys):
    """Each call begins anew, whenever the last one was, and leaves no line behind."""
    now = [100.0]
    monkeypatch.setattr(pg.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pg, "can_draw", lambda _: True)
    answer = docker.inspect

    def inspect_slowly(call):
        for seconds in (0.4, 0.2):
            now[0] += seconds
            manager.console.tick()
        return answer(call)

    docker.answers["docker inspect --type container"] = inspect_slowly
    for _ in range(2):
        now[0] += 3600
        manager.check_container_status()
        assert capsys.readouterr().err == "asking Docker … 0.6 s\r\x1b[K"
