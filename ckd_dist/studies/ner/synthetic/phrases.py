"""How the synthetic hospital's notes call diseases, symptoms and drugs, and which of the names its vocabularies hold.

A name's mark says who knows it:

    name     the vocabulary of its type (disease.tsv, symptom.tsv, medication.tsv)
    +name    the smaller list alone: problems.tsv (short forms of diseases), formulary.tsv (brand names)
    =name    both
    -name    neither: only its context gives it away

Names stand in the order of how often they are used; {side}, {site} and {few} in one are filled in anew each time.  No
name means two types.  That some are ambiguous all the same ("MS", "RA", "cold", "albumin") is sentences.TRAPS' doing.
"""

from collections.abc import Iterable

from ckd_dist.hospital import catalogue as c

Names = tuple[str, ...]

# Concepts of every phenotype; a visit that has the phenotype has one of them.
DISEASES: dict[str, tuple[Names, ...]] = {
    c.SEPTICEMIA: (
        ("sepsis", "septicemia", "-urosepsis", "bacteremia", "-bloodstream infection", "-blood poisoning"),
        ("severe sepsis", "-sepsis with organ dysfunction", "-septic physiology"),
    ),
    c.DIABETES: (
        ("diabetes mellitus", "type 2 diabetes mellitus", "+DM2", "=DM", "type 2 diabetes", "+T2DM", "-sugar diabetes"),
        ("diabetes", "+NIDDM", "-adult-onset diabetes", "-diet-controlled diabetes"),
        ("type 1 diabetes", "+DM1", "-juvenile diabetes", "-IDDM"),
    ),
    c.DIABETES_COMPLICATED: (
        ("diabetic nephropathy", "-diabetic kidney disease", "diabetic renal disease"),
        ("diabetic neuropathy", "-painful diabetic feet", "diabetic polyneuropathy", "-neuropathy from diabetes"),
        ("diabetic ketoacidosis", "=DKA", "-diabetic foot ulcer"),
    ),
    c.LIPIDS: (
        ("hyperlipidemia", "hypercholesterolemia", "+HLD", "dyslipidemia", "-high cholesterol", "-hyperchol", "+HL"),
    ),
    c.FLUIDS: (
        ("hyponatremia", "-low sodium", "hyposmolality", "-hypoNa"),
        ("metabolic acidosis", "acidosis", "-lactic acidosis", "-AGMA"),
        ("hyperkalemia", "-high potassium", "hyperpotassemia", "-hyperK"),
        ("dehydration", "hypovolemia", "-volume depletion"),
    ),
    c.HYPERTENSION: (
        (
            "hypertension",
            "+HTN",
            "essential hypertension",
            "high blood pressure",
            "-elevated BP",
            "-arterial hypertension",
        ),
    ),
    c.HYPERTENSION_COMPLICATED: (
        ("hypertensive heart disease", "-hypertensive cardiomyopathy", "hypertensive nephropathy"),
        ("hypertensive emergency", "-hypertensive urgency", "malignant hypertension", "-HTN emergency"),
    ),
    c.INFARCTION: (
        ("myocardial infarction", "=NSTEMI", "heart attack", "+MI", "-non-ST elevation MI", "-type 2 MI", "+AMI"),
        ("acute myocardial infarction", "=STEMI", "-inferior MI", "-coronary event"),
    ),
    c.CORONARY: (
        (
            "coronary artery disease",
            "=CAD",
            "coronary atherosclerosis",
            "-three vessel disease",
            "ischemic heart disease",
        ),
        ("angina", "angina pectoris", "-UA", "unstable angina", "+IHD", "-LAD disease"),
    ),
    c.CONDUCTION: (
        ("complete heart block", "+CHB", "-third degree AV block", "atrioventricular block", "-3rd degree block"),
        ("left bundle branch block", "+LBBB", "bundle branch block", "-conduction delay"),
    ),
    c.DYSRHYTHMIA: (
        ("atrial fibrillation", "-afib", "+AF", "-a. fib", "-paroxysmal afib", "auricular fibrillation"),
        ("atrial flutter", "-aflutter", "-flutter"),
        ("ventricular tachycardia", "+VT", "-Vtach", "-NSVT"),
    ),
    c.HEART_FAILURE: (
        (
            "congestive heart failure",
            "=CHF",
            "heart failure",
            "-decompensated heart failure",
            "-cardiac failure",
            "-HF",
        ),
        ("systolic heart failure", "-HFrEF", "cardiomyopathy", "-ischemic cardiomyopathy", "-low EF"),
        ("diastolic heart failure", "-HFpEF", "diastolic dysfunction", "-stiff heart"),
    ),
    c.STROKE: (
        ("stroke", "+CVA", "ischemic stroke", "cerebral infarction", "-{side} MCA infarct", "cerebrovascular accident"),
        ("intracerebral hemorrhage", "+ICH", "-brain bleed", "-hemorrhagic stroke", "-intracranial bleed"),
    ),
    c.PNEUMONIA: (
        (
            "pneumonia",
            "+PNA",
            "community-acquired pneumonia",
            "+CAP",
            "-multifocal pneumonia",
            "-{side} lower lobe infiltrate",
        ),
        ("pseudomonas pneumonia", "+HCAP", "-pseudomonal pneumonia", "hospital-acquired pneumonia", "-aspiration PNA"),
    ),
    c.COPD: (
        ("chronic obstructive pulmonary disease", "=COPD", "emphysema", "-smoker's lung", "-obstructive lung disease"),
        ("chronic bronchitis", "bronchiectasis", "-COPD flare", "-AECOPD", "-COPD exacerbation"),
    ),
    c.PLEURISY: (
        (
            "pleural effusion",
            "pleural effusions",
            "-bilateral effusions",
            "-{side} effusion",
            "-parapneumonic effusion",
        ),
        ("atelectasis", "pulmonary collapse", "-collapsed lung", "-bibasilar atelectasis"),
        ("pneumothorax", "+PTX", "-dropped lung"),
    ),
    c.RESPIRATORY_FAILURE: (
        ("respiratory failure", "acute respiratory failure", "-hypoxic respiratory failure", "+ARDS", "-resp failure"),
        ("respiratory insufficiency", "-respiratory decompensation", "-hypercarbic failure", "+ARF"),
    ),
    c.LOWER_RESPIRATORY: (
        ("lung disease", "interstitial lung disease", "+ILD", "-lung scarring", "pulmonary fibrosis"),
        ("pulmonary nodule", "pulmonary nodules", "-lung nodules", "-{few} mm nodule", "bronchospasm"),
    ),
    c.UPPER_RESPIRATORY: (
        ("epistaxis", "nosebleed", "-nose bleeds", "-recurrent nosebleeds"),
        ("chronic rhinitis", "-nasal allergies", "allergic rhinitis", "-post-nasal drip", "tracheal stenosis"),
    ),
    c.LIVER: (
        (
            "cirrhosis",
            "liver cirrhosis",
            "-EtOH cirrhosis",
            "chronic liver disease",
            "-end-stage liver disease",
            "+ESLD",
        ),
        ("hepatic encephalopathy", "+HE", "-encephalopathy from liver disease", "-portosystemic encephalopathy"),
    ),
    c.BLEEDING: (
        (
            "gastrointestinal bleeding",
            "+GIB",
            "-GI bleed",
            "upper gastrointestinal bleeding",
            "+UGIB",
            "-bleeding ulcer",
        ),
        ("gastrointestinal hemorrhage", "-lower GI bleed", "-diverticular bleed", "variceal bleeding"),
    ),
    c.KIDNEY_FAILURE: (
        ("acute kidney injury", "+AKI", "acute renal failure", "-prerenal azotemia", "-acute on chronic renal failure"),
        ("acute tubular necrosis", "+ATN", "-kidney shutdown", "kidney failure", "-bump in creatinine"),
    ),
    c.KIDNEY_DISEASE: (
        ("chronic kidney disease", "=CKD", "chronic renal insufficiency", "+CRI", "-stage III CKD", "-CKD stage 3"),
        ("end-stage renal disease", "+ESRD", "-dialysis dependence", "-renal insufficiency"),
    ),
    c.COMPLICATIONS: (
        ("wound infection", "surgical site infection", "+SSI", "-infected incision", "postoperative infection"),
        ("postoperative hemorrhage", "-post-op bleeding", "wound dehiscence", "-wound breakdown", "hematoma"),
    ),
    c.SHOCK: (
        ("septic shock", "-refractory shock", "distributive shock", "-vasoplegia"),
        ("cardiogenic shock", "-pump failure", "-mixed shock", "circulatory shock"),
    ),
}

