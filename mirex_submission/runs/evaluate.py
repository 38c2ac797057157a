"""Score the outputs of systems against the truth, as `mirex-submission evaluate` does."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mirex_submission.errors import ListError, UsageError
from mirex_submission.system import option as opt

if TYPE_CHECKING:
    from mirex_submission.evaluation.judging.evaluate import Evaluation

log = logging.getLogger(__name__)


def evaluate(
    truth: str | os.PathLike[str],
    systems: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    strict: bool = False,
    command: Sequence[str] = (),
) -> Evaluation:
    """Compute MIREX's figures for the outputs of one or several systems, and write them.

    Parameters
    ----------
    truth : path
        Folder of the truth: a list of path and label for each fold.
    systems : mapping of str to path
        Folder of the outputs of each system, one a fold.
    out : path
        Folder for the figures.
    seed : int
        Seed of the bootstrap intervals.
    strict : bool
        Whether anything that the organisers' evaluator trips over is an error.
    command : sequence of str
        The command that results.json names.

    Returns
    -------
    Evaluation
        The figures of each system, overall and by fold, the significance tests and the findings.

    Raises
    ------
    ListError
        The truth has problems; with `strict`, after writing, there is any finding.
    StorageError
        The figures cannot be written.
    UsageError
        The call is wrong.
    """
    if not isinstance(systems, Mapping) or not systems:
        raise UsageError(f"systems: {systems!r}: give {{name: folder of its outputs}}", code="usage.systems")
    for name, folder in {"truth": truth, "out": out, **systems}.items():
        try:
            opt.path(folder)
        except ValueError as error:
            raise UsageError(f"{name}: {error}", code="usage.path") from error
    for name, folder in systems.items():
        if os.path.realpath(folder) == os.path.realpath(os.path.join(out, name)):
            raise UsageError(
                f"--out {out}: {folder} would get the report of {name} among its outputs: give another folder",
                code="usage.output",
            )
    from mirex_submission.evaluation.judging.evaluate import evaluate

    evaluation = evaluate(truth, systems, seed=seed)
    write_evaluation(evaluation, out, command)
    if strict:
        refuse_findings(evaluation, out)
    return evaluation


def write_evaluation(evaluation: Evaluation, out: str | os.PathLike[str], command: Sequence[str]) -> None:
    """Write the figures and log the warnings."""
    from mirex_submission.evaluation.judging import tables

    tables.write_results(evaluation, out, command)
    by_kind = defaultdict(list)
    for finding in evaluation.findings:
        by_kind[finding.where.rpartition(":")[0] or finding.where, finding.kind].append(finding)
    for (_, kind), findings in by_kind.items():
        more = f" (and {len(findings) - 1:,} more such)" if len(findings) > 1 else ""
        log.warning("%s; counted here: %s%s", findings[0], kind.counted, more)
    for name, comparison in (("classes", evaluation.by_class), ("folds", evaluation.by_fold)):
        if comparison and comparison.warning:
            log.warning("Friedman's test over %s: %s", name, comparison.warning)
    log.info("%s: all figures; results.json holds the answers of each system", out)


def refuse_findings(evaluation: Evaluation, out: str | os.PathLike[str]) -> None:
    """Raise ListError if there is anything that the organisers' evaluator trips over."""
    if evaluation.findings:
        raise ListError(
            f"{out}: {len(evaluation.findings):,} findings (see the warnings; results.json lists them)",
            code="output.findings",
        )
