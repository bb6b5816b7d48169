"""Jobs handed to SLURM with submitit: what they ask for, and which of them are in the queue already."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from nnunetv2_masam.crossval.jobs import WORKERS_VARIABLE, Job, run_job
from nnunetv2_masam.files import read_json, write_json

TIMEOUT_MIN = 48 * 60  # nnU-Net's 1000 epochs take one to two days; a job that runs out of time is resumed
WORKERS = 12  # nnU-Net's default number of processes that load data
ASKS_S = 60  # seconds that a question to SLURM may take
SUBMITS_S = 600  # seconds that another submission may take
# what a job asks for by default, and the parameters of submitit that say something of it
_TIME = ("timeout_min", "slurm_timeout_min", "slurm_time")
_CPUS = ("cpus_per_task", "slurm_cpus_per_task", "slurm_cpus_per_gpu")
_GPUS = ("gpus_per_node", "slurm_gpus_per_node", "slurm_gpus_per_task", "slurm_num_gpus", "slurm_gres")


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted to SLURM.

    Attributes:
        submitted: submitit's handles of the new jobs.
        again: those among the new jobs that were submitted before and ended without a result.
        queued: jobs that are queued or running already.
        parameters: what each job asks for, in submitit's words.
        logs: folder of submitit's files.
    """

    submitted: Sequence[Any]
    again: Sequence[Job]
    queued: Sequence[Job]
    parameters: Mapping[str, Any]
    logs: Path


def submit(jobs: Sequence[Job], parameters: Mapping[str, Any], folder: Path, cluster: str = "slurm") -> Submission:
    """Hand jobs to SLURM; those that are queued or running are left alone.

    Args:
        jobs: what to run.
        parameters: for ``submitit.AutoExecutor.update_parameters``, such as ``slurm_partition``; the others are chosen
            from what a training needs and what the nodes have.
        folder: for submitit's files, and for ``jobs.json``, which remembers what was submitted.
        cluster: submitit's name of the cluster; ``local`` runs on this machine.

    Raises:
        ValueError: submitit is missing or does not know a parameter, SLURM does not answer or refuses the jobs, or
            another submission does not end.
    """
    try:
        import submitit
    except ImportError as error:
        raise ValueError('--slurm needs submitit: pip install "nnunetv2-masam[slurm]"') from error
    asked = {**_defaults(parameters, {job.device for job in jobs}), **parameters}
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    try:
        executor.update_parameters(**{"name": "crossval", **asked})
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ValueError(f"--slurm: submitit does not take the parameters: {str(error).splitlines()[0]}") from error
    record = folder / "jobs.json"
    with _alone(folder):
        known: dict[str, str] = read_json(record, dict) if record.is_file() else {}
        alive = _queue() if known and cluster == "slurm" else frozenset()
        queued = [job for job in jobs if known.get(_key(job)) in alive]
        waiting = [job for job in jobs if job not in queued]
        try:
            handles = executor.map_array(run_job, waiting) if waiting else []
        except submitit.core.utils.FailedJobError as error:
            reason = _last_line(str(error))
            raise ValueError(f"--slurm: SLURM refuses the jobs ({reason}). Correct KEY=VALUE") from error
        again = [job for job in waiting if _key(job) in known]
        known |= {_key(job): handle.job_id for job, handle in zip(waiting, handles, strict=True)}
        write_json(record, known)
    return Submission(handles, again, queued, asked, folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One submission at a time, so that each knows what the others have submitted."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".jobs.lock")
    try:
        lock.acquire(timeout=SUBMITS_S)
    except filelock.Timeout:
        raise ValueError(
            f"--slurm: another crossval has been submitting for {SUBMITS_S} s and holds {lock.lock_file}. Wait until "
            "it ends, or stop it"
        ) from None
    except NotImplementedError:  # the file system has no locks
        pass
    try:
        yield
    finally:
        lock.release()


def read_parameters(words: Sequence[str]) -> dict[str, int | float | str]:
    """``KEY=VALUE`` words as parameters of submitit.

    Raises:
        ValueError: a word has another form, or a time is no number of minutes.
    """
    found: dict[str, int | float | str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"--slurm {word!r}: expected KEY=VALUE, such as slurm_partition=gpu")
        if key in _TIME[:2] and not _is_whole(value):
            raise ValueError(f"--slurm {word!r}: expected minutes as a whole number, such as {key}={TIMEOUT_MIN}")
        found[key] = int(value) if key in _TIME[:2] else _number(value)
    return found


def _number(value: str) -> int | float | str:
    """A number where that says the same: the account 007 stays what it is."""
    if not value.replace(".", "", 1).isdecimal():
        return value
    number = float(value) if "." in value else int(value)
    return number if str(number) == value else value


def _is_whole(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _key(job: Job) -> str:
    return str(job.folder)


def _defaults(parameters: Mapping[str, Any], devices: set[str]) -> dict[str, int]:
    """A GPU where jobs train on one, a CPU for each worker, and two days; less where the nodes allow less."""
    partition = parameters.get("slurm_partition")
    chosen: dict[str, int] = {}
    if "cuda" in devices and not parameters.keys() & set(_GPUS):
        chosen["gpus_per_node"] = 1
    if not parameters.keys() & set(_CPUS):
        nodes = [int(cpus) for cpus in _nodes(partition, "%c") if _is_whole(cpus)]
        chosen["cpus_per_task"] = min([max(1, _workers()), *nodes])
    if not parameters.keys() & set(_TIME):
        limits = [minutes for text in _nodes(partition, "%l") if (minutes := _minutes(text))]
        chosen["timeout_min"] = min([TIMEOUT_MIN, *limits])
    return chosen


def _workers() -> int:
    """The number of processes that load nnU-Net's data."""
    text = os.environ.get(WORKERS_VARIABLE, str(WORKERS)).strip()
    if not _is_whole(text):
        raise ValueError(f"{WORKERS_VARIABLE} is {text!r}, expected a whole number, such as {WORKERS}. Correct it")
    return int(text)


def _nodes(partition: object, field: str) -> list[str]:
    """What ``sinfo`` says of the partitions' nodes; nothing where it does not answer."""
    command = ["sinfo", "--noheader", "--format", field]
    try:
        text = _ask([*command, *(["--partition", str(partition)] if partition else [])])
    except ValueError:
        return []
    return [word.strip("+* ") for word in text.split()]


def _minutes(text: str) -> int:
    """``2-12:00:00`` → 3600; 0 for no limit."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) > 3 or not all(map(_is_whole, (*parts, days or "0"))):  # infinite, n/a
        return 0
    hours, minutes, _ = map(int, ["0"] * (3 - len(parts)) + parts)
    return int(days or 0) * 24 * 60 + hours * 60 + minutes


def _queue() -> frozenset[str]:
    """The ids of this user's jobs that have not ended. ``squeue`` knows them without accounting, ``sacct`` does not."""
    return frozenset(_ask(["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]).split())


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASKS_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(
            f"--slurm: {command[0]} does not answer ({error}). Try again on a node of the cluster"
        ) from error
    if done.returncode:
        raise ValueError(f"--slurm: {command[0]} failed ({_last_line(done.stderr)}). Try again when SLURM answers")
    return done.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
