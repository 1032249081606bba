"""Model files: one safetensors file with weights, architecture and preprocessing."""
