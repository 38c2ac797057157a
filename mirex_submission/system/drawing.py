"""Matplotlib with its packaged settings, without the settings files of the current, home or scratch folder.

Such a file could run a program (`text.usetex` runs `latex`), show the content of another file in a warning, or make a
drawing fail.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def load_matplotlib() -> None:
    """Import matplotlib, unless it is loaded, without reading or writing its files of settings and fonts."""
    if "matplotlib.font_manager" in sys.modules:
        return
    before = {name: os.environ.pop(name, None) for name in ("MPLCONFIGDIR", "MATPLOTLIBRC")}
    here = os.open(".", os.O_PATH)
    with tempfile.TemporaryDirectory(prefix="mirex-matplotlib-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        os.chdir(folder)  # matplotlib would first read a `matplotlibrc` of the current folder
        try:
            importlib.import_module("matplotlib.font_manager")
        finally:
            os.fchdir(here)
            os.close(here)
            del os.environ["MPLCONFIGDIR"]
            os.environ.update({name: value for name, value in before.items() if value is not None})


@contextlib.contextmanager
def plain_matplotlib() -> Iterator[None]:
    """Draw with matplotlib's packaged settings, even if the caller has changed them; also works as a decorator."""
    load_matplotlib()
    import matplotlib

    # Reading the setting `backend` would choose a backend and load a window system.
    packaged = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context(packaged):
        yield
