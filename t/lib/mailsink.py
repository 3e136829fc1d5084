"""A small SMTP or LMTP server on a thread: keeps what it is sent.

    with Sink() as sink:
        ... {"routes": [["other.test", f"smtp:[127.0.0.1]:{sink.port}"]]} ...
        sink.wait(3)
        sink.messages[0].sender, .recipients, .octets, .mail, .rcpts (whole command lines)

refuse(command line) -> reply or None: what it says in place of the usual reply. down(), up(): the port is closed, open.
"""

import socket
import threading
import time


class Message:
    def __init__(self, mail):
        self.mail, self.rcpts, self.octets = mail, [], b""

    @property
    def sender(self):
        return self.mail.split("<", 1)[1].split(">", 1)[0]

    @property
    def recipients(self):
        return [r.split("<", 1)[1].split(">", 1)[0] for r in self.rcpts]


class Sink:
    def __init__(self, lmtp=False, extensions=("PIPELINING", "8BITMIME", "SIZE 100000000"), refuse=None):
        self.lmtp, self.extensions, self.refuse = lmtp, extensions, refuse or (lambda line: None)
        self.messages, self.lock, self.listener, self.port = [], threading.Lock(), None, 0
        self.connections = set()
        self.up()

    def up(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def down(self):
        """No connection is taken any more, and those that are open break."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for c in self.connections:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.down()
        except OSError:
            pass

    def wait(self, count, seconds=30):
        """True when so many messages came."""
        until = time.monotonic() + seconds
        while len(self.messages) < count and time.monotonic() < until:
            time.sleep(0.02)
        return len(self.messages) >= count

    def accept(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(c)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            with c, c.makefile("rb") as f:
                self.talk(c, f)
        except OSError:
            pass
        with self.lock:
            self.connections.discard(c)

    def talk(self, c, f):
        def say(text):
            c.sendall(text.encode() + b"\r\n")

        say("220 sink.test")
        message = None
        for line in f:
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            word = line.split(" ", 1)[0].upper()
            other = self.refuse(line)
            if other is not None:
                say(other)
            elif word in ("EHLO", "LHLO"):
                say("\r\n".join(["250-sink.test"] + ["250-" + e for e in self.extensions] + ["250 HELP"]))
            elif word == "MAIL":
                message = Message(line)
                say("250 2.1.0 ok")
            elif word == "RCPT":
                message.rcpts.append(line)
                say("250 2.1.5 ok")
            elif word == "DATA":
                say("354 go on")
                octets = []
                for part in f:
                    if part == b".\r\n":
                        break
                    octets.append(part[1:] if part.startswith(b".") else part)
                else:
                    return
                message.octets = b"".join(octets)
                with self.lock:
                    self.messages.append(message)
                for _ in message.rcpts if self.lmtp else [0]:
                    say("250 2.0.0 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")