# Outside the law: each with the share of patients that have it.
OTHER_DISEASES: tuple[tuple[float, Names], ...] = (
    (0.25, ("gastroesophageal reflux disease", "=GERD", "acid reflux", "-reflux", "esophageal reflux")),
    (0.25, ("anemia", "iron deficiency anemia", "-low blood count", "-chronic anemia")),
    (0.15, ("hypothyroidism", "-underactive thyroid", "-low thyroid", "-hypothyroid")),
    (0.15, ("depression", "major depression", "+MDD", "depressive disorder", "-mood disorder")),
    (0.20, ("urinary tract infection", "=UTI", "-bladder infection", "-pyuria with E. coli")),
    (0.10, ("osteoarthritis", "+OA", "+DJD", "degenerative joint disease", "-bad {site}")),
    (0.10, ("gout", "gouty arthritis", "-podagra", "-gout flare")),
    (0.10, ("obstructive sleep apnea", "=OSA", "sleep apnea", "-sleep disordered breathing")),
    (0.10, ("osteoporosis", "-brittle bones", "-osteopenia")),
    (0.08, ("multiple sclerosis", "=MS", "-relapsing-remitting MS")),
    (0.08, ("rheumatoid arthritis", "+RA", "-seropositive arthritis")),
    (0.05, ("acute lymphoblastic leukemia", "=ALL", "-B-cell leukemia")),
    (0.08, ("pulmonary embolism", "+PE", "-saddle embolus", "-lung clot")),
    (0.08, ("cold", "common cold", "-URI", "-head cold")),
    (0.06, ("heparin-induced thrombocytopenia", "+HIT", "-low platelets from heparin")),
    (0.06, ("breast cancer", "breast carcinoma", "-breast ca", "-invasive ductal carcinoma")),
    (0.06, ("prostate cancer", "prostate carcinoma", "-prostate ca", "-cancer of the prostate")),
    (0.08, ("benign prostatic hyperplasia", "+BPH", "-enlarged prostate")),
    (0.05, ("dementia", "Alzheimer's disease", "-Alzheimers", "-memory problems from vascular disease")),
    (0.05, ("asthma", "-reactive airway disease", "-asthmatic bronchitis")),
    (0.05, ("peripheral vascular disease", "+PVD", "+PAD", "peripheral arterial disease", "-leg artery disease")),
    (0.04, ("deep vein thrombosis", "=DVT", "-{side} leg clot", "-clot in the {side} {site}")),
    (0.04, ("cellulitis", "-{side} {site} cellulitis", "-skin infection")),
    (0.03, ("pancreatitis", "acute pancreatitis", "-gallstone pancreatitis")),
    (0.03, ("cholecystitis", "gallstones", "-gallbladder attack")),
    (0.03, ("hepatitis C", "+HCV", "-hep C")),
    (0.03, ("Parkinson's disease", "-Parkinsons", "-PD")),
    (0.03, ("epilepsy", "seizure disorder", "-sz disorder")),
    (0.03, ("migraine", "migraines", "-sick headaches")),
    (0.03, ("glaucoma", "-eye pressure disease")),
    (0.03, ("psoriasis", "-plaque psoriasis", "psoriatic arthritis")),
    (0.03, ("lung cancer", "+NSCLC", "-lung ca", "-stage {few} lung cancer")),
    (0.03, ("colon cancer", "colorectal carcinoma", "-colon ca")),
    (0.03, ("lymphoma", "+NHL", "-lymphoma of the {site}")),
    (0.03, ("anxiety", "anxiety disorder", "+GAD", "-bad nerves")),
    (0.03, ("bipolar disorder", "-manic depression", "-bipolar")),
    (0.03, ("Crohn's disease", "-Crohns", "ulcerative colitis", "+UC")),
    (0.03, ("diverticulitis", "-diverticular disease", "diverticulosis")),
    (0.03, ("aortic stenosis", "-critical AS", "-tight aortic valve")),
    (0.03, ("mitral regurgitation", "+MVP", "-leaky valve")),
    (0.03, ("endocarditis", "-infected valve", "bacterial endocarditis")),
    (0.03, ("osteomyelitis", "-osteo of the {side} {site}", "-bone infection")),
    (0.03, ("nephrolithiasis", "kidney stones", "-{few} mm kidney stone")),
    (0.03, ("HIV infection", "+HIV", "-HIV disease")),
    (0.03, ("systemic lupus erythematosus", "=SLE", "lupus", "-lupus nephritis class {few}")),
    (0.03, ("sarcoidosis", "-sarcoid", "-pulmonary sarcoid")),
    (0.03, ("fibromyalgia", "-fibro")),
    (0.03, ("hip fracture", "-{side} hip fracture", "-broken hip", "-fracture of the {side} {site}")),
)

