"""Memory of one case of surgical video in nnU-Net, by its number of frames, at EndoVis 2018's size and classes.

    python benchmarks/video_memory.py      # a temporary folder of 1 GB; the largest process takes some 8 GB

Each stage runs in a process of its own, whose peak of resident memory is taken: our conversion, nnU-Net's
preprocessing of the case, and nnU-Net's export of half-precision logits (with which the process begins). Frames are
noise, and all pixels but a twelfth are foreground. Writes ``benchmarks/results/video-memory.json``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from environment import describe_environment

FRAMES, HEIGHT_WIDTH, NUM_CLASSES = (10, 25, 50), (1024, 1280), 12
DATASET = Path("raw", "Dataset001_Video")
STAGES = ("convert", "preprocess", "export")


def main() -> None:
    """Measure and write."""
    peaks = {}
    for count in FRAMES:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("raw", "preprocessed", "results"):
                os.environ[f"nnUNet_{name}"] = f"{folder}/{name}"
            draw(Path(folder) / "source" / "s", count)
            peaks[count] = {stage: run_apart(stage, folder) for stage in STAGES}
            print(count, peaks[count], flush=True)
    settings = {"height_width": HEIGHT_WIDTH, "classes": NUM_CLASSES}
    result = {"environment": describe_environment(), "settings": settings, "peak_gigabytes_by_frames": peaks}
    (Path(__file__).parent / "results" / "video-memory.json").write_text(json.dumps(result, indent=1) + "\n")


def draw(folder: Path, count: int) -> None:
    """Frames of noise, masks of twelve stripes."""
    from PIL import Image

    (folder / "frames").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    stripes = np.broadcast_to(np.arange(HEIGHT_WIDTH[1]) * NUM_CLASSES // HEIGHT_WIDTH[1], HEIGHT_WIDTH)
    for n in range(count):
        Image.fromarray(rng.integers(1, 255, (*HEIGHT_WIDTH, 3)).astype(np.uint8)).save(folder / "frames" / f"{n}.png")
        Image.fromarray(stripes.astype(np.uint8)).save(folder / "masks" / f"{n}.png")


def run_apart(stage: str, folder: str) -> float:
    """Peak of resident memory of a stage, in GB (10^9 bytes)."""
    done = subprocess.run([sys.executable, __file__, stage, folder], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def convert(folder: Path) -> None:
    """Frames to a case of nnU-Net."""
    from nnunetv2_masam.video.cases import write_dataset
    from nnunetv2_masam.video.classes import MaskReader
    from nnunetv2_masam.video.sequences import find_classes, find_sequences

    sequences = find_sequences(folder / "source")
    reader = MaskReader(find_classes(folder / "source", sequences))
    write_dataset(folder / DATASET, sequences, reader, max_frames=len(sequences[0].frames))


def preprocess(folder: Path) -> None:
    """nnU-Net's preprocessing of the case, with plans that resample nothing, as those of nnU-Net for such data."""
    configuration, manager = make_plans(folder)
    data_set = folder / DATASET
    images = sorted(str(path) for path in (data_set / "imagesTr").iterdir())
    labels = str(next((data_set / "labelsTr").iterdir()))
    dataset_json = str(data_set / "dataset.json")
    target = str(folder / "case")
    preprocessor = configuration.preprocessor_class(verbose=False)
    preprocessor.run_case_save(target, images, labels, manager, configuration, dataset_json)


def export(folder: Path) -> None:
    """nnU-Net's export of logits, from the half precision that prediction leaves them in."""
    import torch
    from nnunetv2.inference.export_prediction import export_prediction_from_logits

    configuration, manager = make_plans(folder)
    data_set = folder / DATASET
    reader = manager.image_reader_writer_class()
    labels, properties = reader.read_seg(str(next((data_set / "labelsTr").iterdir())))
    shape = labels.shape[1:]
    del labels
    properties |= {
        "shape_before_cropping": shape,
        "shape_after_cropping_and_before_resampling": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }
    logits = torch.zeros((NUM_CLASSES, *shape), dtype=torch.half)
    dataset_json = str(data_set / "dataset.json")
    target = str(folder / "predicted")
    export_prediction_from_logits(logits, properties, configuration, manager, dataset_json, target)


def make_plans(folder: Path):
    """nnU-Net's plans for the case, from a fingerprint that needs no look at the intensities."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    frames = len(list((folder / "source" / "s" / "frames").iterdir()))
    statistics = {"mean": 128.0, "median": 128.0, "std": 70.0, "min": 1.0, "max": 254.0}
    statistics |= {"percentile_00_5": 2.0, "percentile_99_5": 253.0}
    fingerprint = {
        "spacings": [[5.0, 1.0, 1.0]],
        "shapes_after_crop": [[frames, *HEIGHT_WIDTH]],
        "foreground_intensity_properties_per_channel": {str(channel): statistics for channel in range(3)},
        "median_relative_size_after_cropping": 1.0,
    }
    preprocessed = folder / "preprocessed" / DATASET.name
    preprocessed.mkdir(parents=True, exist_ok=True)
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    manager = PlansManager(ExperimentPlanner(DATASET.name).plan_experiment())
    return manager.get_configuration("3d_fullres"), manager


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        {"convert": convert, "preprocess": preprocess, "export": export}[sys.argv[1]](Path(sys.argv[2]))
        print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f}")
