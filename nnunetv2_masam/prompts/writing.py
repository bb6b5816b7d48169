"""Writing the box channel beside images, for a data set or for prediction.

A voxel is marked where it lies in a box and in what nnU-Net takes for the image: it crops images to where any channel
is not zero and, for some modalities, normalises inside of that. A box that reached farther would move both.
"""

from __future__ import annotations

import json
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
from nnunetv2.utilities.utils import (
    get_filenames_of_train_images_and_targets,
    get_identifiers_from_splitted_dataset_folder,
)
from tqdm import tqdm

from nnunetv2_masam.files import atomic_folder
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.drawn import read_boxes, voxel_box
from nnunetv2_masam.prompts.from_masks import MaskBoxes, label_values
from nnunetv2_masam.prompts.record import DRAWN, RECORD_FILE, add_box_channel

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")

# case, its first image → the boxes
BoxesOfCase = Callable[[str, sitk.Image], list[VoxelBox]]


@dataclass
class Written:
    """What was written.

    Attributes:
        boxes: number of boxes by case.
        left_out: cases that were not written, as there is no reference for them.
    """

    boxes: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def write_dataset(source: Path, destination: Path, rule: MaskBoxes) -> Written:
    """A raw data set with the box channel: images and labels are linked (copied where that is not possible).

    Test images are taken along where ``labelsTs`` has references for them.

    Args:
        source: raw data set.
        destination: raw data set to write; must not exist.
        rule: which boxes.

    Raises:
        ValueError: the data set cannot be written; nothing is left of it then.
    """
    dataset_json = json.loads((source / "dataset.json").read_text())
    ending = _checked_ending(dataset_json["file_ending"])
    training = get_filenames_of_train_images_and_targets(str(source))
    described = add_box_channel(dataset_json, rule.record())
    values = label_values(dataset_json, rule.labels)
    with atomic_folder(destination) as partial:
        written = Written()
        for part, cases in (("Tr", training), ("Ts", _test_cases(source, ending, written))):
            if not cases:
                continue
            images_folder, labels_folder = partial / f"images{part}", partial / f"labels{part}"
            images_folder.mkdir()
            labels_folder.mkdir()
            images = {str(case): [Path(file) for file in files["images"]] for case, files in cases.items()}
            labels = {str(case): Path(files["label"]) for case, files in cases.items()}
            written.boxes |= _write_cases(images, images_folder, ending, _from_masks(labels, rule, values))
            for case, label in labels.items():
                link_or_copy(label, labels_folder / f"{case}{ending}")
        (partial / "dataset.json").write_text(json.dumps({**described, "numTraining": len(training)}, indent=4))
    return written


def write_inputs_from_masks(
    images: Path, references: Path, destination: Path, rule: MaskBoxes, dataset_json: Mapping[str, Any]
) -> Written:
    """Images for prediction with boxes from reference masks, which makes the prompt an oracle.

    Raises:
        ValueError: a case has no reference, or no folder can be written.
    """
    files, ending = images_by_case(images)
    labels = {case: references / f"{case}{ending}" for case in files}
    if missing := [case for case, label in labels.items() if not label.is_file()]:
        raise ValueError(f"{references}: no reference for {', '.join(missing)}; without one there is no box")
    return write_inputs(
        files, destination, ending, _from_masks(labels, rule, label_values(dataset_json, rule.labels)), rule.record()
    )


def write_inputs_drawn(images: Path, boxes_file: Path, coordinates: str, destination: Path) -> Written:
    """Images for prediction with boxes that a person drew; see :mod:`~nnunetv2_masam.prompts.drawn`.

    Raises:
        ValueError: cases and boxes do not fit together.
    """
    files, ending = images_by_case(images)
    boxes = read_boxes(boxes_file)
    if unknown := sorted(boxes.keys() - files.keys()):
        raise ValueError(f"{boxes_file}: no image in {images} for {', '.join(unknown)}")
    if missing := sorted(files.keys() - boxes.keys()):
        raise ValueError(
            f"{boxes_file}: no entry for {', '.join(missing)}. For a case without a box, add a row with its name only "
            '(CSV), or "case": [] (JSON)'
        )

    def boxes_of(case: str, image: sitk.Image) -> list[VoxelBox]:
        try:
            return [voxel_box(corners, coordinates, image) for corners in boxes[case]]
        except ValueError as error:
            raise ValueError(f"{boxes_file}, {case}: {error}") from error

    record = {"source": DRAWN, "file": boxes_file.name, "coordinates": coordinates}
    return write_inputs(files, destination, ending, boxes_of, record)


