"""The gradients of outputs at each stage, against torch's autograd by hand."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from mtlearn import (
    Inputs,
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    Targets,
)
from mtlearn.heads import Classification, Regression
from mtlearn.inspection import gradient_report
from mtlearn.trunks import MLP, PLE, Convolution, Embedding, Graph, MMoE, Pool, Recurrent
from mtlearn.weighting import Linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3))
KIND = np.array(["a", "b", "c"])[np.digitize(X[:, 1], [-0.8, 0.5])]
SIZE = X[:, 0] + 0.3 * RNG.normal(size=90)
PRICE = 5 + 2 * X[:, 0] - X[:, 2] + RNG.normal(size=90)
Y = Targets({"price": PRICE, "kind": KIND, "size": SIZE})
WEIGHTS = RNG.uniform(0.2, 2, size=90)
LOSS_WEIGHTS = {"price": 1.0, "kind": 0.4, "size": 0.7}
ALPHA = 0.01


def make_net(**params):
    given = {"loss_weights": LOSS_WEIGHTS, "alpha": ALPHA, "main_output": "price"} | params
    return MultiOutputNet(MLP((5, 4)), max_epochs=3, random_state=0).set_params(**given)


def rows_with_holes():
    size = np.where(np.arange(90) % 3 == 0, np.nan, SIZE)
    return Targets({"price": PRICE, "kind": KIND, "size": size})


def fit_with_all(**params):
    """A net with sample and class weights and missing labels, and its targets."""
    y = rows_with_holes()
    heads = {"kind": Classification(class_weight={"a": 3.0, "b": 1.0, "c": 0.5})}
    net = make_net(heads=heads, missing_targets="ignore", **params)
    return net.fit(X, y, sample_weight=WEIGHTS), y


def losses_of_rows(net):
    """Each row's part in the losses by the formulas of the documentation, on all training rows."""
    raw = net.module_(torch.tensor(X))
    found = {}
    for name, labels in (("price", PRICE), ("size", rows_with_holes()["size"])):
        weight = np.where(np.isnan(labels), 0, WEIGHTS)
        label = np.where(np.isnan(labels), 0, labels)
        mean = np.average(label, weights=weight)
        std = np.sqrt(np.average((label - mean) ** 2, weights=weight))
        error = raw[name].reshape(90) - torch.tensor((label - mean) / std)
        found[name] = error.square() * torch.tensor(weight / weight.mean())
    codes = np.searchsorted(["a", "b", "c"], KIND)
    weight = WEIGHTS * np.array([3.0, 1.0, 0.5])[codes]
    shares = np.bincount(codes, weight) / weight.sum()
    entropy = -(shares * np.log(shares)).sum()
    loss = nn.functional.cross_entropy(raw["kind"], torch.tensor(codes), reduction="none")
    found["kind"] = loss * torch.tensor(weight / weight.mean() / entropy)
    return found


def parameters_by_stage(net):
    trunk = list(net.module_.trunk.parameters())
    heads = dict(zip(net.module_.names, net.module_.heads, strict=True))
    parts = {"X": [], "hidden_1": trunk[:2], "hidden_2": trunk[2:]}
    return parts | {name: list(heads[name].parameters()) for name in Y}


def flat_gradient(value, parameters):
    if not parameters:
        return np.zeros(1)
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    zeros = [
        torch.zeros_like(p) if d is None else d for p, d in zip(parameters, found, strict=True)
    ]
    return torch.cat([d.flatten() for d in zeros]).numpy()


def gradients_by_hand(net, batches):
    """The gradients of each output and of the penalty, by stage and batch."""
    rows, stages = losses_of_rows(net), parameters_by_stage(net)
    penalty = ALPHA * sum(p.square().sum() for p in net.module_.parameters() if p.ndim > 1)
    return {
        stage: [
            {name: flat_gradient(rows[name][batch].mean(), parameters) for name in Y}
            | {"penalty": flat_gradient(penalty, parameters)}
            for batch in batches
        ]
        for stage, parameters in stages.items()
    }


