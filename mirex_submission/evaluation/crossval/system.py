"""A submission as MIREX knows it: a folder of shell scripts, and what each of them is called with.

Any system is one that has `train.sh` and `classify.sh`, or `trainAndClassify.sh`, and perhaps `extractFeatures.sh`
(upper or lower case), with MIREX's arguments: `[-numThreads N] SCRATCH LISTS [OUTPUT]`. Our own scripts also get a name
for each fold's model, the device, and a file for the probabilities.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mirex_submission.errors import UsageError
from mirex_submission.system.atomic import sha256
from mirex_submission.system.installation import PROJECT

OWN_FOLDER = PROJECT / "bin"
OWN_NAME = "mirex_submission"
OWN_OPTIONS = ("--name", "--probabilities")  # which each fold is given its own of
_OWN_SCRIPT = "mirex-submission.sh"  # by which a folder is known for ours, of this version or another
_SCRIPTS = {
    "extract": "extractFeatures.sh",
    "train": "train.sh",
    "classify": "classify.sh",
    "trainAndClassify": "trainAndClassify.sh",
}


@dataclass(frozen=True)
class Submission:
    """One system to judge; scripts : {call: script} of those calls that it has. own : whether it is ours."""

    name: str
    folder: Path
    scripts: dict[str, Path]
    own: bool

    @property
    def home(self) -> str:
        """A name for what its calls leave, which all systems of its folder share and no other one does."""
        folder = self.folder.resolve()
        name = re.sub(r"[^\w.-]", "_", folder.name)  # its scripts may not be ready for blanks
        return f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"

    @property
    def separate(self) -> bool:
        """Whether a fold is two calls, train and classify, and not one for both."""
        return {"train", "classify"} <= self.scripts.keys()

    @cached_property
    def digest(self) -> str:
        """What `current_digest` was at first."""
        return self.current_digest()

    def current_digest(self) -> str:
        """Of the names and contents of the files in its folder: the scripts and what lies beside them.

        Of ours also of the program that they call, where it lies beside the folder as in a checkout.
        """
        files = [path for path in self.folder.iterdir() if path.is_file()]
        if self.own:
            program = self.folder.resolve().parent / "mirex_submission"
            files += [path for path in program.rglob("*") if path.suffix in (".py", ".so")]
        contents = [f"{path.name}\0{sha256(path)}\n" for path in sorted(files)]
        return hashlib.sha256("".join(contents).encode("utf-8", errors="surrogateescape")).hexdigest()

    def extract(self, scratch: Path, feature_list: Path, *, threads: int) -> list[str]:
        return self._argv("extract", threads, [], scratch, feature_list)

    def train(
        self, scratch: Path, train_list: Path, options: Sequence[str], *, threads: int, model: str, device: str
    ) -> list[str]:
        return self._argv("train", threads, [*self._own_options(model, device), *options], scratch, train_list)

    def classify(
        self,
        scratch: Path,
        test_list: Path,
        output: Path,
        options: Sequence[str],
        *,
        threads: int,
        model: str,
        device: str,
        probabilities: Path | None,
    ) -> list[str]:
        own = self._own_options(model, device)
        if probabilities:
            own += ["--probabilities", str(probabilities)]
        return self._argv("classify", threads, [*own, *options], scratch, test_list, output)

    def train_and_classify(
        self, scratch: Path, train_list: Path, test_list: Path, output: Path, options: Sequence[str], *, threads: int
    ) -> list[str]:
        return self._argv("trainAndClassify", threads, options, scratch, train_list, test_list, output)

    def _own_options(self, model: str, device: str) -> list[str]:
        return ["--name", model, "--device", device] if self.own else []

    def _argv(self, call: str, threads: int, options: Sequence[str], *paths: Path) -> list[str]:
        return [str(self.scripts[call]), "-numThreads", str(threads), *options, *map(str, paths)]


def find(folder: str | os.PathLike[str], name: str | None = None) -> Submission:
    """The submission in `folder`. Raises UsageError if it cannot be called as MIREX calls one."""
    folder = Path(os.path.abspath(folder))  # so that its last part is its name
    try:
        # Of two names that differ in case only the one in lower case comes last, and counts.
        found = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be read: {error.strerror}: give --submission the folder that has the scripts"
        ) from error
    scripts = {call: found[script.lower()] for call, script in _SCRIPTS.items() if script.lower() in found}
    own = _OWN_SCRIPT in found
    submission = Submission(name or (OWN_NAME if own else folder.name), folder, scripts, own)
    if not submission.separate and "trainAndClassify" not in scripts:
        there = ", ".join(script.name for script in scripts.values()) or "none of MIREX's scripts"
        raise UsageError(f"{folder}: has {there}: it needs train.sh and classify.sh, or trainAndClassify.sh")
    for script in scripts.values():
        if not os.access(script, os.X_OK):
            raise UsageError(f"{script}: cannot be executed: run `chmod +x` on it")
    return submission
