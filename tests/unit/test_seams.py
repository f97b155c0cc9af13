"""The seams between the rooms of hive_pg.py, checked over its syntax tree.

A seam finds something in a module, and names the rooms that may have it. Each is tried first on
small modules that break it and on some that only look so.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import hive_pg

# A word of each room's banner; hyphens do not count.
ROOMS = (
    "vocabulary errors .env settings operating console processes files diagnos engine service"
    " server workspace neighbour setup life dumps looking library completion commands"
).split()
BANNER = re.compile(r"# == (.+?) =+ *$", re.MULTILINE)
VERBS = frozenset(
    "attach build compose cp create diff events export history images import info inspect kill"
    " load login logs pause port ps pull push rename restart rm rmi run save start stats stop tag"
    " top unpause update version wait".split()
)
NOUNS = frozenset("builder container context image network plugin system volume".split())
DONE_TO_NOUNS = VERBS | frozenset("connect df disconnect ls prune show use".split())
ONLY_SOME = (
    "fchmod getegid geteuid getgid getuid pread pwrite uname"
    " O_BINARY O_DIRECTORY O_NOFOLLOW O_NONBLOCK".split()
)
ELSEWHERE = "*"  # in place of a word that is not a literal
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


# -- a module, its rooms and its names ------------------------------------------------------------


class _RunTime(ast.NodeTransformer):
    """Take away what only type checkers read."""

    def visit_If(self, node):
        self.generic_visit(node)
        return node.orelse if "TYPE_CHECKING" in ast.dump(node.test) else node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node if node.value else None

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815


class Room(NamedTuple):
    """A room: its place in the file, its name, the line of its banner."""

    place: int
    name: str
    line: int

    def is_one_of(self, words):
        return any(word in self.name.lower().replace("-", "") for word in words)


class Module:
    """A module's rooms, and its tree without what only type checkers read."""

    def __init__(self, text):
        banners = list(enumerate(BANNER.finditer(text), 1))
        rooms = [Room(i, found[1], text.count("\n", 0, found.start()) + 1) for i, found in banners]
        self.rooms = [Room(0, "(top)", 0), *rooms]
        self.tree = _RunTime().visit(ast.parse(text))

    def room(self, line):
        return next(room for room in reversed(self.rooms) if room.line <= line)

    def nodes(self, *types):
        return (node for node in ast.walk(self.tree) if isinstance(node, types))


