"""The applications of the README: each block of "Connect your application" finds its database."""

import re

import pytest
from laboratory import REPOSITORY, pip_install, run, unavailable

pytestmark = pytest.mark.engine

ASK_DJANGO = """
import django.conf
import django.db

django.conf.settings.configure(DATABASES=DATABASES)
with django.db.connection.cursor() as cursor:
    cursor.execute("select version()")
    print(cursor.fetchone())
"""


def test_application_of_the_readme(served, tmp_path):
    """It is run as it stands there, by `run`, with what the package index has today."""
    venv = tmp_path / "venv"
    assert run([served.lab.python, "-m", "venv", "--without-pip", venv]).returncode == 0
    result = pip_install(venv, "psycopg[binary]", "sqlalchemy", "asyncpg", "django")
    if result.returncode:
        unavailable(f"they cannot be installed: {result.stderr[-300:]}")
    section = (REPOSITORY / "README.md").read_text().split("## Connect your application")[1]
    blocks = re.findall(r"(?s)```python\n(.*?)```", section.split("\n## ")[0])
    assert len(blocks) == 4
    for block in blocks:
        block += ASK_DJANGO if "DATABASES" in block else ""
        result = served.hive_pg("run", "--", f"{venv}/bin/python", "-c", block)
        assert "PostgreSQL 16" in result.stdout, block
