"""URLs and settings: read where all readers agree, and completed where `.env` says nothing."""

import re

import pytest
from fakes import make_settings, make_url, recorded
from hypothesis import given
from hypothesis import strategies as st

import hive_pg as pg
from hive_pg import (
    PLACEHOLDERS,
    DatabaseURL,
    EnvFileError,
    NotSetUpError,
    Settings,
    build_client_environment,
    build_database_url,
    check_carried,
    format_database_url,
    format_env_value,
    generate_credentials,
    has_login,
    is_local,
    parse_database_url,
    parse_number,
    parse_settings,
    plan_database_url,
)

VECTORS = recorded("url_vectors.json")
READERS = (
    "sqlalchemy_2_1_9",
    "sqlalchemy_2_0_58",
    "libpq_scheme_stripped",
    "asyncpg_scheme_stripped",
)


def read_vector(vector):
    """Return what we read, None where we refuse."""
    try:
        url = parse_database_url(vector["input"])
    except EnvFileError:
        return None
    return url.user, url.password, url.host, url.port, url.database


def others_read(vector):
    """Return what each reader made of a vector, where it gave a result of its own."""
    results = [vector[name] for name in READERS if isinstance(vector[name], dict)]
    return [
        (r["user"], r["password"], r["host"], int(r["port"] or 5432), r["database"])
        for r in results
        if "error" not in r
    ]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["note"] for vector in VECTORS])
def test_parse_database_url_vector(vector):
    """A URL is read as SQLAlchemy, libpq and asyncpg read it, or it is not read."""
    ours = read_vector(vector)
    if ours:
        assert set(others_read(vector)) == {ours}


def test_parse_database_url_vectors_accepted():
    """Refusing everything would be no answer: the common forms are read."""
    assert sum(read_vector(vector) is not None for vector in VECTORS) >= 30


GOOD = "postgresql+psycopg://ann:s3cret@localhost:5532/hive"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        pytest.param("postgresql+psycopg", "mysql", "scheme", id="other scheme"),
        pytest.param("postgresql+psycopg", "POSTGRESQL", "scheme", id="upper case"),
        pytest.param(GOOD, "", "scheme", id="nothing"),
        pytest.param(GOOD, "localhost:5532", "scheme", id="no URL"),
        pytest.param("ann", "", "user", id="no user"),
        pytest.param("ann:s3cret@", "", "user", id="no login"),
        pytest.param("ann", "a%nn", "user", id="stray percent in the user"),
        pytest.param("s3cret", "", "password", id="empty password"),
        pytest.param(":s3cret", "", "password", id="no password"),
        pytest.param("s3cret", "s3cret%zz", "password", id="stray percent"),
        pytest.param("s3cret", "s3cret%00", "password", id="NUL"),
        pytest.param("s3cret", "s3cret%E9", "password", id="Latin-1"),
        pytest.param("s3cret", "s3cret%ED%A0%80", "password", id="surrogate"),
        pytest.param("s3cret", "s3cret?", "password", id="raw question mark"),
        pytest.param("s3cret", "s3cret#", "password", id="raw hash"),
        pytest.param("s3cret", "s3cret/", "password", id="raw slash"),
        pytest.param("s3cret", "s3cret ", "password", id="raw space"),
        pytest.param("s3cret", "s3crét", "password", id="not ASCII"),
        pytest.param("s3cret", "s3cret@", "host", id="raw at sign"),
        pytest.param("localhost", "", "host", id="no host"),
        pytest.param("localhost", "h1,h2", "host", id="two hosts"),
        pytest.param("localhost", "%2Fvar%2Frun", "host", id="socket"),
        pytest.param("localhost", "[::1%25eth0]", "host", id="zone"),
        pytest.param("localhost", "[localhost]", "host", id="name in brackets"),
        pytest.param("localhost", "[::1]x", "host", id="after the bracket"),
        pytest.param(":5532", ":", "port", id="empty port"),
        pytest.param(":5532", ":0", "port", id="port 0"),
        pytest.param(":5532", ":65536", "port", id="port too high"),
        pytest.param(":5532", ":66000", "port", id="port too high by far"),
        pytest.param(":5532", ":05532", "port", id="port with a leading zero"),
        pytest.param(":5532", ":+5532", "port", id="port with sign"),
        pytest.param(":5532", ":5_532", "port", id="port with underscore"),
        pytest.param(":5532", ":٥٥٣٢", "port", id="Arabic digits"),
        pytest.param("/hive", "", "database", id="no database"),
        pytest.param("/hive", "/", "database", id="empty database"),
        pytest.param("/hive", "/my%20db", "database", id="encoded database"),
        pytest.param("/hive", "/hive#x", "database", id="fragment"),
        pytest.param("/hive", "/hive ", "database", id="trailing space"),
        pytest.param("/hive", "/hive\n", "database", id="trailing line feed"),
        pytest.param("/hive", "/hive/x", "database", id="path"),
        pytest.param("/hive", "/" + "h" * 64, "database", id="too long a name"),
        pytest.param("/hive", "/hive?host=/tmp", "query", id="host in the query"),
        pytest.param("/hive", "/hive?sslmode=x&port=1", "query", id="port in the query"),
        pytest.param("/hive", "/hive?password=other", "query", id="password in the query"),
        pytest.param("/hive", "/hive?sslmode", "query", id="parameter without a value"),
        pytest.param("/hive", "/hive?options=a+b", "query", id="plus in the query"),
        pytest.param("/hive", "/hive?sslmode=a;b=c", "query", id="semicolon"),
        pytest.param("/hive", "/hive?sslmode=%zz", "query", id="stray percent in the query"),
        pytest.param("/hive", "/hive?sslmode=%00", "query", id="NUL in the query"),
        pytest.param("/hive", "/hive?ssl=require", "query", id="an option of asyncpg's"),
        pytest.param("/hive", "/hive?sslmode=x&prepare=0", "query", id="an unknown option"),
        pytest.param("/hive", "/hive?scram_client_key=x", "query", id="a secret in the query"),
    ],
)
def test_parse_database_url_refused(old, new, part):
    """What the readers take differently is refused by the part's name, without the password."""
    text = GOOD.replace(old, new)
    with pytest.raises(EnvFileError) as caught:
        parse_database_url(text)
    message = f"{caught.value} | {caught.value.hint}"
    assert f"its {part} is" in message
    assert part in caught.value.hint
    assert "s3cr" not in message


