"""Training on a folder of files that need not fit into memory.

Each month has left a file of measurements; together they are one long table. `fastnet.data.Chunks`
reads them while training needs them: two chunks are in memory at a time. The last month is held
out. What a ridge regression makes of the same rows, in one pass, is the simple answer.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastnet as fn

COLUMNS = 40
"""Of which the last one is to be learnt."""


def write_months(folder: Path, months: int, rows: int) -> None:
    """Write a file for each month; another program would have done so."""
    rng = np.random.default_rng(0)
    for month in range(months):
        x = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
        level = 50 + 10 * x[:, 0] * x[:, 1] + 8 * np.sin(2 * x[:, 2]) + 5 * x[:, 3]
        x[:, -1] = level + rng.standard_normal(rows)
        np.save(folder / f"month-{month:02}.npy", x)


def most_memory() -> float:
    """Return the most memory (MB) that this process has held so far; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def ridge(paths: list[Path]) -> np.ndarray:
    """Return the coefficients of a linear model, from sums over the files."""
    product, right = np.zeros((COLUMNS, COLUMNS)), np.zeros(COLUMNS)
    for path in paths:
        rows = np.load(path).astype(float)
        x = np.column_stack([rows[:, :-1], np.ones(len(rows))])
        product, right = product + x.T @ x, right + x.T @ rows[:, -1]
    return np.linalg.solve(product + np.eye(COLUMNS), right)


def main(quick: bool = False) -> None:
    """Write the files, train, and compare on the month that was held out."""
    folder = Path(tempfile.mkdtemp())
    months, rows, epochs = (4, 15_000, 3) if quick else (9, 100_000, 2)
    write_months(folder, months, rows)
    *paths, last = sorted(folder.glob("month-*.npy"))
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{len(paths)} files to learn from, {size:.0f} MB")

    chunk_rows = 10_000 if quick else 50_000
    chunks = fn.data.Chunks(paths, target=-1, chunk_rows=chunk_rows)
    held_out = fn.data.Chunks(last, target=-1, chunk_rows=chunk_rows)
    net = fn.Network([chunks.columns, 64, 32, 1], activation="silu")
    before = most_memory()
    history = net.fit(
        chunks,
        validation_data=held_out,
        optimizer=fn.Adam(fn.schedules.Cosine(5e-3, epochs=epochs)),
        epochs=epochs,
        standardize=True,
        standardize_targets=True,
    )
    print(f"memory grew by {most_memory() - before:.0f} MB while training")
    print(f"R2 of each epoch: {', '.join(f'{r2:.3f}' for r2 in history['val_r2'])}")

    test = np.load(last)
    x, y = test[:, :-1], test[:, -1]
    simple = np.column_stack([x, np.ones(len(x))]) @ ridge(paths)
    print(f"ridge regression R2 {1 - np.mean((simple - y) ** 2) / y.var():.3f}")
    print(f"fastnet          R2 {net.evaluate(held_out)['r2']:.3f}")
    answers = net.predict(held_out)  # reads a part of the rows at a time, too
    print(f"{len(answers):,} predictions of {last.name}, the first {answers[0]:.1f}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small files")
    main(**vars(parser.parse_args()))
