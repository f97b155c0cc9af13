"""The `.env` text: what is read, what is refused, and what an edit leaves alone."""

import io
from importlib.metadata import version

import dotenv
import pytest
from fakes import recorded
from hypothesis import given
from hypothesis import strategies as st

from hive_pg import (
    EnvFileError,
    blank_example,
    decode_env,
    edit_env,
    env_values,
    format_env_value,
    parse_env,
)

VECTORS = recorded("dotenv_vectors.json")
ROUNDTRIP = recorded("dotenv_roundtrip.json")
NEEDS_DOTENV_1_2_3 = pytest.mark.skipif(
    tuple(map(int, version("python-dotenv").split(".")[:3])) < (1, 2, 3),
    reason="python-dotenv before 1.2.3 loses what follows a value that ends with a backslash",
)


def read(text, environ=None):
    """Return the values that all readers agree on."""
    return env_values(parse_env(text, environ or {}))


def edit(text, changes):
    """Return a text with other values of some keys."""
    return edit_env(text, parse_env(text, {}), changes)


def read_vector(vector):
    """Return the value of a vector's key, None where it is refused."""
    try:
        text = decode_env(vector["input"].encode("utf-8", "surrogateescape"))
        return read(text, vector.get("os_env")).get(vector["key"])
    except EnvFileError:
        return None


def refusal(function, *arguments):
    """Return the error that a call raises."""
    with pytest.raises(EnvFileError) as caught:
        function(*arguments)
    return caught.value


# -- against the real readers --------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=[v["group"] + " " + v["note"] for v in VECTORS])
def test_parse_env_vector(vector):
    """A value is what Compose, python-dotenv and sh read, or it is not read at all."""
    value = read_vector(vector)
    readers = {vector["compose_go"], vector["python_dotenv"], vector["posix_sh"]}
    if "\r\n" in vector["input"]:  # where sh takes CR for the value's
        readers = {vector["compose_go"], vector["python_dotenv"]}
    assert value is None or readers == {value}


def test_parse_env_vectors_accepted():
    """Refusing everything would be no answer: the common forms are read."""
    assert sum(read_vector(vector) is not None for vector in VECTORS) >= 80


@pytest.mark.parametrize("row", ROUNDTRIP, ids=range(len(ROUNDTRIP)))
def test_format_env_value_roundtrip(row):
    """A value is written in the one spelling that every reader reads back."""
    assert format_env_value(row["value"]) == row["encoded"]
    assert read(f"K={row['encoded']}\n") == {"K": row["value"]}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a\nb", id="line feed"),
        pytest.param("a\rb", id="carriage return"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\udc80", id="lone surrogate"),
        pytest.param("a b\\", id="final backslash"),
        pytest.param("a\\", id="final backslash, else plain"),
        pytest.param("${HOME}", id="reference"),
        pytest.param("a${b:-c}d", id="reference with default"),
        pytest.param("it's `x`", id="quote and backquote"),
        pytest.param("it's $5", id="quote and dollar"),
        pytest.param("a\\\\b$", id="two backslashes and dollar"),
        pytest.param("a\\\\b`", id="two backslashes and backquote"),
    ],
)
def test_format_env_value_refused(value):
    """What no spelling carries to all readers is refused, and not repeated in the message."""
    error = refusal(format_env_value, value)
    assert value not in f"{error} {error.hint}"
    assert r"' or \\ together with ` or $" in error.hint


