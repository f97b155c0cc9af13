"""Print the figures of hive_pg.py: `python tests/figures.py [--lines N] [FILE]`.

It exits with 1 where one is over its limit. Lines of a function go from `def` to its end, docstring
included. Branches are lizard's cyclomatic complexity: 1, and 1 for each if, elif, for, while,
except, finally, `and`, `or` and conditional expression. ruff and pylint count no boolean operators.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "hive_pg.py"
FUNCTION_LINES, BRANCHES = 60, 15
BYTES_A_LINE = 48.1  # on the way to 44.5


def measure_lengths(text: str) -> dict[str, int]:
    """Return the lines of each function, by name and line number."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, functions)]
    return {f"{f.name}:{f.lineno}": (f.end_lineno or f.lineno) - f.lineno + 1 for f in found}


def count_branches(file: Path) -> dict[str, int]:
    """Return the branches of each function, by name and line number."""
    import lizard  # here, because pytest loads this file for its doctests

    found = lizard.analyze_file(str(file)).function_list
    return {f"{f.name}:{f.start_line}": f.cyclomatic_complexity for f in found}


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=sys.maxsize, help="limit of the file's lines")
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    args = parser.parse_args()
    content = args.file.read_bytes()
    lines, size = content.count(b"\n"), len(content)
    lengths, branches = measure_lengths(content.decode()), count_branches(args.file)
    figures: list[tuple[str, float, float, str]] = [
        ("lines", lines, args.lines, ""),
        ("KiB", size / 1024, sys.maxsize, ""),
        ("bytes a line", size / lines, BYTES_A_LINE, ""),
    ]
    for what, of, limit in (
        ("lines of a function", lengths, FUNCTION_LINES),
        ("branches of a function", branches, BRANCHES),
    ):
        ranking = sorted(of, key=lambda name: -of[name])
        over = [name for name in ranking if of[name] > limit] or ranking[:1]
        names = ", ".join(f"{name} {of[name]}" for name in over)
        figures.append((what, of[ranking[0]], limit, names))
    for what, value, limit, names in figures:
        bound = "" if limit == sys.maxsize else f"<= {limit:,}"
        verdict = "" if not bound else "met" if value <= limit else "EXCEEDED"
        form = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        print(f"{what:<24} {form:>8}  {bound:<9} {verdict:<8}  {names}".rstrip())
    return int(any(value > limit for _, value, limit, _ in figures))


if __name__ == "__main__":
    sys.exit(main())
