"""The forge where changes are proposed: what made a job run, and what is told about a change there."""