# -- the whole file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "where"),
    [
        pytest.param(b"\xef\xbb\xbfA=1\n", r"line 1 has b'\xef\xbb\xbf'", id="BOM"),
        pytest.param(b"A=1\n\nB=\0\n", r"line 3 has b'\x00'", id="NUL"),
        pytest.param(b"A=1\r\nB=2\r\r\n", r"line 2 has b'\r'", id="CR before CRLF"),
        pytest.param(b"A=1\rB=2\n", r"line 1 has b'\r'", id="CR alone"),
        pytest.param(b"A=1\nB=\xe9\n", r"line 2 has b'\xe9'", id="Latin-1"),
        pytest.param("\ufeffA=1\n".encode("utf-16-le"), r"line 1 has b'\xff'", id="UTF-16"),
        pytest.param(
            "\ufeffA=1\n".encode("utf-16-be"), r"line 1 has b'\xfe'", id="UTF-16, big end"
        ),
        pytest.param(
            "A=1\n".encode("utf-16-be"), r"line 1 has b'\x00'", id="UTF-16 without a mark"
        ),
    ],
)
def test_decode_env_refused(data, where):
    """Bytes that the readers take differently are refused, with the place and what helps."""
    error = refusal(decode_env, data)
    assert where in str(error)
    assert error.hint


def test_decode_env_accepted():
    """Plain UTF-8 passes as it is, a mark that is not the first character included."""
    assert decode_env("A=ä\n# \ufeff\n".encode()) == "A=ä\n# \ufeff\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("A=1\nB='x\n", "line 2 is no whole assignment", id="single quote"),
        pytest.param('\nB="x\\"\n', "line 2 is no whole assignment", id="double quote"),
        pytest.param("B='it\\'\n", "line 1 is no whole assignment", id="escaped quote"),
        pytest.param("A=1\n\n???\n", "line 3 is no whole assignment", id="garbage"),
        pytest.param("A=1\n=x\n", "line 2 is no whole assignment", id="no key"),
        pytest.param("two words\n", "line 1 is no whole assignment", id="words"),
        pytest.param("A=1\n'B'=2\n", "line 2 is no whole assignment", id="quoted key"),
        pytest.param("'B\nA=1\n", "line 1 is no whole assignment", id="quote before a key"),
        pytest.param('export "B"=2\n', "line 1 is no whole assignment", id="quoted key of export"),
        pytest.param(
            "A='1\n2'\n!\n", "line 3 is no whole assignment", id="after two lines of one value"
        ),
    ],
)
def test_parse_env_refused(text, message):
    """What makes Compose reject the whole file is an error that names the line."""
    assert message in str(refusal(parse_env, text, {}))


def test_parse_env_10_mb():
    """A file of ten megabytes is read and edited, whatever it is made of."""
    lines = "# comment\nKEY='value' # comment\n" * 10_000
    references = '"' + "${R:-x}" * 100_000 + '"'
    unclosed = "'" + "${x" * 300_000 + "'"
    text = f"{lines}A={'a' * 5_000_000}\nB='{'b ' * 2_000_000}'\nC={references}\nD={unclosed}\n"
    assert edit(text, {"A": "1"}) == text.replace("a" * 5_000_000, "1")
    assert read(text)["C"] == "x" * 100_000


