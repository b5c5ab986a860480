"""Sanity gates: what is checked before the first update, so that no hour is lost to a bug.

They work on copies of the model and on random numbers of their own: the training that follows is
the same to the last bit as without them.

1. subject     what the gates look at
2. wiring      who sees what, and what learns: no training needed
3. learning    what a few updates of a copy show
4. rate        which learning rates are worth trying
5. run         the list of gates, and what happens when one is red
"""

from scratchformer.training.gates.run import GATES, Gate, Outcome, pass_gates, run_gates

__all__ = ["GATES", "Gate", "Outcome", "pass_gates", "run_gates"]
