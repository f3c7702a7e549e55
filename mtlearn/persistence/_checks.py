"""What a loaded estimator must have beside its weights, so that it can predict."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from mtlearn._engine._online_network import OnlineNetwork
from mtlearn._engine._recipe import Recipe
from mtlearn.estimators import MultiOutputNet, MultiOutputNetClassifier, OnlineMultiOutputNet
from mtlearn.estimators._state import FittedState
from mtlearn.exceptions import ModelFileError
from mtlearn.heads import ClassHead, Head
from mtlearn.persistence._build import is_as
from mtlearn.trunks import Trunk

__all__ = ["check_estimator", "check_moments"]

# What every estimator of the first format has; what later releases add may be absent.
_KINDS: dict[type, dict[str, type]] = {
    BaseEstimator: {"output_names_": list, "loss_weights_": dict},
    FittedState: {"heads_": dict, "trunk_": Trunk, "_recipe": Recipe, "history_": list},
    MultiOutputNet: {"_y_is_array": bool},
    MultiOutputNetClassifier: {"_own_names": list},
    OnlineMultiOutputNet: {"network_": OnlineNetwork, "_y_is_array": bool, "_feature_names": list},
}


def check_estimator(net: Any) -> None:
    """Raise unless an estimator is fitted, and its heads make something of raw outputs."""
    is_stream = isinstance(net, OnlineMultiOutputNet)
    members = vars(net).get("members_", [net])
    kinds: dict[str, type] = {}
    for cls, some in _KINDS.items():
        kinds |= some if isinstance(net, cls) else {}
    for name, kind in kinds.items():
        if name not in vars(net) or not isinstance(vars(net)[name], kind):
            raise ModelFileError(f"its {name!r} is missing, or no {kind.__name__}")
    if not is_stream and isinstance(net._spec, int) and net.n_features_in_ != net._spec:
        raise ModelFileError("its features are not those of its network")
    if is_stream:
        _check_stream(net)
    elif not members or not all(hasattr(one, "module_") for one in members):
        raise ModelFileError("it holds no weights")
    heads: Mapping[str, Any] = net.heads_
    own = set(vars(net).get("_own_names", ()))
    if not set(net.output_names_) == set(net.loss_weights_) == set(heads) or not own <= set(heads):
        raise ModelFileError("its outputs are not those of its heads")
    for name, head in heads.items():
        if not isinstance(head, Head):
            raise ModelFileError(f"the head {name!r} is none")
        if not is_stream:
            _try_out(head)


def check_moments(net: FittedState) -> None:
    """Raise unless what an optimizer remembers has the shapes of the parameters, as it must."""
    state = vars(net).get("_net_state")
    if state is None or not isinstance(net._recipe.optimizer, str):
        return
    parameters = dict(net.module_.named_parameters())
    for name, moments in state["moments"].items():
        parameter = parameters[name]
        for values in moments.values():
            if np.shape(values) != () and not is_as(values, parameter):
                raise ModelFileError(f"the moments of {name!r} are not of its shape and type")


def _check_stream(net: OnlineMultiOutputNet) -> None:
    """Raise unless a stream's learner can predict a row without features, and one of zeros."""
    network = net.network_
    if not net.n_features_in_ == network.n_features == len(net._feature_names):
        raise ModelFileError("its features are not those of its network")
    known = [name for name, output in network.outputs.items() if output.labels.is_known]
    rows = np.zeros((2, network.n_features))
    rows[1] = np.nan
    found = network.predict(rows, known)
    for name in known:
        _try_out(net.heads_[name])
        if name in found and not np.isfinite(found[name][0]).all():
            raise ModelFileError(f"the output {name!r} is not finite")


def _try_out(head: Head) -> None:
    raw = np.asarray(head.constant_raw_)[None]
    head.decode(raw)
    if isinstance(head, ClassHead):
        head.decode_proba(raw)
