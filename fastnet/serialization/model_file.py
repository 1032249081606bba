"""Model files: one safetensors file with weights, architecture, scaler and names; no pickle.

The tensors are the named parameters and running statistics and, with a scaler, ``scaler.mean`` and
``scaler.scale``; with a preprocessor of tables, its numbers as ``table.center`` and so on. The rest
is in the description. `fastnet.serialization.safetensors_file` has the format.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastnet.errors import FastNetError, ModelFileError
from fastnet.nn import layers, losses
from fastnet.nn.layers import Layer
from fastnet.nn.plan import Plan, make_plan
from fastnet.preprocessing import validation
from fastnet.serialization import safetensors_file
from fastnet.serialization.safetensors_file import Tensors
from fastnet.utils.param_validation import check_float, check_int, check_list

if TYPE_CHECKING:
    from fastnet.network import Network
    from fastnet.tables import TablePreprocessor

FORMAT_VERSION: Final = 1
_KIND: Final = "fastnet"
_LAYER_LIMIT: Final = 1000
_TABLE: Final = "table."


def save(network: Network, path: str | PathLike[str]) -> None:
    """Write `network` to `path`, replacing an existing file in one step."""
    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    tensors = {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}
    if network.scaler is not None:
        tensors["scaler.mean"] = network.scaler.mean
        tensors["scaler.scale"] = network.scaler.scale
    preprocessor = network.preprocessor
    if preprocessor is not None:
        from fastnet.preprocessing import serialize

        arrays = serialize.arrays(preprocessor)
        tensors |= {_TABLE + name: np.ascontiguousarray(values) for name, values in arrays.items()}
    description = {
        "version": FORMAT_VERSION,
        "inputs": network.inputs,
        "layers": [layers.to_dict(layer) for layer in network.layers],
        "dtype": network.dtype.name,
        "seed": network.seed,
        "label_names": network.label_names and [str(name) for name in network.label_names],
        "loss": None if network.loss is None else losses.to_dict(network.loss),
        "schema": None if network.schema is None else network.schema.to_json(),
        "temperature": network.temperature,
    }
    if preprocessor is not None:
        description["preprocessor"] = serialize.to_json(preprocessor)
    safetensors_file.write_atomically(
        Path(path), safetensors_file.pack(_KIND, description, tensors)
    )


def load(path: str | PathLike[str], *, backend: str = "auto") -> Network:
    """Read a network that ``net.save`` wrote, onto any backend.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not one of fastnet's.
    BackendUnavailableError
        The backend cannot run here.
    """
    from fastnet.data import Scaler, TableSchema
    from fastnet.network import Network
    from fastnet.preprocessing import serialize

    file = Path(path)
    description, tensors = safetensors_file.unpack(
        file, _KIND, "model", "net.save or fastnet train"
    )
    safetensors_file.require_version(file, description, FORMAT_VERSION)
    try:
        plan = make_plan(check_int("inputs", description["inputs"]), _layers(description["layers"]))
        table = {k: tensors.pop(k) for k in list(tensors) if k.startswith(_TABLE)}
        preprocessor = None
        if table or "preprocessor" in description:
            arrays = {name.removeprefix(_TABLE): values for name, values in table.items()}
            preprocessor = serialize.restore(description["preprocessor"], arrays)
            _require_fit(preprocessor, plan)
        # Before a network is made: what it takes in memory is now known to be in the file.
        _require_tensors(plan, validation.dtype_of(description["dtype"]), tensors)
        network = Network(
            plan.layers,
            inputs=plan.inputs,
            dtype=description["dtype"],
            seed=description["seed"],
            backend="numpy",
        )
        network.preprocessor = preprocessor
        labels, loss, schema = (description[key] for key in ("label_names", "loss", "schema"))
        if labels is not None:
            network.label_names = tuple(str(name) for name in check_list("label_names", labels))
        if loss is not None:
            network.loss = losses.from_dict(loss, plan.output_activation.name)
            _require_pairs(network)
        if schema is not None:
            network.schema = TableSchema.from_json(schema)
        if description.get("temperature") is not None:
            network.temperature = check_float("temperature", description["temperature"], above=0)
        if "scaler.mean" in tensors:
            network.scaler = Scaler(tensors["scaler.mean"], tensors["scaler.scale"])
    except (KeyError, TypeError, ValueError, FastNetError) as error:
        raise ModelFileError(f"{file}: the description is not valid: {error}") from None
    for name, view in {**network.named_parameters(), **network.named_state()}.items():
        view[...] = tensors[name]
    return network.to(backend)


def _layers(descriptions: Any) -> tuple[Layer, ...]:
    if not isinstance(descriptions, list) or not 0 < len(descriptions) <= _LAYER_LIMIT:
        raise ModelFileError(f"there must be from 1 to {_LAYER_LIMIT} layers.")
    return tuple(layers.from_dict(values) for values in descriptions)


def _require_fit(preprocessor: TablePreprocessor, plan: Plan) -> None:
    """Raise unless a network has the inputs and the outputs that its preprocessor makes."""
    if preprocessor.inputs != plan.inputs:
        raise ModelFileError(
            f"the table becomes {preprocessor.inputs} inputs, and the network has {plan.inputs}."
        )
    target = preprocessor.target
    if target is not None and target.labels is not None:
        fits = len(target.labels) == (2 if plan.outputs == 1 else plan.outputs)
    else:
        fits = target is None or plan.outputs % len(target.center) == 0
    if not fits:
        raise ModelFileError(f"the table's target does not fit {plan.outputs} outputs.")


def _require_pairs(network: Network) -> None:
    """Raise unless a network for means and variances has both for each target of its table."""
    target = None if network.preprocessor is None else network.preprocessor.target
    if isinstance(network.loss, losses.GaussianNLL) and target is not None and not target.labels:
        wanted = 2 * len(target.center)
        if network.outputs != wanted:
            raise ModelFileError(
                f"the table's targets need {wanted} outputs for means and variances, and the "
                f"network has {network.outputs}."
            )


def _require_tensors(plan: Plan, dtype: np.dtype[Any], tensors: Tensors) -> None:
    """Raise unless the file has just the tensors that the network needs, and they are sound."""
    wanted = {tensor.name: (tensor.shape, dtype) for tensor in (*plan.parameters, *plan.state)}
    if "scaler.mean" in tensors or "scaler.scale" in tensors:
        for name in ("scaler.mean", "scaler.scale"):
            wanted[name] = (plan.inputs,), np.dtype(np.float64)
    odd = sorted(set(tensors).symmetric_difference(wanted))
    if odd:
        raise ModelFileError(f"the tensors do not fit the layers: {', '.join(odd[:3])}.")
    for name, (shape, kind) in wanted.items():
        values = tensors[name]
        if values.shape != shape or values.dtype != kind:
            raise ModelFileError(
                f"the tensor {name} has the dtype {values.dtype} and the shape "
                f"{list(values.shape)}, expected {kind} and {list(shape)}."
            )
        if not np.isfinite(values).all():
            raise ModelFileError(f"the tensor {name} holds values that are not finite.")
        if name.endswith("running_var") and (values < 0).any():
            raise ModelFileError(f"the tensor {name} holds a negative variance.")
