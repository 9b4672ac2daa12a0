"""A child process of the tests that says that it is here, and waits for the end of its stdin."""

import sys

if __name__ == "__main__":
    print("here", flush=True)
    sys.stdin.read()
