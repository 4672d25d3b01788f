"""Says which vassal answers, and on which Python."""
import os
import platform


def application(environ, start_response):
    body = f"{os.environ['WHO']} on Python {platform.python_version()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
