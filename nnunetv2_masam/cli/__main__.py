"""``python -m nnunetv2_masam.cli``, the same as ``nnUNetv2_masam``."""

import sys

from nnunetv2_masam.cli import main

sys.exit(main())
