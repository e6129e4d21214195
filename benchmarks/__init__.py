"""How fast llmops is, beside its peers and the least that is possible, all measured in the same run.

Pure.
"""
