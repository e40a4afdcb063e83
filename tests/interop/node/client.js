// A client on @bacnet-js/client, which calls what it is told to, and tells of what comes in: `client.js ADDRESS PORT`.
'use strict';

const {default: Client, ConfirmedServiceChoice} = require('@bacnet-js/client');
const {say, answer} = require('./lines.js');

const EVENTS = ['iAm', 'iHave', 'covNotify', 'covNotifyUnconfirmed'];

const client = new Client({
  interface: process.argv[2],
  port: Number(process.argv[3]),
  broadcastAddress: '127.255.255.255',
  apduTimeout: 3000,
});
for (const event of EVENTS) {
  client.on(event, ({header, payload, invokeId}) => {
    if (event === 'covNotify') {
      client.simpleAckResponse(header.sender, ConfirmedServiceChoice.CONFIRMED_COV_NOTIFICATION, invokeId);
    }
    say({event, from: header.sender, payload});
  });
}
client.on('error', (error) => say({event: 'failed', payload: error.message}));
client.on('listening', () => say({event: 'ready'}));
answer((call, given) => client[call](...given));
