"""A client of emitwire in another language, from docs/PROTOCOL.md alone.

    python3 -m pip install websockets msgpack
    python3 tests/peers/python_client.py ws://127.0.0.1:40815

It talks to the server of tests/other_languages.rs: joins `/chat`, emits `say` and reads the
answer, is refused by a handler, hears the broadcast `said`, answers `ask`, beats its heart, and
leaves in order. It prints what it saw, line by line, and fails loudly if that is something else.
"""

import asyncio
import os
import sys

import msgpack
import websockets

EVENT, ACK, NAK, CONNECT, ACCEPT = 0x80, 0x81, 0x82, 0x83, 0x84
HELLO, WELCOME, FROM, POSITION, HEARTBEAT, CLOSE = 0x01, 0x02, 0x04, 0x05, 0x06, 0x0A
WANTS_ACK, HAS_PRODUCER = 1, 2
EVENT_BYTES_MAX, WINDOW_EVENTS, WINDOW_BYTES = 65536, 64, 262144


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(string):
    encoded = string.encode()
    return varint(len(encoded)) + encoded


class Fields:
    """The body of a frame, read from its front."""

    def __init__(self, body):
        self.rest = body

    def take(self, count):
        assert len(self.rest) >= count, "truncated packet"
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def text(self):
        return self.take(self.varint()).decode()

    def value(self, flags):
        assert flags >> 2 & 3 == 0, "a value was expected"
        return msgpack.unpackb(self.rest) if self.rest else None


class Session:
    def __init__(self, link):
        self.link = link
        self.producer = os.urandom(16)
        self.events = 0
        # Came before somebody waited for it.
        self.waiting = []
        # Counted packets, per direction (section 8).
        self.written = self.received = 0
        # Of the events that came: how many are finished, with their bytes (section 9).
        self.finished_events = self.finished_bytes = 0

    async def send(self, body):
        if body[0] & 0x80:
            self.written += 1
        await self.link.send(body)

    async def receive(self):
        """The next packet: its kind and its fields. A frame is always a binary one."""
        body = await asyncio.wait_for(self.link.recv(), 10)
        assert isinstance(body, bytes), "a text frame"
        if body[0] & 0x80:
            self.received += 1
        return body[0], Fields(body[1:])

    async def expect(self, wanted):
        """The next packet of this kind: answers may overtake events, and the other way round."""
        for at, (kind, fields) in enumerate(self.waiting):
            if kind == wanted:
                del self.waiting[at]
                return fields
        while True:
            kind, fields = await self.receive()
            if kind == HEARTBEAT:
                assert fields.varint() == self.received, "both sides count alike"
            elif kind == wanted:
                return fields
            elif kind != POSITION:
                assert kind in (EVENT, ACK, NAK), f"{kind:#04x} instead of {wanted:#04x}"
                self.waiting.append((kind, fields))

    async def begin(self):
        limits = [EVENT_BYTES_MAX, WINDOW_EVENTS, WINDOW_BYTES, 1024, 4194304, 5000, 0]
        hello = b"EMITWIRE\x01\x00" + os.urandom(16) + self.producer
        await self.send(bytes([HELLO]) + hello + b"".join(map(varint, limits)))
        welcome = await self.expect(WELCOME)
        assert welcome.byte() == 1, "the version"
        welcome.take(16)
        welcome.take(welcome.varint())
        self.server = welcome.take(16)
        assert (await self.expect(FROM)).varint() == 1
        await self.send(bytes([FROM, 1]))

    async def connect(self, number, path):
        await self.send(bytes([CONNECT]) + varint(number) + text(path) + b"\x00")
        accept = await self.expect(ACCEPT)
        assert accept.varint() == number
        return accept.varint()

    async def emit(self, namespace, name, value, flags=WANTS_ACK):
        self.events += 1
        head = bytes([EVENT, flags]) + varint(namespace) + varint(self.events)
        await self.send(head + text(name) + msgpack.packb(value))
        return self.events

    async def answer_to(self, number, wanted):
        answer = await self.expect(wanted)
        flags = answer.byte()
        assert not flags & HAS_PRODUCER, "it is this side's event"
        assert answer.varint() == number
        return flags, answer

    async def hear(self):
        """An event: its namespace, number, name and value."""
        event = await self.expect(EVENT)
        flags, namespace, number = event.byte(), event.varint(), event.varint()
        if flags & HAS_PRODUCER:
            event.take(16)
        name = event.text()
        self.finished_events += 1
        self.finished_bytes += len(name.encode()) + len(event.rest)
        return flags, namespace, number, name, event.value(flags)

    async def beat(self):
        """A heartbeat, and a position behind it."""
        await self.send(bytes([HEARTBEAT]) + varint(self.written))
        granted_events = self.finished_events + WINDOW_EVENTS
        granted_bytes = self.finished_bytes + WINDOW_BYTES
        numbers = [self.received, granted_events, granted_bytes, 0]
        await self.send(bytes([POSITION, 0]) + b"".join(map(varint, numbers)))


async def main(url):
    async with websockets.connect(url, subprotocols=["emitwire.1"]) as link:
        assert link.subprotocol == "emitwire.1"
        session = Session(link)
        await session.begin()
        served = await session.connect(0, "/chat")
        print("joined", flush=True)

        number = await session.emit(0, "say", "hello from python")
        _, namespace, _, name, value = await session.hear()
        assert (namespace, name) == (served, "said")
        print("heard", value, flush=True)
        _, answer = await session.answer_to(number, ACK)
        print("answer", answer.value(0), flush=True)

        number = await session.emit(0, "forbidden", None)
        flags, answer = await session.answer_to(number, NAK)
        assert answer.byte() == 3, "rejected"
        print("rejected", answer.value(flags), flush=True)

        await session.beat()
        await asyncio.wait_for(await link.ping(b"are you there?"), 10)
        print("pong", flush=True)

        await session.emit(0, "ask me", None, flags=0)
        flags, namespace, asked, name, value = await session.hear()
        assert (namespace, name) == (served, "ask") and flags & WANTS_ACK
        await session.send(bytes([ACK, 0]) + varint(asked) + msgpack.packb(value * 2))
        await session.beat()
        _, _, _, name, value = await session.hear()
        assert name == "thanks"
        print("thanks", value, flush=True)

        await session.send(bytes([CLOSE, 1]) + text("bye"))
    print("closed", link.close_code, flush=True)


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
