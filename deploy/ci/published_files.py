"""Judges what a demo left: published_files.py FOLDER AVIS.

Payment files against the published XSD and the rules of the European Payments Council, workbooks,
the catalogue of open data against DCAT-AP, linked data against the CSV that says the same, the CSV files
against their own metadata, a portal's API, and a hunt for people in whatever anybody may see.
"""

import csv
import decimal
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import deltalake
import duckdb
import frictionless
import openpyxl
import pyshacl
import rdflib
import sepaxml
from lxml import etree

HERE = Path(__file__).parent
FOLDER, AVIS = Path(sys.argv[1]), sys.argv[2]
ISO = "{urn:iso:std:iso:20022:tech:xsd:pain.001.001.09}"
LATIN = re.compile(r"^[A-Za-z0-9/\-?:().,'+ ]+$")


def avis(*words, ok=True, **more):
    ran = subprocess.run([AVIS, *words], capture_output=True, text=True, **more)
    assert (ran.returncode == 0) == ok, (words, ran.stdout, ran.stderr)
    return ran.stdout if ok else ran.stderr


def payments():
    schema = etree.XMLSchema(file=str(next(Path(sepaxml.__file__).parent.rglob("pain.001.001.09.xsd"))))
    files = sorted((FOLDER / "settlements").glob("pain001-*.xml"))
    assert files, "no payment file"
    paid = {}
    for file in files:
        document = etree.parse(str(file))
        schema.assertValid(document)
        transfers = document.findall(f".//{ISO}CdtTrfTxInf")
        amounts = [decimal.Decimal(of.find(f".//{ISO}InstdAmt").text) for of in transfers]
        for block in [f".//{ISO}GrpHdr", f".//{ISO}PmtInf"]:
            head = document.find(block)
            assert head.find(f"{ISO}NbOfTxs").text == str(len(transfers)), file
            assert decimal.Decimal(head.find(f"{ISO}CtrlSum").text) == sum(amounts), file
        references = [of.find(f".//{ISO}InstrId").text for of in transfers]
        assert len(set(references)) == len(references), "an instruction's id is there once"
        for of, amount in zip(transfers, amounts):
            for path, longest in [("Nm", 70), ("Ustrd", 140), ("EndToEndId", 35)]:
                text = of.find(f".//{ISO}{path}").text
                assert LATIN.match(text) and len(text) <= longest, (path, text)
            account = of.find(f".//{ISO}CdtrAcct/{ISO}Id/{ISO}IBAN").text
            digits = "".join(str(int(c, 36)) for c in account[4:] + account[:4])
            assert int(digits) % 97 == 1, account
            paid[of.find(f".//{ISO}EndToEndId").text] = amount
    rows = json.loads(avis("settle", "list", "--format", "json", "--data", str(FOLDER)))
    owed = {row["statement"]: decimal.Decimal(row["payable"]) for row in rows}
    owed = {statement: amount for statement, amount in owed.items() if amount > 0}
    assert paid == owed, (paid, owed)
    book = openpyxl.load_workbook(next((FOLDER / "settlements").glob("statements-2025-01.xlsx")))
    header, *cells = book["Statements"].iter_rows(values_only=True)
    place = header.index("payable_eur")
    total = sum(decimal.Decimal(str(round(row[place], 2))) for row in cells)
    assert total == sum(owed.values()), (total, sum(owed.values()))
    print(f"payments: {len(files)} files valid, {len(paid)} payments for {sum(paid.values())} euro, as owed")


