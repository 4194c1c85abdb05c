"""Models and students that are kept."""
