#!/bin/bash
# SimpleITK 2.5.7 (with highdicom 0.28.2 and pydicom 3.0.2 to write the input, a Legacy Converted Enhanced CT).
# Frames of an enhanced CT have a position and a rescale slope each, in the per-frame functional groups. ReadImage ignores
# slopes that differ between frames, and where the gaps between frames are not equal, it reports a spacing of 1 mm.
# There is no warning and no error.
# seen: frames at 0, 2, 6, 8 mm with slopes 1, 1, 2.5, 1 are read with slope 1 at a spacing of 1 mm.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()
slices = []
for number, (place, slope) in enumerate(((0, "1"), (2, "1"), (6, "2.5"), (8, "1"))):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "1", "A^B", "", ""
    ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "120000", ""
    ds.ReferringPhysicianName, ds.Manufacturer, ds.ImageType = "", "example", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality, ds.InstanceNumber, ds.SeriesNumber, ds.AcquisitionNumber = "CT", number + 1, 1, 1
    ds.KVP, ds.PatientPosition, ds.BodyPartExamined = "120", "HFS", "CHEST"
    ds.Rows = ds.Columns = 4
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 2
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, place]
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, "0", "HU"
    ds.PixelData = np.full((4, 4), 10 + number, "<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slices.append(ds)
enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(slices, hd.UID(), 2, hd.UID(), 1)
enhanced.save_as("enhanced.dcm")
stored = enhanced.pixel_array[:, 0, 0].tolist()
expected = []
for value, groups in zip(stored, enhanced.PerFrameFunctionalGroupsSequence):
    place = groups.PlanePositionSequence[0].ImagePositionPatient[2]
    slope = groups.PixelValueTransformationSequence[0].RescaleSlope
    expected.append(value * float(slope))
    print(f"frame at {place} mm: stored value {value}, slope {slope}")
image = sitk.ReadImage("enhanced.dcm")
values = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
print("expected:", expected, "and no even spacing")
print("read:", values, "at a spacing of", image.GetSpacing()[2], "mm")
sys.exit(not (values == stored != expected and image.GetSpacing()[2] == 1.0))
PY
