"""The application that every server in the comparison runs."""

HELLO = b"Hello, world!"
TEN_K = b"x" * 10240


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/10k":
        body = TEN_K
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    else:
        body = HELLO
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
