"""The command line: a file per command; data on standard output, all else on standard error.

A command's module holds ``EXAMPLES`` (shown by ``--help``, run by the tests) and one function of
the command's name, whose signature is its options. Heavy modules are imported inside functions,
so that ``--help`` is quick.
"""
