"""A MIREX submission: a folder of shell scripts.

A submission has `train.sh` and `classify.sh`, or `trainAndClassify.sh`, and optionally `extractFeatures.sh`, in upper
or lower case, with MIREX's arguments: `[-numThreads N] SCRATCH LISTS [OUTPUT]`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mirex_submission.errors import UsageError, reason_of
from mirex_submission.evaluation.crossval.script import check_interpreter
from mirex_submission.system.atomic import sha256
from mirex_submission.system.installation import PROJECT

OWN_FOLDER = PROJECT / "bin"
OWN_NAME = "mirex_submission"
_OWN_SCRIPT = "mirex-submission.sh"  # a folder with this script belongs to this program, in any version
_SCRIPTS = {
    "extract": "extractFeatures.sh",
    "train": "train.sh",
    "classify": "classify.sh",
    "trainAndClassify": "trainAndClassify.sh",
}


@dataclass(frozen=True)
class Submission:
    """One system to run and score.

    Parameters
    ----------
    name : str
        The system's name.
    folder : Path
        Folder of its scripts.
    scripts : dict
        {step: script} for the steps that have a script.
    own : bool
        True if it is this program.
    """

    name: str
    folder: Path
    scripts: dict[str, Path]
    own: bool

    @property
    def home(self) -> str:
        """Name of the folder for the files of its steps, shared by all systems of the same folder and no other."""
        folder = self.folder.resolve()
        name = re.sub(r"[^\w.-]", "_", folder.name)  # the scripts may not support blanks
        return f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"

    @property
    def separate(self) -> bool:
        """True if a fold has two steps, train and classify; False if it has one step for both."""
        return {"train", "classify"} <= self.scripts.keys()

    @cached_property
    def digest(self) -> str:
        """The value of `current_digest` at the first use."""
        return self.current_digest()

    def current_digest(self) -> str:
        """Hash the names and contents of the files in its folder: the scripts and the files beside them.

        For this program, also hash the package that the scripts call, if it is beside the folder as in a checkout.
        """
        files = [path for path in self.folder.iterdir() if path.is_file()]
        if self.own:
            program = self.folder.resolve().parent / "mirex_submission"
            files += [path for path in program.rglob("*") if path.suffix in (".py", ".so")]
        contents = [f"{path.name}\0{sha256(path)}\n" for path in sorted(files)]
        return hashlib.sha256("".join(contents).encode("utf-8", errors="surrogateescape")).hexdigest()

    def argv(self, step: str, options: Sequence[str], *paths: Path, threads: int) -> list[str]:
        """Return the command of a step: script, threads, options, and the paths in MIREX's order."""
        return [str(self.scripts[step]), "-numThreads", str(threads), *options, *map(str, paths)]


def find(folder: str | os.PathLike[str], name: str | None = None) -> Submission:
    """Find the submission in a folder.

    Parameters
    ----------
    folder : path-like
        Folder of the scripts.
    name : str, optional
        Name of the system; default: the name of the folder.

    Returns
    -------
    Submission

    Raises
    ------
    UsageError
        If the folder cannot be read or lacks a script, or if a script or its interpreter is not executable.
    """
    folder = Path(os.path.abspath(folder))  # `.` has no name
    try:
        # Of two names that differ only in case, the lower-case one is sorted last and is used.
        files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        problem = f"{folder}: cannot be read: {reason_of(error)}"
        raise UsageError(
            f"{problem}: give the folder of the scripts to --submission", code="crossval.unreadable-submission"
        ) from error
    scripts = {step: files[script.lower()] for step, script in _SCRIPTS.items() if script.lower() in files}
    own = _OWN_SCRIPT in files
    submission = Submission(name or (OWN_NAME if own else folder.name), folder, scripts, own)
    if not submission.separate and "trainAndClassify" not in scripts:
        present = ", ".join(script.name for script in scripts.values()) or "none of MIREX's scripts"
        problem = f"{folder}: contains {present}: it needs train.sh and classify.sh, or trainAndClassify.sh"
        raise UsageError(problem, code="crossval.no-script")
    for script in scripts.values():
        if not os.access(script, os.X_OK):
            raise UsageError(f"{script}: is not executable: run `chmod +x` on it", code="crossval.not-executable")
        check_interpreter(script)
    return submission
