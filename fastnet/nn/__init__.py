"""The parts of a network: layers, activations, losses, optimizers, metrics, and their plan."""
