"""A virtual BACnet router: the devices of one network behind one address (ASHRAE 135, clause 6)."""

from __future__ import annotations

from collections.abc import Callable

from bacpypes3.comm import Client, Server
from bacpypes3.npdu import NPDU, IAmRouterToNetwork, RejectMessageToNetwork, WhoIsRouterToNetwork
from bacpypes3.pdu import PCI, PDU, Address, LocalStation, RemoteStation

UNKNOWN_NETWORK = 1


class Port(Server):  # type: ignore[misc]
    """Where a device is plugged into the virtual network; ``mac`` is its address there, None: none, but the router's.

    ``build`` puts an application onto the port when the first message for it comes.
    """

    def __init__(self, router: VirtualRouter, mac: bytes | None, build: Callable[[Port], object]) -> None:
        super().__init__()
        self.mac = None if mac is None else LocalStation(mac)
        self.awake = False
        self._router = router
        self._build = build

    def wake(self) -> None:
        """Make sure that there is an application."""
        if not self.awake:
            self._build(self)
            self.awake = True

    async def indication(self, pdu: PDU) -> None:
        """Send what the device has to say."""
        await self._router.send(self, pdu)


class VirtualRouter(Client):  # type: ignore[misc]
    """Passes messages between the outside and the devices of network number ``network``.

    Unlike a plain router it hands a Who-Is without a destination network to all of its devices, so that a client that
    knows only this address finds them all. All else without a destination network is for the device that stands on the
    router's own address, if there is one. What is for everybody reaches those devices that have an application already:
    Who-Is and Who-Has, which alone are answered, are the fast half's business.
    """

    def __init__(self, network: int) -> None:
        super().__init__()
        self.network = network
        self._ports: dict[bytes, Port] = {}
        self._direct: Port | None = None
        self._ways_back: dict[int, Address] = {}

    def plug_in(self, mac: bytes | None, build: Callable[[Port], object]) -> None:
        """Add a device's place on the virtual network or, without an address, on the router's own."""
        port = Port(self, mac, build)
        if mac is None:
            self._direct = port
        else:
            self._ports[mac] = port

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
        if port.mac is not None:
            message.npduSADR = RemoteStation(self.network, port.mac.addrAddr)
        if pdu.pduDestination.is_remotestation:
            message.npduDADR = pdu.pduDestination
            message.pduDestination = self._ways_back[pdu.pduDestination.addrNet]
        await self.request(message.encode())

    async def _receivers(self, message: NPDU) -> list[Port]:
        destination = message.npduDADR
        if destination is None:
            return _awake(self._direct)
        if destination.is_globalbroadcast or (destination.is_remotebroadcast and destination.addrNet == self.network):
            return [port for port in self._ports.values() if port.awake]
        if destination.addrNet != self.network:
            await self._refuse(message, destination.addrNet)
            return []
        return _awake(self._ports.get(bytes(destination.addrAddr)))

    async def _answer_network_message(self, message: NPDU) -> None:
        if message.npduNetMessage != WhoIsRouterToNetwork.pduType:
            return
        wanted = WhoIsRouterToNetwork.decode(message).wirtnNetwork
        if wanted in (None, self.network):
            await self.request(IAmRouterToNetwork([self.network], destination=message.pduSource).encode())

    async def _refuse(self, message: NPDU, network: int) -> None:
        if message.npduDADR.is_remotestation:
            refusal = RejectMessageToNetwork(UNKNOWN_NETWORK, network, destination=message.pduSource)
            await self.request(refusal.encode())


def _awake(port: Port | None) -> list[Port]:
    if port is None:
        return []
    port.wake()
    return [port]
