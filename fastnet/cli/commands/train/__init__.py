"""``fastnet train``: options, what they build, the run and its report."""
