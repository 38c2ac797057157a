"""The command `validate`: check that the organisers' evaluator can read an output and counts every track."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mirex_submission.protocol import lists
from mirex_submission.protocol.findings import Finding
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import TestList, check_names, class_names, class_numbers, read_output


def validate(
    test_list: str | os.PathLike[str], train_list: str | os.PathLike[str], output: str | os.PathLike[str]
) -> int:
    """Check an output against its test and training list.

    Parameters
    ----------
    test_list, train_list, output : path-like
        The three files.

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
    tracks, labelled = lists.read_all(
        lambda: lists.read_unlabelled(test_list), lambda: lists.read_labelled(train_list, for_evaluator=False)
    )
    findings: list[Finding] = check_names((test_list, track) for track in tracks)
    findings += check_names((train_list, track) for track in labelled)
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
