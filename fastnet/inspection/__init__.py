"""How a trained network behaves: gradients by its inputs, and calibrated probabilities."""
