"""A network that spans two homeservers: what the other one sends is under the same policy.

Both run here and speak TLS with certificates of a throw-away authority; only the first has the module.
"""

import datetime
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.demo.homeserver import Homeserver, free_port
from policy.model import UserId
from policy.rooms import CHAT, DRAFT
from policy.template import power_levels
from tests.homeserver.conftest import Connect
from tests.homeserver.matrix_client import Client, eventually, refusal_of

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
    }


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("two")
    tls = certificate(folder)
    ports = [free_port() for _ in range(4)]
    ours, theirs = f"localhost:{ports[1]}", f"localhost:{ports[3]}"
    file = folder / "policy.yaml"
    file.write_text(policy(ours, theirs))
    module = {"policy": str(file), "bot": f"@qwil:{ours}"}
    here = Homeserver(
        folder / "ours", server_name=ours, port=ports[0], module=module, settings=settings(ports[0], ports[1], tls)
    )
    there = Homeserver(folder / "theirs", server_name=theirs, port=ports[2], settings=settings(ports[2], ports[3], tls))
    async with here, there:
        yield here, there


def policy(ours: str, theirs: str) -> str:
    return (
        "networks: {oak: {name: Oak}}\n"
        "organisations:\n"
        "  hill:\n    name: Hill\n    network: oak\n    mobile: optional\n    books: {}\n    people:\n"
        f'      head: {{name: Helen, role: staff, admin: system, email: h@x.example, matrix: "@head:{ours}"}}\n'
        f'      tom: {{name: Tom, role: staff, email: t@x.example, matrix: "@tom:{ours}"}}\n'
        "  river:\n    name: River\n    network: oak\n    mobile: optional\n    books: {}\n    people:\n"
        f'      ben: {{name: Ben, role: staff, admin: system, email: b@y.example, matrix: "@ben:{theirs}"}}\n'
        f'      ria: {{name: Ria, role: staff, email: r@y.example, matrix: "@ria:{theirs}"}}\n'
    )


@pytest.fixture(scope="module")
async def people(servers: tuple[Homeserver, Homeserver], connect: Connect) -> People:
    here, there = servers
    ours = {name: await connect(here, name) for name in ("head", "tom", "qwil")}
    return ours | {name: await connect(there, name) for name in ("ben", "ria", "eve")}


@pytest.fixture(scope="module")
async def room(people: People) -> str:
    """An active chat of both servers."""
    head, ben, bot = people["head"], people["ben"], people["qwil"]
    room = await head.create_room(ben.user_id, name="Concert")
    await bot.join(room)
    staff = [UserId(head.user_id), UserId(ben.user_id)]
    await bot.set_state(room, "m.room.power_levels", power_levels(UserId(bot.user_id), staff))
    await head.send(room, "Shall we play together?")
    await bot.set_state(room, CHAT, {**await bot.state(room, CHAT), "draft": False})
    await head.invite(room, ben.user_id)
    await bot.set_state(room, DRAFT, {})
    await eventually(lambda: ben.request("POST", f"join/{quote(room)}"), lambda answer: answer.status == 200)
    return room


async def test_colleagues_on_the_other_server_take_part(people: People, room: str) -> None:
    head, ben = people["head"], people["ben"]

    assert (await head.state(room, "m.room.create"))["m.federate"] is True
    await ben.send(room, "Gladly")

    await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("body") == "Gladly")


async def test_what_the_other_servers_people_may_not_do_is_not_taken_over(people: People, room: str) -> None:
    head, ben, eve = people["head"], people["ben"], people["eve"]

    await ben.invite(room, eve.user_id)
    await ben.send_event(room, "m.room.encrypted", {"algorithm": "x", "ciphertext": "y"})
    await eve.join(room)
    await eve.send(room, "I am here as well")
    await ben.send(room, "Last word")

    await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("body") == "Last word")
    assert eve.user_id not in await head.members(room)
    assert eve.user_id not in await head.members(room, "invite")
    seen = await head.messages(room)
    assert "m.room.encrypted" not in {event["type"] for event in seen if event["sender"] == ben.user_id}
    assert not [event for event in seen if event["sender"] == eve.user_id]


async def test_strangers_on_other_servers_invite_nobody_here(people: People) -> None:
    tom, eve, ria = people["tom"], people["eve"], people["ria"]

    refused = await refusal_of(eve.create_room(tom.user_id))
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    assert "people of their own network" in refused.error

    theirs = await ria.create_room(tom.user_id)
    await tom.ask("POST", f"join/{quote(theirs)}", server_name=ria.homeserver.server_name)


async def test_rooms_of_other_servers_are_not_entered_uninvited(people: People) -> None:
    tom, eve = people["tom"], people["eve"]
    public = await eve.create_room(preset="public_chat")

    answer = await tom.request("POST", f"join/{quote(public)}", server_name=eve.homeserver.server_name)

    assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", ["PART-1"])


async def test_chats_of_a_network_on_one_server_stay_on_it(people: People) -> None:
    assert (await refusal_of(people["head"].create_room(people["eve"].user_id))).rules == ["DIR-4"]
