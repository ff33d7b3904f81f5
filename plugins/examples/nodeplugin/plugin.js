#!/usr/bin/env node
// A plugin of weft in JavaScript: the stage `number` puts a number into JSON payloads, counted by topic, and drops what is no JSON.
//
//   plugins: [{name: counter, command: [node, plugin.js]}]
//   routes:  [{name: doors, match: ["doors/#"], to: hub, stages: [{type: counter.number, key: n}]}]
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

if (process.env.WEFT_PLUGIN !== '5c1b4c6e-weft-plugin') {
  console.error('This program is a plugin of weft, which starts it: plugins: [{name: NAME, command: [node, plugin.js]}]');
  process.exit(1);
}

// longs as strings: numbers of messages and times have 64 bits, and JavaScript's numbers 53. defaults: what is empty is not sent.
const definition = loader.loadSync(
  ['weft/plugin/v1/plugin.proto', 'weft/plugin/v1/stage.proto', path.join(__dirname, 'health.proto')],
  { includeDirs: [process.env.WEFT_PROTO || path.join(__dirname, '../../proto')], longs: String, enums: String, oneofs: true, keepCase: true, defaults: true },
);
const { weft, grpc: { health } } = grpc.loadPackageDefinition(definition);
const { PluginService, StageService } = weft.plugin.v1;

// The stages that are open, by handle: each has its options, and how many messages each topic has had.
const open = new Map();
let last = 0;

const types = [{
  kind: 'KIND_STAGE',
  name: 'number',
  comment: 'numbers the messages of each topic',
  options: [{ key: 'key', type: 'OPTION_TYPE_TEXT', default: 'n', comment: 'key that the number is put under' }],
}];

// problems says what is wrong with the options, a JSON object.
function problems(options) {
  const { key = 'n' } = JSON.parse(options);
  return key === '' ? [{ key: 'key', text: 'empty; write a name, such as n' }] : [];
}

function number(stage, message) {
  try {
    const value = JSON.parse(message.payload.toString());
    if (value === null || typeof value !== 'object') return null;
    value[stage.key] = (stage.counts.get(message.topic) || 0) + 1;
    const payload = Buffer.from(JSON.stringify(value)); // which may fail too: of what is nested too deeply
    stage.counts.set(message.topic, value[stage.key]);
    return { id: message.id, payload }; // what is left out stays as it was
  } catch {
    return null;
  }
}

// answer makes of a function what gRPC calls: an exception is an error for the user to read.
const answer = (f) => (call, done) => {
  try {
    done(null, f(call.request));
  } catch (err) {
    done({ code: err.code || grpc.status.UNKNOWN, details: err.message });
  }
};

const failure = (code, message) => Object.assign(new Error(message), { code });

const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });

server.addService(PluginService.service, {
  Describe: answer(() => ({ name: 'nodeplugin', version: require('./package.json').version, types })),
  Check: answer(({ options }) => ({ problems: problems(options) })),
});

server.addService(StageService.service, {
  Open: answer(({ type, options, instance }) => {
    if (type !== 'number') throw failure(grpc.status.INVALID_ARGUMENT, `unknown stage ${type}`);
    const [problem] = problems(options);
    if (problem) throw failure(grpc.status.INVALID_ARGUMENT, `${problem.key}: ${problem.text}`);
    const { key = 'n' } = JSON.parse(options);
    open.set(String(++last), { key, counts: new Map() });
    console.error(JSON.stringify({ level: 'debug', msg: 'stage opened', instance }));
    return { handle: last };
  }),
  Process: answer(({ handle, messages }) => {
    const stage = open.get(handle);
    if (!stage) throw failure(grpc.status.NOT_FOUND, `no handle ${handle}`);
    return { messages: messages.map((message) => number(stage, message)).filter((result) => result !== null) };
  }),
  Close: answer(({ handle }) => {
    open.delete(handle);
    return {};
  }),
});

server.addService(health.v1.Health.service, { Check: answer(() => ({ status: 'SERVING' })) });

const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'socket');
server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (err) => {
  if (err) throw err;
  console.log(`1|1|unix|${socket}|grpc`);
});

// The node has ended, or wants this program to.
process.stdin.resume().on('end', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
