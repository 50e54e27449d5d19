// One device: its newest value, a chart to zoom into by dragging, and its newest readings.

import {age, ask, buttons, clock, devicePath, element, flash, heard, press, show} from './api.js';

const RANGES = [['900', '15 min'], ['3600', '1 h'], ['21600', '6 h'], ['86400', '24 h'], ['604800', '7 d'], ['2592000', '30 d']];
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]; // seconds
const BUCKETS = 400; // about as many as a chart can show
const REQUESTS = 5; // each of them reads at most 100,000 readings
const ROWS = 50;
const HEIGHT = 300; // pixels
const $ = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

export class History {
  constructor(measurements) {
    this.measurements = measurements;
    this.numeric = measurements.filter((each) => ['number', 'integer'].includes(each.type));
    this.name = '';
    this.length = 3600; // seconds that are shown, to now
    this.zoomed = null; // or from and to, in seconds since 1970
    buttons($('ranges'), RANGES, (length) => { this.length = Number(length); this.zoomed = null; this.load(); });
    $('measurement').replaceChildren(...this.numeric.map((each) => new Option(each.name)));
    $('measurement').hidden = this.numeric.length < 2;
    $('measurement').onchange = () => this.load();
    $('columns').replaceChildren(
      element('th', '', 'Time'),
      ...measurements.map((each) => element('th', '', each.unit ? `${each.name}, ${each.unit}` : each.name)),
      element('th', 'received', 'Received'), element('th', 'id', 'Message'));
    new ResizeObserver(() => this.resize()).observe($('chart'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    setInterval(() => this.tick(), 1000);
  }

  async open(name) {
    this.name = name;
    this.zoomed = null;
    this.last = null;
    this.data = null;
    $('device').hidden = !name;
    document.body.classList.toggle('opened', Boolean(name));
    if (!name) return;
    $('name').textContent = name;
    $('readings').replaceChildren();
    show($('value'));
    $('seen').textContent = $('note').textContent = '';
    await this.load();
  }

  shown() {
    if (this.zoomed) return this.zoomed;
    const now = Date.now() / 1000;
    return [now - this.length, now];
  }

  async load() {
    press($('ranges'), this.zoomed ? '' : String(this.length));
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    const arrived = this.arrived = []; // what the stream brings while this loads
    const [from, to] = this.shown();
    const range = {from: Math.floor(from * 1000), ...(this.zoomed ? {to: Math.ceil(to * 1000)} : {})};
    $('csv').href = `${devicePath(this.name, 'readings')}?${new URLSearchParams({...range, format: 'csv'})}`;
    try {
      const newest = ask(devicePath(this.name, 'readings'), {limit: ROWS, ...(this.zoomed ? range : {})}, asking.signal);
      const [{readings}] = await Promise.all([newest, this.numeric.length ? this.chart(range, from, to, asking.signal) : null]);
      $('readings').replaceChildren(...readings.map((each) => this.row(each)));
      if (readings.length && !this.zoomed) this.now(readings[0]);
      for (const each of [...arrived]) this.put(each);
      if (!readings.length) $('note').textContent = 'No readings in this range.';
    } catch (error) {
      if (error.name !== 'AbortError') $('note').textContent = error.message;
    } finally {
      if (this.arrived === arrived) this.arrived = null;
    }
  }

  async chart(range, from, to, signal) {
    this.step = STEPS.find((step) => step >= (to - from) / BUCKETS) ?? STEPS.at(-1);
    const measurement = $('measurement').value;
    const asked = {...range, step: `${this.step}s`, measurement};
    const buckets = [];
    let next = null;
    for (let request = 0; request < REQUESTS && (request === 0 || next); request++) {
      const page = await ask(devicePath(this.name, 'readings'), next ? {...asked, cursor: next} : asked, signal);
      buckets.push(...page.buckets);
      next = page.next;
    }
    this.data = columns(buckets.reverse(), measurement, this.step);
    const count = buckets.reduce((sum, each) => sum + each.count, 0);
    $('note').textContent = `${count.toLocaleString()} readings${summary(buckets, measurement)}; a point for each ${this.step} s`
      + `${next ? '; only the newest of this range' : ''}${this.zoomed ? '. Double-click to zoom out' : '. Drag to zoom in'}`;
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.data) return;
    const measurement = this.numeric.find((each) => each.name === $('measurement').value);
    const axis = {stroke: color('--faint'), grid: {stroke: color('--line'), width: 1}, ticks: {stroke: color('--line'), width: 1}};
    const value = (_, number) => (number === null || number === undefined ? '–' : `${Number(number.toPrecision(6))}`);
    const edge = {stroke: 'transparent', points: {show: false}, value};
    this.plot = new uPlot({
      width: $('chart').clientWidth,
      height: HEIGHT,
      cursor: {drag: {x: true, y: false, setScale: false}, bind: {dblclick: () => () => { this.zoomed = null; this.load(); }}},
      scales: {x: {range: () => this.shown()}},
      axes: [{...axis, space: 80, values: times}, {...axis, size: 56}],
      series: [
        {},
        {label: `mean${measurement.unit ? `, ${measurement.unit}` : ''}`, stroke: color('--accent'), width: 1.5, value},
        {label: 'min', ...edge},
        {label: 'max', ...edge},
      ],
      bands: [{series: [3, 2], fill: color('--band')}],
      hooks: {setSelect: [(plot) => this.zoom(plot)]},
    }, this.data, $('chart'));
  }

  zoom(plot) {
    if (plot.select.width < 5) return;
    const from = plot.posToVal(plot.select.left, 'x');
    const to = plot.posToVal(plot.select.left + plot.select.width, 'x');
    if (to - from < 1) return;
    this.zoomed = [from, to];
    this.load();
  }

  resize() {
    if (this.plot && this.plot.width !== $('chart').clientWidth) {
      this.plot.setSize({width: $('chart').clientWidth, height: HEIGHT});
    }
  }

  row(reading) {
    const row = element('tr');
    const cells = [clock(reading.time)].concat(this.measurements.map((each) => String(reading.values[each.name] ?? '–')));
    for (const cell of [...cells, reading.receivedAt ? clock(reading.receivedAt) : '–']) {
      row.append(element('td'));
      row.lastChild.append(cell);
    }
    row.lastChild.className = 'received';
    row.append(element('td', 'id', reading.messageId ?? ''));
    row.lastChild.title = reading.messageId ?? '';
    return row;
  }

  now(reading) {
    this.last = reading;
    const measurement = this.numeric.find((each) => each.name === $('measurement').value) ?? this.measurements[0];
    show($('value'), reading.values[measurement.name], measurement.unit);
    this.shownName = measurement.name;
    this.tick();
  }

  tick() {
    if (this.last) $('seen').textContent = `${this.shownName}, ${age((Date.now() - heard(this.last)) / 1000)}`;
  }

  // A new reading of the device that is shown.
  put(reading) {
    if (reading.deviceId !== this.name) return;
    if (this.last && key(reading) <= key(this.last)) return; // it was loaded already
    this.arrived?.push(reading);
    this.now(reading);
    flash($('value'));
    if (this.zoomed) return;
    $('readings').prepend(this.row(reading));
    while ($('readings').children.length > ROWS) $('readings').lastChild.remove();
    const value = reading.values[$('measurement').value];
    if (!this.plot || typeof value !== 'number') return;
    const at = Date.parse(reading.time) / 1000;
    if (this.data[0].length && at <= this.data[0].at(-1)) return;
    for (const [index, number] of [at, value, value, value].entries()) this.data[index].push(number);
    this.plot.setData(this.data);
  }
}

// A reading's place among its device's: the table's sort key.
function key(reading) {
  return `${reading.time}#${reading.messageId ?? ''}`;
}

// Of all readings of a chart, in as many digits as its scale shows.
function summary(buckets, measurement) {
  const filled = buckets.filter((each) => each.values[measurement]);
  if (!filled.length) return '';
  const of = (name) => filled.map((each) => each.values[measurement][name]);
  const count = filled.reduce((sum, each) => sum + each.count, 0);
  const mean = filled.reduce((sum, each) => sum + each.values[measurement].mean * each.count, 0) / count;
  const text = (number) => Number(number.toPrecision(4)).toLocaleString();
  return `: min ${text(Math.min(...of('min')))}, mean ${text(mean)}, max ${text(Math.max(...of('max')))}`;
}

// The time axis in the reader's own notation, as the table has it; the day where a new one begins.
function times(_, splits, __, ___, step) {
  let before = '';
  return splits.map((at) => {
    const moment = new Date(at * 1000);
    const day = moment.toLocaleDateString(undefined, {dateStyle: 'medium'});
    const time = moment.toLocaleTimeString(undefined, {timeStyle: step < 60 ? 'medium' : 'short'});
    const text = step >= 86400 ? day : day === before ? time : `${time}\n${day}`;
    before = day;
    return text;
  });
}

// The chart's columns: time, mean, min, max. A line ends where readings were missing for long.
function columns(buckets, measurement, step) {
  const data = [[], [], [], []];
  const gaps = buckets.slice(1).map((each, at) => Date.parse(each.time) - Date.parse(buckets[at].time)).sort((a, b) => a - b);
  const long = 5 * Math.max(step, (gaps[Math.floor(gaps.length / 2)] ?? 0) / 1000);
  for (const bucket of buckets) {
    const numbers = bucket.values[measurement];
    if (!numbers) continue;
    const at = Date.parse(bucket.time) / 1000;
    if (data[0].length && at - data[0].at(-1) > long) {
      for (const [index, number] of [data[0].at(-1) + step, null, null, null].entries()) data[index].push(number);
    }
    for (const [index, number] of [at, numbers.mean, numbers.min, numbers.max].entries()) data[index].push(number);
  }
  return data;
}
