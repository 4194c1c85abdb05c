"""Networks in plain PyTorch terms: torch's own layers and functions, as data and as code."""
