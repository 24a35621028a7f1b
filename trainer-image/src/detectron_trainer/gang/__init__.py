"""The ranks of a run as one: their group, their stop, the watch over peers."""
