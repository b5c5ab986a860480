"""Why a training ended: said by both trainings, read by what explains their curves."""

from enum import StrEnum


class StopReason(StrEnum):
    """As training.json records it."""

    MAX_STEPS = "max_steps"  # all its updates are done
    PATIENCE = "patience"  # ended early: too many validations without a better one
