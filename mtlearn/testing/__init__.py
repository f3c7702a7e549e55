"""Tests for parts of one's own: what heads and trunks must satisfy to work in the estimators."""

from mtlearn.testing._check_head import check_head
from mtlearn.testing._check_trunk import check_trunk

__all__ = ["check_head", "check_trunk"]
