"""Messages that mail software stumbles over, made from a seed; and those of Python's own test suite.

Every message is bytes with CRLF line ends, without bare CR, bare LF or NUL, lines of at most 998 octets, ending in
CRLF: what SMTP may carry (RFC 5321 2.3.8, RFC 5322 2.1.1)."""

import glob
import random

PYTHON_DATA = "/usr/lib/python3*/test/test_email/data/*.txt"
WORDS = [b"alpha", b"beta", b".", b"..", b"From ", b"--", b"=?utf-8?q?=C3=A4?=", b"caf\xc3\xa9", b"\xff\xfe", b"\t",
         b"(", b'"', b"<>", b"{10}", b"NIL", b"* OK", b"a" * 70]


def crlf(data):
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\0", b"")
    lines = data.split(b"\n")
    out = []
    for line in lines:
        while len(line) > 998:
            out.append(line[:998])
            line = line[998:]
        out.append(line)
    data = b"\r\n".join(out)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def python_messages():
    names = sorted(glob.glob(PYTHON_DATA))
    return [crlf(open(name, "rb").read()) for name in names]


def line(r):
    kind = r.randrange(10)
    if kind == 0:
        return b"." * r.randrange(1, 5)
    if kind == 1:
        return b"." + r.choice(WORDS)
    if kind == 2:
        return b"x" * r.choice([76, 77, 254, 255, 256, 511, 512, 513, 997, 998])
    if kind == 3:
        return b"From " + r.choice(WORDS)
    if kind == 4:
        return b""
    if kind == 5:
        return bytes(r.choice([c for c in range(1, 256) if c not in (10, 13)]) for _ in range(r.randrange(1, 200)))
    return b" ".join(r.choice(WORDS) for _ in range(r.randrange(1, 9)))


def body(r, lines):
    return b"".join(line(r) + b"\r\n" for _ in range(lines))


def header(r):
    fields = [b"From: a@example.test", b"Subject: " + line(r)[:200].strip() or b"x", b"To: undisclosed:;",
              b"Date: Fri, 21 Nov 1997 09:55:06 -0600", b"Message-ID: <%d@x>" % r.getrandbits(60),
              b"X-Long: " + b"y" * r.randrange(900, 980), b"X-Fold: a\r\n b\r\n\tc", b"no colon in here",
              b"Subject : blank before the colon", b"X-Empty:", b"X-8bit: \xe4\xf6\xfc"]
    r.shuffle(fields)
    return b"".join(f + b"\r\n" for f in fields[:r.randrange(0, len(fields))])


def multipart(r, depth):
    boundary = b"b%d" % r.getrandbits(40)
    out = b"Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n%s" % (boundary, body(r, r.randrange(3)))
    for _ in range(r.randrange(1, 4)):
        out += b"--" + boundary + b"\r\n"
        if depth and r.randrange(3) == 0:
            out += multipart(r, depth - 1)
        elif depth and r.randrange(3) == 0:
            out += b"Content-Type: message/rfc822\r\n\r\n" + header(r) + b"\r\n" + body(r, 3)
        else:
            out += b"Content-Type: text/plain\r\n\r\n" + body(r, r.randrange(6))
    return out + (b"--" + boundary + b"--\r\n" if r.randrange(4) else b"")


def awkward(r):
    kind = r.randrange(12)
    if kind == 0:
        return b"\r\n" + body(r, 3)                               # no header at all
    if kind == 1:
        return header(r) or b"X: y\r\n"                           # no body, no empty line
    if kind == 2:
        return header(r) + b"\r\n"                                # an empty body
    if kind == 3:
        return header(r) + b"\r\n" + body(r, r.randrange(500, 1500))
    if kind == 4:
        return b"".join(b"X-%d: %s\r\n" % (i, b"z" * r.randrange(200)) for i in range(300)) + b"\r\n" + body(r, 2)
    if kind in (5, 6, 7):
        return header(r) + multipart(r, 4)
    if kind == 8:
        return header(r) + b"Content-Type: multipart/mixed\r\n\r\n--x\r\n" + body(r, 4)
    if kind == 9:
        return header(r) + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 19 + b"\r\n=\r\n"
    return header(r) + b"\r\n" + body(r, r.randrange(1, 40))


def messages(seed, count):
    r = random.Random(seed)
    out = [crlf(awkward(r)) for _ in range(count)]
    for i in range(7, count, 97):                                     # larger than what is written with its batch
        out[i] = crlf(header(r) + b"\r\n" + body(r, 6000))
    return out
