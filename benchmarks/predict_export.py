"""Export of logits to labels: nnU-Net's resampling and argmax beside the slab-wise ones of ``predict``, on a CPU.

    python benchmarks/predict_export.py
    python benchmarks/predict_export.py --classes 5 --source 20 48 48 --target 40 80 80 --repeats 1    # to see it work

Both sides get the same smooth random logits in half precision. Each measurement is a process of its own, sides take
turns, and memory is the peak of the process beyond logits and labels, which both sides hold. ``stock, torch`` is
nnU-Net's ``resample_torch_fornnunet``, which its maintainers recommend for many classes.
Writes ``benchmarks/results/predict-export-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe_environment
from torch.nn import functional

HERE = Path(__file__).resolve().parent
FUNCTIONS = {
    "stock": ("resample_data_or_seg_to_shape", {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}),
    "stock, torch": ("resample_torch_fornnunet", {"is_seg": False, "force_separate_z": None}),
}
SIDES = (*FUNCTIONS, "predict", "predict, torch")


def main() -> None:
    """Measure in turns, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--source", type=int, nargs=3, default=(100, 192, 192), metavar="N")
    parser.add_argument("--target", type=int, nargs=3, default=(200, 320, 320), metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="measure this side once, in this process")
    parser.add_argument("--labels", type=Path, help="where that side writes its labels")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "predict-export-cpu.json")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args.side, args.classes, tuple(args.source), tuple(args.target), args.labels)))
        return
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    labels = {side: args.output.with_suffix(f".{index}.npy") for index, side in enumerate(SIDES)}
    for _ in range(args.repeats):
        for side in SIDES:
            runs[side].append(measured_alone(side, labels[side]))
            print(side, runs[side][-1], flush=True)
    arrays = {side: np.load(path) for side, path in labels.items()}
    for path in labels.values():
        path.unlink()
    medians = {side: {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}
               for side, found in runs.items()}  # fmt: skip
    result = {
        "environment": describe_environment(),
        "settings": {"classes": args.classes, "source": args.source, "target": args.target, "seed": 0},
        "runs": runs,
        "medians": medians,
        "times_as_fast_as_stock": ratio(medians, "seconds", inverse=True),
        "share_of_stock_memory": ratio(medians, "extra_gb"),
        "equal_voxels": {
            "predict": float((arrays["predict"] == arrays["stock"]).mean()),
            "predict, torch": float((arrays["predict, torch"] == arrays["stock, torch"]).mean()),
            "stock, torch beside stock": float((arrays["stock, torch"] == arrays["stock"]).mean()),
        },
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in list(result)[3:]}, indent=1))


def ratio(medians: dict[str, dict[str, float]], key: str, inverse: bool = False) -> dict[str, float]:
    """Of each side to stock."""
    shares = {side: found[key] / medians["stock"][key] for side, found in medians.items()}
    return {side: round(1 / share if inverse else share, 3) for side, share in shares.items()}


def measured_alone(side: str, labels: Path) -> dict[str, float]:
    """In a process of its own, with this process's arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--labels", str(labels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(
    side: str, classes: int, source: tuple[int, int, int], target: tuple[int, int, int], output: Path
) -> dict[str, float]:
    """Seconds, and peak memory in GB beyond what was there before and the labels."""
    generator = torch.Generator().manual_seed(0)
    small = [max(size // 10, 2) for size in source]
    logits = torch.empty((classes, *source), dtype=torch.half)
    for one in logits:  # in turns, so that the logits themselves leave no higher peak
        noise = torch.randn((1, 1, *small), generator=generator) * 4
        one.copy_(functional.interpolate(noise, source, mode="trilinear")[0, 0])
    spacing_mm = tuple(after / before for before, after in zip(source, target, strict=True))
    manager, run = prepare(side, classes, source, target, spacing_mm)
    run(logits[:, :2], manager, warm=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_gb("VmRSS")
    started = time.perf_counter()
    labels = run(logits, manager)
    seconds = time.perf_counter() - started
    extra = status_gb("VmHWM") - before - labels.nbytes / 1e9
    np.save(output, labels)
    return {"seconds": round(seconds, 3), "extra_gb": round(extra, 4)}


def prepare(side: str, classes: int, source: Any, target: Any, spacing_mm: Any) -> tuple[Any, Any]:
    """The label manager, and a function from logits to labels."""
    from nnunetv2.preprocessing.resampling import default_resampling, resample_torch
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    from nnunetv2_masam.predict.resample import labels_of, resample_slices, resampling_of

    manager = LabelManager({"background": 0} | {f"class {k}": k for k in range(1, classes)}, None)
    name, options = FUNCTIONS["stock, torch" if side.endswith("torch") else "stock"]

    def stock(logits: torch.Tensor, manager: LabelManager, warm: bool = False) -> np.ndarray:
        function = getattr(default_resampling, name, None) or getattr(resample_torch, name)
        shape = (4, *target[1:]) if warm else target
        resampled = function(logits.numpy(), shape, spacing_mm, (1.0, 1.0, 1.0), **options)
        return manager.convert_logits_to_segmentation(resampled).astype(np.uint8)

    def ours(logits: torch.Tensor, manager: LabelManager, warm: bool = False) -> np.ndarray:
        shape = (4, *target[1:]) if warm else target
        configuration = {"resampling_fn_probabilities": name, "resampling_fn_probabilities_kwargs": options}
        rule = resampling_of(configuration, logits.shape[1:], shape, spacing_mm, (1.0, 1.0, 1.0))
        labels = np.empty(shape, np.uint8)
        for index, planes in enumerate(resample_slices(logits.unbind(1), rule)):
            labels[index] = labels_of(planes, manager).numpy()
        return labels

    return manager, stock if side.startswith("stock") else ours


def status_gb(key: str) -> float:
    """A line of this process's status, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e9


if __name__ == "__main__":
    main()
