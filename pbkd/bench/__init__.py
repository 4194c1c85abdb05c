"""`pbkd bench`: the paper's procedures and ours, side by side, in turn, on the same kernels."""