@pytest.mark.parametrize("batch_size", [90, 40], ids=["all rows", "batches"])
def test_norms_cosines_and_shares_are_those_of_autograd_by_hand(batch_size):
    net, y = fit_with_all()
    report = gradient_report(net, X, y, WEIGHTS, batch_size=batch_size)
    batches = [slice(start, start + batch_size) for start in range(0, 90, batch_size)]
    sizes = np.array([len(X[batch]) for batch in batches]) / 90
    weights = np.array([LOSS_WEIGHTS[name] for name in Y])
    assert report.n_batches == len(batches)
    for i, (stage, by_batch) in enumerate(gradients_by_hand(net, batches).items()):
        assert report.stages[i] == stage
        own = np.array([[g[name] for name in Y] for g in by_batch])
        total = np.array([w @ g for w, g in zip([weights] * len(own), own, strict=True)])
        total += [g["penalty"] for g in by_batch]
        products = np.einsum("b,bkp,blp->kl", sizes, own, own)
        norms = np.sqrt(np.diag(products))
        np.testing.assert_allclose(report.unweighted_norms[i], norms, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(report.norms[i], weights * norms, rtol=1e-9, atol=1e-15)
        squares = np.einsum("b,bp,bp->", sizes, total, total)
        np.testing.assert_allclose(report.total_norms[i], np.sqrt(squares), rtol=1e-9)
        if stage == "X":
            continue
        shares = weights * np.einsum("b,bkp,bp->k", sizes, own, total) / squares
        np.testing.assert_allclose(report.shares[i], shares, rtol=1e-8, atol=1e-14)
        there = norms > 0
        if there[0]:
            cosines = products[0][there] / norms[there] / norms[0]
            np.testing.assert_allclose(report.cosines[i][there], cosines, rtol=1e-8)
            negative = (np.einsum("bkp,bp->bk", own, own[:, 0]) < 0).mean(axis=0)[there]
            np.testing.assert_allclose(report.conflict_rates[i][there], negative)


def test_shares_and_that_of_the_penalty_add_up_to_one_where_something_learns():
    report = gradient_report(make_net().fit(X, Y), X, Y)
    sums = report.shares.sum(axis=1) + report.penalty_shares
    np.testing.assert_allclose(sums[1:], 1)
    assert sums[0] == 0  # X


def test_the_cosine_on_the_trunk_is_that_of_all_its_shared_parameters():
    net, y = fit_with_all()
    report = gradient_report(net, X, y, WEIGHTS, batch_size=90)
    by_stage = gradients_by_hand(net, [slice(None)])
    trunk = {n: np.concatenate([by_stage[f"hidden_{i}"][0][n] for i in (1, 2)]) for n in Y}
    for name, cosine in zip(report.outputs, report.trunk_cosines, strict=True):
        product = trunk[name] @ trunk["price"]
        expected = product / np.linalg.norm(trunk[name]) / np.linalg.norm(trunk["price"])
        np.testing.assert_allclose(cosine, expected)


def test_labels_of_some_rows_weigh_what_they_do_in_the_fit():
    net, y = fit_with_all()
    part = slice(10, 50)
    report = gradient_report(net, X[part], y[part], WEIGHTS[part], batch_size=90)
    hand = gradients_by_hand(net, [part])["hidden_1"][0]
    expected = [np.linalg.norm(hand[name]) for name in Y]
    np.testing.assert_allclose(report.unweighted_norms[1], expected, rtol=1e-9)


def test_without_normalising_it_is_the_raw_loss():
    net = make_net(normalize_losses=False).fit(X, Y)
    raw = net.module_(torch.tensor(X))
    loss = (raw["size"].reshape(90) - torch.tensor(SIZE)).square().mean()
    gradient = flat_gradient(loss, parameters_by_stage(net)["hidden_2"])
    report = gradient_report(net, X, Y, batch_size=90)
    np.testing.assert_allclose(report.unweighted_norms[2, 2], np.linalg.norm(gradient))


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-12), ("float32", 1e-5)])
def test_the_sum_is_the_gradient_of_the_total(dtype, limit):
    report = gradient_report(make_net(dtype=dtype).fit(X, Y), X, Y)
    assert 0 <= report.total_error < limit


