"""Training: fit, epochs, history, callbacks and checkpoints."""
