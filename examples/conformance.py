#!/usr/bin/env python3
"""Runs the client examples of each language against servers that stop and die under them, and checks what they promise.

usage: examples/conformance.py [--program FILE] [--only PROGRAM] [--no-build] [LANGUAGE...]

    --program FILE   the `eventflow` to test with; target/release/eventflow unless told otherwise
    --only PROGRAM   producer, consumer, worker, errors or tls; may be given again
    --no-build       what is built already is used

Each `LANGUAGE/conformance.json` says how to build the programs and how to run them; README.md says what they do.
Only Python's standard library, `openssl` and the tools of the languages are needed. The exit code is 1 if anything failed.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

EXAMPLES = pathlib.Path(__file__).resolve().parent
COLUMNS = ("producer", "consumer", "worker", "errors", "tls")
# What a program may take for anything that it is waited for: far more than it needs on a quiet machine.
PATIENCE = 60
BUILD_SECONDS = 900
# Seconds that a delivery is a worker's.
LEASE = 2
# Programs that run at once: most of their time is waiting.
AT_ONCE = 6
TOOLS = {
    "cargo": "Rust 1.95 or later: https://rustup.rs",
    "go": "Go 1.24 or later: https://go.dev/dl",
    "java": "a JDK, 17 or later: apt-get install openjdk-17-jdk-headless",
    "mvn": "Maven 3.8 or later: apt-get install maven",
    "node": "Node.js 20 or later: https://nodejs.org",
    "npm": "Node.js 20 or later, with npm: https://nodejs.org",
    "npx": "Node.js 20 or later, with npm: https://nodejs.org",
    "openssl": "OpenSSL: apt-get install openssl",
    "python3": "Python 3.11 or later with venv: apt-get install python3 python3-venv",
}
UUIDV7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UNKNOWN_KEY = "efk_" + 16 * "a" + "_" + 43 * "b"
ERRORS = [
    "INVALID_ARGUMENT EVENT_INVALID", "  events[1].type", "  events[2].key",
    "NOT_FOUND TOPIC_NOT_FOUND",
    "NOT_FOUND EVENT_NOT_FOUND",
    "UNAUTHENTICATED CREDENTIAL_INVALID",
]


class Failed(Exception):
    """A promise that was not kept."""


def check(holds, message):
    if not holds:
        raise Failed(message)


def equal(found, wanted, what):
    """Compares two lists, and names the first place where they differ."""
    for index, (one, other) in enumerate(zip(found, wanted)):
        check(one == other, f"{what}: {one!r} in the place of {other!r} (number {index + 1})")
    check(len(found) == len(wanted), f"{what}: {len(found)} in the place of {len(wanted)}")


def wait_until(holds, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        check(time.monotonic() < deadline, f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return value


def clean_environment():
    """A developer's own settings and proxies shall not decide this; text is UTF-8."""
    unwanted = re.compile(r"EVENTFLOW_|GRPC_|.*_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
    return kept | {"LC_ALL": "C.UTF-8"}


def free_port():
    """Below those that the system gives to outgoing connections, so that it is still free after a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """An embedded server that can be drained, killed and started again on the same port."""

    def __init__(self, program, folder, *options, scheme="http"):
        self.program, self.folder, self.options = program, folder, options
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.log = open(folder / "server.log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--http-listen", "127.0.0.1:0",
             "--data-dir", self.folder / "data", "--drain-timeout", "10s", *self.options],
            env=clean_environment(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(self.is_ready, "the server")

    def is_ready(self):
        check(self.process.poll() is None, f"the server ended with {self.process.poll()}")
        try:
            told = json.loads((self.folder / "data/server.json").read_text())
        except (OSError, ValueError):
            return False
        if told["pid"] != self.process.pid:
            return False
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def drain(self):
        """SIGTERM, and a new server when the old one has ended by itself."""
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("the server did not end when told to") from None
        check(code == 0, f"the server ended with {code}")
        self.start()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def admin_key(self):
        return (self.folder / "data/embedded-key").read_text().strip()

    def popen(self, *arguments, key=None, **options):
        environment = clean_environment() | {"EVENTFLOW_API_KEY": key or self.admin_key(), "EVENTFLOW_SERVER": self.url}
        return subprocess.Popen([self.program, *arguments], cwd=self.folder, env=environment, text=True,
                                encoding="utf-8", **options)

    def run(self, *arguments):
        """A command to its end; what it printed, line by line as JSON."""
        with self.popen("--output", "json", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE) as process:
            output, errors = process.communicate(timeout=PATIENCE)
        check(process.returncode == 0, f"eventflow {' '.join(arguments)}: {errors}")
        return [json.loads(line) for line in output.splitlines()]

    def events(self, topic):
        return self.run("tail", topic, "--earliest", "--until-head")

    def consumer(self, name):
        return self.run("consumer", "get", name)[0]["status"]

    def stored_offset(self, name):
        return int(self.consumer(name)["position"]["offset"])

    def key(self, owner):
        return self.run("key", "create", owner)[0]["secret"]


class Program:
    """One of a language's programs, while it runs."""

    def __init__(self, command, folder, log, url, key, environment=()):
        self.name = " ".join(command)
        self.errors_path = log
        self.lines, self.times = [], []
        environment = clean_environment() | {"EVENTFLOW_SERVER": url, "EVENTFLOW_API_KEY": key} | dict(environment)
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):  # what a killed program has not finished does not count
                self.times.append(time.monotonic())
                self.lines.append(line[:-1].decode("utf-8", "replace"))

    def feed(self, lines, pause):
        """Writes lines to its standard input at a pace, in the background; closes it after the last one."""
        def write():
            try:
                for line in lines:
                    self.process.stdin.write(line.encode() + b"\n")
                    self.process.stdin.flush()
                    time.sleep(pause)
                self.process.stdin.close()
            except (BrokenPipeError, ValueError):
                pass  # it has ended, which is looked at elsewhere
        threading.Thread(target=write, daemon=True).start()

    def wait_for_lines(self, count, seconds=PATIENCE):
        """Until it has printed so many more lines."""
        wanted = len(self.lines) + count

        def printed():
            check(len(self.lines) >= wanted or self.process.poll() is None, f"it ended with {self.process.poll()}")
            return len(self.lines) >= wanted
        wait_until(printed, f"{count} more lines after {wanted - count}", seconds)

    def end(self, seconds=PATIENCE):
        """Waits until it has ended by itself; its exit code."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end within {seconds} s") from None
        self.reader.join(seconds)
        return self.process.returncode

    def terminate(self, seconds=15):
        self.process.terminate()
        code = self.end(seconds)
        check(code == 0, f"it ended with {code} after SIGTERM")

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join(PATIENCE)

    def said(self, text):
        return text in self.errors_path.read_text(errors="replace")


class Forwarder:
    """Passes connections on to a server. Those that are frozen stay open, and nothing passes any more."""

    def __init__(self, port):
        self.port = port
        self.frozen = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.held = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            frozen = self.frozen
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, target, frozen), daemon=True).start()

    def pump(self, source, target, frozen):
        try:
            while data := source.recv(65_536):
                if frozen.is_set():
                    self.held += (source, target)  # as if the cable were cut
                    return
                target.sendall(data)
        except OSError:
            pass
        if frozen.is_set():
            self.held += (source, target)
            return
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def freeze(self):
        """The connections of now; later ones pass."""
        self.frozen.set()
        self.frozen = threading.Event()

    def close(self):
        self.listener.close()


class Bench:
    """A server in a folder of its own, and how to run a variant's programs against it."""

    def __init__(self, args, variant, column):
        self.args, self.variant, self.column = args, variant, column
        self.folder = args.folder / f"{variant.name}.{column}"
        self.folder.mkdir()
        self.server, self.programs, self.forwarders = None, [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.kill()
        for forwarder in self.forwarders:
            forwarder.close()
        if self.server:
            self.server.stop()

    def serve(self, *options, **more):
        self.server = Server(self.args.program, self.folder, *options, **more)
        self.server.run("topic", "create", "orders")
        return self.server

    def start(self, program, *arguments, url=None, key=None, environment=()):
        command = self.variant.programs[program] + list(arguments)
        log = self.folder / f"{program}.{len(self.programs) + 1}.log"
        started = Program(command, self.variant.folder, log, url or self.server.url, key or self.server.admin_key(),
                          environment)
        self.programs.append(started)
        return started

    def forward(self):
        self.forwarders.append(Forwarder(self.server.port))
        return self.forwarders[-1]

    def publish_for_ever(self, pause=0.01):
        """Orders of 50 customers, by the `eventflow` program, until the returned event is set; its process too."""
        process = self.server.popen("publish", "orders", "--envelope", stdin=subprocess.PIPE,
                                    stdout=subprocess.DEVNULL, stderr=open(self.folder / "publish.log", "ab"))
        enough = threading.Event()

        def write():
            number = 0
            while not enough.is_set():
                number += 1
                event = {"type": "order.placed", "key": f"customer-{number % 50}", "text": order(number)}
                process.stdin.write(json.dumps(event) + "\n")
                process.stdin.flush()
                time.sleep(pause)
            process.stdin.close()
        threading.Thread(target=write, daemon=True).start()
        return enough, process

    def logs(self):
        """The end of everything that was written to standard error, for people who look into a failure."""
        for log in sorted(self.folder.glob("*.log")):
            text = log.read_text(errors="replace").splitlines()[-12:]
            yield f"   {log}:" + "".join(f"\n      {line[:300]}" for line in text)


def order(number):
    """A line whose text would not survive being parsed and written anew."""
    return json.dumps({"order": number, "customer": f"customer-{number % 50}", "note": "Grüße  🎉", "price": 17.50},
                      ensure_ascii=False).replace("17.5", "17.50")


def check_producer(bench):
    server = bench.serve("--stream-max-age", "2s")
    server_key = server.run("producer", "register", "shop", "--topic", "orders")[0]["secret"]
    lines = [order(number) for number in range(1, 3001)]
    producer = bench.start("producer", "orders", key=server_key)
    producer.feed(lines, 0.002)
    for pause, act in ((1, server.drain), (1, server.kill), (1, server.drain)):
        time.sleep(pause)
        act()
    code = producer.end(2 * PATIENCE)
    check(code == 0, f"it ended with {code}")
    check_published(server, producer, lines)
    check_producer_stops(bench, server, server_key)
    check_producer_is_refused(bench, server, server_key)


def check_published(server, producer, lines):
    events = server.events("orders")
    equal([event["text"] for event in events], lines, "stored")
    printed = [line.split(" ") for line in producer.lines]
    equal(printed, [[event["offset"], event["id"]] for event in events], "printed")
    check(all(UUIDV7.fullmatch(event["id"]) for event in events), "an id is no UUIDv7")
    check(len({event["id"] for event in events}) == len(lines), "an id occurs twice")
    for event in events:
        check((event["type"], event["key"]) == ("order.placed", json.loads(event["text"])["customer"]),
              f"stored with this type and key: {event}")


def check_producer_stops(bench, server, key):
    """SIGTERM: what was read is stored and told, and nothing more is read."""
    before = len(server.events("orders"))
    producer = bench.start("producer", "orders", key=key)
    producer.feed((order(number) for number in range(1_000_000)), 0.002)
    producer.wait_for_lines(200)
    producer.terminate()
    told = [line.split(" ") for line in producer.lines]
    equal(told, [[event["offset"], event["id"]] for event in server.events("orders")[before:]], "told after SIGTERM")


def check_producer_is_refused(bench, server, key):
    """An order that can never be stored does not hold up the others."""
    producer = bench.start("producer", "orders", key=key)
    bad = json.dumps({"order": 2, "customer": 1025 * "k"})
    producer.feed([order(1), bad, order(3)], 0)
    code = producer.end()
    check(code == 1, f"it ended with {code} after a refusal")
    texts = {int(event["offset"]): event["text"] for event in server.events("orders")}
    equal([texts[int(line.split(" ")[0])] for line in producer.lines], [order(1), order(3)], "beside the refused one")
    check(producer.said("EVENT_INVALID"), "the reason of the refusal is not on standard error")


def check_consumer(bench):
    server = bench.serve("--stream-max-age", "5s")
    server.run("consumer", "register", "billing", "orders")
    key = server.key("consumers/billing")
    forwarder = bench.forward()
    enough, publisher = bench.publish_for_ever()
    first = bench.start("consumer", "billing", url=forwarder.url, key=key)
    first.wait_for_lines(200)
    server.drain()
    first.wait_for_lines(200)
    server.kill()
    first.wait_for_lines(300)
    first.kill()
    killed = time.monotonic()
    time.sleep(1)  # for a commit that was under way
    stored = server.stored_offset("billing")
    check_recent(first, stored, killed)

    second = bench.start("consumer", "billing", url=forwarder.url, key=key)
    second.wait_for_lines(200)
    server.run("tail", "--consumer", "billing", "--take-over", "--no-commit", "--count", "1")
    second.wait_for_lines(200)
    forwarder.freeze()
    time.sleep(1)  # for what had passed
    second.wait_for_lines(200, 2 * PATIENCE)
    server.kill()
    second.wait_for_lines(200)
    enough.set()
    publisher.wait(PATIENCE)
    check(publisher.returncode == 0, "the events could not be published")
    events = server.events("orders")
    wait_until(lambda: second.lines and offset(second.lines[-1]) == len(events), f"offset {len(events)}")
    second.terminate()
    wanted = [f"{event['offset']} {event['key']} {event['text']}" for event in events]
    equal(first.lines, wanted[:len(first.lines)], "of the first process")
    equal(second.lines, wanted[stored:], f"of the second process, after stored offset {stored}")
    equal([server.stored_offset("billing")], [len(events)], "stored after SIGTERM")


def offset(line):
    return int(line.split(" ", 1)[0])


def check_recent(program, stored, killed):
    """A process that was killed had stored all but its last seconds."""
    check(0 < stored <= len(program.lines), f"stored {stored} with {len(program.lines)} done")
    if stored < len(program.lines):
        age = killed - program.times[stored]
        check(age < 5, f"offset {stored + 1} was done {age:.1f} s before the end, and not stored")


def check_worker(bench):
    server = bench.serve("--stream-max-age", "3s")
    server.run("consumer", "register", "mailer", "orders", "--mode", "queue", "--lease", f"{LEASE}s", "--backoff",
               "200ms", "--max-attempts", "50")
    key = server.key("consumers/mailer")

    # Without faults: what takes longer than its lease is delivered once.
    publish_work(server, [{"seconds": 5}, {"seconds": 5}, {"failures": 1}, {"failures": 2}] + 40 * [{}])
    worker = bench.start("worker", "mailer", key=key)
    worker.wait_for_lines(44)
    attempts = {int(acked[0]): int(acked[1]) for acked in map(str.split, worker.lines)}
    check([attempts[1], attempts[2]] == [1, 1], f"attempts at what took long: {attempts[1]}, {attempts[2]}")
    check(attempts[3] >= 2 and attempts[4] >= 3, f"attempts at what failed: {attempts[3]}, {attempts[4]}")

    # With faults.
    publish_work(server, [{"seconds": 3}, {"failures": 1}, {"seconds": 0.2}, {}, {}] * 40)
    for act in (server.drain, server.kill, server.drain):
        worker.wait_for_lines(20)
        act()
    # Leases of a stream that the server ends run on, as they do while it drains or when a stream is old. So that the
    # worker alone ends its stream, no stream grows old from here on, and what the drain left is over after a lease.
    server.options = ()
    server.drain()
    time.sleep(LEASE)
    worker.wait_for_lines(10)
    worker.terminate()
    check(server.consumer("mailer")["in_flight"] == "0", "the first worker kept leases")
    second = bench.start("worker", "mailer", key=key)
    wait_until(lambda: len(worker.lines) + len(second.lines) >= 244, "all events to be acked", 2 * PATIENCE)
    second.terminate()
    check_acked(server, worker.lines + second.lines)
    status = server.consumer("mailer")
    left = {name: status[name] for name in ("lag_events", "in_flight", "retrying", "dead_letters")}
    check(set(left.values()) == {"0"}, f"left over: {left}")


def publish_work(server, payloads):
    """Events of 20 keys."""
    lines = [json.dumps({"type": "mail.due", "key": f"customer-{index % 20}", "text": json.dumps(payload)})
             for index, payload in enumerate(payloads)]
    with server.popen("publish", "orders", "--envelope", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        process.communicate("\n".join(lines), PATIENCE)
    check(process.returncode == 0, "the events could not be published")


def check_acked(server, lines):
    events = {int(event["offset"]): event for event in server.events("orders")}
    acked = [line.split(" ") for line in lines]
    counts = collections.Counter(int(number) for number, _, _ in acked)
    check(max(counts.values()) == 1, f"acked twice: {[number for number, count in counts.items() if count > 1]}")
    check(counts.keys() == events.keys(), f"never acked: {sorted(events.keys() - counts.keys())}")
    last = collections.defaultdict(int)
    for number, attempt, key in acked:
        event = events[int(number)]
        check(key == event["key"], f"offset {number} was acked with key {key}, not {event['key']}")
        failures = json.loads(event["text"]).get("failures", 0)
        check(int(attempt) > failures, f"offset {number} was acked at attempt {attempt}, and fails {failures} times")
        check(int(number) > last[key], f"offset {number} was acked after {last[key]} of the same key")
        last[key] = int(number)


def check_errors(bench, environment=(), **options):
    server = bench.serve(**options) if options else bench.serve()
    run_errors(bench, server, environment)


def run_errors(bench, server, environment):
    errors = bench.start("errors", "orders", environment=environment)
    code = errors.end()
    equal(errors.lines, ERRORS, "printed")
    check(code == 0, f"it ended with {code}")
    check(not server.events("orders"), "a refused call has stored something")


def check_tls(bench):
    """Over TLS, with a certificate that only the given root vouches for; without it nothing is told to the server."""
    files = certificates(bench.folder)
    bench.server = Server(bench.args.program, bench.folder, "--tls-cert-file", files["cert"], "--tls-key-file",
                          files["key"], scheme="https")
    trusting = bench.start("errors", "orders", environment={"EVENTFLOW_CA_FILE": str(files["ca"])})
    check(trusting.end() == 0 and trusting.lines[-1:] == ERRORS[-1:], f"with the root it printed {trusting.lines}")
    doubting = bench.start("errors", "orders")
    doubting.end()
    check(ERRORS[-1] not in doubting.lines, "it trusted a certificate that nobody it knows vouches for")


def certificates(folder):
    """A root, and a certificate for 127.0.0.1 that it has signed."""
    files = {name: folder / f"{name}.pem" for name in ("ca", "ca-key", "cert", "key", "request", "extensions")}
    files["extensions"].write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for arguments in (
        ("req", "-x509", *ec, "-keyout", files["ca-key"], "-out", files["ca"], "-days", "2", "-subj", "/CN=root"),
        ("req", "-new", *ec, "-keyout", files["key"], "-out", files["request"], "-subj", "/CN=eventflow"),
        ("x509", "-req", "-in", files["request"], "-CA", files["ca"], "-CAkey", files["ca-key"], "-CAcreateserial",
         "-extfile", files["extensions"], "-out", files["cert"], "-days", "2"),
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    return files


CHECKS = {"producer": check_producer, "consumer": check_consumer, "worker": check_worker, "errors": check_errors,
          "tls": check_tls}


class Variant:
    """The four programs in one language, or in one style of it."""

    def __init__(self, folder, name, programs):
        self.folder, self.name, self.programs = folder, name, programs


def prepare(language, build):
    """Builds the programs of a language; returns its variants."""
    folder = EXAMPLES / language
    recipe = json.loads((folder / "conformance.json").read_text())
    for command in recipe["build"] if build else []:
        require(command[0], folder)
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
        check(done.returncode == 0, f"{language}: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return [Variant(folder, variant["name"], variant["programs"]) for variant in recipe["variants"]]


def require(tool, folder):
    if "/" in tool:
        tool = str(folder / tool)
    check("/" in tool or shutil.which(tool), f"{tool} is missing; install {TOOLS.get(tool, tool)}")


def run_check(args, variant, column):
    """What failed, or None."""
    with Bench(args, variant, column) as bench:
        began = time.monotonic()
        try:
            CHECKS[column](bench)
            failure = None
        except Exception as error:  # whatever it is, the others go on
            failure = f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error)
        took = f"{time.monotonic() - began:.0f} s"
        print(f"-- {variant.name} {column}: {failure or 'ok'} ({took})", flush=True)
        if failure:
            print("\n".join(bench.logs()), flush=True)
        return failure


def table(results):
    width = max(len("language"), *(len(name) for name in results))
    print(f"\n{'language':{width}}", *(f"{column:8}" for column in COLUMNS))
    for name, row in results.items():
        print(f"{name:{width}}", *(f"{row.get(column, '-'):8}" for column in COLUMNS))


def main():
    parser = argparse.ArgumentParser(description="Runs the client examples against servers that stop and die.")
    parser.add_argument("--program", type=pathlib.Path, default=EXAMPLES.parent / "target/release/eventflow")
    parser.add_argument("--only", action="append", choices=COLUMNS)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("language", nargs="*")
    args = parser.parse_args()
    args.program = args.program.resolve()
    if not args.program.exists():
        sys.exit(f"there is no {args.program}; build it, or name another one with --program")
    known = sorted(recipe.parent.name for recipe in EXAMPLES.glob("*/conformance.json"))
    if unknown := set(args.language) - set(known):
        sys.exit(f"there are no examples in {', '.join(sorted(unknown))}; there are some in {', '.join(known)}")
    columns = args.only or list(COLUMNS)
    if "tls" in columns and not knows_tls(args.program):
        print("-- this server knows no TLS: nothing is checked over it")
        columns = [column for column in columns if column != "tls"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args.folder = pathlib.Path(tempfile.mkdtemp(prefix="eventflow-conformance."))
    failures = run_all(args, args.language or known, columns)
    if failures:
        sys.exit(f"\n{failures} of the checks failed; see above, and {args.folder}")
    shutil.rmtree(args.folder)


def knows_tls(program):
    done = subprocess.run([program, "settings"], env=clean_environment(), capture_output=True, text=True, check=True)
    return "--tls-cert-file" in done.stdout


def run_all(args, languages, columns):
    """Builds and checks; prints the table; returns how much failed."""
    results, failures = {}, 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        checks = {}
        builds = {pool.submit(prepare, language, not args.no_build): language for language in languages}
        for done in concurrent.futures.as_completed(builds):
            language = builds[done]
            try:
                variants = done.result()
            except (Failed, OSError, subprocess.TimeoutExpired) as error:
                print(f"-- {language}: {error}", flush=True)
                results[language] = {column: "failed" for column in columns}
                failures += 1
                continue
            for variant in variants:
                results[variant.name] = {}
                for column in columns:
                    checks[pool.submit(run_check, args, variant, column)] = (variant.name, column)
        for done, (name, column) in checks.items():
            failed = done.result() is not None
            failures += failed
            results[name][column] = "failed" if failed else "ok"
    table(results)
    return failures


if __name__ == "__main__":
    main()
