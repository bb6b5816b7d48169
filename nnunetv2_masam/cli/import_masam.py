"""``nnUNetv2_masam import-masam``: turn a file saved by the MA-SAM authors' code into a model folder of nnU-Net."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.sharing.requests import ImportRequest

REQUEST = ImportRequest
EPILOG = """\
  nnUNetv2_masam import-masam --adapt epoch_299.pth --sam sam_vit_h_4b8939.pth --task btcv --dataset-json dataset.json \
-o nnUNetTrainerMASAM_paper__nnUNetMASAMImportPlans__3d_fullres
"""


def run(args: argparse.Namespace) -> int:
    """Import the model, and print what differs from the authors' procedure."""
    from nnunetv2_masam.sharing.authors_model import import_authors_model

    print(import_authors_model(request_from(args, REQUEST)).readme)
    return 0
