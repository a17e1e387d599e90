"""Soft labels: an immutable plan, shards of raw logits published once each, and the order in which a student reads."""
