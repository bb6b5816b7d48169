"""Seconds and memory that measuring the labels of a CT takes: ours, other packages, and an earlier commit, in turn.

    python benchmarks/measure_labels.py --segmentation example_seg.nii.gz --before 811bf22

The segmentation is the 3 mm CT crop of TotalSegmentator's examples. It is doubled along each axis and stacked, so that
it has 120 x 202 x 244 voxels of 1.5 mm and 81 labels. The prediction is the same, deformed by about 1.5 voxels. Each
program runs in a process of its own, one thread, one after the other, for several rounds. Ours and the earlier commit
compute all metrics but clDice and those of single lesions: overlap, volumes, HD95 and ASSD between border voxels, NSD
between meshes, boundary IoU and lesions. The others compute HD95, average distance and NSD; slow ones run once, and
seg-metrics measures two labels. Four ways to find distances between border voxels are timed alone. `--python` names an
interpreter that has the other packages, some of which need an old NumPy. Writes
``benchmarks/results/measure-labels-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "measure-labels-cpu.json"
SPACING_MM, TOLERANCE_MM = (1.5, 1.5, 1.5), 2.0
OPTIONAL = ("sensitivity", "precision", "volume_error", "boundary_iou", "lesions")
Values = dict[int, dict[str, float]]


class Label(NamedTuple):
    """One label as a structure."""

    name: str
    reference_values: tuple[int, ...]
    prediction_values: tuple[int, ...]


def main() -> None:
    """Measure in processes of their own, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segmentation", type=Path, help="the CT crop's labels, a NIfTI file")
    parser.add_argument("--before", metavar="COMMIT", help="measure an earlier commit too")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the other packages")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program (default: 3)")
    parser.add_argument("--programs", nargs="+", help="some of the programs (default: all)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file to write (default: {OUTPUT.name})")
    args = parser.parse_args()
    if args.child:
        run(*args.child)
        return
    from environment import describe_environment

    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **dict(zip(("reference", "prediction"), volumes(args.segmentation), strict=True)))
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.programs or PROGRAMS}
        for turn in range(args.rounds):
            for name in runs:
                if (name == "before" and not args.before) or turn >= (PROGRAMS[name].rounds or args.rounds):
                    continue
                runs[name].append(measured(name, inputs, args.python, args.before))
                print(f"{name:18} {runs[name][-1]['cpu_seconds_per_label']:.4f} s per label", flush=True)
    content = {"environment": describe_environment(), "before": args.before, **summary(runs)}
    args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def volumes(segmentation: Path) -> tuple[np.ndarray, np.ndarray]:
    """The reference and the prediction, (120, 202, 244)."""
    import nibabel
    from scipy import ndimage

    _, labels = np.unique(np.asarray(nibabel.load(segmentation).dataobj).T, return_inverse=True)
    shape = nibabel.load(segmentation).shape[::-1]
    labels = labels.reshape(shape).astype(np.uint8).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    # the last label of the lower half is the first of the upper one
    reference = np.concatenate([labels, np.where(labels, labels + labels.max() - 1, 0)]).astype(np.uint8)
    random = np.random.default_rng(0)
    places = []
    for places_before, size in zip(np.indices(reference.shape, np.int32), reference.shape, strict=True):
        shift = ndimage.gaussian_filter(random.normal(size=reference.shape).astype(np.float32), 6)
        moved = np.rint(places_before + 1.5 * shift / shift.std()).astype(np.int32)
        places.append(np.clip(moved, 0, size - 1))
    return reference, reference[tuple(places)]


def measured(name: str, inputs: Path, python: str, before: str | None) -> dict[str, Any]:
    """What a process prints that measures with one program."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    interpreter = python if PROGRAMS[name].foreign else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        if name == "before":
            archive = subprocess.run(["git", "archive", str(before)], cwd=HERE.parent, capture_output=True, check=True)
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
            environment["PYTHONPATH"] = folder
        command = [interpreter, str(Path(__file__).resolve()), "--child", name, str(inputs), folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run(name: str, inputs: str, folder: str) -> None:
    """Measure with one program and print seconds and memory."""
    warnings.simplefilter("ignore")
    arrays = np.load(inputs)
    reference, prediction = arrays["reference"], arrays["prediction"]
    present = [int(value) for value in np.unique(reference) if value]
    labels = present[: PROGRAMS[name].labels]
    program = PROGRAMS[name].prepare()
    ready_mb = _peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    values = program(reference, prediction, labels)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak_mb = _peak_mb()
    result = {
        "labels": len(labels),
        "cpu_seconds_per_label": cpu / len(labels),
        "wall_seconds_per_label": wall / len(labels),
        "peak_mb": peak_mb,
        "added_mb": peak_mb - ready_mb,
        "mean": {key: float(np.mean([row[key] for row in values.values()])) for key in values[labels[0]]},
    }
    print(json.dumps(result))


def _peak_mb() -> float:
    """Peak memory of this program; `getrusage` would include its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def ours() -> Callable[..., Values]:
    """All labels in one pass."""
    from nnunetv2_masam.evaluation.label_arrays import measure_labels
    from nnunetv2_masam.evaluation.metrics import STANDARD, MetricSettings

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        structures = [Label(str(label), (label,), (label,)) for label in labels]
        tolerances = [TOLERANCE_MM] * len(labels)
        settings = MetricSettings(OPTIONAL)
        rows = measure_labels(reference, prediction, structures, SPACING_MM, tolerances, settings=settings)
        return {int(row["label"]): {key: float(row[key]) for key in STANDARD} for row in rows}

    return program


