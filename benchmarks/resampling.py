"""Sign-flip tests and BCa intervals of `compare` beside SciPy's vectorised forms.

    python benchmarks/resampling.py      # half a minute on an idle core

A comparison of 81 labels, 5 metrics and two models has 405 rows of differences; 15 rows are those of three labels. All
take 9999 resamples. Writes ``benchmarks/results/resampling-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from nnunetv2_masam.evaluation.paired_tests import PERMUTATIONS, bca_interval, sign_flip_p

RESULT = Path(__file__).resolve().parent / "results" / "resampling-cpu.json"
SIZES = ((15, 32), (405, 32), (405, 100))  # rows, cases


def seconds(program: Callable[[], object]) -> float:
    """The wall time of a program."""
    start = time.perf_counter()
    program()
    return round(time.perf_counter() - start, 3)


def measured(rows: int, cases: int, seed: int) -> dict[str, float]:
    """Seconds of each way for differences without zeros or gaps, which SciPy needs."""
    differences = np.random.default_rng(seed).normal(0.3, 1, (rows, cases))
    options = {"axis": 1, "n_resamples": PERMUTATIONS, "batch": 500, "rng": seed}
    return {
        "sign flips, compare": seconds(lambda: [sign_flip_p(row, seed) for row in differences]),
        "sign flips, SciPy": seconds(
            lambda: stats.permutation_test((differences,), np.mean, permutation_type="samples", **options)
        ),
        "BCa, compare": seconds(lambda: [bca_interval(row, seed) for row in differences]),
        "BCa, SciPy": seconds(lambda: stats.bootstrap((differences,), np.mean, method="BCa", **options)),
    }


def main() -> None:
    """Measure and write."""
    from environment import describe_environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    result = {f"{rows} rows of {cases} cases": measured(rows, cases, seed) for rows, cases in SIZES}
    RESULT.write_text(json.dumps({"environment": describe_environment(), "seconds": result}, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
