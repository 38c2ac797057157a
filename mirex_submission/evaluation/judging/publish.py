"""From outputs to published figures: evaluate systems, write all files, report what the evaluator would fail on."""

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
        Folder, pattern or file of the truth, one list a fold.
    systems : mapping
        {name of a system: folder, pattern or file of its outputs}.
    out : path-like
        Folder for the figures.
    options : EvaluateOptions
        Seed and strictness.
    command_line : sequence of str
        The command that asked for it, for `results.json`.
    show : callable
        Takes the summary.

    Returns
    -------
    Evaluation
        Figures, tests and findings of all systems.

    Raises
    ------
    UsageError
        For a name that cannot name a system, or a folder where outputs lie.
    ListError
        For a truth, groups or strata that are wrong and an output of no fold; and once all is written, for
        probabilities that are wrong, and with `strict` for any finding.
    StorageError
        If the disk does not take the files.

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
        text = f"systems: {type(systems).__name__} is no mapping: give {{name: folder of its outputs}}"
        raise UsageError(text, code="usage.systems")
    check_options(options=(options, EvaluateOptions))
    for name, path in (("truth", truth), ("out", out), *systems.items()):
        checked_path(str(name), path)
    if not systems:
        raise UsageError("no system: give at least one, as NAME=DIR", code="usage.no-system")
    check_system_names(list(systems))
    for name, source in systems.items():
        if os.path.realpath(source) == os.path.realpath(os.path.join(out, name)):
            problem = f"--out {out}: {source} would get {name}'s report among its outputs: give another"
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
    """Write all files of an evaluation, show its summary, and warn of findings: once a file and kind.

    wiki : show MediaWiki's tables instead of the summary.
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
        more = f" (and {len(findings) - 1:,} more such)" if len(findings) > 1 else ""
        log.warning("%s", coded(f"{findings[0].text}; counted here: {kind.counted}{more}", code=kind.code))
    for name, comparison in (("classes", evaluation.by_class), ("folds", evaluation.by_fold)):
        if comparison and comparison.warning:
            log.warning("%s", coded(f"Friedman's test over {name}: {comparison.warning}", code="report.few-rows"))
    for system in evaluation.systems:
        part_tables.warn_of_folds(system)
    log.info("%s: all figures; results.json has the answers of each system too", out)


def refuse_probabilities(evaluation: Evaluation) -> None:
    """Raise ListError with everything that is wrong with probabilities."""
    problems = [problem for system in evaluation.systems for problem in system.probability_problems]
    if problems:
        raise ListError("\n".join(problems))


def refuse_findings(evaluation: Evaluation, out: str | os.PathLike[str]) -> None:
    """Raise ListError if the evaluator would fail on anything."""
    if evaluation.findings:
        problem = f"{out}: {len(evaluation.findings):,} findings, which results.json lists: see the warnings"
        raise ListError(problem, code="output.strict")
