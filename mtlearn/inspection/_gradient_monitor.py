"""A callback that records what each output's loss does to each stage, epoch by epoch."""

import copy
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, PrintLog
from torch import Tensor

from mtlearn._engine._data import Batch, Labels, TrainingData
from mtlearn._engine._module import MultiOutputModule, all_tensors
from mtlearn._engine._objective import Objective
from mtlearn._optional import import_optional
from mtlearn._validation import check_known
from mtlearn.inspection._fitted_rows import find_fitted
from mtlearn.inspection._gradient_history import column, gradient_columns, mean_and_error
from mtlearn.inspection._gradient_products import GradientProducts, gradient_products
from mtlearn.inspection._stage_parameters import StageParameters, stage_parameters

__all__ = ["GradientMonitor"]


class GradientMonitor(Callback):
    """Record in each epoch of a fit what each output's loss does to each stage of the network.

    A callback for the parameter `callbacks` of an estimator. At the end of an epoch it takes the
    gradient of each output's loss on the same rows, as `gradient_report` does, and writes columns
    into ``history_``, where `frame_of` finds them again. At the end of the fit it warns of every
    output whose gradient on the shared trunk points away from the main output's, on average and
    by more than chance. Training is the same with it, bit for bit.

    Parameters
    ----------
    n_rows : int, default=1000
        How many rows to draw from those trained on. More rows are more exact, and cost more.
    every : int, default=1
        Record every so many epochs.
    main_output : str, default=None
        The output that the others are compared with; None for the estimator's main output, or the
        first one if it has none.
    warn_below : float, default=-0.1
        Warn if the mean cosine on the trunk over the epochs is below this by two of its standard
        errors; -1 for never. See the notes.
    random_state : int, default=0
        Which rows are drawn. No other generator is touched.

    See Also
    --------
    gradient_report : The same of a fitted network.
    GradientConflictDisplay.from_history : Draws the cosines over the epochs.

    Notes
    -----
    The columns are ``gradient__cosine__<output>`` for the parameters of the trunk that the
    output shares with the main one, and ``gradient__<quantity>__<output>__<stage>`` for each stage
    that an output reaches, with the quantities ``norm`` (of the weighted loss), ``share`` (of the
    update), ``cosine`` and ``conflict_rate``. What cannot be computed has no column. The part of
    the penalty is what the shares of a stage lack to 1.

    Of outputs that have nothing to do with each other, the mean cosine is not 0 but scattered about
    it, mostly a little below, since they compete for the same layers. So the warning takes more
    than a negative mean. The standard error is that of n values with the correlation r of each
    with the one before, of which :math:`n (1 - r) / (1 + r)` would be independent. With less than
    three recorded epochs it is not known, and no warning is given; so ``partial_fit`` gives none.
    In short fits the sign of a cosine may be an accident of the heads' first weights, which can be
    opposed even where targets are equal, and the warning with it.

    References
    ----------
    A negative cosine is the sign of negative transfer in Du et al., "Adapting Auxiliary Losses
    Using Gradient Similarity", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import GradientMonitor
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> y = {"price": X[:, 0], "rent": X[:, 0] + 0.1 * X[:, 1]}
    >>> net = MultiOutputNet(
    ...     callbacks=[GradientMonitor(n_rows=200)], max_epochs=3, random_state=0).fit(X, y)
    >>> [name for name in net.history_[0] if "cosine" in name]
    ['gradient__cosine__rent',
     'gradient__cosine__rent__hidden_1', 'gradient__cosine__rent__hidden_2']
    """

    needs_batches = False

    def __init__(
        self,
        n_rows: int = 1000,
        every: int = 1,
        main_output: str | None = None,
        warn_below: float = -0.1,
        random_state: int = 0,
    ) -> None:
        self.n_rows = n_rows
        self.every = every
        self.main_output = main_output
        self.warn_below = warn_below
        self.random_state = random_state

    @staticmethod
    def frame_of(fitted: Any) -> Any:
        """Return what a monitor recorded in the fit of an estimator.

        Parameters
        ----------
        fitted : estimator
            A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either; of
            several networks, the first is shown.

        Returns
        -------
        DataFrame
            One row per epoch (from 1 on), stage and output, with the columns ``norm``, ``share``,
            ``cosine`` and ``conflict_rate``. The rows of the stage "(trunk)" are about all that an
            output shares with the main one.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If nothing was recorded.
        """
        pandas = import_optional("pandas", needed_by="GradientMonitor.frame_of", install="pandas")
        net, _, _ = find_fitted(fitted, "GradientMonitor.frame_of")
        records: dict[tuple[int, str, str], dict[str, float]] = {}
        for epoch, row in enumerate(net.history_, 1):
            for name, (quantity, output, stage) in gradient_columns(row).items():
                key = epoch, stage or "(trunk)", output
                records.setdefault(key, {})[quantity] = row[name]
        if not records:
            raise ValueError(
                "GradientMonitor.frame_of: the history has no gradients. Fit the estimator with "
                "callbacks=[GradientMonitor()]."
            )
        index = pandas.MultiIndex.from_tuples(list(records), names=["epoch", "stage", "output"])
        columns = ["norm", "share", "cosine", "conflict_rate"]
        return pandas.DataFrame(list(records.values()), index=index, columns=columns)

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Draw the rows, and find the stages.

        Parameters
        ----------
        net : Net
            The net that is trained.
        X : TrainingData, default=None
            What it is trained on.
        **kwargs : Any
            Not used.
        """
        for name, value in (("n_rows", self.n_rows), ("every", self.every)):
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(
                    f"GradientMonitor: `{name}` must be an int of at least 1. Got {value!r}."
                )
        if not isinstance(self.warn_below, Real) or not -1 <= self.warn_below <= 1:
            raise ValueError(
                f"GradientMonitor: `warn_below` must be a number from -1 to 1. Got "
                f"{self.warn_below!r}."
            )
        self._module: MultiOutputModule = copy.deepcopy(net.module_).cpu().eval()
        self._objective: Objective = copy.deepcopy(net.criterion_).cpu()
        self._batches = self._draw(X, net.batch_size)
        names = self._module.names
        main = self.main_output or getattr(net, "main_output", None)
        if main is None:
            main = next(name for name in net.heads if name in names)
        check_known([main], net.heads, subject="GradientMonitor: `main_output`")
        self._main = names.index(main) if main in names else None
        first = self._batches[0][0]
        inputs = {"X": first} if isinstance(first, Tensor) else first
        self._stages: list[StageParameters] = stage_parameters(
            self._module, {name: part[:2] for name, part in inputs.items()}, names
        )
        self._cosines: list[list[float]] = []

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record an epoch.

        Parameters
        ----------
        net : Net
            The net that is trained.
        **kwargs : Any
            Not used.
        """
        if (net.epochs_before + len(net.history) - 1) % self.every:
            return
        tensors = all_tensors(net.module_) if net.ended is None else net.ended.weights()
        ours, theirs = all_tensors(self._module), dict(net.module_.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors.items():
                ours[name].copy_(tensor)
        for name, parameter in self._module.named_parameters():
            parameter.requires_grad_(theirs[name].requires_grad)
        self._objective.weights.copy_(net.criterion_.weights)
        products = gradient_products(
            self._module,
            self._objective,
            self._stages,
            self._batches,
            net.alpha,
            checks_total=False,
        )
        columns = self._columns(products)
        for name, value in columns.items():
            net.history.record(name, value)
        for _, other in net.callbacks_:
            if isinstance(other, PrintLog):  # the table would be wider than any screen
                other.keys_ignored_.update(columns)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002 (skorch's names)
        """Warn of outputs that work against the main one.

        Parameters
        ----------
        net : Net
            Not used.
        **kwargs : Any
            Not used.
        """
        main, names = self._main, self._module.names
        del self._module, self._objective, self._batches, self._stages
        for k, name in enumerate(names):
            found = np.array([cosines[k] for cosines in self._cosines])
            found = found[~np.isnan(found)]
            if main is None or k == main or not len(found):
                continue
            mean, error = mean_and_error(found)
            if mean + 2 * error >= self.warn_below:
                continue
            warnings.warn(
                f"GradientMonitor: {name!r} works against {names[main]!r} on the layers that they "
                f"share: over {len(found)} epochs the mean cosine of their gradients is "
                f"{mean:.2f}, with a standard error of {error:.2f}. Compare with `loss_weights` of "
                f"less for {name!r}, and 0; try weighting='pcgrad', or let its head take an "
                f"earlier layer by `at`.",
                UserWarning,
                stacklevel=2,
            )

    def _draw(self, data: TrainingData, batch_size: int) -> list[tuple[Batch, dict[str, Labels]]]:
        """Return copies of some rows in batches, on the CPU."""
        generator = np.random.default_rng(self.random_state)
        rows = generator.permutation(len(data))[: self.n_rows]
        batches = []
        for start in range(0, len(rows), batch_size):
            index = torch.as_tensor(rows[start : start + batch_size])
            device = next(iter(data.labels.values())).target.device
            X, labels = data[index.to(device)]
            X = X.cpu() if isinstance(X, Tensor) else {name: x.cpu() for name, x in X.items()}
            labels = {name: Labels(*(part.cpu() for part in both)) for name, both in labels.items()}
            batches.append((X, labels))
        return batches

    def _columns(self, products: GradientProducts) -> dict[str, float]:
        """Return what is recorded of an epoch, and keep the cosines on the trunk."""
        names, main = self._module.names, self._main
        found: dict[str, float] = {}
        in_trunk = np.array([stage.in_trunk for stage in self._stages], dtype=bool)
        compared = {}
        if main is not None:
            compared = {
                "cosine": products.cosines(main),
                "conflict_rate": products.conflict_rates(main),
            }
            trunk = products.trunk_cosines(main, in_trunk)
            self._cosines.append(trunk.tolist())
            others = [k for k in range(len(names)) if k != main]
            found = {column("cosine", names[k]): float(trunk[k]) for k in others}
        weighted = products.norms() * self._objective.weights.double().numpy()
        numbers = {"norm": weighted, "share": products.shares(), **compared}
        for i, k in zip(*products.reaches.nonzero(), strict=True):
            for quantity, values in numbers.items():
                if k != main or quantity not in compared:
                    name = column(quantity, names[k], self._stages[i].name)
                    found[name] = float(values[i, k])
        return {name: value for name, value in found.items() if not np.isnan(value)}
