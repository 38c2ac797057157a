"""The answers of a classification as text: MIREX's lines, or CSV or JSON lines with probabilities, times and notes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import prediction_lines

FORMATS = ("mirex", "csv", "jsonl")
NONE = "none"  # stands in a set in place of labels if no label fits
BETWEEN_LABELS = "|"


class Answer(NamedTuple):
    """The answer for one line of a test list.

    Parameters
    ----------
    path, label : str
        The track as the list spells it, and its predicted class.
    probabilities : sequence of float
        One for each class.
    seconds : float
        Time for the features, if they were not stored, and for the prediction.
    note : str
        Note on the audio, or the reason why it is unreadable, with the code of the problem; or "".
    labels : sequence of str, optional
        Set of labels; only NONE if no label fits.
    """

    path: str
    label: str
    probabilities: Sequence[float]
    seconds: float
    note: str
    labels: Sequence[str] | None = None


def encoded(answers: Iterable[Answer], classes: Sequence[str], *, form: str, output: str) -> bytes:
    """Encode answers as UTF-8.

    Parameters
    ----------
    answers : iterable of Answer
        One for each line.
    classes : sequence of str
        Labels in the order of the probabilities.
    form : {"mirex", "csv", "jsonl"}
        Format.
    output : str
        Name of the file, for messages.

    Raises
    ------
    ListError
        A line of MIREX's format cannot hold a path or a label.
    """
    if form == "csv":
        return _csv(answers, classes)
    if form == "jsonl":
        return "".join(_json_line(answer, classes) for answer in answers).encode()
    return prediction_lines(output, (Track(answer.path, answer.label) for answer in answers))


def _csv(answers: Iterable[Answer], classes: Sequence[str]) -> bytes:
    rows = list(answers)
    last = ("seconds", "note", "labels") if any(row.labels is not None for row in rows) else ("seconds", "note")
    own = ("path", "label", *last)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", *(f"{c} (class)" if c in own else c for c in classes), *last])
    for path, label, probabilities, seconds, note, labels in rows:
        of_set = [] if labels is None else [BETWEEN_LABELS.join(labels)]
        writer.writerow([path, label, *(f"{p:.9g}" for p in probabilities), f"{seconds:.3f}", note, *of_set])
    return text.getvalue().encode()


def _json_line(answer: Answer, classes: Sequence[str]) -> str:
    probabilities = {label: float(f"{p:.9g}") for label, p in zip(classes, answer.probabilities, strict=True)}
    fields = {**answer._asdict(), "probabilities": probabilities, "seconds": round(answer.seconds, 3)}
    if answer.labels is None:
        del fields["labels"]
    return json.dumps(fields, ensure_ascii=False) + "\n"
