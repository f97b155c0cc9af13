"""Services as people write them: TLS that is asked for and not there, and what else they have."""

from __future__ import annotations

import pytest
from laboratory import read_env

pytestmark = pytest.mark.engine


# -- what the URL asks for -----------------------------------------------------------------------


@pytest.mark.parametrize("query", ["sslmode=require", "sslmode=verify-full"])
def test_url_that_asks_for_tls_is_not_verified_without(lent, query):
    """Copied from a hosted environment: exit 5, the option, and what to take out of `.env`."""
    lent.edit_env(HIVE_DATABASE_URL=f"{lent.env['HIVE_DATABASE_URL']}?{query}")
    for command in ("start", "wait", "check", "init"):
        result = lent.hive_pg(command, code=5)
        said = result.stdout + result.stderr
        assert f"the server has no TLS, which {query} in it asks for" in said
        assert "take that out of HIVE_DATABASE_URL" in said
    assert lent.hive_pg("psql", "--", "-Atc", "select 1").stdout == "1\n"


def test_options_of_another_driver_are_kept_and_named(lent):
    """They are not libpq's, so nothing here can try them, and libpq's URL goes without."""
    url = lent.env["HIVE_DATABASE_URL"].replace("+psycopg:", "+asyncpg:") + "?ssl=prefer"
    lent.edit_env(HIVE_DATABASE_URL=url)
    words = "HIVE_DATABASE_URL has ssl, which only asyncpg can check"
    assert words in lent.hive_pg("check").stdout
    for command in ("start", "init"):
        assert f"warning: {words}" in lent.hive_pg(command).stderr
    assert read_env(lent.path / ".env")["HIVE_DATABASE_URL"] == url
    libpq = lent.hive_pg("url", "--format", "libpq", secret=True).stdout.strip()
    assert lent.lab.psql(libpq, "-Atc", "select 1").stdout == "1\n"


def test_option_that_libpq_does_not_know_is_refused(lent):
    """With psycopg, or no driver, no application can connect: the option's name is said."""
    lent.edit_env(HIVE_DATABASE_URL=f"{lent.env['HIVE_DATABASE_URL']}?ssl=require")
    for command in ("check", "start", "init"):
        assert "libpq's, which does not know ssl" in lent.hive_pg(command, code=1).stderr
