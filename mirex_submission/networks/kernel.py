"""The native kernel: probabilities, gradients and SGD on a CPU, in C (csrc/) and BLAS.

The kernel is optional: if it could not be compiled at installation, `compiled` is None, and Keras computes instead.

It computes the same function and the same gradients as the Keras network, within rounding. A framework stores the whole
convolution, of which the pooling keeps one cell in 15 to 20, and later a gradient that is zero in all other cells. The
kernel stores neither, and a step of a few milliseconds has no overhead of dispatching operations.

Work is divided into parts of fixed sizes, and their results are added in a fixed order, so that the number of threads
does not change a bit. There is no gradient of the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mirex_submission.networks.epoch import Epoch, cut, draw_kept
from mirex_submission.networks.sizes import ARCHITECTURES, DROPOUT_RATE, LEAKY_SLOPE, Pipeline, Weights, output_sizes
from mirex_submission.system.compiled import load

compiled: Any = load("mirex_submission.networks._kernel")  # a module, or None

_SEGMENTS = 5  # segments in one part of a convolution
_OUTPUTS = 1400  # merged outputs in one part of a product with the dense layer's kernel


class NativeNetwork:
    """A network that the native kernel computes, an `engine.Network`; sizes.py has the names of its weights."""

    def __init__(self, architecture: str, weights: Weights, *, threads: int) -> None:
        self._weights = {name: np.array(value, np.float32, order="C") for name, value in weights.items()}
        self._pipelines = ARCHITECTURES[architecture]
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None
        self._mean = self._weights["standardise/mean"][:, None]
        self._scale = 1 / self._weights["standardise/std"][:, None]

    @property
    def weights(self) -> Weights:
        return {name: value.copy() for name, value in self._weights.items()}

    def probabilities(self, segments: np.ndarray) -> np.ndarray:
        merged = self._forward(segments)[1]
        return softmax(self._dense(_sigmoid(self._dense(merged, "dense")), "class_probabilities"))

    def train(self, epoch: Epoch) -> Iterator[tuple[int, float, int]]:
        dropout, rate = epoch.dropout_rng(), np.float32(epoch.learning_rate)
        for batch in epoch.batches():
            segments = cut(epoch.frames, epoch.starts[batch], epoch.n_frames)
            kept = draw_kept(dropout, len(batch)) / np.float32(1 - DROPOUT_RATE)
            with np.errstate(all="ignore"):  # the loss shows when a training diverges
                loss, n_correct = self._step(segments, epoch.targets[batch], epoch.weights(batch), kept, rate)
            yield len(batch), loss, n_correct

    def _step(
        self, segments: np.ndarray, targets: np.ndarray, weights: np.ndarray, kept: np.ndarray, rate: np.float32
    ) -> tuple[float, int]:
        n = len(segments)
        x, merged, places = self._forward(segments)
        activity = _sigmoid(self._dense(merged, "dense"))
        hidden = activity * kept
        probabilities = softmax(self._dense(hidden, "class_probabilities"))
        target_probabilities = probabilities[np.arange(n), targets]
        losses = -np.log(np.maximum(target_probabilities, np.finfo(np.float32).tiny))
        n_correct = int((probabilities.argmax(axis=1) == targets).sum())

        # `by_x` is the gradient of the mean loss with respect to x.
        by_logits = probabilities
        by_logits[np.arange(n), targets] -= 1
        losses *= weights
        by_logits *= weights[:, None]
        by_logits /= n
        by_hidden = self._input_gradient(by_logits, "class_probabilities") * kept * activity * (1 - activity)
        by_merged = self._input_gradient(by_hidden, "dense")
        self._update_dense("class_probabilities", hidden, by_logits, rate)
        self._update_dense("dense", merged, by_hidden, rate)
        for pipeline, offset, at in zip(self._pipelines, self._offsets(x)[:-1], places, strict=True):
            self._update_convolution(pipeline, offset, x, merged, at, by_merged, rate)
        return float(losses.sum(dtype=np.float64)), n_correct

    def _forward(self, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return standardised segments, merged outputs of the pipelines, and positions of each pipeline's maxima."""
        x, w = np.empty(segments.shape, np.float32), self._weights
        offsets = self._offsets(x)
        merged = np.empty((len(x), offsets[-1]), np.float32)
        places = [np.empty((len(x), end - start), np.int32) for start, end in itertools.pairwise(offsets)]

        def run(part: slice) -> None:
            np.subtract(segments[part], self._mean, out=x[part])
            np.multiply(x[part], self._scale, out=x[part])
            for p, offset, at in zip(self._pipelines, offsets[:-1], places, strict=True):
                arrays = w[f"{p.name}_convolution/kernel"], w[f"{p.name}_convolution/bias"], merged[part], at[part]
                compiled.forward(*self._sizes(p, x[part], offsets[-1], offset), x[part], *arrays)

        self._in_parts(len(x), _SEGMENTS, run)
        return x, merged, places

    def _update_convolution(
        self,
        pipeline: Pipeline,
        offset: int,
        x: np.ndarray,
        merged: np.ndarray,
        places: np.ndarray,
        by_merged: np.ndarray,
        rate: np.float32,
    ) -> None:
        kernel, bias = (self._weights[f"{pipeline.name}_convolution/{kind}"] for kind in ("kernel", "bias"))
        n_parts = -(-len(x) // _SEGMENTS)
        by_kernel, by_bias = (np.empty((n_parts, *array.shape), np.float32) for array in (kernel, bias))

        def run(part: slice) -> None:
            k = part.start // _SEGMENTS
            sizes = self._sizes(pipeline, x[part], merged.shape[1], offset)
            arrays = merged[part], places[part], by_merged[part], by_kernel[k], by_bias[k]
            compiled.backward(*sizes, x[part], *arrays)

        self._in_parts(len(x), _SEGMENTS, run)
        kernel -= rate * by_kernel.sum(axis=0)
        bias -= rate * by_bias.sum(axis=0)

    def _sizes(self, p: Pipeline, x: np.ndarray, stride: int, offset: int) -> tuple[object, ...]:
        """Return the arguments of the compiled functions that come before the arrays."""
        return x.shape, (*p.kernel, p.filters), p.pool, (stride, offset), LEAKY_SLOPE, compiled.LANES[-1]

    def _offsets(self, x: np.ndarray) -> list[int]:
        """Return the first column of each pipeline in the merged outputs, and the number of all columns."""
        return [0, *np.cumsum(output_sizes(self._pipelines, *x.shape[1:])).tolist()]

    def _dense(self, x: np.ndarray, layer: str) -> np.ndarray:
        kernel, bias = self._weights[f"{layer}/kernel"], self._weights[f"{layer}/bias"]
        products = np.empty((-(-len(kernel) // _OUTPUTS), len(x), len(bias)), np.float32)

        def run(part: slice) -> None:
            np.matmul(x[:, part], kernel[part], out=products[part.start // _OUTPUTS])

        self._in_parts(len(kernel), _OUTPUTS, run)
        return np.asarray(products.sum(axis=0) + bias)

    def _input_gradient(self, by_out: np.ndarray, layer: str) -> np.ndarray:
        kernel = self._weights[f"{layer}/kernel"]
        by_input = np.empty((len(by_out), len(kernel)), np.float32)

        def run(part: slice) -> None:
            by_input[:, part] = by_out @ kernel[part].T

        self._in_parts(len(kernel), _OUTPUTS, run)
        return by_input

    def _update_dense(self, layer: str, x: np.ndarray, by_out: np.ndarray, rate: np.float32) -> None:
        kernel, bias = self._weights[f"{layer}/kernel"], self._weights[f"{layer}/bias"]
        change = rate * by_out

        def run(part: slice) -> None:
            kernel[part] -= x[:, part].T @ change  # while the product is still in the cache

        self._in_parts(len(kernel), _OUTPUTS, run)
        bias -= change.sum(axis=0)

    def _in_parts(self, n: int, size: int, work: Callable[[slice], object]) -> None:
        def run(part: slice) -> None:
            with np.errstate(all="ignore"):  # NumPy keeps this setting for each thread
                work(part)

        parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        for _ in (self._threads.map if self._threads else map)(run, parts):
            pass


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # far below 0 the exponential overflows, and the result is 0
        return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: np.ndarray) -> np.ndarray:
    """Compute probabilities of each row of logits [n, n_classes]."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
