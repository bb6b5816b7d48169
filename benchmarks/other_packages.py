"""What other packages say of the same masks: the values of docs/same-masks.md.

    python benchmarks/other_packages.py

Computes the values of every package below that can be imported, and adds them to
``benchmarks/results/other-packages.json`` with the package's version. Some packages need an old NumPy: run the script
once in each environment. An error is a value too: its type is recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = Path(__file__).resolve().parent / "results" / "other-packages.json"
SPACING_MM = (5.0, 1.0, 1.0)


def empty() -> np.ndarray:
    """No voxel, (12, 12, 12)."""
    return np.zeros((12, 12, 12), np.uint8)


def cube() -> np.ndarray:
    """A cube of four voxels a side."""
    mask = empty()
    mask[4:8, 4:8, 4:8] = 1
    return mask


def slab(slices: int) -> np.ndarray:
    """The first slices of the image, which they fill up to its edge."""
    mask = empty()
    mask[:slices] = 1
    return mask


def rod() -> np.ndarray:
    """A rod of 4 x 4 x 30 voxels."""
    return np.pad(np.ones((4, 4, 30), np.uint8), 2)


# question: what is measured; reference and prediction
MASKS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "Dice, both masks empty": (empty(), empty()),
    "HD95, missed structure": (cube(), empty()),
    "NSD, cube moved by a voxel": (cube(), np.roll(cube(), 1, 0)),
    "ASSD, masks at the edge": (slab(3), slab(4)),
    "NSD at a tolerance of 2, cube moved by a slice of 5 mm": (cube(), np.roll(cube(), 1, 0)),
    "average distance, cube moved by two slices of 5 mm": (cube(), np.roll(cube(), 2, 0)),
    "HD95 of a missed lesion": (cube(), empty()),
    "skeleton voxels of a rod": (rod(), rod()),
    "HD95 from files, moved by a slice of 5 mm": (cube(), np.roll(cube(), 1, 0)),
    "HD95 from files, moved by a pixel of 1 mm": (cube(), np.roll(cube(), 1, 2)),
}
Measure = Callable[[np.ndarray, np.ndarray], float]


def monai() -> dict[str, Measure]:
    """MONAI; the reference comes second there."""
    import torch
    from monai import metrics

    def pair(reference: np.ndarray, prediction: np.ndarray) -> list[Any]:
        return [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]

    def nsd(tolerance: float, **options: Any) -> Measure:
        return lambda *masks: metrics.compute_surface_dice(
            *pair(*masks), [tolerance], include_background=True, **options
        ).item()

    def average(spacing: tuple[float, ...]) -> Measure:
        return lambda *masks: metrics.compute_average_surface_distance(
            *pair(*masks), include_background=True, symmetric=True, spacing=list(spacing)
        ).item()

    names = list(MASKS)
    return {
        names[0]: lambda *masks: metrics.compute_dice(*pair(*masks), include_background=True).item(),
        names[1]: lambda *masks: metrics.compute_hausdorff_distance(*pair(*masks), percentile=95).item(),
        names[2]: nsd(0.5),
        f"{names[2]} (subvoxels)": nsd(0.5, use_subvoxels=True, spacing=[1.0, 1.0, 1.0]),
        names[3]: average((1.0, 1.0, 1.0)),
        names[4]: nsd(2.0, spacing=list(SPACING_MM)),
        names[5]: average(SPACING_MM),
    }


def simpleitk() -> dict[str, Measure]:
    """SimpleITK's overlap filter."""
    import SimpleITK as sitk

    def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction))
        return float(overlap.GetDiceCoefficient())

    return {"Dice, both masks empty": dice}


def medpy() -> dict[str, Measure]:
    """MedPy's ``metric.binary``; the reference comes second there."""
    from medpy.metric import binary

    names = list(MASKS)
    return {
        names[0]: lambda reference, prediction: float(binary.dc(prediction, reference)),
        names[1]: lambda reference, prediction: float(binary.hd95(prediction, reference)),
        names[3]: lambda reference, prediction: float(binary.assd(prediction, reference)),
        names[5]: lambda reference, prediction: float(binary.assd(prediction, reference, voxelspacing=SPACING_MM)),
    }


def surface_distance() -> dict[str, Measure]:
    """DeepMind's package."""
    import surface_distance as package

    def distances(masks: tuple[np.ndarray, ...], spacing: tuple[float, ...]) -> dict[str, np.ndarray]:
        return package.compute_surface_distances(*(mask.astype(bool) for mask in masks), list(spacing))

    def nsd(tolerance: float, spacing: tuple[float, ...]) -> Measure:
        return lambda *masks: float(package.compute_surface_dice_at_tolerance(distances(masks, spacing), tolerance))

    def average(spacing: tuple[float, ...]) -> Measure:
        return lambda *masks: float(np.mean(package.compute_average_surface_distance(distances(masks, spacing))))

    names = list(MASKS)
    return {
        names[1]: lambda *masks: float(package.compute_robust_hausdorff(distances(masks, (1, 1, 1)), 95)),
        names[2]: nsd(0.5, (1.0, 1.0, 1.0)),
        names[3]: average((1.0, 1.0, 1.0)),
        names[4]: nsd(2.0, SPACING_MM),
        names[5]: average(SPACING_MM),
    }


