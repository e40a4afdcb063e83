"""A virtual BACnet router: the devices of one network behind one address (ASHRAE 135, clause 6)."""

from __future__ import annotations

from bacpypes3.apdu import UnconfirmedRequestPDU, WhoIsRequest
from bacpypes3.comm import Client, Server
from bacpypes3.npdu import NPDU, IAmRouterToNetwork, RejectMessageToNetwork, WhoIsRouterToNetwork
from bacpypes3.pdu import PCI, PDU, Address, LocalStation, RemoteStation

UNKNOWN_NETWORK = 1
WHO_IS = bytes((UnconfirmedRequestPDU.pduType << 4, WhoIsRequest.service_choice))


class Port(Server):  # type: ignore[misc]
    """Where a device is plugged into the virtual network; ``mac`` is its address there."""

    def __init__(self, router: VirtualRouter, mac: bytes) -> None:
        super().__init__()
        self.mac = LocalStation(mac)
        self._router = router

    async def indication(self, pdu: PDU) -> None:
        """Send what the device has to say."""
        await self._router.send(self, pdu)


class VirtualRouter(Client):  # type: ignore[misc]
    """Passes messages between the outside and the devices of network number ``network``.

    Unlike a plain router it hands a Who-Is without a destination network to all of its devices, so that a client that
    knows only this address finds them all.
    """

    def __init__(self, network: int) -> None:
        super().__init__()
        self.network = network
        self._ports: dict[bytes, Port] = {}
        self._ways_back: dict[int, Address] = {}

    def plug_in(self, mac: bytes) -> Port:
        """Add a device's place on the virtual network."""
        port = Port(self, mac)
        self._ports[mac] = port
        return port

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
        message.npduSADR = RemoteStation(self.network, port.mac.addrAddr)
        if pdu.pduDestination.is_remotestation:
            message.npduDADR = pdu.pduDestination
            message.pduDestination = self._ways_back[pdu.pduDestination.addrNet]
        await self.request(message.encode())

    async def _receivers(self, message: NPDU) -> list[Port]:
        destination = message.npduDADR
        everybody = list(self._ports.values())
        if destination is None:
            return everybody if bytes(message.pduData[:2]) == WHO_IS else []
        if destination.is_globalbroadcast:
            return everybody
        if destination.addrNet != self.network:
            await self._refuse(message, destination.addrNet)
            return []
        if destination.is_remotebroadcast:
            return everybody
        port = self._ports.get(bytes(destination.addrAddr))
        return [port] if port else []

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
