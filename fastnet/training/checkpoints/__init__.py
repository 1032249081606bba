"""Checkpoints: a run that was killed resumes from the last one, to the same bits."""
