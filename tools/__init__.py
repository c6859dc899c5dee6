"""Commands run by hand from a checkout."""
