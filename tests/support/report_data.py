"""Synthetic results for a report, and a parser of its page."""

import csv
import json
import math
from html.parser import HTMLParser

import numpy as np
import soundfile

from mirex_submission.evaluation.judging.evaluate import evaluate
from mirex_submission.evaluation.judging.tables import write_results
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import write_predictions, write_probabilities


def make_results(folder, labels, systems, *, n_folds=3, n_tracks=8, seed=0):
    """Write results of systems, best system first, with everything that a report can show; return the folder.

    n_tracks : tracks of each class in each fold; the first one of each class and fold has audio.
    """
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    for fold in range(1, n_folds + 1):
        truth = []
        for k, label in enumerate(labels):
            for n in range(n_tracks):
                path = folder / "audio" / f"track <b>{fold} {k} {n}.wav"
                truth.append(Track(str(path), label))
            tone = np.sin(np.arange(22050) * (0.05 + 0.01 * k)) * np.linspace(0, 0.5, 22050)
            soundfile.write(folder / "audio" / f"track <b>{fold} {k} 0.wav", tone, 22050)
        write_predictions(folder / "truth" / f"fold{fold}.txt", truth)
        for s, system in enumerate(systems):
            given = rng.dirichlet(np.full(len(labels), 0.3), len(truth))
            right = rng.random(len(truth)) < 0.85 - 0.08 * s
            for n in np.flatnonzero(right):
                best, true = given[n].argmax(), labels.index(truth[n].label)
                given[n, [best, true]] = given[n, [true, best]]
            rows = [(t.path, labels[p.argmax()], p) for t, p in zip(truth, given, strict=True)]
            answered = rows[1:] if s else rows  # all but the best system leave a track out
            write_predictions(folder / system / f"fold{fold}.txt", [Track(path, label) for path, label, _ in answered])
            for table in (folder / f"probabilities {s} {fold}.csv", folder / system / f"fold{fold}.csv"):
                write_probabilities(table, labels, rows)
            _write_history(folder / f"history {s} {fold}.csv", ["1", "2"][: 1 + s % 2], validation=bool(s % 2))
    evaluation = evaluate(folder / "truth", {system: folder / system for system in systems})
    write_results(evaluation, folder, ["mirex-submission", "evaluate", "--truth", "truth <i>"])
    (folder / "runs.json").write_text(json.dumps(_runs(folder, systems, n_folds)), encoding="utf-8")
    return folder


def _write_history(path, networks, *, validation):
    with open(path, "w", newline="") as f:
        table = csv.writer(f)
        more = ["validation_loss", "validation_accuracy"] if validation else []
        table.writerow(["model", "epoch", "loss", "accuracy", *more])
        for n, network in enumerate(networks):
            for epoch in range(1, 41):
                fall = math.exp(-epoch / (10 + 5 * n))
                table.writerow([network, epoch, 2 * fall, 1 - fall, *([fall + 0.4, 0.7 - fall / 2] if more else [])])


def _runs(folder, systems, n_folds):
    def call(of, name, seconds, status=0):
        argv = ["/systems/<b>/train.sh", "-numThreads", "4", "/scratch folder/one", "--seed", "7"]
        log = f"{folder}/{of}/logs/{name}.log"
        return {"call": name, "argv": argv, "status": status, "seconds": seconds, "peak_mb": 210.4, "log": log}

    return {
        "systems": {
            system: {
                "command_dir": "/systems/<b>",
                "extraction": call(s, "extract", 31.5 + s),
                "folds": {
                    f"fold{fold}": {
                        "calls": [
                            call(s, "train", 190.0 + 40 * s + fold),
                            call(s, "classify", 2.5, status=int(s == 1)),
                        ],
                        "output": f"{system}/fold{fold}.txt",
                        "probabilities": f"probabilities {s} {fold}.csv",
                        "history": f"history {s} {fold}.csv",
                    }
                    for fold in range(1, n_folds + 1)
                },
            }
            for s, system in enumerate(systems)
        },
        "versions": {"keras": "3.<b>15"},
        "lists": {"/lists/<b>features.txt": "ab" * 32},
        "started": "2016-08-01T12:00:00",
        "commands": ["mirex-submission crossval folds <b> --seed 7"],
    }


class Reader(HTMLParser):
    """The content of a page: its tags with their attributes, and the text of each section and kind of tag."""

    VOID = ("meta", "br", "img", "use", "image", "source")

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(page)
        self.close()
        assert self._open == [], "a tag is left open"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append((tag, dict(attributes).get("id")))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        self.texts.append(([*self._open], " ".join(data.split())))

    def text(self, *, section=None, tag=None):
        """Return all text of a section or of a kind of tag, on one line."""
        texts = (t for where, t in self.texts if any(section in (None, i) and tag in (None, n) for n, i in where))
        return " ".join(filter(None, texts))
