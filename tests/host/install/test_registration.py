"""Installing the package is enough for nnU-Net to find the trainers; removing it leaves nothing behind."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Environment

REPOSITORY = Path(__file__).resolve().parents[3]
PRINT_VARIABLE = "import os; print(os.environ.get('nnUNet_extTrainer', ''))"

# looks names up as `nnUNetv2_train -tr NAME` does and prints the module each was found in
LOOKUP = """
import contextlib, io, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
for name in NAMES:
    with contextlib.redirect_stdout(io.StringIO()):
        found = recursive_find_trainer_class_by_name(name)
    print(name, found.__module__)
"""


def _lookup(environment: Environment, *names: str, **variables: str) -> dict[str, str]:
    lines = environment.python(f"NAMES = {names!r}\n{LOOKUP}", **variables).splitlines()
    return dict(line.split() for line in lines if line.startswith("nnUNetTrainer"))


def _trainers_in(environment: Environment) -> Path:
    inside = environment.site_packages / "nnunetv2_masam" / "trainers"
    return inside if inside.is_dir() else REPOSITORY / "trainers"


def test_the_folder_is_the_installed_one(from_wheel: Environment, editable: Environment) -> None:
    assert from_wheel.python(PRINT_VARIABLE) == str(from_wheel.site_packages / "nnunetv2_masam" / "trainers")
    assert editable.python(PRINT_VARIABLE) == str(REPOSITORY / "trainers")


def test_trainers_path_prints_the_registered_folder(installed: Environment) -> None:
    done = installed.run("nnUNetv2_masam", "trainers-path")
    assert Path(done.stdout.strip()).samefile(_trainers_in(installed))


def test_what_the_user_has_set_comes_first_and_wins(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerMASAM(nnUNetTrainer): ...\n"
    )
    assert installed.python(PRINT_VARIABLE, nnUNet_extTrainer=str(tmp_path)).split(os.pathsep) == [
        str(tmp_path),
        str(_trainers_in(installed)),
    ]
    names = ("nnUNetTrainerMASAM", "nnUNetTrainerMASAM_tiny", "nnUNetTrainer_5epochs")
    assert _lookup(installed, *names, nnUNet_extTrainer=str(tmp_path)) == {
        "nnUNetTrainerMASAM": "mine",
        "nnUNetTrainerMASAM_tiny": "nnUNetTrainerMASAM_tiny",
        "nnUNetTrainer_5epochs": "nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs",
    }


def test_nested_interpreters_do_not_repeat_the_folder(installed: Environment) -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINT_VARIABLE!r}], check=True)"
    assert installed.python(nested) == str(_trainers_in(installed))


@pytest.mark.parametrize("option", ["-I", "-E", "-s"])
def test_isolated_interpreters_are_registered_too(from_wheel: Environment, option: str) -> None:
    assert from_wheel.python(PRINT_VARIABLE, option) == str(_trainers_in(from_wheel))


def test_start_up_stays_light(from_wheel: Environment) -> None:
    code = "import sys; print(*[m for m in ('nnunetv2', 'nnunetv2_masam', 'torch', 'numpy') if m in sys.modules])"
    assert from_wheel.python(code) == ""


def test_a_half_removed_package_is_silent(removable: Environment) -> None:
    for name in (
        "_nnunetv2_masam_registration.py",
        "nnunetv2_masam/trainers/nnUNetTrainerMASAM.py",
        "nnunetv2_masam/__init__.py",
    ):
        removed = removable.site_packages / name
        content = removed.read_bytes()
        removed.unlink()
        done = removable.run("python", "-c", PRINT_VARIABLE)
        assert (name, done.stdout.strip(), done.stderr) == (name, "", "")
        removed.write_bytes(content)
    assert removable.python(PRINT_VARIABLE) == str(_trainers_in(removable))


def test_uninstalling_leaves_nothing_behind(removable: Environment) -> None:
    assert "nnunetv2_masam.pth" in {Path(name).name for name in removable.files()}
    removable.python(PRINT_VARIABLE)  # compiles what the start-up imports
    removable.pip("uninstall", "--yes", "nnunetv2-masam")
    assert removable.files() == set()
    assert not list(removable.site_packages.rglob("*masam*.pyc"))
    assert removable.python(PRINT_VARIABLE) == ""


def test_the_wheel_keeps_out_of_the_host(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "nnunetv2_masam",
        "nnunetv2_masam.pth",
        "nnunetv2_masam.start",
        "_nnunetv2_masam_registration.py",
    }
    assert "nnunetv2_masam/trainers/nnUNetTrainerMASAM_tiny.py" in names
    assert "nnunetv2_masam/planners/MASAMPlanner.py" in names


def _interpreters() -> list[str]:
    """Every ``python3.x`` on the PATH that runs and that the package supports."""
    found = []
    for minor in range(10, 20):
        path = shutil.which(f"python3.{minor}")
        code = f"import sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
        if path and subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found


@pytest.mark.parametrize("interpreter", _interpreters() or [sys.executable])
@pytest.mark.parametrize("mode", ["wheel", "editable"])
def test_every_python_registers_the_folder(interpreter: str, mode: str, request, tmp_path: Path) -> None:
    """The archives are laid out as pip does; no Python but the one that runs the tests needs nnU-Net for this."""
    archive = request.getfixturevalue(f"{mode}_archive")
    subprocess.run([interpreter, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    python = str(tmp_path / ("Scripts" if os.name == "nt" else "bin") / "python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(
        subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    )
    zipfile.ZipFile(archive).extractall(site_packages)
    environment = {k: v for k, v in os.environ.items() if k != "nnUNet_extTrainer"}
    done = subprocess.run([python, "-c", PRINT_VARIABLE], env=environment, capture_output=True, text=True, check=True)
    expected = REPOSITORY / "trainers" if mode == "editable" else site_packages / "nnunetv2_masam" / "trainers"
    assert (done.stdout.strip(), done.stderr) == (str(expected), "")


def test_the_start_file_names_a_callable_that_registers(registration: ModuleType, monkeypatch) -> None:
    """What Python 3.15 and newer do with ``nnunetv2_masam.start``, by the standard library's own resolver."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    (line,) = (REPOSITORY / "registration" / "nnunetv2_masam.start").read_text("utf-8").splitlines()
    pkgutil.resolve_name(line)()
    assert os.environ["nnUNet_extTrainer"] == str(REPOSITORY / "trainers")
    pkgutil.resolve_name(line)()
    assert os.environ["nnUNet_extTrainer"] == str(REPOSITORY / "trainers")


