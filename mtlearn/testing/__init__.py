"""Tests for parts of one's own: what trunks, heads and weightings must satisfy."""

from mtlearn.testing._check_head import check_head
from mtlearn.testing._check_trunk import check_trunk
from mtlearn.testing._check_weighting import check_weighting

__all__ = ["check_head", "check_trunk", "check_weighting"]
