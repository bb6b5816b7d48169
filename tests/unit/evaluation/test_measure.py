"""Measuring in several processes, what is remembered of it, and which files lie in the same place."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.measure import Measured, Pair, Protocol, measure, measure_all
from nnunetv2_masam.evaluation.segmentation import Geometry, check_geometry
from nnunetv2_masam.label_files import read_labels
from tests.unit.evaluation.conftest import blobs, degrade, write_volume
from tests.unit.evaluation.killed_reader import KilledReader

PARTS = (Structure("kidney", "1", (1,), (1,)), Structure("liver", "2", (2,), (2,)))


def pairs(folder: Path, *cases: str, reader: Any = SimpleITKIO) -> tuple[pd.DataFrame, dict[str, Protocol]]:
    """The table of cases, all of one model, and what to measure of it."""
    write_volume(folder / "reference.nii.gz", blobs(0))
    for case in cases:
        write_volume(folder / f"{case}.nii.gz", degrade(blobs(0), 1))
    rows = [("A", folder / "reference.nii.gz", folder / f"{case}.nii.gz", None) for case in cases]
    values = frozenset({0, 1, 2})
    protocol = Protocol(reader, PARTS, (2.0, 2.0), None, values, values)
    return pd.DataFrame(rows, columns=["model", "reference", "prediction", "image"]), {"A": protocol}


def test_a_killed_process_is_told_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    cases, protocols = pairs(tmp_path, "a", "b", "killer", reader=KilledReader)
    cache = tmp_path / "cache"

    def release() -> None:
        while not list(cache.glob("*.json")):
            time.sleep(0.05)
        (tmp_path / "done").touch()

    threading.Thread(target=release, daemon=True).start()
    with pytest.raises(ValueError, match=r"killed, probably because memory ran out, after \d of 3 .*remembered.*-np 1"):
        measure_all(cases, protocols, cache, processes=2, progress=False)
    kept = list(cache.glob("*.json"))
    assert kept
    again = measure_all(cases[:2], protocols, cache, processes=1, progress=False)
    row = cases.iloc[0]
    expected = measure(Pair(row["reference"], row["prediction"], None, replace(protocols["A"], reader=SimpleITKIO)))
    assert [result.values for result in again] == [expected.values] * 2
    for file in kept:
        assert json.loads(file.read_text())["values"] == expected.values


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Both workers wait in a reader when the command is killed, as by the kernel when memory runs out."""
    script = f"""
from pathlib import Path
from tests.unit.evaluation.killed_reader import WaitingReader
from tests.unit.evaluation.test_measure import pairs
from nnunetv2_masam.evaluation.measure import measure_all
if __name__ == "__main__":
    measure_all(*pairs(Path({str(tmp_path)!r}), "a", "b", reader=WaitingReader), None, processes=2, progress=False)
"""
    (tmp_path / "compare.py").write_text(script)
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, tmp_path / "compare.py"], env=os.environ | {"PYTHONPATH": str(root)})
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    workers = [int(file.stem) for file in tmp_path.glob("*.pid")]
    assert len(workers) == 2
    assert all(is_running(worker) for worker in workers)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert [worker for worker in workers if is_running(worker)] == []


