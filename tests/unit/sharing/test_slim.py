"""Slim state dicts and model folders: what is left out comes back bit by bit, or the error says what is missing."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import CheckpointError
from nnunetv2_masam.weights.provenance import KEY, identify, stored_provenance
from nnunetv2_masam.weights.slim import MARKER, SlimCompletion
from nnunetv2_masam.weights.trained import read_nnunet_checkpoint
from tests.conftest import TINY_VIT
from tests.plans import plans_with
from tests.sam_file import write_sam_file
from tests.unit.cli.test_help import PARSERS, examples
from tests.unit.sharing.models import bits, weights_of, write_model

ARCHITECTURE = {
    "vit": TINY_VIT,
    "image_size": [48, 32],
    "fact_rank": 4,
    "fact_scale": 0.5,
    "adapter_channels": 8,
    "adapter_kernel": 5,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A SAM file, and a model of two folds with what nnU-Net stores besides the weights."""
    folder = tmp_path_factory.mktemp("template")
    content = {
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "_best_ema": np.float64(0.5),
        "logging": {"mean_fg_dice": [np.float32(0.25)], "epoch_end_timestamps": [1.0]},
        "trainer_name": "nnUNetTrainerMASAM_paper",
    }
    write_model(folder / "model", ARCHITECTURE, write_sam_file(folder / "sam.pth", TINY_VIT), folds=2, **content)
    return folder


@pytest.fixture
def sam(template, tmp_path) -> Path:
    return Path(shutil.copy(template / "sam.pth", tmp_path))


@pytest.fixture
def model_folder(template, sam, tmp_path) -> Path:
    return Path(shutil.copytree(template / "model", tmp_path / "model"))


def build() -> MASAM:
    return MASAM(1, 3, **ARCHITECTURE)


