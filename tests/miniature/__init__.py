"""Data sets of this field in miniature, with the traps of the real ones."""
