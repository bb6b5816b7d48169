"""Find the pretrained weights that a training starts from.

Order of search: ``MASAM_CHECKPOINT`` (a file, a folder, a URL or the name of a known checkpoint), the cache
(``MASAM_CACHE``, else the platform's cache folder), an installed package that holds the file, then a download unless
``MASAM_OFFLINE`` is set.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from nnunetv2_masam.architecture import TIMM, TINY_VIT_PRESETS, VIT_PRESETS
from nnunetv2_masam.files import cache_folder, env_flag
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.formats import recognise_file
from nnunetv2_masam.weights.local_files import find_known, find_local
from nnunetv2_masam.weights.published import CHECKPOINTS, DEFAULT_FOR_VIT, PublishedCheckpoint, at_url
from nnunetv2_masam.weights.weight_files import (
    CheckpointError,
    bad_file,
    checkpoint_file,
    require_regular_file,
    weights_files,
)

VARIABLE = "MASAM_CHECKPOINT"
_ZERO_BIAS = "_qkvb"  # timm has DINOv3 with query, key and value biases of zero, and without; the weights are the same
_logger = logging.getLogger("nnunetv2_masam")


def is_offline() -> bool:
    """Whether ``MASAM_OFFLINE`` forbids downloads."""
    return env_flag("MASAM_OFFLINE")


def named_source() -> Path | PublishedCheckpoint | None:
    """Source that ``MASAM_CHECKPOINT`` names: a file or folder, or something to download.

    Raises:
        FileNotFoundError: it names nothing that exists.
        ValueError: it is a URL that cannot be downloaded from.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if "://" in named:
        return at_url(named)
    path = Path(named).expanduser()
    if path.exists():
        return path
    if named in CHECKPOINTS:
        return CHECKPOINTS[named]
    raise FileNotFoundError(
        f"{VARIABLE} names {path}, which does not exist and is no known checkpoint. Correct or unset it; known are "
        f"{', '.join(CHECKPOINTS)}."
    )


def find_checkpoint(encoder: str) -> Path | None:
    """The pretrained weights to use for an encoder, or None where they have to be downloaded first.

    A file named by ``MASAM_CHECKPOINT`` is taken whatever its name. In a folder named by it, the files known
    by name come first (official before others), then the only file whose shapes are those of this ViT; where
    there is none, a warning is logged and the search goes on in the cache.

    Args:
        encoder: a preset name of SAM's ViT, e.g. ``vit_b``, or ``timm:`` and the name of a ViT of timm.

    Raises:
        FileNotFoundError: ``MASAM_CHECKPOINT`` names something that does not exist.
        ValueError: ``MASAM_CHECKPOINT`` is a URL that cannot be downloaded from.
        CheckpointError: a file with a known name has the wrong size, several files fit, or the known checkpoint
            that ``MASAM_CHECKPOINT`` names is of another ViT.
    """
    wanted = _wanted(encoder)
    return find_local(wanted) if isinstance(wanted, PublishedCheckpoint) else wanted


def resolve_checkpoint(encoder: str) -> Path:
    """The pretrained weights to use for an encoder, downloaded if need be.

    Args:
        encoder: see :func:`find_checkpoint`.

    Raises:
        FileNotFoundError: there are none and they cannot be downloaded; the message says how to get them.
        ValueError, CheckpointError: as :func:`find_checkpoint`, or what is downloaded is not the file.
    """
    wanted = _wanted(encoder)
    if isinstance(wanted, Path):
        return wanted
    if wanted is None:
        raise FileNotFoundError(_nothing_for(encoder))
    if found := find_local(wanted):
        return found
    if wanted.url is None:
        reason = f"{wanted.file_name} comes with the package {wanted.package}, which is not installed."
        raise FileNotFoundError(how_to_get(wanted, encoder, reason))
    if is_offline():
        raise FileNotFoundError(how_to_get(wanted, encoder, "MASAM_OFFLINE is set, so nothing is downloaded."))
    try:
        return download_checkpoint(wanted, cache_folder())
    except FileNotFoundError as error:
        raise FileNotFoundError(how_to_get(wanted, encoder, str(error))) from error


