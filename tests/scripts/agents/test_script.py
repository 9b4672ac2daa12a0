"""Tests of a profile as text for a shell."""

from pathlib import Path

from scripts.agents.agent import FOLDER, KEY, Profile
from scripts.agents.script import script
from tests.fake_agent import FakeAgent


def test_words_arrive_as_they_are(tmp_path: Path) -> None:
    """Quotes, blanks, dollars and newlines, in variables, arguments, paths and files."""
    agent = FakeAgent(tmp_path / "o'clock")
    agent.folder.mkdir()
    agent.install("codex")
    odd = "a'b\"c $HOME `x` \\ \n(d) é"
    profile = Profile(
        environment={"ODD": odd, "MIXED": f"{FOLDER}/x y:{KEY}:{odd}", "EMPTY": ""},
        unset=("GONE",),
        files={"a b/c'": f"{odd}\n", "d": "", "e/f/g": "$HOME\n"},
        arguments=(f"{FOLDER}/a b", odd, ""),
    )
    shown = script(["codex", odd, FOLDER], profile, str(agent.edge_home / "launch"), "1234")
    run = agent.run(["sh", "-c", shown], GONE="still here")
    assert run.returncode == 0, run.stderr
    seen = agent.seen
    assert seen.arguments == [f"{seen.folder}/a b", odd, "", odd, FOLDER]
    assert seen.files == profile.files
    assert seen.environment["ODD"] == odd and seen.environment["EMPTY"] == ""
    assert seen.environment["MIXED"] == f"{seen.folder}/x y:1234:{odd}"
    assert "GONE" not in seen.environment and not agent.left
