"""The synthetic hospital's vocabularies: partial lists of the names that its notes use."""

from ckd_dist.studies.ner.synthetic.diseases import DISEASES, OTHER_DISEASES
from ckd_dist.studies.ner.synthetic.medications import MEDICATIONS
from ckd_dist.studies.ner.synthetic.names import held_by
from ckd_dist.studies.ner.synthetic.symptoms import SYMPTOMS


def vocabularies() -> dict[str, list[list[str]]]:
    """Return the lines of every vocabulary file, by its name without .tsv."""
    diseases = [names for concepts in DISEASES.values() for names in concepts] + [names for _, names in OTHER_DISEASES]
    medications = [names for _, names in MEDICATIONS.values()]
    return {
        "disease": held_by(diseases, " ="),
        "medication": held_by(medications, " ="),
        "symptom": held_by(SYMPTOMS.values(), " ="),
        "problems": held_by(diseases, "+="),
        "formulary": held_by(medications, "+="),
    }
