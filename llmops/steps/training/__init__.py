"""Trains models, and merges adapters into their bases."""
