"""DICOM SEG among the files of a comparison become label images, so that everything else reads one format."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.dicom.labels import is_seg, read_segmentation
from nnunetv2_masam.dicom.requests import FILE_ENDINGS
from nnunetv2_masam.dicom.stacks import case_name
from nnunetv2_masam.dicom.volumes import grid_of, image_of
from nnunetv2_masam.images import read_image, write_image


def with_label_images(
    cases: pd.DataFrame, dataset_json: Mapping[str, Any], predicted: Mapping[str, Mapping[str, Any]]
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Write each DICOM SEG as a label image in a temporary folder that is removed when the process ends.

    All of a case lie on one grid: that of its reference, image or a prediction, else one that holds every segment.

    Args:
        cases: ``model, run, case`` and the files ``prediction``, ``reference``, ``image``.
        dataset_json: of the references.
        predicted: the ``dataset.json`` that says what predictions hold, by model.

    Returns:
        the table with the label images in the place of DICOM SEG, and pairs of a case and what is wrong with it.

    Raises:
        ModuleNotFoundError: the libraries for DICOM are not installed.
        ValueError: the dataset's files are of a kind that has no place in the world.
    """
    if not cases[["reference", "prediction"]].map(is_seg).any(axis=None):
        return cases, []
    if (ending := dataset_json["file_ending"]) not in FILE_ENDINGS:
        raise ValueError(f"DICOM SEG: got a dataset of {ending}, expected one of {', '.join(FILE_ENDINGS)}")
    folder = Path(tempfile.mkdtemp(prefix="nnunetv2_masam_dicom_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    written: dict[Path, Path] = {}
    errors: list[tuple[str, str]] = []
    for case, rows in cases.groupby("case", sort=False):
        meaning = dict.fromkeys(rows["reference"], dataset_json)
        meaning |= {path: predicted[name] for path, name in zip(rows["prediction"], rows["model"], strict=True)}
        segs = [path for path in meaning if is_seg(path)]
        files = (*rows["reference"], *rows["image"].dropna(), *rows["prediction"])
        images = [path for path in files if not is_seg(path) and path.suffix != ".csv"]
        try:
            like = common_grid(images, {path: meaning[path] for path in segs}) if segs else None
            for number, path in enumerate(segs):
                target = folder / f"{case}_{number}{ending}"
                write_image(read_segmentation(path, like, meaning[path])[0], target)
                written[path] = target
        except ValueError as error:
            errors.append((str(case), str(error)))
    files = cases[["reference", "prediction"]].map(lambda path: written.get(path, path))
    return cases.assign(**files), errors


def common_grid(images: Sequence[Path], segs: Mapping[Path, Mapping[str, Any]]) -> sitk.Image:
    """An image with the grid for all files of a case.

    Args:
        images: the grid is that of the first, which has all slices.
        segs: DICOM SEG with the ``dataset.json`` of each. Without images, the grid is the smallest for all frames.

    Raises:
        ValueError: a file cannot be read.
    """
    if images:
        return read_image(images[0])
    grids = [grid_of(read_segmentation(path, None, content)[0]) for path, content in segs.items()]
    affine = grids[0][0]
    corners = [there @ [*corner, 1] for there, shape in grids for corner in product(*((0, size - 1) for size in shape))]
    places = np.rint(np.linalg.solve(affine, np.transpose(corners))[:3]).astype(int)
    low = places.min(axis=1)
    moved = affine @ np.block([[np.eye(3), low[:, None]], [np.zeros(3), 1]])
    return image_of(np.zeros(places.max(axis=1) - low + 1, np.uint8), moved)


def cases_by_series(files: Mapping[str, Path], known: Collection[str]) -> dict[str, Path]:
    """Files by case; a DICOM SEG whose own name is no known case has that of the series that it refers to.

    Args:
        files: by their own names.
        known: cases, such as ``dicom import`` names them, or Series Instance UIDs.

    Raises:
        ValueError: two files are of one case.
    """
    found: dict[str, Path] = {}
    for name, path in files.items():
        if is_seg(path) and name not in known:
            series = dicom_module("pydicom").dcmread(path, stop_before_pixels=True).get("ReferencedSeriesSequence", [])
            uids = [str(item.SeriesInstanceUID) for item in series]
            name = next((case for uid in uids for case in (uid, case_name(uid)) if case in known), name)
        if name in found:
            raise ValueError(f"{path}: is a second file for {name}, as {found[name]} is, expected one for each case")
        found[name] = path
    return found
