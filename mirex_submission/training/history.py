"""How a training went: loss and accuracy of every epoch, as a table, as a picture and for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path


def as_csv(history: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line an epoch: model,epoch,loss,accuracy, and the same two of held-out tracks where there are any.

    history : network -> loss and accuracy of each epoch.
    """
    columns = dict.fromkeys(
        ["loss", "accuracy", *(name for epochs in history.values() for name in (epochs or [{}])[0])]
    )
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["model", "epoch", *columns])
    for network, epochs in history.items():
        table.writerows([network, k + 1, *(epoch[name] for name in columns)] for k, epoch in enumerate(epochs))
    return file.getvalue()


def write_tensorboard(folder: Path, history: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Events for `tensorboard --logdir FOLDER`, a run a network. Loads TensorFlow, which takes some seconds."""
    import tensorflow as tf

    # What tf.summary.scalar does, which exists only where TensorBoard is installed.
    scalars = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
    for network, epochs in history.items():
        with tf.summary.create_file_writer(str(folder / f"model {network}")).as_default():
            for k, epoch in enumerate(epochs):
                for name, value in epoch.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step=k + 1, metadata=scalars)


def draw(history: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """The learning curves as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    colours = {network: f"C{k}" for k, network in enumerate(history)}
    for network, epochs in history.items():
        at, marker = range(1, len(epochs) + 1), "o" if len(epochs) == 1 else None
        for of, style in (("", "-"), ("validation_", "--")):
            if epochs and f"{of}loss" in epochs[0]:
                look = {"marker": marker, "linestyle": style, "color": colours[network]}
                name = f"model {network}{', held-out tracks' if of else ''}"
                loss.plot(at, [epoch[f"{of}loss"] for epoch in epochs], label=name, **look)
                accuracy.plot(at, [100 * epoch[f"{of}accuracy"] for epoch in epochs], **look)
    loss.set(ylabel="loss", yscale="symlog" if any(e["loss"] <= 0 for h in history.values() for e in h) else "log")
    accuracy.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
    loss.legend()
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
