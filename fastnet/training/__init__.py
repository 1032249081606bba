"""Training: from the arguments of fit to epochs, history, callbacks and checkpoints."""
