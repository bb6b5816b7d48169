"""Write messages of the package's logger to nnU-Net's training log."""

from __future__ import annotations

import logging
import weakref

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

LOGGER = logging.getLogger("nnunetv2_masam")


class TrainingLogHandler(logging.Handler):
    """Writes records to a trainer's log file, and to the console as the trainer does."""

    def __init__(self, trainer: nnUNetTrainer) -> None:
        super().__init__(logging.INFO)
        self._trainer = weakref.ref(trainer)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless its trainer is gone."""
        trainer = self._trainer()
        if trainer is not None:
            trainer.print_to_log_file(self.format(record))


def log_to(trainer: nnUNetTrainer) -> None:
    """Send what the package logs to this trainer's log, and no longer to an earlier one's."""
    for handler in [handler for handler in LOGGER.handlers if isinstance(handler, TrainingLogHandler)]:
        LOGGER.removeHandler(handler)
    LOGGER.addHandler(TrainingLogHandler(trainer))
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
