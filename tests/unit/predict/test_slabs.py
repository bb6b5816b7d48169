"""Slabs: logits are nnU-Net's bit by bit, labels differ where two logits are as large, memory is that of a slab."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from nnunetv2_masam.predict.loading import _networks, load_model
from nnunetv2_masam.predict.model import Model
from nnunetv2_masam.predict.request import ModelOptions
from nnunetv2_masam.predict.resample import Resampling, labels_of, resample_slices, resampling_of
from nnunetv2_masam.predict.tiles import logit_slabs, rows_of_tiles
from tests.unit.predict.models import LINEAR, write_image, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    folder = write_model(tmp_path_factory.mktemp("model") / "m", folds=("0", "1"), mirror=(2,), transpose=(1, 0, 2))
    return load_model(ModelOptions(folder, folds=("0", "1"), device="cpu"))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return write_image(tmp_path_factory.mktemp("image") / "a_0000.nii.gz")


def test_logits_are_those_of_nnunet(model, image):
    """Of two folds with mirrored passes, in half precision: equal in every bit."""
    case = model.read([image])
    predictor = model.predictor
    predictor.network = model.networks[0]
    predictor.list_of_parameters = [
        {name: tensor.clone() for name, tensor in network.state_dict().items()} for network in model.networks
    ]
    with mock.patch("torch.set_num_threads"):
        expected = predictor.predict_logits_from_preprocessed_data(case.image)
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    slices = [logits.clone() for logits in model._logit_slices(case)]
    assert torch.equal(torch.stack(slices, dim=1), expected)


def test_slabs_make_up_the_segmentation(model, image):
    case = model.read([image])
    seen = []
    labels = model.segment(case, lambda done, total: seen.append((done, total)))
    assert labels.shape == (14, 40, 44)
    assert seen[-1] == (40, 40)  # slices of the plans, whose first axis is the second one of the file
    again = np.zeros_like(labels)
    with mock.patch("nnunetv2_masam.predict.model._SLICES_AT_ONCE", 5):
        slabs = list(model.slabs(case))
    assert len(slabs) > 4
    for slab in slabs:
        assert slab.labels.shape[1] <= 5
        again[slab.where] = slab.labels
    assert np.array_equal(labels, again)
    assert len(np.unique(labels)) > 1


def test_a_full_gpu_goes_on_in_the_memory_of_the_host(model, image):
    """What was yielded before is not yielded again."""
    case = model.read([image])
    expected = model.segment(case)
    parts = Model._label_parts

    def full(self, case):
        whole = torch.cat(list(parts(model, case)))
        if self.results_device.type != "cuda":
            yield from whole.split(4)
        else:
            yield whole[:6]
            raise torch.OutOfMemoryError

    with mock.patch.object(Model, "_label_parts", full):
        slabs = list(replace(model, results_device=torch.device("cuda")).slabs(case))
    starts = [(slab.where[1].start, slab.where[1].stop) for slab in slabs]
    assert [start for start, _ in starts[1:]] == [stop for _, stop in starts[:-1]]
    labels = np.zeros_like(expected)
    for slab in slabs:
        labels[slab.where] = slab.labels
    assert np.array_equal(labels, expected)


def test_logits_that_are_not_finite_are_refused(model, image):
    def broken(x):
        return torch.full((1, 4, *x.shape[2:]), torch.inf)

    with (
        mock.patch.object(Model, "_forward", return_value=broken),
        pytest.raises(ValueError, match="logits are not finite"),
    ):
        model.segment(model.read([image]))


@pytest.mark.parametrize("depth", [40, 400])
def test_memory_does_not_grow_with_the_slices(depth):
    """Of all tensors that are alive when a slab is there, the largest are the sums of one row of tiles."""
    rows = rows_of_tiles([(slice(None), slice(z, z + 8), slice(0, 16), slice(0, 16)) for z in range(0, depth - 7, 4)])
    largest = []
    zeros = torch.zeros

    def counted(*args, **kwargs):
        tensor = zeros(*args, **kwargs)
        largest.append(tensor.numel())
        return tensor

    total = torch.zeros(depth)
    with mock.patch("torch.zeros", counted):
        done = 0
        slabs = logit_slabs(
            lambda row, place: torch.full((1, 1, 8, 16, 16), float(row.start)),
            rows,
            [lambda x: x.expand(-1, 3, -1, -1, -1).clone()],
            torch.ones(8, 16, 16, dtype=torch.half),
            (depth, 16, 16),
            3,
            torch.device("cpu"),
        )
        for slab in slabs:
            total[done : done + slab.shape[1]] = slab[0, :, 0, 0]
            done += slab.shape[1]
    assert done == depth
    assert max(largest) == 3 * 8 * 16 * 16
    # the mean of the starts of the two tiles that cover a slice
    expected = torch.tensor([np.mean([r.start for r in rows if r.start <= z < r.stop]) for z in range(depth)])
    assert torch.allclose(total, expected.float())


SHAPES = [
    ((9, 20, 24), (17, 31, 40)),
    ((30, 28, 20), (11, 17, 33)),
    ((7, 16, 16), (7, 30, 16)),
    ((6, 9, 8), (12, 9, 8)),
]
SPACINGS = {
    "linear": (1.0, 1.0, 1.0),
    "coarse slices": (5, 1, 1),
    "coarse rows": (1, 5, 1),
    "coarse columns": (1, 1, 5),
}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("source", "target"), SHAPES)
@pytest.mark.parametrize("function", ["resample_data_or_seg_to_shape", "resample_torch_fornnunet"])
def test_resampling_is_that_of_nnunet(function, source, target, spacing):
    """Labels are equal but where, in nnU-Net's own logits, the two best are neighbouring numbers of half precision."""
    from nnunetv2.preprocessing.resampling import default_resampling, resample_torch

    generator = torch.Generator().manual_seed(0)
    small = torch.randn(1, 6, 4, 6, 6, generator=generator) * 5
    logits = functional.interpolate(small, source, mode="trilinear")[0].half()
    options = {**LINEAR} if function == "resample_data_or_seg_to_shape" else {"force_separate_z": None}
    module = default_resampling if function in vars(default_resampling) else resample_torch
    with mock.patch("torch.set_num_threads"):
        theirs = getattr(module, function)(logits.numpy().copy(), target, SPACINGS[spacing], (1, 1, 1), **options)
    configuration = {"resampling_fn_probabilities": function, "resampling_fn_probabilities_kwargs": options}
    rule = resampling_of(configuration, source, target, SPACINGS[spacing], (1, 1, 1))
    ours = torch.stack([torch.stack(list(planes)) for planes in resample_slices(logits.unbind(1), rule)], dim=1).numpy()
    expected = theirs.astype(np.float32)
    assert np.abs(ours - expected).max() <= 2**-7  # one step of half precision between 8 and 16
    differ = ours.argmax(0) != expected.argmax(0)
    assert differ.mean() <= 1e-4
    best = np.sort(expected, axis=0)[-2:]
    assert (best[1] - best[0] <= np.spacing(best[1].astype(np.float16)).astype(np.float32))[differ].all()


