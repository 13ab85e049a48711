"""Power cuts under a living gateway: the disk, the load, what was seen, and the look at what is left."""
