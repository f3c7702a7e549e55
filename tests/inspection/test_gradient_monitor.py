"""What a callback records of gradients in each epoch of a fit."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Freezer

from mtlearn import Inputs, MultiOutputNet, MultiOutputNetRegressor, Targets
from mtlearn.heads import Regression
from mtlearn.inspection import GradientMonitor, gradient_report
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent
from mtlearn.weighting import Linear

X = np.random.default_rng(0).normal(size=(80, 4))
Y = Targets(
    {
        "price": X[:, 0],
        "size": np.where(np.arange(80) % 4 == 0, np.nan, X[:, 0] + X[:, 1]),
        "kind": np.where(X[:, 2] > 0, "a", "b"),
    }
)


def make_net(monitor=None, **params):
    return MultiOutputNet(
        MLP((6, 5)),
        loss_weights={"kind": 0.3},
        missing_targets="ignore",
        callbacks=None if monitor is None else [monitor],
        batch_size=20,
        max_epochs=4,
        random_state=0,
    ).set_params(**params)


@pytest.fixture(autouse=True)
def warnings_of_conflicts_are_expected():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="GradientMonitor")
        yield


def assert_last_epoch_is_as_reported(net, X, y):
    """Compare what was recorded of all rows in one batch with a report."""
    report = gradient_report(net, X, y, batch_size=len(y))
    arrays = {"norm": report.norms, "share": report.shares, "cosine": report.cosines}
    main = report.outputs.index(report.main_output)
    n_compared = 0
    for i, stage in enumerate(report.stages):
        for k, output in enumerate(report.outputs):
            for quantity, values in arrays.items():
                name = f"gradient__{quantity}__{output}__{stage}"
                is_there = report.reaches[i, k] and not np.isnan(values[i, k])
                if quantity == "cosine" and k == main:
                    is_there = False
                assert (name in net.history_[-1]) == is_there
                if is_there:
                    n_compared += 1
                    np.testing.assert_allclose(net.history_[-1][name], values[i, k], rtol=1e-6)
    assert n_compared > 3
    for output, cosine in zip(report.outputs, report.trunk_cosines, strict=True):
        name = f"gradient__cosine__{output}"
        if output != report.main_output and not np.isnan(cosine):
            np.testing.assert_allclose(net.history_[-1][name], cosine, rtol=1e-6)
            n_compared += 1


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"fast_step": False},
        {"dtype": "float32", "optimizer": "sgd"},
        {"loss_weights": {"size": Linear(1, 0.1, epochs=4)}},
        {"weighting": "uncertainty"},
        {"param_groups": {"trunk.0": {"lr": 0}}},
        {"heads": {"size": Regression(at="hidden_1")}},
        {"loss_weights": {"kind": 0}},
        {"trunk": MLP((6,), dropout=0.5, normalization="batch")},
    ],
    ids=str,
)
def test_the_last_epoch_is_what_a_report_says(params):
    net = make_net(GradientMonitor(), **{**params, "batch_size": 80}).fit(X, Y)
    assert_last_epoch_is_as_reported(net, X, Y)


@pytest.mark.parametrize("params", [{}, {"fast_step": False}, {"trunk": MLP((6,), dropout=0.3)}])
def test_training_is_the_same_with_it_bit_for_bit(params):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with_it = make_net(GradientMonitor(n_rows=30), **params).fit(X, Y)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002
    without = make_net(**params).fit(X, Y)
    ours, theirs = (net.module_.state_dict() for net in (with_it, without))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for row, plain in zip(with_it.history_, without.history_, strict=True):
        assert {name: row[name] for name in plain} == plain


def test_it_follows_a_network_with_several_inputs():
    ids = np.random.default_rng(1).integers(1, 9, size=(80, 3))
    rows = Inputs({"ids": ids, "numbers": X})
    trunk = Graph(
        [
            ("embed", Embedding(9, 4), "ids"),
            ("lstm", Recurrent(3), "embed"),
            ("dense", MLP((5,)), ["lstm", "numbers"]),
        ]
    )
    heads = {"size": Regression(at="lstm")}
    net = make_net(GradientMonitor(), trunk=trunk, heads=heads, batch_size=80).fit(rows, Y)
    assert_last_epoch_is_as_reported(net, rows, Y)
    assert "gradient__share__size__lstm" in net.history_[0]
    assert "gradient__share__size__dense" not in net.history_[0]


def test_networks_trained_side_by_side_have_their_own_records():
    net = make_net(GradientMonitor(), n_members=2, batch_size=80).fit(X, Y)
    for member in net.members_:
        assert_last_epoch_is_as_reported(member, X, Y)
    one, other = (member.history_[0]["gradient__cosine__size"] for member in net.members_)
    assert one != other
    assert net.history_[0]["gradient__cosine__size"] == pytest.approx((one + other) / 2)


def test_a_part_that_a_callback_freezes_has_no_record():
    callbacks = [Freezer("trunk.0.*"), GradientMonitor()]
    net = make_net(callbacks=callbacks).fit(X, Y)
    assert "gradient__norm__price__hidden_2" in net.history_[-1]
    assert "gradient__norm__price__hidden_1" not in net.history_[-1]


def test_the_record_survives_copies_and_pickling():
    net = clone(make_net(GradientMonitor())).fit(X, Y)
    again = pickle.loads(pickle.dumps(net))
    assert again.history_ == net.history_
    assert GradientMonitor.frame_of(again).equals(GradientMonitor.frame_of(net))
    search = GridSearchCV(make_net(GradientMonitor()), {"alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    assert "gradient__cosine__size" in search.best_estimator_.history_[-1]


def test_fits_with_the_same_callback_do_not_mix():
    monitor = GradientMonitor()
    first = make_net(monitor).fit(X, Y)
    cosines = [row["gradient__cosine__size"] for row in first.history_]
    make_net(monitor, random_state=1).fit(X, Y)
    assert [row["gradient__cosine__size"] for row in first.history_] == cosines
    assert vars(monitor) == vars(GradientMonitor())


def test_the_frame_has_a_row_for_each_epoch_stage_and_output():
    net = make_pipeline(StandardScaler(), make_net(GradientMonitor(n_rows=40))).fit(X, Y)
    frame = GradientMonitor.frame_of(net)
    history = net[-1].history_
    assert (
        frame.loc[(2, "hidden_1", "size"), "share"] == history[1]["gradient__share__size__hidden_1"]
    )
    assert frame.loc[(4, "(trunk)", "kind"), "cosine"] == history[3]["gradient__cosine__kind"]
    shares = frame["share"].drop(index="(trunk)", level="stage").groupby(["epoch", "stage"]).sum()
    assert len(shares) == 4 * 5
    assert (abs(shares - 1) < 0.7).all()  # the penalty has the rest
    rates = frame["conflict_rate"].dropna()
    assert {*rates * 2} <= {0.0, 1.0, 2.0}  # two batches of 20 rows


def test_epochs_can_be_left_out():
    net = make_net(GradientMonitor(every=3), max_epochs=7).fit(X, Y)
    recorded = ["gradient__cosine__size" in row for row in net.history_]
    assert recorded == [True, False, False, True, False, False, True]
    assert [*dict.fromkeys(GradientMonitor.frame_of(net).index.get_level_values(0))] == [1, 4, 7]
    again = pickle.loads(pickle.dumps(net))
    assert again.history_ == net.history_


def test_rows_are_drawn_under_a_seed():
    cosines = [
        make_net(GradientMonitor(n_rows=10, random_state=seed))
        .fit(X, Y)
        .history_[0]["gradient__cosine__kind"]
        for seed in (0, 0, 1)
    ]
    assert cosines[0] == cosines[1] != cosines[2]


def test_streams_have_a_record_for_each_piece():
    net = make_net(GradientMonitor())
    for part in (slice(0, 40), slice(40, 80)):
        net.partial_fit(X[part], Y[part])
    assert ["gradient__cosine__size" in row for row in net.history_] == [True, True]


class EqualHeads(Callback):
    """Gives both heads the same weights, so that neither target can turn its sign around."""

    needs_batches = False

    def on_train_begin(self, net, **kwargs):
        one, other = net.module_.heads
        other.load_state_dict(one.state_dict())


def fit_teachers(cosine, epochs=3, **params):
    """A net whose two targets compete for what its trunk computes."""
    y = {"main": X[:, 0], "aux": cosine * X[:, 0] + np.sqrt(1 - cosine**2) * X[:, 1]}
    return MultiOutputNet(
        MLP((6,)),
        callbacks=[EqualHeads(), GradientMonitor(**params)],
        param_groups={"main": {"lr": 0}, "aux": {"lr": 0}},
        max_epochs=epochs,
        random_state=0,
    ).fit(X, y)


def test_it_warns_of_negative_transfer_with_output_cosine_and_remedies():
    message = (
        r"GradientMonitor: 'aux' works against 'main' on the layers that they share: over 3 epochs "
        r"the mean cosine of their gradients is -0\.\d\d, with a standard error of 0\.\d\d\. "
        r".*`loss_weights`.*weighting='pcgrad'"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        net = fit_teachers(-0.9)
    mean = np.mean([row["gradient__cosine__aux"] for row in net.history_])
    assert mean < -0.5
    assert f"is {mean:.2f}," in str(caught[0].message)


def test_it_is_silent_about_targets_that_agree_and_where_it_is_told_to_be():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_teachers(0.9)
        fit_teachers(-0.9, warn_below=-1.0)


def warns(net, rows, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(rows, y)
    return any("GradientMonitor" in str(one.message) for one in caught)


def test_of_targets_that_are_noise_few_have_a_warning():
    found, means = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(100, 4))
        y = {"main": rows[:, 0] + 0.3 * rng.normal(size=100), "aux": rng.normal(size=100)}
        net = MultiOutputNet(
            MLP((8,)),
            callbacks=[GradientMonitor()],
            learning_rate=0.01,
            batch_size=25,
            max_epochs=20,
            random_state=seed,
        )
        found.append(warns(net, rows, y))
        means.append(np.mean([row["gradient__cosine__aux"] for row in net.history_]))
    assert np.mean(found) <= 0.1
    assert np.mean(np.array(means) < 0) > 0.3  # a negative mean alone says nothing


def test_of_targets_that_are_opposed_all_have_a_warning():
    for seed in range(10):
        net = MultiOutputNet(
            MLP((8,)),
            callbacks=[EqualHeads(), GradientMonitor()],
            param_groups={"main": {"lr": 0}, "aux": {"lr": 0}},
            max_epochs=10,
            random_state=seed,
        )
        assert warns(net, X, {"main": X[:, 0], "aux": -X[:, 0]})


def test_two_epochs_are_too_few_for_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = fit_teachers(-0.9, epochs=2)
    assert max(row["gradient__cosine__aux"] for row in net.history_) < -0.5
    with pytest.warns(UserWarning, match="GradientMonitor: 'aux' works against 'main'"):
        fit_teachers(-0.9, epochs=3)


def test_pieces_of_a_stream_have_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = MultiOutputNet(
            MLP((6,)),
            callbacks=[EqualHeads(), GradientMonitor()],
            param_groups={"main": {"lr": 0}, "aux": {"lr": 0}},
            random_state=0,
        )
        net.partial_fit(X, {"main": X[:, 0], "aux": -X[:, 0]})
    assert net.history_[0]["gradient__cosine__aux"] < -0.5


def test_the_output_to_compare_with_can_be_chosen():
    net = make_net(GradientMonitor(main_output="size")).fit(X, Y)
    assert {"gradient__cosine__price", "gradient__cosine__kind"} <= {*net.history_[0]}
    assert "gradient__cosine__size" not in net.history_[0]
    own = MultiOutputNetRegressor(MLP((4,)), callbacks=[GradientMonitor()], max_epochs=1)
    own.fit(X, X[:, 0], aux={"a": X[:, 1]})
    assert "gradient__cosine__a" in own.history_[0]


def test_the_table_of_epochs_stays_narrow(capsys):
    make_net(GradientMonitor(), verbose=1).fit(X, Y)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    assert "gradient__" not in printed


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"main_output": "prise"}, r"`main_output` names the unknown output 'prise'"),
        ({"n_rows": 0}, "GradientMonitor: `n_rows` must be an int of at least 1. Got 0"),
        ({"n_rows": 1.5}, r"GradientMonitor: `n_rows` must be an int of at least 1. Got 1\.5"),
        ({"every": 0}, "GradientMonitor: `every` must be an int of at least 1. Got 0"),
        ({"warn_below": "x"}, "GradientMonitor: `warn_below` must be a number from -1 to 1.*'x'"),
        ({"warn_below": -2}, "GradientMonitor: `warn_below` must be a number from -1 to 1. Got -2"),
        ({"warn_below": np.nan}, "GradientMonitor: `warn_below` must be a number .* Got nan"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make_net(GradientMonitor(**params)).fit(X, Y)


def test_without_a_record_the_frame_says_how_to_get_one():
    with pytest.raises(ValueError, match=r"callbacks=\[GradientMonitor\(\)\]"):
        GradientMonitor.frame_of(make_net().fit(X, Y))


def test_the_main_output_is_that_of_the_estimator():
    net = make_net(GradientMonitor(), main_output="size").fit(X, Y)
    assert "gradient__cosine__price" in net.history_[0]
    assert "gradient__cosine__size" not in net.history_[0]


def test_with_a_name_too_it_does_without_batches():
    plain = make_net(GradientMonitor()).fit(X, Y)
    named = make_net().set_params(callbacks={"gradients": GradientMonitor()}).fit(X, Y)
    assert named.history_ == plain.history_
    assert not named.net_.keep_batches
