"""What testing and then training on a stream has found."""

from dataclasses import dataclass, field
from typing import Any

from mtlearn._typing import Array, Floats, Mask
from mtlearn.targets import Targets

__all__ = ["PrequentialResult"]


@dataclass(frozen=True, eq=False, repr=False)
class PrequentialResult:
    """What `prequential` finds on a stream.

    Everything is by output; an array `y` is the output ``"y"``. Curves have an item for each of
    the `rows`.

    Parameters
    ----------
    estimator : estimator
        The estimator that has learned the stream.
    predictions : Targets of n_samples rows
        What was predicted of each row before it was learned. It is missing, NaN or None, in the
        first `n_before_fit` rows.
    scored : dict of str to ndarray of bool of shape (n_samples,)
        The rows that count: those with a prediction, a label and a weight above 0.
    metrics : dict of str to dict of str to float
        The metrics over all rows that count, by name. NaN if there is none.
    error_names : dict of str to str
        What the errors of the curves are: "error rate" or "mean absolute error".
    rows : ndarray of shape (n_records,)
        How many rows had come where the curves were recorded.
    cumulative_error : dict of str to ndarray of shape (n_records,)
        The mean error since the beginning.
    windowed_error : dict of str to ndarray of shape (n_records,)
        The mean error of the last `window` rows, NaN if none of them counts.
    availability : ndarray of shape (n_records,)
        The share of finite values in `X`, of the last `window` rows; of dicts, the share of all
        names that come in the stream.
    expert_names : list of str
        The experts of an estimator with ``expert_names_``.
    expert_weights : dict of str to ndarray of shape (n_records, n_experts)
        Their weights, for an estimator with ``expert_weights_``; otherwise empty.
    window : int
        The rows of a window.
    n_before_fit : int
        How many rows were learned before the estimator could predict.
    seconds : float
        The time that predicting and learning took.

    See Also
    --------
    prequential : Makes it.
    mtlearn.inspection.PrequentialDisplay : Draws it.
    """

    estimator: Any
    predictions: Targets
    scored: dict[str, Mask]
    metrics: dict[str, dict[str, float]]
    error_names: dict[str, str]
    rows: Array
    cumulative_error: dict[str, Floats]
    windowed_error: dict[str, Floats]
    availability: Floats
    expert_names: list[str]
    expert_weights: dict[str, Floats] = field(repr=False)
    window: int
    n_before_fit: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """How many rows were predicted and learned in a second."""
        return float(self.rows[-1]) / max(self.seconds, 1e-9)

    def __repr__(self) -> str:
        metrics = "; ".join(
            f"{output}: " + ", ".join(f"{name} {score:.4g}" for name, score in scores.items())
            for output, scores in self.metrics.items()
        )
        return f"<PrequentialResult of {self.rows[-1]} rows, {metrics}>"
