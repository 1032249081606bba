"""The pictures of the gallery: its own code draws them while the site is built, light and dark.

The tests run the same code. The directive ``picture`` shows one of the files that it wrote.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive

PAGE = "gallery.md"
FOLDER = "_build/pictures"
STYLES: dict[str, Any] = {"light": "default", "dark": "dark_background"}


def draw(app: Any) -> None:
    """Run the code of the gallery once for each style, in a folder of its own."""
    import matplotlib.style

    text = (Path(app.srcdir) / PAGE).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"(?ms)^```python\n(.*?)^```", text))
    for name, style in STYLES.items():
        folder = Path(app.srcdir) / FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with contextlib.chdir(folder), matplotlib.style.context(style):
            matplotlib.rcParams["savefig.transparent"] = True
            logging.getLogger("fastnet").setLevel(logging.WARNING)
            exec(compile(code, PAGE, "exec"), {"__name__": "gallery"})


def report(app: Any) -> None:
    """Run the command of the gallery that writes a page, which becomes a part of the site."""
    from fastnet.cli import group

    text = (Path(app.srcdir) / PAGE).read_text(encoding="utf-8")
    (command,) = re.findall(r"(?m)^fastnet (train .*--html report\.html.*)$", text)
    folder = Path(app.srcdir) / FOLDER / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        group.main(shlex.split(command), "fastnet", standalone_mode=False)
    app.config.html_extra_path.append(f"{FOLDER}/report/report.html")


class Picture(Directive):
    """``{picture} NAME`` with the alternative text as content."""

    required_arguments: ClassVar[int] = 1
    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return an image for each style; the theme shows one of them."""
        alt = " ".join(self.content)
        return [
            nodes.image(uri=f"/{FOLDER}/{style}/{self.arguments[0]}", alt=alt, classes=[only])
            for style, only in (("light", "only-light"), ("dark", "only-dark"))
        ]


def setup(app: Any) -> dict[str, bool]:
    """Draw before any page is read."""
    app.connect("builder-inited", draw)
    app.connect("builder-inited", report)
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True}
