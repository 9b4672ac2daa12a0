"""How a child process is started, talked to and ended. The ground: it imports no other room."""
