"""A control that cannot be computed: the evaluation continues without it and says so."""


class CannotFitError(Exception):
    """What these rows lack for a control; the message ends the sentence "left out: …"."""
