"""The command ``nnUNetv2_masam``: one module per subcommand.

A subcommand's module has ``run(args) -> int`` (the exit code), ``EPILOG`` with examples, and its options: ``REQUEST``,
a dataclass whose fields carry them, and ``add_arguments(parser)`` for what is in no request. It is imported when it is
called, and imports what computes only in ``run``, so that ``--help`` needs neither torch nor nnU-Net.
"""

from __future__ import annotations

from nnunetv2_masam.cli import own_argparse  # noqa: F401

# isort: split
import argparse
import io
import os
import select
import sys
import traceback
from collections.abc import Sequence

from nnunetv2_masam import __version__
from nnunetv2_masam.cli.subcommands import HelpFormatter, add_subcommands, all_parsers
from nnunetv2_masam.files import env_flag
from nnunetv2_masam.requirements import wrong_versions

# name: (module in this package, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("doctor", "Check the installation and say how to fix it"),
    "trainers-path": ("trainers_path", "Print the folder in which nnU-Net looks our trainers up"),
    "plan": ("plan", "Write nnUNetMASAMPlans.json for a dataset"),
    "predict": ("predict", "Segment a folder of images, as nnUNetv2_predict, in constant memory"),
    "convert": ("convert", "Convert a public dataset or video frames to an nnU-Net dataset"),
    "boxes": ("boxes", "Write box prompts as a further channel of a dataset or of images, or as markups"),
    "frames": ("frames", "Write predictions of videos as one mask per frame"),
    "video-scores": ("video_scores", "Score predictions of videos by IoU and Dice, frame by frame"),
    "dicom": ("dicom", "Import DICOM series, and write predictions as DICOM SEG"),
    "weights": ("weights", "List, download and check SAM checkpoints"),
    "import-masam": ("import_masam", "Convert a file saved by the MA-SAM authors' code to a model folder"),
    "slim": ("slim", "Write a model folder without what the SAM file holds"),
    "merge": ("merge", "Write a model folder that needs no SAM file, optionally with FacT or LoRA folded in"),
    "adapt-pretrained": ("adapt_pretrained", "Fit a checkpoint to another dataset, for -pretrained_weights"),
    "compare": ("compare", "Compare models case by case over the same cases and folds"),
    "crossval": ("crossval", "Train all folds of several trainers with stock commands, then compare"),
    "fixed-folds": ("fixed_folds", "Append published splits to a dataset's folds"),
    "few-shot": ("few_shot", "Append folds with few training cases to a dataset's splits"),
}

USER_ERROR, INTERRUPTED, CLOSED_PIPE = 2, 130, 141  # the last two as shells report SIGINT and SIGPIPE


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``nnUNetv2_masam``; subcommands load when they are parsed."""
    parser = argparse.ArgumentParser(
        prog="nnUNetv2_masam",
        description="MA-SAM inside nnU-Net.",
        epilog="MASAM_TRACEBACK=1 in the environment prints the traceback of an error.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nnunetv2-masam {__version__}")
    add_subcommands(parser, COMMANDS, __name__)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nnUNetv2_masam``.

    Returns:
        the subcommand's exit code; 2 after an error of the user or the system, which ends as one message on stderr;
        130 after Ctrl-C; 141 if the reader of the output is gone.
    """
    prog = "nnUNetv2_masam"
    try:
        _print_anything()
        parser = build_parser()
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            all_parsers(parser)  # it completes what is declared before it looks
            argcomplete.autocomplete(parser)
        args = parser.parse_args(argv)
        prog = args.prog
        code = int(args.run(args))
        sys.stdout.flush()  # a closed pipe shows here at the latest
        return code
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError as error:
        if _output_is_closed():
            return CLOSED_PIPE
        return _report(prog, error)
    # nnU-Net and torch raise RuntimeError for what a user can fix
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        return _report(prog, error)
    except Exception as error:
        if (isinstance(error, AssertionError) and _raised_by_nnunet(error)) or wrong_versions():
            return _report(prog, error)
        raise


def _report(prog: str, error: Exception) -> int:
    if env_flag("MASAM_TRACEBACK"):
        traceback.print_exc()
    print(f"{prog}: {describe(error)}", file=sys.stderr)
    return USER_ERROR


def _raised_by_nnunet(error: BaseException) -> bool:
    """nnU-Net asserts what a dataset must be like; an assertion of ours is a bug."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1].split(".")[0] == "nnunetv2"


def describe(error: BaseException) -> str:
    """An error as a sentence that names what to do where the system's own message does not."""
    if not isinstance(error, (ValueError, OSError, RuntimeError, MemoryError)) and (others := wrong_versions()):
        return f"{type(error).__name__} ({error}), because of other versions than are needed. {'; '.join(others)}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        return f"the Python package {package} is missing ({error}). Install it, for instance: pip install {package}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        remedy = ". Check who may read and write it" if isinstance(error, PermissionError) else ""
        return f"{where}{error.strerror}{remedy}"
    return str(error).strip() or type(error).__name__


def _output_is_closed() -> bool:
    """Whether nobody reads stdout any more; if so, what is left in its buffer goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # not a file, as in a notebook
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(output, 0)
        if not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes once more when it ends
    return True


def _print_anything() -> None:
    """Let an output whose encoding lacks a character, such as ± in ASCII, take a question mark instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
