"""How ``nnUNetv2_masam`` ends: one sentence and a code, whatever goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from nnunetv2_masam.cli import COMMANDS, main
from nnunetv2_masam.cli.subcommands import LazyParser

ROOT = Path(__file__).resolve().parents[3]
version = metadata.version


@pytest.fixture
def failing(monkeypatch):
    """Every subcommand's module replaced by one whose ``run`` raises."""

    def fail_with(error: BaseException, when: str = "run") -> None:
        def raise_it(_: object) -> int:
            raise error

        def load(parser: LazyParser) -> None:
            if parser.module is not None:
                parser.module = None
                parser.set_defaults(run=raise_it, prog=parser.prog)
                if when == "import":
                    raise error

        monkeypatch.setattr(LazyParser, "load", load)

    return fail_with


@pytest.mark.parametrize(
    "error",
    [
        TypeError("recursive_find_python_class() got an unexpected keyword argument 'base_folder'"),
        ModuleNotFoundError(
            "No module named 'nnunetv2.utilities.find_objects'", name="nnunetv2.utilities.find_objects"
        ),
    ],
)
def test_a_host_that_another_package_has_replaced(failing, capsys, monkeypatch, error):
    """Other plugins pin nnU-Net to a version of their own."""
    monkeypatch.setattr(metadata, "version", lambda name: "2.6.2" if name == "nnunetv2" else version(name))
    failing(error)
    assert main(["plan"]) == 2
    said = capsys.readouterr().err
    assert str(error) in said
    assert 'nnunetv2 2.6.2 is installed, <3,>=2.8 is needed: pip install "nnunetv2<3,>=2.8"' in said
    failing(ValueError("-d: got 5"))
    assert main(["plan"]) == 2
    assert capsys.readouterr().err == "nnUNetv2_masam plan: -d: got 5\n"


def test_a_bug_of_ours_keeps_its_traceback(failing):
    failing(TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        main(["plan"])


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_every_command_quietly(failing, capsys, command):
    failing(KeyboardInterrupt())
    assert main([command]) == 130
    assert capsys.readouterr().err == f"\nnnUNetv2_masam {command}: interrupted\n"


def test_ctrl_c_while_modules_are_imported(failing, capsys):
    failing(KeyboardInterrupt(), when="import")
    assert main(["plan"]) == 130


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("-d: got 5"), "-d: got 5"),
        (RuntimeError("nnUNet_raw is not defined."), "nnUNet_raw is not defined."),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b: Permission denied. Check who may read and write it"),
        (OSError(28, "No space left on device", "/a/b"), "/a/b: No space left on device"),
        (IsADirectoryError(21, "Is a directory", "/a"), "/a: Is a directory"),
        (FileNotFoundError("trainers: no nnUNetTrainerMASAM.py"), "trainers: no nnUNetTrainerMASAM.py"),
        (ModuleNotFoundError("No module named 'timm.layers'", name="timm.layers"), "pip install timm"),
        (MemoryError(), "not enough memory"),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
