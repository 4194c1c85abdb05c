"""Everything in a run folder: events, identity, plan files, progress, the state of a live run."""
