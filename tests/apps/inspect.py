"""Says what it was given: the environ, and the body as it was read in the way that the query string asks for."""
import json
import threading


def read_whole(stream):
    return [stream.read()]


def read_sized(stream):
    pieces = []
    while piece := stream.read(7):
        pieces.append(piece)
    return pieces


def read_lines(stream):
    lines = []
    while line := stream.readline():
        lines.append(line)
    return lines


def read_short_lines(stream):
    lines = []
    while line := stream.readline(4):
        lines.append(line)
    return lines


def read_mixed(stream):
    return [stream.read(2), stream.readline(), stream.read(0), stream.read(3), next(iter(stream), b""), stream.read(-1), stream.read()]


def read_nothing(stream):
    return []


READ = {
    "whole": read_whole,
    "sized": read_sized,
    "lines": read_lines,
    "short-lines": read_short_lines,
    "readlines": lambda stream: stream.readlines(),
    "readlines-hint": lambda stream: stream.readlines(5),
    "iterate": list,
    "mixed": read_mixed,
    "nothing": read_nothing,
    "read-none": lambda stream: [stream.read(None)],
    "to-the-end": lambda stream: [stream.read(), stream.read(), stream.read(5), stream.readline(), *stream.readlines()],
}


def application(environ, start_response):
    query = environ.get("QUERY_STRING", "")
    pieces = READ.get(query, read_whole)(environ["wsgi.input"])
    errors = environ["wsgi.errors"]
    answer = json.dumps({
        "env": {key: value for key, value in environ.items() if isinstance(value, str)},
        "types": {key: type(value).__name__ for key, value in environ.items()},
        "version": environ["wsgi.version"],
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
        "run_once": environ["wsgi.run_once"],
        "input_terminated": environ.get("wsgi.input_terminated"),
        "errors": all(callable(getattr(errors, name, None)) for name in ("flush", "write", "writelines")),
        "exact_dict": type(environ) is dict,
        "thread": threading.current_thread().name,
        "pieces": [piece.decode("latin-1") for piece in pieces],
        "bytes": all(type(piece) is bytes for piece in pieces),
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
