"""What comes between an SQL script and psql, run by this machine's sh, sed and awk; no engine."""

import subprocess

import pytest

import hive_pg as pg

KEY = "aB1"
DUMP = f"--\n-- PostgreSQL database dump\n--\n\n\\restrict {KEY}\n\nselect 1;\n\n"
DUMP += f"\\unrestrict {KEY}\n\n"


def load(script, *, restricts, after="", client=("cat",)):
    """Return what the client gets of a script, what is said, and how it ended."""
    data = script if isinstance(script, bytes) else script.encode()
    head_filter = pg.build_script_filter(data[:4096], restricts=restricts)
    argv = ["sh", "-c", pg._LOAD_SCRIPT, "hive-pg", head_filter, after, *client]
    return subprocess.run(argv, input=data, capture_output=True, timeout=30, check=False)


HARMLESS = {
    "statements": "create table t (a int);\nselect 'it''s';",
    "no line end": "select 1",
    "rows": "copy t from stdin;\na\\tb\\n\\N\\\\\\b\\f\\r\\v\\x41\\101\n\\.\nselect 1;",
    "rows, Windows' line ends": "copy t from stdin;\r\na\tb\r\n\\.\r\n",
    "rows, dots in them": "copy t from stdin;\n\\.x\n\\..\n\\.\n",
    "rows with Markdown": "copy t from stdin;\n1\t# Title\\n\\nUse `x`\\tif `y`\\r\\n`z`\n\\.\n",
    "escaped string": "select E'a\\nb\\\\';",
    "no text of ours": "insert into t values ('\u00e9\u65e5');",
}
HARMFUL = {
    "what was selected": "select 'drop database ' || 'hive ' \\gexec",
    "a program": "\\! dropdb hive",
    "another file": "select 1;\n\\i x.sql",
    "nothing": "select 1 \\",
    "connect": "select 1;\n\\connect postgres\n",
    "connect, short": "\\c postgres\n",
    "behind a command": "\\set a 1 \\\\ drop database hive;",
    "behind rows' end": "copy t from stdin;\n\\.\n\\copy t from 'x'",
    "a quote in a string": "select E'it\\'s';",
    "a program's output": "\\t `id`",
    "a program's output, expanded": "\\x `id`",
    "a program's output, bound": "\\bind `id` \\g",
    "a program's output, later": "\\t on \\\\ \\x `id`",
}


@pytest.mark.parametrize("script", HARMLESS.values(), ids=HARMLESS)
def test_guard_lets_pass(script):
    """Rows of COPY and what has no backslash come through as they are, with a last line end."""
    result = load(script, restricts=False, after="-- after")
    assert (result.returncode, result.stderr) == (0, b"")
    end = "" if script.endswith("\n") else "\n"
    assert result.stdout.decode() == f"{script}{end}-- after\n"


@pytest.mark.parametrize("script", HARMFUL.values(), ids=HARMFUL)
def test_guard_refuses(script):
    """A backslash that may begin a command is refused with its line, before psql has it."""
    result = load(f"select 0;\n{script}\nselect 2;\n", restricts=False, after="-- after")
    said = result.stderr.decode()
    (line,) = (int(word) for word in said.split() if word.isdigit())
    assert said == f"hive-pg: a backslash in line {line}\n"
    assert result.stdout.decode() == "".join(
        text + "\n" for text in f"select 0;\n{script}".split("\n")[: line - 1]
    )


def test_guard_bytes_that_are_no_text():
    """What is in no encoding comes through."""
    script = b"insert into t values ('\xff\xe9');\n"
    assert load(script, restricts=False).stdout == script + b"\n"


@pytest.mark.parametrize("restricts", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["Unix", "Windows"])
def test_own_restriction_of_a_dump_is_left_out(restricts, end):
    r"""pg_dump's `\restrict` and its end go, so that ours holds to the end of the script."""
    result = load(DUMP.replace("\n", end), restricts=restricts)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"restrict" not in result.stdout
    assert result.stdout.count(b"\n") == DUMP.count("\n") + 1


@pytest.mark.parametrize("script", HARMFUL.values(), ids=HARMFUL)
def test_restricted_psql_gets_all(script):
    r"""A psql with `\restrict` refuses commands by itself, so it gets the script whole."""
    result = load(script, restricts=True)
    assert result.stdout.decode().strip("\n") == script.strip("\n")


def test_another_restriction_stays():
    """Only the key of the dump's head is left out: another one is refused by psql."""
    script = DUMP + "\\unrestrict other\n"
    assert b"\\unrestrict other\n" in load(script, restricts=True).stdout
    assert b"line" in load(script, restricts=False).stderr


def test_end_of_psql_is_the_end():
    """Its exit code counts, also where it ends before it has read all."""
    client = ("sh", "-c", "read -r line; exit 3")
    assert load("select 1;\n" * 100_000, restricts=True, client=client).returncode == 3
