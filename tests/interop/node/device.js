// A device on @bacnet-js/client, which decodes the requests and leaves the answers to us: `device.js DESCRIPTION`, JSON.
'use strict';

const {
  default: Client,
  ConfirmedServiceChoice: Service,
  ErrorClass,
  ErrorCode,
  ObjectType,
  PropertyIdentifier: Property,
  Segmentation,
} = require('@bacnet-js/client');
const {say, answer} = require('./lines.js');
const {BacnetObject, Refusal, deviceObject} = require('./objects.js');
const {Sockets} = require('./sockets.js');

const ANY_DEVICE = 4194303;
const GROUPS = [Property.ALL, Property.REQUIRED, Property.OPTIONAL];

const {address, port, broadcast, instance, name, objects, without = []} = JSON.parse(process.argv[2]);
const others = objects.map((object) => new BacnetObject(object));
const all = [deviceObject(instance, name, others), ...others];
const subscriptions = new Map();
const client = new Client({transport: new Sockets(address, port, broadcast), apduTimeout: 1000});

function find({type, instance: number}) {
  const wanted = type === ObjectType.DEVICE && number === ANY_DEVICE ? instance : number;
  const found = all.find(({id}) => id.type === type && id.instance === wanted);
  if (found === undefined) throw new Refusal(ErrorClass.OBJECT, ErrorCode.UNKNOWN_OBJECT);
  return found;
}

/** Say whether a Who-Is or Who-Has is for us, too. */
function meant({lowLimit = 0, highLimit = ANY_DEVICE}) {
  return lowLimit <= instance && instance <= highLimit;
}

function notify(object) {
  for (const {receiver, monitored, process: id, confirmed, ends} of subscriptions.values()) {
    if (monitored.type !== object.id.type || monitored.instance !== object.id.instance) continue;
    const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
    if (confirmed) {
      client
        .confirmedCOVNotification(receiver, object.id, id, instance, left, object.reported)
        .then(() => say({event: 'acknowledged'}), (error) => say({event: 'unacknowledged', payload: error.message}));
    } else {
      client.unconfirmedCOVNotification(receiver, id, instance, object.id, left, object.reported);
    }
  }
}

function readAll({objectId, properties}) {
  const values = properties.flatMap((property) => {
    try {
      const object = find(objectId);
      const wanted = GROUPS.includes(property.id)
        ? [...object.properties.keys()].map((id) => ({id, index: property.index}))
        : [property];
      return wanted.map((each) => ({property: each, value: object.read(each)}));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const {errorClass, code: errorCode} = error;
      return [{property, value: [{value: {type: 'BacnetError', errorClass, errorCode}}]}];
    }
  });
  return {objectId, values};
}

const SERVICES = {
  readProperty: [Service.READ_PROPERTY, (receiver, invokeId, {objectId, property}) => {
    const object = find(objectId);
    client.readPropertyResponse(receiver, invokeId, object.id, property, object.read(property));
  }],
  readPropertyMultiple: [Service.READ_PROPERTY_MULTIPLE, (receiver, invokeId, {properties}) => {
    client.readPropertyMultipleResponse(receiver, invokeId, properties.map(readAll));
  }],
  writeProperty: [Service.WRITE_PROPERTY, (receiver, invokeId, {objectId, value: {property, value, priority}}) => {
    const object = find(objectId);
    object.write(property, value, priority);
    client.simpleAckResponse(receiver, Service.WRITE_PROPERTY, invokeId);
    notify(object);
  }],
  subscribeCov: [Service.SUBSCRIBE_COV, (receiver, invokeId, payload) => {
    const {subscriberProcessId: id, monitoredObjectId: monitored, lifetime, cancellationRequest: cancelled} = payload;
    const object = find(monitored);
    const key = JSON.stringify([receiver.address, id, monitored]);
    if (cancelled) {
      subscriptions.delete(key);
    } else {
      const confirmed = payload.issueConfirmedNotifications;
      subscriptions.set(key, {receiver, monitored, process: id, confirmed, ends: Date.now() + lifetime * 1000});
    }
    client.simpleAckResponse(receiver, Service.SUBSCRIBE_COV, invokeId);
    say({event: cancelled ? 'cancelled' : 'subscribed', payload});
    if (!cancelled) notify(object);
  }],
};

for (const [event, [service, serve]] of Object.entries(SERVICES)) {
  if (without.includes(event)) continue;
  client.on(event, ({header, payload, invokeId}) => {
    try {
      serve(header.sender, invokeId, payload);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      client.errorResponse(header.sender, service, invokeId, error.errorClass, error.code);
    }
  });
}
client.on('whoIs', ({header, payload}) => {
  if (meant(payload)) client.iAmResponse({address: header.sender.address}, instance, Segmentation.NO_SEGMENTATION, 0);
});
client.on('whoHas', ({header, payload: {objectId, objectName, ...limits}}) => {
  const found = all.find(({id, properties}) => objectId
    ? id.type === objectId.type && id.instance === objectId.instance
    : properties.get(Property.OBJECT_NAME)[0].value === objectName);
  if (found === undefined || !meant(limits)) return;
  const foundName = found.properties.get(Property.OBJECT_NAME)[0].value;
  client.iHaveResponse({address: header.sender.address}, {type: ObjectType.DEVICE, instance}, found.id, foundName);
});
client.on('listening', () => say({event: 'ready'}));
answer((call, [objectId, value]) => {
  const object = find(objectId);
  if (call === 'set') {
    object.properties.set(Property.PRESENT_VALUE, [value]);
    notify(object);
  }
  return object.read({id: Property.PRESENT_VALUE, index: 0xffffffff});
});