def test_a_row_of_random_order_is_in_another_batch():
    net = make_net(batch_size=30).fit(X, Y)
    plain, shuffled = (gradient_report(net, X, Y, random_state=seed) for seed in (None, 0))
    again = gradient_report(net, X, Y, random_state=0)
    assert plain.n_batches == shuffled.n_batches == 3
    assert not np.array_equal(plain.norms, shuffled.norms)
    np.testing.assert_array_equal(shuffled.norms, again.norms)


IDS = RNG.integers(1, 20, size=(60, 4))
TEXTS = Inputs({"main_input": IDS, "aux_input": RNG.normal(size=(60, 2))})
SPAM = Targets({"main_output": np.where(IDS[:, 0] > 9, "spam", "ham")})


def make_texts_net(**params):
    return MultiOutputNet(
        Graph(
            [
                ("embed", Embedding(20, 6), "main_input"),
                ("lstm", Recurrent(5), "embed"),
                ("dense", MLP((8, 8)), ["lstm", "aux_input"]),
            ]
        ),
        {
            "main_output": Classification(at="dense"),
            "aux_output": Classification(at="lstm", target="main_output"),
        },
        loss_weights={"aux_output": 0.2},
        main_output="main_output",
        max_epochs=2,
        random_state=0,
    ).set_params(**params)


def reached(report):
    """The outputs that reach each stage."""
    return {
        stage: {name for name, there in zip(report.outputs, row, strict=True) if there}
        for stage, row in zip(report.stages, report.reaches, strict=True)
    }


def assert_as_in_summary(net, report):
    frame = net.summary()
    assert report.stages == list(frame.index)
    trained = [set(text.split(", ")) - {"", "none"} for text in frame["trained_by"]]
    assert [*reached(report).values()] == trained
    unreached = ~report.reaches
    for numbers in (report.norms, report.unweighted_norms, report.shares):
        assert not numbers[unreached].any()
    assert np.isnan(report.cosines[unreached]).all()
    assert (report.unweighted_norms[report.reaches] > 0).all()


def test_an_output_at_the_lstm_reaches_what_is_below_it():
    net = make_texts_net().fit(TEXTS, SPAM)
    report = gradient_report(net, TEXTS, SPAM)
    assert_as_in_summary(net, report)
    assert reached(report)["lstm"] == {"main_output", "aux_output"}
    assert reached(report)["dense"] == {"main_output"}
    assert report.stages == [*TEXTS, "embed", "lstm", "dense", "main_output", "aux_output"]


def test_a_head_at_a_hidden_layer_reaches_none_behind_it():
    net = make_net(heads={"size": Regression(at="hidden_1")}).fit(X, Y)
    report = gradient_report(net, X, Y)
    assert_as_in_summary(net, report)
    assert reached(report)["hidden_1"] == {*Y}
    assert reached(report)["hidden_2"] == {"price", "kind"}


@pytest.mark.parametrize(
    "trunk", [MMoE(MLP((4,)), n_experts=2), PLE(MLP((4,)))], ids=["MMoE", "PLE"]
)
def test_the_gate_of_an_output_is_reached_by_it_alone(trunk):
    net = make_net(trunk=trunk).fit(X, Y)
    report = gradient_report(net, X, Y)
    assert_as_in_summary(net, report)
    gates = {stage: outputs for stage, outputs in reached(report).items() if "gates" in stage}
    assert {stage.rpartition(".")[2]: outputs for stage, outputs in gates.items()} == {
        name: {name} for name in Y
    }
    assert [*reached(report).values()].count({*Y}) == 2  # the shared experts


