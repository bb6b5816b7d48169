"""Checks of the installation and of what a training needs, and for each failure how to fix it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import platform
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from nnunetv2_masam import __version__
from nnunetv2_masam.catalogue import class_names, find_planner, is_checkout, planners_folder, trainers_folder
from nnunetv2_masam.requirements import DISTRIBUTION, required, wrong_versions

OK, WARNING, FAILED = "ok", "warning", "FAILED"
_ABSENT = "not here; training downloads it (nnUNetTrainerMASAM_tiny needs none)"
REINSTALL = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
TRAINERS_VARIABLE = "nnUNet_extTrainer"
EXPORT = "export nnUNet_extTrainer=$(nnUNetv2_masam trainers-path)"
SAM_PRESETS = ("vit_b", "vit_l", "vit_h")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: what was looked at.
        status: ``OK``, ``WARNING`` or ``FAILED``; training cannot work with a ``FAILED`` one.
        detail: what was found.
        remedy: what to do, for the line below; empty when all is well.
    """

    subject: str
    status: str
    detail: str
    remedy: str = ""


def check_all(dataset: str | None = None) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Title and findings of every check; an exception in one becomes its last finding.

    Args:
        dataset: number or name of a dataset whose preprocessed cases, label files and images are read too.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Versions", check_versions),
        ("Folders of nnU-Net", check_folders),
        ("Trainers, as nnU-Net finds them", check_trainers),
        ("Planners", check_planners),
        ("Network and device", check_network),
        ("Pretrained weights", check_weights),
    ]
    if dataset:
        checks.append((f"Preprocessed data of {dataset}", partial(check_data, dataset)))
        checks.append((f"Labels, images and folds of {dataset}", partial(check_files, dataset)))
    for title, check in checks:
        yield title, _guarded(title, check)


