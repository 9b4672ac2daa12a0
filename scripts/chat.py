"""`mlx-edge chat`: a conversation in the terminal, over the server's WebSocket."""

import contextlib
import itertools
import json
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from scripts.remote import default_of, message_of, on_server

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LOOK_S = 0.1  # how often to look for Ctrl-C while nothing arrives

_HELP = """Ctrl-C stops an answer, Ctrl-D ends. A line of \"\"\" begins and ends a longer text.
/new forgets the conversation, /system TEXT sets the system prompt, /bye ends."""


@click.command()
@click.argument("model", required=False)
@click.argument("question", required=False)
@click.option("--system", help="The system prompt.")
@click.option("--temperature", type=click.FloatRange(0, 2))
@click.option("--top-p", type=click.FloatRange(0, 1))
@click.option("--max-tokens", type=click.IntRange(1))
@click.option("--seed", type=int)
@on_server
def chat(
    model: str | None,
    question: str | None,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    seed: int | None,
    server: str,
    api_key: str,
) -> None:
    """Talk to MODEL, or to the default: a conversation, or one QUESTION (from a pipe too)."""
    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    parameters = {name: value for name, value in given.items() if value is not None}
    conversation = Conversation(
        model or default_of(server, api_key), system, parameters, server, api_key
    )
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read().strip()
    try:
        if question is not None:
            conversation.ask(question)
        else:
            _talk(conversation)
    finally:
        conversation.close()


def _talk(conversation: "Conversation") -> None:
    """Ask until the end of input; an error of one question does not end the conversation."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # input() edits lines with it
    click.secho(f"{conversation.model}: /? for help", dim=True)
    while (text := _question()) is not None:
        match text.split(maxsplit=1):
            case []:
                continue
            case ["/bye"]:
                return
            case ["/?"]:
                click.echo(_HELP)
            case ["/new"]:
                conversation.messages.clear()
            case ["/system", *words]:
                conversation.system = words[0] if words else None
            case _:
                try:
                    conversation.ask(text)
                except click.ClickException as error:
                    error.show()


def _question() -> str | None:
    """A line, or the lines between two lines of triple quotes; None at the end of input."""
    lines: list[str] = []
    is_long = False
    while True:
        try:
            line = input("... " if is_long else ">>> ")
        except KeyboardInterrupt:
            click.echo("\n(Ctrl-D or /bye ends)")
            lines, is_long = [], False
            continue
        except EOFError:
            click.echo()
            return None
        if line.strip() == '"""':
            if is_long:
                return "\n".join(lines)
            is_long = True
        elif is_long:
            lines.append(line)
        else:
            return line


