"""A dataset with the box channel, from the boxes around its own reference masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunetv2_masam.box_record import add_box_channel
from nnunetv2_masam.files import atomic_folder, write_json
from nnunetv2_masam.images import write_image
from nnunetv2_masam.label_files import read_label_image
from nnunetv2_masam.nnunet_files import new_dataset, raw_dataset, read_dataset_json, split_dataset_name, training_files
from nnunetv2_masam.prompts.channel import (
    ReferenceBoxes,
    Written,
    checked_ending,
    images_by_case,
    link_or_copy,
    write_cases,
)
from nnunetv2_masam.prompts.requests import BoxDatasetRequest


def write_box_dataset(request: BoxDatasetRequest) -> Written:
    """Write a raw dataset with the box channel; images and labels are linked (copied where that is not possible).

    Test images are taken along where ``labelsTs`` has references for them. A label file whose values are not whole is
    written anew, rounded.

    Raises:
        ValueError: the dataset cannot be written; nothing is left of it then.
    """
    source, destination = raw_dataset(request.dataset), new_dataset(*split_dataset_name(request.name, "-o"))
    dataset_json = read_dataset_json(source)
    ending = checked_ending(dataset_json["file_ending"])
    training = training_files(source, dataset_json)
    if not training:
        raise ValueError(f"{source}: no training images in imagesTr, expected CASE_0000{ending} and so on")
    described = add_box_channel(dataset_json, request.rule.record())
    reference = ReferenceBoxes(request.rule, dataset_json)
    with atomic_folder(destination) as partial:
        written = Written()
        for part, cases in (("Tr", training), ("Ts", _test_cases(source, ending, written))):
            if not cases:
                continue
            images_folder, labels_folder = partial / f"images{part}", partial / f"labels{part}"
            images_folder.mkdir()
            labels_folder.mkdir()
            images = {str(case): [Path(file) for file in files["images"]] for case, files in cases.items()}
            labels = {str(case): Path(files["label"]) for case, files in cases.items()}
            write_cases(images, images_folder, ending, reference.of(labels, written), written)
            for case, label in labels.items():
                target = labels_folder / f"{case}{ending}"
                if label in written.rounded:
                    write_image(read_label_image(label)[0], target)
                else:
                    link_or_copy(label, target)
        write_json(partial / "dataset.json", {**described, "numTraining": len(training)}, indent=4)
    return written


def _test_cases(source: Path, ending: str, written: Written) -> dict[str, dict[str, Any]]:
    """As nnU-Net lists training cases; test cases without a reference are noted as left out."""
    if not (source / "imagesTs").is_dir() or not any((source / "imagesTs").glob(f"*_0000{ending}")):
        return {}
    files, _ = images_by_case(source / "imagesTs")
    labels = {case: source / "labelsTs" / f"{case}{ending}" for case in files}
    written.left_out += [case for case, label in labels.items() if not label.is_file()]
    return {case: {"images": files[case], "label": labels[case]} for case in files if case not in written.left_out}
