"""The audit section of the report: problems by severity and code, and the shortcuts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from msgspec import UnsetType

from mirex_submission.evaluation.audit.records import AUDIT, Audit, Problem, read_audit
from mirex_submission.evaluation.audit.summary import SEVERITIES, by_code
from mirex_submission.evaluation.report import figures

_N_EXAMPLES = 5  # shown of each code
_N_SHORTCUTS = 30


@dataclass(frozen=True)
class ProblemKind:
    """Problems of one severity and code: their number, and the first ones as examples."""

    severity: str
    code: str
    n: int
    examples: list[Problem]


@dataclass(frozen=True)
class AuditSection:
    """The part of an audit that the page shows."""

    audit: Audit
    kinds: list[ProblemKind]
    shortcuts: Markup | None

    @property
    def n_warnings(self) -> int:
        """Number of warnings and errors."""
        return sum(kind.n for kind in self.kinds if kind.severity != "note")

    @property
    def best_system(self) -> tuple[str, float] | None:
        """Name and accuracy of the best system, where outputs were given."""
        first = next(iter(self.audit.shortcuts), None)
        if first is None or isinstance(first.best_system, UnsetType) or isinstance(first.best_accuracy, UnsetType):
            return None
        return first.best_system, first.best_accuracy


def audit_section(folder: Path) -> AuditSection | None:
    """Return the audit in a folder, or None without one. Raises ListError if it cannot be read."""
    if not (folder / AUDIT).exists():
        return None
    audit = read_audit(folder / AUDIT)
    kinds = [
        ProblemKind(severity, code, len(problems), problems[:_N_EXAMPLES])
        for severity in SEVERITIES
        for code, problems in by_code(audit.problems, severity).items()
    ]
    shown = audit.shortcuts[:_N_SHORTCUTS]
    return AuditSection(audit, kinds, figures.shortcuts(shown) if shown else None)
