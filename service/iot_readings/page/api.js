// Asking the API, and writing what it says: text only, never markup.

export async function ask(path, parameters = {}, signal) {
  const response = await fetch(`${path}?${new URLSearchParams(parameters)}`, {headers: {Accept: 'application/json'}, signal});
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail);
  return body;
}

export const devicePath = (name, rest) => `/v1/devices/${encodeURIComponent(name)}/${rest}`;

export function element(kind, classes = '', text = '') {
  const made = document.createElement(kind);
  made.className = classes;
  made.textContent = text;
  return made;
}

export function buttons(group, choices, choose) {
  group.replaceChildren(...choices.map(([value, text]) => {
    const button = element('button', '', text);
    button.type = 'button';
    button.dataset.value = value;
    button.setAttribute('aria-pressed', 'false');
    button.onclick = () => choose(value);
    return button;
  }));
}

export function press(group, value) {
  for (const button of group.children) button.setAttribute('aria-pressed', String(button.dataset.value === value));
}

const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

export function age(seconds) {
  if (seconds < 1) return 'now';
  const [unit, length] = UNITS.find(([, length]) => seconds >= length);
  return `${Math.floor(seconds / length)} ${unit} ago`;
}

// When a device was last heard of: by the receiver's clock, since its own may be wrong.
export const heard = (reading) => Date.parse(reading.receivedAt ?? reading.time);

export function clock(text) {
  const made = element('time', '', new Date(text).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'medium'}));
  made.dateTime = made.title = text;
  return made;
}

export function show(target, value, unit) {
  target.textContent = value === undefined || value === null ? '–' : String(value);
  if (unit && target.textContent !== '–') target.append(element('span', 'unit', ` ${unit}`));
}

// A second's flash for what has just changed.
export function flash(target) {
  target.classList.remove('fresh');
  void target.offsetWidth;
  target.classList.add('fresh');
}
