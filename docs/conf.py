"""The site: ``make docs`` builds it into ``docs/_build/html``, and any warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

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


def _split_attributes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Give each of ``a, b : type`` an entry of its own, as napoleon does for parameters only."""
    if "Attributes" not in lines:
        return
    start = lines.index("Attributes") + 2
    rules = [k for k in range(start, len(lines)) if lines[k].startswith("---")]
    end = rules[0] - 1 if rules else len(lines)
    entries = [k for k in range(start, end) if lines[k][:1] not in ("", " ")]
    for k, following in reversed(list(zip(entries, [*entries[1:], end], strict=True))):
        names, _, kind = lines[k].partition(" : ")
        text = lines[k + 1 : following]
        lines[k:following] = [x for one in names.split(", ") for x in (f"{one} : {kind}", *text)]


def setup(app: Any) -> None:
    """Look at docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", _split_attributes, priority=400)
