import numpy as np
import pytest
import torch

from mtlearn._random import part_seed, root_seed, seeded


def test_an_integer_is_its_own_root_seed():
    assert root_seed(7) == 7
    assert root_seed(np.int64(7)) == 7


def test_none_draws_fresh_entropy_and_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is the subject)
    assert len({root_seed(None) for _ in range(5)}) == 5
    after = np.random.get_state()[1]  # noqa: NPY002
    np.testing.assert_array_equal(after, before)


def test_a_random_state_is_advanced():
    state, same = np.random.RandomState(0), np.random.RandomState(0)
    seeds = [root_seed(state), root_seed(state)]
    assert seeds[0] != seeds[1]
    assert seeds == [root_seed(same), root_seed(same)]


def test_a_part_seed_depends_on_the_root_and_the_name():
    seeds = {part_seed(root, name) for root in (0, 1) for name in ("trunk", "head/a", "head/b")}
    assert len(seeds) == 6
    assert part_seed(0, "trunk") == part_seed(0, "trunk")


@pytest.mark.parametrize("root", [0, 2**32 - 1, 2**63 - 1])
def test_a_part_seed_is_one_that_torch_takes(root):
    generator = torch.Generator().manual_seed(part_seed(root, "price"))
    assert generator.initial_seed() == part_seed(root, "price")


def test_seeded_draws_the_same_and_restores_the_state():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        second = torch.rand(4)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_restores_the_state_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), seeded(3):
        raise RuntimeError(f"inside, with {torch.rand(4)}")
    assert torch.equal(torch.get_rng_state(), before)