# -- one assignment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        pytest.param("A=1\nK=${A}\n", {}, "1", id="earlier key"),
        pytest.param('A=1\nK="x ${A} y"\n', {}, "x 1 y", id="in double quotes"),
        pytest.param("A=1\nK='${A}'\n", {}, None, id="in single quotes, where dotenv expands too"),
        pytest.param("A=1\nK=${A}\n", {"A": "1"}, "1", id="same in the environment"),
        pytest.param("A=1\nK=${A}\n", {"A": "2"}, None, id="other in the environment"),
        pytest.param("A=1\nK=${A}\n", {"A": ""}, None, id="empty in the environment"),
        pytest.param("K=${A}\n", {"A": "2"}, None, id="in the environment alone"),
        pytest.param("K=${A:-d}\n", {}, "d", id="default"),
        pytest.param("K=${A:-d}\n", {"A": "d"}, "d", id="default that the environment has, too"),
        pytest.param("K=${A:-d}\n", {"A": "e"}, None, id="default that it contradicts"),
        pytest.param("A=1\nK=${A:-d}\n", {}, "1", id="default not needed"),
        pytest.param("A=\nK=${A:-d}\n", {}, None, id="default for an empty key"),
        pytest.param("K=${A:-d}\n", {"A": ""}, None, id="default for an empty variable"),
        pytest.param("K=${A}\nA=1\n", {}, None, id="later key"),
        pytest.param("A=1\nA=2\nK=${A}\nA=3\n", {}, "2", id="last one so far"),
        pytest.param("A=`x`\nK=${A}\n", {}, None, id="key that is not read alike"),
        pytest.param("A='x y'\nK=${A}\n", {}, None, id="value that sh would split"),
        pytest.param("A=1\nK=$A\n", {}, None, id="without braces"),
        pytest.param("A=1\nK=${A}$\n", {}, None, id="dollar beside it"),
        pytest.param('A=1\nK="${A}\\\\"\n', {}, None, id="backslash beside it"),
        pytest.param("A=1\nB=2\nK=${A}${B}-${A}\n", {}, "12-1", id="several"),
        pytest.param(
            "U=u\nP=p\nK=postgresql+psycopg://${U}:${P}@localhost:5532/hive\n",
            {},
            "postgresql+psycopg://u:p@localhost:5532/hive",
            id="a URL",
        ),
    ],
)
def test_parse_env_reference(text, environ, value):
    """A reference is followed only where Compose, python-dotenv and sh follow it alike."""
    assert read(text, environ).get("K") == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("X='\nK=1\n'\n", {"X": "\nK=1\n"}, id="single quotes"),
        pytest.param('X="\nK=1\n#"\nK=2\n', {"X": "\nK=1\n#", "K": "2"}, id="double quotes"),
        pytest.param("X='it\\'s\nK=1\n'\nK=2\n", {"K": "2"}, id="value that is not read alike"),
        pytest.param("K=1\nK=2\n", {"K": "2"}, id="the last one counts"),
        pytest.param("K=1\nK\n", {}, id="the last one counts, though it has no value"),
        pytest.param("K=1\n# K=2\n  #K=3\n", {"K": "1"}, id="comments"),
        pytest.param("\n \t\nK=1", {"K": "1"}, id="blank lines, no final newline"),
        pytest.param("A=*\nexport K=[a]\n", {"A": "*"}, id="a pattern, which export expands"),
        pytest.param("A=~/x\nB=a:~/x\nK=a~b\n", {"K": "a~b"}, id="tildes that sh expands"),
        pytest.param("", {}, id="empty"),
        pytest.param(
            "#\r\n\r\nA=\r\nB=b # c\r\nexport C='c'\r\nD=\"${B}\"\r\nE\r\nK=1",
            {"A": "", "B": "b", "C": "c", "D": "b", "K": "1"},
            id="CRLF",
        ),
        pytest.param("A='\r\n'\r\nB=\"\r\n\"\r\nK=1\r\n", {"K": "1"}, id="CRLF in a value"),
        pytest.param("A=C:\\x\\\nK=1\n", {}, id="a line that sh goes on with"),
        pytest.param("A=C:\\x\\\n\nK=1\n", {"K": "1"}, id="a blank line that ends it"),
        pytest.param("A=x\\\n#c\\\nK=1\n", {}, id="a line that sh goes on with twice"),
        pytest.param("A=x\\\\\nK=1\n", {"K": "1"}, id="a backslash that is one"),
        pytest.param("A=1 # x\\\nK=1\n", {"A": "1", "K": "1"}, id="a comment's"),
        pytest.param("# x\\\nK=1\n", {"K": "1"}, id="a whole comment's"),
        pytest.param("A=x\\\r\nK=1\r\n", {"K": "1"}, id="CRLF, which sh does not count"),
    ],
)
def test_env_values_lines(text, values):
    """A line inside a quoted value is no assignment; of several of one key the last counts."""
    assert read(text) == values


def test_env_values_required():
    """A key of ours that readers take differently is refused: line and key, but not the value."""
    items = parse_env("A=1\n\nK=se`cret`\n", {})
    error = refusal(env_values, items, ["K", "A", "B"])
    assert "line 3: K" in str(error)
    assert "cret" not in f"{error} {error.hint}"
    assert env_values(items, ["A", "B"]) == {"A": "1"}


