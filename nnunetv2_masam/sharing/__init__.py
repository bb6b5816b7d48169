"""Finished models: into another form, from the MA-SAM authors' files, and as the start of another training."""
