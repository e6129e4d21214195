"""Statistical tests and bounds."""
