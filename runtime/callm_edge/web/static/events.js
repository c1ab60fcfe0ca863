// The list of events, newest first.
import { at, complaint, el, moment } from './dom.js';

export class Events {
  // open: called with an event that was chosen.
  constructor(open) {
    this.open = open; this.limit = 30; this.known = null; this.all = new Map(); this.said = new Map(); this.rows = new Map(); this.timer = 0;
    this.wanted = false; this.loading = null;
    this.list = at('#event-list');
    at('#more').addEventListener('click', () => { this.limit += 50; this.load(); });
    at('#source').addEventListener('change', () => this.load());
  }

  // Many messages may ask for it at once.
  soon() { this.timer ||= setTimeout(() => { this.timer = 0; this.load(); }, 150); }

  // One at a time: an older answer would undo a newer one. Resolves once what was in the store when it was called shows.
  load() {
    this.wanted = true;
    return this.loading ??= this.loadWanted();
  }

  async loadWanted() {
    try { while (this.wanted) { this.wanted = false; await this.loadOnce(); } } finally { this.loading = null; }
  }

  async loadOnce() {
    const source = at('#source').value;
    const response = await fetch(`/api/events?limit=${this.limit}&source=${encodeURIComponent(source)}`).catch(() => null);
    if (!response) return; // the stream says that the connection is lost
    if (!response.ok) { at('[data-empty]').hidden = false; at('[data-empty]').textContent = await complaint(response); return; }
    const { events, total, sources } = await response.json();
    this.sources(sources);
    this.all = new Map(events.map((event) => [event.id, event]));
    for (const event of events) if (event.verdict || event.failed) this.said.delete(event.id);
    this.arrange(events);
    at('[data-count]').textContent = total || '';
    at('[data-empty]').hidden = events.length > 0;
    at('[data-empty]').textContent = 'Nothing abnormal so far.';
    at('#more').hidden = events.length < this.limit || this.limit >= 500;
    document.dispatchEvent(new Event('events'));
  }

  // A row that says the same as before stays the element it is: with its picture, and with the focus on it.
  arrange(events) {
    const before = this.rows;
    this.rows = new Map(events.map((event) => {
      const known = before.get(event.id);
      const told = JSON.stringify(event);
      return [event.id, known?.told === told ? known : { told, element: this.row(event) }];
    }));
    const focused = document.activeElement?.dataset?.event;
    const wanted = [...this.rows.values()].map((row) => row.element);
    if (wanted.length === this.list.children.length && wanted.every((row, n) => row === this.list.children[n])) return;
    this.list.replaceChildren(...wanted);
    if (focused) at(`[data-event="${CSS.escape(focused)}"]`, this.list)?.focus();
  }

  sources(sources) {
    const select = at('#source');
    at('#source-filter').hidden = sources.length < 2;
    if (select.options.length === sources.length + 1) return;
    const chosen = select.value;
    select.replaceChildren(el('option', { value: '', text: 'all' }), ...sources.map((name) => el('option', { value: name, text: name })));
    select.value = sources.includes(chosen) ? chosen : '';
  }

  row(event) {
    const picture = event.thumbnail
      ? el('img', { src: `/api/events/${encodeURIComponent(event.id)}/thumbnail`, alt: '', loading: 'lazy', width: 104, height: 58 })
      : el('span', { className: 'no-picture', text: 'no picture' });
    const below = (event.threshold_psnr_db - event.peak_psnr_db).toFixed(1);
    const tag = verdictTag(event);
    const button = el('button', { type: 'button', className: 'event', data: { event: event.id } }, picture,
      el('span', { className: 'about' },
        el('span', { className: 'line' }, el('strong', { text: event.source }), tag),
        el('span', { className: 'hint', text: `${moment(event)} · `
          + `${(event.end_time - event.start_time).toFixed(1)} s · ${below} dB below`,
          title: `${below} dB below the threshold` }),
        el('span', { className: 'because', text: event.verdict?.explanation || this.said.get(event.id) || '', data: { because: '' } })));
    button.classList.toggle('dismissed', event.false_alarm_at !== null);
    button.addEventListener('click', () => this.open(event));
    return el('li', {}, button);
  }

  // A piece of an explanation that is still being said; the list may have the whole of it before the stream brings its end.
  piece(id, piece) {
    if (this.all.get(id)?.verdict) return;
    this.said.set(id, (this.said.get(id) || '') + piece);
    if (this.said.size > 20) this.said.delete(this.said.keys().next().value);
    const place = at(`[data-event="${CSS.escape(id)}"] [data-because]`, this.list);
    if (place) place.textContent += piece;
  }
}

export function verdictTag(event) {
  if (event.false_alarm_at !== null) return el('span', { className: 'tag', text: 'false alarm' });
  const { verdict } = event;
  if (!verdict) {
    const text = event.failed ? 'not judged' : event.waiting ? 'judging…' : '';
    return el('span', { className: 'tag', text, hidden: !text });
  }
  const sure = verdict.abnormal ? verdict.probability : 1 - verdict.probability;
  return el('span', { className: `tag ${verdict.abnormal ? 'abnormal' : 'normal'}`,
    text: `${verdict.abnormal ? 'abnormal' : 'normal'} ${Math.round(100 * sure)} %` });
}
