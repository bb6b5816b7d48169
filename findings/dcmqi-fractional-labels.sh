#!/bin/bash
# dcmqi 1.5.7 (with highdicom 0.28.2 and pydicom 3.0.2 to write the input).
# A DICOM SEG of fractional type stores probabilities as numbers from 0 to 255. segimage2itkimage takes each of them for
# the label of a segment: it ends without an error, and the label image has as many labels as there are probabilities.
# seen: one segment with the probabilities 0.3, 0.5 and 1 becomes a label image with the labels 76, 128 and 255.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dcmqi==1.5.7 highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6 SimpleITK==2.5.7
cd "$folder"
cat > write.py <<'PY'
import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.dataset import FileMetaDataset

source = Dataset()
source.SOPClassUID, source.SOPInstanceUID = CTImageStorage, generate_uid()
source.StudyInstanceUID, source.SeriesInstanceUID, source.FrameOfReferenceUID = (generate_uid() for _ in range(3))
source.PatientID, source.PatientName, source.PatientBirthDate, source.PatientSex = "1", "A^B", "", ""
source.StudyID, source.StudyDate, source.StudyTime, source.AccessionNumber = "1", "20260101", "120000", ""
source.ReferringPhysicianName, source.Modality, source.InstanceNumber, source.SeriesNumber = "", "CT", 1, 1
source.Rows = source.Columns = 2
source.PixelSpacing, source.SliceThickness = [1, 1], 1
source.ImageOrientationPatient, source.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
source.file_meta = FileMetaDataset()
source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
algorithm = hd.AlgorithmIdentificationSequence("example", codes.cid7162.ArtificialIntelligence, "1")
description = hd.seg.SegmentDescription(
    1, "liver", codes.cid7150.AnatomicalStructure, codes.SCT.Liver, "AUTOMATIC", algorithm
)
seg = hd.seg.Segmentation(
    [source], np.array([[[0, 0.3], [0.5, 1]]]), "FRACTIONAL", [description], hd.UID(), 2, hd.UID(), 1,
    "example", "example", "1", "1",
)
seg.save_as("seg.dcm")
PY
venv/bin/python write.py
mkdir out
venv/bin/segimage2itkimage --inputDICOM seg.dcm --outputDirectory out -t nrrd --mergeSegments > log.txt
echo "exit code of segimage2itkimage: $?"
venv/bin/python - <<'PY'
import glob
import sys

import numpy as np
import SimpleITK as sitk

labels = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(glob.glob("out/*.nrrd")[0]))).tolist()
print("probabilities 0, 0.3, 0.5, 1 are read as the labels", labels)
sys.exit(labels != [0, 76, 128, 255])
PY
