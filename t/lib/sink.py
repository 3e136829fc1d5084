"""A peer that takes mail by SMTP or LMTP and does whatever goes wrong in the world, by rules.

    from sink import Sink

    with Sink(caps=["PIPELINING", "DSN"]) as sink:
        sink.on("rcpt", "450 4.2.1 busy", times=2, match=b"bob@")
        sink.on("dot", "drop", times=1)
        ...
        sink.wait(1)
        sink.messages[0].recipients

Steps: connect ehlo starttls tls auth mail rcpt data body dot rset quit other. A rule is used `times` times (None:
always);
the first that fits counts. What it does:

    "550 5.1.1 no"    that reply ("\\n" for further lines); 421 closes afterwards
    "drop"            closes the connection; "reset": with RST
    "hang"            says nothing until the peer goes or `hang_seconds` have passed, then closes
    "garbage"         octets that are no reply
    "long"            a reply without end
    "slow"            the usual reply, octet by octet
    ("late", seconds) the usual reply, later
    callable(line)    returns one of these, or None for the usual reply

At "body" the rule applies when half of the message has come, at "dot" when all has come and before it is answered; a
message counts as taken (sink.messages) only when its final 250 was written (LMTP: once for each recipient), and as seen
(sink.seen) when its dot came.
"""

import os
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time


class Message:
    def __init__(self, mail, rcpts, octets, tls, connection):
        self.mail, self.rcpts, self.octets, self.tls, self.connection = mail, rcpts, octets, tls, connection

    @staticmethod
    def path(line):
        return line[line.index(b"<") + 1:line.rindex(b">")].decode("utf-8", "replace")

    @property
    def sender(self):
        return self.path(self.mail)

    @property
    def recipients(self):
        return [self.path(r) for r in self.rcpts]


class Rule:
    def __init__(self, step, action, times, match):
        self.step, self.action, self.left, self.match = step, action, times, match


def certificate():
    """A self-signed one for localhost; None without openssl(1)."""
    path = os.path.join(tempfile.mkdtemp(prefix="sink"), "pem")
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                           "-nodes", "-keyout", path + ".key", "-out", path + ".crt", "-days", "2", "-subj",
                           "/CN=localhost"], capture_output=True, check=False)
    return (path + ".crt", path + ".key") if done.returncode == 0 else None


class Sink:
    def __init__(self, lmtp=False, caps=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"), tls=None, path=None, port=0,
                 hang_seconds=60, listen=True):
        """tls: (certificate, key) files, STARTTLS is offered then; path: a unix socket instead of a port."""
        self.lmtp, self.caps, self.tls, self.path, self.port = lmtp, list(caps), tls, path, port
        self.hang_seconds = hang_seconds
        self.rules, self.messages, self.seen, self.commands, self.connections = [], [], [], [], 0
        self.peers = []
        self.changed = threading.Condition()
        self.is_open, self.listener = True, None
        if listen:
            self.listen()

    def listen(self):
        if self.path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(200)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def deaf(self):
        """Nobody listens any more (connections go on)."""
        if self.listener is not None:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
            if self.path and os.path.exists(self.path):
                os.unlink(self.path)

    def close(self):
        self.is_open = False
        self.deaf()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def on(self, step, action, times=None, match=None):
        self.rules.append(Rule(step, action, times, match))
        return self

    def wait(self, count, seconds=30):
        """Until so many messages have been taken."""
        end = time.monotonic() + seconds
        with self.changed:
            while len(self.messages) < count:
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    break
            return len(self.messages) >= count

    # --- connections

    def accept(self, listener):
        while self.is_open:
            try:
                s, peer = listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                self.peers.append(peer)
                number = self.connections
            threading.Thread(target=self.serve, args=(s, number), daemon=True).start()

    def rule(self, step, line):
        with self.changed:
            self.commands.append((step, line))
            for r in self.rules:
                if r.step != step or r.left == 0 or (r.match is not None and r.match not in line):
                    continue
                action = r.action(line) if callable(r.action) else r.action
                if action is None:
                    continue
                if r.left is not None:
                    r.left -= 1
                return action
        return None

    def serve(self, s, number):
        try:
            if not self.path:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Session(self, s, number).run()
        except (OSError, End, ValueError):
            pass
        finally:
            try:
                s.close()
            except OSError:
                pass


class End(Exception):
    """The connection is over."""


