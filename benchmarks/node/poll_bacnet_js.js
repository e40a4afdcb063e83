// @bacnet-js/client reads k present-values a request, for so many seconds.
'use strict';

const {default: Client, ObjectType, PropertyIdentifier} = require('@bacnet-js/client');
const {address, port, numbers, contend} = require('./contender.js');

// Its list of requests by time keeps those that are answered; when their time-out comes, it forgets requests under way
// that have the same invoke ids, which then wait for ever. So no time-out comes within a run.
const client = new Client({
  port: 47856,
  interface: '127.0.0.56',
  broadcastAddress: '127.255.255.255',
  apduTimeout: 600_000,
});
const there = {address: `${address}:${port}`};
const wanted = numbers.map((instance) => ({
  objectId: {type: ObjectType.ANALOG_INPUT, instance},
  properties: [{id: PropertyIdentifier.PRESENT_VALUE}],
}));

client.on('error', (error) => { throw error; });
client.once('listening', () => contend(
  (done) => client.readPropertyMultiple(there, wanted).then((answer) => done(null, answer), done),
  (answer) => answer.values.flatMap((item) => item.values.map((property) => property.value[0].value)),
));
