"""The console: who hears what, in which words and letters."""

import io
import json
import os
import sys
import time
from types import SimpleNamespace

import pytest
from fakes import make_url

import hive_pg
from hive_pg import (
    COMMANDS,
    Console,
    ExitCode,
    Outcome,
    PostgreSQLIntegrationError,
    format_duration,
    format_hint,
    format_json,
    format_size,
    format_stamp,
    is_interactive,
    last_line,
    printable,
    quote_word,
    terminal_width,
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
    error = PostgreSQLIntegrationError("what: why", hint="{start}", detail=detail)
    Console(path="app").error(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "error: what: why",
        *(f"    line {n}" for n in range(10, 30)),
        "hint: hive-pg start app",
    ]


def test_console_error_says_nothing_twice(capsys):
    """The only words of the other program are not repeated where the message ends with them."""
    Console().error(PostgreSQLIntegrationError("what: why", detail="\n  why \n"))
    Console().error(PostgreSQLIntegrationError("what: why", detail="because\nwhy"))
    expected = "error: what: why\nerror: what: why\n    because\n    why\n"
    assert capsys.readouterr().err == expected


def test_console_trace_verbose(capsys):
    """With -v a command is shown as a shell takes it; of an argument of many lines, the first."""
    Console(verbose=True).trace(["docker", "exec", "a b", "user=$1\nrest\n", "d"])
    assert capsys.readouterr().err == "+ docker exec 'a b' 'user=$1 ...' d\n"
    Console().trace(["docker"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        pytest.param("\n", None, id="Enter"),
        pytest.param("y\n", True, id="y"),
        pytest.param(" YES \n", True, id="yes"),
        pytest.param("n\n", False, id="n"),
        pytest.param("what?\n", False, id="anything else"),
        pytest.param("", False, id="end of the input"),
    ],
)
def test_console_confirm_answer(monkeypatch, capsys, answer, agreed):
    """Enter is what stands in capitals; the end of the input (which gets its newline) is no."""
    for enter, letters in ((True, "Y/n"), (False, "y/N")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        expected = enter if agreed is None else agreed
        assert Console().confirm("Really?", enter=enter) is expected
        assert capsys.readouterr() == ("", f"Really? [{letters}] " + ("" if answer else "\n"))


def test_console_confirm_interrupted(monkeypatch, capsys):
    """Ctrl-C at the question leaves the line before anything else is said."""

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=interrupt))
    with pytest.raises(KeyboardInterrupt):
        Console().confirm("Really?")
    assert capsys.readouterr().err == "Really? [Y/n] \n"


@pytest.mark.parametrize(
    ("there", "start"), [(True, "\r\x1b[K"), (False, "")], ids=["terminal", "file"]
)
def test_console_interrupted(monkeypatch, capsys, there, start):
    """What is said after Ctrl-C has the line in which the terminal wrote ^C."""
    monkeypatch.setattr(hive_pg, "is_terminal", lambda _: there)
    Console().interrupted("; see {status}")
    expected = f"{start}warning: interrupted; see hive-pg status\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("program", "path", "text", "expected"),
    [
        pytest.param("hive-pg", ".", "{start}", "hive-pg start", id="here"),
        pytest.param("hive-pg", "my app", "{start}", "hive-pg start 'my app'", id="elsewhere"),
        pytest.param(
            "python tools/hive_pg.py",
            "/w",
            "{logs} -f, or {init} --port N",
            "python tools/hive_pg.py logs /w -f, or python tools/hive_pg.py init /w --port N",
            id="copied file",
        ),
        pytest.param("C:\\py \\1", "/w", "{url}", "C:\\py \\1 url /w", id="backslashes"),
        pytest.param("x", "/w", "{starting} {} {{x}}", "{starting} {} {{x}}", id="only alike"),
        pytest.param("x", "/w", "hive-pg start", "hive-pg start", id="a name in prose"),
    ],
)
def test_format_hint_text(program, path, text, expected):
    """A command in a hint can be typed as it stands; all else stays."""
    assert format_hint(text, program, path) == expected
    assert Console(program=program, path=path).format(text) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_format_hint_command(command):
    """Every command can stand in a hint."""
    assert format_hint(f"{{{command}}}", directory="d") == f"hive-pg {command} d"


@pytest.mark.parametrize("say", ["note", "warn", "step", "progress"])
def test_console_says_verbatim(capsys, say):
    """What is said may quote a file's name or PostgreSQL's words: it is printed as it is."""
    getattr(Console(program="python hive_pg.py"), say)("see {start}")
    assert capsys.readouterr().err.endswith("see {start}\n")


def test_console_error_verbatim(capsys):
    """Of an error the hint alone names commands."""
    error = PostgreSQLIntegrationError("no {start}", hint="{start}", detail="a {start}\nb")
    Console().error(error)
    expected = "error: no {start}\n    a {start}\n    b\nhint: hive-pg start\n"
    assert capsys.readouterr().err == expected


def test_console_result_verbatim(capsys):
    """A result is printed as it is: a URL, a password or JSON must not change."""
    Console(program="python hive_pg.py").result("PGPASSWORD={start}")
    assert capsys.readouterr().out == "PGPASSWORD={start}\n"


# -- progress ------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Return the clock, a list with the time; it stands still."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Make stderr a terminal of 20 columns."""
    monkeypatch.setattr(hive_pg, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "20")


