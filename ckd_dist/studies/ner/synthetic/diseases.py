"""Diseases of the synthetic hospital's notes, by the names that they are called."""

from ckd_dist.hospital import catalogue as c
from ckd_dist.studies.ner.synthetic.names import Names

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