@pytest.mark.parametrize("name", ["ssl_password", "oauth_client_secret", "auth_token"])
def test_parse_database_url_with_a_secret_of_another_driver(name):
    """What is shown of a URL has its query: a secret there would be, too."""
    with pytest.raises(EnvFileError, match="its query is missing, or not read alike"):
        parse_database_url(f"postgresql+asyncpg://ann:s3cret@localhost:5532/hive?{name}=s3cr3t")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        pytest.param(GOOD, DatabaseURL("ann", "s3cret"), id="the usual one"),
        pytest.param(
            "postgres://u:p@db/x",
            DatabaseURL("u", "p", host="db", port=5432, database="x", driver=""),
            id="no driver, no port",
        ),
        pytest.param(
            "postgresql+asyncpg://u:p@[::1]:1/x-y.z_0",
            DatabaseURL("u", "p", "::1", 1, "x-y.z_0", "asyncpg"),
            id="IPv6",
        ),
        pytest.param(
            "postgresql://%C3%A9:a%40b%2F%3A+~!$&'()*,;=-@127.0.0.1:65535/d",
            DatabaseURL("é", "a@b/:+~!$&'()*,;=-", "127.0.0.1", 65535, "d", ""),
            id="percent-encoded, and what need not be",
        ),
        pytest.param(
            "postgresql://u:p@h:1/d?sslmode=disable&application_name=a%20b",
            DatabaseURL("u", "p", "h", 1, "d", "", "sslmode=disable&application_name=a%20b"),
            id="query",
        ),
        pytest.param(
            "postgresql+asyncpg://u:p@h:1/d?ssl=require",
            DatabaseURL("u", "p", "h", 1, "d", "asyncpg", "ssl=require"),
            id="another driver's own option",
        ),
    ],
)
def test_parse_database_url_parts(text, url):
    """Every part is decoded, and the port is PostgreSQL's own where none is named."""
    assert parse_database_url(text) == url


@pytest.mark.parametrize(
    "port", [1, 9, 10, 999, 6553, 6554, 7000, 9999, 59999, 60000, 64999, 65499, 65535]
)
def test_parse_database_url_port(port):
    """Every port that there is can be written."""
    assert parse_database_url(GOOD.replace("5532", str(port))).port == port


