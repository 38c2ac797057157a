"""The command `evaluate`: score systems, write all files, and warn of problems for the organisers' evaluator."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from mirex_submission.errors import ListError, UsageError, coded
from mirex_submission.evaluation.judging import part_tables, tables
from mirex_submission.evaluation.judging.evaluate import Evaluation, evaluate
from mirex_submission.evaluation.judging.wiki import wiki_tables
from mirex_submission.evaluation.names import check_system_names
from mirex_submission.evaluation.options import EvaluateOptions
from mirex_submission.system.option import check_options, checked_path

log = logging.getLogger(__name__)


def evaluate_systems(
    truth: str | os.PathLike[str],
    systems: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    options: EvaluateOptions = EvaluateOptions(),
    *,
    command_line: Sequence[str] = (),
    show: Callable[[str], object] = lambda text: None,
) -> Evaluation:
    """Evaluate systems and write their figures.

    Parameters
    ----------
    truth : path-like
        Folder, pattern or file of the truth, one list per fold.
    systems : mapping
        {name of a system: folder, pattern or file of its outputs}.
    out : path-like
        Folder for the figures.
    options : EvaluateOptions
        Seed, groups, strata and strictness.
    command_line : sequence of str
        The command line, which is stored in `results.json`.
    show : callable
        Called with the summary.

    Returns
    -------
    Evaluation
        Figures, significance tests and problems of all systems.

    Raises
    ------
    UsageError
        For an invalid name of a system, or if `out` would put a report among the outputs of a system.
    ListError
        For a wrong truth, wrong groups or strata, or an output that belongs to no fold. After all files are written:
        for wrong probabilities, and with `strict` for any problem for the organisers' evaluator.
    StorageError
        If the files cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mirex_submission import evaluate
    >>> for folder, label in (("truth", "jazz"), ("answers", "rock")):
    ...     Path(folder).mkdir()
    ...     tracks = f"/music/one.wav\\trock\\n/music/two.wav\\t{label}\\n"
    ...     written = Path(folder, "fold1.txt").write_text(tracks)
    >>> evaluation = evaluate("truth", {"ours": "answers"}, "figures")
    >>> evaluation.systems[0].overall.accuracy
    0.5
    """
    if not isinstance(systems, Mapping):
        text = f"systems: {type(systems).__name__} is not a mapping: give {{name: folder of its outputs}}"
        raise UsageError(text, code="usage.systems")
    check_options(options=(options, EvaluateOptions))
    for name, path in (("truth", truth), ("out", out), *systems.items()):
        checked_path(str(name), path)
    if not systems:
        raise UsageError("no system: give at least one, as NAME=DIR", code="usage.no-system")
    check_system_names(list(systems))
    for name, source in systems.items():
        if os.path.realpath(source) == os.path.realpath(os.path.join(out, name)):
            problem = (
                f"--out {out}: the report of {name} would be written among the outputs in {source}: give another folder"
            )
            raise UsageError(problem, code="usage.out-among-outputs")
    evaluation = evaluate(truth, systems, seed=options.seed, groups=options.groups, strata=options.strata)
    publish(evaluation, out, command_line, show, wiki=options.wiki)
    refuse_probabilities(evaluation)
    if options.strict:
        refuse_findings(evaluation, out)
    return evaluation


def publish(
    evaluation: Evaluation,
    out: str | os.PathLike[str],
    command_line: Sequence[str],
    show: Callable[[str], object],
    *,
    wiki: bool = False,
) -> None:
    """Write all files of an evaluation, show its summary, and warn of problems, once per file and kind.

    wiki : show MediaWiki tables instead of the summary.
    """
    tables.write_results(evaluation, out, command_line)
    part_tables.write(evaluation, out)
    show(
        wiki_tables(evaluation)
        if wiki
        else "\n\n".join(filter(None, (tables.summary(evaluation), part_tables.summary(evaluation))))
    )
    by_kind = defaultdict(list)
    for finding in evaluation.findings:
        by_kind[finding.where.rpartition(":")[0] or finding.where, finding.kind].append(finding)
    for (_, kind), findings in by_kind.items():
        more = f" (and {len(findings) - 1:,} more of this kind)" if len(findings) > 1 else ""
        log.warning("%s", coded(f"{findings[0].text}; counted here: {kind.counted}{more}", code=kind.code))
    for name, comparison in (("classes", evaluation.by_class), ("folds", evaluation.by_fold)):
        if comparison and comparison.warning:
            log.warning("%s", coded(f"Friedman's test over {name}: {comparison.warning}", code="report.few-rows"))
    for system in evaluation.systems:
        part_tables.warn_of_folds(system)
    log.info("%s: all figures written; results.json also has the predictions of each system", out)


def refuse_probabilities(evaluation: Evaluation) -> None:
    """Raise ListError with all problems of the tables of probabilities."""
    problems = [problem for system in evaluation.systems for problem in system.probability_problems]
    if problems:
        raise ListError("\n".join(problems))


def refuse_findings(evaluation: Evaluation, out: str | os.PathLike[str]) -> None:
    """Raise ListError if the organisers' evaluator would fail or miscount."""
    if evaluation.findings:
        n = len(evaluation.findings)
        problem = f"{out}: {n:,} problem(s) for the organisers' evaluator: see the warnings, or results.json for all"
        raise ListError(problem, code="output.strict")
