"""What each output's loss does to each stage of a fitted network."""

from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from mtlearn._engine._objective import Objective
from mtlearn._engine._recipe import DTYPES
from mtlearn._optional import import_optional
from mtlearn._typing import Array, Floats, Mask, RandomState, SampleWeight
from mtlearn._validation import check_known
from mtlearn.estimators._architecture import Stage, find_architecture
from mtlearn.estimators._view import transform
from mtlearn.inspection._explain_gradients import explain_gradients
from mtlearn.inspection._fitted_rows import (
    batches_of,
    copied_module,
    find_fitted,
    last_weights,
    rows_as_in_fit,
    zeros,
)
from mtlearn.inspection._gradient_products import GradientProducts, gradient_products
from mtlearn.inspection._stage_parameters import StageParameters, stage_parameters

__all__ = ["GradientReport", "gradient_report"]


@dataclass(frozen=True, eq=False, repr=False)
class GradientReport:
    r"""The gradients of each output's loss at each stage of a network.

    Arrays have a row for each stage and a column for each output. Where an output does not reach a
    stage that learns, numbers are exactly 0, and what cannot be computed is NaN. `gradient_report`
    makes it.

    Parameters
    ----------
    stages : list of str
        The stages of ``summary()``, in its order.
    outputs : list of str
        The outputs, in the order of `y`.
    main_output : str
        The output that the others are compared with.
    loss_weights : ndarray of shape (n_outputs,)
        The weights of the losses, :math:`w_k`.
    reaches : ndarray of bool of shape (n_stages, n_outputs)
        Whether the loss of an output has a gradient for parameters of the stage that learn.
    norms : ndarray of shape (n_stages, n_outputs)
        The norms of the gradients of the weighted losses :math:`w_k L_k`.
    unweighted_norms : ndarray of shape (n_stages, n_outputs)
        The norms of the gradients of :math:`L_k`.
    shares : ndarray of shape (n_stages, n_outputs)
        The parts of the outputs in the gradient that the optimizer gets. With those of the penalty
        they add up to 1; one below 0 works against the sum. All are 0 where nothing learns.
    penalty_shares : ndarray of shape (n_stages,)
        The part of the penalty.
    total_norms : ndarray of shape (n_stages,)
        The norms of the gradient that the optimizer gets.
    cosines : ndarray of shape (n_stages, n_outputs)
        The cosines of the angles to the gradient of the main output.
    conflict_rates : ndarray of shape (n_stages, n_outputs)
        The share of batches in which this cosine is negative.
    trunk_cosines : ndarray of shape (n_outputs,)
        The cosine on all parameters of the trunk that both the output and the main one reach.
    total_error : float
        The largest difference between the sum of weighted gradients, with the penalty's, and the
        gradient of the total by one backward pass; relative to the largest of its values.
    n_rows : int
        The number of rows that take part.
    n_batches : int
        The number of batches.
    n_members : int
        The number of networks of the estimator, of which this is the first.
    architecture : list of Stage
        The stages, with what they are made of.

    See Also
    --------
    gradient_report : Makes it.
    GradientFlowDisplay : Draws the shares.
    GradientConflictDisplay : Draws the cosines.
    """

    stages: list[str]
    outputs: list[str]
    main_output: str
    loss_weights: Floats
    reaches: Mask
    norms: Floats
    unweighted_norms: Floats
    shares: Floats
    penalty_shares: Floats
    total_norms: Floats
    cosines: Floats
    conflict_rates: Floats
    trunk_cosines: Floats
    total_error: float
    n_rows: int
    n_batches: int
    n_members: int
    architecture: list[Stage] = field(repr=False)

    def to_frame(self) -> Any:
        """Return the numbers as a DataFrame.

        Returns
        -------
        DataFrame
            One row per stage and output, which are its index. The columns are ``reaches``,
            ``norm``, ``unweighted_norm``, ``share``, ``penalty_share`` and ``total_norm`` (of the
            stage, the same for each output), ``cosine`` and ``conflict_rate``;
            ``frame["share"].unstack(sort=False)`` is a table of stages and outputs.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", needed_by="GradientReport.to_frame", install="pandas")
        index = pandas.MultiIndex.from_product(
            [self.stages, self.outputs], names=["stage", "output"]
        )
        n = len(self.outputs)
        columns: dict[str, Array] = {
            "reaches": self.reaches.ravel(),
            "norm": self.norms.ravel(),
            "unweighted_norm": self.unweighted_norms.ravel(),
            "share": self.shares.ravel(),
            "penalty_share": np.repeat(self.penalty_shares, n),
            "total_norm": np.repeat(self.total_norms, n),
            "cosine": self.cosines.ravel(),
            "conflict_rate": self.conflict_rates.ravel(),
        }
        return pandas.DataFrame(columns, index=index)

    def explain(self) -> str:
        """Return in plain sentences what each output does to the network.

        Returns
        -------
        str
            A sentence for each output but the main one, and one on their sum. Of the stages that
            an output shares with the main one, it is about the last.
        """
        return explain_gradients(self)

    def __repr__(self) -> str:
        return (
            f"<GradientReport of {len(self.stages)} stages x {len(self.outputs)} outputs, main "
            f"output {self.main_output!r}, {self.n_rows} rows in {self.n_batches} batches>"
        )


def gradient_report(
    net: Any,
    X: Any,
    y: Any,
    sample_weight: SampleWeight = None,
    *,
    aux: Any = None,
    main_output: str | None = None,
    batch_size: int | None = None,
    random_state: RandomState = None,
) -> GradientReport:
    r"""Measure what each output's loss does to each stage of a fitted network.

    The loss is that of the fit: standardised and normalised, with the weights of labels and
    classes, of rows and of outputs, and without missing labels. Where the weights of outputs
    change, those of the last epoch count. Dropout is off, and batch normalisation uses its running
    statistics. Neither the estimator nor any global generator changes.

    Parameters
    ----------
    net : estimator
        A fitted estimator of mtlearn, a Pipeline that ends in one, or a search over either. Of
        ``n_members``, the first is measured.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y : Targets, dict of array-like, DataFrame or array-like
        Their targets, as ``fit`` takes them.
    sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
        Weights of the rows, as ``fit`` takes them.
    aux : Targets, dict of array-like or DataFrame, default=None
        Auxiliary targets, where ``fit`` takes them.
    main_output : str, default=None
        The output that the others are compared with; None for the estimator's main output, or the
        first one if it has none.
    batch_size : int, default=None
        Rows per batch; None for that of the fit.
    random_state : int, RandomState instance or None, default=None
        The order of rows in batches; None for the order that they have.

    Returns
    -------
    GradientReport
        The numbers, which it also explains.

    Raises
    ------
    TypeError
        If `net` is none of these.
    ValueError
        For names, labels and weights that ``fit`` would refuse, and without any label.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    See Also
    --------
    GradientMonitor : Records the same in each epoch of a fit.
    mtlearn.MultiOutputNet.summary : What the network is made of.

    Notes
    -----
    A step of the optimizer gets the gradient :math:`G = \sum_k w_k g_k + p`, with the gradients
    :math:`g_k` of the outputs' losses on a batch, their weights :math:`w_k` and the gradient
    :math:`p` of the penalty. With the mean :math:`\langle \cdot, \cdot \rangle` of scalar products
    over batches, by their rows, the norm of an output's gradient at a stage is
    :math:`\langle g_k, g_k \rangle^{1/2}`, its share of the update is
    :math:`\langle w_k g_k, G \rangle / \langle G, G \rangle`, and its cosine with the main output
    :math:`m` is
    :math:`\langle g_k, g_m \rangle / (\langle g_k, g_k \rangle \langle g_m, g_m \rangle)^{1/2}`.
    These are the gradients that training follows: over all rows at once they go to zero as it ends,
    while those of single batches do not. A `batch_size` of all rows gives the former.

    A cosine says whether two outputs want the same of a stage as the network is now, and not how
    their targets are correlated: of a target and its negative both want the same features, because
    their heads can turn the sign around. A strategy that combines gradients gives its factors to
    the stages that outputs share; they are taken for the heads too here.

    References
    ----------
    Du et al., "Adapting Auxiliary Losses Using Gradient Similarity", 2018. Yu et al., "Gradient
    Surgery for Multi-Task Learning", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.inspection import gradient_report
    >>> from mtlearn.trunks import MLP
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> y = {"price": X[:, 0] - X[:, 1], "kind": np.where(X[:, 0] > 0, "flat", "house")}
    >>> net = MultiOutputNet(
    ...     MLP((8,)), loss_weights={"kind": 0.3}, main_output="price", max_epochs=3,
    ...     random_state=0).fit(X, y)
    >>> report = gradient_report(net, X, y)
    >>> report
    <GradientReport of 4 stages x 2 outputs, main output 'price', 300 rows in 2 batches>
    >>> report.to_frame()["reaches"].unstack(sort=False)
    output     price   kind
    stage
    X          False  False
    hidden_1    True   True
    price       True  False
    kind       False   True
    """
    owner = "gradient_report"
    fitted, steps, n_members = find_fitted(net, f"{owner}: `net`")
    X = transform(X, steps)
    names: list[str] = fitted.output_names_
    if main_output is not None:
        check_known([main_output], names, subject=f"{owner}: `main_output`")
    recipe = fitted._recipe
    batch_size = recipe.batch_size if batch_size is None else batch_size
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"{owner}: `batch_size` must be an int of at least 1. Got {batch_size!r}.")
    data = rows_as_in_fit(fitted, X, y, sample_weight, aux, owner)
    weights, module = last_weights(fitted), copied_module(fitted)
    objective = Objective(recipe.trained(fitted.heads_), weights, DTYPES[recipe.dtype])
    architecture = find_architecture(fitted)
    with recipe.settings():
        products = gradient_products(
            module,
            objective,
            _all_stages(architecture, stage_parameters(module, zeros(fitted), names)),
            batches_of(data, int(batch_size), random_state),
            recipe.alpha,
        )
    return _report(
        products,
        module.names,
        main_output or _main_output(fitted, module.names),
        weights={name: weights[name] for name in names},
        architecture=architecture,
        n_rows=len(data),
        n_members=n_members,
    )


def _main_output(net: Any, with_layers: list[str]) -> str:
    """Return the output to compare with: the main one, else the first one with layers."""
    given: str = getattr(net, "main_output", None) or ""
    if given in net.output_names_:
        return given
    return next((name for name in net.output_names_ if name in with_layers), net.output_names_[0])


def _all_stages(architecture: list[Stage], found: list[StageParameters]) -> list[StageParameters]:
    """Return a stage for each of the summary; inputs and constants have no parameters."""
    of_trunk = iter([stage for stage in found if stage.in_trunk])
    of_heads = {stage.name: stage for stage in found if not stage.in_trunk}
    stages = []
    for stage in architecture:
        if stage.kind == "trunk":
            stages.append(next(of_trunk))
        elif stage.kind == "output":
            stages.append(of_heads[stage.name])
        else:
            stages.append(StageParameters(stage.name, in_trunk=False))
    return stages


def _report(
    products: GradientProducts,
    with_layers: list[str],
    main_output: str,
    *,
    weights: dict[str, float],
    architecture: list[Stage],
    n_rows: int,
    n_members: int,
) -> GradientReport:
    """Return the report; outputs without layers have zeros, and nothing to compare."""
    outputs, n = list(weights), len(architecture)
    places = [outputs.index(name) for name in with_layers]
    in_trunk = np.array([stage.kind == "trunk" for stage in architecture])

    def spread(values: Array, fill: Any = 0.0) -> Array:
        spread = np.full((*values.shape[:-1], len(outputs)), fill)
        spread[..., places] = values
        return spread

    cosines = rates = np.full((n, len(places)), np.nan)
    trunk = np.full(len(places), np.nan)
    if main_output in with_layers:
        main = with_layers.index(main_output)
        cosines, rates = products.cosines(main), products.conflict_rates(main)
        trunk = products.trunk_cosines(main, in_trunk)
    shares, loss_weights = products.shares(), np.array(list(weights.values()))
    unweighted = spread(products.norms())
    return GradientReport(
        stages=[stage.name for stage in architecture],
        outputs=outputs,
        main_output=main_output,
        loss_weights=loss_weights,
        reaches=spread(products.reaches, False),
        norms=unweighted * loss_weights,
        unweighted_norms=unweighted,
        shares=spread(shares[:, :-1]),
        penalty_shares=shares[:, -1],
        total_norms=np.sqrt(products.total),
        cosines=spread(cosines, np.nan),
        conflict_rates=spread(rates, np.nan),
        trunk_cosines=spread(trunk, np.nan),
        total_error=products.total_error,
        n_rows=n_rows,
        n_batches=products.n_batches,
        n_members=n_members,
        architecture=architecture,
    )
