"""Writes the rows of tests/corpora/http1 as seeds of the targets that read requests: fuzz/corpus/<target>/<row>."""
import base64
import json
import pathlib
import zlib

HERE = pathlib.Path(__file__).resolve().parent

for file in (HERE.parent / "tests/corpora/http1").glob("*.jsonl"):
    for line in file.read_text().splitlines():
        row = json.loads(line)
        raw = base64.b64decode(row["raw_b64"]) if "raw_b64" in row else zlib.decompress(base64.b64decode(row["raw_zb64"]))
        if len(raw) > 4096:
            continue
        for target, data in (("http_head", raw), ("http_chunked", raw.partition(b"\r\n\r\n")[2])):
            folder = HERE / "corpus" / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / row["id"].replace("/", "-")).write_bytes(b"\x07" + data)
