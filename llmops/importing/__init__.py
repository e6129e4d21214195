"""Converts files of other tools into specs, prompts and rows."""
