"""Turn an event's code into a concept: the code system it is of, and the phrase that an embedding reads.

An ICD code has one phrase wherever it comes from: the title of the public tables, else the source's, else the code
itself.  A drug's phrase is its name alone.  Hospitals order the same drug as "furosemide inj", "FUROSEMIDE 20 MG PO
TABS" and "4 ML VIAL : furosemide 10 MG/ML IJ SOLN", so strengths, forms, routes, containers and what is in brackets
are left out.  That is all: salts ("hcl") and brands ("lasix") stay, since to know that they mean the same is the
embedding's work.  What it costs: 0.45 % and 0.9 % of sodium chloride are one, and so are tablets and infusions.
"""

import re

from ckd_dist.ehr import codes
from ckd_dist.schema import DIAGNOSIS, MEDICATION, PROCEDURE

ICD_SYSTEMS = {DIAGNOSIS: "ICD{}", PROCEDURE: "ICD{}_procedure"}
OWN = "EICU"  # KIND//EICU//path: a source's own list

FORMS = """
    aero aerosol cap caps capsule capsules chew chewable conc cp24 cpdr cpep cr cream crys crystal dr drip drops ec elix
    elixir emul er foam gel granules half-tab inf infusion inhaler inj injection ir la liq liqd liquid lotion lozenge
    mwsh odt oint ointment orderable paste patch powd powder release rinse sol soln solp solr solution spray sr sso supp
    suppository susp suspension syrup t24a tab tabs tablet tablets tb12 tb24 tbcr tbdp tbec udpwd wafer xl xr"""
CONTAINERS = """
    adv amp ampul ampule bag bolus bottle cart cartridge cont crtrdg-ndl custom flex ivpb kit lvp mbp mdi mdv minibag
    ndc pack package packet pb pca pf piggyback plas prefilled premix sdv syr syringe tube ud vial"""
ROUTES = """
    bq external ij im in inh inhalation iv mm mt nasal neb nebulizer op ophth ophthalmic oral otic po pr re rect rectal
    sc sl sub-q subcut subcutaneous sublingual subq td top topical tr"""  # "in" also begins what a drug is dissolved in
UNITS = "each g gm gram l mcg meq mg ml unit units"
NOT_A_NAME = frozenset(" ".join((FORMS, CONTAINERS, ROUTES, UNITS)).split())
CONTAINER = re.compile(r"\s*:\s+|\s+:\s*|\s+-\s+")  # 4 ML VIAL : name;  2 ML  -  name;  name : 10 ML SYRINGE
ASIDE = re.compile(r"\([^()]*\)|\*[^*]*\*")  # (PF), (LASIX), *NF*
AMOUNT = re.compile(r"[\d.,]*\d")  # a word that begins with a number, as every strength does


def concept_of(code: str, title: str | None = None) -> tuple[str, str]:
    """Return code system and phrase of an event's code; `title` is the source's own.  No phrase is empty.

    >>> concept_of("DIAGNOSIS//ICD//9//4280")
    ('ICD9', 'Congestive heart failure, unspecified')
    >>> concept_of("MEDICATION//4 ml vial : furosemide 10 mg/ml ij soln")
    ('drug', 'furosemide')
    >>> concept_of("TREATMENT//EICU//cardiovascular|shock|vasopressors", "vasopressors, shock")
    ('eicu_treatment', 'vasopressors, shock')
    >>> concept_of("TRANSFER_TO//WARD")
    ('transfer_to', 'WARD')
    """
    for prefix, system in ICD_SYSTEMS.items():
        if code.startswith(prefix):
            version = code.removeprefix(prefix).partition("//")[0]
            return system.format(version), codes.title(code) or _tidy(title) or _dotted(code, prefix)
    if code.startswith(MEDICATION):
        return "drug", drug_name(code.removeprefix(MEDICATION))
    kind, _, rest = code.partition("//")
    own, _, path = rest.partition("//")
    if own == OWN and path:
        return f"{OWN}_{kind}".lower(), _tidy(title) or _tidy(path) or own
    return kind.lower(), _tidy(title) or _tidy(rest) or _tidy(code)


def drug_name(order: str) -> str:
    """Return the name within the text of an order, lower case; the whole text where nothing in it looks like a name.

    >>> [drug_name(order) for order in ("Aspirin EC 81 mg PO TBEC", "0.9%  NaCl infusion", "1000 ml bag")]
    ['aspirin', 'nacl', '1000 ml bag']
    """
    whole = _tidy(order.lower())
    parts = [part.split() for part in CONTAINER.split(ASIDE.sub(" ", whole))]
    parts = [words for words in parts if words and not AMOUNT.match(words[0])] or parts[:1]
    return next((name for name in map(_name, parts) if name), whole) or "unknown drug"


def _name(words: list[str]) -> str:
    """Return the first run of words that are neither amounts nor forms."""
    name: list[str] = []
    for word in (word.strip(".,;:") for word in words):
        if AMOUNT.match(word) or word in NOT_A_NAME or not any(map(str.isalpha, word)):
            if name:
                break
        else:
            name.append(word)
    return " ".join(name)


def _dotted(code: str, prefix: str) -> str:
    """Write a code that no table knows as people do.

    >>> _dotted("DIAGNOSIS//ICD//9//4280", "DIAGNOSIS//ICD//"), _dotted("PROCEDURE//ICD//9//3961", "PROCEDURE//ICD//")
    ('ICD-9 428.0', 'ICD-9 procedure 39.61')
    """
    version, _, bare = _tidy(code).removeprefix(prefix).partition("//")
    is_procedure = prefix == PROCEDURE
    before = 2 if is_procedure else 4 if version == "9" and bare.startswith("E") else 3
    if is_procedure and version != "9":
        before = len(bare)  # ICD-10-PCS has no dot
    number = f"{bare[:before]}.{bare[before:]}" if bare[before:] else bare
    return f"ICD-{version} {'procedure ' * is_procedure}{number}"


def _tidy(text: str | None) -> str:
    """Put blanks straight."""
    return " ".join((text or "").split())
