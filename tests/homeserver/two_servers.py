"""Two homeservers that speak TLS with certificates of a throw-away authority; only the first has the module.

The second is there twice: as itself, with its clients, and as `Peer`, which asks the first in its name and with its
key, word for word as a test wants.
"""

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from signedjson.key import read_signing_keys
from signedjson.sign import sign_json
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import add_hashes_and_signatures

from bridge.demo.homeserver import Homeserver, free_port
from policy.model import UserId
from policy.rooms import CHAT, DRAFT
from policy.template import power_levels
from tests.homeserver.matrix_client import Answer, Client, eventually, in_force

People = Mapping[str, Client]


def certificate(folder: Path) -> Mapping[str, str]:
    """A certificate for localhost and its own authority; the paths of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "tls.pem", folder / "tls.key"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    return {"tls_certificate_path": str(pem), "tls_private_key_path": str(secret)}


def settings(client: int, federation: int, tls: Mapping[str, str]) -> dict[str, Any]:
    def listener(port: int, name: str, secure: bool) -> dict[str, Any]:
        resources = [{"names": [name]}]
        return {"port": port, "type": "http", "tls": secure, "bind_addresses": ["127.0.0.1"], "resources": resources}

    return {
        **tls,
        "listeners": [listener(client, "client", False), listener(federation, "federation", True)],
        "federation_custom_ca_list": [tls["tls_certificate_path"]],
        "federation_domain_whitelist": None,
        "ip_range_whitelist": ["127.0.0.1/32", "::1/128"],
        "serve_server_wellknown": False,
        # A server that was away for a moment is tried again at once, and not left alone for ten minutes.
        "federation": {"destination_min_retry_interval": "1s", "destination_max_retry_interval": "2s"},
    }


@dataclass(frozen=True)
class TwoServers:
    """Ours with the module, theirs without; `policy` is the file that ours follows."""

    here: Homeserver
    there: Homeserver
    policy: Path
    certificate: Path

    async def follow(self, bot: Client, **people: str) -> None:
        """Put another policy in place, see `policy`, and wait until it is in force."""
        await self.obey(bot, policy(self.here.server_name, self.there.server_name, **people))

    async def obey(self, bot: Client, text: str) -> None:
        """The same with a policy of any text."""
        fresh = self.policy.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.policy)
        await in_force(bot, text)


def two_servers(folder: Path, *, postgres: str | None = None) -> TwoServers:
    """Not started yet; ours on that database, or like the other one on SQLite."""
    tls = certificate(folder)
    ports = [free_port() for _ in range(4)]
    ours, theirs = f"localhost:{ports[1]}", f"localhost:{ports[3]}"
    file = folder / "policy.yaml"
    file.write_text(policy(ours, theirs))
    here = Homeserver(
        folder / "ours",
        server_name=ours,
        port=ports[0],
        module={"policy": str(file), "bot": f"@qwil:{ours}"},
        postgres=postgres,
        settings=settings(ports[0], ports[1], tls),
    )
    there = Homeserver(folder / "theirs", server_name=theirs, port=ports[2], settings=settings(ports[2], ports[3], tls))
    return TwoServers(here, there, file, Path(tls["tls_certificate_path"]))


def policy(ours: str, theirs: str, *, ben: str = "active") -> str:
    """The policy's text: two schools of a network, one on each server. `ben` is Ben's status."""
    return (
        "networks: {oak: {name: Oak}}\n"
        "organisations:\n"
        "  hill:\n    name: Hill\n    network: oak\n    mobile: optional\n    books: {}\n    people:\n"
        f'      head: {{name: Helen, role: staff, admin: system, email: h@x.example, matrix: "@head:{ours}"}}\n'
        f'      tom: {{name: Tom, role: staff, email: t@x.example, matrix: "@tom:{ours}"}}\n'
        "  river:\n    name: River\n    network: oak\n    mobile: optional\n    books: {}\n    people:\n"
        f'      rob: {{name: Rob, role: staff, admin: system, email: o@y.example, matrix: "@rob:{theirs}"}}\n'
        f'      ben: {{name: Ben, role: staff, status: {ben}, email: b@y.example, matrix: "@ben:{theirs}"}}\n'
        f'      ria: {{name: Ria, role: staff, email: r@y.example, matrix: "@ria:{theirs}"}}\n'
    )


async def shared_chat(bot: Client, ours: Client, theirs: Client) -> str:
    """An active chat of somebody on each server."""
    room = await ours.create_room(theirs.user_id, name="Concert")
    await bot.join(room)
    staff = [UserId(ours.user_id), UserId(theirs.user_id)]
    await bot.set_state(room, "m.room.power_levels", power_levels(UserId(bot.user_id), staff))
    await ours.send(room, "Shall we play together?")
    await bot.set_state(room, CHAT, {**await bot.state(room, CHAT), "draft": False})
    await ours.invite(room, theirs.user_id)
    await bot.set_state(room, DRAFT, {})
    await eventually(lambda: theirs.request("POST", f"join/{quote(room)}"), lambda answer: answer.status == 200)
    # Waits until that server has the whole state, of which a join gives it a part: before, it asks nobody.
    await theirs.members(room)
    return room


class Peer:
    """A homeserver as it asks another one: signed with its own key, saying anything."""

    def __init__(self, servers: TwoServers, http: aiohttp.ClientSession) -> None:
        self.name = servers.there.server_name
        self._asked = servers.here.server_name
        (self._key,) = read_signing_keys((servers.there.folder / "signing.key").read_text().splitlines())
        self._tls = ssl.create_default_context(cafile=str(servers.certificate))
        self._http = http

    def event(self, room: str, sender: str, text: str, **fields: Any) -> dict[str, Any]:
        """A message that its server has signed and not sent; keywords replace its fields before."""
        pdu = {
            "type": "m.room.message",
            "room_id": room,
            "sender": sender,
            "content": {"msgtype": "m.text", "body": text},
            "depth": 100,
            "prev_events": [],
            "auth_events": [],
            "origin_server_ts": int(time.time() * 1000),
            **fields,
        }
        add_hashes_and_signatures(KNOWN_ROOM_VERSIONS["11"], pdu, self.name, self._key)
        return pdu

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """A request signed as its server signs them."""
        request = {"method": method, "uri": path, "origin": self.name, "destination": self._asked}
        signed = sign_json(request if body is None else {**request, "content": body}, self.name, self._key)
        ((key, signature),) = signed["signatures"][self.name].items()
        header = f'X-Matrix origin="{self.name}",destination="{self._asked}",key="{key}",sig="{signature}"'
        return await self.say(method, path, None if body is None else json.dumps(body), Authorization=header)

    async def say(self, method: str, path: str, text: str | None, **headers: str) -> Answer:
        """A request of any text."""
        url = f"https://{self._asked}{path}"
        async with self._http.request(method, url, data=text, headers=headers, ssl=self._tls) as response:
            return Answer(response.status, await response.json(content_type=None))
