"""``nnUNetv2_masam weights``: list the known SAM checkpoints, download one, check a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.subcommands import HelpFormatter
from nnunetv2_masam.files import cache_folder, sha256_of

if TYPE_CHECKING:
    from nnunetv2_masam.weights.catalogue import KnownCheckpoint

EPILOG = """\
Without an action, the known checkpoints are listed.

  nnUNetv2_masam weights
  nnUNetv2_masam weights download vit_b
  nnUNetv2_masam weights check sam_vit_b_01ec64.pth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without an action the known checkpoints are listed."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(title="commands", dest="action", metavar="ACTION")
    summary = "Download a checkpoint and verify its sha256"
    download = actions.add_parser(
        "download",
        help=summary,
        description=f"{summary}.",
        epilog="  nnUNetv2_masam weights download vit_b --to weights\n",
        formatter_class=HelpFormatter,
    )
    download.add_argument("name", metavar="NAME", help="Checkpoint to download, as nnUNetv2_masam weights lists them")
    download.add_argument(
        "--to", type=Path, metavar="DIR", help="Folder to put it in (default: MASAM_CACHE, or the user's cache folder)"
    )
    summary = "Describe a file and check whether its weights can be used"
    check = actions.add_parser(
        "check",
        help=summary,
        description=f"{summary}.",
        epilog="  nnUNetv2_masam weights check sam_vit_b_01ec64.pth\n",
        formatter_class=HelpFormatter,
    )
    check.add_argument("file", type=Path, metavar="FILE", help="Checkpoint, or a folder with one")


def run(args: argparse.Namespace) -> int:
    """List, download or check; the exit code is 0 unless a file is not usable."""
    if args.action == "download":
        return _download(_known(args.name), args.to or cache_folder())
    if args.action == "check":
        return _check(args.file)
    return _list()


def _known(name: str) -> KnownCheckpoint:
    from nnunetv2_masam.weights.catalogue import CHECKPOINTS

    if name not in CHECKPOINTS:
        raise ValueError(f"{name}: no known checkpoint; there are {', '.join(sorted(CHECKPOINTS))}")
    return CHECKPOINTS[name]


def _list() -> int:
    from nnunetv2_masam.weights.catalogue import CHECKPOINTS

    print(f"cache: {cache_folder()}\n")
    for known in CHECKPOINTS.values():
        print(f"{known.name} ({known.vit})")
        print(f"  file     {known.file_name}")
        print(f"  size     {_size(known.bytes)}")
        print(f"  sha256   {known.sha256}")
        print(f"  licence  {known.licence}")
        print(f"  source   {known.source}")
        print(f"  url      {known.url}")
        print(f"  cached   {_cached(known)}")
    return 0


def _cached(known: KnownCheckpoint) -> str:
    from nnunetv2_masam.weights.download import find_known
    from nnunetv2_masam.weights.formats import CheckpointError

    try:
        found = find_known(known, cache_folder())
    except CheckpointError as error:
        return f"unusable: {error}"
    return "no" if found is None else "yes"


def _download(known: KnownCheckpoint, folder: Path) -> int:
    from nnunetv2_masam.weights.download import download_checkpoint, find_known
    from nnunetv2_masam.weights.formats import CheckpointError

    there = find_known(known, folder) is not None
    path = download_checkpoint(known, folder)
    sha256 = sha256_of(path)
    print(f"{path} ({'was there already' if there else 'downloaded'})")
    if sha256 != known.sha256:
        raise CheckpointError(f"{path}: got sha256 {sha256}; expected {known.sha256}. Delete it and download it again.")
    print(f"sha256 {sha256} (verified)")
    return 0


def _check(file: Path) -> int:
    from nnunetv2_masam.weights.catalogue import known_by_sha256
    from nnunetv2_masam.weights.formats import read_sam_checkpoint
    from nnunetv2_masam.weights.safe_read import checkpoint_file, reading

    path = checkpoint_file(file)
    with reading(path):
        sha256 = sha256_of(path)
    known = known_by_sha256(sha256)
    checkpoint = read_sam_checkpoint(path, verified=known is not None)
    geometry = checkpoint.geometry
    print(f"file        {checkpoint.path}")
    print(f"size        {_size(checkpoint.path.stat().st_size)}")
    print(f"sha256      {sha256}")
    print(f"known as    {'no known checkpoint' if known is None else f'{known.name} ({known.source})'}")
    print(f"format      {checkpoint.naming}")
    print(f"ViT         {geometry}")
    print(f"heads       {geometry.num_heads or 'not recognised'}")
    print(f"global in   blocks {', '.join(map(str, geometry.global_attn_indexes)) or 'not recognised'}")
    print(f"image size  {geometry.image_size or 'not recognised'}")
    print(f"keys        {len(checkpoint.state_dict)}, all values finite")
    if checkpoint.warning:
        print(f"WARNING     {checkpoint.warning}")
    return 0


def _size(size: int) -> str:
    return f"{size} bytes ({size / 2**20:.1f} MiB)"
