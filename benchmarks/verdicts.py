"""How often `compare` claims a difference that is not there, and how often its intervals cover the true one.

    python benchmarks/verdicts.py      # about ten minutes on an idle core

Draws paired differences of many experiments whose true mean is known, and gives them to `differences`. All scenarios
but those called *shifted* have a true mean of 0, so that every claim on the mean is wrong:

* normal; heavy-tailed (Student's t with 3 degrees of freedom); tied (half of the differences 0, the others rounded).
* rare complete failures: a small gain in every case, and a loss of 0.6 in 5 or 10 % of them, which takes the gain away
  on average. A sample without a failure looks like a steady gain, so samples with and without one are counted apart.
* margins: a model that is worse by exactly the margin, or not at all; orders: true means that spread around 0; runs:
  trainings whose own luck has a quarter of the standard deviation of cases.
* folds: five models, whose own luck has a quarter of the standard deviation of cases. Wrong are claims about the
  methods; the pooled test only speaks of the five trained models.

Writes ``benchmarks/results/verdicts.json`` and the tables in ``docs/compare-reference.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunetv2_masam.evaluation.differences import METHODS, differences
from nnunetv2_masam.evaluation.margins import margin_claims
from nnunetv2_masam.evaluation.paired_tests import bca_interval, t_interval

BENCHMARKS = Path(__file__).resolve().parent
RESULT = BENCHMARKS / "results" / "verdicts.json"
PAGE = BENCHMARKS.parent / "docs" / "compare-reference.md"
START, END = "<!-- verdicts -->", "<!-- end of verdicts -->"
EXPERIMENTS = 2000
SIZES, FOLD_SIZES = (6, 10, 32, 100), (30, 100, 300)
FOLDS, FOLD_SD = 5, 0.25
LOSS, GAIN_SD = 0.6, 0.01
MARGIN, TRUTH_SD = 0.5, 0.5  # in standard deviations of cases
RUN_SIZES, RUN_CASES = (2, 3, 5), 32
SIMULATED = {
    "fold_sd": FOLD_SD,
    "folds": FOLDS,
    "loss": LOSS,
    "gain_sd": GAIN_SD,
    "margin": MARGIN,
    "truth_sd": TRUTH_SD,
}

Draw = Callable[[np.random.Generator, int], np.ndarray]


def tied(random: np.random.Generator, n: int) -> np.ndarray:
    """Half of the differences are 0, the others multiples of a half."""
    return np.where(random.random(n) < 0.5, 0.0, np.round(2 * random.normal(0, 1, n)) / 2)


def failures(rate: float) -> Draw:
    """A gain in every case that rare complete failures take away on average."""

    def draw(random: np.random.Generator, n: int) -> np.ndarray:
        return random.normal(rate * LOSS, GAIN_SD, n) - LOSS * (random.random(n) < rate)

    return draw


SYMMETRIC: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(0, 1, n),
    "heavy-tailed": lambda random, n: random.standard_t(3, n),
    "tied": tied,
}
FAILURES: dict[str, Draw] = {"failures in 5 %": failures(0.05), "failures in 10 %": failures(0.10)}
SHIFTED: dict[str, Draw] = {"shifted by half a standard deviation": lambda random, n: random.normal(0.5, 1, n)}


def compare(samples: Sequence[np.ndarray], folds: Sequence[int] | None = None) -> pd.DataFrame:
    """The row of a comparison that each sample of differences gives."""
    n = len(samples[0])
    cases = pd.DataFrame(
        {
            "case": np.arange(n * len(samples)),
            "group": np.repeat(np.arange(len(samples)), n),
            "fold": np.tile(folds if folds is not None else np.full(n, -1), len(samples)),
            "Dice": np.concatenate(samples),
        }
    ).assign(run=0, label="label")
    scores = pd.concat([cases.assign(model="model"), cases.assign(model="baseline", Dice=0.0)], ignore_index=True)
    return differences(scores, "baseline", by=["group"])


def claims_mean(rows: pd.DataFrame) -> pd.Series:
    """Whether the verdicts claim a difference on average."""
    verdict = rows["verdict"]
    mixed = verdict.str.startswith("mixed") & ~verdict.str.contains("not shown on average")
    return mixed | verdict.isin(["better", "worse"])


def rates(samples: Sequence[np.ndarray], true_mean: float = 0.0) -> dict[str, float]:
    """Rates of claims by the verdict and by single tests, and coverage of intervals."""
    rows = compare(samples)
    found = {
        "claim on the mean": claims_mean(rows),
        "mixed, claim on most cases only": rows["verdict"].str.endswith("not shown on average"),
        "permutation test alone": rows["p"] < 0.05,
        "Wilcoxon alone": rows["wilcoxon_p"] < 0.05,
        "coverage of interval": (rows["ci_low"] <= true_mean) & (true_mean <= rows["ci_high"]),
    }
    for name, interval in (("t", t_interval), ("BCa", bca_interval)):
        # samples without spread have intervals without width
        limits = [interval(sample) if np.ptp(sample) else (sample[0], sample[0]) for sample in samples]
        found[f"coverage of {name}"] = pd.Series([low <= true_mean <= high for low, high in limits])
    return {name: round(float(hits.mean()), 4) for name, hits in found.items()}


def draws(draw: Draw, n: int, experiments: int, seed: int) -> list[np.ndarray]:
    """Samples of n differences."""
    random = np.random.default_rng([seed, n])
    return [draw(random, n) for _ in range(experiments)]


def failure_rates(draw: Draw, n: int, experiments: int, seed: int) -> dict[str, float]:
    """The same apart for samples with and without a failure, as rates of each kind."""
    samples = draws(draw, n, experiments, seed)
    held = [sample for sample in samples if sample.min() < -LOSS / 2]
    without = [sample for sample in samples if sample.min() >= -LOSS / 2]
    found = {"samples without a failure": round(len(without) / experiments, 4)}
    found |= {f"with a failure: {name}": rate for name, rate in rates(held).items()}
    if without:
        found["without a failure: claim on the mean"] = round(float(claims_mean(compare(without)).mean()), 4)
    return found


def fold_rates(n: int, experiments: int, seed: int) -> dict[str, float]:
    """Claims about the models and about the methods where folds differ by the luck of their training."""
    folds = [i % FOLDS for i in range(n)]

    def lucky(random: np.random.Generator, count: int) -> np.ndarray:
        return random.normal(0, 1, count) + random.normal(0, FOLD_SD, FOLDS)[folds]

    rows = compare(draws(lucky, n, experiments, seed), folds)
    found = {
        "claim on these trained models": claims_mean(rows),
        "fold-level test alone": rows["fold_p"] < 0.05,
        "claim on the methods": rows["scope"] == METHODS,
    }
    return {name: round(float(hits.mean()), 4) for name, hits in found.items()}


def margin_rates(n: int, experiments: int, seed: int) -> dict[str, float]:
    """Claims about a margin of half a standard deviation, where the model is worse by it, and where it is not."""

    def claims(true_mean: float) -> pd.Series:
        rows = compare(draws(lambda random, count: random.normal(true_mean, 1, count), n, experiments, seed))
        return margin_claims(rows, {"Dice": MARGIN})["claim"].str.partition(" ")[0]

    worse, equal = claims(-MARGIN), claims(0.0)
    found = {
        "wrong: equivalent, though worse by the margin": worse == "equivalent",
        "wrong: equivalent or not worse, though worse by the margin": worse.isin(["equivalent", "not"]),
        "right: equivalent, without a difference": equal == "equivalent",
        "right: equivalent or not worse, without a difference": equal.isin(["equivalent", "not"]),
    }
    return {name: round(float(hits.mean()), 4) for name, hits in found.items()}


def order_rates(n: int, experiments: int, seed: int) -> dict[str, float]:
    """Share of false orders as stated and as found, where the true means spread by half a standard deviation."""
    truth = np.random.default_rng([seed, n, 1]).normal(0, TRUTH_SD, experiments)
    rows = compare(
        [mean + noise for mean, noise in zip(truth, draws(SYMMETRIC["normal"], n, experiments, seed), strict=True)]
    )
    false = np.sign(rows["mean"].to_numpy()) != np.sign(truth)
    claimed = claims_mean(rows).to_numpy()
    stated = rows["false_order"].to_numpy()
    return {
        "stated": round(float(stated.mean()), 4),
        "found": round(float(false.mean()), 4),
        "stated, below 5 %": round(float(stated[stated < 0.05].mean()), 4),
        "found, below 5 %": round(float(false[stated < 0.05].mean()), 4),
        "found, where a difference is claimed": round(float(false[claimed].mean()), 4) if claimed.any() else 0.0,
    }


def run_rates(runs: int, experiments: int, seed: int) -> dict[str, float]:
    """Wrong claims about the methods, where trainings differ by luck, and right ones of a difference of twice that."""
    random = np.random.default_rng([seed, runs])
    noise = random.normal(0, 1, (2, experiments, RUN_CASES))  # of a case, the same in all trainings of a model
    luck = random.normal(0, FOLD_SD, (2, experiments, runs))
    found = {}
    for name, true_mean in (("wrong", 0.0), ("right", 3 * FOLD_SD)):
        frames = []
        for model, shift, of_cases, of_runs in (
            ("model", true_mean, noise[0], luck[0]),
            ("baseline", 0.0, noise[1], luck[1]),
        ):
            values = shift + of_cases[:, None, :] + of_runs[:, :, None]  # (experiments, runs, cases)
            place = np.indices(values.shape).reshape(3, -1)
            frame = pd.DataFrame(
                {"label": place[0].astype(str), "run": place[1], "case": place[2], "Dice": values.ravel()}
            )
            frames.append(frame.assign(model=model, fold=-1, group=""))
        rows = differences(pd.concat(frames, ignore_index=True), "baseline")
        of_cases = (rows["p"] < 0.05) & ((rows["ci_low"] > 0) | (rows["ci_high"] < 0))
        of_runs = rows["run_p"] < 0.05
        found[f"{name}: claim on these trained models"] = round(float(of_cases.mean()), 4)
        found[f"{name}: test over trainings alone"] = round(float(of_runs.mean()), 4)
        found[f"{name}: claim on the methods"] = round(float((of_cases & of_runs).mean()), 4)
    return found


def tables(result: dict[str, Any]) -> str:
    """Markdown tables of a result: claims, intervals, folds."""

    def row(name: str, scenario: str, rate: str, sizes: tuple[int, ...] = SIZES) -> str:
        found = [result[scenario][str(n)].get(rate) for n in sizes]
        return f"| {name} | {' | '.join('' if value is None else f'{100 * value:.1f}' for value in found)} |"

    def head(name: str, sizes: tuple[int, ...] = SIZES) -> list[str]:
        return ["", f"| {name} | {' | '.join(f'{n} cases' for n in sizes)} |", "|---" * (1 + len(sizes)) + "|"]

    claim, shifted = "claim on the mean", next(iter(SHIFTED))
    lines = head("wrong claims on the mean, % of experiments")
    lines += [row(f"{name} differences", name, claim) for name in SYMMETRIC]
    lines += [row(f"{name}, samples with one", name, f"with a failure: {claim}") for name in FAILURES]
    lines += head("for comparison, %")
    for name in FAILURES:
        lines.append(row(f"{name}: samples without any", name, "samples without a failure"))
        lines.append(row("wrong claims in these", name, f"without a failure: {claim}"))
        for test in ("permutation test alone", "Wilcoxon alone"):
            lines.append(row(f"wrong claims in samples with one by {test}", name, f"with a failure: {test}"))
    lines.append(row(f"right claims, normal differences {shifted}", shifted, claim))
    lines += head("coverage of 95 % intervals, %")
    for name in SYMMETRIC:
        lines += [row(f"{name}: {kind}", name, f"coverage of {kind}") for kind in ("interval", "t", "BCa")]
    lines += head("wrong claims where folds differ, %", FOLD_SIZES)
    lines += [row(name, "folds", name, FOLD_SIZES) for name in result["folds"][str(FOLD_SIZES[0])]]
    for part, heading in (("margins", "claims about a margin, %"), ("orders", "orders of two means that are false, %")):
        lines += head(heading)
        lines += [row(name, part, name) for name in result[part][str(SIZES[0])]]
    lines += ["", f"| claims where trainings differ, % | {' | '.join(f'{n} trainings' for n in RUN_SIZES)} |"]
    lines += ["|---" * (1 + len(RUN_SIZES)) + "|"]
    lines += [row(name, "runs", name, RUN_SIZES) for name in result["runs"][str(RUN_SIZES[0])]]
    return "\n".join([*lines[1:], ""])


def main() -> None:
    """Simulate and write."""
    from environment import describe_environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS, help="Experiments per scenario and size")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result: dict[str, object] = {
        "environment": describe_environment(),
        "settings": vars(args) | SIMULATED,
    }
    run = args.experiments, args.seed
    for name, draw in SYMMETRIC.items():
        result[name] = {str(n): rates(draws(draw, n, *run)) for n in SIZES}
        print(name, file=sys.stderr)
    for name, draw in SHIFTED.items():
        result[name] = {str(n): rates(draws(draw, n, *run), true_mean=0.5) for n in SIZES}
    for name, draw in FAILURES.items():
        result[name] = {str(n): failure_rates(draw, n, *run) for n in SIZES}
        print(name, file=sys.stderr)
    result["margins"] = {str(n): margin_rates(n, *run) for n in SIZES}
    result["orders"] = {str(n): order_rates(n, *run) for n in SIZES}
    result["runs"] = {str(n): run_rates(n, *run) for n in RUN_SIZES}
    result["folds"] = {str(n): fold_rates(n, *run) for n in FOLD_SIZES}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    page = f"{before}{START}\n\n{tables(result)}\n{END}{rest.partition(END)[2]}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
