"""Whether the organisers' evaluator would take an output and count every track."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import Finding, TestList, check_names, class_names, read_output


def validate(
    test_list: str | os.PathLike[str], train_list: str | os.PathLike[str], output: str | os.PathLike[str]
) -> int:
    """Check an output against its test and training list; returns the number of tracks, all of which count.

    Raises ListError with every fault of the three, one `file:line: ...` a line: those of the lists first, for an
    output can be read only against sound ones.
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
    """What is wrong with an output for the tracks of a test list, after training on the labelled ones.

    Raises ListError if the output cannot be read at all.
    """
    classes = {key: number for number, key in enumerate(class_names(labelled))}
    return read_output(output, TestList(_paths(tracks)), classes)[1]


def _paths(tracks: Sequence[Track]) -> list[str]:
    return list({os.path.normpath(track.path): track.path for track in tracks}.values())