def _guarded(title: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of ``check``, and an exception as a last one: a broken environment must not end the report."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # for those who call a library
            yield from check()
    except Exception as error:  # a doctor that dies of what it should report is of no use
        remedy = f"fix what the message names, or {REINSTALL}"
        if wrong_versions():
            remedy = "install the versions that are needed, see the remedies under Versions"
        elif isinstance(error, ModuleNotFoundError):
            remedy = f"pip install {str(error.name).partition('.')[0]}"
        elif "torchvision" in str(error):  # nnU-Net imports all its own trainers, some with timm, before it finds ours
            remedy = "torchvision does not match torch: install both from the same index, in one pip command"
        yield Finding(title, FAILED, f"{type(error).__name__}: {error}", remedy)


def check_data(dataset: str) -> Iterator[Finding]:
    """Every preprocessed case of a dataset; one that cannot be found says nothing of the installation."""
    try:
        yield from _check_cases(dataset)
    except ValueError as error:
        yield Finding(
            f"-d {dataset}", WARNING, str(error), "correct -d, or leave it out to check the installation only"
        )


def check_files(dataset: str) -> Iterator[Finding]:
    """The label files, images and folds of a dataset."""
    from nnunetv2_masam.data_checks import faults_of_files

    found = 0
    try:
        for fault in faults_of_files(dataset):
            found += 1
            yield Finding(fault.subject, WARNING, fault.detail, fault.remedy)
    except ValueError as error:
        yield Finding(f"-d {dataset}", WARNING, str(error), "correct what the message names")
    else:
        if not found:
            yield Finding("labels and images", OK, "whole numbers that dataset.json defines, channels of one size")


def _check_cases(dataset: str) -> Iterator[Finding]:
    from nnunetv2_masam.data_checks import nonfinite_cases
    from nnunetv2_masam.nnunet_files import preprocessed_dataset

    folders = [file.parent for file in sorted(preprocessed_dataset(dataset).glob("*/*.pkl"))]
    for folder in dict.fromkeys(folders):
        damaged = list(nonfinite_cases(folder))
        for case, count in damaged:
            remedy = "repair its images and preprocess again, or leave the case out of the splits"
            yield Finding(f"{folder.name}/{case}", WARNING, f"{count} values are not finite", remedy)
        if not damaged:
            yield Finding(folder.name, OK, "all values are finite")
    if not folders:
        remedy = f"nnUNetv2_plan_and_preprocess -d {dataset}"
        yield Finding(dataset, WARNING, f"no preprocessed cases in {preprocessed_dataset(dataset)}", remedy)


def check_versions() -> Iterator[Finding]:
    """Python, this package, and every distribution that it requires."""
    yield Finding("python", OK, f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    mode = "editable or source tree" if is_checkout() else "installed"
    where = Path(__file__).resolve().parents[1]
    try:
        requirements = required()
        yield Finding(DISTRIBUTION, OK, f"{__version__}, {mode}, in {where}")
    except metadata.PackageNotFoundError:
        requirements = []
        yield Finding(DISTRIBUTION, WARNING, f"{__version__}, not installed, from {where}", f"pip install -e {where}")
    for requirement in requirements:
        yield _check_requirement(requirement.name, str(requirement.specifier), requirement.specifier.contains)


def check_folders() -> Iterator[Finding]:
    """The three environment variables of nnU-Net."""
    for name, needed in (("nnUNet_raw", False), ("nnUNet_preprocessed", True), ("nnUNet_results", True)):
        value = os.environ.get(name)
        if not value:
            purpose = "training" if needed else "planning and preprocessing"
            remedy = f"export {name}=/some/folder (needed for {purpose})"
            yield Finding(name, FAILED if needed else WARNING, "not set", remedy)
        elif not Path(value).is_dir():
            yield Finding(name, WARNING, f"{value} does not exist", f"mkdir -p {value}, or correct {name}")
        else:
            yield Finding(name, OK, value)


def check_trainers() -> Iterator[Finding]:
    """Each class in our folder, looked up by name the way ``nnUNetv2_train -tr`` does."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    ours = trainers_folder()
    for name in class_names(ours):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            if "not find requested" not in str(error):
                raise
            yield Finding(name, FAILED, _why_not_registered(ours), f"{EXPORT}, or {REINSTALL}")
            continue
        folder = _folder_of(found)
        if folder == ours:
            yield Finding(name, OK, f"from {folder}")
        else:
            remedy = f"unless it is meant to replace ours in {ours}, remove {folder} from nnUNet_extTrainer"
            yield Finding(name, WARNING, f"from {folder}, which comes before ours", remedy)


def check_planners() -> Iterator[Finding]:
    """Each planner class in our folder."""
    for name in class_names(planners_folder()):
        find_planner(name)
        yield Finding(name, OK, f"from {planners_folder()}")


def check_network() -> Iterator[Finding]:
    """A small network, forward, and the device."""
    import torch

    from nnunetv2_masam.network import MASAM

    try:
        with torch.inference_mode():
            network = MASAM(1, 2, vit="vit_t", image_size=(64, 64)).eval()
            shape = tuple(network(torch.zeros(1, 1, 2, 64, 64)).shape)
        if shape != (1, 2, 2, 64, 64):
            raise ValueError(f"output of shape {shape}, expected (1, 2, 2, 64, 64)")
    except Exception as error:  # whatever it is belongs into the report
        yield Finding("network", FAILED, f"cannot be built: {type(error).__name__}: {error}", REINSTALL)
    else:
        yield Finding("network", OK, "a small MA-SAM was built and run")
    with warnings.catch_warnings(record=True) as said:  # such as a driver that is too old
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        precision = "bf16" if properties.major >= 8 else "fp16, no bf16"
        detail = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {precision}"
        yield Finding(f"cuda:{index}", OK, detail)
    if not count:
        without_cuda = [] if torch.version.cuda else [f"torch {torch.__version__} is built without CUDA"]
        yield Finding(
            "device",
            WARNING,
            "; ".join(["no CUDA device", *without_cuda, *(str(warning.message) for warning in said)]),
            "on the CPU, train nnUNetTrainerMASAM_tiny with -device cpu; for ViT-B and larger use a GPU",
        )


def check_weights() -> Iterator[Finding]:
    """Pretrained weights, where training would look for them; ``nnUNetTrainerMASAM_tiny`` needs none."""
    from nnunetv2_masam.weights import find_checkpoint
    from nnunetv2_masam.weights.local_files import find_local
    from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint
    from nnunetv2_masam.weights.search import named_source

    try:
        named = named_source()
    except (ValueError, FileNotFoundError) as error:
        yield Finding("MASAM_CHECKPOINT", WARNING, str(error), "correct or unset MASAM_CHECKPOINT")
        return
    if isinstance(named, PublishedCheckpoint):
        yield _weights_finding(named.name, lambda: find_local(named))
        return
    for vit in SAM_PRESETS:
        yield _weights_finding(vit, partial(find_checkpoint, vit))
    others = {name: known for name, known in CHECKPOINTS.items() if name not in SAM_PRESETS}
    absent = []
    for name, known in others.items():
        finding = _weights_finding(name, partial(find_local, known))
        if finding.detail == _ABSENT:
            absent.append(name)
        else:
            yield finding
    yield Finding("others", OK, f"not here: {', '.join(absent)}; MASAM_CHECKPOINT=NAME takes one of them")


def _weights_finding(name: str, find: Callable[[], Path | None]) -> Finding:
    try:
        path = find()
    except (ValueError, FileNotFoundError) as error:
        return Finding(name, WARNING, str(error), "correct or unset MASAM_CHECKPOINT, or remove the file")
    if path is not None:
        return Finding(name, OK, str(path))
    remedy = f"without internet: nnUNetv2_masam weights download {name} elsewhere, then set MASAM_CHECKPOINT"
    return Finding(name, WARNING, _ABSENT, remedy)


def _check_requirement(name: str, specifier: str, fits: Callable[..., bool]) -> Finding:
    install = f'pip install "{name}{specifier}"'
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return Finding(name, FAILED, f"missing, {specifier} is needed", install)
    found = distribution.version
    if not fits(found, prereleases=True):
        return Finding(name, FAILED, f"{found}, {specifier} is needed", install)
    return Finding(name, OK, found + (", editable" if _is_editable(distribution) else ""))


def _is_editable(distribution: metadata.Distribution) -> bool:
    """Whether pip has noted an editable install (PEP 610)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _why_not_registered(ours: Path) -> str:
    entries = _search_path()
    if str(ours) in entries:
        return f"not found although {TRAINERS_VARIABLE} has {ours}"
    return (
        f"not found: {ours} is not in {TRAINERS_VARIABLE} ({os.pathsep.join(entries) or 'not set'}). The start-up file "
        "nnunetv2_masam.pth was not run: pip install --target, PYTHONPATH and python -S leave it out"
    )


def _search_path() -> list[str]:
    """Folders that nnU-Net searches after its own."""
    return [entry for entry in os.environ.get(TRAINERS_VARIABLE, "").split(os.pathsep) if entry.strip()]


def _folder_of(trainer: type) -> Path | None:
    """Folder a trainer came from; its module is gone from ``sys.modules`` after the lookup."""
    if trainer.__module__.startswith("nnunetv2."):
        origin = importlib.util.find_spec(trainer.__module__)
        return Path(str(origin.origin)).parent if origin else None
    for entry in _search_path():
        if (Path(entry) / (trainer.__module__.replace(".", os.sep) + ".py")).is_file():
            return Path(entry).resolve()
    return None
