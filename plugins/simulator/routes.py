"""REST: the simulated devices, and what is made to go wrong with them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from aiohttp import web

from core.api.lists import ListAnswer
from core.cursors import Cursors, keyset
from core.errors import Conflict, DeviceNotFound, InvalidCursor
from core.plugin import FieldInfo, Header, Link, Role, Route
from core.serialize import UNSET, dumps, field
from plugins.simulator.errors import BuildingAway, FaultNotFound
from plugins.simulator.faults import HIGHEST_INSTANCE, Fault, FaultKind
from plugins.simulator.process import Supervisor

LONGEST_RESTART_S = 3600.0

_FAULT = {"fault_id": FieldInfo(description="The number that it was given.", pattern="[0-9]+", example="1")}
_INSTANCE = {"instance": FieldInfo(description="The device's number on the network.", example="2004")}
_LOCATION = Header("Location", FieldInfo(description="Where the fault is.", example="/api/v1/simulator/faults/1"))
_DIGITS = 9
_REBOOT = "/devices/{instance}/reboot"
_ONE_FAULT = "/faults/{fault_id:[0-9]+}"  # digits, so that it is apart from /faults/reset


@attrs.frozen(kw_only=True)
class PageQuery:
    """Which part of a list is wanted."""

    limit: int = field(default=100, min=1, max=1000, description="How many items to answer at most.", example=100)
    cursor: str | None = field(
        default=None, max_length=4000, format="cursor", description="The `next_cursor` of the page before.",
        example="Zkc0NXhPQlZ4cjJ5c1hBbyIxIg",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class SimulatedDeviceAnswer:
    """A simulated device, as it presents itself at present."""

    instance: int = field(description="Its number on the network.", example=2004)
    name: str = field(example="VAV-1-01")
    vendor: str = field(example="Northgate Controls")
    model: str = field(example="RoomBox 20")
    network: int = field(description="The network that it is on; 0: on the router's own address.", example=2001)
    address: str = field(description="Its address there, in hex.", example="04")
    max_apdu: int = field(description="The longest message that it takes, in octets.", example=480)
    segmentation: bool = field(description="Whether it takes and sends messages in pieces.", example=False)
    objects: int = field(description="How many objects it has beside the Device object.", example=22)
    subscriptions: int = field(description="How many change-of-value subscriptions it has.", example=3)
    restarting: bool = field(description="Whether it is away since it restarts.", example=False)
    faults: Sequence[str] = field(description="The ids of the faults that it has.", example=["1"])


@attrs.frozen(kw_only=True)
class InjectedFaultAnswer:
    """A fault; what its kind does not take is null or empty."""

    id: str = field(example="1")
    kind: FaultKind = field(description="What goes wrong.", example="delay")
    devices: Sequence[str | int] = field(description="Numbers and ranges; none: all devices.", example=["2004-2010"])
    probability: float | None = field(description="In which share of the cases; null: in all.")
    seconds: float | None = field(description="The delay, or by how much the clock is fast.", example=0.5)
    jitter: float | None = field(description="So many seconds more at random.", example=0.1)
    reason: str | None = field(description="Of aborts and rejects.")
    services: Sequence[str] = field(description="Which are refused; none: all.", example=[])
    error_class: str | None = field(description="Of errors.")
    error_code: str | None = field(description="Of errors.")
    objects: Sequence[str] = field(description="Which objects are concerned.", example=[])
    octets: int | None = field(description="The longest message that is taken.")
    count: int | None = field(description="How many subscriptions are taken.")
    instance: int | None = field(description="The other number that is claimed.")


@attrs.frozen(kw_only=True)
class RebootBody:
    """How a device restarts."""

    seconds: float = field(default=5.0, min=0, max=LONGEST_RESTART_S, description="How long it is away.", example=5)
    forget_commands: bool = field(
        default=False, description="Whether its priority arrays are empty then.", example=False
    )


class SimulatorRoutes:
    """The routes below ``name``; what they change, the supervisor changes in the building's process."""

    def __init__(self, name: str, supervisor: Supervisor) -> None:
        self._at = f"/api/v1/{name}"
        self._supervisor = supervisor
        self._cursors = Cursors(secrets.token_bytes(16))

    @property
    def routes(self) -> list[Route]:
        """Look at devices and faults, add faults and take them back, restart devices."""
        return [
            Route(
                "GET", "/devices", self.devices, "List the simulated devices", query=PageQuery,
                answer=ListAnswer[SimulatedDeviceAnswer], errors=(InvalidCursor, BuildingAway),
                links=(
                    Link("POST", f"{self._at}{_REBOOT}", {"instance": "$response.body#/items/0/instance"}),
                ),
                description="In the order of their numbers.",
            ),
            Route(
                "GET", "/faults", self.faults, "List the faults", query=PageQuery,
                answer=ListAnswer[InjectedFaultAnswer], errors=(InvalidCursor,),
                description="Those of the configuration and those that were added since, oldest first.",
            ),
            Route(
                "POST", "/faults", self.inject, "Let something go wrong", body=Fault, answer=InjectedFaultAnswer,
                status=201, role=Role.OPERATOR, errors=(Conflict, BuildingAway), sends=(_LOCATION,),
                links=tuple(
                    Link(method, f"{self._at}{_ONE_FAULT}", {"fault_id": "$response.body#/id"})
                    for method in ("GET", "DELETE")
                ),
                description="It lasts until it is taken back or Plantroom stops, over restarts of the building too.",
            ),
            Route(
                "GET", _ONE_FAULT, self.fault, "Show a fault", answer=InjectedFaultAnswer,
                errors=(FaultNotFound,), parameters=_FAULT,
                description="What goes wrong, and with which devices.",
            ),
            Route(
                "DELETE", _ONE_FAULT, self.take_back, "Take a fault back", status=204,
                role=Role.OPERATOR, errors=(FaultNotFound, BuildingAway), parameters=_FAULT,
                description="The devices concerned are well again at once, as far as it goes.",
            ),
            Route(
                "POST", "/faults/reset", self.reset, "Take all faults back", status=204,
                role=Role.OPERATOR, errors=(BuildingAway,),
                description="Those of the configuration as well, until Plantroom is started anew.",
            ),
            Route(
                "POST", _REBOOT, self.reboot, "Restart a device", body=RebootBody,
                answer=SimulatedDeviceAnswer, role=Role.OPERATOR, errors=(DeviceNotFound, BuildingAway),
                parameters=_INSTANCE,
                description="It is silent for a while, has lost its subscriptions then, and announces itself by I-Am.",
            ),
        ]  # fmt: skip

    async def devices(self, _request: web.Request, *, query: PageQuery) -> ListAnswer[SimulatedDeviceAnswer]:
        """Answer a page of devices."""
        after = self._after(query, "devices")
        page = await self._supervisor.ask("devices", after=-1 if after is None else int(after), limit=query.limit)
        items = [self._device(each) for each in page["items"]]
        last = f"{items[-1].instance:0{_DIGITS}}" if page["more"] else None
        return self._listed(items, last, "devices")

    async def faults(self, _request: web.Request, *, query: PageQuery) -> ListAnswer[InjectedFaultAnswer]:
        """Answer a page of faults."""
        found = self._supervisor.faults.all
        keys = [f"{int(fault_id):0{_DIGITS}}" for fault_id in found]
        rows, last = keyset(
            keys, lambda key: str(int(key)), after=self._after(query, "faults"), limit=query.limit, descending=False
        )
        return self._listed([_answer(fault_id, found[fault_id]) for fault_id in rows], last, "faults")

    async def inject(self, _request: web.Request, *, body: Fault) -> web.Response:
        """Add a fault."""
        fault_id = await self._supervisor.inject(body)
        return web.Response(
            status=201,
            body=dumps(_answer(fault_id, body)),
            content_type="application/json",
            headers={"Location": f"{self._at}/faults/{fault_id}"},
        )

    async def fault(self, _request: web.Request, *, fault_id: str) -> InjectedFaultAnswer:
        """Answer a fault."""
        return _answer(fault_id, self._supervisor.faults.get(fault_id))

    async def take_back(self, _request: web.Request, *, fault_id: str) -> None:
        """Let a fault be no more."""
        await self._supervisor.take_back(fault_id)

    async def reset(self, _request: web.Request) -> None:
        """Let there be no faults."""
        await self._supervisor.reset()

    async def reboot(self, _request: web.Request, *, instance: str, body: RebootBody) -> SimulatedDeviceAnswer:
        """Restart a device and answer how it is then."""
        number = int(instance) if instance.isascii() and instance.isdigit() and len(instance) < _DIGITS else -1
        known = 0 <= number <= HIGHEST_INSTANCE and await self._supervisor.ask(
            "reboot", instance=number, seconds=body.seconds, forget_commands=body.forget_commands
        )
        if not known:
            raise DeviceNotFound(f"There is no simulated device {instance}; see GET {self._at}/devices.")
        return self._device(await self._supervisor.ask("device", instance=number))

    def _after(self, query: PageQuery, name: str) -> str | None:
        return None if query.cursor is None else str(self._cursors.read(query.cursor, name.encode()))

    def _listed(self, items: Sequence[Any], last: str | None, name: str) -> ListAnswer[Any]:
        cursor = None if last is None else self._cursors.write(last, name.encode())
        return ListAnswer(items=items, next_cursor=cursor, total=UNSET)

    def _device(self, told: Mapping[str, Any]) -> SimulatedDeviceAnswer:
        faults = self._supervisor.faults.all.items()
        return SimulatedDeviceAnswer(
            **told, faults=[fault_id for fault_id, fault in faults if fault.concerns(told["instance"])]
        )


def _answer(fault_id: str, fault: Fault) -> InjectedFaultAnswer:
    return InjectedFaultAnswer(id=fault_id, **{each.name: getattr(fault, each.name) for each in attrs.fields(Fault)})