def test_console_progress_terminal(terminal, clock, capsys):
    """On a terminal one line moves, cut to its width, at most ten times a second; then it goes."""
    console = Console()
    for moment, text in ((0, "one"), (0.05, "too soon"), (0.2, "x" * 30)):
        clock[0] = 100 + moment
        console.progress(text)
    console.note("done")
    console.note("next")
    clear = "\r\x1b[K"
    assert capsys.readouterr().err == f"{clear}one{clear}{'x' * 19}{clear}done\nnext\n"


def test_console_progress_file(clock, capsys):
    """Without a terminal there is a line every ten seconds, or as often as was asked for."""
    console = Console()
    for moment in (0, 9.9, 10, 13, 14):
        clock[0] = 100 + moment
        console.progress(str(moment), period=4.0 if moment >= 10 else 10.0)
    assert capsys.readouterr().err == "0\n10\n14\n"


def test_console_progress_quiet(terminal, capsys):
    """Who wants it quiet sees no progress."""
    Console(quiet=True).progress("one")
    assert capsys.readouterr().err == ""


# -- the streams ---------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("columns", "actual", "width"),
    [
        pytest.param("60", 100, 60, id="COLUMNS"),
        pytest.param("", 100, 100, id="the terminal's"),
        pytest.param("0", 100, 80, id="nothing"),
        pytest.param("wide", 100, 80, id="no number"),
        pytest.param("", 0, 80, id="a terminal that does not know"),
        pytest.param("", None, 80, id="no terminal"),
    ],
)
def test_terminal_width_source(monkeypatch, columns, actual, width):
    """COLUMNS decides, then the terminal; 80 where neither says."""

    def size():
        if actual is None:
            raise OSError(25, "Inappropriate ioctl for device")
        return os.terminal_size((actual, 24))

    monkeypatch.setattr(os, "get_terminal_size", size)
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


# -- words and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(ExitCode.UNHEALTHY, 5, id="number of an enum"),
        pytest.param([Outcome.PASSED, "x"], ["passed", "x"], id="list"),
        pytest.param((None, 1.5), [None, 1.5], id="tuple"),
        pytest.param({"a": 1}, {"a": 1}, id="dictionary"),
        pytest.param([make_url()], [make_url().fields()], id="record"),
    ],
)
def test_format_json_value(value, expected):
    """Enums are their values, sequences lists, records their fields, the rest itself."""
    assert json.loads(format_json(value)) == expected


def test_format_json_text():
    """JSON is indented for people, and keeps their letters; without `indent` it is one line."""
    assert format_json({"a": "ä"}) == '{\n  "a": "ä"\n}'
    assert format_json({"a": [1, 2]}, indent=None) == '{"a": [1, 2]}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3605, "1 h 5 s"),
        (86400, "1 d"),
        (400 * 86400, "400 d"),
    ],
)
def test_format_duration_units(seconds, text):
    """A duration is in its two largest units, without empty ones."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 kB"),
        (1536, "1.5 kB"),
        (1024**2 - 6, "1.0 MB"),
        (3 * 1024**3, "3.0 GB"),
        (2000 * 1024**4, "2000.0 TB"),
    ],
)
def test_format_size_units(size, text):
    """A size is in the largest unit that it fills, rounded as it is shown."""
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("\n \n", ""), ("a", "a"), ("a\n  b \n\n \n", "b"), ("a\r\nb\r\n", "b")],
)
def test_last_line_text(text, line):
    """The last line that says something, without blanks around it."""
    assert last_line(text) == line


def test_format_stamp_order():
    """A stamp in a name is in UTC, to the second, so that names sort by time."""
    assert format_stamp(0) == "19700101T000000Z"
    assert format_stamp(1795449270.9) == "20261123T155430Z"


def test_printable_text():
    """What a terminal would act on is an escape; letters and symbols stay."""
    assert printable("a\x1b[2J\n\x9bé日\u202e✓") == r"a\x1b[2J\n\x9bé日\u202e✓"
    assert printable("a\tb\nc\udcff", "\n") == "a\\tb\nc\\udcff"


HOSTILE = "one\x1b]0;title\x07\r\u202e\ntwo"
SHOWN = "one\\x1b]0;title\\x07\\r\\u202e\ntwo"


@pytest.mark.parametrize("way", ["step", "note", "progress", "warn", "error", "trace", "ask"])
def test_console_shows_escapes(monkeypatch, capsys, way):
    """Paths, names and other programs' words cannot act on the terminal; their lines stay."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    said = {"error": hive_pg.WorkspaceError("one", detail=HOSTILE), "trace": [HOSTILE]}
    getattr(Console(verbose=True), way)(said.get(way, HOSTILE))
    shown = capsys.readouterr().err
    assert "one\\x1b]0;title\\x07" in shown
    assert not {"\x1b", "\x07", "\r", "\u202e"} & {*shown}


def test_console_result_is_for_programs(capsys):
    """A URL or a path is printed byte for byte; what people are shown is not."""
    Console().result(HOSTILE)
    Console().result(HOSTILE, shown=True)
    assert capsys.readouterr().out == f"{HOSTILE}\n{SHOWN}\n"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("/a-b/c.d", "/a-b/c.d"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\"'\"'s'")],
)
def test_quote_word_shell(word, quoted):
    """A shell reads the word back as it was."""
    assert quote_word(word) == quoted
