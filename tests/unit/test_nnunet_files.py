"""Names of nnU-Net's datasets, and what is read of its folders and of ``dataset.json``."""

from __future__ import annotations

import pytest

from nnunetv2_masam.nnunet_files import dataset_number, first_channel, foreground_labels, split_dataset_name


def test_numbers_and_names():
    assert dataset_number("Dataset004_Hippocampus") == 4
    assert split_dataset_name("Dataset107_Boxes_of_masks", "-o") == (107, "Boxes_of_masks")
    assert dataset_number("Dataset120_A&B") == 120  # a name that nnU-Net takes, and we do not write


@pytest.mark.parametrize(
    "name", ["Dataset4_A", "Dataset000_A", "Dataset1234_A", "dataset004_A", "Dataset004_", "Pancreas"]
)
def test_other_forms(name):
    for function in (dataset_number, split_dataset_name):
        with pytest.raises(ValueError, match=r"-o: got .*, expected DatasetXXX_Name with three digits"):
            function(name, "-o")


def test_foreground_labels_are_all_but_background_and_ignore():
    labels = {"background": 0, "whole": [1, 2], "core": "2", "ignore": 3}
    assert foreground_labels({"labels": labels}) == {"whole": [1, 2], "core": "2"}


def test_first_channel_is_there_or_none(tmp_path):
    (tmp_path / "a_0000.nii.gz").touch()
    (tmp_path / "b_0001.nii.gz").touch()
    (tmp_path / "c_0000.nii.gz").mkdir()
    assert first_channel(tmp_path, "a", ".nii.gz") == tmp_path / "a_0000.nii.gz"
    assert [first_channel(tmp_path, case, ".nii.gz") for case in "bc"] == [None, None]
    assert first_channel(None, "a", ".nii.gz") is None
