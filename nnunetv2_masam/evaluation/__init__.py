"""Comparing models case by case: what lines up, how good each one is, what it costs, and whether it differs.

The data flow, one module per step::

    request.py      what to compare and how, as a dataclass
    pipeline.py     from a request to a comparison and its files: ``compare_models``, ``write_comparison``
    sources.py      a trainer, a folder or a table → a model, named
    results.py      nnU-Net's result folders → models, cases, folds, references
    lineup.py       the same cases, folds and references everywhere; what does not line up is refused
    labels.py       dataset.json → structures (a label or region with its values in reference and prediction)
    segmentation.py segmentation files → labels; do a prediction and its reference lie in the same place?
    units.py        millimetres, or pixels for images without a physical size
    metrics.py      two masks and a spacing → Dice, IoU, volumes; surfaces.py distances, lesions.py single lesions
    tasks.py        what to measure of each model: files, meaning of its label values, tolerances
    measure.py      all cases of all models in several processes, cached by file content
    case_tables.py  CSV files by case → groups of cases, models that another tool measured
    scores.py       measured values → what is compared: one rule for empty masks
    statistics.py   scores → means, differences, verdicts; paired_tests.py has the tests and intervals
    detection.py    whether structures are found at all; ranking.py the order of several models
    model_cost.py   checkpoints and logs → parameters, training time, file sizes
    analysis.py     all of that put together
    comparison.py   the result: what tables and report show
    report/         the comparison → tables (text, Markdown, LaTeX, CSV, JSON) and the HTML page

Nothing here knows our network or trainers: every model that wrote nnU-Net's folders can be compared.
"""
