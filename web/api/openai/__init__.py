"""OpenAI's APIs of text: chats over HTTP and sockets, completions."""
