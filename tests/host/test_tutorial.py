"""The commands of docs/tutorial.md as they stand there, on fewer cases and with a shorter training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.conftest import CHECKOUT

# the installed command would be that of another checkout
START = 'set -e\nnnUNetv2_masam() { python -m nnunetv2_masam.cli "$@"; }\n'


@pytest.mark.slow
def test_tutorial(tmp_path):
    page = (CHECKOUT / "docs" / "tutorial.md").read_text("utf-8").replace("\\\n", "")
    commands = re.findall(r"^    ((?:export|python|nnUNetv2_\w+) .*)$", page, re.MULTILINE)
    script = START + "\n".join(commands).replace("_10epochs", "_1epoch")
    script = re.sub(r"(phantom\.py .*)", r"\1 --cases 5 --test-cases 1", script)
    (tmp_path / "demo").symlink_to(CHECKOUT / "demo")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "nnUNet_extTrainer": str(CHECKOUT / "trainers"),
        "nnUNet_n_proc_DA": "1",
        "MASAM_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    model = "nnUNetTrainerMASAM_tiny_1epoch__nnUNetPlans__3d_fullres"
    assert (
        tmp_path / "nnunet" / "results" / "Dataset900_Phantom" / model / "fold_0" / "checkpoint_final.pth"
    ).is_file()
    assert len(list((tmp_path / "predictions").glob("*.nii.gz"))) == 1
    assert (tmp_path / "report" / "report.html").is_file()
