"""``nnUNetv2_masam doctor`` tells a working installation from broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Environment


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """nnU-Net's three folders."""
    variables = {name: str(tmp_path / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for folder in variables.values():
        Path(folder).mkdir()
    return {**variables, "MASAM_CACHE": str(tmp_path), "MASAM_OFFLINE": "1"}


def test_a_working_installation(from_wheel: Environment, folders: dict[str, str]) -> None:
    done = from_wheel.run("nnUNetv2_masam", "doctor", check=False, **folders)
    assert done.returncode == 0, done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    trainers = from_wheel.site_packages / "nnunetv2_masam" / "trainers"
    for name in ("nnUNetTrainerMASAM", "nnUNetTrainerMASAM_L", "nnUNetTrainerMASAM_H", "nnUNetTrainerMASAM_tiny"):
        assert lines[name].split()[1:] == ["ok", "from", str(trainers)]
    assert lines["vit_b"].split()[1] == "warning"
    assert "Inspecting module" not in done.stdout


def test_what_is_wrong_comes_with_the_remedy(removable: Environment, folders: dict[str, str]) -> None:
    """Trainers that are not registered, a host that is too old, and a variable that is not set."""
    (removable.site_packages / "nnunetv2_masam.pth").unlink()
    metadata = removable.site_packages / "nnunetv2-2.7.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: nnunetv2\nVersion: 2.7.0\n")
    some = {name: value for name, value in folders.items() if name != "nnUNet_results"}
    done = removable.run("nnUNetv2_masam", "doctor", check=False, **some)
    assert done.returncode == 1
    failed = {line.split()[0] for line in done.stdout.splitlines() if "FAILED" in line}
    assert {"nnunetv2", "nnUNet_results", "nnUNetTrainerMASAM", "nnUNetTrainerMASAM_tiny"} <= failed
    assert "export nnUNet_extTrainer=$(nnUNetv2_masam trainers-path)" in done.stdout
    assert 'pip install "nnunetv2<3,>=2.8"' in done.stdout
    assert "export nnUNet_results=" in done.stdout

    shutil.rmtree(metadata)
    trainers = removable.run("nnUNetv2_masam", "trainers-path").stdout.strip()
    done = removable.run("nnUNetv2_masam", "doctor", check=False, nnUNet_extTrainer=trainers, **folders)
    assert done.returncode == 0, done.stdout
