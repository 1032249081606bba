"""The directive ``command``: what ``fastnet COMMAND --help`` says, with a target for each option.

It asks click, so the page cannot differ from the program.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from fastnet.cli import group


def escaped(text: str) -> str:
    """Return text without any markup."""
    return re.sub(r"([*`|_\\])", r"\\\1", " ".join(text.split()))


def sections(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return names and help of the options, by the sections of the help text."""
    found: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            names = record[0].replace(" / ", ", ")
            found.setdefault(getattr(param, "section", "Other"), []).append((names, record[1]))
    return found


def lines_of(name: str) -> list[str]:
    """Return reStructuredText about a command; the empty name is ``fastnet`` itself."""
    parent = group.make_context("fastnet", [], resilient_parsing=True)
    command = group.get_command(parent, name) if name else group
    assert command is not None, name
    context = click.Context(command, parent=parent, info_name=name) if name else parent
    program = f"fastnet {name}".strip()
    usage = " ".join([program, *command.collect_usage_pieces(context)])
    lines = [f".. program:: {program}", "", "::", "", f"   {usage}", ""]
    for paragraph in (command.help or "").split("\n\n"):
        lines += [escaped(paragraph), ""]
    for title, options in sections(command, context).items():
        lines += [f".. rubric:: {title}", ""]
        for names, text in options:
            lines += [f".. option:: {names}", "", f"   {escaped(text)}", ""]
    for part in (command.epilog or "").split("\b\n"):
        title, _, body = part.strip().partition("\n")
        if title == "Examples:":
            lines += [".. rubric:: Examples", "", "::", ""]
            lines += [f"   {line.strip()}" for line in body.splitlines() if line.strip()] + [""]
        elif title:
            lines += [escaped(part), ""]
    return lines


class Command(Directive):
    """``.. command:: train``."""

    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the description of a command."""
        name = self.arguments[0] if self.arguments else ""
        node = nodes.container(classes=["command"])
        self.state.nested_parse(StringList(lines_of(name), f"fastnet {name}"), 0, node)
        return node.children


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}
