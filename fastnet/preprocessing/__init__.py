"""Conversion of users' data to checked arrays, and of outputs to predictions."""
