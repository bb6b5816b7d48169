"""Checkpoints of nnU-Net are read without running code."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.weights import CheckpointError
from nnunetv2_masam.weights.trained import read_nnunet_checkpoint


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numbers_of_either_numpy_are_read(tmp_path: Path, module: bytes) -> None:
    """Checkpoints outlive the numpy that they were written with."""
    original, rewritten = tmp_path / "original.pth", tmp_path / "rewritten.pth"
    logged = {"_best_ema": np.float64(0.5), "logging": {"mean_fg_dice": [np.float32(0.25)]}}
    torch.save({"network_weights": {"a": torch.zeros(1)}, **logged}, original)
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(rewritten, "w") as out:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert b"core.multiarray\nscalar\n" in content
                content = re.sub(rb"numpy\._?core\.multiarray\nscalar", module + b"\nscalar", content)
            out.writestr(name, content)
    checkpoint = read_nnunet_checkpoint(rewritten)
    assert checkpoint["_best_ema"] == 0.5
    assert checkpoint["logging"]["mean_fg_dice"] == [0.25]


class _Code:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def test_code_in_a_checkpoint_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"network_weights": {"a": torch.zeros(1)}, "logging": _Code()}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="Nothing in the file was executed"):
        read_nnunet_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "executed").exists()
