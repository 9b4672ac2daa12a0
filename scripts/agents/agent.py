"""What is known of any agent, as plain values: how to install it, and its private profile.

A profile is written before its folder exists, and may be printed for a shell: FOLDER and KEY stand
in it for the folder and for the server's key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

FOLDER = "{folder}"
KEY = "{key}"
KEY_VARIABLE = "MLX_EDGE_API_KEY"  # where agents that name a variable find the key

LEAST_CONTEXT = 32768  # instructions and tools take 8,000 to 21,000 tokens before anybody asks
SILENCE_MS = 3_600_000  # a long prompt may be read for minutes before the first token comes


@dataclass(frozen=True, slots=True)
class Target:
    """What an agent is pointed at."""

    url: str  # of the server: nothing behind the port
    model: str
    context: int  # tokens of prompt and answer together
    environment: Mapping[str, str] = field(default_factory=dict)  # the user's

    @property
    def output(self) -> int:
        """How long an answer may be: what is left of the context is the conversation's."""
        return min(32_000, self.context // 4)


@dataclass(frozen=True, slots=True)
class Profile:
    """What an agent is started with, beside what the user says and has set."""

    environment: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()  # variables of the user that would lead it elsewhere
    files: dict[str, str] = field(default_factory=dict)  # whole lines, by the path in the folder
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that a person installs, and starts by its name."""

    name: str  # of its executable, too
    title: str
    installs: tuple[str, ...]  # commands, each of which is enough
    profile: Callable[[Target], Profile]


def filled(text: str, folder: str, key: str) -> str:
    """The text with what FOLDER and KEY stand for."""
    return text.replace(FOLDER, folder).replace(KEY, key)
