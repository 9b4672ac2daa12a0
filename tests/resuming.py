"""`python -m tests.resuming URL TOKEN AFTER`: a client that comes back to a stream on a socket.

Prints the events that it is told, as one JSON array.
"""

import json
import sys

from websockets.sync.client import connect

from tests.serving import KEY
from tests.web.api.openai.responses.asking import LAST


def main(url: str, token: str, after: str) -> None:
    address = url.replace("http://", "ws://") + "/v1/responses"
    headers = {"Authorization": f"Bearer {KEY}"}
    events = []
    with connect(address, additional_headers=headers, proxy=None) as connection:
        resume = {"type": "resume", "resume_token": token, "after": int(after)}
        connection.send(json.dumps(resume))
        for text in connection:
            events.append(json.loads(text))
            if events[-1]["type"] in (*LAST, "error"):
                break
    print(json.dumps(events))


if __name__ == "__main__":
    main(*sys.argv[1:])
