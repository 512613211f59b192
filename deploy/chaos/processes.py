"""Processes that end with this one, and waiting for what they do."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time

HOST = "127.0.0.1"
# How long anything may take to come up, answer again or stop, on a machine that is busy.
PATIENCE = 60.0
LOOK_EVERY = 0.05
# The longest line of a stream that is read.
LONGEST_LINE = 16 << 20
RUNNING = set()


def say(text):
    print(text, file=sys.stderr, flush=True)


def launch(words, log, environment=None):
    """Starts a process that is killed when this one ends, however it ends."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, **(environment or {})})
    RUNNING.add(process)
    return process


def kill(process):
    process.kill()
    process.wait()
    RUNNING.discard(process)


def kill_all():
    for process in list(RUNNING):
        kill(process)


async def command(*words):
    """Runs to its end; gives exit status and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    return process.returncode, out.decode()


async def must(*words):
    status, out = await command(*words)
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {out.strip()}")
    return out


async def lines_of(*words):
    """What a command prints, line by line: more than one would keep in memory."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=subprocess.PIPE, limit=LONGEST_LINE)
    try:
        async for line in process.stdout:
            yield line.decode()
        if await process.wait() != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}: ended with {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()


async def until(what, holds, patience=PATIENCE):
    """Waits until `holds` does."""
    deadline = time.monotonic() + patience
    while not await holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain: {what}")
        await asyncio.sleep(LOOK_EVERY)


def free_port():
    """A free port, and so is the one 10 000 above, for a cluster's bus. Neither is one that the
    system gives to outgoing connections, which could take it while its server is down."""
    while True:
        port = random.SystemRandom().randint(11_000, 20_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind((HOST, port))
            other.bind((HOST, port + 10_000))
            return port
