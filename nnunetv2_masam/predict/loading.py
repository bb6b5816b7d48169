"""A trained model folder, checked and loaded by nnU-Net's predictor."""

from __future__ import annotations

import contextlib
import copy
import io
from importlib.metadata import version
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

from nnunetv2_masam.files import shortened
from nnunetv2_masam.nnunet_files import dataset_name, folder_of, read_dataset_json
from nnunetv2_masam.plans_file import read_plans
from nnunetv2_masam.predict.model import Model
from nnunetv2_masam.predict.request import DEVICES, ModelOptions
from nnunetv2_masam.predict.resample import resampling_of


def model_folder(options: ModelOptions) -> Path:
    """The model folder that is meant.

    Raises:
        ValueError: none is named, or two are, or it is not there or damaged.
    """
    named = options.dataset is not None and options.configuration is not None
    if named == (options.folder is not None):
        got = "both" if named else "none"
        raise ValueError(f"model: got {got}, expected a model folder (-m), or dataset and configuration (-d and -c)")
    if options.folder is not None:
        folder = Path(options.folder)
    else:
        name = f"{options.trainer}__{options.plans}__{options.configuration}"
        folder = folder_of("nnUNet_results") / dataset_name(str(options.dataset)) / name
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such model folder. Train the model, or name another one")
    read_plans(folder / "plans.json")
    read_dataset_json(folder)
    return folder


def load_model(options: ModelOptions) -> Model:
    """Load a trained model of any trainer. Checkpoints are unpickled: load those of people you trust only.

    Raises:
        ValueError: a fold is missing, this nnU-Net does not know what the plans name, or there is no such device.
    """
    folder, folds = model_folder(options), tuple(map(str, options.folds))
    _check_folds(folder, folds, options.checkpoint)
    device = _checked_device(options.device)
    if not 0 < options.step_size <= 1:
        raise ValueError(f"-step_size: got {options.step_size}, expected above 0 and at most 1")
    with contextlib.redirect_stdout(io.StringIO()):  # remarks on settings that do not matter here
        predictor = nnUNetPredictor(
            tile_step_size=options.step_size, use_mirroring=options.mirroring, device=device, allow_tqdm=False
        )
        try:
            predictor.initialize_from_trained_model_folder(str(folder), folds, options.checkpoint)
            configuration, plans = predictor.configuration_manager, predictor.plans_manager
            if None in (configuration.preprocessor_class, plans.image_reader_writer_class):
                raise RuntimeError("unknown preprocessor or reader")
            resampling_of(configuration.configuration, (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))
        except (KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
            raise _unknown_model(folder, error) from error
    networks = [network.to(device).eval() for network in _networks(predictor)]
    predictor.network = predictor.list_of_parameters = None
    return Model(predictor, networks, device if device.type == "cuda" and options.on_device else torch.device("cpu"))


def _networks(predictor: nnUNetPredictor) -> list[nn.Module]:
    """One network for each fold; a checkpoint's tensors become the weights without a copy."""
    first = predictor.network
    plain = getattr(first, "_orig_mod", first)
    networks = [first]
    for parameters in predictor.list_of_parameters[1:]:
        network = copy.deepcopy(plain)
        network.load_state_dict(parameters, assign=True)
        networks.append(network if plain is first else torch.compile(network))
    return networks


def _check_folds(folder: Path, folds: tuple[str, ...], checkpoint: str) -> None:
    missing = [fold for fold in folds if not (folder / f"fold_{fold}" / checkpoint).is_file()]
    if missing or not folds:
        there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
        raise ValueError(
            f"{folder}: no {checkpoint} of fold {shortened(missing, 9)}; there is one of {shortened(there) or 'none'}. "
            "Name trained folds with -f, or another checkpoint with -chk"
        )


def _checked_device(name: str) -> torch.device:
    if name not in DEVICES:
        raise ValueError(f"-device: got {name!r}, expected one of {', '.join(DEVICES)}")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not available[name]:
        raise ValueError(f"-device: got {name}, but torch finds no such device. Predict on the CPU with -device cpu")
    return torch.device(name)


def _unknown_model(folder: Path, error: Exception) -> ValueError:
    first = (str(error).strip() or "unknown name in the plans").splitlines()[0]
    return ValueError(
        f"{folder}: nnU-Net {version('nnunetv2')} cannot load the model ({type(error).__name__}: {first}). If another "
        "version trained it, predict with that one"
    )
