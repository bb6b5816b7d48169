"""``nnUNetv2_masam weights``: list the known checkpoints, download one, check a file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.options import option

if TYPE_CHECKING:
    from nnunetv2_masam.weights.published import PublishedCheckpoint


@dataclass(frozen=True)
class DownloadRequest:
    """A checkpoint to download."""

    name: str = option("name", help="Name that nnUNetv2_masam weights lists", group="input", metavar="NAME")
    output: Path | None = option(
        "-o", "--output", help="Folder to put it in (default: MASAM_CACHE, or the user's cache folder)", default=None,
        group="output", metavar="DIR",
    )  # fmt: skip


@dataclass(frozen=True)
class CheckRequest:
    """A file to check."""

    file: Path = option(
        "file", help="Weights, a folder with them, or nnU-Net's checkpoint", group="input", metavar="FILE"
    )


def _known(name: str) -> PublishedCheckpoint:
    from nnunetv2_masam.weights.published import CHECKPOINTS

    if name not in CHECKPOINTS:
        raise ValueError(f"{name}: no known checkpoint; there are {', '.join(sorted(CHECKPOINTS))}")
    return CHECKPOINTS[name]


def list_known(args: argparse.Namespace) -> int:
    """Print what is known of each checkpoint, and where it is."""
    from nnunetv2_masam.weights.published import CHECKPOINTS

    print(f"cache: {cache_folder()}\n")
    for known in CHECKPOINTS.values():
        print(f"{known.name} ({known.vit})")
        facts = [
            ("file", known.file_name),
            ("size", known.size_text),
            ("sha256", known.sha256_text),
            ("licence", known.licence),
            ("source", known.source),
            ("from", known.origin),
            *(("cite", citation) for citation in known.citations),
            ("trained on", known.trained_on),
            ("tried", "the file itself was loaded" if known.loaded else "not with the file itself"),
            ("here", _where(known)),
        ]
        print("\n".join(f"  {label:<11} {fact}" for label, fact in facts))
    return 0


def _where(known: PublishedCheckpoint) -> str:
    from nnunetv2_masam.weights.local_files import find_local
    from nnunetv2_masam.weights.weight_files import CheckpointError

    try:
        found = find_local(known)
    except CheckpointError as error:
        return f"unusable: {error}"
    return "no" if found is None else str(found)


def download(args: argparse.Namespace) -> int:
    """Download and verify."""
    from nnunetv2_masam.weights.download import download_checkpoint
    from nnunetv2_masam.weights.local_files import find_known
    from nnunetv2_masam.weights.weight_files import CheckpointError

    known, folder = _known(args.name), args.output or cache_folder()
    there = find_known(known, folder) is not None
    path = download_checkpoint(known, folder)
    sha256 = sha256_of(path)
    print(f"{path} ({'was there already' if there else 'written'})")
    if known.sha256 not in (None, sha256):
        raise CheckpointError(f"{path}: got sha256 {sha256}; expected {known.sha256}. Delete it and download it again.")
    print(f"sha256 {sha256} ({'verified' if known.sha256 else 'no public source states it'})")
    print(f"licence {known.licence}")
    for citation in known.citations:
        print(f"please cite: {citation}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Describe a file."""
    from nnunetv2_masam.weights.provenance import identify
    from nnunetv2_masam.weights.trained import is_nnunet_checkpoint
    from nnunetv2_masam.weights.weight_files import checkpoint_file

    path = checkpoint_file(args.file)
    print(f"file        {path}")
    if is_nnunet_checkpoint(path):
        return _describe_trained(path)
    print(identify(path))
    return _describe_pretrained(path)


def _describe_trained(path: Path) -> int:
    """What a checkpoint of nnU-Net says of itself."""
    from nnunetv2_masam.weights.provenance import stored_provenance
    from nnunetv2_masam.weights.trained import read_nnunet_checkpoint

    checkpoint = read_nnunet_checkpoint(path)
    print(f"format      nnU-Net's checkpoint of {checkpoint.get('trainer_name')}")
    print(stored_provenance(checkpoint) or "weights: it names none that it was trained from")
    return 0


def _describe_pretrained(path: Path) -> int:
    """What a file with pretrained weights holds: a SAM, or an encoder that timm can build."""
    from nnunetv2_masam.weights.formats import read_sam_checkpoint
    from nnunetv2_masam.weights.timm_weights import kind_of, read_timm_weights
    from nnunetv2_masam.weights.weight_files import CheckpointError

    try:
        checkpoint = read_sam_checkpoint(path)
    except CheckpointError as error:
        try:
            tensors = read_timm_weights(path)
        except CheckpointError:
            raise error from None
        print(f"format      {kind_of(tensors)}, of timm, DINO or SAM 2; compared with the trainer's encoder on loading")
        print(f"keys        {len(tensors)}, all values finite")
        return 0
    print(f"format      {checkpoint.naming}")
    print(f"encoder     {checkpoint.geometry.kind}")
    print(f"keys        {len(checkpoint.state_dict)}, all values finite")
    if checkpoint.warning:
        print(f"WARNING     {checkpoint.warning}")
    return 0


WEIGHTS = Command(
    "List, download and check SAM checkpoints",
    list_known,
    epilog="""\
Without an action, the known checkpoints are listed.

  nnUNetv2_masam weights
  nnUNetv2_masam weights download vit_b
  nnUNetv2_masam weights check sam_vit_b_01ec64.pth
""",
    commands={
        "download": Command(
            "Download a known checkpoint and verify its sha256",
            download,
            DownloadRequest,
            "  nnUNetv2_masam weights download vit_b -o weights\n",
        ),
        "check": Command(
            "Describe a weights file or a trained checkpoint and check whether it can be used",
            check,
            CheckRequest,
            "  nnUNetv2_masam weights check sam_vit_b_01ec64.pth\n",
        ),
    },
)
