// The page: opens with a token where one is needed, follows the stream, and says so when it is lost.
import { at, complaint, post } from './dom.js';
import { Cameras } from './cameras.js';
import { Detail } from './detail.js';
import { Events } from './events.js';
import { Machine } from './machine.js';

const cameras = new Cameras(at('#cameras'));
const machine = new Machine(at('#machine'));
const detail = new Detail(() => events.load());
const events = new Events((event) => detail.open(event));
document.addEventListener('events', () => detail.refresh(events.all));

let stream = null;
let ended = false;
let lastFailure = '';

function banner(text) {
  const place = at('#banner');
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

const say = (text) => { at('#announcer').textContent = text; };

function follow() {
  stream?.close();
  stream = new EventSource('/api/stream'); // connects again by itself
  const on = (kind, then) => stream.addEventListener(kind, (message) => then(JSON.parse(message.data)));
  on('hello', (hello) => {
    ended = !hello.running;
    banner(lastFailure);
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
    lastFailure = change.kind === 'normal' ? '' : `${change.source}: the scene changed (${change.kind}); anomalies there are doubtful.`;
    banner(lastFailure);
  });
  on('failed', ({ what, why }) => { lastFailure = `${what}: ${why}`; banner(lastFailure); events.soon(); });
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
  if (locked) { banner(''); at('[data-status]').textContent = 'Locked'; cameras.stop(); at('#token').focus(); return; }
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
