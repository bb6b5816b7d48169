"""``nnUNetv2_masam adapt-pretrained``: a checkpoint fitted to the network of a training that is planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.sharing.pretrained import AdaptRequest, adapt_pretrained
from tests.unit.cli.test_plan import NAME, folder, planned  # noqa: F401

TINY = "nnUNetTrainerMASAM_tiny"
OF_TINY = {"vit": "vit_t", "trainable": "all", "fact_rank": 0, "adapter_channels": 48}


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Of the tiny trainer, on five classes and another image size."""
    network = MASAM(1, 5, image_size=(64, 64), **OF_TINY)
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": network.state_dict(), "trainer_name": TINY, "init_args": {}}, path)
    return path


def test_what_is_written_fits_the_training(folder, checkpoint, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "fitted.pth"
    assert main(["adapt-pretrained", str(checkpoint), "-d", "4", "-tr", TINY, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert (
        f"train with: nnUNetv2_train {NAME} 3d_fullres FOLD -tr {TINY} -p nnUNetPlans -pretrained_weights {out}" in said
    )
    plans = json.loads((folder / "nnUNetMASAMPlans.json").read_text())
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    wanted = {name: tensor.shape for name, tensor in MASAM(1, 3, **kwargs).state_dict().items()}
    fitted = torch.load(out, weights_only=True)["network_weights"]
    assert fitted
    assert {name: tensor.shape for name, tensor in fitted.items()}.items() <= wanted.items()
    assert all(".seg_layers." in name for name in wanted.keys() - fitted.keys())

    again = AdaptRequest(checkpoint, tmp_path / "b.pth", "4", trainer=TINY, plans="nnUNetMASAMPlans")
    adapted = adapt_pretrained(again)
    assert (adapted.path, adapted.dataset) == (again.output, NAME)
    assert all(".seg_layers." in name for name in adapted.report.new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plans: plans.clear(), "dataset_name: missing"),
        (lambda plans: plans.pop("configurations"), "configurations: missing"),
        (lambda plans: plans["configurations"]["3d_fullres"].pop("batch_size"), "3d_fullres.batch_size: missing"),
        (
            lambda plans: plans["configurations"]["3d_fullres"].update(architecture=5),
            "architecture: got 5, expected an",
        ),
    ],
)
def test_damaged_plans(folder, checkpoint, capsys, change, message):  # noqa: F811
    file = folder / "nnUNetMASAMPlans.json"
    plans = json.loads(file.read_text())
    change(plans)
    file.write_text(json.dumps(plans))
    fit = ["adapt-pretrained", str(checkpoint), "-d", "4", "-tr", TINY, "-p", "nnUNetMASAMPlans", "-o", "fitted.pth"]
    assert main(fit) == 2
    said = capsys.readouterr().err
    assert f"{file}: " in said
    assert message in said


def test_arguments_that_the_network_does_not_have(folder, checkpoint, capsys):  # noqa: F811
    file = folder / "nnUNetMASAMPlans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["fact_ranks"] = 4
    file.write_text(json.dumps(plans))
    fit = ["adapt-pretrained", str(checkpoint), "-d", "4", "-tr", TINY, "-p", "nnUNetMASAMPlans", "-o", "fitted.pth"]
    assert main(fit) == 2
    assert "have architecture.arch_kwargs.fact_ranks, expected arguments of the network: " in capsys.readouterr().err
