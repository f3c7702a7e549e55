"""What a notebook shows of an estimator."""

import re
from html import unescape

import numpy as np
import pytest
from sklearn import __version__, config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP
from mtlearn.weighting import Linear

SKLEARN = tuple(int(number) for number in __version__.split(".")[:2])
X = np.random.default_rng(0).normal(size=(40, 3))
Y = {"<price>": X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house"), "tags": (X > 0) * 1}


def make_net(**params):
    return MultiOutputNet(MLP((4,)), max_epochs=2, random_state=0).set_params(**params)


def test_fitted_estimator_shows_scikit_learns_diagram_and_its_outputs():
    net = make_net(heads={"<price>": Regression("huber")}, loss_weights={"kind": 0.25}).fit(X, Y)
    html = net._repr_html_()
    assert "sk-top-container" in html
    table = html[html.index("<table><caption>Outputs") :]
    assert "<td>&lt;price&gt;</td><td>Regression(loss=&#x27;huber&#x27;)</td>" in table
    assert "<td>2 classes: flat, house</td><td>0.25</td>" in table
    assert "<td>3 classes: 0, 1, 2</td>" in table
    assert f"<td>{net.history_[-1]['kind_loss']:.3g}</td>" in table
    assert "validation" not in table
    assert net._repr_mimebundle_()["text/html"].endswith(table)


def test_validation_losses_have_a_column():
    net = make_net().fit(X, Y, X_val=X, y_val=Y)
    assert f"<td>{net.history_[-1]['val_kind_loss']:.3g}</td></tr>" in net._repr_html_()


def test_many_classes_are_cut_short():
    html = MultiOutputNetClassifier(max_epochs=1).fit(X, np.arange(40) % 9)._repr_html_()
    assert "<td>9 classes: 0, 1, 2, 3, 4, 5, ...</td>" in html


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: make_pipeline(StandardScaler(), net)]
)
def test_unfitted_estimator_and_pipeline_show_the_diagram(wrap):
    html = wrap(make_net())._repr_html_()
    assert "hidden_layer_sizes" in html
    assert "Outputs" not in html


def test_text_is_shown_where_it_is_asked_for():
    with config_context(display="text"):
        net = make_net().fit(X, Y)
        assert not hasattr(net, "_repr_html_")
        assert list(net._repr_mimebundle_()) == ["text/plain"]


def cells_of(html):
    """Return, by the names in scikit-learn's tables, the tooltip and the value beside it."""
    cells = re.findall(
        r'<td class="param"(?: title="([^"]*)")?>(?:<a [^>]*>)?([^<]*)<.*?<td[^>]*>([^<]*)</td>',
        html,
        flags=re.DOTALL,
    )
    return {unescape(name).strip(): (unescape(docs), value) for docs, name, value in cells}


needs_tables = pytest.mark.skipif(
    SKLEARN < (1, 9), reason="this scikit-learn has no tables of all of these"
)


@needs_tables
def test_parameters_and_fitted_attributes_have_their_docs():
    heads = {"<price>": Regression("huber", transformer=MinMaxScaler(clip=True))}
    net = make_net(heads=heads, loss_weights={"kind": 0.25}).fit(X, Y)
    cells = cells_of(net._repr_html_())
    attributes = [name for name in vars(net) if name.endswith("_") and not name.startswith("_")]
    assert set(cells) >= {*net.get_params(), *attributes, "net_", "classes_"}
    assert all(docs for docs, _ in cells.values())
    for name, start in {
        "alpha": "alpha : float, default=2e-3 The L2 penalty: `alpha` times the sum",
        "n_iter_": "n_iter_ : int The number of epochs",
        "trunk__dropout": "dropout : float, default=0.0 The share of units set to zero",
        "heads__<price>": "heads : dict of str to Head, default=None How each output is learned",
        "heads__<price>__delta": 'delta : float, default=1.0 Where ``"huber"`` changes',
        "heads__<price>__transformer__clip": "clip : bool, default=False Set to True to clip",
        "loss_weights__kind": "loss_weights : dict of str to (float or callable), default=None The",
    }.items():
        assert cells[name][0].startswith(start)


@needs_tables
@pytest.mark.parametrize("is_fitted", [False, True])
def test_parts_and_their_parameters_are_in_the_table(is_fitted):
    net = make_net(trunk__dropout=0.2, heads={"kind": Classification(label_smoothing=0.1)})
    cells = cells_of((net.fit(X, Y) if is_fitted else net)._repr_html_())
    assert cells["trunk__dropout"][1] == "0.2"
    assert cells["trunk__hidden_layer_sizes"][1] == "(4,)"
    assert cells["heads__kind__label_smoothing"][1] == "0.1"
    assert cells["max_epochs"][1] == "2"
    assert ("n_iter_" in cells) is is_fitted
    assert cells.get("n_features_in_", ("", ""))[1] == ("int" if is_fitted else "")


@needs_tables
def test_parts_that_stand_for_none_have_docs_too():
    cells = cells_of(MultiOutputNetClassifier()._repr_html_())
    assert cells["trunk"][1] == "None"
    assert cells["trunk__dropout"][0].startswith("dropout : float, default=0.0 The share")
    assert cells["class_weight"][0].startswith("class_weight : ")


@needs_tables
def test_a_parameter_without_docs_is_left_as_scikit_learn_shows_it():
    class Mine(MultiOutputNet):
        """No word of its parameters."""

    cells = cells_of(Mine(MLP((4,)))._repr_html_())
    assert cells["alpha"] == ("", "0.002")
    assert cells["trunk__dropout"][0].startswith("dropout : float")


def test_weights_that_change_are_shown_as_schedules():
    weights = {"<price>": Linear(0.3, epochs=4), "kind": lambda epoch: 1.0 / (1 + epoch)}
    html = make_net(loss_weights=weights).fit(X, Y)._outputs_html()
    assert "<td>Linear(epochs=4, start=0.3)</td>" in html
    assert "<td>&lt;lambda&gt;</td>" in html
