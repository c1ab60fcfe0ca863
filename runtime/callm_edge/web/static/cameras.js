// A card for each camera: its picture with the error map over it, and its score.
import { el } from './dom.js';
import { Trace } from './trace.js';

const RETRY_MS = 1500;
const STATES = { connecting: 'connecting', live: 'live', stalled: 'stalled', ended: 'ended' };

class Card {
  constructor(about) {
    this.index = -1;
    this.picture = el('canvas', { className: 'picture', width: 640, height: 360, role: 'img' });
    this.picture.setAttribute('aria-label', `Picture of ${about.name}`);
    this.heat = el('canvas', { className: 'heat', width: 128, height: 128, 'aria-hidden': 'true' });
    this.badge = el('span', { className: 'badge', text: 'connecting', data: { state: 'connecting' } });
    this.alarm = el('span', { className: 'badge alarm', text: 'anomaly', hidden: true });
    this.score = el('output', { className: 'score' });
    const number = about.index;
    this.shown = el('input', { type: 'checkbox', id: `heat-${number}`, className: 'overlay-on', checked: true });
    this.fade = el('input', { type: 'range', className: 'overlay', min: '0', max: '100', value: '80' });
    this.fade.setAttribute('aria-label', `Opacity of the error map of ${about.name}`);
    this.shown.addEventListener('change', () => this.fadeHeat());
    this.fade.addEventListener('input', () => { this.shown.checked = this.fade.value !== '0'; this.fadeHeat(); });
    const plot = el('div', { className: 'plot' });
    plot.setAttribute('role', 'img');
    plot.setAttribute('aria-label', `Score of ${about.name} over the last minute; threshold ${about.threshold_psnr_db} dB`);
    this.element = el('section', { className: 'camera card', data: { camera: String(number) } },
      el('div', { className: 'bar' },
        el('h2', { text: about.name, data: { name: '' }, title: `bundle ${about.bundle}` }), this.alarm, this.badge),
      el('div', { className: 'screen' }, this.picture, this.heat,
        el('p', { className: 'waiting', text: 'Waiting for the first picture…' })),
      el('div', { className: 'controls' },
        el('label', { className: 'check' }, this.shown, 'Error map'), this.fade, this.score),
      plot,
      el('p', { className: 'hint', text: `PSNR ${about.statistic === 'tile' ? 'of the worst tile' : 'of the frame'}, `
        + `last minute; flagged below ${about.threshold_psnr_db.toFixed(2)} dB` }));
    this.fadeHeat();
    this.plot = plot; this.threshold = about.threshold_psnr_db; this.trace = null;
    this.visible = true;
    new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; }).observe(this.element);
  }

  fadeHeat() {
    const opacity = this.shown.checked ? Number(this.fade.value) / 100 : 0;
    this.heat.style.opacity = String(opacity);
    this.fade.setAttribute('aria-valuetext', `${Math.round(100 * opacity)} %`);
  }

  points(points) {
    this.trace ??= new Trace(this.plot, this.threshold); // now that it has a width
    this.trace.add(points);
  }

  status(one) {
    this.badge.textContent = STATES[one.state] || one.state;
    this.badge.dataset.state = one.state;
    this.alarm.hidden = !one.active;
  }

  async draw(about, jpeg, heat) {
    const [picture, map] = await Promise.all([createImageBitmap(jpeg), createImageBitmap(heat)]);
    if (this.picture.width !== picture.width || this.picture.height !== picture.height) {
      this.picture.width = picture.width; this.picture.height = picture.height;
    }
    this.picture.getContext('2d').drawImage(picture, 0, 0);
    const over = this.heat.getContext('2d');
    over.clearRect(0, 0, 128, 128); over.drawImage(map, 0, 0);
    picture.close(); map.close();
    this.index = about.index;
    this.picture.dataset.frame = String(about.index);
    this.element.dataset.drawn = 'true';
    this.score.textContent = `${about.score_db.toFixed(1)} dB`;
    this.score.classList.toggle('flagged', about.flagged);
    this.alarm.hidden = !about.active;
  }
}

export class Cameras {
  constructor(place) { this.place = place; this.cards = []; this.running = false; this.asking = false; }

  show(cameras) {
    if (JSON.stringify(cameras) !== this.shown) {
      this.shown = JSON.stringify(cameras);
      for (const card of this.cards) card.trace?.close();
      this.cards = cameras.map((about) => new Card(about));
      this.place.replaceChildren(...this.cards.map((card) => card.element));
    }
    for (const card of this.cards) card.index = -1;
    this.place.hidden = !cameras.length;
    document.body.classList.toggle('without-cameras', !cameras.length);
    this.running = cameras.length > 0;
    this.follow();
  }

  // The stream began anew and tells every score it has.
  restart() { for (const card of this.cards) card.trace?.clear(); }

  scores(byCamera) { for (const [number, points] of Object.entries(byCamera)) this.cards[number]?.points(points); }

  status(all) { all.forEach((one, number) => this.cards[number]?.status(one)); }

  stop() { this.running = false; }

  // One request at a time, for the cameras in sight: a slow network gets fewer pictures, never old ones.
  async follow() {
    if (this.asking) return;
    this.asking = true;
    try {
      while (this.running) {
        const wanted = document.hidden ? [] : this.cards.map((card, number) => [card, number]).filter(([card]) => card.visible);
        if (!wanted.length) { await pause(300); continue; }
        try {
          const response = await fetch(`/api/pictures?seen=${wanted.map(([card, n]) => `${n}:${card.index}`).join(',')}`);
          if (!response.ok) throw new Error(String(response.status));
          await this.take(await response.arrayBuffer());
        } catch { await pause(RETRY_MS); } // the stream says that the connection is lost
      }
    } finally { this.asking = false; }
  }

  async take(buffer) {
    const bytes = new Uint8Array(buffer);
    const end = bytes.indexOf(10);
    let from = end + 1;
    const part = (length, type) => new Blob([buffer.slice(from, from += length)], { type });
    for (const about of JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)))) {
      const jpeg = part(about.jpeg, 'image/jpeg');
      const heat = part(about.heat, 'image/png');
      await this.cards[about.camera]?.draw(about, jpeg, heat);
    }
  }
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