@pytest.mark.parametrize(
    "stages",
    [
        [("own", Convolution(4), "signal"), ("last", Pool(), "own")],
        [("own", Recurrent(4, cell="gru"), "signal"), ("last", MLP((3,)), "own")],
        [("own", Recurrent(4, cell="lstm"), "signal"), ("last", MLP((3,)), "own")],
    ],
    ids=["convolution", "gru", "lstm"],
)
def test_layers_on_sequences_have_the_gradients_of_autograd_by_hand(stages):
    rows = Inputs({"signal": RNG.normal(size=(90, 6, 3))})
    net = make_net(trunk=Graph(stages), alpha=0).fit(rows, Y)
    report = gradient_report(net, rows, Y, batch_size=90)
    raw = net.module_({"signal": torch.tensor(rows["signal"])})["size"].reshape(90)
    label = torch.tensor((SIZE - SIZE.mean()) / SIZE.std())
    parameters = list(net.module_.trunk.parameters())
    norm = np.linalg.norm(flat_gradient((raw - label).square().mean(), parameters))
    trunk = [report.stages.index(name) for name, *_ in stages]
    found = np.sqrt((report.unweighted_norms[trunk, 2] ** 2).sum())
    np.testing.assert_allclose(found, norm, rtol=1e-9)
    assert report.total_error < 1e-12


@pytest.mark.parametrize("weighting", ["log", "dwa", "random", "famo", "gradcosine", "pcgrad"])
def test_shares_are_those_of_the_last_weights_of_any_strategy(weighting):
    net = make_net(weighting=weighting).fit(X, Y)
    report = gradient_report(net, X, Y)
    last = [net.history_[-1][f"{name}_weight"] for name in Y]
    np.testing.assert_allclose(report.norms, report.unweighted_norms * last)
    assert report.total_error < 1e-12
    sums = report.shares.sum(axis=1) + report.penalty_shares
    np.testing.assert_allclose(sums[1:], 1)


def test_without_labels_of_one_output_the_others_are_measured():
    net, y = fit_with_all()
    none = Targets({**y, "size": np.full(90, np.nan)})
    report, other = (gradient_report(net, X, labels, WEIGHTS) for labels in (none, y))
    assert not report.norms[:, 2].any()
    assert np.isnan(report.trunk_cosines[2])
    np.testing.assert_allclose(report.norms[:, :2], other.norms[:, :2])
    assert "`size` reaches hidden_1, hidden_2 and its own head;" in report.explain()
    assert "cannot be compared with `price` there, as a gradient is 0" in report.explain()


def test_where_nothing_learns_all_is_0():
    net = make_net(param_groups={name: {"lr": 0} for name in ("trunk", "price", "kind")})
    net.fit(X, Y)
    report = gradient_report(net.drop_outputs(["size"]), X, Y[["price", "kind"]])
    assert not report.reaches.any()
    assert not report.norms.any()
    assert not report.shares.any()
    assert report.total_error == 0
    assert "`kind` reaches nothing that learns." in report.explain()


def test_an_output_of_weight_0_does_nothing():
    net = make_net(loss_weights={"kind": 0}).fit(X, Y)
    report = gradient_report(net, X, Y)
    assert not report.reaches[:, 1].any()
    assert not report.unweighted_norms[:, 1].any()
    assert "`kind` has no layers and trains nothing." in report.explain()
    without = gradient_report(
        make_net(loss_weights={}).fit(X, Y[["price", "size"]]), X, Y[["price", "size"]]
    )
    np.testing.assert_array_equal(report.norms[:3, [0, 2]], without.norms[:3])


def test_a_weight_that_changes_is_that_of_the_last_epoch():
    net = make_net(loss_weights={"kind": Linear(0.5, 0, epochs=2)}).fit(X, Y)
    assert net.history_[-1]["kind_weight"] == 0
    report = gradient_report(net, X, Y)
    np.testing.assert_array_equal(report.loss_weights, [1, 0, 1])
    assert not report.norms[:, 1].any()
    assert (report.unweighted_norms[report.reaches[:, 1], 1] > 0).all()
    assert "`kind` trains nothing with the weight 0." in report.explain()


def test_the_weights_of_a_strategy_are_those_of_the_last_epoch():
    net = make_net(weighting="uncertainty").fit(X, Y)
    weights = [net.history_[-1][f"{name}_weight"] for name in Y]
    report = gradient_report(net, X, Y)
    np.testing.assert_array_equal(report.loss_weights, weights)
    assert list(LOSS_WEIGHTS.values()) != weights


