"""Small templates of our own, each with one trait that real ones have."""

from runtime.text.template import JinjaTemplate


def template(source: str) -> JinjaTemplate:
    return JinjaTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})


_CALLS = (
    "{% for c in m.tool_calls or () %}(call {{ c.function.name }} "
    "{{ ARGUMENTS }} {{ c.id }}){% endfor %}"
)
_TURN = "[{{ m.role }}]{{ m.content or '' }}" + _CALLS + "[end]"


def turns(before: str = "", *, turn: str = _TURN, arguments: str = "c.function.arguments") -> str:
    """Every message in a row; `before` is asked of each of them first."""
    turn = turn.replace("ARGUMENTS", arguments)
    answer = "{% if add_generation_prompt %}[assistant]{% endif %}"
    return "{% for m in messages %}" + before + turn + "{% endfor %}" + answer


def refusing(condition: str, what: str) -> str:
    return "{% if " + condition + " %}{{ raise_exception('" + what + "') }}{% endif %}"


ANYTHING = turns()
SYSTEM_FIRST = turns(refusing("m.role == 'system' and not loop.first", "System comes first"))
NO_SYSTEM = turns(refusing("m.role == 'system'", "System role not supported"))
SYSTEM_DROPPED = turns("{% if m.role == 'system' %}{% continue %}{% endif %}")
ALTERNATING = (
    "{% set turns = messages if messages[0].role != 'system' else messages[1:] %}"
    "{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% endfor %}" + turns()
)
OBJECTS = turns(arguments="c.function.arguments | tojson")
BOTH = turns(
    arguments="c.function.arguments if c.function.arguments is string "
    "else c.function.arguments | tojson"
)
ITEMS = turns(arguments="c.function.arguments.items() | list")
NO_NULL = turns(turn="[{{ m.role }}]{{ m.content + '' }}" + _CALLS + "[end]")
PARTS = turns(turn="[{{ m.role }}]{% for p in m.content %}{{ p.text }}{% endfor %}[end]")
PARTS_AND_CALLS = turns(
    turn="[{{ m.role }}]{% for p in m.content or () %}{{ p.text }}{% endfor %}" + _CALLS + "[end]"
).replace("ARGUMENTS", "c.function.arguments")
NINE = turns(
    "{% for c in m.tool_calls or () %}"
    + refusing("c.id is not defined or c.id | length != 9", "Ids have nine letters")
    + "{% endfor %}"
    + refusing("m.role == 'tool' and m.tool_call_id | length != 9", "Ids have nine letters")
)
KIMI = turns(
    turn="[{{ m.role }}]{{ m.content or '' }}{% for c in m.tool_calls or () %}"
    "(call {{ c.id }} {{ c.function.arguments }}){% endfor %}{{ m.tool_call_id }}[end]"
)
NO_CALLS = turns(turn="[{{ m.role }}]{{ m.content or '' }}[end]")
NO_TOOLS = (
    "{% for m in messages %}{% if m.role in ('system', 'user', 'assistant') %}"
    "[{{ m.role }}]{{ m.content or '' }}[end]{% endif %}{% endfor %}"
)
ONE_CALL = turns(refusing("m.tool_calls and m.tool_calls | length > 1", "One call"))
NO_LONE_RESULTS = turns(
    refusing(
        "m.role == 'tool' and not messages[:loop.index0] | selectattr('tool_calls', 'defined') "
        "| selectattr('tool_calls') | list",
        "No call before the result",
    )
)
WORDS_OR_CALLS = turns(
    turn="[{{ m.role }}]{{ '' if m.tool_calls else m.content or '' }}" + _CALLS + "[end]"
).replace("ARGUMENTS", "c.function.arguments")
NEEDS_TOOLS = "{% for t in tools %}{{ t.function.name }}{% endfor %}" + turns()
NEEDS_FUNCTIONS = "{{ 'functions: ' + functions }}" + turns()
NEEDS_USER = (
    "{% if not messages | selectattr('role', 'eq', 'user') | list %}"
    "{{ raise_exception('No user query') }}{% endif %}" + turns()
)
GATHERED = (
    "{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}" + SYSTEM_DROPPED
)
NO_EMPTY = turns(
    refusing("m.role == 'assistant' and not (m.content or m.tool_calls)", "Say something")
)
OWN_LIST = "{% set ns = namespace(ids=[]) %}" + turns("{% set _ = ns.ids.append(m.role) %}")
