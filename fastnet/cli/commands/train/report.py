"""The page that ``fastnet train --html`` writes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fastnet._version import version
from fastnet.cli import output
from fastnet.cli.commands.train.build import Settings
from fastnet.cli.datasets import AnyDataset
from fastnet.network import Network
from fastnet.preprocessing.samples import split_index
from fastnet.training.history import History

if TYPE_CHECKING:
    from fastnet.report.html import Shown


def command_line(ctx: click.Context) -> str:
    """Return the command line of a command: just the options that were given, as they were."""
    words = ["fastnet", str(ctx.info_name)]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params.get(name)
        if isinstance(parameter, click.Argument):
            words.insert(2, str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else (parameter.secondary_opts or [""])[0])
        else:
            several: Sequence[Any] = value if parameter.multiple else [value]  # type: ignore[assignment]
            for one in several:
                words += [parameter.opts[0], _as_written(one)]
    return shlex.join(words)


def _as_written(value: Any) -> str:
    """Return the text that an option's value was read from."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def write_page(
    path: Path,
    command: str,
    facts: Sequence[tuple[str, object]],
    settings: Settings,
    dataset: AnyDataset,
    network: Network,
    history: History,
    tested: Mapping[str, float],
) -> None:
    """Write the report of a training as one HTML file."""
    from fastnet.report.html import page

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
                network,
                history,
                title=f"fastnet: {dataset.name}",
                command=command,
                facts=[*facts, *ended],
                tested=tested,
                shown=_rows_to_show(settings, dataset),
            )
        )


def _rows_to_show(settings: Settings, dataset: AnyDataset) -> Shown:
    """Return the rows that say most about the network: held back ones, where there are some."""
    from fastnet.report.html import Shown

    test, count = dataset.test, dataset.at_hand
    if test is not None and test.y is not None:
        what, part = f"{test.rows:,} test rows", test.part(slice(None))
    elif settings.validation_share:
        _, validation = split_index(dataset.rows, settings.validation_share, settings.seed)
        what, part = f"{len(validation):,} validation rows", dataset.part(validation)
    else:
        rows = f"{count:,}"
        if count < dataset.rows:
            rows = f"the first {count:,} of {dataset.rows:,}"
        what = f"{rows} training rows, as none were held back: on others it does worse"
        part = dataset.part(slice(0, count))
    return Shown(what, part.x, part.y)
