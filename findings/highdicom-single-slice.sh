#!/bin/bash
# highdicom 0.28.2 (with pydicom 3.0.2). A DICOM SEG of a source with a single slice gets SpacingBetweenSlices 1.0,
# whatever the slice's thickness; of three slices it gets their distance. get_volume then takes 1 mm as the height of
# the voxels, so that volumes in mm3 are wrong by the thickness.
# seen: for one CT slice with a SliceThickness of 2.5 mm and pixels of 0.5 x 0.5 mm, the file keeps SliceThickness 2.5,
# says SpacingBetweenSlices 1.0, and its volume has the spacing 1.0 x 0.5 x 0.5 mm; for three slices 2.5 in both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def source(slices):
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(slices):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "1", "A^B", "", ""
        ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "120000", ""
        ds.ReferringPhysicianName, ds.Modality, ds.InstanceNumber, ds.SeriesNumber = "", "CT", number + 1, 1
        ds.Rows = ds.Columns = 8
        ds.PixelSpacing, ds.SliceThickness = [0.5, 0.5], 2.5
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * number]
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield ds


def described(slices):
    algorithm = hd.AlgorithmIdentificationSequence("example", codes.cid7162.ArtificialIntelligence, "1")
    liver = hd.seg.SegmentDescription(
        1, "liver", codes.cid7150.AnatomicalStructure, codes.SCT.Liver, "AUTOMATIC", algorithm
    )
    seg = hd.seg.Segmentation(
        list(source(slices)), np.ones((slices, 8, 8), np.uint8), "BINARY", [liver], hd.UID(), 2, hd.UID(), 1,
        "example", "example", "1", "1",
    )
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = [round(float(size), 3) for size in seg.get_volume().spacing]
    found = float(measures.SliceThickness), float(measures.SpacingBetweenSlices), spacing
    print(f"{slices} slices: SliceThickness {found[0]}, SpacingBetweenSlices {found[1]}, volume {found[2]} mm")
    return found


one, three = described(1), described(3)
sys.exit(one != (2.5, 1.0, [1.0, 0.5, 0.5]) or three != (2.5, 2.5, [2.5, 0.5, 0.5]))
PY
