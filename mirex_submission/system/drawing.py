"""Matplotlib with its packaged settings: no file of the current folder, of the home or of a scratch folder decides.

Such a file could run a program (`text.usetex` runs `latex`), show the content of another file in a warning, or end a
drawing in an error.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def load_matplotlib() -> None:
    """Import matplotlib, if it is not imported yet, without its files of settings and fonts, and leave none behind."""
    if "matplotlib.font_manager" in sys.modules:
        return
    before = {name: os.environ.pop(name, None) for name in ("MPLCONFIGDIR", "MATPLOTLIBRC")}
    here = os.open(".", os.O_PATH)
    with tempfile.TemporaryDirectory(prefix="mirex-matplotlib-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        os.chdir(folder)  # it reads a `matplotlibrc` of the current folder first
        try:
            importlib.import_module("matplotlib.font_manager")
        finally:
            os.fchdir(here)
            os.close(here)
            del os.environ["MPLCONFIGDIR"]
            os.environ.update({name: value for name, value in before.items() if value is not None})


@contextlib.contextmanager
def plain_matplotlib() -> Iterator[None]:
    """Draw with matplotlib's packaged settings, though the caller may have changed them; serves as decorator too."""
    load_matplotlib()
    import matplotlib

    # Asking for the backend would choose one, and load a window system.
    packaged = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context(packaged):
        yield
