"""The benchmark suite: the ladder of networks, the rivals, and how they are timed side by side."""
