"""How a training went: loss and accuracy of every epoch, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence


def as_csv(history: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line an epoch: model,epoch,loss,accuracy.

    history : network -> loss and accuracy of each epoch.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["model", "epoch", "loss", "accuracy"])
    for network, epochs in history.items():
        table.writerows([network, k + 1, epoch["loss"], epoch["accuracy"]] for k, epoch in enumerate(epochs))
    return file.getvalue()


def draw(history: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """The learning curves as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    for network, epochs in history.items():
        at, marker = range(1, len(epochs) + 1), "o" if len(epochs) == 1 else None
        loss.plot(at, [epoch["loss"] for epoch in epochs], marker=marker, label=f"model {network}")
        accuracy.plot(at, [100 * epoch["accuracy"] for epoch in epochs], marker=marker)
    loss.set(ylabel="loss", yscale="symlog" if any(e["loss"] <= 0 for h in history.values() for e in h) else "log")
    accuracy.set(xlabel="epoch", ylabel="training accuracy, %", ylim=(0, 102))
    loss.legend()
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
