#!/bin/bash
# batchgenerators 0.25.5, torch 2.13.0, on Linux with Python up to 3.13, where worker processes are forked.
# Without seeds, as nnU-Net uses it, NonDetMultiThreadedAugmenter seeds NumPy anew in each worker and leaves torch's
# generator as it was forked: all workers of a training draw the same from torch. batchgeneratorsv2 draws from torch
# whether a transform is applied, the axes to mirror and noise.
# seen: the first draws of two workers are different numbers from NumPy and the same from torch.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy==2.2.6 threadpoolctl==3.6.0
venv/bin/pip install -q --no-deps batchgenerators==0.25.5
venv/bin/python - <<'PY'
import sys

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter


class Loader:
    def set_thread_id(self, worker):
        self.worker, self.number = worker, 0

    def __next__(self):
        self.number += 1
        return self.worker, self.number, float(np.random.rand()), torch.rand(1).item()


batches, first = NonDetMultiThreadedAugmenter(Loader(), None, 2), {}
while len(first) < 2:
    worker, number, *drawn = next(batches)
    if number == 1:
        first[worker] = drawn
batches._finish()
for name, (one, other) in zip(("NumPy", "torch"), zip(first[0], first[1])):
    print(f"{name}: {one:.6f} and {other:.6f}")
sys.exit(first[0][0] == first[1][0] or first[0][1] != first[1][1])
PY
