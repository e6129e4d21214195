"""Speed of the planner, as ratios against floors that are measured in the same run.

Pure.
"""
