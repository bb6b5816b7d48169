"""nnU-Net's own training transforms leave the box channel binary and where the box is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_masam.training.box_augmentation import BoxApart, BoxBack


def pipeline(jitter_vox: tuple[float, float] = (0.0, 0.0), regions: list | None = None) -> ComposeTransforms:
    theirs = nnUNetTrainer.get_training_transforms(
        (5, 24, 28), (-0.5, 0.5), None, (0, 1, 2), True, use_mask_for_norm=[True, False], regions=regions
    )
    return ComposeTransforms([BoxApart(), theirs, BoxBack(jitter_vox)])


def sample() -> dict[str, torch.Tensor]:
    """A box channel that is the segmentation itself, with the soft edges of resampling."""
    segmentation = torch.zeros(1, 5, 40, 40, dtype=torch.int16)
    segmentation[:, 1:4, 14:26, 12:28] = 1
    box = segmentation.float()
    box[:, 1:4, 13] = 0.3 * box[:, 1:4, 14]
    box[:, 1:4, 14] *= 1.1
    return {"image": torch.cat([torch.randn(1, 5, 40, 40), box]), "segmentation": segmentation}


@pytest.mark.parametrize("regions", [None, [1, (1, 2)]])
def test_the_box_moves_with_the_labels_and_stays_binary(regions):
    torch.manual_seed(0)
    np.random.seed(0)
    transforms, changed = pipeline(regions=regions), 0
    for _ in range(40):
        out = transforms(**sample())
        box, labels = out["image"][1], out["segmentation"][0].float()
        assert out["image"].shape == (2, 5, 24, 28)
        assert set(box.unique().tolist()) <= {0.0, 1.0}
        assert "regression_target" not in out
        # interpolated by value and by label: equal but for voxels on the edge
        assert (box != labels).float().mean() < 0.02
        changed += not torch.equal(box, sample()["image"][1, :, 8:32, 6:34].gt(0.5).float())
    assert changed > 10  # mirrored, scaled or rotated


def test_jitter_is_fresh_bounded_and_repeats_with_the_seed():
    data = {"image": sample()["image"][:1], "regression_target": sample()["image"][1:]}

    def faces() -> list[int]:
        channel = BoxBack((3.0, 1.0)).apply(data)["image"][1]
        assert channel.flatten(1).any(dim=1).tolist() == [False, True, True, True, False]
        rows, columns = (channel.amax(dim=axes).nonzero() for axes in ((0, 2), (0, 1)))
        assert channel.sum() == 3 * len(rows) * len(columns)  # a filled rectangle
        return [int(n) for n in (rows[0], rows[-1], columns[0], columns[-1])]

    np.random.seed(3)
    first = [faces() for _ in range(20)]
    np.random.seed(3)
    assert [faces() for _ in range(20)] == first
    moves = np.array(first) - (14, 25, 12, 27)
    assert len({tuple(row) for row in moves}) > 10
    assert np.abs(moves).max(axis=0).tolist() == [3, 3, 1, 1]


def test_no_box_stays_no_box():
    data = {"image": torch.randn(1, 24, 28), "regression_target": torch.zeros(1, 24, 28)}
    assert not BoxBack((3.0, 3.0)).apply(data)["image"][1].any()


def test_2d_jitter():
    target = torch.zeros(1, 24, 28)
    target[:, 10:14, 3:9] = 1
    np.random.seed(0)
    out = BoxBack((2.0, 2.0)).apply({"image": torch.randn(1, 24, 28), "regression_target": target})["image"]
    assert out.shape == (2, 24, 28)
    assert out[1].any()
