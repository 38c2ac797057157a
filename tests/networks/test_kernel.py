"""The native network against Keras': the same probabilities, gradients and steps; and the same bits for any threads."""

import itertools

import keras
import numpy as np
import pytest
from epochs import train

from mirex_submission.networks.keras_network import KerasNetwork
from mirex_submission.networks.kernel import NativeNetwork, compiled
from mirex_submission.networks.sizes import ARCHITECTURES, LEAKY_SLOPE, initial_weights, output_sizes

if compiled is None:
    pytest.skip("no compiler was found when this was installed", allow_module_level=True)
if keras.backend.backend() != "tensorflow":
    pytest.skip("compared on TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")

MODELS = list(ARCHITECTURES)
PIPELINES = [pytest.param(p, id=f"model{name}-{p.name}") for name, ps in ARCHITECTURES.items() for p in ps]
BATCHES = (1, 7, 40)
N_CLASSES = 5


# One pipeline.


def random_values(rng, shape):
    return rng.normal(size=shape)


def exact_values(rng, shape):
    """Multiples of 1/64 up to 1: float32 holds every sum and product of them exactly, in whatever order."""
    return rng.integers(-64, 65, shape) / 64


def tied_values(rng, shape):
    """-1, 0 and 1: nearly every pooling window has several equal maxima."""
    return rng.integers(-1, 2, shape)


class Case:
    """Both ways to compute one pipeline, on the same weights, input and gradient from above."""

    def __init__(self, pipeline, n, draw=random_values, size=(40, 80), slope=0.25):
        rng = np.random.default_rng(n)
        self.pipeline, self.slope = pipeline, slope
        self.x = draw(rng, (n, *size)).astype(np.float32)
        self.kernel = draw(rng, (*pipeline.kernel, pipeline.filters)).astype(np.float32)
        self.bias = draw(rng, pipeline.filters).astype(np.float32)
        self.n_out = output_sizes((pipeline,), *size)[0]
        self.upstream = draw(rng, (n, self.n_out)).astype(np.float32)

    def by_keras(self):
        p = self.pipeline
        convolution, pooling = keras.layers.Conv2D(p.filters, p.kernel), keras.layers.MaxPooling2D(p.pool)
        convolution.build((None, *self.x.shape[1:], 1))
        convolution.set_weights([self.kernel[:, :, None], self.bias])
        with tf.GradientTape() as tape:
            y = keras.layers.LeakyReLU(negative_slope=self.slope)(pooling(convolution(self.x[..., None])))
            loss = tf.reduce_sum(y * np.reshape(self.upstream, y.shape))
        by_kernel, by_bias = tape.gradient(loss, [w.value for w in convolution.trainable_weights])
        return np.reshape(y, (len(self.x), -1)), np.asarray(by_kernel)[:, :, 0], np.asarray(by_bias)

    def by_kernel(self, lanes, *, stride=0, offset=0):
        p, n = self.pipeline, len(self.x)
        stride = stride or self.n_out
        told = self.x.shape, (*p.kernel, p.filters), p.pool, (stride, offset), self.slope, lanes, self.x
        out, upstream = (np.full((n, stride), np.nan, np.float32) for _ in range(2))
        upstream[:, offset : offset + self.n_out] = self.upstream
        places, gradients = np.empty((n, self.n_out), np.int32), [np.empty_like(w) for w in (self.kernel, self.bias)]
        compiled.forward(*told, self.kernel, self.bias, out, places)
        compiled.backward(*told, out, places, upstream, *gradients)
        others = np.delete(out, np.s_[offset : offset + self.n_out], axis=1)
        assert np.isnan(others).all()  # of other pipelines
        return out[:, offset : offset + self.n_out], *gradients


@pytest.mark.parametrize("lanes", compiled.LANES)
@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_output_and_gradients_equal_those_of_keras_to_1e_5(pipeline, n, lanes):
    case = Case(pipeline, n)
    for found, expected in zip(case.by_kernel(lanes), case.by_keras(), strict=True):
        assert found.shape == expected.shape and expected.any()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("lanes", compiled.LANES)
