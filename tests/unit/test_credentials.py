"""CredentialService: what `.env` becomes, and when it is not touched."""

import errno
import os
import re
import stat

import pytest
from fakes import make_settings, make_url

import hive_pg as pg
from hive_pg import (
    CredentialService,
    EnvFileError,
    NotSetUpError,
    Workspace,
    WorkspaceError,
)


@pytest.fixture
def service(tmp_path):
    """Return the service of an empty workspace."""
    return CredentialService(str(tmp_path))


@pytest.fixture
def env(tmp_path):
    """Return the path of its .env."""
    return tmp_path / ".env"


def test_generate_postgres_credentials_place(service):
    """New credentials come with the place that was asked for."""
    url, other = (service.generate_postgres_credentials("h", 1, "d") for _ in range(2))
    assert (url.host, url.port, url.database) == ("h", 1, "d")
    assert url.user != other.user
    assert url.password != other.password
    usual = service.generate_postgres_credentials()
    assert (usual.host, usual.port, usual.database) == ("localhost", 5532, "hive")


def test_save_credentials_to_env_new(service, env):
    """A new file holds the URL and what repeats it, for its owner's eyes only."""
    assert service.save_credentials_to_env(make_url(password="p@ss")) is True
    assert env.read_text() == (
        "HIVE_DATABASE_URL=postgresql+psycopg://ann:p%40ss@localhost:5532/hive\n"
        "POSTGRES_USER=ann\nPOSTGRES_PASSWORD=p@ss\nPOSTGRES_DB=hive\nHIVE_POSTGRES_PORT=5532\n"
    )
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert service.extract_postgres_credentials_from_env() == make_url(password="p@ss")


def test_save_credentials_to_env_twice(service, env):
    """The second time nothing is written: the same inode and time."""
    service.save_credentials_to_env(make_url())
    before = env.stat()
    assert service.save_credentials_to_env(make_url()) is False
    after = env.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("mode", "closed"), [(0o444, 0o400), (0o400, 0o400), (0o755, 0o700)], ids=oct
)
def test_save_keeps_the_owners_bits(service, env, mode, closed):
    """What only the owner may do is left as it is, and so are the bytes and the file."""
    service.save_credentials_to_env(make_url())
    before = env.stat().st_ino, env.read_bytes()
    env.chmod(mode)
    assert service.save_credentials_to_env(make_url()) is False
    assert stat.S_IMODE(env.stat().st_mode) == closed
    assert (env.stat().st_ino, env.read_bytes()) == before


@pytest.fixture
def open_env(monkeypatch, service, env):
    """Give an `.env` that others may read, and whose mode nobody changes."""
    service.save_credentials_to_env(make_url())
    env.chmod(0o644)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    return env


def test_save_mode_not_kept(service, open_env, capsys):
    """Where the file system keeps no modes, it is written, and that others may read it is said."""
    assert service.save_credentials_to_env(make_url()) is False
    assert f"warning: others may read {open_env}: its mode cannot" in capsys.readouterr().err
    assert service.save_credentials_to_env(make_url(password="n3w")) is True


def test_save_mode_refused(monkeypatch, service, open_env):
    """A mode that is not ours to change is an error that says so."""
    env = open_env
    monkeypatch.setattr(pg, "is_root", lambda: False)
    monkeypatch.setattr(pg, "get_user", lambda: (os.geteuid() + 1, 0))
    with pytest.raises(WorkspaceError, match=f"cannot change the mode of {env}: .* not") as caught:
        service.save_credentials_to_env(make_url())
    assert f"sudo chown $USER: {env}" in caught.value.hint


def test_save_read_only(service, env):
    """A read-only file that would have to change is refused, and stays as it is."""
    env.write_text("A=1\n")
    env.chmod(0o400)
    with pytest.raises(WorkspaceError, match="read-only"):
        service.save_credentials_to_env(make_url())
    assert env.read_text() == "A=1\n"


def test_save_example_is_the_start(service, env, tmp_path):
    """A new .env begins as .env.example, which stays as it is."""
    example = "# ours\nAPI_KEY=your-key\nPOSTGRES_USER=hive_user # change it\n"
    (tmp_path / ".env.example").write_text(example)
    service.save_credentials_to_env(make_url())
    assert env.read_text().startswith(example.replace("hive_user", "ann"))
    assert (tmp_path / ".env.example").read_text() == example


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"A=1\r", r"\.env\.example line 1 has b'\\r'", id="CR"),
        pytest.param(b"\xef\xbb\xbfA=1\n", r"\.env\.example line 1 has b'", id="BOM"),
        pytest.param(b"\xff\xfeA\0", r"\.env\.example line 1 has b'\\xff'", id="UTF-16"),
        pytest.param(
            b"A=1\n<<<<\n", r"\.env\.example line 2 is no whole assignment", id="no assignment"
        ),
        pytest.param(b"POSTGRES_USER=$(id)\n", r"\.env\.example line 1: POSTGRES_USER", id="ours"),
    ],
)
def test_save_example_refused(env, tmp_path, data, message):
    """Where it is the example that cannot be read, error and hint name the example."""
    example = tmp_path / ".env.example"
    example.write_bytes(data)
    workspace = Workspace(str(tmp_path))
    for call in (lambda: workspace.values, lambda: workspace.save_env({"B": "2"})):
        with pytest.raises(EnvFileError, match=message) as caught:
            call()
        assert not re.search(r"\.env(?!\.example)", f"{caught.value} {caught.value.hint}")
    assert not env.exists()
    assert example.read_bytes() == data


