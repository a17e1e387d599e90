"""What two synthetic emergency departments look for, and what each of them calls it: four lists of sixteen findings.

    same names        the same words at both sites
    other names       the same meaning in other words: eight share words or stems ("night sweats", "sweating at night"),
                      eight are synonyms, everyday ones ("vomiting", "throwing up") and learned ones ("fainting",
                      "syncope"), which a model must have read about medicine to know
    opaque codes      words at north, at south a number of its own list without a meaning to read
    reversed effects  words that mean the same, ten of them equal, but what raises the outcome's odds at north lowers
                      them at south

Each list has one outcome of its own (law.py) and the same sixteen effects: eight strengths, each for and against.
A list has four families of meaning (breathing, temperature, ...), each with two findings that raise the outcome's odds
and two that lower them: what a finding is about does not give its effect away, its words do.  Plain language, no code
system's content; effects and shares are invented and say nothing about medicine.
"""

from dataclasses import dataclass

SITES = ("north", "south")

SYSTEM = "finding"  # of all words, at both sites
OPAQUE_SYSTEM = "south_list"  # of numbers that only south knows

SAME, RENAMED, OPAQUE, REVERSED = "same names", "other names", "opaque codes", "reversed effects"


@dataclass(frozen=True)
class Finding:
    """One finding: its names, its effect where it is present (logits, at north), the shares of cases that have it."""

    north: str
    south: str
    effect: float
    share_north: float
    share_south: float

    @property
    def names(self) -> tuple[str, str]:
        """Its name at each of SITES."""
        return self.north, self.south

    @property
    def shares(self) -> tuple[float, float]:
        """How often it is there at each of SITES, whether or not anybody writes it down."""
        return self.share_north, self.share_south


def _same(name: str, effect: float, share_north: float, share_south: float) -> Finding:
    return Finding(name, name, effect, share_north, share_south)


FINDINGS: dict[str, tuple[Finding, ...]] = {
    SAME: (
        # throat and nose
        _same("sore throat", 1.5, 0.40, 0.30),
        _same("runny nose", -0.9, 0.45, 0.35),
        _same("hoarse voice", 0.3, 0.25, 0.35),
        _same("loss of smell", -0.2, 0.20, 0.30),
        # cough
        _same("dry cough", -1.5, 0.40, 0.45),
        _same("cough with yellow sputum", 0.9, 0.30, 0.40),
        _same("coughing up blood", 0.4, 0.20, 0.30),
        _same("cough that is worse at night", -0.1, 0.35, 0.25),
        # eyes
        _same("red eye", 1.2, 0.30, 0.40),
        _same("double vision", -0.6, 0.25, 0.35),
        _same("watering eyes", 0.2, 0.40, 0.50),
        _same("pain in bright light", -0.4, 0.35, 0.25),
        # ears
        _same("ear pain", -1.2, 0.35, 0.45),
        _same("ringing in the ears", 0.6, 0.35, 0.25),
        _same("discharge from the ear", -0.3, 0.25, 0.35),
        _same("hearing loss", 0.1, 0.40, 0.45),
    ),
    RENAMED: (
        # breathing
        Finding("shortness of breath at rest", "short of breath when resting", 1.5, 0.40, 0.30),
        Finding("tight chest when breathing in", "chest tightness on breathing in", -1.2, 0.30, 0.40),
        Finding("wheezing", "whistling sound from the airways", 0.4, 0.35, 0.45),
        Finding("rapid breathing", "high respiratory rate", -0.6, 0.40, 0.30),
        # temperature
        Finding("fever", "high temperature", 1.2, 0.45, 0.35),
        Finding("chills with shaking", "shaking chill", -0.9, 0.30, 0.40),
        Finding("night sweats", "sweating at night", 0.3, 0.25, 0.35),
        Finding("flushed face", "red and hot cheeks", -0.1, 0.25, 0.35),
        # digestion
        Finding("vomiting", "throwing up", -1.5, 0.40, 0.30),
        Finding("blood in the stool", "bloody stools", 0.9, 0.25, 0.35),
        Finding("watery diarrhea", "diarrhea like water", -0.4, 0.35, 0.45),
        Finding("pain in the belly after meals", "belly pain after a meal", 0.1, 0.40, 0.45),
        # circulation
        Finding("fainting", "syncope", 0.2, 0.30, 0.40),
        Finding("low blood pressure", "hypotension", -0.2, 0.35, 0.25),
        Finding("heart beats fast and hard", "palpitations", 0.6, 0.35, 0.45),
        Finding("swollen ankles", "ankle swelling", -0.3, 0.35, 0.40),
    ),
    OPAQUE: (
        # skin
        Finding("itchy rash", "local item 47 b", 0.6, 0.40, 0.30),
        Finding("pale skin", "local item 12 f", -1.2, 0.30, 0.40),
        Finding("bruises on both arms", "local item 83 g", 0.2, 0.25, 0.35),
        Finding("yellow skin", "local item 29 d", -0.3, 0.20, 0.30),
        # back and joints
        Finding("low back pain", "local item 61 c", -0.6, 0.45, 0.35),
        Finding("swollen knee", "local item 35 e", 1.2, 0.30, 0.40),
        Finding("stiff joints in the morning", "local item 74 d", -0.1, 0.40, 0.45),
        Finding("painful shoulder", "local item 18 g", 0.3, 0.35, 0.45),
        # urine
        Finding("burning when passing urine", "local item 52 f", 1.5, 0.35, 0.30),
        Finding("dark urine", "local item 96 c", -0.9, 0.30, 0.40),
        Finding("passes urine often", "local item 23 e", 0.1, 0.40, 0.35),
        Finding("pain in the flank", "local item 68 b", -0.4, 0.35, 0.45),
        # how they live
        Finding("smokes every day", "local item 41 c", 0.9, 0.40, 0.30),
        Finding("drinks alcohol every day", "local item 87 e", -0.2, 0.35, 0.25),
        Finding("walks with a stick", "local item 14 d", 0.4, 0.25, 0.35),
        Finding("lives in a nursing home", "local item 59 b", -1.5, 0.30, 0.40),
    ),
    REVERSED: (
        # head and nerves
        _same("headache", 0.9, 0.45, 0.35),
        Finding("dizziness when standing", "dizzy on standing up", -1.5, 0.35, 0.40),
        _same("slurred speech", 0.4, 0.25, 0.35),
        Finding("numb fingers", "numbness of the fingers", -0.1, 0.30, 0.40),
        # mind and sleep
        _same("confusion", 1.5, 0.30, 0.40),
        _same("anxious mood", -0.9, 0.40, 0.30),
        Finding("trouble sleeping", "sleeps with trouble", 0.2, 0.40, 0.45),
        _same("unusual drowsiness", -0.4, 0.35, 0.25),
        # wounds
        _same("open cut on the hand", -1.2, 0.35, 0.40),
        Finding("wound with pus", "pus in a wound", 0.6, 0.30, 0.40),
        _same("burn of the forearm", -0.3, 0.25, 0.35),
        _same("dog bite", 0.3, 0.25, 0.30),
        # what happened before
        Finding("had a flu vaccine this season", "flu vaccine was given this season", -0.6, 0.45, 0.35),
        _same("travelled abroad last month", 1.2, 0.30, 0.40),
        _same("operation in the last month", -0.2, 0.35, 0.25),
        Finding("contact with a sick child", "was in contact with sick children", 0.1, 0.40, 0.45),
    ),
}

ALL = tuple(finding for of_outcome in FINDINGS.values() for finding in of_outcome)
OUTCOMES = tuple(FINDINGS)
