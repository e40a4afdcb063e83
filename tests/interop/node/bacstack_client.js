// A client on bacstack, which calls what it is told to, and tells of what comes in: `bacstack_client.js ADDRESS PORT`.
'use strict';

const {promisify} = require('node:util');
const Client = require('bacstack');
const {say, answer} = require('./lines.js');

const WITHOUT_ANSWER = ['whoIs', 'timeSync', 'timeSyncUTC'];
const CONFIRMED_COV_NOTIFICATION = 1;

const client = new Client({
  interface: process.argv[2],
  port: Number(process.argv[3]),
  broadcastAddress: '127.255.255.255',
  apduTimeout: 3000,
});
client.on('iAm', (payload) => say({event: 'iAm', from: {address: payload.address}, payload}));
client.on('covNotifyUnconfirmed', ({address, request}) => {
  say({event: 'covNotifyUnconfirmed', from: {address}, payload: request});
});
client.on('covNotify', ({address, invokeId, request}) => {
  client.simpleAckResponse(address, CONFIRMED_COV_NOTIFICATION, invokeId);
  say({event: 'covNotify', from: {address}, payload: request});
});
client.on('error', (error) => say({event: 'failed', payload: error.message}));
client._transport._server.on('listening', () => say({event: 'ready'}));
answer((call, given) => {
  const method = client[call].bind(client);
  return WITHOUT_ANSWER.includes(call) ? method(...given) : promisify(method)(...given);
});
