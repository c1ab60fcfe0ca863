// The page: opens with a token where one is needed, follows the stream, and says so when it is lost.
import { at, complaint, post } from './dom.js';
import { Cameras } from './cameras.js';
import { Detail, SCENES } from './detail.js';
import { Events } from './events.js';
import { Machine } from './machine.js';

const cameras = new Cameras(at('#cameras'));
const machine = new Machine(at('#machine'));
const detail = new Detail(() => events.load());
const events = new Events((event) => detail.open(event, events.said.get(event.id)));
document.addEventListener('events', () => { detail.refresh(events.all); machine.verdicts([...events.all.values()]); });

let stream = null;
let ended = false;
let lastFailure = '';
const scenes = new Map(); // cameras whose view is not what it was, and how

// What is wrong now: no connection; or the last failure of a part, and views that changed, until somebody dismisses it.
function banner(text = '') {
  const views = [...scenes].map(([source, kind]) => `${source}: ${kind}, its anomalies are doubtful.`);
  const all = text || [lastFailure, ...views].filter(Boolean).join(' ');
  if (at('[data-banner]').textContent !== all) at('[data-banner]').textContent = all;
  at('[data-dismiss]').hidden = Boolean(text);
  at('#banner').hidden = !all;
}
at('[data-dismiss]').addEventListener('click', () => { lastFailure = ''; scenes.clear(); banner(); });

const say = (text) => { at('#announcer').textContent = text; };

function follow() {
  stream?.close();
  stream = new EventSource('/api/stream'); // connects again by itself
  const on = (kind, then) => stream.addEventListener(kind, (message) => then(JSON.parse(message.data)));
  on('hello', (hello) => {
    ended = !hello.running;
    banner();
    cameras.show(hello.cameras);
    cameras.restart();
    machine.show(hello.cameras);
    events.load();
    if (!hello.cameras.length) at('[data-status]').textContent = 'Stored events';
  });
  on('scores', (scores) => cameras.scores(scores));
  on('status', (status) => {
    cameras.status(status.cameras);
    machine.status(status);
    if (!status.cameras.length) return;
    const live = status.cameras.filter((one) => one.state === 'live').length;
    const fps = status.cameras.reduce((sum, one) => sum + one.fps, 0);
    at('[data-status]').textContent = status.running
      ? `${live} of ${status.cameras.length} live · ${fps.toFixed(0)} frames/s` : 'The run has ended';
  });
  on('event', (event) => { say(`Anomaly: ${event.source}`); events.soon(); });
  on('piece', ({ event_id: id, piece }) => { events.piece(id, piece); detail.piece(id, piece); });
  on('verdict', (verdict) => {
    say(verdict.abnormal ? `Abnormal: ${verdict.explanation}` : 'An event was judged normal');
    events.soon();
  });
  on('changed', () => events.soon());
  on('lost', () => events.soon());
  on('scene', (change) => {
    if (change.kind === 'normal') scenes.delete(change.source);
    else scenes.set(change.source, SCENES[change.kind] || change.kind);
    banner();
  });
  on('failed', ({ what, why }) => { lastFailure = `${what}: ${why}.`; banner(); events.soon(); });
  on('finished', () => { ended = true; });
  on('closing', () => { ended = true; });
  stream.onerror = async () => {
    at('[data-status]').textContent = 'Not connected';
    banner(ended ? 'The run has ended. “callm-edge web” shows what it stored.' : 'Connection lost. Trying again…');
    // A browser gives up where it is answered with an error, such as after a restart, when it has to log in anew.
    if (stream.readyState === EventSource.CLOSED) setTimeout(start, 2000);
  };
}

async function start() {
  const response = await fetch('/api/hello').catch(() => null);
  if (!response) { banner('Connection lost. Trying again…'); setTimeout(start, 2000); return; }
  const locked = response.status === 401;
  at('#login').hidden = !locked;
  at('#page').hidden = locked;
  at('#logout').hidden = true;
  if (locked) { banner(); at('[data-status]').textContent = 'Locked'; cameras.stop(); at('#token').focus(); return; }
  if (!response.ok) { banner(await complaint(response)); setTimeout(start, 5000); return; }
  const hello = await response.json();
  at('#logout').hidden = !hello.login;
  detail.canMark = hello.can_mark;
  follow();
}

at('#login').addEventListener('submit', async (submit) => {
  submit.preventDefault();
  const response = await post('/api/login', { token: at('#token').value }).catch(() => null);
  at('[data-login-error]').textContent = response?.ok ? '' : response ? await complaint(response) : 'The server cannot be reached.';
  if (response?.ok) { at('#token').value = ''; start(); }
});
at('#logout').addEventListener('click', async () => { await post('/api/logout', {}).catch(() => null); location.reload(); });

start();
