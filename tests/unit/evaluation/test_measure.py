"""Measuring in several processes, what is remembered of it, and which files lie in the same place."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.measure import MeasureTask, measure, measure_all
from nnunetv2_masam.evaluation.segmentation import Geometry, check_geometry, read_segmentation
from tests.unit.evaluation.conftest import blobs, degrade, write_volume
from tests.unit.evaluation.killed_reader import KilledReader

PARTS = (Structure("kidney", "1", (1,), (1,)), Structure("liver", "2", (2,), (2,)))


def task(folder: Path, case: str, reader: Any = SimpleITKIO) -> MeasureTask:
    reference, prediction = folder / "reference.nii.gz", folder / f"{case}.nii.gz"
    if not reference.exists():
        write_volume(reference, blobs(0))
    write_volume(prediction, degrade(blobs(0), 1))
    values = frozenset({0, 1, 2})
    return MeasureTask("A", case, reference, prediction, None, reader, PARTS, (2.0, 2.0), None, values, values)


def test_a_killed_process_is_told_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    tasks = [task(tmp_path, case, KilledReader) for case in ("a", "b", "killer")]
    cache = tmp_path / "cache"

    def release() -> None:
        while not list(cache.glob("*.json")):
            time.sleep(0.05)
        (tmp_path / "done").touch()

    threading.Thread(target=release, daemon=True).start()
    with pytest.raises(ValueError, match=r"killed, probably because memory ran out, after \d of 3 .*remembered.*-np 1"):
        measure_all(tasks, cache, processes=2, progress=False)
    again = measure_all(tasks[:2], cache, processes=1, progress=False)
    assert any(result.cached for result in again)
    (values,) = {json.dumps(result.values) for result in again}
    assert json.loads(values) == measure(replace(tasks[0], reader=SimpleITKIO))[0]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"values": null, "note": ""}', '{"values": {"kidney": {}, "liver": {}}, "note": ""}'),
        '{"values": {"kidney": {"Dice": "x"}, "liver": 1}, "note": ""}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_memory_is_measured_again(tmp_path: Path, content: str | bytes) -> None:
    cache = tmp_path / "cache"
    first = measure_all([task(tmp_path, "a")], cache, progress=False)
    (entry,) = cache.glob("*.json")
    entry.write_bytes(content if isinstance(content, bytes) else content.encode())
    second = measure_all([task(tmp_path, "a")], cache, progress=False)
    assert (first[0].values, second[0].cached) == (second[0].values, False)
    assert measure_all([task(tmp_path, "a")], cache, progress=False)[0].cached


def geometry(origin: Any = (0, 0, 0), degrees: float = 0.0, **changes: Any) -> Geometry:
    angle = math.radians(degrees)
    turned = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    made = Geometry((10, 20, 30), (2.0, 1.0, 1.0), np.array(origin, float), np.array(turned))
    return replace(made, **changes)


R, P, M = Path("r.nii.gz"), Path("p.nii.gz"), Path("image.nii.gz")


@pytest.mark.parametrize("there", [geometry((0.05, 0, 0)), geometry((0, 0, 1.9)), geometry(degrees=0.5)])
def test_a_reference_slightly_off_its_image_is_measured_by_index(there: Geometry) -> None:
    note = check_geometry((R, there), (P, geometry()), (M, geometry()))
    assert note.startswith("r.nii.gz: has ")
    assert "as its image image.nii.gz and the prediction have" in note
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has .* --images shows it"):
        check_geometry((R, there), (P, geometry()), None)
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has"):  # here the prediction is the odd one
        check_geometry((R, geometry()), (P, there), (M, geometry()))
    with pytest.raises(ValueError, match="Neither has the geometry of image"):
        check_geometry((R, there), (P, geometry()), (M, geometry((9, 9, 9))))


@pytest.mark.parametrize(
    "there",
    [
        geometry((40, 0, 0)),
        geometry(degrees=90),
        geometry(direction=np.diag([-1.0, -1.0, 1.0])),
        geometry(spacing_mm=(2.0, 1.0, 1.01)),
        geometry(shape=(9, 20, 30)),
        geometry(origin=None, direction=None),
        geometry(origin=np.zeros(2), direction=np.eye(2)),
    ],
)
def test_other_places_are_refused_with_the_odd_file(there: Geometry) -> None:
    with pytest.raises(ValueError, match=r"^r\.nii\.gz: has .* Correct the reference's header"):
        check_geometry((R, there), (P, geometry()), (M, geometry()))
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has"):
        check_geometry((R, geometry()), (P, there), None)


def test_rounded_headers_are_the_same_place() -> None:
    assert check_geometry((R, geometry((1e-4, 0, 0))), (P, geometry()), None) == ""


@pytest.mark.parametrize("reader", [SimpleITKIO, NibabelIO])
def test_geometry_of_nnunets_readers(tmp_path: Path, reader: Any) -> None:
    write_volume(tmp_path / "a.nii.gz", blobs(0))
    labels, properties = read_segmentation(tmp_path / "a.nii.gz", reader)
    assert labels.dtype == np.uint8
    found = Geometry.of(labels.shape, properties)
    assert found.spacing_mm == pytest.approx((2.5, 1.0, 0.5))
    assert found.direction is not None
    assert np.abs(found.direction) == pytest.approx(np.eye(3))
    assert found.origin is not None
    assert np.abs(found.origin) == pytest.approx([3.0, 4.0, 5.5])


def test_several_channels_are_no_segmentation(tmp_path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.uint8)), str(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match=r"a\.nii\.gz: has 2 channels"):
        read_segmentation(tmp_path / "a.nii.gz", SimpleITKIO)


def test_a_name_in_another_encoding_is_refused_before_itk_ends_the_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"f\?r\.nii\.gz: the file's name is not valid.*PYTHONUTF8=1"):
        read_segmentation(tmp_path / os.fsdecode(b"f\xfcr.nii.gz"), SimpleITKIO)
