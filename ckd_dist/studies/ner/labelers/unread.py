"""How much of a language model's answers may stay unread or without a place, and the sentence where it is more."""

from collections.abc import Mapping

UNREAD = 0.1  # share of answers, or of words, that may stay unread
NO_PLACE = 0.25  # share of stated entities that may be invented or of an unknown type; weak models reach a tenth
HOPELESS = 20  # the first so many answers, none of which can be read: the rest would not be either

TYPE_ADVICE = (
    "the types asked for are the columns in notes.types, so name a column as the model names the type (for example "
    "notes.types={problem: problem}), or take a model that keeps to a JSON schema"
)
TEXT_ADVICE = "take a model that copies the words of the text"


def too_unread(name: str, model: str, total: Mapping[str, float]) -> str:
    """Return why a labeler's answers are not enough to learn from; empty where they are.  total: of all its shards."""
    unread, answers = total.get("unread_answers", 0), total.get("questions", 0)
    stated, invented, untyped = (total.get(what, 0) for what in ("entities", "invented", "unknown_type"))
    words, unknown = total.get("words", 0), total.get("unknown_words", 0) - total.get("vague_words", 0)
    if answers and unread >= UNREAD * answers:
        return unread_sentence(name, model, unread, answers, total.get("empty_answers", 0))
    if stated and invented + untyped >= NO_PLACE * stated:
        return (
            f"labeler {name!r}: of {stated:,.0f} entities that {model} states {untyped:,.0f} are of a type that it was "
            f"not asked for and {invented:,.0f} are invented (they stand nowhere in the text), so the words that they "
            f"may mean are unknown: {TYPE_ADVICE if untyped >= invented else TEXT_ADVICE}; then run the label stage "
            "again"
        )
    if words and unknown >= UNREAD * words:
        return (
            f"labeler {name!r}: {unknown:,.0f} of {words:,.0f} words are unknown, because {model} was cut in "
            f"{total['cut_answers']:,.0f} of {answers:,.0f} answers and stated {total['malformed']:,.0f} entities that "
            "cannot be read: raise max_output_tokens, or lower max_words, and run the label stage again"
        )
    return ""


def unread_sentence(name: str, model: str, unread: float, answers: float, empty: float) -> str:
    """Say that too many answers cannot be read, and what is likely to be the cause."""
    return (
        f"labeler {name!r}: {unread:,.0f} of {answers:,.0f} answers of {model} hold no list of entities "
        f"({empty:,.0f} are empty), so nothing is known of their words: a reasoning model that spends "
        "max_output_tokens on its thoughts wants a higher limit or no thinking, an apology or another form wants a "
        "model that keeps to a JSON schema; then run the label stage again (answers that were read are kept)"
    )
