"""The part of an exported Python file that encodes a table with texts and missing values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastnet.export.encodings import Encoding
from fastnet.export.python import table_templates


def functions(encodings: Sequence[Encoding]) -> list[str]:
    """Return the functions that encode a table."""
    helpers, calls = [], []
    for one in encodings:
        assert one.table is not None
        scaled, text = table_templates.SCALED[one.table.scaling]
        helpers.append(text)
        given = f'table, COLUMNS{one.suffix}, "{one.suffix}", {scaled}'
        if one.table.embedding is not None:
            helpers.append(table_templates.EMBED[one.table.embedding])
            given += f", embed_{one.table.embedding}"
        calls.append(f"_encoded({given})")
    listed = (
        calls[0] if len(calls) == 1 else "".join(f"\n        {one}," for one in calls) + "\n    "
    )
    encode = table_templates.ENCODE.replace("CALLS", listed)
    return [*dict.fromkeys(helpers), encode, table_templates.COLUMNS, table_templates.TIMES]


def tensors(encoding: Encoding) -> dict[str, NDArray[np.float64]]:
    """Return the arrays of these functions by name; NaN stands for an indicator that is not."""
    table = encoding.table
    assert table is not None
    numeric = [column for column in table.columns if column.kind == "numeric"]
    nothing = np.full(2, np.nan)
    rows = [column.indicator if len(column.indicator) else nothing for column in numeric]
    made = {
        "center": np.array([column.center for column in numeric]),
        "factor": np.array([column.factor for column in numeric]),
        "indicator": np.array(rows),
    }
    if table.embedding is not None:
        made["knots"] = np.array([column.knots for column in numeric])
        made["steps"] = np.array([column.steps for column in numeric])
    for index, column in enumerate(table.columns):
        if column.kind == "categorical":
            made |= {f"hot{index}": column.hot, f"cold{index}": column.cold}
    return {f"{name}{encoding.suffix}": values for name, values in made.items()}
