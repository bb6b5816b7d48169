"""The order of search for pretrained weights, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.files import cache_folder
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.formats import CheckpointError
from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint
from nnunetv2_masam.weights.search import find_checkpoint, resolve_checkpoint


def test_named_file_is_used_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Any, as_vit_b: PublishedCheckpoint
) -> None:
    download_checkpoint(as_vit_b, cache_folder())
    (tmp_path / "mine.bin").touch()
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "mine.bin"))
    assert resolve_checkpoint("vit_b") == tmp_path / "mine.bin"
    assert resolve_checkpoint("vit_t") == tmp_path / "mine.bin"


def test_named_file_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Any, as_vit_b: PublishedCheckpoint
) -> None:
    download_checkpoint(as_vit_b, cache_folder())
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "typo.pth"))
    with pytest.raises(FileNotFoundError, match=r"MASAM_CHECKPOINT names .*typo\.pth, which"):
        resolve_checkpoint("vit_b")


def test_named_checkpoint_is_taken_from_the_cache_or_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Any, unhashed: PublishedCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_CHECKPOINT", unhashed.name)
    assert find_checkpoint("vit_b") is None
    monkeypatch.setenv("MASAM_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=f"MASAM_CHECKPOINT: {unhashed.name}(.|\n)*sha256 none published"):
        resolve_checkpoint("vit_b")
    monkeypatch.delenv("MASAM_OFFLINE")
    path = resolve_checkpoint("vit_b")
    assert path == find_checkpoint("vit_b") == cache_folder() / unhashed.file_name
    assert resolve_checkpoint(str({"embed_dim": 32})) == path  # sizes of one's own are compared on loading
    with pytest.raises(
        CheckpointError, match=r"whose encoder is vit_b; .* for vit_l. Known for it: vit_l, sam_hq_vit_l"
    ):
        resolve_checkpoint("vit_l")
    assert server.requests == 1

    monkeypatch.chdir(tmp_path)
    (tmp_path / unhashed.name).touch()  # a file that exists is meant, whatever its name
    assert resolve_checkpoint("vit_b") == Path(unhashed.name)


def test_timm_weights_are_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their licences differ: a name, a file or a folder has to be given."""
    encoder = "timm:vit_base_patch16_dinov3_qkvb"
    assert find_checkpoint(encoder) is None
    with pytest.raises(FileNotFoundError, match="MASAM_CHECKPOINT to dinov3_vit_b or meddinov3_vit_b"):
        resolve_checkpoint(encoder)
    monkeypatch.setenv("MASAM_CHECKPOINT", "meddinov3_vit_b")
    monkeypatch.setenv("MASAM_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"MedDINOv3-ViTB-16-CT-3M.pth, size not published, Apache-2.0"):
        resolve_checkpoint(encoder)
    (tmp_path / "dino.pth").touch()
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path))
    assert resolve_checkpoint(encoder) == tmp_path / "dino.pth"


def test_named_folder_known_names_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_vit_b: PublishedCheckpoint, sam_file: Path
) -> None:
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path))
    medsam = replace(CHECKPOINTS["medsam_vit_b"], bytes=0)
    monkeypatch.setitem(CHECKPOINTS, "medsam_vit_b", medsam)
    (tmp_path / "medsam_vit_b.pth").touch()
    assert find_checkpoint("vit_b") == tmp_path / "medsam_vit_b.pth"
    download_checkpoint(as_vit_b, tmp_path)
    assert find_checkpoint("vit_b") == tmp_path / as_vit_b.file_name


def test_named_folder_with_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its only weights file is meant, whatever is in it; several are an error, and none."""
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no weights file"):
        resolve_checkpoint("vit_b")
    (tmp_path / "finetuned.pth").touch()
    assert find_checkpoint("vit_b") == tmp_path / "finetuned.pth"
    (tmp_path / "other.pth").touch()
    with pytest.raises(CheckpointError, match=r"2 weights files \(finetuned.pth, other.pth\); expected one"):
        find_checkpoint("vit_b")


def test_cached_file_is_used_without_asking(server: Any, as_vit_b: PublishedCheckpoint) -> None:
    assert find_checkpoint("vit_b") is None
    path = resolve_checkpoint("vit_b")
    assert find_checkpoint("vit_b") == path == cache_folder() / as_vit_b.file_name
    server.behaviours = ["has_nothing"]
    assert resolve_checkpoint("vit_b") == path
    assert server.requests == 1


def test_cached_file_of_wrong_size_is_named_and_not_used(server: Any, as_vit_b: PublishedCheckpoint) -> None:
    cache_folder().mkdir()
    path = cache_folder() / as_vit_b.file_name
    path.write_bytes(b"half a file")
    with pytest.raises(
        CheckpointError, match=f"{path}: got 11 bytes; expected {len(server.content)} bytes. It is not used"
    ):
        resolve_checkpoint("vit_b")
    assert path.read_bytes() == b"half a file"
    assert server.requests == 0


@pytest.mark.parametrize("value", ["1", "true", " ON "])
def test_offline_says_what_to_copy_where(
    value: str, monkeypatch: pytest.MonkeyPatch, server: Any, as_vit_b: PublishedCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_OFFLINE", value)
    with pytest.raises(FileNotFoundError, match="MASAM_OFFLINE is set") as caught:
        resolve_checkpoint("vit_b")
    message = str(caught.value)
    for part in (
        "MASAM_CHECKPOINT: not set",
        str(cache_folder() / as_vit_b.file_name),
        f"{as_vit_b.bytes} bytes",
        f"sha256 {as_vit_b.sha256}",
        as_vit_b.url,
        "nnUNetv2_masam weights download vit_b -o",
        f"copy {as_vit_b.file_name} into {cache_folder()}",
    ):
        assert part in message
    assert server.requests == 0


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_offline_switched_off(
    value: str, monkeypatch: pytest.MonkeyPatch, server: Any, as_vit_b: PublishedCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_OFFLINE", value)
    assert resolve_checkpoint("vit_b").is_file()


def test_failed_download_says_what_to_copy_where(server: Any, as_vit_b: PublishedCheckpoint) -> None:
    server.behaviours = ["has_nothing"]
    with pytest.raises(FileNotFoundError, match=f"404(.|\n)*copy {as_vit_b.file_name} into"):
        resolve_checkpoint("vit_b")


def test_vit_without_a_known_file() -> None:
    assert find_checkpoint("vit_t") is None
    with pytest.raises(FileNotFoundError, match=r"Only vit_b, vit_l, vit_h, .* can be downloaded"):
        resolve_checkpoint("vit_t")


def test_cache_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MASAM_CACHE")
    assert cache_folder().name == "nnunetv2_masam"
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
