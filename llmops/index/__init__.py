"""Caches the resources of commits, so that a plan costs what the change costs."""
