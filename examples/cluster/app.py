import os

NODE = os.environ.get("NODE", "?")


def application(environ, start_response):
    body = f"{NODE} {os.getppid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
