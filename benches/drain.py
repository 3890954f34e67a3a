"""SIGTERM under load: is every request that was accepted answered to its last byte, and how soon is the end?

Clients on kept connections ask for answers that take a while and come in two parts; `wrk` loads another route at the
same time. The upstream notes which requests reached it: those the gateway had accepted for certain, so they must be
answered completely. A kept connection that is closed before a request on it was taken is no failure: HTTP lets a
client send it again (RFC 9112, 9.3.1). Such are counted on their own.
"""

import asyncio
import os
import random
import select
import signal
import time

CLIENTS = 64
PART = b"x" * 16 * 1024
LENGTH = 2 * len(PART)


class Outcome:
    def __init__(self):
        self.complete = self.cut = self.wrong = self.not_taken = self.refused = self.after = 0
        self.reached, self.answered = set(), set()
        self.last_answer = self.signalled = self.ended = None
        self.code = None

    def failed(self):
        return self.cut + self.wrong + len(self.reached - self.answered)


async def slow_upstream(outcome, port):
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                outcome.reached.add(head.split(b" ", 2)[1].rsplit(b"/", 1)[1])
                await asyncio.sleep(random.uniform(0.02, 0.08))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH + PART)
                await writer.drain()
                await asyncio.sleep(random.uniform(0.01, 0.04))
                writer.write(PART)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)


async def client(number, port, token, outcome):
    sent = 0
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            outcome.refused += 1
            return
        try:
            while not reader.at_eof():
                name = b"%d-%d" % (number, sent)
                sent += 1
                writer.write(b"GET /slow/%s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n" % (name, token))
                if not await answer(reader, name, outcome):
                    break
        finally:
            writer.close()


async def answer(reader, name, outcome):
    """Reads one answer; false when the connection is of no further use."""
    head = b""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            outcome.answered.add(name)
            outcome.wrong += 1
            return False
        await reader.readexactly(LENGTH)
    except (asyncio.IncompleteReadError, ConnectionError) as fault:
        if head or getattr(fault, "partial", b""):
            outcome.answered.add(name)
            outcome.cut += 1
        elif name not in outcome.reached:
            outcome.not_taken += 1
        return False
    outcome.complete += 1
    outcome.answered.add(name)
    outcome.last_answer = time.monotonic()
    outcome.after += outcome.signalled is not None
    return b"connection: close" not in head.lower()


async def drain(gate, slow_port, token, start_load):
    outcome = Outcome()
    server = await slow_upstream(outcome, slow_port)
    clients = [asyncio.create_task(client(n, gate.port, token.encode(), outcome)) for n in range(CLIENTS)]
    load = start_load()
    await asyncio.sleep(1.0)
    popen = gate.process.popen
    outcome.signalled = time.monotonic()
    popen.send_signal(signal.SIGTERM)

    def ended():
        # `Popen.wait` with a bound looks every 50 ms only.
        process = os.pidfd_open(popen.pid)
        try:
            select.select([process], [], [], 30)
            at = time.monotonic()
        finally:
            os.close(process)
        return popen.wait(1), at

    outcome.code, outcome.ended = await asyncio.get_running_loop().run_in_executor(None, ended)
    _, left = await asyncio.wait(clients, timeout=5)
    for task in left:
        task.cancel()
    load.kill()
    load.wait(10)
    server.close()
    return outcome


def run(gate, slow_port, token, start_load):
    """One shutdown of `gate`, which is running."""
    return asyncio.run(drain(gate, slow_port, token, start_load))
