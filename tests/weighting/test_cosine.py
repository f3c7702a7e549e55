import numpy as np
import pytest

from mtlearn.weighting import Cosine, Linear


def test_it_is_half_a_wave_and_stays():
    schedule = Cosine(2.0, 1.0, epochs=4)
    expected = 1.5 + 0.5 * np.cos(np.linspace(0, np.pi, 5))
    np.testing.assert_allclose([schedule(epoch) for epoch in range(5)], expected)
    assert schedule(100) == 1.0


def test_it_crosses_the_line_in_the_middle():
    cosine, line = Cosine(1.0, epochs=10), Linear(1.0, epochs=10)
    assert cosine(5) == pytest.approx(line(5))
    assert cosine(2) > line(2)
    assert cosine(8) < line(8)
