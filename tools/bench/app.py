"""The application that every server in the comparison runs."""
import time

HELLO = b"Hello, world!"
TEN_K = b"x" * 10240
EIGHT_M = b"x" * 8_000_000
PIECE = b"x" * 65536


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/10k":
        body = TEN_K
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/8m":
        body = EIGHT_M
    elif path == "/sink":
        read = environ["wsgi.input"].read
        body = b"%d" % sum(len(piece) for piece in iter(lambda: read(65536), b""))
    elif path == "/source":
        count = 1 << 14
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(count * len(PIECE)))])
        return (PIECE for _ in range(count))
    elif path == "/sleep10":
        time.sleep(0.010)
        body = HELLO
    elif path == "/sleep500":
        time.sleep(0.500)
        body = HELLO
    elif path == "/spin500":
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass
        body = HELLO
    else:
        body = HELLO
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
