"""From frames to an nnU-Net dataset and back, by the commands, with nnU-Net's own checks and planner in between."""

from __future__ import annotations

import json
import multiprocessing.dummy
import shutil

import numpy as np
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

from nnunetv2_masam.cli import main
from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.video.cases import read_volume, write_volume
from tests.video_files import COLOURS, draw, write_endovis18, write_video


@pytest.fixture
def nnunet(tmp_path, monkeypatch):
    """Empty folders of nnU-Net."""
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def coloured(tmp_path):
    source = tmp_path / "moving shapes"
    for n, count in enumerate((7, 5, 4)):
        write_video(source / f"s{n}", count, size=(64, 80), seed=n, values=tuple(COLOURS.values()))
    (source / "labels.json").write_text(json.dumps({name: list(colour) for name, colour in COLOURS.items()}))
    return source


def pictures(folder):
    return {path.relative_to(folder): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


def assert_equal_masks(written, source, sequences):
    originals = {key: array for key, array in pictures(source).items() if "masks" in key.parts}
    expected = {f"{key.parts[0]}/{key.name}": array for key, array in originals.items() if key.parts[0] in sequences}
    found = {str(key): array for key, array in pictures(written).items()}
    assert set(found) == set(expected)
    for key, array in found.items():
        assert np.array_equal(array, expected[key]), key


def test_masks_come_back_through_nnunet(nnunet, coloured, capsys, monkeypatch):
    # nnU-Net's pools as threads: new processes would import torch each
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: multiprocessing.dummy)
    assert main(["convert", "video", str(coloured), "-d", "7", "--name", "Shapes", "--max-frames", "4"]) == 0
    said = capsys.readouterr().out
    assert "s0: 7 frames in 2 cases, training" in said
    assert "nnUNetv2_plan_and_preprocess -d 7" in said
    dataset = nnunet / "raw" / "Dataset007_Shapes"
    cases = [f"s{n}_part{part:02d}" for n, parts in enumerate((2, 2, 1)) for part in range(1, parts + 1)]
    assert sorted(p.name for p in (dataset / "labelsTr").iterdir()) == [f"{case}.nii.gz" for case in cases]

    verify_dataset_integrity(str(dataset), num_processes=1)
    extractor = DatasetFingerprintExtractor(7, num_processes=1)
    extractor.num_foreground_voxels_for_intensitystats = 1e4  # they do not matter here, and 1e8 take long
    extractor.run()
    plans = ExperimentPlanner(7).plan_experiment()
    assert plans["transpose_forward"] == [0, 1, 2]
    fullres = plans["configurations"]["3d_fullres"]
    assert fullres["spacing"] == plans["original_median_spacing_after_transp"] == [5, 1, 1]
    assert fullres["normalization_schemes"] == ["RGBTo01Normalization"] * 3
    assert plan_configuration(fullres, PlanningRules(vit="vit_t"), 3)["patch_size"] == [5, 64, 80]
    copied = json.loads((nnunet / "preprocessed" / dataset.name / "splits_final.json").read_text())
    assert sorted(sorted(fold["val"]) for fold in copied) == [cases[:2], cases[2:4], cases[4:]]

    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    files = [str(dataset / "imagesTr" / f"s0_part02_{channel:04d}.nii.gz") for channel in range(3)]
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, _ = preprocessor.run_case(files, None, manager, configuration, str(dataset / "dataset.json"))
    frames = np.stack([draw(n, (64, 80), 0)[0] for n in (4, 5, 6)])
    assert np.array_equal(data, frames.transpose(3, 0, 1, 2).astype(np.float32) / np.float32(255))

    assert main(["frames", "-d", "7", "-i", str(dataset / "labelsTr"), "-o", str(nnunet / "masks")]) == 0
    assert_equal_masks(nnunet / "masks", coloured, {"s0", "s1", "s2"})
    scored = nnunet / "scores"
    assert main(["video-scores", "-d", "7", "-i", str(dataset / "labelsTr"), "-o", str(scored)]) == 0
    report = json.loads((scored / "scores.json").read_text())
    assert report["frames"] == 16
    assert all(values == {"iou": 1, "dice": 1} for values in report["overall"].values())
    assert (scored / "scores.md").read_text() == capsys.readouterr().out.split("masks\n")[-1]


