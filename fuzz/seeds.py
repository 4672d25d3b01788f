"""Writes seeds: fuzz/corpus/<target>/<name>. Those of requests are the rows of tests/corpora, those of configurations the examples."""
import base64
import json
import pathlib
import zlib

HERE = pathlib.Path(__file__).resolve().parent


def rows(protocol):
    for file in (HERE.parent / "tests/corpora" / protocol).glob("*.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            packed = row.get("raw_zb64")
            raw = zlib.decompress(base64.b64decode(packed)) if packed else base64.b64decode(row["raw_b64"])
            if len(raw) <= 4096:
                yield row["id"].replace("/", "-"), raw


def write(target, name, data, first=b"\x07"):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(first + data)


for name, raw in rows("http1"):
    write("http_head", name, raw)
    write("http_chunked", name, raw.partition(b"\r\n\r\n")[2])
for protocol, target in [("uwsgi", "uwsgi_packet"), ("fastcgi", "fastcgi_records"), ("scgi", "scgi_netstring"),
                         ("subscription", "subscription_packet")]:
    for name, raw in rows(protocol):
        write(target, name, raw)
for file in (HERE.parent / "examples").glob("*/uwsgi.ini"):
    write("config_file", file.parent.name, file.read_bytes(), b"\0")
write("config_file", "yaml", b"uwsgi:\n  a: [b, 'c']\n  d: |\n    e\n", b"\1")
write("config_file", "json", b'{"uwsgi": {"a": [1, true, "x"]}}', b"\2")
write("config_file", "xml", b"<uwsgi id='a'><b>1</b><c/><app mountpoint='/'>d</app></uwsgi>", b"\3")
