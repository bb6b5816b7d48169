"""Compare models case by case: check that they line up, measure them, test differences, write tables and a page.

One tidy pandas frame goes through: a row per model, run, case and label. The data flow, one module per step::

    request.py          what to compare and how: a cross-validation or a test set
    pipeline.py         from a request to a comparison and its files: ``compare_models``, ``write_comparison``
    nnunet_results.py   the request → the table of cases with their files: ``find_cases``. places.py finds the folders,
                        value_tables.py reads CSV files, lineup.py refuses what does not line up
    labels.py           dataset.json → structures (a label or region with its values in reference and prediction)
    dicom_cases.py      DICOM SEG among the files → label images
    measure.py          files → values: several processes, cached by content; segmentation.py compares the places
    label_arrays.py     two label arrays → the metrics of all structures. label_masks.py cuts them out; surfaces.py,
                        lesions.py and centerlines.py measure; metrics.py has a record of each metric
    scores.py           values → scores (one rule for empty masks) → summaries
    differences.py      scores → differences and verdicts. paired_tests.py has the tests, margins.py equivalence,
                        ranking.py orders, detection.py whether structures are found
    calibration.py      case.npz → calibration; model_cost.py checkpoints and logs → costs; prompted.py box prompts
    comparison.py       all of these frames
    report/             the comparison → tables (text, Markdown, LaTeX, CSV, JSON) and the HTML page

Nothing here knows our network or trainers: every model that wrote nnU-Net's folders can be compared.
"""