def test_scores_of_several_folders_and_what_is_refused(nnunet, coloured, capsys):
    main(["convert", "video", str(coloured), "-d", "1", "--test", "s1"])
    dataset = next((nnunet / "raw").iterdir())
    assert dataset.name == "Dataset001_moving shapes"
    assert {p.name[:2] for p in (dataset / "labelsTs").iterdir()} == {"s1"}
    for fold, case in enumerate(("s0_part01", "s2_part01")):
        (nnunet / f"fold_{fold}").mkdir()
        shutil.copy(dataset / "labelsTr" / f"{case}.nii.gz", nnunet / f"fold_{fold}")
    capsys.readouterr()
    assert main(["video-scores", "-d", "1", "-i", str(nnunet / "fold_0"), str(nnunet / "fold_1")]) == 0
    assert "| s2 | 4 | 100.00 | 100.00 |" in capsys.readouterr().out
    assert main(["video-scores", "-d", "1", "-i", str(nnunet / "fold_0"), str(nnunet / "fold_0")]) == 2
    assert "s0_part01 is in" in capsys.readouterr().err
    assert main(["video-scores", "-d", "1", "-i", str(nnunet / "fold_0"), "-r", str(dataset / "labelsTs")]) == 2
    assert "no references for s0_part01" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["convert", "video", str(coloured), "-d", "2", "--size", "0", "8"])
    assert "--size: got '0', expected a whole number of at least 1" in capsys.readouterr().err
    assert main(["convert", "video", str(coloured), "-d", "1"]) == 2
    assert "taken by Dataset001_moving shapes" in capsys.readouterr().err


def test_reduced_videos_say_so(nnunet, coloured, capsys):
    assert main(["convert", "video", str(coloured), "-d", "7", "--name", "Small", "--longest-side", "40"]) == 0
    said = capsys.readouterr().out
    assert "frames of 64 x 80 pixels are scaled to 32 x 40" in said
    assert "--original-size keeps the size" in said
    write_video(nnunet / "new" / "v", 2, size=(64, 80), values=None)
    assert main(["convert", "frames", str(nnunet / "new"), "-o", str(nnunet / "in"), "-d", "7"]) == 0
    assert read_volume(nnunet / "in" / "v_part01_0000.nii.gz").shape == (2, 32, 40)  # as the dataset's


def test_new_videos_are_predicted_with_the_classes_of_the_model(nnunet, coloured):
    main(["convert", "video", str(coloured), "-d", "7", "--name", "Shapes"])
    write_video(nnunet / "new" / "v", 6, size=(64, 80), seed=9, values=None)
    inputs, predictions = nnunet / "inputs", nnunet / "predictions"
    assert main(["convert", "frames", str(nnunet / "new"), "-o", str(inputs), "-d", "7", "--max-frames", "4"]) == 0
    names = sorted(path.name for path in inputs.iterdir())
    assert names == ["frames.json", *(f"v_part0{part}_000{channel}.nii.gz" for part in (1, 2) for channel in range(3))]
    predictions.mkdir()
    for part in ("v_part01", "v_part02"):
        shutil.copy(
            nnunet / "raw" / "Dataset007_Shapes" / "labelsTr" / "s2_part01.nii.gz", predictions / f"{part}.nii.gz"
        )
    args = ["frames", "-m", str(inputs), "-i", str(predictions), "-o"]
    assert main([*args, str(nnunet / "masks")]) == 2  # four frames, but the parts have three
    shutil.rmtree(inputs)
    assert main(["convert", "frames", str(nnunet / "new"), "-o", str(inputs), "-d", "7", "--max-frames", "3"]) == 0
    for part in ("v_part01", "v_part02"):
        _cut(predictions / f"{part}.nii.gz", 3)
    assert main([*args, str(nnunet / "masks")]) == 0
    found = pictures(nnunet / "masks")
    assert [str(path) for path in found] == [f"v/frame{n}.png" for n in range(6)]
    expected = np.array(list(COLOURS.values()), np.uint8)[draw(1, (64, 80), 2)[1]]
    assert np.array_equal(list(found.values())[1], expected)
    assert main([*args, str(nnunet / "ids"), "--ids"]) == 0
    assert np.array_equal(list(pictures(nnunet / "ids").values())[1], draw(1, (64, 80), 2)[1])


