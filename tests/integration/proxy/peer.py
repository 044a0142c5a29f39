"""One end of a connection, in a network namespace of its own; run as a program. No third-party imports.

serve NAME PORT            answers TCP and UDP on PORT with NAME and the client's address
tcp IP PORT COUNT [FROM]   connects COUNT times; prints {answer: how often} and the clients' addresses seen
udp IP PORT COUNT [SPORT]  sends COUNT datagrams, each from a port of its own, or all from SPORT
"""

from __future__ import annotations

import collections
import json
import socket
import socketserver
import sys
import threading
import time


class TCP(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(f"{sys.argv[2]} {self.client_address[0]}".encode())


class UDP(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(f"{sys.argv[2]} {self.client_address[0]}".encode(), self.client_address)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 512
    address_family = socket.AF_INET6


class DatagramServer(socketserver.UDPServer):
    address_family = socket.AF_INET6


def serve() -> None:
    port = int(sys.argv[3])
    address = sys.argv[4] if len(sys.argv) > 4 else "::"
    datagrams = DatagramServer((address, port), UDP)
    threading.Thread(target=datagrams.serve_forever, daemon=True).start()
    server = Server((address, port), TCP)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


def connect() -> None:
    kind, ip, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    extra = sys.argv[5] if len(sys.argv) > 5 else ""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    answers: collections.Counter[str] = collections.Counter()
    seen: set[str] = set()
    started = time.monotonic()
    for _ in range(count):
        client = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        client.settimeout(3)
        try:
            if kind == "tcp" and extra:
                client.bind((extra, 0))
            elif extra:
                client.bind(("", int(extra)))
            client.connect((ip, port))
            if kind == "udp":
                client.send(b"?")
            name, _, source = client.recv(200).decode().partition(" ")
            answers[name] += 1
            seen.add(source.removeprefix("::ffff:"))
        except OSError as error:
            answers[type(error).__name__] += 1
        finally:
            client.close()
    sys.stdout.write(json.dumps({"answers": answers, "seen": sorted(seen), "seconds": time.monotonic() - started}))


if sys.argv[1] == "serve":
    serve()
else:
    connect()
