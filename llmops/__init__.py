"""Manages large language models through git: the tree of a commit declares what is trained, evaluated and served.

`reconcile` is the whole flow on one page. A commit goes through the folders in this order:

    git, language   files of a commit, and what users write in them
    specs, kinds    files -> specs -> graph of digested resources -> changes
    index           a cache of the graph and of the outcomes
    planning        changes, ledger -> plan
    execution       orders of the plan -> outcomes; `steps` do the work
    ledger, store   outcomes and their bytes, as git refs and files
    gates           evidence -> verdicts; `statistics` has the tests
    releases        plan -> traffic; `serving` answers requests
    reports, cli    text for people and machines

Each folder imports only folders below it (pyproject.toml has the layers). `domain` has the values that all of them use,
and `plugins` what the author of a kind, an engine, a runtime or a runner implements.

Pure.
"""

__version__ = "0.1.0"
