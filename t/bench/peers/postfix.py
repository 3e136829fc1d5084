"""Postfix by itself, that relays by SMTP, in a directory of our own: private configuration, queue and log, a loopback
port above 1024; started and stopped by the pid of its master. Needs root: it changes users."""

import os
import pwd
import shutil
import subprocess
import tempfile

from postfix_dovecot import DAEMONS, MAIN_CF, MASTER_CF, end, free_port, wait_banner

NEEDED = ("/usr/sbin/postfix", f"{DAEMONS}/master")
TABLES = ("relay_domains", "transport_maps")


def missing():
    """None when the peer can run here, else why not."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [path for path in NEEDED if not os.path.exists(path)]
    return f"{' '.join(lacking)} not there; scripts/bootstrap installs it" if lacking else None


class Postfix:
    name = "Postfix"

    def __init__(self, routes, settings=()):
        """routes: {domain: port of 127.0.0.1 where its mail goes}; settings: further lines of main.cf, the last of a
        name counts."""
        self.dir = tempfile.mkdtemp(prefix="phpeer")
        self.smtp, self.postfix = free_port(), None
        table = ", ".join(f"{{ {domain} = smtp:[127.0.0.1]:{port} }}" for domain, port in routes.items())
        kept = [line for line in MAIN_CF.splitlines() if line.split(" ")[0] not in TABLES]
        self.main = "\n".join(kept).format(dir=self.dir, daemons=DAEMONS) + "\n" + "\n".join(
            [f"relay_domains = {' '.join(routes)}", f"transport_maps = inline:{{ {table} }}", *settings]) + "\n"
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise

    def prepare(self):
        os.chmod(self.dir, 0o755)
        for name in ("etc", "postfix/spool", "postfix/data"):
            os.makedirs(os.path.join(self.dir, name))
        os.chown(os.path.join(self.dir, "postfix/data"), pwd.getpwnam("postfix").pw_uid, -1)
        for name, text in (("main.cf", self.main), ("master.cf", MASTER_CF.format(smtp=self.smtp))):
            with open(os.path.join(self.dir, "etc", name), "w", encoding="utf-8") as f:
                f.write(text)

    def command(self, program, *arguments, seconds=120):
        """One of Postfix's commands on this instance."""
        return subprocess.run([program, "-c", f"{self.dir}/etc", *arguments], capture_output=True, text=True,
                              timeout=seconds)

    def start(self):
        done = self.command("postfix", "start")
        try:
            with open(f"{self.dir}/postfix/spool/pid/master.pid", encoding="ascii") as f:
                self.postfix = int(f.read())
        except OSError:
            raise RuntimeError(f"Postfix does not start: {done.stdout}{done.stderr}") from None
        wait_banner(self.smtp, pause=0.001)

    @property
    def roots(self):
        return [self.postfix] if self.postfix else []

    def log(self):
        with open(f"{self.dir}/postfix/mail.log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def halt(self):
        for pid in self.roots:
            end(pid)
        self.postfix = None

    def stop(self):
        self.halt()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
