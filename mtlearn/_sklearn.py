"""The only private names of scikit-learn that mtlearn uses, each tested for its presence.

Parameter constraints are what every scikit-learn estimator declares and validates by; there is
no public name for them. Nor is there one for taking rows of a frame or an array alike.
"""

from typing import Any

from sklearn import base
from sklearn.utils import _param_validation, _safe_indexing

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "fit_context",
    "safe_indexing",
    "validate_parameter_constraints",
]

HasMethods: Any = _param_validation.HasMethods
Interval: Any = _param_validation.Interval
StrOptions: Any = _param_validation.StrOptions
fit_context: Any = base._fit_context
safe_indexing: Any = _safe_indexing
validate_parameter_constraints: Any = _param_validation.validate_parameter_constraints
