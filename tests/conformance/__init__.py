"""Every method through the same properties: see `cases.py` for the table."""
