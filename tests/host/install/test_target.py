"""``pip install --target DIR`` with ``PYTHONPATH=DIR``: packages stand before Python's own modules there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Environment

# what the argparse 1.4.0 that unittest2 brings lacks, compared with Python's own
OLD_ARGPARSE = """
import importlib.machinery, importlib.util, sysconfig
_spec = importlib.machinery.PathFinder.find_spec("argparse", [sysconfig.get_path("stdlib")])
_own = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_own)
globals().update({name: value for name, value in vars(_own).items() if not name.startswith("__")})

class ArgumentParser(_own.ArgumentParser):
    def add_subparsers(self, **options):
        if "required" in options:
            raise TypeError("_SubParsersAction.__init__() got an unexpected keyword argument 'required'")
        return super().add_subparsers(**options)
"""


@pytest.fixture(scope="module")
def target(removable: Environment, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel and an old argparse, in an environment that has neither."""
    removable.pip("uninstall", "-y", "nnunetv2-masam")
    folder = tmp_path_factory.mktemp("target")
    removable.pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    (folder / "argparse.py").write_text(OLD_ARGPARSE)
    return folder


def test_commands_and_registration(removable: Environment, target: Path) -> None:
    there = {"PYTHONPATH": str(target)}
    command = ["python", "-m", "nnunetv2_masam.cli"]
    assert removable.python("import argparse; print(argparse.__file__)", **there) == str(target / "argparse.py")
    for words in (["--help"], ["weights", "--help"], ["convert", "btcv", "--help"]):
        assert "usage: nnUNetv2_masam" in removable.run(*command, *words, **there).stdout
    script = removable.run("python", str(target / "bin" / "nnUNetv2_masam"), "trainers-path", **there)
    folder = removable.run(*command, "trainers-path", **there).stdout.strip()
    assert script.stdout.strip() == folder == str(target / "nnunetv2_masam" / "trainers")
    look_up = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        "print(find('nnUNetTrainerMASAM').__name__)"
    )
    found = removable.python(look_up, nnUNet_extTrainer=folder, **there)
    assert found.splitlines()[-1] == "nnUNetTrainerMASAM"


@pytest.mark.skipif(sys.platform == "win32", reason="the folder of scripts is called otherwise there")
def test_an_argparse_that_was_imported_before_is_replaced(removable: Environment, target: Path) -> None:
    """A start-up file may import it first; who has it already keeps it."""
    code = "import argparse; old = argparse; from nnunetv2_masam.cli import main; main(['trainers-path'])"
    assert removable.python(code, PYTHONPATH=str(target)) == str(target / "nnunetv2_masam" / "trainers")
