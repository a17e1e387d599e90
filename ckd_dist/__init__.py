"""Distil a large language model's clinical knowledge into a small, fast model.  Start with the README.md beside this file."""

__version__ = "0.1.0"
