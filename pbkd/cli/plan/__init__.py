"""`pbkd plan`: predict training time, simulate a cluster, or compare simulations with runs."""
