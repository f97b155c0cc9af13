"""The console: who hears what, in which words and letters."""

import io
import sys
from types import SimpleNamespace

import pytest

from hive_pg import (
    COMMANDS,
    Console,
    Outcome,
    PostgreSQLIntegrationError,
    is_interactive,
)


def encoded(name):
    """Return a stream with an encoding."""
    return io.TextIOWrapper(io.BytesIO(), encoding=name)


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        pytest.param(False, "note\nwarning: warn\nerror: err\n", id="usual"),
        pytest.param(True, "warning: warn\nerror: err\n", id="quiet"),
    ],
)
def test_console_streams(capsys, quiet, expected):
    """Results are on stdout, everything else on stderr; quiet silences notes only."""
    console = Console(quiet=quiet)
    console.result("result")
    console.note("note")
    console.warn("warn")
    console.error(PostgreSQLIntegrationError("err"))
    out, err = capsys.readouterr()
    assert (out, err) == ("result\n", expected)


def test_console_step_symbol(capsys):
    """A step that is done has a mark in front."""
    Console().step("done")
    assert capsys.readouterr().err == f"{Console.symbols(sys.stderr)[Outcome.PASSED]} done\n"


def test_console_error_shape(capsys):
    """An error has the message, at most twenty lines of the other program's, then the hint."""
    detail = "\n\n".join(f"line {n}" for n in range(30)) + "\n"
    error = PostgreSQLIntegrationError("what: why", hint="hive-pg start", detail=detail)
    Console().error(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "error: what: why",
        *(f"    line {n}" for n in range(10, 30)),
        "hint: hive-pg start",
    ]


def test_console_error_says_nothing_twice(capsys):
    """The only words of the other program are not repeated where the message ends with them."""
    Console().error(PostgreSQLIntegrationError("what: why", detail="\n  why \n"))
    assert capsys.readouterr().err == "error: what: why\n"


def test_console_trace_verbose(capsys):
    """With -v a command is shown as a shell takes it; of an argument of many lines, the first."""
    Console(verbose=True).trace(["docker", "exec", "a b", "user=$1\nrest\n", "d"])
    assert capsys.readouterr().err == "+ docker exec 'a b' 'user=$1 ...' d\n"
    Console().trace(["docker"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        pytest.param("\n", True, id="Enter"),
        pytest.param("y\n", True, id="y"),
        pytest.param(" YES \n", True, id="yes"),
        pytest.param("n\n", False, id="n"),
        pytest.param("what?\n", False, id="anything else"),
        pytest.param("", False, id="end of the input"),
    ],
)
def test_console_confirm_answer(monkeypatch, capsys, answer, agreed):
    """Enter is yes; the end of the input (which gets its newline), and all but yes, is no."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert Console().confirm("Really?") is agreed
    assert capsys.readouterr() == ("", "Really? [Y/n] " + ("" if answer else "\n"))


def test_console_confirm_interrupted(monkeypatch, capsys):
    """Ctrl-C at the question leaves the line before anything else is said."""

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=interrupt))
    with pytest.raises(KeyboardInterrupt):
        Console().confirm("Really?")
    assert capsys.readouterr().err == "Really? [Y/n] \n"


@pytest.mark.parametrize(
    ("program", "directory", "text", "expected"),
    [
        pytest.param("hive-pg", ".", "hive-pg start", "hive-pg start", id="as it is"),
        pytest.param(
            "hive-pg", "my app", "hive-pg start", "hive-pg start 'my app'", id="elsewhere"
        ),
        pytest.param(
            "python tools/hive_pg.py",
            "/w",
            "hive-pg logs -f, or hive-pg init --port N",
            "python tools/hive_pg.py logs /w -f, or python tools/hive_pg.py init /w --port N",
            id="copied file",
        ),
        pytest.param("x", "/w", "see hive-pg 0.1.0", "see hive-pg 0.1.0", id="no command"),
        pytest.param("x", "/w", "hive-pg starting", "hive-pg starting", id="only alike"),
    ],
)
def test_console_localize_text(program, directory, text, expected):
    """A command in a hint can be typed as it stands, where one is."""
    assert Console(program=program, directory=directory).localize(text) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_console_localize_command(command):
    """Every command is localized."""
    assert Console(directory="d").localize(f"hive-pg {command}") == f"hive-pg {command} d"


def test_console_result_verbatim(capsys):
    """A result is printed as it is: a URL or JSON must not change."""
    Console(program="python hive_pg.py", directory="it's").result("hive-pg start")
    assert capsys.readouterr().out == "hive-pg start\n"


@pytest.mark.parametrize(
    ("stream", "mark"),
    [
        pytest.param(encoded("utf-8"), "✓", id="UTF-8"),
        pytest.param(encoded("ascii"), "ok  ", id="ASCII"),
        pytest.param(encoded("cp1252"), "ok  ", id="Windows"),
        pytest.param(io.StringIO(), "ok  ", id="no encoding"),
        pytest.param(None, "ok  ", id="no stream"),
        pytest.param(type("Odd", (), {"encoding": "x-unknown"})(), "ok  ", id="unknown encoding"),
    ],
)
def test_console_symbols_encoding(stream, mark):
    """Where the encoding has no symbols, words of one width stand in for them."""
    symbols = Console.symbols(stream)
    assert symbols[Outcome.PASSED] == mark
    assert len(set(symbols.values())) == len(Outcome)
    assert len({len(symbol) for symbol in symbols.values()}) == 1


@pytest.mark.parametrize(
    ("stdin", "stderr", "expected"),
    [
        pytest.param(True, True, True, id="terminal"),
        pytest.param(False, True, False, id="input from a file"),
        pytest.param(True, False, False, id="questions into a file"),
        pytest.param(None, True, False, id="no stdin"),
    ],
)
def test_is_interactive_streams(monkeypatch, stdin, stderr, expected):
    """A person is asked only where both the question and the answer have a terminal."""
    for name, terminal in (("stdin", stdin), ("stderr", stderr)):
        stream = None if terminal is None else io.StringIO()
        if stream is not None:
            stream.isatty = lambda terminal=terminal: terminal
        monkeypatch.setattr(sys, name, stream)
    assert is_interactive() is expected
