"""The demonstration's picture: which cases it shows, and that it shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"


@pytest.fixture(autouse=True)
def demo_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEMO))


def test_best_and_worst_case(tmp_path: Path) -> None:
    import picture

    rows = ["model,case,label,Dice"]
    for model, gain in (("A", 0.1), ("B", 0.0)):
        for case, dice in (("one", 0.5), ("two", 0.2), ("three", 0.8)):
            rows += [f"{model},{case},{label},{dice + gain}" for label in ("liver", "kidneys")]
            rows.append(f"{model},{case},vessel,")  # in neither mask
    (tmp_path / "cases.csv").write_text("\n".join(rows), encoding="utf-8")
    dice = picture.read_dice(tmp_path / "cases.csv")
    assert dice["A"]["one"] == {"liver": 0.6, "kidneys": 0.6}
    assert picture.best_and_worst(dice) == ["three", "two"]


def test_picture(tmp_path: Path) -> None:
    import phantom
    import picture

    phantom.write_dataset(tmp_path, cases=0, test_cases=1, seed=0)
    dice = {"A": {"phantom_000": {"liver": 1.0, "kidneys": 1.0}}}
    picture.draw(tmp_path / "a.png", tmp_path, {"A": tmp_path / "labelsTs"}, dice, ["phantom_000"])
    assert 20_000 < (tmp_path / "a.png").stat().st_size < 150_000


def test_masam_is_pretrained_where_the_package_is_installed(tmp_path, monkeypatch) -> None:
    import run

    installed = run.find_installed(run.CHECKPOINTS[run.DEFAULT_FOR_VIT["lite_medsam"]]) is not None
    assert run.MODELS["MA-SAM"] == (run.PRETRAINED if installed else run.FROM_SCRATCH)
    assert ("starts from LiteMedSAM's weights" in run._starting_point()) == installed
    monkeypatch.setenv("MASAM_CHECKPOINT", "somewhere.pth")
    demo = run.Demo(tmp_path)
    assert "MASAM_CHECKPOINT" not in demo.environment
    for name in run.MODELS.values():
        folders = demo.environment["nnUNet_extTrainer"].split(os.pathsep)
        assert any(f"class {name}(" in file.read_text() for folder in folders for file in Path(folder).glob("*.py"))


def test_a_demonstration_that_is_complete_runs_no_command(tmp_path, monkeypatch, capsys) -> None:
    import run

    demo = run.Demo(tmp_path)
    called = []
    monkeypatch.setattr(demo, "call", lambda command, *arguments: called.append(command))
    demo.raw.mkdir(parents=True)
    (demo.raw / "dataset.json").touch()
    demo.step("data", "1. Data", demo.write_data)
    assert demo.minutes() == {}
    assert "there already" in capsys.readouterr().out
    demo.step("planning", "2. Plan", demo.plan)
    assert called == ["nnUNetv2_plan_and_preprocess"]
    assert list(demo.minutes()) == ["planning"]
