"""Notes that anybody reads, and that whoever knows the password writes; a file may be attached.

Data lie in the folder that NOTES_DATA names (./data without it), the password is NOTES_PASSWORD.
"""
import hashlib
import os
import secrets
import sqlite3
from pathlib import Path

from flask import Flask, abort, g, redirect, render_template, request, send_file, session, stream_with_context, url_for

app = Flask(__name__)
app.secret_key = os.environ.get("NOTES_SECRET_KEY", "good enough for an example, for nothing else")
DATA = Path(os.environ.get("NOTES_DATA", Path(__file__).parent / "data"))
PASSWORD = os.environ.get("NOTES_PASSWORD", "example")
SCHEMA = "CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL, sha256 TEXT, size INTEGER)"


def database():
    """The connection of this request."""
    if "database" not in g:
        DATA.mkdir(parents=True, exist_ok=True)
        g.database = sqlite3.connect(DATA / "notes.sqlite3")
        g.database.row_factory = sqlite3.Row
        g.database.execute(SCHEMA)
    return g.database


@app.teardown_appcontext
def close_database(error):
    if "database" in g:
        g.database.close()


@app.before_request
def check_token():
    """A form counts only with the token that was put into it for this session."""
    if "token" not in session:
        session["token"] = secrets.token_hex(16)
    if request.method == "POST" and request.form.get("token") != session["token"]:
        abort(403, "the form has no valid token")


def note_or_404(number):
    return database().execute("SELECT * FROM note WHERE id = ?", (number,)).fetchone() or abort(404)


@app.get("/")
def index():
    return render_template("index.html", notes=database().execute("SELECT * FROM note ORDER BY id").fetchall())


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return render_template("login.html")
    if not secrets.compare_digest(request.form.get("password", ""), PASSWORD):
        abort(403, "that is not the password")
    session["writer"] = True
    return redirect(url_for("index"))


@app.post("/notes")
def add():
    if not session.get("writer"):
        abort(403, "log in first")
    number = database().execute("INSERT INTO note (text) VALUES (?)", (request.form["text"],)).lastrowid
    attached = request.files.get("file")
    if attached:
        path = DATA / f"{number}.bin"
        attached.save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        values = (digest, path.stat().st_size, number)
        database().execute("UPDATE note SET sha256 = ?, size = ? WHERE id = ?", values)
    database().commit()
    return redirect(url_for("note", number=number))


@app.get("/notes/<int:number>")
def note(number):
    return render_template("note.html", note=note_or_404(number))


@app.get("/notes/<int:number>/file")
def attachment(number):
    """The file as it came: Flask hands it to `wsgi.file_wrapper`."""
    if not note_or_404(number)["size"]:
        abort(404)
    return send_file(DATA / f"{number}.bin", as_attachment=True, download_name=f"note-{number}.bin", etag=False)


@app.get("/notes/<int:number>/hex")
def hexadecimal(number):
    """The file in hexadecimal digits, made while it is sent: nobody knows its length before."""
    if not note_or_404(number)["size"]:
        abort(404)

    def lines():
        with open(DATA / f"{number}.bin", "rb") as file:
            while chunk := file.read(32 * 1024):
                yield chunk.hex() + "\n"

    return app.response_class(stream_with_context(lines()), mimetype="text/plain")
