"""A docker.exe for a Windows Python under Wine: it hands its call to this machine's own docker.

`bridge.py serve FILE` waits on a loopback socket, whose port and secret it writes into FILE, and
starts docker for each call. `bridge.py make DOCKER.EXE PYTHON FILE` writes what is called under
Wine: argument vector, directory, environment and stdin go to the server, stdout, stderr and the
exit code come back. Paths on Wine's drive Z: become this machine's.
"""

import io
import json
import os
import re
import secrets
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import zipfile

STDIN, STDOUT, STDERR, EXIT = range(4)  # the kinds of a frame
PASSED = r"(POSTGRES|HIVE|COMPOSE|DOCKER|PG)\w*"  # names of variables that docker gets


def send(connection, kind, data):
    """Send one frame; an empty one is a stream's end."""
    connection.sendall(struct.pack("!BI", kind, len(data)) + data)


def receive(stream):
    """Return the next frame's kind and data; raise EOFError where the other side has gone."""
    head = stream.read(5)
    if len(head) < 5:
        raise EOFError
    kind, size = struct.unpack("!BI", head)
    return kind, stream.read(size)


def translate(text):
    """Write Wine's paths in a text as this machine's."""
    return re.sub(r'[Zz]:(\\[^",]*)', lambda found: found[1].replace("\\", "/"), text)


class Call(socketserver.StreamRequestHandler):
    """One call of docker, on the server's side."""

    def handle(self):
        _, head = receive(self.rfile)
        call = json.loads(head)
        if not secrets.compare_digest(call["secret"], self.server.secret):
            return
        given = {k: translate(v) for k, v in call["env"].items() if re.fullmatch(PASSED, k)}
        process = subprocess.Popen(
            ["docker", *map(translate, call["argv"])],
            env={**os.environ, **given},
            cwd=translate(call["cwd"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.lock = threading.Lock()
        readers = [
            threading.Thread(target=self.copy, args=(process.stdout, STDOUT)),
            threading.Thread(target=self.copy, args=(process.stderr, STDERR)),
        ]
        threading.Thread(target=self.feed, args=(process,), daemon=True).start()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.send(EXIT, str(process.wait()).encode())

    def copy(self, stream, kind):
        """Hand over what docker prints."""
        while data := stream.read1(1 << 16):
            self.send(kind, data)

    def send(self, kind, data):
        """Send a frame, if the caller is still there."""
        with self.lock:
            try:
                send(self.connection, kind, data)
            except OSError:
                return

    def feed(self, process):
        """Give docker its stdin; end it when the caller has gone."""
        try:
            while True:
                _, data = receive(self.rfile)
                if not data:
                    process.stdin.close()
                else:
                    process.stdin.write(data)
                    process.stdin.flush()
        except (EOFError, OSError, ValueError):
            if process.poll() is None:
                process.terminate()


class Server(socketserver.ThreadingTCPServer):
    """The server of all calls."""

    daemon_threads = True


def serve(path):
    """Serve until this process is ended."""
    with Server(("127.0.0.1", 0), Call) as server:
        server.secret = secrets.token_hex()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump([server.server_address[1], server.secret], file)
        server.serve_forever()


def call(path, argv):
    """Be docker.exe; return the exit code."""
    with open(path) as file:
        port, secret = json.load(file)
    connection = socket.create_connection(("127.0.0.1", port))
    head = {"secret": secret, "argv": argv, "env": dict(os.environ), "cwd": os.getcwd()}
    send(connection, STDIN, json.dumps(head).encode())

    def feed():
        data = b"-"
        while data:
            try:
                data = os.read(0, 1 << 16)
            except OSError:
                data = b""
            send(connection, STDIN, data)

    threading.Thread(target=feed, daemon=True).start()
    stream = connection.makefile("rb")
    while True:
        kind, data = receive(stream)
        if kind == EXIT:
            return int(data)
        os.write(kind, data)  # STDOUT and STDERR are its descriptors, too


def make(target, python, path):
    """Write docker.exe: the launcher of distlib, how to start Python, and what it runs."""

    def on_wine(place):
        return "Z:" + os.path.abspath(place).replace("/", "\\")

    here, archive = os.path.dirname(os.path.abspath(__file__)), io.BytesIO()
    main = f"import os, sys\nsys.path.insert(0, {on_wine(here)!r})\nimport bridge\n"
    main += f"os._exit(bridge.call({on_wine(path)!r}, sys.argv[1:]))\n"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", main)
    with open(f"{python}/launcher.exe", "rb") as file:
        launcher = file.read()
    with open(target, "wb") as file:
        file.write(launcher + f"#!{on_wine(python)}\\python.exe\n".encode() + archive.getvalue())
    while not os.path.exists(path):  # the server is about to write it
        time.sleep(0.05)


if __name__ == "__main__":
    {"serve": serve, "make": make}[sys.argv[1]](*sys.argv[2:])
