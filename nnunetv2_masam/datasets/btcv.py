"""BTCV, the abdominal CT of "Multi-Atlas Labeling Beyond the Cranial Vault" (Synapse syn3193805)."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_masam.datasets.layout import find_base, numbered_files, pair
from nnunetv2_masam.datasets.raw_dataset import DatasetSpec
from nnunetv2_masam.datasets.volumes import LabelRule, Volume

TRAINING = (*range(1, 11), *range(21, 41))

EXPECTED = """\
  RawData/Training/img/img0001.nii.gz        (0001 to 0010, 0021 to 0040)
  RawData/Training/label/label0001.nii.gz
  RawData/Testing/img/img0061.nii.gz         (0061 to 0080, may be absent)"""

LABELS = {
    "background": 0,
    "spleen": 1,
    "right kidney": 2,
    "left kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior vena cava": 9,
    "portal vein and splenic vein": 10,
    "pancreas": 11,
    "right adrenal gland": 12,
    "left adrenal gland": 13,
}
ADRENAL_GLANDS = ("right adrenal gland", "left adrenal gland")
MERGED = {LABELS["left adrenal gland"]: LABELS["right adrenal gland"]}


def find_volumes(source: Path, *, partial: bool = False) -> list[Volume]:
    """All training cases, and the test cases where they are there.

    Raises:
        ValueError: if the layout is not the published one, or cases are missing and ``partial`` is not set.
    """
    base = find_base(source, ("RawData", "Abdomen/RawData"), ("Training/img", "Training/label"), "BTCV", EXPECTED)
    images = numbered_files(base / "Training" / "img", r"img(\d{4})")
    labels = numbered_files(base / "Training" / "label", r"label(\d{4})")
    numbers = pair(images, labels, TRAINING, str(base / "Training"), partial=partial)
    if not numbers:
        raise ValueError(f"{base / 'Training'}: no case. Expected:\n{EXPECTED}")
    volumes = [Volume(f"BTCV_{number:04d}", images[number], labels[number]) for number in numbers]
    testing = base / "Testing" / "img"
    tests = numbered_files(testing, r"img(\d{4})") if testing.is_dir() else {}
    return volumes + [Volume(f"BTCV_{number:04d}", path) for number, path in tests.items()]


def spec(*, merge_adrenal_glands: bool) -> DatasetSpec:
    """With 13 labels, or with 12 and both adrenal glands as the last.

    The reader turns volumes to one orientation by their headers, as nnU-Net's conversion of AMOS chooses, so that a
    model of the one sees the other the same way round.
    """
    labels = dict(LABELS)
    if merge_adrenal_glands:
        labels = {name: value for name, value in labels.items() if name not in ADRENAL_GLANDS}
        labels["adrenal gland"] = LABELS["right adrenal gland"]
    return DatasetSpec(
        name="BTCV",
        channel="CT",
        labels=labels,
        reference="https://www.synapse.org/Synapse:syn3193805",
        description="Multi-Atlas Labeling Beyond the Cranial Vault, abdomen"
        + (", adrenal glands merged" if merge_adrenal_glands else ""),
        reader="NibabelIOWithReorient",
    )


def rule(*, merge_adrenal_glands: bool, copy_geometry: bool = False) -> LabelRule:
    """Values 0 to 13, the left adrenal gland written as the right one where they are merged."""
    merged = MERGED if merge_adrenal_glands else {}
    return LabelRule(frozenset(LABELS.values()), merged, copy_geometry)
