"""scikit-learn's own checks of estimators, with no failure expected."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor


@parametrize_with_checks([MultiOutputNet(), MultiOutputNetRegressor(), MultiOutputNetClassifier()])
def test_estimator_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)
