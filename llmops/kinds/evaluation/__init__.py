"""Declares an Evaluation: the suites of a model or a deployment, and their gates."""

from llmops.kinds.evaluation.kind import KIND

__all__ = ["KIND"]
