"""What an auxiliary output does to the main one, by the weight of its loss."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from mtlearn._optional import import_optional
from mtlearn._typing import Array, ArrayLike, Floats, RandomState
from mtlearn._validation import check_known
from mtlearn.inspection._corrected_interval import corrected_intervals
from mtlearn.inspection._weight_sweep import (
    OWNER,
    Candidate,
    Splits,
    check_scoring,
    find_splits,
    find_sweep,
)
from mtlearn.weighting import RandomWeights

__all__ = ["AuxiliaryEffect", "Verdict", "auxiliary_effect"]

Verdict = Literal["helps", "hurts", "no evidence"]

ROUNDING = 1e-6


class AuxiliaryEffect:
    r"""The main output's score by the weights of auxiliary outputs; what `auxiliary_effect` finds.

    Parameters
    ----------
    main : str
        The main output.
    weights : mapping of str to array-like of shape (n_weights,)
        The weights of each auxiliary output, the first of them 0.
    scores : mapping of str to array-like of shape (n_weights, n_splits)
        The main output's score at each weight on each split; larger is better.
    test_ratio : float
        The rows that a split tests on, by those that it trains on: 1/4 for five folds.
    level : float, default=0.95
        The probability with which the intervals of all weights hold at once.
    random_scores : mapping of str to array-like of shape (n_splits,), default=None
        The scores with random weights.
    splits : sequence of (ndarray, ndarray), default=()
        The rows that each split trains on, and those that it tests on.
    seeds : sequence of int, default=()
        The ``random_state`` of each split.

    Attributes
    ----------
    main, weights, scores, test_ratio, level, random_scores, splits, seeds
        As given; arrays instead of other array-likes.
    n_splits : int
        The number of splits.
    differences : dict of str to ndarray of shape (n_weights, n_splits)
        The scores less those of the same split at weight 0. What is but rounding is 0.
    means, lower, upper : dict of str to ndarray of shape (n_weights,)
        The means of the differences, and the ends of their intervals.
    random_differences : dict of str to ndarray of shape (3,)
        The mean difference between random weights and weight 0, and the ends of its interval;
        empty without `random_scores`.
    verdicts : dict of str to {"helps", "hurts", "no evidence"}
        Of each output. "helps" if the interval of some weight is above 0; otherwise "hurts" if
        that of some weight is below 0.
    best_weights : dict of str to float
        The positive weight of the largest mean difference; if the output helps, among those
        weights whose interval is above 0.

    Raises
    ------
    ValueError
        If weights and scores do not fit together.

    See Also
    --------
    auxiliary_effect : Makes it.
    AuxiliaryEffectDisplay : Draws it.

    Notes
    -----
    The interval of J differences with the mean :math:`\bar d` and the variance :math:`s^2` is that
    of Nadeau and Bengio,

    .. math:: \bar d \pm t_{J-1} \sqrt{\Big(\frac1J + \frac{n_\text{test}}{n_\text{train}}\Big) s^2}

    since splits share most of their training rows, so that :math:`s^2 / J` is far too small. The
    quantile :math:`t_{J-1}` of Student's distribution is that of
    :math:`1 - (1 - \text{level}) / 2m`, with m the number of positive weights of all outputs:
    Bonferroni's inequality. A max-t interval would be a little narrower, but needs the
    correlations of the weights, estimated from the few splits that depend on each other;
    Bonferroni's holds whatever they are. Intervals of random weights have the same quantile, and
    are none of the m.

    References
    ----------
    Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.

    Examples
    --------
    >>> from mtlearn.inspection import AuxiliaryEffect
    >>> scores = [[0.50, 0.52, 0.48, 0.51], [0.60, 0.61, 0.59, 0.60]]
    >>> effect = AuxiliaryEffect("price", {"kind": [0, 0.3]}, {"kind": scores}, test_ratio=1 / 3)
    >>> effect
    AuxiliaryEffect(main='price', verdicts={'kind': 'helps'})
    >>> effect.lower["kind"].round(3), effect.upper["kind"].round(3)
    (array([0.   , 0.074]), array([0.   , 0.121]))
    """

    def __init__(
        self,
        main: str,
        weights: Mapping[str, ArrayLike],
        scores: Mapping[str, ArrayLike],
        test_ratio: float,
        level: float = 0.95,
        random_scores: Mapping[str, ArrayLike] | None = None,
        splits: Splits = (),
        seeds: Sequence[int] = (),
    ) -> None:
        self.main, self.test_ratio, self.level = main, float(test_ratio), float(level)
        self.weights = {name: np.asarray(some, dtype=np.float64) for name, some in weights.items()}
        self.scores = {name: np.asarray(some, dtype=np.float64) for name, some in scores.items()}
        given = (random_scores or {}).items()
        self.random_scores = {name: np.asarray(some, dtype=np.float64) for name, some in given}
        self.splits, self.seeds = splits, seeds
        self._check()
        self.n_splits = next(iter(self.scores.values())).shape[1]
        self.differences = {name: _differences(rows, rows[0]) for name, rows in self.scores.items()}
        found = {name: self._interval(rows) for name, rows in self.differences.items()}
        self.means, self.lower, self.upper = (
            {name: parts[i] for name, parts in found.items()} for i in range(3)
        )
        self.random_differences = {
            name: np.array(self._interval(_differences(row, self.scores[name][0])))
            for name, row in self.random_scores.items()
        }
        self.verdicts: dict[str, Verdict] = {name: self._verdict(name) for name in self.weights}
        self.best_weights = {name: float(self.weights[name][self._best(name)]) for name in weights}

    def to_frame(self) -> Any:
        """Return the figures as a DataFrame.

        Returns
        -------
        DataFrame
            A row for each weight of each output, and one for random weights (whose ``weight`` is
            NaN). The columns are ``output``, ``weight``, ``weighting`` ("static" or "random"),
            ``score`` (the mean), ``difference`` (its mean), ``lower`` and ``upper``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", needed_by="AuxiliaryEffect.to_frame", install="pandas")
        rows: list[tuple[Any, ...]] = []
        for name, weights in self.weights.items():
            means = self.scores[name].mean(axis=1)
            bounds = self.means[name], self.lower[name], self.upper[name]
            columns = zip(weights, means, *bounds, strict=True)
            rows += [(name, weight, "static", *figures) for weight, *figures in columns]
            if name in self.random_scores:
                score = self.random_scores[name].mean()
                rows.append((name, np.nan, "random", score, *self.random_differences[name]))
        header = ["output", "weight", "weighting", "score", "difference", "lower", "upper"]
        return pandas.DataFrame(rows, columns=header)

    def explain(self) -> str:
        """Return the result in words.

        Returns
        -------
        str
            A line for each output: what it does, and how sure that is.
        """
        return "\n".join(self._sentences(name) for name in self.weights)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(main={self.main!r}, verdicts={self.verdicts!r})"

    def _check(self) -> None:
        if not self.weights or list(self.weights) != list(self.scores):
            raise ValueError(
                f"AuxiliaryEffect: `weights` and `scores` must name the same outputs. Got "
                f"{list(self.weights)} and {list(self.scores)}."
            )
        _check_level(self.level, "AuxiliaryEffect")
        check_known(self.random_scores, self.scores, subject="AuxiliaryEffect: `random_scores`")
        n_splits = next(iter(self.scores.values())).shape[-1]
        for name, weights in self.weights.items():
            subject = f"AuxiliaryEffect: output {name!r}"
            if weights.ndim != 1 or len(weights) < 2 or weights[0] != 0 or not all(weights[1:] > 0):
                raise ValueError(
                    f"{subject}: the weights must be 0 and then positive ones. Got "
                    f"{weights.tolist()}."
                )
            if self.scores[name].shape != (len(weights), n_splits) or n_splits < 2:
                raise ValueError(
                    f"{subject}: the scores must have the shape ({len(weights)}, n_splits) with 2 "
                    f"splits or more, the same for all outputs. Got {self.scores[name].shape}."
                )

    def _interval(self, differences: Floats) -> tuple[Floats, Floats, Floats]:
        n_weights = sum(len(weights) - 1 for weights in self.weights.values())
        return corrected_intervals(differences, self.test_ratio, self.level, n_weights)

    def _verdict(self, name: str) -> Verdict:
        if (self.lower[name] > 0).any():
            return "helps"
        return "hurts" if (self.upper[name] < 0).any() else "no evidence"

    def _best(self, name: str) -> int:
        """Return the position of the best weight."""
        means = self.means[name].copy()
        if self.verdicts[name] == "helps":
            means[self.lower[name] <= 0] = -np.inf
        return 1 + int(np.argmax(means[1:]))

    def _sentences(self, name: str) -> str:
        verdict, means = self.verdicts[name], self.means[name]
        i = self._best(name)
        if verdict == "hurts":
            i = int(np.argmin(np.where(self.upper[name] < 0, means, np.inf)))
        said = "shows no evidence of an effect" if verdict == "no evidence" else verdict
        which = "its worst" if verdict == "hurts" else "its best"
        which = "the" if len(means) == 2 else which
        before, after = (self.scores[name][k].mean() for k in (0, i))
        text = (
            f"{name!r} {said}: with {which} weight {self.weights[name][i]:g}, the score of "
            f"{self.main!r} is {after:.4g} instead of {before:.4g}, a difference of "
            f"{means[i]:+.3g} ({self._range(self.lower[name][i], self.upper[name][i])})."
        )
        hurting = self.weights[name][self.upper[name] < 0]
        if verdict == "helps" and len(hurting):
            text += f" It hurts with {_listed(hurting)}."
        is_alone = sum(len(weights) - 1 for weights in self.weights.values()) == 1
        holds = "interval holds" if is_alone else "intervals of all weights hold at once"
        text += (
            f" On {self.n_splits} splits, the weight 0 was compared with "
            f"{_listed(self.weights[name][1:])}; the {holds} with a probability of "
            f"{100 * self.level:g} %."
        )
        return text + (self._about_random(name) if name in self.random_scores else "")

    def _about_random(self, name: str) -> str:
        best = self._best(name)
        differences = _differences(self.scores[name][best], self.random_scores[name])
        mean, low, high = map(float, self._interval(differences))
        said = "neither surely better nor surely worse"
        if low > 0 or high < 0:
            said = "surely better" if low > 0 else "surely worse"
        return (
            f" The weight {self.weights[name][best]:g} is {said} than random weights, with a "
            f"difference of {mean:+.3g} ({self._range(low, high)})."
        )

    def _range(self, low: float, high: float) -> str:
        return f"{100 * self.level:g} % interval {low:.3g} to {high:.3g}"


