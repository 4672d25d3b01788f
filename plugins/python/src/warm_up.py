"""One request before the workers are forked, so that they share what it makes: caches, templates, lazy imports."""
import io
import sys


def warm_up(application, target):
    path, _, query = target.partition("?")
    said = []

    def start_response(status, fields, exc_info=None):
        if exc_info:
            raise exc_info[1].with_traceback(exc_info[2])
        said[:] = [status]
        return lambda data: None

    environ = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": target,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    body = application(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        getattr(body, "close", lambda: None)()
    # A connection that several workers inherit would mix their answers up.
    if "django.db" in sys.modules:
        sys.modules["django.db"].connections.close_all()
    return said[0] if said else "no status"
