"""The ladder: every system on the same data at the same size; a file for each part of the work."""
