"""Terminal output of a run: tables, lines, live rows."""
