"""Concepts' vectors and cases of several sites -> patient models, moved from one site to another in every regime."""
