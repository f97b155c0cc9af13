"""`completion`: the list of words, and the scripts that carry it."""

import shlex

import pytest

import hive_pg as pg
from hive_pg import COMMANDS, build_parser, main, read_options, render_completion


def rows_of(script):
    """Return the words that a script carries, as a shell reads them."""
    (rows,) = shlex.split(script.partition('"$line" ')[2].partition(" | awk")[0])
    return rows.splitlines()


NEW_OPTIONS = """\
url
  --into FILE           a file
  -w --width N          a number
  --fast                a flag
"""


def test_completion_rows(monkeypatch):
    """Options, values and places come from the table: a new one needs nothing but its line."""
    monkeypatch.setattr(pg, "COMMAND_LINE", pg.COMMAND_LINE + NEW_OPTIONS)
    rows = rows_of(render_completion("bash"))
    assert [row for row in rows if row.startswith("url:")][:2] == ["url::-h", "url::--help"]
    assert {"url::@directory", "url::--into", "url:--into:@file"} <= {*rows}
    assert {"url:--format:libpq", "url:--format:sqlalchemy"} <= {*rows}
    assert {"url::-w", "url:-w:", "url::--width", "url:--width:", "url::--fast"} <= {*rows}
    assert not any(row.startswith(("url:--quiet", "url:--fast")) for row in rows)
    assert len(rows) == len({*rows})


def test_completion_rows_of_a_directory_without_a_command():
    """It is the last: bash takes for words what stands before the first @."""
    rows = [row for row in rows_of(render_completion("bash")) if row.startswith("::")]
    assert [row for row in rows if "-" not in row] == [
        *(f"::{command}" for command in COMMANDS),
        "::@directory",
    ]
    assert rows[-1] == "::@directory"


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_rows_give_words_before_a_path(command):
    """A position of bash's words never follows that of a path, which would hide them."""
    rows = rows_of(render_completion("bash"))
    words = [row for row in rows if row.startswith(f"{command}::") and "::-" not in row]
    paths = ["@" in word for word in words]
    assert paths == sorted(paths)


@pytest.mark.parametrize("shell", pg.COMPLETIONS)
def test_completion_says_every_option(capsys, shell):
    """Each command, each option of it and each choice is in each shell's script."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    rows = rows_of(script)
    assert not {"ROWS", "NAMES", "CHOOSE"} & {*script.replace('"', " ").replace("$", " ").split()}
    for command in COMMANDS:
        assert f"::{command}" in rows
        for action in build_parser(command=command)._actions:
            for name in action.option_strings:
                assert f"{command}::{name}" in rows
                assert {f"{command}:{name}:{c}" for c in action.choices or ()} <= {*rows}


@pytest.mark.parametrize("alias", pg.ALIASES)
def test_completion_rows_of_an_alias(alias):
    """It has what its command has, and is a command to what stands behind it; it is not offered."""
    script = render_completion("bash")
    rows, command = rows_of(script), pg.ALIASES[alias]
    of_command = [row.partition(":")[2] for row in rows if row.startswith(f"{command}:")]
    assert [row.partition(":")[2] for row in rows if row.startswith(f"{alias}:")] == of_command
    assert f"|{alias}" in script
    assert f"::{alias}" not in rows


def test_completion_rows_are_the_same_in_each_shell():
    """One list for all, without what the shells would read differently between quotes."""
    bash, zsh, fish = (rows_of(render_completion(shell)) for shell in pg.COMPLETIONS)
    assert bash == zsh == fish
    assert not {"\\", "'", " "} & {*"".join(bash)}
    assert {row.count(":") for row in bash} == {2}


def test_completion_shells():
    """The command takes each shell that has a script."""
    (_, value, _) = [*read_options("completion")][-1]
    assert value.split("|") == [*pg.COMPLETIONS]


def test_completion_of_another_shell(capsys):
    """There are three."""
    assert main(["completion", "csh"]) == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
