"""Serves Python programs, and the commands that do the same: plan, apply, status, history, why, outcomes, evidence."""