def test_a_frozen_stage_has_no_part_in_the_update():
    net = make_net(param_groups={"trunk.0": {"lr": 0}}).fit(X, Y)
    report = gradient_report(net, X, Y)
    assert_as_in_summary(net, report)
    assert reached(report)["hidden_1"] == set()
    assert report.total_norms[1] == report.penalty_shares[1] == 0
    whole = gradient_report(net.set_params(param_groups=None), X, Y)
    np.testing.assert_array_equal(report.norms[2], whole.norms[2])


def test_all_of_a_frozen_trunk_leaves_the_heads():
    net = make_net(param_groups={"trunk": {"lr": 0}}).fit(X, Y)
    report = gradient_report(net, X, Y)
    assert [stage for stage, names in reached(report).items() if names] == list(Y)
    assert np.isnan(report.trunk_cosines).all()
    assert (
        "`kind` reaches its own head, and shares no stage that learns with `price`."
        in report.explain()
    )


def test_what_stands_in_place_of_a_missing_label_changes_nothing():
    net, y = fit_with_all()
    weights = {"size": np.where(np.isnan(y["size"]), 0, WEIGHTS)}
    weights |= {"price": WEIGHTS, "kind": WEIGHTS}
    filled = Targets({**y, "size": np.where(np.isnan(y["size"]), 1e3, y["size"])})
    one, other = gradient_report(net, X, y, WEIGHTS), gradient_report(net, X, filled, weights)
    np.testing.assert_array_equal(one.norms, other.norms)


class EqualHeads(Callback):
    """Gives both heads the same weights, so that neither target can turn its sign around."""

    needs_batches = False

    def on_train_begin(self, net, **kwargs):
        one, other = net.module_.heads
        other.load_state_dict(one.state_dict())


def test_the_cosine_on_the_trunk_follows_the_relatedness_of_teachers():
    truth, found = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(200, 6))
        q = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
        for cosine in (-1, -0.5, 0, 0.5, 1):
            teacher = cosine * q[0] + np.sqrt(1 - cosine**2) * q[1]
            y = Targets({"main": rows @ q[0], "aux": rows @ teacher})
            net = MultiOutputNet(
                MLP((12,)),
                main_output="main",
                callbacks=[EqualHeads()],
                param_groups={"main": {"lr": 0}, "aux": {"lr": 0}},
                max_epochs=3,
                random_state=seed,
            ).fit(rows, y)
            truth.append(cosine)
            found.append(gradient_report(net, rows, y).trunk_cosines[1])
    assert spearmanr(truth, found).statistic >= 0.8
    assert np.mean(found[::5]) < -0.8 < 0.8 < np.mean(found[4::5])


def numbers_in(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_explain_says_what_the_arrays_say():
    net = make_texts_net().fit(TEXTS, SPAM)
    report = gradient_report(net, TEXTS, SPAM, batch_size=20)
    sentence, total = report.explain().split(". ", 1)
    assert sentence.startswith("`aux_output` reaches embed, lstm and its own head; with weight 0.2")
    lstm, aux = report.stages.index("lstm"), report.outputs.index("aux_output")
    shown = [0.2, 100 * report.shares[lstm, aux], report.cosines[lstm, aux]]
    shown += [100 * report.conflict_rates[lstm, aux], 3]
    digits = [0.2, round(shown[1]), round(shown[2], 2), round(shown[3]), 3]
    assert numbers_in(sentence.replace("`main_output`", "")) == pytest.approx(digits)
    assert f"difference {report.total_error:.0e}" in total


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (1.0, "agrees with `main` there (cosine 1.00)"),
        (-1.0, "works against `main` there (cosine -1.00)"),
    ],
)
def test_explain_tells_agreement_from_conflict(teacher, words):
    y = Targets({"main": SIZE, "aux": teacher * SIZE})
    net = MultiOutputNet(
        MLP((4,)),
        main_output="main",
        callbacks=[EqualHeads()],
        param_groups={"main": {"lr": 0}, "aux": {"lr": 0}},
        learning_rate=1e-9,
        max_epochs=1,
        random_state=0,
    ).fit(X, y)
    for parameter in net.module_.parameters():  # raw values of 0, so that errors are opposite
        parameter.data *= 1e-6 if parameter.ndim > 1 else 0
    assert words in gradient_report(net, X, y).explain()


