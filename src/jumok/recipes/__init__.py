"""Whole runs as functions: what is chosen for a corpus, training it, the folder it leaves."""
