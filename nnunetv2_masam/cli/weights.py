"""``nnUNetv2_masam weights``: list the known SAM checkpoints, download one, check a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.weights.catalogue import CHECKPOINTS, KnownCheckpoint, known_by_sha256
from nnunetv2_masam.weights.download import download_checkpoint, find_known
from nnunetv2_masam.weights.formats import CheckpointError, read_sam_checkpoint
from nnunetv2_masam.weights.safe_read import checkpoint_file, reading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without an action the known checkpoints are listed."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    download = actions.add_parser("download", help="Download a checkpoint and verify its sha256")
    download.add_argument("name", choices=sorted(CHECKPOINTS), help="Checkpoint to download")
    download.add_argument(
        "--to", type=Path, metavar="FOLDER", help="Folder to put it in (default: the cache, see MASAM_CACHE)"
    )
    check = actions.add_parser("check", help="Describe a file and check whether its weights can be used")
    check.add_argument("file", type=Path, help="Checkpoint, or a folder with one")


def run(args: argparse.Namespace) -> int:
    """List, download or check; the exit code is 0 unless a file is not usable."""
    if args.action == "download":
        return _download(CHECKPOINTS[args.name], args.to or cache_folder())
    if args.action == "check":
        return _check(args.file)
    return _list()


def _list() -> int:
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
    try:
        found = find_known(known, cache_folder())
    except CheckpointError as error:
        return f"unusable: {error}"
    return "no" if found is None else "yes"


def _download(known: KnownCheckpoint, folder: Path) -> int:
    there = find_known(known, folder) is not None
    path = download_checkpoint(known, folder)
    sha256 = sha256_of(path)
    print(f"{path} ({'was there already' if there else 'downloaded'})")
    if sha256 != known.sha256:
        raise CheckpointError(f"{path}: got sha256 {sha256}; expected {known.sha256}. Delete it and download it again.")
    print(f"sha256 {sha256} (verified)")
    return 0


def _check(file: Path) -> int:
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
