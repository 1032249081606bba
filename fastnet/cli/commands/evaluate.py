"""``fastnet evaluate``: loss and metrics of a model on data with targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.cli.chunks import chunks_for, in_chunks
from fastnet.cli.models import Predictor, load_predictor
from fastnet.cli.sources import Reading, reading_options
from fastnet.errors import InputError
from fastnet.inspection.calibration import calibrated_loss, uncalibrated
from fastnet.network import Network
from fastnet.nn.losses import LOSSES, Loss, Quantile
from fastnet.nn.metrics import METRICS
from fastnet.utils.names import Auto, BackendName

_FOR_CLASSES = "accuracy", "balanced_accuracy", "precision", "recall", "f1", "calibration_error"
_FOR_NUMBERS = ("r2", "mae", "rmse")


@click.command(
    "evaluate",
    cls=options.Command,
    epilog=options.examples(
        "fastnet evaluate model.safetensors digits",
        "fastnet evaluate flowers.safetensors more-flowers.csv --target species --json",
    ),
)
@click.argument("model", type=click.Path())
@click.argument("data", nargs=-1, required=True, type=click.Path())
@options.option(
    "--target",
    metavar="COL",
    show_default="as in training",
    help="The target column.",
)
@options.option(
    "--weight",
    metavar="COL",
    show_default="as in training",
    help="The column with the weights of the rows.",
)
@options.option(
    "--loss",
    type=options.Name("loss", LOSSES),
    metavar="NAME",
    show_default="as in training",
    help=f"The loss: {', '.join(LOSSES)}.",
)
@options.option(
    "--metric",
    type=options.Name("metric", METRICS),
    metavar="NAME",
    multiple=True,
    help=f"A further metric; repeatable: {', '.join(METRICS)}.",
)
@reading_options
@options.backend_option(options.OTHER)
@options.option("--json", "as_json", is_flag=True, default=False, help="Write JSON.")
def command(
    model: str,
    data: tuple[str, ...],
    target: str | None,
    weight: str | None,
    loss: str | None,
    metric: tuple[str, ...],
    reading: Reading,
    backend: BackendName | Auto,
    as_json: bool,
) -> None:
    """Evaluate a MODEL on DATA with targets.

    Several files are read a part at a time. Weights of rows count where training had them, and the
    column is there.

    A classifier is evaluated by loss, accuracy and other metrics, in total and for each class; a
    regressor by r2, mean absolute error and root mean squared error. For a calibrated model, loss
    (without label smoothing) and calibration error are also given as before calibration.
    """
    # Load the model and the data, and refuse what cannot be compared.
    network = load_predictor(model, backend)
    how_read = reading, target, weight
    is_one = isinstance(network, Network)
    if not is_one and (loss is not None or in_chunks(data)):
        raise click.UsageError("an ensemble is evaluated by its own loss, and on one file.")
    dataset = _Many(network, data, *how_read) if in_chunks(data) else _Few(network, data, *how_read)
    if not dataset.columns:
        known = () if network.preprocessor.target is None else network.preprocessor.target.names
        wanted = f"column {' or '.join(map(repr, known))}" if known else "target"
        raise InputError(f"{dataset.name} has no {wanted} to compare with; name it with --target.")
    known_weight = getattr(network.preprocessor, "weight", None)
    if known_weight is not None and not dataset.weighted:
        output.message(
            f"{dataset.name} has no column {known_weight!r} with weights: all rows weigh the same."
        )
    # Choose metrics and loss.
    names = network.output_schema.class_names
    untold = loss is None and network.loss is None and names is None
    if untold and network.outputs != dataset.columns:
        raise InputError(
            f"the model has {network.outputs} outputs for {dataset.columns} targets: "
            "name its loss with --loss (gaussian_nll or quantile)."
        )
    if names is not None:
        usual = [*_FOR_CLASSES, *(["roc_auc"] if len(names) == 2 else [])]
    else:
        quantiles = loss == "quantile" or (loss is None and isinstance(network.loss, Quantile))
        usual = [] if quantiles else list(_FOR_NUMBERS)
    chosen = list(dict.fromkeys([*usual, *metric]))
    measured_by: str | Loss | None = loss
    if isinstance(network, Network) and loss is None and network.temperature is not None:
        measured_by = calibrated_loss(network)
    # Evaluate, and write the results.
    how: dict[str, Any] = dataset.samples | ({"loss": measured_by} if is_one else {})
    values = network.evaluate(metrics=chosen, **how)
    before = {}
    if network.temperature is not None:
        undone: Predictor = (
            uncalibrated(network) if isinstance(network, Network) else network.uncalibrated()
        )
        measured = undone.evaluate(metrics=["calibration_error"], **how)
        before = {name: measured[name] for name in ("loss", "calibration_error")}
    classes = [] if names is None else _by_class(network, dataset, names)
    if as_json:
        content: dict[str, Any] = {"data": dataset.name, "rows": dataset.rows, "metrics": values}
        if before:
            content["calibration"] = {"temperature": network.temperature, "before": before}
        click.echo(output.as_json(content | ({"classes": classes} if classes else {})))
        return
    click.echo(f"{output.printable(dataset.name)}: {dataset.rows:,} rows")
    for name, value in values.items():
        was = f" ({output.short(before[name])} before calibration)" if name in before else ""
        click.echo(f"{name} {output.short(value)}{was}")
    if classes:
        click.echo()
        rows = ([_cell(value) for value in row.values()] for row in classes)
        output.table(list(classes[0]), rows, numbers=4)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


class _Few:
    """Rows in memory.

    Attributes
    ----------
    name : str
    rows, columns : int
        Number of rows and of targets.
    weighted : bool
        Whether there are weights.
    samples : dict
        The arguments of ``evaluate`` for them.
    """

    def __init__(
        self,
        network: Predictor,
        data: Sequence[str],
        reading: Reading,
        target: str | None,
        weight: str | None,
    ) -> None:
        how: dict[str, Any] = {"weight": weight, "weighs": True}
        self._network = network
        self._found = model_data.load_for(network, data[0], reading, target, **how)
        found = self._found
        self.name, self.rows = found.name, len(found)
        several = found.y.shape[1] if getattr(found.y, "ndim", 1) == 2 else 1
        self.columns = 0 if found.y is None else several
        self.weighted = found.weight is not None
        self.samples = {"x": found.x, "y": found.y, "sample_weight": found.weight}

    def parts(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
        """Yield true values, outputs and weights of some rows."""
        found = self._found
        yield found.true_values, self._network.predict_columns(found.x), found.weight


class _Many:
    """Files of which a part is in memory at a time; the attributes are those of `_Few`."""

    def __init__(
        self,
        network: Predictor,
        data: Sequence[str],
        reading: Reading,
        target: str | None,
        weight: str | None,
    ) -> None:
        self._network = network
        self._chunks = chunks_for(network, data, reading, target, weight=weight)
        self.name, self.rows = self._chunks.name, len(self._chunks)
        self.columns = self._chunks.target_columns
        self.samples = {"x": self._chunks}
        self.weighted = self._chunks.weight is not None

    def parts(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
        """Yield true values, outputs and weights of some rows."""
        preprocessor = self._network.preprocessor
        for piece in self._chunks.pieces(0, self.rows, preprocessor):
            target, y = preprocessor.target, piece.y
            true = y if target is None else target.decode(target.encode(y, piece.names[1]))
            yield true, self._network.predict_columns(piece.x), piece.weight


def _by_class(
    network: Predictor, dataset: _Few | _Many, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return rows, precision, recall and f1 of every class; an undefined ratio is 0."""
    count = len(names)
    rows = np.zeros(count, np.int64)
    present, predicted, hits = np.zeros((3, count))
    for targets, outputs, weight in dataset.parts():
        if targets.dtype.kind not in "iu":
            return []
        answer = network.output_schema.answers(outputs)
        right = targets == answer
        rows += np.bincount(targets, minlength=count)
        present += np.bincount(targets, weight, count)
        predicted += np.bincount(answer, weight, count)
        hits += np.bincount(targets[right], None if weight is None else weight[right], count)
    return [
        {
            "class": name,
            "rows": int(rows[k]),
            "precision": _ratio(hits[k], predicted[k]),
            "recall": _ratio(hits[k], present[k]),
            "f1": _ratio(2 * hits[k], present[k] + predicted[k]),
        }
        for k, name in enumerate(names)
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
