"""``fastnet train``: options, and what they build, run and report."""

from fastnet.cli.commands.train.run import command

__all__ = ["command"]
