"""``crossval --slurm`` with stand-ins for SLURM's commands: what is asked for, what is asked of, what is said."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from nnunetv2_masam.crossval.jobs import Job, make_jobs, run_job
from nnunetv2_masam.crossval.slurm import read_parameters, submit

pytest.importorskip("submitit")


class Cluster:
    """Commands of SLURM in a folder, and what ``sbatch`` was given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scripts = folder / "bin", folder / "scripts"
        self.folder.mkdir()
        self.scripts.mkdir()
        count = f"$(( $(ls {self.scripts} | wc -l) + 101 ))"
        self.command("sbatch", f'n={count}; cp "${{@: -1}}" {self.scripts}/$n; echo "Submitted batch job $n"')
        self.command("srun", "exit 0")
        self.command("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
        self.command("squeue", "exit 0")
        self.command("sinfo", "exit 1")

    def command(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def asked(self) -> set[str]:
        """The options of the last script."""
        text = max(self.scripts.iterdir()).read_text()
        return {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(tmp_path)
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    return made


def jobs_of(tmp_path: Path, configuration: str = "3d_fullres", device: str = "cuda") -> list[Job]:
    return make_jobs(
        "D", configuration, ["A", "B"], [0], results=tmp_path / "res", logs=tmp_path / "logs", device=device
    )


@pytest.mark.parametrize(
    ("device", "parameters", "expected", "absent"),
    [
        ("cuda", {}, {"gpus-per-node=1", "cpus-per-task=12", "time=2880"}, ()),
        ("cpu", {}, {"cpus-per-task=12", "time=2880"}, ("gpu",)),
        ("cuda", {"slurm_gres": "gpu:a100:1"}, {"gres=gpu:a100:1"}, ("gpus",)),
        ("cuda", {"slurm_time": 30}, {"time=30"}, ("time=2880",)),
        ("cuda", {"timeout_min": 90, "cpus_per_task": 4}, {"time=90", "cpus-per-task=4"}, ("cpus-per-task=12",)),
        (
            "cuda",
            {"slurm_cpus_per_gpu": 6, "slurm_gpus_per_task": 1},
            {"cpus-per-gpu=6"},
            ("per-node", "cpus-per-task"),
        ),
    ],
)
def test_what_jobs_ask_for(tmp_path, cluster, device, parameters, expected, absent):
    submit(jobs_of(tmp_path, device=device), parameters, tmp_path / "slurm")
    asked = cluster.asked()
    assert expected <= asked
    assert not [line for line in asked for word in absent if word in line]


def test_no_more_than_the_partition_has(tmp_path, cluster, monkeypatch):
    limits = 'case "$*" in *%c*) echo 8; echo 64+;; *%l*) echo 1-00:00:00;; esac'
    cluster.command("sinfo", f"[[ $* == *--partition?gpu* ]] && {limits}")
    submit(jobs_of(tmp_path), {"slurm_partition": "gpu"}, tmp_path / "slurm")
    assert {"cpus-per-task=8", "time=1440"} <= cluster.asked()
    monkeypatch.setenv("nnUNet_n_proc_DA", "3")
    submit(jobs_of(tmp_path, "2d"), {"slurm_partition": "gpu"}, tmp_path / "slurm")
    assert "cpus-per-task=3" in cluster.asked()


def test_squeue_says_what_is_running_with_and_without_accounting(tmp_path, cluster):
    jobs, folder = jobs_of(tmp_path), tmp_path / "slurm"
    assert len(submit(jobs, {}, folder).submitted) == 2
    cluster.command("squeue", "[[ $* == *--array* ]] && echo 101_0 && echo 101_1 && echo 99")
    assert submit(jobs, {}, folder).queued == jobs
    cluster.command("squeue", "echo 101_1")
    partly = submit(jobs, {}, folder)
    assert (partly.again, partly.queued) == ([jobs[0]], [jobs[1]])
    cluster.command("squeue", "exit 0")
    assert submit(jobs, {}, folder).again == jobs
    assert len(list(cluster.scripts.iterdir())) == 3
    assert submit(jobs_of(tmp_path, "2d"), {}, folder).again == []  # the same trainers and folds, other models


def test_nothing_is_submitted_twice_where_squeue_fails(tmp_path, cluster, monkeypatch):
    submit(jobs_of(tmp_path), {}, tmp_path / "slurm")
    cluster.command("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ValueError, match=r"squeue failed \(.*Unable to contact slurm controller\)"):
        submit(jobs_of(tmp_path), {}, tmp_path / "slurm")
    monkeypatch.setattr("nnunetv2_masam.crossval.slurm.ASKS_S", 0.1)
    cluster.command("squeue", "exec sleep 5")
    with pytest.raises(ValueError, match="squeue does not answer"):
        submit(jobs_of(tmp_path), {}, tmp_path / "slurm")
    assert len(list(cluster.scripts.iterdir())) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"slurm_foo": 1}, "Unknown argument 'foo' for executor 'slurm'"),
        ({"foo": 1}, "'foo' need to be prefixed"),
        ({"gpus_per_node": "two"}, "gpus_per_node"),
        ({"mem_gb": "much"}, "mem_gb"),
    ],
)
def test_parameters_that_submitit_does_not_take(tmp_path, cluster, parameters, message):
    with pytest.raises(ValueError, match=f"--slurm: submitit does not take the parameters: .*{message}"):
        submit(jobs_of(tmp_path), parameters, tmp_path / "slurm")


