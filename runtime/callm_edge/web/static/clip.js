// Plays a stored clip: its frames are pictures, shown at the pace at which they were taken.
import { at, colour, complaint } from './dom.js';
import { Trace } from './trace.js';

const AHEAD = 12; // pictures fetched before they are needed

export class Clip {
  constructor(root) {
    this.root = root; this.screen = at('[data-screen]', root); this.seek = at('[data-seek]', root);
    this.button = at('[data-play]', root); this.position = at('[data-position]', root);
    this.event = null; this.playing = false; this.trace = null; this.pictures = new Map();
    this.button.addEventListener('click', () => (this.playing ? this.pause() : this.play()));
    this.seek.addEventListener('input', () => { this.pause(); this.show(Number(this.seek.value)); });
  }

  async open(event) {
    this.close();
    this.event = event.id;
    this.about = event;
    const missing = at('[data-no-clip]', this.root);
    const parts = [this.screen, at('.controls', this.root), at('[data-clip-plot]', this.root)];
    const without = (text) => {
      for (const part of parts) part.hidden = true;
      missing.hidden = false; missing.textContent = text;
    };
    missing.hidden = true;
    for (const part of parts) part.hidden = false;
    if (!event.clip) { without('The clip was not stored, or was removed to save space.'); return; }
    const response = await fetch(`/api/events/${encodeURIComponent(event.id)}/clip`).catch(() => null);
    if (this.event !== event.id) return;
    if (!response?.ok) { without(response ? await complaint(response) : 'The clip cannot be loaded now.'); return; }
    this.clip = await response.json();
    if (this.event !== event.id) return;
    this.seek.max = String(this.clip.times.length - 1);
    this.trace = new Trace(at('[data-clip-plot]', this.root), this.clip.threshold_psnr_db, 0, 96);
    const { times, scores, frames, threshold_psnr_db: limit } = this.clip;
    this.trace.add(times.map((time, n) => [time, scores[n],
      (scores[n] !== null && scores[n] < limit ? 1 : 0) + (frames[n] >= event.start_frame && frames[n] <= event.end_frame ? 2 : 0)]));
    this.ready(true);
    await this.show(Math.max(0, frames.indexOf(event.peak_frame)));
  }

  picture(at_) {
    if (!this.pictures.has(at_)) {
      if (this.pictures.size > 8 * AHEAD) this.pictures.delete(this.pictures.keys().next().value);
      const path = `/api/events/${encodeURIComponent(this.event)}/clip/${this.clip.frames[at_]}`;
      this.pictures.set(at_, fetch(path).then((response) => {
        if (!response.ok) throw new Error(String(response.status));
        return response.blob();
      }));
    }
    return this.pictures.get(at_);
  }

  async show(frame) {
    const id = this.event;
    this.wanted = frame;
    try {
      const bitmap = await createImageBitmap(await this.picture(frame));
      if (this.event !== id || this.wanted !== frame) return;
      this.screen.width = bitmap.width; this.screen.height = bitmap.height;
      const context = this.screen.getContext('2d');
      context.drawImage(bitmap, 0, 0);
      this.where(context, frame);
      this.screen.dataset.frame = String(this.clip.frames[frame]);
      bitmap.close();
    } catch {
      this.pictures.delete(frame);
      this.pause();
      this.position.textContent = 'picture missing';
      return;
    }
    this.seek.value = String(frame);
    const score = this.clip.scores[frame];
    const now = `${this.clip.times[frame].toFixed(1)} s`;
    this.position.textContent = score === null ? now : `${now} · ${score.toFixed(1)} dB`;
    this.seek.setAttribute('aria-valuetext', this.position.textContent);
    if (this.trace) { this.trace.cursor = this.clip.times[frame]; this.trace.redraw(); }
  }

  // Where the error was: the event's box at its peak, a ring around the largest error in its other frames.
  where(context, frame) {
    const { start_frame: first, end_frame: last, peak_frame: worst, box } = this.about;
    const index = this.clip.frames[frame];
    const peak = this.clip.peaks[frame];
    if (index < first || index > last) return;
    const { width } = this.screen;
    context.strokeStyle = colour('--alarm');
    context.lineWidth = Math.max(2, width / 320);
    if (index === worst) context.strokeRect(...box);
    else if (peak) {
      context.beginPath();
      context.arc(peak[0], peak[1], width / 24, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  async play() {
    const id = this.event;
    const { times } = this.clip;
    let frame = Number(this.seek.value);
    if (frame >= times.length - 1) frame = 0;
    this.label(true);
    let began = performance.now() - 1000 * times[frame];
    while (this.playing && this.event === id && frame < times.length) {
      for (let next = frame; next < Math.min(frame + AHEAD, times.length); next += 1) this.picture(next).catch(() => {});
      await this.show(frame);
      frame += 1;
      if (frame >= times.length) break;
      const late = performance.now() - began - 1000 * times[frame];
      if (late > 300) began += late; // the network is slower than the clip: it plays slower, and leaves nothing out
      else await new Promise((done) => { setTimeout(done, Math.max(0, -late)); });
    }
    if (this.event === id) this.label(false);
  }

  pause() { this.label(false); }

  label(playing) {
    this.playing = playing;
    this.button.textContent = playing ? '❚❚' : '▶';
    this.button.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  }

  close() {
    this.label(false);
    this.event = null; this.clip = null;
    this.pictures.clear();
    this.trace?.close(); this.trace = null;
    this.position.textContent = '';
    this.ready(false);
  }

  // Nothing of the clip before is to be seen or moved while the next one loads.
  ready(loaded) {
    this.button.disabled = !loaded; this.seek.disabled = !loaded;
    if (loaded) return;
    this.seek.max = '0'; this.seek.value = '0';
    delete this.screen.dataset.frame;
    this.screen.getContext('2d').clearRect(0, 0, this.screen.width, this.screen.height);
  }
}
