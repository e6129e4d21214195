"""Turns files of other tools into specs."""