def panoptica() -> dict[str, Measure]:
    """Panoptica's metrics of one instance, and its evaluator on files."""
    from panoptica import InputType, Panoptica_Evaluator
    from panoptica.metrics import Metric

    def single(metric: str, **options: Any) -> Measure:
        chosen = getattr(Metric, metric)
        return lambda *masks: float(chosen(*masks, ref_instance_idx=1, pred_instance_idx=1, **options))

    def from_files(reference: np.ndarray, prediction: np.ndarray) -> float:
        import SimpleITK as sitk

        evaluator = Panoptica_Evaluator(InputType.MATCHED_INSTANCE, instance_metrics=[Metric.HD95], global_metrics=[])
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, mask in (("prediction", prediction), ("reference", reference)):
                image = sitk.GetImageFromArray(mask)
                image.SetSpacing(SPACING_MM[::-1])
                paths.append(f"{folder}/{name}.nii.gz")
                sitk.WriteImage(image, paths[-1])
            (result,) = evaluator.evaluate(*paths, verbose=False).values()
        return float(result.sq_hd95)

    names = list(MASKS)
    return {
        names[0]: single("DSC"),
        names[1]: single("HD95"),
        names[2]: single("NSD", threshold=0.5),
        names[3]: single("ASSD"),
        names[4]: single("NSD", threshold=2.0, voxelspacing=SPACING_MM),
        f"{names[4]} (spacing not given)": single("NSD", threshold=2.0),
        names[5]: single("ASSD", voxelspacing=SPACING_MM),
        names[8]: from_files,
        names[9]: from_files,
    }


def seg_metrics() -> dict[str, Measure]:
    """seg-metrics on arrays."""
    from seg_metrics import seg_metrics as package

    def metric(name: str, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Measure:
        def measure(reference: np.ndarray, prediction: np.ndarray) -> float:
            found = package.write_metrics(
                labels=[1], gdth_img=reference, pred_img=prediction, spacing=spacing, metrics=[name]
            )
            return float((found[0] if isinstance(found, list) else found)[name][0])

        return measure

    names = list(MASKS)
    return {names[0]: metric("dice"), names[1]: metric("hd95"), names[5]: metric("msd", SPACING_MM)}


def miseval() -> dict[str, Measure]:
    """miseval, which knows no spacing."""
    from miseval import evaluate

    def metric(name: str) -> Measure:
        return lambda *masks: float(evaluate(*masks, metric=name, provided_prob=False))

    names = list(MASKS)
    return {names[0]: metric("DSC"), names[5]: metric("AHD")}


def brats_evaluation() -> dict[str, Measure]:
    """The package of the BraTS challenges, on files, by its rule for glioma: enhancing tumour of a missed lesion."""
    from brats_evaluation import config_path, evaluate_single_exam
    from panoptica import Panoptica_Evaluator

    def lesion_wise(reference: np.ndarray, prediction: np.ndarray) -> float:
        import SimpleITK as sitk

        evaluator = Panoptica_Evaluator.load_from_config(str(config_path("gli")))
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, mask in (("prediction", prediction), ("reference", reference)):
                paths.append(f"{folder}/{name}.nii.gz")
                sitk.WriteImage(sitk.GetImageFromArray(mask * 3), paths[-1])
            found = evaluate_single_exam(*paths, "00001", evaluator)
        return float(found["et"]["sq_hd95"])

    return {"HD95 of a missed lesion": lesion_wise}


def scikit_image() -> dict[str, Measure]:
    """scikit-image's skeleton."""
    from skimage.morphology import skeletonize

    return {"skeleton voxels of a rod": lambda mask, _: float(np.count_nonzero(skeletonize(mask)))}


# module: name and function of the package
PACKAGES: dict[str, tuple[str, Callable[[], dict[str, Measure]]]] = {
    "monai": ("monai", monai),
    "SimpleITK": ("SimpleITK", simpleitk),
    "medpy": ("medpy", medpy),
    "surface_distance": ("surface-distance", surface_distance),
    "panoptica": ("panoptica", panoptica),
    "seg_metrics": ("seg-metrics", seg_metrics),
    "miseval": ("miseval", miseval),
    "brats_evaluation": ("brats-evaluation", brats_evaluation),
    "skimage": ("scikit-image", scikit_image),
}


def answer(measure: Measure, reference: np.ndarray, prediction: np.ndarray) -> float | str:
    """A value, ``NaN`` and ``inf`` as words, or the type of the error."""
    try:
        value = measure(reference, prediction)
    except Exception as error:  # whatever a package raises is what its user sees
        return type(error).__name__
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "infinite"


def main() -> None:
    """Compute what can be computed here, and add it to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", nargs="+", help="modules to ask (default: all that are installed)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file to add to (default: {OUTPUT.name})")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    content = json.loads(args.output.read_text("utf-8")) if args.output.is_file() else {}
    for module, (distribution, prepare) in PACKAGES.items():
        if module not in (args.packages or PACKAGES) or importlib.util.find_spec(module) is None:
            continue
        with contextlib.redirect_stdout(None):
            measures = prepare()
            answers = {
                question: answer(measure, *MASKS[question.split(" (")[0]]) for question, measure in measures.items()
            }
        name = f"{distribution} {metadata.version(distribution)}"
        content[name] = {"numpy": np.__version__, "answers": answers}
        print(name, answers)
    args.output.write_text(json.dumps(dict(sorted(content.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
