"""The README says what the module does: its tables are those of the module."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import hive_pg

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_row(row: hive_pg.Diagnosis) -> str:
    """Write a diagnosis as the README shows it: the first text of its pattern, cause, remedy."""
    text = re.sub(r"\(\?:([^|)]*)\|[^)]*\)", r"\1", row.pattern).split("|")[0]
    text = re.sub(r"^\(\?m\)\^|^\(\?i:(.*)\)$", r"\1", text)
    text = text.replace(".*", "…").replace("\\S*", "…").replace("\\w+", "…").replace("\\", "")
    return f"| `{text}` | {row.cause} | {hive_pg.format_hint(row.hint)} |"


def test_person_who_arrives_finds_the_reference_after_a_minute() -> None:
    """What most people need stands before it, in 150 lines at most."""
    assert README.split("\n# Reference\n")[0].count("\n") <= 150


def test_picture_shows_what_the_text_below_it_says() -> None:
    """Word for word and line by line; it asks no other place for a font or a script."""
    before, block, _ = re.split(r"```(?:console)?\n", README, maxsplit=2)
    (name,) = re.findall(r"!\[.+\]\((.+)\)", before)
    picture = (ROOT / name).read_text(encoding="utf-8")
    shown: dict[str, str] = {}
    for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        shown[text.attrib["y"]] = shown.get(text.attrib["y"], "") + (text.text or "")
    told = [line.split() for line in block.splitlines() if line]
    assert [line.split() for line in shown.values()] == told, "make it anew by .ci/picture"
    assert re.findall(r"\S*(?://|@|url\(|href|<script)\S*", re.sub("<text.*", "", picture)) == [
        'xmlns="http://www.w3.org/2000/svg">'
    ]


def test_troubleshooting_table_is_the_table_of_diagnoses() -> None:
    """Every diagnosis stands in the README, word for word and in the module's order."""
    between = README.split("<!-- diagnoses -->")[1].split("<!-- /diagnoses -->")[0]
    assert between.strip().splitlines()[2:] == [table_row(row) for row in hive_pg.DIAGNOSES]


def test_command_table_lists_every_command() -> None:
    """Each command of the module has a row, and no other does."""
    section = README.split("\n## Commands\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([a-z]+)[ `]", section, re.MULTILINE)
    assert rows == list(hive_pg.COMMANDS)


def test_option_of_every_command_is_in_its_row() -> None:
    """No option of a command is missing from the README."""
    section = README.split("\n## Commands\n")[1].split("\n### ")[0]
    for command in hive_pg.COMMANDS:
        (row,) = re.findall(rf"^\| `{command}[ `].*$", section, re.MULTILINE)
        for names, _, _ in hive_pg.read_options(command):
            if names[0][0] == "-" and not {"--quiet", "--verbose", "--timeout", "-C"} & {*names}:
                assert any(name in row for name in names), (command, names)


def test_usage_of_every_command_is_in_its_row() -> None:
    """The first column is the usage that `--help` shows."""
    for command, (usage, _) in hive_pg.COMMANDS.items():
        shown = f"{command} {usage}".rstrip().replace("...", "…")
        assert f"\n| `{shown}` | " in README, command


def test_exit_code_table_is_the_enum() -> None:
    """The table of exit codes has each code once."""
    section = README.split("### Exit codes")[1].split("##")[0]
    assert re.findall(r"^\| ([0-9]+) \|", section, re.MULTILINE) == [
        str(code.value) for code in hive_pg.ExitCode
    ]


def test_settings_table_has_the_defaults_of_the_compose_file() -> None:
    """Each HIVE_POSTGRES_ key of the generated file is listed with its default."""
    in_file = dict(re.findall(r"\$\{(HIVE_POSTGRES_[A-Z_]+):-([^}]*)\}", hive_pg.render_compose()))
    # hive-pg's own to choose, told in prose
    chosen = {hive_pg.CONTAINER_KEY, hive_pg.PORT_KEY, hive_pg.WORKSPACE_KEY}
    chosen |= {hive_pg.DATA_KEY, hive_pg.TARGET_KEY}
    in_readme = dict(re.findall(r"`(HIVE_POSTGRES_[A-Z_]+)` \| `([^`]*)`", README))
    assert in_readme == {key: value for key, value in in_file.items() if key not in chosen}


def test_example_of_the_library_is_valid() -> None:
    """The names that the example of the README uses exist."""
    section = README.split("\n## In your own repository\n")[1]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    compile(example, "README.md", "exec")
    (imported,) = re.findall(r"from hive_pg import (.*)", example)
    assert all(hasattr(hive_pg, name) for name in imported.split(", "))
    assert hasattr(hive_pg.PostgreSQLManager, "setup_postgres_container")


def test_methods_that_the_readme_names_are_there() -> None:
    """So are those that stand in prose."""
    section = README.split("\n## In your own repository\n")[1].split("\n## ")[0].split("```")[2]
    methods = re.findall(r"`([a-z_]+)`", section.split(" are what the commands call")[0])
    assert len(methods) > 10
    for name in methods:
        assert hasattr(hive_pg.PostgreSQLManager, name) or hasattr(hive_pg, name), name


def test_files_table_has_what_a_workspace_holds() -> None:
    """Each file that hive-pg writes has a row."""
    section = README.split("\n## Files\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    names = {hive_pg.ENV_FILE, hive_pg.STATE_FILE, hive_pg.COMPOSE_FILE, ".gitignore"}
    names.add(hive_pg.ADDED_FILE)
    assert {*rows} == names | {f"{hive_pg.DATA_DIR}/", f"{hive_pg.BACKUP_DIR}/"}
