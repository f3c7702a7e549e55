"""Saving a fitted estimator."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch
from sklearn.utils.validation import check_is_fitted

from mtlearn._atomic import write_atomically
from mtlearn._version import VERSION
from mtlearn.persistence._container import as_text, pack
from mtlearn.persistence._encode import Encoder
from mtlearn.persistence._format import FORMAT, NEEDS
from mtlearn.persistence._registry import NETS

__all__ = ["save"]


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted estimator in one file, which runs no code when it is loaded.

    The file holds the weights and all other arrays as safetensors, everything else as JSON in the
    header, and a SHA-256 of both. It takes the place of an older one in one step: whatever fails,
    and whenever the machine stops, there is either the old file or the new one.

    Parameters
    ----------
    estimator : MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier or \
            OnlineMultiOutputNet
        The fitted estimator. After ``partial_fit``, or with ``warm_start``, the state of the
        optimizer and of the generators is saved too.
    path : str or path-like
        The file. Any name will do; other tools take the ending ``.safetensors`` for what it is.

    Raises
    ------
    TypeError
        If the estimator is of a class that files cannot hold, such as a Pipeline.
    ValueError
        If something in the estimator cannot be saved.
    OSError
        If the file cannot be written; an old one stays as it is. Only if the system fails at the
        very last step, which makes sure that the new name outlasts a loss of power, is the new one
        in its place; the message says so.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    mtlearn.persistence.load : Load such a file.

    Notes
    -----
    What is not mtlearn's own is not saved: torch modules and functions as trunks, functions as
    losses, schedules and optimizers, transformers of targets, callbacks, splitters. The file has
    their names, and `load` asks for them.

    Examples
    --------
    >>> import numpy as np
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.persistence import load, save
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> net = MultiOutputNet(max_epochs=3, random_state=0).fit(X, {"y": X[:, 0]})
    >>> folder = getfixture("tmp_path")
    >>> save(net, folder / "net.safetensors")
    >>> load(folder / "net.safetensors").predict(X) == net.predict(X)
    True
    """
    if not isinstance(estimator, tuple(NETS.values())):
        raise TypeError(
            f"save: files hold fitted {', '.join(NETS)}. Got {type(estimator).__name__}; of a "
            f"Pipeline or a search, save the net in it alone, and what scikit-learn has made with "
            f"skops or joblib."
        )
    check_is_fitted(estimator)
    encoder = Encoder()
    content = encoder.encode(estimator)
    header = {
        "format": FORMAT,
        "needs": NEEDS,
        "versions": {
            "mtlearn": VERSION,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "skorch": skorch.__version__,
            "torch": str(torch.__version__),
        },
        "class": type(estimator).__name__,
        "given": encoder.given,
        "estimator": content,
    }
    write_atomically(Path(path), pack(as_text(header), encoder.tensors))
