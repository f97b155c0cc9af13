"""What `.env` says of a database, and what is chosen where it says nothing."""

import re

import pytest
from fakes import make_info, make_settings, make_url

from hive_pg import (
    PLACEHOLDERS,
    ContainerConflictError,
    DatabaseURL,
    EnvFileError,
    NotSetUpError,
    Settings,
    build_database_url,
    choose_compose_name,
    choose_host_port,
    choose_names,
    choose_project_name,
    env_number,
    has_credentials,
    is_placeholder,
    plan_database_url,
    read_settings,
    split_user,
)

FRESH = DatabaseURL("freshuser", "freshpassword")
URL = "postgresql+psycopg://ann:s3cret@localhost:5532/hive"


@pytest.mark.parametrize(
    ("values", "has_data", "url"),
    [
        pytest.param({}, False, FRESH, id="nothing"),
        pytest.param({"HIVE_DATABASE_URL": URL}, False, make_url(), id="URL"),
        pytest.param(
            {"HIVE_DATABASE_URL": URL, "POSTGRES_USER": "bob", "HIVE_POSTGRES_PORT": "1"},
            False,
            make_url(),
            id="URL decides",
        ),
        pytest.param(
            {"POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "s3cret"},
            False,
            make_url(),
            id="user and password",
        ),
        pytest.param(
            {
                "POSTGRES_USER": "ann",
                "POSTGRES_PASSWORD": "p w",
                "POSTGRES_DB": "d",
                "HIVE_POSTGRES_PORT": "6000",
            },
            False,
            make_url(password="p w", database="d", port=6000),
            id="all of POSTGRES_*",
        ),
        pytest.param(
            {"POSTGRES_USER": "ann"},
            False,
            make_url(password="freshpassword"),
            id="user without password",
        ),
        pytest.param(
            {"HIVE_DATABASE_URL": "postgresql://user:pass@localhost:5433/app"},
            False,
            FRESH.replace(port=5433, database="app", driver=""),
            id="placeholders keep the rest of the URL",
        ),
        pytest.param(
            {"HIVE_DATABASE_URL": "postgresql://user:pass@localhost:5433/app"},
            True,
            DatabaseURL("user", "pass", port=5433, database="app", driver=""),
            id="with data, a placeholder may be true",
        ),
        pytest.param(
            {"POSTGRES_PASSWORD": "s3cret"},
            True,
            make_url(user="freshuser"),
            id="with data, what is missing is still missing",
        ),
    ],
)
def test_plan_database_url_source(values, has_data, url):
    """The URL decides; without one POSTGRES_* do; placeholders are replaced until there is data."""
    planned = plan_database_url(values, FRESH, has_data=has_data)
    assert build_database_url(planned) == build_database_url(url)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(pytest.param(value, True, id=value) for value in sorted(PLACEHOLDERS)),
        pytest.param("", True, id="nothing"),
        pytest.param("Your-Secure-Password-Here", True, id="capitals"),
        pytest.param("users", False, id="a word that contains one"),
        pytest.param("Zk3x", False, id="real"),
    ],
)
def test_is_placeholder_value(value, expected):
    """What templates carry counts as missing."""
    assert is_placeholder(value) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("", False, id="none"),
        pytest.param(URL, True, id="real"),
        pytest.param("postgresql://user:s3cret@localhost:1/d", False, id="user of a template"),
        pytest.param("postgresql://ann:changeme@localhost:1/d", False, id="password of a template"),
    ],
)
def test_has_credentials_url(url, expected):
    """A template's URL is no credentials."""
    assert has_credentials({"HIVE_DATABASE_URL": url}) is expected


COMPLETE = make_settings(uid=501, gid=20, image="pgvector/pgvector:pg16", bind="0.0.0.0").env


def test_settings_env_order():
    """A new .env has the URL first, then what Compose hands to the image, then names."""
    assert list(make_settings().env) == [
        "HIVE_DATABASE_URL",
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "POSTGRES_UID",
        "POSTGRES_GID",
        "HIVE_POSTGRES_PORT",
        "HIVE_POSTGRES_CONTAINER",
        "COMPOSE_PROJECT_NAME",
    ]
    assert [*COMPLETE][-2:] == ["HIVE_POSTGRES_IMAGE", "HIVE_POSTGRES_BIND"]


