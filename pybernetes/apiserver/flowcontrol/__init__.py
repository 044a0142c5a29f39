"""API Priority and Fairness: who may be served now, who waits, and who is sent away.

`control` classifies requests by the FlowSchemas and keeps the levels as the PriorityLevelConfigurations want them;
`seats` has the levels' seats, their queues, and what they lend each other; `matching` and `work` are the pure rules;
`policy` is the default configuration and `keeper` keeps it in the API. docs/decisions/flow-control.md says where this
differs from upstream. Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/ and KEP-1040.
"""
