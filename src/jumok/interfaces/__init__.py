"""The only place that joins everything: the translator, the front door, the command line."""
