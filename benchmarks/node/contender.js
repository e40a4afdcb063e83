// What the JavaScript contenders of poll share: the twin of poll_contender.py, which has what is not said in arguments:
// `SCRIPT k seconds address port requests-at-once warm-up-seconds`.
'use strict';

const LONGEST_S = 60;

const [k, seconds] = process.argv.slice(2, 4).map(Number);
const address = process.argv[4];
const [port, atOnce, warmUp] = process.argv.slice(5, 8).map(Number);
const numbers = Array.from({length: k}, (_, index) => index + 1);

/**
 * Read with so many requests at once for so many seconds after a short warm-up, print the figures and exit.
 *
 * `read` takes a callback for (error, answer); `values` lists an answer's. The first and the last answer are checked
 * value by value, all others by their length.
 */
async function contend(read, values) {
  setTimeout(() => fail(new Error('it took too long')), (seconds + LONGEST_S) * 1000).unref();
  try {
    await check(read, values);
    await spin(read, warmUp);
    const began = performance.now();
    const before = process.cpuUsage();
    const points = await spin(read, seconds);
    const cpu = process.cpuUsage(before);
    const took = (performance.now() - began) / 1000;
    await check(read, values);
    console.log(JSON.stringify({points, seconds: took, cpu_seconds: (cpu.user + cpu.system) / 1e6}));
    process.exit(0);
  } catch (error) {
    fail(error);
  }
}

function spin(read, duration) {
  const end = performance.now() + duration * 1000;
  let points = 0;
  const worker = () => new Promise((resolve, reject) => {
    const next = () => (performance.now() < end ? read(done) : resolve());
    const done = (error, answer) => {
      if (error) return reject(error);
      if (answer.values.length !== k) return reject(new Error(`${answer.values.length} points instead of ${k}`));
      points += k;
      next();
    };
    next();
  });
  return Promise.all(Array.from({length: atOnce}, worker)).then(() => points);
}

async function check(read, values) {
  const answer = await new Promise((resolve, reject) => read((error, found) => (error ? reject(error) : resolve(found))));
  const found = values(answer);
  if (found.length !== k || numbers.some((number, index) => found[index] !== 20 + number)) {
    throw new Error(`wrong values were read: ${JSON.stringify(found)}`);
  }
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

module.exports = {address, port, numbers, contend};
