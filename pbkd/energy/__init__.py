"""Energy: meters and accounting."""
