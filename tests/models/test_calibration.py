"""The temperature: what it does to probabilities, and that it is taken back."""

import numpy as np
import pytest

from mirex_submission.models.calibration import Calibration, HeldOutTrack, logarithms
from mirex_submission.training import svm


def calibration(temperature, score=0.5):
    return Calibration("key", temperature, (HeldOutTrack("a.wav", "a", "c", 0, score, 1.0),))


def test_untempered_inverts_tempered():
    probabilities = np.array([0.7, 0.2, 0.1])
    warm = calibration(2.0).tempered(probabilities)
    np.testing.assert_allclose(warm, np.sqrt(probabilities) / np.sqrt(probabilities).sum())
    np.testing.assert_allclose(calibration(2.0).untempered(warm), probabilities)
    assert calibration(1.0).tempered(probabilities) is probabilities
    certain = calibration(3.0).tempered(np.array([1.0, 0.0]))
    assert certain.sum() == pytest.approx(1) and certain[0] > 0.999


def test_overconfident_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 4)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (shares.cumsum(axis=1) > rng.random((3000, 1))).argmax(axis=1)
    sure = calibration(1 / 3).tempered(shares)
    temperature = svm.temperature(logarithms(sure), y)
    assert temperature == pytest.approx(3, rel=0.1)
    np.testing.assert_allclose(calibration(temperature).tempered(sure), shares, atol=0.03)


@pytest.mark.parametrize("temperature", [0, -1, np.inf, np.nan])
def test_impossible_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="impossible"):
        calibration(temperature).check()


def test_impossible_tracks_are_refused():
    with pytest.raises(ValueError, match="impossible"):
        calibration(1.0, score=-0.1).check()
    with pytest.raises(ValueError, match="impossible"):
        Calibration("key", 1.0, ()).check()
