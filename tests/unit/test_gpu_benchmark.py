"""The command that measures everything on a GPU works, as far as a CPU can show it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


def test_dry_run_writes_every_part_and_a_table(gpu, tmp_path, capsys, monkeypatch):
    import gpu_correctness

    few = {name: gpu_correctness.CONFIGURATIONS[name] for name in ("MA-SAM", "boxes")}
    monkeypatch.setattr(gpu_correctness, "CONFIGURATIONS", few)
    parts = ["correctness", "networks", "volume", "authors"]
    code = gpu.main(["--dry-run", "--device", "cpu", "-o", str(tmp_path), "--parts", *parts])
    written = {name: json.loads((tmp_path / f"gpu-{name}.json").read_text("utf-8")) for name in parts}
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert len(written["correctness"]["results"]["checks"]) == 2 * 2  # configurations, kinds of kernel
    assert {row["kernels"] for row in written["networks"]["results"]["rows"]} == {"plain", "fast"}
    assert all(row["step_s"] > 0 and row["forward_s"] > 0 for row in written["networks"]["results"]["rows"])
    assert len(written["volume"]["results"]["seconds"]) == 3
    assert written["authors"]["results"] == {"skipped": "no --reference"}
    assert "correctness: 4 of 4 checks passed" in printed
    assert "vit_t, plain" in printed


def test_a_wrong_gradient_is_found(gpu):
    import gpu_correctness

    expected = {"logits": torch.ones(4, dtype=torch.float64), "weight": torch.ones(3, dtype=torch.float64)}
    found = {**expected, "weight": expected["weight"] + torch.tensor([0, 0, 0.01], dtype=torch.float64)}
    assert gpu_correctness.compared(expected, expected, "float32")["ok"]
    result = gpu_correctness.compared(found, expected, "float32")
    assert not result["ok"]
    assert "gradient of weight" in result["worst"]
    assert not gpu_correctness.compared({"logits": expected["logits"]}, expected, "float32")["ok"]


def test_no_time_left_skips_parts_and_keeps_results(gpu, tmp_path, capsys):
    assert gpu.main(["--dry-run", "--device", "cpu", "--minutes", "0", "-o", str(tmp_path)]) == 0
    assert "skipped, no time left" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_the_error_says_what_to_do(gpu, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--dry-run --device cpu" in capsys.readouterr().err
