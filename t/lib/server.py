"""A whole server for a test: made in a directory of its own, started on free loopback ports, stopped by its pid.

    from server import Server, case, finish

    with Server(users=["alice", "bob"], config={"smtp": {"errors_max": 3}}) as s:
        with s.imap("alice") as imap:
            case("imap__select", imap.select()[0] == "OK")
        s.cli("user", "list", "--json")
    finish()

Every user is name@example.test with the password "secret". The log of the daemon is printed when the block ends with
an exception, or when finish() counts a failure. POSTHOUSE names the binary, WRAP (sanitizers) goes before it.
"""

import imaplib
import json
import os
import poplib
import random
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.environ.get("TOP") or os.path.join(os.path.dirname(__file__), "..", ".."))
BINARY = os.environ.get("POSTHOUSE") or os.path.join(TOP, "build", "posthouse")
WRAP = os.environ.get("WRAP", "").split()
SLOW = 5 if os.environ.get("SAN") else 1        # sanitizers
START_SECONDS, STOP_SECONDS, CLI_SECONDS = 30 * SLOW, 20 * SLOW, 60 * SLOW
PASSWORD = "secret"
PORTS = {"smtp": 25, "lmtp": 24, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110,
         "pop3s": 995}
failures = []
servers = []


def case(name, is_good, seen=None):
    """One line for run-tests; what was seen only when it is wrong."""
    print(f"ok {name}" if is_good else f"not ok {name}")
    if not is_good:
        failures.append(name)
        print(f"# saw: {seen!r}"[:4000])
    sys.stdout.flush()
    return bool(is_good)


def finish():
    if failures:
        for s in servers:
            s.print_log()
    sys.exit(1 if failures else 0)


def merge(into, other):
    """Objects are merged, everything else is replaced; None takes a key away."""
    for key, value in other.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


class Ports:
    """A block of 1,000 ports that no other test has: the block is held by a name in the abstract namespace."""

    def __init__(self):
        blocks = list(range(3, 32))
        random.shuffle(blocks)
        for block in blocks:
            self.holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                self.holder.bind(f"\0posthouse-test-ports-{block}")
            except OSError:
                self.holder.close()
                continue
            self.offset = block * 1000
            if all(self.is_free(self.offset + port) for port in PORTS.values()):
                return
            self.holder.close()
        raise RuntimeError("no block of free ports is left")

    @staticmethod
    def is_free(port):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True

    def close(self):
        self.holder.close()


class Wire(socket.socket):
    """A socket that carries its file interface."""


class Connection(socket.socket):
    """A socket that can carry its file, for reading lines."""

    file = None

    def line(self):
        return self.file.readline().decode("utf-8", "replace").rstrip("\r\n")

    def send_line(self, text):
        self.sendall(text.encode() + b"\r\n")


