"""All folds of several trainers with nnU-Net's own commands, and the comparison that follows.

``request.py`` has the options, ``prepare.py`` makes jobs and a comparison of them, ``jobs.py`` runs jobs here, and
``slurm.py`` hands them to SLURM.
"""
