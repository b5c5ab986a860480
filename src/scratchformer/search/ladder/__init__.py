"""The same recipe at four sizes, and what a run with ten times the compute should reach.

    sizes     the rule by which a smaller model and its training follow from params.yaml
    compute   how many floating-point operations a training costs
    fit       loss as a power law of compute, with the uncertainty of what it predicts
    run       trains every size with several seeds, and writes table, picture and JSON
"""