def test_explain_of_one_output_and_of_many_stages():
    net = make_net(loss_weights=None).fit(X, Y[["price"]])
    alone = gradient_report(net, X, Y[["price"]])
    assert alone.explain().startswith("`price` is the only output")
    deep = make_net(trunk=MLP((3,) * 7), heads={"kind": Classification(at="hidden_6")}).fit(X, Y)
    text = gradient_report(deep, X, Y).explain()
    assert "`kind` reaches 6 of the trunk's 7 stages that learn and its own head;" in text
    assert "`size` reaches all 7 stages of the trunk that learn and its own head;" in text


def test_the_frame_has_a_row_for_each_stage_and_output():
    report = gradient_report(make_net().fit(X, Y), X, Y)
    frame = report.to_frame()
    assert frame.index.names == ["stage", "output"]
    table = frame["share"].unstack().loc[report.stages, report.outputs]
    np.testing.assert_array_equal(table, report.shares)
    np.testing.assert_array_equal(frame["norm"].to_numpy().reshape(6, 3), report.norms)
    first = frame.xs("kind", level="output")
    np.testing.assert_array_equal(first["penalty_share"], report.penalty_shares)


def test_a_report_can_be_pickled():
    report = gradient_report(make_net().fit(X, Y), X, Y)
    again = pickle.loads(pickle.dumps(report))
    assert repr(again) == repr(report)
    assert again.explain() == report.explain()
    np.testing.assert_array_equal(again.shares, report.shares)


def test_the_estimator_the_rows_and_the_generators_stay_as_they_are():
    net = make_net(trunk=MLP((5, 4), dropout=0.5, normalization="batch"), warm_start=True)
    net.fit(X, Y)
    rows = X.copy()
    state = pickle.dumps(net), np.random.get_state()[1].tolist()  # noqa: NPY002
    torch_state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    flags = [part.training for part in net.module_.modules()]
    gradients = [p.grad for p in net.module_.parameters()]
    values = [None if one is None else one.tolist() for one in gradients]
    gradient_report(net, rows, Y, random_state=0)
    assert (pickle.dumps(net), np.random.get_state()[1].tolist()) == state  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.get_num_threads() == n_threads
    assert [part.training for part in net.module_.modules()] == flags
    assert all(p.requires_grad for p in net.module_.parameters())
    after = [p.grad for p in net.module_.parameters()]
    assert all(one is other for one, other in zip(after, gradients, strict=True))
    assert [None if one is None else one.tolist() for one in after] == values
    np.testing.assert_array_equal(rows, X)


def test_dropout_is_off():
    net = make_net(trunk=MLP((5, 4), dropout=0.5)).fit(X, Y)
    one, other = gradient_report(net, X, Y), gradient_report(net, X, Y)
    np.testing.assert_array_equal(one.norms, other.norms)


def test_unpickled_it_has_the_same_gradients():
    net = make_net().fit(X, Y)
    one = gradient_report(net, X, Y)
    other = gradient_report(pickle.loads(pickle.dumps(net)), X, Y)
    np.testing.assert_array_equal(one.norms, other.norms)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: GridSearchCV(make_pipeline(StandardScaler(), net), {}, cv=2),
    ],
    ids=["pipeline", "search over a pipeline"],
)
def test_it_takes_what_ends_in_an_estimator(wrap):
    fitted = wrap(make_net()).fit(5 * X + 1, Y)
    plain = make_net().fit(StandardScaler().fit_transform(5 * X + 1), Y)
    report = gradient_report(fitted, 5 * X + 1, Y)
    expected = gradient_report(plain, StandardScaler().fit_transform(5 * X + 1), Y)
    np.testing.assert_array_equal(report.norms, expected.norms)


