"""Distil a large language model's clinical knowledge into a small, fast model.  Start with README.md beside this."""

__version__ = "0.1.0"
