"""The datasets of the tests of evaluation and of the converters."""

from tests.unit.datasets.conftest import _one_worker, btcv, folders, prostate6  # noqa: F401
from tests.unit.evaluation.conftest import dataset  # noqa: F401
