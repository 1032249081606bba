"""A network that leaves Python: one C file for a device, one ONNX graph for a server.

A network learns from a table of sensors, with gaps, whether a pump is fine, worn or blocked.
Exported, it takes the same rows, gaps and texts included, and gives the same answers, which this
program checks: it compiles the C code where there is a compiler, and runs the graph where ONNX
Runtime is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL

import numpy as np

import fastnet as fn
from fastnet.export import export

CALLER = r"""
#include <math.h>
#include <stdio.h>
#include <string.h>
#define PUMP_HEADER
#include "pump.c"

/* Reads rows such as "41.5 nan 3.1 east" and writes the probabilities of the states. */
int main(void) {
  float x[PUMP_INPUTS], y[PUMP_OUTPUTS];
  double heat, shake, flow;
  char site[32];
  while (scanf("%lf %lf %lf %31s", &heat, &shake, &flow, site) == 4) {
    pump_row row = pump_missing;
    row.heat = heat, row.shake = shake, row.flow = flow;
    row.site = strcmp(site, "-") == 0 ? NULL : site;
    if (pump_encode(&row, x) != 0) return 1;
    pump_predict(x, y);
    for (int k = 0; k < PUMP_OUTPUTS; k++) printf("%.9g ", y[k]);
    printf("\n");
  }
  return 0;
}
"""

Table = dict[str, np.ndarray]


def pumps(count: int, rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """Return sensors of pumps, and their states; some sensors are silent."""
    state = rng.choice(3, count, p=[0.7, 0.2, 0.1])
    hot = rng.random(count) < 0.5  # at the southern site it is warm anyway
    heat = rng.normal(40 + 15 * hot + np.array([0, 8, 3])[state], 3)
    shake = rng.gamma(4, 0.5 * np.array([1, 2.2, 1.3])[state])
    flow = rng.normal(np.array([5.0, 4.8, 2.5])[state], 0.7)
    table = {"heat": heat, "shake": shake, "flow": flow}
    for values in table.values():
        values[rng.random(count) < 0.1] = np.nan
    site = np.where(hot, "south", "east").astype(object)
    site[rng.random(count) < 0.05] = None
    return table | {"site": site}, np.array(["fine", "worn", "blocked"])[state]


def working_compiler(folder: Path) -> str | None:
    """Return a C compiler that makes a program, which not all do that are on PATH, or None."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    for name in filter(shutil.which, ("cc", "gcc", "clang")):
        command = [name, "empty.c", "-o", "empty"]
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, cwd=folder, stdout=DEVNULL, stderr=DEVNULL, timeout=30)
        if (folder / "empty").exists():
            return name
    return None


def answers_of_c(table: Table, compiler: str, folder: Path) -> np.ndarray:
    """Compile the exported file with a program that calls it, and return its answers."""
    (folder / "main.c").write_text(CALLER)
    command = [compiler, "-std=c99", "-O2", "main.c", "pump.c", "-o", "pump", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    rows = zip(*table.values(), strict=True)
    text = "".join(f"{a:.17g} {b:.17g} {c:.17g} {site or '-'}\n" for a, b, c, site in rows)
    done = subprocess.run([folder / "pump"], input=text, capture_output=True, text=True, check=True)
    return np.array([line.split() for line in done.stdout.splitlines()], float)


def answers_of_onnx(table: Table, path: Path) -> np.ndarray:
    """Run the graph; it takes a number for each column: a category's index, NaN for a gap."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    columns = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    x = np.full((len(table["heat"]), len(columns)), np.nan)
    for k, column in enumerate(columns):
        values = table[column["name"]]
        if column["kind"] == "categorical":
            index = {name: i for i, name in enumerate(column["categories"])}
            values = [index.get(value, np.nan) for value in values]
        x[:, k] = values
    return session.run(None, {"x": x})[0]


def main(quick: bool = False) -> None:
    """Train, export, and compare the answers."""
    rng = np.random.default_rng(0)
    table, states = pumps(1_000 if quick else 4_000, rng)
    net = fn.tables.train(table, states, preset=None, hidden=[32, 16], epochs=40)
    new, truth = pumps(500, rng)
    answers = net.predict(new)
    most = np.mean(truth == "fine")
    right = np.mean(net.predict_labels(new) == truth)
    print(f"right states: network {right:.1%}, {most:.1%} if one always says fine")

    folder = Path(tempfile.mkdtemp())
    found: dict[str, np.ndarray] = {}
    if importlib.util.find_spec("onnx") is not None:
        export(net, folder / "pump.onnx", to="onnx")
        if importlib.util.find_spec("onnxruntime") is not None:
            found["ONNX"] = answers_of_onnx(new, folder / "pump.onnx")
        else:
            print("ONNX: the graph is written; pip install onnxruntime would run it")
    else:
        print("ONNX: pip install 'fastnet-mlp[onnx]' would write the graph")
    export(net, folder / "pump.c", to="c")
    compiler = working_compiler(folder)
    if compiler is not None:
        found["C"] = answers_of_c(new, compiler, folder)
    else:
        print("C: the file is written; there is no compiler here that works")
    for name, given in found.items():
        same = np.array(net.label_names)[given.argmax(axis=1)] == net.predict_labels(new)
        off = np.abs(given - answers).max()
        print(f"{name}: {same.mean():.1%} the same answers, largest difference {off:.0e}")
    for path in sorted(folder.glob("pump.*")):
        print(f"{path.name} has {path.stat().st_size / 1_024:.0f} KB")
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pumps to learn from")
    main(**vars(parser.parse_args()))
