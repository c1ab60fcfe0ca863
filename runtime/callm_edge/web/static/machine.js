// The device: how busy and how warm it is, and the counts of each camera.
import { at, el } from './dom.js';
import { STEPS, duration } from './detail.js';

const dash = (value, unit = '', digits = 0) => (value === null || value === undefined ? '–' : `${value.toFixed(digits)}${unit}`);

export class Machine {
  constructor(place) { this.place = place; this.names = []; }

  show(cameras) { this.names = cameras.map((camera) => camera.name); }

  // The mean of each step of stage 2 over the verdicts that are listed.
  verdicts(events) {
    const ledgers = events.map((event) => event.verdict?.ledger_ms).filter(Boolean);
    const means = new Map();
    for (const ledger of ledgers) {
      for (const [step, ms] of Object.entries(ledger)) means.set(step, (means.get(step) || 0) + ms / ledgers.length);
    }
    const place = at('[data-steps]', this.place);
    place.hidden = !means.size;
    place.textContent = `Stage 2, mean of ${ledgers.length} verdict${ledgers.length === 1 ? '' : 's'}: `
      + [...means].map(([step, ms]) => `${STEPS[step] || step} ${duration(ms)}`).join(' · ');
  }

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
