"""The site: ``make docs`` builds it into ``docs/_build/html``, and any warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fastnet import __version__

project = "fastnet"
author = copyright = "The fastnet developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False

# Docstrings are in NumPy's style, and single quotes in them name things of Python.
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# The reference is built where none of these is installed, too.
autodoc_mock_imports = ["cupy"]

html_theme = "furo"
html_title = f"fastnet {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
