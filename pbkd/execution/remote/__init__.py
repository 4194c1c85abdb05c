"""Workers on other machines: rendezvous, connections, synchronised run folders."""
