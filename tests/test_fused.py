"""Convolution and pooling in one step: the same function, gradients and weights as Keras' own two layers."""

import keras
import numpy as np
import pytest

from mirex_submission.models.architectures import ARCHITECTURES, build, set_standardisation

if keras.backend.backend() != "tensorflow":
    pytest.skip("made for TensorFlow", allow_module_level=True)
tf = pytest.importorskip("tensorflow")

# Only now: it imports TensorFlow, which another backend's environment need not have.
from mirex_submission.models import fused  # noqa: E402

PIPELINES = [pytest.param(p, id=f"model{name}-{p.name}") for name, ps in ARCHITECTURES.items() for p in ps]
BATCHES = (1, 7, 40)


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

    def __init__(self, pipeline, n, draw=random_values, size=(40, 80)):
        rng = np.random.default_rng(n)
        convolution = keras.layers.Conv2D(pipeline.filters, pipeline.kernel, kernel_initializer="glorot_uniform")
        pooling = keras.layers.MaxPooling2D(pipeline.pool)
        self.fused = fused.ConvolutionMaxPool(convolution, pooling)
        self.keras = lambda x: pooling(convolution(x))
        self.x = draw(rng, (n, *size, 1)).astype(np.float32)
        self.fused.build(self.x.shape)
        convolution.set_weights([draw(rng, weight.shape).astype(np.float32) for weight in convolution.weights])
        self.upstream = draw(rng, self.fused(self.x).shape).astype(np.float32)

    def compute(self, layers):
        """Output, and the gradients of kernel and bias."""
        with tf.GradientTape() as tape:
            y = layers(tf.constant(self.x))
            loss = tf.reduce_sum(y * self.upstream)
        gradients = tape.gradient(loss, [w.value for w in self.fused.convolution.trainable_weights])
        return [np.asarray(value) for value in (y, *gradients)]


@pytest.fixture
def with_threads(monkeypatch):
    def use(n):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", str(n))
        fused._threads.cache_clear()

    yield use
    fused._threads.cache_clear()


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_output_and_gradients_equal_those_of_keras_to_1e_5(pipeline, n):
    case = Case(pipeline, n)
    for found, expected in zip(case.compute(case.fused), case.compute(case.keras), strict=True):
        assert found.shape == expected.shape and expected.any()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("draw", [exact_values, tied_values])
@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_equal_to_the_bit_where_float32_is_exact_with_ties_too(pipeline, n, draw):
    case = Case(pipeline, n, draw)
    for found, expected in zip(case.compute(case.fused), case.compute(case.keras), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_first_of_equal_maxima_gets_the_gradient():
    y = np.zeros((1, 4, 6, 2), np.float32)
    y[0, 1, 2, 0] = y[0, 1, 4, 0] = 1  # twice the maximum, in one window of 2 x 6
    pooled, where = fused._pool((2, 6), y)
    assert pooled.tolist() == [[[[1, 0]], [[0, 0]]]]
    assert where.tolist() == [[[[6 + 2, 0]], [[0, 0]]]]


@pytest.mark.parametrize("size", [(18, 53), (19, 60), (80, 82)])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_other_sizes_drop_what_pooling_drops(pipeline, size):
    case = Case(pipeline, 3, exact_values, size)
    for found, expected in zip(case.compute(case.fused), case.compute(case.keras), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_one_and_four_threads_give_the_same_bits(pipeline, with_threads):
    case = Case(pipeline, 40)
    with_threads(1)
    expected = case.compute(case.fused)
    with_threads(4)
    for _ in range(3):
        for found, value in zip(case.compute(case.fused), expected, strict=True):
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_interchange_with_the_plain_network_which_then_predicts_the_same(architecture):
    sizes = {"n_bands": 40, "n_frames": 80, "n_classes": 5}
    quick = build(architecture, **sizes, seed=1, fuse=fused.ConvolutionMaxPool)
    plain = build(architecture, **sizes, seed=2)
    x = np.random.default_rng(0).normal(-3, 2, (40, 40, 80)).astype(np.float32)
    for network in (quick, plain):
        set_standardisation(network, np.full(40, -3.0), np.full(40, 2.0))
    quick.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy", jit_compile=False)
    quick.train_on_batch(x, np.arange(40) % 5)
    expected = quick.predict_on_batch(x)
    assert np.abs(plain.predict_on_batch(x) - expected).max() > 1e-3
    plain.set_weights(quick.get_weights())
    np.testing.assert_allclose(plain.predict_on_batch(x), expected, rtol=1e-5)
    for a, b in zip(quick.weights, plain.weights, strict=True):
        assert a.shape == b.shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_starts_both_networks_alike(architecture):
    sizes = {"n_bands": 40, "n_frames": 80, "n_classes": 5, "seed": 7}
    quick = build(architecture, **sizes, fuse=fused.ConvolutionMaxPool).get_weights()
    for a, b in zip(quick, build(architecture, **sizes).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
