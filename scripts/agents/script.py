"""What is run, as text for a shell: `mlx-edge launch --print`."""

import re
import shlex

from web.settings import DEFAULT_API_KEY

from .agent import FOLDER, KEY, KEY_VARIABLE, Profile

_STANDS_FOR = re.compile(f"({re.escape(FOLDER)}|{re.escape(KEY)})")


def script(command: list[str], profile: Profile, folders: str, key: str) -> str:
    """Makes the profile's folder in `folders`, runs the command there, and removes it again.

    In a subshell, so that it can be pasted. A key of one's own is not shown: it is read from the
    variable that the command itself would read.
    """
    name, *arguments = command
    lines = ["("]
    if key != DEFAULT_API_KEY:
        lines.append(f': "${{{KEY_VARIABLE}:?is to be set to the key of the server}}"')
    lines += [
        f"mkdir -p {shlex.quote(folders)} &&",
        f"folder=$(mktemp -d {shlex.quote(f'{folders}/{name}.XXXXXX')}) || exit",
        "trap 'rm -rf \"$folder\"' EXIT",
    ]
    made = {path.rpartition("/")[0] for path in profile.files} - {""}
    lines += [f'mkdir -p "$folder"/{shlex.quote(path)}' for path in sorted(made)]
    for path, content in profile.files.items():
        lines.append(f"cat > \"$folder\"/{shlex.quote(path)} <<'END'\n{content}END")
    if profile.unset:
        lines.append(f"unset {' '.join(profile.unset)}")
    lines += [
        f"export {variable}={_quoted(value, key)}"
        for variable, value in profile.environment.items()
    ]
    own = [_quoted(argument, key) for argument in profile.arguments]
    lines += [" ".join([name, *own, *map(shlex.quote, arguments)]), ")"]
    return "\n".join(lines)


def _quoted(value: str, key: str) -> str:
    """A word of the shell, in which FOLDER and KEY are what they stand for."""
    shown = shlex.quote(key) if key == DEFAULT_API_KEY else f'"${KEY_VARIABLE}"'
    stands_for = {FOLDER: '"$folder"', KEY: shown}
    pieces = [piece for piece in _STANDS_FOR.split(value) if piece]
    words = [stands_for.get(piece) or shlex.quote(piece) for piece in pieces]
    return "".join(words) or "''"
