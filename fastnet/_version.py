"""The version, in the one place that holds it; read at build time without importing fastnet."""

version = "0.1.0"
