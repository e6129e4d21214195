"""Tests hypotheses about evaluation scores and bounds their means."""