@pytest.mark.parametrize("when", ["run", "import"])
def test_errors_are_sentences(failing, capsys, error, said, when):
    failing(error, when)
    assert main(["plan"]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("nnUNetv2_masam")
    assert "Traceback" not in message


def test_a_traceback_is_printed_on_request_and_for_bugs(failing, capsys, monkeypatch):
    monkeypatch.setenv("MASAM_TRACEBACK", "1")
    failing(ValueError("wrong"))
    assert main(["plan"]) == 2
    assert "Traceback" in capsys.readouterr().err
    failing(KeyError("a bug"))
    with pytest.raises(KeyError):
        main(["plan"])


def test_what_nnunet_asserts_of_a_dataset_is_a_sentence(monkeypatch, capsys):
    def load(parser: LazyParser) -> None:
        parser.set_defaults(run=host["check"], prog=parser.prog)

    host: dict = {"__name__": "nnunetv2.experiment_planning.verify_dataset_integrity"}
    exec("def check(args):\n    assert args is None, 'Missing files in labelsTr.'", host)
    monkeypatch.setattr(LazyParser, "load", load)
    assert main(["plan"]) == 2
    assert capsys.readouterr().err == "nnUNetv2_masam plan: Missing files in labelsTr.\n"
    host["__name__"] = "nnunetv2_masam.planning"
    with pytest.raises(AssertionError):
        main(["plan"])


def test_a_closed_pipe_is_quiet():
    command = f"({sys.executable} -m nnunetv2_masam.cli trainers-path; echo $? >&2) | true"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == "141\n"


def test_a_broken_pipe_of_something_else_is_an_error(failing, capsys):
    failing(BrokenPipeError(32, "Broken pipe"))
    assert main(["plan"]) == 2
    assert capsys.readouterr().err == "nnUNetv2_masam plan: Broken pipe\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "few-shot -d 4 -k 1",
        "fixed-folds btcv-paper -d 4",
        "frames -d 4 -i predictions -o masks",
        "video-scores -d 4 -i predictions",
        "boxes dataset -d 4 -o Dataset104_B --label a",
        "convert video {frames} -d 4",
    ],
)
def test_unset_variables_and_unknown_datasets(arguments, tmp_path, monkeypatch, capsys):
    from tests.video_files import write_video

    write_video(tmp_path / "frames" / "s", 2)
    words = arguments.format(frames=tmp_path / "frames").split()
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.delenv(f"nnUNet_{name}", raising=False)
    assert main(words) == 2
    assert "nnUNet_" in capsys.readouterr().err
    if words[0] != "convert":
        for name in ("raw", "preprocessed", "results"):
            (tmp_path / name).mkdir()
            monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
        assert main(words) == 2
        assert "Could not find a dataset with the ID 4" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["inf", "nan", "0", "-8", "much"])
def test_memory_targets(target, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "-d", "4", "-gpu_memory_target", target])
    assert f"got '{target}', expected a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.json", [], "holds list, expected an object"),
        ("dataset.json", {"labels": ["a"], "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}, "labels: got"),
        ("dataset.json", {"labels": {"a": "x"}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}, "labels: got"),
        ("dataset.json", {"labels": {"a": 1}, "channel_names": ["CT"], "file_ending": ".nii.gz"}, "channel_names: got"),
        ("dataset.json", {"labels": {"a": 1}, "channel_names": {"0": "CT"}}, "file_ending: got None"),
        (
            "dataset.json",
            {"labels": {"a": 1}, "channel_names": {"0": "CT"}, "file_ending": "/../x"},
            "file_ending: got",
        ),
        ("splits_final.json", {"train": []}, "holds dict, expected a list"),
        ("splits_final.json", [{"train": ["a"]}], "fold 0 is not"),
        ("splits_final.json", [{"train": "a", "val": ["b"]}], "fold 0 is not"),
        ("few_shot.json", [{"fold": 5}], "entry 0 is"),
        ("fixed_folds.json", {"fold": 5}, "holds dict, expected a list"),
        ("fixed_folds.json", [{"fold": "5", "name": "a"}], "entry 0 is"),
    ],
)
def test_json_of_another_shape(dataset, capsys, name, content, message):
    (dataset.preprocessed / name).write_text(json.dumps(content))
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert str(dataset.preprocessed / name) in said


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nnUNetv2_masam fixed", {"fixed-folds"}),
        ("nnUNetv2_masam boxes ", {"dataset", "drawn", "oracle", "markups"}),
        ("nnUNetv2_masam boxes drawn --coo", {"--coordinates"}),
        ("nnUNetv2_masam fixed-folds btcv", {"btcv-paper"}),
    ],
)
def test_shell_completion(line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "completions"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    subprocess.run([sys.executable, "-m", "nnunetv2_masam.cli"], env=environment, check=True, timeout=120)
    found = {word.strip() for word in (tmp_path / "completions").read_text().split("\n")}
    assert {word for word in found if not word.startswith("-h") and word != "--help"} == expected
