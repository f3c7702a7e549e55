import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
    Targets,
)
from mtlearn._version import VERSION
from mtlearn.deployment import model_card
from mtlearn.ensemble import Blend
from mtlearn.heads import Classification, Gaussian, Regression
from mtlearn.trunks import MLP, Embedding, Graph, Pool
from mtlearn.weighting import Uncertainty

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = {
    "price": 1000 + 200 * X[:, 0],
    "kind": np.where(X[:, 1] > 0, "flat", "house"),
    "tags": (X > 0).astype(int),
}


def net(**params):
    return MultiOutputNet(MLP((8,)), **{"max_epochs": 3, "random_state": 0, **params})


def section(page, title):
    """The text under a heading."""
    found = re.search(rf"^## {title}\n\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def table(text):
    """The cells of a table by the first one of each row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def test_it_tells_what_each_output_is():
    fitted = net(loss_weights={"kind": 0.25}).fit(X, Y)
    outputs = table(section(model_card(fitted), "Outputs"))
    assert list(outputs) == ["price", "kind", "tags"]
    assert outputs["kind"]["predicts"] == "2 classes: flat, house"
    assert outputs["kind"]["loss weight"] == "0.25"
    assert outputs["tags"]["predicts"] == "3 labels of 0 and 1"
    center, scale = Y["price"].mean(), Y["price"].std()
    assert outputs["price"]["predicts"] == f"numbers, centre {center:.4g}, scale {scale:.4g}"


def test_the_scores_are_those_of_the_rows_that_are_given():
    fitted = net(max_epochs=30).fit(X, Y)
    new = RNG.normal(size=(20, 3))
    labels = {"price": 1000 + 200 * new[:, 0], "kind": np.where(new[:, 1] > 0, "flat", "house")}
    labels["tags"] = (new > 0).astype(int)
    scores = section(model_card(fitted, new, labels), "Scores")
    assert "On 20 rows" in scores
    expected = {name: f"{score:.4f}" for name, score in fitted.scores(new, labels).items()}
    assert {name: row["score"] for name, row in table(scores).items()} == expected
    assert model_card(fitted, new, Targets(labels)) == model_card(fitted, new, labels)
    assert "## Scores" not in model_card(fitted)


def test_the_losses_are_those_of_the_epoch_whose_weights_are_kept():
    noise = np.random.default_rng(1).normal(size=N)
    fitted = net(early_stopping=True, max_epochs=40, learning_rate=0.05)
    fitted = fitted.fit(X, {"price": noise, "kind": Y["kind"]})
    assert fitted.best_epoch_ < fitted.n_iter_
    losses = table(section(model_card(fitted), "Losses"))
    kept = fitted.history_[fitted.best_epoch_ - 1]
    assert losses["price"]["training"] == f"{kept['price_loss']:.4g}"
    assert losses["kind"]["validation"] == f"{kept['val_kind_loss']:.4g}"
    assert losses["in all"]["validation"] == f"{kept['val_loss']:.4g}"


def test_the_losses_of_members_are_means_each_of_the_epoch_that_it_keeps():
    noise = np.random.default_rng(1).normal(size=N)
    fitted = net(early_stopping=True, max_epochs=40, learning_rate=0.05, n_members=3)
    fitted = fitted.fit(X, {"price": noise})
    kept = [one.history_[one.best_epoch_ - 1]["val_price_loss"] for one in fitted.members_]
    losses = table(section(model_card(fitted), "Losses"))
    assert losses["price"]["validation"] == f"{np.mean(kept):.4g}"


def test_weights_that_a_strategy_chooses_are_beside_the_losses():
    fitted = net(weighting=Uncertainty(), learning_rate=0.1).fit(X, Y)
    losses = table(section(model_card(fitted), "Losses"))
    for name in Y:
        assert losses[name]["weight"] == f"{fitted.history_[-1][f'{name}_weight']:.4g}"
    assert losses["price"]["weight"] != losses["kind"]["weight"]
    assert "weight" not in table(section(model_card(net().fit(X, Y)), "Losses"))["price"]


def test_the_network_is_that_of_the_summary():
    fitted = net().fit(X, Y)
    page = section(model_card(fitted), "Network")
    summary, stages = fitted.summary(), table(page)
    assert list(stages) == list(summary.index)
    assert [int(row["parameters"]) for row in stages.values()] == list(summary["n_parameters"])
    assert page.startswith(f"{summary['n_parameters'].sum()} parameters.")
    assert "in each of 2 members" in section(model_card(net(n_members=2).fit(X, Y)), "Network")


def test_features_are_named():
    frame = pd.DataFrame(X, columns=["rooms", "area", "age"])
    pipeline = make_pipeline(StandardScaler(), net()).fit(frame, Y)
    data = section(model_card(pipeline), "Data")
    assert "3 features: `rooms`, `area` and `age`" in data
    assert "transformed before by `StandardScaler()`" in data
    trunk = Graph([("vectors", Embedding(5, 2), "ids"), ("pooled", Pool(), "vectors")])
    fitted = MultiOutputNet(trunk, max_epochs=1).fit({"ids": RNG.integers(0, 5, (N, 4))}, Y)
    assert "- input `ids`: integers, 4 in a row" in section(model_card(fitted), "Data")


def test_it_tells_how_the_network_was_trained_and_with_what():
    page = model_card(net(optimizer="sgd", learning_rate=0.02).fit(X, Y))
    training = section(page, "Training")
    for line in (
        "epochs: 3",
        "`optimizer`: `'sgd'`",
        "`learning_rate`: `0.02`",
        "`random_state`: `0`",
    ):
        assert f"- {line}\n" in training
    assert f"are means over: {N}\n" in training
    assert f"- mtlearn {VERSION}\n- torch " in section(page, "Versions")


def test_the_same_estimator_gives_the_same_page():
    def make():
        heads = {"price": Regression(loss=lambda raw, target: (raw - target).abs())}
        return net(heads=heads, loss_weights={"kind": lambda epoch: 1.0 + epoch}).fit(X, Y)

    page = model_card(make(), X, Y)
    assert page == model_card(make(), X, Y)
    assert " at 0x" not in page
    assert "2026" not in page
    dated = model_card(make(), X, Y, title="Flats | houses", date="1 May 2026")
    assert dated.startswith("# Flats | houses\n")
    assert "\n\n1 May 2026\n\n" in dated


def test_the_page_says_how_to_use_the_model():
    use = section(model_card(net().fit(X, Y)), "Use")
    assert "from mtlearn.persistence import load" in use
    assert "predict_proba" in use
    numbers = {"price": Y["price"]}
    assert "predict_proba" not in section(model_card(net().fit(X, numbers)), "Use")
    pipeline = make_pipeline(StandardScaler(), net()).fit(X, Y)
    assert "from joblib import load" in section(model_card(pipeline), "Use")
    stream = OnlineMultiOutputNet(random_state=0).fit(X, Y)
    assert "from mtlearn.persistence import load" in section(model_card(stream), "Use")


def test_a_regressor_predicts_no_classes_of_what_it_learned_beside():
    fitted = MultiOutputNetRegressor(max_epochs=2, random_state=0)
    page = model_card(fitted.fit(X, Y["price"], aux={"kind": Y["kind"]}))
    assert "It predicts `y`. It learned `kind` beside." in page
    assert "predict_proba" not in section(page, "Use")


def test_it_is_written_to_a_file(tmp_path):
    path = tmp_path / "card.md"
    page = model_card(net().fit(X, Y), path=path)
    assert path.read_text() == page
    with pytest.raises(OSError, match=r"no[/\\]card\.md"):
        model_card(net().fit(X, Y), path=tmp_path / "no" / "card.md")


def test_a_regressor_a_classifier_and_a_stream_have_a_page_too():
    regressor = MultiOutputNetRegressor(max_epochs=2, random_state=0)
    regressor = regressor.fit(X, Y["price"], aux={"kind": Y["kind"]})
    scores = table(section(model_card(regressor, X, Y["price"]), "Scores"))
    assert scores["y"]["score"] == f"{regressor.score(X, Y['price']):.4f}"
    classifier = MultiOutputNetClassifier(max_epochs=2, random_state=0).fit(X, Y["kind"])
    assert "flat, house" in section(model_card(classifier, X, Y["kind"]), "Outputs")
    stream = OnlineMultiOutputNet(random_state=0).fit(X, Y)
    page = model_card(stream, X, Y)
    assert f"learned once: {N}" in section(page, "Training")
    assert f"hidden_1 {stream.expert_weights_['price'][2]:.3f}" in section(page, "Training")
    assert table(section(page, "Scores"))["price"]["score"] == f"{stream.scores(X, Y)['price']:.4f}"


def test_a_cell_with_a_bar_stays_one_cell():
    heads = {"kind": Classification(classes=["a|b", "c"]), "price": Gaussian()}
    fitted = net(heads=heads).fit(X, {"kind": np.where(X[:, 0] > 0, "a|b", "c"), "price": X[:, 0]})
    assert r"2 classes: a\|b, c |" in section(model_card(fitted), "Outputs")


def test_names_and_classes_are_shown_as_they_are_whatever_is_in_them():
    labels = np.where(X[:, 0] > 0, "two\nlines", "*b* _u_ a_b <i> `q` [l](u)")
    y = {"it`s": X[:, 0], "two\nlines": X[:, 1], "*bold*": labels}
    frame = pd.DataFrame(X, columns=["a\nb", "c|d", "`e`"])
    page = model_card(net().fit(frame, y), title="Two\nlines")
    assert page.startswith("# Two lines\n\n")
    assert r"It predicts `` it`s ``, `two\nlines` and `*bold*`." in page
    outputs = section(page, "Outputs")
    assert [line.count("|") for line in outputs.strip().splitlines()] == [5] * 5
    assert r"2 classes: \*b\* \_u\_ a_b \<i\> \`q\` \[l\](u), two\\nlines |" in outputs
    assert r"3 features: `a\nb`, `c|d` and `` `e` ``" in section(page, "Data")


def test_what_has_no_page_is_an_error():
    with pytest.raises(ValueError, match="both `X` and `y`"):
        model_card(net().fit(X, Y), X)
    blend = Blend([("a", net(early_stopping=True))]).fit(X, Y)
    with pytest.raises(TypeError, match=r"Got Blend; .* take the estimators inside"):
        model_card(blend)
    with pytest.raises(TypeError, match="Got StandardScaler"):
        model_card(StandardScaler().fit(X))
    with pytest.raises(NotFittedError, match="not fitted"):
        model_card(net())
