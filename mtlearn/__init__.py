"""scikit-learn estimators that learn several targets at once with one torch network."""

from importlib.metadata import version

from mtlearn._namesake import refuse_namesake

refuse_namesake()

from mtlearn import exceptions, heads, preprocessing, trunks  # noqa: E402
from mtlearn._engine._checkpoint import Checkpoint  # noqa: E402
from mtlearn.ensemble._tabular_net import tabular_net  # noqa: E402
from mtlearn.estimators import (  # noqa: E402
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
    OutputView,
)
from mtlearn.inputs import Inputs  # noqa: E402
from mtlearn.targets import Targets  # noqa: E402

__all__ = [
    "Checkpoint",
    "Inputs",
    "MultiOutputNet",
    "MultiOutputNetClassifier",
    "MultiOutputNetRegressor",
    "OnlineMultiOutputNet",
    "OutputView",
    "Targets",
    "__version__",
    "exceptions",
    "heads",
    "preprocessing",
    "tabular_net",
    "trunks",
]

__version__ = version("scikit-mtlearn")
