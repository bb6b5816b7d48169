"""Millimetres are refused in a file that two programs place differently."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.prompts.world import check_transforms

SFORM = np.array([[1.0, 0, 0, -20], [0, 1, 0, -15], [0, 0, 2, -10], [0, 0, 0, 1]])


def save(path, sform, qform, codes):
    image = nibabel.Nifti1Image(np.ones((20, 16, 8), np.uint8), SFORM)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    nibabel.save(image, path)
    return path


def turned(degrees):
    """The sform, turned about the first axis through the first voxel."""
    angle = np.deg2rad(degrees)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    result = rotation @ SFORM
    result[:3, 3] = SFORM[:3, 3]
    return result


@pytest.mark.parametrize(
    ("qform", "codes"),
    [(SFORM, (1, 1)), (turned(0.1), (1, 1)), (turned(90), (1, 0)), (turned(90), (0, 1)), (turned(0.1), (4, 2))],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_one_place(tmp_path, qform, codes, ending):
    check_transforms(save(tmp_path / f"a{ending}", SFORM, qform, codes))


@pytest.mark.parametrize(
    ("qform", "codes", "message"),
    [
        (turned(1), (2, 1), r"sform \(code 2\) and its qform \(code 1\) put the same voxel up to 0\.\d+ mm"),
        (SFORM @ np.diag([-1.0, 1, 1, 1]), (4, 1), "voxels, apart"),
        (SFORM, (0, 0), "has neither a valid sform nor a qform"),
    ],
)
def test_two_places_or_none(tmp_path, qform, codes, message):
    with pytest.raises(ValueError, match=rf"a\.nii\.gz: .*{message}"):
        check_transforms(save(tmp_path / "a.nii.gz", SFORM, qform, codes))


def test_every_command_with_millimetres_refuses_and_voxels_are_taken(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "c_0000.nii.gz", SFORM, turned(90), (2, 1))
    (tmp_path / "boxes.csv").write_text("case,x0,y0,z0,x1,y1,z1\nc,1,2,3,4,5,6\n")
    drawn = ["boxes", "drawn", "-i", str(tmp_path / "images"), "-o", str(tmp_path / "out")]
    table = ["--from", str(tmp_path / "boxes.csv"), "--coordinates"]
    for command in ([*drawn, *table, "ras"], [*drawn, *table, "lps"]):
        assert main(command) == 2
        assert "could mean either" in capsys.readouterr().err
    (tmp_path / "c.mrk.json").write_text(
        json.dumps({"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [2] * 3}]})
    )
    assert main([*drawn, "--from", str(tmp_path / "c.mrk.json")]) == 2
    assert "could mean either" in capsys.readouterr().err
    assert main([*drawn, *table, "voxel"]) == 0
