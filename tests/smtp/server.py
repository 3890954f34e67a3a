"""A mail server for one test: tells on standard output where it listens, and each mail it takes, as JSON lines.

Arguments: `starttls`, `tls` or `plain`; a port, 0 for any; certificate and key. Recipients say what it answers:
`later-…` is refused for now the first time, `never-…` for good, `slow-…` is kept waiting.
"""

import asyncio
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

NAME, PASSWORD = b"gate", b"mail-password"
put_off = set()


def tell(**what):
    print(json.dumps(what), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("never-"):
            return "550 5.1.1 nobody of that name"
        if address.startswith("later-") and address not in put_off:
            put_off.add(address)
            return "451 4.3.0 not now"
        if address.startswith("slow-"):
            await asyncio.sleep(60)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        tell(
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            secure=session.ssl is not None or mode == "tls",
            user=session.auth_data.login.decode() if session.auth_data else None,
            data=envelope.content.decode("utf-8", "replace"),
        )
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and data == LoginPassword(NAME, PASSWORD)
    return AuthResult(success=right, handled=False, auth_data=data if right else None)


async def main():
    context = None
    if mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])

    def session():
        return SMTP(
            Handler(),
            hostname="localhost",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate,
            auth_required=mode != "plain",
            auth_require_tls=mode == "starttls",
            enable_SMTPUTF8=True,
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", int(sys.argv[2]), ssl=context if mode == "tls" else None
    )
    tell(port=server.sockets[0].getsockname()[1])
    # Whoever started it is gone when standard input ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# The package speaks of what it will do without, and of each client that does not trust it.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
mode = sys.argv[1]
asyncio.run(main())
