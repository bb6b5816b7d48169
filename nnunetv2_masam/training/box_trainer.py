"""The trainer of networks with box prompts, which are the dataset's last channel."""

from __future__ import annotations

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_masam.box_record import check_box_channel
from nnunetv2_masam.training.box_augmentation import BoxApart, BoxBack
from nnunetv2_masam.training.trainer import MASAMTrainer


class MASAMBoxTrainer(MASAMTrainer):
    """MA-SAM with a box prompt for each stack of slices.

    Attributes:
        jitter_mm: in training, the faces of a box in plane are moved by at most this, anew for every patch drawn.
    """

    jitter_mm = 2.0

    @classmethod
    def planned(cls, plans: dict, configuration: str, dataset_json: dict) -> dict:
        """Plan as any recipe does, after checking that the box is the last channel.

        Raises:
            ValueError: there is no box channel, or the plans are of a network without prompts.
            NotImplementedError: a cascade, which appends channels after the box.
        """
        check_box_channel(dataset_json, cls.__name__)
        plans = super().planned(plans, configuration, dataset_json)
        planned = PlansManager(plans).get_configuration(configuration)
        if planned.previous_stage_name is not None:
            raise NotImplementedError(
                f"{cls.__name__}: {configuration} is the second stage of a cascade, which appends the first one's "
                "labels after the box. Train 3d_fullres or 3d_lowres"
            )
        prompt = planned.network_arch_init_kwargs.get("prompt", "none")
        if prompt != "box":
            raise ValueError(
                f"the plans {plans['plans_name']!r} are for a network with prompt {prompt!r}, {cls.__name__} trains "
                "'box'. Train on nnU-Net's plans, or write fitting ones with nnUNetv2_masam plan -tr "
                f"{cls.__name__}"
            )
        return plans

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """Build nnU-Net's transforms, without intensity transforms of the box and with random errors of its faces."""
        spacing_mm = self.configuration_manager.spacing[-2:]
        back = BoxBack([self.jitter_mm / size for size in spacing_mm])
        return ComposeTransforms([BoxApart(), super().get_training_transforms(*args, **kwargs), back])
