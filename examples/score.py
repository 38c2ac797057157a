#!/usr/bin/env python3
"""Print the accuracy and the confusion matrix of a submission's output: score.py TRUTH OUTPUT (both path<TAB>label)."""

import sys

from mirex_submission.errors import MirexError
from mirex_submission.evaluation.metrics import accuracy, confusion
from mirex_submission.protocol.lists import read_labelled


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        truth, predictions = (read_labelled(path, min_classes=1) for path in sys.argv[1:])
    except MirexError as error:
        sys.exit(str(error))
    classes = sorted({track.label for track in [*truth, *predictions]})
    matrix = confusion(truth, predictions, classes)
    width = max(map(len, classes)) + 2
    print("predicted (rows) against truth (columns)")
    print(" " * width + "".join(f"{label:>{width}}" for label in classes))
    for label, row in zip(classes, matrix, strict=True):
        print(f"{label:{width}}" + "".join(f"{n:{width}}" for n in row))
    print(f"accuracy {accuracy(matrix, len(truth)):.1%} ({matrix.trace()} of {len(truth)} held-out tracks)")


if __name__ == "__main__":
    main()
