"""A virtual BACnet router: the devices of its networks behind one address (ASHRAE 135, clause 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bacpypes3.comm import Client, Server
from bacpypes3.npdu import NPDU, IAmRouterToNetwork, RejectMessageToNetwork, WhoIsRouterToNetwork
from bacpypes3.pdu import PCI, PDU, Address, LocalStation, RemoteStation

from plugins.bacnet.wire.npdu import Place
from plugins.simulator.server.station import Station

UNKNOWN_NETWORK = 1


class Port(Server):  # type: ignore[misc]
    """Where a device is plugged in, as it is in one edition of its.

    ``mac`` is its address on the virtual network, None: none, but the router's. ``build`` puts an application onto the
    port when the first message for it comes.
    """

    def __init__(self, router: VirtualRouter, station: Station, build: Callable[[Port], object]) -> None:
        super().__init__()
        self.station = station
        self.edition = station.edition
        self.mac = None if station.address is None else LocalStation(station.address.mac)
        self.awake = False
        self._router = router
        self._build = build

    def wake(self) -> None:
        """Make sure that there is an application."""
        if not self.awake:
            self._build(self)
            self.awake = True

    def renewed(self) -> Port:
        """Return this port or, where the device has become another since, one like it without an application."""
        if self.edition == self.station.edition:
            return self
        return Port(self._router, self.station, self._build)

    async def indication(self, pdu: PDU) -> None:
        """Send what the device has to say, unless it has become another since."""
        if self.edition == self.station.edition:
            await self._router.send(self, pdu)


class VirtualRouter(Client):  # type: ignore[misc]
    """Passes messages between the outside and the devices of the networks with these numbers.

    Unlike a plain router it hands a Who-Is without a destination network to all of its devices, so that a client that
    knows only this address finds them all. All else without a destination network is for the device that stands on the
    router's own address, if there is one. What is for everybody reaches those devices that have an application already:
    Who-Is and Who-Has, which alone are answered, are the fast half's business.
    """

    def __init__(self, networks: Iterable[int]) -> None:
        super().__init__()
        self.networks = tuple(networks)
        self._ports: dict[Place | None, Port] = {}
        self._ways_back: dict[int, Address] = {}

    def plug_in(self, station: Station, build: Callable[[Port], object]) -> None:
        """Add a device at its place; one without a place stands on the router's own."""
        self._ports[station.address] = Port(self, station, build)

    async def confirmation(self, pdu: PDU) -> None:
        """Take a message from the outside."""
        message = NPDU.decode(pdu)
        message.pduSource = pdu.pduSource
        if message.npduNetMessage is not None:
            await self._answer_network_message(message)
            return
        source = message.pduSource
        if message.npduSADR is not None:
            source = message.npduSADR
            self._ways_back[source.addrNet] = message.pduSource
        for port in await self._receivers(message):
            await port.response(PDU(message.pduData, source=source, destination=port.mac))

    async def send(self, port: Port, pdu: PDU) -> None:
        """Send a device's message to the outside: straight back, or by the router through which the client came."""
        message = NPDU(pdu.pduData)
        PCI.update(message, pdu)
        message.npduHopCount = 255
        if port.station.address is not None:
            message.npduSADR = RemoteStation(*port.station.address)
        if pdu.pduDestination.is_remotestation:
            message.npduDADR = pdu.pduDestination
            message.pduDestination = self._ways_back[pdu.pduDestination.addrNet]
        await self.request(message.encode())

    async def _receivers(self, message: NPDU) -> list[Port]:
        destination = message.npduDADR
        if destination is None:
            return self._awake(None)
        if destination.is_globalbroadcast:
            return [port for place, port in self._ports.items() if port.awake and place is not None]
        if destination.addrNet not in self.networks:
            await self._refuse(message, destination.addrNet)
            return []
        if destination.is_remotebroadcast:
            return [port for place, port in self._ports.items() if port.awake and _is_on(destination.addrNet, place)]
        return self._awake(Place(destination.addrNet, bytes(destination.addrAddr)))

    def _awake(self, place: Place | None) -> list[Port]:
        port = self._ports.get(place)
        if port is None:
            return []
        port.station.refresh()
        port = self._ports[place] = port.renewed()
        port.wake()
        return [port]

    async def _answer_network_message(self, message: NPDU) -> None:
        if message.npduNetMessage != WhoIsRouterToNetwork.pduType:
            return
        wanted = WhoIsRouterToNetwork.decode(message).wirtnNetwork
        found = [network for network in self.networks if wanted in (None, network)]
        if found:
            await self.request(IAmRouterToNetwork(found, destination=message.pduSource).encode())

    async def _refuse(self, message: NPDU, network: int) -> None:
        if message.npduDADR.is_remotestation:
            refusal = RejectMessageToNetwork(UNKNOWN_NETWORK, network, destination=message.pduSource)
            await self.request(refusal.encode())


def _is_on(network: int, place: Place | None) -> bool:
    return place is not None and place.network == network
