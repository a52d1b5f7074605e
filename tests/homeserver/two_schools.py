"""Two schools of one trust and a practice outside it, for tests of the module: small, with somebody for every rule."""

from collections.abc import Iterable

from policy.model import UserId
from policy.rooms import CHAT, DRAFT
from policy.template import power_levels
from tests.homeserver.matrix_client import Client

SERVER = "qwil.test"


def person(identifier: str, role: str, **more: str) -> str:
    """A line of `people`, of somebody with the account @identifier."""
    fields = {"name": identifier.title(), "role": role, "matrix": f'"@{identifier}:{SERVER}"', **more}
    if role == "staff" or "email" in more:
        fields.setdefault("email", f"{identifier}@school.example")
    fields.setdefault("email", f"{identifier}@home.example")
    return f"      {identifier}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}\n"


def people(lines: Iterable[str]) -> str:
    return "    people:\n" + "".join(lines)


HILLSIDE = [
    person("head", "staff", name="Helen Head", admin="system"),
    person("okafor", "staff", name="Tom Okafor"),
    person("lowe", "staff", name="Mary Lowe"),
    person("chan", "client", name="Pat Chan"),
    person("diaz", "client", name="Pia Diaz"),
    person("north", "client", name="Paul North"),
    person("rest", "staff", name="Sue Rest", status="suspended"),
]
RIVERSIDE = [
    person("ode", "staff", name="Ben Ode", admin="system"),
    person("reed", "staff", name="Ria Reed"),
]
COMPASS = [person("kemp", "staff", name="Kay Kemp", admin="system")]


def policy(
    *,
    hillside: Iterable[str] = HILLSIDE,
    network: str = "oakfield",
    year_1: str = "head, okafor, chan, diaz",
    more: str = "",
) -> str:
    """The policy's text."""
    return (
        "networks:\n"
        "  oakfield: {name: Oakfield Learning Trust}\n"
        "  compass: {name: Compass Group}\n"
        "organisations:\n"
        "  hillside:\n"
        "    name: Hillside Primary\n"
        "    network: oakfield\n"
        f"    mobile: optional\n{more}"
        f"{people(hillside)}"
        "    books:\n"
        f"      year-1: {{name: Year 1, members: [{year_1}]}}\n"
        "      year-5: {name: Year 5, members: [lowe, north]}\n"
        "  riverside:\n"
        "    name: Riverside Academy\n"
        f"    network: {network}\n"
        "    mobile: optional\n"
        f"{people(RIVERSIDE)}"
        "    books: {}\n"
        "  compass:\n"
        "    name: Compass Advisers\n"
        "    network: compass\n"
        "    mobile: optional\n"
        f"{people(COMPASS)}"
        "    books: {}\n"
    )


async def tighten(bot: Client, room: str, *staff: Client) -> None:
    """What the bridge does with a new chat: enter it and give everybody their power."""
    await bot.join(room)
    await bot.set_state(
        room, "m.room.power_levels", power_levels(UserId(bot.user_id), [UserId(one.user_id) for one in staff])
    )


async def activate(bot: Client, room: str) -> None:
    """What the bridge does after the first message."""
    await bot.set_state(room, CHAT, {**await bot.state(room, CHAT), "draft": False})
    await bot.set_state(room, DRAFT, {})


async def open_chat(
    bot: Client, creator: Client, *others: Client, staff: Iterable[Client] = (), **request: object
) -> str:
    """An active chat: asked for, tightened, first message sent."""
    room = await creator.create_room(*(other.user_id for other in others), **request)
    await tighten(bot, room, *staff)
    await creator.send(room, "Good morning")
    await activate(bot, room)
    return room
