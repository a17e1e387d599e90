"""Soft labels: an immutable plan, shards of raw logits that are published once, and the order in which a student reads them."""
