"""Images are written whole or refused: SimpleITK itself is silent about a NIfTI file that a full disk cut off."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.files import atomic_folder
from nnunetv2_masam.images import find_reader, read_image, unreadable, write_image

IMAGE = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (5, 20, 30)).astype(np.int16))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_what_is_written_is_read(tmp_path, ending):
    write_image(IMAGE, tmp_path / f"a{ending}")
    assert np.array_equal(*map(sitk.GetArrayFromImage, (read_image(tmp_path / f"a{ending}"), IMAGE)))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("kept", [0, 100, 400, 1000])
def test_a_file_that_was_cut_off_is_a_full_disk(tmp_path, monkeypatch, ending, kept):
    write = sitk.WriteImage

    def write_part(image: sitk.Image, name: str, **options: bool) -> None:
        write(image, name, **options)
        with open(name, "rb+") as file:
            file.truncate(kept)

    monkeypatch.setattr(sitk, "WriteImage", write_part)
    with pytest.raises(OSError, match=r"could not be written, the disk"), atomic_folder(tmp_path / "new") as folder:
        write_image(IMAGE, folder / f"a{ending}")
    assert list(tmp_path.iterdir()) == []


def test_unreadable(tmp_path):
    (tmp_path / "a.nii.gz").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.nii\.gz: cannot be read as an image"):
        read_image(tmp_path / "a.nii.gz")


def test_errors_without_text_are_named_by_their_type(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(" ")

    monkeypatch.setattr(sitk, "ReadImage", fail)
    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(ValueError, match=r"a\.mha: cannot be read as an image \(RuntimeError\)"):
        read_image(tmp_path / "a.mha")
    with pytest.raises(OSError, match=r"a\.mha: could not be written \(RuntimeError\)"):
        write_image(IMAGE, tmp_path / "a.mha")
    assert str(unreadable(tmp_path, KeyError())) == f"{tmp_path}: cannot be read (KeyError)"
    assert str(unreadable(tmp_path, OSError("first\nlast\n"))) == f"{tmp_path}: cannot be read (last)"


def test_reader_of_the_plans_else_of_the_example(tmp_path, capsys):
    (tmp_path / "a.nii.gz").write_text("no image")
    described = {"file_ending": ".nii.gz"}
    assert find_reader(described, {"image_reader_writer": "NibabelIO"}, tmp_path / "a.nii.gz").__name__ == "NibabelIO"
    with pytest.raises(ValueError, match=r"a\.nii\.gz: nnU-Net has no reader for it \("):
        find_reader(described, None, tmp_path / "a.nii.gz")
    assert "Traceback" not in capsys.readouterr().err
    write_image(IMAGE, tmp_path / "a.nii.gz")
    assert find_reader(described, {}, tmp_path / "a.nii.gz").__name__ == "SimpleITKIO"


def test_an_error_of_simpleitk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"a\.mha: could not be written \("):
        write_image(IMAGE, tmp_path / "missing" / "a.mha")


def test_an_image_of_one_real_number_per_voxel(tmp_path):
    sitk.WriteImage(sitk.Image([4, 3, 2, 1], sitk.sitkFloat32), str(tmp_path / "a.nii.gz"))
    assert read_image(tmp_path / "a.nii.gz").GetSize() == (4, 3, 2)
    for kind, what in ((sitk.sitkVectorFloat32, "2 values per voxel"), (sitk.sitkComplexFloat64, "(complex|2 values)")):
        components = [2] if kind == sitk.sitkVectorFloat32 else []
        sitk.WriteImage(sitk.Image([4, 3, 2], kind, *components), str(tmp_path / "b.mha"))
        with pytest.raises(ValueError, match=rf"b\.mha: has {what}"):
            read_image(tmp_path / "b.mha")
    sitk.WriteImage(sitk.Image([4, 3, 2, 5], sitk.sitkFloat32), str(tmp_path / "c.nii.gz"))
    with pytest.raises(ValueError, match=r"c\.nii\.gz: has 4 x 3 x 2 x 5 voxels, as in a series of time points"):
        read_image(tmp_path / "c.nii.gz")


def test_a_sheared_volume_is_refused_with_the_remedy(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.2
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 3, 2), np.uint8), affine), tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=r"a\.nii\.gz: cannot be read .*orthonormal.*\. Resample it to axes at right"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("size", [(40000, 2, 1), (2, 1, 33000)])
def test_an_axis_that_nifti_has_no_number_for(tmp_path, size):
    with pytest.raises(
        ValueError, match=r"^a\.nii\.gz: the image has \d+ x \d+ x \d+ voxels, expected at most 32767 along"
    ):
        write_image(sitk.Image(*size, sitk.sitkUInt8), tmp_path / "a.nii.gz")
    write_image(sitk.Image(*size, sitk.sitkUInt8), tmp_path / "a.nrrd")
    assert read_image(tmp_path / "a.nrrd").GetSize() == size
