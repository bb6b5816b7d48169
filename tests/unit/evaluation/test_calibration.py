"""Calibration by hand and compared with MONAI, bin edges included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nnunetv2_masam.evaluation.calibration import reliability


def test_by_hand() -> None:
    """Two bins: probabilities of 0.2 and 0.4 that come true once in four, one of 0.8 that always does."""
    probabilities = np.array([0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    member = np.array([False, False, False, True, True, True])
    found = reliability(probabilities, member, bins=2)
    np.testing.assert_allclose(found.probability, [0.3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.frequency, [0.25, 1.0])
    np.testing.assert_array_equal(found.counts, [4, 2])
    assert found.expected_error == pytest.approx((4 * 0.05 + 2 * 0.2) / 6, rel=1e-6)
    assert found.average_error == pytest.approx((0.05 + 0.2) / 2, rel=1e-6)
    assert found.maximum_error == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("bins", [1, 7, 10, 15, 20])
@pytest.mark.parametrize("edges", [False, True])
def test_against_monai(bins: int, edges: bool) -> None:
    """MONAI's own numbers, for probabilities on the edges of bins too."""
    calibration = pytest.importorskip("monai.metrics.calibration")
    random = np.random.default_rng(0)
    values = random.random((6, 7, 8)) if not edges else random.integers(0, bins + 1, (6, 7, 8)) / bins
    probabilities = values.astype(np.float32)
    member = random.random(probabilities.shape) < probabilities**2
    found = reliability(probabilities, member, bins=bins)
    pair = torch.from_numpy(probabilities)[None, None], torch.from_numpy(member)[None, None].float()
    theirs = [tensor[0, 0].numpy() for tensor in calibration.calibration_binning(*pair, num_bins=bins)]
    np.testing.assert_array_equal(found.counts, theirs[2])
    np.testing.assert_allclose(found.probability, theirs[0], rtol=1e-5)
    np.testing.assert_allclose(found.frequency, theirs[1], rtol=1e-5)
    for kind in ("expected", "average", "maximum"):
        metric = calibration.CalibrationErrorMetric(num_bins=bins, calibration_reduction=kind)
        metric(y_pred=pair[0], y=pair[1])
        assert getattr(found, f"{kind}_error") == pytest.approx(metric.aggregate().item(), rel=1e-4, abs=1e-7)


def test_voxels_under_the_ignore_label_do_not_count() -> None:
    probabilities, member = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[True, False], [True, True]])
    counted = np.array([[True, True], [False, False]])
    assert reliability(probabilities, member, counted).counts.sum() == 2
    assert reliability(probabilities, member, counted).expected_error == pytest.approx(0.1)


def test_half_precision_as_nnunet_saves_it() -> None:
    probabilities = np.array([0.25, 0.75, 1.0], np.float16)
    assert reliability(probabilities, np.array([False, True, True]), bins=4).counts.tolist() == [1, 0, 1, 1]


def test_nothing_to_judge() -> None:
    found = reliability(np.zeros(0), np.zeros(0, bool))
    assert all(math.isnan(error) for error in (found.expected_error, found.average_error, found.maximum_error))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected equal ones"):
        reliability(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"from -2 to 3; expected 0 to 1"):
        reliability(np.array([-2.0, 3.0]), np.zeros(2, bool))
    with pytest.raises(ValueError, match=r"expected 0 to 1"):
        reliability(np.array([np.nan, 0.5]), np.zeros(2, bool))
    with pytest.raises(ValueError, match=r"bins is 0"):
        reliability(np.zeros(3), np.zeros(3, bool), bins=0)
