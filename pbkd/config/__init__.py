"""The typed configuration of a run, read and checked."""
