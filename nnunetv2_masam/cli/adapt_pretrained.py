"""``nnUNetv2_masam adapt-pretrained``: fit a checkpoint to a dataset, for ``nnUNetv2_train -pretrained_weights``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.sharing.pretrained import adapt_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Dataset, configuration, trainer and plans as for the training that follows."""
    parser.add_argument("checkpoint", type=Path, help="Checkpoint of a MA-SAM trainer")
    parser.add_argument("-d", required=True, metavar="ID", help="ID or name of the dataset to train on")
    parser.add_argument("-c", default="3d_fullres", metavar="CONFIG", help="Configuration (default: %(default)s)")
    parser.add_argument("-tr", default="nnUNetTrainerMASAM", metavar="TRAINER", help="Trainer (default: %(default)s)")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans (default: %(default)s)")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FILE", help="Checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="Replace FILE if it exists")


def run(args: argparse.Namespace) -> int:
    """Fit, and say what was resized and what starts anew."""
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunetv2_masam.catalogue import class_names, find_trainer, trainers_folder

    name = maybe_convert_to_dataset_name(int(args.d) if args.d.isdigit() else args.d)
    folder = Path(str(nnUNet_preprocessed)) / name
    if not (folder / f"{args.p}.json").is_file():
        raise FileNotFoundError(f"-p: no plans {args.p}.json in {folder}; plan first, as for the training")
    dataset_json = load_json(str(folder / "dataset.json"))
    trainer = find_trainer(args.tr)
    if not hasattr(trainer, "planned"):
        raise ValueError(
            f"-tr: {args.tr} is not a MA-SAM trainer; take one of {', '.join(class_names(trainers_folder()))}"
        )
    manager = PlansManager(trainer.planned(load_json(str(folder / f"{args.p}.json")), args.c, dataset_json))
    configuration = manager.get_configuration(args.c)
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    kwargs = configuration.network_arch_init_kwargs
    print(adapt_checkpoint(args.checkpoint, args.out, channels, kwargs, overwrite=args.overwrite))
    print(f"train with: nnUNetv2_train {name} {args.c} FOLD -tr {args.tr} -p {args.p} -pretrained_weights {args.out}")
    return 0
