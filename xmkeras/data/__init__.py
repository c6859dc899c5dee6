"""Rows, sources, and the way from them to batches."""
