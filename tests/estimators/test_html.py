"""What a notebook shows of an estimator."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, MultiOutputNetClassifier
from mtlearn.heads import Regression
from mtlearn.trunks import MLP

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
