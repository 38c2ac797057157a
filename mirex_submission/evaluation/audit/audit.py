"""The command `audit`: run all checks, then write the file and print the summary."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mirex_submission.errors import ListError
from mirex_submission.evaluation.audit.copies import copies
from mirex_submission.evaluation.audit.labels import doubtful_labels
from mirex_submission.evaluation.audit.leaks import leaks
from mirex_submission.evaluation.audit.records import AUDIT, Audit
from mirex_submission.evaluation.audit.shortcuts import shortcuts
from mirex_submission.evaluation.audit.summary import summary
from mirex_submission.evaluation.audit.task import read_task
from mirex_submission.evaluation.options import AuditOptions
from mirex_submission.system.atomic import check_writable, write_file
from mirex_submission.system.installation import versions

log = logging.getLogger(__name__)


def audit(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    options: AuditOptions = AuditOptions(),
    *,
    command_line: Sequence[str] = (),
    show: Callable[[str], object] = lambda text: None,
) -> Audit:
    """Search the lists and audio for problems that can raise scores or contradict labels, and write `audit.json`.

    Parameters
    ----------
    sources : sequence of path-like
        A folder of the lists of all folds; or a training list, and the truth or the test list.
    out : path-like
        Folder for `audit.json`.
    options : AuditOptions
        Groups, outputs of systems, seed, strictness and threads.
    command_line : sequence of str
        The command line, which is stored in the file.
    show : callable
        Called with the summary.

    Returns
    -------
    Audit

    Raises
    ------
    ListError
        For wrong lists, and with `strict`, after the file is written, for any warning.
    UsageError
        For an invalid combination of arguments.
    StorageError
        If the file cannot be written.
    """
    task = read_task(sources, groups=options.groups, outputs=options.outputs, threads=options.threads)
    path = Path(out) / AUDIT
    check_writable(path)  # fails now and not after the work
    predicted, of_shortcuts = shortcuts(task, seed=options.seed)
    problems = [*copies(task, path.parent), *leaks(task), *of_shortcuts, *doubtful_labels(task)]
    result = Audit(
        problems=problems,
        shortcuts=predicted,
        folds=[fold.name for fold in task.folds],
        n_tracks=len(task.tracks),
        n_unreadable=sum(problem.code == "audit.unreadable" for problem in problems),
        command=list(command_line),
        versions={name: version for name, version in versions().items() if version},
    )
    write_file(path, json.dumps(msgspec.to_builtins(result), indent=1, ensure_ascii=False).encode() + b"\n")
    show(summary(result))
    log.info("%s: lists all problems with all their tracks", path)
    n_warnings = sum(problem.severity != "note" for problem in problems)
    if options.strict and n_warnings:
        raise ListError(f"{path}: {n_warnings:,} warnings and errors: see the summary", code="audit.strict")
    return result
