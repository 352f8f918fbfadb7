"""Audit of a manifest: findings about a cohort and its files, counts and a page."""

from __future__ import annotations

from oahier.audit.audit import Audit, audit_manifest
from oahier.audit.check import check_manifest

__all__ = ["Audit", "audit_manifest", "check_manifest"]
