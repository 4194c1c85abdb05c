"""One run, stage by stage, and its baselines."""
