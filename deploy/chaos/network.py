"""A network that can be cut: a TCP proxy in front of one server."""

import asyncio
import contextlib

from processes import HOST, free_port

CHUNK = 64 << 10


class Proxy:
    """Passes bytes on, until it is told not to."""

    def __init__(self, to):
        self.to, self.port = to, free_port()
        # Connections are reset, and so is every new one.
        self.is_cut = False
        # Every chunk waits so long.
        self.delay = 0.0
        # How likely it is that an answer goes no further, and its connection with it.
        self.loses, self.dice, self.lost = 0.0, None, 0
        # Not set, nothing passes; what was sent meanwhile arrives late, as by TCP over a dead wire.
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.transports, self.meetings = set(), set()
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.take, HOST, self.port)

    async def stop(self):
        if self.server is None:
            return
        self.server.close()
        for meeting in self.meetings:
            meeting.cancel()
        await asyncio.gather(*self.meetings, return_exceptions=True)

    def take(self, reader, writer):
        meeting = asyncio.create_task(self.meet(reader, writer))
        self.meetings.add(meeting)
        meeting.add_done_callback(self.meetings.discard)

    def reset(self):
        for transport in list(self.transports):
            transport.abort()

    def cut(self):
        self.is_cut = True
        self.reset()

    def mend(self):
        """All is as it was; what is left of the connections goes on."""
        self.is_cut, self.delay, self.loses = False, 0.0, 0.0
        self.is_open.set()

    async def meet(self, reader, writer):
        ends = {writer.transport}
        self.transports |= ends
        try:
            await self.is_open.wait()
            if self.is_cut:
                return
            there, onwards = await asyncio.open_connection(HOST, self.to)
            ends.add(onwards.transport)
            self.transports |= ends
            await asyncio.gather(self.pump(reader, onwards), self.pump(there, writer, back=True))
        except OSError:
            pass
        finally:
            for transport in ends:
                transport.abort()
            self.transports -= ends

    async def pump(self, reader, writer, back=False):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if back and self.loses and self.dice.random() < self.loses:
                    self.lost += 1
                    break
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.is_open.wait()
                writer.write(chunk)
                await writer.drain()
            else:
                # The end of one direction, after what was written.
                writer.close()
                return
        writer.transport.abort()
