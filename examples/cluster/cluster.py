"""One router and three instances; requests without a pause; and each instance is stopped and started again.

    python3 cluster.py [PROGRAM] [ADDRESS]

PROGRAM is the server (../../target/release/ruwsgi), ADDRESS where it all happens (127.0.0.1). Each half second a line
says who has answered how many requests. It ends with 0 if no request was lost.
"""
import collections
import http.client
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(HERE / "../../target/release/ruwsgi")
ADDRESS = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
NAMES = ["one", "two", "three"]
PATIENCE = 30

over = threading.Event()
answers = collections.Counter()  # node -> requests, since the last line
lost = []
total = 0
lock = threading.Lock()


def start(file, node=""):
    command = [PROGRAM, "--set", f"address={ADDRESS}", "--ini", file]
    log = open(HERE / f"{node or 'router'}.log", "ab")
    return subprocess.Popen(command, cwd=HERE, env={**os.environ, "NODE": node}, stdout=log, stderr=log)


def ask():
    """Who answers: name and pid of its master."""
    connection = http.client.HTTPConnection(ADDRESS, 8000, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"Host": "localhost:8000"})
        answer = connection.getresponse()
        body = answer.read()
        return tuple(body.decode().split()) if answer.status == 200 else None
    finally:
        connection.close()


def visit():
    global total
    while not over.is_set():
        try:
            who = ask()
        except OSError as error:
            who, reason = None, error
        else:
            reason = "no 200"
        with lock:
            total += 1
            if who:
                answers[who[0]] += 1
            else:
                lost.append(reason)


def tell(text):
    with lock:
        counts = "".join(f"{name:>8} {answers[name]:<5}" for name in NAMES)
        answers.clear()
    print(f"{time.monotonic() - began:6.1f} s {counts} lost {len(lost):<4} {text}", flush=True)


def wait_for(what, there):
    """Tells each half second what happens, until it has."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        tell(what)
        if there():
            return
        time.sleep(0.5)
    raise SystemExit(f"waited {PATIENCE} s: {what}")


def answering(pids):
    """Whether these instances all answer."""
    try:
        seen = {ask() for _ in range(4 * len(pids))}
    except OSError:
        return False
    return {(name, str(pid)) for name, pid in pids.items()} <= seen


began = time.monotonic()
processes = {"": start("router.ini")}
try:
    for name in NAMES:
        processes[name] = start("uwsgi.ini", name)
    pids = {name: processes[name].pid for name in NAMES}
    wait_for("the instances start", lambda: answering(pids))
    visitors = [threading.Thread(target=visit, daemon=True) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    wait_for("all three answer", lambda: True)
    for name in NAMES:
        processes[name].send_signal(signal.SIGTERM)
        wait_for(f"{name} stops", lambda: processes[name].poll() is not None)
        processes[name] = start("uwsgi.ini", name)
        pids[name] = processes[name].pid
        wait_for(f"{name} is new", lambda: answering(pids))
    over.set()
    for visitor in visitors:
        visitor.join(PATIENCE)
    tell("done")
    print(f"{total} requests, {len(lost)} lost", *lost[:5], sep="\n")
finally:
    over.set()
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
sys.exit(1 if lost else 0)