# -- editing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        pytest.param("", "K=new v\n", id="empty file"),
        pytest.param("A=1", "A=1\nK=new v\n", id="no final newline"),
        pytest.param("# c\nA=$x\n", "# c\nA=$x\nK=new v\n", id="appended"),
        pytest.param("K=1\nK=2\nA=3\n", "K=1\nK=new v\nA=3\n", id="last duplicate"),
        pytest.param("export K='a b' # c\n", "export K=new v # c\n", id="export and comment"),
        pytest.param("  export\tK=1  # c", "  export\tK=new v  # c", id="blanks"),
        pytest.param("K=\nA=1\n", "K=new v\nA=1\n", id="empty value"),
        pytest.param('K="a\nb"\nA=1\n', "K=new v\nA=1\n", id="value of two lines"),
        pytest.param("A='\nK=1\n'\n", "A='\nK=1\n'\nK=new v\n", id="inside another's value"),
        pytest.param("K='new v' #x\n", "K='new v' #x\n", id="equal, single quotes"),
        pytest.param('K="new v"\n', 'K="new v"\n', id="equal, double quotes"),
        pytest.param("A=1\r\n", "A=1\r\nK=new v\r\n", id="CRLF, appended"),
        pytest.param("A=1\r\nB=", "A=1\r\nB=\r\nK=new v\r\n", id="CRLF, no final one"),
        pytest.param("K=1\r\nA=1\n", "K=new v\r\nA=1\n", id="CRLF and LF"),
        pytest.param("K='1'  # c\r\n", "K=new v  # c\r\n", id="CRLF and comment"),
        pytest.param("A=x\\\n", "A=x\\\n\nK=new v\n", id="a line that sh goes on with"),
        pytest.param("A=x\\", "A=x\\\n\nK=new v\n", id="that, without its end"),
    ],
)
def test_edit_env_text(text, edited):
    """Only the last assignment of the key changes, and only where it says something else."""
    expected = edited if "new v" in text else edited.replace("new v", "'new v'")
    assert edit(text, {"K": "new v"}) == expected


def test_edit_env_several():
    """Keys keep their places, new ones follow in the order that was given."""
    edited = edit("B=1\nX=2\nA=3\n", {"A": "a", "D": "d", "B": "b", "C": ""})
    assert edited == "B=b\nX=2\nA=a\nD=d\nC=''\n"


def test_edit_env_refused():
    """A key whose present value cannot be read is not overwritten; the line is named."""
    assert "line 2: K" in str(refusal(edit, "A=1\nK = 2\n", {"K": "2"}))
    assert edit("A=1\nK = 2\n", {"A": "2"}) == "A=2\nK = 2\n"


def test_edit_env_empty_value():
    """An empty value before a comment is quoted, because python-dotenv and Compose differ there."""
    assert edit("K=1 # c\n", {"K": ""}) == "K='' # c\n"


def test_edit_env_reference():
    """A key that refers to another one still has its value when that one has changed."""
    text = "P=p%40ss\nU=x:${P}@h\n"
    changes = {"P": "p@ss", "U": "x:p%40ss@h"}
    assert read(edit(text, changes)) == changes


# -- properties ----------------------------------------------------------------------------------

WORDS = (
    "A B K = = = \n \n \n ' \" \\ # $ ${A} ${K:-d} ${ } x é ~ ` - 1 : export \u00a0 \u2028 \t @ *"
).split(" ")
TEXTS = st.lists(st.sampled_from([*WORDS, " ", "export ", "\nA=", "\nK="])).map("".join)
TEXTS |= st.lists(
    st.sampled_from(["A=", "K=", "B=", "export A="]).flatmap(
        lambda head: st.text("ab'\"\\ #$`é", max_size=6).map(lambda value: f"{head}{value}\n")
    )
).map("".join)
VALUES = st.text(st.characters(codec="utf-8"), max_size=20)
CHANGES = st.dictionaries(st.sampled_from(["A", "K", "NEW", "OTHER"]), VALUES)


