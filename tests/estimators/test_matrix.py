"""Which tools of scikit-learn take which form of targets: every cell of the guide's table runs.

``python tests/estimators/test_matrix.py`` writes the table, docs/user_guide/compatibility.rst.
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import model_selection
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (switches the search on)
from sklearn.feature_selection import RFE, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import (
    DecisionBoundaryDisplay,
    PartialDependenceDisplay,
    partial_dependence,
    permutation_importance,
)
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    DetCurveDisplay,
    PrecisionRecallDisplay,
    PredictionErrorDisplay,
    RocCurveDisplay,
    confusion_matrix,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import mtlearn.model_selection
from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.exceptions import HeadInferenceWarning
from mtlearn.trunks import MLP

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "compatibility.rst"
FORMS = {
    "dict": "plain dict",
    "targets": "Targets",
    "frame": "DataFrame",
    "array": "2-D array",
    "aux": "1-D ``y`` and ``aux``",
}
NAMED = ("dict", "targets", "frame")

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
PRICE = 10.0 + 3.0 * X[:, 0] - X[:, 1]
KIND = np.where(X[:, 1] + 0.2 * RNG.normal(size=N) > 0, "flat", "house")
GROUPS = np.arange(N) % 6
COLUMNS = np.column_stack([PRICE, X[:, 2]])
INDICATOR = (X[:, :3] > 0).astype(int)
# The first of three folds has all rows of one class, and of one label.
LEVEL = np.where(np.arange(N) < 5, "rare", KIND)
RARE = np.column_stack([X[:, 0] > 0, np.arange(N) < 5]).astype(int)
FOLDS = KFold(3)
SETTINGS = {"trunk": MLP((8,)), "max_epochs": 3, "learning_rate": 0.05, "random_state": 0}


# One model, its targets and its parameters of fit for each form.


def targets(form, **named):
    return {"dict": dict, "targets": Targets, "frame": pd.DataFrame}[form](named)


def model(form, task):
    """An unfitted estimator for numbers or classes, its y, and its parameters of fit."""
    if form in NAMED:
        main = "price" if task == "numbers" else "kind"
        net = MultiOutputNet(**SETTINGS, main_output=main)
        return net, targets(form, price=PRICE, kind=KIND), {}
    if task == "numbers":
        net, y, aux = MultiOutputNetRegressor(**SETTINGS), PRICE, {"kind": KIND}
        columns = COLUMNS
    else:
        net, y, aux = MultiOutputNetClassifier(**SETTINGS), KIND, {"price": PRICE}
        columns = INDICATOR
    return (net, columns, {}) if form == "array" else (net, y, {"aux": Targets(aux)})


def rows(y, i):
    if isinstance(y, Targets):
        return y[i]
    if isinstance(y, dict):
        return {name: values[i] for name, values in y.items()}
    return y.iloc[i] if isinstance(y, pd.DataFrame) else y[i]


def fit(net, X, y, params, i=None):
    i = np.arange(N) if i is None else i
    params = {name: rows(value, i) for name, value in params.items()}
    return clone(net).fit(X[i], rows(y, i), **params)


def fitted(form, task, X=X):
    net, y, params = model(form, task)
    return fit(net, X, y, params)


def view(form, task, X=X):
    """What predicts one column of numbers or classes, and the labels of it."""
    net = fitted(form, task, X)
    labels = PRICE if task == "numbers" else KIND
    return (net.output("price" if task == "numbers" else "kind") if form in NAMED else net), labels


def tool(form, name):
    """scikit-learn's function or class, or mtlearn's for plain dicts."""
    return getattr(mtlearn.model_selection if form == "dict" else model_selection, name)


def same(a, b):
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    return a == b if isinstance(a, Targets) else np.array_equal(a, b)


def assert_close(a, b):
    """Equal but for rounding: a scaler sums the columns of a frame in another order."""
    names = list(a) if isinstance(a, Targets) else [None]
    for name in names:
        one, other = (a, b) if name is None else (a[name], b[name])
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-9)
        else:
            np.testing.assert_array_equal(one, other)


@contextlib.contextmanager
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# The table: what a cell says, and what it does.


class Cell(NamedTuple):
    text: str
    check: object


TABLE = {}


def row(utility, check=None, **cells):
    """Add a row; `named` stands for the three forms with names, and `check` for what is left."""
    named = cells.pop("named", check)
    found = {form: cells.get(form, named if form in NAMED else check) for form in FORMS}
    TABLE[utility] = {
        form: cell if isinstance(cell, Cell) else Cell("yes", cell) for form, cell in found.items()
    }


def refused(text, call, error, match):
    def check(form):
        with pytest.raises(error, match=match):
            call(form)

    return Cell(text, check)


def instead(text, call, error, match, check):
    """Refused as it is, with another way that works."""

    def both(form):
        with pytest.raises(error, match=match):
            call(form)
        check(form)

    return Cell(text, both)


PASS_TARGETS = "Pass ``Targets(y)``."
USE_AUX = "Pass one target as ``y`` and the others as ``aux``: last column."
TWO_ROWS = "inconsistent numbers of samples"
NO_ARRAY = r"\['price', 'kind'\] are not one array"
ONE_COLUMN = "y should be a 1d array"
ROUTING = "Yes, with metadata routing and ``net.set_fit_request(aux=True)``."
NEEDS_ROUTING = "only supported if enable_metadata_routing=True"


def with_targets(call, check):
    """A plain dict is refused, and Targets in its place works."""
    return instead(PASS_TARGETS, call, ValueError, TWO_ROWS, lambda _form: check("targets"))


# Splitting and cross-validation


def check_train_test_split(form):
    _, y, params = model(form, "numbers")
    given = [y, *params.values()]
    parts = tool(form, "train_test_split")(np.arange(N), *given, test_size=20, random_state=0)
    train, test, *others = parts
    assert sorted([*train, *test]) == list(range(N))
    for whole, a, b in zip(given, others[::2], others[1::2], strict=True):
        whole = Targets(whole) if form == "dict" else whole
        assert same(a, rows(whole, train))
        assert same(b, rows(whole, test))


def by_hand(net, y, params, splits):
    return [fit(net, X, y, params, a).score(X[b], rows(y, b)) for a, b in splits]


def check_folds(form, cv, splits, task="numbers", groups=None):
    net, y, params = model(form, task)
    scores = tool(form, "cross_val_score")(
        net, X, y, cv=cv, groups=groups, params=params, error_score="raise"
    )
    assert scores.tolist() == by_hand(net, y, params, splits)
    assert np.isfinite(scores).all()


def check_kfold(form):
    folds = KFold(3, shuffle=True, random_state=0)
    check_folds(form, folds, list(folds.split(X)))


def check_group_kfold(form):
    splits = list(GroupKFold(3).split(X, groups=GROUPS))
    check_folds(form, GroupKFold(3), splits, groups=GROUPS)


def check_stratified(form):
    check_folds(form, StratifiedKFold(3), list(StratifiedKFold(3).split(X, KIND)), "classes")


def check_stratify_on(form):
    cv = mtlearn.model_selection.StratifyOn("kind", StratifiedKFold(3))
    check_folds(form, cv, list(StratifiedKFold(3).split(X, KIND)), "classes")


def check_ready_splits(form):
    splits = list(StratifiedKFold(3).split(X, INDICATOR[:, 0]))
    check_folds(form, splits, splits, "classes")


STRATIFY_ON = 'Yes, as ``StratifyOn("kind", StratifiedKFold())``.'
row("train_test_split", check_train_test_split)
row("KFold", check_kfold)
row("GroupKFold", check_group_kfold)
row(
    "StratifiedKFold",
    check_stratified,
    dict=instead(STRATIFY_ON, check_stratified, TypeError, NO_ARRAY, check_stratify_on),
    targets=instead(STRATIFY_ON, check_stratified, TypeError, NO_ARRAY, check_stratify_on),
    frame=instead(STRATIFY_ON, check_stratified, TypeError, "not supported", check_stratify_on),
    array=instead(
        "Pass the splits on one column: ``cv=list(StratifiedKFold().split(X, y[:, 0]))``.",
        check_stratified,
        ValueError,
        "Got 'multilabel-indicator' instead",
        check_ready_splits,
    ),
)


def check_cross_val_score(form):
    for task in ("numbers", "classes"):
        check_folds(form, FOLDS, list(FOLDS.split(X)), task)


def check_cross_validate(form):
    net, y, params = model(form, "numbers")
    found = tool(form, "cross_validate")(
        net, X, y, cv=FOLDS, params=params, return_estimator=True, return_train_score=True
    )
    assert np.isfinite(found["test_score"]).all()
    for (a, b), one, score in zip(
        FOLDS.split(X), found["estimator"], found["train_score"], strict=True
    ):
        alone = fit(net, X, y, params, a)
        assert same(one.predict(X[b]), alone.predict(X[b]))
        assert score == alone.score(X[a], rows(y, a))


def check_cross_val_predict(form):
    for task in ("numbers", "classes"):
        net, y, params = model(form, task)
        found = tool(form, "cross_val_predict")(net, X, y, cv=FOLDS, params=params)
        for a, b in FOLDS.split(X):
            assert same(rows(found, b), fit(net, X, y, params, a).predict(X[b]))


def check_probabilities(form):
    net, y, params = model(form, "classes")
    found = model_selection.cross_val_predict(
        net, X, y, cv=FOLDS, params=params, method="predict_proba"
    )
    for a, b in FOLDS.split(X):
        assert same(found[b], fit(net, X, y, params, a).predict_proba(X[b]))


def check_our_probabilities(form):
    net, y, _ = model(form, "classes")
    found = mtlearn.model_selection.cross_val_predict(net, X, y, cv=FOLDS, method="predict_proba")
    assert list(found) == ["kind"]
    assert found["kind"].shape == (N, 2)
    for a, b in FOLDS.split(X):
        assert same(found[b], fit(net, X, y, {}, a).predict_proba(X[b]))


def theirs_of_a_mixture(form):
    y = targets(form, price=PRICE, kind=KIND)
    model_selection.cross_val_predict(
        MultiOutputNet(**SETTINGS), X, y, cv=FOLDS, method="predict_proba"
    )


def check_our_rare_class(form):
    y = targets(form, price=PRICE, level=LEVEL)
    net = MultiOutputNet(**SETTINGS)
    found = mtlearn.model_selection.cross_val_predict(net, X, y, cv=FOLDS, method="predict_proba")
    check_rare_class(
        found["level"], lambda a, b: fit(net, X, y, {}, a).predict_proba(X[b])["level"]
    )


def check_rare_class(found, alone):
    """The first fold is predicted by a net without the third class, the others by one with it."""
    assert found.shape == (N, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    for k, (a, b) in enumerate(FOLDS.split(X)):
        expected = alone(a, b)
        assert expected.shape[1] == (2 if k == 0 else 3)
        np.testing.assert_array_equal(found[b][:, : expected.shape[1]], expected)
        assert (found[b][:, 2] > 0).all() == (k > 0)


def check_their_rare_class(form):
    net, _, params = model(form, "classes")
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        found = model_selection.cross_val_predict(
            net, X, LEVEL, cv=FOLDS, params=params, method="predict_proba"
        )
    check_rare_class(found, lambda a, b: fit(net, X, LEVEL, params, a).predict_proba(X[b]))


def check_rare_label(form):
    net, _, _ = model(form, "classes")
    found = model_selection.cross_val_predict(net, X, RARE, cv=FOLDS, method="predict_proba")
    assert found.shape == (N, 2)
    for a, b in FOLDS.split(X):
        assert same(found[b], fit(net, X, RARE, {}, a).predict_proba(X[b]))


OURS = "Yes, with ``mtlearn.model_selection.cross_val_predict``."
row("cross_val_score", check_cross_val_score)
row("cross_validate", check_cross_validate)
row("cross_val_predict", check_cross_val_predict)


def proba_row(utility, check_ours, **cells):
    row(
        utility,
        dict=instead(OURS, theirs_of_a_mixture, ValueError, TWO_ROWS, check_ours),
        targets=instead(OURS, theirs_of_a_mixture, TypeError, NO_ARRAY, check_ours),
        frame=instead(OURS, theirs_of_a_mixture, ValueError, "head cannot be told", check_ours),
        **cells,
    )


proba_row(
    'cross_val_predict(method="predict_proba")', check_our_probabilities, check=check_probabilities
)
proba_row(
    "the same, a class missing in a fold",
    check_our_rare_class,
    array=check_rare_label,
    aux=Cell("Yes; scikit-learn warns.", check_their_rare_class),
)


# Searches and curves

GRID = {"alpha": [0.0, 0.1]}


def check_search(form, make):
    net, y, params = model(form, "numbers")
    search = make(net).fit(X, y, **params)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) >= 2
    assert np.isfinite(scores).all()
    alone = fit(clone(net).set_params(**search.best_params_), X, y, params)
    assert same(search.predict(X), alone.predict(X))
    assert search.score(X, y) == alone.score(X, y)
    return scores


def check_grid_search(form):
    scores = check_search(
        form, lambda net: tool(form, "GridSearchCV")(net, GRID, cv=FOLDS, error_score="raise")
    )
    net, y, params = model(form, "numbers")
    for alpha, score in zip(GRID["alpha"], scores, strict=True):
        hand = by_hand(net.set_params(alpha=alpha), y, params, FOLDS.split(X))
        assert score == np.mean(hand)


def check_random_search(form):
    make = tool(form, "RandomizedSearchCV")
    check_search(form, lambda net: make(net, GRID, n_iter=2, cv=FOLDS, random_state=0))


def check_halving(form, n_jobs=1):
    def make(net):
        return HalvingGridSearchCV(
            net, GRID, cv=FOLDS, min_resources=30, random_state=0, n_jobs=n_jobs,
            error_score="raise",
        )  # fmt: skip

    return check_search(form, make).tolist()


def check_halving_in_processes(form):
    assert check_halving(form, n_jobs=2) == check_halving(form)


def check_learning_curve(form):
    net, y, params = model(form, "numbers")
    sizes, train, test = tool(form, "learning_curve")(
        net, X, y, cv=FOLDS, train_sizes=[0.5, 1.0], params=params, error_score="raise"
    )
    assert sizes.tolist() == [20, 40]
    assert train.shape == (2, 3)
    assert test[1].tolist() == by_hand(net, y, params, FOLDS.split(X))


def check_validation_curve(form):
    net, y, params = model(form, "numbers")
    _, test = validation_curve(
        net, X, y, cv=FOLDS, param_name="alpha", param_range=GRID["alpha"], params=params,
        error_score="raise",
    )  # fmt: skip
    for alpha, scores in zip(GRID["alpha"], test, strict=True):
        hand = by_hand(clone(net).set_params(alpha=alpha), y, params, FOLDS.split(X))
        assert scores.tolist() == hand


def check_permutation_test(form):
    net, y, params = model(form, "classes")
    score, permuted, p_value = permutation_test_score(
        net, X, y, cv=FOLDS, n_permutations=3, random_state=0, params=params
    )
    assert score == np.mean(by_hand(net, y, params, FOLDS.split(X)))
    assert permuted.shape == (3,)
    assert p_value == (1 + (permuted >= score).sum()) / 4


row("GridSearchCV", check_grid_search)
row("RandomizedSearchCV", check_random_search)
row(
    "HalvingGridSearchCV",
    check_halving,
    dict=with_targets(check_halving, check_halving),
    targets=check_halving_in_processes,
)
row("learning_curve", check_learning_curve)
row(
    "validation_curve",
    check_validation_curve,
    dict=with_targets(check_validation_curve, check_validation_curve),
)
row(
    "permutation_test_score",
    check_permutation_test,
    dict=with_targets(check_permutation_test, check_permutation_test),
)


# Inspection

FLAT = np.column_stack([X[:, :3], np.ones(N)])
VIEW = "Yes, of ``net.output(name)``."


def check_permutation_importance(form):
    net, y, params = model(form, "numbers")
    net = fit(net, FLAT, y, params)
    found = permutation_importance(net, FLAT, y, n_repeats=2, random_state=0).importances
    assert found.shape == (4, 2)
    assert (found[3] == 0).all()
    assert (found[:3] != 0).all()


def brute_average(net, grid, method="predict"):
    """The mean prediction with the first column set to each value."""
    return np.array(
        [
            getattr(net, method)(np.column_stack([np.full(N, value), X[:, 1:]])).mean(axis=0)
            for value in grid
        ]
    ).T


def whole_partial_dependence(form):
    partial_dependence(fitted(form, "numbers"), X, [0])


def check_partial_dependence(form):
    net, _ = view(form, "numbers")
    found = partial_dependence(net, X, [0], grid_resolution=5)
    expected = brute_average(net, found["grid_values"][0])
    np.testing.assert_allclose(found["average"], np.atleast_2d(expected), rtol=1e-6)
    net, _ = view(form, "classes")
    found = partial_dependence(net, X, [0], grid_resolution=5)
    expected = brute_average(net, found["grid_values"][0], "predict_proba")
    chosen = expected[1:] if len(expected) == 2 else expected
    np.testing.assert_allclose(found["average"], chosen, rtol=1e-6)


def check_only_the_second_label_is_averaged(form):
    check_partial_dependence(form)
    net = MultiOutputNetClassifier(**SETTINGS).fit(X, INDICATOR[:, :2])
    found = partial_dependence(net, X, [0], grid_resolution=5)
    expected = brute_average(net, found["grid_values"][0], "predict_proba")
    np.testing.assert_allclose(found["average"], expected[1:], rtol=1e-6)


NOT_TYPED = "'estimator' must be a fitted regressor or classifier"
row("permutation_importance", check_permutation_importance)
row(
    "partial_dependence",
    check_partial_dependence,
    named=instead(VIEW, whole_partial_dependence, ValueError, NOT_TYPED, check_partial_dependence),
    array=Cell(
        "Yes; of an indicator with two labels scikit-learn averages the second only.",
        check_only_the_second_label_is_averaged,
    ),
)


# Selection of features, and pipelines


def check_rfe(form, getter="auto"):
    net, y, params = model(form, "numbers")
    chosen = RFE(net, n_features_to_select=2, importance_getter=getter).fit(X, y, **params)
    alone = fit(net, X[:, chosen.support_], y, params)
    assert chosen.support_.sum() == 2
    assert same(chosen.predict(X), alone.predict(X[:, chosen.support_]))


def first_layer(net):
    weight = next(p for p in net.module_.parameters() if p.ndim == 2)
    return weight.detach().abs().sum(dim=0).numpy()


def check_rfe_with_getter(form):
    check_rfe(form, first_layer)


def check_sequential_selection(form):
    net, y, params = model(form, "numbers")
    if params:
        net = net.set_fit_request(aux=True)
    search = SequentialFeatureSelector(net, n_features_to_select=1, cv=FOLDS).fit(X, y, **params)
    means = [
        np.mean([fit(net, X[:, [j]], y, params, a).score(X[b][:, [j]], rows(y, b))
                 for a, b in FOLDS.split(X)])
        for j in range(4)
    ]  # fmt: skip
    assert search.get_support(indices=True).tolist() == [int(np.argmax(means))]


def check_selection_routed(form):
    with routing():
        check_sequential_selection(form)


def select_unrouted(form):
    net, y, params = model(form, "numbers")
    SequentialFeatureSelector(net, n_features_to_select=1, cv=FOLDS).fit(X, y, **params)


NO_IMPORTANCE = "should have `coef_` or `feature_importances_` attribute"
GETTER = "Pass an ``importance_getter`` that takes the fitted net: it has no ``coef_``."
row(
    "RFE",
    dict=refused("Use SequentialFeatureSelector, and ``Targets(y)``.",
                 check_rfe_with_getter, TypeError, "at least 1 dimension"),
    targets=refused("Use SequentialFeatureSelector, or ``aux``: RFE wants one array.",
                    check_rfe_with_getter, TypeError, NO_ARRAY),
    frame=refused("Use SequentialFeatureSelector, or ``aux``: RFE makes one array of ``y``.",
                  check_rfe_with_getter, ValueError, "unknown output 'price'"),
    array=instead(GETTER, check_rfe, ValueError, NO_IMPORTANCE, check_rfe_with_getter),
    aux=instead(GETTER, check_rfe, ValueError, NO_IMPORTANCE, check_rfe_with_getter),
)  # fmt: skip
row(
    "SequentialFeatureSelector",
    check_sequential_selection,
    dict=with_targets(check_sequential_selection, check_sequential_selection),
    aux=instead(ROUTING, select_unrouted, ValueError, NEEDS_ROUTING, check_selection_routed),
)


def check_steps(form, transformer, expected, names):
    """A Pipeline in which a frame reaches the net gives what the net alone gives."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    net, y, params = model(form, "numbers")
    pipe = Pipeline([("make", transformer), ("net", clone(net))]).set_output(transform="pandas")
    pipe.fit(frame, y, **{f"net__{name}": value for name, value in params.items()})
    alone = fit(net, expected, y, params)
    assert_close(pipe.predict(frame), alone.predict(expected))
    assert pipe.score(frame, y) == pytest.approx(alone.score(expected, y), rel=1e-9)
    assert list(pipe["net"].feature_names_in_) == names