def bank():
    """The way back: what the bank says becomes the statements' states, once."""
    rows = json.loads(avis("settle", "list", "--format", "json", "--data", str(FOLDER)))
    payable = [row for row in rows if decimal.Decimal(row["payable"]) > 0]
    first, second = payable[0], payable[1]
    told = avis("settle", "sent", "--period", first["period"], "--data", str(FOLDER))
    assert f"{first['statement']} is sent" in told, told
    entry = (
        '<Ntry><Amt Ccy="EUR">{payable}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><NtryDtls>'
        "<TxDtls><Refs><EndToEndId>{statement}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
    )
    strange = {"payable": "1.23", "statement": "somebody-else"}
    entries = entry.format(**first) + entry.format(**strange)
    statement = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr>'
        f"<MsgId>S-1</MsgId></GrpHdr><Stmt>{entries}</Stmt></BkToCstmrStmt></Document>"
    )
    refusal = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt><GrpHdr>'
        "<MsgId>R-1</MsgId></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>x</OrgnlMsgId></OrgnlGrpInfAndSts>"
        "<OrgnlPmtInfAndSts><OrgnlPmtInfId>x</OrgnlPmtInfId><TxInfAndSts>"
        f"<OrgnlEndToEndId>{second['statement']}</OrgnlEndToEndId><TxSts>RJCT</TxSts>"
        "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts></OrgnlPmtInfAndSts>"
        "</CstmrPmtStsRpt></Document>"
    )
    for name, text in [("camt.xml", statement), ("pain002.xml", refusal), ("bad.xml", statement + "<")]:
        (FOLDER / name).write_text(text)
    told = avis("settle", "import", str(FOLDER / "camt.xml"), str(FOLDER / "pain002.xml"), "--data", str(FOLDER))
    assert f"{first['statement']} paid" in told and "(AC04)" in told, told
    again = avis("settle", "import", str(FOLDER / "camt.xml"), "--data", str(FOLDER))
    assert "read before" in again, again
    assert "no bank file" in avis("settle", "import", str(FOLDER / "bad.xml"), "--data", str(FOLDER), ok=False)
    (FOLDER / "camt.xml").write_text(statement.replace("1.23", "1.24"))
    assert "another camt.053" in avis("settle", "import", str(FOLDER / "camt.xml"), "--data", str(FOLDER), ok=False)
    states = json.loads(avis("settle", "list", "--format", "json", "--data", str(FOLDER)))
    states = {row["statement"]: row["state"] for row in states}
    assert states[first["statement"]] == "paid" and states[second["statement"]] == "closed", states
    unmatched = avis("settle", "unmatched", "--data", str(FOLDER))
    assert "somebody-else" in unmatched and "no statement has this reference" in unmatched, unmatched
    out = FOLDER / "again"
    avis("settle", "export", "--period", second["period"], "--out", str(out), "--data", str(FOLDER))
    anew = [file for file in out.glob("pain001-AVIS-*.xml")]
    assert len(anew) == 1 and second["statement"] in anew[0].read_text(), anew
    before = {file.name: file.read_bytes() for file in (FOLDER / "settlements").iterdir()}
    for name, content in before.items():
        if second["period"] in name and "pain001" in name or name.startswith("statements-2025-01"):
            assert (out / name).read_bytes() == content, name
    assert "the books balance" in avis("settle", "check", "--data", str(FOLDER))
    closed = avis("settle", "close", "--period", second["period"], "--data", str(FOLDER))
    assert "nothing has come for it since" in closed, closed
    print("bank: sent, paid, refused and ordered again; each file once; the same bytes; the books balance")


def linked():
    folder = FOLDER / "open-data"
    catalogue = rdflib.Graph().parse(folder / "catalogue.ttl")
    conforms, _, report = pyshacl.validate(catalogue, shacl_graph=str(HERE / "dcat_ap.ttl"), advanced=True)
    assert conforms, report
    assert set(catalogue) == set(rdflib.Graph().parse(folder / "catalogue.jsonld", format="json-ld"))
    DCAT, SPDX = rdflib.Namespace("http://www.w3.org/ns/dcat#"), rdflib.Namespace("http://spdx.org/rdf/terms#")
    checked = 0
    for distribution in catalogue.subjects(rdflib.RDF.type, DCAT.Distribution):
        name = str(catalogue.value(distribution, DCAT.downloadURL)).rsplit("/", 1)[1]
        content = (folder / name).read_bytes()
        assert int(catalogue.value(distribution, DCAT.byteSize)) == len(content), name
        checksum = catalogue.value(catalogue.value(distribution, SPDX.checksum), SPDX.checksumValue)
        assert str(checksum).lower() == hashlib.sha256(content).hexdigest(), name
        checked += 1
    for file in sorted(folder.glob("*.csv")):
        metadata = json.loads((folder / f"{file.stem}.csv-metadata.json").read_text())
        kinds = {"anyURI": "string", "decimal": "number", "gYearMonth": "string"}
        fields = [
            {"name": column["name"], "type": kinds.get(column["datatype"], column["datatype"])}
            for column in metadata["tableSchema"]["columns"]
        ]
        schema = frictionless.Schema.from_descriptor({"fields": fields})
        with frictionless.system.use_context(trusted=True):
            verdict = frictionless.Resource(path=str(file), schema=schema).validate()
        assert verdict.valid, (file.name, verdict.flatten(["type", "note"]))
        rows = list(csv.DictReader(file.open(newline="", encoding="utf-8")))
        graph = rdflib.Graph().parse(folder / f"{file.stem}.ttl")
        same = rdflib.Graph().parse(folder / f"{file.stem}.jsonld", format="json-ld")
        assert set(graph) == set(same), file.name
        if rows and "uri" in rows[0]:
            subjects = {str(subject) for subject in graph.subjects()}
            assert {row["uri"] for row in rows} <= subjects, file.name
        if "suppressed" in (rows[0] if rows else {}):
            count = next(name for name in rows[0] if name in ("means", "consultations"))
            assert all((row[count] == "") == (row["suppressed"] == "true") for row in rows), file.name
            assert all(int(row[count]) >= 5 for row in rows if row[count]), file.name
    print(f"open data: the catalogue conforms; {checked} files as it says; linked data says what the CSV says")


