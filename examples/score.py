#!/usr/bin/env python3
"""Print the accuracy and the confusion matrix of a submission's output: score.py TRUTH OUTPUT (both path<TAB>label).

For several folds and systems, and for all that MIREX computes: mirex-submission evaluate.
"""

import sys

import numpy as np

from mirex_submission.errors import MirexError
from mirex_submission.evaluation.judging.metrics import fold_score
from mirex_submission.protocol.lists import read_labelled
from mirex_submission.protocol.outputs import TestList, class_key, class_names, read_output


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        truth = read_labelled(sys.argv[1], min_classes=1)
        # A fold may lack a class that a system knows from its training.
        classes = class_names([*truth, *read_labelled(sys.argv[2], min_classes=1)])
        number_of = {key: number for number, key in enumerate(classes)}
        predicted, findings = read_output(sys.argv[2], TestList([track.path for track in truth]), number_of)
    except MirexError as error:
        sys.exit(str(error))
    for finding in findings:
        print(finding, file=sys.stderr)
    score = fold_score(np.array([number_of[class_key(track.label)] for track in truth]), predicted, len(classes))
    width = max(map(len, classes.values())) + 2
    print("predicted (rows) against truth (columns)")
    print(" " * width + "".join(f"{label:>{width}}" for label in classes.values()))
    for label, row in zip(classes.values(), score.confusion, strict=True):
        print(f"{label:{width}}" + "".join(f"{n:{width}}" for n in row))
    n_right = score.confusion.trace()
    print(f"accuracy {score.accuracy:.1%} ({n_right} of {len(truth)} held-out tracks)")


if __name__ == "__main__":
    main()
