"""The distributions that this package requires, and those that are installed in a version that does not do."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "nnunetv2-masam"


def required() -> list[Requirement]:
    """What this package requires here, without its extras.

    Raises:
        PackageNotFoundError: this package is not installed.
    """
    from packaging.requirements import Requirement

    found = map(Requirement, metadata.requires(DISTRIBUTION) or [])
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def wrong_versions() -> list[str]:
    """A sentence on each required distribution whose version does not do, with the remedy; missing ones are left out.

    Another package may replace one: installers with ``--no-deps`` and pins do not ask what others need.
    """
    sentences = []
    try:
        requirements = required()
    except metadata.PackageNotFoundError:
        return []
    for each in requirements:
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            continue
        if not each.specifier.contains(version, prereleases=True):
            needed = f"{each.name}{each.specifier}"
            sentences.append(f'{each.name} {version} is installed, {each.specifier} is needed: pip install "{needed}"')
    return sentences
