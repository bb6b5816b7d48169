"""What is read of nnU-Net's folders and ``dataset.json``."""

from __future__ import annotations

from nnunetv2_masam.nnunet_files import first_channel, foreground_labels


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
