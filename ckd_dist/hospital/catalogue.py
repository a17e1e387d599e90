"""What the synthetic hospital codes, prescribes and performs: real ICD-9-CM codes and drug names, invented effects.

One entry for each of the benchmark's 25 phenotypes.  Codes and titles are ICD-9-CM's own (public domain).  Which drug
helps against what, how much, and which disease leads to which are invented: they make a law that is worth learning and
say nothing about medicine.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phenotype:
    """One label: how it is coded, what it is treated with, and what it leads to.

    base: probability at the next visit where nothing in the record points to it (age 65).
    codes: (ICD-9-CM code without the point, long title).
    effective: two drugs and how many logits each takes off the persistence of the disease.  decoy: one without effect.
    leads_to: phenotypes that it makes likely at the next visit.
    """

    name: str
    chronic: bool
    base: float
    codes: tuple[tuple[str, str], ...]
    effective: tuple[tuple[str, float], tuple[str, float]]
    decoy: str
    leads_to: tuple[str, ...]


SEPTICEMIA = "Septicemia (except in labor)"
DIABETES = "Diabetes mellitus without complication"
DIABETES_COMPLICATED = "Diabetes mellitus with complications"
LIPIDS = "Disorders of lipid metabolism"
FLUIDS = "Fluid and electrolyte disorders"
HYPERTENSION = "Essential hypertension"
HYPERTENSION_COMPLICATED = "Hypertension with complications and secondary hypertension"
INFARCTION = "Acute myocardial infarction"
CORONARY = "Coronary atherosclerosis and other heart disease"
CONDUCTION = "Conduction disorders"
DYSRHYTHMIA = "Cardiac dysrhythmias"
HEART_FAILURE = "Congestive heart failure; nonhypertensive"
STROKE = "Acute cerebrovascular disease"
PNEUMONIA = "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"
COPD = "Chronic obstructive pulmonary disease and bronchiectasis"
PLEURISY = "Pleurisy; pneumothorax; pulmonary collapse"
RESPIRATORY_FAILURE = "Respiratory failure; insufficiency; arrest (adult)"
LOWER_RESPIRATORY = "Other lower respiratory disease"
UPPER_RESPIRATORY = "Other upper respiratory disease"
LIVER = "Other liver diseases"
BLEEDING = "Gastrointestinal hemorrhage"
KIDNEY_FAILURE = "Acute and unspecified renal failure"
KIDNEY_DISEASE = "Chronic kidney disease"
COMPLICATIONS = "Complications of surgical procedures or medical care"
SHOCK = "Shock"

PHENOTYPES = (
    Phenotype(
        SEPTICEMIA,
        chronic=False,
        base=0.03,
        codes=(("0389", "Unspecified septicemia"), ("99591", "Sepsis"), ("99592", "Severe sepsis")),
        effective=(("vancomycin", 4.2), ("meropenem", 3.2)),
        decoy="cefazolin",
        leads_to=(SHOCK, KIDNEY_FAILURE),
    ),
    Phenotype(
        DIABETES,
        chronic=True,
        base=0.05,
        codes=(
            (
                "25000",
                "Diabetes mellitus without mention of complication, type II or unspecified type, "
                "not stated as uncontrolled",
            ),
            (
                "25001",
                "Diabetes mellitus without mention of complication, type I [juvenile type], not stated as uncontrolled",
            ),
        ),
        effective=(("metformin", 4.0), ("glipizide", 3.0)),
        decoy="acarbose",
        leads_to=(DIABETES_COMPLICATED,),
    ),
    Phenotype(
        DIABETES_COMPLICATED,
        chronic=True,
        base=0.03,
        codes=(
            (
                "25040",
                "Diabetes with renal manifestations, type II or unspecified type, not stated as uncontrolled",
            ),
            (
                "25060",
                "Diabetes with neurological manifestations, type II or unspecified type, not stated as uncontrolled",
            ),
        ),
        effective=(("insulin glargine", 4.2), ("insulin lispro", 3.2)),
        decoy="gabapentin",
        leads_to=(KIDNEY_DISEASE,),
    ),
    Phenotype(
        LIPIDS,
        chronic=True,
        base=0.05,
        codes=(("2720", "Pure hypercholesterolemia"), ("2724", "Other and unspecified hyperlipidemia")),
        effective=(("atorvastatin", 4.2), ("ezetimibe", 3.0)),
        decoy="niacin",
        leads_to=(CORONARY,),
    ),
    Phenotype(
        FLUIDS,
        chronic=False,
        base=0.06,
        codes=(
            ("2761", "Hyposmolality and/or hyponatremia"),
            ("2762", "Acidosis"),
            ("2767", "Hyperpotassemia"),
        ),
        effective=(("potassium chloride", 3.8), ("magnesium sulfate", 3.2)),
        decoy="sodium bicarbonate",
        leads_to=(DYSRHYTHMIA,),
    ),
    Phenotype(
        HYPERTENSION,
        chronic=True,
        base=0.07,
        codes=(("4019", "Unspecified essential hypertension"), ("4011", "Benign essential hypertension")),
        effective=(("lisinopril", 4.2), ("amlodipine", 3.4)),
        decoy="clonidine",
        leads_to=(STROKE,),
    ),
    Phenotype(
        HYPERTENSION_COMPLICATED,
        chronic=True,
        base=0.03,
        codes=(
            (
                "40390",
                "Hypertensive chronic kidney disease, unspecified, with chronic kidney disease stage I through "
                "stage IV, or unspecified",
            ),
            ("40291", "Unspecified hypertensive heart disease with heart failure"),
        ),
        effective=(("hydralazine", 4.0), ("losartan", 3.2)),
        decoy="minoxidil",
        leads_to=(HEART_FAILURE,),
    ),
    Phenotype(
        INFARCTION,
        chronic=False,
        base=0.03,
        codes=(
            ("41071", "Subendocardial infarction, initial episode of care"),
            ("41041", "Acute myocardial infarction of other inferior wall, initial episode of care"),
        ),
        effective=(("clopidogrel", 4.2), ("eptifibatide", 3.0)),
        decoy="nitroglycerin",
        leads_to=(HEART_FAILURE,),
    ),
    Phenotype(
        CORONARY,
        chronic=True,
        base=0.06,
        codes=(
            ("41401", "Coronary atherosclerosis of native coronary artery"),
            ("412", "Old myocardial infarction"),
            ("4139", "Other and unspecified angina pectoris"),
        ),
        effective=(("metoprolol", 4.0), ("ranolazine", 3.2)),
        decoy="isosorbide mononitrate",
        leads_to=(INFARCTION,),
    ),
    Phenotype(
        CONDUCTION,
        chronic=True,
        base=0.03,
        codes=(("4260", "Atrioventricular block, complete"), ("4263", "Other left bundle branch block")),
        effective=(("isoproterenol", 3.8), ("atropine", 3.2)),
        decoy="aminophylline",
        leads_to=(DYSRHYTHMIA,),
    ),
    Phenotype(
        DYSRHYTHMIA,
        chronic=True,
        base=0.05,
        codes=(
            ("42731", "Atrial fibrillation"),
            ("42732", "Atrial flutter"),
            ("4271", "Paroxysmal ventricular tachycardia"),
        ),
        effective=(("amiodarone", 4.2), ("diltiazem", 3.2)),
        decoy="quinidine",
        leads_to=(STROKE,),
    ),
    Phenotype(
        HEART_FAILURE,
        chronic=False,
        base=0.05,
        codes=(
            ("4280", "Congestive heart failure, unspecified"),
            ("42822", "Chronic systolic heart failure"),
            ("42832", "Chronic diastolic heart failure"),
        ),
        effective=(("furosemide", 4.2), ("spironolactone", 3.4)),
        decoy="digoxin",
        leads_to=(PLEURISY,),
    ),
    Phenotype(
        STROKE,
        chronic=False,
        base=0.03,
        codes=(
            ("43491", "Cerebral artery occlusion, unspecified with cerebral infarction"),
            ("431", "Intracerebral hemorrhage"),
        ),
        effective=(("alteplase", 4.0), ("nimodipine", 3.0)),
        decoy="dipyridamole",
        leads_to=(PNEUMONIA,),
    ),
    Phenotype(
        PNEUMONIA,
        chronic=False,
        base=0.04,
        codes=(("486", "Pneumonia, organism unspecified"), ("4821", "Pneumonia due to Pseudomonas")),
        effective=(("levofloxacin", 4.2), ("azithromycin", 3.4)),
        decoy="guaifenesin",
        leads_to=(RESPIRATORY_FAILURE, SEPTICEMIA),
    ),
    Phenotype(
        COPD,
        chronic=True,
        base=0.04,
        codes=(
            ("496", "Chronic airway obstruction, not elsewhere classified"),
            ("49121", "Obstructive chronic bronchitis with (acute) exacerbation"),
        ),
        effective=(("tiotropium", 4.0), ("prednisone", 3.0)),
        decoy="theophylline",
        leads_to=(LOWER_RESPIRATORY,),
    ),
    Phenotype(
        PLEURISY,
        chronic=False,
        base=0.03,
        codes=(("5119", "Unspecified pleural effusion"), ("5180", "Pulmonary collapse")),
        effective=(("indomethacin", 3.8), ("ketorolac", 3.2)),
        decoy="codeine",
        leads_to=(LOWER_RESPIRATORY,),
    ),
    Phenotype(
        RESPIRATORY_FAILURE,
        chronic=False,
        base=0.03,
        codes=(("51881", "Acute respiratory failure"), ("51884", "Acute and chronic respiratory failure")),
        effective=(("methylprednisolone", 4.2), ("albuterol", 3.2)),
        decoy="acetylcysteine",
        leads_to=(COMPLICATIONS,),
    ),
    Phenotype(
        LOWER_RESPIRATORY,
        chronic=False,
        base=0.03,
        codes=(
            ("78609", "Other respiratory abnormalities"),
            ("51889", "Other diseases of lung, not elsewhere classified"),
        ),
        effective=(("ipratropium", 4.0), ("budesonide", 3.0)),
        decoy="benzonatate",
        leads_to=(UPPER_RESPIRATORY,),
    ),
    Phenotype(
        UPPER_RESPIRATORY,
        chronic=False,
        base=0.03,
        codes=(
            ("7847", "Epistaxis"),
            ("4720", "Chronic rhinitis"),
            ("51919", "Other diseases of trachea and bronchus"),
        ),
        effective=(("fluticasone", 3.8), ("oxymetazoline", 3.0)),
        decoy="loratadine",
        leads_to=(COPD,),
    ),
    Phenotype(
        LIVER,
        chronic=False,
        base=0.03,
        codes=(("5715", "Cirrhosis of liver without mention of alcohol"), ("5722", "Hepatic encephalopathy")),
        effective=(("lactulose", 4.2), ("rifaximin", 3.2)),
        decoy="ursodiol",
        leads_to=(BLEEDING,),
    ),
    Phenotype(
        BLEEDING,
        chronic=False,
        base=0.03,
        codes=(("5789", "Hemorrhage of gastrointestinal tract, unspecified"), ("5780", "Hematemesis")),
        effective=(("pantoprazole", 4.2), ("octreotide", 3.2)),
        decoy="sucralfate",
        leads_to=(SHOCK,),
    ),
    Phenotype(
        KIDNEY_FAILURE,
        chronic=False,
        base=0.04,
        codes=(
            ("5849", "Acute kidney failure, unspecified"),
            ("5845", "Acute kidney failure with lesion of tubular necrosis"),
        ),
        effective=(("bumetanide", 4.0), ("albumin", 3.2)),
        decoy="dopamine",
        leads_to=(FLUIDS,),
    ),
    Phenotype(
        KIDNEY_DISEASE,
        chronic=True,
        base=0.04,
        codes=(
            ("5859", "Chronic kidney disease, unspecified"),
            ("5853", "Chronic kidney disease, Stage III (moderate)"),
        ),
        effective=(("epoetin alfa", 4.0), ("calcitriol", 3.0)),
        decoy="calcium acetate",
        leads_to=(HYPERTENSION_COMPLICATED,),
    ),
    Phenotype(
        COMPLICATIONS,
        chronic=False,
        base=0.03,
        codes=(("99859", "Other postoperative infection"), ("99811", "Hemorrhage complicating a procedure")),
        effective=(("piperacillin-tazobactam", 4.2), ("metronidazole", 3.2)),
        decoy="diphenhydramine",
        leads_to=(SEPTICEMIA,),
    ),
    Phenotype(
        SHOCK,
        chronic=False,
        base=0.02,
        codes=(("78552", "Septic shock"), ("78551", "Cardiogenic shock")),
        effective=(("norepinephrine", 4.2), ("vasopressin", 3.2)),
        decoy="phenylephrine",
        leads_to=(LIVER,),
    ),
)

# Codes and drugs outside the law, each with its share of visits.
OTHER_DIAGNOSES = (
    ("53081", "Esophageal reflux", 0.25),
    ("2859", "Anemia, unspecified", 0.25),
    ("2449", "Unspecified acquired hypothyroidism", 0.15),
    ("311", "Depressive disorder, not elsewhere classified", 0.15),
    ("5990", "Urinary tract infection, site not specified", 0.20),
    ("V1582", "Personal history of tobacco use", 0.15),
    ("71590", "Osteoarthrosis, unspecified whether generalized or localized, site unspecified", 0.10),
    ("2749", "Gout, unspecified", 0.10),
    ("32723", "Obstructive sleep apnea (adult)(pediatric)", 0.10),
    ("73300", "Osteoporosis, unspecified", 0.10),
    ("3051", "Tobacco use disorder", 0.10),
    ("78720", "Dysphagia, unspecified", 0.05),
)
OTHER_DRUGS = (
    ("acetaminophen", 0.50),
    ("docusate sodium", 0.40),
    ("heparin", 0.35),
    ("senna", 0.30),
    ("ondansetron", 0.20),
    ("morphine sulfate", 0.20),
    ("bisacodyl", 0.15),
    ("multivitamins", 0.10),
)
PROCEDURES = (
    ("3893", "Venous catheterization, not elsewhere classified", 0.25),
    ("9904", "Transfusion of packed cells", 0.15),
    ("966", "Enteral infusion of concentrated nutritional substances", 0.10),
    ("8872", "Diagnostic ultrasound of heart", 0.10),
    ("9671", "Continuous invasive mechanical ventilation for less than 96 consecutive hours", 0.10),
    ("3995", "Hemodialysis", 0.06),
    ("8856", "Coronary arteriography using two catheters", 0.06),
    ("4513", "Other endoscopy of small intestine", 0.05),
    ("9915", "Parenteral infusion of concentrated nutritional substances", 0.03),
)
