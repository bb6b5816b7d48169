"""A model of the authors' code, imported, under nnU-Net's predictor, against the authors' inference procedure.

The procedure is their ``test.py`` and ``util_script_btcv.py``, computed again here around our network, whose logits
``test_authors.py`` holds against theirs. What each stage is held to:

- prepared images, and the logits of each stack: equal to float32;
- probabilities in the interior: equal to softmax of the mean logits but for nnU-Net's sums in half precision;
- against the authors' mean of softmaxes, and at the first and last slices, the procedures differ: the differences are
  measured and bounded, so that a change in either shows.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.sharing.authors_model import CONFIGURATION
from nnunetv2_masam.sharing.authors_tasks import TASKS
from tests.conftest import TINY_VIT
from tests.sam_file import write_sam_file
from tests.unit.cli.test_help import PARSERS, examples

CHECKOUT = Path(__file__).resolve().parents[2]
SIDE = 128  # pixels, of the golden network
SLICES = 11
INTERIOR = slice(4, SLICES - 4)  # covered by five stacks in both procedures

pytestmark = pytest.mark.parametrize("golden", ["tiny"], indirect=True)


@dataclass
class Imported:
    folder: Path
    predictor: nnUNetPredictor

    def prepare(self, volume: np.ndarray) -> np.ndarray:
        """(D, H, W) to (1, D, H, W), by nnU-Net's preprocessor."""
        predictor = self.predictor
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        properties = {"spacing": [3.0, 0.8, 0.8]}
        data, _, _ = preprocessor.run_case_npy(
            volume[None], None, properties, predictor.plans_manager, predictor.configuration_manager, DATASET
        )
        return data


DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}, "file_ending": ".nii.gz"}


def import_arguments(golden, tmp_path, **changed) -> list[str]:
    description = tmp_path / "dataset.json"
    description.write_text(json.dumps(changed.pop("dataset", DATASET)))
    options = {
        "--adapt": golden.masam_adapt,
        "--sam": golden.sam_base,
        "--dataset-json": description,
        "--task": "btcv",
        "-o": tmp_path / "imported",
        **changed,
    }
    words = [word for name, value in options.items() for word in (name, str(value))]
    side = str(SIDE)
    return ["import-masam", *words, "--image-size", side, side, "--in-plane", side, side]


