"""The summary of an audit as text: the number of problems of each kind, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mirex_submission.evaluation.audit.records import Audit, Problem
from mirex_submission.system.progress import printable

SEVERITIES = ("error", "warning", "note")
_N_EXAMPLES = 5  # of each kind


def summary(audit: Audit) -> str:
    """Return the summary of an audit, with the most severe problems first and a few examples of each kind."""
    n_folds = len(audit.folds)
    lines = [f"{audit.n_tracks:,} tracks in {n_folds} fold(s), {audit.n_unreadable:,} of them unreadable"]
    for severity in SEVERITIES:
        for code, problems in by_code(audit.problems, severity).items():
            lines += ["", f"{severity}: {len(problems):,} x {code}"]
            lines += [f"  {printable(problem.message)}" for problem in problems[:_N_EXAMPLES]]
            if len(problems) > _N_EXAMPLES:
                lines.append(f"  and {len(problems) - _N_EXAMPLES:,} more")
    return "\n".join([*lines, *_shortcuts(audit)])


def by_code(problems: Sequence[Problem], severity: str) -> dict[str, list[Problem]]:
    """Group the problems of one severity by code, most frequent code first."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.severity == severity:
            groups.setdefault(problem.code, []).append(problem)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _shortcuts(audit: Audit) -> Iterator[str]:
    if audit.shortcuts:
        width = max(len(shortcut.feature) for shortcut in audit.shortcuts)
        yield ""
        yield "Shortcuts (features that predict the label without the music), in %: accuracy, 95 % interval, chance"
        for shortcut in audit.shortcuts:
            low, high = shortcut.interval
            figures = (
                f"{100 * shortcut.accuracy:5.1f}  {100 * low:5.1f} - {100 * high:5.1f}  {100 * shortcut.chance:5.1f}"
            )
            yield f"  {shortcut.feature:{width}}  {figures}"
