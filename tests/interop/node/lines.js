// How a script and the test that started it speak: a JSON text a line, requests in, answers and events out.
'use strict';

const readline = require('node:readline');

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Answer each `{id, call, arguments}` by `{id, result}` or `{id, error}`, and end when there will be no more. */
function answer(handle) {
  readline
    .createInterface({input: process.stdin})
    .on('line', async (line) => {
      const {id, call, arguments: given} = JSON.parse(line);
      try {
        say({id, result: (await handle(call, given.map(revived))) ?? null});
      } catch (error) {
        say({id, error: error.message});
      }
    })
    .on('close', () => process.exit(0));
}

/** Make the dates that JSON has no form for. */
function revived(value) {
  return value?.date ? new Date(value.date) : value;
}

module.exports = {say, answer};