def test_jobs_that_slurm_refuses(tmp_path, cluster):
    cluster.command("sbatch", "echo 'sbatch: error: invalid partition specified: gpus' >&2; exit 1")
    with pytest.raises(ValueError, match=r"SLURM refuses the jobs \(.*invalid partition specified: gpus\)"):
        submit(jobs_of(tmp_path), {"slurm_partition": "gpus"}, tmp_path / "slurm")


def test_of_two_submissions_at_once_each_keeps_the_other_s_jobs(tmp_path, cluster):
    """The first waits inside ``sbatch`` until the second has begun."""
    sbatch, folder = (cluster.folder / "sbatch").read_text().partition("\n")[2], tmp_path / "slurm"
    wait = f"touch {tmp_path}/begun; until [ -e {tmp_path}/second ]; do sleep 0.05; done; sleep 0.5"
    cluster.command("sbatch", f"{wait}\n{sbatch}")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(submit, jobs_of(tmp_path), {}, folder)
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        second = pool.submit(submit, jobs_of(tmp_path, "2d"), {}, folder)
        (tmp_path / "second").touch()
        done = [first.result(), second.result()]
    assert [len(each.submitted) for each in done] == [2, 2]
    assert len(json.loads((folder / "jobs.json").read_text())) == 4


def test_a_submission_that_does_not_end_is_named(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.crossval.slurm.SUBMITS_S", 0.1)
    (tmp_path / "slurm").mkdir()
    with filelock.FileLock(tmp_path / "slurm" / ".jobs.lock"), pytest.raises(ValueError, match=r"another crossval has"):
        submit(jobs_of(tmp_path), {}, tmp_path / "slurm")


def test_what_no_number_can_be_made_of(tmp_path, cluster, monkeypatch):
    cluster.command("sinfo", 'case "$*" in *%c*) echo "n/a"; echo 8+;; *) echo 1:2:3:4;; esac')
    submit(jobs_of(tmp_path), {}, tmp_path / "slurm")
    assert {"cpus-per-task=8", "time=2880"} <= cluster.asked()
    monkeypatch.setenv("nnUNet_n_proc_DA", "many")
    with pytest.raises(ValueError, match="nnUNet_n_proc_DA is 'many', expected a whole number, such as 12"):
        submit(jobs_of(tmp_path), {}, tmp_path / "slurm")


def test_words_to_parameters():
    words = ["slurm_partition=gpu", "timeout_min=60", "mem_gb=31.5", "slurm_comment=a=b"]
    expected = {"slurm_partition": "gpu", "timeout_min": 60, "mem_gb": 31.5, "slurm_comment": "a=b"}
    assert read_parameters(words) == expected
    assert read_parameters(["timeout_min=060"]) == {"timeout_min": 60}
    for word in ("timeout_min=2h", "timeout_min=\u0663", "timeout_min=1-00:00", "slurm_timeout_min="):
        with pytest.raises(ValueError, match=rf"--slurm '{word}': expected minutes as a whole number"):
            read_parameters([word])


def test_a_job_starts_as_many_workers_as_it_has_cpus(tmp_path, monkeypatch):
    """And finds our trainers where no start-up file has registered them."""
    program = tmp_path / "nnUNetv2_train"
    program.write_text('#!/bin/bash\necho "$nnUNet_n_proc_DA at $nnUNet_extTrainer"; exit 7\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    monkeypatch.setenv("nnUNet_extTrainer", "/mine")
    monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    job = jobs_of(tmp_path)[0]
    assert run_job(job) == 7
    said = job.log.read_text().splitlines()[-1]
    assert said.startswith("5 at /mine:")
    assert said.endswith("trainers")
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    run_job(job)
    assert job.log.read_text().splitlines()[-1].startswith("2 at ")


def test_numbers_that_are_names_stay_what_they_are():
    words = ["slurm_account=007", "slurm_constraint=1.10", "mem_gb=32", "slurm_x=0.5", "slurm_mem=32G"]
    found = list(read_parameters(words).values())
    assert found == ["007", "1.10", 32, 0.5, "32G"]
