"""Names of nnU-Net's datasets."""

from __future__ import annotations

import pytest

from nnunetv2_masam.nnunet_files import dataset_number, split_dataset_name


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
