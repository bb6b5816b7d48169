"""The authors' loss against their formula written out; values on real logits are in tests/parity."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.training.loss import MASAMLoss


def test_hand_computed():
    """Two voxels, two classes, probabilities 3/4 and 1/4 for the true and the other class."""
    logits = torch.log(torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]))  # (1, 2, 2)
    target = torch.tensor([[[0, 1]]])
    cross_entropy, dice = MASAMLoss().terms(logits, target[:, 0])
    assert cross_entropy.item() == pytest.approx(-torch.log(torch.tensor(0.75)).item())
    # each class: overlap 0.75, squared probabilities 0.5625 + 0.0625, truth 1
    expected_dice = 1 - (2 * 0.75 + 1e-5) / (0.625 + 1 + 1e-5)
    assert dice.item() == pytest.approx(expected_dice)
    assert MASAMLoss()(logits, target).item() == pytest.approx(0.2 * cross_entropy.item() + 0.8 * expected_dice)


def test_ignored_voxels_count_in_neither_term():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 6, 6, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 4, 6, 6))
    target[:, :, :, :2] = 3
    loss = MASAMLoss(ignore_label=3)(logits, target)
    cropped = MASAMLoss()(logits[:, :, :, 2:], target[:, :, :, 2:])
    torch.testing.assert_close(loss, cropped)
    loss.backward()
    assert (logits.grad[:, :, :, :2] == 0).all()


@pytest.mark.parametrize("shape", [(2, 3, 2, 4, 4), (2, 3, 4, 4), (3, 3, 5)])
@pytest.mark.parametrize("ignore_label", [None, 3])
def test_gradient_is_that_of_the_value(shape, ignore_label):
    torch.manual_seed(0)
    logits = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3 if ignore_label is None else 4, (shape[0], 1, *shape[2:]))
    assert torch.autograd.gradcheck(lambda x: MASAMLoss(ignore_label=ignore_label).terms(x, target[:, 0]), logits)


def test_a_batch_without_annotated_voxels_leaves_the_weights_alone():
    logits = torch.randn(1, 3, 2, 4, 4, requires_grad=True)
    loss = MASAMLoss(ignore_label=3)(logits, torch.full((1, 1, 2, 4, 4), 3))
    loss.backward()
    assert loss.isfinite()
    assert (logits.grad == 0).all()


def test_sums_do_not_stall_over_many_voxels():
    """More voxels than float32 can count one by one, all sure and right: nothing is left to lose."""
    logits = torch.tensor([20.0, -20.0]).view(1, 2, 1, 1, 1).expand(1, 2, 2, 4096, 2100)
    _, dice = MASAMLoss().terms(logits, torch.zeros(1, 2, 4096, 2100, dtype=torch.long))
    assert dice.item() == pytest.approx(0.0, abs=1e-6)
