"""Microseconds per training step beside other libraries, on one thread.

Usage: python benchmarks/steps.py [--quick] [--write]

4,096 rows of 20 features, two layers of 64, one number and one output of 3 classes, 128 rows per
step, Adam. mtlearn has sample weights, missing labels and the history of each output; the others
have none of these unless it is said. All are timed in turns; a time is the median over the rounds,
that of a step being the difference of a long and a short fit by its number of steps. A ratio is
that of the medians, with the least and the largest of the rounds. JAX computes beside Python's own
thread, on a second core if there is one; it is timed on one core too.
"""

from contextlib import ExitStack

from _peers import (
    Child,
    Problem,
    can_pin,
    is_installed,
    mlp_regressor,
    ours,
    ours_by_autograd,
    skorch_net,
    skorch_whole_batches,
    torch_loop,
    weighted_torch_loop,
)
from _timing import StepTimer, arguments, in_turns, number, ratio, table, write

OURS = "mtlearn"
HERE = {
    OURS: ours,
    "mtlearn, ``fast_step=False``": ours_by_autograd,
    "MLPRegressor, 4 outputs": mlp_regressor,
    "torch by hand, fused Adam": torch_loop,
    "the same with weights, missing labels": weighted_torch_loop,
    "skorch, DataLoader": skorch_net,
    "skorch, whole batches, fused Adam": skorch_whole_batches,
}
CHILDREN = {
    "Keras on JAX, jitted": ("jax", False),
    "the same on one core": ("jax", True),
    "Keras on torch": ("torch", False),
}


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_rounds, seconds = (2, 0.1) if args.quick else (9, 0.6)
    problem = Problem()
    with ExitStack() as stack:
        timers = {}
        for name, (backend, one_core) in CHILDREN.items():
            if is_installed("keras", backend) and (can_pin() or not one_core):
                child = Child(backend, problem, seconds, one_core=one_core)
                timers[name] = stack.enter_context(child)
        for name, make in HERE.items():
            timers[name] = StepTimer(make(problem), problem.n_steps, seconds)
        found = in_turns(timers, n_rounds)
    rows = [
        (name, number(found[name], 1e6), ratio(found[OURS], found[name]))
        for name in (*HERE, *CHILDREN)
        if name in found
    ]
    text = table(("", "microseconds per step", "mtlearn's time by this one's"), rows)
    print(text)
    if args.write:
        write("steps", [text])


if __name__ == "__main__":
    main()
