"""Small trainings whose every run can be killed, damaged and compared."""

from tests.pretrained.conftest import rows, tiny_bert
from tests.tracking.conftest import empty_database
from tests.training.conftest import copy_table, info, settings, training

__all__ = ["copy_table", "empty_database", "info", "rows", "settings", "tiny_bert", "training"]
