// Small ways to make elements. Text from the device goes in as text, never as markup.

export function el(name, { text, className, data, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(data || {})) made.dataset[key] = value;
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && typeof value !== 'string') made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const at = (selector, within = document) => within.querySelector(selector);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Every change goes through here: the header is what a page elsewhere cannot send.
export function post(path, body) {
  return fetch(path, {
    method: 'POST', body: JSON.stringify(body), headers: { 'X-Callm-Edge': 'page', 'Content-Type': 'application/json' },
  });
}

// What the server says of a failure, as one sentence.
export async function complaint(response) {
  try {
    const { what, why, fix } = await response.json();
    return [what, why].filter(Boolean).join(': ') + (fix ? `. ${fix}` : '');
  } catch {
    return `The server answered ${response.status}`;
  }
}

export function clock(seconds, recorded) {
  if (!recorded) return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  return `${hours ? `${hours}:` : ''}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

// When an event was: a position in its footage, or a time of day, with the day where it is not today's.
export function moment(event) {
  if (event.recorded) return `at ${event.clock} of the footage`;
  const began = new Date(event.start_time * 1000);
  const day = began.toDateString() === new Date().toDateString() ? '' : `${began.toLocaleDateString()} `;
  return day + clock(event.start_time, false);
}

export const isRecorded = (seconds) => seconds < 1e8; // a position in footage, not a time of day