def test_save_symlink(service, env, tmp_path):
    """A symlinked .env stays a symlink."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "env").write_text("A=1\n")
    env.symlink_to("shared/env")
    service.save_credentials_to_env(make_url())
    assert env.is_symlink()
    assert (tmp_path / "shared" / "env").read_text().startswith("A=1\nHIVE_DATABASE_URL=")


def test_save_refused(service, env):
    """A key of ours that cannot be read is not overwritten, nor is anything else."""
    text = "POSTGRES_DB=a\nPOSTGRES_USER=$(id -un)\n"
    env.write_text(text)
    with pytest.raises(EnvFileError, match="line 2: POSTGRES_USER"):
        service.save_credentials_to_env(make_url())
    assert env.read_text() == text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param(None, NotSetUpError, "there is no", id="no file"),
        pytest.param("A=1\n", NotSetUpError, "has no HIVE_DATABASE_URL", id="nothing of ours"),
        pytest.param("A=1\r", EnvFileError, "line 1 has", id="CR"),
        pytest.param("POSTGRES_UID=$(id -u)\n", EnvFileError, "line 1: POSTGRES_UID", id="uid"),
    ],
)
def test_read_settings_refused(service, env, text, error, message):
    """What is missing or unreadable is an error that says so."""
    if text is not None:
        env.write_bytes(text.encode())
    with pytest.raises(error, match=message):
        service.read_settings()


def test_read_settings_complete(service):
    """They are those of a workspace that is set up."""
    service.save_env(make_settings().env)
    assert service.read_settings() == make_settings()


def test_read_settings_not_from_example(service, tmp_path):
    """An example is no set-up workspace."""
    (tmp_path / ".env.example").write_text(
        "\n".join(f"{k}={v}" for k, v in make_settings().env.items())
    )
    with pytest.raises(NotSetUpError):
        service.read_settings()


def test_read_settings_loop(service, env):
    """A link that leads to itself is not `not set up`: it cannot be read."""
    env.symlink_to(".env")
    with pytest.raises(WorkspaceError, match=f"cannot read {env}: ") as caught:
        service.read_settings()
    assert caught.value.hint == f"rm {env}"


def test_read_settings_dangling_link(service, env):
    """A link that leads nowhere is an .env without anything of ours."""
    env.symlink_to("nowhere")
    with pytest.raises(NotSetUpError, match="has no HIVE_DATABASE_URL"):
        service.read_settings()


def test_read_values_directory(env, tmp_path):
    """A directory in place of .env is an error that names it."""
    env.mkdir()
    workspace = Workspace(str(tmp_path))
    with pytest.raises(WorkspaceError, match=re.escape(str(env))):
        assert workspace.values


def test_read_values_environment(monkeypatch, env, tmp_path):
    """A reference that the shell's own value would change is not followed."""
    env.write_text("P=1\nPOSTGRES_DB=${P}\n")
    assert Workspace(str(tmp_path)).values["POSTGRES_DB"] == "1"
    monkeypatch.setenv("P", "2")
    workspace = Workspace(str(tmp_path))
    with pytest.raises(EnvFileError, match="POSTGRES_DB"):
        assert workspace.values


def test_extract_postgres_credentials_from_env_none(service, env):
    """Without a URL there is nothing to extract."""
    assert service.extract_postgres_credentials_from_env() is None
    env.write_text("POSTGRES_USER=ann\nHIVE_DATABASE_URL=\n")
    assert service.extract_postgres_credentials_from_env() is None


def test_extract_postgres_credentials_from_example(service, tmp_path):
    """The URL of an example is nobody's."""
    url = "postgresql+psycopg://ann:s3cret@localhost:5532/hive"
    (tmp_path / ".env.example").write_text(f"HIVE_DATABASE_URL={url}\n")
    assert service.extract_postgres_credentials_from_env() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"user": "user"}, "a placeholder", id="placeholder"),
        pytest.param({"password": ""}, "is missing", id="nothing"),
        pytest.param({"password": "it's `x`"}, "no spelling", id="not for .env"),
    ],
)
def test_validate_credentials_refused(service, env, changes, message):
    """What .env or the URL would not carry unchanged is refused before it is written."""
    with pytest.raises(EnvFileError, match=message):
        service.save_credentials_to_env(make_url(**changes))
    assert not env.exists()
