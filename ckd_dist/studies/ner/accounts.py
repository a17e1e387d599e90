"""What the labelers read, and when too much of it is unread to go on: the lines of stages `window_teacher` and `label`.

A labeler's silence about words that it read says that there is no entity; about words that it did not read it says
nothing, and they count for nothing.  Where that is more than UNREAD of a language model's answers or words, the server
or the limits are wrong, and the stage refuses.  The shards with such answers are withdrawn, at the end, or at the next
start where a shard failed and the end was not reached: those questions are asked again, and no other.
"""

import logging
from collections import Counter
from collections.abc import Mapping

from ckd_dist.account import Account, counted
from ckd_dist.softlabels.plan import Plan
from ckd_dist.softlabels.shards import read_manifest, set_aside, withdraw
from ckd_dist.studies.ner.label import Plans, TextLabeler
from ckd_dist.studies.ner.labelers.gazetteer import Gazetteer
from ckd_dist.studies.ner.labelers.unread import too_unread
from ckd_dist.studies.ner.runfolder import NerRun

Costs = Mapping[str, Mapping[str, float]]  # labeler -> sums over its shards


def refuse_unread(run: NerRun, planned: Plans, models: Mapping[str, str]) -> None:
    """Raise ValueError where too many answers of a language model could not be read.  models: labeler -> model."""
    if why := _withdraw_unread(run, planned, models):
        raise ValueError(why)


def ask_again(run: NerRun, planned: Plans, models: Mapping[str, str]) -> None:
    """Withdraw what is too unread of an earlier start where a shard failed: it never came to `refuse_unread`."""
    failed = any(set_aside(run.softlabels, plan) for plan in planned.values())
    if failed and (why := _withdraw_unread(run, planned, models)):
        logging.getLogger(__name__).warning("answers of an earlier start are asked for again: %s", why)


def _withdraw_unread(run: NerRun, planned: Plans, models: Mapping[str, str]) -> str:
    """Withdraw the shards with unread or cut answers of a language model that has too many so far; say why, or "".

    Shards that are not there yet count for nothing.  models: labeler -> model.
    """
    reasons = []
    for name, model in models.items():
        plans = [plan for (labeler, _), plan in planned.items() if labeler == name]
        total: Counter[str] = Counter()
        for plan in plans:
            for numbers in _published(run, plan).values():
                total.update(numbers)
        if why := too_unread(name, model, total):
            reasons.append(why)
            for plan in plans:
                for shard, numbers in _published(run, plan).items():
                    if numbers.get("unknown_words"):
                        withdraw(run.softlabels, plan, shard)
    return next(iter(reasons), "")


def _published(run: NerRun, plan: Plan) -> dict[int, dict[str, float]]:
    """Return what the labeler counted in each shard that is there."""
    claims = {shard: read_manifest(plan.folder(run.softlabels), plan, shard) for shard in range(plan.num_shards)}
    return {shard: claim["attempt"].get("numbers", {}) for shard, claim in claims.items() if claim}


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
