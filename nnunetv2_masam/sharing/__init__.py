"""Finished models: convert them, import those of the MA-SAM authors, and start other trainings from them."""
