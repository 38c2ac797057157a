"""Problems of an output on which the organisers' evaluator fails or miscounts, and how this package treats them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mirex_submission.errors import coded


@dataclass(frozen=True)
class Treatment:
    """The treatment of one kind of problem.

    Parameters
    ----------
    evaluator : str
        What the organisers' evaluator does.
    counted : str
        How this package counts it.
    advice : str
        What the user can do.
    code : str
        Stable code of the problem.
    """

    evaluator: str
    counted: str
    advice: str
    code: str


class Kind(Enum):
    """Everything in an output on which the evaluator fails or miscounts; `code` is `output.` and the name."""

    NO_OUTPUT = Treatment(
        "refuses the system, because an output is missing",
        "its tracks have no prediction",
        "write one output per fold",
        code="output.no-output",
    )
    EMPTY = Treatment(
        "counts the fold as 0 %, and divides 0 by 0 if all outputs are empty",
        "its tracks have no prediction",
        "write a line for each track of the test list",
        code="output.empty",
    )
    NO_LABEL = Treatment("stops with an error", "left out", "write path<TAB>label", code="output.no-label")
    CUT_LINE = Treatment(
        "cuts the line there and takes the second word as the label",
        "read as a whole if that names a track and a class",
        "use paths and labels without white space",
        code="output.cut-line",
    )
    UNKNOWN_LABEL = Treatment(
        "stops with an error",
        "as no prediction",
        "write the label as the training list spells it",
        code="output.unknown-label",
    )
    UNKNOWN_TRACK = Treatment(
        "counts the track if another fold has it, and otherwise stops with an error",
        "left out",
        "write the path as the test list spells it",
        code="output.unknown-track",
    )
    REPEATED_TRACK = Treatment(
        "takes the last line of a path, but counts every path of the same track name",
        "the last line counts",
        "write each track once",
        code="output.repeated-track",
    )
    MISSING_TRACK = Treatment(
        "counts it as wrong in its fold and leaves it out of the overall figure",
        "the same",
        "write a line for each track of the test list",
        code="output.missing-track",
    )
    SAME_NAME = Treatment(
        "takes both for one track", "distinguished by file name or path", "rename the files", code="output.same-name"
    )
    SHORT_NAME = Treatment("stops with an error", "counted like any other", "rename the file", code="output.short-name")
    NO_LETTERS = Treatment(
        "stops with an error",
        "a class like any other",
        "give the class a name with ASCII letters or digits",
        code="output.no-letters",
    )
    SAME_LABEL = Treatment(
        "takes both for one class",
        "the same",
        "give the classes names that differ in letters or digits",
        code="output.same-label",
    )

    TWO_FORMS = Treatment(
        "takes them for two classes", "the same", "spell the label in one Unicode form, NFC", code="output.two-forms"
    )
    UNICODE_FORM = Treatment(
        "takes it for another name, and stops with an error if the truth has no such name",
        "as the name that looks the same",
        "write paths and labels byte for byte as the lists have them",
        code="output.unicode-form",
    )
    BYTE_ORDER_MARK = Treatment(
        "takes the mark for a part of the first file name, and stops with an error for all systems",
        "read without it",
        "save all files as UTF-8 without a byte order mark",
        code="output.byte-order-mark",
    )

    def __init__(self, treatment: Treatment) -> None:
        self.evaluator, self.counted, self.advice = treatment.evaluator, treatment.counted, treatment.advice
        self.code = treatment.code


@dataclass(frozen=True)
class Finding:
    """A problem of an output on which the evaluator fails or miscounts.

    Parameters
    ----------
    where : str
        A file, or `file:line`.
    problem : str
        What is wrong there.
    kind : Kind
        Kind of the problem.
    """

    where: str
    problem: str
    kind: Kind

    @property
    def text(self) -> str:
        """The message without its code."""
        return f"{self.where}: {self.problem}: the evaluator {self.kind.evaluator}: {self.kind.advice}"

    def __str__(self) -> str:
        return coded(self.text, code=self.kind.code)
