"""The machinery of the recipes in ``trainers/``: trainers, loss, learning rate, plans, seeds, locks and logs."""
