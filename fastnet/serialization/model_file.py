"""Model files: one safetensors file with weights, architecture, preprocessing and names; no pickle.

The tensors are the named parameters and running statistics, and the arrays of the preprocessor
(`fastnet.preprocessing.serialize`). The rest is in the description.
`fastnet.serialization.safetensors_file` has the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import FastNetError, ModelFileError
from fastnet.nn import function_loss, layers
from fastnet.nn.layers import Layer
from fastnet.nn.losses import GaussianNLL, Loss
from fastnet.nn.member_plan import plan_of
from fastnet.nn.plan import Plan
from fastnet.preprocessing import serialize, validation
from fastnet.preprocessing.base import Preprocessor
from fastnet.serialization import safetensors_file, training_state
from fastnet.serialization.training_state import TrainingState
from fastnet.utils.files import write_atomically
from fastnet.utils.param_validation import check_float, check_int, check_list

FORMAT_VERSION: Final = 2
_READ: Final = (1, FORMAT_VERSION)
"""Version 1, of fastnet 0.1, had a table without a preprocessor as a ``schema``."""

_KIND: Final = "fastnet"
_LAYER_LIMIT: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """The content of a model file.

    Attributes
    ----------
    tensors : dict of str to array
        The named parameters and running statistics of the plan.
    """

    plan: Plan
    dtype: np.dtype[Any]
    seed: int
    tensors: Mapping[str, NDArray[Any]]
    preprocessor: Preprocessor
    loss: Loss | None = None
    label_names: tuple[str, ...] | None = None
    temperature: float | None = None
    target_axes: int = 2
    training: TrainingState | None = None


def write(path: Path, model: ModelFile) -> None:
    """Write a model, replacing an existing file in one step.

    Raises
    ------
    ModelFileError
        The network has too many layers, or the file cannot be written; old content is untouched.
    """
    write_atomically(path, safetensors_file.pack(_KIND, *describe(model)))


def describe(model: ModelFile) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the description of a model, and its tensors; `restore` is the way back.

    Raises
    ------
    ModelFileError
        The network has too many layers.
    """
    if len(model.plan.chain) > _LAYER_LIMIT:
        raise ModelFileError(
            f"the network has {len(model.plan.chain):,} layers, and a model file holds at most "
            f"{_LAYER_LIMIT:,}."
        )
    content, arrays = serialize.write(model.preprocessor)
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    labels = model.label_names
    description = {
        "version": FORMAT_VERSION,
        "inputs": model.plan.inputs,
        "layers": layers.to_stored([layers.to_dict(layer) for layer in model.plan.layers]),
        "dtype": model.dtype.name,
        "seed": model.seed,
        "label_names": labels and [str(name) for name in labels],
        "loss": None if model.loss is None else function_loss.to_dict(model.loss),
        "temperature": model.temperature,
        "preprocessor": content,
        "target_axes": model.target_axes,
    }
    if model.training is not None:
        description["training"], more = training_state.write(model.training)
        contiguous |= more
    return description, {**model.tensors, **contiguous}


def read(path: Path) -> ModelFile:
    """Read a model file of this version or of version 0.1.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not a model file.
    """
    source = "net.save or fastnet train"
    return restore(path, *safetensors_file.unpack(path, _KIND, "model", source))


def restore(path: Path, description: dict[str, Any], found: dict[str, NDArray[Any]]) -> ModelFile:
    """Return the model of a description and tensors, which may be hostile.

    Raises
    ------
    ModelFileError
        They are not those of a model.
    """
    safetensors_file.require_version(path, description, *_READ)
    try:
        return _restore(description, found)
    except KeyError as error:
        raise ModelFileError(f"{path}: the description is not valid: {error} is missing.") from None
    except (TypeError, ValueError, FastNetError) as error:
        raise ModelFileError(f"{path}: the description is not valid: {error}") from None


