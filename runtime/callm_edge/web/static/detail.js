// One event: its clip, the two answers, where the time went, questions, and whether it was a false alarm.
import { at, complaint, el, moment, post } from './dom.js';
import { Clip } from './clip.js';

export const SCENES = { light: 'the light was switched', defocused: 'out of focus', moved: 'the camera was moved', covered: 'the camera is covered' };
export const STEPS = { waited: 'waiting', pictures: 'pictures', motion: 'motion', encode: 'vision encoder', qformer: 'Q-Former', prefill: 'prefill',
  answer: 'yes or no', decode: 'explanation', network: 'network', request: 'request', server: 'server' };

export class Detail {
  // changed: called after a mark was stored.
  constructor(changed) {
    this.changed = changed; this.dialog = at('#detail'); this.event = null; this.canMark = true;
    this.clip = new Clip(at('.player', this.dialog));
    at('[data-close]', this.dialog).addEventListener('click', () => this.dialog.close());
    this.dialog.addEventListener('click', (click) => { if (click.target === this.dialog) this.dialog.close(); });
    this.dialog.addEventListener('close', () => {
      // The list may have been drawn anew meanwhile: the browser would give the focus back to a row that is gone.
      at(`[data-event="${CSS.escape(this.event?.id || '')}"]`)?.focus();
      this.clip.close(); this.asking?.abort(); this.event = null;
    });
    at('#ask').addEventListener('submit', (submit) => { submit.preventDefault(); this.ask(); });
    at('[data-false-alarm]').addEventListener('click', () => this.mark());
  }

  // spoken: of its explanation so far, where it is being said now.
  open(event, spoken = '') {
    this.event = event;
    this.spoken = spoken;
    at('#question').value = '';
    at('[data-answer]').textContent = '';
    at('[data-answer]').className = 'answer';
    this.fill();
    if (!this.dialog.open) this.dialog.showModal();
    this.clip.open(event);
  }

  // The list was read again: what is shown may have a verdict now.
  refresh(all) {
    const fresh = this.event && all.get(this.event.id);
    if (fresh && JSON.stringify(fresh) !== JSON.stringify(this.event)) { this.event = fresh; this.fill(); }
  }

  piece(id, piece) {
    if (this.event?.id !== id || this.event.verdict) return;
    this.spoken += piece;
    this.answers();
  }

  fill() {
    const { event } = this;
    at('#detail-title').textContent = event.source;
    const below = (event.threshold_psnr_db - event.peak_psnr_db).toFixed(2);
    const facts = [
      ['When', `${moment(event)}, for ${(event.end_time - event.start_time).toFixed(1)} s`],
      ['Frames', `${event.start_frame} to ${event.end_frame}, peak at ${event.peak_frame}`],
      ['Peak', `${event.peak_psnr_db.toFixed(2)} dB, ${below} dB below the threshold`],
      ['Where', `${event.box[2]} × ${event.box[3]} pixels at ${event.box[0]}, ${event.box[1]}`],
      ['Bundle', event.bundle], ['Id', event.id],
    ];
    if (event.scene !== 'normal') facts.splice(4, 0, ['Scene', `${SCENES[event.scene] || event.scene}: this may be no anomaly`]);
    at('[data-facts]').replaceChildren(...facts.flatMap(([name, value]) => [el('dt', { text: name }), el('dd', { text: value })]));
    this.answers();
    this.ledger();
    const marked = event.false_alarm_at !== null;
    const button = at('[data-false-alarm]');
    button.setAttribute('aria-pressed', String(marked));
    button.textContent = marked ? 'Marked as false alarm' : 'Mark as false alarm';
    button.disabled = !this.canMark;
    at('[data-mark-hint]').textContent = !this.canMark ? 'This store can only be read.'
      : marked ? '“callm-edge calibrate” counts it as normal. Press again to take it back.'
        : 'Nothing was wrong? “callm-edge calibrate” can learn from it.';
    at('#question').disabled = !event.clip;
    at('#ask button').disabled = !event.clip;
  }

