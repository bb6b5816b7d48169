"""Folds of a dataset: nnU-Net's ``splits_final.json``, and further folds that are appended to it.

A fold's number is all that nnU-Net's commands take. Splits that somebody has published, and splits with few training
cases, therefore become further folds behind those of the cross-validation, and no fold ever changes its number.

    requests.py      options of the commands few-shot and fixed-folds
    fixed.py         appends given folds; fixed_folds.json names them
    paper_splits.py  the splits of the MA-SAM paper
    few_shot.py      folds with few training cases; few_shot.json names them
"""
