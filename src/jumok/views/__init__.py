"""Traces to look at: in the terminal, as PNG, SVG and PDF, as a self-contained page, as a file."""
