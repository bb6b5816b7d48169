"""Prediction in constant memory, for every trained model folder of nnU-Net, ours or not.

``run.predict(request)`` predicts a folder; ``model.load_model(options)`` gives a model whose ``slabs(case)`` yields
labels slab by slab. Labels are those of ``nnUNetv2_predict``, up to rounding. Where the data flow:

| stage | file |
|---|---|
| files → cases, preprocessed by nnU-Net | ``cases.py`` |
| tiles in the order of slices → slabs of mean logits | ``tiles.py`` |
| slices of logits → slices of the original grid → labels | ``resample.py`` |
| labels in the axes of the file, folds, devices | ``model.py``, ``loading.py`` |
| whole files | ``output.py`` |
| a folder: read ahead, write behind | ``run.py`` |
"""
