"""``nnUNetv2_masam weights`` from the command line's entry point."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nnunetv2_masam.cli import main
from nnunetv2_masam.weights import published
from nnunetv2_masam.weights.provenance import KEY, identify
from nnunetv2_masam.weights.published import CHECKPOINTS


def test_list_shows_every_checkpoint_and_the_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sam_vit_h_4b8939.pth").touch()
    assert main(["weights"]) == 0
    entries = capsys.readouterr().out.split("\nvit_b (vit_b)\n")[1].split("\n  here        ")
    assert "sam_vit_b_01ec64.pth" in entries[0]
    assert "375042383 bytes" in entries[0]
    assert CHECKPOINTS["vit_b"].sha256 in entries[0]
    assert "Apache-2.0" in entries[0]
    assert entries[1].startswith("no\n")
    assert entries[3].startswith("unusable: ")
    assert entries[4].startswith("no\n")

    known = replace(CHECKPOINTS["vit_h"], bytes=0)
    monkeypatch.setitem(published.CHECKPOINTS, "vit_h", known)
    assert main(["weights"]) == 0
    assert capsys.readouterr().out.count(f"here        {tmp_path}") == 1


def test_check_describes_a_file(capsys: pytest.CaptureFixture[str], sam_file: Path) -> None:
    assert main(["weights", "check", str(sam_file)]) == 0
    out = capsys.readouterr().out
    for part in (
        hashlib.sha256(sam_file.read_bytes()).hexdigest(),
        "no known checkpoint",
        "official names",
        "custom embed_dim=32, depth=2",
        "global in   blocks 1",
        "(64, 64)",
    ):
        assert part in out


def test_check_recognises_a_known_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sam_file: Path
) -> None:
    sha256 = hashlib.sha256(sam_file.read_bytes()).hexdigest()
    monkeypatch.setitem(published.CHECKPOINTS, "vit_b", replace(CHECKPOINTS["vit_b"], sha256=sha256))
    assert main(["weights", "check", str(sam_file)]) == 0
    assert "known as    vit_b (Segment Anything" in capsys.readouterr().out


def test_check_says_what_a_training_started_from(
    capsys: pytest.CaptureFixture[str], sam_file: Path, sam_state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = {"network_weights": sam_state_dict, "trainer_name": "nnUNetTrainerMASAM", "init_args": {}}
    for provenance in (None, replace(identify(sam_file), name="vit_b", licence="Apache-2.0", citations=("A et al.",))):
        if provenance is not None:
            checkpoint["init_args"] = {KEY: provenance.as_dict()}
        torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
        assert main(["weights", "check", str(tmp_path / "checkpoint_final.pth")]) == 0
        out = capsys.readouterr().out
        assert "nnU-Net's checkpoint of nnUNetTrainerMASAM" in out
        assert ("from weights that it does not name" in out) == (provenance is None)
    for part in (
        "trained     from sam.pth",
        provenance.sha256,
        "known as    vit_b",
        "Apache-2.0",
        "cite        A et al.",
    ):
        assert part in out


def test_check_knows_vits_of_timm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tensors = {
        "backbone.patch_embed.proj.weight": torch.zeros(8, 3, 16, 16),
        "backbone.cls_token": torch.zeros(1, 1, 8),
    }
    torch.save({"teacher": tensors}, tmp_path / "dino.pth")
    assert main(["weights", "check", str(tmp_path / "dino.pth")]) == 0
    assert "a ViT of width 8 and depth 0, of timm, DINO or SAM 2" in capsys.readouterr().out


def test_check_knows_hieras_of_timm_and_of_sam_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("sam2_hiera_tiny", num_classes=0, stages=(1, 1, 1, 1), global_att_blocks=(2,))
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    theirs = {f"image_encoder.trunk.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"model": {"maskmem_tpos_enc": torch.zeros(7, 1, 1, 64), **theirs}}, tmp_path / "sam2.pt")
    for name in ("timm.pth", "sam2.pt"):
        assert main(["weights", "check", str(tmp_path / name)]) == 0
        assert "a Hiera of width 96 and depth 4" in capsys.readouterr().out


def test_download_of_an_unpublished_hash(capsys: pytest.CaptureFixture[str], tmp_path: Path, unhashed: Any) -> None:
    assert main(["weights", "download", unhashed.url, "-o", str(tmp_path)]) == 0
    assert main(["weights", "download", unhashed.name, "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("(recorded; no public source states it)") == 2
    assert "licence not known" in out
    assert "licence Apache-2.0\nplease cite: Kirillov et al." in out
    (tmp_path / unhashed.file_name).write_bytes(b"changed")
    assert main(["weights", "download", unhashed.name, "-o", str(tmp_path)]) == 2
    assert "recorded at its first use" in capsys.readouterr().err


def test_check_warns_of_what_is_left_out(
    capsys: pytest.CaptureFixture[str], sam_state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    content = {**sam_state_dict, "image_encoder.blocks.0.Adapter.channel.0.weight": torch.zeros(2, 2)}
    torch.save({"model": content}, tmp_path / "sam-med2d.pth")
    assert main(["weights", "check", str(tmp_path / "sam-med2d.pth")]) == 0
    assert "WARNING     sam-med2d.pth holds 1 tensors that SAM does not have" in capsys.readouterr().out


def test_check_refuses_a_bad_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "sam.pth").write_text("<html>")
    assert main(["weights", "check", str(tmp_path / "sam.pth")]) == 2
    assert "HTML page" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "code"), [(b"right", 0), (b"wrong", 2)])
def test_download_verifies_a_file_that_is_there(
    content: bytes,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    known = replace(CHECKPOINTS["vit_b"], bytes=5, sha256=hashlib.sha256(b"right").hexdigest())
    monkeypatch.setitem(published.CHECKPOINTS, "vit_b", known)
    (tmp_path / known.file_name).write_bytes(content)
    assert main(["weights", "download", "vit_b", "-o", str(tmp_path)]) == code
    out = capsys.readouterr()
    if code == 0:
        assert "was there already" in out.out
        assert "(verified)" in out.out
    else:
        assert f"expected {known.sha256}" in out.err


def test_download_refuses_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "download", "vit_g"]) == 2
    assert "medsam_vit_b" in capsys.readouterr().err
