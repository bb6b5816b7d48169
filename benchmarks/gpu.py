"""Everything that has to be checked and measured on a GPU, in one command.

    python benchmarks/gpu.py --minutes 8 -o benchmarks/results
    python benchmarks/gpu.py --minutes 8 -o results --reference MA-SAM    # how to get it: benchmarks/reference.py

Parts, in this order: correctness against float64 on the CPU; forward pass, training step and memory of every ViT; a
volume through nnU-Net's sliding window; a short stock training; labels of a volume by ``predict``; the authors'
code; the compiled networks. Each part writes ``gpu-PART.json`` when it ends, and a part for which no time is left is
skipped, so a run cut short leaves results. ``volume``, ``training`` and ``predict`` need nnU-Net; the other parts need
torch, segment-anything and this package.

``--dry-run`` runs all parts at small sizes on any device, to see that they work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_correctness
import gpu_networks
import gpu_predict
import torch
from environment import describe_environment
from gpu_networks import Sizes

HERE = Path(__file__).resolve().parent


@dataclass
class Run:
    """What the parts share.

    Attributes:
        device: to measure on.
        sizes: of what is measured.
        deadline: of the whole run, on the monotonic clock.
        output: folder of the result files.
        reference: checkout of the authors' code, if any.
        dry: whether this only shows that everything works.
    """

    device: torch.device
    sizes: Sizes
    deadline: float
    output: Path
    reference: Path | None
    dry: bool

    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - time.monotonic()


def main(argv: list[str] | None = None) -> int:
    """Run the parts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything (default: 8)")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results", help="folder of the result files")
    parser.add_argument("--reference", type=Path, help="checkout of the authors' code")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--dry-run", action="store_true", help="small sizes")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device; --dry-run --device cpu shows that everything works")
    args.output.mkdir(parents=True, exist_ok=True)
    sizes = Sizes.small() if args.dry_run else Sizes()
    device = torch.device(args.device)
    deadline = time.monotonic() + 60 * args.minutes
    run = Run(device, sizes, deadline, args.output, args.reference, args.dry_run)
    results = {}
    for part in args.parts:
        if run.seconds_left() < 5:
            print(f"{part}: skipped, no time left", flush=True)
            continue
        started = time.monotonic()
        try:
            results[part] = PARTS[part](run)
        except (RuntimeError, ValueError, subprocess.SubprocessError) as error:  # the other parts still count
            results[part] = {"error": f"{type(error).__name__}: {error}"}
        content = {"environment": describe_environment(), "seconds": round(time.monotonic() - started, 1)}
        write(args.output / f"gpu-{part}.json", content | {"dry_run": args.dry_run, "results": results[part]})
        print(f"{part}: {content['seconds']} s", flush=True)
    print("\n".join(table(results)))
    return int(any("error" in result or not result.get("ok", True) for result in results.values()))


def write(path: Path, content: dict[str, Any]) -> None:
    """One JSON file."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


# ---- the parts


def correctness(run: Run) -> dict[str, Any]:
    """Logits and gradients of every configuration, precision and kind of kernel against float64 on the CPU."""
    return gpu_correctness.check(run.device, run.seconds_left)


def networks(run: Run) -> dict[str, Any]:
    """Forward pass, training step and memory of every ViT; plain and fast."""

    def keep(results: dict[str, Any]) -> None:
        write(run.output / "gpu-networks.json", {"environment": describe_environment(), "results": results})

    return gpu_networks.measure(run.device, run.sizes, run.seconds_left, keep)


def compiled(run: Run) -> dict[str, Any]:
    """Forward pass, training step and memory of every ViT under ``torch.compile``, which takes minutes to compile."""
    if run.device.type != "cuda":
        return {"skipped": "compiled on CUDA only"}

    def keep(results: dict[str, Any]) -> None:
        write(run.output / "gpu-compiled.json", {"environment": describe_environment(), "results": results})

    return gpu_networks.measure(run.device, run.sizes, run.seconds_left, keep, ("compiled",))


def volume(run: Run) -> dict[str, Any]:
    """A volume through nnU-Net's sliding window, with and without mirroring in plane."""
    if find_spec("nnunetv2") is None:
        return {"skipped": "nnunetv2 is not installed"}
    return gpu_networks.measure_volume(run.device, run.sizes)


def training(run: Run) -> dict[str, Any]:
    """One epoch of ``nnUNetTrainerMASAM_tiny`` on synthetic data, by stock commands."""
    if find_spec("nnunetv2") is None:
        return {"skipped": "nnunetv2 is not installed"}
    command = [sys.executable, str(HERE / "short_training.py"), "--device", run.device.type]
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(30.0, run.seconds_left()), check=False)
    if done.returncode:
        raise RuntimeError(f"stock training ended with {done.returncode}: {done.stderr[-1000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def authors(run: Run) -> dict[str, Any]:
    """The authors' code beside ours: forward pass and training step of ViT-B."""
    if run.reference is None:
        return {"skipped": "no --reference"}
    for script, more in (("forward.py", []), ("train_step.py", ["--repeats", "2"])):
        sizes = ["--size", str(run.sizes.image), "--vit", run.sizes.vits[0]]
        command = [sys.executable, str(HERE / script), "--reference", str(run.reference), *sizes, *more]
        command += ["--device", run.device.type]
        subprocess.run(command, timeout=max(30.0, run.seconds_left()), check=True)
    return {"written": ["forward-cuda.json", "train-step-cuda.json"]}


PARTS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "correctness": correctness,
    "networks": networks,
    "volume": volume,
    "training": training,
    "predict": lambda run: gpu_predict.measure(run.device, run.dry),
    "authors": authors,
    "compiled": compiled,
}


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The results in lines for people."""
    lines = [""]
    for part, result in results.items():
        if "error" in result or "skipped" in result:
            lines.append(f"{part}: {result.get('error') or 'skipped, ' + result['skipped']}")
    if "checks" in (checked := results.get("correctness", {})):
        failed = [check for check in checked["checks"] if not check["ok"]]
        lines.append(f"correctness: {len(checked['checks']) - len(failed)} of {len(checked['checks'])} checks passed")
        lines += [f"  {c['configuration']}, {c['precision']}, {c['kernels']}: {c['worst']}" for c in failed]
    rows = [row for part in ("networks", "compiled") for row in results.get(part, {}).get("rows", [])]
    if rows:
        lines.append(f"{'network':24}{'forward s':>10}{'step s':>9}{'peak GB':>9}{'predicted':>10}{'of peak':>9}")
    for row in rows:
        share = f"{row['share_of_bf16_peak']:.0%}" if row.get("share_of_bf16_peak") else "-"
        lines.append(
            f"{row['vit'] + ', ' + row['kernels']:24}{row['forward_s']:10.3f}{row['step_s']:9.3f}"
            f"{row['peak_gb']:9.2f}{row['predicted_gb']:10.2f}{share:>9}"
        )
    lines += [f"{row}: {error}" for row, error in results.get("networks", {}).get("errors", {}).items()]
    for name, seconds in results.get("volume", {}).get("seconds", {}).items():
        lines.append(f"volume, {name}: {seconds:.1f} s")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
