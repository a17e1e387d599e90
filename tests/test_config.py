"""Recipes: refused before anything starts, overridden by typed dotted names, saved and read back."""

from dataclasses import make_dataclass

import pytest
from pydantic.dataclasses import dataclass

from ckd_dist.config import STRICT, dump, how, redeclared, result_fields, values_of, walk, what
from ckd_dist.recipefile import load, read_file, save
from ckd_dist.studies import STUDIES
from launch.choose import find_recipe

RECIPES = {name: study for study in STUDIES.values() for name in study.recipes}


def of_name(name, *overrides):
    study, values = find_recipe(STUDIES, name)
    return load(study.recipe, values, overrides)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_saved_recipe_is_the_recipe(tmp_path, name):
    recipe = of_name(name)
    save(recipe, tmp_path / "recipe.json")
    assert load(type(recipe), read_file(tmp_path / "recipe.json")) == recipe
    assert find_recipe(STUDIES, str(tmp_path / "recipe.json")) == (RECIPES[name], dump(recipe))


def test_overrides_are_typed():
    recipe = of_name("tiny", "teacher.labels.learning_rate=1e-4", "teacher.lora.targets=[q_proj,v_proj]")
    assert recipe.teacher.labels.learning_rate == 1e-4
    assert recipe.teacher.lora.targets == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("teacher.lora.rnak=4", "did you mean 'teacher.lora.rank'"),
        ("teacher.lora.rank=0", "teacher.lora.rank: Input should be greater than or equal to 1, got 0"),
        ("student.engine=horovod", "student.engine: Input should be 'ddp' or 'zero1'"),
        ("student.loss.soft_weight=1.5", "student.loss.soft_weight"),
        ("study=ner", "recipe field study"),
        ("teacher", "not of the form field=value"),
    ],
)
def test_bad_override_is_one_sentence(override, sentence):
    with pytest.raises(ValueError, match=None) as refusal:
        of_name("tiny", override)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ["{", "- a\n- list", "a: [1"])
def test_a_file_that_is_no_recipe_is_one_sentence(tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"recipe .*mine\.yaml") as refusal:
        read_file(tmp_path / "mine.yaml")
    assert "\n" not in str(refusal.value)


def test_unknown_recipe_lists_the_known():
    with pytest.raises(ValueError, match="disease_mimic3_7b"):
        of_name("tinny")


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_how_fields_do_not_shape_the_result(study):
    recipe = study.recipe()
    fields = result_fields(recipe)
    assert fields
    assert not any(".workers." in name or name.endswith("micro_tokens") for name in fields)
    assert {name for name, _, info in walk(recipe) if not (info.json_schema_extra or {}).get("how")} == fields.keys()


@dataclass(frozen=True, config=STRICT)
class Part:
    share: float = what(0.5, "a share", gt=0, lt=1)
    cores: int = how(1, "cores", ge=1)


@dataclass(frozen=True, config=STRICT)
class Further(Part):
    share: float = redeclared(Part, "share", 0.25)
    cores: int = redeclared(Part, "cores", 2, "cores of a worker")


def test_a_redeclared_field_keeps_its_bounds_and_its_kind():
    assert result_fields(Further()) == {"share": 0.25}
    assert [(name, value, info.description) for name, value, info in walk(Further())] == [
        ("share", 0.25, "a share"),
        ("cores", 2, "cores of a worker"),
    ]
    assert result_fields(Part()) == {"share": 0.5}, "the part itself stays as it was"
    for refused in ({"share": 0.0}, {"share": 1.0}, {"cores": 0}, {"other": 1}):
        with pytest.raises(ValueError, match=next(iter(refused))):
            load(Further, refused)


def test_a_leaf_gets_the_fields_that_it_declares_and_no_other():
    given = values_of(Further(share=0.75), make_dataclass("Asked", ["cores"], frozen=True))
    assert vars(given) == {"cores": 2}
    with pytest.raises(AttributeError):
        values_of(Further(), make_dataclass("Unknown", ["absent"]))
