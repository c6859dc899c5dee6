"""Ranking and measuring of any two sets of vectors: exact ranks, metrics, protocols by name, reports, an index."""
