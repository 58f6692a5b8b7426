"""The client's own models and the service's schemas say the same."""

from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel, create_model

from app.schemas import answers, landmarks, queries
from weakpoints_client import Detection, DetectOptions, HeatmapOptions, ModelCard, NamedPoints

SAID = {"title", "description", "additionalProperties"}  # words; and the client is not strict
LIMITS = {"minimum", "maximum", "exclusiveMinimum", "pattern", "maxLength", "default"}


def inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema with its references put in, without words."""
    if isinstance(schema, list):
        return [inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    return {
        key: {name: inlined(each, definitions) for name, each in value.items()}
        if key == "properties"
        else inlined(value, definitions)
        for key, value in schema.items()
        if key not in SAID and key != "$defs"
    }


def of_model(model: type[BaseModel]) -> Any:
    schema = model.model_json_schema()
    return inlined(schema, schema.get("$defs", {}))


def choices(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Each option's types or values as JSON, without what the service alone checks."""
    found = {}
    for name, option in schema["properties"].items():
        any_of = [each for each in option.get("anyOf", [option]) if each != {"type": "null"}]
        bare = [
            {key: value for key, value in each.items() if key not in LIMITS | SAID}
            for each in any_of
        ]
        found[name] = sorted(str(sorted(each.items())) for each in bare)
    return found


@pytest.mark.parametrize(
    ("ours", "service_s"),
    [
        (Detection, answers.Detection),
        (ModelCard, answers.ModelCard),
        (NamedPoints, landmarks.NamedPointsFound),
    ],
)
def test_answers_have_the_same_schema(ours: type[BaseModel], service_s: type[BaseModel]) -> None:
    assert of_model(ours) == of_model(service_s)


@pytest.mark.parametrize(
    ("ours", "service_s"),
    [(DetectOptions, queries.DetectQuery), (HeatmapOptions, queries.HeatmapQuery)],
)
def test_options_have_the_same_names_types_and_choices(
    ours: Any, service_s: type[BaseModel]
) -> None:
    hints: dict[str, Any] = {name: (hint, ...) for name, hint in get_type_hints(ours).items()}
    mine = choices(create_model("Asked", **hints).model_json_schema())
    theirs = choices(service_s.model_json_schema())
    integer = "[('type', 'integer')]"  # an index as a number
    several = next(each for each in mine["target_class"] if "array" in each)
    assert set(mine.pop("target_class")) == {integer, several, *theirs.pop("target_class")}
    if "drawn_class" in theirs:
        assert mine.pop("drawn_class") == [integer, *theirs.pop("drawn_class")]
        del theirs["format"]  # for which the client has `heatmap` and `arrays`
    assert mine == theirs
