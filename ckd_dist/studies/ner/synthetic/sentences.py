"""Sentences with gaps, headings and traps: what the synthetic hospital's notes are made of besides names.

A gap is {kind}; {Kind} begins with a capital.  Gaps for entities:

    {past} {present}  a disease that the patient has had; one that is treated now
    {anything}        one of somebody else's, or that was feared
    {symptom} {other} one that goes with what is present; one that does not
    {drug} {dose}     given for {present}, and how much of it
    {home} {allergen} taken before; any drug

Every entity counts, denied, feared or a relative's.  What is in no gap is no entity, however it reads: that is what
the traps are for.
"""

HEADINGS = (  # three habits of the seven headings
    (
        "Chief Complaint",
        "History of Present Illness",
        "Past Medical History",
        "Medications on Admission",
        "Hospital Course",
        "Discharge Medications",
        "Follow-up",
    ),
    (
        "CHIEF COMPLAINT",
        "HISTORY OF PRESENT ILLNESS",
        "PAST MEDICAL HISTORY",
        "MEDICATIONS ON ADMISSION",
        "HOSPITAL COURSE",
        "DISCHARGE MEDICATIONS",
        "FOLLOW-UP",
    ),
    ("CC", "HPI", "PMH", "Home meds", "Brief Hospital Course", "Discharge meds", "F/u"),
)

COMPLAINTS = ("{Symptom}", "{Symptom}, {symptom}", "{Symptom} and {symptom}")
OPENINGS = (
    "The patient is a {age} year old {sex} with {past} and {past} who presents with {symptom} and {symptom}.",
    "{age}yo {sex} w/ PMH of {past} p/w {symptom} and {symptom}.",
    "This is a {age}-year-old {sex}, known for {past}, admitted from the emergency department with {symptom}.",
    "{age} year old {sex} with {past} who came in after {few} days of {symptom}, {symptom} and {symptom}.",
)
HEALTHY_OPENINGS = (
    "The patient is a {age} year old {sex}, previously healthy, who presents with {symptom} and {symptom}.",
    "{age}yo {sex} w/o significant history p/w {symptom} and {symptom}.",
)
STORIES = (
    "{He} first noticed {symptom} {few} days ago, and it was worse at night.",
    "The {symptom} began suddenly and did not go away with {home}.",
    "Per family there had been {symptom} for {few} weeks.",
    "{He} also reported {symptom} since {he} ran out of {home}.",
    "In the emergency department {he} was found to have {present}.",
    "An outside hospital had started {drug} before transfer.",
)
DENIALS = (
    "{He} denies {other}, {other} or {other}.",
    "No {other}, no {other}.",
    "Review of systems is negative for {other} and {other}.",
    "There was no {other}.",
)
ASIDES = (
    "Family history: father with {anything}, mother with {anything}.",
    "{His} brother died of {anything}.",
    "Family history is notable for {anything} in a sister.",
    "There was concern for {anything}, but the work-up was negative.",
    "{Anything} was thought to be unlikely.",
    "{He} is allergic to {allergen}.",
    "{He} once had {other} from {allergen}.",
    "A relative takes {allergen} for {anything}.",
)
TREATED = (
    "{Present} was treated with {drug}, and the {symptom} got better.",
    "For {present} {he} received {drug} {dose}.",
    "{Drug} was started for {present} and continued at discharge.",
    "# {Present}: on {drug} {dose}, tolerated well.",
    "{He} was given {drug}; {present} resolved over {few} days.",
    "Given ongoing {symptom}, {drug} was added for {present}.",
    "{Symptom} was felt to be due to {present}, and {drug} was begun.",
)
WATCHED = (
    "{Present} was managed conservatively.",
    "# {Present}: stable, no change.",
    "{Present} was at baseline, without {other}.",
    "The {symptom} was put down to {present} and watched.",
    "Of note, {present} needed no treatment.",
)
FILLERS = (
    "Physical therapy cleared {him} for home on day {few}.",
    "Diet was advanced and tolerated.",
    "{He} remained stable and was transferred to the floor.",
    "Blood pressure was {pressure}/{low}, heart rate {pulse}.",
    "Chest x-ray showed no change from the prior study.",
    "The family was updated daily and agreed with the plan.",
    "Cultures were negative at {few} days.",
    "The line was removed before discharge.",
    "Electrocardiogram was unchanged.",
    "Code status was discussed and remains full.",
)
ENDINGS = (
    "See your primary care physician in {few} weeks.",
    "Call or return for {other}, {other} or any new {other}.",
    "Follow up with the specialist about {past} in {few} weeks.",
    "Please have your labs checked in {few} days.",
    "Keep taking {home} until you are seen.",
    "Return to the emergency room if the {symptom} comes back.",
)
DEATHS = (
    "The patient expired on hospital day {few}; the family was present.",
    "{He} was made comfortable and expired.",
)

TRAPS = (  # names of the vocabularies that are no entity here
    "MS: alert and oriented x3.",
    "On exam MS intact, follows commands.",
    "Sat {sat}% on RA.",
    "O2 sat {sat}% RA at rest.",
    "PE: lungs clear, heart regular, abdomen soft.",
    "T 98.4, AF, VSS.",
    "{He} works as a CAD drafter for an engineering firm.",
    "{He} teaches the CAD program at a community college.",
    "{He} lives alone in Detroit, MI.",
    "The family drove in from Burlington, VT.",
    "CAP refill brisk.",
    "A 1 mm depression was seen in lead V4.",
    "The weather was cold and {he} had been outside.",
    "Cold packs were applied to the site.",
    "{He} was seen on the stroke unit by speech therapy.",
    "Blood was drawn as the sepsis protocol asks.",
    "The pneumonia vaccine was given.",
    "The diabetes educator met with the family.",
    "Albumin {small} g/dL, calcium {large}.",
    "Labs: potassium {small}, magnesium 1.{few}, albumin {small}.",
    "Digoxin level 0.{few} ng/mL.",
    "Vancomycin trough 1{few}.2.",
    "Serum iron {pulse}, ferritin {pressure}.",
    "Acetaminophen level undetectable.",
    "INR is followed in the Coumadin clinic.",
    "Screen for vancomycin-resistant enterococcus was negative.",
    "Heparinized saline kept the line open.",
    "Fall precautions were kept.",
    "{He} hopes to travel in the fall.",
    "Pain scale {few} of 10.",
    "The pain service was not needed.",
    "Cough and deep breathing exercises were taught.",
    "A pill box will help to avoid confusion about doses.",
    "The drainage catheter was flushed.",
    "{He} was talked out of a rash decision to leave.",
)
CLOSINGS = (  # traps too, but the last three
    "PLEASE TAKE ALL PILLS AS DIRECTED.",
    "{HE} SHOULD NOT DRIVE.",
    "Follow up in the heart failure clinic in {few} weeks.",
    "An appointment with the Coumadin clinic was made.",
    "A visit to the asthma program is planned in the fall.",
    "PLEASE BRING THIS SUMMARY TO YOUR VISITS.",
    "Condition at discharge: good.",
    "More than thirty minutes were spent on this discharge.",
)
