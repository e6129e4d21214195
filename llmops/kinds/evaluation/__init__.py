"""Evaluation: which suites judge a model or a deployment, and the gates that they have to pass."""

from llmops.kinds.evaluation.kind import KIND

__all__ = ["KIND"]
