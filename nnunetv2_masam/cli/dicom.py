"""``nnUNetv2_masam dicom``: from a scanner's folder to DICOM SEG."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.dicom.requests import ImportRequest, SegRequest


def import_series(args: argparse.Namespace) -> int:
    """Write the images, and print what became of each series."""
    from nnunetv2_masam.dicom.importing import TABLE, import_folder, outcome

    for name, stack in import_folder(request_from(args, ImportRequest)):
        print(f"{name or stack.series.uid}{stack.part and f' ({stack.part})'}: {outcome(stack)}")
    print(f"{args.output / TABLE}: which file is which series")
    return 0


def seg(args: argparse.Namespace) -> int:
    """Write the files, and print them and which segments have no public code."""
    from nnunetv2_masam.dicom.codes import PRIVATE_SCHEME
    from nnunetv2_masam.dicom.segments import TABLE, write_segs

    segments, files = write_segs(request_from(args, SegRequest))
    for name in files:
        print(args.output / name)
    if private := [segment.name for segment in segments if PRIVATE_SCHEME in segment.type.split(":")]:
        print(f"warning: private codes for {', '.join(private)}; write others into {args.output / TABLE}")
    return 0


DICOM = Command(
    "Import DICOM series, and write predictions as DICOM SEG",
    commands={
        "import": Command(
            "Write an image for each DICOM series, for prediction",
            import_series,
            ImportRequest,
            """\
  nnUNetv2_masam dicom import scanner -o images
  nnUNetv2_masam dicom import scanner -o images_2 --columns SeriesInstanceUID PatientID StudyDate
""",
        ),
        "seg": Command(
            "Write predictions as DICOM SEG that refer to their series",
            seg,
            SegRequest,
            """\
Names, codes and colours of segments are written to segments.csv beside the files; correct them there and give the table
with --segments.

  nnUNetv2_masam dicom seg predictions --source scanner -o segs
  nnUNetv2_masam dicom seg predictions --source scanner -o segs_2 --segments segs/segments.csv --form labelmap
""",
        ),
    },
)
