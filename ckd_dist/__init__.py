"""Distil a large language model's clinical knowledge into a small, fast model.  Start reading at README.md beside this file."""

__version__ = "0.1.0"
