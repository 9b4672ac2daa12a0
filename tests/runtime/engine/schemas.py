"""JSON Schemas to be answered by: random ones, and awkward ones that were written by hand.

Lengths are bounded, so that a random-weight model comes to an end.
"""

from typing import Any, TypeAlias

from hypothesis import strategies as st

Schema: TypeAlias = dict[str, Any]

_KEYS = st.sampled_from(["a", "b", "größe", "x-y", "two words", 'q"uote', "back\\slash", ""])
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    match draw(st.integers(0, 3)):
        case 0:
            return {"type": "string", "enum": draw(st.lists(_TEXTS, min_size=1, max_size=4))}
        case 1:
            patterns = ["^[a-z]{2,5}$", "[0-9]{1,3}-[xyz]$", "^(foo|ba[rz])", r"^\d{4}$", "é|ß"]
            schema = {"type": "string", "pattern": draw(st.sampled_from(patterns))}
            return {**schema, "maxLength": 12}
        case 2:
            return {"type": "string", "format": draw(st.sampled_from(["uuid", "ipv4", "time"]))}
        case _:
            least = draw(st.integers(0, 4))
            return {"type": "string", "minLength": least, "maxLength": least + 5}


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["integer", "number"]))
    least = draw(st.integers(-1000, 1000))
    widths = st.integers(9, 999) if kind == "integer" else st.sampled_from([0.75, 1, 40])
    schema: Schema = {"type": kind, "minimum": least, "maximum": least + draw(widths)}
    for side, name in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if draw(st.booleans()):
            schema[name] = schema.pop(side)
    if kind == "integer" and draw(st.booleans()):
        schema["multipleOf"] = draw(st.integers(1, 5))
    return schema


_LEAVES: st.SearchStrategy[Schema] = st.one_of(
    _strings(),
    _numbers(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda value: {"const": value}, st.one_of(st.none(), st.booleans(), _TEXTS)),
    st.just({"enum": [1, "one", None, [1, {"two": 2}], 1.5]}),
    st.just({"type": ["string", "null"], "maxLength": 3}),
)


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    least = draw(st.integers(0, 2))
    schema: Schema = {"type": "array", "minItems": least, "maxItems": least + 2}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
    return {**schema, "items": draw(inner)}


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(_KEYS, inner, max_size=4))
    required = [key for key in properties if draw(st.booleans())]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "description": draw(_TEXTS),
    }


SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        _arrays(inner),
        _objects(inner),
        _objects(inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


def _object(**properties: Any) -> Schema:
    """All required, no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_SHORT = {"type": "string", "maxLength": 4}
_NODE = {"$ref": "#/$defs/node"}
AWKWARD: list[Schema] = [
    # Nothing said, or almost.
    {"type": "null"},
    {"const": None},
    {"const": {"a": [1, 2, {"b": None}]}},
    {"const": ""},
    {"const": -0.5},
    {"enum": [""]},
    {"enum": ["a", "ab", "abc", "b"]},
    {"enum": [True, 1, "1", 1.5]},
    {"enum": ["\n", "\t", "\\", '"', "/", "\u2028", "\U0001f600", "\x7f"]},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "array", "maxItems": 0},
    {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False, "minItems": 2},
    {"type": "array", "items": {"type": "array", "items": {"type": "null"}, "maxItems": 2}}
    | {"minItems": 2, "maxItems": 2},
    # Keys.
    _object(**{"": {"const": 1}}),
    _object(**{'"': {"const": 1}, "\\": {"const": 2}, "\n": {"const": 3}}),
    _object(**{"ключ": {"const": 1}, "キー": {"const": 2}, "\U0001f511": {"const": 3}}),
    _object(a={"const": 1}, aa={"const": 2}, aaa={"const": 3}),
    _object(type={"const": "x"}, properties=_SHORT, required={"type": "boolean"}),
    _object(format={"type": "string", "enum": ["regex"]}, enum={"const": 1}),
    {"type": "object", "properties": {"a": False, "b": {"const": 1}}, "required": ["b"]}
    | {"additionalProperties": False},
    {"type": "object", "properties": {key: {"type": "boolean"} for key in "abcdefgh"}}
    | {"additionalProperties": False},
    {"type": "object", "properties": {key: {"type": "boolean"} for key in "abcd"}}
    | {"additionalProperties": False, "required": ["d", "b"]},
    {"type": "object", "required": ["z"], "additionalProperties": {"type": "boolean"}}
    | {"maxProperties": 2},
    {"type": "object", "additionalProperties": {"const": 1}, "maxProperties": 3},
    {"type": "object", "patternProperties": {"^x[0-9]$": {"const": 1}}}
    | {"additionalProperties": False, "maxProperties": 2},
    {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": _SHORT},
    # Numbers.
    {"type": "integer", "minimum": 0, "maximum": 0},
    {"type": "integer", "minimum": -1, "maximum": 1},
    {"type": "integer", "minimum": 99, "maximum": 101},
    {"type": "integer", "minimum": -2147483648, "maximum": 2147483647},
    {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
    {"type": "integer", "multipleOf": 25, "minimum": 1, "maximum": 99},
    {"type": "number", "minimum": 0.1, "maximum": 0.2},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-3},
    {"type": "number", "minimum": -1.5, "maximum": -1.25},
    {"type": ["integer", "boolean", "null"], "minimum": 7, "maximum": 8},
    # Texts.
    {"type": "string", "minLength": 3, "maxLength": 3},
    {"type": "string", "maxLength": 0},
    {"type": "string", "pattern": "^$"},
    {"type": "string", "pattern": "^\\S{1,8}$"},
    {"type": "string", "pattern": '^["\\\\]{1,4}$'},
    {"type": "string", "pattern": "^(?:a|b|c){3,6}$"},
    {"type": "string", "pattern": "x", "maxLength": 5},
    {"type": "string", "pattern": "^[^a-z]{2,4}$"},
    {"type": "string", "pattern": "^\\u00e9{1,3}$|^ß$"},
    {"type": "string", "pattern": "^20[0-9]{2}-", "format": "date"},
    {"type": "string", "format": "made-up", "maxLength": 6},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "ipv4"},
    {"type": "string", "format": "date-time"},
    # Several schemas at once.
    {
        "anyOf": [
            {"type": "string", "maxLength": 2},
            {"type": "integer", "maximum": 9, "minimum": 0},
        ]
    },
    {"anyOf": [_object(a={"const": 1}), _object(a={"const": 1}, b={"const": 2})]},
    {"oneOf": [_object(kind={"const": "a"}, a=_SHORT), _object(kind={"const": "b"}, b=_SHORT)]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]},
    {"allOf": [{"type": "object", "properties": {"a": _SHORT}, "required": ["a"]}]}
    | {"properties": {"a": {"minLength": 2}}, "maxProperties": 1},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": "escaped"}}},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"const": 5}}, "$ref": "#/$defs/a"},
    {"definitions": {"old": _object(x=_SHORT)}, "$ref": "#/definitions/old"}
    | {"$schema": "http://json-schema.org/draft-07/schema#"},
    {"$defs": {"node": _object(next={"anyOf": [{"type": "null"}, _NODE]})}} | _NODE,
    {"$defs": {"node": _object(kids={"type": "array", "items": _NODE, "maxItems": 2})}} | _NODE,
    _object(a={"$ref": "#/properties/b"}, b={"enum": ["x", "y"]}),
    {"title": "T", "description": "D", "default": {}, "examples": [1], "$comment": "c"}
    | _object(a={"type": "boolean", "title": "t", "deprecated": True, "readOnly": True}),
    _object(a=_object(b=_object(c=_object(d=_object(e={"type": "boolean"}))))),
]