def outside(text, keys):
    """Return a text without the values that count for the keys."""
    last = {item.key: item for item in parse_env(text, {}) if item.key in keys}
    for item in sorted(last.values(), key=lambda item: -item.start):
        text = text[: item.start] + text[item.end :]
    return text


@pytest.mark.parametrize(
    ("line", "blank"),
    [
        ("POSTGRES_PASSWORD=a\nPOSTGRES_PASSWORD=b", "POSTGRES_PASSWORD=a\nPOSTGRES_PASSWORD=''"),
        ("export POSTGRES_USER='a b' # c", "export POSTGRES_USER='' # c"),
        ("COMPOSE_PROJECT_NAME=", "COMPOSE_PROJECT_NAME="),
        ("POSTGRES_UID=0", "POSTGRES_UID=''"),
        ("HIVE_POSTGRES_DATA=volume", "HIVE_POSTGRES_DATA=''"),
        ("HIVE_POSTGRES_BIND=0.0.0.0", "HIVE_POSTGRES_BIND=127.0.0.1"),
        ("P=x\nPOSTGRES_PASSWORD=${P}", "P=x\nPOSTGRES_PASSWORD=''"),
        (
            "HIVE_DATABASE_URL=postgresql://a:b%40c@localhost/x",
            "HIVE_DATABASE_URL=postgresql://user:password@localhost/x",
        ),
        ("HIVE_POSTGRES_PORT=1\nPOSTGRES_DB=a", "HIVE_POSTGRES_PORT=1\nPOSTGRES_DB=a"),
    ],
)
def test_blank_example_line(line, blank):
    """What each workspace has of its own goes; the rest stays, byte for byte."""
    text = f"# theirs\n{line}\nSECRET=other"
    assert blank_example(text, {}) == text.replace(line, blank)
    assert blank_example(blank_example(text, {}), {}) == blank_example(text, {})


@given(TEXTS, CHANGES)
def test_edit_env_property(text, changes):
    """An edit sets what it was told to set, and changes no byte outside the values it owns."""
    try:
        edited = edit(text, changes)
    except EnvFileError:
        return
    present = {item.key for item in parse_env(text, {})}
    kept, result = outside(text, changes), outside(edited, changes.keys() & present)
    assert result.startswith(kept)
    added = "".join(f"{k}={format_env_value(v)}\n" for k, v in changes.items() if k not in present)
    assert result[len(kept) :].lstrip("\n") == added
    values = read(edited)
    assert {key: values.get(key) for key in changes} == changes
    assert edit(edited, changes) == edited


@given(VALUES)
def test_format_env_value_property(value):
    """What is written is read back by python-dotenv and by us, also in an exported line."""
    try:
        encoded = format_env_value(value)
    except EnvFileError:
        return
    text = f"A=1\nexport K={encoded}\nB=2\n"
    assert dotenv.dotenv_values(stream=io.StringIO(text, newline="")) == read(text)
    assert read(text) == {"A": "1", "K": value, "B": "2"}


@NEEDS_DOTENV_1_2_3
@given(TEXTS)
def test_parse_env_property(text):
    """What is read from any text, python-dotenv reads alike."""
    try:
        values = read(text)
    except EnvFileError:
        return
    theirs = dotenv.dotenv_values(stream=io.StringIO(text, newline=""))
    assert {key: theirs.get(key) for key in values} == values


@given(TEXTS)
def test_parse_env_property_spans(text):
    """Items follow each other, and each span is in the text, on the line that it names."""
    try:
        items = parse_env(text, {})
    except EnvFileError:
        return
    end = 0
    for item in items:
        assert end <= text.index(item.key, end) < item.start <= item.end <= len(text)
        assert item.line == text.count("\n", 0, item.start) + 1
        end = item.end


@given(st.binary() | TEXTS.map(str.encode))
def test_decode_env_property(data):
    """Whatever the bytes are, they are read or refused with an EnvFileError, and never guessed."""
    try:
        text = decode_env(data)
        items = parse_env(text, {})
    except EnvFileError:
        return
    assert text.encode() == data
    assert all(item.start <= item.end <= len(text) for item in items)
