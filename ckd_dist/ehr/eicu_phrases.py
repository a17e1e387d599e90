"""What a path of eICU says, as a phrase: a pure function of the path, so that two sites say the same thing alike.

A phrase begins with the thing itself.  Where the path goes on into details they follow it; where it does not, the group
does, since a leaf alone ("pain", "other") may say little.  The organ system is left out: in the demo it only says
who wrote the same thing ("sepsis, severe" of cardiology and of infectious diseases).
"""

import re

OPERATIVE = "operative"
BAR = r"\|"
HISTORY_BAR = (
    r"(?<!\bs)(?<!\bh)(?<!\bA)(?<!FEV1)(?<!Hematology)/"  # s/p, h/o, A/V, FEV1/FVC, Hematology/Oncology are words
)


def of_diagnosis(path: str) -> str:
    """Return the phrase of a diagnosisstring or treatmentstring, `system|group|thing|detail|...`.

    >>> of_diagnosis("cardiovascular|ventricular disorders|hypertension")
    'hypertension, ventricular disorders'
    >>> of_diagnosis("burns/trauma|trauma - skeletal|bone fracture(s)|left lower extremity|femur|closed")
    'bone fracture(s), left lower extremity, femur, closed'
    """
    parts = _parts(path, BAR)
    return ", ".join(parts[2:] if len(parts) > 3 else parts[:-3:-1])


def of_admission(path: str) -> str:
    """Return the phrase of an admitdxpath; an operation and the same words without one differ.

    >>> of_admission("admission diagnosis|All Diagnosis|Operative|Diagnosis|Trauma|Head only trauma")
    'Head only trauma, Trauma, operative'
    """
    parts = _parts(path, BAR)
    is_operative = any(part.lower() == OPERATIVE for part in parts[:-2])
    return ", ".join(parts[:-3:-1] + [OPERATIVE] * is_operative)


def of_history(path: str) -> str:
    """Return the phrase of the tail of a pasthistorypath: its last part, after the group where that adds something.

    >>> of_history("Cardiovascular (R)/Angina/angina - class II")
    'angina - class II'
    >>> of_history("Hematology/Oncology (R)/Cancer/Metastases/lung")
    'Metastases, lung'
    >>> of_history("Neurologic/Strokes/multiple/multiple")
    'Strokes, multiple'
    >>> of_history("No Health Problems")
    'past history: No Health Problems'
    """
    parts = _parts(path.replace(" (R)", ""), HISTORY_BAR)
    if len(parts) == 1:
        return f"past history: {parts[0]}"
    *groups, said = parts
    groups = [group for group in groups if group.lower() != said.lower()]
    return said if not groups or groups[-1].lower() in said.lower() else f"{groups[-1]}, {said}"


def _parts(path: str, bar: str) -> list[str]:
    """The parts of a path that hold something, blanks put straight."""
    return [part for part in (" ".join(part.split()) for part in re.split(bar, path)) if part] or [path]
