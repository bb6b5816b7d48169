#!/bin/bash
# SimpleITK 2.5.7 (with highdicom 0.28.2 and pydicom 3.0.2 to write the input).
# A DICOM SEG of binary type is read by ReadImage without an error or a warning, as one volume: the frames of all segments
# follow each other as if they were slices, and the spacing is 1 mm on every axis whatever the file says.
# seen: two segments on 3 slices of 5 x 0.5 x 0.5 mm become one image of 6 slices with the spacing 1 x 1 x 1 mm.
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
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()
sources = []
for number in range(3):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "1", "A^B", "", ""
    ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "120000", ""
    ds.ReferringPhysicianName, ds.Modality, ds.InstanceNumber, ds.SeriesNumber = "", "CT", number + 1, 1
    ds.Rows = ds.Columns = 8
    ds.PixelSpacing, ds.SliceThickness = [0.5, 0.5], 5
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * number]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sources.append(ds)
labels = np.ones((3, 8, 8), np.uint8)
labels[:, 4:] = 2
algorithm = hd.AlgorithmIdentificationSequence("example", codes.cid7162.ArtificialIntelligence, "1")
described = [
    hd.seg.SegmentDescription(n, str(kind.meaning), codes.cid7150.AnatomicalStructure, kind, "AUTOMATIC", algorithm)
    for n, kind in enumerate((codes.SCT.Liver, codes.SCT.Spleen), 1)
]
seg = hd.seg.Segmentation(
    sources, labels, "BINARY", described, hd.UID(), 2, hd.UID(), 1, "example", "example", "1", "1"
)
seg.save_as("seg.dcm")
measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
print("in the file:", seg.NumberOfFrames, "frames, pixel spacing", measures.PixelSpacing)
image = sitk.ReadImage("seg.dcm")
print("read:", image.GetSize(), image.GetSpacing())
sys.exit(not (image.GetSize() == (8, 8, 6) and image.GetSpacing() == (1.0, 1.0, 1.0)))
PY
