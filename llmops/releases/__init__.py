"""Turns a plan into what runs: a controller for each live kind."""