def test_read_settings_complete():
    """What was written is read back."""
    settings = read_settings(COMPLETE)
    assert isinstance(settings, Settings)
    assert settings.env == COMPLETE
    assert (settings.uid, settings.gid, settings.url) == (501, 20, make_url())


def test_read_settings_least():
    """The URL and the two names are enough; ids default to 1000."""
    least = {k: COMPLETE[k] for k in COMPLETE if k.endswith(("URL", "_CONTAINER", "_NAME"))}
    settings = read_settings(least)
    assert (settings.uid, settings.gid, settings.image, settings.bind) == (1000, 1000, "", "")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        pytest.param({"HIVE_DATABASE_URL": ""}, NotSetUpError, "no HIVE_DATABASE_URL", id="no URL"),
        pytest.param(
            {"HIVE_POSTGRES_CONTAINER": "", "COMPOSE_PROJECT_NAME": ""},
            NotSetUpError,
            "no HIVE_POSTGRES_CONTAINER and no COMPOSE_PROJECT_NAME",
            id="no names",
        ),
        pytest.param({"POSTGRES_USER": "x"}, EnvFileError, "POSTGRES_USER and", id="other user"),
        pytest.param(
            {"POSTGRES_PASSWORD": "0ther"}, EnvFileError, "POSTGRES_PASSWORD and", id="password"
        ),
        pytest.param({"POSTGRES_DB": "x"}, EnvFileError, "POSTGRES_DB and", id="other database"),
        pytest.param(
            {"HIVE_POSTGRES_PORT": "1"}, EnvFileError, "HIVE_POSTGRES_PORT and", id="other port"
        ),
        pytest.param({"POSTGRES_UID": "$(id -u)"}, EnvFileError, "POSTGRES_UID is", id="uid"),
        pytest.param({"POSTGRES_GID": "-1"}, EnvFileError, "POSTGRES_GID is", id="gid"),
        pytest.param({"HIVE_DATABASE_URL": "mysql://"}, EnvFileError, "scheme", id="bad URL"),
    ],
)
def test_read_settings_refused(changes, error, message):
    """A key that is missing, wrong or in contradiction is named, with what mends it."""
    with pytest.raises(error) as caught:
        read_settings({**COMPLETE, **changes})
    assert message in str(caught.value)
    assert caught.value.hint
    assert not re.search("s3cret|0ther", f"{caught.value} {caught.value.hint}")


def test_read_settings_port_hint():
    """Where port and URL disagree, both ways out are named."""
    with pytest.raises(EnvFileError) as caught:
        read_settings({**COMPLETE, "HIVE_POSTGRES_PORT": "6000"})
    assert "hive-pg init --port 6000" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("", 7, id="default"),
        pytest.param("0", 0, id="lowest"),
        pytest.param("99", 99, id="highest"),
        pytest.param("007", 7, id="leading zeros"),
        pytest.param("100", None, id="too high"),
        pytest.param("-1", None, id="negative"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param(" 1", None, id="blank"),
        pytest.param("٣", None, id="Arabic digit"),
        pytest.param("1" * 5000, None, id="very long"),
    ],
)
def test_env_number_text(text, number):
    """A number is ASCII digits within its limits, and an error says what it is instead."""
    if number is None:
        with pytest.raises(EnvFileError) as caught:
            env_number({"N": text}, "N", 7, range(100))
        assert caught.value.hint == "make it a number from 0 to 99"
    else:
        assert env_number({"N": text}, "N", 7, range(100)) == number


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/home/ann/app", id="plain"),
        pytest.param("/home/ann/My App!", id="blanks and capitals"),
        pytest.param("/", id="root"),
        pytest.param("/home/ann/日本", id="nothing of it usable"),
        pytest.param("/home/ann/__init__", id="underscores"),
        pytest.param("/home/ann/" + "x" * 200, id="long"),
        pytest.param("/home/ann/\udce9", id="not UTF-8"),
    ],
)
def test_choose_project_name_path(path):
    """The name is one that Compose takes, is stable, and is no other path's."""
    name = choose_project_name(path)
    assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,46}", name)
    assert name == choose_project_name(path)
    assert name != choose_project_name(path + "/sub" + path)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/app", "app"), ("/a/My App!", "myapp"), ("/a/_x-1_", "x-1_"), ("/", "hive")],
)
def test_choose_compose_name_path(path, name):
    """Without a choice, Compose's own name for a folder."""
    assert choose_compose_name(path) == name


