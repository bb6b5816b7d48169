"""Public data sets and video frames to nnU-Net's raw layout: what is read, checked and written."""
