"""The commands from a scanner's folder to DICOM SEG and back to labels that can be compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.dicom.labels import read_segmentation
from tests.dicom_files import phantom, values, write_series


def test_from_the_scanner_to_seg_and_back(make_case, tmp_path, monkeypatch, capsys):
    """The examples of the help texts, in their order."""
    from tests.unit.cli.test_help import PARSERS, examples

    case = make_case("oblique")
    monkeypatch.chdir(tmp_path)
    Path("source").rename("scanner")
    write_series(Path("scanner"), values(phantom())[:2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    shutil.rmtree("images")
    for name in ("import", "seg"):
        for words in examples(PARSERS[f"nnUNetv2_masam dicom {name}"]):
            assert main(words) == 0, words
    printed = capsys.readouterr().out.splitlines()
    assert f"{case.name}_0000.nii.gz: imported" in printed
    assert any(line.endswith("not imported: the series is a localiser") for line in printed)
    assert f"segs/{case.name}.dcm" in printed
    assert "warning: private codes for widget; write others into segs/segments.csv" in printed
    prediction = sitk.ReadImage(f"predictions/{case.name}.nii.gz")
    back, names = read_segmentation(Path(f"segs/{case.name}.dcm"), prediction)
    assert names == {1: "liver", 2: "tumor", 3: "widget"}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(prediction))
    assert pydicom.dcmread(f"segs_2/{case.name}.dcm").SegmentationType == "LABELMAP"


def test_errors_are_one_message(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["dicom", "import", str(tmp_path / "empty"), "-o", str(tmp_path / "images")]) == 2
    assert "has no DICOM image" in capsys.readouterr().err


def test_without_the_extra_the_message_has_the_command_that_installs_it(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['pydicom'] = None\n"
        "from nnunetv2_masam.cli import main\n"
        f"sys.exit(main(['dicom', 'import', {str(tmp_path)!r}, '-o', {str(tmp_path / 'images')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "nnunetv2-masam[dicom]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_help_needs_neither_pydicom_nor_highdicom():
    code = (
        "import sys\n"
        "from nnunetv2_masam.cli import build_parser\n"
        "from nnunetv2_masam.cli.subcommands import all_parsers\n"
        "texts = [parser.format_help() for parser in all_parsers(build_parser())]\n"
        "print(sorted({'pydicom', 'highdicom', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