SCALED = StandardScaler().fit_transform(X)


def check_pipeline(form):
    check_steps(form, StandardScaler(), SCALED, list("abcd"))


def check_column_transformer(form):
    parts = ColumnTransformer(
        [("scale", StandardScaler(), ["c", "a"])], remainder="drop", verbose_feature_names_out=False
    )
    check_steps(form, parts, SCALED[:, [2, 0]], ["c", "a"])


def check_feature_union(form):
    union = FeatureUnion(
        [("plain", FunctionTransformer(feature_names_out="one-to-one")),
         ("scaled", StandardScaler())]
    )  # fmt: skip
    names = [f"{part}__{name}" for part in ("plain", "scaled") for name in "abcd"]
    check_steps(form, union, np.column_stack([X, SCALED]), names)


row('Pipeline, ``set_output(transform="pandas")``', check_pipeline)
row("ColumnTransformer", check_column_transformer)
row("FeatureUnion", check_feature_union)


# Estimators around an estimator


def check_transformed_target(form):
    net, y, params = model(form, "numbers")
    both = TransformedTargetRegressor(net, transformer=StandardScaler()).fit(X, y, **params)
    scaler = StandardScaler().fit(np.reshape(y, (N, -1)))
    alone = fit(net, X, scaler.transform(np.reshape(y, (N, -1))).reshape(y.shape), params)
    expected = scaler.inverse_transform(alone.predict(X).reshape(N, -1)).reshape(y.shape)
    np.testing.assert_allclose(both.predict(X), expected, rtol=1e-12)


