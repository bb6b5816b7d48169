"""Convert finished models, import those of the MA-SAM authors, and prepare models as a start for other trainings."""
