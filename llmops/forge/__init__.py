"""Connects a CI job with the forge where changes are proposed: its event, and the reports on a change."""