def test_everything_but_the_labels_stays_on_a_gpu(model):
    """Traced on tensors without content, from the tiles to the labels of a slab."""
    rows = rows_of_tiles([(slice(None), slice(z, z + 4), slice(0, 8), slice(0, 8)) for z in (0, 2, 4)])
    rule = Resampling((8, 8, 8), (12, 10, 11))
    with FakeTensorMode():
        network = torch.nn.Conv3d(1, 3, 3, padding=1, device="cuda", dtype=torch.half)
        slabs = logit_slabs(
            lambda row, place: torch.empty(1, 1, 4, 8, 8).to("cuda", torch.half),
            rows,
            [network, network],
            torch.empty(4, 8, 8, device="cuda", dtype=torch.half),
            (8, 8, 8),
            3,
            torch.device("cuda"),
        )
        slices = resample_slices((logits for slab in slabs for logits in slab.unbind(1)), rule)
        labels = [labels_of(planes, model.predictor.label_manager) for planes in slices]
    assert {(part.device.type, part.dtype, tuple(part.shape)) for part in labels} == {("cuda", torch.int16, (10, 11))}
    assert len(labels) == 12


@pytest.mark.parametrize(
    "changed",
    [
        {"resampling_fn_probabilities_kwargs": {**LINEAR, "order": 3}},
        {"resampling_fn_probabilities_kwargs": {**LINEAR, "order_z": 1}},
        {
            "resampling_fn_probabilities": "resample_torch_fornnunet",
            "resampling_fn_probabilities_kwargs": {"mode": "area"},
        },
    ],
)
def test_another_rule_of_resampling_is_refused(tmp_path, changed):
    folder = write_model(tmp_path / "model", **changed)
    with pytest.raises(ValueError, match=r"resampling_fn_probabilities .* Predict with nnUNetv2_predict"):
        load_model(ModelOptions(folder, folds=("0",), device="cpu"))


def test_plans_of_a_newer_host(tmp_path):
    """A name that this nnU-Net does not know."""
    folder = write_model(tmp_path / "model", preprocessor_name="PreprocessorOfTomorrow")
    with pytest.raises(ValueError, match=r"nnU-Net .* cannot load the model .* another version trained it"):
        load_model(ModelOptions(folder, folds=("0",), device="cpu"))
    plans = json.loads((folder / "plans.json").read_text())
    del plans["configurations"]["3d_fullres"]["preprocessor_name"]
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=r"KeyError: 'preprocessor_name'"):
        load_model(ModelOptions(folder, folds=("0",), device="cpu"))


def test_python_of_the_page(tmp_path, image, monkeypatch, capsys):
    page = Path(__file__).resolve().parents[3] / "docs" / "predict.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "MODEL_FOLDER")
    Path("IMAGES").mkdir()
    Path("IMAGES/CASE_0000.nii.gz").symlink_to(image)
    exec(code, {})
    assert capsys.readouterr().out.startswith("(slice(3, ")


def test_folds_are_loaded_through_the_hooks_of_their_trainer():
    """A slim checkpoint lacks tensors, which a hook of the network puts back as it is loaded."""

    def complete(module, state_dict, prefix, *_):
        state_dict.setdefault(f"{prefix}weight", torch.full((1, 2), 7.0))

    network = torch.nn.Linear(2, 1)
    network.register_load_state_dict_pre_hook(complete)
    parameters = [{"bias": torch.tensor([float(fold)])} for fold in range(3)]
    network.load_state_dict(dict(parameters[0]))
    first, *others = _networks(SimpleNamespace(network=network, list_of_parameters=parameters))
    assert first is network
    assert [other.bias.item() for other in others] == [1, 2]
    assert all(torch.equal(other.weight, torch.full((1, 2), 7.0)) for other in others)
