"""The site of the documents: `sphinx-build -W docs build/site`, with the extra `docs`. Nothing is downloaded."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # generated_pages

from mirex_submission import __version__

project = "mirex_submission"
copyright = "the authors of mirex_submission"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "generated_pages"]
myst_heading_anchors = 3
smartquotes = False  # they make one dash of --
highlight_language = "none"  # blocks without a language are commands and tables
autosummary_generate = False  # all public names are on one page
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings have the types
default_role = "py:obj"
numpydoc_show_class_members = False
html_theme = "furo"
html_title = f"MIREX submission {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
