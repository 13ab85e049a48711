"""How fast, how large, how hungry: each row of the promise beside its references, in one run. `python -m tests.bench --help`."""