def _cut(path, frames):
    write_volume(path, read_volume(path)[:frames])


def test_endovis18_becomes_a_data_set_with_its_test_sequences(nnunet, capsys):
    write_endovis18(nnunet / "endovis18")
    assert main(["convert", "endovis18", str(nnunet / "endovis18"), "-d", "18", "--max-frames", "3"]) == 0
    dataset = nnunet / "raw" / "Dataset018_EndoVis18"
    assert "test_seq_1: 4 frames in 2 cases, test" in capsys.readouterr().out
    content = json.loads((dataset / "dataset.json").read_text())
    assert content["numTraining"] == len(list((dataset / "labelsTr").iterdir())) == 6
    assert list(content["labels"].items())[:2] == [("background", 0), ("instrument-shaft", 1)]
    assert len(content["labels"]) == 12
    assert sorted(p.name for p in (dataset / "labelsTs").iterdir()) == [f"test_seq_1_part0{n}.nii.gz" for n in (1, 2)]
    folds = json.loads((dataset / "splits_final.json").read_text())
    validated = [sorted({case.removesuffix("_part01").removesuffix("_part02") for case in f["val"]}) for f in folds]
    assert sorted(validated) == [["train_seq_1"], ["train_seq_10"], ["train_seq_2"]]
    assert main(["frames", "-d", "18", "-i", str(dataset / "labelsTs"), "-o", str(nnunet / "masks")]) == 0
    written = np.asarray(Image.open(nnunet / "masks" / "test_seq_1" / "frame003.png"))
    labels = nnunet / "endovis18" / "test_data" / "test_data" / "seq_1-2018Z-001" / "seq_1" / "labels"
    assert np.array_equal(written, np.asarray(Image.open(labels / "frame003.png")))


def test_stray_colours_stop_the_conversion_unless_they_are_background(nnunet, capsys):
    source = nnunet / "endovis18"
    write_endovis18(source)
    stray = source / "miccai_challenge_release_3" / "seq_10" / "labels" / "frame001.png"
    image = Image.open(stray)
    image.putpixel((0, 0), (3, 3, 3))
    image.save(stray)
    assert main(["convert", "endovis18", str(source), "-d", "18"]) == 2
    assert "1 pixels hold colours that no class has, mostly [3, 3, 3]" in capsys.readouterr().err
    assert list((nnunet / "raw").iterdir()) == []
    assert main(["convert", "endovis18", str(source), "-d", "18", "--unlisted-as-background"]) == 0
    assert "1 pixels had values that no class has" in capsys.readouterr().out


def test_masks_of_a_model_without_its_data_set_hold_labels(nnunet):
    write_video(nnunet / "new", 2, values=None)
    assert main(["convert", "frames", str(nnunet / "new" / "frames"), "-o", str(nnunet / "inputs")]) == 0
    (nnunet / "predictions").mkdir()
    labels = np.stack([draw(n, (24, 32))[1] for n in range(2)])
    write_volume(nnunet / "predictions" / "frames_part01.nii.gz", labels)
    paths = ["-m", str(nnunet / "inputs"), "-i", str(nnunet / "predictions"), "-o", str(nnunet / "masks")]
    assert main(["frames", *paths]) == 0
    assert np.array_equal(np.asarray(Image.open(nnunet / "masks" / "frames" / "frame1.png")), labels[1])


def test_turned_frames_are_said_and_fit_masks_that_are_upright(nnunet, capsys):
    source = nnunet / "turned"
    for name in ("s1", "s2"):
        write_video(source / name, 3)
        for path in (source / name / "frames").iterdir():
            exif = Image.Exif()
            exif[0x0112] = 6  # stored a quarter turn to the left of what people see
            Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert main(["convert", "video", str(source), "-d", "77", "--name", "Turned"]) == 0
    assert "s1: 3 frames are turned upright as their EXIF says" in capsys.readouterr().out
    for path in (source / "s1" / "masks").iterdir():
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    assert main(["convert", "video", str(source), "-d", "78", "--name", "Lying"]) == 2
    assert "frames are turned upright as their EXIF says, so turn the masks too" in capsys.readouterr().err
