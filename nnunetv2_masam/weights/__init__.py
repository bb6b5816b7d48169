"""SAM and MA-SAM weights: the known files, reading any of their formats safely, downloading, loading."""
