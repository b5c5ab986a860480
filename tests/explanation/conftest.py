"""The small training of tests/training."""

from tests.training.conftest import copy_table, info, settings, training

__all__ = ["copy_table", "info", "settings", "training"]
