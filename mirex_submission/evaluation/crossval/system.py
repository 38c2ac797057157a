"""A submission as MIREX knows it: a folder of shell scripts.

Any system is one that has `train.sh` and `classify.sh`, or `trainAndClassify.sh`, and perhaps `extractFeatures.sh`
(upper or lower case), with MIREX's arguments: `[-numThreads N] SCRATCH LISTS [OUTPUT]`.
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
_OWN_SCRIPT = "mirex-submission.sh"  # marks a folder of this program, of this version or another
_SCRIPTS = {
    "extract": "extractFeatures.sh",
    "train": "train.sh",
    "classify": "classify.sh",
    "trainAndClassify": "trainAndClassify.sh",
}


@dataclass(frozen=True)
class Submission:
    """One system to judge.

    Parameters
    ----------
    name : str
        The system's name.
    folder : Path
        Folder of its scripts.
    scripts : dict
        {step: script} of those steps that it has a script for.
    own : bool
        Whether it is this program.
    """

    name: str
    folder: Path
    scripts: dict[str, Path]
    own: bool

    @property
    def home(self) -> str:
        """A name for the files that its steps leave, the same for all systems of its folder and for no other one."""
        folder = self.folder.resolve()
        name = re.sub(r"[^\w.-]", "_", folder.name)  # its scripts may not be ready for blanks
        return f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"

    @property
    def separate(self) -> bool:
        """Whether a fold is two steps, train and classify, and not one for both."""
        return {"train", "classify"} <= self.scripts.keys()

    @cached_property
    def digest(self) -> str:
        """The first value of `current_digest`."""
        return self.current_digest()

    def current_digest(self) -> str:
        """Hash the names and contents of the files in its folder: the scripts and the files beside them.

        Of this program also the package that the scripts call, where it lies beside the folder as in a checkout.
        """
        files = [path for path in self.folder.iterdir() if path.is_file()]
        if self.own:
            program = self.folder.resolve().parent / "mirex_submission"
            files += [path for path in program.rglob("*") if path.suffix in (".py", ".so")]
        contents = [f"{path.name}\0{sha256(path)}\n" for path in sorted(files)]
        return hashlib.sha256("".join(contents).encode("utf-8", errors="surrogateescape")).hexdigest()

    def argv(self, step: str, options: Sequence[str], *paths: Path, threads: int) -> list[str]:
        """Return the command of a step: its script, the threads, more options, and MIREX's paths in their order."""
        return [str(self.scripts[step]), "-numThreads", str(threads), *options, *map(str, paths)]


def find(folder: str | os.PathLike[str], name: str | None = None) -> Submission:
    """Find the submission in a folder.

    Parameters
    ----------
    folder : path-like
        Folder of the scripts.
    name : str, optional
        The system's name, by default the folder's.

    Returns
    -------
    Submission

    Raises
    ------
    UsageError
        If the folder cannot be read, lacks a script, or a script or its interpreter cannot be executed.
    """
    folder = Path(os.path.abspath(folder))  # so that its last part is its name
    try:
        # Of two names that differ in case only the one in lower case comes last, and counts.
        files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        problem = f"{folder}: cannot be read: {reason_of(error)}"
        raise UsageError(
            f"{problem}: give --submission the folder that has the scripts", code="crossval.unreadable-submission"
        ) from error
    scripts = {step: files[script.lower()] for step, script in _SCRIPTS.items() if script.lower() in files}
    own = _OWN_SCRIPT in files
    submission = Submission(name or (OWN_NAME if own else folder.name), folder, scripts, own)
    if not submission.separate and "trainAndClassify" not in scripts:
        present = ", ".join(script.name for script in scripts.values()) or "none of MIREX's scripts"
        problem = f"{folder}: has {present}: it needs train.sh and classify.sh, or trainAndClassify.sh"
        raise UsageError(problem, code="crossval.no-script")
    for script in scripts.values():
        if not os.access(script, os.X_OK):
            raise UsageError(f"{script}: cannot be executed: run `chmod +x` on it", code="crossval.not-executable")
        check_interpreter(script)
    return submission
