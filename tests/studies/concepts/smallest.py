"""The study at its smallest, for tests that run all of it."""

ARGUMENTS = [
    *("--recipe", "concepts_tiny", "--source", "synthetic:80", "student.optim.epochs=1", "grid.train.epochs=1"),
    *("grid.tune.epochs=1", "grid.seeds=1", "grid.sizes=[]", "grid.steps_curve=0", "grid.regimes=[local,shared]"),
    *("sites.min_cases=10", "evaluate.bootstrap_draws=100"),
]