def test_of_several_members_it_is_the_first_and_says_so():
    net = make_net(n_members=2).fit(X, Y)
    report = gradient_report(net, X, Y)
    np.testing.assert_array_equal(report.norms, gradient_report(net.members_[0], X, Y).norms)
    assert report.n_members == 2
    assert report.explain().endswith("the first of 2 networks.")


def test_auxiliary_targets_are_given_as_in_fit():
    net = MultiOutputNetRegressor(MLP((4,)), max_epochs=1, random_state=0)
    net.fit(X, PRICE, aux=Y[["kind"]])
    report = gradient_report(net, X, PRICE, aux=Y[["kind"]])
    named = MultiOutputNet(MLP((4,)), max_epochs=1, random_state=0)
    y = Targets({"y": PRICE, "kind": KIND})
    np.testing.assert_array_equal(report.norms, gradient_report(named.fit(X, y), X, y).norms)
    assert report.main_output == "y"


def test_the_columns_of_a_classifier_are_outputs():
    y = np.column_stack([KIND, np.where(X[:, 0] > 0, "x", "z")])
    net = MultiOutputNetClassifier(MLP((4,)), max_epochs=1, random_state=0).fit(X, y)
    assert gradient_report(net, X, y).outputs == ["y0", "y1"]


def test_the_output_to_compare_with_can_be_chosen():
    net = make_net().fit(X, Y)
    report = gradient_report(net, X, Y, main_output="size")
    other = gradient_report(net, X, Y)
    assert report.main_output == "size"
    np.testing.assert_allclose(report.cosines[1:3, 2], 1)
    np.testing.assert_allclose(report.cosines[1:3, 0], other.cosines[1:3, 2])
    first = gradient_report(make_net(main_output=None).fit(X, Y), X, Y)
    assert first.main_output == "price"


def test_outputs_that_were_dropped_are_not_there():
    net = make_net().fit(X, Y)
    whole = gradient_report(net, X, Y)
    report = gradient_report(net.drop_outputs(["kind"]), X, Y[["price", "size"]])
    assert report.outputs == ["price", "size"]
    np.testing.assert_allclose(report.norms[:3], whole.norms[:3, [0, 2]])


def test_a_module_that_cannot_be_copied_is_no_obstacle():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            self.last = self.layer(x)
            return torch.relu(self.last)

    net = make_net(trunk=Keeps).fit(X, Y)
    net.module_(torch.tensor(X))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net.module_)
    assert reached(gradient_report(net, X, Y))["layer"] == {*Y}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"main_output": "prise"}, r"`main_output` names the unknown output 'prise'.*'price'\?"),
        ({"batch_size": 0}, "`batch_size` must be an int of at least 1. Got 0"),
        ({"aux": {"more": SIZE}}, "`aux` must be None"),
        ({"sample_weight": -WEIGHTS}, "`sample_weight` must not be negative"),
        ({"y": Y[["price"]]}, "must hold the targets of all outputs"),
    ],
)
def test_what_fit_would_refuse_is_refused(arguments, message):
    arguments = {"y": Y, **arguments}
    with pytest.raises(ValueError, match=message):
        gradient_report(make_net().fit(X, Y), X, **arguments)


def test_labels_must_have_the_columns_of_fit_and_some_must_be_there():
    net, y = fit_with_all()
    two = Targets({**y, "size": np.column_stack([SIZE, SIZE])})
    with pytest.raises(ValueError, match="output 'size': the labels must have the columns"):
        gradient_report(net, X, two)
    none = {"price": np.full(90, np.nan), "kind": np.full(90, None), "size": np.full(90, np.nan)}
    with pytest.raises(ValueError, match="gradient_report: the rows must have a label"):
        gradient_report(net, X, Targets(none))


def test_it_needs_a_fitted_estimator_of_mtlearn():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        gradient_report(make_net(), X, Y)
    with pytest.raises(TypeError, match="gradient_report: `net` must be a fitted estimator"):
        gradient_report(LinearRegression().fit(X, SIZE), X, Y)
