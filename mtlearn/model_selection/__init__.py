"""Model selection for several targets: scorers, splitters, and scikit-learn's tools for dicts."""

from mtlearn.model_selection._conformal_intervals import ConformalIntervalsCV
from mtlearn.model_selection._iterative_stratification import IterativeStratification
from mtlearn.model_selection._output_scoring import make_output_scorer, output_scoring
from mtlearn.model_selection._prequential import prequential
from mtlearn.model_selection._prequential_result import PrequentialResult
from mtlearn.model_selection._search import GridSearchCV, RandomizedSearchCV
from mtlearn.model_selection._stacked_search import StackedGridSearchCV
from mtlearn.model_selection._stratify_on import StratifyOn
from mtlearn.model_selection._tools import (
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from mtlearn.model_selection._tuned_thresholds import TunedThresholdsCV

__all__ = [
    "ConformalIntervalsCV",
    "GridSearchCV",
    "IterativeStratification",
    "PrequentialResult",
    "RandomizedSearchCV",
    "StackedGridSearchCV",
    "StratifyOn",
    "TunedThresholdsCV",
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "make_output_scorer",
    "output_scoring",
    "prequential",
    "train_test_split",
]
