"""The program of an exported Python file: a filter of CSV, by the standard library's reader."""

from __future__ import annotations

from typing import Final

from fastnet.export.combination import Combination

_PROGRAM: Final = '''\
def main():
    """Read a header and rows as CSV from standard input, and write predictions as CSV."""
    file = io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline="")
    reader, names, rows = csv.reader(file, strict=True, skipinitialspace=True), [], []
    for row in reader:
        row = [cell.strip() for cell in row]
        if row in ([], [""]):
            continue
        if names and (len(row) != len(names) or row == names):
            raise ValueError(f"line {reader.line_num}: expected {len(names)} cells, got {row}.")
        if not names and (len(set(row)) < len(row) or "" in row):
            raise ValueError(f"the header has a name twice, or an empty one: {row}.")
        if names:
            rows.append(row)
        names = names or row
    if not rows:
        raise ValueError("there are no rows below a header.")
PREDICT
    writer = csv.writer(sys.stdout, lineterminator="\\n")
    writer.writerows([head, *zip(*answers)])


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        main()
    except (ValueError, csv.Error) as error:
        sys.exit(f"error: {error}")
'''


def source(whole: Combination) -> str:
    """Return the function ``main`` and its call."""
    columns, lines = whole.sources, []
    if columns is not None and columns.named:
        lines.append("x = encode(dict(zip(names, map(list, zip(*rows)))))")
    else:
        # Columns without names go by position, and so other names would be misleading.
        count = whole.inputs if columns is None else len(columns.names)
        encode = "np.array(rows, object)" if columns is None else "encode(np.array(rows, object))"
        lines += [
            f'if names != [f"x{{k}}" for k in range({count})]:',
            f'    raise ValueError("expected the columns x0 to x{count - 1}, in this order.")',
            f"x = {encode}",
        ]
    given = "predict_std(x)" if whole.has_deviations else "[predict(x)]"
    lines.append(f"y = np.hstack([part.reshape(len(rows), -1) for part in {given}])")
    head, answers = "list(OUTPUTS)", "list(y.astype(str).T)"
    if whole.schema.class_names is not None:
        if whole.outputs == 1:
            lines.append("y = np.hstack([1 - y, y])")
        head = '["prediction", *("probability_" + label for label in LABELS)]'
        answers = "[predict_labels(x), *y.astype(str).T]"
    lines.append(f"head, answers = {head}, {answers}")
    if columns is not None and columns.identifier is not None:
        name = ascii(columns.identifier)
        lines += [
            f"if {name} in names:",
            f"    k = names.index({name})",
            "    head, answers = [names[k], *head], [[row[k] for row in rows], *answers]",
        ]
    return _PROGRAM.replace("PREDICT", "\n".join(f"    {line}" for line in lines))
