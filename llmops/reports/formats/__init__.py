"""Holds the forms in which results are printed: one folder for each command, one file for each form."""
