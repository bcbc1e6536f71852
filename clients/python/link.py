import asyncio
from urllib.parse import urlsplit


class Link:
    """A TCP proxy before one client: what networks do to it is done here."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.deaf = False
        """What the server says is thrown away."""
        self.away = False
        """Nobody is let in."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> "Link":
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{urlsplit(self.target).path}"
        return self

    def cut(self) -> None:
        """Destroys the sockets: no close frame, no goodbye."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _join(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self.away:
            near.transport.abort()
            return
        server = urlsplit(self.target)
        far_reader, far = await asyncio.open_connection(server.hostname, server.port)
        self._writers |= {near, far}
        await asyncio.gather(self._carry(near_reader, far, False), self._carry(far_reader, near, True))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: bool) -> None:
        try:
            while data := await reader.read(65536):
                if not (from_server and self.deaf):
                    writer.write(data)
        except OSError:
            pass
        writer.close()
