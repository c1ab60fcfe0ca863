// The score over time with its threshold, and a shade where an event was.
import { clock, colour, isRecorded } from './dom.js';

const MARGIN = 3; // dB around what is in sight

export class Trace {
  // place: an element. threshold: dB. seconds: how much of the past is shown; all where it is 0.
  constructor(place, threshold, seconds = 60, height = 120) {
    this.place = place; this.threshold = threshold; this.seconds = seconds;
    this.data = [[], [], []]; // time, score, score where flagged
    this.active = [];
    this.cursor = null;
    const axis = { stroke: () => colour('--muted'), grid: { stroke: () => colour('--line'), width: 1 },
      ticks: { show: false }, font: '11px system-ui, sans-serif' };
    this.plot = new uPlot({
      width: place.clientWidth || 300, height, legend: { show: false }, padding: [6, 28, 0, 0],
      cursor: { show: false }, scales: { x: { time: false }, y: { range: () => this.range() } },
      axes: [
        { ...axis, size: 24, values: (_, ticks) => ticks.map((tick) => clock(tick, isRecorded(tick))), space: 70 },
        { ...axis, size: 34, space: 28 },
      ],
      series: [{},
        { stroke: () => colour('--calm'), width: 1.6, points: { show: false } },
        { stroke: () => colour('--alarm'), width: 2, points: { show: false } }],
      hooks: { drawClear: [(plot) => this.shade(plot)], draw: [(plot) => this.line(plot)] },
    }, this.data, place);
    this.watcher = new ResizeObserver(() => {
      if (place.clientWidth) this.plot.setSize({ width: place.clientWidth, height });
    });
    this.watcher.observe(place);
    this.redraw = () => this.plot.redraw(false);
    document.addEventListener('theme', this.redraw);
  }

  add(points) {
    const [times, scores, flagged] = this.data;
    for (const [time, score, state] of points) {
      if (times.length && time < times[times.length - 1]) this.clear(); // the footage began anew
      times.push(time); scores.push(score);
      flagged.push(state & 1 ? score : null);
      this.active.push((state & 2) > 0);
    }
    if (this.seconds && times.length) {
      const from = times[times.length - 1] - this.seconds;
      let old = 0;
      while (times[old] < from) old += 1;
      for (const row of [...this.data, this.active]) row.splice(0, old);
    }
    this.plot.setData(this.data);
  }

  clear() { for (const row of [...this.data, this.active]) row.length = 0; }

  close() {
    this.watcher.disconnect();
    document.removeEventListener('theme', this.redraw);
    this.plot.destroy();
  }

  range() {
    let low = this.threshold - MARGIN;
    let high = this.threshold + MARGIN;
    for (const score of this.data[1]) {
      if (score === null) continue;
      low = Math.min(low, score - 0.5); high = Math.max(high, score + 0.5);
    }
    return [Math.max(low, this.threshold - 25), Math.min(high, this.threshold + 25)];
  }

  shade(plot) {
    const times = this.data[0];
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour('--shade');
    for (let first = 0; first < times.length; first += 1) {
      if (!this.active[first]) continue;
      let last = first;
      while (last + 1 < times.length && this.active[last + 1]) last += 1;
      const left = Math.max(bbox.left, plot.valToPos(times[first], 'x', true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(times[last], 'x', true));
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
      first = last;
    }
    ctx.restore();
  }

  line(plot) {
    const { ctx, bbox } = plot;
    const y = plot.valToPos(this.threshold, 'y', true);
    ctx.save();
    ctx.strokeStyle = colour('--limit'); ctx.lineWidth = 1.5 * devicePixelRatio; ctx.setLineDash([6, 5]);
    ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    if (this.cursor !== null) {
      const x = plot.valToPos(this.cursor, 'x', true);
      ctx.strokeStyle = colour('--text'); ctx.setLineDash([]);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  }
}
