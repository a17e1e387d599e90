"""Labelers: dictionaries and language models that read notes as text, and how their soft tags become one."""
