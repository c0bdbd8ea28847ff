"""Several hosts on one machine: each a set of namespaces with a network card, an address, a name, a list of hosts of its own, joined by a switch. They share the disk,
as hosts with one file system do.

Everything lives in namespaces of its own, process ids too: all of it goes with the test, however the test ends, and two tests know nothing of each other.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
OWN = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True)


def enter_own_namespaces():
    """Runs this script again where it may make hosts. Says so, and ends with the code of a skipped test, where that is not allowed."""
    if os.environ.pop("SYNCDR_HOSTS_INSIDE", ""):
        ip("link", "set", "lo", "up")
        ip("link", "add", "name", "switch", "type", "bridge")
        ip("link", "set", "switch", "up")
        return
    tried = subprocess.run([*OWN, "sh", "-c", "ip link add name switch type bridge && ip link add name one type veth peer name two"], capture_output=True, text=True)
    if tried.returncode == 0:
        os.execvpe(OWN[0], [*OWN, sys.executable, *sys.argv], {**os.environ, "SYNCDR_HOSTS_INSIDE": "1"})
    print(f"SKIPPED, NOTHING WAS TESTED: hosts are made of network namespaces, which is not allowed here: {tried.stderr.strip()}\n"
          "Run it as root, in a container with --privileged or with the capabilities NET_ADMIN and SYS_ADMIN; `ip` comes from iproute2, `unshare` from util-linux.")
    sys.exit(SKIPPED)


# What mpirun calls in place of ssh: AGENT [OPTIONS] HOST WORDS, which a shell there reads. As with ssh, nothing of the caller's environment comes along, and what runs there has
# none of the caller's files: its output is passed on as long as this process lives.
AGENT = """#!{python} -S
import os, subprocess, sys, threading
words = sys.argv[1:]
while words[0].startswith("-"):
    del words[0]
holder = {holders}[words[0]]
there = subprocess.Popen(["nsenter", "--target", str(holder), "--net", "--mount", "--uts", "--root", "--wd=/", "sh", "-c", " ".join(words[1:])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, start_new_session=True, env=dict(HOME=os.environ["HOME"], PATH="/usr/bin:/bin:/usr/sbin:/sbin"))
def pass_on(pipe, to):
    while data := os.read(pipe.fileno(), 65536):
        os.write(to, data)
threads = [threading.Thread(target=pass_on, args=pair) for pair in ((there.stdout, 1), (there.stderr, 2))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(there.wait())
"""


class Host:
    """One of them. Its first process does nothing but keep it there."""

    def __init__(self, name, address, port):
        self.name, self.address, self.port = name, address, port
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "--uts", "sh", "-c", 'hostname "$0" && echo && exec sleep infinity', name], stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.net = os.readlink(f"/proc/{self.holder.pid}/ns/net")
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        ip("link", "set", port, "up")
        self.mend()
        self.run("sh", "-c", f"ip address add {address}/24 dev eth0; ip link set eth0 up; ip link set lo up", check=True)

    def inside(self, *command):
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--uts", "--root", f"--wd={os.getcwd()}", *map(str, command)]

    def run(self, *command, **options):
        return subprocess.run(self.inside(*command), **options)

    def cut(self):
        """Nothing comes through any more, and no host is told: a switch without power, a cable somewhere on the way."""
        ip("link", "set", self.port, "nomaster")

    def mend(self):
        ip("link", "set", self.port, "master", "switch")

    def processes(self):
        """Process -> its command line, of all that live on this host."""
        found = {}
        for place in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(place.name) == self.holder.pid or os.readlink(place / "ns" / "net") != self.net:
                    continue
                if (place / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return found


class Hosts:
    """h1 ... hN at 10.77.NET.1 ... 10.77.NET.N. Used as a context."""

    nets = iter(range(1, 255))

    def __init__(self, count):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-hosts-"))
        self.net = f"10.77.{next(self.nets)}"
        self.hosts = []
        for n in range(1, count + 1):
            self.hosts.append(Host(f"h{n}", f"{self.net}.{n}", f"p{self.net.rpartition('.')[2]}n{n}"))
        names = self.folder / "hosts"
        names.write_text("127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in self.hosts))
        for host in self.hosts:
            host.run("mount", "--bind", names, "/etc/hosts", check=True)
        self.agent = self.folder / "agent"
        self.agent.write_text(AGENT.format(python=sys.executable, holders={host.name: host.holder.pid for host in self.hosts}))
        self.agent.chmod(0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            for pid in host.processes():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            host.holder.kill()
            host.holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getitem__(self, name):
        return next(host for host in self.hosts if host.name == name)

    def hostfile(self, *names):
        file = self.folder / ("on-" + "-".join(names))
        file.write_text("".join(f"{name} slots=1\n" for name in names))
        return file

    def left(self):
        """Host -> processes, where there are any."""
        return {host.name: found for host in self.hosts if (found := host.processes())}

    def wait_until_empty(self, seconds, launcher):
        """What jobs have left on hosts, after so many seconds at most."""
        end = time.monotonic() + seconds
        while (found := launcher.left()) and time.monotonic() < end:
            time.sleep(0.1)
        return found
