"""Mail servers whose packages exclude one another: their Debian packages unpacked in BUILD/peers and run from there, in
a mount namespace of their own where the directories and users compiled into them exist. Nothing of the system changes.
Needs root and apt's package lists; where one is missing, the peer is."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import interop  # noqa: E402
from postfix_dovecot import end, free_port, wait_banner  # noqa: E402

BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(interop.TOP, "build"))
USERS = ("Debian-exim", "opensmtpd", "opensmtpq")
FIRST_ID = 61000
# every directory that is written, or read and not there, is one of ours
BIND = ("/etc/passwd", "/etc/group", "/var/spool", "/var/log", "/var/lib", "/run")
SCRIPT = """set -e
cd "$1"
for path in $2; do mount --bind "./root$path" "$path"; done
[ ! -d ./libexec ] || mount --bind ./libexec /usr/libexec
shift 2
exec "$@"
"""


def run(*command, cwd=None, seconds=60):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)


def unpacked(package):
    """The directory with the files of a package, fetched when it is not there yet; None with a reason."""
    to = os.path.join(BUILD, "peers", package)
    if os.path.isdir(to):
        return to, None
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(to)) as work:
        try:
            done = run("apt-get", "-q", "-o", "Acquire::Retries=1", "download", package, cwd=work)
            found = [name for name in os.listdir(work) if name.endswith(".deb")]
            if done.returncode != 0 or not found:
                return None, f"apt-get download {package}: {(done.stderr.strip().splitlines() or ['no file'])[-1]}"
            done = run("dpkg-deb", "-x", os.path.join(work, found[0]), os.path.join(work, "files"))
        except (OSError, subprocess.TimeoutExpired) as e:
            return None, f"{package} cannot be fetched: {e}"
        if done.returncode != 0:
            return None, f"dpkg-deb -x {package}: {done.stderr.strip()}"
        os.rename(os.path.join(work, "files"), to)
    return to, None


def program(package, path):
    """(absolute path of a program in a package, None), or (None, why it cannot run here)."""
    if os.geteuid() != 0:
        return None, "needs root"
    if run("unshare", "-m", "true").returncode != 0:
        return None, "no mount namespaces here"
    to, why = unpacked(package)
    if why:
        return None, why
    path = os.path.join(to, path)
    lacking = [line.split()[0] for line in run("ldd", path).stdout.splitlines() if "not found" in line]
    return (None, f"{package} needs {' '.join(lacking)}") if lacking else (path, None)


class Peer:
    has_dsn = True
    serves_tls = True

    def __init__(self, port, sink, ours, certificate, key):
        self.smtp, self.sink, self.ours, self.pid = port, sink, ours, None
        self.dir = tempfile.mkdtemp(prefix="phpeer")
        self.root = os.path.join(self.dir, "root")
        try:
            os.chmod(self.dir, 0o755)
            for name in BIND[2:]:
                os.makedirs(self.root + name)
            os.makedirs(os.path.join(self.root, "etc"))
            for name, last in (("passwd", "::/:/usr/sbin/nologin"), ("group", "")):
                lines = [f"{user}:x:{FIRST_ID + i}:" + (f"{FIRST_ID + i}{last}" if last else "")
                         for i, user in enumerate(USERS)]
                with open(f"/etc/{name}", encoding="utf-8") as f, open(f"{self.root}/etc/{name}", "w",
                                                                       encoding="utf-8") as to:
                    to.write(f.read() + "\n".join(lines) + "\n")
            self.tls = [self.own(path, name) for path, name in ((certificate, "cert.pem"), (key, "key.pem"))]
            self.log_path = os.path.join(self.dir, "output")
            self.start()
        except BaseException:
            self.stop()
            raise

    def own(self, path, name):
        to = shutil.copy(path, os.path.join(self.dir, name))
        os.chown(to, self.uid, self.uid)
        os.chmod(to, 0o400)
        return to

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def directory(self, path, uid=0, gid=0, mode=0o755):
        path = self.root + path
        os.makedirs(path, exist_ok=True)
        os.chown(path, uid, gid)
        os.chmod(path, mode)

    def launch(self, *command):
        with open(self.log_path, "ab") as log:
            self.pid = subprocess.Popen(["unshare", "-m", "sh", "-c", SCRIPT, "sh", self.dir, " ".join(BIND), *command],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid
        try:
            wait_banner(self.smtp)
        except RuntimeError:
            print("# " + "\n# ".join(self.log().splitlines()[-20:]))
            raise

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        if self.pid:
            end(self.pid)
        self.pid = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def main(kind):
    kind.binary, why = program(*kind.files)
    if why:
        interop.skip(why)
    port = free_port()
    interop.run(lambda *rest: kind(port, *rest), port)
