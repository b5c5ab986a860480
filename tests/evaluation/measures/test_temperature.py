"""The fitted temperature is the best one, undoes a wrong one, and moves no label."""

import numpy as np
import pytest
from scipy.special import softmax

from scratchformer.evaluation.measures.calibration import expected_calibration_error, reliability
from scratchformer.evaluation.measures.temperature import fit_temperature, rescale


def drawn(temperature: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities, what a system of that temperature claims, and labels drawn from the
    true ones."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (rows, 5))
    true = softmax(logits, axis=1)
    labels = (true.cumsum(axis=1) > random.random(rows)[:, None]).argmax(axis=1)
    return true, softmax(logits / temperature, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 4.0, 20.0])
def test_it_undoes_a_wrong_temperature(temperature: float) -> None:
    true, claimed, labels = drawn(temperature)
    found = fit_temperature(claimed, labels)
    assert found == pytest.approx(1 / temperature, rel=0.05)
    scaled = rescale(claimed, found)
    np.testing.assert_array_equal(scaled.argmax(axis=1), claimed.argmax(axis=1))
    np.testing.assert_allclose(scaled, true, atol=0.05)
    right = scaled.argmax(axis=1) == labels
    assert expected_calibration_error(reliability(scaled.max(axis=1), right)) < 0.02


def test_no_other_temperature_gives_the_labels_more_likelihood() -> None:
    _, claimed, labels = drawn(2.0, 400)
    rows = np.arange(400)

    def loss(temperature: float) -> float:
        return float(-np.log(rescale(claimed, temperature)[rows, labels]).mean())

    best = loss(fit_temperature(claimed, labels))
    assert all(best <= loss(each) + 1e-6 for each in np.geomspace(0.02, 20, 60))


def test_a_ruled_out_label_and_the_ends_of_the_range_do_no_harm() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    always_right = fit_temperature(certain, np.array([0, 1, 2, 0]))
    always_wrong = fit_temperature(certain, np.array([1, 2, 0, 1]))
    assert 1e-3 <= always_right < 1 < always_wrong <= 1e2
    assert np.isfinite(rescale(certain, always_right)).all()
    np.testing.assert_allclose(rescale(certain, 1.0), certain, atol=1e-6)
