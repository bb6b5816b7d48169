"""The tables of docs/models.md are those of the result file, and its numbers those of the networks."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from tests.recipes import RECIPES
from tests.scripts import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/parameters.py")


@pytest.fixture(scope="module")
def result(script) -> dict:
    return json.loads(script.RESULT.read_text())


@pytest.mark.parametrize("name", ["trainers", "parameters"])
def test_page_shows_the_result_file(script, result, name):
    page = script.PAGE.read_text()
    assert script.replaced(page, name, script.tables(result)[name]) == page


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.__name__ for recipe in RECIPES])
def test_numbers_are_the_networks(script, result, recipe):
    assert script.count(recipe, "vit_b") == result["parameters"][recipe.__name__]["vit_b"]
    named, now = result["trainers"][recipe.__name__], script.describe(recipe)
    for key in ("what", "trained", "pretrained_weights"):
        assert named[key] == now[key]


def test_foreign_networks_have_as_many_as_the_page_says(script, result):
    pytest.importorskip("monai.networks.nets")
    trainers = script.full_length_trainers()
    assert {name: script.count_foreign(trainers[name]) for name in result["foreign"]} == result["foreign"]
    assert result["foreign"]["nnUNetTrainerUXNet3D"] == {"3d": 53_006_510}
    assert result["foreign"]["nnUNetTrainerNNFormer"] == {"3d": 150_054_210}


def test_backbones_are_those_of_the_result_file_and_of_the_networks():
    script = load_script("benchmarks/backbones.py")
    recipe = "nnUNetTrainerMASAM_slim77"
    counted = script.describe(recipe)
    numbers = {name: {**counted, "cpu_seconds_per_slice": 0.25} for name in script.RECIPES}
    page = script.with_table("before\n\n## Ablations\nafter", numbers)
    assert script.with_table(page, numbers) == page
    assert f"| `{recipe}` | vit_slim77 | {counted['parameters'] / 1e6:.1f} M | " in page
    if script.RESULT.is_file():
        measured = json.loads(script.RESULT.read_text(encoding="utf-8"))["backbones"]
        text = script.PAGE.read_text(encoding="utf-8")
        assert script.with_table(text, measured) == text
        counted.pop("gigaflop_per_slice")
        assert {**measured[recipe], **counted} == measured[recipe]
