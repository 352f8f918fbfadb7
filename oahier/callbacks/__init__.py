"""Callbacks: what is measured, shown and written while a model is trained and tested."""
