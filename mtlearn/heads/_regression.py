"""The head for numbers."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from mtlearn._arrays import as_columns
from mtlearn._sklearn import HasMethods, Interval, StrOptions
from mtlearn._typing import Array, Floats
from mtlearn.heads._base import Head, check_columns
from mtlearn.heads._custom_loss import CustomLoss, LossFunction, check_loss
from mtlearn.heads._scale import as_numbers, center_and_scale, weighted_r2

__all__ = ["Regression"]


class Regression(Head):
    r"""Predict one number, or several columns of numbers.

    The targets are standardised on the weighted, observed training rows, so that the loss of a
    label :math:`y` with the raw output :math:`f` is

    .. math:: \ell\left(f, \frac{t(y) - c}{s}\right) / b

    with the transformation :math:`t` of `transformer` (none by default), the weighted mean
    :math:`c` and standard deviation :math:`s` of the transformed labels, and the loss :math:`b`
    of the best constant. Predictions are mapped back: :math:`t^{-1}(c + s f)`. With
    ``normalize_losses=False`` of the estimator, :math:`c = 0` and :math:`s = b = 1`.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber"} or callable, default="squared_error"
        The loss of each label. A callable, such as a torch module, takes the raw outputs and the
        (standardised) targets, two tensors of the shape of the target, and returns the loss of
        each label in that shape. Where it takes an argument ``reduction``, as torch's functions
        do, or has such an attribute, as torch's modules do, it is asked for ``"none"``.
    delta : float, default=1.0
        Where ``"huber"`` changes from a squared to a linear loss, in standard deviations of the
        target. Other losses ignore it.
    transformer : scikit-learn transformer, default=None
        Transforms the target, one column per column, before it is standardised; it needs
        ``inverse_transform``. For a log-scaled price:
        ``FunctionTransformer(np.log, inverse_func=np.exp)``.
    hidden_layer_sizes : array-like of int, default=()
        The sizes of this output's own hidden layers, between the trunk and the raw output.
    at : str or list of str, default=None
        The name of the trunk's layer to attach to, or of several, which are put side by side;
        None for the only one.
    target : str, default=None
        The name of the target to learn; None for the one of the output's own name.

    Attributes
    ----------
    center_ : ndarray of shape (n_columns,)
        What is subtracted from each column.
    scale_ : ndarray of shape (n_columns,)
        What each column is divided by; 0 for a constant column, which is predicted as it is.
    transformer_ : scikit-learn transformer or None
        The fitted transformer.
    raw_shape_ : tuple of int
        ``()`` for a one-dimensional target, else ``(n_columns,)``.
    constant_raw_ : ndarray of shape ``raw_shape_``
        The raw output of the best constant prediction.
    baseline_ : float
        What each loss is divided by.
    constant_loss_ : float
        The loss of the best constant, divided by `baseline_`.
    is_constant_ : bool
        Whether every column is constant.

    See Also
    --------
    mtlearn.heads.Classification : One label out of several classes.

    Notes
    -----
    The best constant of the squared error is the mean, that of the absolute error the median;
    for other losses it is found by L-BFGS. A constant column takes no part in training.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.heads import Regression
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> net = MultiOutputNet(heads={"price": Regression(loss="huber")}, random_state=0)
    >>> net.fit(X, {"price": 1000 + 200 * X[:, 0]}).predict(X[:2])["price"].round(-1)
    array([800., 810.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "loss": [StrOptions({"squared_error", "absolute_error", "huber"}), callable, nn.Module],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "transformer": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        **Head._parameter_constraints,
    }

    def __init__(
        self,
        loss: str | LossFunction | nn.Module = "squared_error",
        *,
        delta: float = 1.0,
        transformer: Any = None,
        hidden_layer_sizes: Sequence[int] = (),
        at: str | Sequence[str] | None = None,
        target: str | None = None,
    ) -> None:
        self.loss = loss
        self.delta = delta
        self.transformer = transformer
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def check_params(self) -> None:
        """Raise for a parameter outside its constraints, and for a class in place of a loss."""
        super().check_params()
        if isinstance(self.loss, type):
            raise ValueError(
                f"`loss` must be an instance or a function. Got the class; write "
                f"{self.loss.__name__}()."
            )

    def fit(self, y: Array, weight: Floats, *, normalize: bool, more_to_come: bool = False) -> Self:
        """Learn the scale of the target; see `Head.fit`."""
        values, weight = as_columns(as_numbers(y, weight, "Regression")), as_columns(weight)
        check_columns(weight)
        self.raw_shape_ = y.shape[1:]
        self.transformer_ = None if self.transformer is None else clone(self.transformer)
        if self.transformer_ is not None:
            complete = (weight > 0).all(axis=1)
            if not complete.any():
                raise ValueError("`transformer` needs a row whose columns are all observed.")
            self.transformer_.fit(values[complete])
            known, values = values[complete][:100], self._transform(values, weight)
            _check_inverse(self.transformer_, known)
        self.center_, self.scale_, is_guessed = center_and_scale(
            values, weight, more_to_come=more_to_come
        )
        varies = self.scale_ > 0
        self.is_constant_ = not varies.any() and normalize
        if not normalize:
            self.center_, self.scale_ = np.zeros_like(self.center_), np.ones_like(self.scale_)
            varies[:] = True
        target, weight = self._standardize(values), weight * varies
        constant, baseline = self._best_constant(target, weight)
        self.constant_raw_ = constant.reshape(self.raw_shape_)
        self.set_baseline(1.0 if is_guessed else baseline, normalize=normalize)
        return self

    def encode(self, y: Array, weight: Floats) -> tuple[Array, Floats]:
        """Return the standardised target; see `Head.encode`."""
        numbers = as_columns(as_numbers(y, weight, "Regression"))
        values = self._transform(numbers, as_columns(weight))
        target = np.where(as_columns(weight) > 0, self._standardize(values), 0.0)
        return target.reshape(y.shape), (as_columns(weight) * (self.scale_ > 0)).reshape(y.shape)

    def build_loss(self) -> nn.Module:
        """Return the loss of each label; see `Head.build_loss`."""
        match self.loss:
            case "squared_error":
                return nn.MSELoss(reduction="none")
            case "absolute_error":
                return nn.L1Loss(reduction="none")
            case "huber":
                return nn.HuberLoss(reduction="none", delta=float(self.delta))
        return CustomLoss(self.loss)  # pyright: ignore[reportArgumentType]

    def decode(self, raw: Array) -> Array:
        """Return numbers on the target's own scale; see `Head.decode`."""
        values = self.center_ + self.scale_ * as_columns(raw).astype(np.float64)
        if self.transformer_ is not None:
            values = np.asarray(self.transformer_.inverse_transform(values), dtype=np.float64)
        return values.reshape(raw.shape)

    def score(self, y: Array, predicted: Array, weight: Floats) -> float:
        """Return R2, averaged over columns; see `Head.score`."""
        return weighted_r2(as_numbers(y, weight, "Regression"), predicted, weight)

    def _transform(self, values: Floats, weight: Floats) -> Floats:
        if self.transformer_ is None:
            return values
        present = weight > 0
        filled = values.copy()
        for j in range(values.shape[1]):
            filled[~present[:, j], j] = values[present[:, j], j][:1].sum()
        transformed = np.asarray(self.transformer_.transform(filled), dtype=np.float64)
        if transformed.shape != values.shape:
            raise ValueError(
                f"`transformer` must keep the number of columns, {values.shape[1]}. "
                f"{self.transformer_!r} gave the shape {transformed.shape}."
            )
        if not np.isfinite(transformed[present]).all():
            raise ValueError(
                f"`transformer` must give finite numbers. {self.transformer_!r} gave NaN or "
                f"infinity for {int((~np.isfinite(transformed[present])).sum())} labels."
            )
        return transformed

    def _standardize(self, values: Floats) -> Floats:
        return (values - self.center_) / np.where(self.scale_ > 0, self.scale_, 1.0)

    def _best_constant(self, target: Floats, weight: Floats) -> tuple[Floats, float]:
        """Return the raw output of the best constant and its mean loss over the labels."""
        total = weight.sum()
        if total == 0:
            return np.zeros(target.shape[1]), 0.0
        shape = (len(target), *self.raw_shape_)
        goal = torch.tensor(np.where(weight > 0, target, 0.0).reshape(shape))
        share = torch.tensor((weight / total).reshape(shape))
        start = _start(target, weight, median=self.loss != "squared_error")
        constant = torch.tensor(start.reshape(self.raw_shape_), requires_grad=True)
        loss = self.build_loss().to(torch.float64)

        def mean_loss() -> Tensor:
            try:
                labels = loss(constant.expand(shape), goal)
            except RuntimeError as error:
                raise ValueError(f"`loss` failed on tensors of shape {shape}: {error}") from error
            if isinstance(loss, CustomLoss):
                check_loss(labels, shape, self.loss)
            return (labels * share).sum()

        if self.loss not in ("squared_error", "absolute_error"):
            _minimize(mean_loss, constant)
        return constant.detach().numpy().reshape(-1), float(mean_loss().detach())


def _minimize(mean_loss: Callable[[], Tensor], constant: Tensor) -> None:
    optimizer = torch.optim.LBFGS([constant], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = mean_loss()
        value.backward()
        return value

    optimizer.step(closure)


def _check_inverse(transformer: Any, values: Floats) -> None:
    """Raise a ValueError unless the inverse gives the values back, up to rounding and noise."""
    back = np.asarray(transformer.inverse_transform(transformer.transform(values)))
    if np.any(np.median(np.abs(back - values), axis=0) > 0.01 * np.abs(values).max(axis=0)):
        raise ValueError(
            f"`transformer` must have an inverse. {transformer!r} gives {back[0].tolist()} back "
            f"for {values[0].tolist()}; a FunctionTransformer needs its `inverse_func`."
        )


def _start(target: Floats, weight: Floats, *, median: bool) -> Floats:
    start = np.zeros(target.shape[1])
    for j in range(target.shape[1]):
        rows = weight[:, j] > 0
        if not rows.any():
            continue
        column, share = target[rows, j], weight[rows, j]
        if median:
            start[j] = np.quantile(column, 0.5, weights=share, method="inverted_cdf")
        else:
            start[j] = np.average(column, weights=share)
    return start
