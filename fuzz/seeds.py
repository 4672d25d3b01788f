"""Writes the rows of tests/corpora as seeds of the targets that read requests: fuzz/corpus/<target>/<row>."""
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


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\x07" + data)


for name, raw in rows("http1"):
    write("http_head", name, raw)
    write("http_chunked", name, raw.partition(b"\r\n\r\n")[2])
for protocol, target in [("uwsgi", "uwsgi_packet"), ("fastcgi", "fastcgi_records"), ("scgi", "scgi_netstring")]:
    for name, raw in rows(protocol):
        write(target, name, raw)
