"""The studies there are: one folder and one line each."""

from ckd_dist.studies import concepts, disease, ner

STUDIES = {"disease": disease.STUDY, "ner": ner.STUDY, "concepts": concepts.STUDY}
