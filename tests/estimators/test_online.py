"""OnlineMultiOutputNet: one pass over rows whose features come and go."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import OnlineMultiOutputNet, Targets
from mtlearn.heads import Classification, Gaussian, MultiLabel, Quantile, Regression
from mtlearn.trunks import MLP, AuxDrop, AuxNet, Hedge
from mtlearn.weighting import Linear, MultiplicativeWeights


def make_stream(n_rows=300, n_features=5, p=0.7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    y = {
        "kind": np.where(X[:, 0] + 0.3 * rng.normal(size=n_rows) > 0, "b", "a"),
        "price": 100 + 20 * X[:, 1] - 5 * X[:, 0] + rng.normal(size=n_rows),
    }
    X[rng.random(X.shape) > p] = np.nan
    return X, y


def rows_of(y, rows):
    return {name: values[rows] for name, values in y.items()}


def learn(net, X, y, start=0, stop=None, step=1):
    for i in range(start, len(X) if stop is None else stop, step):
        rows = slice(i, i + step)
        net.partial_fit(X[rows], y[rows] if isinstance(y, np.ndarray) else rows_of(y, rows))
    return net


def test_it_learns_several_outputs_from_a_stream_with_absent_features():
    X, y = make_stream(1500, p=0.9)
    net = learn(OnlineMultiOutputNet(random_state=0), X, y, stop=1000, step=10)
    scores = net.scores(X[1000:], rows_of(y, slice(1000, None)))
    assert scores["kind"] > 0.8
    assert scores["price"] > 0.7
    assert net.n_rows_seen_ == 1000


def hedge_backpropagation(X, y, module, rate, beta, smoothing):
    """The probabilities before each row by the algorithm of Sahoo et al., a pass for each layer."""
    layers = [torch.nn.Parameter(layer.weight.detach().clone()) for layer in module.layers]
    biases = [torch.nn.Parameter(layer.bias.detach().clone()) for layer in module.layers]
    widths = [X.shape[1], *(len(bias) for bias in biases)]
    heads = [torch.nn.Parameter(torch.zeros(width + 1, dtype=torch.float64)) for width in widths]
    a = np.full(len(heads), 1 / len(heads))
    found = []
    for row, label in zip(X, y, strict=True):
        step = [torch.zeros_like(p) for p in [*layers, *biases, *heads]]
        losses, chances = [], []
        for depth, head in enumerate(heads):
            h = torch.tensor(row)
            for weight, bias in list(zip(layers, biases, strict=True))[:depth]:
                h = torch.relu(weight @ h + bias)
            logit = head[0] + head[1:] @ h
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logit, torch.tensor(float(label), dtype=torch.float64)
            )
            gradients = torch.autograd.grad(loss, [*layers, *biases, *heads], allow_unused=True)
            for total, gradient in zip(step, gradients, strict=True):
                if gradient is not None:
                    total += a[depth] * gradient
            losses.append(loss.item())
            chances.append(torch.sigmoid(logit).item())
        found.append(float(a @ chances))
        with torch.no_grad():
            for parameter, gradient in zip([*layers, *biases, *heads], step, strict=True):
                parameter -= rate * gradient
        a = a * beta ** np.minimum(losses, 1)
        a = np.maximum(a / a.sum(), smoothing / len(a))
        a /= a.sum()
    return np.array(found), a


def test_one_pass_equals_the_loop_of_hedge_backpropagation():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    trunk = Hedge((7,) * 6, masked=False)
    net = OnlineMultiOutputNet(
        trunk,
        scale=False,
        impute=False,
        expert_weighting=MultiplicativeWeights(rate=-np.log(0.9), floor=0.2, clip=1.0),
        expert_losses="weighted",
        second_order=False,
        normalize_losses=False,
        optimizer="sgd",
        random_state=0,
    )
    found = [0.5]
    net.partial_fit(X[:1], y[:1], classes=[0, 1])
    fresh = OnlineMultiOutputNet(**net.get_params(deep=False))
    fresh.partial_fit(np.full((1, 3), np.nan), y[:1], classes=[0, 1])  # a row that teaches nothing
    module = fresh.network_.module
    for i in range(1, len(X)):
        found.append(net.predict_proba(X[i : i + 1])[0, 1])
        net.partial_fit(X[i : i + 1], y[i : i + 1])
    expected, weights = hedge_backpropagation(X, y, module, 0.1, 0.9, 0.2)
    np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0)
    np.testing.assert_allclose(net.expert_weights_["y"], weights, atol=1e-10, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_second_order_heads_are_ridge_regression(batch_size):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    y = X @ [1.0, -2.0, 0.5] + 3 + 0.1 * rng.normal(size=50)
    net = OnlineMultiOutputNet(
        Hedge((), masked=False), scale=False, normalize_losses=False, batch_size=batch_size
    ).fit(X, y)
    Z = np.column_stack([np.ones(50), X])
    penalty = np.diag(1 / (2 * np.array([5, 10 / 3, 10 / 3, 10 / 3])))
    w = np.linalg.solve(Z.T @ Z + penalty, Z.T @ y)
    np.testing.assert_allclose(net.predict(X), Z @ w, rtol=1e-9)


def test_the_weight_of_a_row_is_that_many_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = X[:, 0] + rng.normal(size=40)
    weight = rng.integers(1, 4, size=40)
    trunk = Hedge((), masked=False)
    kept = {"scale": False, "normalize_losses": False, "batch_size": 200}
    weighted = OnlineMultiOutputNet(trunk, **kept).fit(X, y, weight / weight.mean())
    scaled = OnlineMultiOutputNet(trunk, **kept).fit(X, y, 1e-3 * weight)
    Z = np.column_stack([np.ones(40), X])
    share = weight / weight.mean()
    penalty = np.diag(1 / (2 * np.array([5, 5, 5])))
    w = np.linalg.solve(Z.T @ (share[:, None] * Z) + penalty, Z.T @ (share * y))
    np.testing.assert_allclose(weighted.predict(X), Z @ w, rtol=1e-8)
    np.testing.assert_allclose(scaled.predict(X), weighted.predict(X), rtol=1e-8)


def test_a_row_of_weight_zero_is_as_if_it_had_not_come():
    X, y = make_stream(60)
    more = np.concatenate([X, 100 * X])
    labels = {name: np.concatenate([values, values]) for name, values in y.items()}
    weight = np.repeat([1.0, 0.0], 60)
    plain = OnlineMultiOutputNet(random_state=0).fit(X, y)
    for given in (weight, {"kind": weight, "price": weight}):
        net = OnlineMultiOutputNet(random_state=0).fit(more, labels, given)
        np.testing.assert_array_equal(net.predict(X)["price"], plain.predict(X)["price"])


def test_heads_of_other_kinds_take_their_scale_from_the_whole_first_call():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = 100 + 20 * X[:, 0] + rng.normal(size=400)
    net = OnlineMultiOutputNet(heads={"y": Gaussian()}, random_state=0)
    assert net.partial_fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.5


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd"])
def test_a_pickle_in_mid_stream_goes_on_identically(second_order, optimizer):
    X, y = make_stream(120)
    net = OnlineMultiOutputNet(
        Hedge((8, 4)),
        second_order=second_order,
        optimizer=optimizer,
        learning_rate=0.01,
        random_state=0,
    )
    learn(net, X, y, stop=60)
    copy = pickle.loads(pickle.dumps(net))
    for one in (net, copy):
        learn(one, X, y, start=60)
    for name in y:
        np.testing.assert_array_equal(net.predict(X)[name], copy.predict(X)[name])
    np.testing.assert_array_equal(net.predict_proba(X)["kind"], copy.predict_proba(X)["kind"])


def test_a_pickle_holds_no_torch_object():
    X, y = make_stream(20)
    state = pickle.dumps(OnlineMultiOutputNet(random_state=0).fit(X, y).network_)
    assert b"torch._utils" not in state
    assert b"torch.nn" not in state


def test_columns_are_taken_by_name():
    X, y = make_stream(100)
    names = list("abcde")
    frame = pd.DataFrame(X, columns=names)
    plain = OnlineMultiOutputNet(random_state=0)
    shuffled = OnlineMultiOutputNet(random_state=0)
    dicts = OnlineMultiOutputNet(random_state=0)
    rng = np.random.default_rng(1)
    for i in range(100):
        row, labels = frame.iloc[[i]], rows_of(y, slice(i, i + 1))
        plain.partial_fit(row, labels)
        order = rng.permutation(names) if i else names
        there = [name for name in order if i == 0 or np.isfinite(row[name].iloc[0])]
        shuffled.partial_fit(row[there] if there else row, labels)
        dicts.partial_fit([row[there].iloc[0].to_dict() if there else {}], labels)
    expected = plain.predict(frame)
    np.testing.assert_array_equal(shuffled.predict(frame[names[::-1]])["price"], expected["price"])
    np.testing.assert_array_equal(dicts.predict(frame.to_dict("records"))["kind"], expected["kind"])
    assert plain.feature_names_in_.tolist() == names


def test_new_features_come_without_forgetting():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3))
    y = np.where(X[:, 0] + 2 * X[:, 2] > 0, 1, 0)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    net = OnlineMultiOutputNet(Hedge(masked=False), random_state=0)
    net.partial_fit(frame[["a", "b"]][:400], y[:400])
    known = frame[["a", "b"]][400:]
    other = pickle.loads(pickle.dumps(net)).partial_fit(frame[["a", "b"]][400:401], y[400:401])
    net.partial_fit(frame[400:401].assign(c=np.nan), y[400:401])
    assert net.n_features_in_ == 3
    np.testing.assert_allclose(net.predict_proba(known), other.predict_proba(known), atol=1e-9)
    alone = net.score(frame[600:], y[600:])
    net.partial_fit(frame[401:600], y[401:600])
    assert net.score(frame[600:], y[600:]) > alone + 0.1


@pytest.mark.parametrize("n_first", [2, 3])
def test_new_classes_come_without_forgetting(n_first):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 2))
    angle = np.arctan2(X[:, 0], X[:, 1])
    y = np.array(["d", "a", "c", "b"])[np.digitize(angle, [-1.5, 0, 1.5])]
    first = np.isin(y, ["d", "b", "c"][:n_first])
    net = OnlineMultiOutputNet(random_state=0).partial_fit(X[first][:300], y[first][:300])
    assert len(net.classes_) == n_first
    before = net.score(X[first], y[first])
    new = np.flatnonzero(~first)[0]
    net.partial_fit(X[new : new + 1], y[new : new + 1])
    assert len(net.classes_) == n_first + 1
    assert net.classes_.tolist() == sorted(net.classes_)
    assert net.predict_proba(X).shape == (900, n_first + 1)
    assert net.score(X[first], y[first]) > before - 0.05
    net.partial_fit(X[:600], y[:600])
    assert net.score(X[600:], y[600:]) > 0.8


def test_a_row_without_a_feature_is_predicted_by_the_best_constant():
    X, y = make_stream(200)
    net = OnlineMultiOutputNet(random_state=0).fit(X, y)
    empty = np.full((3, 5), np.nan)
    share = (y["kind"] == "b").sum()
    proba = net.predict_proba(empty)["kind"][:, 1]
    assert proba == pytest.approx((share + 1) / 202, abs=0.02)
    assert net.predict(empty)["price"] == pytest.approx(y["price"].mean(), abs=2.0)
    net.partial_fit(empty, rows_of(y, slice(0, 3)))
    assert net.n_rows_seen_ == 203


def test_a_stream_may_begin_without_a_feature():
    net = OnlineMultiOutputNet(random_state=0)
    for label in ("a", "b", "b"):
        net.learn_one({}, label)
    assert net.predict_one({"x": 1.0}) == "b"
    for i in range(40):
        net.learn_one({"x": float(i % 2)}, "ab"[i % 2])
    assert net.predict_one({"x": 0.0}) == "a"
    assert net.predict_one({"x": 1.0}) == "b"


def test_a_feature_that_never_comes_changes_nothing():
    X, y = make_stream(100)
    wide = np.column_stack([X, np.full(100, np.nan)])
    net = OnlineMultiOutputNet(Hedge((), masked=False), random_state=0).fit(X, y)
    other = OnlineMultiOutputNet(Hedge((), masked=False), random_state=0).fit(wide, y)
    assert np.isfinite(other.predict(wide)["price"]).all()
    assert np.corrcoef(net.predict(X)["price"], other.predict(wide)["price"])[0, 1] > 0.99


def test_missing_labels_of_one_output_leave_the_other_alone():
    X, y = make_stream(200)
    some = dict(y, kind=np.array(y["kind"], dtype=object))
    some["kind"][50:] = None
    net = OnlineMultiOutputNet(
        Hedge(()), heads={"kind": Classification()}, missing_targets="ignore", random_state=0
    )
    net.fit(X, some)
    alone = OnlineMultiOutputNet(Hedge(()), random_state=0).fit(X, {"price": y["price"]})
    np.testing.assert_array_equal(net.predict(X)["price"], alone.predict(X)["price"])
    assert net.network_.outputs["kind"].labels.n_labels == 50


def test_weight_zero_leaves_the_others_as_if_the_output_were_not_there():
    X, y = make_stream(100)
    net = OnlineMultiOutputNet(loss_weights={"kind": 0.0}, random_state=0).fit(X, y)
    alone = OnlineMultiOutputNet(random_state=0).fit(X, {"price": y["price"]})
    np.testing.assert_array_equal(net.predict(X)["price"], alone.predict(X)["price"])
    assert len(set(net.predict(X)["kind"])) == 1


def test_the_order_of_the_outputs_changes_nothing():
    X, y = make_stream(100)
    net = OnlineMultiOutputNet(random_state=0).fit(X, y)
    other = OnlineMultiOutputNet(random_state=0).fit(X, dict(reversed(y.items())))
    for name in y:
        np.testing.assert_array_equal(net.predict(X)[name], other.predict(X)[name])


def test_the_scale_of_a_number_does_not_matter():
    X, y = make_stream(200)
    one = OnlineMultiOutputNet(random_state=0).fit(X, y)
    other = OnlineMultiOutputNet(random_state=0).fit(X, dict(y, price=1e6 * y["price"]))
    np.testing.assert_allclose(1e6 * one.predict(X)["price"], other.predict(X)["price"], rtol=1e-6)
    np.testing.assert_allclose(
        one.predict_proba(X)["kind"], other.predict_proba(X)["kind"], rtol=1e-6
    )


@pytest.mark.parametrize(
    "head", [Quantile((0.1, 0.9)), Regression(loss="huber"), Regression(loss="absolute_error")]
)
def test_other_losses_learn_too(head):
    X, y = make_stream(600, p=1.0)
    net = OnlineMultiOutputNet(heads={"y": head}, random_state=0)
    net.partial_fit(X[:50], y["price"][:50]).partial_fit(X[50:], y["price"][50:])
    predicted = np.asarray(net.predict(X)).reshape(600, -1).mean(axis=1)
    assert np.corrcoef(predicted, y["price"])[0, 1] > 0.9


def test_several_columns_and_labels():
    X, y = make_stream(500, p=1.0)
    numbers = np.column_stack([y["price"], -3 * y["price"]])
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0])
    net = OnlineMultiOutputNet(heads={"labels": MultiLabel()}, random_state=0)
    net.fit(X, {"numbers": numbers, "labels": labels})
    assert net.predict(X)["numbers"].shape == (500, 2)
    assert (net.predict(X)["labels"] == labels).mean() > 0.9
    assert net.scores(X, {"numbers": numbers, "labels": labels})["numbers"] > 0.9


def test_other_trunks_have_heads_at_their_tensors():
    X, y = make_stream(100)
    net = OnlineMultiOutputNet(MLP((8,)), random_state=0).fit(X, y)
    assert net.expert_names_ == ["trunk"]
    frame = pd.DataFrame(X, columns=list("abcde"))
    net = OnlineMultiOutputNet(MLP((8,)), random_state=0).fit(frame, y)
    with pytest.raises(ValueError, match=r"MLP takes the features that it began with.*\['f'\]"):
        net.partial_fit(frame.assign(f=1.0), y)
    assert net.n_features_in_ == 5
    net.partial_fit(frame, y)


def test_forgetting_follows_a_stream_that_changes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = np.where((X[:, 0] > 0) ^ (np.arange(4000) >= 2000) ^ (rng.random(4000) < 0.1), 1, 0)
    scores = {}
    for forgetting in (1.0, 0.99):
        net = OnlineMultiOutputNet(Hedge(()), forgetting=forgetting, random_state=0)
        net.partial_fit(X[:2100], y[:2100])
        scores[forgetting] = net.score(X[2100:], y[2100:])
    assert scores[0.99] > scores[1.0] + 0.2


def test_absence_that_tells_something_is_learned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3))
    y = rng.integers(0, 2, 1500)
    X[(rng.random(1500) < 0.8) == (y == 1), 0] = np.nan
    net = OnlineMultiOutputNet(random_state=0).partial_fit(X[:1000], y[:1000])
    assert net.score(X[1000:], y[1000:]) > 0.75
    blind = OnlineMultiOutputNet(Hedge(masked=False), impute=False, random_state=0)
    assert blind.partial_fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) < 0.75


def test_balanced_decisions_find_the_rare_class():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 2))
    y = np.where(X[:, 0] + rng.normal(size=2000) > 2, "rare", "usual")
    plain = OnlineMultiOutputNet(random_state=0).fit(X, y)
    balanced = OnlineMultiOutputNet(balanced=True, random_state=0).fit(X, y)
    rare = y == "rare"
    assert (balanced.predict(X)[rare] == "rare").mean() > (plain.predict(X)[rare] == "rare").mean()
    np.testing.assert_array_equal(balanced.predict_proba(X), plain.predict_proba(X))


def test_one_row_at_a_time_as_dicts():
    X, y = make_stream(80)
    dicts = [{n: v for n, v in zip("abcde", row, strict=True) if np.isfinite(v)} for row in X]
    net = OnlineMultiOutputNet(random_state=0)
    assert net.predict_one(dicts[0]) is None
    assert net.predict_proba_one(dicts[0]) == {}
    for x, kind in zip(dicts, y["kind"].tolist(), strict=True):
        net.learn_one(x, kind)
    batch = OnlineMultiOutputNet(random_state=0)
    for i in range(80):
        batch.partial_fit(dicts[i : i + 1], y["kind"][i : i + 1])
    assert net.predict_one(dicts[3]) == batch.predict(dicts)[3]
    expected = dict(zip(["a", "b"], batch.predict_proba(dicts)[3].tolist(), strict=True))
    assert net.predict_proba_one(dicts[3]) == pytest.approx(expected, rel=1e-12)
    both = OnlineMultiOutputNet(random_state=0)
    for i, x in enumerate(dicts):
        both.learn_one(x, {"kind": y["kind"][i], "price": y["price"][i]})
    assert set(both.predict_one(dicts[0])) == {"kind", "price"}
    assert both.predict_proba_one(dicts[0]).keys() == {"kind"}


def test_it_works_in_pipelines_and_searches():
    X, y = make_stream(120, p=1.0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), OnlineMultiOutputNet(random_state=0)),
        {
            "onlinemultioutputnet__loss_weights__price": [0.0, 1.0],
            "onlinemultioutputnet__expert_weighting__rate": [0.1, 0.5],
        },
        cv=2,
    )
    search.fit(X, Targets(y))
    assert search.best_params_["onlinemultioutputnet__loss_weights__price"] == 1.0
    assert search.predict(X)["kind"].shape == (120,)


def test_fit_forgets_and_a_failed_call_learns_nothing():
    X, y = make_stream(60)
    net = OnlineMultiOutputNet(random_state=0).fit(X, y)
    expected = net.predict(X)
    np.testing.assert_array_equal(net.fit(X, y).predict(X)["price"], expected["price"])
    bad = X.copy()
    bad[3, 2] = np.inf
    for call in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="infinity"):
            call(bad, y)
        with pytest.raises(ValueError, match="price"):
            call(X, dict(y, price=np.where(np.arange(60) == 9, np.inf, y["price"])))
    np.testing.assert_array_equal(net.predict(X)["price"], expected["price"])
    assert net.n_rows_seen_ == 60


def test_bad_labels_are_named():
    X, y = make_stream(60)
    net = OnlineMultiOutputNet(random_state=0)
    net.partial_fit(X, y["kind"], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"one of the classes \['a', 'b'\].*'c'"):
        net.partial_fit(X[:1], np.array(["c"]))
    with pytest.raises(ValueError, match="must hold the targets of all outputs"):
        OnlineMultiOutputNet(random_state=0).fit(X, y).partial_fit(X, {"kind": y["kind"]})
    with pytest.raises(ValueError, match="NaN"):
        OnlineMultiOutputNet().fit(X, np.where(np.arange(60) == 3, np.nan, y["price"]))
    with pytest.raises(ValueError, match="as many rows as X, 60"):
        OnlineMultiOutputNet().fit(X, y["kind"][:10])
    mixed = OnlineMultiOutputNet(random_state=0).partial_fit(X, y["kind"])
    with pytest.raises(ValueError, match="one kind that can be sorted"):
        mixed.partial_fit(X[:2], np.array([1, 2]))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss_weights": {"pric": 1.0}}, "did you mean 'price'"),
        ({"main_output": "knd"}, "did you mean 'kind'"),
        ({"heads": {"kind": Classification(hidden_layer_sizes=(4,))}}, "`hidden_layer_sizes`"),
        ({"heads": {"kind": Classification(at="hidden_1")}}, "`at` of a head has no meaning"),
        ({"loss_weights": {"kind": Linear(1.0, 0.5, epochs=3)}}, "a stream has no epochs"),
        ({"forgetting": 0.0}, "'forgetting' parameter"),
        ({"optimizer": "adagrat"}, "did you mean 'adagrad'"),
        ({"trunk": Hedge((), linear=False, masked=False)}, "needs an expert"),
        ({"expert_weighting": MultiplicativeWeights(floor=2.0)}, "'floor' parameter"),
    ],
)
def test_bad_parameters_are_named(params, message):
    X, y = make_stream(20)
    with pytest.raises(ValueError, match=message):
        OnlineMultiOutputNet(**params).fit(X, y)


def test_an_output_without_labels_cannot_be_predicted():
    X, y = make_stream(20)
    none = {"kind": y["kind"], "price": np.full(20, np.nan)}
    net = OnlineMultiOutputNet(heads={"price": Regression()}, missing_targets="ignore")
    net.partial_fit(X, none)
    assert len(net.predict(X, ["kind"])["kind"]) == 20
    with pytest.raises(NotFittedError, match="'price' cannot be predicted before its first label"):
        net.predict(X)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        OnlineMultiOutputNet().predict(X)


def test_rows_keep_their_form():
    X, y = make_stream(20)
    net = OnlineMultiOutputNet(random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="must be an array as before"):
        net.predict(pd.DataFrame(X))
    with pytest.raises(ValueError, match="expecting 5 features"):
        net.predict(X[:, :3])
    with pytest.raises(TypeError, match=r"pass \[row\] for a row"):
        net.predict({"a": 1.0})
    frame = pd.DataFrame(X, columns=list("abcde"))
    named = OnlineMultiOutputNet(random_state=0).fit(frame, y)
    with pytest.raises(TypeError, match="must have names as before"):
        named.predict(X)
    with pytest.raises(TypeError, match="the feature 'a' of `X` must hold numbers"):
        named.predict(frame.assign(a="text"))
    with pytest.raises(ValueError, match="infinity in 1 values of 'b'"):
        named.partial_fit([{"b": np.inf}], {"kind": ["a"], "price": [1.0]})
    np.testing.assert_array_equal(
        named.predict(frame.assign(new=1.0))["kind"], named.predict(frame)["kind"]
    )


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize(
    "trunk", [AuxDrop((8, 8), aux_layer=2, n_units=16), AuxNet(2, base_layers=1, n_units=4)]
)
def test_the_trunks_for_auxiliary_features_take_new_ones(trunk, second_order):
    X, y = make_stream(300, n_features=4)
    names = list("abcd")
    net = OnlineMultiOutputNet(trunk, second_order=second_order, random_state=0)
    for n_features in (1, 3, 4):
        frame = pd.DataFrame(X[:, :n_features], columns=names[:n_features])
        net.partial_fit(frame[:100], rows_of(y, slice(0, 100)))
    assert net.n_features_in_ == 4
    assert all(len(w) == len(net.expert_names_) for w in net.expert_weights_.values())
    copy = pickle.loads(pickle.dumps(net))
    frame = pd.DataFrame(X, columns=names)
    for one in (net, copy):
        one.partial_fit(frame[100:], rows_of(y, slice(100, None)))
    np.testing.assert_array_equal(copy.predict(frame)["price"], net.predict(frame)["price"])
    assert net.score(frame, y) > 0.3
