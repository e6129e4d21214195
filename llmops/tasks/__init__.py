"""One file per training task: which rows it takes, and which trainer it builds."""
