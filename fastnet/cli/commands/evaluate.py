"""``fastnet evaluate``: loss and metrics of a model on data with targets."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.cli.sources import Reading, reading_options
from fastnet.errors import InputError
from fastnet.inspection.calibration import calibrated_loss, uncalibrated
from fastnet.network import Network, load
from fastnet.nn.losses import LOSSES, Loss, Quantile
from fastnet.nn.metrics import METRICS

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
@click.argument("model")
@click.argument("data")
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
    data: str,
    target: str | None,
    weight: str | None,
    loss: str | None,
    metric: tuple[str, ...],
    reading: Reading,
    backend: str,
    as_json: bool,
) -> None:
    """Evaluate a MODEL on DATA with targets.

    Weights of rows count where training had them, and the column is there.

    A classifier is evaluated by loss, accuracy and other metrics, in total and for each class; a
    regressor by r2, mean absolute error and root mean squared error. For a calibrated model, loss
    (without label smoothing) and calibration error are also given as before calibration.
    """
    # Load the model and the data, and refuse what cannot be compared.
    network = load(model, backend=backend)
    dataset = model_data.load_for(network, data, reading, target, weight=weight, weighs=True)
    if dataset.y is None:
        known = () if dataset.target is None else dataset.target.names
        wanted = f"column {' or '.join(map(repr, known))}" if known else "target"
        raise InputError(f"{dataset.name} has no {wanted} to compare with; name it with --target.")
    # Choose metrics and loss.
    names = network.output_schema.class_names
    untold = loss is None and network.loss is None and names is None
    columns = dataset.y.shape[1] if getattr(dataset.y, "ndim", 1) == 2 else 1
    if untold and network.outputs != columns:
        raise InputError(
            f"the model has {network.outputs} outputs for {columns} targets: "
            "name its loss with --loss (gaussian_nll or quantile)."
        )
    if names is not None:
        usual = [*_FOR_CLASSES, *(["roc_auc"] if len(names) == 2 else [])]
    else:
        quantiles = loss == "quantile" or (loss is None and isinstance(network.loss, Quantile))
        usual = [] if quantiles else list(_FOR_NUMBERS)
    chosen = list(dict.fromkeys([*usual, *metric]))
    measured_by: str | Loss | None = loss
    if loss is None and network.temperature is not None:
        measured_by = calibrated_loss(network)
    # Evaluate, and write the results.
    how: dict[str, Any] = {"loss": measured_by, "sample_weight": dataset.weight}
    values = network.evaluate(dataset.x, dataset.y, metrics=chosen, **how)
    before = {}
    if network.temperature is not None:
        undone = uncalibrated(network)
        measured = undone.evaluate(dataset.x, dataset.y, metrics=["calibration_error"], **how)
        before = {name: measured[name] for name in ("loss", "calibration_error")}
    classes = [] if names is None else _by_class(network, dataset, names)
    if as_json:
        content: dict[str, Any] = {"data": dataset.name, "rows": len(dataset), "metrics": values}
        if before:
            content["calibration"] = {"temperature": network.temperature, "before": before}
        click.echo(output.as_json(content | ({"classes": classes} if classes else {})))
        return
    click.echo(f"{output.printable(dataset.name)}: {len(dataset):,} rows")
    for name, value in values.items():
        was = f" ({output.short(before[name])} before calibration)" if name in before else ""
        click.echo(f"{name} {output.short(value)}{was}")
    if classes:
        click.echo()
        rows = ([_cell(value) for value in row.values()] for row in classes)
        output.table(list(classes[0]), rows, numbers=4)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _by_class(network: Network, dataset: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return rows, precision, recall and f1 of every class; an undefined ratio is 0."""
    targets = dataset.true_values
    if targets.dtype.kind not in "iu":
        return []
    answer = network.output_schema.answers(network.predict_columns(dataset.x))
    count, weight = len(names), dataset.weight
    rows = np.bincount(targets, minlength=count)
    present, predicted = (np.bincount(of, weight, count) for of in (targets, answer))
    right = targets == answer
    hits = np.bincount(targets[right], None if weight is None else weight[right], count)
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
