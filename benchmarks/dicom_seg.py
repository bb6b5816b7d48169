"""Seconds to write and to read a DICOM SEG of many slices and segments on one core: ``results/dicom-seg.json``.

python benchmarks/dicom_seg.py                 # 200 slices, 20 segments: about a minute
python benchmarks/dicom_seg.py --slices 10     # a try, which writes nothing
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import SimpleITK as sitk
from environment import describe_environment

from nnunetv2_masam.dicom.importing import import_folder
from nnunetv2_masam.dicom.labels import read_segmentation
from nnunetv2_masam.dicom.requests import FORMS, ImportRequest, SegRequest
from nnunetv2_masam.dicom.segments import write_segs
from tests.dicom_files import write_series

SIZE, SEGMENTS, SLICES, REPEATS = 512, 20, 200, 3


def main() -> None:
    """Measure, print, and write the result file if the size is the full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES, help="number of slices (default: %(default)s)")
    slices = parser.parse_args().slices
    with tempfile.TemporaryDirectory() as folder:
        seconds, sizes = measure(Path(folder), slices)
    environment = describe_environment()
    environment["versions"] |= {name: metadata.version(name) for name in ("pydicom", "highdicom", "SimpleITK")}
    settings = {"slices": slices, "height_width": [SIZE, SIZE], "segments": SEGMENTS, "repeats": REPEATS, "cores": 1}
    result = {"environment": environment, "settings": settings, "median_cpu_seconds": seconds, "megabytes": sizes}
    print(json.dumps(result, indent=1))
    if slices == SLICES:
        path = Path(__file__).parent / "results" / "dicom-seg.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(folder: Path, slices: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU seconds of each command, and sizes of files in MB, of labels that come back equal."""
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    for number in range(SEGMENTS):  # every segment is in every slice
        labels[:, 24 * number + 5 : 24 * number + 24, 100 : 400 + number] = number + 1
    write_series(folder / "source", np.random.default_rng(0).integers(0, 2000, labels.shape))
    seconds = {"import": timed(lambda out: import_folder(ImportRequest(folder / "source", out)), folder / "images")}
    (file,) = (folder / "images").glob("*.nii.gz")
    prediction = sitk.GetImageFromArray(labels)
    prediction.CopyInformation(sitk.ReadImage(str(file)))
    (folder / "predictions").mkdir()
    name = file.name.replace("_0000", "")
    sitk.WriteImage(prediction, str(folder / "predictions" / name), useCompression=True)
    names = {"background": 0} | {f"organ {number}": number for number in range(1, SEGMENTS + 1)}
    content = {"labels": names, "file_ending": ".nii.gz"}
    (folder / "predictions" / "dataset.json").write_text(json.dumps(content))
    sizes = {}
    request = SegRequest(folder / "predictions", folder / "source", folder)
    for form in FORMS[:2]:
        segs = folder / f"segs_{form}"
        seconds[f"seg, {form}"] = timed(
            lambda out, form=form: write_segs(replace(request, output=out, form=form)), segs
        )
        sizes[form] = round(next(segs.glob("*.dcm")).stat().st_size / 1e6, 1)
        (seg,) = segs.glob("*.dcm")
        seconds[f"read, {form}"] = timed(lambda out, seg=seg: read_segmentation(seg, prediction), folder)
        assert np.array_equal(sitk.GetArrayFromImage(read_segmentation(seg, prediction)[0]), labels)
    return seconds, sizes


def timed(command, output: Path) -> float:
    """Median CPU seconds of a command, which runs in one thread, after an import of its libraries."""
    found = []
    for number in range(REPEATS):
        start = time.process_time()
        command(output if number == 0 else output.with_name(f"{output.name}_{number}"))
        found.append(time.process_time() - start)
    return round(float(np.median(found)), 2)


if __name__ == "__main__":
    main()
