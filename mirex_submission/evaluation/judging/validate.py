"""The command `validate`: check that the organisers' evaluator can read an output and counts every track."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mirex_submission.features.list_sources import open_list
from mirex_submission.protocol import lists
from mirex_submission.protocol.findings import Finding
from mirex_submission.protocol.in_memory import ListSource
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import TestList, check_names, class_names, class_numbers, read_output
from mirex_submission.protocol.tables import TableOptions


def validate(
    test_list: ListSource,
    train_list: ListSource,
    output: str | os.PathLike[str],
    *,
    tables: TableOptions = TableOptions(),
) -> int:
    """Check an output against its test and training list.

    Parameters
    ----------
    test_list, train_list : list file, folder, table or audio file, or tracks in memory
        Same types as for `classify` and `train`.
    output : path-like
        The output file.
    tables : TableOptions
        Columns to read from tables.

    Returns
    -------
    int
        Number of tracks; all of them count.

    Raises
    ------
    ListError
        With every problem, one line `file:line: ...` each. If a list has problems, only those are given: the output
        can be checked only against correct lists.
    """
    tests = open_list("test_list", test_list, labelled=False, tables=tables)
    training = open_list("train_list", train_list, labelled=True, tables=tables)
    tracks, labelled = lists.read_all(
        lambda: lists.read_unlabelled(tests), lambda: lists.read_labelled(training, for_evaluator=False)
    )
    findings: list[Finding] = check_names((tests, track) for track in tracks)
    findings += check_names((training, track) for track in labelled)
    findings += output_findings(tracks, labelled, output)
    if findings:
        raise lists.list_error(output, [str(finding) for finding in findings])
    return len(_paths(tracks))


def output_findings(
    tracks: Sequence[Track], labelled: Sequence[Track], output: str | os.PathLike[str]
) -> list[Finding]:
    """Find the problems of an output.

    Parameters
    ----------
    tracks : sequence of Track
        The test list.
    labelled : sequence of Track
        The training list, which defines the classes.
    output : path-like
        The output.

    Returns
    -------
    list of Finding

    Raises
    ------
    ListError
        If the output cannot be read at all.
    """
    return read_output(output, TestList(_paths(tracks)), class_numbers(class_names(labelled)))[1]


def _paths(tracks: Sequence[Track]) -> list[str]:
    """Return each path once; two spellings of one path count as the same."""
    return list({os.path.normpath(track.path): track.path for track in tracks}.values())
