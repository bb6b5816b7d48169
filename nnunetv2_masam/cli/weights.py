"""``nnUNetv2_masam weights``: list the known checkpoints, download one, check a file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import add_options
from nnunetv2_masam.cli.subcommands import HelpFormatter
from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.options import option

if TYPE_CHECKING:
    from nnunetv2_masam.weights.provenance import Provenance
    from nnunetv2_masam.weights.published import PublishedCheckpoint

EPILOG = """\
Without an action, the known checkpoints are listed.

  nnUNetv2_masam weights
  nnUNetv2_masam weights download vit_b
  nnUNetv2_masam weights check sam_vit_b_01ec64.pth
"""


@dataclass(frozen=True)
class DownloadRequest:
    """A checkpoint to download."""

    name: str = option(
        "name", help="Name that nnUNetv2_masam weights lists, or a URL; #sha256= and the hash can follow it",
        group="input", metavar="NAME",
    )  # fmt: skip
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


# name: (options, one line of help, example)
ACTIONS: dict[str, tuple[type, str, str]] = {
    "download": (DownloadRequest, "Download a known checkpoint, or a URL, and verify its sha256", "vit_b -o weights"),
    "check": (
        CheckRequest,
        "Describe a weights file or a trained checkpoint and check whether it can be used",
        "sam_vit_b_01ec64.pth",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without an action the known checkpoints are listed."""
    actions = parser.add_subparsers(title="commands", dest="action", metavar="ACTION")
    for name, (request, summary, example) in ACTIONS.items():
        epilog = f"  nnUNetv2_masam weights {name} {example}\n"
        action = actions.add_parser(
            name, help=summary, description=f"{summary}.", epilog=epilog, formatter_class=HelpFormatter
        )
        add_options(action, request)


def run(args: argparse.Namespace) -> int:
    """List, download or check; the exit code is 0 unless a file is not usable."""
    if args.action == "download":
        return _download(_known(args.name), args.output or cache_folder())
    if args.action == "check":
        return _check(args.file)
    return _list()


def _known(name: str) -> PublishedCheckpoint:
    from nnunetv2_masam.weights.published import CHECKPOINTS, at_url

    if "://" in name:
        return at_url(name)
    if name not in CHECKPOINTS:
        raise ValueError(f"{name}: no known checkpoint; there are {', '.join(sorted(CHECKPOINTS))}")
    return CHECKPOINTS[name]


def _list() -> int:
    from nnunetv2_masam.weights.published import CHECKPOINTS

    print(f"cache: {cache_folder()}\n")
    for known in CHECKPOINTS.values():
        print(f"{known.name} ({known.vit})")
        facts = [
            ("file", known.file_name),
            ("size", known.size_text if known.bytes is None else _size(known.bytes)),
            ("sha256", known.sha256_text),
            ("licence", known.licence),
            ("source", known.source),
            ("from", known.origin),
            *(("cite", citation) for citation in known.citations),
            ("trained on", known.trained_on or "not known"),
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


def _download(known: PublishedCheckpoint, folder: Path) -> int:
    from nnunetv2_masam.weights.download import download_checkpoint
    from nnunetv2_masam.weights.local_files import find_known
    from nnunetv2_masam.weights.provenance import check_record, read_record
    from nnunetv2_masam.weights.weight_files import CheckpointError

    there = find_known(known, folder) is not None
    path = download_checkpoint(known, folder)
    sha256 = sha256_of(path)
    print(f"{path} ({'was there already' if there else 'written'})")
    if known.sha256 is None:
        check_record(path, sha256, known, read_record(path))
        print(f"sha256 {sha256} (recorded; no public source states it)")
    elif sha256 != known.sha256:
        raise CheckpointError(f"{path}: got sha256 {sha256}; expected {known.sha256}. Delete it and download it again.")
    else:
        print(f"sha256 {sha256} (verified)")
    print(f"licence {known.licence or 'not known'}")
    for citation in known.citations:
        print(f"please cite: {citation}")
    return 0


def _check(file: Path) -> int:
    from nnunetv2_masam.weights.provenance import identify
    from nnunetv2_masam.weights.trained import is_nnunet_checkpoint
    from nnunetv2_masam.weights.weight_files import checkpoint_file

    path = checkpoint_file(file)
    print(f"file        {path}")
    if is_nnunet_checkpoint(path):
        return _describe_trained(path)
    provenance = identify(path)
    for line in (f"size        {_size(provenance.bytes)}", f"sha256      {provenance.sha256}", *_origin(provenance)):
        print(line)
    return _describe_pretrained(path)


def _describe_trained(path: Path) -> int:
    """What a checkpoint of nnU-Net says of itself."""
    from nnunetv2_masam.weights.provenance import stored_provenance
    from nnunetv2_masam.weights.trained import read_nnunet_checkpoint

    checkpoint = read_nnunet_checkpoint(path)
    print(f"size        {_size(path.stat().st_size)}")
    print(f"format      nnU-Net's checkpoint of {checkpoint.get('trainer_name')}")
    provenance = stored_provenance(checkpoint)
    if provenance is None:
        print("trained     from weights that it does not name, or from none")
        return 0
    print(f"trained     from {provenance.file}, {_size(provenance.bytes)}")
    for line in (f"sha256      {provenance.sha256}", *_origin(provenance)):
        print(line)
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
    for label, fact in checkpoint.geometry.facts.items():
        print(f"{label:<11} {fact}")
    print(f"keys        {len(checkpoint.state_dict)}, all values finite")
    if checkpoint.warning:
        print(f"WARNING     {checkpoint.warning}")
    return 0


def _origin(provenance: Provenance) -> list[str]:
    """Lines on where weights come from."""
    known = provenance.name or "no known checkpoint"
    lines = [f"known as    {known} ({provenance.source})" if provenance.source else f"known as    {known}"]
    lines += [f"package     {provenance.package}"] * bool(provenance.package)
    lines += [f"licence     {provenance.licence}"] * bool(provenance.licence)
    lines += [f"trained on  {provenance.trained_on}"] * bool(provenance.trained_on)
    return lines + [f"cite        {citation}" for citation in provenance.citations]


def _size(size: int) -> str:
    return f"{size} bytes ({size / 2**20:.1f} MiB)"