def test_choose_project_name_same_folder():
    """Two folders of one name are two projects."""
    assert choose_project_name("/a/app") != choose_project_name("/b/app")


MINE = make_info(name="mine", labels={"com.docker.compose.project": "app"})
THEIRS = make_info(name="hive-postgres", labels={"com.docker.compose.project": "theirs"})


@pytest.mark.parametrize(
    ("values", "own", "others", "names"),
    [
        pytest.param({}, [], [], ("new", "hive-postgres", False), id="nothing yet"),
        pytest.param({}, [], [THEIRS], ("new", "hive-postgres-new", False), id="default taken"),
        pytest.param(
            {"COMPOSE_PROJECT_NAME": "p", "HIVE_POSTGRES_CONTAINER": "c"},
            [],
            [THEIRS],
            ("p", "c", True),
            id="recorded",
        ),
        pytest.param(
            {"COMPOSE_PROJECT_NAME": "p"}, [], [], ("p", "hive-postgres", False), id="project only"
        ),
        pytest.param(
            {"HIVE_POSTGRES_CONTAINER": "c"}, [], [], ("new", "c", False), id="container only"
        ),
        pytest.param(
            {"COMPOSE_PROJECT_NAME": "theirs", "HIVE_POSTGRES_CONTAINER": "hive-postgres"},
            [],
            [THEIRS],
            ("new", "hive-postgres-new", False),
            id="copy of another workspace",
        ),
        pytest.param(
            {"COMPOSE_PROJECT_NAME": "p", "HIVE_POSTGRES_CONTAINER": "hive-postgres"},
            [],
            [THEIRS],
            ("p", "hive-postgres-p", False),
            id="name taken since",
        ),
        pytest.param({}, [MINE], [], ("app", "hive-postgres", False), id="plain Compose was here"),
    ],
)
def test_choose_names_case(values, own, others, names):
    """What .env names is kept, unless another workspace has it; the default is taken if free."""
    project, container, had_both = choose_names(values, "new", own, others)
    assert (project, container) == names[:2]
    assert had_both is names[2]


def test_choose_host_port_free():
    """The first port is taken that no container has and nothing listens on."""
    asked = []
    assert choose_host_port(5532, {5532, 5534}, lambda p: asked.append(p) or p > 5533) == 5535
    assert asked == [5533, 5535]


@pytest.mark.parametrize("first", [pytest.param(5532, id="usual"), pytest.param(65530, id="end")])
def test_choose_host_port_none(first):
    """Where none is free within a hundred, or up to the last, that is an error with a way out."""
    asked = []
    with pytest.raises(ContainerConflictError, match=f"from {first}"):
        choose_host_port(first, [], lambda port: asked.append(port))
    assert asked == list(range(first, min(first + 100, 65536)))


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        pytest.param("1000:1001", (1000, 1001), id="both"),
        pytest.param("501", (501, 0), id="uid"),
        pytest.param("0:0", None, id="root"),
        pytest.param("0", None, id="root's uid"),
        pytest.param("", None, id="the image's"),
        pytest.param("postgres", None, id="name"),
        pytest.param("1000:postgres", None, id="group by name"),
        pytest.param(":", None, id="colon"),
    ],
)
def test_split_user_text(user, ids):
    """Only numbers tell who owns the data, and root is not a user that PostgreSQL runs as."""
    assert split_user(user) == ids
