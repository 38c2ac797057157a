"""Answers as MIREX's lines, CSV and JSON lines."""

import csv
import io
import json

import pytest

from mirex_submission.errors import ListError
from mirex_submission.protocol.answers import Answer, encoded

ANSWERS = [
    Answer('a, "b".wav', "rock", [1 / 3, 2 / 3], 0.12345, ""),
    Answer("é.wav", "note", [1, 0.0], 2.0, "cut off [audio.truncated]"),
]
CLASSES = ("rock", "note")


def encode(form):
    return encoded(ANSWERS, CLASSES, form=form, output="o").decode()


def test_lines_of_mirex():
    assert encode("mirex") == 'a, "b".wav\trock\né.wav\tnote\n'
    with pytest.raises(ListError, match=r"o: .*\[output\.unwritable\]"):
        encoded([Answer("a\n", "b", [], 0.0, "")], (), form="mirex", output="o")


def test_csv_has_a_column_for_each_class_whatever_its_name():
    header, first, second = csv.reader(io.StringIO(encode("csv")))
    assert header == ["path", "label", "rock", "note (class)", "seconds", "note"]
    assert first == ['a, "b".wav', "rock", "0.333333333", "0.666666667", "0.123", ""]
    assert second == ["é.wav", "note", "1", "0", "2.000", "cut off [audio.truncated]"]


def test_json_lines():
    first, second = map(json.loads, encode("jsonl").splitlines())
    assert first["probabilities"] == {"rock": 0.333333333, "note": 0.666666667} and first["seconds"] == 0.123
    assert second == {
        "path": "é.wav", "label": "note", "probabilities": {"rock": 1.0, "note": 0.0}, "seconds": 2.0,
        "note": "cut off [audio.truncated]",
    }  # fmt: skip
