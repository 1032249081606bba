"""README: its example prints what it shows, its links lead somewhere from any page, it is short."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.pages import blocks

pytest.importorskip("numba", reason="Numba is not installed")

README = (ROOT / "README.md").read_text(encoding="utf-8")
REPOSITORY = str(
    re.findall(r'^REPOSITORY = "(.*)"', (ROOT / "docs/conf.py").read_text(encoding="utf-8"), re.M)[
        0
    ]
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def unlike(shown: str, printed: str) -> bool:
    """Return whether two lines differ in more than 1 % of a number: a few of the 360 images."""
    numbers = [[float(n) for n in NUMBER.findall(line)] for line in (shown, printed)]
    same = NUMBER.sub("0", shown) == NUMBER.sub("0", printed)
    return not same or numbers[1] != pytest.approx(numbers[0], rel=0.01)


def test_the_example_of_the_readme_prints_what_is_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(blocks(README)).code
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    shown = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert len(shown) == len(printed) == 3
    assert [pair for pair in zip(shown, printed, strict=True) if unlike(*pair)] == []


@pytest.mark.parametrize("printed", ["loss 0.079, accuracy 0.950", "accuracy 0.978", "loss 0.079"])
def test_a_print_that_shows_something_else_is_found(printed: str) -> None:
    assert unlike("loss 0.079, accuracy 0.978", printed)
    assert not unlike("loss 0.079, accuracy 0.978", "loss 0.079, accuracy 0.975")


def test_the_readme_stays_short() -> None:
    assert README.count("\n") <= 170


def astray(text: str, repository: str) -> Iterator[str]:
    """Yield what a link of a page says wrongly that is also shown away from the repository."""
    raw = repository.replace("//github.com", "//raw.githubusercontent.com")
    places = f"{repository}/blob/main/", f"{raw}/main/"
    urls = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", text, re.MULTILINE))
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    yield from (f"{link} is not absolute" for link in re.findall(r"\]\(([^)]*)\)", prose))
    used = set(re.findall(r"\]\[([\w-]+)\]", prose))
    yield from (f"[{key}] leads nowhere" for key in sorted(used - set(urls)))
    yield from (f"[{key}] is not used" for key in sorted(set(urls) - used))
    for key, url in urls.items():
        place = next((url.removeprefix(p) for p in places if url.startswith(p)), None)
        if place is None or not (ROOT / place).exists():
            yield f"[{key}] leads to {url}"


def test_every_link_of_the_readme_is_absolute_and_leads_somewhere() -> None:
    assert list(astray(README, REPOSITORY)) == []


@pytest.mark.parametrize(
    "edit",
    [
        ("docs/performance.md", "docs/speed.md"),
        ("[quickstart]:", "[start]:"),
        ("github.com/", "example.org/"),
    ],
)
def test_a_link_that_leads_astray_is_found(edit: tuple[str, str]) -> None:
    assert edit[0] in README
    assert list(astray(README.replace(*edit), REPOSITORY))


def test_a_link_within_the_repository_is_found() -> None:
    assert list(astray("see [this](docs/index.md)", REPOSITORY)) == [
        "docs/index.md is not absolute"
    ]


def test_readme_site_and_package_name_the_same_repository() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for url in project.get("urls", {}).values():
        assert not url.startswith("https://github.com/") or url.startswith(REPOSITORY)
