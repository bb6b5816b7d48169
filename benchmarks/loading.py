"""Core-seconds that nnU-Net's data loader takes for a sample, by the layout of the preprocessed files.

    pip install --no-deps --target OTHER nnunetv2==2.7.0
    python benchmarks/loading.py --image CT.nii.gz --labels LABELS.nii.gz --other OTHER

The computed tomography is resampled and stacked to the shapes of real datasets, with the noise of real images, and
stored by the installed nnU-Net and by the one in ``OTHER``, each with its own functions for blocks, chunks and codec.
nnU-Net's data loader then draws the patches of MA-SAM and of nnU-Net from each, without augmentation, on one core, from
files that the operating system holds in memory. Writes ``benchmarks/results/loading-cpu.json``.
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
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blosc2
import nibabel
import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading import nnunet_dataset
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from scipy.ndimage import zoom

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "loading-cpu.json"
CLASSES = 13  # labels of the stored segmentation, as many as BTCV's
NOISE_HU = 15.0


@dataclass(frozen=True)
class Sample:
    """A dataset's shape, and the patches that are drawn from it before augmentation (final patch, initial patch)."""

    shape: tuple[int, int, int, int]
    nnunet: tuple[tuple[int, int, int], tuple[int, int, int]]
    masam: tuple[tuple[int, int, int], tuple[int, int, int]]
    resampled: bool = True


BTCV = ((48, 192, 192), (48, 225, 225)), ((5, 512, 512), (5, 602, 602))
SAMPLES = {
    "CT, resampled": Sample((1, 96, 512, 512), *BTCV),
    "brain MRI, 4 channels": Sample(
        (4, 140, 169, 143), ((128, 128, 128), (205, 205, 205)), ((5, 169, 143), (5, 198, 198))
    ),
    "prostate MRI, 2 channels": Sample(
        (2, 20, 320, 320), ((20, 320, 256), (20, 376, 376)), ((5, 320, 320), (5, 376, 376))
    ),
    "CT, as scanned": Sample((1, 96, 512, 512), *BTCV, resampled=False),
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True, help="computed tomography to resample (NIfTI)")
    parser.add_argument("--labels", type=Path, required=True, help="its labels (NIfTI)")
    parser.add_argument("--other", type=Path, required=True, help="folder with another release of nnunetv2")
    parser.add_argument("--draws", type=int, default=40, help="samples drawn from each (default: 40)")
    parser.add_argument("--samples", nargs="+", choices=SAMPLES, default=list(SAMPLES), help="(default: all)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file to write (default: {OUTPUT.name})")
    args = parser.parse_args()
    from environment import describe_environment  # here, because the other release is run without torch's environment

    result: dict[str, Any] = {
        "environment": describe_environment(),
        "blosc2": metadata.version("blosc2"),
        "processor time": "blosc2 with one thread, files in memory",
        "draws": args.draws,
        "samples": {},
    }
    for name in args.samples:
        result["samples"][name] = measure(SAMPLES[name], args)
        for layout, entry in result["samples"][name]["layouts"].items():
            print(f"{name:26} {layout:34} {entry}", flush=True)
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(sample: Sample, args: argparse.Namespace) -> dict[str, Any]:
    """Core-seconds per sample for each layout, and the layout's blocks, chunks and size."""
    layouts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        content(sample, args.image, args.labels, folder)
        patches = {"nnU-Net": sample.nnunet[0], "MA-SAM": sample.masam[0]}
        versions = [store_by(args.other, folder, patches), store(folder, patches)]
        for version in versions:
            for name in patches:
                stored = folder / version / name
                layouts[f"{version}, for the patch of {name}"] = {
                    **described(stored / "case"),
                    "MA-SAM's patch": drawn(stored, *sample.masam, args.draws),
                    "nnU-Net's patch": drawn(stored, *sample.nnunet, args.draws),
                }
    return {
        "shape": sample.shape,
        "MA-SAM's patch, final and drawn": sample.masam,
        "nnU-Net's patch, final and drawn": sample.nnunet,
        "layouts": layouts,
    }


