"""Export to a Python module that needs NumPy only."""