def _restore(description: dict[str, Any], found: dict[str, NDArray[Any]]) -> ModelFile:
    """Return the model of a description and tensors, after checking every value."""
    # Read the architecture, and check that the file has its tensors before memory is allocated.
    plan = plan_of(check_int("inputs", description["inputs"]), _layers(description["layers"]))
    dtype = validation.dtype_of(description["dtype"])
    of_training = {name: v for name, v in found.items() if training_state.is_tensor(name)}
    found = {name: values for name, values in found.items() if name not in of_training}
    tensors = {name: values for name, values in found.items() if not serialize.is_tensor(name)}
    _require_tensors(plan, dtype, tensors)

    # Read the preprocessor and the other parts.
    arrays = {name: values for name, values in found.items() if serialize.is_tensor(name)}
    if description["version"] == 1:
        kept = description.get("preprocessor"), description["schema"]
        preprocessor = serialize.read_version_1(*kept, arrays, plan.inputs)
    else:
        preprocessor = serialize.read(description["preprocessor"], arrays, plan.inputs)
    labels, loss = description["label_names"], description["loss"]
    temperature = description.get("temperature")
    model = ModelFile(
        plan=plan,
        dtype=dtype,
        seed=validation.seed_of(description["seed"]),
        tensors=tensors,
        preprocessor=preprocessor,
        loss=None if loss is None else function_loss.from_dict(loss, plan.output_activation.name),
        label_names=None if labels is None else tuple(map(str, check_list("label_names", labels))),
        temperature=temperature
        if temperature is None
        else check_float("temperature", temperature, above=0),
        # Files of before have none: their predictions stay (N, 1).
        target_axes=check_int("target_axes", description.get("target_axes", 2), most=2),
        training=training_state.read(description.get("training"), of_training, plan, dtype),
    )
    _require_fit(model)
    return model


def _layers(descriptions: Any) -> tuple[Layer, ...]:
    if not 0 < _count(descriptions) <= _LAYER_LIMIT:
        raise ModelFileError(f"there must be from 1 to {_LAYER_LIMIT} layers.")
    return tuple(layers.from_dict(values) for values in layers.from_stored(descriptions))


def _count(descriptions: Any) -> int:
    """Return how many layers are described, those inside of others too, or more than allowed."""
    count, lists = 0, [descriptions]
    while lists and count <= _LAYER_LIMIT:
        found = lists.pop()
        if isinstance(found, list):
            count += len(found)
            lists += [v.get("layers") for v in found[:_LAYER_LIMIT] if isinstance(v, dict)]
    return count


def _require_fit(model: ModelFile) -> None:
    """Raise unless the network's inputs and outputs are those of its preprocessor."""
    preprocessor, plan = model.preprocessor, model.plan
    if preprocessor.inputs != plan.inputs:
        raise ModelFileError(
            f"the preprocessor makes {preprocessor.inputs} inputs, and the network has "
            f"{plan.inputs}."
        )
    if model.loss is not None and plan.outputs % model.loss.outputs_per_target:
        raise ModelFileError(
            f"the loss {model.loss.name} needs {model.loss.outputs_per_target} outputs for each "
            f"target, and the network has {plan.outputs}."
        )
    target = preprocessor.target
    if target is None:
        return
    if target.labels is not None:
        fits = len(target.labels) == (2 if plan.outputs == 1 else plan.outputs)
    else:
        fits = plan.outputs % len(target.center) == 0
    if not fits:
        raise ModelFileError(f"the preprocessor's target does not fit {plan.outputs} outputs.")
    if isinstance(model.loss, GaussianNLL) and target.labels is None:
        wanted = 2 * len(target.center)
        if plan.outputs != wanted:
            raise ModelFileError(
                f"the preprocessor's targets need {wanted} outputs for means and variances, and "
                f"the network has {plan.outputs}."
            )


def _require_tensors(plan: Plan, dtype: np.dtype[Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise unless the file has exactly the network's tensors, with valid values."""
    wanted = {tensor.name: tensor.shape for tensor in (*plan.parameters, *plan.state)}
    odd = sorted(set(tensors).symmetric_difference(wanted))
    if odd:
        raise ModelFileError(f"the tensors do not fit the layers: {', '.join(odd[:3])}.")
    for name, shape in wanted.items():
        values = tensors[name]
        if values.shape != shape or values.dtype != dtype:
            raise ModelFileError(
                f"the tensor {name} has the dtype {values.dtype} and the shape "
                f"{list(values.shape)}, expected {dtype} and {list(shape)}."
            )
        if not np.isfinite(values).all():
            raise ModelFileError(f"the tensor {name} holds values that are not finite.")
        if name.endswith("running_var") and (values < 0).any():
            raise ModelFileError(f"the tensor {name} holds a negative variance.")
