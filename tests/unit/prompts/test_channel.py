"""Data sets and prediction inputs with a box channel, as files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization.default_normalization_schemes import NoNormalization
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

from nnunetv2_masam.box_record import CHANNEL_NAME, add_box_channel, check_box_channel
from nnunetv2_masam.cli import main
from nnunetv2_masam.prompts.channel import images_by_case
from tests.host.dataset import write_dataset
from tests.nnunet import quick
from tests.scaled_labels import scale_labels


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnUNet_raw with one dataset of two channels, whose last three columns are zero (no image)."""
    folder = tmp_path / "raw"
    source = write_dataset(folder, "Dataset901_Balls", cases=2, channels=2)
    for path in (*source.glob("images*/*.nii.gz"),):
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        array[:, :, -3:] = 0
        blanked = sitk.GetImageFromArray(array)
        blanked.CopyInformation(image)
        sitk.WriteImage(blanked, str(path))
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return folder


def test_a_data_set_that_nnunet_accepts(raw, capsys):
    assert main(["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "core", "--margin-mm", "3"]) == 0
    assert "4 boxes in 4 cases" in capsys.readouterr().out
    source, written = raw / "Dataset901_Balls", raw / "Dataset902_Boxes"
    with quick():
        verify_dataset_integrity(str(written), num_processes=1)
    dataset_json = json.loads((written / "dataset.json").read_text())
    assert dataset_json["channel_names"] == {"0": "MRI", "1": "MRI", "2": "noNorm"}
    assert dataset_json["masam_box_channel"] == 2
    assert dataset_json["masam_boxes"]["margin_mm"] == 3
    check_box_channel(dataset_json, "trainer")
    assert get_normalization_scheme(CHANNEL_NAME) is NoNormalization
    for part in ("Tr", "Ts"):
        for label in (source / f"labels{part}").iterdir():
            case = label.name.removesuffix(".nii.gz")
            core = np.argwhere(read(label) == 2)
            margin_vox = np.array([1, 3, 3])
            low, high = core.min(axis=0) - margin_vox, core.max(axis=0) + margin_vox
            expected = np.zeros(read(label).shape, np.uint8)
            expected[tuple(slice(max(a, 0), b + 1) for a, b in zip(low, high, strict=True))] = 1
            box = written / f"images{part}" / f"{case}_0002.nii.gz"
            assert np.array_equal(read(box), expected)
            assert sitk.ReadImage(str(box)).GetSpacing() == sitk.ReadImage(str(label)).GetSpacing()
            for name in (f"images{part}/{case}_0001.nii.gz", f"labels{part}/{label.name}"):
                assert os.path.samefile(source / name, written / name)


def test_a_data_set_without_cases_is_refused(raw, capsys):
    for image in (raw / "Dataset901_Balls" / "imagesTr").iterdir():
        image.unlink()
    assert main(["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "core"]) == 2
    assert "no training images in imagesTr" in capsys.readouterr().err


def test_the_box_moves_neither_the_crop_nor_the_mask_of_the_image(raw):
    """nnU-Net crops to where any channel is not zero; a box that reaches into nothing would widen that."""
    assert (
        main(["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "shell", "--margin-mm", "20"]) == 0
    )
    images = raw / "Dataset902_Boxes" / "imagesTr"
    channels = [read(images / f"caseTr0_000{i}.nii.gz").astype(np.float32) for i in range(3)]
    assert channels[2][:, :, -4].any()
    assert not channels[2][:, :, -3:].any()
    _, without, bbox_without = crop_to_nonzero(np.stack(channels[:2]))
    _, with_box, bbox_with = crop_to_nonzero(np.stack(channels))
    assert bbox_with == bbox_without
    assert np.array_equal(with_box, without)


def test_cases_without_lesion_and_test_cases_without_reference(raw, capsys):
    source = raw / "Dataset901_Balls"
    label = sitk.ReadImage(str(source / "labelsTr" / "caseTr1.nii.gz"))
    sitk.WriteImage(label * 0, str(source / "labelsTr" / "caseTr1.nii.gz"))
    (source / "labelsTs" / "caseTs0.nii.gz").unlink()
    assert main(["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "core"]) == 0
    out = capsys.readouterr().out
    assert "1 cases without a box: caseTr1" in out
    assert "1 test cases without a reference left out: caseTs0" in out
    written = raw / "Dataset902_Boxes"
    assert not read(written / "imagesTr" / "caseTr1_0002.nii.gz").any()
    assert {path.name for path in (written / "labelsTs").iterdir()} == {"caseTs1.nii.gz"}


def test_inputs_from_references_and_from_a_file_are_the_same(raw, tmp_path):
    source = raw / "Dataset901_Balls"
    images, labels = source / "imagesTs", source / "labelsTs"
    arguments = ["boxes", "oracle", "-i", str(images), "-o", str(tmp_path / "oracle"), "--references", str(labels)]
    assert main([*arguments, "--label", "core"]) == 0
    rows = ["case,x0,y0,z0,x1,y1,z1"]
    for label in labels.iterdir():
        core = np.argwhere(read(label) == 2)[:, ::-1]
        rows.append(",".join(map(str, [label.name.removesuffix(".nii.gz"), *core.min(axis=0), *core.max(axis=0)])))
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    arguments = ["-i", str(images), "-o", str(tmp_path / "drawn"), "--from", str(tmp_path / "boxes.csv")]
    assert main(["boxes", "drawn", *arguments, "--coordinates", "voxel"]) == 0
    names = sorted(path.name for path in (tmp_path / "drawn").glob("*.nii.gz"))
    assert len(names) == 6
    for name in names:
        assert np.array_equal(read(tmp_path / "drawn" / name), read(tmp_path / "oracle" / name)), name
    assert json.loads((tmp_path / "oracle" / "masam_boxes.json").read_text())["source"] == "reference"
    assert json.loads((tmp_path / "drawn" / "masam_boxes.json").read_text())["source"] == "drawn"


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"caseTs0": []}, "no entry for caseTs1"),
        ({"caseTs0": [], "caseTs1": [], "caseTs7": []}, "no image in .* for caseTs7"),
        ({"caseTs0": [], "caseTs1": [[0, 0, 0, 9, 9, 10]]}, "caseTs1: .* is not inside the image"),
        ({"caseTs0": [], "caseTs1": [[34, 0, 0, 35, 9, 9]]}, "caseTs1: the image is zero everywhere in its boxes"),
    ],
)
def test_boxes_that_do_not_fit_the_images_are_refused_and_nothing_is_left(raw, tmp_path, capsys, boxes, message):
    rows = [[case, *box] for case, found in boxes.items() for box in found or [[""] * 6]]
    lines = ["case,x0,y0,z0,x1,y1,z1", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    images = raw / "Dataset901_Balls" / "imagesTs"
    arguments = ["-i", str(images), "-o", str(tmp_path / "inputs"), "--from", str(tmp_path / "boxes.csv")]
    assert main(["boxes", "drawn", *arguments, "--coordinates", "voxel"]) == 2
    with pytest.raises(ValueError, match=message):
        raise ValueError(capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "boxes.csv"}


def test_cases_of_other_channels_are_named_with_the_remedy(raw):
    images = raw / "Dataset901_Balls" / "imagesTs"
    (images / "caseTs1_0001.nii.gz").unlink()
    message = (
        "imagesTs: some cases have the channels 0000, 0001, .* missing: caseTs1_0001.nii.gz. Add these files, or move"
    )
    with pytest.raises(ValueError, match=message):
        images_by_case(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dataset -d 901 -o Boxes --label core", "expected DatasetXXX_Name"),
        ("dataset -d 901 -o Dataset905_../../x --label core", "Paths are not names"),
        ("dataset -d 901 -o Dataset901_Other --label core", "dataset number 901: taken by Dataset901_Balls"),
        ("dataset -d 901 -o Dataset902_Boxes --label tumour", "got tumour, the labels are shell, core"),
        ("dataset -d 999 -o Dataset902_Boxes --label core", "Could not find a dataset with the ID 999"),
    ],
)
def test_arguments_without_meaning_are_refused(raw, capsys, arguments, message):
    assert main(["boxes", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in raw.iterdir()} == {"Dataset901_Balls"}


@pytest.mark.parametrize(
    "arguments",
    [
        "dataset -d 901 -o Dataset902_Boxes",
        "drawn -i images -o inputs",
        "drawn -i images -o inputs --from b.csv --label core",
        "drawn -i images -o inputs --from b.csv --seed 7",
        "drawn -i images -o inputs --from b.csv --dataset-json dataset.json",
        "oracle -i images -o inputs --references labels",
        "oracle -i images -o inputs --references labels --label core --coordinates lps",
        "images -i images -o inputs",
        "-d 901 -o Dataset902_Boxes --label core",
        "dataset -d 901 -o D --margin-mm -1 --label a",
    ],
)
def test_arguments_that_the_parser_refuses(raw, capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(["boxes", *arguments.split()])
    assert "error:" in capsys.readouterr().err


def test_a_data_set_without_box_channel_is_refused_with_the_remedy():
    plain = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumour": 1}}
    with pytest.raises(ValueError, match="Write such a dataset with nnUNetv2_masam boxes"):
        check_box_channel(plain, "nnUNetTrainerMASAM_box")
    boxed = add_box_channel(plain, {})
    check_box_channel(boxed, "nnUNetTrainerMASAM_box")
    with pytest.raises(ValueError, match="channel 1 is a box channel already"):
        add_box_channel(boxed, {})


def test_scaled_labels_keep_their_boxes_and_are_written_rounded(raw, capsys):
    source = raw / "Dataset901_Balls" / "labelsTr" / "caseTr0.nii.gz"
    whole = read(source)
    scale_labels(source)
    assert not np.array_equal(read(source), whole)
    assert main(["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "shell"]) == 0
    out = capsys.readouterr().out
    assert "4 boxes in 4 cases" in out
    assert "caseTr0.nii.gz: " in out
    assert "were rounded" in out
    labels = raw / "Dataset902_Boxes" / "labelsTr"
    assert np.array_equal(read(labels / "caseTr0.nii.gz"), whole)
    assert os.path.samefile(labels / "caseTr1.nii.gz", source.with_name("caseTr1.nii.gz"))


def test_labels_that_dataset_json_lacks_and_channels_of_other_sizes_are_refused(raw, capsys):
    source = raw / "Dataset901_Balls"
    image = sitk.ReadImage(str(source / "imagesTs" / "caseTs0_0001.nii.gz"))
    sitk.WriteImage(image[:, :, :-1], str(source / "imagesTs" / "caseTs0_0001.nii.gz"))
    command = ["boxes", "dataset", "-d", "901", "-o", "Dataset902_Boxes", "--label", "core"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "caseTs0_0001.nii.gz: (" in error
    assert "caseTs0_0000.nii.gz has (" in error
    label = source / "labelsTr" / "caseTr1.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(label)) * 4, str(label))
    assert main(command) == 2
    assert "caseTr1.nii.gz: holds label values [4, 8], which dataset.json does not define" in capsys.readouterr().err
    assert {path.name for path in raw.iterdir()} == {"Dataset901_Balls"}