def how_to_get(wanted: PublishedCheckpoint, encoder: str, reason: str) -> str:
    """Explain which weights were looked for and where, and how to get them, also on clusters without internet."""
    named = os.environ.get(VARIABLE)
    looked = "not set"
    if named:
        is_folder = "://" not in named and Path(named).expanduser().is_dir()
        looked = f"folder {named}: no weights for {encoder} in it" if is_folder else wanted.name
    if wanted.url is None:
        elsewhere = f"Run {wanted.origin}, or copy the file from such an installation:\n"
    else:
        command = f"run `nnUNetv2_masam weights download {wanted.name} -o .` or " if wanted.vit else ""
        elsewhere = f"Without internet here: elsewhere, {command}fetch the address above;\nthen "
    return (
        f"no pretrained weights for {encoder}. {reason}\n"
        f"Looked at:\n"
        f"  {VARIABLE}: {looked}\n"
        f"  cache: {cache_folder() / wanted.file_name}: not there\n"
        f"Needed:\n"
        f"  {wanted.file_name}, {wanted.size_text}, {wanted.licence or 'licence not known'}\n"
        f"  sha256 {wanted.sha256_text}\n"
        f"  {wanted.origin}\n"
        f"{elsewhere}copy {wanted.file_name} into {cache_folder()}, or set {VARIABLE} to it."
    )


def _wanted(encoder: str) -> Path | PublishedCheckpoint | None:
    """What to use: a file that is there, or one that may have to be downloaded."""
    source = named_source()
    if isinstance(source, PublishedCheckpoint):
        _check_encoder(source, encoder)
        return source
    if source is not None and source.is_dir():
        if found := _find_in_folder(source, encoder):
            return found
    elif source is not None:
        require_regular_file(source)
        return source
    name = DEFAULT_FOR_VIT.get(encoder)
    return _timm_file(encoder) if name is None else CHECKPOINTS[name]


def _check_encoder(named: PublishedCheckpoint, encoder: str) -> None:
    """Refuse a known checkpoint of another encoder before its download; custom sizes are compared on loading."""
    is_preset = encoder in VIT_PRESETS or encoder in TINY_VIT_PRESETS or encoder.startswith(TIMM)
    if named.vit is None or _is_for(named, encoder) or not is_preset:
        return
    fitting = ", ".join(known.name for known in CHECKPOINTS.values() if _is_for(known, encoder)) or "none"
    raise CheckpointError(
        f"{VARIABLE} names {named.name}, whose encoder is {named.vit}; expected weights for {encoder}. Known for it: "
        f"{fitting}. Name one of these, or train with a trainer for {named.vit}."
    )


def _is_for(known: PublishedCheckpoint, encoder: str) -> bool:
    return known.vit == encoder.removesuffix(_ZERO_BIAS)


def _find_in_folder(folder: Path, encoder: str) -> Path | None:
    known = [known for known in CHECKPOINTS.values() if _is_for(known, encoder)]  # the default one comes first
    for file in known:
        if found := find_known(file, folder):
            return found
    if encoder.startswith(TIMM):
        return checkpoint_file(folder)
    recognised = {path: _recognise(path) for path in weights_files(folder)}
    fitting = [path for path, what in recognised.items() if what == encoder]
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        remedy = f"Set {VARIABLE} to the one that is meant."
        raise bad_file(folder, f"{len(fitting)} files for {encoder} ({names})", "one", remedy)
    if fitting:
        return fitting[0]
    listing = "".join(f"\n  {path.name}: {what}" for path, what in recognised.items())
    _logger.warning("%s=%s holds no weights for %s.%s", VARIABLE, folder, encoder, listing)
    return None


def _recognise(path: Path) -> str:
    """The ViT of a file, or why it has none: other files may lie in the folder."""
    try:
        return str(recognise_file(path))
    except CheckpointError as error:
        return str(error)


def _timm_file(encoder: str) -> Path | None:
    """A file of the model's name in the cache."""
    if not encoder.startswith(TIMM):
        return None
    name = encoder.removeprefix(TIMM)
    files = (cache_folder() / f"{name}{ending}" for ending in (".safetensors", ".pth"))
    return next((path for path in files if path.is_file()), None)


def _nothing_for(encoder: str) -> str:
    named = os.environ.get(VARIABLE) or "not set"
    fitting = [known.name for known in CHECKPOINTS.values() if _is_for(known, encoder)]
    if fitting:  # never downloaded unless they are named, because their licences differ
        choice = (
            f"Nothing is chosen for you, because the licences of the known ones differ. Set {VARIABLE} to "
            f"{' or '.join(fitting)} (`nnUNetv2_masam weights` shows licences and sources), or to a file or URL."
        )
    elif encoder.startswith(TIMM):
        name = encoder.removeprefix(TIMM)
        choice = (
            f"timm publishes such files on Hugging Face (timm/{name}….). Set {VARIABLE} to one, or to one trained from "
            f"it, such as MedDINOv3 or MedSAM2; or put it into {cache_folder()} as {name}.safetensors."
        )
    else:
        downloaded = ", ".join(DEFAULT_FOR_VIT)
        choice = f"Only {downloaded} can be downloaded. Set {VARIABLE} to a file or URL for {encoder}."
    return f"no pretrained weights for {encoder}: {VARIABLE} is {named}. {choice}"
