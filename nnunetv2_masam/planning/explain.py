"""Explain a plan: a table of it and its alternatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnunetv2_masam.planning.configuration import network_arguments, task_of
from nnunetv2_masam.planning.cost import Operations, count_operations
from nnunetv2_masam.planning.fit import Candidate, Task, divisors, fit_memory, make_candidate
from nnunetv2_masam.planning.in_plane import InPlane, plan_in_plane, smaller_in_plane
from nnunetv2_masam.planning.rules import PlanningRules

_HEADER = ("patch", "input, pixels", "micro-batch size x number", "checkpointing", "GB", "speed", "")
_SMALLER = (0.75, 0.5)  # sides of the network input that are shown beside the wanted one


def explain_configuration(
    configuration: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> str:
    """A table of the plan for a configuration and of others: smaller inputs, with and without checkpointing.

    Every row has the largest micro-batch that fits the memory target, or one sample where none does. ``speed`` is the
    plan's operations of a training step, counted by torch, over the row's: 2.00 is half the arithmetic. A hint follows
    where the patch has many more voxels than the network's input has pixels.

    Args:
        configuration, rules, num_classes, vram_gb: see
            :func:`~nnunetv2_masam.planning.configuration.plan_configuration`.
    """
    target = rules.vram_gb if vram_gb is None else vram_gb
    task = task_of(configuration, rules, num_classes)
    arch_kwargs = network_arguments(rules)
    chosen = fit_memory(task, rules, arch_kwargs, target)
    count = _counter(task)
    planned = _training_flops(chosen, count)
    rows = [_HEADER, _row(chosen, task, rules, 1.0, "the plan")]
    for in_plane in _sizes(task, rules, chosen):
        for checkpointing in (False, True):
            other = _most_samples(task, rules, arch_kwargs, in_plane, checkpointing, target)
            if (other.image_size, other.checkpointing) != (chosen.image_size, chosen.checkpointing):
                note = "" if other.vram_gb <= target else "too large"
                rows.append(_row(other, task, rules, planned / _training_flops(other, count), note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if hint := coarser_hint(chosen, configuration["spacing"]):
        lines.append(hint)
    return "\n".join(lines)


def coarser_hint(plan: Candidate, spacing_mm: Sequence[float]) -> str | None:
    """Hint to reduce images whose patch has 1.5 times as many voxels along a side as the input has pixels, or more."""
    patch, pixels = plan.patch, plan.image_size
    factor = max(side / wanted for side, wanted in zip(patch, pixels, strict=True))
    if factor < 1.5:
        return None
    coarser_mm = " x ".join(f"{float(mm) * factor:.3g}" for mm in spacing_mm[-2:])
    return (
        f"The patch has {patch[0]} x {patch[1]} voxels in plane, and the network sees it at {pixels[0]} x {pixels[1]} "
        f"pixels: loading and augmenting cost {factor**2:.1f} times what is needed. Reduce the images once, before "
        f"training: frames with `convert ... --longest-side {max(pixels)}`, volumes by planning with an in-plane "
        f"spacing of {coarser_mm} (-overwrite_target_spacing of nnUNetv2_plan_experiment)"
    )


def _sizes(task: Task, rules: PlanningRules, chosen: Candidate) -> list[InPlane]:
    """The wanted network input, the chosen one, and some smaller."""
    wanted = plan_in_plane(task.extent, rules)
    smaller = list(smaller_in_plane(task.extent, rules))
    sizes = [wanted, *(size for size in smaller if size.image_size == chosen.image_size)]
    for share in _SMALLER:
        below = [size for size in smaller if max(size.image_size) <= share * max(wanted.image_size)]
        sizes += below[:1]
    return list(dict.fromkeys(sizes))


def _most_samples(
    task: Task,
    rules: PlanningRules,
    arch_kwargs: dict[str, Any],
    in_plane: InPlane,
    checkpointing: bool,
    target: float,
) -> Candidate:
    made = [make_candidate(task, in_plane, arch_kwargs, n, checkpointing) for n in divisors(rules.batch_size)]
    return next((candidate for candidate in made if candidate.vram_gb <= target), made[-1])


def _counter(task: Task) -> Callable[[Candidate], Operations]:
    """Counts a candidate's operations; those of one network input are counted once."""
    counted: dict[tuple[int, int], Operations] = {}

    def count(candidate: Candidate) -> Operations:
        size = candidate.image_size
        if size not in counted:
            counted[size] = count_operations(candidate.arch_kwargs, task.slices, task.num_classes, task.input_channels)
        return counted[size]

    return count


def _training_flops(candidate: Candidate, count: Callable[[Candidate], Operations]) -> int:
    """Operations of a sample in a training step; gradient checkpointing adds a second forward pass."""
    forward, backward = count(candidate)
    return forward + backward + (forward if candidate.checkpointing else 0)


def _row(candidate: Candidate, task: Task, rules: PlanningRules, speed: float, note: str) -> tuple[str, ...]:
    patch = candidate.patch if task.slices == 1 else (task.slices, *candidate.patch)
    return (
        " x ".join(map(str, patch)),
        " x ".join(map(str, candidate.image_size)),
        f"{candidate.micro_batch_size} x {rules.batch_size // candidate.micro_batch_size}",
        "yes" if candidate.checkpointing else "no",
        f"{candidate.vram_gb:.1f}",
        f"{speed:.2f}",
        note,
    )
