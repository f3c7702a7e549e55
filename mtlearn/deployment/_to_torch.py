"""A fitted estimator as a plain torch module."""

from collections.abc import Collection
from typing import Any

from torch import nn

from mtlearn._validation import naming
from mtlearn.deployment._deployed_net import DeployedNet, deployed
from mtlearn.deployment._find import find_parts
from mtlearn.deployment._transforms import forward_of

__all__ = ["to_torch"]


def to_torch(fitted: Any, outputs: Collection[str] | None = None) -> DeployedNet:
    r"""Return a torch module that predicts what a fitted estimator predicts.

    It takes a tensor of shape (n_samples, n_features), or of several inputs a dict of tensors by
    name, and returns a dict of tensors, all that the heads decode included:

    ==================================  ============================  =================
    head                                under the output's name       beside it
    ==================================  ============================  =================
    Regression, Count, Quantile         numbers, float64
    Gaussian                            the means, float64            ``"name__std"``
    Classification, Ordinal, PairOrder  positions of classes, int64   ``"name__proba"``
    MultiLabel                          labels of 0 and 1             ``"name__proba"``
    ==================================  ============================  =================

    Numbers are on the target's scale. The class of a row is ``module.classes[name][position]``.
    Of several members the predictions are averaged as ``predict`` does, and numbers have a
    standard deviation as in ``predict_std``.

    Parameters
    ----------
    fitted : estimator
        A fitted MultiOutputNet, MultiOutputNetRegressor or MultiOutputNetClassifier, a Pipeline
        that ends in one, or a search over either.
    outputs : list of str, default=None
        The outputs to keep; all that only the others need is left out. None for all that
        ``predict`` returns.

    Returns
    -------
    torch.nn.Module
        The module, on the CPU, in evaluation mode and without gradients. Its ``output_names`` are
        the names of what it returns; ``classes`` holds an array of the classes of each output that
        has some; ``inputs`` names those of several inputs that it reads.

    Raises
    ------
    TypeError
        For anything else, such as an ensemble of estimators.
    ValueError
        For an unknown output, a ``transformer`` of a target or a step of a Pipeline that has no
        counterpart in torch, and for a head that is none of mtlearn's; the message says what to do.

    See Also
    --------
    mtlearn.deployment.to_onnx : Writes the same as an ONNX file.

    Notes
    -----
    Of a Pipeline the scalers, `SimpleImputer`, `mtlearn.preprocessing.SmoothClip` and
    `FunctionTransformer` of simple functions become a part of the module. Rows are not checked: NaN
    gives NaN, or the most probable of nothing.

    No part decides by the values of a batch what to compute, so that ``torch.export`` and
    ``torch.jit.trace`` find the whole of it, with a module of a user's own as far as that does so.
    A file of ``torch.export.save`` is loaded without mtlearn. ``torch.jit.script`` cannot read it.

    The module moves with ``to`` to another device or floating point type; X is converted to that
    type. ``state_dict`` holds scales and thresholds beside the weights.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.deployment import to_torch
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = {"price": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    >>> net = MultiOutputNet(random_state=0).fit(X, y)
    >>> module = to_torch(net)
    >>> found = module(torch.tensor(X))
    >>> list(found)
    ['price', 'kind', 'kind__proba']
    >>> bool(np.allclose(found["price"], net.predict(X)["price"]))
    True
    >>> bool(np.all(module.classes["kind"][found["kind"]] == net.predict(X)["kind"]))
    True
    """
    net, steps = find_parts(fitted, "to_torch")
    modules: list[nn.Module] = []
    for step in steps:
        module = forward_of(step)
        if module is None:
            raise ValueError(
                f"to_torch: the step {step!r} of the Pipeline has no counterpart in torch. Take "
                f"the last step by itself, to_torch(pipeline[-1]), and transform rows before by "
                f"pipeline[:-1].transform."
            )
        modules.append(module)
    with naming("to_torch"):
        return deployed(net, outputs, nn.Sequential(*modules) if modules else None)
