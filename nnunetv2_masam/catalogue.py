"""Find the folders of named trainers and planners, and import one by its name.

They are loose modules, not an importable package: nnU-Net puts the trainers' folder on ``sys.path`` and searches it.
An installed package has both folders inside it, a checkout (editable install) beside it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE_FOLDER = Path(__file__).resolve().parent


def trainers_folder() -> Path:
    """Folder that nnU-Net looks our trainers up in."""
    return _folder("trainers", "nnUNetTrainerMASAM.py")


def planners_folder() -> Path:
    """Folder of our planners."""
    return _folder("planners", "*.py")


def is_checkout() -> bool:
    """Whether the package is used from a source tree: an editable install, or the tree on ``sys.path``."""
    return (PACKAGE_FOLDER.parent / "pyproject.toml").is_file()


def find_planner(name: str) -> type[Any]:
    """Planner class ``name``, from our folder or, for stock planners, from nnU-Net's.

    Raises:
        ValueError: there is no such planner; the message lists where it was looked for.
    """
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    host_folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    folder = str(planners_folder())
    found = recursive_find_python_class(folder, name, None, base_folder=folder)
    if found is None:
        found = recursive_find_python_class(
            host_folder, name, "nnunetv2.experiment_planning", base_folder=nnunetv2.__path__[0]
        )
    if found is None:
        raise ValueError(
            f"planner {name!r} is neither in {folder} (which has {', '.join(class_names(planners_folder()))}) "
            f"nor in {host_folder}. Check the spelling"
        )
    return found


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
    trainer = find_trainer(name)
    if not hasattr(trainer, "rules"):
        ours = [other for other, found in classes_in(trainers_folder()).items() if hasattr(found, "rules")]
        raise ValueError(f"-tr: {name} is not a MA-SAM trainer; take one of {', '.join(ours)}")
    return trainer


def class_names(folder: Path) -> list[str]:
    """Names of the classes defined in the modules of ``folder``; see :func:`classes_in`."""
    return list(classes_in(folder))


def classes_in(folder: Path) -> dict[str, type[Any]]:
    """The classes defined in the modules of ``folder``, by name; private ones are left out.

    A module that cannot be imported raises what its import raises.
    """
    found: dict[str, type[Any]] = {}
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"_catalogue_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with _beside_each_other(folder):
            spec.loader.exec_module(module)
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = value
    return found


def _folder(name: str, pattern: str) -> Path:
    candidates = (PACKAGE_FOLDER / name, PACKAGE_FOLDER.parent / name)
    for folder in candidates:
        if any(folder.glob(pattern)):
            return folder
    looked = " and ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"{name}: no {pattern} in {looked}. The installation is incomplete: "
        "pip install --force-reinstall --no-deps nnunetv2-masam"
    )


@contextlib.contextmanager
def _beside_each_other(folder: Path) -> Iterator[None]:
    """Let the modules of ``folder`` import each other, as they can when nnU-Net loads them."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
