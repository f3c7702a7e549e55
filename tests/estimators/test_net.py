"""MultiOutputNet takes and returns targets by name, and scores them."""

import multiprocessing

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from torch import nn

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N = 50


def make_data(n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, {
        "price": X[:, 0] + 0.1 * rng.normal(size=n),
        "kind": np.where(X[:, 1] + rng.normal(size=n) > 0, "flat", "house"),
    }


def make_net(**params):
    return MultiOutputNet(MLP((8,)), max_epochs=10, random_state=0).set_params(**params)


# What goes in comes out.


@pytest.mark.parametrize("form", [dict, Targets, pd.DataFrame, pl.DataFrame])
def test_targets_by_name_give_targets(form):
    X, y = make_data()
    net = make_net().fit(X, form(y))
    predicted, probabilities = net.predict(X), net.predict_proba(X)
    assert type(predicted) is type(probabilities) is Targets
    assert list(predicted) == net.output_names_ == ["price", "kind"]
    assert list(probabilities) == ["kind"]
    assert predicted["price"].shape == predicted["kind"].shape == (N,)
    assert probabilities["kind"].shape == (N, 2)
    np.testing.assert_array_equal(net.classes_["kind"], ["flat", "house"])
    assert list(net.classes_) == ["kind"]
    assert predicted == make_net().fit(X, Targets(y)).predict(X)
    assert net.score(X, form(y)) == net.score(X, y)


@pytest.mark.parametrize("form", [np.asarray, list, pd.Series])
def test_array_gives_an_array(form):
    X, y = make_data()
    numbers = make_net().fit(X, form(y["price"]))
    assert type(numbers.predict(X)) is np.ndarray
    assert numbers.predict(X).shape == (N,)
    assert numbers.output_names_ == ["y"]
    labels = make_net().fit(X, form(y["kind"]))
    assert labels.predict_proba(X).shape == (N, 2)
    np.testing.assert_array_equal(labels.classes_, ["flat", "house"])
    np.testing.assert_array_equal(labels.predict(X), make_net().fit(X, y["kind"]).predict(X))


def test_matrix_gives_a_matrix():
    X, y = make_data()
    pair = np.column_stack([y["price"], -y["price"]])
    assert make_net().fit(X, pair).predict(X).shape == (N, 2)
    assert make_net().fit(X, {"pair": pair}).predict(X)["pair"].shape == (N, 2)
    tags = (X[:, :3] > 0).astype(int)
    net = make_net().fit(X, {"tags": tags})
    assert net.predict(X)["tags"].dtype == tags.dtype
    assert net.predict_proba(X)["tags"].shape == net.predict(X)["tags"].shape == (N, 3)


def test_form_of_the_last_fit_decides():
    X, y = make_data()
    net = make_net().fit(X, y["price"]).fit(X, y)
    assert isinstance(net.predict(X), Targets)
    assert isinstance(net.fit(X, y["price"]).predict(X), np.ndarray)


def test_probabilities_are_of_the_classes_in_order_and_agree_with_predictions():
    X, y = make_data()
    y["grade"] = np.digitize(X[:, 2], [-0.5, 0.5])
    net = make_net(max_epochs=150).fit(X, y)
    for name, classes in net.classes_.items():
        probabilities = net.predict_proba(X)[name]
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
        np.testing.assert_array_equal(classes[probabilities.argmax(axis=1)], net.predict(X)[name])
    assert net.scores(X, y)["grade"] > 0.5


def test_declared_classes_keep_their_columns_and_order():
    X, y = make_data()
    classes = ["villa", "house", "flat"]
    heads = {"kind": Classification(classes=classes)}
    net = make_net(heads=heads, max_epochs=60, learning_rate=0.05).fit(X, y)
    np.testing.assert_array_equal(net.classes_["kind"], classes)
    probabilities = net.predict_proba(X)["kind"]
    assert probabilities.shape == (N, 3)
    assert probabilities.mean(axis=0).argmin() == 0  # the class that has no label


@pytest.mark.parametrize(
    "labels",
    [
        np.array([True, False]),
        np.array(["x", "y"], dtype=object),
        np.array([-1, 3]),
        np.array(["2020", "2021"]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_any_type_come_back_as_they_are(labels):
    X, _ = make_data()
    y = labels[(X[:, 0] > 0).astype(int)]
    net = make_net().fit(X, {"a": y})
    assert set(net.predict(X)["a"].tolist()) <= set(labels.tolist())
    np.testing.assert_array_equal(net.classes_["a"], np.sort(labels))
    assert type(net.predict(X)["a"].tolist()[0]) is type(labels.tolist()[0])


def test_without_classes_there_are_no_probabilities():
    X, y = make_data()
    numbers = make_net().fit(X, {"price": y["price"]})
    assert list(numbers.predict_proba(X)) == []
    assert not hasattr(numbers, "classes_")


def test_array_without_classes_has_no_probabilities():
    X, y = make_data()
    net = make_net().fit(X, y["price"])
    with pytest.raises((AttributeError, ValueError), match=r"MultiOutputNet: .*classes"):
        net.predict_proba(X)


def test_columns_of_a_frame_are_named_and_checked():
    X, y = make_data()
    frame = pd.DataFrame(X, columns=list("abcd"))
    net = make_net().fit(frame, y)
    assert list(net.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(frame[list("dcba")])


# Heads that are told from the targets.


@pytest.mark.parametrize(
    ("target", "head"),
    [
        (np.linspace(0, 1, N), Regression),
        (np.arange(N) % 4 * 1.0, Regression),
        (np.arange(N) % 3, Classification),
        (np.arange(N) % 2 == 0, Classification),
        (np.where(np.arange(N) % 2, "a", "b"), Classification),
        (np.arange(2 * N).reshape(N, 2) % 3 == 0, MultiLabel),
        ((np.arange(2 * N).reshape(N, 2) % 3 == 0).astype(int), MultiLabel),
        (np.arange(2.0 * N).reshape(N, 2), Regression),
    ],
)
def test_head_is_inferred_from_the_kind_of_target(target, head):
    X, _ = make_data()
    assert type(make_net(max_epochs=1).fit(X, {"a": target}).heads_["a"]) is head


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.arange(2 * N).reshape(N, 2), "output 'a': the head cannot be told: a matrix of type"),
        (np.where(np.arange(N) < 5, np.nan, np.arange(N) % 3), "output 'a': the head cannot be"),
        (np.full((N, 2), "x"), "output 'a': the head cannot be told: a matrix of type"),
        (
            np.full(N, np.datetime64("2020-01-01")),
            "output 'a': values of type datetime64.* have no head",
        ),
    ],
)
def test_target_that_may_be_several_things_asks_for_a_head(target, message):
    X, _ = make_data()
    with pytest.raises(ValueError, match=message):
        make_net(missing_targets="ignore").fit(X, {"a": target})


# Scores.


def test_scores_are_scikit_learns_by_name():
    X, y = make_data()
    net = make_net().fit(X, y)
    predicted, weight = net.predict(X), np.random.default_rng(1).uniform(0, 2, N)
    for sample_weight in (None, weight):
        expected = {
            "price": r2_score(y["price"], predicted["price"], sample_weight=sample_weight),
            "kind": accuracy_score(y["kind"], predicted["kind"], sample_weight=sample_weight),
        }
        assert net.scores(X, y, sample_weight) == pytest.approx(expected)
        assert net.score(X, y, sample_weight) == pytest.approx(np.mean(list(expected.values())))


def test_main_output_is_the_score():
    X, y = make_data()
    net = make_net().fit(X, y)
    assert net.scores(X, y)["price"] != pytest.approx(net.scores(X, y)["kind"])
    for name in y:
        assert net.set_params(main_output=name).score(X, y) == net.scores(X, y)[name]


def test_main_output_can_be_a_head_that_learns_another_target():
    X, y = make_data()
    heads = {"copy": Classification(target="kind")}
    net = make_net(heads=heads, main_output="copy").fit(X, y)
    assert net.score(X, y) == accuracy_score(y["kind"], net.predict(X)["copy"])


def test_unknown_main_output_is_refused():
    with pytest.raises(ValueError, match=r"`main_output` names the unknown output 'kid'.*'kind'"):
        make_net(main_output="kid").fit(*make_data())


def test_missing_labels_are_left_out_of_scores():
    X, y = make_data()
    price = np.where(np.arange(N) < 20, np.nan, y["price"])
    net = make_net(missing_targets="ignore").fit(X, {"price": price})
    expected = r2_score(y["price"][20:], net.predict(X)["price"][20:])
    assert net.score(X, {"price": price}) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"output 'price'.*NaN.* 20 of 50 labels"):
        net.set_params(missing_targets="raise").score(X, {"price": price})


def test_order_of_targets_changes_no_score():
    X, y = make_data()
    net = make_net().fit(X, y)
    assert net.scores(X, y) == net.scores(X, dict(reversed(y.items())))


# Bad input.


def spoil(values, value, rows=(1, 2)):
    values = values.copy()
    values[list(rows)] = value
    return values


X, Y = make_data()
BAD_FITS = {
    "wrong length of all": (X, {"price": Y["price"][:5]}, {}, "`y` must have as many rows as X"),
    "wrong length of one": (X, {**Y, "kind": Y["kind"][:7]}, {}, r"number of rows.*'kind': 7"),
    "no target": (X, {}, {}, "`y` must hold at least one target"),
    "y is None": (X, None, {}, "requires y to be passed, but the target y is None"),
    "zero rows": (X[:0], {"price": Y["price"][:0]}, {}, "Found array with 0 sample"),
    "NaN in X": (spoil(X, np.nan), Y, {}, "Input X contains NaN"),
    "infinity in X": (spoil(X, np.inf), Y, {}, "Input X contains infinity"),
    "X of one axis": (X[:, 0], Y, {}, "Expected 2D array, got 1D array"),
    "NaN in numbers": (
        X,
        {**Y, "price": spoil(Y["price"], np.nan)},
        {},
        "output 'price'.*NaN, None or NaT in 2 of 50 labels.*missing_targets='ignore'",
    ),
    "None in classes": (
        X,
        {**Y, "kind": spoil(Y["kind"].astype(object), None)},
        {},
        "output 'kind'.*in 2 of 50 labels",
    ),
    "infinity in numbers": (
        X,
        {**Y, "price": spoil(Y["price"], np.inf)},
        {"missing_targets": "ignore"},
        "output 'price': Regression needs finite numbers. Got infinity in 2 labels",
    ),
    "all labels missing": (
        X,
        {**Y, "price": np.full(N, np.nan)},
        {"missing_targets": "ignore"},
        "output 'price': some label must be observed.*All 50 are missing",
    ),
    "all classes missing": (
        X,
        {**Y, "kind": np.full(N, None)},
        {"missing_targets": "ignore"},
        "output 'kind': some label must be observed.*All 50 are missing",
    ),
    "unknown weight": (X, Y, {"loss_weights": {"prise": 1.0}}, "'prise'.*did you mean 'price'"),
    "unknown head": (X, Y, {"heads": {"knd": Regression()}}, "'knd'.*did you mean 'kind'"),
    "all weights zero": (
        X,
        Y,
        {"loss_weights": {"price": 0.0, "kind": 0}},
        "`loss_weights` must leave an output to learn",
    ),
    "name with underscores": (X, {"a__b": Y["price"]}, {}, "contain '__'.*'a__b'"),
    "name val": (X, {"val": Y["price"]}, {}, "be 'val'"),
    "number as name": (X, {3: Y["price"]}, {}, "output names must be strings. Got 3"),
    "target of three axes": (X, {"a": np.zeros((N, 2, 2))}, {}, r"shape \(50, 2, 2\)"),
    "labels for numbers": (X, Y, {"heads": {"kind": Regression()}}, "'kind': Regression needs num"),
}


@pytest.mark.parametrize(("X", "y", "params", "message"), BAD_FITS.values(), ids=BAD_FITS)
def test_bad_input_is_refused_by_fit(X, y, params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_net(**params).fit(X, y)


BAD_WEIGHTS = {
    "negative": (spoil(np.ones(N), -1.0), r"must not be negative. Got 2 negative"),
    "NaN": (spoil(np.ones(N), np.nan), "must be finite.*contains NaN"),
    "infinite": (spoil(np.ones(N), np.inf), "must be finite"),
    "all zero": (np.zeros(N), "must not be zero for all rows"),
    "too few": (np.ones(3), r"must have the shape \(50,\).*Got the shape \(3,\)"),
    "a column": (np.ones((N, 1)), r"must have the shape \(50,\).*Got the shape \(50, 1\)"),
}


@pytest.mark.parametrize(("weight", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_sample_weight_is_refused_by_fit_and_score(weight, message):
    net = make_net(max_epochs=1).fit(X, Y)
    for method in (net.fit, net.score):
        with pytest.raises(ValueError, match=rf"output '(price|kind)': .*{message}"):
            method(X, Y, weight)
        with pytest.raises(ValueError, match=rf"output 'kind': .*{message}"):
            method(X, Y, {"kind": weight})


def test_unknown_name_in_sample_weight_is_refused():
    message = r"`sample_weight` names the unknown output 'kin'.*did you mean 'kind'"
    with pytest.raises(ValueError, match=message):
        make_net().fit(X, Y, {"kin": np.ones(N)})


BAD_SCORES = {
    "unseen class": ({**Y, "kind": np.full(N, "villa")}, r"output 'kind': Every label.*'villa'"),
    "class of another type": ({**Y, "kind": np.zeros(N, int)}, "output 'kind': Every label must"),
    "missing output": ({"price": Y["price"]}, r"Missing: \['kind'\]"),
    "unknown output": ({**Y, "knd": Y["kind"]}, "unknown target 'knd'.*did you mean 'kind'"),
    "too few rows": ({name: y[:9] for name, y in Y.items()}, "`y` must have as many rows as X"),
    "NaN": ({**Y, "price": spoil(Y["price"], np.nan)}, "output 'price'.*NaN"),
    "an array": (Y["price"], "unknown target 'y'"),
    "None": (None, "requires y to be passed"),
}


@pytest.mark.parametrize(("y", "message"), BAD_SCORES.values(), ids=BAD_SCORES)
def test_bad_input_is_refused_by_score(y, message):
    net = make_net(max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        net.score(X, y)


@pytest.mark.parametrize(
    ("target", "scored"),
    [
        (Y["price"], np.column_stack([Y["price"], Y["price"]])),
        (np.column_stack([Y["price"], X[:, 2]]), Y["price"]),
        (np.column_stack([Y["price"], X[:, 2]]), X[:, :3]),
        (Y["kind"], np.column_stack([Y["kind"], Y["kind"]])),
        ((X[:, :3] > 0).astype(int), (X[:, :2] > 0).astype(int)),
    ],
    ids=["number, two", "two, number", "two, three", "label, two", "three tags, two"],
)
def test_target_of_other_columns_than_in_fit_is_refused_by_score(target, scored):
    net = make_net(max_epochs=1).fit(X, {"a": target})
    with pytest.raises(ValueError, match=r"output 'a': .*(shape|columns|label)"):
        net.score(X, {"a": scored})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, :2], "X has 2 features, but MultiOutputNet is expecting 4"),
        (spoil(X, np.nan), "Input X contains NaN"),
        (X[:0], "Found array with 0 sample"),
        (X[0], "Expected 2D array, got 1D array"),
    ],
)
def test_bad_rows_are_refused_by_predict(rows, message):
    net = make_net(max_epochs=1).fit(X, Y)
    for method in (net.predict, net.predict_proba):
        with pytest.raises(ValueError, match=message):
            method(rows)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_that_overflow_are_an_error_that_names_the_output(method):
    net = make_net(dtype="float32").fit(X, {"kind": Y["kind"]})
    with pytest.raises(ValueError, match=r"output 'kind': the predictions of \d+ of 50 rows"):
        getattr(net, method)(np.where(X > 0, 1e38, -1e38) * 3)


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.predict(X),
        lambda net: net.predict_proba(X),
        lambda net: net.score(X, Y),
        lambda net: net.scores(X, Y),
        lambda net: net.classes_,
        lambda net: net.net_,
    ],
    ids=["predict", "predict_proba", "score", "scores", "classes_", "net_"],
)
def test_unfitted_net_says_so(use):
    with pytest.raises(NotFittedError, match="This MultiOutputNet instance is not fitted yet"):
        use(make_net())


