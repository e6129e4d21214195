"""Evaluates subjects on suites: loads the subject, builds the task, asks, scores, writes evidence."""