@pytest.fixture
def registration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The start-up module, imported without changing this process's environment for good."""
    monkeypatch.setenv("nnUNet_extTrainer", "")
    monkeypatch.syspath_prepend(str(REPOSITORY / "registration"))
    monkeypatch.delitem(sys.modules, "_nnunetv2_masam_registration", raising=False)
    return importlib.import_module("_nnunetv2_masam_registration")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "/ours"),
        ("  ", "/ours"),
        ("/a", "/a:/ours"),
        ("/a:/b", "/a:/b:/ours"),
        ("/ours", "/ours"),
        ("/a:/ours/:/b", "/a:/ours/:/b"),
        ("/a:/ours2", "/a:/ours2:/ours"),
    ],
)
@pytest.mark.skipif(os.pathsep != ":", reason="POSIX paths")
def test_the_folder_is_appended_once(registration: ModuleType, value: str, expected: str) -> None:
    assert registration.extended(value, "/ours") == expected


def test_a_foreign_trainers_folder_is_not_ours(
    registration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nnunetv2_masam").mkdir()
    (tmp_path / "nnunetv2_masam" / "__init__.py").touch()
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "other.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert registration.trainers_folder() is None


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a working directory from being removed")
def test_a_removed_working_directory_is_no_error(
    registration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative entries on the path and in the variable lead nowhere then; the absolute ones still count."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("nnUNet_extTrainer", "mine")
    monkeypatch.setattr(sys, "path", ["lib", "", str(REPOSITORY)])
    for _ in range(2):
        registration.register()
        assert os.environ["nnUNet_extTrainer"] == os.pathsep.join(["mine", str(REPOSITORY / "trainers")])
    monkeypatch.setattr(sys, "path", ["lib"])
    assert registration.trainers_folder() is None


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a working directory from being removed")
@pytest.mark.parametrize("start", ["pth", "start"])
def test_python_starts_silently_in_a_removed_working_directory(start: str, tmp_path: Path) -> None:
    """What the start-up files run, with a relative entry of PYTHONPATH."""
    lines = {
        "pth": (REPOSITORY / "registration" / "nnunetv2_masam.pth").read_text("utf-8"),
        "start": "import pkgutil; pkgutil.resolve_name('_nnunetv2_masam_registration:register')()",
    }
    code = "\n".join(
        [
            "import os, pkgutil, sys",
            f"os.chdir({str(tmp_path)!r}); os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
            f"sys.path[:0] = ['lib', {str(REPOSITORY / 'registration')!r}, {str(REPOSITORY)!r}]",
            lines[start],
            "print(os.environ['nnUNet_extTrainer'])",
        ]
    )
    environment = {k: v for k, v in os.environ.items() if k != "nnUNet_extTrainer"}
    # without site-packages, where another copy of the start-up files may be
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(REPOSITORY / "trainers"), "")