@pytest.fixture(scope="module")
def imported(golden, tmp_path_factory) -> Iterator[Imported]:
    folder = tmp_path_factory.mktemp("import")
    assert main(import_arguments(golden, folder)) == 0
    predictor = nnUNetPredictor(
        tile_step_size=0.2, use_gaussian=False, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_extTrainer", str(CHECKOUT / "trainers"))
        predictor.initialize_from_trained_model_folder(str(folder / "imported"), ("all",))
        yield Imported(folder / "imported", predictor)


def test_the_example_of_its_help(golden, tmp_path, monkeypatch):
    (words,) = examples(PARSERS["nnUNetv2_masam import-masam"])
    monkeypatch.chdir(tmp_path)
    shutil.copy(golden.masam_adapt, "epoch_299.pth")
    shutil.copy(golden.sam_base, "sam_vit_h_4b8939.pth")
    Path("dataset.json").write_text(json.dumps(DATASET))
    assert main(words) == 0
    assert Path(words[-1], "fold_all", "checkpoint_final.pth").is_file()


@pytest.fixture
def volume() -> np.ndarray:
    """(D, H, W) of HU; every stack of slices has voxels beyond both ends of the window."""
    rng = np.random.default_rng(3)
    return rng.normal(0, 250, (SLICES, SIDE, SIDE)).astype(np.float32)


def authors_stacks(volume: np.ndarray) -> list[torch.Tensor]:
    """(D, H, W) in SimpleITK's order to one (1, 1, 5, S, S) a slice, as the authors prepare and load them."""
    array = volume.transpose(2, 1, 0)  # as nibabel reads it: x, y, z
    array = np.concatenate([array[..., :1], array[..., :1], array, array[..., -1:], array[..., -1:]], axis=-1)
    stacks = []
    for index in range(2, array.shape[2] - 2):
        stack = array[:, :, index - 2 : index + 3]
        stack = np.flip(np.rot90(stack, k=1, axes=(0, 1)), axis=1)
        stack = (np.clip(stack, -200, 250) + 200) / 450 * 255.0
        stack = (np.float32(stack) - 50.21997497685108) / 68.47153712416372
        stack = (stack - stack.min()) / (stack.max() - stack.min() + 1e-8)
        stacks.append(torch.from_numpy(np.float32(stack)).permute(2, 0, 1)[None, None])
    return stacks


def logits_of_stacks(network: MASAM, volume: np.ndarray) -> list[torch.Tensor]:
    """(K, 5, S, S) for the authors' stack around each slice."""
    with torch.no_grad():
        return [network(stack)[0] for stack in authors_stacks(volume)]


def authors_average(outputs: list[torch.Tensor], weights: tuple[float, ...] = (1, 1, 1, 1, 1)) -> torch.Tensor:
    """(K, D, H, W) in SimpleITK's order: the average that ``test_single_volume`` takes of all stacks' softmaxes.

    For comparison also of logits, and with other than equal weights for the slices of a stack.
    """
    classes, _, *size = outputs[0].shape
    of_slice = torch.tensor(weights)[:, None, None]
    total, passes = torch.zeros(classes, len(outputs) + 4, *size), torch.zeros(len(outputs) + 4)
    for index, output in enumerate(outputs):
        total[:, index : index + 5] += of_slice * output
        passes[index : index + 5] += of_slice[:, 0, 0]
    mean = (total / passes[:, None, None])[:, 2:-2]
    saved = np.rot90(np.flip(mean.numpy(), axis=3), k=-1, axes=(2, 3))  # (K, D, x, y)
    return torch.from_numpy(saved.transpose(0, 1, 3, 2).copy())


def softmaxes(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return [logits.softmax(0) for logits in outputs]


def test_prepared_images_are_the_authors(golden, imported, volume):
    """Window, min-max, slices along the first axis, orientation (the network turns them)."""
    ours = torch.from_numpy(imported.prepare(volume)).flip(-2, -1)
    stacks = authors_stacks(volume)
    theirs = torch.cat([stack[0, :, 2] for stack in stacks])[None]  # the middle slice of each
    assert float(theirs.min()) == 0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_logits_of_a_stack_are_the_authors(golden, imported, volume):
    """Also for the image that the authors' own code was run on."""
    network = imported.predictor.network.eval()
    ours = network(golden.image(1).flip(-2, -1)).flip(-2, -1).transpose(1, 2).flatten(0, 1)
    theirs = golden["logits"]
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()

    middle = SLICES // 2
    prepared = torch.from_numpy(imported.prepare(volume))[None, :, middle - 2 : middle + 3]
    theirs = golden.network(1).eval()(authors_stacks(volume)[middle])
    ours = network(prepared).flip(-2, -1)
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_probabilities_against_the_authors_procedure(golden, imported, volume):
    _, probabilities = imported.predictor.predict_single_npy_array(
        volume[None], {"spacing": [3.0, 0.8, 0.8]}, None, None, True
    )
    ours = torch.from_numpy(probabilities)
    outputs = logits_of_stacks(golden.network(1).eval(), volume)
    logits, theirs = authors_average(outputs), authors_average(softmaxes(outputs))

    # Half precision: five sums and a division, each rounded to 2^-11 of a sum of five logits at most; a probability
    # changes by at most half of what the logits change by.
    rounding = 0.5 * 6 * 2**-11 * float(logits.abs().max())
    half_precision = (ours - logits.softmax(0))[:, INTERIOR].abs().max()
    procedure = (ours - theirs)[:, INTERIOR].abs().max()
    edges = torch.cat([(ours - theirs)[:, :4], (ours - theirs)[:, -4:]], dim=1).abs().max()
    same = (ours.argmax(0) == theirs.argmax(0))[INTERIOR].float().mean()
    print(
        f"largest logit {logits.abs().max():.3g}; largest differences of probabilities: half precision "
        f"{half_precision:.1e} (bound {rounding:.1e}), softmax of the mean {procedure:.1e}, edges {edges:.1e}; "
        f"{same:.4%} of the voxels get the same label"
    )
    assert half_precision < rounding
    assert procedure < 0.1
    assert same > 0.99
    assert edges < 0.5


def test_stock_command_predicts_the_same(golden, imported, volume, tmp_path, monkeypatch):
    """From a NIfTI file, with a geometry that must come back."""
    sitk = pytest.importorskip("SimpleITK")
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point

    model = (
        tmp_path
        / "results"
        / "Dataset950_Import"
        / f"nnUNetTrainerMASAM_paper__nnUNetMASAMImportPlans__{CONFIGURATION}"
    )
    model.parent.mkdir(parents=True)
    model.symlink_to(imported.folder)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((0.8, 0.8, 3.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    (tmp_path / "images").mkdir()
    sitk.WriteImage(image, str(tmp_path / "images" / "case_0000.nii.gz"))
    for name in ("results", "raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    arguments = "-d 950 -c 3d_fullres -tr nnUNetTrainerMASAM_paper -p nnUNetMASAMImportPlans -f all -step_size 0.2 "
    arguments += f"-i {tmp_path / 'images'} -o {tmp_path / 'out'} -device cpu -npp 0 -nps 0 --disable_tta"
    monkeypatch.setattr("sys.argv", ["nnUNetv2_predict", *arguments.split()])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # the command's would stay for all later tests
    predict_entry_point()
    predicted = sitk.ReadImage(str(tmp_path / "out" / "case.nii.gz"))
    assert predicted.GetDirection() == image.GetDirection()
    ours = sitk.GetArrayFromImage(predicted)[INTERIOR]
    outputs = logits_of_stacks(golden.network(1).eval(), volume)
    # nnU-Net's Gaussian over a stack; in the corners of the plane it is too small for half precision
    gaussian = tuple(math.exp(-0.5 * (offset * 8 / 5) ** 2) for offset in (-2, -1, 0, 1, 2))
    weighed = authors_average(outputs, gaussian).argmax(0).numpy()[INTERIOR]
    same = ours == weighed
    middle = same[:, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    theirs = authors_average(softmaxes(outputs)).argmax(0).numpy()[INTERIOR]
    print(
        f"same label as with the Gaussian: {same.mean():.4%} of the voxels, {middle.mean():.4%} in the middle of the "
        f"plane; as in the authors' procedure: {(ours == theirs).mean():.4%}"
    )
    assert middle.mean() > 0.999
    assert same.mean() > 0.99
    assert (ours == theirs).mean() > 0.95


def test_what_was_recognised_and_what_differs(golden, imported, capsys):
    plans = json.loads((imported.folder / "plans.json").read_text())
    configuration = plans["configurations"][CONFIGURATION]
    arch_kwargs = configuration["architecture"]["arch_kwargs"]
    assert arch_kwargs["vit"] == {"embed_dim": 64, "depth": 3, "num_heads": 4, "global_attn_indexes": [1]}
    assert (arch_kwargs["fact_rank"], arch_kwargs["adapter_channels"]) == (8, 384)
    assert configuration["patch_size"] == [5, SIDE, SIDE]
    assert imported.predictor.network.num_classes == 4
    readme = (imported.folder / "README.txt").read_text()
    for difference in (*TASKS["btcv"].differences, "-step_size 0.2"):
        assert difference in readme
    assert plans["masam_import"]["adapt"]["file"] == "masam_adapt.pth"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset": {**DATASET, "labels": {"background": 0, "a": 1}}}, "got 2 labels.*the model has 4 outputs"),
        ({"dataset": {**DATASET, "channel_names": {"0": "T1", "1": "T2"}}}, "got 2 channels"),
        ({"--adapt": "sam"}, "expected a file saved by the MA-SAM authors' code"),
        ({"--sam": "adapt"}, "the MA-SAM authors' code, without SAM's frozen weights"),
    ],
)
def test_what_does_not_fit_is_refused(golden, tmp_path, changed, message, capsys):
    files = {"sam": golden.sam_base, "adapt": golden.masam_adapt}
    changed = {name: files.get(value, value) if isinstance(value, str) else value for name, value in changed.items()}
    assert main(import_arguments(golden, tmp_path, **changed)) == 2
    assert not (tmp_path / "imported").exists()
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_two_vits_are_both_named(golden, tmp_path, capsys):
    sam = write_sam_file(tmp_path / "other.pth", TINY_VIT)
    assert main(import_arguments(golden, tmp_path, **{"--sam": sam})) == 2
    error = capsys.readouterr().err
    assert "was trained on a ViT (width 64, 3 blocks)" in error
    assert "holds custom embed_dim=32, depth=2 (width 32, 2 blocks)" in error


@pytest.mark.parametrize("lost", ["q_FacTs_002", "blocks.1.", "image_encoder.FacTv.weight", "mask_decoder.iou_token"])
def test_tensor_that_neither_file_holds_is_an_error(golden, tmp_path, capsys, lost):
    """FacT's cores, a block's adapters, a factor; what only SAM trains is in its file."""
    kept = {name: t for name, t in torch.load(golden.masam_adapt, weights_only=True).items() if lost not in name}
    torch.save(kept, tmp_path / "adapt.pth")
    code = main(import_arguments(golden, tmp_path, **{"--adapt": tmp_path / "adapt.pth"}))
    if lost == "mask_decoder.iou_token":
        assert code == 0
    else:
        assert code == 2
        assert "tensors of the network are neither in it nor in" in capsys.readouterr().err
        assert not (tmp_path / "imported").exists()


def test_values_that_are_not_finite_are_refused(golden, tmp_path, capsys):
    content = torch.load(golden.masam_adapt, weights_only=True)
    content["image_encoder.FacTu.weight"][0, :3] = float("nan")
    torch.save(content, tmp_path / "adapt.pth")
    assert main(import_arguments(golden, tmp_path, **{"--adapt": tmp_path / "adapt.pth"})) == 2
    assert "3 NaN or infinite values in image_encoder.FacTu.weight" in capsys.readouterr().err


def test_prostate_scales_each_volume(golden, imported, tmp_path, volume):
    assert main(import_arguments(golden, tmp_path, **{"--task": "prostate", "-o": tmp_path / "prostate"})) == 0
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(tmp_path / "prostate"), ("all",))
    clipped = np.minimum(volume, np.quantile(volume, 0.99))
    prepared = Imported(tmp_path / "prostate", predictor).prepare(clipped)
    theirs = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    np.testing.assert_allclose(prepared[0], theirs, atol=1e-6)
