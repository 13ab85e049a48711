"""Everything at once, for long: the whole gateway and all its readers under random faults. `python -m tests.soak --help`."""
