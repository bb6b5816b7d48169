"""Where trainers and planners are, in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_masam import catalogue

REPOSITORY = Path(__file__).resolve().parents[2]


def test_in_a_checkout_the_folders_are_beside_the_package() -> None:
    assert catalogue.is_checkout()
    assert catalogue.trainers_folder() == REPOSITORY / "trainers"
    assert catalogue.planners_folder() == REPOSITORY / "planners"


def test_inside_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "nnunetv2_masam"
    for folder in (tmp_path / "trainers", package / "trainers"):
        folder.mkdir(parents=True)
        (folder / "nnUNetTrainerMASAM.py").touch()
    monkeypatch.setattr(catalogue, "PACKAGE_FOLDER", package)
    assert catalogue.trainers_folder() == package / "trainers"
    (package / "trainers" / "nnUNetTrainerMASAM.py").unlink()
    assert catalogue.trainers_folder() == tmp_path / "trainers"


def test_an_incomplete_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "PACKAGE_FOLDER", tmp_path / "nnunetv2_masam")
    with pytest.raises(FileNotFoundError, match=r"trainers: no nnUNetTrainerMASAM\.py in .*force-reinstall"):
        catalogue.trainers_folder()


def test_class_names_lists_what_is_defined_there(tmp_path: Path) -> None:
    (tmp_path / "b_shared_zz.py").write_text("class Shared: ...\n")
    (tmp_path / "a_recipe_zz.py").write_text(
        "from pathlib import Path\nfrom b_shared_zz import Shared\n\nclass Recipe(Shared): ...\n\nclass _Hidden: ...\n"
    )
    assert catalogue.class_names(tmp_path) == {"Recipe": "a_recipe_zz", "Shared": "b_shared_zz"}