  answers() {
    const { event } = this;
    const { verdict } = event;
    const said = at('[data-verdict]');
    const meter = at('[data-meter]');
    meter.hidden = !verdict;
    said.className = 'verdict';
    if (!verdict) {
      said.textContent = event.failed ? `Not judged: ${event.failed}` : event.waiting ? 'Being judged…' : 'Nobody was asked.';
      at('[data-explanation]').textContent = this.spoken;
      at('[data-why-title]').hidden = !this.spoken;
      return;
    }
    said.replaceChildren(el('strong', { text: verdict.abnormal ? 'Yes' : 'No' }),
      `, with a probability of ${(100 * verdict.probability).toFixed(1)} % that it is. Answered by `
      + `${verdict.answered_by}${verdict.reason ? ` (${verdict.reason})` : ''}.`);
    said.classList.add(verdict.abnormal ? 'abnormal' : 'normal');
    meter.firstElementChild.style.width = `${100 * verdict.probability}%`;
    meter.classList.toggle('abnormal', verdict.abnormal);
    at('[data-explanation]').textContent = verdict.explanation;
    at('[data-why-title]').hidden = !verdict.explanation;
  }

  ledger() {
    const steps = Object.entries(this.event.verdict?.ledger_ms || {}).filter(([, ms]) => ms > 0);
    at('[data-ledger-part]').hidden = !steps.length;
    const total = steps.reduce((sum, [, ms]) => sum + ms, 0);
    const name = (step) => STEPS[step] || step;
    at('[data-ledger-total]').textContent = duration(total);
    at('[data-ledger]').replaceChildren(...steps.map(([step, ms], n) => {
      const bar = el('span', { className: `step step-${n % 8}`, title: `${name(step)}: ${duration(ms)}` });
      bar.style.flexGrow = String(ms);
      return bar;
    }));
    at('[data-ledger]').setAttribute('aria-label', steps.map(([step, ms]) => `${name(step)} ${duration(ms)}`).join(', '));
    at('[data-legend]').replaceChildren(...steps.map(([step, ms], n) => el('li', {},
      el('span', { className: `key step-${n % 8}` }), `${name(step)} `, el('span', { className: 'hint', text: duration(ms) }))));
  }

  async ask() {
    const question = at('#question').value.trim();
    const place = at('[data-answer]');
    if (!question) return;
    this.asking?.abort();
    this.asking = new AbortController();
    const button = at('#ask button');
    button.disabled = true;
    place.className = 'answer pending';
    place.textContent = '…';
    const wrong = (text) => { place.className = 'answer error'; place.textContent = text; };
    try {
      const response = await fetch(`/api/events/${encodeURIComponent(this.event.id)}/ask`, {
        method: 'POST', body: JSON.stringify({ question }), signal: this.asking.signal,
        headers: { 'X-Callm-Edge': 'page', 'Content-Type': 'application/json' },
      });
      if (!response.ok) { wrong(await complaint(response)); return; }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      let rest = '';
      let done = false;
      for (;;) {
        const { value, done: ended } = await reader.read();
        if (ended) break;
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          const said = JSON.parse(line);
          if (said.error) { wrong(said.error); return; }
          text += said.piece || '';
          done ||= said.done === true;
          place.textContent = text.trim() || '…';
        }
      }
      if (!done) { wrong(`${text} (the answer broke off)`); return; }
      place.className = 'answer';
      place.textContent = text.trim() || 'It has nothing to say.';
    } catch (error) {
      if (error.name !== 'AbortError') wrong('The connection was lost before the answer was complete.');
    } finally { button.disabled = !this.event?.clip; }
  }

  async mark() {
    const marked = at('[data-false-alarm]').getAttribute('aria-pressed') !== 'true';
    const response = await post(`/api/events/${encodeURIComponent(this.event.id)}/false-alarm`, { marked }).catch(() => null);
    if (!response?.ok) {
      at('[data-mark-hint]').textContent = response ? await complaint(response) : 'The connection was lost: nothing was stored.';
      return;
    }
    this.event = await response.json();
    this.fill();
    this.changed();
  }
}

export const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
