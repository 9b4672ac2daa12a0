"""How a child process is started, talked to and ended. Used by `registry` too; imports no room."""