class Portal(BaseHTTPRequestHandler):
    """CKAN's API as far as publishing needs it."""

    datasets = {}
    calls = []

    def do_POST(self):
        action = self.path.rsplit("/", 1)[1]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "secret":
            return self.answer(403, {"success": False, "error": {"message": "Access denied"}})
        Portal.calls.append(action)
        if action.startswith("resource"):
            parts = dict(re.findall(rb'name="(\w+)"(?:; filename="[^"]*")?\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.S))
            dataset = Portal.datasets[parts[b"package_id"].decode()]
            resource = {key: parts[key.encode()].decode() for key in ("name", "hash")}
            assert hashlib.sha256(parts[b"upload"]).hexdigest() == resource["hash"]
            dataset["resources"] = [of for of in dataset["resources"] if of["name"] != resource["name"]]
            dataset["resources"].append({**resource, "id": resource["name"]})
            return self.answer(200, {"success": True, "result": resource})
        wanted = json.loads(body)
        name = wanted.get("name") or wanted["id"]
        if action == "package_show" and name not in Portal.datasets:
            return self.answer(404, {"success": False, "error": {"message": "Not found"}})
        if action == "package_create":
            Portal.datasets[name] = {**wanted, "resources": []}
        self.answer(200, {"success": True, "result": Portal.datasets[name]})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def portal():
    server = HTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    words = ["open-data", "publish", "--out", str(FOLDER / "open-data"), "--ckan", address, "--data", str(FOLDER)]
    refused = avis(*words, ok=False, env={**os.environ, "AVIS_CKAN_TOKEN": "wrong"})
    assert "403" in refused and "Access denied" in refused, refused
    env = {**os.environ, "AVIS_CKAN_TOKEN": "secret"}
    told = avis(*words, env=env)
    assert "7 datasets made, 21 files sent" in told, told
    told = avis(*words, env=env)
    assert "0 datasets made, 0 files sent, 21 unchanged" in told, told
    server.shutdown()
    print("portal: seven datasets, twenty-one files; sent again nothing goes out")


def people():
    """Codes, names and cards of everybody, looked for in every table and every published file."""
    secrets = set()
    for name, keys in [("persons", ["person"]), ("means", ["person", "value"])]:
        with gzip.open(HERE.parent / f"avis/demo/data/{name}.ndjson.gz", "rt") as lines:
            for line in lines:
                row = json.loads(line)
                row = row.get("data", row)
                secrets.update(str(row[key]) for key in keys if row.get(key))
    assert len(secrets) > 4_000
    # Eleven digits alone are a receipt as well; those of a known code are not.
    secrets.update([secret.replace("-", "") for secret in secrets])
    code = re.compile(r"\b\d{6}-\d{5}\b")
    searched = 0

    def look(text, where):
        nonlocal searched
        searched += 1
        assert text not in secrets, where
        assert not code.search(text), (where, text)

    for table in sorted((FOLDER / "warehouse").iterdir()):
        if not (table / "_delta_log").is_dir():
            continue
        rows = deltalake.DeltaTable(str(table)).to_pyarrow_table()
        for field in rows.schema:
            if str(field.type) in ("string", "large_string", "string_view"):
                for value in duckdb.sql(f'SELECT DISTINCT "{field.name}" FROM rows').fetchall():
                    look(str(value[0] or ""), f"{table.name}.{field.name}")
    for file in [*(FOLDER / "open-data").iterdir(), *(FOLDER / "reports").glob("*.csv")]:
        for word in re.split(r'[\s,;"<>]+', file.read_text(errors="replace")):
            look(word, file.name)
    for file in (FOLDER / "reports").glob("*.csv"):
        for row in csv.DictReader(file.open(newline="", encoding="utf-8")):
            for name in ("recipients", "users", "consultations"):
                assert int(row.get(name) or 5) >= 5, (file.name, row)
    print(f"people: {searched} values looked at, nobody found")


payments()
bank()
linked()
portal()
people()
