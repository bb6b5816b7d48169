"""What is known of a weights file, and files whose hash nobody publishes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.files import cache_folder
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.formats import CheckpointError
from nnunetv2_masam.weights.provenance import KEY, Provenance, identify, stored_provenance
from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint, at_url


def test_known_file_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"weights")
    known = replace(CHECKPOINTS["medsam_vit_b"], sha256=hashlib.sha256(b"weights").hexdigest())
    unknown = identify(path)
    assert (unknown.name, unknown.licence, unknown.sha256) == (None, None, known.sha256)
    assert "licence: not known" in str(unknown)

    monkeypatch.setitem(CHECKPOINTS, "medsam_vit_b", known)
    provenance = identify(path)
    assert (provenance.name, provenance.licence, provenance.file) == ("medsam_vit_b", "CC-BY-4.0", "renamed.pth")
    for part in ("MedSAM", "7 bytes", known.sha256, "licence: CC-BY-4.0", "please cite: Ma et al.", "Kirillov"):
        assert str(part) in str(provenance)
    assert stored_provenance({"init_args": {"fold": 0, KEY: provenance.as_dict()}}) == provenance


@pytest.mark.parametrize("stored", [None, "vit_b", {}, {"file": "sam.pth"}])
def test_checkpoints_that_say_nothing_of_their_weights(stored: object) -> None:
    assert stored_provenance({"init_args": {KEY: stored}}) is None
    assert stored_provenance({"network_weights": {}}) is None


def test_unpublished_hash_is_recorded_at_the_first_use_and_compared_later(
    server: Any, unhashed: PublishedCheckpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the file was downloaded here, or copied here without its record."""
    path = download_checkpoint(unhashed, cache_folder())
    record = path.with_name(f"{path.name}.origin.json")
    for copied in (False, True):
        if copied:
            record.unlink()
        caplog.clear()
        provenance = identify(path)
        assert (provenance.name, provenance.url) == (unhashed.name, unhashed.url)
        assert provenance.sha256 in record.read_text()
        assert ("no sha256 is known" in caplog.text) == copied
    path.write_bytes(b"replaced")
    with pytest.raises(CheckpointError, match=f"expected {provenance.sha256}, recorded at its first use") as caught:
        identify(path)
    assert f"delete {record.name}" in str(caught.value)
    record.unlink()
    assert identify(path).bytes == 8


def test_file_of_a_url_is_named_by_it(server: Any, unhashed: PublishedCheckpoint) -> None:
    path = download_checkpoint(at_url(f"{unhashed.url}?token=secret"), cache_folder())
    provenance = identify(path)
    assert provenance.name == provenance.url == unhashed.url
    assert "secret" not in path.with_name(f"{path.name}.origin.json").read_text()


def test_folder_that_cannot_be_written_to(
    unhashed: PublishedCheckpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("read-only file system")

    path = download_checkpoint(unhashed, cache_folder())
    path.with_name(f"{path.name}.origin.json").unlink()
    monkeypatch.setattr("nnunetv2_masam.weights.provenance.write_json", refuse)
    assert isinstance(identify(path), Provenance)
    assert "not recorded, because the folder cannot be written to (read-only file system)" in caplog.text


def test_changed_file_of_a_published_hash_is_refused(as_vit_b: PublishedCheckpoint) -> None:
    path = download_checkpoint(as_vit_b, cache_folder())
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CheckpointError, match=f"expected {as_vit_b.sha256}, as the file of this name has"):
        identify(path)
