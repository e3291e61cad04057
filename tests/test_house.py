"""The house: small enough to read, nothing points upwards; and the README as GitHub shows it."""

import ast
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from test_course import imported_modules

ROOT = Path(__file__).resolve().parents[1]
CORE = [
    "model",
    "data",
    "prompts",
    "packing",
    "scoring",
    "finetune",
    "adapters",
    "teaching",
    "cost",
    "compare",
]
PACKAGES = ("helpers", "lessons", "own_data", "tools")
ABOVE = {"helpers": {"lessons", "own_data"}, "lessons": {"own_data"}, "own_data": {"lessons"}}
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]


def lines(paths) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def functions(source: str):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def too_big(source: str, length: int = 40, parameters: int = 7) -> list[str]:
    """The functions of a source with more lines or parameters than a reader keeps in mind."""

    def taken(args: ast.arguments) -> int:
        named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        return len([arg for arg in named if arg.arg not in ("self", "cls")])

    return [
        node.name
        for node in functions(source)
        if node.end_lineno - node.lineno >= length or taken(node.args) > parameters
    ]


def test_helpers_can_be_read():
    assert lines((ROOT / "helpers").glob("*.py")) <= 3600
    assert lines(ROOT / "helpers" / f"{name}.py" for name in CORE) <= 2300
    assert lines([ROOT / "course.py"]) < 500


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_can_be_read_and_points_nowhere_upwards(path):
    source = path.read_text(encoding="utf-8")
    assert not too_big(source)
    assert not ABOVE.get(path.parent.name, set()) & set(imported_modules(source))


def test_a_lesson_imports_no_other_lesson():
    names = {path.stem for path in (ROOT / "lessons").glob("l[0-9]*.py")}
    assert len(names) == 11
    for name in names:
        tree = ast.parse((ROOT / "lessons" / f"{name}.py").read_text(encoding="utf-8"))
        words = {
            alias.name
            for node in ast.walk(tree)
            for alias in getattr(node, "names", [])
            if isinstance(alias, ast.alias)
        }
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        reached = {word.split(".")[-1] for word in words | froms if word}
        assert not reached & (names - {name})


def test_what_is_too_big_is_seen():
    long = "def f():\n" + "    x = 1\n" * 40
    many = "def g(a, b, c, d, e, f, *, g, h): pass\n"
    fine = "def h(self, a, b, c, d, e, f, g):\n" + "    x = 1\n" * 39
    assert too_big(long + many + fine) == ["f", "g"]


def table_rows(markdown: str) -> list[list[str]]:
    """The first cell of every row, for each table's body."""
    tables, inside = [], False
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    for i, token in enumerate(tokens):
        if token.type == "tbody_open":
            tables.append([])
            inside = True
        elif token.type == "tbody_close":
            inside = False
        elif inside and token.type == "tr_open":
            tables[-1].append(tokens[i + 2].content)  # its first cell's text
    return tables


def test_the_readme_shows_all_lessons_in_one_table():
    lessons = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [rows] = [rows for rows in table_rows(readme) if "notebooks/" in rows[0]]
    assert len(rows) == len(lessons) == 11
    for row, name in zip(rows, lessons, strict=True):
        assert name in row
    broken = readme.replace("| [7 ", "\n| [7 ")  # what once cut the table in two
    assert len(next(rows for rows in table_rows(broken) if "notebooks/" in rows[0])) == 7


def test_every_fault_names_a_test_that_there_is():
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("*.py"))
    assert named and [name for name in named if f"def {name}(" not in sources] == []
