"""The console: who hears what, in which words and letters."""

import io
import json
import os
import sys
import time
from types import SimpleNamespace

import pytest
from fakes import full_disk, make_url

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


def test_console_whose_reader_is_gone(monkeypatch):
    """What nobody reads stops nothing that goes on; a result that is lost is an error."""
    full = full_disk()
    monkeypatch.setattr(sys, "stderr", full)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    console = Console(verbose=True)
    console.step("done")
    console.warn("warn")
    console.trace(["docker"])
    console.error(PostgreSQLIntegrationError("err"))
    assert console.ask("Really?") is None
    console._since -= 60
    console.tick()
    console.interrupted("")
    console.clear()
    with pytest.raises(OSError, match="No space left"):
        print("x", file=full)
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(OSError, match="No space left"):
        console.result("result")


def test_console_without_a_stderr(monkeypatch, capsys):
    """Who uses it as a library may have closed it."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    console = Console()
    console.warn("warn")
    console._since -= 60
    console.tick()
    console.result("result")
    assert capsys.readouterr().out == "result\n"


def test_console_step_symbol(capsys):
    """A step that is done has a mark in front."""
    Console().step("done")
    assert capsys.readouterr().err == "✓ done\n"


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
    """Every command can stand in a hint, with the workspace if it takes one."""
    place = "" if command in ("list", "completion") else " d"
    assert format_hint(f"{{{command}}}", directory="d") == f"hive-pg {command}{place}"


@pytest.mark.parametrize("say", ["note", "warn", "step"])
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


# -- what takes time -----------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Return the clock, a list with the time; it stands still."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Make stderr a terminal of 30 columns."""
    monkeypatch.setattr(hive_pg, "can_draw", lambda _: True)
    monkeypatch.setattr(hive_pg, "terminal_width", lambda _: 30)


def tick(console, clock, *moments):
    """Let a console be asked at some moments, in seconds after 100."""
    for moment in moments:
        clock[0] = 100 + moment
        console.tick()