SYMPTOMS: dict[str, Names] = {
    "dyspnea": ("shortness of breath", "dyspnea", "-SOB", "-trouble breathing", "breathlessness", "-air hunger"),
    "exertional dyspnea": ("dyspnea on exertion", "-DOE", "-winded on stairs", "-gets winded easily"),
    "orthopnea": ("orthopnea", "-{few}-pillow orthopnea", "-needs two pillows to sleep", "-PND"),
    "chest pain": ("chest pain", "-chest pressure", "chest discomfort", "-CP", "-substernal chest tightness"),
    "pleuritic pain": ("pleuritic chest pain", "-pain with deep breaths", "-sharp chest pain"),
    "palpitations": ("palpitations", "-racing heart", "-heart fluttering", "palpitation"),
    "syncope": ("syncope", "loss of consciousness", "-passed out", "-LOC", "fainting", "-blacked out"),
    "dizziness": ("dizziness", "lightheadedness", "-LH", "-feels woozy", "vertigo"),
    "edema": ("leg swelling", "edema", "-swollen {site}", "-BLE edema", "swelling", "-puffy legs"),
    "fatigue": ("fatigue", "malaise", "-tiredness", "-worn out", "lethargy", "-no energy"),
    "fever": ("fever", "fevers", "-febrile to 10{few}", "-temps", "pyrexia", "-feverish"),
    "chills": ("chills", "rigors", "-shaking chills", "-the shakes"),
    "cough": ("cough", "productive cough", "-coughing up sputum", "-nonproductive cough", "-hacking cough"),
    "wheezing": ("wheezing", "-wheezes at night", "-noisy breathing"),
    "hemoptysis": ("hemoptysis", "-coughing up blood", "-blood-tinged sputum"),
    "nausea": ("nausea", "-N/V", "-queasiness", "-sick to the stomach"),
    "vomiting": ("vomiting", "emesis", "-throwing up", "-NBNB emesis"),
    "abdominal pain": ("abdominal pain", "-belly pain", "stomach ache", "-RUQ tenderness", "-abd pain"),
    "distension": ("abdominal distension", "-increasing girth", "bloating", "-distended belly"),
    "melena": ("melena", "-black stools", "-tarry stools", "-dark stool"),
    "hematemesis": ("hematemesis", "-coffee-ground emesis", "-vomiting blood", "-vomited blood"),
    "rectal bleeding": ("hematochezia", "rectal bleeding", "-BRBPR", "-blood per rectum"),
    "diarrhea": ("diarrhea", "loose stools", "-watery stools", "-liquid BMs"),
    "constipation": ("constipation", "-no BM for {few} days", "-hard stools"),
    "jaundice": ("jaundice", "-yellow eyes", "-icterus"),
    "confusion": ("confusion", "disorientation", "-AMS", "altered mental status", "-not making sense"),
    "headache": ("headache", "headaches", "-HA", "-head pain"),
    "weakness": ("weakness", "-{side} {site} weakness", "-{side}-sided weakness", "-facial droop"),
    "slurred speech": ("slurred speech", "dysarthria", "-garbled speech", "aphasia", "-word-finding difficulty"),
    "numbness": ("numbness", "paresthesia", "-tingling in the {site}", "-burning feet", "-pins and needles"),
    "polyuria": ("polyuria", "-frequent urination", "polydipsia", "-increased thirst"),
    "oliguria": ("oliguria", "-low urine output", "-poor UOP", "decreased urine output"),
    "dysuria": ("dysuria", "-burning on urination", "urinary frequency", "-pain with urination"),
    "anorexia": ("loss of appetite", "anorexia", "-poor PO intake", "-not eating"),
    "weight loss": ("weight loss", "-unintentional weight loss", "-lost {few} pounds"),
    "weight gain": ("weight gain", "-gained {few} pounds", "-up {few} kg"),
    "congestion": ("nasal congestion", "-stuffy nose", "runny nose", "-rhinorrhea"),
    "sore throat": ("sore throat", "-throat pain", "-scratchy throat"),
    "wound": ("redness", "drainage", "-purulent drainage", "erythema", "-oozing from the incision"),
    "pain": ("pain", "back pain", "-LBP", "joint pain", "-achy {site}", "-pain in the {side} {site}", "-{site} pain"),
    "cramps": ("muscle cramps", "-{site} cramps", "-charley horses"),
    "fall": ("fall", "falls", "-fell at home", "-mechanical fall"),
    "rash": ("rash", "pruritus", "-itchy skin", "itching"),
    "tremor": ("tremor", "tremors", "-shaky hands"),
    "hoarseness": ("hoarseness", "-raspy voice", "-lost voice"),
    "tinnitus": ("tinnitus", "-ringing in the ears"),
    "hearing loss": ("hearing loss", "-hard of hearing", "-HOH"),
    "blurred vision": ("blurred vision", "-blurry vision", "visual loss"),
    "diplopia": ("diplopia", "double vision", "-seeing double"),
    "dysphagia": ("dysphagia", "difficulty swallowing", "-food getting stuck"),
    "odynophagia": ("odynophagia", "-painful swallowing"),
    "heartburn": ("heartburn", "-acid taste", "dyspepsia"),
    "hiccups": ("hiccups", "-hiccoughs"),
    "night sweats": ("night sweats", "-drenching sweats", "diaphoresis", "-sweaty"),
    "stiffness": ("stiffness", "neck stiffness", "-stiff {site}"),
    "photophobia": ("photophobia", "-light bothers the eyes"),
    "ataxia": ("ataxia", "-unsteady gait", "-wobbly walking"),
    "hematuria": ("hematuria", "-blood in the urine", "-pink urine"),
    "incontinence": ("urinary incontinence", "-wets the bed", "-leaking urine"),
    "nocturia": ("nocturia", "-up {few} times a night"),
    "retention": ("urinary retention", "-cannot void"),
    "claudication": ("claudication", "-{site} pain with walking"),
    "dry mouth": ("dry mouth", "xerostomia", "-cottonmouth"),
    "bruising": ("easy bruising", "bruising", "petechiae", "-black and blue {site}"),
    "agitation": ("agitation", "restlessness", "-combative"),
    "hallucinations": ("hallucinations", "-seeing things", "-hearing voices"),
    "flank pain": ("flank pain", "-CVA tenderness", "-{side} flank ache"),
    "hypoxia": ("hypoxia", "cyanosis", "-desats", "-blue lips"),
    "insomnia": ("insomnia", "-trouble sleeping", "-poor sleep"),
}

