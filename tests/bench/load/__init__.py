"""Clients that are not the bottleneck: C, built at run time, and what drives them."""
