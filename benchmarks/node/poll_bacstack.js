// bacstack reads k present-values a request, for so many seconds.
'use strict';

const Bacnet = require('bacstack');
const {address, port, numbers, contend} = require('./contender.js');

// It sends to the port that it listens on, whatever is asked: so it has the device's port at an address of its own.
// It does not ask again, so it waits as long as the others do with their retries.
const client = new Bacnet({
  port,
  interface: '127.0.0.57',
  broadcastAddress: '127.255.255.255',
  apduTimeout: 12_000,
});
const wanted = numbers.map((instance) => ({
  objectId: {type: Bacnet.enum.ObjectType.ANALOG_INPUT, instance},
  properties: [{id: Bacnet.enum.PropertyIdentifier.PRESENT_VALUE}],
}));

contend(
  (done) => client.readPropertyMultiple(address, wanted, done),
  (answer) => answer.values.flatMap((item) => item.values.map((property) => property.value[0].value)),
);
