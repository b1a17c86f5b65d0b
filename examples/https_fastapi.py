"""What tutorials build of Express, helmet and https, with FastAPI: python https_fastapi.py [PORT [PLAIN_PORT]].

In the current folder are server.pem and server.key (to try: tlsio self-sign localhost --new-key server.key -o server.pem), and dhparam.pem
(openssl dhparam -out dhparam.pem 2048, or tlsio dhparam -o dhparam.pem).
"""

import asyncio
import sys
from pathlib import Path

from fastapi import FastAPI

from tlsio.https import HSTS, SecurityHeaders, Server

app = FastAPI()
app.add_middleware(SecurityHeaders)
FILES = {"cert": Path("server.pem"), "key": Path("server.key"), "dhparam": Path("dhparam.pem")}


@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    """Greet."""
    return {"message": f"Hello, {name}!"}


async def main(port: int = 443, plain_port: int = 80) -> None:
    """Serve until Ctrl-C; plain HTTP is redirected."""
    server = Server(app, hsts=HSTS(max_age=60 * 60 * 24), redirect_port=plain_port, **FILES)
    async with await server.start(None, port):
        print(f"https on port {server.port}, http on port {server.redirect_server.port}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(*map(int, sys.argv[1:])))
    except KeyboardInterrupt:
        print()
