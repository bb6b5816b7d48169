"""The plan that was chosen, beside its alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_masam.planning.configuration import network_arguments, task_of
from nnunetv2_masam.planning.cost import training_flops
from nnunetv2_masam.planning.fit import Candidate, Task, divisors, fit_memory, make_candidate
from nnunetv2_masam.planning.in_plane import InPlane, plan_in_plane, smaller_in_plane
from nnunetv2_masam.planning.rules import PlanningRules

_HEADER = ("patch", "input, pixels", "micro-batch size x number", "checkpointing", "GB", "speed", "")
_SMALLER = (0.75, 0.5)  # sides of the network input that are shown beside the wanted one


def explain_configuration(
    configuration: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> str:
    """A table of the plan for a configuration and of others: smaller inputs, with and without checkpointing.

    Every row has the largest micro-batch that fits the memory target, or one where none does. ``speed`` is slices per
    second over those of the plan, as :func:`~nnunetv2_masam.planning.cost.training_flops` counts operations.

    Args:
        configuration, rules, num_classes, vram_gb: see
            :func:`~nnunetv2_masam.planning.configuration.plan_configuration`.
    """
    target = rules.vram_gb if vram_gb is None else vram_gb
    task = task_of(configuration, rules, num_classes)
    arch_kwargs = network_arguments(rules)
    chosen = fit_memory(task, rules, arch_kwargs, target)
    rows = [_HEADER, _row(chosen, chosen, task, rules, "the plan")]
    for in_plane in _sizes(task, rules, chosen):
        for checkpointing in (False, True):
            other = _most_samples(task, rules, arch_kwargs, in_plane, checkpointing, target)
            if (other.image_size, other.checkpointing) != (chosen.image_size, chosen.checkpointing):
                note = "" if other.vram_gb <= target else "too large"
                rows.append(_row(other, chosen, task, rules, note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


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


def _row(candidate: Candidate, chosen: Candidate, task: Task, rules: PlanningRules, note: str) -> tuple[str, ...]:
    flops = [
        training_flops(plan.arch_kwargs, task.slices, task.num_classes, task.input_channels)
        for plan in (chosen, candidate)
    ]
    patch = candidate.patch if task.slices == 1 else (task.slices, *candidate.patch)
    return (
        " x ".join(map(str, patch)),
        " x ".join(map(str, candidate.image_size)),
        f"{candidate.micro_batch_size} x {rules.batch_size // candidate.micro_batch_size}",
        "yes" if candidate.checkpointing else "no",
        f"{candidate.vram_gb:.1f}",
        f"{flops[0] / flops[1]:.2f}",
        note,
    )
