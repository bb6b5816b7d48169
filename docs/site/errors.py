"""The messages of the package's errors, read from its source, for the page that lists them and for tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

PACKAGE = Path(__file__).resolve().parents[2] / "nnunetv2_masam"
# raised by networks that are built in Python, or inside and reported by another error
INTERNAL = ("architecture", "network", "baselines", "trainers", "__init__")
INTERNAL_ERRORS = ("ArchiveError", "OutlineError", "AttributeError", "TypeError", "SafetensorError")
PARTS = {
    "cli": "Commands",
    "options": "Commands",
    "processes": "Commands",
    "catalogue": "Trainers and planners",
    "csv_tables": "Files and folders",
    "files": "Files and folders",
    "nnunet_files": "nnU-Net's files and names",
    "box_record": "Box prompts",
    "splits": "Folds and splits",
    "images": "Images",
    "label_files": "Images",
    "data_checks": "Folds and splits",
    "crossval": "Commands",
    "plans_file": "Plans",
    "requirements": "Commands",
    "installation": "Commands",
    "planning": "Plans",
    "planners": "Plans",
    "training": "Training",
    "weights": "Weights files",
    "sharing": "Imported, slim and merged models",
    "evaluation": "Comparisons",
    "predict": "Prediction",
    "prompts": "Box prompts",
    "datasets": "Converted datasets",
    "dicom": "DICOM",
    "folds": "Folds and splits",
    "video": "Video",
}


@lru_cache
def messages(package: Path = PACKAGE) -> dict[str, list[str]]:
    """Messages by part of the package; what is filled in when the error occurs is written as an ellipsis."""
    trees = _trees(package)
    returned = {name: text for tree in trees.values() for name, text in _returned(tree)}
    found: dict[str, list[str]] = {}
    for file, tree in trees.items():
        first = file.relative_to(package).parts[0] if package in file.parents else "planners"
        part = first.removesuffix(".py")
        if part in INTERNAL:
            continue
        found.setdefault(PARTS[part], []).extend(_raised(tree, returned))
    return {part: sorted(set(texts), key=_sorting) for part, texts in sorted(found.items())}


def literals(package: Path = PACKAGE) -> str:
    """All texts in the package's code, one a line, with an ellipsis for what f-strings fill in."""
    texts = (_template(node) for tree in _trees(package).values() for node in ast.walk(tree))
    return "\n".join(_squeezed(text) for text in texts if text)


@lru_cache
def _trees(package: Path) -> dict[Path, ast.Module]:
    files = [*sorted(package.rglob("*.py")), *sorted((package.parent / "planners").glob("*.py"))]
    return {file: ast.parse(file.read_text("utf-8")) for file in files}


def _raised(tree: ast.Module, returned: dict[str, str]) -> Iterator[str]:
    """The texts of a module's errors; names that stand for one text are replaced by it."""
    constants = _names(tree.body)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        names = {**constants, **_names(list(ast.walk(function)))}
        for node in ast.walk(function):
            if isinstance(node, ast.Raise):
                text = _message(node.exc, returned, names)
                if text and len(re.sub(r"[^a-z]", "", text)) > 7:
                    yield text


def _names(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """Names that are given one text."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, set()).add(_template(node.value) or "…")
    return {name: next(iter(texts)) for name, texts in found.items() if len(texts) == 1}


def _returned(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions that return a text, with that text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            texts = [_template(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Return)]
            if texts and all(texts):
                yield node.name, " / ".join(map(str, texts))


def _message(error: ast.expr | None, returned: dict[str, str], names: dict[str, str]) -> str | None:
    """The text of a raised error, or None where it has none of its own."""
    if not isinstance(error, ast.Call):
        return None
    name = ast.unparse(error.func)
    if name in INTERNAL_ERRORS or name.endswith("ArgumentTypeError"):
        return None
    if name == "bad_file":
        got, expected, remedy = (_template(argument, names) or "…" for argument in error.args[1:4])
        return _squeezed(f"…: got {got}; expected {expected}. {remedy}")
    text = _template(error.args[0], names) if error.args else None
    if text is None and error.args and isinstance(error.args[0], ast.Call):
        text = returned.get(ast.unparse(error.args[0].func).rsplit(".", 1)[-1])
    return _squeezed(text) if text else None


def _template(node: ast.AST | None, names: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """A string expression with an ellipsis for each part that is neither a literal nor one of ``names``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(value, names) or "…" for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return _template(node.value, names) if isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_template(node.left, names) or "…") + (_template(node.right, names) or "…")
    return None


def _squeezed(text: str) -> str:
    return re.sub(r"(… ?){2,}", "… ", re.sub(r"\s+", " ", text)).replace("… .", "….").strip()


def _sorting(text: str) -> str:
    return text.lstrip("…: ").lower()


def page() -> str:
    """The page in Markdown."""
    lines = [
        "# All error messages",
        "",
        "Look a message up by words of it that are not names or numbers of yours; what is filled in stands here as an "
        "ellipsis. [Troubleshooting](troubleshooting.md) has causes and remedies of the frequent ones. The list is "
        "made from the source when this site is built.",
    ]
    for part, texts in messages().items():
        lines += ["", f"## {part}", "", *(f"- {_escaped(text)}" for text in texts)]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", text)
