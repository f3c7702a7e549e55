"""skops saves fitted estimators without pickle: only types of mtlearn are left to be trusted."""

import functools

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP

pytestmark = pytest.mark.interop

N = 60
X = np.random.default_rng(0).normal(size=(N, 4))
PRICE, KIND = 10 + X[:, 0], np.where(X[:, 1] > 0, "flat", "house")
TAGS = (X[:, :3] > 0).astype(int)
Y = Targets({"price": PRICE, "kind": KIND})
net = functools.partial(MultiOutputNet, max_epochs=3, random_state=0)
regressor = functools.partial(MultiOutputNetRegressor, max_epochs=3, random_state=0)
classifier = functools.partial(MultiOutputNetClassifier, max_epochs=3, random_state=0)

FITS = {
    "numbers and classes": lambda: net().fit(X, Y),
    "labels": lambda: net().fit(X, {"tags": TAGS, "flags": TAGS.astype(bool)}),
    "classes of integers": lambda: net().fit(X, {"kind": TAGS.sum(axis=1)}),
    "classes of booleans": lambda: net().fit(X, {"kind": X[:, 0] > 0}),
    "pipeline": lambda: make_pipeline(StandardScaler(), net()).fit(X, Y),
    "regressor": lambda: regressor().fit(X, PRICE, aux=Y[["kind"]]),
    "columns": lambda: regressor().fit(X, X[:, :2]),
    "classifier": lambda: classifier().fit(X, KIND, aux=Y[["price"]]),
    "indicator matrix": lambda: classifier().fit(X, TAGS),
    "float32": lambda: net(dtype="float32").fit(X, Y),
    "weights in float32": lambda: net().fit(X.astype(np.float32), Y),
    "missing labels": lambda: net(missing_targets="ignore").fit(
        X, {**Y, "price": np.where(X[:, 2] > 1, np.nan, PRICE)}
    ),
    "every part": lambda: net(
        MLP((8, 4), dropout=0.1, normalization="batch"),
        {
            "price": Regression("huber", hidden_layer_sizes=(3,), transformer=PowerTransformer()),
            "kind": Classification(class_weight="balanced", label_smoothing=0.1),
        },
        loss_weights={"kind": 0.2},
        optimizer="sgd",
        optimizer_params={"momentum": 0.9},
        param_groups={"trunk": {"lr": 1e-4}},
        learning_rate_schedule="cosine",
        early_stopping=True,
    ).fit(X, Y),
    "output left out": lambda: net(loss_weights={"kind": 0.0}).fit(X, Y),
    "output dropped": lambda: net().fit(X, Y).drop_outputs(["kind"]),
    "view": lambda: net().fit(X, Y).output("kind"),
    "not fitted": lambda: net(),
}


@pytest.fixture(scope="module")
def sio():
    return pytest.importorskip("skops.io", reason="skops is absent")


def is_ours(name):
    return name.startswith("mtlearn.")


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_only_types_of_mtlearn_are_to_be_trusted(sio, fit):
    names = sio.get_untrusted_types(data=sio.dumps(fit()))
    assert names
    assert [name for name in names if not is_ours(name)] == []


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_the_loaded_estimator_predicts_the_same_bytes(sio, fit):
    fitted = fit()
    data = sio.dumps(fitted)
    loaded = sio.loads(data, trusted=list(filter(is_ours, sio.get_untrusted_types(data=data))))
    assert repr(loaded) == repr(fitted)
    for method in ("predict", "predict_proba"):
        if hasattr(fitted, "n_features_in_") and hasattr(fitted, method):
            assert np.all(getattr(loaded, method)(X) == getattr(fitted, method)(X))


def test_nothing_is_loaded_without_trust(sio):
    data = sio.dumps(FITS["pipeline"]())
    names = sio.get_untrusted_types(data=data)
    for missing in names:
        with pytest.raises(TypeError, match=missing.replace(".", r"\.")):
            sio.loads(data, trusted=[name for name in names if name != missing])


def test_a_file_keeps_the_history_and_can_be_fitted_again(sio, tmp_path):
    fitted = FITS["pipeline"]()
    path = tmp_path / "net.skops"
    sio.dump(fitted, path)
    loaded = sio.load(path, trusted=sio.get_untrusted_types(file=path))
    assert loaded[-1].history_ == fitted[-1].history_
    assert loaded.fit(X, Y).predict(X) == fitted.predict(X)


def test_a_stream_goes_on_from_a_file_bit_for_bit(sio):
    first, second = np.split(np.arange(N), 2)
    one = net(MLP((8,), dropout=0.2)).partial_fit(X[first], Y[first])
    data = sio.dumps(one)
    other = sio.loads(data, trusted=list(filter(is_ours, sio.get_untrusted_types(data=data))))
    for stream in (one, other):
        stream.partial_fit(X[second], Y[second])
    assert other.predict(X) == one.predict(X)
    assert other.history_ == one.history_


def test_a_search_needs_no_more_trust_than_one_of_scikit_learn(sio):
    def names(estimator, y):
        search = GridSearchCV(estimator, {"alpha": [0.0, 0.1]}, cv=2).fit(X, y)
        return set(sio.get_untrusted_types(data=sio.dumps(search)))

    assert {name for name in names(net(), Y) if not is_ours(name)} == names(Ridge(), PRICE)


def test_a_trunk_of_ones_own_is_to_be_trusted_by_its_name(sio):
    fitted = net(functools.partial(nn.Linear, out_features=3)).fit(X, Y)
    data = sio.dumps(fitted)
    names = sio.get_untrusted_types(data=data)
    foreign = {name for name in names if not is_ours(name)}
    assert foreign == {"functools.partial", "torch.nn.modules.linear.Linear"}
    assert sio.loads(data, trusted=names).predict(X) == fitted.predict(X)


def test_the_example_of_the_guide_runs(sio, run_example):
    names = run_example("skops")
    assert names["loaded"].predict(names["X"]) == names["net"].predict(names["X"])
