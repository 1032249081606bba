"""A pytest plugin: scikit-learn's own tests of its MLP get fastnet's classes instead.

``pytest -p tests.sklearn.shim --pyargs sklearn.neural_network.tests.test_mlp``, with this
checkout in PYTHONPATH.
"""

from __future__ import annotations

import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

from fastnet.sklearn import MLPClassifier, MLPRegressor

for module in (sklearn.neural_network, _multilayer_perceptron):
    module.MLPClassifier, module.MLPRegressor = MLPClassifier, MLPRegressor
