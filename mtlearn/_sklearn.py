"""The only private names of scikit-learn that mtlearn uses, each tested for its presence.

Parameter constraints are what every scikit-learn estimator declares and validates by; there is
no public name for them.
"""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

__all__ = ["Interval", "StrOptions", "fit_context", "validate_parameter_constraints"]
