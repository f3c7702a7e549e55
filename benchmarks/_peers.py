"""The same problem learned by mtlearn and by others: what steps.py and growth.py time.

Each function takes a problem and returns a function that fits from scratch for some epochs. What
needs a process of its own is run by a `Child`.
"""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from _timing import StepTimer, one_thread

one_thread()

import numpy as np  # noqa: E402

Fit = Callable[[int], object]
CLASS_WEIGHT = 0.2
RATE = 1e-3


@dataclass(frozen=True)
class Problem:
    """What is learned, and by which network.

    With `as_columns` the numbers are one output with that many columns, else an output each. An
    output of three classes may be beside them.
    """

    n_rows: int = 4096
    n_features: int = 20
    layers: tuple[int, ...] = (64, 64)
    n_numbers: int = 1
    classes: bool = True
    as_columns: bool = False
    batch_size: int = 128

    @property
    def n_steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.n_rows // self.batch_size)

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows, the numbers (a column each) and the classes."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n_rows, self.n_features), dtype=np.float32)
        hidden = np.tanh(X @ rng.standard_normal((self.n_features, 8), dtype=np.float32))
        numbers = hidden @ rng.standard_normal((8, self.n_numbers), dtype=np.float32)
        return X, numbers, hidden[:, :3].argmax(axis=1)

    def weights(self) -> np.ndarray:
        """Return weights of the rows."""
        return np.random.default_rng(1).uniform(0.5, 1.5, self.n_rows).astype(np.float32)

    def missing(self, output: int) -> np.ndarray:
        """Tell which labels of an output are missing, a tenth of them."""
        return np.random.default_rng(2 + output).random(self.n_rows) < 0.1


def ours(problem: Problem, *, fast_step: bool | str = "auto") -> Fit:
    """Fit mtlearn with sample weights, missing labels and the history of each output."""
    from mtlearn import MultiOutputNet
    from mtlearn.heads import Classification, Regression
    from mtlearn.trunks import MLP

    X, numbers, classes = problem.data()
    heads: dict[str, Any] = {}
    y: dict[str, np.ndarray] = {}
    if problem.as_columns:
        y["numbers"] = np.where(problem.missing(0)[:, None], np.nan, numbers)
        heads["numbers"] = Regression()
    else:
        for i, column in enumerate(numbers.T):
            y[f"number_{i}"] = np.where(problem.missing(i), np.nan, column)
            heads[f"number_{i}"] = Regression()
    if problem.classes:
        y["class"] = np.where(problem.missing(len(y)), np.nan, classes)
        heads["class"] = Classification()
    weights = problem.weights()

    def fit(n_epochs: int) -> None:
        MultiOutputNet(
            MLP(problem.layers),
            heads,
            loss_weights={"class": CLASS_WEIGHT} if problem.classes else None,
            missing_targets="ignore",
            batch_size=problem.batch_size,
            max_epochs=n_epochs,
            early_stopping=False,
            fast_step=fast_step,
            random_state=0,
        ).fit(X, y, weights)

    return fit


def ours_by_autograd(problem: Problem) -> Fit:
    """Do the same by torch's autograd."""
    return ours(problem, fast_step=False)


def mlp_regressor(problem: Problem) -> Fit:
    """Fit scikit-learn's net, with the classes as columns of 0 and 1."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    X, numbers, classes = problem.data()
    if problem.classes:
        numbers = np.hstack([numbers, np.eye(3, dtype=np.float32)[classes]])
    y = numbers[:, 0] if numbers.shape[1] == 1 else numbers

    def fit(n_epochs: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            MLPRegressor(
                hidden_layer_sizes=problem.layers,
                batch_size=problem.batch_size,
                max_iter=n_epochs,
                tol=0,
                n_iter_no_change=n_epochs + 1,
                random_state=0,
            ).fit(X, y)

    return fit


def torch_loop(problem: Problem, *, weighted: bool = False) -> Fit:
    """Loop over batches as one writes it by hand, with torch's fused Adam."""
    import torch
    from torch.nn import functional

    X, numbers, classes = map(torch.from_numpy, problem.data())
    rows_weights = torch.from_numpy(problem.weights())
    n_outputs = 1 if problem.as_columns else problem.n_numbers
    observed = np.stack([~problem.missing(i) for i in range(n_outputs + problem.classes)], axis=1)
    weights = rows_weights[:, None] * torch.from_numpy(observed)

    def losses(raw: list[Any], rows: Any) -> Iterator[Any]:
        reduction = "none" if weighted else "mean"
        y = numbers[rows]
        for i, column in enumerate(raw[:n_outputs]):
            target = y if problem.as_columns else y[:, i : i + 1]
            yield functional.mse_loss(column, target, reduction=reduction)
        if problem.classes:
            label = classes[rows]
            yield CLASS_WEIGHT * functional.cross_entropy(raw[-1], label, reduction=reduction)

    def total(raw: list[Any], rows: Any) -> Any:
        if not weighted:
            return sum(losses(raw, rows))
        w = weights[rows]
        by_row = (loss.view(len(loss), -1).mean(1) for loss in losses(raw, rows))
        return sum((w[:, i] * loss).mean() for i, loss in enumerate(by_row))

    def fit(n_epochs: int) -> None:
        torch.manual_seed(0)
        trunk, heads = torch_layers(problem)
        optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], RATE, fused=True)
        for _ in range(n_epochs):
            order = torch.randperm(problem.n_rows)
            for rows in order.split(problem.batch_size):
                h = trunk(X[rows])
                loss = total([head(h) for head in heads], rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return fit


def weighted_torch_loop(problem: Problem) -> Fit:
    """Do the same with sample weights and missing labels."""
    return torch_loop(problem, weighted=True)


def torch_layers(problem: Problem) -> tuple[Any, Any]:
    """Return the trunk and the list of heads as torch's modules."""
    from torch import nn

    sizes = (problem.n_features, *problem.layers)
    hidden = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
    widths = [problem.n_numbers] if problem.as_columns else [1] * problem.n_numbers
    widths += [3] * problem.classes
    trunk = nn.Sequential(*[layer for pair in hidden for layer in pair])
    return trunk, nn.ModuleList(nn.Linear(sizes[-1], width) for width in widths)


def skorch_net(problem: Problem, *, whole_batches: bool = False) -> Fit:
    """Fit skorch's net for a number and the classes, with torch's DataLoader."""
    import torch
    from skorch import NeuralNet
    from torch import nn
    from torch.nn import functional

    X, numbers, classes = problem.data()
    y = numbers[:, 0], classes

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.heads = torch_layers(problem)

        def forward(self, x: Any) -> tuple[Any, Any]:
            h = self.trunk(x)
            return self.heads[0](h)[:, 0], self.heads[1](h)

    class Loss(nn.Module):
        def forward(self, raw: tuple[Any, Any], y: tuple[Any, Any]) -> Any:
            number = functional.mse_loss(raw[0], y[0])
            return number + CLASS_WEIGHT * functional.cross_entropy(raw[1], y[1])

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, i: int) -> tuple[Any, Any]:
            return X[i], (y[0][i], y[1][i])

    class WholeBatches:
        def __init__(self, _dataset: Any, batch_size: int) -> None:
            self.parts = [torch.from_numpy(part) for part in (X, *y)]
            self.batch_size = batch_size

        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            for rows in torch.randperm(len(X)).split(self.batch_size):
                x, number, label = (part[rows] for part in self.parts)
                yield x, (number, label)

    how = {"iterator_train": WholeBatches} if whole_batches else {"iterator_train__shuffle": True}

    def fit(n_epochs: int) -> None:
        NeuralNet(
            Network,
            Loss,
            optimizer=torch.optim.Adam,
            optimizer__fused=whole_batches,
            lr=RATE,
            batch_size=problem.batch_size,
            max_epochs=n_epochs,
            train_split=None,
            verbose=0,
            **how,
        ).fit(Rows(), None)

    return fit


