import pytest
import torch

from mtlearn.trunks import Pool


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3)])
def test_positions_become_one_row(shape):
    x = torch.rand(2, *shape)
    flat = x.reshape(2, -1, 3)
    torch.testing.assert_close(Pool("mean").build(shape)(x), flat.mean(1))
    torch.testing.assert_close(Pool("max").build(shape)(x), flat.max(1).values)
    assert torch.equal(Pool("flatten").build(shape)(x), x.reshape(2, -1))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="'how' parameter of Pool"):
        Pool("sum").check_params()
    with pytest.raises(ValueError, match="Pool takes sequences"):
        Pool().build(7)
