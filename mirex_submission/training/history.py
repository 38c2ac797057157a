"""History of a training: loss and accuracy of every epoch, as a table, as a picture and for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from mirex_submission.system.drawing import plain_matplotlib

# Network -> figures of each epoch: "loss", "accuracy", and "validation_loss", "validation_accuracy" of held-out tracks.
Histories: TypeAlias = "Mapping[str, Sequence[Mapping[str, float]]]"


class _Trained(TypedDict):
    loss: float
    accuracy: float


class EpochFigures(_Trained, total=False):
    """Figures of one epoch in a stored file, as its reader checks them."""

    validation_loss: float
    validation_accuracy: float


def to_frame(history: Histories) -> Any:
    """Return a pandas DataFrame, a row for each epoch: model, epoch, loss, accuracy, and both of held-out tracks."""
    import pandas as pd

    rows = [
        {"model": network, "epoch": k + 1, **epoch}
        for network, epochs in history.items()
        for k, epoch in enumerate(epochs)
    ]
    columns = dict.fromkeys(["model", "epoch", "loss", "accuracy", *(name for row in rows[:1] for name in row)])
    return pd.DataFrame(rows, columns=list(columns))


def as_csv(history: Histories) -> str:
    """Return `to_frame` as CSV."""
    return str(to_frame(history).to_csv(index=False, lineterminator="\n"))


def write_tensorboard(folder: Path, history: Histories) -> None:
    """Write events for `tensorboard --logdir FOLDER`, one run for each network; loads TensorFlow."""
    import tensorflow as tf

    # This does what tf.summary.scalar does, which exists only where TensorBoard is installed.
    scalars = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
    for network, epochs in history.items():
        with tf.summary.create_file_writer(str(folder / f"model {network}")).as_default():
            for k, epoch in enumerate(epochs):
                for name, value in epoch.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step=k + 1, metadata=scalars)


@plain_matplotlib()
def draw(history: Histories) -> bytes:
    """Draw the learning curves as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    colours = {network: f"C{k}" for k, network in enumerate(history)}
    for network, epochs in history.items():
        numbers, marker = range(1, len(epochs) + 1), "o" if len(epochs) == 1 else None
        for prefix, line in (("", "-"), ("validation_", "--")):
            if epochs and f"{prefix}loss" in epochs[0]:
                style = {"marker": marker, "linestyle": line, "color": colours[network]}
                name = f"model {network}{', held-out tracks' if prefix else ''}"
                loss.plot(numbers, [epoch[f"{prefix}loss"] for epoch in epochs], label=name, **style)
                accuracy.plot(numbers, [100 * epoch[f"{prefix}accuracy"] for epoch in epochs], **style)
    loss.set(ylabel="loss", yscale="symlog" if any(e["loss"] <= 0 for h in history.values() for e in h) else "log")
    accuracy.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
    loss.legend()
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
