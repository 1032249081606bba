"""scikit-learn estimators: faster versions of its MLPs, and fastnet's own.

`MLPClassifier` and `MLPRegressor` have the parameters of scikit-learn's classes;
`FastNetClassifier` and `FastNetRegressor` have fastnet's options, and `FastNetSearchCV` searches
for the best of them.

>>> from fastnet.sklearn import MLPClassifier
>>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes", "no"]
>>> MLPClassifier((8,), solver="lbfgs", random_state=1).fit(X, y).predict(X).tolist()
['no', 'yes', 'yes', 'no']

Needs scikit-learn 1.6 or newer (``pip install 'fastnet-mlp[sklearn]'``).
"""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    message = "fastnet.sklearn needs scikit-learn: pip install 'fastnet-mlp[sklearn]'."
    raise ImportError(message, name="sklearn") from error

from fastnet.sklearn.classifier import FastNetClassifier
from fastnet.sklearn.mlp import MLPClassifier, MLPRegressor
from fastnet.sklearn.regressor import FastNetRegressor
from fastnet.sklearn.search import FastNetSearchCV

__all__ = [
    "FastNetClassifier",
    "FastNetRegressor",
    "FastNetSearchCV",
    "MLPClassifier",
    "MLPRegressor",
]
