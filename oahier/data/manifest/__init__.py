"""Manifests: the table of knees, its columns, and the ids of its subjects."""
