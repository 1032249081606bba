"""What a network is made of: layers, activations, losses, optimizers, metrics, and their plan."""
