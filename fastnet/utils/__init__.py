"""Helpers that know nothing of networks: checks of arguments, files, memory, serialization."""
