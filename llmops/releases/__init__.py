"""Converges live resources to a plan, by a controller for each live kind."""