def is_running(process: int) -> bool:
    """Whether there is such a process, and it is not one that only waits to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"values": null, "note": ""}', '{"values": {"kidney": {}, "liver": {}}, "note": ""}'),
        '{"values": {"kidney": {"Dice": "x"}, "liver": 1}, "note": ""}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_memory_is_measured_again(
    tmp_path: Path, content: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, protocols = pairs(tmp_path, "a")
    cache = tmp_path / "cache"
    first = measure_all(cases, protocols, cache, progress=False)
    (entry,) = cache.glob("*.json")
    good = entry.read_bytes()
    entry.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert measure_all(cases, protocols, cache, progress=False) == first
    assert entry.read_bytes() == good
    monkeypatch.setattr("nnunetv2_masam.evaluation.measure.measure", None)
    assert measure_all(cases, protocols, cache, progress=False) == first  # remembered


def test_what_an_image_decided_is_measured_again_with_another_image(tmp_path: Path) -> None:
    cases, protocols = pairs(tmp_path, "a")
    image, cache = tmp_path / "image.nii.gz", tmp_path / "cache"
    moved = sitk.ReadImage(str(tmp_path / "reference.nii.gz"))
    moved.SetOrigin((-3.4, 4.0, 5.5))
    sitk.WriteImage(moved, str(tmp_path / "reference.nii.gz"))
    cases["image"] = image
    write_volume(image, blobs(0))

    def found() -> Measured:
        return measure_all(cases, protocols, cache, progress=False)[0]

    with pytest.MonkeyPatch.context() as patch:
        first = found()
        patch.setattr("nnunetv2_masam.evaluation.measure.measure", None)
        assert first.note.startswith(str(tmp_path / "reference.nii.gz"))
        assert found() == first  # remembered
    sitk.WriteImage(moved, str(image))  # now the prediction is the odd one
    assert found().error.startswith(str(tmp_path / "a.nii.gz"))
    cases["image"] = None
    assert found().error.startswith(str(tmp_path / "a.nii.gz"))


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
        geometry(shape=(11, 20, 29)),
        geometry(origin=None, direction=None),
        geometry(origin=np.zeros(2), direction=np.eye(2)),
    ],
)
def test_other_places_are_refused_with_the_odd_file(there: Geometry) -> None:
    with pytest.raises(ValueError, match=r"^r\.nii\.gz: has .* Correct the reference's header"):
        check_geometry((R, there), (P, geometry()), (M, geometry()))
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has"):
        check_geometry((R, geometry()), (P, there), None)


def test_a_reference_that_is_cut_to_a_part_of_the_voxels() -> None:
    """3D Slicer saves a segmentation no larger than its segments."""
    turned = geometry(degrees=30)
    assert turned.direction is not None
    first = np.array([3.0, 2.0, 4.0]) * (1.0, 1.0, 2.0)  # x, y, z; in mm
    part = replace(turned, shape=(5, 6, 7), origin=turned.direction @ first)
    for image in (None, (M, turned)):
        with pytest.raises(
            ValueError, match=r"^r\.nii\.gz: is cut to a part of the voxels of the prediction p\.nii\.gz"
        ):
            check_geometry((R, part), (P, turned), image)
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has shape"):  # here the prediction is the odd one
        check_geometry((R, part), (P, turned), (M, part))
    moved = replace(part, origin=turned.direction @ (first + 0.2))
    longer = replace(part, shape=(7, 6, 7))
    for other in (moved, longer, turned):
        assert not other.is_part_of(replace(turned, shape=(10, 20, 29)))
    with pytest.raises(ValueError, match=r"^p\.nii\.gz: has shape"):
        check_geometry((R, moved), (P, turned), None)


def test_rounded_headers_are_the_same_place() -> None:
    assert check_geometry((R, geometry((1e-4, 0, 0))), (P, geometry()), None) == ""


@pytest.mark.parametrize("reader", [SimpleITKIO, NibabelIO])
def test_geometry_of_nnunets_readers(tmp_path: Path, reader: Any) -> None:
    write_volume(tmp_path / "a.nii.gz", blobs(0))
    file = read_labels(tmp_path / "a.nii.gz", reader)
    assert file.labels.dtype == np.uint8
    found = Geometry.of(file.labels.shape, file.properties)
    assert found.spacing_mm == pytest.approx((2.5, 1.0, 0.5))
    assert found.direction is not None
    assert np.abs(found.direction) == pytest.approx(np.eye(3))
    assert found.origin is not None
    assert np.abs(found.origin) == pytest.approx([3.0, 4.0, 5.5])
