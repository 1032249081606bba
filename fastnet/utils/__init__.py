"""Helpers that do not know networks: checks of arguments, files, memory, serialization."""