def test_tick_terminal(terminal, clock, capsys):
    """One line moves, from half a second on, at most ten times a second; then it goes."""
    console = Console()
    tick(console, clock, 0, 0.4, 0.5, 0.55, 1.44)
    console.doing("x" * 30)
    tick(console, clock, 1.9, 1.95)
    console.step("done")
    console.step("next")
    clear = "\r\x1b[K"
    shown = f"asking Docker … 0.5 s{clear}asking Docker … 1.4 s{clear}{'x' * 29}{clear}"
    assert capsys.readouterr().err == f"{shown}✓ done\n✓ next\n"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_tick_file(monkeypatch, clock, capsys, term):
    """Where no line can move, there is one after five seconds, and then every ten."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: term == "dumb")
    tick(Console(), clock, 0, 4.9, 5, 14, 15, 24, 62)
    said = [f"asking Docker … {took}\n" for took in ("5.0 s", "15.0 s", "1 min 2 s")]
    assert capsys.readouterr().err == "".join(said)


def test_tick_quiet(terminal, clock, capsys):
    """Who wants it quiet sees none, and none is over what another program shows."""
    shown = Console()
    shown.doing("")
    for console in (Console(quiet=True), shown):
        tick(console, clock, 9)
        console.clear()
    assert capsys.readouterr().err == ""


def test_result_takes_the_line_away(terminal, clock, capsys):
    """A result does not begin behind the line that moves, nor does a question."""
    console = Console()
    tick(console, clock, 1)
    console.result("result")
    assert capsys.readouterr() == ("result\n", "asking Docker … 1.0 s\r\x1b[K")


# -- colours -------------------------------------------------------------------------------------

COLORS = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "cyan": "\x1b[36m"}


@pytest.mark.parametrize(
    ("environ", "terminal", "colored"),
    [
        pytest.param({}, True, True, id="terminal"),
        pytest.param({}, False, False, id="pipe"),
        pytest.param({"NO_COLOR": "1"}, True, False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": ""}, True, True, id="an empty NO_COLOR"),
        pytest.param({"TERM": "dumb"}, True, False, id="dumb"),
        pytest.param({"FORCE_COLOR": "1"}, False, True, id="FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True, id="FORCE_COLOR, dumb"),
        pytest.param({"FORCE_COLOR": ""}, False, False, id="an empty FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False, id="both"),
    ],
)
def test_console_colors_wanted(monkeypatch, environ, terminal, colored):
    """A terminal gets colours; NO_COLOR wins over FORCE_COLOR, and that over what it is."""
    for name, value in {"NO_COLOR": "", "FORCE_COLOR": "", **environ}.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    for to, expected in ((stream, colored), (None, colored and "FORCE_COLOR" in environ)):
        assert ("\x1b[31m" in Console()._show("error: x", to)) is expected


@pytest.mark.parametrize(
    ("way", "text", "shown"),
    [
        ("warn", "a warning: b", "<yellow>warning:<> a warning: b\n"),
        ("note", "warn or ok\nok then", "warn or ok\n<green>ok<> then\n"),
        ("note", "see hive-pg status, warn", "see <cyan>hive-pg status<>, warn\n"),
        ("note", "hive-pg statusx", "hive-pg statusx\n"),
        ("note", "hive-pg init --port N; x", "<cyan>hive-pg init --port N<>; x\n"),
        ("note", "hive-pg run -- CMD  told", "<cyan>hive-pg run -- CMD<>  told\n"),
        ("note", "\x1b[31mred", "\\x1b[31mred\n"),
    ],
)
def test_console_colors(monkeypatch, capsys, way, text, shown):
    """Marks and commands are coloured, and other programs colour nothing."""
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name, code in {**{f"<{k}>": v for k, v in COLORS.items()}, "<>": "\x1b[m"}.items():
        shown = shown.replace(name, code)
    getattr(Console(), way)(text)
    assert capsys.readouterr().err == shown


def test_console_colors_error_and_step(monkeypatch, capsys):
    """An error is red, a step green, and the command of the hint as it is called here."""
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(program="uvx hive-pg", path="my app")
    console.error(PostgreSQLIntegrationError("why", hint="{start}, or {init} --port N"))
    console.step("done")
    console.result("hive-pg start {url}")
    out, err = capsys.readouterr()
    cyan = "\x1b[36muvx hive-pg {} 'my app'{}\x1b[m"
    hint = f"hint: {cyan.format('start', '')}, or {cyan.format('init', ' --port N')}\n"
    step = "\x1b[32m✓\x1b[m"
    assert err.startswith(f"\x1b[31merror:\x1b[m why\n{hint}{step}")
    assert out == "hive-pg start {url}\n"


# -- the streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        pytest.param(encoded("utf-8"), "✓ é … ✗", id="UTF-8"),
        pytest.param(encoded("ascii"), "ok é ... FAIL", id="ASCII"),
        pytest.param(encoded("cp1252"), "ok é ... FAIL", id="Windows"),
        pytest.param(io.StringIO(), "ok é ... FAIL", id="no encoding"),
        pytest.param(None, "ok é ... FAIL", id="no stream"),
        pytest.param(type("Odd", (), {"encoding": "x-unknown"})(), "ok é ... FAIL", id="unknown"),
    ],
)
def test_console_symbols_encoding(stream, shown):
    """Where the encoding has no symbols, words stand in for them."""
    assert Console()._show("✓ é … ✗", stream) == shown


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
    ("columns", "is_terminal", "width"),
    [
        pytest.param("60", True, 60, id="COLUMNS"),
        pytest.param("wide", True, 80, id="no number"),
        pytest.param("60", False, sys.maxsize, id="no terminal"),
    ],
)
def test_terminal_width_source(monkeypatch, columns, is_terminal, width):
    """COLUMNS decides, then the terminal; 80 where neither says, and a file has no end."""
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width(SimpleNamespace(isatty=lambda: is_terminal)) == width
    assert terminal_width(None) == sys.maxsize


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
    """JSON is indented for people, and ASCII for any stdout; without `indent` it is one line."""
    assert format_json({"a": "ä"}) == '{\n  "a": "\\u00e4"\n}'
    assert format_json("ä", ensure_ascii=False) == '"ä"'
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


@pytest.mark.parametrize("way", ["step", "note", "warn", "error", "trace", "ask"])
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
