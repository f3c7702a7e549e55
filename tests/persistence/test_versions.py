"""Files of older releases load; those of newer ones, and their pickles, are told apart."""

import copy
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import mtlearn
from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OnlineMultiOutputNet,
    Targets,
    _version,
)
from mtlearn.exceptions import ModelFileError, VersionWarning
from mtlearn.heads import Quantile
from mtlearn.persistence import _format, _save, load, save
from mtlearn.trunks import MLP

GOLDEN = Path(__file__).parents[1] / "golden"
X = np.sin(np.arange(120.0)).reshape(30, 4)
Y = Targets(
    {
        "number": 10 + X[:, 0],
        "kind": np.where(X[:, 1] > 0, "flat", "house"),
        "range": X[:, 2],
        "labels": X[:, :2] > 0,
    }
)
FILES = sorted(GOLDEN.glob("*/*.safetensors"))


def fits():
    """One small fitted estimator of each class, by its name, and one that goes on learning."""
    both = Y[["number", "kind"]]
    params = {"trunk": MLP((4,), dropout=0.1), "max_epochs": 2, "random_state": 0}
    heads = {"range": Quantile([0.1, 0.9])}
    return {
        "net": MultiOutputNet(heads=heads, n_members=2, **params).fit(X, Y),
        "regressor": MultiOutputNetRegressor(**params).fit(X, Y["number"]),
        "classifier": MultiOutputNetClassifier(**params).fit(X, Y["kind"]),
        "stream": MultiOutputNet(heads=heads, weighting="uncertainty", **params).partial_fit(X, Y),
        "online": OnlineMultiOutputNet(MLP((4,)), random_state=0).partial_fit(X, both),
    }


def as_lists(predicted):
    if isinstance(predicted, Targets):
        return {name: values.tolist() for name, values in predicted.items()}
    return predicted.tolist()


def write_golden():
    """Write the files of this release, and what they predict."""
    folder = GOLDEN / mtlearn.__version__
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in fits().items():
        save(net, folder / f"{name}.safetensors")
        text = json.dumps(as_lists(net.predict(X)), indent=None, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text + "\n")


def assert_close(found, expected):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert_close(found[name], values)
    elif isinstance(np.ravel(expected)[0], np.str_):
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_there_is_a_file_of_each_estimator():
    releases = {path.parent.name for path in FILES}
    assert releases
    assert len(FILES) == 5 * len(releases)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_of_a_release_predicts_what_it_did(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    assert_close(as_lists(load(path).predict(X)), expected)


def test_a_stream_in_a_file_of_a_release_can_go_on():
    for path in GOLDEN.glob("*/stream.safetensors"):
        net = load(path)
        assert len(net.partial_fit(X, Y).history_) == 2


@pytest.fixture(scope="module")
def net():
    return MultiOutputNet(MLP((4,)), max_epochs=2, random_state=0).fit(X, Y)


def test_a_file_of_a_newer_format_names_the_version_that_it_needs(net, tmp_path, monkeypatch):
    monkeypatch.setattr(_save, "FORMAT", _format.FORMAT + 1)
    monkeypatch.setattr(_save, "NEEDS", "7.2")
    save(net, tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"it needs mtlearn 7\.2 or newer; this is"):
        load(tmp_path / "net")


def test_a_part_that_is_not_known_yet_is_told_with_the_version_that_wrote_it(
    net, tmp_path, monkeypatch
):
    monkeypatch.setattr(_save, "VERSION", "7.2")
    encode = _save.Encoder.encode

    def encode_newer(self, value, path=()):
        found = encode(self, value, path)
        if path == ("trunk_",):
            found["$part"] = "PartOfTomorrow"
        return found

    monkeypatch.setattr(_save.Encoder, "encode", encode_newer)
    save(net, tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"PartOfTomorrow.* written by mtlearn 7\.2; this is"):
        load(tmp_path / "net")


@pytest.fixture(scope="module")
def stream():
    return OnlineMultiOutputNet(MLP((4,)), random_state=0).partial_fit(X, Y[["number", "kind"]])


@pytest.mark.parametrize("name", ["net", "stream"])
def test_a_pickle_of_another_version_warns(name, request, monkeypatch):
    estimator = request.getfixturevalue(name)
    monkeypatch.setattr(_version, "VERSION", "0.0.7")
    data = pickle.dumps(estimator)
    monkeypatch.undo()
    wanted = rf"{type(estimator).__name__}: .* written by mtlearn 0\.0\.7, and this is"
    with pytest.warns(VersionWarning, match=wanted) as caught:
        loaded = pickle.loads(data)
    assert caught[0].filename == __file__
    assert loaded.predict(X) == estimator.predict(X)


@pytest.mark.parametrize("name", ["net", "stream"])
def test_a_pickle_of_this_version_does_not_warn(name, request, recwarn):
    estimator = request.getfixturevalue(name)
    for loaded in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert loaded.predict(X) == estimator.predict(X)
        assert set(vars(loaded)) == set(vars(pickle.loads(pickle.dumps(loaded))))
        assert not hasattr(loaded, "_mtlearn_version")
    assert [w for w in recwarn if issubclass(w.category, VersionWarning)] == []


if __name__ == "__main__":
    sys.exit(write_golden())
