"""``nnUNetv2_masam adapt-pretrained``: fit a checkpoint to a dataset, for ``nnUNetv2_train -pretrained_weights``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.sharing.requests import AdaptRequest

REQUEST = AdaptRequest
EPILOG = """\
  nnUNetv2_masam adapt-pretrained checkpoint_final.pth -d 4 -o fitted.pth
  nnUNetv2_train 4 3d_fullres 0 -tr nnUNetTrainerMASAM -pretrained_weights fitted.pth
"""


def run(args: argparse.Namespace) -> int:
    """Fit the checkpoint, and print what was resized and what starts anew."""
    from nnunetv2_masam.sharing.pretrained import adapt_pretrained

    request = request_from(args, REQUEST)
    adapted = adapt_pretrained(request)
    print(adapted.report)
    train = f"nnUNetv2_train {adapted.dataset} {request.configuration} FOLD -tr {request.trainer} -p {request.plans}"
    print(f"train with: {train} -pretrained_weights {adapted.path}")
    return 0