class Session:
    def __init__(self, sink, s, number):
        self.sink, self.s, self.number = sink, s, number
        self.buffer = b""
        self.is_tls = False
        self.clear()

    def clear(self):
        self.mail, self.rcpts = None, []

    def more(self):
        octets = self.s.recv(65536)
        if not octets:
            raise End
        self.buffer += octets

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        octets, self.buffer = self.buffer[:count], self.buffer[count:]
        return octets

    @staticmethod
    def reply(text):
        """"250 a\\nb" as the octets of a reply of two lines."""
        code, lines = text[:3], [x if i else x[4:] for i, x in enumerate(text.split("\n"))]
        return "".join(f"{code}{'-' if i < len(lines) - 1 else ' '}{x}\r\n" for i, x in enumerate(lines)).encode()

    def put(self, text):
        self.s.sendall(self.reply(text))

    def act(self, step, line, usual):
        """The reply for a step. True: it is the usual one (a good one, if usual is)."""
        action = self.sink.rule(step, line)
        if action is None:
            self.put(usual)
            return True
        if action in ("drop", "reset"):
            if action == "reset":
                self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise End
        if action == "hang":
            self.s.settimeout(self.sink.hang_seconds)
            while True:
                self.more()
                self.buffer = b""
        if action == "garbage":
            self.s.sendall(b"\x00\xff\x16\x03\x01 what\r\n\r\n")
        elif action == "long":
            self.s.sendall(b"250-x\r\n" * 100000 + b"250 x\r\n")
        elif action == "slow":
            for octet in self.reply(usual):
                self.s.sendall(bytes([octet]))
                time.sleep(0.002)
            return True
        elif isinstance(action, tuple):
            time.sleep(action[1])
            self.put(usual)
            return True
        else:
            self.put(action)
            if action.startswith("421"):
                raise End
            return action[0] == usual[0]
        return False

    def run(self):
        self.act("connect", b"", "220 sink.test " + ("LMTP" if self.sink.lmtp else "ESMTP"))
        while True:
            line = self.line()
            verb = line.split(b" ")[0].split(b":")[0].upper().decode("ascii", "replace")
            getattr(self, "do_" + verb.lower(), self.do_other)(line)

    def do_other(self, line):
        self.act("other", line, "502 5.5.1 not here")

    def do_ehlo(self, line):
        caps = list(self.sink.caps)
        if self.sink.tls and not self.is_tls:
            caps.append("STARTTLS")
        self.clear()
        self.act("ehlo", line, "\n".join(["250 sink.test"] + caps))

    do_lhlo = do_ehlo

    def do_helo(self, line):
        self.clear()
        self.act("helo", line, "250 sink.test")

    def do_starttls(self, line):
        if not self.act("starttls", line, "220 go" if self.sink.tls else "502 5.5.1 no"):
            return
        action = self.sink.rule("tls", line)
        if action is not None:
            self.s.sendall(b"this is no handshake\r\n" * 3)
            raise End
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.sink.tls)
        self.s = context.wrap_socket(self.s, server_side=True)
        self.is_tls, self.buffer = True, b""

    def do_auth(self, line):
        self.act("auth", line, "235 2.7.0 ok")

    def do_mail(self, line):
        if self.act("mail", line, "250 2.1.0 ok"):
            self.mail = line

    def do_rcpt(self, line):
        if self.mail is None:
            self.put("503 5.5.1 MAIL first")
        elif self.act("rcpt", line, "250 2.1.5 ok"):
            self.rcpts.append(line)

    def do_rset(self, line):
        self.clear()
        self.act("rset", line, "250 2.0.0 ok")

    def do_noop(self, line):
        self.act("other", line, "250 2.0.0 ok")

    def do_quit(self, line):
        self.act("quit", line, "221 2.0.0 bye")
        raise End

    def do_data(self, line):
        if not self.rcpts:
            self.put("554 5.5.1 no valid recipients")
        elif self.act("data", line, "354 go"):
            self.body()

    def body(self):
        octets, has_half = [], False
        while True:
            line = self.line_raw()
            if line == b".\r\n":
                break
            octets.append(line[1:] if line.startswith(b".") else line)
            if not has_half:
                has_half = True
                action = self.sink.rule("body", line)
                if action is not None:
                    self.sink.rules.insert(0, Rule("now", action, 1, None))
                    self.act("now", line, "451 4.3.0 odd")
        self.finish(b"".join(octets))

    def line_raw(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def do_bdat(self, line):
        words = line.split()
        self.chunks = getattr(self, "chunks", b"") + self.take(int(words[1]))
        if words[-1].upper() != b"LAST":
            self.act("bdat", line, "250 2.0.0 ok")
            return
        octets, self.chunks = self.chunks, b""
        self.finish(octets)

    def finish(self, octets):
        message = Message(self.mail, self.rcpts, octets, self.is_tls, self.number)
        with self.sink.changed:
            self.sink.seen.append(message)
        for rcpt in self.rcpts if self.sink.lmtp else [b""]:
            if not self.act("dot", rcpt if self.sink.lmtp else self.mail, "250 2.0.0 taken"):
                continue
            if self.sink.lmtp:   # each reply is the end of one recipient
                taken = Message(self.mail, [rcpt], octets, self.is_tls, self.number)
            else:
                taken = message
            with self.sink.changed:
                self.sink.messages.append(taken)
                self.sink.changed.notify_all()
        self.clear()
