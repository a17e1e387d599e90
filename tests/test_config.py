"""Recipes: refused before anything starts, overridden by typed dotted names, saved and read back."""

import pytest

from ckd_dist import recipes
from ckd_dist.config import Recipe, result_fields, walk


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_saved_recipe_is_the_recipe(tmp_path, name):
    recipe = recipes.load(name)
    recipes.save(recipe, tmp_path / "recipe.json")
    assert recipes.load(str(tmp_path / "recipe.json")) == recipe


def test_overrides_are_typed():
    recipe = recipes.load("tiny", ["teacher.labels.learning_rate=1e-4", "teacher.lora.targets=[q_proj,v_proj]"])
    assert recipe.teacher.labels.learning_rate == 1e-4
    assert recipe.teacher.lora.targets == ("q_proj", "v_proj")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("teacher.lora.rnak=4", "did you mean 'teacher.lora.rank'"),
        ("teacher.lora.rank=0", "teacher.lora.rank: Input should be greater than or equal to 1, got 0"),
        ("student.engine=horovod", "student.engine: Input should be 'ddp' or 'zero1'"),
        ("student.loss.soft_weight=1.5", "student.loss.soft_weight"),
        ("teacher", "not of the form field=value"),
    ],
)
def test_bad_override_is_one_sentence(override, sentence):
    with pytest.raises(ValueError, match=None) as refusal:
        recipes.load("tiny", [override])
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unknown_recipe_lists_the_known():
    with pytest.raises(ValueError, match="disease_mimic3_7b"):
        recipes.load("tinny")


def test_every_field_is_described():
    assert [name for name, _, info in walk(Recipe()) if not info.description] == []


def test_how_fields_do_not_shape_the_result():
    fields = result_fields(Recipe())
    assert "teacher.lora.rank" in fields
    assert not any(".workers." in name or name.endswith("micro_tokens") for name in fields)
