"""Database URLs: read where SQLAlchemy, libpq and asyncpg read them alike, and written for all."""

import pytest
from fakes import recorded
from hypothesis import given
from hypothesis import strategies as st

from hive_pg import (
    DatabaseURL,
    EnvFileError,
    build_database_url,
    format_env_value,
    parse_database_url,
    url_env,
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
    ],
)
def test_parse_database_url_parts(text, url):
    """Every part is decoded, and the port is PostgreSQL's own where none is named."""
    assert parse_database_url(text) == url


def test_database_url_repr():
    """The password is masked wherever a URL is shown, whatever the user is called."""
    assert repr(DatabaseURL("u", "s3cret")) == "postgresql+psycopg://u:****@localhost:5532/hive"
    assert repr(DatabaseURL(":x@", "s3cret")) == (
        "postgresql+psycopg://%3Ax%40:****@localhost:5532/hive"
    )
    assert "s3cret" not in f"{DatabaseURL('u', 's3cret')}"


def test_url_env_keys():
    """What the image gets from .env repeats what the URL says, decoded."""
    assert url_env(DatabaseURL("u", "p@ss", "h", 1, "d")) == {
        "HIVE_DATABASE_URL": "postgresql+psycopg://u:p%40ss@h:1/d",
        "POSTGRES_USER": "u",
        "POSTGRES_PASSWORD": "p@ss",
        "POSTGRES_DB": "d",
        "HIVE_POSTGRES_PORT": "1",
    }


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
URLS = st.builds(
    DatabaseURL,
    user=WORDS,
    password=WORDS,
    host=st.sampled_from(["localhost", "127.0.0.1", "::1", "fe80::1:2", "db.example.org", "a_b"]),
    port=st.integers(1, 65535),
    database=st.from_regex(r"[A-Za-z0-9_.-]{1,63}", fullmatch=True),
    driver=st.sampled_from(["", "psycopg", "psycopg_async", "asyncpg"]),
    query=st.sampled_from(["", "sslmode=disable", "a=b%20c&connect_timeout=5"]),
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
