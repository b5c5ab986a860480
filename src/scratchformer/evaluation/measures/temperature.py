"""Temperature scaling: how sure a system says that it is, made comparable between systems.

Training with label smoothing makes a model too unsure, a frozen encoder says nothing of how sure
it is, a regularised regression says too little. So that their losses and calibration errors may
stand side by side, the logits of every system are divided by one number, its temperature, which
is fitted on the validation split (Guo et al. 2017, arXiv:1706.04599, section 4.2). The order of
the labels stays, and so do accuracy and F1.
"""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]

_SMALLEST = 1e-12  # of a probability; its logarithm is -27.6
_RANGE = (1e-3, 1e2)  # cosine similarities need about 0.05, trained models 0.5 to 3


def fit_temperature(probabilities: Probabilities, gold: NDArray[np.int64]) -> float:
    """The temperature that gives the right labels the most likelihood.

    Args:
        probabilities: `[rows, labels]` of the validation split, before scaling.
        gold: label ids, `[rows]`.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits, rows = _logits(probabilities), np.arange(len(gold))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[rows, gold].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded").x))


def rescale(probabilities: Probabilities, temperature: float) -> Probabilities:
    """softmax(logits / temperature), `[rows, labels]`; a ruled-out label stays (nearly) so."""
    from scipy.special import softmax

    scaled = softmax(_logits(probabilities) / temperature, axis=1)
    return np.asarray(scaled, dtype=np.float32)


def _logits(probabilities: Probabilities) -> NDArray[np.float64]:
    """Logits up to a constant a row, which softmax does not see."""
    return np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
