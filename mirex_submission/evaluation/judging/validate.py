"""Whether the organisers' evaluator would read an output and count every track."""

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
        The number of tracks, all of which count.

    Raises
    ------
    ListError
        With every problem of the three, one `file:line: ...` a line. If a list has any, they are those of the lists:
        an output can be read only against sound ones.
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
    """Find what is wrong with an output.

    Parameters
    ----------
    tracks : sequence of Track
        The test list.
    labelled : sequence of Track
        The training list, which has the classes.
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
    """Return each path once, however it is spelled."""
    return list({os.path.normpath(track.path): track.path for track in tracks}.values())
