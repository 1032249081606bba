"""Training of one network on several processes, each with a share of the rows."""
