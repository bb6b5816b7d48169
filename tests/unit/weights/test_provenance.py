"""What is known of a weights file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from nnunetv2_masam.files import cache_folder
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.formats import CheckpointError
from nnunetv2_masam.weights.provenance import KEY, identify, stored_provenance
from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint


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


def test_file_of_no_published_hash_is_known_by_its_name_in_the_cache(unhashed: PublishedCheckpoint) -> None:
    provenance = identify(download_checkpoint(unhashed, cache_folder()))
    assert (provenance.name, provenance.url) == (unhashed.name, unhashed.url)


def test_changed_file_of_a_published_hash_is_refused(as_vit_b: PublishedCheckpoint) -> None:
    path = download_checkpoint(as_vit_b, cache_folder())
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CheckpointError, match=f"expected {as_vit_b.sha256}, as the file of this name has"):
        identify(path)
