"""All folds of several trainers, as stock ``nnUNetv2_train`` commands, and how they run on this machine's GPUs.

What a job has to do is read from its folder when it starts: nothing (finished), only the validation, the rest
of an interrupted training, or all of it. So starting again after an interruption, or being requeued by a
cluster, resumes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.crossval.guard import guarded
from nnunetv2_masam.nnunet_files import checked_identifier

FINISHED, VALIDATE, RESUME, NEW = "finished", "to be validated", "to be resumed", "to be trained"
TRAINERS_VARIABLE, WORKERS_VARIABLE = "nnUNet_extTrainer", "nnUNet_n_proc_DA"
EPOCH_LINE = re.compile(r"Epoch (\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One fold of one trainer.

    Attributes:
        dataset: name of the dataset.
        configuration: such as ``3d_fullres``.
        fold: number of the fold.
        trainer: class name.
        plans: plans identifier.
        folder: where nnU-Net puts the fold's results.
        log: file that takes what the command prints.
        pretrained_weights: checkpoint to fine-tune from, if any.
        device: ``cuda``, ``cpu`` or ``mps``.
    """

    dataset: str
    configuration: str
    fold: int
    trainer: str
    plans: str
    folder: Path
    log: Path
    pretrained_weights: Path | None = None
    device: str = "cuda"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.trainer} fold {self.fold}"

    def state(self) -> str:
        """What is left to do, by the files that nnU-Net leaves."""
        trained = (self.folder / "checkpoint_final.pth").is_file()
        if trained and (self.folder / "validation" / "summary.json").is_file():
            return FINISHED
        if trained:
            return VALIDATE
        # nnU-Net's --c continues from the latest checkpoint, else from the best
        started = any((self.folder / f"checkpoint_{kind}.pth").is_file() for kind in ("latest", "best"))
        return RESUME if started else NEW

    def command(self) -> list[str]:
        """The stock command for what is left to do."""
        program = shutil.which("nnUNetv2_train") or str(Path(sys.executable).parent / "nnUNetv2_train")
        words = [
            program,
            self.dataset,
            self.configuration,
            str(self.fold),
            "-tr",
            self.trainer,
            "-p",
            self.plans,
        ]
        words += ["-device", self.device] if self.device != "cuda" else []
        state = self.state()
        if state == NEW and self.pretrained_weights is not None:
            words += ["-pretrained_weights", str(self.pretrained_weights)]
        return words + {VALIDATE: ["--val"], RESUME: ["--c"]}.get(state, [])

    def epoch(self) -> int | None:
        """The last epoch in its log."""
        try:
            found = EPOCH_LINE.findall(self.log.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return None
        return int(found[-1]) if found else None


def make_jobs(
    dataset: str,
    configuration: str,
    trainers: Sequence[str],
    folds: Sequence[int],
    *,
    results: Path,
    logs: Path,
    plans: str = "nnUNetPlans",
    pretrained_weights: Path | None = None,
    from_scratch: Collection[str] = (),
    device: str = "cuda",
) -> list[Job]:
    """Jobs fold by fold, so that after the first ones all trainers can be compared on the same folds.

    Args:
        from_scratch: those of the trainers that ``pretrained_weights`` are not for.
        dataset, configuration, trainers, folds, results, logs, plans, pretrained_weights, device: see :class:`Job`.

    Raises:
        ValueError: a trainer, plans or configuration is no name.
    """
    for name, what in ((configuration, "-c"), (plans, "-p"), *((trainer, "-tr") for trainer in trainers)):
        checked_identifier(name, what)
    return [
        Job(
            dataset=dataset,
            configuration=configuration,
            fold=fold,
            trainer=trainer,
            plans=plans,
            folder=results / dataset / f"{trainer}__{plans}__{configuration}" / f"fold_{fold}",
            log=logs / f"{trainer}__{plans}__{configuration}__fold_{fold}.log",
            pretrained_weights=None if trainer in from_scratch else pretrained_weights,
            device=device,
        )
        for fold in folds
        for trainer in trainers
    ]


def run_job(
    job: Job,
    gpu: str | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
) -> int:
    """Do what is left of a job, and append what it prints to its log.

    Args:
        job: what to do.
        gpu: value of ``CUDA_VISIBLE_DEVICES``; as it is if None.
        started: is given the process, so that it can be stopped.

    Returns:
        the command's exit code; 0 without running anything if the job is finished.
    """
    if job.state() == FINISHED:
        return 0
    environment = _environment()
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    job.log.parent.mkdir(parents=True, exist_ok=True)
    command = job.command()
    with job.log.open("ab") as log:
        log.write(f"\n$ {'' if gpu is None else f'CUDA_VISIBLE_DEVICES={gpu} '}{' '.join(command)}\n".encode())
        log.flush()
        with guarded(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as process:
            started(process)
            return process.wait()


def _environment() -> dict[str, str]:
    """This process's, in which nnU-Net finds our trainers, and starts as many workers as SLURM gives CPUs."""
    environment = dict(os.environ)
    folders = environment.get(TRAINERS_VARIABLE, "")
    if str(trainers_folder()) not in folders.split(os.pathsep):  # no start-up file ran: pip install --target
        environment[TRAINERS_VARIABLE] = f"{folders}{os.pathsep if folders else ''}{trainers_folder()}"
    if cpus := environment.get("SLURM_CPUS_PER_TASK"):
        environment.setdefault(WORKERS_VARIABLE, cpus)
    return environment


def status_lines(jobs: Sequence[Job], running: Mapping[str, str] | None = None) -> list[str]:
    """Describe where each job stands, one line per job.

    Args:
        jobs: all of them.
        running: job name → where it runs.
    """
    width = max(len(job.name) for job in jobs)
    lines = []
    for job in jobs:
        state = f"runs on {running[job.name]}" if running and job.name in running else job.state()
        epoch = "" if state == FINISHED or job.epoch() is None else f", epoch {job.epoch()}"
        lines.append(f"{job.name:<{width}}  {state}{epoch}")
    return lines


def run_locally(
    jobs: Sequence[Job], gpus: Sequence[str | None], report: Callable[[str], None], every_s: float = 60.0
) -> list[Job]:
    """Run jobs, one per GPU at a time.

    Args:
        jobs: what to run.
        gpus: values of ``CUDA_VISIBLE_DEVICES``; None leaves it as it is.
        report: takes lines for people.
        every_s: seconds between reports of where it stands.

    Returns:
        the jobs that failed. An interruption (Ctrl-C) or an error, such as that of a terminal that was closed, stops
        the running commands first.
    """
    free: Queue[str | None] = Queue()
    for gpu in gpus:
        free.put(gpu)
    running: dict[str, str] = {}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    stop = threading.Event()

    def started(job: Job, process: subprocess.Popen[bytes]) -> None:
        processes[job.name] = process
        if stop.is_set():  # while the command was being started
            process.terminate()

    def work(job: Job) -> int:
        gpu = free.get()
        try:
            if stop.is_set():
                return 1
            running[job.name] = job.device if gpu is None else f"GPU {gpu}"
            report(f"{job.name}: {job.state()}, {running[job.name]}, log {job.log}")
            return run_job(job, gpu, partial(started, job))
        finally:
            running.pop(job.name, None)
            processes.pop(job.name, None)
            free.put(gpu)

    failed = []
    with ThreadPoolExecutor(max_workers=len(gpus)) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        ticker = threading.Thread(target=_tick, args=(stop, every_s, jobs, running, report), daemon=True)
        ticker.start()
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                job, code = futures[future], future.result()
                if code or job.state() != FINISHED:
                    failed.append(job)
                outcome = f"failed with code {code}, see {job.log}" if job in failed else "finished"
                report(f"{job.name}: {outcome} ({number} of {len(jobs)})")
        except BaseException:
            stop.set()
            for process in list(processes.values()):
                process.terminate()
            raise
        finally:
            stop.set()
    return failed


def _tick(
    stop: threading.Event,
    every_s: float,
    jobs: Sequence[Job],
    running: Mapping[str, str],
    report: Callable[[str], None],
) -> None:
    while not stop.wait(every_s):
        now = dict(running)
        if at_work := [job for job in jobs if job.name in now]:
            for line in status_lines(at_work, now):
                report(line)
