"""Audit of a manifest: everything that is wrong with a cohort, and what is in it."""

from __future__ import annotations

from oahier.data.audit.audit import SEVERITIES, Audit, audit_manifest

__all__ = ["SEVERITIES", "Audit", "audit_manifest"]
