"""Predictions of new scans: tables, overlays and pages."""
