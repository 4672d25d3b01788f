"""Decorators over the uwsgi module, by the names that uWSGI's module of this name has.

postfork, lock, thread, harakiri and rpc work; the others say that they come later where they are used.
"""
from functools import wraps
from threading import Thread

import uwsgi

postfork_chain = []
spooler_functions = {}
mule_functions = {}


def _run_postfork_chain():
    for function in postfork_chain:
        function()


uwsgi.post_fork_hook = _run_postfork_chain


class postfork:
    """@postfork: run in each worker before it serves. @postfork(2): in worker 2 alone."""

    def __init__(self, function_or_worker):
        if callable(function_or_worker):
            self.function, self.worker = function_or_worker, 0
        else:
            self.function, self.worker = None, function_or_worker
        postfork_chain.append(self)

    def __call__(self, *arguments):
        if self.function is None:
            (self.function,) = arguments
            return self
        if self.worker in (0, uwsgi.worker_id()):
            return self.function()
        return None


def lock(function):
    """One thread of one worker at a time."""

    @wraps(function)
    def locked(*arguments, **keywords):
        uwsgi.lock()
        try:
            return function(*arguments, **keywords)
        finally:
            uwsgi.unlock()

    return locked


def thread(function):
    """Each call runs in a daemon thread of its own, which it returns."""

    @wraps(function)
    def started(*arguments, **keywords):
        runs = Thread(target=function, args=arguments, kwargs=keywords, daemon=True)
        runs.start()
        return runs

    return started


class harakiri:
    """@harakiri(10): the worker is killed when a call takes longer."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, function):
        @wraps(function)
        def limited(*arguments, **keywords):
            uwsgi.set_user_harakiri(self.seconds)
            try:
                return function(*arguments, **keywords)
            finally:
                uwsgi.set_user_harakiri(0)

        return limited


class rpc:
    """@rpc("name"): uwsgi.rpc(None, "name") calls it."""

    def __init__(self, name):
        self.name = name

    def __call__(self, function):
        uwsgi.register_rpc(self.name, function)
        return function


def _later(name):
    def decorator(*_arguments, **_keywords):
        raise NotImplementedError(f"uwsgidecorators.{name} comes with a later release of ruwsgi")

    decorator.__name__ = name
    return decorator


for _name in (
    "cron erlang farm filemon get_free_signal mule mulefunc mulemsg muleloop rbtimer signal spool spoolforever "
    "spoolraw timer"
).split():
    globals()[_name] = _later(_name)
del _name
