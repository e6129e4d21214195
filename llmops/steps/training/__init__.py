"""The steps that make models."""