def test_database_url_repr():
    """The password is masked wherever a URL is shown, whatever the user is called."""
    assert repr(DatabaseURL("u", "s3cret")) == "postgresql+psycopg://u:****@localhost:5532/hive"
    assert repr(DatabaseURL(":x@", "s3cret")) == (
        "postgresql+psycopg://%3Ax%40:****@localhost:5532/hive"
    )
    assert "s3cret" not in f"{DatabaseURL('u', 's3cret')}"


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
URLS = st.builds(
    DatabaseURL,
    user=WORDS,
    password=WORDS,
    host=st.sampled_from(["localhost", "127.0.0.1", "::1", "fe80::1:2", "db.example.org", "a_b"]),
    port=st.integers(1, 65535),
    database=st.from_regex(r"[A-Za-z0-9_.-]{1,63}", fullmatch=True),
    driver=st.sampled_from(["", "psycopg", "psycopg_async", "asyncpg"]),
    query=st.sampled_from(["", "sslmode=disable", "options=b%20c&connect_timeout=5"]),
)


@given(URLS)
def test_build_database_url_property(url):
    """What is written is read back, needs no quoting in .env, and shows no secret."""
    text = build_database_url(url)
    assert parse_database_url(text) == url
    if ":" not in url.host and not url.query:
        assert format_env_value(text) == text
    assert build_database_url(url.replace(password="s3cret")).replace("s3cret", "****") == repr(url)


PIECES = "postgresql postgres + psycopg :// : / @ ? & = % %40 %00 [ ] ::1 # , u p host 5532 é \n"


@given(st.text() | st.lists(st.sampled_from(PIECES.split(" "))).map("".join))
def test_parse_database_url_property(text):
    """Whatever the text, it is read or refused with an EnvFileError; what is read is written."""
    try:
        url = parse_database_url(text)
    except EnvFileError:
        return
    assert parse_database_url(build_database_url(url)) == url


# -- what the URL fixes --------------------------------------------------------------------------


def test_build_client_environment_values():
    """Programs get the URL twice, and libpq its variables: decoded, `ssl...` of the query too."""
    url = make_url(
        password="p@ss", host="::1", port=1, query="sslmode=a%20b&ssl_min_protocol_version=c"
    )
    query = "sslmode=a%20b&ssl_min_protocol_version=c"
    assert build_client_environment(url) == {
        "DATABASE_URL": f"postgresql://ann:p%40ss@[::1]:1/hive?{query}",
        "HIVE_DATABASE_URL": f"postgresql+psycopg://ann:p%40ss@[::1]:1/hive?{query}",
        "PGHOST": "::1",
        "PGPORT": "1",
        "PGUSER": "ann",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "hive",
        "PGSSLMODE": "a b",
        "PGSSLMINPROTOCOLVERSION": "c",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(
            "options=-c%20a=b".replace("=b", "%3Db"), {"PGOPTIONS": "-c a=b"}, id="options"
        ),
        pytest.param("channel_binding=disable", {"PGCHANNELBINDING": "disable"}, id="login"),
        pytest.param("sslmode=prefer&sslmode=x", {"PGSSLMODE": "x"}, id="the last"),
        pytest.param("connect_timeout=1&keepalives=0", {}, id="what leads nowhere"),
    ],
)
def test_build_client_environment_of_a_query(query, expected):
    """What the URL says of place, login and session has libpq's variable, as the URL has it."""
    plain = build_client_environment(make_url())
    found = build_client_environment(make_url(query=query))
    assert {key: found[key] for key in found.keys() - plain.keys()} == expected
    assert expected.keys() <= pg.LEADING_VARIABLES


def test_leading_variables():
    """They are libpq's own, and none of them is one that every URL sets."""
    known = "PGSERVICE PGHOSTADDR PGSSLMODE PGOPTIONS PGSERVICEFILE PGPASSFILE PGREQUIREAUTH"
    known += " PGTARGETSESSIONATTRS PGCHANNELBINDING PGGSSENCMODE PGKRBSRVNAME PGLOADBALANCEHOSTS"
    assert {*known.split()} < pg.LEADING_VARIABLES
    assert pg.LEADING_VARIABLES.isdisjoint(build_client_environment(make_url()))


