"""Tests for parts of one's own: what a trunk must satisfy to work in the estimators."""

from mtlearn.testing._check_trunk import check_trunk

__all__ = ["check_trunk"]
