"""Trainings that are killed, and resumed; the benchmark of that name kills more of them."""

import importlib.util
from pathlib import Path

import pytest

from mtlearn import Checkpoint, MultiOutputNet
from mtlearn.trunks import MLP

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "checkpoints.py"


@pytest.fixture
def benchmark_module():
    spec = importlib.util.spec_from_file_location("checkpoints", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_killed_training_ends_bit_for_bit_as_if_it_had_not_been(benchmark_module):
    for _, kills, same, unreadable in benchmark_module.measure(12, 6):
        assert same == kills
        assert unreadable == 0


@pytest.mark.slow
def test_killed_members_and_their_refits_end_bit_for_bit_too(benchmark_module, monkeypatch):
    def fit(folder):
        net = MultiOutputNet(
            MLP((64, 32), dropout=0.1),
            n_members=3,
            refit=True,
            learning_rate_schedule="cosine",
            early_stopping=True,
            max_epochs=benchmark_module.EPOCHS,
            n_iter_no_change=benchmark_module.EPOCHS,
            random_state=0,
        )
        checkpoint = None if folder is None else Checkpoint(folder, every_epochs=1)
        return net.fit(*benchmark_module.make_data(), checkpoint=checkpoint)

    monkeypatch.setattr(benchmark_module, "fit", fit)
    for _, kills, same, unreadable in benchmark_module.measure(8, 4):
        assert same == kills
        assert unreadable == 0
