"""What a weighting costs: the time of a step beside that of the plain weighted sum.

Usage: python benchmarks/weighting_steps.py [--quick] [--write]

4,096 rows of 20 features, two layers of 64, 128 rows per step, Adam, on one thread. Two outputs are
a number and one of three classes; four are two of each. All with one number of outputs are timed in
turns; a time is the median over the rounds, that of a step being the difference of a long and a
short fit by its number of steps. A ratio is that of the medians, with the least and the largest of
the rounds: to the plain weighted sum by the same means, and to that by hand.

By formulas and by autograd (fast_step=False) are MultiOutputNet, whose steps have a penalty and
keep the losses for the history. By hand is a loop of a few lines of torch around the same layers
with torch's fused Adam, without either: with one backward pass of the sum, or with torchjd's
mtl_backward and jac_to_grad on the trunk.
"""

from collections.abc import Callable, Sequence
from typing import Any

from _timing import StepTimer, arguments, in_turns, number, one_thread, ratio, table, write

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

try:
    import torchjd.aggregation as torchjd
    from torchjd.autojac import jac_to_grad, mtl_backward
except ImportError:
    torchjd = None

from mtlearn import MultiOutputNet, Targets  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

N_ROWS, N_FEATURES, BATCH, HIDDEN = 4096, 20, 128, 64
FORMULAS, AUTOGRAD, BY_HAND = "formulas", "autograd", "hand"
PLAIN = "none"
NAMES = [
    PLAIN,
    "uncertainty",
    "log",
    "dwa",
    "random",
    "famo",
    "gradcosine",
    "pcgrad",
    "mgda",
    "nash",
]
OF_TORCHJD = {"pcgrad": "PCGrad", "mgda": "MGDA", "nash": "NashMTL", "upgrad": "UPGrad"}


def problem(n_outputs: int) -> tuple[np.ndarray, Targets]:
    """Return rows, and outputs of both kinds by turns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    mixed = X @ rng.normal(size=(N_FEATURES, n_outputs)) + rng.normal(size=(N_ROWS, n_outputs))
    kinds = [np.tanh, lambda column: np.digitize(column, [-2.0, 2.0])]
    return X, Targets({f"y{k}": kinds[k % 2](mixed[:, k]) for k in range(n_outputs)})


def aggregators(n_outputs: int) -> dict[str, Any]:
    """Return those of torchjd whose packages are there."""
    found = {}
    for name, cls in OF_TORCHJD.items():
        try:
            found[name] = getattr(torchjd, cls)(*[n_outputs] * (name == "nash"))
        except (AttributeError, ImportError) as error:
            print(f"without {name} of torchjd: {error}")
    return found


def fits(X: np.ndarray, y: Targets, weighting: Any, how: str) -> Callable[[int], object]:
    """Return what fits a MultiOutputNet for so many epochs."""

    def fit(n_epochs: int) -> object:
        net = MultiOutputNet(
            MLP((HIDDEN, HIDDEN)),
            weighting=weighting,
            main_output="y0",
            batch_size=BATCH,
            max_epochs=n_epochs,
            fast_step="auto" if how == FORMULAS else False,
            random_state=0,
        )
        return net.fit(X, y)

    return fit


def fits_by_hand(X: np.ndarray, y: Targets, aggregator: Any = None) -> Callable[[int], object]:
    """Return what trains a network for so many epochs with torch alone, or with torchjd."""
    rows = torch.tensor(X)
    targets = [torch.tensor(y[name]) for name in sorted(y)]
    targets = [t.float() if t.is_floating_point() else t for t in targets]
    losses_of = [
        nn.functional.mse_loss if t.is_floating_point() else nn.functional.cross_entropy
        for t in targets
    ]

    def fit(n_epochs: int) -> object:
        torch.manual_seed(0)
        if hasattr(aggregator, "reset"):
            aggregator.reset()
        first, second = nn.Linear(N_FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        trunk = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        heads = [nn.Linear(HIDDEN, 1 if t.is_floating_point() else 3) for t in targets]
        shared, own = [*trunk.parameters()], [[*head.parameters()] for head in heads]
        learned = [*shared, *(p for some in own for p in some)]
        optimizer = torch.optim.Adam(learned, fused=True)

        def backward(losses: Sequence[Tensor], features: Tensor) -> None:
            if aggregator is None:
                torch.stack(list(losses)).sum().backward()
            else:
                mtl_backward(losses, features, tasks_params=own, shared_params=shared)
                jac_to_grad(shared, aggregator)

        for _ in range(n_epochs):
            for batch in torch.randperm(N_ROWS).split(BATCH):
                features = trunk(rows[batch])
                losses = [
                    loss(head(features).squeeze(1), target[batch])
                    for head, target, loss in zip(heads, targets, losses_of, strict=True)
                ]
                optimizer.zero_grad()
                backward(losses, features)
                optimizer.step()
        return trunk

    return fit


def all_fits(
    X: np.ndarray, y: Targets, n_outputs: int
) -> dict[tuple[str, str], Callable[[int], object]]:
    """Return what is timed, by how and by which weighting."""
    of_torchjd = {} if torchjd is None else aggregators(n_outputs)
    strategies = {name: None if name == PLAIN else name for name in NAMES}
    if "upgrad" in of_torchjd:
        strategies["upgrad"] = of_torchjd["upgrad"]
    found = {
        (how, name): fits(X, y, strategy, how)
        for how in (FORMULAS, AUTOGRAD)
        for name, strategy in strategies.items()
    }
    found[BY_HAND, PLAIN] = fits_by_hand(X, y)
    for name, aggregator in of_torchjd.items():
        found[BY_HAND, f"{name} of torchjd"] = fits_by_hand(X, y, aggregator)
    return found


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    torch.set_num_threads(1)
    n_rounds, seconds = (2, 0.05) if args.quick else (7, 0.3)
    rows = []
    for n_outputs in (2, 4):
        X, y = problem(n_outputs)
        timers = {
            key: StepTimer(fit, N_ROWS // BATCH, seconds)
            for key, fit in all_fits(X, y, n_outputs).items()
        }
        found = in_turns(timers, n_rounds)
        by_hand = found[BY_HAND, PLAIN]
        rows += [
            (
                f"{n_outputs}",
                how,
                name,
                number(times, 1e6),
                ratio(times, found[how, PLAIN]),
                ratio(times, by_hand),
            )
            for (how, name), times in found.items()
        ]
        if torchjd is None:
            rows.append((f"{n_outputs}", BY_HAND, "torchjd: not installed", "-", "-", "-"))
    header = ("outputs", "by", "weighting", "microseconds per step", "by its plain step")
    text = table((*header, "by the plain step by hand"), rows)
    print(text)
    if args.write:
        write("weighting_steps", [text])


if __name__ == "__main__":
    main()