def test_build_client_environment_of_another_driver():
    """What only that driver knows stays in its own URL; its `ssl` is libpq's `sslmode`."""
    url = make_url(driver="asyncpg", query="ssl=require&sslmode=disable&command_timeout=5")
    found = build_client_environment(url)
    assert found["DATABASE_URL"] == "postgresql://ann:s3cret@localhost:5532/hive?sslmode=require"
    assert found["HIVE_DATABASE_URL"] == build_database_url(url)
    assert {key: found[key] for key in found if "SSL" in key} == {"PGSSLMODE": "require"}
    assert url.unchecked == "HIVE_DATABASE_URL has command_timeout, which only asyncpg can check"
    assert make_url(query="sslmode=disable&options=x").unchecked == ""


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.0.9", True),
        ("::1", True),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
        ("127.example.org", False),
        ("db", False),
        ("10.0.0.1", False),
        ("::", False),
    ],
)
def test_is_local_host(host, local):
    """Names and addresses of this machine are known without asking a name server."""
    assert is_local(host) is local


QUERY = "sslmode=verify-ca&sslrootcert=%2Fa+b.pem&application_name=a%26b&options=-c%20x%3D1"
TIMED = "connect_timeout=3&keepalives=0"


@pytest.mark.parametrize(
    ("form", "changes", "text", "left"),
    [
        ("libpq", {"password": "p@s:s"}, "postgresql://ann:p%40s%3As@localhost:5532/hive", ""),
        ("libpq", {"query": TIMED}, f"postgresql://ann:s3cret@localhost:5532/hive?{TIMED}", ""),
        (
            "libpq",
            {"driver": "asyncpg", "query": "ssl=verify-full&command_timeout=5"},
            "postgresql://ann:s3cret@localhost:5532/hive?sslmode=verify-full",
            "command_timeout",
        ),
        (
            "libpq",
            {"driver": "pg8000", "query": "ssl=require"},
            "postgresql://ann:s3cret@localhost:5532/hive",
            "ssl",
        ),
        (
            "libpq",
            {"driver": "asyncpg", "query": "ssl=True"},
            "postgresql://ann:s3cret@localhost:5532/hive",
            "ssl",
        ),
        (
            "asyncpg",
            {"driver": "asyncpg", "query": "ssl=prefer"},
            "postgresql://ann:s3cret@localhost:5532/hive?sslmode=prefer",
            "",
        ),
        (
            "asyncpg",
            {"query": f"{TIMED}&sslmode=require&options=-c%20x%3D1", "host": "::1"},
            "postgresql://ann:s3cret@[::1]:5532/hive?sslmode=require&options=-c%20x%3D1",
            "connect_timeout keepalives",
        ),
        (
            "jdbc",
            {"query": f"{QUERY}&{TIMED}", "user": "a b", "password": "p&@/+"},
            "jdbc:postgresql://localhost:5532/hive?user=a%20b&password=p%26%40%2F%2B"
            "&sslmode=verify-ca&sslrootcert=%2Fa%2Bb.pem&options=-c%20x%3D1",
            "application_name connect_timeout keepalives",
        ),
        (
            "dotnet",
            {"query": f"{QUERY}&{TIMED}", "password": "a;b\"c=' "},
            'Host="localhost";Port="5532";Database="hive";Username="ann";Password="a;b""c=\' "'
            ';SSLMode="verifyca";RootCertificate="/a+b.pem";Options="-c x=1"',
            "application_name connect_timeout keepalives",
        ),
        (
            "dotnet",
            {},
            'Host="localhost";Port="5532";Database="hive";Username="ann";Password="s3cret"',
            "",
        ),
    ],
)
def test_format_database_url_forms(form, changes, text, left):
    """Each driver has its own words and quotes; an option that it has no word for is named."""
    assert format_database_url(make_url(**changes), form) == (text, left.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"user": "it's `x`"}, "carries POSTGRES_USER to", id="user, not for .env"),
        pytest.param({"password": "a\nb"}, "carries POSTGRES_PASSWORD to", id="two lines"),
        pytest.param({"password": "p\udce4"}, "carries POSTGRES_PASSWORD to", id="Latin-1"),
        pytest.param({"database": "a b"}, "its database", id="database"),
        pytest.param({"host": "a,b"}, "its host", id="host"),
        pytest.param({"host": "[x"}, "its host", id="half a bracket"),
        pytest.param({"port": 70000}, "its port", id="port"),
        pytest.param({"database": "hive?sslmode=disable"}, "cannot carry", id="altered"),
    ],
)
def test_check_carried_refused(changes, message):
    """What `.env` or the URL would not carry unchanged is refused."""
    with pytest.raises(EnvFileError, match=message):
        check_carried(make_url(**changes))


