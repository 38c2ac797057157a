"""MediaWiki tables as on the result pages of MIREX: summary, accuracy per fold and accuracy per class."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mirex_submission.evaluation.judging.evaluate import Evaluation
from mirex_submission.system.progress import printable


def wiki_tables(evaluation: Evaluation) -> str:
    """Return the tables of an evaluation as MediaWiki text, with four decimals as in the CSV files."""
    systems = evaluation.systems
    names = [system.name for system in systems]
    best_first = sorted(systems, key=lambda system: -system.overall.accuracy)
    summary = [
        [system.name, f"{system.overall.accuracy:.4f}", f"{system.overall.normalised_accuracy:.4f}"]
        for system in best_first
    ]
    per_fold = [
        [fold.file.name, *(f"{system.folds[k].accuracy:.4f}" for system in systems)]
        for k, fold in enumerate(evaluation.folds)
    ]
    per_class = [
        [label, *(f"{system.overall.recalls[k]:.4f}" for system in systems)]
        for k, label in enumerate(evaluation.classes)
    ]
    accuracies = ["Classification Accuracy", "Normalised Classification Accuracy"]
    return "\n\n".join(
        [
            _section("Summary Results", ["Algorithm", *accuracies], summary),
            _section("Accuracy per Fold", ["Fold", *names], per_fold),
            _section("Accuracy per Class", ["Class", *names], per_class),
        ]
    )


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"=== {title} ===", "", '{| class="wikitable"', f"! {' !! '.join(map(_escaped, header))}"]
    for name, *cells in rows:
        lines += ["|-", f"! {_escaped(name)}", f"| {' || '.join(cells)}"]
    return "\n".join([*lines, "|}"])


def _escaped(text: str) -> str:
    """Escape text for MediaWiki: every character that could start markup becomes an entity."""
    return re.sub(r"[^\w .,()/-]|^[-+]|__|~{3}|ISBN|RFC|PMID", _entities, printable(text).strip())


def _entities(match: re.Match[str]) -> str:
    return "".join(f"&#{ord(character)};" for character in match[0])
