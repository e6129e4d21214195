"""GitOps for large language models: what the git tree says is what is trained, evaluated and served.

Read the modules in the order the data flows; `reconcile` joins them on one page:

    tree       commit          -> files            reads git
    specs      files           -> specs            or every problem at once; pure
    graph      specs           -> graph            order and digests; pure
    diff       graph, graph    -> changes          pure
    plan       changes, ledger -> plan             the fewest actions still owed; pure
    gates      evidence, rules -> verdict          pure
    rollouts   strategy, seen  -> next step        pure
    execute    plan, runner    -> outcomes
    ledger     outcomes       <-> git refs
    store      digest         <-> bytes
    status     graph, ledger   -> report           pure

`values` and `records` hold the nouns, `problems` what can be wrong, `fields` and `plugin` what kinds, engines and
runners are made of.

Pure.
"""

__version__ = "0.1.0"
