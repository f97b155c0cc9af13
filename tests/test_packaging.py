"""What is delivered: one module, nothing to install with it, the same alone as in the wheel."""

from __future__ import annotations

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import hive_pg

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "hive_pg.py"


def build(kind: str, target: Path) -> Path:
    """Build one distribution of the working tree, without the network."""
    argv = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(target)]
    subprocess.run([*argv, str(ROOT)], check=True, capture_output=True)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of the working tree."""
    return zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel")))


def test_wheel_holds_exactly_the_module(wheel: zipfile.ZipFile) -> None:
    """The wheel has the module, byte for byte, and its own metadata."""
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert names == ["hive_pg.py"]
    assert wheel.read("hive_pg.py") == MODULE.read_bytes()


def test_wheel_metadata_asks_for_nothing_but_python(wheel: zipfile.ZipFile) -> None:
    """No dependency but the optional psycopg; the module's version; the command's name."""
    info = f"hive_pg-{hive_pg.__version__}.dist-info"
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Name"] == "hive-pg"
    assert metadata["Version"] == hive_pg.__version__
    assert metadata["Requires-Python"] == ">=3.9"
    (requirement,) = metadata.get_all("Requires-Dist", [])
    assert requirement.replace('"', "'").replace(" ", "") == "psycopg[binary]>=3.1;extra=='psycopg'"
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "hive-pg=hive_pg:run_program" in entry_points.split()


def test_metadata_of_the_script_are_those_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    """`uv run hive_pg.py` needs nothing of the project around it, and makes nothing there."""
    pattern = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"  # PEP 723
    (block,) = re.finditer(pattern, MODULE.read_text(encoding="utf-8"))
    (line,) = block["content"].splitlines()
    info = f"hive_pg-{hive_pg.__version__}.dist-info"
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert (block["type"], line) == (
        "script",
        f'# requires-python = "{metadata["Requires-Python"]}"',
    )
    assert "Typing :: Typed" not in metadata.get_all("Classifier", [])  # a module has no py.typed


def test_module_imports_only_the_standard_library() -> None:
    """What the module imports comes with Python, but for psycopg (optional) and typing's stubs."""
    imported = set()
    for node in ast.walk(ast.parse(MODULE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    if sys.version_info < (3, 10):
        pytest.skip("Python 3.9 cannot list its own modules")
    assert imported - set(sys.stdlib_module_names) == {"psycopg", "typing_extensions"}


@pytest.mark.parametrize("argv", [["--version"], ["--help"]], ids=" ".join)
def test_copied_alone_into_an_empty_folder_it_works(tmp_path: Path, argv: list[str]) -> None:
    """A copy of the file needs nothing beside it, and can say its version."""
    shutil.copy(MODULE, tmp_path)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-I", "hive_pg.py", *argv],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert ("hive-pg " + hive_pg.__version__ in done.stdout) == (argv == ["--version"])
    assert ("EXIT CODES" in done.stdout) == (argv == ["--help"])


def test_copied_into_a_project_it_can_be_imported(tmp_path: Path) -> None:
    """A repository that holds a copy of the file uses it as a library."""
    project = tmp_path / "copied"  # the name by which the measured copies are told
    project.mkdir()
    shutil.copy(MODULE, project)
    code = "import hive_pg; print(hive_pg.PostgreSQLManager('.').workspace)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(project.resolve())


LATE = "argparse json secrets shlex socket string subprocess".split()  # Python starts without them
ALL = {*getattr(sys, "stdlib_module_names", LATE), "types"} - {"__future__"}


@pytest.mark.parametrize(
    ("argv", "names", "path"),
    [
        pytest.param(["hive_pg.py"], ALL, "", id="script"),
        pytest.param(["hive_pg.py"], LATE, ".", id="script, and PYTHONPATH has its directory"),
        pytest.param(["-m", "hive_pg"], LATE, "", id="module"),
    ],
)
@pytest.mark.parametrize(
    ("words", "code"),
    [("--version", 0), ("--help", 0), ("completion bash", 0), ("url", 3), ("init --yes", 4)],
)
def test_files_of_a_project_are_not_taken_for_the_library(
    tmp_path: Path, argv: list[str], names: Iterable[str], path: str, words: str, code: int
) -> None:
    """A secrets.py, a types.py or a json.py beside the copied file does not run."""
    shutil.copy(MODULE, tmp_path)
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was run')\n")
    env = {"PATH": "", **({"PYTHONPATH": path} if path else {})}  # there is no docker
    argv = [sys.executable, *argv, *words.split()]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, "was run" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize("options", [[], ["-I"]], ids=["usual", "isolated"])
def test_what_is_searched_for_modules_stays_the_importers(
    tmp_path: Path, options: list[str]
) -> None:
    """A library leaves the path alone; a script searches all but its own directory, as psycopg."""
    shutil.copy(MODULE, tmp_path)
    code = "import sys; there = [*sys.path]; import hive_pg; assert sys.path == there"
    env = {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd="/", env=env, check=True)
    text = MODULE.read_text(encoding="utf-8")
    shown = text.replace("    run_program()", "    print(sys.path)")
    (tmp_path / "shown.py").write_text(shown)
    argv = [sys.executable, *options, "shown.py"]
    searched = subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True)
    code = "import sys; print([place for place in sys.path if place])"
    argv = [sys.executable, *options, "-c", code]
    usual = subprocess.run(argv, cwd="/", check=True, capture_output=True, text=True)
    assert searched.stdout == usual.stdout


def test_top_level_holds_what_the_shape_allows() -> None:
    """Nothing else lies at the top of the repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    allowed = {"pyproject.toml", "hive_pg.py", "tests", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} == allowed
