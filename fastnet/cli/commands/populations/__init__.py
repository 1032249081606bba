"""``fastnet cv`` and ``fastnet sweep``: many networks for one table."""
