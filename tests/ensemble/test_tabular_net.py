import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils import estimator_html_repr

from mtlearn import Targets, tabular_net
from mtlearn.ensemble import Blend
from mtlearn.ensemble._tabular_net import (
    category_columns,
    few_number_columns,
    number_columns,
    rows_per_step,
)
from mtlearn.heads import Regression

N = 150


def make_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "income": rng.lognormal(size=N),
            "town": rng.choice(["a", "b", "c"], N),
            "member": rng.random(N) > 0.5,
            "gap": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
        }
    )
    frame.loc[::9, "town"] = None
    price = np.floor(frame["age"] / 10) + (frame["town"] == "a") + frame["gap"].isna()
    kind = np.where(frame["member"] & (frame["income"] > 0.5), "x", "y")
    return frame, Targets({"price": price.to_numpy(float), "kind": kind})


def quick(**params):
    net = tabular_net(random_state=0, **params)
    return net.set_params(values__net__max_epochs=3, bins__net__max_epochs=3)


def test_a_frame_with_categories_booleans_and_gaps_is_learned():
    frame, y = make_frame()
    net = tabular_net(random_state=0).fit(frame, y)
    scores = net.scores(frame, y)
    assert scores["price"] > 0.9
    assert scores["kind"] > 0.9
    assert net.predict(frame)["price"].shape == (N,)


def test_unseen_categories_and_new_gaps_are_predicted():
    frame, y = make_frame()
    net = quick().fit(frame, y)
    new = frame.head(3).assign(town=["elsewhere", None, "a"], income=[np.nan, 1e9, -1e9])
    assert np.isfinite(net.predict(new)["price"]).all()


def test_columns_are_numbers_or_categories_by_their_type():
    frame, _ = make_frame()
    frame["date"] = pd.Categorical(["x"] * N)
    assert number_columns(frame) == ["age", "income", "gap"]
    assert category_columns(frame) == ["town", "member", "date"]
    assert number_columns(np.zeros((2, 3))) == [0, 1, 2]
    assert category_columns(np.zeros((2, 3))) == []


def test_frames_of_polars_are_taken():
    pl = pytest.importorskip("polars")
    frame, y = make_frame()
    frame = pl.from_pandas(frame.assign(town=frame["town"].fillna("none")))
    assert set(number_columns(frame)) == {"age", "income", "gap"}
    assert np.isfinite(quick().fit(frame, y).predict(frame)["price"]).all()


def test_many_columns_of_numbers_have_no_bins_but_other_members():
    X = np.random.default_rng(0).normal(size=(60, 81))
    assert few_number_columns(X[:, :80]) == list(range(80))
    assert few_number_columns(X) == []
    net = quick().fit(X, Targets({"y": X[:, 0]}))
    widths = [one[:-1].transform(X).shape[1] for one in net.estimators_]
    assert widths == [81, 81]
    first, second = (one.predict(X)["y"] for one in net.estimators_)
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(1, 16), (49, 16), (337, 32), (768, 64), (3000, 256), (10**6, 256)]
)
def test_a_step_takes_about_a_twelfth_of_the_rows(n_rows, expected):
    assert rows_per_step(n_rows) == expected


def test_it_is_better_than_a_forest_on_smooth_data():
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    net = tabular_net(random_state=0).fit(X, Targets({"y": y}))
    forest = RandomForestRegressor(random_state=0).fit(X, y)
    assert net.score(X_test, {"y": y_test}) > forest.score(X_test, y_test)


def test_fast_has_no_members_on_all_rows():
    frame, y = make_frame()
    slow, fast = quick().fit(frame, y), quick(fast=True).fit(frame, y)
    assert [len(one[-1].members_) for one in slow.estimators_] == [8, 8]
    assert [len(one[-1].members_) for one in fast.estimators_] == [4, 4]


def test_what_is_said_of_outputs_reaches_both_networks():
    frame, y = make_frame()
    price = np.where(np.arange(N) < 5, np.nan, y["price"])
    y = Targets({**y, "price": price})
    net = quick(
        heads={"price": Regression("huber")},
        loss_weights={"kind": 0.1},
        main_output="price",
        missing_targets="ignore",
    ).fit(frame, y)
    for one in net.estimators_:
        assert one[-1].heads_["price"].loss == "huber"
        assert one[-1].loss_weights_ == {"price": 1.0, "kind": 0.1}
    assert net.score(frame, y) == net.scores(frame, y)["price"]


def test_every_step_is_seen_searched_and_copied():
    frame, y = make_frame()
    net = quick()
    assert isinstance(net, Blend)
    html = estimator_html_repr(net)
    for part in ("SimpleImputer", "SmoothClip", "PiecewiseLinear", "OneHotEncoder", "MLP"):
        assert part in html
    search = GridSearchCV(net, {"bins__columns__bins__bins__n_bins": [2, 8]}, cv=2)
    search.fit(frame, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    fitted = search.best_estimator_
    assert pickle.loads(pickle.dumps(fitted)).predict(frame) == fitted.predict(frame)


def test_the_same_seed_makes_the_same_predictions():
    frame, y = make_frame()
    assert quick().fit(frame, y).predict(frame) == quick().fit(frame, y).predict(frame)
