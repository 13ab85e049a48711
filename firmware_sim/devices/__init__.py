"""Devices as pure state machines: no I/O, no clock of their own; time is an argument."""
