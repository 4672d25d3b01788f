"""One response shape of PEP 3333 for each path."""
import sys

PLAIN = [("Content-Type", "text/plain")]
LOG = []


class Closing:
    """An iterable that says in the log when it is closed."""

    def __init__(self, pieces, name, fail_at=None):
        self.pieces, self.name, self.fail_at = pieces, name, fail_at

    def __iter__(self):
        for number, piece in enumerate(self.pieces):
            if number == self.fail_at:
                raise ValueError(f"{self.name} fails at piece {number}")
            yield piece
        if self.fail_at == len(self.pieces):
            raise ValueError(f"{self.name} fails at the end")

    def close(self):
        print(f"closed {self.name}", file=sys.stderr, flush=True)


class OldIterator:
    """Only __getitem__: the iteration protocol of long ago."""

    def __getitem__(self, index):
        return [b"old ", b"school"][index]


def one_piece(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "5")])
    return [b"piece"]


def no_length(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one piece needs no chunks"]


def pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one ", b"", b"two ", b"three"]


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"generated "
    yield b"in "
    yield b"parts"


def late_start(environ, start_response):
    """start_response is called by the first step of the iteration."""
    yield from generator(environ, start_response)


def tuple_of_pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    return (b"a ", b"tuple")


def getitem(environ, start_response):
    start_response("200 OK", PLAIN)
    return OldIterator()


def empty_list(environ, start_response):
    start_response("200 OK", PLAIN)
    return []


def empty_pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"", b""]


def write(environ, start_response):
    put = start_response("200 OK", PLAIN)
    put(b"written, ")
    put(b"")
    put(b"then ")
    return [b"returned"]


def write_only(environ, start_response):
    put = start_response("200 OK", PLAIN + [("Content-Length", "7")])
    put(b"written")
    return []


def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def body_on_204(environ, start_response):
    start_response("204 No Content", [])
    return [b"nobody may see this"]


def closing(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"a", b"b"], "closing")


def closing_late_failure(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "100")])
    return Closing([b"some output"], "late", fail_at=1)


def closing_late_chunked(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"some output", b"more output"], "chunked", fail_at=2)


def closing_early_failure(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"x"], "early", fail_at=0)


def fail(environ, start_response):
    raise RuntimeError("failed on purpose")


def fail_after_start(environ, start_response):
    start_response("200 OK", PLAIN)
    raise RuntimeError("failed behind start_response")


def exc_info_before(environ, start_response):
    """Headers are replaced while nothing is sent."""
    start_response("200 OK", PLAIN)
    try:
        raise ValueError("replaced")
    except ValueError:
        start_response("503 Unavailable", PLAIN + [("X-Replaced", "yes")], sys.exc_info())
    return [b"the second head"]


def exc_info_after(environ, start_response):
    """Headers are out: start_response must raise the exception again."""
    put = start_response("200 OK", PLAIN)
    put(b"output is out")
    try:
        raise ValueError("too late to replace")
    except ValueError:
        start_response("500 Oops", PLAIN, sys.exc_info())
    return [b"never"]


def twice(environ, start_response):
    """A second call without exc_info is an error of the application."""
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"never"]


def never_started(environ, start_response):
    return [b"no start_response"]


def text_piece(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text, not bytes"]


def none_result(environ, start_response):
    start_response("200 OK", PLAIN)


def too_long(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "4")])
    return [b"fourHTTP/1.1 200 OK\r\n\r\n"]


def too_short(environ, start_response):
    start_response("200 OK", PLAIN + [("Content-Length", "10")])
    return [b"short"]


def many_fields(environ, start_response):
    start_response("200 OK", PLAIN + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9"), ("X-Empty", "")])
    return [b"fields"]


def split_field(environ, start_response):
    start_response("200 OK", PLAIN + [("X-Evil", "a\r\nSet-Cookie: evil=1")])
    return [b"never"]


def split_status(environ, start_response):
    start_response("200 OK\r\nSet-Cookie: evil=1", PLAIN)
    return [b"never"]


def bad_name(environ, start_response):
    start_response("200 OK", PLAIN + [("X Evil", "1")])
    return [b"never"]


def bad_status(environ, start_response):
    start_response("OK", PLAIN)
    return [b"never"]


def big(environ, start_response):
    start_response("200 OK", PLAIN)
    for number in range(64):
        yield bytes([97 + number % 26]) * 65536


def own_date(environ, start_response):
    start_response("200 OK", PLAIN + [("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "mine")])
    return [b"dated"]


def says_close(environ, start_response):
    start_response("200 OK", PLAIN + [("Connection", "close"), ("Content-Length", "4")])
    return [b"last"]


def complain(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("a complaint\n")
    errors.writelines(["two ", "parts\n"])
    errors.flush()
    print("a print", flush=True)
    start_response("200 OK", PLAIN)
    return [b"complained"]


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("-", "_")
    return globals()[name](environ, start_response)
