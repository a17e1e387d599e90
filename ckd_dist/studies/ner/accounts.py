"""What the labelers read, and when too much of it is unread to go on: the lines of stages `window_teacher` and `label`.

A labeler's silence about words that it read says that there is no entity; about words that it did not read it says
nothing, and they count for nothing.  Where that is more than UNREAD of a language model's answers or words, the server
or the limits are wrong, and the stage refuses.  The shards with such answers are withdrawn: the next start asks those
questions again, and no other.
"""

from collections.abc import Mapping

from ckd_dist.account import Account, counted
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.plans import sums
from ckd_dist.softlabels.shards import read_manifest, withdraw
from ckd_dist.studies.ner.label import Plans, TextLabeler
from ckd_dist.studies.ner.labelers.gazetteer import Gazetteer
from ckd_dist.studies.ner.labelers.unread import too_unread
from ckd_dist.studies.ner.runfolder import NerRun

Costs = Mapping[str, Mapping[str, float]]  # labeler -> sums over its shards


def refuse_unread(run: NerRun, planned: Plans, models: Mapping[str, str]) -> None:
    """Raise ValueError where too many answers of a language model could not be read.  models: labeler -> model."""
    for name, model in models.items():
        plans = [plan for (labeler, _), plan in planned.items() if labeler == name]
        total: dict[str, float] = {}
        for plan in plans:
            for what, amount in sums(run.softlabels, plan).items():
                total[what] = total.get(what, 0) + amount
        if why := too_unread(name, model, total):
            for plan in plans:
                _withdraw_unread(run, plan)
            raise ValueError(why)


def _withdraw_unread(run: NerRun, plan: Plan) -> None:
    """Withdraw the shards that hold an answer that could not be read, or that was cut."""
    for number in range(plan.num_shards):
        numbers = read_manifest(plan.folder(run.softlabels), plan, number)["attempt"].get("numbers", {})
        if numbers.get("unknown_words"):
            withdraw(run.softlabels, plan, number)


def vocabularies_said(labelers: Mapping[str, TextLabeler]) -> str:
    """Return what the dictionaries look for and what of their vocabularies was left out, in one line."""
    return "; ".join(
        _sentence(name, Account(labeler.kept, labeler.lost, labeler.remarks))
        for name, labeler in labelers.items()
        if isinstance(labeler, Gazetteer)
    )


def labels_said(costs: Costs, labelers: Mapping[str, TextLabeler]) -> str:
    """Return what every labeler that reads text found and what stayed unread, in one line."""
    parts = [vocabularies_said(labelers)] if any(isinstance(each, Gazetteer) for each in labelers.values()) else []
    for name, total in costs.items():
        if "questions" in total:
            kept = {"answers": int(total["questions"]), "entities stated": int(total["entities"])}
            parts.append(_sentence(name, Account(kept, _lost(total))))
        elif "mentions" in total:
            parts.append(_sentence(name, Account({"mentions": int(total["mentions"])}, _denied(total))))
    return "; ".join(parts)


def _lost(total: Mapping[str, float]) -> dict[str, int]:
    """Return what of a language model's answers is lost, largest harm first."""
    names = {
        "unread answers": "unread_answers",
        "cut answers": "cut_answers",
        f"of {counted({'words': int(total['words'])})} unknown": "unknown_words",
        "entities of an unknown type": "unknown_type",
        "invented": "invented",
        "malformed": "malformed",
        "ambiguous": "ambiguous",
    }
    return {name: int(total.get(what, 0)) for name, what in names.items()}


def _denied(total: Mapping[str, float]) -> dict[str, int]:
    return {"denied by their sentence": int(total.get("denied", 0))}


def _sentence(name: str, account: Account) -> str:
    return f"{name}: {account.sentence()}"
