// The objects of a device: what their properties are, in the forms that @bacnet-js/client encodes.
'use strict';

const {
  ApplicationTag: Tag,
  ErrorClass,
  ErrorCode,
  ObjectType,
  PropertyIdentifier: Property,
  ASN1_ARRAY_ALL,
} = require('@bacnet-js/client');

const PRIORITIES = 16;
const NULL = {type: Tag.NULL, value: null};
const SERVICES = [5, 12, 14, 15, 26, 27, 33, 34]; // subscribe-cov, the reads, write-property, I-Am, I-Have, Who-Has, Who-Is

const text = (value) => [{type: Tag.CHARACTER_STRING, value}];
const number = (value) => [{type: Tag.UNSIGNED_INTEGER, value}];
const named = (value) => [{type: Tag.ENUMERATED, value}];
const bits = (length, set) => {
  const octets = Array(Math.ceil(length / 8)).fill(0);
  for (const bit of set) octets[bit >> 3] |= 1 << (bit & 7);
  return [{type: Tag.BIT_STRING, value: {value: octets, bitsUsed: length}}];
};

/** A BACnet error, as a device answers it. */
class Refusal extends Error {
  constructor(errorClass, code) {
    super(`${ErrorClass[errorClass]} ${ErrorCode[code]}`);
    this.errorClass = errorClass;
    this.code = code;
  }
}

/** An object; `value` is its present value as `{type, value}`, `commandable` whether that has a priority array. */
class BacnetObject {
  constructor({type, instance, name, value, commandable = false, properties = {}}) {
    this.id = {type, instance};
    this.properties = new Map([
      [Property.OBJECT_IDENTIFIER, [{type: Tag.OBJECTIDENTIFIER, value: this.id}]],
      [Property.OBJECT_NAME, text(name)],
      [Property.OBJECT_TYPE, named(type)],
      ...Object.entries(properties).map(([property, items]) => [Number(property), items]),
    ]);
    this.arrays = new Set([Property.OBJECT_LIST, Property.STATE_TEXT, Property.PRIORITY_ARRAY]);
    if (value !== undefined) {
      this.properties.set(Property.PRESENT_VALUE, [value]);
      this.properties.set(Property.STATUS_FLAGS, bits(4, []));
      this.properties.set(Property.EVENT_STATE, named(0));
      this.properties.set(Property.OUT_OF_SERVICE, [{type: Tag.BOOLEAN, value: false}]);
    }
    if (commandable) {
      this.properties.set(Property.PRIORITY_ARRAY, Array(PRIORITIES).fill(NULL));
      this.properties.set(Property.RELINQUISH_DEFAULT, [value]);
    }
  }

  read({id, index}) {
    const items = this.properties.get(id);
    if (items === undefined) throw new Refusal(ErrorClass.PROPERTY, ErrorCode.UNKNOWN_PROPERTY);
    if (index === ASN1_ARRAY_ALL) return items;
    if (!this.arrays.has(id)) throw new Refusal(ErrorClass.PROPERTY, ErrorCode.PROPERTY_IS_NOT_AN_ARRAY);
    if (index > items.length) throw new Refusal(ErrorClass.PROPERTY, ErrorCode.INVALID_ARRAY_INDEX);
    return index === 0 ? number(items.length) : [items[index - 1]];
  }

  write({id}, [value], priority) {
    const slots = this.properties.get(Property.PRIORITY_ARRAY);
    if (id !== Property.PRESENT_VALUE || slots === undefined) {
      throw new Refusal(ErrorClass.PROPERTY, ErrorCode.WRITE_ACCESS_DENIED);
    }
    const [otherwise] = this.properties.get(Property.RELINQUISH_DEFAULT);
    if (value.type !== Tag.NULL && value.type !== otherwise.type) {
      throw new Refusal(ErrorClass.PROPERTY, ErrorCode.INVALID_DATA_TYPE);
    }
    slots[priority - 1] = value;
    this.properties.set(id, [slots.find((slot) => slot.type !== Tag.NULL) ?? otherwise]);
  }

  /** What a notification tells of: the present value and its flags. */
  get reported() {
    return [Property.PRESENT_VALUE, Property.STATUS_FLAGS].map((id) => ({
      property: {id},
      value: this.properties.get(id),
    }));
  }
}

/** Make a Device object for a device of so many objects. */
function deviceObject(instance, name, objects) {
  const ids = [{type: ObjectType.DEVICE, instance}, ...objects.map((object) => object.id)];
  return new BacnetObject({
    type: ObjectType.DEVICE,
    instance,
    name,
    properties: {
      [Property.SYSTEM_STATUS]: named(0),
      [Property.VENDOR_NAME]: text('bacnet-js'),
      [Property.VENDOR_IDENTIFIER]: number(0),
      [Property.MODEL_NAME]: text('client'),
      [Property.FIRMWARE_REVISION]: text('3'),
      [Property.APPLICATION_SOFTWARE_VERSION]: text('3'),
      [Property.PROTOCOL_VERSION]: number(1),
      [Property.PROTOCOL_REVISION]: number(14),
      [Property.PROTOCOL_SERVICES_SUPPORTED]: bits(40, SERVICES),
      [Property.PROTOCOL_OBJECT_TYPES_SUPPORTED]: bits(56, new Set(ids.map((id) => id.type))),
      [Property.OBJECT_LIST]: ids.map((value) => ({type: Tag.OBJECTIDENTIFIER, value})),
      [Property.MAX_APDU_LENGTH_ACCEPTED]: number(1476),
      [Property.SEGMENTATION_SUPPORTED]: named(3),
      [Property.APDU_TIMEOUT]: number(3000),
      [Property.NUMBER_OF_APDU_RETRIES]: number(0),
      [Property.DEVICE_ADDRESS_BINDING]: [],
      [Property.DATABASE_REVISION]: number(1),
    },
  });
}

module.exports = {BacnetObject, Refusal, deviceObject};
