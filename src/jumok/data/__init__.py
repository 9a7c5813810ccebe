"""Text to arrays: corpora, tokenizers, vocabularies, order, batches, reports, built-in tasks."""
