"""Postfix that hands to Dovecot's LMTP server (Maildir), as a mail site runs them, in a directory of our own.

Debian's packages as they are, but private configuration, queue, logs and mailboxes, loopback ports above 1024, and no
service of the system touched. Started and stopped by the pid of each master. Settings are the packages' own but for
more processes (200 sessions at a time), no DNS and static users; Dovecot runs without Sieve and quota, so it has less
to do than ours. Every fsync is left as shipped. Needs root: both change users."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

DAEMONS = "/usr/lib/postfix/sbin"
NEEDED = ("/usr/sbin/postfix", f"{DAEMONS}/master", "/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp")
HOW = "scripts/bootstrap --bench installs it"

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {dir}/postfix/spool
data_directory = {dir}/postfix/data
daemon_directory = {daemons}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.test
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relay_domains = example.test
transport_maps = inline:{{ example.test=lmtp:inet:127.0.0.1:{lmtp} }}
maillog_file = {dir}/postfix/mail.log
maillog_file_prefixes = {dir}
default_process_limit = 250
message_size_limit = 50000000
disable_dns_lookups = yes
smtpd_peername_lookup = no
"""

MASTER_CF = """
{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

DOVECOT_CONF = """
base_dir = {dir}/dovecot/run
state_dir = {dir}/dovecot/state
log_path = {dir}/dovecot/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/mail
mail_max_userip_connections = 20000
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={dir}/homes/%n allow_all_users=yes
}}
protocol lmtp {{
  postmaster_address = postmaster@example.test
  hostname = peer.test
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 2048
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
namespace inbox {{
  inbox = yes
}}
"""


def missing():
    """None when the peer can run here, else why not."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [path for path in NEEDED if not os.path.exists(path)]
    return f"{' '.join(lacking)} not there; {HOW}" if lacking else None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_banner(port, seconds=30, pause=0.02):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                if s.recv(1):
                    return
        except OSError:
            time.sleep(pause)
    raise RuntimeError(f"no banner on port {port}")


def end(pid, seconds=20):
    """Ask one process to go, and wait until it has."""
    for sig, limit in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    return
            except ChildProcessError:   # Postfix's master is not our child
                if not os.path.exists(f"/proc/{pid}"):
                    return
            time.sleep(0.02)


class PostfixDovecot:
    name = "Postfix + Dovecot LMTP"
    password = "secret"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="phpeer")
        self.smtp, self.lmtp, self.imap = free_port(), free_port(), free_port()
        self.dovecot, self.postfix = None, None
        self.delivered = 0
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise

    def write(self, path, text):
        with open(os.path.join(self.dir, path), "w", encoding="utf-8") as f:
            f.write(text.format(dir=self.dir, daemons=DAEMONS, smtp=self.smtp, lmtp=self.lmtp, imap=self.imap,
                                password=self.password))

    def prepare(self):
        os.chmod(self.dir, 0o755)
        for name in ("postfix/etc", "postfix/spool", "postfix/data", "dovecot/state", "homes"):
            os.makedirs(os.path.join(self.dir, name))
        postfix, mail = pwd.getpwnam("postfix"), pwd.getpwnam("mail")
        os.chown(os.path.join(self.dir, "postfix/data"), postfix.pw_uid, -1)
        os.chown(os.path.join(self.dir, "homes"), mail.pw_uid, mail.pw_gid)
        self.write("postfix/etc/main.cf", MAIN_CF)
        self.write("postfix/etc/master.cf", MASTER_CF)
        self.write("dovecot/dovecot.conf", DOVECOT_CONF)

    def start(self):
        self.dovecot = subprocess.Popen(["dovecot", "-F", "-c", f"{self.dir}/dovecot/dovecot.conf"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL).pid
        done = subprocess.run(["postfix", "-c", f"{self.dir}/postfix/etc", "start"], capture_output=True, text=True,
                              timeout=60)
        try:
            with open(f"{self.dir}/postfix/spool/pid/master.pid", encoding="ascii") as f:
                self.postfix = int(f.read())
        except OSError:
            raise RuntimeError(f"Postfix does not start: {done.stdout}{done.stderr}") from None
        wait_banner(self.smtp, pause=0.001)
        wait_banner(self.lmtp, pause=0.001)

    @property
    def roots(self):
        return [pid for pid in (self.postfix, self.dovecot) if pid]

    def count(self):
        """Messages in the mailboxes."""
        total = 0
        for user in os.listdir(f"{self.dir}/homes"):
            try:
                total += len(os.listdir(f"{self.dir}/homes/{user}/mail/new"))
            except OSError:
                pass
        return total

    def wait_delivered(self, count, seconds=60):
        """True when so many more than at the last call lie in the mailboxes."""
        deadline = time.monotonic() + seconds
        while self.count() < self.delivered + count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        self.delivered += count
        return True

    def halt(self):
        for pid in self.roots:
            end(pid)
        self.postfix = self.dovecot = None

    def stop(self):
        self.halt()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
