"""``predict``'s part of the run on a GPU: labels of a volume, with the logits on the device and on the host."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from predict_volume import volume_model


def measure(device: torch.device, dry: bool) -> dict[str, Any]:
    """Seconds and peak memory of both ways, whose labels have to agree.

    Args:
        device: to measure on.
        dry: small sizes, to see that it works.
    """
    shape, classes = ((12, 24, 24), 3) if dry else ((200, 320, 320), 14)
    rows, labels = [], []
    for results in (device, torch.device("cpu")):
        model, case = volume_model(classes, shape, device, results)
        model.segment(case)  # warm up
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        labels.append(model.segment(case))
        row = {"sums_on": results.type, "seconds": round(time.perf_counter() - started, 3)}
        if device.type == "cuda":
            row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        rows.append(row)
    equal = float(np.mean(labels[0] == labels[1]))
    return {"shape": shape, "classes": classes, "rows": rows, "equal_voxels": equal, "ok": equal >= 0.9999}
