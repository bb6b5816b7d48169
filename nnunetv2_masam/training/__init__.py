"""What a recipe in ``trainers/`` is made of: the trainer's machinery, loss and learning-rate rule."""
