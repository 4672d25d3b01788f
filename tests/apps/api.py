"""The uwsgi module, as a test asks for it: `POST /` with an expression, answered with its value's repr."""
import gc
import os
import sys
import threading
import time

import uwsgi
import uwsgidecorators

SEEN = []
FIRST = threading.current_thread()
uwsgi.atexit = lambda: print(f"atexit in worker {uwsgi.worker_id()}", file=sys.stderr, flush=True)
uwsgi.after_req_hook = lambda: SEEN.append("after")


@uwsgidecorators.postfork
def everywhere():
    SEEN.append(f"fork {uwsgi.worker_id()}")


@uwsgidecorators.postfork(2)
def in_the_second():
    SEEN.append("second")


@uwsgidecorators.lock
def locked():
    return uwsgi.is_locked()


@uwsgidecorators.thread
def elsewhere(seen):
    seen.append(threading.current_thread() is not FIRST)


@uwsgidecorators.harakiri(1)
def limited(seconds):
    time.sleep(seconds)
    return "in time"


def raised(call, *arguments):
    try:
        call(*arguments)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def in_thread(call):
    seen = []
    runs = threading.Thread(target=lambda: seen.append(call()))
    runs.start()
    runs.join()
    return seen


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.002)


def say(text):
    print(text, file=sys.stderr, flush=True)
    return text


def application(environ, start_response):
    code = environ["wsgi.input"].read().decode()
    body = repr(eval(code, globals(), {"environ": environ})).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
