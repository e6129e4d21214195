"""Holds the frozen values that every other folder speaks of."""
