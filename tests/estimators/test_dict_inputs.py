"""Several inputs: a dict X goes where a table goes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import model_selection as sk
from sklearn.base import clone
from torch import nn

from mtlearn import (
    Inputs,
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.heads import Classification, Regression
from mtlearn.model_selection import GridSearchCV, StackedGridSearchCV, cross_val_score

N, N_IDS = 90, 30
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, N_IDS, (N, 6))
EXTRA = RNG.normal(size=(N, 3))
X = {"main_input": IDS, "aux_input": EXTRA}
KIND = np.where((IDS == 7).any(axis=1) | (EXTRA[:, 0] > 0.5), "spam", "ham")
Y = {"main_output": KIND, "aux_output": KIND, "length": EXTRA[:, 1] + 0.1 * IDS[:, 0]}


class GuideNet(nn.Module):
    """Ids through an LSTM, which has an output of its own, then a merge with numbers."""

    def __init__(self, n_features):
        super().__init__()
        assert n_features["main_input"] == (6,)
        (n_extra,) = n_features["aux_input"]
        self.embed, self.lstm = nn.Embedding(N_IDS, 5), nn.LSTM(5, 4, batch_first=True)
        self.dense = nn.Linear(4 + n_extra, 8)

    def forward(self, x):
        assert x["main_input"].dtype == torch.int64
        _, (h, _) = self.lstm(self.embed(x["main_input"]))
        merged = torch.cat([h[-1], x["aux_input"]], 1)
        return {"lstm": h[-1], "dense": self.dense(merged).relu()}


HEADS = {
    "main_output": Classification(at="dense"),
    "aux_output": Classification(at="lstm"),
    "length": Regression(at="dense"),
}
NET = MultiOutputNet(
    trunk=GuideNet,
    heads=HEADS,
    loss_weights={"aux_output": 0.2},
    main_output="main_output",
    max_epochs=4,
    batch_size=16,
    early_stopping=False,
    random_state=0,
)


def by_hand(n_epochs):
    """Train the same network by torch alone, on one batch an epoch."""
    net = clone(NET).set_params(max_epochs=1, batch_size=N, learning_rate=1e-30).fit(X, Y)
    module, lr = net.module_.train(), 0.01
    optimizer = torch.optim.Adam(module.parameters(), lr)
    x = {"main_input": torch.tensor(IDS), "aux_input": torch.tensor(EXTRA)}
    labels = torch.tensor(KIND == "spam").double()
    length = torch.tensor((Y["length"] - Y["length"].mean()) / Y["length"].std())
    share = labels.mean()
    entropy = -(share * share.log() + (1 - share) * (1 - share).log())
    for _ in range(n_epochs):
        optimizer.zero_grad()
        raw = module(x)
        bce = nn.functional.binary_cross_entropy_with_logits
        loss = bce(raw["main_output"], labels) / entropy + (raw["length"] - length).square().mean()
        (loss + 0.2 * bce(raw["aux_output"], labels) / entropy).backward()
        optimizer.step()
    return module.eval()(x)["length"].detach().numpy() * Y["length"].std() + Y["length"].mean()


def test_a_dict_trains_as_by_hand():
    net = clone(NET).set_params(max_epochs=10, batch_size=N, learning_rate=0.01, alpha=0.0)
    found = net.fit(X, Y).predict(X)["length"]
    np.testing.assert_allclose(found, by_hand(10), rtol=1e-6)


def test_steps_by_formula_and_by_autograd_agree():
    fits = [clone(NET).set_params(fast_step=fast).fit(X, Y) for fast in ("auto", False)]
    for row, other in zip(*(net.history_ for net in fits), strict=True):
        assert row == pytest.approx(other, rel=1e-9)
    assert [net.fast_step_ for net in fits] == [True, False]


def test_a_frame_is_an_input_with_columns():
    frame = pd.DataFrame(EXTRA, columns=["a", "b", "c"])
    net = clone(NET).fit({**X, "aux_input": frame}, Y)
    expected = clone(NET).fit(X, Y)
    assert net.predict(X) == expected.predict(X)
    with pytest.raises(ValueError, match=r"input 'aux_input': the columns must be those of fit"):
        net.predict({**X, "aux_input": frame[["b", "a", "c"]]})


def test_integers_of_a_frame_are_numbers():
    counts = pd.DataFrame({"words": IDS[:, 0], "digits": IDS[:, 1], "flag": IDS[:, 2] > 9})
    net = clone(NET).fit({**X, "aux_input": counts}, Y)
    expected = clone(NET).fit({**X, "aux_input": counts.to_numpy().astype(float)}, Y)
    assert net.predict({**X, "aux_input": counts}) == expected.predict(
        {**X, "aux_input": counts.to_numpy().astype(float)}
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_the_floats_is_that_of_the_network(dtype):
    net = clone(NET).fit({**X, "aux_input": EXTRA.astype(dtype)}, Y)
    assert {str(p.dtype) for p in net.module_.parameters()} == {f"torch.{np.dtype(dtype)}"}


def test_the_order_of_the_inputs_does_not_matter():
    swapped = {"aux_input": EXTRA, "main_input": IDS}
    assert clone(NET).fit(swapped, Y).predict(X) == clone(NET).fit(X, Y).predict(swapped)


def test_inputs_go_through_scikit_learns_tools():
    inputs, targets = Inputs(X), Targets(Y)
    parts = sk.train_test_split(inputs, targets, test_size=0.3, random_state=0)
    net = clone(NET).fit(parts[0], parts[2])
    assert len(net.predict(parts[1])) == len(parts[3]) == 27
    search = sk.GridSearchCV(NET, {"loss_weights__aux_output": [0.0, 0.2]}, cv=3)
    search.fit(inputs, targets)
    rows = [test for _, test in sk.KFold(3).split(IDS)]
    scores = [
        clone(NET)
        .fit(inputs[np.setdiff1d(np.arange(N), r)], targets[np.setdiff1d(np.arange(N), r)])
        .score(inputs[r], targets[r])
        for r in rows
    ]
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(np.mean(scores))
    found = sk.cross_val_predict(NET, inputs, targets, cv=3)
    assert list(found) == list(Y)


@pytest.mark.parametrize("kind", [GridSearchCV, StackedGridSearchCV])
def test_searches_take_a_plain_dict(kind):
    search = kind(NET, {"loss_weights__aux_output": [0.1, 0.2]}, cv=3).fit(X, Y)
    assert len(search.predict(X)) == N
    assert cross_val_score(NET, X, Y, cv=3).shape == (3,)


def test_pickles_and_streams_go_on():
    net = clone(NET).partial_fit(X, Y)
    again = pickle.loads(pickle.dumps(net))
    assert again.predict(X) == net.predict(X)
    assert again.partial_fit(X, Y).predict(X) == net.partial_fit(X, Y).predict(X)


def test_validation_rows_and_held_out_rows():
    held = clone(NET).set_params(early_stopping=True, max_epochs=8).fit(X, Y)
    assert "val_loss" in held.history_[0]
    given = clone(NET).fit(X, Y, X_val=X, y_val=Y)
    assert "val_length_loss" in given.history_[0]


def test_missing_labels_leave_rows_out():
    y = Y | {"length": np.full(N, np.nan)}
    y["main_output"] = np.where(np.arange(N) < 60, KIND, None)
    y["aux_output"] = y["main_output"]
    params = {"missing_targets": "ignore", "max_epochs": 2, "heads": HEADS}
    net = (
        clone(NET)
        .set_params(**params, loss_weights__length=0.0)
        .fit(X, y | {"length": Y["length"]})
    )
    some = {name: part[:60] for name, part in X.items()}
    labels = {name: part[:60] for name, part in (y | {"length": Y["length"]}).items()}
    expected = clone(NET).set_params(**params, loss_weights__length=0.0).fit(some, labels)
    assert net.predict(X, ["main_output"]) == expected.predict(X, ["main_output"])


def test_parts_and_views():
    net = clone(NET).fit(X, Y)
    assert net.embed(X, at="lstm").shape == (N, 4)
    assert net.output("length").predict(X).shape == (N,)
    dropped = net.drop_outputs(["aux_output"])
    assert dropped.predict(X) == net.predict(X, ["main_output", "length"])


def test_the_typed_estimators_take_inputs_too():
    def trunk(n_features):
        return Merged(GuideNet(n_features))

    classifier = MultiOutputNetClassifier(trunk, max_epochs=2, random_state=0).fit(X, KIND)
    assert classifier.predict_proba(X).shape == (N, 2)
    regressor = MultiOutputNetRegressor(trunk, max_epochs=2, random_state=0)
    assert regressor.fit(X, Y["length"], aux={"kind": KIND}).predict(X).shape == (N,)


class Merged(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["dense"]


BAD = {
    "an input is missing": (
        {"main_input": IDS},
        ValueError,
        r"must have all inputs of fit. Missing are \['aux_input'\]",
    ),
    "a name is wrong": (
        {"main_input": IDS, "aux_inputs": EXTRA},
        ValueError,
        r"unknown input 'aux_inputs'.* \(did you mean 'aux_input'\?\)",
    ),
    "too few columns": (
        X | {"aux_input": EXTRA[:, :2]},
        ValueError,
        r"input 'aux_input': a row must have the shape of fit, \(3,\)",
    ),
    "another number of axes": (
        X | {"aux_input": EXTRA[:, :, None]},
        ValueError,
        "input 'aux_input': a row must have the shape of fit",
    ),
    "floats for ids": (
        X | {"main_input": IDS / 2},
        ValueError,
        "input 'main_input': the values must be integers",
    ),
    "not finite": (
        X | {"aux_input": np.where(EXTRA > 2, np.nan, EXTRA)},
        ValueError,
        "input 'aux_input': values must be finite",
    ),
    "strings": (
        X | {"main_input": IDS.astype(str)},
        TypeError,
        "input 'main_input': an input must hold numbers",
    ),
    "sequences of several lengths": (
        X | {"main_input": [list(row[: 1 + i % 5]) for i, row in enumerate(IDS)]},
        TypeError,
        "input 'main_input': an input must hold numbers",
    ),
    "rows differ": (X | {"aux_input": EXTRA[:5]}, ValueError, "must have the same number of rows"),
    "no rows": ({n: part[:0] for n, part in X.items()}, ValueError, "`X` must have a row"),
    "a table": (EXTRA, TypeError, "`X` must be a dict of the inputs of fit"),
    "dates": (
        X | {"aux_input": pd.DataFrame({"d": pd.date_range("2026", periods=N)})},
        TypeError,
        "dates, times or durations",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_are_named(case):
    bad, error, match = BAD[case]
    net = clone(NET).fit(X, Y)
    before = pickle.dumps(net)
    with pytest.raises(error, match=match):
        net.predict(bad)
    assert pickle.dumps(net) == before


def test_a_dict_after_a_table_is_named_and_refits_are_free():
    net = MultiOutputNet(max_epochs=1).fit(EXTRA, Y)
    with pytest.raises(TypeError, match="must be a table of 3 columns, as in fit"):
        net.predict(X)
    net.set_params(trunk=GuideNet, heads=HEADS).fit(X, Y)
    assert not hasattr(net, "n_features_in_")
    net.set_params(trunk=None, heads=None).fit(EXTRA, Y)
    assert net.n_features_in_ == 3


def test_a_trunk_for_a_table_says_so():
    with pytest.raises(TypeError, match=r"MLP takes one table. Got the inputs \['main_input'"):
        MultiOutputNet().fit(X, Y)


def test_a_module_that_fails_names_the_shapes():
    class Wrong(nn.Module):
        def forward(self, x):
            return x["aux_input"] @ torch.zeros(5, 2, dtype=torch.float64)

    with pytest.raises(ValueError, match=r"must take a dict of \[\('main_input', \(6,\)\)"):
        MultiOutputNet(trunk=Wrong).fit(X, Y)
