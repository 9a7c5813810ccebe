"""The laws as functions: the tests and `jumok verify` call the same ones."""