def write_inputs(
    files: Mapping[str, Sequence[Path]],
    destination: Path,
    ending: str,
    boxes_of: BoxesOfCase,
    record: Mapping[str, Any],
) -> Written:
    """Images for prediction: a folder for ``nnUNetv2_predict -i``.

    Args:
        files: image files by case.
        destination: folder to write; must not exist.
        ending: of the files.
        boxes_of: the boxes of a case.
        record: where they come from; kept beside the images.
    """
    with atomic_folder(destination) as partial:
        written = Written(_write_cases(files, partial, ending, boxes_of))
        (partial / RECORD_FILE).write_text(json.dumps(dict(record), indent=1))
    return written


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
        raise ValueError(f"{folder}: no images called CASE_0000 and one of {', '.join(FILE_ENDINGS)}")
    cases = get_identifiers_from_splitted_dataset_folder(str(folder), ending)
    channels = sorted({path.name[: -len(ending)][-4:] for path in folder.glob(f"*_[0-9][0-9][0-9][0-9]{ending}")})
    files = {str(case): [folder / f"{case}_{channel}{ending}" for channel in channels] for case in cases}
    if missing := [str(path) for paths in files.values() for path in paths if not path.is_file()]:
        raise ValueError(f"cases have different channels; there is no {', '.join(missing)}")
    return files, ending


def link_or_copy(source: Path, target: Path) -> None:
    """Another name for the same file, or a copy on another file system."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _from_masks(labels: Mapping[str, Path], rule: MaskBoxes, values: Sequence[int]) -> BoxesOfCase:
    def boxes_of(case: str, image: sitk.Image) -> list[VoxelBox]:
        segmentation = sitk.ReadImage(str(labels[case]))
        if segmentation.GetSize() != image.GetSize():
            raise ValueError(
                f"{labels[case]}: {segmentation.GetSize()} voxels (x, y, z), its image has {image.GetSize()}"
            )
        mask = np.isin(sitk.GetArrayViewFromImage(segmentation), values)
        return rule.boxes(case, mask, image.GetSpacing()[::-1])

    return boxes_of


def _write_cases(
    files: Mapping[str, Sequence[Path]], folder: Path, ending: str, boxes_of: BoxesOfCase
) -> dict[str, int]:
    """Link the images of every case into ``folder`` and write the box channel after them; number of boxes by case."""
    counts = {}
    for case, paths in tqdm(files.items(), desc="boxes", unit="case", disable=None):
        images = [sitk.ReadImage(str(path)) for path in paths]
        boxes = boxes_of(case, images[0])
        channel = _channel(images, boxes)
        if boxes and not channel.any():
            raise ValueError(f"{case}: the image is zero everywhere in its boxes {boxes} (D, H, W); nothing to segment")
        for number, path in enumerate(paths):
            link_or_copy(path, folder / f"{case}_{number:04d}{ending}")
        written = sitk.GetImageFromArray(channel)
        written.CopyInformation(images[0])
        sitk.WriteImage(written, str(folder / f"{case}_{len(paths):04d}{ending}"), useCompression=True)
        counts[case] = len(boxes)
    return counts


def _channel(images: Sequence[sitk.Image], boxes: Sequence[VoxelBox]) -> np.ndarray:
    """(D, H, W), 1 inside the boxes where nnU-Net sees an image."""
    inside = create_nonzero_mask(np.stack([sitk.GetArrayViewFromImage(image) for image in images]))
    channel = np.zeros(inside.shape, np.uint8)
    for box in boxes:
        channel[bounding_box_to_slice(box)] = 1
    return channel * inside


def _test_cases(source: Path, ending: str, written: Written) -> dict[str, dict[str, Any]]:
    """As nnU-Net lists training cases; test cases without a reference are noted as left out."""
    if not (source / "imagesTs").is_dir() or not any((source / "imagesTs").glob(f"*_0000{ending}")):
        return {}
    files, _ = images_by_case(source / "imagesTs")
    labels = {case: source / "labelsTs" / f"{case}{ending}" for case in files}
    written.left_out += [case for case, label in labels.items() if not label.is_file()]
    return {case: {"images": files[case], "label": labels[case]} for case in files if case not in written.left_out}


def _checked_ending(ending: str) -> str:
    if ending not in FILE_ENDINGS:
        raise ValueError(f"file_ending: got {ending}; boxes are written for {', '.join(FILE_ENDINGS)}")
    return ending
