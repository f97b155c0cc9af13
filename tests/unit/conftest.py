"""A workspace, a fake engine and a quiet network for the tests of the managers."""

import inspect
import os
import re
import sys
import tempfile

import pytest
from fakes import FakeDocker, make_cluster, make_container, make_settings, make_url

import hive_pg as pg

# What Windows has not. A test that says one of these is about it, and is left out there.
POSIX = re.compile(
    r"chmod|chown|0o[0-7]{3}|mode_of|symlink|geteuid|AS_ROOT|mkfifo|SIGHUP|SIGKILL|killpg|fcntl"
    r"|st_blocks|/dev/|\[\"?sh\"|\bsh\(|\"sleep\"|getsid|uname|posix_spawn|O_NOFOLLOW"
)
# These expect paths with slashes, quotes of sh, `localhost`, or data in a directory.
EXPECTS_POSIX = frozenset(
    "test_add_compose_file test_adopt_service_without_a_fixed_port"
    " test_backups_into_one_directory test_check_without_a_daemon test_command_backup"
    " test_command_below test_command_init_below test_command_init_new"
    " test_command_json_directory test_compose_file_name test_console_colors_error_and_step"
    " test_console_trace_verbose test_default_service_resolved test_engine_start_refused"
    " test_env_example_is_read_where_there_is_none test_find_container_of_another"
    " test_find_workspace_edges test_fix_postgres_data_permissions test_format_hint_text"
    " test_guard_lifted test_ignore_data test_ignore_in_git_warns"
    " test_init_beside_others"
    " test_init_beside_others_again test_init_bind_of_specific_address"
    " test_init_data_missing_asks test_init_existing_compose_file"
    " test_init_in_a_directory_that_cannot_work"
    " test_init_never_calls_what_the_engine_has_missing test_init_no_start"
    " test_init_nobody_knows_whose_data test_init_parses_env_once_and_after_each_write"
    " test_init_places_the_data test_init_plain_compose_was_here test_init_project_of_compose"
    " test_init_recovers_from_container test_init_recovers_where_it_is_published"
    " test_init_refused_password test_init_refused_password_twice test_init_somebody_was_faster"
    " test_is_gone_path_of_windows test_is_usable_by_missing test_list_of_a_moved_workspace"
    " test_list_table test_lock_held test_look_foreign_container test_main_elsewhere"
    " test_main_hint test_main_nowhere test_name_program test_owns_beside_its_compose_file"
    " test_owns_by_path_what_has_another_id test_owns_not_by_path_on_another_machine test_push"
    " test_quote_word_shell test_read_file_refused test_read_login_files_value"
    " test_refuse_conflicts_name_of_another test_refuse_conflicts_port_of_a_container"
    " test_replacement_in_use test_restore_of_sql test_runner_replace test_runner_stdin"
    " test_runner_trace test_save_mode_not_kept test_settings_of_no_directory"
    " test_verify_port_on_another_machine test_write_file_durable"
    " test_write_file_temporary_is_a_directory".split()
)


def pytest_collection_modifyitems(items):
    """Leave out, on Windows, what is about modes, owners, links, signals and sh."""
    for item in items if pg.WINDOWS else ():
        function = getattr(item, "function", None)
        found = POSIX.search(inspect.getsource(function)) if function else None
        if found or (function and function.__name__ in EXPECTS_POSIX):
            word = found[0] if found else "what it expects"
            item.add_marker(pytest.mark.skip(reason=f"{word} is not there on Windows"))


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path_factory):
    """Take out of the environment what hive-pg or Compose would read, and share no lock."""
    base = str(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(tempfile, "tempdir", base)
    monkeypatch.setenv("TMPDIR", base)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for name in os.environ:
        if name.startswith(("HIVE_", "POSTGRES_", "COMPOSE_", "SUDO_", "PG", "DOCKER_")):
            monkeypatch.delenv(name)


class Network:
    """Which ports are taken, and what the published one answers; nothing is connected to."""

    def __init__(self):
        self.taken = set()
        self.objection = ""
        self.asked = []

    def is_free(self, bind, port):
        return port not in self.taken

    def ask(self, url, binds):
        self.asked.append(url.port)
        return self.objection, "127.0.0.1"


@pytest.fixture
def network(monkeypatch):
    """Return the network that hive-pg sees."""
    network = Network()
    monkeypatch.setattr(pg, "is_port_free", network.is_free)
    monkeypatch.setattr(pg, "ask_published_port", network.ask)
    monkeypatch.setattr(pg, "login_with_psycopg", lambda url, address, **_: None)
    return network


@pytest.fixture
def workspace(tmp_path):
    """Return a workspace that is set up, but whose container is not there."""
    workspace = tmp_path / "w"
    (workspace / "data").mkdir(parents=True)
    uid, gid = pg.get_postgres_uid_gid()
    pg.make_directory(str(workspace / "data" / "postgres"), (uid, gid), 0o700)
    settings = make_settings(url=make_url(), uid=uid, gid=gid)
    pg.Workspace(str(workspace)).save_env(settings.env)
    (workspace / "docker-compose.yml").write_bytes(pg.render_compose().encode())
    make_cluster(workspace)
    return workspace


@pytest.fixture
def docker(network):
    """Return an engine without containers."""
    return FakeDocker()


@pytest.fixture
def manager_of(docker):
    """Return a function that makes the manager of a workspace, on the fake engine."""

    def make(workspace, **options):
        console = pg.Console(**options)
        return pg.PostgreSQLManager(str(workspace), console=console, engine=pg.Engine(docker))

    return make


@pytest.fixture
def manager(workspace, manager_of):
    """Return the manager of the workspace."""
    return manager_of(workspace)


@pytest.fixture
def place(workspace, docker):
    """Return the workspace as hive-pg sees it."""
    return pg.Workspace(str(workspace), pg.Console(), pg.Engine(docker))


@pytest.fixture
def up(workspace, docker):
    """Return the workspace, whose database runs."""
    docker.containers.append(make_container(workspace=workspace))
    return workspace


@pytest.fixture
def other(tmp_path):
    """Return another workspace, which exists."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


@pytest.fixture
def quick(monkeypatch):
    """Let no time pass between two questions."""
    monkeypatch.setattr(pg.time, "sleep", lambda seconds: None)


@pytest.fixture
def hive(monkeypatch, docker, workspace):
    """Return a function that runs a command line on the fake engine, in the workspace."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hive-pg"])
    monkeypatch.setattr(pg, "_leave_in_order_on_termination", lambda: None)
    monkeypatch.setattr(pg, "Runner", lambda console: docker)
    monkeypatch.chdir(workspace)
    return lambda *argv: pg.main(argv)
