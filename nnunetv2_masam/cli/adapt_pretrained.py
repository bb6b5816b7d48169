"""``nnUNetv2_masam adapt-pretrained``: fit a checkpoint to a dataset, for ``nnUNetv2_train -pretrained_weights``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_dataset, group

EPILOG = """\
  nnUNetv2_masam adapt-pretrained checkpoint_final.pth -d 4 -o fitted.pth
  nnUNetv2_train 4 3d_fullres 0 -tr nnUNetTrainerMASAM -pretrained_weights fitted.pth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Dataset, configuration, trainer and plans as for the training that follows."""
    parser.epilog = EPILOG
    add = group(parser, "input").add_argument
    add("checkpoint", type=Path, metavar="FILE", help="Checkpoint of a MA-SAM trainer")
    add_dataset(parser, "Number or name of the dataset to train on")
    add = group(parser, "training that follows").add_argument
    add("-c", default="3d_fullres", metavar="CONFIGURATION", help="Configuration (default: %(default)s)")
    add("-tr", default="nnUNetTrainerMASAM", metavar="TRAINER", help="Trainer (default: %(default)s)")
    add("-p", default="nnUNetPlans", metavar="PLANS", help="Plans (default: %(default)s)")
    add = group(parser, "output").add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="Checkpoint to write")
    add("--overwrite", action="store_true", help="Replace the checkpoint if it exists")


def run(args: argparse.Namespace) -> int:
    """Fit, and print what was resized and what starts anew."""
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunetv2_masam.catalogue import class_names, find_trainer, trainers_folder
    from nnunetv2_masam.files import read_json
    from nnunetv2_masam.nnunet_files import checked_identifier, preprocessed_dataset, read_dataset_json
    from nnunetv2_masam.sharing.pretrained import adapt_checkpoint

    folder = preprocessed_dataset(args.dataset)
    plans_file = folder / f"{checked_identifier(args.p, '-p')}.json"
    if not plans_file.is_file():
        raise ValueError(f"-p: no plans {plans_file.name} in {folder}; plan first, as for the training")
    dataset_json = read_dataset_json(folder)
    trainer = find_trainer(args.tr)
    if not hasattr(trainer, "planned"):
        raise ValueError(
            f"-tr: {args.tr} is not a MA-SAM trainer; take one of {', '.join(class_names(trainers_folder()))}"
        )
    manager = PlansManager(trainer.planned(read_json(plans_file, dict), args.c, dataset_json))
    configuration = manager.get_configuration(args.c)
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    kwargs = configuration.network_arch_init_kwargs
    print(adapt_checkpoint(args.checkpoint, args.output, channels, kwargs, overwrite=args.overwrite))
    train = f"nnUNetv2_train {folder.name} {args.c} FOLD -tr {args.tr} -p {args.p}"
    print(f"train with: {train} -pretrained_weights {args.output}")
    return 0
