"""Whether new work is taken in: asked at the door of requests, and before a load."""

from .errors import Draining, Paused


class Intake:
    """Two switches, neither of which touches what runs: it goes on to its end.

    A person pauses and resumes; nothing remembers it when the server starts anew. A drain is for
    good, and is told before a pause.
    """

    def __init__(self) -> None:
        self.is_paused = False
        self.is_draining = False

    def refuse_requests(self) -> None:
        """Raises Draining, or Paused."""
        self.refuse_loads()
        if self.is_paused:
            raise Paused

    def refuse_loads(self) -> None:
        """Raises Draining. In a pause models are loaded and unloaded as ever."""
        if self.is_draining:
            raise Draining
