#!/bin/bash
# nnunetv2 2.8.1: with -device cpu, nnUNetv2_train gives torch as many threads as the machine has CPUs. It overrides
# OMP_NUM_THREADS and does not look at the CPUs that the process may use, so a job that was given one core of a shared
# machine starts a thread for each of the machine's. Needs a machine with at least two CPUs.
# seen: on one CPU (taskset) with OMP_NUM_THREADS=1, torch has 1 thread when it is imported, and the trainer that
# nnUNetv2_train makes finds as many as os.cpu_count() says.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nnunetv2==2.8.1 torch==2.14.1
cd "$folder"
export nnUNet_raw="$folder/raw" nnUNet_preprocessed="$folder/preprocessed" nnUNet_results="$folder/results"
export nnUNet_extTrainer="$folder/trainers"
mkdir raw preprocessed results trainers
cat > trainers/CountingTrainer.py <<'PY'
import os
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class CountingTrainer(nnUNetTrainer):
    def run_training(self):
        print("threads:", torch.get_num_threads(), "of", os.cpu_count(), "CPUs; usable:", len(os.sched_getaffinity(0)))

    def perform_actual_validation(self, *args, **kwargs):
        pass
PY
venv/bin/python - <<'PY'
import json
import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

root = Path(os.environ["nnUNet_raw"]) / "Dataset001_Small"
(root / "imagesTr").mkdir(parents=True)
(root / "labelsTr").mkdir()
for case in range(5):
    image = np.random.default_rng(case).normal(size=(24, 32, 32)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[8:16, 8:24, 8:24] = 1
    sitk.WriteImage(sitk.GetImageFromArray(image), root / "imagesTr" / f"case{case}_0000.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(labels), root / "labelsTr" / f"case{case}.nii.gz")
about = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "box": 1}, "numTraining": 5, "file_ending": ".nii.gz"}
(root / "dataset.json").write_text(json.dumps(about))
PY
venv/bin/nnUNetv2_plan_and_preprocess -d 1 -c 3d_fullres -np 1 -npfp 1 > plan.txt 2>&1
export OMP_NUM_THREADS=1
first=$(taskset -c 0 venv/bin/python -c "import torch; print(torch.get_num_threads())")
said=$(taskset -c 0 venv/bin/nnUNetv2_train 1 3d_fullres 0 -tr CountingTrainer -device cpu 2>&1 | grep "^threads:")
echo "at import: $first; $said"
cpus=$(venv/bin/python -c "import os; print(os.cpu_count())")
[ "$cpus" -ge 2 ] && [ "$first" = 1 ] && [ "$said" = "threads: $cpus of $cpus CPUs; usable: 1" ]
