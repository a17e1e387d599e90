"""The study at its smallest, for tests that run all of it."""

ARGUMENTS = [
    *("--recipe", "ner_tiny", "--source", "synthetic:40", "teacher.optim.epochs=0.5", "student.optim.epochs=0.5"),
    *("student.tiny.hidden=32", "teacher.tiny.hidden=32", "evaluate.bootstrap_draws=100"),
]
