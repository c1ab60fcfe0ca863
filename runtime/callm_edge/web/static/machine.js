// The device: how busy and how warm it is, and the counts of each camera.
import { at, el } from './dom.js';

const dash = (value, unit = '', digits = 0) => (value === null || value === undefined ? '–' : `${value.toFixed(digits)}${unit}`);

export class Machine {
  constructor(place) { this.place = place; this.names = []; }

  show(cameras) { this.names = cameras.map((camera) => camera.name); }

  status({ cameras, machine, verdicts_waiting: waiting }) {
    this.place.hidden = !cameras.length;
    const gauges = [
      [`CPU (${machine.cores} cores)`, dash(machine.cpu, ' %')],
      machine.gpu === null ? null : ['GPU', dash(machine.gpu, ' %')],
      ['Memory, this program', dash(machine.memory_mb, ' MB')],
      ['Memory, free', dash(machine.free_mb === null ? null : machine.free_mb / 1024, ' GB', 1)],
      ...Object.entries(machine.temperatures).slice(0, 6).map(([zone, celsius]) => [zone, dash(celsius, ' °C', 1)]),
      ['Events waiting for a verdict', String(waiting)],
    ].filter(Boolean);
    at('[data-machine]', this.place).replaceChildren(
      ...gauges.map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }))));
    at('tbody', this.place).replaceChildren(...cameras.map((one, n) => {
      const numbers = [dash(one.fps, '', 1), dash(one.stage1_ms, ' ms', 1), dash(one.behind_ms, ' ms'), one.dropped, one.unscored, one.unshown];
      return el('tr', {}, el('th', { scope: 'row', text: this.names[n] }), el('td', { text: one.state }),
        ...numbers.map((value) => el('td', { text: String(value) })));
    }));
  }
}