SYMPTOMS_OF: dict[str, tuple[str, ...]] = {
    c.SEPTICEMIA: ("fever", "chills", "confusion", "fatigue"),
    c.DIABETES: ("polyuria", "fatigue", "weight loss"),
    c.DIABETES_COMPLICATED: ("numbness", "nausea", "vomiting", "polyuria"),
    c.LIPIDS: ("fatigue", "cramps"),
    c.FLUIDS: ("weakness", "nausea", "cramps", "confusion"),
    c.HYPERTENSION: ("headache", "dizziness"),
    c.HYPERTENSION_COMPLICATED: ("headache", "chest pain", "dyspnea"),
    c.INFARCTION: ("chest pain", "nausea", "dyspnea"),
    c.CORONARY: ("chest pain", "exertional dyspnea"),
    c.CONDUCTION: ("syncope", "dizziness", "fatigue"),
    c.DYSRHYTHMIA: ("palpitations", "dizziness", "syncope"),
    c.HEART_FAILURE: ("dyspnea", "orthopnea", "edema", "weight gain"),
    c.STROKE: ("weakness", "slurred speech", "headache", "numbness"),
    c.PNEUMONIA: ("cough", "fever", "pleuritic pain", "dyspnea"),
    c.COPD: ("wheezing", "cough", "exertional dyspnea"),
    c.PLEURISY: ("pleuritic pain", "dyspnea", "cough"),
    c.RESPIRATORY_FAILURE: ("dyspnea", "confusion", "fatigue"),
    c.LOWER_RESPIRATORY: ("cough", "wheezing", "hemoptysis"),
    c.UPPER_RESPIRATORY: ("congestion", "sore throat", "headache"),
    c.LIVER: ("jaundice", "distension", "confusion", "anorexia"),
    c.BLEEDING: ("melena", "hematemesis", "rectal bleeding", "dizziness"),
    c.KIDNEY_FAILURE: ("oliguria", "edema", "anorexia"),
    c.KIDNEY_DISEASE: ("fatigue", "edema", "rash"),
    c.COMPLICATIONS: ("wound", "fever", "pain"),
    c.SHOCK: ("dizziness", "oliguria", "confusion"),
}

