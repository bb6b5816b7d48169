"""Imports point one way: commands → crossval → training, sharing, evaluation → weights, planning, prompts → network."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "nnunetv2_masam"

# part: parts of the package that it may import
ALLOWED = {
    "architecture": set(),
    "network": {"architecture", "network"},
    "baselines": {"files", "baselines"},
    "planning": {
        "plans_file",
        "processes",
        "files",
        "nnunet_files",
        "planning",
        "architecture",
        "network",
        "catalogue",
    },
    "weights": {"files", "weights", "architecture", "network"},
    "sharing": {"plans_file", "files", "nnunet_files", "catalogue", "sharing", "weights", "architecture", "network"},
    "dicom": {"csv_tables", "files", "images", "label_files", "nnunet_files", "dicom"},
    "predict": {"dicom", "files", "images", "nnunet_files", "plans_file", "predict"},
    "box_record": set(),
    "splits": {"files"},
    "prompts": {"box_record", "csv_tables", "files", "images", "label_files", "nnunet_files", "prompts"},
    "evaluation": {
        "csv_tables",
        "dicom",
        "files",
        "images",
        "label_files",
        "nnunet_files",
        "evaluation",
        "box_record",
        "splits",
        "folds",
        "weights",
        "processes",
    },
    "folds": {"files", "images", "label_files", "nnunet_files", "splits", "folds"},
    "processes": set(),
    "datasets": {"processes", "files", "images", "label_files", "nnunet_files", "datasets", "folds"},
    "video": {"files", "images", "label_files", "nnunet_files", "video", "splits"},
    "crossval": {
        "plans_file",
        "files",
        "nnunet_files",
        "catalogue",
        "architecture",
        "crossval",
        "data_checks",
        "evaluation",
    },
    "training": {
        "plans_file",
        "processes",
        "files",
        "training",
        "baselines",
        "box_record",
        "weights",
        "planning",
        "architecture",
        "network",
    },
    "catalogue": set(),
    "csv_tables": {"files"},
    "plans_file": {"files"},
    "installation": {"catalogue", "data_checks", "files", "nnunet_files", "network", "requirements", "weights"},
    "requirements": set(),
    "data_checks": {"files", "splits", "images", "label_files", "nnunet_files"},
    "files": set(),
    "images": set(),
    "label_files": {"files", "images"},
    "nnunet_files": {"files"},
}
MODULES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
# module: distribution, where the two have other names
DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image"}
BESIDE_THE_PACKAGE = {"nnunetv2_masam", "_nnunetv2_masam_registration"}
FOREIGN_TO_NETWORK = {"nnunetv2", "os", "json", "batchgenerators", "SimpleITK"}


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module))
    return names


def files_of(part: str) -> list[Path]:
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part):
    files = files_of(part)
    assert files
    for file in files:
        for name in imports(file):
            if name.startswith("nnunetv2_masam."):
                assert name.split(".")[1] in ALLOWED[part] | {"options"}, f"{file.name} imports {name}"


def test_folders_import_few_others_and_never_in_a_circle():
    """Every arrow between two folders is one more thing to know about both."""
    folders = {path.name: sorted(path.rglob("*.py")) for path in PACKAGE.iterdir() if path.is_dir()}
    folders |= {name: sorted((PACKAGE.parent / name).glob("*.py")) for name in ("trainers", "planners")}
    arrows: dict[str, set[str]] = {}
    for folder, files in folders.items():
        named = {name.split(".")[1] for file in files for name in imports(file) if name.startswith("nnunetv2_masam.")}
        arrows[folder] = named & folders.keys() - {folder}
    assert sum(map(len, arrows.values())) <= 28
    graphlib.TopologicalSorter(arrows).prepare()  # refuses circles


def test_no_module_needs_itself_to_be_imported():
    """Imports inside of functions and for type checkers do not count: they run when all modules are there."""
    arrows = {name: imports_on_import(name) for name in MODULES}
    graphlib.TopologicalSorter(arrows).prepare()  # names the circle


def imports_on_import(module: str) -> set[str]:
    """The modules of the package that run before a module has, with the packages that they lie in."""
    found: set[str] = set()
    for node in statements_on_import(ast.parse(MODULES[module].read_text()).body):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in members}
    found |= {package for name in found for package in packages_of(name)}
    return (found & MODULES.keys()) - packages_of(module) - {module}


def statements_on_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements_on_import(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from statements_on_import(getattr(node, part, []))


def packages_of(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def test_network_knows_nothing_of_its_host():
    for file in files_of("network"):
        roots = {name.split(".")[0] for name in imports(file)}
        assert not roots & FOREIGN_TO_NETWORK, file.name


def test_every_distribution_that_is_imported_is_declared():
    """Also those that nnU-Net happens to bring; ``doctor`` checks what is declared."""
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = text.partition("\ndependencies = [")[2].partition("\n[project.scripts]")[0]
    declared = {_normalised(name) for name in re.findall(r'"([A-Za-z0-9_.-]+)[<>=]', project)}
    folders = [PACKAGE, *(PACKAGE.parent / name for name in ("trainers", "planners", "registration"))]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    beside = BESIDE_THE_PACKAGE | {file.stem for file in files if file.parent in folders[1:]}
    roots = {name.split(".")[0] for file in files for name in imports(file)} - beside - sys.stdlib_module_names
    assert {"torch", "timm", "pandas"} <= roots
    assert {_normalised(DISTRIBUTIONS.get(root, root)) for root in roots} <= declared


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_only_commands_parse_arguments_and_print():
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.is_relative_to(PACKAGE / "cli"):
            continue
        names = {node.func.id for node in ast.walk(ast.parse(file.read_text())) if _is_plain_call(node)}
        assert "print" not in names, file
        assert "argparse" not in imports(file), file


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