class Server:
    def __init__(self, users=("user",), domain="example.test", hostname=None, config=None, start=True, env=None,
                 init=True, preload=None, command=()):
        """config: merged into posthouse.json after init; env: for the daemon only; preload: LD_PRELOAD for the daemon;
        command: words before the daemon's command line."""
        self.domain, self.hostname = domain, hostname or f"mail.{domain}"
        self.users = list(users)
        self.ports = Ports()
        self.offset = self.ports.offset
        self.top = tempfile.mkdtemp(prefix="ph")
        self.dir = os.path.join(self.top, "data")
        self.log_path = os.path.join(self.top, "log")
        self.env = dict(env or {})
        if preload:
            self.env["LD_PRELOAD"] = preload
        self.command = list(command)
        self.process = None
        servers.append(self)
        try:
            if init:
                self.init()
                if config:
                    self.configure(config)
            if start:
                self.start()
        except BaseException:
            self.print_log()
            self.close()
            raise

    # --- making

    def init(self):
        first = self.users[0] if self.users else None
        self.cli("init", "--hostname", self.hostname, "--domain", self.domain, "--listen", "127.0.0.1",
                 "--port-offset", str(self.offset),
                 *(["--user", self.address(first), "--password-stdin"] if first else []),
                 input=PASSWORD + "\n" if first else None)
        for user in self.users[1:]:
            self.user_add(user)

    def user_add(self, user, password=PASSWORD, *more):
        return self.cli("user", "add", self.address(user), "--password-stdin", *more, input=password + "\n")

    def address(self, user):
        return user if "@" in user else f"{user}@{self.domain}"

    @property
    def config_path(self):
        return os.path.join(self.dir, "posthouse.json")

    def configure(self, changes):
        with open(self.config_path, encoding="utf-8") as f:
            document = json.load(f)
        merge(document, changes)
        with open(self.config_path, "w", encoding="utf-8") as f:
            json.dump(document, f, indent=2)

    def port(self, name):
        return PORTS[name] + self.offset

    # --- running

    def start(self, ready=True):
        """Returns when the daemon said that it is ready, which it does when every listener is open."""
        notify_path = os.path.join(self.top, "notify")
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        env = dict(os.environ, NOTIFY_SOCKET=notify_path, **self.env)
        env.pop("POSTHOUSE_DIR", None)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log_path, "ab") as log:
            notify.bind(notify_path)
            notify.settimeout(0.05)
            self.process = subprocess.Popen([*self.command, *WRAP, BINARY, "run", "--dir", self.dir], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=env)
            deadline = time.monotonic() + START_SECONDS
            while ready:
                try:
                    if b"READY=1" in notify.recv(4096):
                        break
                except socket.timeout:
                    pass
                if self.process.poll() is not None:
                    raise RuntimeError(f"the daemon ended with {self.process.returncode} while starting")
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"the daemon was not ready after {START_SECONDS} s")
        return self

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        """Ask politely; a daemon that does not go is killed, and that is an error. Returns its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the daemon did not stop within {STOP_SECONDS} s") from None
        self.process = None
        if code != 0:
            raise RuntimeError(f"the daemon ended with {code}")
        return code

    def kill(self, sig=signal.SIGKILL):
        """As a power switch does it to the process; the directory stays."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(sig)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        return self.cli("reload")

    def close(self):
        self.kill()
        self.ports.close()
        if not failures and not os.environ.get("KEEP"):
            shutil.rmtree(self.top, ignore_errors=True)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def print_log(self, lines=200):
        text = self.log().splitlines()
        print(f"# --- log of the daemon in {self.dir}, {len(text)} lines")
        for line in text[-lines:]:
            print(f"# {line}")
        sys.stdout.flush()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
        except BaseException:
            self.print_log()
            raise
        finally:
            if kind is not None:
                self.print_log()
            log = self.log()
            for line in log.splitlines():
                if " us of its reactor, " in line:      # builds with PH_DEBUG
                    print(f"# {line}")
            if "ERROR: " in log and "Sanitizer" in log or "runtime error:" in log:
                failures.append("sanitizer")
                self.print_log(1000)
            self.close()

    # --- asking

    @staticmethod
    def until(is_so, seconds=20):
        """Ask until it is so, at most so long; for what a server does in its own time."""
        end = time.monotonic() + seconds * SLOW
        while not (answer := is_so()) and time.monotonic() < end:
            time.sleep(0.05)
        return answer

    def cli(self, *arguments, input=None, check=True):
        """The command on this directory. With --json among the arguments the answer's .json is the decoded output."""
        done = subprocess.run([*WRAP, BINARY, *arguments, "--dir", self.dir], capture_output=True, text=True,
                              timeout=CLI_SECONDS, input=input if input is not None else "")
        if check and done.returncode != 0:
            raise RuntimeError(f"posthouse {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        if "Sanitizer" in done.stderr or "runtime error:" in done.stderr:
            case("sanitizer", False, (arguments, done.stderr))
        done.json = None
        if "--json" in arguments:
            try:
                done.json = json.loads(done.stdout)
            except ValueError:
                pass
        return done

    def rpc(self, method, **params):
        """One call over the status socket, as any program may do it. Returns the whole answer object."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(CLI_SECONDS)
            s.connect(os.path.join(self.dir, "run", "status.sock"))
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            with s.makefile("rb") as f:
                for line in f:
                    answer = json.loads(line)
                    if "id" in answer:
                        return answer
        raise RuntimeError("the status socket closed without an answer")

    # --- protocols

    @staticmethod
    def tls():
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self, name="smtp"):
        """A plain socket with a file interface: s.file.readline(), s.sendall(...)."""
        plain = socket.create_connection(("127.0.0.1", self.port(name)), timeout=30 * SLOW)
        s = Wire(plain.family, plain.type, plain.proto, plain.detach())
        s.settimeout(30 * SLOW)
        s.file = s.makefile("rb")
        return s

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port("smtp"), local_hostname="client.test", timeout=30 * SLOW)

    def submission(self, user=None, tls=False):
        s = smtplib.SMTP("127.0.0.1", self.port("submission"), local_hostname="client.test", timeout=30 * SLOW)
        if tls:
            s.starttls(context=self.tls())
        if user:
            s.login(self.address(user), PASSWORD)
        return s

    def submissions(self, user=None):
        s = smtplib.SMTP_SSL("127.0.0.1", self.port("submissions"), local_hostname="client.test", timeout=30 * SLOW,
                             context=self.tls())
        if user:
            s.login(self.address(user), PASSWORD)
        return s

    def lmtp(self, unix=False):
        if unix:
            return smtplib.LMTP(os.path.join(self.dir, "run", "lmtp.sock"))
        return smtplib.LMTP("127.0.0.1", self.port("lmtp"), local_hostname="client.test")

    def imap(self, user=None, tls=False):
        m = imaplib.IMAP4_SSL("127.0.0.1", self.port("imaps"), ssl_context=self.tls(), timeout=30 * SLOW) if tls else \
            imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=30 * SLOW)
        if user:
            m.login(self.address(user), PASSWORD)
        return m

    def pop3(self, user=None, tls=False):
        p = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), timeout=30 * SLOW, context=self.tls()) if tls else \
            poplib.POP3("127.0.0.1", self.port("pop3"), timeout=30 * SLOW)
        if user:
            p.user(self.address(user))
            p.pass_(PASSWORD)
        return p

    def deliver(self, message, to=None, sender="sender@client.test"):
        """By SMTP from a stranger; the message's line ends become CRLF."""
        if isinstance(message, bytes):      # smtplib does it for text only
            message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        with self.smtp() as smtp:
            return smtp.sendmail(sender, [self.address(u) for u in (to or self.users[:1])], message)
