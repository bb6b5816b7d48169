"""Writing the box channel beside images.

A voxel is marked where it lies in a box and in what nnU-Net takes for the image: it crops images to where any channel
is not zero and, for some modalities, normalises inside of that. A box that reached farther would move both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder
from tqdm import tqdm

from nnunetv2_masam.files import shortened
from nnunetv2_masam.images import read_image, write_image
from nnunetv2_masam.label_files import check_segment_names, defined_values, read_label_image
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.from_masks import label_values, make_boxes
from nnunetv2_masam.prompts.requests import MaskBoxes

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")

# case, its first image → the boxes
BoxesOfCase = Callable[[str, sitk.Image], list[VoxelBox]]


@dataclass
class Written:
    """What was written.

    Attributes:
        boxes: number of boxes by case.
        left_out: cases that were not written, as there is no reference for them.
        rounded: notes on label files whose values are not whole, by file.
    """

    boxes: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    rounded: dict[Path, str] = field(default_factory=dict)


def images_by_case(folder: Path) -> tuple[dict[str, list[Path]], str]:
    """Image files by case, in the order of their channels, and their ending.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no images by nnU-Net's names, or cases with different channels.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"-i: no folder {folder}")
    ending = next((e for e in FILE_ENDINGS if any(folder.glob(f"*_0000{e}"))), None)
    if ending is None:
        raise ValueError(
            f"{folder}: no images called CASE_0000 and one of {', '.join(FILE_ENDINGS)}. Rename them as nnU-Net expects"
        )
    cases = get_identifiers_from_splitted_dataset_folder(str(folder), ending)
    channels = sorted({path.name[: -len(ending)][-4:] for path in folder.glob(f"*_[0-9][0-9][0-9][0-9]{ending}")})
    files = {str(case): [folder / f"{case}_{channel}{ending}" for channel in channels] for case in cases}
    if missing := [path.name for paths in files.values() for path in paths if not path.is_file()]:
        raise ValueError(
            f"{folder}: some cases have the channels {', '.join(channels)}, expected the same of all; missing: "
            f"{shortened(missing)}. Add these files, or move such cases to another folder"
        )
    return files, ending


def link_or_copy(source: Path, target: Path) -> None:
    """Another name for the same file, or a copy on another file system."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


@dataclass(frozen=True)
class ReferenceBoxes:
    """Boxes around reference masks.

    Attributes:
        rule: which boxes.
        dataset_json: of the masks.
    """

    rule: MaskBoxes
    dataset_json: Mapping[str, Any]

    def __post_init__(self) -> None:
        label_values(self.dataset_json, self.rule.labels)

    def read(self, path: Path, written: Written) -> tuple[sitk.Image, np.ndarray]:
        """Labels, and where they are boxed, (D, H, W); rounded values are noted in ``written``.

        Raises:
            ValueError: naming the file, if it cannot be read or holds other than the labels of ``dataset.json``.
        """
        check_segment_names(path, self.dataset_json["labels"])
        labels, note = read_label_image(path, defined_values(self.dataset_json))
        if note:
            written.rounded[path] = note
        return labels, np.isin(sitk.GetArrayViewFromImage(labels), label_values(self.dataset_json, self.rule.labels))

    def of(self, labels: Mapping[str, Path], written: Written) -> BoxesOfCase:
        """What makes the boxes of a case from its mask in ``labels``."""

        def boxes_of(case: str, image: sitk.Image) -> list[VoxelBox]:
            found, mask = self.read(labels[case], written)
            if found.GetSize() != image.GetSize():
                raise ValueError(f"{labels[case]}: {found.GetSize()} voxels (x, y, z), its image has {image.GetSize()}")
            return make_boxes(self.rule, case, mask, image.GetSpacing()[::-1])

        return boxes_of


def write_cases(
    files: Mapping[str, Sequence[Path]], folder: Path, ending: str, boxes_of: BoxesOfCase, written: Written
) -> None:
    """Link the images of every case into ``folder`` and write the box channel after them, noted in ``written``.

    Raises:
        ValueError: naming the file or case, where images or boxes are not what they should be.
    """
    for case, paths in tqdm(files.items(), desc="boxes", unit="case", disable=None):
        images = [read_image(path) for path in paths]
        for path, image in zip(paths, images, strict=True):
            if image.GetSize() != images[0].GetSize():
                raise ValueError(
                    f"{path}: {image.GetSize()} voxels (x, y, z), {paths[0]} has {images[0].GetSize()}; expected the "
                    "same of all channels of a case. Resample one of them"
                )
        boxes = boxes_of(case, images[0])
        channel = _channel(images, boxes)
        if boxes and not channel.any():
            raise ValueError(f"{case}: the image is zero everywhere in its boxes {boxes} (D, H, W); nothing to segment")
        for number, path in enumerate(paths):
            link_or_copy(path, folder / f"{case}_{number:04d}{ending}")
        box_image = sitk.GetImageFromArray(channel)
        box_image.CopyInformation(images[0])
        write_image(box_image, folder / f"{case}_{len(paths):04d}{ending}")
        written.boxes[case] = len(boxes)


def _channel(images: Sequence[sitk.Image], boxes: Sequence[VoxelBox]) -> np.ndarray:
    """(D, H, W), 1 inside the boxes where nnU-Net sees an image."""
    inside = create_nonzero_mask(np.stack([sitk.GetArrayViewFromImage(image) for image in images]))
    channel = np.zeros(inside.shape, np.uint8)
    for box in boxes:
        channel[bounding_box_to_slice(box)] = 1
    return channel * inside


def checked_ending(ending: str) -> str:
    """A ``file_ending`` that boxes can be written for.

    Raises:
        ValueError: it is another one.
    """
    if ending not in FILE_ENDINGS:
        raise ValueError(f"file_ending: got {ending}; boxes are written for {', '.join(FILE_ENDINGS)}")
    return ending
