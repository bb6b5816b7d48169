"""Prostate T2 MRI from six sites, collected by Liu et al. for MS-Net and SAML (https://liuquande.github.io/SAML/).

Two of the sites (RUNMC and BMC, from the NCI-ISBI challenge) have two zones as labels 1 and 2, the others the whole
gland as 1. Here the gland is one label everywhere.
"""

from __future__ import annotations

from pathlib import Path

from nnunetv2_masam.datasets.layout import find_base, numbered_files, pair
from nnunetv2_masam.datasets.raw_dataset import DatasetSpec
from nnunetv2_masam.datasets.volumes import LabelRule, Volume
from nnunetv2_masam.folds.paper_splits import PROSTATE_SITES

EXPECTED = "\n".join(
    f"  {site}/Case00.nii.gz, {site}/Case00_segmentation.nii.gz        ({count} cases)"
    for site, (_, count, _) in PROSTATE_SITES.items()
)

SPEC = DatasetSpec(
    name="Prostate6",
    channel="T2",
    labels={"background": 0, "prostate": 1},
    reference="https://liuquande.github.io/SAML/",
    description="Prostate MRI from six sites, zones merged; the site is the first part of a case's name",
)


def find_volumes(source: Path, *, partial: bool = False) -> list[Volume]:
    """All cases of all sites, named ``SITE_0003`` after ``SITE/Case03.nii.gz``.

    Raises:
        ValueError: if the layout is not the published one, or cases are missing and ``partial`` is not set.
    """
    base = find_base(source, ("Processed_data_nii",), tuple(PROSTATE_SITES), "the six-site prostate data", EXPECTED)
    volumes, problems = [], []
    for site, (_, count, _) in PROSTATE_SITES.items():
        images = numbered_files(base / site, r"case(\d+)")
        labels = numbered_files(base / site, r"case(\d+)_segmentation")
        # numbers are not contiguous, so what is complete is known by the count
        numbers = pair(images, labels, sorted({*images, *labels}), str(base / site), partial=partial)
        if len(numbers) != count and not (partial and len(numbers) < count):
            problems.append(f"{base / site}: {len(numbers)} cases, the published data have {count}")
        volumes += [Volume(f"{site}_{number:04d}", images[number], labels[number]) for number in numbers]
    if problems:
        raise ValueError("\n".join([*problems, "Convert what is there with --partial."]))
    if not volumes:
        raise ValueError(f"{base}: no case. Expected:\n{EXPECTED}")
    return volumes


def rule(*, copy_geometry: bool = False) -> LabelRule:
    """Both zones become the gland."""
    return LabelRule(frozenset({0, 1, 2}), {2: 1}, copy_geometry)
