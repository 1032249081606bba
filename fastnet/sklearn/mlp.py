"""`MLPClassifier` and `MLPRegressor`: scikit-learn's classes with fastnet's arithmetic.

They inherit everything else from scikit-learn: parameters and their checks, labels, initial
weights, the choice of validation rows, the rules for stopping. fastnet replaces the two training
loops and the forward pass. With the same ``random_state`` the initial weights are those of
scikit-learn; the order of the batches is fastnet's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnet.data.labels import class_names
from fastnet.errors import DivergenceError
from fastnet.network import Network
from fastnet.nn.layers import Dense
from fastnet.preprocessing import weights
from fastnet.sklearn import objectives
from fastnet.sklearn.host_arrays import takes_device_arrays
from fastnet.sklearn.iterations import Iterations, rate_keeper, squared_weights
from fastnet.sklearn.parameters import dense, extending, with_weight
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import Auto, BackendName
from fastnet.utils.param_validation import refuse_masked
from fastnet.utils.warn import warn

Array = NDArray[Any]

_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class _OnFastnet(BaseMultilayerPerceptron):
    """Mixin that replaces scikit-learn's arithmetic.

    As in scikit-learn, ``coefs_`` and ``intercepts_`` are the parameters: users may change them in
    place, or replace one or all of them. On the CPU they are views into the network.
    """

    _network: Network | None = None
    _shown: tuple[tuple[Array, Array], ...] = ()
    """Pairs of an array that the user sees and the network's values at that time.

    On the CPU both are the same view into the network.
    """

    def __getstate__(self) -> dict[str, Any]:
        # Copied or unpickled arrays are no views; the next use copies their values into the
        # network. It moves to its backend then too, so no GPU is needed to load what one trained.
        state = {name: value for name, value in super().__getstate__().items() if name != "_shown"}
        if self._network is not None:
            state["_network"] = self._network.to("numpy")
        return state

    def _initialize(self, *arguments: Any) -> None:
        super()._initialize(*arguments)
        self._network = None

    # --- the network and its parameters ----------------------------------------------------------

    @property
    def network_(self) -> Network:
        """The fitted network, with the present ``coefs_`` and ``intercepts_``: to save, to export.

        Its outputs are those of ``predict_proba`` or ``predict``; change its parameters through
        the estimator.
        """
        check_is_fitted(self, "coefs_")
        return self._linked()

    def _linked(self) -> Network:
        """Return the network with the present values of ``coefs_`` and ``intercepts_``."""
        given = [*self.coefs_, *self.intercepts_]
        network = self._network
        if network is None or [np.shape(w) for w in self.coefs_] != _shapes(network):
            network = self._build()
        moved = network.to(self.backend)
        if moved is self._network and self._unchanged(given):
            return moved
        # A shallow copy of this estimator shares the network, so the network is copied.
        network = network.copy() if moved is network else moved
        asarray = network.backend_object.asarray
        for tensor, values in zip([*network.weights, *network.biases], given, strict=True):
            tensor[...] = asarray(np.asarray(on_host("coefs_", values), network.dtype))
        self._publish(network)
        return network

    def _unchanged(self, given: list[Any]) -> bool:
        """Return whether these are the arrays in `_shown`, with unchanged values."""
        return len(given) == len(self._shown) and all(
            a is shown and (shown is values or np.array_equal(shown, values))
            for a, (shown, values) in zip(given, self._shown, strict=True)
        )

    def _build(self) -> Network:
        widths = [np.shape(coef)[1] for coef in self.coefs_]
        names = [objectives.ACTIVATIONS[self.activation]] * (len(widths) - 1)
        names.append(objectives.ACTIVATIONS[self.out_activation_])
        dtype = np.result_type(*self.coefs_)
        network = Network(
            [Dense(units, name, "zeros") for units, name in zip(widths, names, strict=True)],
            inputs=np.shape(self.coefs_[0])[0],
            dtype=dtype if dtype == np.float32 else np.float64,
            backend=self.backend,
        )
        if is_classifier(self) and (widths[-1] == 1 or self.out_activation_ == "softmax"):
            network.label_names = class_names(self.classes_)
        return network

    def _publish(self, network: Network) -> None:
        """Set ``coefs_`` and ``intercepts_`` to the network's parameters."""
        tensors = [*network.weights, *network.biases]
        arrays = [network.backend_object.to_host(tensor) for tensor in tensors]
        self.coefs_ = arrays[: len(network.weights)]
        self.intercepts_ = arrays[len(network.weights) :]
        self._network = network
        views = arrays[0] is tensors[0]
        self._shown = tuple((array, array if views else array.copy()) for array in arrays)

    @property
    def _live(self) -> bool:
        """Whether ``coefs_`` and ``intercepts_`` are views into the network."""
        return bool(self._shown) and self._shown[0][0] is self._shown[0][1]

    # --- scikit-learn's methods with fastnet's arithmetic ----------------------------------------

    def _fit(self, X: Any, y: Any, *others: Any, **named: Any) -> Any:
        given = [*others, *named.values()]  # scikit-learn 1.6 passes no sample weights
        for name, values in [("X", X), ("y", y), *(("sample_weight", value) for value in given)]:
            refuse_masked(name, values)
        return super()._fit(X, y, *others, **named)

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        refuse_masked("X", X)
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._linked().predict_columns(dense(X))

    def _fit_stochastic(self, X: Any, y: Array, *others: Any) -> None:
        # Read the arguments; scikit-learn 1.6 passes no sample weights.
        weighted, once = len(others) == 7, bool(others[-1])
        weight = _checked(others[0]) if weighted else None
        if self.early_stopping and once:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not once or not hasattr(self, "_optimizer"):
            self._optimizer = rate_keeper(self)
        # Hold out validation rows, and prepare objective and network.
        held_out = (None,) * (2 + weighted)
        if self.early_stopping:
            X, y, weight, held_out = self._hold_back(X, y, weight, weighted)
            _checked(weight)
        x, y, weight = with_weight(dense(X), y, weight)
        size = self._batch_size(len(x))
        objective = objectives.objective(self.out_activation_, y, weight)
        y = objectives.targets(self.out_activation_, y)
        network = self._linked()
        if network.optimizer_state is None:
            network.seed = int(self._random_state.randint(2**31 - 1))
        elif not once:
            network.optimizer_state.forget()

        # Train. The last batch of an epoch may be smaller, but has the penalty of a full one.
        penalty = self.alpha / (size if weight is None else size * float(weight.mean()))
        iterations = Iterations(self, objective, penalty, len(x), held_out, once)
        try:
            network.fit(
                x,
                y,
                loss=objective.loss,
                optimizer=objectives.optimizer(self, penalty, objective.gradient),
                epochs=1 if once else self.max_iter,
                batch_size=size,
                sample_weight=weight,
                shuffle=self.shuffle,
                callbacks=[iterations],
            )
        except DivergenceError as error:
            if not self.early_stopping:
                raise ValueError(_NOT_FINITE) from error
            iterations.diverged()
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        finally:
            self._publish(network)
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts
            self._linked()
        if not (once or iterations.converged) and self.n_iter_ == self.max_iter:
            message = f"Maximum iterations ({self.max_iter}) reached and the optimization"
            self._warn_not_converged(f"Stochastic Optimizer: {message} hasn't converged yet.")

    def _fit_lbfgs(self, X: Any, y: Array, *others: Any) -> None:
        weight = _checked(others[0]) if len(others) == 6 else None
        x, y, weight = with_weight(dense(X), y, weight)
        network = self._linked()
        objective = objectives.objective(self.out_activation_, y, weight)
        y = objectives.targets(self.out_activation_, y)
        penalty = self.alpha / (len(x) if weight is None else float(weight.sum()))
        try:
            history = network.fit(
                x,
                y,
                loss=objective.loss,
                optimizer=objectives.solver(self, penalty, objective.gradient),
                epochs=self.max_iter,
                sample_weight=weight,
            )
        except DivergenceError as error:
            raise ValueError(_NOT_FINITE) from error
        finally:
            self._publish(network)
        if history:
            loss = history["loss"][-1]
        else:  # converged before the first iteration
            loss = network.evaluate(x, y, sample_weight=weight)["loss"]
        self.n_iter_ = len(history.epochs)
        self.loss_ = objective.value * loss + objective.offset
        self.loss_ += 0.5 * penalty * squared_weights(network)
        if history.stop_reason in ("epochs", "evaluations"):
            self._warn_not_converged(
                f"lbfgs failed to converge after {self.n_iter_} iteration(s): increase max_iter "
                f"({self.max_iter}) or max_fun ({self.max_fun}), or scale the data."
            )

    @staticmethod
    def _warn_not_converged(message: str) -> None:
        warn(message, ConvergenceWarning)

    def _hold_back(
        self, X: Any, y: Array, weight: Array | None, weighted: bool
    ) -> tuple[Any, Array, Array | None, tuple[Any, ...]]:
        """Return the training rows, and the validation rows as scikit-learn scores them."""
        stratified = is_classifier(self) and self.n_outputs_ == 1
        parts = train_test_split(
            *((X, y) if weight is None else (X, y, weight)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=y if stratified else None,
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        targets = (
            self._label_binarizer.inverse_transform(parts[3]) if is_classifier(self) else parts[3]
        )
        weights = parts[4:] if weight is not None else [None, None]
        held_out = (parts[1], targets, weights[1]) if weighted else (parts[1], targets)
        return parts[0], parts[2], weights[0], held_out

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
            )
        return min(int(self.batch_size), rows)


def _checked(weight: Array | None) -> Array | None:
    """Return sample weights; refuse what the network would before they scale the penalty."""
    if weight is not None:
        weights.check("sample_weight", weight, len(weight))
    return weight


def _shapes(network: Network) -> list[tuple[int, ...]]:
    return [weight.shape for weight in network.weights]


@takes_device_arrays
class MLPClassifier(_OnFastnet, neural_network.MLPClassifier):
    """scikit-learn's ``MLPClassifier``, faster, and on any backend.

    Parameters, attributes and methods are those of ``sklearn.neural_network.MLPClassifier`` of the
    version that is installed, and so are the defaults.

    Parameters
    ----------
    backend : {"auto", "numpy", "numba", "cupy"}
        The only addition.

    Examples
    --------
    >>> from fastnet.sklearn import MLPClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> MLPClassifier((4,), solver="lbfgs", random_state=0).fit(X, y).predict([[-1.0], [4.0]])
    array([0, 1])
    """

    @extending(neural_network.MLPClassifier)
    def __init__(self, *args: Any, backend: BackendName | Auto = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend = backend


@takes_device_arrays
class MLPRegressor(_OnFastnet, neural_network.MLPRegressor):
    """scikit-learn's ``MLPRegressor``, faster, and on any backend.

    Parameters, attributes and methods are those of ``sklearn.neural_network.MLPRegressor`` of the
    version that is installed, and so are the defaults.

    Parameters
    ----------
    backend : {"auto", "numpy", "numba", "cupy"}
        The only addition.

    Examples
    --------
    >>> from fastnet.sklearn import MLPRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = MLPRegressor(activation="identity", solver="lbfgs", alpha=0, random_state=0)
    >>> model.fit(X, y).predict([[4.0]]).round(2)
    array([9.])
    """

    @extending(neural_network.MLPRegressor)
    def __init__(self, *args: Any, backend: BackendName | Auto = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend = backend
