"""Commands on models: ``import-masam``, ``slim``, ``merge`` and ``adapt-pretrained``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.sharing.requests import AdaptRequest, ImportRequest, MergeRequest, SlimRequest

if TYPE_CHECKING:
    from nnunetv2_masam.sharing.model_folder import ConvertedFolder


def import_masam(args: argparse.Namespace) -> int:
    """Import the model, and print what differs from the authors' procedure."""
    from nnunetv2_masam.sharing.authors_model import import_authors_model

    print(import_authors_model(request_from(args, ImportRequest)).readme)
    return 0


def slim(args: argparse.Namespace) -> int:
    """Convert, and print what was left out of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import slim_folder

    return _report(slim_folder(request_from(args, SlimRequest)))


def merge(args: argparse.Namespace) -> int:
    """Convert, and print what became of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import merge_folder

    return _report(merge_folder(request_from(args, MergeRequest)))


def adapt_pretrained(args: argparse.Namespace) -> int:
    """Fit the checkpoint, and print what was resized and what starts anew."""
    from nnunetv2_masam.sharing import pretrained

    request = request_from(args, AdaptRequest)
    adapted = pretrained.adapt_pretrained(request)
    print(adapted.report)
    train = f"nnUNetv2_train {adapted.dataset} {request.configuration} FOLD -tr {request.trainer} -p {request.plans}"
    print(f"train with: {train} -pretrained_weights {adapted.path}")
    return 0


def _report(converted: ConvertedFolder) -> int:
    for checkpoint in converted.checkpoints:
        sizes = f"{checkpoint.bytes_before / 1e6:.1f} MB → {checkpoint.bytes_after / 1e6:.1f} MB"
        print(f"{checkpoint.path}: {checkpoint.change}; {sizes}")
    return 0


COMMANDS = {
    "import-masam": Command(
        "Convert a file saved by the MA-SAM authors' code to a model folder",
        import_masam,
        ImportRequest,
        """\
  nnUNetv2_masam import-masam --adapt epoch_299.pth --sam sam_vit_h_4b8939.pth --task btcv --dataset-json dataset.json \
-o nnUNetTrainerMASAM_paper__nnUNetMASAMImportPlans__3d_fullres
""",
    ),
    "slim": Command(
        "Write a model folder without what the SAM file holds",
        slim,
        SlimRequest,
        """\
  nnUNetv2_masam slim nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o slim
""",
    ),
    "merge": Command(
        "Write a model folder that needs no SAM file",
        merge,
        MergeRequest,
        """\
  nnUNetv2_masam merge slim -o merged
  nnUNetv2_masam merge nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o folded --fold
""",
    ),
    "adapt-pretrained": Command(
        "Fit a checkpoint to another dataset, for -pretrained_weights",
        adapt_pretrained,
        AdaptRequest,
        """\
  nnUNetv2_masam adapt-pretrained checkpoint_final.pth -d 4 -o fitted.pth
  nnUNetv2_train 4 3d_fullres 0 -tr nnUNetTrainerMASAM -pretrained_weights fitted.pth
""",
    ),
}
