"""What became of a row from one system to another."""

OUTCOMES = ("fixed", "broken", "still right", "still wrong")


def outcome_of(right_before: bool, right_after: bool) -> str:
    """One of `OUTCOMES`."""
    if right_after:
        return "still right" if right_before else "fixed"
    return "broken" if right_before else "still wrong"
