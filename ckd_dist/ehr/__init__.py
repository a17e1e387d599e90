"""Tables to events: MIMIC-III, MIMIC-IV and MEDS in, MEDS out; and what the codes mean."""
