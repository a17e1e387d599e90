"""Runs the stages of `ckd_dist` on Ray.  The only folder that imports ray."""
