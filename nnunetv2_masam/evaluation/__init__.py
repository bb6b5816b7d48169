"""Comparing models case by case: what lines up, how good each one is, what it costs, and whether it differs.

The data flow, one module per step::

    request.py      what to compare and how, as a dataclass
    compare.py      from a request to a comparison and its files: ``compare_models``, ``write_comparison``
    results.py      nnU-Net's result folders → models, cases, folds, references
    lineup.py       the same cases, folds and references everywhere; what does not line up is refused
    labels.py       dataset.json → structures (a label or region with its values in reference and prediction)
    segmentation.py segmentation files → labels; do a prediction and its reference lie in the same place?
    metrics.py      two masks and a spacing → Dice, IoU, volumes; surfaces.py distances, lesions.py single lesions
    measure.py      all cases of all models in several processes, cached by file content
    case_tables.py  CSV files by case → groups of cases, models that another tool measured
    statistics.py   per-case values → means, confidence intervals, tests, effect sizes
    cost.py         checkpoints and logs → parameters, training time, file sizes
    comparison.py   all of that put together
    tables.py       the comparison → tables as text, Markdown, LaTeX; outputs.py writes them, with CSV and JSON
    report.py       the comparison → HTML, with figures.py and overlays.py

Nothing here knows our network or trainers: every model that wrote nnU-Net's folders can be compared.
"""
