"""Weights as bytes: back as they were, the same bytes for the same weights, and nothing run that they hold."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from mirex_submission.networks.sizes import initial_weights
from mirex_submission.networks.weights import from_bytes
from mirex_submission.system.arrays import to_bytes


def make(seed=0):
    sizes = {"n_bands": 10, "n_frames": 31, "n_classes": 2}
    return initial_weights("1", **sizes, mean=np.arange(10) - 5.0, std=np.arange(10) + 1.0, seed=seed)


def npy(value):
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_read_weights_equal_the_written_ones():
    weights = make()
    weights["dense/bias"][:4] = [np.inf, -0.0, np.nan, 1e-45]
    found = from_bytes(to_bytes(weights))
    assert list(found) == list(weights)
    for name, value in weights.items():
        assert (found[name].dtype, found[name].shape) == (np.float32, value.shape)
        assert found[name].tobytes() == value.tobytes()


def test_read_weights_are_writable_copies():
    found = from_bytes(to_bytes(make()))
    for value in found.values():
        before = value.copy()
        value += 1  # neither read-only nor shared
        np.testing.assert_array_equal(value, before + 1)


def test_the_same_weights_give_the_same_bytes_and_others_give_others(monkeypatch):
    data = to_bytes(make())
    monkeypatch.setattr("time.time", lambda: 2e9)  # at any time
    assert to_bytes(make()) == data
    assert to_bytes(from_bytes(data)) == data
    assert to_bytes(make(seed=1)) != data
    weights = make()
    weights["class_probabilities/bias"][1] = 1e-45  # the smallest of changes
    assert to_bytes(weights) != data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"import os; os.abort()",
        b"PK\x03\x04",
        bytes(1000),
        npy(np.zeros(3))[:50],
        npy(np.zeros(3)),  # one array, of no name
        zipped(**{"dense/bias.npy": b"no array"}),
        zipped(**{"dense/bias": b"no array"}),
    ],
)
def test_bytes_that_are_not_weights_are_a_value_error(data):
    with pytest.raises(ValueError, match=r"\S"):
        from_bytes(data)


def test_truncated_weights_are_a_value_error():
    data = to_bytes({"dense/kernel": np.ones((2, 3), np.float32), "dense/bias": np.ones(3, np.float32)})
    assert len(from_bytes(data)) == 2
    for n in range(len(data)):
        with pytest.raises(ValueError, match=r"\S"):
            from_bytes(data[:n])


def test_a_changed_bit_anywhere_gives_arrays_or_a_value_error():
    data = to_bytes({"dense/bias": np.ones(3, np.float32)})
    n_refused = 0
    for i in range(len(data)):
        for bit in range(8):
            changed = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            try:
                assert all(isinstance(value, np.ndarray) for value in from_bytes(changed).values())
            except ValueError:
                n_refused += 1
    assert n_refused > 4 * len(data)


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_pickle_is_loaded(tmp_path):
    made = tmp_path / "made"
    array = np.array([Evil(made)], dtype=object)
    for data in (pickle.dumps(Evil(made)), npy(array), to_bytes({"dense/bias": array})):
        with pytest.raises(ValueError, match="pickle"):
            from_bytes(data)
    assert not made.exists()
