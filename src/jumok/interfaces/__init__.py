"""The only place that joins everything: the translator, the command line, the server."""
