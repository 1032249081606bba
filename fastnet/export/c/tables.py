"""The part of an exported C file that takes tables: a row as a struct, and its encoding.

The struct has a field for each column: a ``double`` for a number, NAN where it is missing; a
``const char *`` for a text, NULL where it is missing. Field names come from column names, and so
this module writes final C: filling in templates could mistake a field for one of their words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnet.export.c import table_templates
from fastnet.export.c.literals import numbers, numerals, texts, wrapped
from fastnet.export.c.names import fields_of, real
from fastnet.export.columns import InputColumn
from fastnet.export.combination import Combination
from fastnet.export.encodings import Columns, Encoding, codes_in, places_in


def row_of(whole: Combination, prefix: str) -> RowStruct | None:
    """Return the struct of the rows of a file's tables; None if it takes plain inputs."""
    columns = whole.columns
    if columns is None:
        return None
    used = [column for column in columns.columns if column.kind != "empty"]
    names = fields_of([column.name for column in used])
    fields = list(zip(names, used, strict=True))
    return RowStruct(prefix, whole.dtype, columns, whole.encodings, fields)


@dataclass(frozen=True, eq=False)
class RowStruct:
    """The struct of a table's row.

    Attributes
    ----------
    prefix : str
        Of the file's public names.
    dtype : dtype
        Of the networks.
    columns : Columns
    encodings : tuple of Encoding
        What is made of a row, one after the other.
    fields : list of (str, InputColumn)
        The name of the field and its column, for each column that becomes an input.
    """

    prefix: str
    dtype: np.dtype[Any]
    columns: Columns
    encodings: tuple[Encoding, ...]
    fields: list[tuple[str, InputColumn]]

    def categories(self, field: str) -> str:
        """Return the name of the array of a field's categories."""
        return f"{self.prefix}_categories_{field}"

    # --- text of the file ------------------------------------------------------------------------

    def declarations(self) -> str:
        """Return the struct, and what is declared along with it."""
        lines = ["typedef struct {"]
        for field, column in self.fields:
            kind = "double " if column.kind == "numeric" else "const char *"
            # An asterisk is escaped, so that no name can end the comment.
            name = json.dumps(column.name).replace("*", "\\u002a")
            comment = "" if field == column.name else f" /* {name} */"
            lines.append(f"  {kind}{field};{comment}")
        lines += [f"}} {self.prefix}_row;", ""]
        for field, column in self.fields:
            if column.categories:
                size = len(column.categories)
                lines.append(f"extern const char *const {self.categories(field)}[{size}];")
        lines += [
            f"extern const {self.prefix}_row {self.prefix}_missing;",
            f"int {self.prefix}_encode(const {self.prefix}_row *row, {real(self.dtype)} *x);",
        ]
        return "\n".join(lines)

    def example(self) -> list[str]:
        """Return lines that encode a row: a number, a text, and all else missing."""
        lines = [f"{self.prefix}_row row = {self.prefix}_missing;  (no column has a value yet)"]
        firsts = {column.kind: field for field, column in reversed(self.fields)}
        if "numeric" in firsts:
            lines.append(f"row.{firsts['numeric']} = 1.5;")
        if "categorical" in firsts:
            field = firsts["categorical"]
            lines.append(f"row.{field} = {self.categories(field)}[0];")
        return [*lines, f"if ({self.prefix}_encode(&row, x) != 0) return 1;"]

    def definitions(self) -> str:
        """Return the constants and functions behind the declarations."""
        columns = [column for _, column in self.fields]
        forms = self._forms()
        constants, body = [], []
        for number, (field, column) in enumerate(self.fields, start=1):
            categories = self.categories(field)
            if column.categories:
                constants.append(texts(categories, column.categories))
                body.append(f"k = index_of(row->{field}, {categories}, {len(column.categories)});")
            for encoding, own in forms[field]:
                write = self._number if column.kind == "numeric" else self._category
                made, lines = write(f"{number}{encoding.suffix}", field, column, encoding, own)
                constants += made
                body += lines
                if column.kind == "numeric":
                    body.append(self._refusal(number, field, encoding, own))
        missing = ", ".join("NAN" if c.kind == "numeric" else "NULL" for c in columns)
        return "\n".join(
            [
                *(text.replace("REAL", real(self.dtype)) for text in self._helpers()),
                *constants,
                f"const {self.prefix}_row {self.prefix}_missing = {{{missing}}};\n",
                self._encode(body),
            ]
        )

    def _forms(self) -> dict[str, list[tuple[Encoding, InputColumn]]]:
        """Return the encodings that make inputs of each field, with their forms of its column."""
        names = {id(column): field for field, column in self.fields}
        forms: dict[str, list[tuple[Encoding, InputColumn]]] = {
            field: [] for field, _ in self.fields
        }
        for encoding in self.encodings:
            assert encoding.table is not None
            own = encoding.table.columns
            for k, column in zip(places_in(self.columns, encoding.table), own, strict=True):
                if column.kind != "empty":
                    forms[names[id(self.columns.columns[k])]].append((encoding, column))
        return forms

    def _helpers(self) -> list[str]:
        """Return the functions that the lines of columns call, each once."""
        kinds = {column.kind for _, column in self.fields}
        made: list[str] = []
        tables = [encoding.table for encoding in self.encodings if encoding.table is not None]
        if "numeric" in kinds:
            made += [
                table_templates.NO_FAST_MATH,
                *(table_templates.SCALED[table.scaling][1] for table in tables),
            ]
        made += [
            table_templates.EMBED[table.embedding]
            for table in tables
            if table.embedding is not None
        ]
        if "categorical" in kinds:
            made += [table_templates.BLANKS, table_templates.INDEX_OF]
        if any(column.one_hot for table in tables for column in table.columns):
            made.append(table_templates.ONE_HOT)
        return list(dict.fromkeys(made))

    def _encode(self, body: list[str]) -> str:
        """Return the function that encodes a row; `body` has some lines for each column."""
        columns = [column for _, column in self.fields]
        lines = ["int refused = 0;"]
        if any(column.kind == "numeric" for column in columns):
            lines.append("double z;")
        if any(column.kind == "categorical" for column in columns):
            lines.append("int k;")
        if any("own = " in line for line in body):
            lines.append("int own;")
        lines += ["size_t i;", *body]
        # Inputs are NAN then, so that a caller who ignores the result sees no plausible outputs.
        inputs = self.encodings[-1].at + self.encodings[-1].inputs
        lines.append(f"for (i = 0; refused && i < {inputs}; i++) x[i] = NAN;")
        lines.append("return refused;")
        text = "".join(f"  {line}\n" for line in lines)
        head = f"int {self.prefix}_encode(const {self.prefix}_row *row, {real(self.dtype)} *x)"
        return f"{head} {{\n{text}}}\n"

    def _refusal(self, number: int, field: str, encoding: Encoding, column: InputColumn) -> str:
        """Return the line that refuses a number; robust scaling is bounded, others are not."""
        assert encoding.table is not None
        refused = f"fabs(row->{field}) > DBL_MAX"
        if encoding.table.scaling != "robust":
            limit = "FLT_MAX" if self.dtype == np.float32 else "DBL_MAX"
            refused = f"fabs((double)x[{encoding.at + column.at}]) > (double){limit}"
        return f"if (!refused && {refused}) refused = {number};"

    def _number(
        self, name: str, field: str, known: InputColumn, encoding: Encoding, column: InputColumn
    ) -> tuple[list[str], list[str]]:
        """Return the constants of a numeric column, and its lines in the function."""
        assert encoding.table is not None
        value, at, cast = f"row->{field}", encoding.at + column.at, f"({real(self.dtype)})"
        scaled, embedding = (
            table_templates.SCALED[encoding.table.scaling][0],
            encoding.table.embedding,
        )
        lines = [
            f"z = {scaled}({value}, {column.center!r}, {column.factor!r});",
            f"x[{at}] = z == z ? {cast}z : 0;",
        ]
        constants = []
        if column.knots.size:
            constants.append(numbers(f"double knots{name}", column.knots))
            given = f"z, knots{name}"
            if column.steps.size:
                constants.append(numbers(f"double steps{name}", column.steps))
                given = f"{value}, {given}, steps{name}"
            lines.append(f"embed_{embedding}({given}, x + {at + 1}, {column.knots.size});")
        if column.indicator.size:
            there, missing = numerals(column.indicator.astype(self.dtype))
            lines.append(f"x[{at + column.width - 1}] = z == z ? {there} : {missing};")
        return constants, lines

    def _category(
        self, name: str, field: str, known: InputColumn, encoding: Encoding, column: InputColumn
    ) -> tuple[list[str], list[str]]:
        """Return the constants of a categorical column, and its lines in the function."""
        at, code, constants, lines = encoding.at + column.at, "k", [], []
        hot, cold = column.hot.astype(self.dtype), column.cold.astype(self.dtype)
        codes = codes_in(column, known.categories)
        if codes is not None:
            items = wrapped(map(str, codes.tolist()), 12)
            constants.append(f"static const int codes{name}[{codes.size}] = {{\n{items}}};\n")
            lines.append(f"own = k < 0 ? k : codes{name}[k];")
            code = "own"
        if not column.one_hot:
            first, second, neither = (*numerals(hot), *numerals(cold))
            lines.append(f"x[{at}] = {code} == 0 ? {first} : {code} == 1 ? {second} : {neither};")
            return constants, lines
        constants += [numbers(f"{real(self.dtype)} hot{name}", hot)]
        constants += [numbers(f"{real(self.dtype)} cold{name}", cold)]
        lines.append(f"one_hot({code}, hot{name}, cold{name}, x + {at}, {hot.size});")
        return constants, lines
