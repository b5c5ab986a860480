"""Errors that the user can fix, each with the exit code that the shell sees.

A message is one line that names the place, what was found, what was expected, and the fix.
"""


class ScratchformerError(Exception):
    """Base of all errors that are reported as one line, without a traceback."""

    exit_code = 1


class ParamsError(ScratchformerError):
    """A parameter, a preset or a command-line argument is wrong."""

    exit_code = 2


class DataError(ScratchformerError):
    """The data break the contract of `scratchformer.data.preparation.contract`."""

    exit_code = 3


class GateError(ScratchformerError):
    """A sanity gate before training is red: the model or its settings cannot learn."""

    exit_code = 4


class Interrupted(ScratchformerError):
    """A signal asked the stage to stop; its checkpoint is in place."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