def content(sample: Sample, image: Path, labels: Path, folder: Path) -> None:
    """Write ``data.npy`` (C, D, H, W), float32 and normalised, and ``seg.npy`` (1, D, H, W), int16.

    Slices are stacked to and fro along the body. Noise is added at the voxels of the scan; where the case counts as
    resampled, these are 0.8 times as many in plane, and values are no longer whole Hounsfield units.
    """
    channels, depth, height, width = sample.shape
    rng = np.random.default_rng(0)
    ct = nibabel.load(image).get_fdata(dtype=np.float32).T
    segmentation = np.asarray(nibabel.load(labels).dataobj).T
    there_and_back = np.resize(np.r_[np.arange(len(ct)), np.arange(len(ct))[::-1]], depth)
    scan = tuple(round(side * 0.8) for side in (height, width)) if sample.resampled else (height, width)
    data = np.empty(sample.shape, np.float32)
    for index, slice_ in enumerate(there_and_back):
        smooth = _resized(ct[slice_], scan, order=3)
        for channel in range(channels):
            noisy = np.rint(smooth + NOISE_HU * rng.standard_normal(scan))
            data[channel, index] = _resized(noisy, (height, width), order=3) if sample.resampled else noisy
    np.save(folder / "data.npy", (data - data.mean()) / data.std())
    planes = {index: _resized(plane, (height, width), order=0) for index, plane in enumerate(segmentation)}
    np.save(folder / "seg.npy", np.stack([planes[i] for i in there_and_back])[None].astype(np.int16) % (CLASSES + 1))


def store_by(release: Path, folder: Path, patches: dict[str, tuple[int, ...]]) -> str:
    """:func:`store` by the nnU-Net in ``release``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(release), str(HERE)])}
    code = f"import loading; print(loading.store({str(folder)!r}, {patches!r}))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def store(folder: str | Path, patches: dict[str, tuple[int, ...]]) -> str:
    """Store the case as nnU-Net's preprocessing does for each patch; returns the version, which names a folder."""
    data, seg = np.load(Path(folder, "data.npy")), np.load(Path(folder, "seg.npy"))
    parameters = getattr(nnunet_dataset, "comp_blosc2_params", None) or nnUNetDatasetBlosc2.comp_blosc2_params
    locations = DefaultPreprocessor._sample_foreground_locations(seg, list(range(1, CLASSES + 1)))
    version = metadata.version("nnunetv2")
    for name, patch in patches.items():
        blocks, chunks = parameters(data.shape, patch, data.itemsize)
        blocks_seg, chunks_seg = parameters(seg.shape, patch, seg.itemsize)
        layout = {"chunks": chunks, "blocks": blocks, "chunks_seg": chunks_seg, "blocks_seg": blocks_seg}
        case = Path(folder, version, name, "case")
        case.parent.mkdir(parents=True)
        nnUNetDatasetBlosc2.save_case(data, seg, {"class_locations": locations}, str(case), **layout)
    return version


def described(case: Path) -> dict[str, Any]:
    """Blocks, chunks and MiB of a stored case."""
    data, seg = blosc2.open(str(case) + ".b2nd", mode="r"), blosc2.open(str(case) + "_seg.b2nd", mode="r")
    return {
        "blocks": data.blocks,
        "chunks": data.chunks,
        "blocks_seg": seg.blocks,
        "chunks_seg": seg.chunks,
        "codec": data.schunk.cparams.codec.name,
        "mib": round((data.schunk.cbytes + seg.schunk.cbytes) / 2**20, 1),
    }


def drawn(folder: Path, patch: tuple[int, ...], initial_patch: tuple[int, ...], draws: int) -> dict[str, float]:
    """Mean core-seconds of a sample, and of its three files alone."""
    dataset = nnUNetDatasetBlosc2(str(folder))
    labels = SimpleNamespace(all_labels=list(range(1, CLASSES + 1)), has_ignore_label=False)
    loader = nnUNetDataLoader(dataset, 1, initial_patch, patch, labels, oversample_foreground_percent=0.33)
    loader.get_do_oversample = loader._probabilistic_oversampling  # of a batch of one, nnU-Net's rule takes none
    np.random.seed(0)
    whole = [_core_seconds(loader.generate_train_batch) for _ in range(draws + 2)][2:]
    data, seg, _, properties = dataset.load_case("case")
    parts: dict[str, list[float]] = {"open": [], "data": [], "seg": []}
    for _ in range(draws):
        lower, upper = loader.get_bbox(data.shape[1:], np.random.uniform() < 0.33, properties["class_locations"])
        box = (slice(None), *(slice(max(a, 0), b) for a, b in zip(lower, upper, strict=True)))
        parts["open"].append(_core_seconds(lambda: dataset.load_case("case")))
        parts["data"].append(_core_seconds(lambda box=box: data[box]))
        parts["seg"].append(_core_seconds(lambda box=box: seg[box]))
    return {
        "core_seconds": round(statistics.fmean(whole), 4),
        **{name: round(statistics.fmean(values), 4) for name, values in parts.items()},
    }


def _core_seconds(action: Any) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def _resized(plane: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    factors = [after / before for after, before in zip(shape, plane.shape, strict=True)]
    return zoom(plane, factors, order=order, mode="nearest", grid_mode=True)


if __name__ == "__main__":
    main()
