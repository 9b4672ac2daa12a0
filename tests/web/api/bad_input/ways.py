"""The ways to ask, and how each says that a request is refused."""

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from websockets.sync.client import connect

from tests.serving import KEY, ServerProcess

HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
USER: dict[str, Any] = {"role": "user", "content": "hello"}
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"
SOCKET = "socket"
SAID: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [USER]},
    "/mimik-ai/openai/v1/chat/completions": {"messages": [USER]},
    SOCKET: {"messages": [USER], "type": "chat.completion.create", "stream_id": "1"},
    COMPLETIONS: {"prompt": "hello"},
    MESSAGES: {"messages": [USER]},
}
CHATS = (CHAT, "/mimik-ai/openai/v1/chat/completions", SOCKET)


def sent(server: ServerProcess, way: str, body: str) -> tuple[int, dict[str, Any]]:
    """The status, and what an error says."""
    if way == SOCKET:
        url = server.url.replace("http://", "ws://") + CHAT
        with connect(url, additional_headers=HEADERS, proxy=None, max_size=None) as socket:
            socket.send(body)
            for frame in map(json.loads, socket):
                if frame["type"] == "error":
                    return frame["status"], frame["error"]
                if frame["type"] == "chat.completion.done":
                    return 200, {}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", way, body.encode(), HEADERS)
        response = connection.getresponse()
        return response.status, json.load(response).get("error") or {}


def body_of(way: str, **fields: Any) -> str:
    return json.dumps({"model": "tiny", "max_tokens": 2} | SAID[way] | fields)


def status_of(server: ServerProcess, way: str, **fields: Any) -> int:
    return sent(server, way, body_of(way, **fields))[0]


def refused(
    server: ServerProcess, way: str, body: str, param: str = "", *, is_json: bool = True
) -> str:
    """What is said of it: where errors have a `param` it is that, else the message names it.

    Of what is no JSON it may be said.
    """
    status, error = sent(server, way, body)
    message = str(error.get("message"))
    assert status == 400, (way, status, message)
    if not is_json and "not valid JSON" in message:
        pass
    elif "param" in error:
        assert error["param"] == param, (way, message)
    else:
        assert param in message, (way, message)
    assert len(message) < 1000 and "Traceback" not in message
    return message


def nested(depth: int) -> str:
    return '{"items":' * depth + "{}" + "}" * depth
