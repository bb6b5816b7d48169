"""MA-SAM (Chen et al., Medical Image Analysis 2024) as an nnU-Net v2 trainer."""

__version__ = "0.2.0"
