"""Trainings that are killed, and resumed; the benchmark of that name kills more of them."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "checkpoints.py"


@pytest.mark.slow
def test_a_killed_training_ends_bit_for_bit_as_if_it_had_not_been():
    spec = importlib.util.spec_from_file_location("checkpoints", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for _, kills, same, unreadable in module.measure(12, 6):
        assert same == kills
        assert unreadable == 0
