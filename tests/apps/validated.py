"""The inspecting application and well-formed response shapes behind the standard library's judge."""
import io
import os
import sys
from wsgiref.validate import validator

PLAIN = [("Content-Type", "text/plain")]


def read_everything(environ):
    stream = environ["wsgi.input"]
    size = int(environ.get("CONTENT_LENGTH") or 0)
    way = environ.get("QUERY_STRING", "")
    if way == "lines":
        return b"".join(iter(stream.readline, b""))
    if way == "readlines":
        return b"".join(stream.readlines())
    if way == "iterate":
        return b"".join(stream)
    if way == "bytewise":
        return b"".join(iter(lambda: stream.read(1), b""))
    return stream.read(size) if size else stream.read(1 << 30)


@validator
def application(environ, start_response):
    body = read_everything(environ)
    environ["wsgi.errors"].write("validated\n")
    environ["wsgi.errors"].flush()
    path = environ["PATH_INFO"]
    if path == "/none":
        start_response("204 No Content", [])
        return []
    if path == "/generator":
        return generate(start_response, body)
    if path == "/write":
        start_response("200 OK", PLAIN)(b"written ")
        return [body]
    if path == "/failed":
        try:
            raise ValueError("on purpose")
        except ValueError:
            start_response("500 Failed", PLAIN, sys.exc_info())
        return [b"failed"]
    if path == "/file":
        start_response("200 OK", PLAIN)
        return Lines(body)
    start_response("200 OK", PLAIN + [("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def generate(start_response, body):
    start_response("200 OK", PLAIN)
    yield b"generated "
    yield body


class Lines:
    def __init__(self, body):
        self.file = io.BytesIO(body)

    def __iter__(self):
        return iter(self.file)

    def close(self):
        self.file.close()
