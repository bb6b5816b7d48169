"""Functions and files that one can keep in mind."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "nnunetv2_masam"
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_FILE = 50, 300

# file and function: why it is longer
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {}


def test_functions_are_short():
    """Without their docstrings."""
    long = {
        f"{file.relative_to(PACKAGE)} {node.name}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert long - LONG_FUNCTIONS.keys() == set()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body if ast.get_docstring(function) is None else function.body[1:]
    return int(body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_are_short():
    long = {
        str(file.relative_to(PACKAGE))
        for file in sorted(PACKAGE.rglob("*.py"))
        if len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES_OF_A_FILE
    }
    assert long - LONG_FILES.keys() == set()
