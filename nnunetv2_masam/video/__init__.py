"""Videos as volumes whose slices are frames.

sequences.py, endovis18.py   folders of frames and masks → sequences
classes.py                   masks of ids or colours ↔ nnU-Net's labels
cases.py                     sequences → nnU-Net's cases, and frames.json, which leads back
requests.py                  options of the commands
convert.py                   all of that: a new dataset, or inputs for prediction
masks.py                     predictions → one mask per frame
frame_scores.py              IoU and Dice frame by frame; score_folders.py runs it on folders
"""
