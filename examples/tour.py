#!/usr/bin/env python3
"""A tour of the Python API from audio to evaluation figures: read it from top to bottom.

    tour.py OUT [--clips 12] [--epochs 20]

The folder OUT gets a synthetic corpus and all results. With your own audio, leave out the first step.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_score
from synthetic_corpus import write_corpus

from mirex_submission import MirexClassifier, Recipe, classify, evaluate, extract, log_mel, train


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=12, help="clips of each of the four styles")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training (the paper: 150)")
    args = parser.parse_args()
    scratch, output = args.out / "scratch", args.out / "output.txt"

    print("1. A corpus, and lists as the organisers of MIREX write them.")
    lists = write_corpus(args.out / "corpus", n_clips=args.clips, seconds=6.0)
    pairs = [line.split("\t") for line in lists["train"].read_text(encoding="utf-8").splitlines()]
    paths, labels = zip(*pairs, strict=True)
    print(f"   {len(pairs)} training tracks of {len(set(labels))} classes; the first is {paths[0]}")

    print("2. The input of the networks: log10 power in 40 Mel bands.")
    frames = log_mel(paths[0])
    print(f"   {frames.shape[0]} frames of {frames.shape[1]} bands, from {frames.min():.1f} to {frames.max():.1f}")

    print("3. The three steps of MIREX, with the paper's model 2. The features stay in the scratch folder.")
    records = extract(scratch, lists["features"])
    print(f"   {sum(bool(record.content) for record in records.values())} of {len(records)} tracks are readable")
    model = train(scratch, lists["train"], recipe=Recipe(epochs=args.epochs))
    print(f"   the model is in {model}; MODEL_CARD.md there describes it")
    result = classify(scratch, lists["test"], output)
    surest = int(result.probabilities.max(axis=1).argmax())
    track, probability = result.tracks[surest], result.probabilities[surest].max()
    print(f"   the most confident prediction: {track.path} is {track.label} ({probability:.0%})")

    print("4. MIREX's figures; the files are in OUT/figures.")
    overall = evaluate(lists["truth"], {"ours": output}, args.out / "figures").systems[0].overall
    print(f"   accuracy {overall.accuracy:.1%}; confusion matrix (rows: predictions, columns: truth):")
    print("  ", str(np.asarray(overall.confusion)).replace("\n", "\n   "))

    print("5. The same network in scikit-learn's cross-validation; the features are those of step 3.")
    classifier = MirexClassifier(scratch=scratch, epochs=args.epochs)
    scores = cross_val_score(classifier, paths, labels, cv=StratifiedKFold(2, shuffle=True, random_state=0))
    print(f"   {', '.join(f'{score:.1%}' for score in scores)} accuracy on the held-out half")


if __name__ == "__main__":
    main()