TRANSFORMER = "Use ``Regression(transformer=...)`` as the head of the target."


def transformed_whole(form):
    net, y, _ = model(form, "numbers")
    TransformedTargetRegressor(net, transformer=StandardScaler()).fit(X, y)


row(
    "TransformedTargetRegressor",
    check_transformed_target,
    dict=refused(TRANSFORMER, transformed_whole, TypeError, "at least 1 dimension"),
    targets=refused(TRANSFORMER, transformed_whole, TypeError, NO_ARRAY),
    frame=refused(TRANSFORMER, transformed_whole, ValueError, "could not convert string to float"),
)

ENSEMBLES = {
    "BaggingRegressor": ("numbers", lambda net: BaggingRegressor(net, 2, random_state=0)),
    "BaggingClassifier": ("classes", lambda net: BaggingClassifier(net, 2, random_state=0)),
    "VotingRegressor": ("numbers", lambda net: VotingRegressor([("a", net)])),
    "VotingClassifier": ("classes", lambda net: VotingClassifier([("a", net)], voting="soft")),
    "StackingRegressor": ("numbers", lambda net: StackingRegressor([("a", net)], cv=FOLDS)),
    "StackingClassifier": ("classes", lambda net: StackingClassifier([("a", net)], cv=FOLDS)),
    "CalibratedClassifierCV": ("classes", lambda net: CalibratedClassifierCV(net, cv=FOLDS)),
    "FixedThresholdClassifier": (
        "classes",
        lambda net: FixedThresholdClassifier(net, threshold=0.4, pos_label="flat"),
    ),
    "TunedThresholdClassifierCV": (
        "classes",
        lambda net: TunedThresholdClassifierCV(net, cv=FOLDS, scoring="balanced_accuracy"),
    ),
}


