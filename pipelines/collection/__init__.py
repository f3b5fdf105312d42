"""Events and exposures from the network onto the disk: batches, keys, limits, and segments that survive a crash."""
