#!/bin/bash
# SimpleITK 2.5.7 (with pydicom 3.0.2 to write the input).
# A DICOM series may have another rescale slope in each slice, as PET has by rule. ImageSeriesReader takes the pixel type
# of the first file: where its slope is 1, the image has whole numbers, and the fractions of the other slices are cut
# without a warning. ImageFileReader reads the same slices right, one by one.
# seen: slices with slopes 1 and 2.5 and stored values of 1 are read as 1 and 2; each file alone gives 1.0 and 2.5.
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
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()
for number, slope in enumerate(("1", "2.5")):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.Modality, ds.InstanceNumber = "PT", number + 1
    ds.Rows = ds.Columns = 2
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, number]
    ds.RescaleSlope, ds.RescaleIntercept = slope, "0"
    ds.PixelData = np.ones((2, 2), "<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.save_as(f"{number}.dcm", enforce_file_format=True)

reader = sitk.ImageSeriesReader()
reader.SetFileNames(["0.dcm", "1.dcm"])
image = reader.Execute()
together = sitk.GetArrayFromImage(image)[:, 0, 0].tolist()
alone = [float(sitk.GetArrayFromImage(sitk.ReadImage(f"{n}.dcm")).ravel()[0]) for n in range(2)]
print("as a series:", image.GetPixelIDTypeAsString(), together)
print("one by one:", alone)
sys.exit(not (together == [1, 2] and alone == [1.0, 2.5]))
PY
