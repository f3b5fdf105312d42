"""Group-sequential inference: a planned end, looks on the way to it, and the errors spent on them by rule.

Before the start: `design` (looks, spending, power, futility; what they cost), `spending`, `shapes` (classical bounds,
and any shape calibrated to spend exactly alpha), `sample_sizes`, `characteristics` (where experiments with any boundary
stop, exactly). While it runs: `monitoring` (bounds at the information that really came, repeated intervals and
p-values). After it has stopped: `stopped` (stagewise p-value, exact interval, median-unbiased estimate). Underneath:
`boundary`, `critical_values` and the `recursion`.
"""
