"""Costs, read from checkpoints and logs as nnU-Net writes them."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunetv2_masam.evaluation.model_cost import count_parameters, fold_cost, pretraining_notes

LOG = """
#######################################################################
Please cite the following paper when using nnU-Net
#######################################################################
{stamp}10:00:00.000000: Epoch 0
{stamp}10:00:40.100000: Epoch time: 40.0 s
{stamp}10:00:41.100000: Epoch 1
{stamp}10:01:21.100000: Epoch time: 30.5 s
"""
VALIDATION = """{stamp}11:00:00.000000: predicting case_0
{stamp}11:00:04.000000: predicting case_1
{stamp}11:00:10.000000: predicting case_2
{stamp}11:09:00.000000: Validation complete
"""


def unet() -> PlainConvUNet:
    sizes = {"n_stages": 2, "features_per_stage": (4, 8), "kernel_sizes": 3, "strides": (1, 2)}
    network: PlainConvUNet = PlainConvUNet(
        1,
        **sizes,
        conv_op=torch.nn.Conv3d,
        n_conv_per_stage=1,
        num_classes=3,
        n_conv_per_stage_decoder=1,
        norm_op=torch.nn.BatchNorm3d,
        nonlin=torch.nn.ReLU,
        deep_supervision=False,
    )
    return network


@pytest.mark.parametrize(
    "optimizer",
    [lambda p: torch.optim.SGD(p, 0.01, momentum=0.99), torch.optim.AdamW],
    ids=["SGD", "AdamW"],
)
def test_parameters_are_those_of_the_network(tmp_path: Path, optimizer: Callable) -> None:
    """nnU-Net's U-Net stores most tensors several times; the frozen ones have no optimiser state."""
    network = unet()
    for parameter in network.decoder.parameters():
        parameter.requires_grad_(False)
    network.encoder.requires_grad_(True)
    optimiser = optimizer(network.parameters())
    network(torch.zeros(2, 1, 8, 8, 8)).sum().backward()
    optimiser.step()
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": optimiser.state_dict(),
        "logging": {"train_losses": [np.float32(0.5)]},
        "init_args": {"device": torch.device("cpu"), "fold": 0},
    }
    torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
    assert count_parameters(tmp_path / "checkpoint_final.pth") == (
        sum(parameter.numel() for parameter in network.parameters()),
        sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
    )


def test_reading_a_checkpoint_runs_none_of_its_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Callable, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    content = {"network_weights": {"a": torch.zeros(3)}, "more": Harmful()}
    torch.save(content, tmp_path / "checkpoint_final.pth", pickle_module=pickle)
    assert count_parameters(tmp_path / "checkpoint_final.pth") == (None, None)
    assert not (tmp_path / "harm").exists()


def test_a_file_that_is_no_checkpoint_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_final.pth").write_bytes(b"no zip")
    assert count_parameters(tmp_path / "checkpoint_final.pth") == (None, None)


def test_times_come_from_all_logs(tmp_path: Path) -> None:
    """The second log resumes at epoch 1, which therefore counts once, and ends with the validation."""
    (tmp_path / "training_log_2026_1_1_10_00_00.txt").write_text(LOG.format(stamp="2026-01-01 ").replace("\n", " \n"))
    resumed = (
        (LOG.split("\n", 6)[6] + VALIDATION).format(stamp="2026-01-02 ").replace("30.5", "50.0").replace("\n", " \n")
    )
    (tmp_path / "training_log_2026_1_2_10_00_00.txt").write_text(resumed)
    found = fold_cost(tmp_path)
    assert (found["epochs"], found["seconds_per_epoch"]) == (2, 45.0)
    assert found["training_hours_per_fold"] == pytest.approx(90 / 3600)
    assert found["inference_seconds_per_case"] == 5.0
    assert "peak_memory_gib" not in found


def test_what_the_trainer_states_takes_precedence(tmp_path: Path) -> None:
    stated = {
        "parameters": 91000000,
        "trained_parameters": 12,
        "peak_memory_bytes": 2**30,
        "seconds_per_epoch": 9,
    }
    (tmp_path / "masam_cost.json").write_text(json.dumps(stated))
    expected = {"parameters": 91000000, "trained_parameters": 12, "peak_memory_gib": 1.0, "seconds_per_epoch": 9}
    assert {name: cost for name, cost in fold_cost(tmp_path).items() if cost is not None} == expected


def test_nothing_recorded(tmp_path: Path) -> None:
    assert set(fold_cost(tmp_path).values()) == {None}


@pytest.mark.parametrize("key", ["trained_on", "seen"])  # the second in checkpoints of the first versions
def test_what_weights_were_trained_on_is_said(tmp_path: Path, key: str) -> None:
    """Of a model whose checkpoint records it; the others have no note."""
    stored = {"file": "sam.pth", "bytes": 1, "sha256": "0", "name": "medsam", key: "AMOS and 10 other datasets"}
    for name, init_args in (("told", {"masam_weights": stored}), ("silent", {})):
        folder = tmp_path / name / "fold_0"
        folder.mkdir(parents=True)
        content = {"network_weights": {"a": torch.zeros(2)}, "init_args": init_args, "trainer_name": "T"}
        torch.save(content, folder / "checkpoint_final.pth")
    files = [tmp_path / name / "fold_0" / "validation" / "c.nii.gz" for name in ("told", "silent", "gone")]
    (note,) = pretraining_notes(pd.DataFrame({"model": ["told", "silent", "gone"], "prediction": files}))
    assert note.startswith("told started from weights (medsam) that were trained on: AMOS and 10 other datasets.")
    assert "--seen" in note