# Every drug of the catalogue and some for home: how it is dosed, what it is called.
MEDICATIONS: dict[str, tuple[str, Names]] = {
    "vancomycin": ("1 g IV q12h", ("vancomycin", "+Vancocin", "-vanc", "-vanco")),
    "meropenem": ("500 mg IV q6h", ("meropenem", "+Merrem", "-mero")),
    "cefazolin": ("1 g IV q8h", ("cefazolin", "+Ancef", "-Kefzol")),
    "metformin": ("500 mg PO BID", ("metformin", "+Glucophage", "-metformin XR", "-MTF")),
    "glipizide": ("5 mg PO daily", ("glipizide", "+Glucotrol", "-glipizide XL")),
    "acarbose": ("25 mg PO TID", ("-acarbose", "+Precose")),
    "insulin glargine": ("20 units SC qHS", ("insulin glargine", "=Lantus", "-glargine", "insulin", "-Basaglar")),
    "insulin lispro": ("sliding scale SC", ("insulin lispro", "+Humalog", "-lispro", "-SSI insulin")),
    "gabapentin": ("300 mg PO TID", ("gabapentin", "=Neurontin", "-gaba")),
    "atorvastatin": ("40 mg PO daily", ("atorvastatin", "=Lipitor", "-atorva", "-statin")),
    "ezetimibe": ("10 mg PO daily", ("-ezetimibe", "+Zetia")),
    "niacin": ("500 mg PO qHS", ("niacin", "-Niaspan", "+Niacor")),
    "potassium chloride": ("20 mEq PO daily", ("potassium chloride", "-KCl", "potassium", "+K-Dur", "-Klor-Con")),
    "magnesium sulfate": ("2 g IV once", ("magnesium sulfate", "-mag sulfate", "magnesium", "-IV mag")),
    "sodium bicarbonate": ("650 mg PO TID", ("sodium bicarbonate", "-bicarb", "-NaHCO3")),
    "lisinopril": ("20 mg PO daily", ("lisinopril", "=Zestril", "-Prinivil", "-lisinop")),
    "amlodipine": ("5 mg PO daily", ("amlodipine", "=Norvasc", "-amlod")),
    "clonidine": ("0.1 mg PO BID", ("clonidine", "+Catapres", "-clonidine patch")),
    "hydralazine": ("25 mg PO q8h", ("hydralazine", "+Apresoline", "-hydral")),
    "losartan": ("50 mg PO daily", ("losartan", "+Cozaar", "-Hyzaar")),
    "minoxidil": ("5 mg PO daily", ("-minoxidil", "+Loniten")),
    "clopidogrel": ("75 mg PO daily", ("clopidogrel", "=Plavix", "-clopidogrel bisulfate")),
    "eptifibatide": ("2 mcg/kg/min IV", ("eptifibatide", "-Integrilin", "-integrillin drip")),
    "nitroglycerin": ("0.4 mg SL PRN", ("nitroglycerin", "-NTG", "-nitro", "+Nitrostat", "-SL nitro")),
    "metoprolol": ("25 mg PO BID", ("metoprolol", "=Lopressor", "+Toprol", "-metop", "metoprolol succinate")),
    "ranolazine": ("500 mg PO BID", ("-ranolazine", "+Ranexa")),
    "isosorbide mononitrate": ("30 mg PO daily", ("isosorbide mononitrate", "+Imdur", "-ISMN")),
    "isoproterenol": ("2 mcg/min IV", ("isoproterenol", "-Isuprel", "-isuprel drip")),
    "atropine": ("0.5 mg IV once", ("atropine", "-atropine sulfate")),
    "aminophylline": ("0.5 mg/kg/h IV", ("aminophylline", "-Truphylline")),
    "amiodarone": ("200 mg PO daily", ("amiodarone", "+Pacerone", "-amio", "-Cordarone")),
    "diltiazem": ("120 mg PO daily", ("diltiazem", "=Cardizem", "-dilt", "-dilt drip")),
    "quinidine": ("324 mg PO q8h", ("-quinidine", "+Quinaglute")),
    "furosemide": ("40 mg PO daily", ("furosemide", "=Lasix", "-IV lasix", "-lasix drip")),
    "spironolactone": ("25 mg PO daily", ("spironolactone", "+Aldactone", "-spiro")),
    "digoxin": ("0.125 mg PO daily", ("digoxin", "+Lanoxin", "-dig")),
    "alteplase": ("0.9 mg/kg IV once", ("alteplase", "-tPA", "+Activase")),
    "nimodipine": ("60 mg PO q4h", ("nimodipine", "-Nymalize", "+Nimotop")),
    "dipyridamole": ("200 mg PO BID", ("dipyridamole", "+Aggrenox", "-Persantine")),
    "levofloxacin": ("750 mg PO daily", ("levofloxacin", "=Levaquin", "-levo", "-levoflox")),
    "azithromycin": ("250 mg PO daily", ("azithromycin", "+Zithromax", "-Z-pak", "-azithro")),
    "guaifenesin": ("600 mg PO BID", ("guaifenesin", "+Mucinex", "-Robitussin")),
    "tiotropium": ("18 mcg INH daily", ("tiotropium", "=Spiriva", "-tiotropium bromide")),
    "prednisone": ("40 mg PO daily", ("prednisone", "-pred taper", "+Deltasone", "-steroid taper")),
    "theophylline": ("200 mg PO BID", ("theophylline", "-Theo-24", "+Uniphyl")),
    "indomethacin": ("25 mg PO TID", ("indomethacin", "+Indocin", "-indo")),
    "ketorolac": ("15 mg IV q6h", ("ketorolac", "+Toradol", "-IV toradol")),
    "codeine": ("30 mg PO q4h PRN", ("codeine", "-Tylenol #3", "-T3s")),
    "methylprednisolone": ("125 mg IV q8h", ("methylprednisolone", "+Solu-Medrol", "-solumedrol", "-IV steroids")),
    "albuterol": ("2.5 mg NEB q4h PRN", ("albuterol", "=Ventolin", "-albuterol nebs", "+ProAir", "-nebs")),
    "acetylcysteine": ("600 mg PO BID", ("acetylcysteine", "+Mucomyst", "-NAC")),
    "ipratropium": ("0.5 mg NEB q6h", ("ipratropium", "+Atrovent", "-DuoNebs")),
    "budesonide": ("180 mcg INH BID", ("budesonide", "+Pulmicort", "-Symbicort")),
    "benzonatate": ("100 mg PO TID", ("-benzonatate", "+Tessalon")),
    "fluticasone": ("50 mcg NAS daily", ("fluticasone", "+Flonase", "-Flovent")),
    "oxymetazoline": ("2 sprays NAS BID", ("-oxymetazoline", "+Afrin")),
    "loratadine": ("10 mg PO daily", ("loratadine", "+Claritin", "-Alavert")),
    "lactulose": ("30 mL PO TID", ("lactulose", "-Enulose", "-lactulose enemas")),
    "rifaximin": ("550 mg PO BID", ("rifaximin", "+Xifaxan")),
    "ursodiol": ("300 mg PO BID", ("-ursodiol", "+Actigall")),
    "pantoprazole": ("40 mg PO BID", ("pantoprazole", "=Protonix", "-PPI", "-PPI drip")),
    "octreotide": ("50 mcg/h IV", ("octreotide", "-Sandostatin", "-octreotide drip")),
    "sucralfate": ("1 g PO QID", ("sucralfate", "+Carafate")),
    "bumetanide": ("1 mg PO BID", ("bumetanide", "+Bumex", "-bumex drip")),
    "albumin": ("25 g IV once", ("albumin", "-albumin 25%", "-IV albumin")),
    "dopamine": ("5 mcg/kg/min IV", ("dopamine", "-dopa drip")),
    "epoetin alfa": ("10,000 units SC weekly", ("epoetin alfa", "=Epogen", "-EPO", "+Procrit")),
    "calcitriol": ("0.25 mcg PO daily", ("calcitriol", "+Rocaltrol")),
    "calcium acetate": ("667 mg PO TID", ("calcium acetate", "+PhosLo", "calcium")),
    "piperacillin-tazobactam": ("4.5 g IV q8h", ("piperacillin-tazobactam", "=Zosyn", "-pip-tazo")),
    "metronidazole": ("500 mg PO q8h", ("metronidazole", "+Flagyl", "-metro")),
    "diphenhydramine": ("25 mg PO q6h PRN", ("diphenhydramine", "=Benadryl")),
    "norepinephrine": ("8 mcg/min IV", ("norepinephrine", "+Levophed", "-levophed gtt", "-pressors")),
    "vasopressin": ("0.04 units/min IV", ("vasopressin", "-Pitressin", "-vaso")),
    "phenylephrine": ("100 mcg/min IV", ("phenylephrine", "-Neo-Synephrine", "-neo gtt")),
    "acetaminophen": ("650 mg PO q6h PRN", ("acetaminophen", "=Tylenol", "-APAP")),
    "docusate sodium": ("100 mg PO BID", ("docusate sodium", "=Colace", "-docusate", "-stool softener")),
    "heparin": ("5,000 units SC TID", ("heparin", "-heparin gtt", "-SQH", "-hep drip")),
    "senna": ("8.6 mg PO BID", ("senna", "+Senokot")),
    "ondansetron": ("4 mg IV q8h PRN", ("ondansetron", "=Zofran")),
    "morphine sulfate": ("2 mg IV q4h PRN", ("morphine sulfate", "morphine", "-MSO4", "+MS Contin")),
    "bisacodyl": ("10 mg PR daily PRN", ("bisacodyl", "+Dulcolax")),
    "multivitamins": ("1 tab PO daily", ("multivitamins", "-MVI", "-multivit")),
    "aspirin": ("81 mg PO daily", ("aspirin", "-ASA", "-baby aspirin", "+Ecotrin")),
    "warfarin": ("5 mg PO qPM", ("warfarin", "=Coumadin", "-blood thinner")),
    "levothyroxine": ("75 mcg PO daily", ("levothyroxine", "=Synthroid", "-LT4")),
    "omeprazole": ("20 mg PO daily", ("omeprazole", "+Prilosec")),
    "sertraline": ("50 mg PO daily", ("sertraline", "=Zoloft")),
    "allopurinol": ("100 mg PO daily", ("allopurinol", "+Zyloprim", "-allopur")),
    "ferrous sulfate": ("325 mg PO daily", ("ferrous sulfate", "iron", "-FeSO4", "-iron pills")),
    "methotrexate": ("15 mg PO weekly", ("methotrexate", "-MTX", "+Trexall")),
    "zolpidem": ("5 mg PO qHS PRN", ("-zolpidem", "+Ambien")),
    "nicotine": ("21 mg TD daily", ("nicotine", "-nicotine patch", "+Nicoderm")),
    "penicillin": ("250 mg PO QID", ("penicillin", "-PCN", "-pen VK")),
    "amoxicillin": ("500 mg PO TID", ("amoxicillin", "+Amoxil", "-amox")),
    "ibuprofen": ("400 mg PO TID PRN", ("ibuprofen", "=Motrin", "+Advil")),
    "naproxen": ("500 mg PO BID", ("naproxen", "+Aleve", "-Naprosyn")),
    "simvastatin": ("20 mg PO qHS", ("simvastatin", "+Zocor", "-simva")),
    "hydrochlorothiazide": ("25 mg PO daily", ("hydrochlorothiazide", "-HCTZ", "+Microzide")),
    "tamsulosin": ("0.4 mg PO qHS", ("tamsulosin", "+Flomax")),
    "finasteride": ("5 mg PO daily", ("-finasteride", "+Proscar")),
    "fluoxetine": ("20 mg PO daily", ("fluoxetine", "+Prozac", "-fluox")),
    "citalopram": ("20 mg PO daily", ("citalopram", "+Celexa")),
    "trazodone": ("50 mg PO qHS", ("trazodone", "-Desyrel", "-traz")),
    "quetiapine": ("25 mg PO qHS", ("-quetiapine", "+Seroquel")),
    "lorazepam": ("0.5 mg PO PRN", ("lorazepam", "=Ativan", "-benzos")),
    "oxycodone": ("5 mg PO q6h PRN", ("oxycodone", "+Percocet", "-oxy")),
    "tramadol": ("50 mg PO q6h PRN", ("tramadol", "+Ultram")),
    "ciprofloxacin": ("500 mg PO BID", ("ciprofloxacin", "+Cipro", "-cipro drops")),
    "ceftriaxone": ("1 g IV daily", ("ceftriaxone", "+Rocephin", "-CTX")),
    "cefepime": ("2 g IV q12h", ("cefepime", "-Maxipime")),
    "doxycycline": ("100 mg PO BID", ("doxycycline", "-doxy")),
    "trimethoprim-sulfamethoxazole": (
        "1 tab PO BID",
        ("trimethoprim-sulfamethoxazole", "+Bactrim", "-sulfa", "-TMP-SMX"),
    ),
    "famotidine": ("20 mg PO BID", ("famotidine", "+Pepcid")),
    "montelukast": ("10 mg PO daily", ("-montelukast", "+Singulair")),
    "donepezil": ("5 mg PO qHS", ("donepezil", "+Aricept")),
    "carbidopa-levodopa": ("25/100 PO TID", ("carbidopa-levodopa", "+Sinemet", "-levodopa")),
    "levetiracetam": ("500 mg PO BID", ("levetiracetam", "+Keppra")),
    "phenytoin": ("100 mg PO TID", ("phenytoin", "+Dilantin", "-PHT")),
    "enoxaparin": ("40 mg SC daily", ("enoxaparin", "=Lovenox", "-LMWH")),
    "apixaban": ("5 mg PO BID", ("apixaban", "+Eliquis", "-DOAC")),
    "rivaroxaban": ("20 mg PO daily", ("-rivaroxaban", "+Xarelto")),
    "carvedilol": ("6.25 mg PO BID", ("carvedilol", "+Coreg", "-coreg CR")),
    "cyclobenzaprine": ("10 mg PO TID PRN", ("cyclobenzaprine", "+Flexeril")),
    "hydroxychloroquine": ("200 mg PO BID", ("hydroxychloroquine", "+Plaquenil", "-HCQ")),
}
HOME_DRUGS = tuple(MEDICATIONS)[tuple(MEDICATIONS).index("aspirin") :]  # those that no phenotype of the law asks for

MARKS = "+=-"


def said(name: str) -> str:
    """The name without its mark.

    >>> said("+CHF"), said("sepsis")
    ('CHF', 'sepsis')
    """
    return name[1:] if name[0] in MARKS else name


def held(concepts: Iterable[Names], marks: str) -> list[list[str]]:
    """The lines of a vocabulary: of each concept the names that carry one of `marks`; " " stands for none.

    >>> held([("heart failure", "=CHF", "-HFrEF"), ("-afib",)], " =")
    [['heart failure', 'CHF']]
    """
    lines = ([said(n) for n in names if (n[0] if n[0] in MARKS else " ") in marks] for names in concepts)
    return [line for line in lines if line]


def vocabularies() -> dict[str, list[list[str]]]:
    """Lines of every vocabulary file, by its name without .tsv."""
    diseases = [names for concepts in DISEASES.values() for names in concepts] + [names for _, names in OTHER_DISEASES]
    medications = [names for _, names in MEDICATIONS.values()]
    return {
        "disease": held(diseases, " ="),
        "medication": held(medications, " ="),
        "symptom": held(SYMPTOMS.values(), " ="),
        "problems": held(diseases, "+="),
        "formulary": held(medications, "+="),
    }
