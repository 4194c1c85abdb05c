"""A run in a terminal: tables, lines, live rows."""