# Weights of rows.


@pytest.mark.parametrize("form", [dict, Targets])
def test_sample_weight_by_output_in_any_form(form):
    weight = {"price": np.linspace(0, 1, N), "kind": np.linspace(1, 0, N)}
    net = make_net().fit(X, Y, form(weight))
    assert net.predict(X) == make_net().fit(X, Y, weight).predict(X)
    assert net.scores(X, Y, form(weight)) == net.scores(X, Y, weight)
    assert net.predict(X) != make_net().fit(X, Y).predict(X)


def test_one_sample_weight_is_for_all_outputs():
    weight = np.linspace(0, 1, N)
    one, each = make_net().fit(X, Y, weight), make_net().fit(X, Y, dict.fromkeys(Y, weight))
    assert one.predict(X) == each.predict(X)


def test_rows_of_weight_zero_are_left_out():
    weight = (np.arange(N) < 30) * 1.0
    zero = make_net(batch_size=8).fit(X, Y, weight)
    fewer = make_net(batch_size=8).fit(X[:30], Targets(Y)[:30])
    assert zero.predict(X) == fewer.predict(X)


def test_the_default_type_of_torch_changes_nothing():
    rows = X.astype(np.float32)
    expected = make_net(max_epochs=2).fit(rows, Y).predict(rows)
    torch.set_default_dtype(torch.float64)
    try:
        found = make_net(max_epochs=2).fit(rows, Y).predict(rows)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == expected


