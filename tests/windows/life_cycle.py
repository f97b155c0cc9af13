"""One life cycle on the real engine, by a Python for Windows: `python life_cycle.py DIR`.

`.ci/windows` runs it under Wine, with a docker.exe that leads to this machine's docker. What is
asserted is what a user would notice on Windows: exit codes, line ends, the address, no lock left.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HIVE_PG = Path(__file__).resolve().parents[2] / "hive_pg.py"
IMAGE = os.environ.get("HIVE_POSTGRES_IMAGE", "hive-pg-test/pgvector:16")


def hive(*arguments, code=0, stdin=b"", **environment):
    """Run hive-pg as a program; return what it printed as its result."""
    argv = [sys.executable, str(HIVE_PG), *arguments]
    env = {**os.environ, "HIVE_POSTGRES_IMAGE": IMAGE, **environment}
    result = subprocess.run(argv, input=stdin, capture_output=True, env=env, timeout=300)
    said = result.stderr.decode("utf-8", "replace")
    assert result.returncode == code, f"{arguments} ended with {result.returncode}: {said}"
    assert "Traceback" not in said, said
    assert b"\r" not in result.stdout, result.stdout
    print(f"ok {' '.join(arguments)}", flush=True)
    return result.stdout.decode("cp1252", "replace")


def query(sql):
    """Return what psql prints."""
    return hive("psql", "-Atc", sql).strip()


def set_up():
    """Make the database, in a volume, reached by 127.0.0.1; `.env` has lines of Unix."""
    for words in (["--version"], ["--help"], ["init", "--help"]):
        hive(*words, PYTHONIOENCODING="cp437")
    name = os.environ["HIVE_PG_TEST_PROJECT"]
    names = f"HIVE_POSTGRES_CONTAINER={name}\r\nCOMPOSE_PROJECT_NAME={name}\r\n"
    Path(".env").write_bytes(names.encode())
    hive("init", "--yes")
    data = Path(".env").read_bytes()
    assert data.startswith(names.encode())
    assert data.count(b"\n") == data.count(b"\r\n") > 5
    status = json.loads(hive("status", "--json"))
    assert "127.0.0.1" in status["database_url"], status
    hive("check")
    assert hive("url").startswith("postgresql+psycopg://")
    assert hive("env", "--format", "powershell").startswith("Remove-Item Env:")


def use():
    """Run a script, a program with its exit code, and one with a database of its own."""
    hive("psql", stdin=b"create table t as select generate_series(1, 1000) a;\n")
    program = "import os; print(os.environ['PGHOST'], end=''); raise SystemExit(7)"
    assert hive("run", "--", sys.executable, "-c", program, code=7) == "127.0.0.1"
    hive("run", "--", "no-such-program", code=127)
    hive("run", "--fresh", "--", sys.executable, "-c", "raise SystemExit(0)")
    assert not [*Path().glob("*.lock*")]
    with ThreadPoolExecutor(2) as pool:  # one waits for the other's lock
        for _ in pool.map(hive, ["start", "start"]):
            pass


def keep():
    """Take a dump and a snapshot back, and a new password; line ends stay, no file is left."""
    hive("backup", "-o", "a.dump")
    hive("psql", "-c", "drop table t")
    hive("restore", "a.dump", "--yes")
    assert query("select count(*) from t") == "1000"
    hive("snapshot", "@one")
    hive("restore", "@one", "--yes")
    hive("restore", "--yes", "--drop-old")
    before = Path(".env").read_bytes()
    hive("rotate")
    after = Path(".env").read_bytes()
    assert after != before
    assert after.count(b"\r\n") == before.count(b"\r\n")
    assert query("select count(*) from t") == "1000"
    assert not [*Path().glob("*.tmp")]


def end():
    """Stop, start, lose `.env`, and delete all but the backup."""
    hive("stop")
    hive("psql", "-c", "select 1", code=3)
    hive("start")
    Path(".env").unlink()
    hive("status", code=3)
    hive("init", "--yes")
    assert query("select count(*) from t") == "1000"
    assert os.environ["HIVE_PG_TEST_PROJECT"] in hive("list", "--json")
    hive("destroy", "--data", "--purge", "--yes")
    assert sorted(path.name for path in Path().iterdir()) == ["a.dump", "backups"]
    hive("status", code=3)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    for step in (set_up, use, keep, end):
        step()
    print("the life cycle is whole")
