"""Find out why a script of a submission cannot run: its line ends and its interpreter line."""

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
    126: "a program that it calls is not executable: run `chmod +x` on it, and remove \\r from the ends of its lines",
    127: "a program that it calls, or the interpreter of one, does not exist: install it, correct the PATH, "
    "or remove \\r from the ends of its lines",
}


def check_interpreter(script: Path) -> None:
    """Raise UsageError if the interpreter in the first line of the script cannot be started."""
    name = _interpreter(_beginning(script))
    if not name or shutil.which(name):
        return
    if name.endswith("\r"):
        raise UsageError(f"{script}: {_windows_lines(script)}", code="crossval.windows-lines")
    advice = "install it, or correct the first line of the script"
    if " " in name and shutil.which(name.split()[0]):
        advice = f"env accepts only one word here: begin the script with `#!/usr/bin/env -S {name}`"
    problem = f"{script}: its interpreter {name!r} does not exist or is not executable"
    raise UsageError(f"{problem}: {advice}", code="crossval.no-interpreter")


def cause_of_failure(script: Path, status: int) -> str:
    """Return a likely cause of a failure, with advice, from the script's text or the status 126 or 127; or ""."""
    try:
        text = _beginning(script)
    except OSError:  # deleted meanwhile
        return ""
    if text.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark, which hides its interpreter line: save it without this mark"
    name = os.path.basename(_interpreter(text).split(" ")[0]).rstrip("\r")
    is_of_shell = not name or re.fullmatch(r"(ba|da|k|z|a|mk|pdk)?sh", name)
    if b"\r\n" in text and (is_of_shell or status in _CALLED):
        return _windows_lines(script)
    return _CALLED.get(status, "")


def _beginning(script: Path) -> bytes:
    with open(script, "rb") as f:
        return f.read(_READ_BYTES)


def _windows_lines(script: Path) -> str:
    return f"it has Windows line ends: run `sed -i 's/\\r$//' {shlex.quote(str(script))}`"


def _interpreter(text: bytes) -> str:
    """Return the interpreter in the first line, or the argument of env; "" if there is none.

    The line is read as the system does: a blank or a tab ends the program, and the rest is a single argument.
    """
    match = re.match(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*?)[ \t]*(?:\n|\Z)", text)
    if not match:
        return ""
    program, argument = (os.fsdecode(part) for part in match.groups())
    is_plain = argument and not argument.startswith("-") and "=" not in argument
    return argument if os.path.basename(program) == "env" and is_plain else program
