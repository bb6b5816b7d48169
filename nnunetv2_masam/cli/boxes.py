"""``nnUNetv2_masam boxes``: box prompts for a dataset or for images to predict."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.prompts.requests import BoxDatasetRequest, DrawnInputsRequest, MaskInputsRequest

if TYPE_CHECKING:
    from nnunetv2_masam.prompts.channel import Written


def dataset(args: argparse.Namespace) -> int:
    """Write the dataset, and print what became of each case."""
    from nnunetv2_masam.prompts.box_dataset import write_box_dataset

    return _report(write_box_dataset(request_from(args, BoxDatasetRequest)))


def drawn(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import write_inputs_drawn

    return _report(write_inputs_drawn(request_from(args, DrawnInputsRequest)))


def oracle(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import write_inputs_from_masks

    return _report(write_inputs_from_masks(request_from(args, MaskInputsRequest)))


def _report(written: Written) -> int:
    for note in written.rounded.values():
        print(f"note: {note}")
    without = sorted(case for case, count in written.boxes.items() if count == 0)
    print(f"{sum(written.boxes.values())} boxes in {len(written.boxes)} cases")
    if without:
        print(f"{len(without)} cases without a box: {', '.join(without)}")
    if written.left_out:
        print(f"{len(written.left_out)} test cases without a reference left out: {', '.join(written.left_out)}")
    return 0


BOXES = Command(
    "Write box prompts as a further channel of a dataset or of images",
    commands={
        "dataset": Command(
            "Write a dataset anew with boxes around its references, for training",
            dataset,
            BoxDatasetRequest,
            """\
  nnUNetv2_masam boxes dataset -d 7 -o Dataset107_PancreasBoxes --label cancer
  nnUNetv2_plan_and_preprocess -d 107
  nnUNetv2_train 107 3d_fullres 0 -tr nnUNetTrainerMASAM_box
""",
        ),
        "drawn": Command(
            "Write images with boxes that a person drew, for prediction",
            drawn,
            DrawnInputsRequest,
            """\
Boxes are a table (CSV: case,x0,y0,z0,x1,y1,z1) or 3D Slicer's CASE.mrk.json files; see docs/boxes.md.

  nnUNetv2_masam boxes drawn -i imagesTs -o inputs --from boxes.csv --coordinates ras
  nnUNetv2_masam boxes drawn -i imagesTs -o inputs_slicer --from markups
  nnUNetv2_predict -i inputs -o predictions -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
""",
        ),
        "oracle": Command(
            "Write images with boxes around their references, for prediction",
            oracle,
            MaskInputsRequest,
            """\
Such a box is made of the reference, so predictions with it show how much a box is worth. 5 mm wider on every side:

  nnUNetv2_masam boxes oracle -i imagesTs -o inputs_5mm --references labelsTs --label cancer --margin-mm 5
  nnUNetv2_predict -i inputs_5mm -o predictions_5mm -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
""",
        ),
    },
)
