"""Rows and labels as the loss of a fitted network takes them."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mtlearn._engine._data import Batch, Labels, TrainingData, training_data
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._optimizers import frozen
from mtlearn._engine._recipe import DTYPES
from mtlearn._random import root_seed
from mtlearn._typing import RandomState, SampleWeight
from mtlearn._validation import naming
from mtlearn.estimators import MultiOutputNet
from mtlearn.estimators._outputs import ARRAY_NAME, as_targets, check_all_targets, with_aux
from mtlearn.estimators._predictions import Predictions
from mtlearn.estimators._view import find_net
from mtlearn.targets import Targets

__all__ = ["batches_of", "copied_module", "find_fitted", "last_weights", "rows_as_in_fit", "zeros"]


def find_fitted(estimator: Any, owner: str) -> tuple[Any, list[Any], int]:
    """Return the network's estimator, the transformers before it, and the number of members.

    Of several members, the estimator is the first.

    Raises
    ------
    TypeError
        If it is no fitted estimator of mtlearn, and contains none.
    """
    check_is_fitted(estimator)
    try:
        net, steps = find_net(estimator)
        if not isinstance(net, Predictions):
            raise TypeError("a Blend has several networks")
    except TypeError as error:
        raise TypeError(
            f"{owner} must be a fitted estimator of mtlearn, a Pipeline that ends in one, or a "
            f"search over either. Got {estimator!r}."
        ) from error
    members: list[Any] = getattr(net, "members_", [net])
    return members[0], steps, len(members)


def copied_module(net: Any) -> MultiOutputModule:
    """Return a copy of a network, on the CPU, of which only what a fit changes needs a gradient.

    On the CPU because torch's code for GPUs trains no LSTM in evaluation mode.
    """
    with torch.inference_mode(False):
        try:
            module = copy.deepcopy(net.module_)
        except (RuntimeError, TypeError):  # it keeps what cannot be copied, such as its last pass
            module = copy.copy(net).module_
            ours = dict(net.module_.named_parameters())
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(ours[name].requires_grad)
        module = module.cpu().eval()
    try:
        with frozen(module, net._recipe.param_groups):
            learned = [parameter.requires_grad for parameter in module.parameters()]
    except ValueError:  # all that learned was dropped
        learned = [False for _ in module.parameters()]
    for parameter, learns in zip(module.parameters(), learned, strict=True):
        parameter.requires_grad_(learns)
    return module


def last_weights(net: Any) -> dict[str, float]:
    """Return the weights of the outputs' losses; where they change, those of the last epoch."""
    weights, recipe = dict(net.loss_weights_), net._recipe
    if (recipe.schedules or recipe.weighting is not None) and net.history_:
        last = net.history_[-1]
        return {name: last.get(f"{name}_weight", weight) for name, weight in weights.items()}
    return weights


def zeros(net: Any) -> dict[str, Tensor]:
    """Return two rows of zeros by input; of a table, by the name "X"."""
    dtype = DTYPES[net._recipe.dtype]
    if isinstance(net._spec, int):
        return {"X": torch.zeros(2, net._spec, dtype=dtype)}
    return {
        name: torch.zeros(2, *one.shape, dtype=torch.int64 if one.is_integer else dtype)
        for name, one in net._spec.items()
    }


def rows_as_in_fit(
    net: Any, X: Any, y: Any, sample_weight: SampleWeight, aux: Any, owner: str
) -> TrainingData:
    """Return rows whose labels weigh what they would have weighed in the fit.

    Parameters
    ----------
    net : estimator
        The fitted estimator of one network.
    X : array-like of shape (n_samples, n_features), Inputs or dict of array-like
        The rows.
    y, aux : Targets, dict of array-like, DataFrame or array-like
        The targets, as the estimator's ``fit`` takes them.
    sample_weight : array-like of shape (n_samples,) or mapping of str to that, default=None
        Weights of the rows.
    owner : str
        Who complains.

    Raises
    ------
    ValueError
        For names, labels and weights that ``fit`` would refuse, and without any label.
    """
    values = net._check_X(X, reset=False)
    targets = _targets(net, y, aux)
    net._check_rows(values, targets)
    recipe, units = net._recipe, net._weight_units
    rows, _ = net._find_rows(values, targets, net.heads_, sample_weight, units)
    heads = recipe.trained(net.heads_)
    for name, head in heads.items():
        shape, known = rows.targets[name].shape[1:], head.constant_label().shape[1:]
        if shape != known:
            raise ValueError(
                f"{owner}: output {name!r}: the labels must have the columns of fit, shape "
                f"{known} per row. Got {shape}."
            )
    counted = [name for name in heads if not recipe.is_left_out(name)]
    with naming(owner):
        data = training_data(rows, heads, DTYPES[recipe.dtype], "cpu", counted=counted)
    if not data.labels:
        raise ValueError(
            f"{owner}: the rows must have a label of an output with layers and positive weight. "
            f"Got none in {rows.n_rows} rows."
        )
    for name, labels in data.labels.items():
        (mass, count), (fitted, n_fitted) = data.totals[name], net._totals[name]
        ratio = mass / count / (fitted / n_fitted)
        if ratio != 1:
            data.labels[name] = Labels(labels.target, labels.weight * ratio)
    return data


def batches_of(
    data: TrainingData, batch_size: int, random_state: RandomState = None
) -> Iterator[tuple[Batch, Mapping[str, Labels]]]:
    """Yield copies of batches: of rows in their order, or in a random one under a seed."""
    order = np.arange(len(data))
    if random_state is not None:
        order = np.random.default_rng(root_seed(random_state)).permutation(len(data))
    for start in range(0, len(data), batch_size):
        yield data[torch.as_tensor(order[start : start + batch_size])]


def _targets(net: Any, y: Any, aux: Any) -> Targets:
    """Return all targets by name, which must be those of the fit."""
    owner = type(net).__name__
    if isinstance(net, MultiOutputNet):
        if aux is not None:
            raise ValueError(
                f"{owner}: `aux` must be None, as `fit` takes all targets in `y`. Got "
                f"{type(aux).__name__}; pass one dict as `y`."
            )
        targets = as_targets(y, owner)[0]
    elif hasattr(net, "_targets_as_in_fit"):
        targets = with_aux(net._targets_as_in_fit(y), aux, owner)
    else:
        targets = with_aux(Targets({ARRAY_NAME: net._check_y(y)}), aux, owner)
    check_all_targets(targets, net.heads_, owner)
    return targets
