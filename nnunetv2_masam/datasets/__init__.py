"""Public datasets of volumes as nnU-Net datasets.

layout.py               files of a published dataset, found by pattern
btcv.py, prostate6.py   which cases, labels and channels there are
volumes.py              one volume with its labels: read, checked, written
raw_dataset.py          all of them, whole or not at all, and a summary
convert.py              what the commands call, with the options of requests.py
"""
