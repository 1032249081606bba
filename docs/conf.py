"""The site: ``make docs`` builds it into ``docs/_build/html``, and any warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from fastnet import __version__

REPOSITORY = "https://github.com/fastnet-mlp/fastnet"
"""README's links begin with it, too; a test compares them."""

project = "fastnet"
author = copyright = "The fastnet developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    # From docs/_ext:
    "api",
    "command_line",
    "pictures",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False
smartquotes = False  # an option is called --out, with two hyphens

# Docstrings are in NumPy's style, and single quotes in them name things of Python.
default_role = "py:obj"
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
html_theme_options: dict[str, Any] = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