@pytest.mark.parametrize("draw", [exact_values, tied_values])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_equal_to_the_bit_where_float32_is_exact_with_ties_too(pipeline, draw, lanes):
    case = Case(pipeline, 7, draw)
    for found, expected in zip(case.by_kernel(lanes), case.by_keras(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lanes", compiled.LANES)
@pytest.mark.parametrize("size", [(18, 53), (19, 60), (80, 82)])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_other_sizes_drop_incomplete_pooling_windows(pipeline, size, lanes):
    case = Case(pipeline, 3, exact_values, size)
    for found, expected in zip(case.by_kernel(lanes), case.by_keras(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lanes", compiled.LANES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_pipeline_fills_its_own_part_of_the_merged_outputs(pipeline, lanes):
    case = Case(pipeline, 3)
    apart = case.by_kernel(lanes, stride=case.n_out + 9, offset=4)
    for found, expected in zip(apart, case.by_kernel(lanes), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(compiled.LANES != (4, 8, 16), reason="needs AVX-512")
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_avx2_and_avx_512_give_the_same_bits(pipeline):
    case = Case(pipeline, 7)
    for a, b in zip(case.by_kernel(8), case.by_kernel(16), strict=True):
        np.testing.assert_array_equal(a, b)


SIZES = {
    "segments": (2, 6, 8), "filters": (3, 3, 4), "pool": (1, 2), "layout": (4 * 3 * 4, 0), "slope": 0.3, "lanes": 4,
    "x": np.ones((2, 6, 8), np.float32), "kernel": np.ones((3, 3, 4), np.float32), "bias": np.ones(4, np.float32),
    "out": np.ones((2, 48), np.float32), "places": np.zeros((2, 48), np.int32),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"segments": (2, 6, 9)}, "arrays"),
        ({"segments": (-1, 6, 8)}, "segments"),
        ({"segments": (2, 0, 8)}, "sizes"),
        ({"segments": (2**62, 6, 8)}, "segments"),
        ({"segments": (2, 2**62, 8)}, "sizes"),
        ({"filters": (7, 3, 4)}, "larger than a segment"),
        ({"filters": (3, 3, 0)}, "sizes"),
        ({"filters": (3, 3, 5)}, "layout|out"),
        ({"pool": (2, 2)}, "one axis"),
        ({"pool": (1, 7)}, "larger than the convolution"),
        ({"layout": (47, 0)}, "do not fit"),
        ({"layout": (48, 1)}, "do not fit"),
        ({"layout": (48, -1)}, "do not fit"),
        ({"layout": (2**62, 0)}, "do not fit"),
        ({"layout": (-(2**63), 0), "segments": (1, 6, 8), "out": np.ones(0, np.float32)}, "do not fit"),
        ({"layout": (49, 0)}, "arrays"),
        ({"lanes": 3}, "lanes"),
        ({"x": np.ones((1, 6, 8), np.float32)}, "arrays"),
        ({"kernel": np.ones((3, 3, 3), np.float32)}, "arrays"),
        ({"bias": np.ones(3, np.float32)}, "arrays"),
        ({"places": np.zeros((2, 47), np.int32)}, "arrays"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(changed, words):
    compiled.forward(*SIZES.values())
    with pytest.raises(ValueError, match=words):
        compiled.forward(*{**SIZES, **changed}.values())


@pytest.mark.parametrize("place", [-1, 2, 2**30])
def test_positions_outside_of_a_window_are_refused(place):
    told = [value for name, value in SIZES.items() if name not in ("kernel", "bias", "out", "places")]
    arrays = SIZES["out"], np.full((2, 48), place, np.int32), SIZES["out"], SIZES["kernel"].copy(), SIZES["bias"].copy()
    with pytest.raises(ValueError, match="places"):
        compiled.backward(*told, *arrays)


# Whole networks.


def make_weights(architecture, seed=1, n_bands=40, n_frames=80):
    weights = initial_weights(
        architecture, n_bands=n_bands, n_frames=n_frames, n_classes=N_CLASSES,
        mean=np.linspace(-4, 0, n_bands), std=np.linspace(0.5, 2, n_bands), seed=seed,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    biases = {name: rng.normal(0, 0.1, value.shape) for name, value in weights.items() if name.endswith("bias")}
    return {**weights, **{name: value.astype(np.float32) for name, value in biases.items()}}


def make_segments(n=40, n_bands=40, n_frames=80, seed=2):
    """As they are cut from a clip: [n, n_bands, n_frames], not contiguous."""
    frames = np.random.default_rng(seed).normal(-2, 1.5, (n, n_frames, n_bands)).astype(np.float32)
    return frames.transpose(0, 2, 1)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize(("n", "n_bands", "n_frames"), [(40, 40, 80), (1, 40, 80), (13, 18, 53)])
def test_probabilities_equal_those_of_keras_to_1e_5(architecture, n, n_bands, n_frames):
    weights, x = make_weights(architecture, n_bands=n_bands, n_frames=n_frames), make_segments(n, n_bands, n_frames)
    native = NativeNetwork(architecture, weights, threads=2).probabilities(x)
    assert native.shape == (n, N_CLASSES) and native.dtype == np.float32
    expected = KerasNetwork(architecture, weights, n_frames=n_frames).probabilities(x)
    np.testing.assert_allclose(native, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_three_steps_end_in_the_weights_of_keras(architecture, weighted):
    weights, rng = make_weights(architecture), np.random.default_rng(3)
    networks = NativeNetwork(architecture, weights, threads=2), KerasNetwork(architecture, weights, n_frames=80)
    for number, n in enumerate((40, 40, 21)):
        x, targets = make_segments(n, seed=n), rng.integers(0, N_CLASSES, n)
        by_class = rng.uniform(0.2, 3, N_CLASSES).astype(np.float32) if weighted else None
        more = {"learning_rate": 0.1, "class_weights": by_class, "number": number}
        found = [train(net, x, targets, **more) for net in networks]
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
        assert found[0][1] == found[1][1]
    for name, value in networks[0].weights.items():
        moved = np.abs(value - weights[name]).max()
        assert moved > 0 or name.startswith("standardise")
        np.testing.assert_allclose(value, networks[1].weights[name], rtol=0, atol=1e-6 + 1e-3 * moved, err_msg=name)


def test_dropout_drops_a_fifth_scales_the_rest_and_passes_no_gradient_where_it_dropped():
    weights = make_weights("1")
    network = NativeNetwork("1", weights, threads=1)
    train(network, make_segments(1), [0], learning_rate=1.0)
    # One segment: the kernel of a unit that was dropped has not moved at all.
    still = (network.weights["class_probabilities/kernel"] == weights["class_probabilities/kernel"]).all(axis=1)
    assert 20 <= still.sum() <= 60
    assert (network.weights["dense/kernel"] == weights["dense/kernel"]).all(axis=0)[still].all()
    assert not (network.weights["dense/kernel"] == weights["dense/kernel"]).all(axis=0)[~still].any()


def steps(architecture, *, threads, seed=0, epoch=0, n=3):
    network = NativeNetwork(architecture, make_weights(architecture), threads=threads)
    for k in range(n):
        train(network, make_segments(33, seed=k), np.arange(33) % N_CLASSES, seed=seed, number=epoch + k)
    return network.weights, network.probabilities(make_segments(30))


@pytest.mark.parametrize("architecture", MODELS)
def test_one_two_and_five_threads_give_the_same_bits(architecture):
    weights, probabilities = steps(architecture, threads=1)
    for threads in (2, 5, 2):
        other_weights, other_probabilities = steps(architecture, threads=threads)
        np.testing.assert_array_equal(other_probabilities, probabilities)
        for name, value in weights.items():
            np.testing.assert_array_equal(other_weights[name], value)


def test_the_dropout_depends_on_seed_and_epoch():
    runs = [steps("1", threads=1, seed=s, epoch=e)[0]["dense/kernel"] for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert np.array_equal(runs[0], runs[1])
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(runs[1:], 2))


def test_given_weights_and_segments_are_not_changed():
    weights, x = make_weights("2"), make_segments()
    before = {name: value.copy() for name, value in weights.items()}, x.copy()
    train(NativeNetwork("2", weights, threads=1), x, np.zeros(40, int), learning_rate=0.1)
    np.testing.assert_array_equal(x, before[1])
    for name, value in weights.items():
        np.testing.assert_array_equal(value, before[0][name])


def test_the_slope_is_the_papers():
    assert LEAKY_SLOPE == 0.3


def test_sigmoids_and_softmax_far_from_zero_are_finite():
    weights = {name: 1e3 * value if name.endswith("kernel") else value for name, value in make_weights("1").items()}
    probabilities = NativeNetwork("1", weights, threads=1).probabilities(make_segments())
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