def test_check_carried_accepted():
    """Whatever both carry passes, however odd it looks."""
    check_carried(make_url(user="é:@/", password="it's 100% \"#\\x"))


def test_generate_credentials_shape():
    """User and password are letters and digits, 16 and 32, the user beginning with a letter."""
    users, passwords = zip(*(generate_credentials() for _ in range(200)))
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]{15}", user) for user in users)
    assert all(re.fullmatch("[A-Za-z0-9]{32}", password) for password in passwords)
    assert len({*users, *passwords}) == 400


# -- what .env says ------------------------------------------------------------------------------

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
def test_has_login_of_a_template(value, expected):
    """What templates carry counts as missing."""
    assert has_login({"POSTGRES_USER": "ann", "POSTGRES_PASSWORD": value}) is not expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("", True, id="none"),
        pytest.param(URL, True, id="real"),
        pytest.param("postgresql://user:s3cret@localhost:1/d", False, id="user of a template"),
        pytest.param("postgresql://ann:changeme@localhost:1/d", False, id="password of a template"),
    ],
)
def test_has_login_url(url, expected):
    """A template's URL is no login; user and password beside it count only without a URL."""
    values = {"HIVE_DATABASE_URL": url, "POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "s3cret"}
    assert has_login(values) is expected


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        pytest.param("ann", "s3cret", True, id="both"),
        pytest.param("ann", "", False, id="no password"),
        pytest.param("ann", "changeme", False, id="password of a template"),
        pytest.param("user", "s3cret", False, id="user of a template"),
    ],
)
def test_has_login_apart(user, password, expected):
    """Without a URL, a user and a password of its own are a login."""
    assert has_login({"POSTGRES_USER": user, "POSTGRES_PASSWORD": password}) is expected


COMPLETE = make_settings(uid=501, gid=20, image="pgvector/pgvector:pg16", bind="0.0.0.0").env


def test_settings_env_order():
    """A new .env has the URL first, then what Compose hands to the image, then names."""
    assert [key for key, value in make_settings().env.items() if value] == [
        "HIVE_DATABASE_URL",
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "HIVE_POSTGRES_PORT",
        "POSTGRES_UID",
        "POSTGRES_GID",
        "HIVE_POSTGRES_CONTAINER",
        "COMPOSE_PROJECT_NAME",
    ]
    assert [*COMPLETE][-4:-2] == ["HIVE_POSTGRES_IMAGE", "HIVE_POSTGRES_BIND"]


def test_parse_settings_complete():
    """What was written is read back."""
    settings = parse_settings(COMPLETE)
    assert isinstance(settings, Settings)
    assert settings.env == COMPLETE
    assert (settings.uid, settings.gid, settings.url) == (501, 20, make_url())


def test_parse_settings_least():
    """The URL and the two names are enough; ids default to 1000."""
    least = {k: COMPLETE[k] for k in COMPLETE if k.endswith(("URL", "_CONTAINER", "_NAME"))}
    settings = parse_settings(least)
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
def test_parse_settings_refused(changes, error, message):
    """A key that is missing, wrong or in contradiction is named, with what mends it."""
    with pytest.raises(error) as caught:
        parse_settings({**COMPLETE, **changes})
    assert message in str(caught.value)
    assert caught.value.hint
    assert not re.search("s3cret|0ther", f"{caught.value} {caught.value.hint}")


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
def test_parse_number_text(text, number):
    """A number is ASCII digits within its limits, and an error says what it is instead."""
    if number is None:
        with pytest.raises(EnvFileError) as caught:
            parse_number({"N": text}, "N", 7, range(100))
        assert caught.value.hint == "make it a number from 0 to 99"
    else:
        assert parse_number({"N": text}, "N", 7, range(100)) == number
