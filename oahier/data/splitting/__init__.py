"""Splits by subject: plans, stratified assignment, and the balance reached."""
