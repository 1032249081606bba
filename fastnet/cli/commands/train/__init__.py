"""``fastnet train``: its options, the network they build, the run and its report."""