class Conversation:
    """What was said so far, and the socket, which is opened again if it was lost."""

    def __init__(
        self, model: str, system: str | None, parameters: dict[str, Any], server: str, key: str
    ) -> None:
        self.model = model
        self.system = system
        self.messages: list[dict[str, str]] = []
        self._parameters = parameters
        self._server = server
        self._key = key
        self._connection: ClientConnection | None = None
        self._names = map(str, itertools.count(1))

    def ask(self, text: str) -> None:
        """Print the answer as it comes. Raises ClickException; forgets a question without one."""
        from websockets.exceptions import WebSocketException

        self.messages.append({"role": "user", "content": text})
        answer: list[str] = []
        try:
            self._answer(answer)
        except (OSError, WebSocketException) as error:
            self.close()
            raise click.ClickException(
                f"the server ended before its answer did ({error})"
            ) from error
        finally:
            if answer:
                self.messages.append({"role": "assistant", "content": "".join(answer)})
            else:
                self.messages.pop()

    def close(self) -> None:
        """End the connection, and so whatever runs on it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answer(self, answer: list[str]) -> None:
        """Ask, print the answer, and append its pieces to `answer`."""
        from rich.console import Console

        connection, name = self._connected(), next(self._names)
        system = [{"role": "system", "content": self.system}] if self.system else []
        request = {
            "type": "chat.completion.create",
            "stream_id": name,
            "model": self.model,
            "messages": system + self.messages,
            "events": ["progress"],
        }
        with _interrupts() as interrupts, contextlib.ExitStack() as waiting:
            # On a terminal only: in a pipe rich prints nothing.
            status = waiting.enter_context(Console(stderr=True).status("Waiting"))
            connection.send(json.dumps(request | self._parameters))
            is_cancelled, num_restarts = False, 0
            while True:
                if len(interrupts) > 1:  # the second Ctrl-C: do not wait for the last frame
                    return self.close()
                if interrupts and not is_cancelled:
                    is_cancelled = True
                    connection.send(
                        json.dumps({"type": "chat.completion.cancel", "stream_id": name})
                    )
                try:
                    frame = json.loads(connection.recv(timeout=_LOOK_S))
                except TimeoutError:
                    continue
                if frame.get("stream_id") != name:
                    continue
                if frame["type"] == "progress":
                    num_restarts += frame["stage"] == "restarted"
                    status.update(_in_words(frame))
                elif frame["type"] == "chat.completion.chunk":
                    if _text_of(frame, "reasoning_content"):
                        status.update("Thinking")  # thoughts are not the answer
                    if piece := _text_of(frame, "content"):
                        waiting.close()
                        answer.append(piece)
                        click.echo(piece, nl=False)
                else:
                    waiting.close()
                    return _finish(frame, num_restarts)

    def _connected(self) -> "ClientConnection":
        from websockets.protocol import State

        # A server that was restarted since the last question has closed the old one.
        if self._connection is None or self._connection.protocol.state is not State.OPEN:
            self._connection = _connect(self._server, self._key)
        return self._connection


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C: an exception could also break in while a piece is printed."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def _connect(server: str, key: str) -> "ClientConnection":
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    url = server.rstrip("/").replace("http", "ws", 1) + "/v1/chat/completions"
    headers = {"Authorization": f"Bearer {key}"}
    try:
        # No proxy of the environment: the key is for this server alone.
        return connect(url, additional_headers=headers, proxy=None, open_timeout=5)
    except InvalidStatus as error:
        answer = message_of(error.response.status_code, bytes(error.response.body or b""))
        raise click.ClickException(answer) from error
    except (OSError, WebSocketException) as error:
        raise click.ClickException(
            f"no server answers at {server} ({error}); start one with `mlx-edge serve`"
        ) from error


def _in_words(progress: dict[str, Any]) -> str:
    match progress["stage"]:
        case "queued":
            position = progress["position"]
            return f"Waiting behind {position} others" if position else "Waiting"
        case "loading":
            return f"Loading the model ({progress['progress']:.0%})"
        case "restarted":
            return "Starting the engine again"
        case _:
            return f"Reading ({progress['done']} of {progress['total']} tokens)"


def _text_of(chunk: dict[str, Any], kind: str) -> str:
    return "".join(choice["delta"].get(kind) or "" for choice in chunk["choices"])


def _finish(frame: dict[str, Any], num_restarts: int) -> None:
    """The line below an answer; raises for an error."""
    if frame["type"] == "error":
        click.echo()
        raise click.ClickException(frame["error"]["message"])
    click.echo()
    if not sys.stdout.isatty():
        return
    if frame["cancelled"]:
        click.secho("(stopped)", dim=True)
        return
    usage, timings = frame["usage"], frame["timings"]
    facts = [
        f"{usage['completion_tokens']} tokens",
        f"{timings['decode_tokens_per_second']:.0f} a second",
        f"the first after {timings['ttft_ms']} ms",
    ]
    if thought := usage["completion_tokens_details"]["reasoning_tokens"]:
        facts.append(f"{thought} of them thought")
    if cached := usage["prompt_tokens_details"]["cached_tokens"]:
        facts.append(f"{cached} of {usage['prompt_tokens']} cached")
    if num_restarts:
        facts.append(
            f"the engine restarted {'once' if num_restarts == 1 else f'{num_restarts} times'}"
        )
    if frame["finish_reason"] == "length":
        facts.append("cut at the limit")
    click.secho(f"({', '.join(facts)})", dim=True)
