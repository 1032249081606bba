"""The API reference: attributes one by one, inherited parameters, links from short names."""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.nodes import make_refnode


def split_attributes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Give each of ``a, b : type`` an entry, as napoleon does for parameters only."""
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


def keep_sentences_whole(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Begin a property with an empty comment: napoleon takes what is before a colon for a type."""
    if what == "property":
        lines[:0] = ["..", ""]


def parameters(cls: type) -> list[str]:
    """Return the entries of the section Parameters of a docstring."""
    lines = (inspect.getdoc(cls) or "").splitlines()
    start = lines.index("Parameters") + 2
    rules = [k for k in range(start, len(lines)) if lines[k].startswith("---")]
    return lines[start : rules[0] - 1 if rules else len(lines)]


def show_inherited_parameters(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Add the parameters that an estimator shares with scikit-learn's: nearly all of them."""
    if what != "class" or not name.startswith("fastnet.sklearn.MLP"):
        return
    bases = [base for base in obj.__mro__[1:] if "\nParameters\n" in (inspect.getdoc(base) or "")]
    start = lines.index("Parameters") + 2
    lines[start:start] = parameters(bases[0]) if bases else []


def unlink_foreign_labels(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Keep the text of links into scikit-learn's own site, which only that site can resolve."""
    if name.startswith("fastnet.sklearn."):
        text = re.sub(r":(?:ref|term):`([^`<]*[^`<\s])\s*(?:<[^>]*>)?`", r"\1", "\n".join(lines))
        lines[:] = text.splitlines()


def resolve_short_name(app: Any, env: Any, node: Any, contnode: Any) -> nodes.reference | None:
    """Link a class or function that a docstring names without its module.

    Sphinx looks in the module and class at hand. `Adam` or `Network` may be documented elsewhere:
    a capitalised name is linked where exactly one object has it.
    """
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or not name[:1].isupper():
        return None
    objects = env.get_domain("py").objects
    found = [full for full in objects if full.rpartition(".")[2] == name]
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    place = node["refdoc"], entry.docname, entry.node_id
    reference: nodes.reference = make_refnode(app.builder, *place, contnode, found[0])
    return reference


def unlink_plain_words(app: Any, doctree: nodes.document) -> None:
    """Keep ``dict of columns`` a phrase: Sphinx links each word that is some attribute's name."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("reftype") == "class" and node["reftarget"].islower():
            node.replace_self(node.children)


def setup(app: Any) -> dict[str, bool]:
    """Look at docstrings before napoleon does, and at references that Sphinx did not find."""
    app.connect("autodoc-process-docstring", show_inherited_parameters, priority=300)
    app.connect("autodoc-process-docstring", split_attributes, priority=400)
    app.connect("autodoc-process-docstring", unlink_foreign_labels, priority=400)
    app.connect("autodoc-process-docstring", keep_sentences_whole, priority=400)
    app.connect("doctree-read", unlink_plain_words)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True}