@pytest.mark.parametrize("device", ["cpuu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match=f"`device` must be one .* Got '{device}'"):
        make_net(device=device).fit(X, Y)


def test_a_column_without_labels_is_refused():
    y = {"pair": np.column_stack([X[:, 0], np.full(len(X), np.nan)])}
    with pytest.raises(ValueError, match=r"output 'pair': every column .* columns \[1\]"):
        make_net(missing_targets="ignore").fit(X, y)


def test_a_target_that_no_head_learns_is_refused():
    with pytest.raises(ValueError, match=r"heads of \['price'\] have another `target`"):
        make_net(heads={"price": Classification(target="kind")}).fit(X, Y)


def test_an_array_with_a_second_head_is_predicted_by_name():
    heads = {"y": Regression(), "rough": Regression(loss="huber", target="y")}
    net = make_net(heads=heads, max_epochs=1).fit(X, X[:, 0])
    assert list(net.predict(X)) == ["y", "rough"]


def test_the_score_of_a_main_output_needs_labels_of_no_other():
    net = make_net(main_output="price", missing_targets="ignore", max_epochs=1).fit(X, Y)
    unknown = Targets({**Y, "kind": np.full(len(X), None)})
    assert net.score(X, unknown) == net.scores(X, Y)["price"]
    net.set_params(main_output="prise")
    with pytest.raises(ValueError, match="`main_output` names the unknown output 'prise'"):
        net.score(X, Y)


def test_constant_targets_need_no_network():
    y = {"constant": np.ones(len(X))}
    net = make_net(trunk=MLP(()), loss_weights=None, main_output=None).fit(X, y)
    assert net.predict(X)["constant"].tolist() == [1.0] * len(X)


def test_rows_in_reverse_order_are_predicted():
    net = make_net(max_epochs=1).fit(X[::-1], {"price": X[::-1, 0]})
    np.testing.assert_array_equal(net.predict(X[::-1])["price"], net.predict(X)["price"][::-1])
    assert net.predict(X[:, ::-1])["price"].shape == (len(X),)


def test_an_infinite_buffer_is_no_divergence():
    class Masked(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layer = nn.Linear(n_features, 3)
            self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

        def forward(self, x):
            return (self.layer(x) + self.mask).softmax(dim=1)

    net = make_net(trunk=Masked, max_epochs=1).fit(X, Y)
    assert np.isfinite(net.predict(X)["price"]).all()


@pytest.mark.parametrize(
    ("builder", "width"),
    [
        (lambda width=5: nn.LazyLinear(width), 5),
        (lambda n_features=7: nn.Linear(n_features, 6), 6),
        (lambda n: nn.Linear(n, 3), 3),
    ],
)
def test_a_builder_gets_the_number_of_features_if_it_wants_it(builder, width):
    net = make_net(trunk=builder, max_epochs=1).fit(X, Y)
    assert net.module_.heads[0][0].in_features == width


def test_a_builder_of_several_arguments_is_refused():
    with pytest.raises(TypeError, match=r"needs \['n_features', 'width'\]"):
        make_net(trunk=lambda n_features, width: nn.Linear(n_features, width)).fit(X, Y)


def test_an_interrupt_goes_to_the_caller_and_leaves_no_fit():
    class Interrupted(nn.Module):
        def forward(self, x):
            if self.training:
                raise KeyboardInterrupt("from the keyboard")
            return x

    net = make_net(trunk=Interrupted)
    with pytest.raises(KeyboardInterrupt, match="from the keyboard"):
        net.fit(X, Y)
    assert not net.__sklearn_is_fitted__()


def _predict_and_fit(net, queue):
    queue.put((net.predict(X[:5])["price"], net.fit(X, Y).predict(X[:5])["price"]))


def test_a_forked_child_does_not_hang_after_work_in_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        big = np.random.default_rng(0).normal(size=(20_000, 4))
        net = make_net(trunk=MLP((256,)), max_epochs=2).fit(X, Y)
        net.predict(big)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=_predict_and_fit, args=(net, queue))
        child.start()
        first, second = queue.get(timeout=60)
        child.join(timeout=60)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(first, net.predict(X[:5])["price"])
    np.testing.assert_array_equal(first, second)
