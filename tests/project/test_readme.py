"""README: its links lead somewhere from any page, and it is short."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
REPOSITORY = str(
    re.findall(r'^REPOSITORY = "(.*)"', (ROOT / "docs/conf.py").read_text(encoding="utf-8"), re.M)[
        0
    ]
)


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
