"""scikit-learn's own checks of estimators: no failure by default, one where it cannot hold."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor
from mtlearn.trunks import MLP

ESTIMATORS = [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier]
VARIANTS = {
    "mini-batches": {"batch_size": 8, "max_epochs": 30},
    "dropout": {"trunk": MLP(dropout=0.1), "max_epochs": 60},
    "batch normalisation": {"trunk": MLP(normalization="batch")},
}
# A row of weight 2 counts twice in a loss, but it is one row of a batch, gets one dropout mask and
# counts once in a batch's mean and variance; two rows of weight 1 do not.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not two rows here"
}


@parametrize_with_checks(
    [estimator(**params) for params in ({}, {"n_members": 2}) for estimator in ESTIMATORS]
)
def test_estimator_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [estimator(**params) for params in VARIANTS.values() for estimator in ESTIMATORS],
    expected_failed_checks=lambda _estimator: EXPECTED,
)
def test_variant_fails_the_listed_checks_only(estimator, check):
    check(estimator)
