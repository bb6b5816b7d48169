"""All folds of several trainers with nnU-Net's own commands, and the comparisons that follow.

``request.py`` has the options, ``prepare.py`` makes jobs and comparisons of them, ``jobs.py`` runs jobs on this machine
or hands them to SLURM, and ``counterparts.py`` finds the trainer without pretrained weights that belongs to one with.
"""