def _check_level(level: float, owner: str) -> None:
    if not 0 < level < 1:
        raise ValueError(f"{owner}: `level` must be between 0 and 1. Got {level}.")


def _differences(scores: Floats, base: Floats) -> Floats:
    """Return differences, with those that stacked training makes by its rounding as 0."""
    found = scores - base
    found[np.abs(found) <= ROUNDING * max(np.abs(scores).max(), np.abs(base).max())] = 0
    return found


def _listed(weights: Floats) -> str:
    *others, last = [f"{weight:g}" for weight in weights]
    return f"{', '.join(others)} and {last}" if others else last


def auxiliary_effect(
    net: Any,
    X: Any,
    y: Any,
    weights: Mapping[str, ArrayLike],
    *,
    cv: Any = None,
    groups: ArrayLike | None = None,
    n_repeats: int = 5,
    scoring: Any = None,
    level: float = 0.95,
    random_control: bool = False,
    params: Mapping[str, Any] | None = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> AuxiliaryEffect:
    """Find whether auxiliary outputs help the main one, and at which weight of their loss.

    The net is fitted with each weight of each auxiliary output, and without it: with the weight 0.
    All fits of a split have the same rows, first weights, order of rows and dropout, so that their
    scores are compared in pairs. While one output's weight varies, the others keep theirs.

    Parameters
    ----------
    net : estimator
        A net with a main output (``MultiOutputNet(main_output=...)``, or any
        ``MultiOutputNetRegressor`` or ``MultiOutputNetClassifier``, whose main output is
        ``"y"``), or a Pipeline that ends in one. It is cloned, not fitted.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : dict of array-like, Targets, DataFrame or array-like
        The targets.
    weights : mapping of str to array-like of shape (n_weights,)
        The weights to try of each auxiliary output: ``{"aux": [0.1, 0.3, 1]}``. The weight 0 is
        always added. Three to five a factor of 3 apart are enough: the effect is mostly flat.
    cv : int, cross-validation splitter or iterable, default=None
        The splits. A number is the folds, in which all classes of the main output and rows without
        a label of it have equal shares, drawn anew `n_repeats` times; None for 5. A splitter that
        looks at labels needs to know which: ``StratifyOn("kind", StratifiedKFold(5))``.
    groups : array-like of shape (n_samples,), default=None
        Groups of rows for a splitter that keeps them together, such as ``GroupKFold(5)``.
    n_repeats : int, default=5
        How often to draw the folds; only if `cv` is a number or None.
    scoring : str or callable, default=None
        What to compare: the name of a scorer of scikit-learn, for the main output, or a function
        ``(estimator, X, y) -> float``. None for the main output's own score.
    level : float, default=0.95
        The probability with which the intervals of all weights hold at once.
    random_control : bool, default=False
        Whether to fit also with the middle one of an output's weights and
        ``weighting=RandomWeights()``, to see whether the value of the weight matters at all.
        These fits are not stacked, and may take longer than all others together.
    params : dict of str to Any, default=None
        Parameters of ``fit``, such as ``sample_weight`` or ``aux``; these may be dicts of arrays.
        For a Pipeline, their names begin with that of the step.
    random_state : int, RandomState instance or None, default=None
        Draws the folds, and a seed for each split that takes the place of every ``random_state``
        in `net`, so that the result holds for other seeds too.
    n_jobs : int, default=None
        How many processes share the fits.

    Returns
    -------
    AuxiliaryEffect
        The scores, the differences with their intervals, and the verdicts.

    Raises
    ------
    TypeError
        If `net` is neither a net nor a Pipeline that ends in one, or its weights are no dict.
    ValueError
        For a net without a main output or with one of weight 0, names that are no auxiliary
        outputs, weights that are no finite numbers of at least 0 or are all 0, an unknown scorer,
        less than two splits, groups without a splitter, and a score that is no number.

    See Also
    --------
    AuxiliaryEffectDisplay : Draws the result.
    mtlearn.model_selection.StackedGridSearchCV : Searches for weights of several outputs at once.

    Notes
    -----
    It takes ``5 * n_repeats`` fits for each weight and for each output's weight 0: 125 for four
    weights. They are trained side by side (stacked) where the layers have formulas, as those of
    `MLP` do, and one after the other elsewhere. More repeats narrow the interval less and less,
    since the part of its variance that comes of overlapping training rows remains: with four
    weights and folds of a fifth, it is 2.9 standard deviations of a difference to either side for
    one repeat, 1.45 for five, and 1.3 for twenty.

    A verdict holds for nets as they are given: early stopping, a penalty or a learning rate that
    suits one weight may not suit another.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import auxiliary_effect
    >>> from mtlearn.trunks import MLP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 4))
    >>> y = {"price": X[:, 0] + 0.1 * rng.normal(size=80), "luck": rng.normal(size=80)}
    >>> net = MultiOutputNet(MLP((8,)), main_output="price", max_epochs=20)
    >>> effect = auxiliary_effect(net, X, y, {"luck": [0.3]}, n_repeats=2, random_state=0)
    >>> effect.verdicts
    {'luck': 'no evidence'}
    >>> effect.scores["luck"].shape
    (2, 10)
    """
    _check_level(level, OWNER)
    check_scoring(scoring)
    sweep = find_sweep(net, X, y, params)
    grids = _find_grids(weights, sweep.main, sweep.outputs)
    random = check_random_state(random_state)
    splits = find_splits(sweep, cv, n_repeats, groups, random.randint(2**31 - 1))
    seeds = random.randint(2**31 - 1, size=len(splits))
    candidates = [
        Candidate(f"output {name!r} at the weight {weight:g}", _params(sweep.prefix, name, weight))
        for name, grid in grids.items()
        for weight in grid
    ]
    if random_control:
        candidates += [
            Candidate(
                f"output {name!r} at random weights",
                _params(sweep.prefix, name, grid[1:][len(grid[1:]) // 2])
                | {f"{sweep.prefix}weighting": RandomWeights()},
            )
            for name, grid in grids.items()
        ]
    found = list(sweep.scores(candidates, splits, seeds, scoring, n_jobs))
    scores = {name: np.array([found.pop(0) for _ in grid]) for name, grid in grids.items()}
    ratio = float(np.mean([len(test) / len(train) for train, test in splits]))
    controls = dict(zip(grids, found, strict=True)) if random_control else None
    return AuxiliaryEffect(
        sweep.main, grids, scores, ratio, level, controls, splits, seeds.tolist()
    )


def _params(prefix: str, name: str, weight: float) -> dict[str, Any]:
    return {f"{prefix}loss_weights__{name}": float(weight)}


def _find_grids(
    weights: Mapping[str, ArrayLike], main: str, outputs: Sequence[str]
) -> dict[str, Array]:
    """Return the weights of each output in ascending order, with 0."""
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(
            f"{OWNER}: `weights` must be a dict of weights by auxiliary output. Got {weights!r}; "
            f"pass weights={{'name': [0.1, 0.3, 1]}}."
        )
    if main in weights:
        raise ValueError(
            f"{OWNER}: `weights` must name auxiliary outputs. Got {main!r}, which is the main "
            f"output."
        )
    known = [name for name in outputs if name != main]
    check_known(weights, known, subject=f"{OWNER}: `weights`", noun="auxiliary output")
    grids = {}
    for name, given in weights.items():
        try:
            grid = np.unique(np.append(np.ravel(given).astype(np.float64), 0.0))
        except (TypeError, ValueError):
            grid = np.array([np.nan])
        if not np.isfinite(grid).all() or grid[0] < 0 or len(grid) < 2:
            raise ValueError(
                f"{OWNER}: `weights[{name!r}]` must hold finite numbers of at least 0, one of them "
                f"positive. Got {given!r}."
            )
        grids[name] = grid
    return grids
