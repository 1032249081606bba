"""The report that ``fastnet train --html`` writes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

from fastnet._version import version
from fastnet.cli import output
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.settings import Settings
from fastnet.cli.load import Rows
from fastnet.network import Network
from fastnet.preprocessing.samples import split_index
from fastnet.training.history import History

if TYPE_CHECKING:
    from fastnet.report.html import Shown


def command_line(ctx: click.Context) -> str:
    """Return the command line of a command, with the given options as they were written."""
    words = ["fastnet", str(ctx.info_name)]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params.get(name)
        if isinstance(parameter, click.Argument):
            words[2:2] = map(str, value if isinstance(value, tuple) else [value])
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else (parameter.secondary_opts or [""])[0])
        else:
            several: Sequence[Any] = value if parameter.multiple else [value]  # type: ignore[assignment]
            for one in several:
                words += [parameter.opts[0], _as_written(one)]
    return shlex.join(words)


def _as_written(value: Any) -> str:
    """Return the text from which an option's value was parsed."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def write_page(
    settings: Settings,
    command: str,
    facts: Sequence[tuple[str, object]],
    data: TrainingData,
    network: Network,
    history: History,
    tested: Mapping[str, float],
) -> None:
    """Write the report of a training as one HTML file."""
    from fastnet.report.html import page

    path = settings.output.html
    assert path is not None
    ended = [
        ("time", f"{history.seconds:.2f} s for {len(history.epochs)} epochs"),
        ("ended by", history.stop_reason),
        ("fastnet", f"{version}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    ]
    if network.temperature is not None:
        when = "after the results of training and validation"
        ended.insert(0, ("calibrated", f"at temperature {network.temperature:.4g}, {when}"))
    with output.replacing(path) as file:
        file.write(
            page(
                network.plan,
                network.output_schema,
                title=f"fastnet: {data.name}",
                command=command,
                about=[*facts, *ended],
                epochs=history.epochs,
                records=history.records,
                best_epoch=history.best_epoch,
                tested=tested,
                shown=_rows_to_show(settings, data, network),
                temperature=network.temperature,
            )
        )


def _rows_to_show(settings: Settings, data: TrainingData, network: Network) -> Shown:
    """Return the rows for the figures: held-out rows if there are any."""
    from fastnet.report.html import Shown

    test, count, fraction = data.test, data.at_hand, data.decisions.validation_split
    if test is not None and test.y is not None:
        what, rows = f"{len(test):,} test rows", test
    elif isinstance(data.validation, Rows):
        what, rows = f"{len(data.validation):,} validation rows", data.validation
    elif data.validation is not None:
        rows, total = data.first(data.validation), len(data.validation)
        shown = f"{total:,}" if len(rows) == total else f"the first {len(rows):,} of {total:,}"
        what = f"{shown} validation rows"
    elif fraction and data.y is not None:
        held_out = split_index(len(data), fraction, settings.model.seed)[1]
        what, rows = f"{len(held_out):,} validation rows", data.take(held_out)
    else:
        shown = f"{count:,}"
        if count < len(data):
            shown = f"the first {count:,} of {len(data):,}"
        what = f"{shown} training rows, as none were held back: on others it does worse"
        rows = data.take(np.arange(count))
    return Shown(what, rows.true_values, network.predict_columns(rows.x))
