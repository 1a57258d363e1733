"""Runs the blocks of a README. `readme.sh` prepares its arguments: FILE FOLDER PROFILE ALONE.

A block is fenced, and its info string says what it is:

    sh             commands, run to their end; a failing one fails the test
    sh server      a command that goes on; the next block waits until it is ready
    sh background  a command that goes on, and that has printed something by the end
    sh once        commands that are run elsewhere, such as all the tests
    text           what the block before it prints, with ids, keys, times and durations masked

Other blocks are not looked at.
"""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

PORTS = (50051, 9464)
BUILD_SECONDS = 3600
COMMAND_SECONDS = 300
DRAIN_SECONDS = 40
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
MASKS = (
    (re.compile(r"\befk_[0-9A-Za-z_-]+"), "<key>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    # As grpcurl and buf print them: the ids of keys, what is left or has passed, and what nobody reads.
    (re.compile(r'(?<="id": ")[0-9a-z]{16}(?=")'), "<key id>"),
    (re.compile(r'(?<=")\d+\.\d+s(?=")'), "<duration>"),
    (re.compile(r'(?<="nextPageToken": ")[^"]+'), "<token>"),
    (re.compile(r'(?<="value": ")[0-9A-Za-z+/]{20,}(?=")'), "<bytes>"),
)


class Failed(Exception):
    pass


def blocks(text):
    """The line, the info string and the content of each block."""
    for match in FENCE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1).strip(), match.group(2)


def mask(text):
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def with_profile(commands, profile):
    if profile == "dev":
        commands = commands.replace("cargo run --release", "cargo run").replace("target/release/", "target/debug/")
        commands = commands.replace("cargo build --release", "cargo build")
    return commands


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_ready():
    """A server accepts connections a moment before it is ready."""
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with straight.open(f"http://127.0.0.1:{PORTS[1]}/readyz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def raise_loopback():
    """A new network has a loopback that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        set_flags, up = 0x8914, 0x1
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up))


class Running:
    """A command that goes on, in a process group of its own."""

    def __init__(self, line, commands, folder):
        self.line, self.commands = line, commands
        self.path = f"{folder}.{line}.log"
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", commands], cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def output(self):
        with open(self.path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_until(self, seconds, wanted, look):
        deadline = time.monotonic() + seconds
        while not look():
            if self.process.poll() is not None:
                raise Failed(f"line {self.line}: ended with {self.process.returncode}:\n{self.output()}")
            if time.monotonic() > deadline:
                raise Failed(f"line {self.line}: waited {seconds} s for {wanted}:\n{self.output()}")
            time.sleep(0.1)

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def stop(self):
        """Asks every process of the group to end; says whether all did."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self.process.poll()
            if not self.signal(0):
                return True
            time.sleep(0.1)
        self.signal(signal.SIGKILL)
        self.process.wait()
        return False


class Readme:
    def __init__(self, folder, profile):
        self.folder, self.profile = folder, profile
        self.background, self.servers = [], []
        self.compared = 0
        self.ran = 0

    def run(self, text):
        before = None
        for line, info, content in blocks(text):
            kind, _, how = info.partition(" ")
            if kind == "text":
                self.compare(line, content, before)
            if kind != "sh":
                continue
            content = with_profile(content, self.profile)
            print(f"-- line {line}: {info}\n{content}", end="", flush=True)
            before = self.block(line, how, content)
        for running in self.background:
            running.wait_until(COMMAND_SECONDS, "any output", running.output)
        if not self.ran:
            raise Failed("there is no block of commands")

    def block(self, line, how, content):
        """Runs a block; returns how to look at what it has printed."""
        if how == "once":
            return None
        self.ran += 1
        if how == "":
            printed = self.finish(line, content)
            return lambda wanted: printed
        running = Running(line, content, self.folder)
        if how == "server":
            self.servers.append(running)
            running.wait_until(BUILD_SECONDS, "a server that is ready", is_ready)
        elif how == "background":
            self.background.append(running)
        else:
            raise Failed(f"line {line}: nobody knows how to run {how!r}")

        def look(wanted):
            running.wait_until(COMMAND_SECONDS, repr(wanted), lambda: mask(running.output()).startswith(wanted))
            return wanted
        return look

    def finish(self, line, content):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", content], cwd=self.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=COMMAND_SECONDS, text=True)
        print(done.stdout, done.stderr, sep="", end="", flush=True)
        if done.returncode != 0:
            raise Failed(f"line {line}: ended with {done.returncode}")
        return done.stdout

    def compare(self, line, content, look):
        if look is None:
            return
        wanted = mask(content)
        found = mask(look(wanted))
        if found != wanted:
            raise Failed(f"line {line}: the README shows\n{wanted}\nand the commands print\n{found}")
        self.compared += 1

    def stop(self):
        """Ends what goes on, the servers last."""
        late = [running for running in self.background + self.servers if not running.stop()]
        if late:
            raise Failed("did not end when told to: " + ", ".join(f"line {running.line}" for running in late))


def main(file, folder, profile, alone):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if alone != "0":
        raise_loopback()
        os.environ["CARGO_NET_OFFLINE"] = "true"
    taken = [port for port in PORTS if listens(port)]
    if taken:
        raise Failed(f"the README uses the default ports, and these are taken: {taken}; stop what listens there")
    with open(file, encoding="utf-8") as opened:
        text = opened.read()
    readme = Readme(folder, profile)
    try:
        readme.run(text)
    except BaseException:
        for running in readme.servers:
            print(f"-- what the server of line {running.line} wrote:\n{running.output()}", file=sys.stderr)
        raise
    finally:
        readme.stop()
    print(f"-- {readme.ran} blocks of commands ran, and {readme.compared} printed what the README shows")


try:
    main(*sys.argv[1:])
except (Failed, subprocess.TimeoutExpired) as failure:
    sys.exit(f"the README does not hold: {failure}")
