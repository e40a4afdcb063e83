// A transport for @bacnet-js/client that is bound to one address and hears what is broadcast, too: its own is bound to
// either the one or the other, and several devices of one machine need both.
'use strict';

const dgram = require('node:dgram');
const {EventEmitter} = require('node:events');

const MOST_OCTETS = 1482; // as its own says

class Sockets extends EventEmitter {
  constructor(address, port, broadcast) {
    super();
    this.own = address;
    this.port = port;
    this.broadcast = broadcast;
  }

  open() {
    this.sockets = [this.own, this.broadcast].map((address) => {
      const socket = dgram.createSocket({type: 'udp4', reuseAddr: address === this.broadcast});
      socket.on('message', (data, from) => {
        if (from.address !== this.own) this.emit('message', data, `${from.address}:${from.port}`);
      });
      socket.on('error', (error) => this.emit('error', error));
      return new Promise((resolve) => socket.bind(this.port, address, () => resolve(socket)));
    });
    Promise.all(this.sockets).then((opened) => {
      this.sockets = opened;
      opened[0].setBroadcast(true);
      this.emit('listening');
    });
  }

  send(buffer, length, receiver) {
    const [address, port] = (receiver ?? this.broadcast).split(':');
    this.sockets[0].send(buffer, 0, length, Number(port ?? this.port), address);
  }

  getMaxPayload() {
    return MOST_OCTETS;
  }

  getBroadcastAddress() {
    return this.broadcast;
  }

  close() {
    for (const socket of this.sockets) socket.close();
  }
}

module.exports = {Sockets};
