"""The middle of a run: its directory, its sides, what is made of them, how it is trained, measured and exported."""
