"""Answers that a test controls: who answers, and when."""
import os
import sys
import threading
import time

LOADED = f"{os.getpid()}"


def wait_for(name):
    """Blocks until the test makes the file, and says in the log that it does."""
    print(f"waiting at {name}", file=sys.stderr, flush=True)
    while not os.path.exists(name):
        time.sleep(0.002)


def answer(start_response, text, status="200 OK"):
    body = str(text).encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def in_two_parts(start_response, name):
    """Half of the body goes out before the gate, half behind it."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    yield b"first"
    wait_for(name)
    yield b"later"


def application(environ, start_response):
    _, what, *rest = environ["PATH_INFO"].split("/")
    if what == "pid":
        return answer(start_response, os.getpid())
    if what == "parent":
        return answer(start_response, os.getppid())
    if what == "loaded-by":
        return answer(start_response, LOADED)
    if what == "gate":
        wait_for(rest[0])
        return answer(start_response, f"behind {rest[0]}")
    if what == "parts":
        return in_two_parts(start_response, rest[0])
    if what == "read":
        return answer(start_response, len(environ["wsgi.input"].read()))
    if what == "sink":
        return answer(start_response, sum(len(piece) for piece in iter(lambda: environ["wsgi.input"].read(10_000), b"")))
    if what == "source":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 100_000 for _ in range(int(rest[0])))
    if what == "threads":
        return answer(start_response, threading.active_count())
    if what == "die":
        os._exit(int(rest[0]))
    if what == "kill":
        os.kill(os.getpid(), int(rest[0]))
    if what == "size":
        return answer(start_response, "x" * int(rest[0]))
    return answer(start_response, "hello")