def bindings(nodes):
    """Yield the names that statements bind in their own scope, with the lines."""
    for node in nodes:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node.lineno
            continue
        if isinstance(node, (ast.Lambda, *COMPREHENSIONS)):
            named = (inner for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
            yield from ((inner.target.id, inner.lineno) for inner in named)
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id, node.lineno
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (((a.asname or a.name).partition(".")[0], node.lineno) for a in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno
        yield from bindings(ast.iter_child_nodes(node))


class _Uses(ast.NodeVisitor):
    """Gather the names that are looked up in the module, not in a function or a class."""

    def __init__(self):
        self.found = []
        self.scopes = []  # names, and whether a function inside sees them

    def visit_Name(self, node):
        seen = (names for names, shared in self.scopes[:-1] if shared)
        own = self.scopes[-1][0] if self.scopes else ()
        if isinstance(node.ctx, ast.Load) and not any(node.id in names for names in (own, *seen)):
            self.found.append(node)

    def _inside(self, names, nodes, *, shared=True):
        self.scopes.append((set(names), shared))
        for node in nodes:
            self.visit(node)
        self.scopes.pop()

    def _function(self, node):
        arguments, body = node.args, node.body if isinstance(node.body, list) else [node.body]
        outside = [
            *arguments.defaults,
            *arguments.kw_defaults,
            *getattr(node, "decorator_list", []),
        ]
        for part in filter(None, outside):
            self.visit(part)
        names = {found.arg for found in ast.walk(arguments) if isinstance(found, ast.arg)}
        module_wide = (found for found in ast.walk(node) if isinstance(found, ast.Global))
        names.update(name for name, _ in bindings(body))
        self._inside(names - {name for found in module_wide for name in found.names}, body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function  # noqa: N815

    def visit_ClassDef(self, node):
        for part in (*node.bases, *node.keywords, *node.decorator_list):
            self.visit(part)
        self._inside({name for name, _ in bindings(node.body)}, node.body, shared=False)

    def _comprehension(self, node):
        first = node.generators[0]
        self.visit(first.iter)
        targets = [part.target for part in node.generators]
        inside = [child for child in ast.iter_child_nodes(node) if child is not first]
        inside += [*first.ifs]
        self._inside({name for name, _ in bindings(targets)}, inside)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815


# -- what the seams find: nodes, and what to say of them ------------------------------------------


def find_imports(module, name):
    """Find the imports of a module."""
    for node in module.nodes(ast.Import, ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if name in (*names, getattr(node, "module", None)):
            yield node, f"import {name}"


def _words(nodes):
    texts = (getattr(node, "value", None) for node in nodes)
    return [text if isinstance(text, str) else ELSEWHERE for text in texts]


def find_docker(module):
    """Find docker's verbs, in argument vectors and in what is called on an engine: node, verb."""
    for node in module.nodes(ast.List, ast.Tuple, ast.Call):
        is_call = isinstance(node, ast.Call)
        words = _words(node.args if is_call else node.elts)
        name = getattr(node.func, "attr", "") if is_call else ""
        if name == "split" and isinstance(getattr(node.func, "value", None), ast.Constant):
            text = node.func.value.value.split()
            words = text if text[:1] == ["docker"] else []
        if "exec" in words:
            yield node, "exec"
        elif "docker" in words:
            following, after = [*words[words.index("docker") + 1 :], ELSEWHERE, ELSEWHERE][:2]
            is_prefix = isinstance(node, ast.List) or (len(words) > 1 and not is_call)
            if (
                following in VERBS
                or (following in NOUNS and after in (*DONE_TO_NOUNS, ELSEWHERE))
                or (following == ELSEWHERE and is_prefix)
            ):
                yield node, following
        elif is_call and words and _is_engine(node.func):
            inner = getattr(node.args[0], "elts", None)
            verb = _words(inner[:1])[0] if inner else words[0]
            if verb in (VERBS | NOUNS if inner else VERBS):
                yield node, verb


def _is_engine(function):
    parts = (getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(function))
    return any(part.strip("_").lower() in ("docker", "engine") for part in parts)


def find_exec(module):
    """Find `docker exec`."""
    return ((node, "docker exec") for node, verb in find_docker(module) if verb == "exec")


def find_compose(module):
    """Find `docker compose`."""
    return ((node, "docker compose") for node, verb in find_docker(module) if verb == "compose")


def find_other_verbs(module):
    """Find what else docker does."""
    apart = ("exec", "compose", ELSEWHERE)
    return ((node, f"docker {verb}") for node, verb in find_docker(module) if verb not in apart)


def find_open_argv(module):
    """Find where docker is given words from elsewhere."""
    return ((node, "docker ...") for node, verb in find_docker(module) if verb == ELSEWHERE)


def find_docker_in_commands(module):
    """Find the bare names of Docker's programs in the room of the commands."""
    for node in module.nodes(ast.Constant):
        is_name = node.value in ("docker", "docker-compose", "exec")
        if is_name and module.room(node.lineno).is_one_of(["commands"]):
            yield node, repr(node.value)


def find_system(module):
    """Find the questions for the operating system, and what only some systems have."""
    asked = {"sys": ["platform"], "platform": ["system"], "os": ["name", *ONLY_SOME]}
    for node in module.nodes(ast.Attribute):
        if isinstance(node.value, ast.Name) and node.attr in asked.get(node.value.id, ()):
            yield node, f"{node.value.id}.{node.attr}"
    for node in module.nodes(ast.ImportFrom):
        names = {alias.name for alias in node.names}.intersection(asked.get(node.module, ()))
        yield from ((node, f"{node.module}.{name}") for name in names)
    for name in ("fcntl", "msvcrt", "pwd"):
        yield from find_imports(module, name)


def find_windows(module):
    """Find the uses of the name that tells Windows from the others."""
    return ((node, "WINDOWS") for node in module.nodes(ast.Name) if node.id == "WINDOWS")


def find_parse_env(module):
    """Find the uses of `parse_env`."""
    for node in module.nodes(ast.Name, ast.Attribute):
        if getattr(node, "id", getattr(node, "attr", "")) == "parse_env":
            yield node, "parse_env"


def find_lower_rooms(module):
    """Find the uses of names that a later room defines."""
    defined = {}
    for name, line in bindings(module.tree.body):
        defined.setdefault(name, line)
    uses = _Uses()
    uses.visit(module.tree)
    for node in uses.found:
        line = defined.get(node.id, 0)
        home = module.room(line)
        if home.place > module.room(node.lineno).place:
            yield node, f"{node.id}, which is defined below in {home.name!r} (line {line})"


class Seam(NamedTuple):
    """What to find, and a word of each room that may have it."""

    find: object
    rooms: tuple[str, ...] = ()

    def judge(self, module):
        """Return what breaks the seam: line, room, what."""
        found = [(node.lineno, module.room(node.lineno), what) for node, what in self.find(module)]
        may = f"; only for {', '.join(self.rooms)}" if self.rooms else ""
        return [
            f"line {line}, in {room.name!r}: {what}{may}"
            for line, room, what in sorted(found)
            if not room.is_one_of(self.rooms)
        ]


SEAMS = {
    "subprocess": Seam(lambda module: find_imports(module, "subprocess"), ("processes",)),
    "exec": Seam(find_exec, ("server",)),
    "compose": Seam(find_compose, ("engine", "service")),
    "verbs": Seam(find_other_verbs, ("engine",)),
    "argv": Seam(find_open_argv, ("engine", "service", "server")),
    "commands": Seam(find_docker_in_commands),
    "system": Seam(find_system, ("operating",)),
    "windows": Seam(find_windows, ("operating", "processes")),
    "parse_env": Seam(find_parse_env, (".env", "workspace")),
    "order": Seam(find_lower_rooms),
}


# -- the tests ------------------------------------------------------------------------------------


def build(snippets):
    """Build a module that has all rooms, and some lines in some of them."""
    text = "import os\nimport sys\n"
    for word in ROOMS:
        text += f"\n\n# == {word.title()} and more {'=' * 40}\n\n{snippets.pop(word, '')}"
    assert not snippets
    return Module(text)


BREAKS = [
    ("subprocess", {"console": "import subprocess\n"}, "import subprocess"),
    ("subprocess", {"life": "def f():\n    from subprocess import run\n"}, "import subprocess"),
    ("exec", {"life": "argv = ['docker', 'exec', name]\n"}, "docker exec"),
    ("exec", {"life": "argv = [*docker, 'exec', name]\n"}, "docker exec"),
    ("exec", {"engine": "def f(self):\n    self.run('exec', '-i')\n"}, "docker exec"),
    ("exec", {"commands": "argv = 'docker exec -it'.split() + [name]\n"}, "docker exec"),
    ("compose", {"setup": "argv = ('docker', 'compose', 'up')\n"}, "docker compose"),
    ("compose", {"life": "engine.call(['compose', 'up'])\n"}, "docker compose"),
    ("verbs", {"server": "argv = ['docker', 'ps']\n"}, "docker ps"),
    ("verbs", {"service": "argv = ['docker', 'volume', 'ls']\n"}, "docker volume"),
    ("verbs", {"life": "run('docker', 'stop', name)\n"}, "docker stop"),
    ("verbs", {"life": "def f(self):\n    self.engine.ask('logs', name)\n"}, "docker logs"),
    ("verbs", {"life": "def f(self):\n    self._docker(['network', 'rm'])\n"}, "docker network"),
    ("argv", {"looking": "argv = ['docker', *words]\n"}, "docker ..."),
    ("argv", {"looking": "argv = ['docker']\n"}, "docker ..."),
    ("argv", {"looking": "argv = ('docker', verb)\n"}, "docker ..."),
    ("commands", {"commands": "PROGRAM = 'docker'\n"}, "'docker'"),
    ("system", {"processes": "if os.name == 'nt':\n    pass\n"}, "os.name"),
    ("system", {"setup": "def f():\n    return sys.platform\n"}, "sys.platform"),
    ("system", {"setup": "from sys import platform\n"}, "sys.platform"),
    ("system", {"setup": "import platform\nx = platform.system()\n"}, "platform.system"),
    ("system", {"files": "if os.geteuid() == 0:\n    pass\n"}, "os.geteuid"),
    ("system", {"files": "def f():\n    import fcntl\n"}, "import fcntl"),
    ("windows", {"files": "if WINDOWS:\n    pass\n"}, "WINDOWS"),
    ("parse_env", {"setup": "values = parse_env(text)\n"}, "parse_env"),
    ("parse_env", {"setup": "values = map(pg.parse_env, texts)\n"}, "parse_env"),
    ("order", {"server": "def f():\n    return g()\n", "life": "def g(): ...\n"}, "g, which"),
    ("order", {"server": "def f(a=X): ...\n", "life": "X = 1\n"}, "X, which"),
    ("order", {"server": "class A(B): ...\n", "life": "class B: ...\n"}, "B, which"),
    ("order", {"server": "@b\ndef f(): ...\n", "life": "def b(x): ...\n"}, "b, which"),
    ("order", {"server": "f = lambda: X\n", "life": "X, Y = 1, 2\n"}, "X, which"),
    ("order", {"server": "f = [y for x in X]\n", "life": "X: list = []\n"}, "X, which"),
    (
        "order",  # a method does not see the names of its class
        {"server": "class A:\n    x = 1\n    def f(self):\n        return x\n", "life": "x = 1\n"},
        "x, which",
    ),
    (
        "order",  # what a comprehension binds is its own
        {"server": "def f():\n    [x for x in 'a']\n    return x\n", "life": "x = 1\n"},
        "x, which",
    ),
    (
        "order",
        {"server": "def f():\n    global x\n    x = 1\n    return x\n", "life": "x = 1\n"},
        "x, which",
    ),
]
KEEPS = [
    ("subprocess", {"processes": "def f():\n    import subprocess\n"}),
    ("subprocess", {"console": "if TYPE_CHECKING:\n    from subprocess import Popen\n"}),
    ("subprocess", {"console": "'import subprocess'\n"}),
    ("exec", {"server": "argv = ['docker', 'exec', name]\n"}),
    ("exec", {"life": "hint = 'docker exec NAME psql says more'\n"}),
    ("compose", {"service": "argv = ['docker', 'compose']\n"}),
    ("verbs", {"engine": "argv = ['docker', 'ps']\nself.engine.ask('ps')\n"}),
    ("verbs", {"life": "self.engine.stop('container', name)\nself.console.print('stop')\n"}),
    ("argv", {"server": "argv = ['docker', *words]\n"}),
    ("argv", {"life": "found = which('docker')\nPROGRAMS = ('docker', 'git')\n"}),
    ("verbs", {"vocabulary": "CHECKED = ('docker', 'container', 'credentials')\n"}),
    ("commands", {"commands": "help = 'as docker logs does'\n"}),
    ("system", {"operating": "WINDOWS = os.name == 'nt'\n"}),
    ("windows", {"processes": "if WINDOWS:\n    pass\n"}),
    ("system", {"life": "name = os.environ\nname = self.name\n"}),
    ("parse_env", {".env": "def parse_env(text): ...\n", "workspace": "x = parse_env('')\n"}),
    ("order", {"server": "def f(): ...\n", "life": "def g():\n    return f()\n"}),
    ("order", {"server": "def f():\n    return g()\ndef g(): ...\n"}),
    ("order", {"server": "def f(a: X) -> X:\n    b: X = a\n", "life": "class X: ...\n"}),
    ("order", {"server": "if TYPE_CHECKING:\n    Y = X\n", "life": "class X: ...\n"}),
    ("order", {"server": "def f(x):\n    return lambda: x\n", "life": "x = 1\n"}),
    ("order", {"server": "def f():\n    for x in 'a':\n        yield x\n", "life": "x = 1\n"}),
    ("order", {"server": "def f():\n    import x\n    return x\n", "life": "x = 1\n"}),
    ("order", {"server": "f = [x for x in 'a' if x]\n", "life": "x = 1\n"}),
    ("order", {"server": "class A:\n    x = 1\n    y = x\n", "life": "x = 1\n"}),
    ("order", {"server": "def f(self):\n    return self.x\n", "life": "x = 1\n"}),
    ("order", {"server": "def f():\n    try: ...\n    except E as x: x\n", "life": "x = 1\n"}),
]


@pytest.mark.parametrize(("seam", "snippets", "what"), BREAKS)
def test_seam_broken(seam, snippets, what):
    """A seam that is broken is named with the line, the room and what is there."""
    place = next(word for word in ROOMS if word in snippets)
    (words,) = SEAMS[seam].judge(build(dict(snippets)))
    assert re.match(rf"line \d+, in '{re.escape(place.title())} and more': ", words)
    assert what in words


@pytest.mark.parametrize(("seam", "snippets"), KEEPS)
def test_seam_kept(seam, snippets):
    """What a room may do, and what only looks like something that it may not, is no finding."""
    assert SEAMS[seam].judge(build(dict(snippets))) == []


def test_seam_line():
    """The line is the file's."""
    module = Module("import os\n\n# == Set-up ====\n\nx = 1\ny = os.name\n")
    (words,) = SEAMS["system"].judge(module)
    assert words == "line 6, in 'Set-up': os.name; only for operating"


@pytest.fixture(scope="module")
def module():
    """Give hive_pg.py."""
    return Module(Path(hive_pg.__file__).read_text(encoding="utf-8"))


@pytest.mark.parametrize("word", ROOMS)
def test_room(module, word):
    """Each room is there once; their order is right where no room uses a later one."""
    found = [room.name for room in module.rooms if room.is_one_of([word])]
    assert len(found) == 1, [room.name for room in module.rooms]


@pytest.mark.parametrize("seam", SEAMS)
def test_seam(module, seam):
    """hive_pg.py keeps to its seams."""
    found = SEAMS[seam].judge(module)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("seam", ["subprocess", "exec", "compose", "parse_env"])
def test_seam_meets_something(module, seam):
    """The room that may do it does, in words that the seam knows: none is kept by being blind."""
    assert list(SEAMS[seam].find(module))
