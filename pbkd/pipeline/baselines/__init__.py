"""Baselines: what other methods make of a run's teacher, at equal cost."""
