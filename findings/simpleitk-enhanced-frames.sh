#!/bin/bash
# SimpleITK 2.5.7 (with pydicom 3.0.2 to write the input).
# Frames of an enhanced CT have a position and a rescale slope each, in the per-frame functional groups, and may be in any
# order. ImageFileReader stacks them in the file's order, ignores slopes that differ, and reports a spacing of 1 mm where
# positions are not in order or a frame is missing; there is no warning and no error.
# seen: frames at 0, 4, 2, 6 mm and slopes 1, 1, 2.5, 1 are read in that order, at a spacing of 1 mm, with slope 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid


def item(**attributes):
    ds = Dataset()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


places, slopes = (0, 4, 2, 6), ("1", "1", "2.5", "1")
ds = Dataset()
ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
ds.Modality, ds.NumberOfFrames, ds.Rows, ds.Columns = "CT", 4, 2, 2
ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
ds.BitsAllocated = ds.BitsStored = 16
ds.HighBit, ds.PixelRepresentation = 15, 0
ds.SharedFunctionalGroupsSequence = [
    item(
        PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=2)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
]
ds.PerFrameFunctionalGroupsSequence = [
    item(
        PlanePositionSequence=[item(ImagePositionPatient=[0, 0, place])],
        PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept="0", RescaleType="HU")],
    )
    for place, slope in zip(places, slopes)
]
ds.PixelData = np.repeat(np.arange(10, 14, dtype="<u2"), 4).tobytes()
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
ds.save_as("enhanced.dcm", enforce_file_format=True)

image = sitk.ReadImage("enhanced.dcm")
values = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
print("stored:", [10, 11, 12, 13], "at", places, "mm with slopes", slopes)
print("expected from 0 to 6 mm:", [10, 30.0, 11, 13], "at a spacing of 2 mm")
print("read:", values, "at a spacing of", image.GetSpacing()[2], "mm")
sys.exit(not (values == [10, 11, 12, 13] and image.GetSpacing()[2] == 1.0))
PY
