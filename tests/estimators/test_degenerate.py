"""Data with next to nothing in them: each is learned, or refused by name."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

SIZES = [1, 2, 3, 5, 10]
FEW_SIZES = [1, 2, 10]
CASES = ["varied", "constant", "repeated", "single label"]
VARIANTS = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "batch": {"trunk": MLP((4,), normalization="batch")},
    "dropout": {"trunk": MLP((4,), dropout=0.5)},
    "raw losses": {"normalize_losses": False},
    "layer": {"trunk": MLP((4,), normalization="layer"), "batch_size": 1},
    "all at once": {
        "trunk": MLP((4,), dropout=0.5, normalization="batch"),
        "early_stopping": True,
        "batch_size": 2,
        "normalize_losses": False,
    },
}
CONSTANTS = {
    "number": 0.1,
    "kind": "b",
    "tags": [0, 1],
    "pair": [-7.3, 1e200],
    "kinds": ["b", "c"],
}
ESTIMATORS = {
    "number": MultiOutputNetRegressor,
    "pair": MultiOutputNetRegressor,
    "kind": MultiOutputNetClassifier,
    "tags": MultiOutputNetClassifier,
    "kinds": MultiOutputNetClassifier,
}
MIXED = ["number", "kind", "tags", "pair"]

REFUSED = re.compile(
    r"MultiOutputNet(Regressor|Classifier)?: "
    r"(early stopping needs at least 2 rows with labels\. Got .*\b1\b.* early_stopping=False, .*"
    r"|batch normalisation needs at least 2 rows in a batch\. Got n_samples = \d+ and "
    r"`batch_size` \d+; use normalization='layer'\.)"
)


def make_data(n_rows, n_features, case):
    rng = np.random.default_rng(1000 * n_rows + n_features)
    X = rng.normal(size=(n_rows, n_features))
    letters = np.array(["a", "b", "c"])
    y = {
        "number": rng.normal(size=n_rows),
        "kind": letters[rng.integers(0, 3, n_rows)],
        "tags": rng.integers(0, 2, (n_rows, 2)),
        "pair": rng.normal(size=(n_rows, 2)),
        "kinds": letters[rng.integers(0, 3, (n_rows, 2))],
    }
    if case == "constant":
        for name, value in CONSTANTS.items():
            y[name][:] = value
    if case == "repeated":
        X[:] = X[0]
    if case == "single label":
        for name, labels in y.items():
            y[name] = labels.astype(float if labels.dtype.kind == "f" else object)
            y[name][1:] = None
    return X, y


def make_net(cls=MultiOutputNet, **params):
    return cls(MLP((4,)), max_epochs=3, random_state=0).set_params(**params)


def score_of(net, X, y, n_labels):
    """Return the score, which scikit-learn leaves undefined where a number has one label."""
    numbers = isinstance(net, MultiOutputNetRegressor) or "number" in net.output_names_
    if n_labels > 1 or not numbers:
        return net.score(X, y)
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(net.score(X, y))
    return 0.0


def check_fitted(net, X, y, case):
    """All that a fitted estimator returns is finite and has the right shape."""
    named = isinstance(net, MultiOutputNet)
    predicted = net.predict(X)
    for name, labels in y.items() if named else [("y", y)]:
        values = predicted[name] if named else predicted
        assert values.shape == labels.shape
        assert values.dtype.kind != "f" or np.isfinite(values).all()
        if case == "constant" and net.normalize_losses:
            np.testing.assert_array_equal(values, labels)
        if case == "repeated" and values.dtype.kind == "f":
            np.testing.assert_allclose(values, values[[0] * len(X)], rtol=1e-10)
        elif case == "repeated":
            np.testing.assert_array_equal(values, values[[0] * len(X)])
    if hasattr(net, "classes_"):
        found = net.predict_proba(X)
        found = found if isinstance(found, list) else [found]
        for probabilities in found[0].values() if named else found:
            assert np.isfinite(probabilities).all()
            assert ((probabilities >= 0) & (probabilities <= 1)).all()
            assert len(probabilities) == len(X)
        check_sums(net, X)
    assert np.isfinite(score_of(net, X, y, 1 if case == "single label" else len(X)))
    for row in net.history_:
        assert np.isfinite(list(row.values())).all()


def check_sums(net, X):
    names = [name for name, h in net.heads_.items() if isinstance(h, Classification)]
    for name in names:
        probabilities = net.output(name).predict_proba(X)
        assert probabilities.shape == (len(X), len(net.heads_[name].classes_))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def learn(net, method, X, y, case):
    """Fit and check; or be refused, by an error that names estimator and parameter."""
    try:
        getattr(net, method)(X, y)
    except ValueError as error:
        assert REFUSED.fullmatch(str(error))  # noqa: PT017 (most of these runs raise nothing)
        assert not hasattr(net, "module_")
        return False
    check_fitted(net, X, y, case)
    return True


# The grid.


@pytest.mark.parametrize("n_rows", SIZES)
@pytest.mark.parametrize("n_features", [1, 2, 1000])
@pytest.mark.parametrize("case", CASES)
def test_named_targets(n_rows, n_features, case):
    X, y = make_data(n_rows, n_features, case)
    net = make_net(heads={"tags": MultiLabel()}, missing_targets="ignore")
    assert learn(net, "fit", X, {name: y[name] for name in MIXED}, case)


@pytest.mark.parametrize("n_rows", SIZES)
@pytest.mark.parametrize("n_features", [1, 1000])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target", ["number", "kind"])
def test_an_array_of_numbers_or_classes(n_rows, n_features, case, target):
    X, y = make_data(n_rows, n_features, case)
    net = make_net(ESTIMATORS[target], missing_targets="ignore")
    assert learn(net, "fit", X, y[target], case)


@pytest.mark.parametrize("n_rows", FEW_SIZES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target", ["pair", "tags", "kinds"])
def test_a_matrix_of_numbers_or_classes(n_rows, case, target):
    X, y = make_data(n_rows, 2, case)
    net = make_net(ESTIMATORS[target], missing_targets="ignore")
    assert learn(net, "fit", X, y[target], case)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 10])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "plain"])
def test_other_parameters(n_rows, case, variant):
    X, y = make_data(n_rows, 2, case)
    y["pair"] = y["pair"].clip(-10, 10)  # raw losses of 1e200 have no square
    params = {"missing_targets": "ignore", **VARIANTS[variant]}
    net = make_net(heads={"tags": MultiLabel()}, **params)
    n_labels = 1 if case == "single label" else n_rows
    learned = learn(net, "fit", X, {name: y[name] for name in MIXED}, case)
    normalizes = getattr(params.get("trunk"), "normalization", None) == "batch"
    if n_labels > 2:
        assert learned
    elif "early_stopping" in params:
        assert learned == (n_labels == 2 and not normalizes)
    else:
        assert learned


@pytest.mark.parametrize("n_rows", FEW_SIZES)
@pytest.mark.parametrize("case", ["varied", "constant", "repeated"])
@pytest.mark.parametrize("variant", ["batch", "dropout", "raw losses"])
def test_a_first_piece_of_a_stream(n_rows, case, variant):
    X, y = make_data(n_rows, 2, case)
    net = make_net(**VARIANTS[variant], heads={"kind": Classification(classes=["a", "b", "c"])})
    y = {name: y[name] for name in MIXED}
    y["pair"] = y["pair"].clip(-1, 1)
    learned = learn(net, "partial_fit", X, y, "varied" if case == "constant" else case)
    assert learned == (variant != "batch" or n_rows > 1)
    if learned:
        net.partial_fit(-X, {name: labels[::-1] for name, labels in y.items()})
        check_fitted(net, X, y, "varied")


@pytest.mark.parametrize("n_rows", FEW_SIZES)
@pytest.mark.parametrize("target", ESTIMATORS)
@pytest.mark.parametrize("case", ["varied", "constant"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning:sklearn")
def test_a_first_piece_of_an_array(n_rows, target, case):
    X, y = make_data(n_rows, 2, case)
    net = make_net(ESTIMATORS[target])
    labels, classes = y[target], None
    columns = labels.reshape(n_rows, -1).T
    if target in ("kind", "kinds") and min(len(np.unique(column)) for column in columns) == 1:
        message = r"MultiOutputNetClassifier: output 'y\d?': a stream must have two classes"
        with pytest.raises(ValueError, match=message):
            net.partial_fit(X, labels)
        assert not hasattr(net, "module_")
        classes = ["a", "b", "c"] if target == "kind" else [["a", "b", "c"]] * 2
    for _ in range(2):
        net.partial_fit(X, labels, classes=classes)
    check_fitted(net, X, labels, "varied")
    assert net.n_iter_ == 2


# Constant targets.

EXTREME = [0.0, 0.1, -7.3, 1e200, -1.7e308, 5e-324, 1e-300, 3.0]


@pytest.mark.parametrize("value", EXTREME)
@pytest.mark.parametrize(
    ("loss", "dtype"),
    [("squared_error", "float32"), ("absolute_error", "float64"), ("huber", "float64")],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning:numpy")
def test_a_constant_number_is_predicted_exactly(value, loss, dtype):
    X, y = make_data(10, 2, "varied")
    y = {"varied": y["number"], "still": np.full(10, value)}
    weight = np.linspace(0, 1, 10)
    net = make_net(heads={"still": Regression(loss)}, dtype=dtype)
    assert net.fit(X, y, weight).predict(100 * X)["still"].tolist() == [value] * 10
    assert net.scores(X, y)["still"] == 1.0
    alone = MultiOutputNetRegressor(random_state=0).fit(X, y["still"])
    assert alone.predict(X).tolist() == [value] * 10


@pytest.mark.parametrize("value", EXTREME)
def test_a_constant_column_is_predicted_exactly(value):
    X, y = make_data(10, 2, "varied")
    pair = np.column_stack([np.full(10, value), y["number"]])
    predicted = make_net(MultiOutputNetRegressor).fit(X, pair).predict(X)
    assert predicted[:, 0].tolist() == [value] * 10
    assert len(np.unique(predicted[:, 1])) == 10


@pytest.mark.parametrize("labels", [np.zeros(5, int), np.ones(5, bool), np.full(5, "only")])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_single_class_is_certain(labels, class_weight):
    X, _ = make_data(5, 2, "varied")
    net = make_net(MultiOutputNetClassifier, class_weight=class_weight)
    net.fit(X, labels)
    np.testing.assert_array_equal(net.predict(X), labels)
    assert net.predict(X).dtype == labels.dtype
    assert net.predict_proba(X).tolist() == [[1.0]] * 5
    assert net.score(X, labels) == 1.0


@pytest.mark.parametrize("seen", ["a", "b", "c"])
def test_a_declared_class_that_is_the_only_one_seen_is_predicted(seen):
    X, _ = make_data(5, 2, "varied")
    head = Classification(classes=["a", "b", "c"])
    net = make_net(heads={"kind": head}).fit(X, {"kind": np.full(5, seen)})
    assert net.predict(X)["kind"].tolist() == [seen] * 5
    np.testing.assert_allclose(
        net.predict_proba(X)["kind"], [[float(name == seen) for name in "abc"]] * 5, atol=1e-300
    )


@pytest.mark.parametrize("column", [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
def test_a_constant_label_among_several_is_certain(column):
    X, _ = make_data(5, 2, "varied")
    tags = np.column_stack([column, [0, 1, 0, 1, 1]])
    net = make_net(MultiOutputNetClassifier).fit(X, tags)
    assert net.predict(X)[:, 0].tolist() == column
    assert net.predict_proba(X)[:, 0].tolist() == column


@pytest.mark.parametrize("early_stopping", [True, False])
def test_constant_targets_need_no_epoch(early_stopping):
    X, y = make_data(10, 2, "constant")
    y = {name: y[name] for name in MIXED}
    net = make_net(early_stopping=early_stopping).fit(X, y)
    assert net.history_ == []
    assert net.n_iter_ == net.best_epoch_ == 0
    assert net.score(X, y) == 1.0
    assert net.embed(X).shape == (10, 4)


# Repeated rows.


@pytest.mark.parametrize("variant", ["plain", "batch", "dropout", "raw losses"])
@pytest.mark.parametrize("n_copies", [2, 7])
def test_repeated_rows_get_the_same_predictions(variant, n_copies):
    X, y = make_data(5, 3, "varied")
    y = {name: y[name] for name in MIXED}
    rows = np.tile(np.arange(5), n_copies)
    net = make_net(**VARIANTS[variant])
    net.fit(X[rows], {name: labels[rows] for name, labels in y.items()})
    once, often = net.predict(X), net.predict(X[rows])
    sure, surely = net.predict_proba(X), net.predict_proba(X[rows])
    for name in ("number", "pair"):
        np.testing.assert_allclose(often[name], once[name][rows], rtol=1e-10)
    for name in ("kind", "tags"):
        np.testing.assert_array_equal(often[name], once[name][rows])
        np.testing.assert_allclose(surely[name], sure[name][rows], rtol=1e-10)


def test_rows_that_are_all_the_same_get_the_mean_and_the_shares():
    X = np.ones((6, 2))
    y = {"number": np.arange(6.0), "kind": np.array(list("aaaabb"))}
    net = MultiOutputNet(MLP(()), alpha=0, learning_rate=0.05, max_epochs=500, random_state=0)
    net.fit(X, y)
    np.testing.assert_allclose(net.predict(X)["number"], 2.5, rtol=1e-3)
    np.testing.assert_allclose(net.predict_proba(X)["kind"], [[2 / 3, 1 / 3]] * 6, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, -3.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_features_that_are_constant(value, variant):
    _, y = make_data(10, 2, "varied")
    X = np.full((10, 2), value)
    net = make_net(**VARIANTS[variant])
    assert learn(net, "fit", X, {name: y[name] for name in MIXED}, "repeated")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("shape", "turned"), [((1, 3), np.s_[::-1]), ((5, 1), np.s_[:, ::-1])], ids=["row", "column"]
)
def test_a_single_row_or_column_in_reverse_order(method, shape, turned):
    # numpy calls these arrays contiguous, although a stride is negative.
    X, y = make_data(*shape, "varied")
    a, b = (make_net(MultiOutputNetRegressor, normalize_losses=False) for _ in range(2))
    getattr(a, method)(X[turned], y["number"])
    getattr(b, method)(X, y["number"])
    np.testing.assert_array_equal(a.predict(X[turned]), b.predict(X))


# What is refused.


@pytest.mark.parametrize("cls", [MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier])
@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [(0, 2, r"0 sample\(s\).* required by {}\."), (5, 0, r"0 feature\(s\).* required by {}\.")],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_no_rows_and_no_features(cls, rows, columns, message, method):
    net = make_net(cls)
    with pytest.raises(ValueError, match=message.format(cls.__name__)):
        getattr(net, method)(np.ones((rows, columns)), np.arange(rows))
    assert not hasattr(net, "module_")


@pytest.mark.parametrize(
    ("labels", "params", "message"),
    [
        (np.full(5, np.nan), {}, "some label must be observed .* All 5 are missing"),
        (np.full(5, None), {}, "some label must be observed .* All 5 are missing"),
        ([1.0, None, None, None, None], {}, "the head cannot be told: .*Classification"),
        ([[1.5, np.nan]] * 5, {}, r"every column needs .* The columns \[1\] have none"),
        ([1.5] * 4 + [np.inf], {}, "Regression needs finite numbers"),
        (["a", "b", "c", "d", "e"], {"heads": {"bad": Regression()}}, "Regression needs numbers"),
        ([0, 1, 2, 0, 1], {"heads": {"bad": MultiLabel()}}, "MultiLabel needs a matrix"),
        (
            ["a", "a", "b", "b", "b"],
            {"heads": {"bad": Classification(class_weight={"a": 0, "b": 0})}},
            "`class_weight` leaves no label any weight",
        ),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_output_without_anything_to_learn_is_named(labels, params, message, method):
    X, y = make_data(5, 2, "varied")
    labels = np.array(labels, dtype=float) if None in labels else np.asarray(labels)
    net = make_net(missing_targets="ignore", **params)
    with pytest.raises(ValueError, match=rf"(?s)MultiOutputNet: output 'bad': .*{message}"):
        getattr(net, method)(X, {"number": y["number"], "bad": labels})
    assert not hasattr(net, "module_")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (make_net(early_stopping=True), "early stopping needs at least 2 rows .* early_stopping="),
        (
            make_net(trunk=MLP((4,), normalization="batch"), normalize_losses=False),
            "batch normalisation needs at least 2 rows .*`batch_size` 1; use normalization='layer'",
        ),
    ],
)
def test_a_single_row_is_refused_by_the_parameter_at_fault(net, message):
    with pytest.raises(ValueError, match=f"MultiOutputNet: {message}"):
        net.fit([[1.0]], {"number": [1.5]})


def test_batches_of_one_row_are_refused_by_batch_normalization():
    X, y = make_data(5, 2, "varied")
    net = make_net(trunk=MLP((4,), normalization="batch"), batch_size=1)
    with pytest.raises(ValueError, match="Got n_samples = 5 and `batch_size` 1; use norm"):
        net.fit(X, {"number": y["number"]})


def test_a_new_value_of_a_constant_output_is_shown_as_it_is():
    X, y = make_data(5, 2, "varied")
    net = make_net().fit(X, {"number": y["number"], "kind": np.zeros(5, dtype=int)})
    message = r"output 'kind': the target was constant, 0, .* Got 1; fit anew"
    with pytest.raises(ValueError, match=message):
        net.partial_fit(X, {"number": y["number"], "kind": np.ones(5, dtype=int)})


# Few labels and little weight.


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_outputs_may_have_no_row_in_common(n_rows):
    X, y = make_data(2 * n_rows, 2, "varied")
    first = np.arange(2 * n_rows) < n_rows
    y = {"left": np.where(first, y["number"], np.nan), "right": np.where(first, np.nan, X[:, 0])}
    net = make_net(missing_targets="ignore").fit(X, y)
    assert all(np.isfinite(values).all() for values in net.predict(X).values())
    assert np.isfinite(net.score(X, y))


@pytest.mark.parametrize("weight", [5e-324, 1e-300, 1.0, 1e308])
def test_the_weight_of_a_single_row_counts_as_one(weight):
    X, y = make_data(5, 2, "varied")
    y = {"number": y["number"], "kind": y["kind"]}
    sample_weight = np.zeros(5)
    sample_weight[3] = weight
    predicted = make_net().fit(X, y, sample_weight).predict(X)
    assert predicted["number"].tolist() == [y["number"][3]] * 5
    assert predicted["kind"].tolist() == [y["kind"][3]] * 5


@pytest.mark.parametrize("heavy", [1.0, 1e150, 1e300])
def test_rows_of_next_to_no_weight_beside_heavy_ones(heavy):
    X, y = make_data(10, 2, "varied")
    y = Targets({name: y[name] for name in MIXED})
    sample_weight = np.where(np.arange(10) < 5, heavy, 1e-300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = make_net().fit(X, y, sample_weight)
        check_fitted(net, X, y, "varied")
        assert np.isfinite(net.score(X, y, sample_weight))


def test_a_single_row_can_be_watched():
    X, y = make_data(10, 2, "varied")
    y = Targets({name: y[name] for name in MIXED})
    net = make_net().fit(X, y, X_val=X[:1], y_val=y[:1])
    assert np.isfinite([row["val_loss"] for row in net.history_]).all()
    assert 1 <= net.best_epoch_ <= 3
