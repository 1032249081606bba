"""Inspection of a trained network: gradients by its inputs, and calibrated probabilities."""
