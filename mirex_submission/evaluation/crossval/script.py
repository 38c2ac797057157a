"""Why a script of a submission cannot run: its line ends and its interpreter line."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import shutil
from pathlib import Path

from mirex_submission.errors import UsageError

_READ_BYTES = 1 << 16
_CALLED = {
    126: "a program that it calls cannot be executed: run `chmod +x` on it, and remove \\r from the ends of its lines",
    127: "a program that it calls, or the interpreter of one, is not there: install it, correct the PATH, "
    "or remove \\r from the ends of its lines",
}


def check_interpreter(script: Path) -> None:
    """Raise UsageError if the system cannot start the interpreter that the script's first line names."""
    name = _interpreter(_beginning(script))
    if not name or shutil.which(name):
        return
    if name.endswith("\r"):
        raise UsageError(f"{script}: {_windows_lines(script)}", code="crossval.windows-lines")
    advice = "install it, or correct the first line of the script"
    if " " in name and shutil.which(name.split()[0]):
        advice = f"env takes one word here: begin the script with `#!/usr/bin/env -S {name}`"
    problem = f"{script}: its interpreter {name!r} is not there, or may not be executed"
    raise UsageError(f"{problem}: {advice}", code="crossval.no-interpreter")


def cause_of_failure(script: Path, status: int) -> str:
    """Return why a script may have failed, with advice, as far as its text or a status of 126 or 127 tells; or ""."""
    try:
        text = _beginning(script)
    except OSError:  # deleted meanwhile
        return ""
    if text.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark, which hides its interpreter line: save it without"
    name = os.path.basename(_interpreter(text).split(" ")[0]).rstrip("\r")
    is_of_shell = not name or re.fullmatch(r"(ba|da|k|z|a|mk|pdk)?sh", name)
    if b"\r\n" in text and (is_of_shell or status in _CALLED):
        return _windows_lines(script)
    return _CALLED.get(status, "")


def _beginning(script: Path) -> bytes:
    with open(script, "rb") as f:
        return f.read(_READ_BYTES)


def _windows_lines(script: Path) -> str:
    return f"its lines end as on Windows: run `sed -i 's/\\r$//' {shlex.quote(str(script))}`"


def _interpreter(text: bytes) -> str:
    """Return the program that the first line names, by env's argument where it names env; "" for none or another form.

    As the system reads it: a blank or a tab ends the program, and all that follows is one argument.
    """
    match = re.match(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*?)[ \t]*(?:\n|\Z)", text)
    if not match:
        return ""
    program, argument = (os.fsdecode(part) for part in match.groups())
    is_plain = argument and not argument.startswith("-") and "=" not in argument
    return argument if os.path.basename(program) == "env" and is_plain else program
