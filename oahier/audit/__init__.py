"""Audit of a manifest: everything that is wrong with a cohort, and what is in it."""

from __future__ import annotations

from oahier.audit.audit import Audit, audit_manifest
from oahier.audit.check import check_manifest

__all__ = ["Audit", "audit_manifest", "check_manifest"]
