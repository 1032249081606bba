"""Charts, tables and pages of recorded measurements."""
