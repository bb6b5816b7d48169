"""Find the folders of named trainers and planners, and import one by its name.

They are loose modules, not an importable package: nnU-Net puts the trainers' folder on ``sys.path`` and searches it.
An installed package has both folders inside it, a checkout (editable install) beside it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
from pathlib import Path
from typing import Any

PACKAGE_FOLDER = Path(__file__).resolve().parent


def trainers_folder() -> Path:
    """Folder that nnU-Net looks our trainers up in."""
    return _folder("trainers", "nnUNetTrainerMASAM.py")


def planners_folder() -> Path:
    """Folder of our planner."""
    return _folder("planners", "MASAMPlanner.py")


def is_checkout() -> bool:
    """Whether the package is used from a source tree: an editable install, or the tree on ``sys.path``."""
    return (PACKAGE_FOLDER.parent / "pyproject.toml").is_file()


def find_trainer(name: str) -> type[Any]:
    """Trainer class ``name``, as nnU-Net finds it, or from our folder where that is not registered.

    Raises:
        ValueError: there is no such trainer; the message lists where it was looked for.
    """
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    folder = str(trainers_folder())
    with contextlib.redirect_stdout(io.StringIO()):  # the lookup tells each module it opens
        try:
            return recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            not_found = str(error)
            if "not find requested" not in not_found:
                raise
        found = recursive_find_python_class(
            folder, name, None, base_folder=folder, cleanup_imports_from_base_folder=True
        )
    if found is None:
        ours = ", ".join(class_names(trainers_folder()))
        raise ValueError(f"trainer {name!r} is neither in {folder} (which has {ours}) nor elsewhere. {not_found}")
    return found


def find_masam_trainer(name: str) -> type[Any]:
    """The MA-SAM trainer of this name, whose ``rules`` say how its plans are made.

    Raises:
        ValueError: there is no trainer of this name, or it trains another network.
    """
    from nnunetv2_masam import trainers  # which lists them by this module

    trainer = find_trainer(name)
    if not hasattr(trainer, "rules"):
        ours = [other for other in dir(trainers) if hasattr(getattr(trainers, other), "rules")]
        raise ValueError(f"-tr: {name} is not a MA-SAM trainer; take one of {', '.join(ours)}")
    return trainer


def masam_planner() -> type[Any]:
    """nnU-Net's planner with MA-SAM's plans."""
    file = planners_folder() / "MASAMPlanner.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    planner: type[Any] = module.MASAMPlanner
    return planner


def class_names(folder: Path) -> dict[str, str]:
    """Class → module that defines it, read without importing any module; private classes are left out."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = path.stem
    return found


def _folder(name: str, file: str) -> Path:
    candidates = (PACKAGE_FOLDER / name, PACKAGE_FOLDER.parent / name)
    for folder in candidates:
        if (folder / file).is_file():
            return folder
    raise FileNotFoundError(
        f"{name}: no {file} in {' and '.join(map(str, candidates))}. The installation is incomplete: "
        "pip install --force-reinstall --no-deps nnunetv2-masam"
    )
