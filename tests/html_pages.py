"""HTML pages as the tests read them: their parts, and how wide they are on a phone."""

from __future__ import annotations

import html
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.checkout import program

PHONE = 390
CHROMIUM = program("chromium", "google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, to look at the page")


class Page(HTMLParser):
    """Reads a page: its texts, its tags with their attributes, and what may be wider than a phone.

    It fails on tags that do not match.
    """

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.unboxed: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        # Tables keep their lines whole; charts shrink in a grid of charts, and nowhere else.
        boxes = {"table": {"wide"}, "svg": {"wide", "charts"}}.get(tag)
        if boxes and boxes.isdisjoint(self.classes):
            self.unboxed.append(tag)
        self.tags.append((tag, found))
        if tag not in self.VOID:
            self.open.append(tag)
            self.classes.append(found.get("class", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        self.classes.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def browse(folder: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser without a window."""
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--hide-scrollbars",
         *options, page.as_uri()],
        cwd=folder, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def widths_on_a_phone(folder: Path, *pages: str) -> list[int]:
    """Return how wide each page becomes, in pixels, where it may be `PHONE`."""
    # In frames, because a browser's window has a least width.
    style = f"border: 0; width: {PHONE}px"
    frames = [f'<iframe style="{style}" srcdoc="{html.escape(page)}"></iframe>' for page in pages]
    script = (
        "onload = () => { document.title = [...document.querySelectorAll('iframe')]"
        ".map(f => f.contentDocument.documentElement.scrollWidth).join(); };"
    )
    phones = folder / "phones.html"
    phones.write_text(f"{''.join(frames)}<script>{script}</script>", encoding="utf-8")
    found = re.search(r"<title>([\d,]+)<", browse(folder, phones, "--dump-dom").stdout)
    assert found is not None
    return [int(width) for width in found[1].split(",")]
