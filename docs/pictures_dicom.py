"""Draw docs/images/dicom.png: a phantom written as DICOM, and the segments that come back from its DICOM SEG.

python docs/pictures_dicom.py      # seconds
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import highdicom
import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunetv2_masam.dicom.importing import import_folder
from nnunetv2_masam.dicom.labels import read_segmentation
from nnunetv2_masam.dicom.requests import ImportRequest, SegRequest
from nnunetv2_masam.dicom.segments import write_segs
from tests.dicom_files import phantom, values, write_series

PICTURE = Path(__file__).resolve().parent / "images" / "dicom.png"
NAMES = {"background": 0, "liver": 1, "tumor": 2, "femur": 3}
SIZE, SHOWN = (24, 112, 96), (6, 13, 16)


def main() -> None:
    """Run the commands' functions and draw what they wrote."""
    with tempfile.TemporaryDirectory() as folder:
        image, labels, colours = run(Path(folder))
    figure, axes = plt.subplots(1, 1 + len(SHOWN), figsize=(9.5, 3.2))
    axes[0].imshow(image[SHOWN[1]], cmap="gray", vmin=-1000, vmax=1000)
    axes[0].set_title(f"imported, slice {SHOWN[1]}", fontsize=9)
    for axis, number in zip(axes[1:], SHOWN, strict=True):
        axis.imshow(image[number], cmap="gray", vmin=-1000, vmax=1000)
        overlay = np.zeros((*labels.shape[1:], 4))
        for label, colour in colours.items():
            overlay[labels[number] == label] = (*colour, 0.45)
        axis.imshow(overlay)
        axis.set_title(f"DICOM SEG, slice {number}", fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    figure.legend(handles, list(NAMES)[1:], loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(PICTURE, dpi=110, facecolor="white", metadata={"Software": None})
    with Image.open(PICTURE) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


def run(folder: Path) -> tuple[np.ndarray, np.ndarray, dict[int, tuple[float, ...]]]:
    """Image (D, H, W), labels (D, H, W) and colours by label, all as read from what the commands wrote."""
    labels = phantom(*SIZE)
    write_series(folder / "scanner", values(labels) + np.random.default_rng(0).integers(0, 80, labels.shape))
    ((file, _),) = import_folder(ImportRequest(folder / "scanner", folder / "images"))
    image = sitk.ReadImage(str(folder / "images" / file))
    (folder / "predictions").mkdir()
    prediction = sitk.GetImageFromArray(labels)
    prediction.CopyInformation(image)
    sitk.WriteImage(prediction, str(folder / "predictions" / file.replace("_0000", "")))
    content = {"labels": NAMES, "file_ending": ".nii.gz"}
    (folder / "predictions" / "dataset.json").write_text(json.dumps(content))
    _, (name,) = write_segs(SegRequest(folder / "predictions", folder / "scanner", folder / "segs"))
    read, _ = read_segmentation(folder / "segs" / name, image)
    colours = {}
    for segment in highdicom.seg.segread(folder / "segs" / name).SegmentSequence:
        colour = highdicom.color.CIELabColor.from_dicom_value(list(segment.RecommendedDisplayCIELabValue))
        colours[int(segment.SegmentNumber)] = tuple(part / 255 for part in colour.to_rgb(clip=True))
    return sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(read), colours


if __name__ == "__main__":
    main()