def wrap(form, utility):
    task, make = ENSEMBLES[utility]
    net, y, params = model(form, task)
    if params and sklearn.get_config()["enable_metadata_routing"]:
        net = net.set_fit_request(aux=True)
    return make(net).fit(X, y, **params), net, y, params


def calls(utility):
    return lambda form: wrap(form, utility)


def check_wrapped(form, utility):
    wrapped, net, y, params = wrap(form, utility)
    predicted = wrapped.predict(X)
    assert predicted.shape == y.shape
    if utility.startswith("Bagging"):
        codes = np.unique(y, return_inverse=True)[1] if utility == "BaggingClassifier" else y
        for one, drawn in zip(wrapped.estimators_, wrapped.estimators_samples_, strict=True):
            alone = clone(net).set_params(random_state=one.random_state)
            if params:  # with routing the rows are drawn, unless fit asks for sample_weight
                alone = fit(alone, X, codes, params, drawn)
            else:
                alone.fit(X, codes, sample_weight=np.bincount(drawn, minlength=N))
            assert same(one.predict(X), alone.predict(X))
    if utility == "VotingRegressor":
        assert same(predicted, fit(net, X, y, params).predict(X))
    if utility == "FixedThresholdClassifier":
        flat = fit(net, X, y, params).predict_proba(X)[:, 0]
        assert same(predicted, np.where(flat >= 0.4, "flat", "house"))
    if hasattr(wrapped, "predict_proba") and y.ndim == 1:
        probabilities = wrapped.predict_proba(X)
        assert probabilities.shape == (N, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        if utility == "VotingClassifier":
            assert same(probabilities, fit(net, X, y, params).predict_proba(X))
        if utility == "CalibratedClassifierCV":
            folds = [fit(net, X, y, params, a) for a, _ in FOLDS.split(X)]
            for one, alone in zip(wrapped.calibrated_classifiers_, folds, strict=True):
                assert same(one.estimator.predict_proba(X), alone.predict_proba(X))


def works(utility):
    return Cell("yes", lambda form: check_wrapped(form, utility))


def works_routed(utility):
    def check(form):
        with routing():
            check_wrapped(form, utility)

    return instead(ROUTING, calls(utility), ValueError, NEEDS_ROUTING, check)


def prefit(make, task):
    """A tool that takes fitted estimators gets the view of a net, or the net itself."""

    def check(form):
        one, labels = view(form, task)
        wrapped = make(FrozenEstimator(one)).fit(X, labels)
        found = wrapped.predict(X)
        assert found.shape == (N,)
        if task == "numbers":
            assert np.isfinite(found).all()
        else:
            assert set(found) <= {"flat", "house"}
            assert wrapped.predict_proba(X).shape == (N, 2)

    return check


FROZEN = {
    "CalibratedClassifierCV": prefit(CalibratedClassifierCV, "classes"),
    "FixedThresholdClassifier": prefit(
        lambda net: FixedThresholdClassifier(net, threshold=0.4, pos_label="flat"), "classes"
    ),
    "TunedThresholdClassifierCV": prefit(
        lambda net: TunedThresholdClassifierCV(net, cv="prefit", refit=False), "classes"
    ),
    "VotingRegressor": prefit(lambda net: VotingRegressor([("a", net)]), "numbers"),
    "VotingClassifier": prefit(
        lambda net: VotingClassifier([("a", net)], voting="soft"), "classes"
    ),
    "StackingRegressor": prefit(
        lambda net: StackingRegressor([("a", net)], cv="prefit"), "numbers"
    ),
    "StackingClassifier": prefit(
        lambda net: StackingClassifier([("a", net)], cv="prefit"), "classes"
    ),
}
DICT_ERRORS = {
    "BaggingRegressor": (TypeError, "at least 1 dimension"),
    "BaggingClassifier": (TypeError, "at least 1 dimension"),
    "VotingRegressor": (ValueError, ONE_COLUMN),
    "StackingRegressor": (ValueError, ONE_COLUMN),
    "VotingClassifier": (ValueError, "Expected array-like"),
    "StackingClassifier": (ValueError, "Expected array-like"),
    "CalibratedClassifierCV": (ValueError, "Expected array-like"),
    "FixedThresholdClassifier": (ValueError, TWO_ROWS),
    "TunedThresholdClassifierCV": (ValueError, TWO_ROWS),
}
FRAME_ERRORS = {
    "BaggingRegressor": (ValueError, "unknown output 'price'"),
    "BaggingClassifier": (ValueError, ONE_COLUMN),
    "VotingRegressor": (ValueError, ONE_COLUMN),
    "StackingRegressor": (ValueError, ONE_COLUMN),
}
PER_TARGET = "Pass one column as ``y``: a model for each."


def wrapper_row(utility, array, aux):
    """Named targets are refused as a whole; where a fitted net will do, a view is taken."""
    call = calls(utility)
    errors = {
        "dict": DICT_ERRORS[utility],
        "targets": (TypeError, NO_ARRAY),
        "frame": FRAME_ERRORS.get(utility, (TypeError, "not supported between instances")),
    }
    cells = {}
    for form, (error, match) in errors.items():
        if utility in FROZEN:
            text = "Yes, of ``FrozenEstimator(net.output(name))``."
            if utility.startswith(("Stacking", "Tuned")):
                text = text[:-1] + ' and ``cv="prefit"``.'
            cells[form] = instead(text, call, error, match, FROZEN[utility])
        else:
            cells[form] = refused(USE_AUX, call, error, match)
    row(utility, **cells, array=array, aux=aux)


def one_column(utility, error, match):
    """Several columns are refused; one of them is learned."""
    task, make = ENSEMBLES[utility]

    def check(form):
        net, y, _ = model(form, task)
        wrapped = make(net)
        if utility == "FixedThresholdClassifier":
            wrapped.set_params(pos_label=1)
        assert wrapped.fit(X, y[:, 0]).predict(X).shape == (N,)

    return instead(PER_TARGET, calls(utility), error, match, check)


UNROUTED_STACKING = (
    'Yes, of ``FrozenEstimator(net)`` fitted with ``aux`` and ``cv="prefit"``: scikit-learn hands '
    "``aux`` to the final estimator."
)


def stacking_routed(utility):
    def call(form):
        with routing():
            wrap(form, utility)

    return instead(UNROUTED_STACKING, call, TypeError, "aux", FROZEN[utility])


MULTILABEL = "multilabel-indicator"
wrapper_row("BaggingRegressor", works("BaggingRegressor"), works_routed("BaggingRegressor"))
wrapper_row(
    "BaggingClassifier",
    one_column("BaggingClassifier", ValueError, ONE_COLUMN),
    works_routed("BaggingClassifier"),
)
wrapper_row(
    "VotingRegressor",
    one_column("VotingRegressor", ValueError, ONE_COLUMN),
    works_routed("VotingRegressor"),
)
wrapper_row(
    "VotingClassifier",
    one_column("VotingClassifier", NotImplementedError, "Multilabel"),
    works_routed("VotingClassifier"),
)
wrapper_row(
    "StackingRegressor",
    one_column("StackingRegressor", ValueError, ONE_COLUMN),
    stacking_routed("StackingRegressor"),
)
wrapper_row(
    "StackingClassifier",
    one_column("StackingClassifier", ValueError, ONE_COLUMN),
    stacking_routed("StackingClassifier"),
)
wrapper_row(
    "CalibratedClassifierCV",
    one_column("CalibratedClassifierCV", ValueError, ONE_COLUMN),
    works("CalibratedClassifierCV"),
)
wrapper_row(
    "FixedThresholdClassifier",
    one_column("FixedThresholdClassifier", ValueError, MULTILABEL),
    works_routed("FixedThresholdClassifier"),
)
wrapper_row(
    "TunedThresholdClassifierCV",
    one_column("TunedThresholdClassifierCV", ValueError, MULTILABEL),
    works_routed("TunedThresholdClassifierCV"),
)


# Displays

FROM_PREDICTIONS = "Draw a column with ``from_predictions``."


def line_of(display):
    lines = {line.get_label(): line.get_xydata() for line in display.ax_.lines}
    return next(points for label, points in lines.items() if label != "Perfectly calibrated")


def matrix_of(display):
    return display.confusion_matrix


def display_row(display, error, match, array_error, array_match, found=line_of):
    """A display of classes: that of an estimator is the one of its predictions."""
    name = display.__name__
    by_class = display is ConfusionMatrixDisplay

    def whole(form):
        net, y, params = model(form, "classes")
        display.from_estimator(fit(net, X, y, params), X, y)

    def check(form):
        one, labels = view(form, "classes")
        drawn = display.from_estimator(one, X, labels)
        if by_class:
            assert same(found(drawn), confusion_matrix(labels, one.predict(X)))
        else:
            house = one.predict_proba(X)[:, 1]
            other = display.from_predictions(labels, house, pos_label="house")
            assert same(found(drawn), found(other))
            assert len(found(drawn)) >= 2

    def column(form):
        net = fitted(form, "classes")
        predicted = (net.predict if by_class else net.predict_proba)(X)[:, 0]
        drawn = display.from_predictions(INDICATOR[:, 0], predicted)
        if by_class:
            assert same(found(drawn), confusion_matrix(INDICATOR[:, 0], predicted))
        else:
            assert len(found(drawn)) >= 2

    row(
        name,
        named=instead(VIEW, whole, error, match, check),
        array=instead(FROM_PREDICTIONS, whole, ValueError, array_match, column),
        aux=check,
    )


BINARY = "Expected 'estimator' to be a binary classifier"
for shown in (RocCurveDisplay, PrecisionRecallDisplay, DetCurveDisplay, CalibrationDisplay):
    display_row(shown, ValueError, BINARY, ValueError, "Got 3 classes instead")
display_row(
    ConfusionMatrixDisplay, ValueError, "only supports classifiers", ValueError, MULTILABEL,
    found=matrix_of,
)  # fmt: skip


def check_prediction_error(form):
    one, labels = view(form, "numbers")
    labels = COLUMNS if form == "array" else labels
    drawn = PredictionErrorDisplay.from_estimator(one, X, labels, subsample=None)
    assert same(drawn.y_pred, one.predict(X))
    assert same(drawn.y_true, labels)


def whole_prediction_error(form):
    net, y, params = model(form, "numbers")
    PredictionErrorDisplay.from_estimator(fit(net, X, y, params), X, y)


def check_boundary(form):
    for task in ("numbers", "classes"):
        one, _ = view(form, task, X[:, :2])
        drawn = DecisionBoundaryDisplay.from_estimator(
            one, X[:, :2], grid_resolution=5, response_method="predict"
        )
        grid = np.column_stack([drawn.xx0.ravel(), drawn.xx1.ravel()])
        expected = one.predict(grid)
        if task == "classes":
            expected = np.unique(KIND).searchsorted(expected)
        assert same(drawn.response.ravel(), expected)


def whole_boundary(form):
    net = fitted(form, "numbers", X[:, :2])
    DecisionBoundaryDisplay.from_estimator(net, X[:, :2], grid_resolution=5)


def boundary_of_a_named_column(_form):
    y = Targets({"first": COLUMNS[:, 0], "second": COLUMNS[:, 1]})
    one = MultiOutputNet(**SETTINGS).fit(X[:, :2], y).output("second")
    drawn = DecisionBoundaryDisplay.from_estimator(one, X[:, :2], grid_resolution=5)
    grid = np.column_stack([drawn.xx0.ravel(), drawn.xx1.ravel()])
    assert same(drawn.response.ravel(), one.predict(grid))


def check_dependence_display(form):
    one, _ = view(form, "numbers")
    drawn = PartialDependenceDisplay.from_estimator(
        one, X, [0], grid_resolution=5, target=0 if form == "array" else None
    )
    expected = partial_dependence(one, X, [0], grid_resolution=5)["average"]
    assert same(drawn.pd_results[0]["average"], expected)
    assert same(drawn.lines_.ravel()[0].get_ydata(), expected[0])


def whole_dependence_display(form):
    PartialDependenceDisplay.from_estimator(fitted(form, "numbers"), X, [0])


row(
    "PredictionErrorDisplay",
    check_prediction_error,
    named=instead(VIEW, whole_prediction_error, TypeError, NO_ARRAY, check_prediction_error),
    array=Cell("Yes; all columns in one cloud.", check_prediction_error),
)
row(
    "DecisionBoundaryDisplay",
    check_boundary,
    named=instead(VIEW, whole_boundary, KeyError, "0", check_boundary),
    array=instead(
        "Give the columns names, in Targets.",
        whole_boundary,
        ValueError,
        "Multi-output regressors are not supported",
        boundary_of_a_named_column,
    ),
)
row(
    "PartialDependenceDisplay",
    check_dependence_display,
    named=instead(VIEW, whole_dependence_display, ValueError, NOT_TYPED, check_dependence_display),
    array=instead(
        "Yes, with the number of the column as ``target``.",
        whole_dependence_display,
        ValueError,
        "target must be specified",
        check_dependence_display,
    ),
)


# The page

HEAD = """\
Which tools take which targets
==============================

What each tool of scikit-learn makes of each form of ``y``. Every entry is run by the tests, which
compare it with the same thing done by hand, or expect the tool to refuse.

- A **plain dict**, **Targets** or a **DataFrame** is for :class:`mtlearn.MultiOutputNet`. A plain
  dict goes through the functions and searches of ``mtlearn.model_selection``, where there is one of
  that name.
- A **2-D array** is for :class:`mtlearn.MultiOutputNetRegressor`, or, if it is an indicator matrix,
  for :class:`mtlearn.MultiOutputNetClassifier`.
- A **1-D y and aux** is for the same two, with the other targets as the parameter ``aux`` of
  ``fit``: ``tool.fit(X, y, aux=Targets(...))``, ``params={"aux": Targets(...)}`` of a function,
  ``net__aux`` in a Pipeline.

"Yes, of" says which estimator to give to the tool.

.. "python tests/estimators/test_matrix.py" writes this page.

.. list-table::
   :header-rows: 1
   :widths: 20 16 16 16 16 16

"""


def render():
    """Return the page's text."""
    lines = []
    for cells in [["tool", *FORMS.values()]] + [
        [name if "`" in name else f"``{name}``", *(found[form].text for form in FORMS)]
        for name, found in TABLE.items()
    ]:
        lines += [f"   {'-' if k else '* -'} {text}".replace("   - ", "     - ", 1)
                  for k, text in enumerate(cells)]  # fmt: skip
    return HEAD + "\n".join(lines) + "\n"


@pytest.fixture
def closed_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("utility", TABLE)
def test_a_cell_of_the_table_holds(utility, form, closed_figures):
    TABLE[utility][form].check(form)


def test_the_table_has_all_forms_of_many_tools():
    assert len(TABLE) >= 25
    assert all(list(cells) == list(FORMS) for cells in TABLE.values())


def test_the_page_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == render()


BINARY_FRAME = pd.DataFrame({"kind": KIND, "flag": X[:, 2] > 0})


def test_our_probabilities_of_a_frame_of_binary_classes_are_by_name():
    net = MultiOutputNet(**SETTINGS)
    found = mtlearn.model_selection.cross_val_predict(
        net, X, BINARY_FRAME, cv=FOLDS, method="predict_proba"
    )
    assert isinstance(found, Targets)
    for a, b in FOLDS.split(X):
        assert found[b] == fit(net, X, BINARY_FRAME, {}, a).predict_proba(X[b])


def test_their_probabilities_of_a_frame_of_binary_classes_are_warned_of():
    """scikit-learn makes an indicator matrix of such a frame, and returns a matrix."""
    with pytest.warns(HeadInferenceWarning, match="pass Targets"):
        model_selection.cross_val_predict(
            MultiOutputNet(**SETTINGS), X, BINARY_FRAME, cv=FOLDS, method="predict_proba"
        )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
