"""The numbers of a gradient report in sentences."""

from typing import Any

import numpy as np

from mtlearn._typing import Mask

__all__ = ["explain_gradients"]

MAX_NAMED = 5
NEAR_ZERO = 0.1  # cosines that are called neither agreement nor conflict


def explain_gradients(report: Any) -> str:
    """Return a sentence for each output but the main one, and one on their sum.

    Parameters
    ----------
    report : GradientReport
        The numbers.
    """
    main = report.outputs.index(report.main_output)
    sentences = [_on_output(report, k, main) for k in range(len(report.outputs)) if k != main]
    if not sentences:
        sentences = [f"`{report.main_output}` is the only output, so nothing is shared."]
    sentences.append(
        f"A step follows the weighted sum of the outputs' gradients and the penalty's; one "
        f"backward pass of the total gives the same (largest relative difference "
        f"{report.total_error:.0e})."
    )
    if report.n_members > 1:
        sentences.append(f"These are the gradients of the first of {report.n_members} networks.")
    return " ".join(sentences)


def _on_output(report: Any, k: int, main: int) -> str:
    name, weight = f"`{report.outputs[k]}`", report.loss_weights[k]
    kinds = {stage.name: stage.kind for stage in report.architecture if stage.kind != "trunk"}
    if kinds.get(report.outputs[k]) == "constant":
        return f"{name} has no layers and trains nothing."
    if not report.reaches[:, k].any():
        return f"{name} reaches nothing that learns."
    if weight == 0:
        return f"{name} trains nothing with the weight 0."
    trunk = np.array([stage.kind == "trunk" for stage in report.architecture], dtype=bool)
    reached = _names_of_reached(report, k, trunk)
    shared = np.flatnonzero(report.reaches[:, k] & report.reaches[:, main] & trunk)
    if not len(shared):
        main = report.main_output
        return f"{name} reaches {reached}, and shares no stage that learns with `{main}`."
    last = int(shared[-1])
    return (
        f"{name} reaches {reached}; with weight {weight:.3g} it makes "
        f"{round(100 * report.shares[last, k])} % of {report.stages[last]}'s update and "
        f"{_relation(report, last, k)}."
    )


def _names_of_reached(report: Any, k: int, trunk: Mask) -> str:
    """Return the stages that an output reaches in words."""
    own = report.reaches[:, k] & ~trunk
    found = np.flatnonzero(report.reaches[:, k] & trunk)
    learning = np.flatnonzero(report.reaches.any(axis=1) & trunk)
    names = [report.stages[i] for i in found]
    if len(names) > MAX_NAMED:
        names = [f"{len(found)} of the trunk's {len(learning)} stages that learn"]
        if len(found) == len(learning):
            names = [f"all {len(found)} stages of the trunk that learn"]
    names += ["its own head"] if own.any() else []
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _relation(report: Any, stage: int, k: int) -> str:
    """Return how the gradients of an output and of the main one lie to each other."""
    cosine, main = report.cosines[stage, k], f"`{report.main_output}`"
    if np.isnan(cosine):
        return f"cannot be compared with {main} there, as a gradient is 0"
    found = f"cosine {round(cosine, 2) + 0:.2f}"  # of -0.0, + 0 makes 0.0
    if report.n_batches > 1:
        rate = round(100 * report.conflict_rates[stage, k])
        found += f"; negative in {rate} % of {report.n_batches} batches"
    if cosine >= NEAR_ZERO:
        return f"agrees with {main} there ({found})"
    if cosine <= -NEAR_ZERO:
        return f"works against {main} there ({found})"
    return f"neither agrees with {main} nor works against it there ({found})"
