"""Caches what was read of git, so that a plan costs what the change costs."""