def skorch_whole_batches(problem: Problem) -> Fit:
    """Do the same with an iterator over whole batches and fused Adam."""
    return skorch_net(problem, whole_batches=True)


def skorch_search_net(problem: Problem, n_epochs: int, *, whole_batches: bool) -> Any:
    """Return skorch's net whose ``criterion__class_weight`` can be searched."""
    import torch
    from _skorch_parts import Batches, Network, WeightedLoss
    from skorch import NeuralNet

    how = {"iterator_train": Batches} if whole_batches else {"iterator_train__shuffle": True}
    return NeuralNet(
        Network,
        WeightedLoss,
        module__sizes=(problem.n_features, *problem.layers),
        optimizer=torch.optim.Adam,
        optimizer__fused=whole_batches,
        lr=RATE,
        batch_size=problem.batch_size,
        max_epochs=n_epochs,
        train_split=None,
        verbose=0,
        **how,
    )


def keras_model(problem: Problem) -> Fit:
    """Fit a functional model of Keras, on the backend of this process."""
    import keras

    X, numbers, classes = problem.data()
    inputs = keras.Input((problem.n_features,))
    h = inputs
    for width in problem.layers:
        h = keras.layers.Dense(width, "relu")(h)
    y, outputs, losses, weights = {}, {}, {}, {}
    parts = {"numbers": numbers} if problem.as_columns else {}
    for name, part in parts.items() or ((f"number_{i}", c) for i, c in enumerate(numbers.T)):
        y[name], losses[name], weights[name] = part, "mse", 1.0
        width = part.shape[1] if part.ndim == 2 else 1
        outputs[name] = keras.layers.Dense(width, name=name)(h)
    if problem.classes:
        y["class"], weights["class"] = classes, CLASS_WEIGHT
        losses["class"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        outputs["class"] = keras.layers.Dense(3, name="class")(h)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(RATE), loss=losses, loss_weights=weights)

    def fit(n_epochs: int) -> None:
        model.fit(X, y, batch_size=problem.batch_size, epochs=n_epochs, verbose=0)

    return fit


class Child:
    """A timer of Keras in a process of its own, since a process has one backend.

    It measures when it is called, and sleeps otherwise. JAX computes beside Python's own thread
    and so uses more than one core even where it is told to use one thread; `one_core` prevents it.
    """

    def __init__(
        self, backend: str, problem: Problem, seconds: float, *, one_core: bool = False
    ) -> None:
        options = {"seconds": seconds, "one_core": one_core}
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(problem)), json.dumps(options)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "JAX_PLATFORMS": "cpu",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def __call__(self) -> float:
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return float(self._read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs Keras ended; its error is above")
        return line


def can_pin() -> bool:
    """Tell whether the system lets a process stay on one core."""
    return hasattr(os, "sched_setaffinity")


def is_installed(*names: str) -> bool:
    """Tell whether all of these packages can be imported; say which cannot."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {' + '.join(names)}, since {' and '.join(missing)} cannot be imported")
    return not missing


def serve() -> None:
    """Be a `Child`: measure whenever a line comes in."""
    fields, options = map(json.loads, sys.argv[1:])
    if options["one_core"]:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    problem = Problem(**{**fields, "layers": tuple(fields["layers"])})
    timer = StepTimer(keras_model(problem), problem.n_steps, options["seconds"])
    print("ready", flush=True)
    for _ in sys.stdin:
        print(timer(), flush=True)


if __name__ == "__main__":
    serve()
