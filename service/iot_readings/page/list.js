// The fleet: pages are fetched as they come into view, and only rows in view are in the document.

import {age, ask, buttons, element, flash, heard, press, show} from './api.js';

const HEIGHT = 44;
const PAGE = 50;
const BEYOND = 6; // rows above and below those in view
const POINTS = 16;
const STATES = [['', 'all'], ['quiet', 'quiet'], ['live', 'live'], ['never', 'never']];
const SVG = 'http://www.w3.org/2000/svg';
const $ = (id) => document.getElementById(id);

export class List {
  constructor(measurement, changed) {
    this.measurement = measurement; // the one that is shown: its name and unit
    this.changed = changed; // called when other devices come into view
    this.devices = [];
    this.drawn = new Map(); // rows in the document, by index
    this.filter = {search: '', state: ''};
    this.selected = '';
    this.next = null;
    this.loading = false;
    this.generation = 0;
    buttons($('states'), STATES, (state) => this.load({state}));
    press($('states'), '');
    $('list').addEventListener('scroll', () => this.draw(), {passive: true});
    new ResizeObserver(() => this.draw()).observe($('list'));
    $('search').addEventListener('input', () => this.load({search: $('search').value}));
    $('filter').addEventListener('submit', (event) => { event.preventDefault(); this.move(0); });
    $('list').addEventListener('keydown', (event) => this.key(event));
    setInterval(() => this.tick(), 1000);
  }

  parameters() {
    const given = {limit: PAGE, ...this.filter};
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
  }

  async load(filter = {}) {
    Object.assign(this.filter, filter);
    press($('states'), this.filter.state);
    const generation = ++this.generation;
    const page = await this.fetch({});
    if (!page || generation !== this.generation) return;
    this.devices = page.devices;
    if ('search' in filter || 'state' in filter) $('list').scrollTop = 0;
    this.take(page);
  }

  async fetch(more) {
    try {
      return await ask('/v1/devices', {...this.parameters(), ...more});
    } catch (error) {
      $('count').textContent = error.message;
      return null;
    }
  }

  async more() {
    if (this.loading || this.next === null) return;
    this.loading = true;
    const generation = this.generation;
    const page = await this.fetch({cursor: this.next});
    this.loading = false;
    if (!page || generation !== this.generation) return;
    this.devices.push(...page.devices);
    this.take(page);
  }

  take(page) {
    this.next = page.next;
    const reading = page.complete ? '' : ' so far: the registry is being read';
    $('count').textContent = `${page.matching.toLocaleString()} device${page.matching === 1 ? '' : 's'}${reading}`;
    for (const button of $('states').children) {
      const state = button.dataset.value;
      const count = state ? page.states[state] : Object.values(page.states).reduce((sum, each) => sum + each, 0);
      button.textContent = `${state || 'all'} ${count.toLocaleString()}`;
    }
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    this.draw();
  }

  // Fetched anew while its beginning is in view, so that quiet devices come to the top.
  refresh() {
    if ($('list').scrollTop < HEIGHT && !$('list').contains(document.activeElement)) this.load();
  }

  draw() {
    const list = $('list');
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - BEYOND);
    const last = Math.min(this.devices.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + BEYOND);
    $('rows').style.height = `${this.devices.length * HEIGHT}px`;
    for (const [index, row] of this.drawn) {
      if (index < first || index >= last) { row.remove(); this.drawn.delete(index); }
    }
    for (let index = first; index < last; index++) {
      if (!this.drawn.has(index)) {
        const row = this.row(index);
        this.drawn.set(index, row);
        $('rows').append(row);
      }
    }
    if (last + BEYOND >= this.devices.length) this.more();
    this.changed();
  }

  inView() {
    return [...this.drawn.keys()].sort((a, b) => a - b).map((index) => this.devices[index].deviceId);
  }

  row(index) {
    const device = this.devices[index];
    const row = element('a', 'row');
    row.href = `#/${encodeURIComponent(device.deviceId)}`;
    row.dataset.index = index;
    row.style.top = `${index * HEIGHT}px`;
    row.setAttribute('aria-current', String(device.deviceId === this.selected));
    const line = document.createElementNS(SVG, 'svg');
    line.setAttribute('viewBox', '0 0 100 30');
    line.setAttribute('preserveAspectRatio', 'none');
    line.setAttribute('aria-hidden', 'true');
    line.append(document.createElementNS(SVG, 'polyline'));
    row.append(element('span', 'name'), element('span', 'age'), line, element('span', 'value'));
    this.fill(row, device);
    return row;
  }

  fill(row, device) {
    const [name, , line, value] = row.children;
    name.className = `name dot ${device.state}`;
    name.textContent = name.title = device.deviceId;
    show(value, device.last?.values[this.measurement.name], this.measurement.unit);
    line.firstChild.setAttribute('points', points(device.recent));
    this.tell(row, device);
  }

  tell(row, device) {
    const text = device.last ? age((Date.now() - heard(device.last)) / 1000)
      : device.state === 'never' ? 'no reading yet' : '…';
    row.children[1].textContent = device.state === 'quiet' ? `quiet, ${text}` : text;
  }

  tick() {
    for (const [index, row] of this.drawn) this.tell(row, this.devices[index]);
  }

  // A new reading of a device.
  put(reading) {
    for (const [index, row] of this.drawn) {
      const device = this.devices[index];
      if (device.deviceId !== reading.deviceId) continue;
      device.last = reading;
      device.state = 'live';
      const value = reading.values[this.measurement.name];
      device.recent = [...device.recent, {time: reading.time, value: typeof value === 'number' ? value : null}].slice(-POINTS);
      this.fill(row, device);
      flash(row.lastChild);
    }
  }

  select(name) {
    this.selected = name;
    for (const [index, row] of this.drawn) {
      row.setAttribute('aria-current', String(this.devices[index].deviceId === name));
    }
  }

  key(event) {
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.move(Number(document.activeElement.dataset.index ?? -1) + step);
  }

  move(to) {
    const index = Math.max(0, Math.min(this.devices.length - 1, to));
    const list = $('list');
    const top = index * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    this.draw();
    this.drawn.get(index)?.focus({preventScroll: true});
  }
}

function points(recent) {
  const values = recent.filter((each) => each.value !== null).map((each) => each.value);
  if (values.length < 2) return '';
  const least = Math.min(...values);
  const range = Math.max(...values) - least || 1;
  return values.map((value, at) => `${(at * 100) / (values.length - 1)},${28 - ((value - least) * 26) / range}`).join(' ');
}
