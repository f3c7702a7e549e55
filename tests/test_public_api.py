import importlib
import importlib.metadata
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import mtlearn
from mtlearn import MultiOutputNet

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "mtlearn",
    "mtlearn.datasets",
    "mtlearn.deployment",
    "mtlearn.ensemble",
    "mtlearn.exceptions",
    "mtlearn.heads",
    "mtlearn.inspection",
    "mtlearn.model_selection",
    "mtlearn.persistence",
    "mtlearn.preprocessing",
    "mtlearn.testing",
    "mtlearn.trunks",
    "mtlearn.weighting",
]
PACKAGES = [*PUBLIC, "mtlearn.estimators", "mtlearn.targets"]


def public_objects():
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            if name != "__version__":
                yield pytest.param(getattr(module, name), id=f"{package}.{name}")


def settings():
    state = np.random.get_state()  # noqa: NPY002 (the global generator is the subject)
    return state[1].tolist(), state[2:], torch.get_rng_state().tolist(), torch.get_num_threads()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_a_sorted_list_of_names_that_exist(package):
    module = importlib.import_module(package)
    in_order = sorted(module.__all__, key=lambda name: (not name.isupper(), name))  # as ruff
    assert module.__all__ == in_order
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(isinstance(name, str) and hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("obj", list(public_objects()))
def test_every_public_object_is_documented(obj):
    assert inspect.getdoc(obj)
    if inspect.isclass(obj):
        own = [
            value
            for value in vars(obj).values()
            if isinstance(value, FunctionType | property)
            and not getattr(value, "__name__", "").startswith("_")
        ]
        assert all(inspect.getdoc(value) for value in own)


def test_every_module_is_documented():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "mtlearn").rglob("*.py")
    ]
    assert all(importlib.import_module(name).__doc__ for name in names)


def test_the_api_index_names_exactly_the_public_names():
    api = runpy.run_path(str(ROOT / "docs" / "api_reference.py"))["API"]
    listed = [(part["module"], name) for part in api.values() for name in part["names"]]
    public = [
        (package, name)
        for package in PUBLIC
        for name in importlib.import_module(package).__all__
        if name != "__version__"
        and not isinstance(getattr(importlib.import_module(package), name), ModuleType)
    ]
    assert sorted(listed) == sorted(public)


def test_the_version_is_that_of_the_distribution():
    assert mtlearn.__version__ == importlib.metadata.version("scikit-mtlearn")


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "mtlearn" / "py.typed").is_file()


def test_no_file_tells_to_install_the_unrelated_distribution():
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    assert ROOT / "README.md" in paths
    wrong = re.compile(r"pip install\s+(-\S+\s+)*['\"]?mtlearn")
    found = [
        path.name
        for path in paths
        if path.is_file() and wrong.search(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert not found


def test_importing_changes_no_generator_and_no_thread_count():
    code = """
import numpy as np, torch
torch.set_num_threads(3)
def settings():
    state = np.random.get_state()
    return state[1].tolist(), state[2:], torch.get_rng_state().tolist(), torch.get_num_threads()
before = settings()
import mtlearn
assert settings() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class WithGlobalDropout(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 4), nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("trunk", [None, WithGlobalDropout], ids=["MLP", "callable"])
@pytest.mark.parametrize("random_state", [None, 0])
def test_fit_and_predict_change_no_generator_and_no_thread_count(trunk, random_state):
    X = np.random.default_rng(0).normal(size=(20, 2))
    y = {"number": X[:, 0], "kind": X[:, 1] > 0}
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = settings()
        net = MultiOutputNet(trunk=trunk, max_epochs=2, random_state=random_state).fit(X, y)
        assert settings() == before
        net.predict(X)
        net.predict_proba(X)
        net.score(X, y)
        assert settings() == before
    finally:
        torch.set_num_threads(n_threads)


def test_a_failed_fit_changes_no_generator_and_no_thread_count():
    X = np.random.default_rng(0).normal(size=(20, 2))
    net = MultiOutputNet(optimizer="sgd", learning_rate=1e6, n_threads=2)
    before = settings()
    with pytest.raises(mtlearn.exceptions.DivergenceError, match="number"):
        net.fit(X, {"number": X[:, 0]})
    assert settings() == before