def test_round_trip(model_folder, sam, tmp_path, capsys):
    slim, whole = tmp_path / "slim", tmp_path / "whole"
    assert main(["slim", str(model_folder), "-o", str(slim), "--sam", str(sam)]) == 0
    assert "tensors left out; needs sam.pth" in capsys.readouterr().out
    for fold in range(2):
        left = weights_of(slim, fold)
        frozen = {name for name, p in build().named_parameters() if not p.requires_grad}
        resized = {"image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"}
        resized |= {f"image_encoder.blocks.1.attn.rel_pos_{axis}" for axis in "hw"}
        assert set(left[MARKER]["tensors"]) == frozen - resized | {
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
        }
    assert main(["merge", str(slim), "-o", str(whole), "--sam", str(sam)]) == 0
    for fold in range(2):
        assert bits(weights_of(whole, fold)) == bits(weights_of(model_folder, fold))
    for name in ("plans.json", "dataset.json", "fold_0/validation/summary.json"):
        assert (whole / name).read_bytes() == (model_folder / name).read_bytes()
    assert main(["merge", str(slim), "-o", str(tmp_path / "folded"), "--sam", str(sam), "--fold"]) == 0
    for folder in (slim, whole, tmp_path / "folded"):
        stored = torch.load(folder / "fold_1" / "checkpoint_final.pth", weights_only=False)
        assert stored_provenance(stored) == identify(sam)
    kept = torch.load(whole / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert kept["optimizer_state"]["param_groups"] == [{"lr": 1e-3}]
    assert kept["_best_ema"] == 0.5


def test_examples_of_the_help_texts(model_folder, sam, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASAM_CHECKPOINT", str(sam))
    model_folder.rename("nnUNetTrainerMASAM__nnUNetPlans__3d_fullres")
    for command in ("slim", "merge"):
        for words in examples(PARSERS[f"nnUNetv2_masam {command}"]):
            assert main(words) == 0, words
    whole = weights_of(tmp_path / "nnUNetTrainerMASAM__nnUNetPlans__3d_fullres")
    assert bits(weights_of(tmp_path / "merged")) == bits(whole)
    assert any(".fact." in name for name in whole.keys() - weights_of(tmp_path / "folded").keys())


def test_slim_weights_load_wherever_the_base_is(model_folder, sam, tmp_path, monkeypatch):
    main(["slim", str(model_folder), "-o", str(tmp_path / "slim"), "--sam", str(sam)])
    weights = weights_of(tmp_path / "slim")
    expected = weights_of(model_folder)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "another.pth").write_bytes(b"x")
    for variable in (str(sam), str(tmp_path / "renamed"), None):
        if variable is None:
            monkeypatch.delenv("MASAM_CHECKPOINT")
            sam.rename(cache / "renamed.pth")
        elif not Path(variable).exists():
            Path(variable).mkdir()
            sam = sam.rename(Path(variable) / "moved.pth")
        if variable is not None:
            monkeypatch.setenv("MASAM_CHECKPOINT", variable)
        network = build()
        network.register_load_state_dict_pre_hook(SlimCompletion())
        network.load_state_dict(weights)
        assert bits(network.state_dict()) == bits(expected)
    assert MARKER in weights  # what nnU-Net loads again for the next case


def test_base_is_read_once(model_folder, sam, tmp_path, monkeypatch):
    """nnU-Net loads the weights for every case."""
    main(["slim", str(model_folder), "-o", str(tmp_path / "slim"), "--sam", str(sam)])
    weights = weights_of(tmp_path / "slim")
    monkeypatch.setenv("MASAM_CHECKPOINT", str(sam))
    network = build()
    network.register_load_state_dict_pre_hook(SlimCompletion())
    network.load_state_dict(weights)
    monkeypatch.delenv("MASAM_CHECKPOINT")  # from here on, the file would not be found
    with torch.no_grad():
        network.image_encoder.blocks[0].norm1.weight.zero_()
    network.load_state_dict(weights)
    assert bits(network.state_dict()) == bits(weights_of(model_folder))


def test_missing_base_is_named(model_folder, sam, tmp_path, monkeypatch):
    main(["slim", str(model_folder), "-o", str(tmp_path / "slim"), "--sam", str(sam)])
    weights = weights_of(tmp_path / "slim")
    other = write_sam_file(tmp_path / "other.pth", TINY_VIT, seed=9)
    monkeypatch.setenv("MASAM_CHECKPOINT", str(other))
    network = build()
    network.register_load_state_dict_pre_hook(SlimCompletion())
    with pytest.raises(FileNotFoundError, match=r"not among other\.pth") as error:
        network.load_state_dict(weights)
    for part in ("sam.pth", weights[MARKER]["sha256"], str(sam.stat().st_size), str(tmp_path / "cache")):
        assert part in str(error.value)


def test_wrong_base_is_refused(model_folder, sam, tmp_path, capsys):
    other = write_sam_file(tmp_path / "other.pth", TINY_VIT, seed=9)
    assert main(["slim", str(model_folder), "-o", str(tmp_path / "a"), "--sam", str(other)]) == 2
    assert "no tensor that equals one of other.pth" in capsys.readouterr().err
    main(["slim", str(model_folder), "-o", str(tmp_path / "slim"), "--sam", str(sam)])
    assert main(["merge", str(tmp_path / "slim"), "-o", str(tmp_path / "b"), "--sam", str(other)]) == 2
    assert "the slim checkpoint needs sam.pth" in capsys.readouterr().err


def test_model_that_no_sam_file_was_used_for(model_folder, tmp_path, capsys):
    for path in model_folder.glob("fold_*/checkpoint_final.pth"):
        checkpoint = torch.load(path, weights_only=False)
        del checkpoint["init_args"][KEY]
        torch.save(checkpoint, path)
    assert main(["slim", str(model_folder), "-o", str(tmp_path / "out")]) == 2
    assert re.search(r"got a checkpoint that names no SAM file; .* trained from scratch", capsys.readouterr().err)


def test_output_folder_with_content_is_refused(model_folder, sam, capsys):
    assert main(["slim", str(model_folder), "-o", str(model_folder), "--sam", str(sam)]) == 2
    assert "is a folder with files in it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["slim", "merge", "merge --fold"])
def test_damaged_second_checkpoint_leaves_nothing(model_folder, sam, tmp_path, capsys, command):
    """And the retry with a good one is not refused."""
    name, *options = command.split()
    arguments = [name, str(model_folder), "-o", str(tmp_path / "out"), "--sam", str(sam), *options]
    second = model_folder / "fold_1" / "checkpoint_final.pth"
    good = second.read_bytes()
    half = len(good) // 2
    for damaged in (good[:half], good[:half] + b"x" * 300 + good[half + 300 :], b""):
        second.write_bytes(damaged)
        assert main(arguments) == 2
        assert str(second) in capsys.readouterr().err
        assert not list(tmp_path.glob("*out*"))
        assert not list(tmp_path.glob(".*out*"))
    second.write_bytes(good)
    assert main(arguments) == 0


def _write_and_be_stopped(wait, by, *arguments):
    torch.set_num_threads(1)  # a forked process has lost the threads of its parent
    threading.Timer(wait, lambda: os.kill(os.getpid(), by)).start()
    try:
        main(list(arguments))
    finally:
        os._exit(0)


@pytest.mark.parametrize("signals", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_interrupted_at_any_time_leaves_a_whole_folder_or_none(model_folder, sam, tmp_path, signals):
    """By Ctrl-C, or killed: a folder that is there can be loaded, and one that is not can be written again."""
    rng = np.random.default_rng(0)
    started = time.monotonic()
    main(["merge", str(model_folder), "-o", str(tmp_path / "first"), "--fold"])
    duration = time.monotonic() - started
    whole = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*")}
    context = multiprocessing.get_context("fork")
    for number in range(signals):
        out = tmp_path / "out"
        wait = rng.uniform(0, 2 * duration)
        by = signal.SIGINT if number % 2 else signal.SIGKILL
        arguments = ("merge", str(model_folder), "-o", str(out), "--fold")
        child = context.Process(target=_write_and_be_stopped, args=(wait, by, *arguments))
        child.start()
        child.join(60)
        assert child.exitcode is not None, "hangs"
        if out.exists():
            assert {path.relative_to(out) for path in out.rglob("*")} == whole
            assert bits(weights_of(out, 1)) == bits(weights_of(tmp_path / "first", 1))
            shutil.rmtree(out)
    assert main(["merge", str(model_folder), "-o", str(tmp_path / "out"), "--fold"]) == 0
    assert not list(tmp_path.glob(".*.partial"))


def test_model_folder_that_does_not_fit_itself(model_folder, tmp_path, capsys):
    """Plans of another shape, a configuration that they lack, FacT's cores without U."""
    plans = model_folder / "plans.json"
    good = plans.read_text()
    for content, match in (
        ("[]", "expected an object"),
        (good.replace('"3d_fullres"', '"2d"'), "does not fit the plans"),
        (json.dumps(plans_with(5)), "configurations.3d_fullres.architecture: got 5, expected an object"),
        ("{}", "dataset_name: missing"),
        ("{", "JSON"),
    ):
        plans.write_text(content)
        assert main(["merge", str(model_folder), "-o", str(tmp_path / "out"), "--fold"]) == 2
        message = capsys.readouterr().err
        assert match in message
        assert str(model_folder) in message
    plans.write_text(good)
    checkpoint = torch.load(model_folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    del checkpoint["network_weights"]["image_encoder.fact.u.weight"]
    torch.save(checkpoint, model_folder / "fold_0" / "checkpoint_final.pth")
    assert main(["merge", str(model_folder), "-o", str(tmp_path / "out"), "--fold"]) == 2
    assert "does not fit the plans" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numbers_of_either_numpy_are_read(model_folder, tmp_path, module):
    """Checkpoints outlive the numpy that they were written with."""
    rewritten = tmp_path / "rewritten.pth"
    original = model_folder / "fold_0" / "checkpoint_final.pth"
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
