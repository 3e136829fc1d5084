"""Mail between Posthouse and another mail server, both ways, over loopback. What every peer must do with us:

A peer is made with the ports of a sink and of Posthouse and a certificate. It takes mail from this machine, sends
peer.test on to the sink and example.test to Posthouse, refuses no@peer.test, takes at most SIZE_MAX octets, and offers
and uses STARTTLS. So octets are compared where they came out, behind both servers."""

import email
import os
import re
import smtplib
import sys
import time

TOP = os.environ.get("TOP") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path[:0] = [os.path.join(TOP, "t", "lib"), os.path.join(TOP, "t", "bench", "peers")]
from mailsink import Sink  # noqa: E402
from server import SLOW, Server, case, failures, finish  # noqa: E402

SIZE_MAX = 2000000
SECONDS = int(os.environ.get("PATIENCE") or 60) * SLOW
HEAD = (b"From: <alice@example.test>\r\nTo: <list@peer.test>\r\nDate: Mon, 06 Jan 2025 10:00:00 +0000\r\n"
        b"Message-ID: <%s@client.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\nSubject: interop\r\n\r\n")
BODIES = {
    "small": b"hello\r\n",
    "empty": b"",
    "one_megabyte": b"".join(b"%070d\r\n" % i for i in range(1000000 // 72)),
    "eight_bit": "Grüße, Überall, Щука, 日本\r\n".encode() * 40,
    "dots": b".\r\n..\r\n.leading\r\nnot . leading\r\n...\r\n\r\n.\r\n",
    "long_lines": (b"x" * 998 + b"\r\n") * 20 + b"." + b"y" * 997 + b"\r\n",
}


def until(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not (seen := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def message(name):
    return HEAD % name.encode() + BODIES[name]


def arrived(sink, name):
    """What came out at the sink with this Message-ID, one per transaction."""
    field = b"\r\nmessage-id: <%s@client.test>\r\n" % name.encode()
    return [m for m in list(sink.messages) if field in m.octets.lower()]


def inbox(s, user):
    with s.imap(user) as m:
        if int(m.select()[1][0]) == 0:
            return []
        return [row[1] for row in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(row, tuple)]


def text_of(octets):
    return octets.split(b"\r\n\r\n", 1)[1]


def field_lines(octets):
    return octets.split(b"\r\n\r\n", 1)[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").split(b"\r\n")


def with_tls(octets, by):
    """Does the Received: field of this host say ESMTPS?"""
    return any(b" by " + by in line and b"ESMTPS" in line.upper() for line in field_lines(octets)
               if line.lower().startswith(b"received:"))


def notice(s, user, recipient, actions):
    """The status fields of the notice about this recipient, in the user's mailbox."""
    for octets in inbox(s, user):
        for part in email.message_from_bytes(octets).walk():
            if part.get_content_type() == "message/delivery-status":
                blocks = part.get_payload()
                for block in blocks[1:]:
                    if recipient in (block["Final-Recipient"] or "") and (block["Action"] or "").strip() in actions:
                        return {**{k.lower(): v for k, v in blocks[0].items()},
                                **{k.lower(): v for k, v in block.items()}}
    return None


class Both:
    def __init__(self, s, peer, sink):
        self.s, self.peer, self.sink = s, peer, sink

    def recipients(self, name):
        """All to whom this message came, once they are fifty."""
        seen = [r for m in arrived(self.sink, name) for r in m.recipients]
        return seen if len(seen) >= 50 else None

    def to_peer(self):
        """The user's program -> Posthouse -> the peer -> the sink."""
        with self.s.submission("alice") as c:
            for name in BODIES:
                c.sendmail("alice@example.test", ["ok@peer.test"], message(name), ["BODY=8BITMIME"])
        for name in BODIES:
            seen = until(lambda name=name: arrived(self.sink, name))
            case(f"to_peer__{name}", seen and len(seen) == 1 and seen[0].recipients == ["ok@peer.test"] and
                 seen[0].sender == "alice@example.test" and text_of(seen[0].octets) == BODIES[name],
                 seen and [(m.mail, m.rcpts, m.octets[:3000]) for m in seen])
        seen = arrived(self.sink, "small")
        case("to_peer__header_is_kept", seen and set(field_lines(message("small"))) <= set(field_lines(seen[0].octets)),
             seen and seen[0].octets)
        name = "starttls" if self.peer.serves_tls else "in_the_clear_when_starttls_fails"
        case(f"to_peer__{name}", seen and with_tls(seen[0].octets, b"peer.test") == self.peer.serves_tls,
             seen and seen[0].octets)

    def to_peer_many(self):
        everybody = [f"u{i}@peer.test" for i in range(50)]
        with self.s.submission("alice") as c:
            c.sendmail("alice@example.test", everybody, message("small").replace(b"small", b"fifty"))
        came = until(lambda: self.recipients("fifty"))
        case("to_peer__fifty_recipients", came and sorted(came) == sorted(everybody), came)

    def to_peer_refused(self):
        with self.s.submission("alice") as c:
            c.sendmail("alice@example.test", ["no@peer.test", "yes@peer.test"],
                       message("small").replace(b"small", b"refused"))
        seen = until(lambda: notice(self.s, "alice", "no@peer.test", ["failed"]))
        case("to_peer__refused_recipient", seen and seen["status"].startswith("5.") and
             "mail.example.test" in seen["reporting-mta"] and re.match(r"smtp; ?55\d", seen["diagnostic-code"]), seen)
        case("to_peer__the_other_arrives", until(lambda: arrived(self.sink, "refused")) and
             [m.recipients for m in arrived(self.sink, "refused")] == [["yes@peer.test"]])
        large = HEAD % b"large" + b"z" * 70 + (b"\r\n" + b"z" * 70) * (SIZE_MAX // 70) + b"\r\n"
        with self.s.submission("alice") as c:
            c.sendmail("alice@example.test", ["large@peer.test"], large)
        seen = until(lambda: notice(self.s, "alice", "large@peer.test", ["failed"]))
        case("to_peer__size", seen and seen["status"] in ("5.3.4", "5.2.3"), seen)
        case("to_peer__size_was_not_sent", arrived(self.sink, "large") == [])

    def to_peer_receipt(self):
        with self.s.submission("alice") as c:
            c.sendmail("alice@example.test", ["receipt@peer.test"], message("small").replace(b"small", b"receipt"),
                       ["RET=HDRS", "ENVID=abc"], ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;receipt@peer.test"])
        seen = until(lambda: notice(self.s, "alice", "receipt@peer.test", ["delivered", "relayed"]))
        case("to_peer__receipt", seen and seen["status"].startswith("2."), seen)
        case("to_peer__receipt_by_the_peer", seen and self.peer.has_dsn == ("peer.test" in seen["reporting-mta"]), seen)
        case("to_peer__receipt_envelope_id", seen and seen.get("original-envelope-id", "abc") == "abc", seen)

    def from_peer(self):
        """A client -> the peer -> Posthouse -> the mailbox."""
        with smtplib.SMTP("127.0.0.1", self.peer.smtp, local_hostname="client.test", timeout=SECONDS) as c:
            for name in BODIES:
                c.sendmail("alice@client.test", ["bob@example.test"], message(name), ["BODY=8BITMIME"])
        until(lambda: len(inbox(self.s, "bob")) >= len(BODIES))
        mails = inbox(self.s, "bob")
        case("from_peer__count", len(mails) == len(BODIES), len(mails))
        for name in BODIES:
            field = b"message-id: <%s@client.test>" % name.encode()
            seen = [m for m in mails if field in m.lower()]
            case(f"from_peer__{name}", len(seen) == 1 and text_of(seen[0]) == BODIES[name], [m[:3000] for m in seen])
            if name == "small" and seen:
                case("from_peer__header_is_kept", set(field_lines(message(name))) <= set(field_lines(seen[0])), seen[0])
                case("from_peer__starttls", with_tls(seen[0], b"mail.example.test"), seen[0])
                case("from_peer__envelope", seen[0].startswith(b"Return-Path: <alice@client.test>"), seen[0])

    def from_peer_many(self):
        everybody = [f"v{i}@onward.test" for i in range(50)]
        with smtplib.SMTP("127.0.0.1", self.peer.smtp, local_hostname="client.test", timeout=SECONDS) as c:
            c.sendmail("alice@client.test", everybody, message("small").replace(b"small", b"onward"))
        came = until(lambda: self.recipients("onward"))
        case("from_peer__fifty_recipients", came and sorted(came) == sorted(everybody), came)

    def from_peer_refused(self):
        """The peer tells our user what we told the peer."""
        with smtplib.SMTP("127.0.0.1", self.peer.smtp, local_hostname="client.test", timeout=SECONDS) as c:
            c.sendmail("alice@example.test", ["nobody@example.test"], message("small").replace(b"small", b"unknown"))
        seen = until(lambda: notice(self.s, "alice", "nobody@example.test", ["failed"]))
        case("from_peer__refused_recipient", seen and seen["status"].startswith("5.") and
             "peer.test" in seen["reporting-mta"], seen)


def skip(why):
    """A peer that nobody promised to install: no case, no failure."""
    print(f"# not run: {why}")
    case("interop__peer_may_be_absent", True)
    sys.exit(0)


def run(make_peer, port):
    """make_peer(sink's port, Posthouse's port, its certificate, its key) -> a peer that listens on `port`."""
    with Sink() as sink:
        config = {"routes": [["peer.test", f"smtp:[127.0.0.1]:{port}"],
                             ["onward.test", f"smtp:[127.0.0.1]:{sink.port}"]],
                  "intake": {"relay_networks": ["127.0.0.0/8"]}}
        with Server(users=["alice", "bob"], config=config) as s:
            tls = os.path.join(s.dir, "tls")
            files = [os.path.join(tls, name) for name in ("cert.pem", "key.pem")]
            with make_peer(sink.port, s.port("smtp"), *files) as p:
                both = Both(s, p, sink)
                try:
                    for step in (both.to_peer, both.to_peer_many, both.to_peer_refused, both.to_peer_receipt,
                                 both.from_peer, both.from_peer_many, both.from_peer_refused):
                        step()
                finally:
                    if failures or sys.exc_info()[0]:
                        print("# --- log of the peer\n# " + "\n# ".join(p.log().splitlines()[:60]))
                n = s.cli("status", "--json").json["ledger"]
                case("ledger__closes", n["created"] == n["delivered"] + n["queued"] + n["refused"] + n["expanded"] +
                     n["merged"], n)
    finish()
