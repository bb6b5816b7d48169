"""``nnUNetv2_masam boxes``: box prompts as a further channel of a data set, or of images for prediction."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunetv2_masam.prompts.from_masks import MaskBoxes
    from nnunetv2_masam.prompts.writing import Written

EPILOG = """\
A data set for training, with boxes around the reference of a label:

  nnUNetv2_masam boxes -d 7 -o Dataset107_PancreasBoxes --label tumour
  nnUNetv2_plan_and_preprocess -d 107
  nnUNetv2_train 107 3d_fullres 0 -tr nnUNetTrainerMASAM_box

Images for prediction, with boxes that a person drew (CSV: case,x0,y0,z0,x1,y1,z1; see docs/boxes.md):

  nnUNetv2_masam boxes -i imagesTs -o inputs --from boxes.csv --coordinates ras
  nnUNetv2_predict -i inputs -o predictions -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box

The same with boxes from references, 5 mm wider on every side, to see how much the box matters:

  nnUNetv2_masam boxes -i imagesTs -o inputs_5mm --references labelsTs --label tumour --margin-mm 5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", "--dataset", metavar="ID", help="data set to write anew with boxes, as an ID or name")
    source.add_argument("-i", "--images", type=Path, metavar="DIR", help="images for prediction (CASE_0000.nii.gz)")
    add("-o", "--output", required=True, metavar="NAME", help="with -d: DatasetXXX_Name; with -i: folder to write")
    add("--label", nargs="+", metavar="NAME", help="labels or regions to box, taken together")
    add("--one-box", action="store_true", help="one box around all lesions of a case instead of one for each")
    add("--margin-mm", type=float, default=0.0, metavar="MM", help="added on every side, rounded to voxels [0]")
    add("--jitter-mm", type=float, default=0.0, metavar="MM", help="faces move at random by at most this [0]")
    add("--seed", type=int, default=0, help="of the random moves [0]")
    add("--references", type=Path, metavar="DIR", help="with -i: reference masks to take boxes from")
    add("--dataset-json", type=Path, metavar="FILE", help="of the references [dataset.json beside the images' folder]")
    add("--from", dest="boxes", type=Path, metavar="FILE", help="with -i: boxes that a person drew, .csv or .json")
    add("--coordinates", choices=("voxel", "lps", "ras"), help="with --from: what the numbers in it are")


def run(args: argparse.Namespace) -> int:
    """Write what is asked for, and say what became of each case."""
    from nnunetv2_masam.prompts import writing

    if args.dataset is not None:
        return _report(_write_dataset(args))
    if (args.references is None) == (args.boxes is None):
        raise ValueError("-i: give either --references DIR (boxes from masks) or --from FILE (drawn boxes)")
    output = Path(args.output)
    if args.boxes is not None:
        if args.coordinates is None:
            raise ValueError("--from: say with --coordinates whether its numbers are voxel, lps or ras (millimetres)")
        if args.label or args.one_box or args.margin_mm or args.jitter_mm:
            raise ValueError(
                "--from: boxes are taken as drawn; --label, --one-box and margins are for boxes from masks"
            )
        return _report(writing.write_inputs_drawn(args.images, args.boxes, args.coordinates, output))
    dataset_json = _read_json(args.dataset_json or args.images.resolve().parent / "dataset.json")
    return _report(writing.write_inputs_from_masks(args.images, args.references, output, _rule(args), dataset_json))


def _write_dataset(args: argparse.Namespace) -> Written:
    from nnunetv2.paths import nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    from nnunetv2_masam.evaluation.results import dataset_name
    from nnunetv2_masam.prompts import writing

    if not nnUNet_raw.is_set():
        raise ValueError("nnUNet_raw is not set; data sets are read and written there")
    name = args.output
    if not (name.startswith("Dataset") and name[7:10].isdigit() and name[10:11] == "_" and len(name) > 11):
        raise ValueError(f"-o: got {name!r}, expected DatasetXXX_Name with three digits")
    if args.boxes is not None or args.references is not None:
        raise ValueError("-d takes boxes from the data set's own references; --from and --references are for -i")
    if taken := [found for found in find_candidate_datasets(int(name[7:10])) if found != name]:
        raise ValueError(f"-o: the number {name[7:10]} is taken by {', '.join(taken)}")
    raw = Path(str(nnUNet_raw))
    return writing.write_dataset(raw / dataset_name(args.dataset), raw / name, _rule(args))


def _rule(args: argparse.Namespace) -> MaskBoxes:
    from nnunetv2_masam.prompts.from_masks import MaskBoxes

    if not args.label:
        raise ValueError("--label: name the labels whose references are boxed")
    return MaskBoxes(tuple(args.label), not args.one_box, args.margin_mm, args.jitter_mm, args.seed)


def _read_json(path: Path) -> dict:
    from nnunetv2_masam.files import read_json

    if not path.is_file():
        raise FileNotFoundError(f"no {path}; give the dataset.json of the references with --dataset-json")
    return dict(read_json(path))


def _report(written: Written) -> int:
    without = sorted(case for case, count in written.boxes.items() if count == 0)
    print(f"{sum(written.boxes.values())} boxes in {len(written.boxes)} cases")
    if without:
        print(f"{len(without)} cases without a box: {', '.join(without)}")
    if written.left_out:
        print(f"{len(written.left_out)} test cases left out, for want of a reference: {', '.join(written.left_out)}")
    return 0