def before() -> Callable[..., Values]:
    """Label by label, as up to version 0.1."""
    from nnunetv2_masam.evaluation.metrics import METRICS, MetricSettings, structure_metrics

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        settings = MetricSettings(OPTIONAL)
        rows = {}
        for label in labels:
            masks = reference == label, prediction == label
            rows[label] = structure_metrics(*masks, SPACING_MM, TOLERANCE_MM, settings=settings)
        return {label: {key: float(row[key]) for key in METRICS} for label, row in rows.items()}

    return program


def surface_distance() -> Callable[..., Values]:
    """HD95, both average distances and NSD of DeepMind's package."""
    import surface_distance as package

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        rows = {}
        for label in labels:
            found = package.compute_surface_distances(reference == label, prediction == label, list(SPACING_MM))
            rows[label] = {
                "HD95_mm": package.compute_robust_hausdorff(found, 95),
                "ASSD_mm": float(np.mean(package.compute_average_surface_distance(found))),
                "NSD": package.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
            }
        return rows

    return program


def monai() -> Callable[..., Values]:
    """HD95, ASSD and NSD of MONAI, the last with subvoxels."""
    import torch
    from monai import metrics

    torch.set_num_threads(1)

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        rows = {}
        options = {"include_background": True, "spacing": list(SPACING_MM)}
        for label in labels:
            pair = [torch.from_numpy(array == label)[None, None] for array in (prediction, reference)]
            rows[label] = {
                "HD95_mm": metrics.compute_hausdorff_distance(*pair, percentile=95, **options).item(),
                "ASSD_mm": metrics.compute_average_surface_distance(*pair, symmetric=True, **options).item(),
                "NSD": metrics.compute_surface_dice(*pair, [TOLERANCE_MM], use_subvoxels=True, **options).item(),
            }
        return rows

    return program


def seg_metrics() -> Callable[..., Values]:
    """HD95 and mean distance of seg-metrics."""
    from seg_metrics import seg_metrics as package

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        rows = {}
        for label in labels:
            found = package.write_metrics(
                labels=[label], gdth_img=reference, pred_img=prediction, spacing=SPACING_MM, metrics=["hd95", "msd"]
            )
            found = found[0] if isinstance(found, list) else found
            rows[label] = {"HD95_mm": float(found["hd95"][0]), "ASSD_mm": float(found["msd"][0])}
        return rows

    return program


def distances(kind: str) -> Callable[..., Values]:
    """Distances between border voxels, in each label's box, by one of four ways."""
    import edt
    from scipy import ndimage
    from scipy.spatial import KDTree

    from nnunetv2_masam.evaluation.label_masks import mask_pairs
    from nnunetv2_masam.evaluation.nearest import nearest_mm
    from nnunetv2_masam.evaluation.surfaces import border_of

    def one_way(border: np.ndarray, other: np.ndarray) -> np.ndarray:
        if kind == "tree":
            return KDTree(np.argwhere(other) * SPACING_MM).query(np.argwhere(border) * SPACING_MM)[0]
        if kind == "edt":
            return edt.edt(~other, anisotropy=SPACING_MM)[border]
        return ndimage.distance_transform_edt(~other, sampling=SPACING_MM)[border]

    def program(reference: np.ndarray, prediction: np.ndarray, labels: list[int]) -> Values:
        structures = [Label(str(label), (label,), (label,)) for label in labels]
        rows = {}
        for label, pair in zip(labels, mask_pairs(reference, prediction, structures, None, False), strict=True):
            borders = border_of(pair.reference), border_of(pair.prediction)
            both = nearest_mm(*borders, SPACING_MM) if kind == "ours" else (one_way(*borders), one_way(*borders[::-1]))
            rows[label] = {"ASSD_mm": float(np.concatenate(both).mean())}
        return rows

    return program


class Program(NamedTuple):
    """What measures: a function that imports it, how many labels, in how many rounds, and by which interpreter."""

    prepare: Callable[[], Callable[..., Values]]
    labels: int | None = None
    rounds: int | None = None
    foreign: bool = False


PROGRAMS = {
    "ours": Program(ours),
    "before": Program(before),
    "surface-distance": Program(surface_distance, foreign=True),
    **{f"distances by {kind}": Program(partial(distances, kind)) for kind in ("ours", "tree", "edt", "SciPy")},
    "MONAI": Program(monai, rounds=1, foreign=True),
    "seg-metrics": Program(seg_metrics, 2, 1, foreign=True),
}


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over rounds, and the ratios of interest."""
    medians = {
        name: {
            key: statistics.median(run[key] for run in found)
            for key in ("cpu_seconds_per_label", "wall_seconds_per_label", "peak_mb", "added_mb")
        }
        for name, found in runs.items()
        if found
    }
    own = medians.get("ours")
    times = {
        name: found["cpu_seconds_per_label"] / own["cpu_seconds_per_label"] for name, found in medians.items() if own
    }
    memory = {name: found["peak_mb"] / own["peak_mb"] for name, found in medians.items() if own}
    return {"medians": medians, "times_as_long_as_ours": times, "times_the_memory_of_ours": memory, "runs": runs}


if __name__ == "__main__":
    main()
