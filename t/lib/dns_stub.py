#!/usr/bin/python3
"""A name server for tests, on loopback, that answers from a table and misbehaves as told.

    with DnsStub({"example.test": {"MX": ["10 mx.example.test"]}, "mx.example.test": {"A": ["127.0.0.2"]}}) as dns:
        ... dns.port ...; dns.asked counts questions by (name, type)

As a program: dns_stub.py TABLE.json prints "port N" and serves until its standard input ends.

The table: name -> type -> list of texts, or name -> one of the words
    "SERVFAIL" "REFUSED" "FORMERR"   that error for every type; also in the place of a list of texts
    "TIMEOUT"                        never an answer
    "LIE"                            an answer about another name
    "GARBAGE"                        octets that are no DNS message
Records: A, AAAA, MX ("10 host"), PTR and CNAME (a name), TXT (a list of strings, each of any length). CNAME stands for
every type and is followed within the table. "." is the root, so ["0 ."] is the null MX. Names that are not in the
table: NXDOMAIN.
Answers over 1232 octets are truncated over UDP and whole over TCP.
"""

import collections
import ipaddress
import json
import socket
import socketserver
import struct
import sys
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
UDP_MAX = 1232


def wire_name(name):
    return b"".join(bytes([len(p)]) + p.encode("latin-1") for p in name.split(".") if p) + b"\0"


def wire_data(kind, text):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(text).packed
    if kind == "MX":
        preference, host = text.split()
        return struct.pack("!H", int(preference)) + wire_name(host)
    if kind == "TXT":
        octets = text.encode()
        parts = [octets[i:i + 255] for i in range(0, len(octets), 255)] or [b""]
        return b"".join(bytes([len(p)]) + p for p in parts)
    return wire_name(text)


def record(name, kind, text, ttl=1):
    data = wire_data(kind, text)
    return wire_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(data)) + data


class DnsStub:
    def __init__(self, table):
        self.table = {name.lower().rstrip("."): row for name, row in table.items()}
        self.asked = collections.Counter()
        self.lock = threading.Lock()
        stub = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                answer = stub.answer(self.request[0], UDP_MAX)
                if answer is not None:
                    self.request[1].sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                while len(head := self.rfile.read(2)) == 2:
                    answer = stub.answer(self.rfile.read(struct.unpack("!H", head)[0]), 65535)
                    if answer is None:
                        return
                    self.wfile.write(struct.pack("!H", len(answer)) + answer)

        class TcpServer(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        for _ in range(50):  # one port for both
            self.udp = socketserver.UDPServer(("127.0.0.1", 0), Udp)
            self.port = self.udp.server_address[1]
            try:
                self.tcp = TcpServer(("127.0.0.1", self.port), Tcp)
                break
            except OSError:
                self.udp.server_close()
        else:
            raise OSError("no port is free for both UDP and TCP")
        self.threads = [threading.Thread(target=s.serve_forever, args=(0.05,), daemon=True)
                        for s in (self.udp, self.tcp)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for server in (self.udp, self.tcp):
            server.shutdown()
            server.server_close()

    @property
    def server(self):
        return f"127.0.0.1:{self.port}"

    def find(self, name, kind):
        """(rcode or word, records)"""
        records = []
        for _ in range(10):
            row = self.table.get(name.lower())
            if row is None:
                return "NXDOMAIN", records
            if isinstance(row, str):
                return row, records
            if "CNAME" in row and kind != "CNAME":
                records.append(record(name, "CNAME", row["CNAME"][0]))
                name = row["CNAME"][0].rstrip(".")
                continue
            texts = row.get(kind, [])
            if isinstance(texts, str):
                return texts, records
            return "NOERROR", records + [record(name, kind, text) for text in texts]
        return "SERVFAIL", []

    def answer(self, query, limit):
        if len(query) < 17:
            return None
        ident, flags = struct.unpack("!HH", query[:4])
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name = ".".join(labels)
        number = struct.unpack("!H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        kind = next((k for k, n in TYPES.items() if n == number), str(number))
        with self.lock:
            self.asked[name.lower(), kind] += 1
            word, records = self.find(name, kind)
        if word == "TIMEOUT":
            return None
        if word == "GARBAGE":
            return b"\xff" * 40
        if word == "LIE":
            word, records = "NOERROR", [record("bank.test", kind, {"MX": "1 evil.test", "A": "6.6.6.6",
                                                                   "AAAA": "::6"}.get(kind, "evil.test"))]
        flags = 0x8080 | flags & 0x0100 | RCODES[word]
        body = question + b"".join(records)
        if 12 + len(body) > limit:
            body, records, flags = question, [], flags | 0x0200
        return struct.pack("!HHHHHH", ident, flags, 1, len(records), 0, 0) + body


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as table_file:
        with DnsStub(json.load(table_file)) as running:
            print("port", running.port, flush=True)
            sys.stdin.read()
