"""The encrypted doors of a running node, asked by other people's clients.

Usage: doors.py WHAT-UP-PRINTED FOLDER-OF-CERTIFICATES PROCESS
"""

import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import adbc_driver_flightsql.dbapi as flight
import grpc
from adbc_driver_flightsql import DatabaseOptions
from grpc_health.v1 import health_pb2, health_pb2_grpc

UP = pathlib.Path(sys.argv[1]).read_text().splitlines()
PKI = pathlib.Path(sys.argv[2])
NODE = int(sys.argv[3])
HTTP = next(line.split()[1].removeprefix("https://").rstrip("/") for line in UP if line.startswith("http "))
GRPC = next(line.split()[1] for line in UP if line.startswith("grpc "))
SQL = next(line.split()[1].removeprefix("postgres://").split("/")[0] for line in UP if line.startswith("sql "))
FLIGHT = next(line.split()[1].removeprefix("grpc+tls://") for line in UP if line.startswith("flight "))
TOKEN = next(line.split()[-1] for line in UP if line.startswith("token ") and " analyst " in line)
OURS, THEIRS = PKI / "ours.pem", PKI / "theirs.pem"
held = 0


def holds(what, condition):
    """Counts a check, and ends with its name where it fails."""
    global held
    held += 1
    if not condition:
        sys.exit(f"doors: {what}")


def curl(authority, *arguments):
    """curl's exit code and what it was answered."""
    trusted = ["--cacert", authority] if authority else []
    ran = subprocess.run(
        ["curl", "--silent", "--max-time", "10", *trusted, *arguments], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout


def by_grpc(authority):
    """What gRPC's health service says, or why it is not asked."""
    credentials = grpc.ssl_channel_credentials(authority.read_bytes()) if authority else None
    target = f"localhost:{GRPC.split(':')[1]}"
    channel = grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)
    with channel:
        try:
            asked = health_pb2.HealthCheckRequest(service="avis.terminal.v1.Terminal")
            return health_pb2_grpc.HealthStub(channel).Check(asked, timeout=10).status
        except grpc.RpcError as error:
            return error.code()


def by_psql(mode, authority):
    """psql's exit code, what it read and what it complained of."""
    host, port = SQL.split(":")
    place = f"host=localhost hostaddr={host} port={port} user=analyst dbname=avis sslmode={mode}"
    place += f" sslrootcert={authority}" if authority else ""
    ran = subprocess.run(
        ["psql", "--no-psqlrc", "--tuples-only", "--no-align", place, "-c", "SELECT COUNT(*) FROM authorisations"],
        capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": TOKEN},
    )
    return ran.returncode, ran.stdout.strip(), ran.stderr


def by_flight(scheme, authority):
    """What ADBC reads over Flight SQL, or its error."""
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {TOKEN}"}
    if authority:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = authority.read_text()
    try:
        with flight.connect(f"{scheme}://localhost:{FLIGHT.split(':')[1]}", db_kwargs=options) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM authorisations")
                return cursor.fetchone()[0]
    except flight.Error as error:
        return str(error)


def shown():
    """The certificate that HTTP's door shows."""
    host, port = HTTP.split(":")
    return ssl.get_server_certificate((host, int(port)))


def pem(name):
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert((PKI / f"{name}.pem").read_text()))


def renew(name):
    """Puts a certificate in place, and waits until the node shows it."""
    for end in ("key", "pem"):
        shutil.copy(PKI / f"{name}.{end}", PKI / f"shown.{end}")
    os.kill(NODE, signal.SIGHUP)
    deadline = time.monotonic() + 10
    while shown() != pem(name):
        holds(f"{name} is not shown after ten seconds", time.monotonic() < deadline)
        time.sleep(0.05)


def everybody_is_answered():
    for version in ("--http1.1", "--http2"):
        code, answer = curl(OURS, version, f"https://localhost:{HTTP.split(':')[1]}/readyz")
        holds(f"curl {version}: {code} {answer}", (code, answer) == (0, "ready\n"))
    status = by_grpc(OURS)
    holds(f"grpcio: {status}", status == health_pb2.HealthCheckResponse.SERVING)
    code, answer, told = by_psql("verify-full", OURS)
    holds(f"psql: {told}", (code, answer) == (0, "500"))
    rows = by_flight("grpc+tls", OURS)
    holds(f"ADBC: {rows}", rows == 500)


def nobody_is_answered(authority, why):
    code, _ = curl(authority, f"https://localhost:{HTTP.split(':')[1]}/readyz")
    holds(f"curl takes {why}: {code}", code == 60)
    status = by_grpc(authority)
    holds(f"grpcio takes {why}: {status}", status == grpc.StatusCode.UNAVAILABLE)
    code, _, told = by_psql("verify-full", authority)
    holds(f"psql takes {why}: {told}", code == 2 and "certificate verify failed" in told)
    told = by_flight("grpc+tls", authority)
    holds(f"ADBC takes {why}: {told}", isinstance(told, str) and "certificate" in told)


def plain():
    """Whoever does not encrypt is told nothing, or that it has to."""
    code, answer = curl(None, f"http://{HTTP}/readyz")
    holds(f"curl without TLS: {code} {answer}", code != 0 and "ready" not in answer)
    status = by_grpc(None)
    holds(f"grpcio without TLS: {status}", status == grpc.StatusCode.UNAVAILABLE)
    code, _, told = by_psql("disable", None)
    holds(f"psql without TLS: {told}", code == 2 and "this door is encrypted" in told)
    told = by_flight("grpc", None)
    holds(f"ADBC without TLS: {told}", isinstance(told, str))


def main():
    everybody_is_answered()
    nobody_is_answered(THEIRS, "an unknown authority")
    plain()
    # Old protocols are not spoken.
    code, _ = curl(OURS, "--tls-max", "1.1", f"https://localhost:{HTTP.split(':')[1]}/readyz")
    holds("TLS 1.1 is spoken", code != 0)
    # Somebody who is inside stays inside while certificates change.
    host, port = HTTP.split(":")
    context = ssl.create_default_context(cafile=OURS)
    with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost") as inside:
        renew("over")
        nobody_is_answered(OURS, "a certificate that is over")
        renew("second")
        everybody_is_answered()
        inside.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        holds("who was inside is answered", inside.recv(15).startswith(b"HTTP/1.1 200"))
    # Half of a pair: the node goes on with what it has.
    shutil.copy(PKI / "first.pem", PKI / "shown.pem")
    os.kill(NODE, signal.SIGHUP)
    time.sleep(0.5)
    holds("half of a pair is shown", shown() == pem("second"))
    everybody_is_answered()
    print(f"doors: {held} checks of encrypted doors hold, by curl, grpcio, psql and ADBC")


main()
