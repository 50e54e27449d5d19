// The page: which device the address names, what is followed live, and how the hops are.

import {ask, clock, element} from './api.js';
import {History} from './history.js';
import {List} from './list.js';

const REFRESH = 10000; // milliseconds
const SETTLE = 300; // until rows that are scrolled past are not worth a stream
const MOST = 50; // devices of a stream
const $ = (id) => document.getElementById(id);

let stream = null;
let followed = '';
let settling = 0;

const {measurements} = await started();
const history = new History(measurements);
const list = new List(measurements.find((each) => ['number', 'integer'].includes(each.type)) ?? measurements[0], follow);

async function health() {
  const state = await ask('/v1/health');
  $('hops').replaceChildren(...state.hops.map((hop) => {
    const line = element('li', `dot ${hop.state}`);
    line.append(element('b', '', hop.name), ` ${hop.detail}`);
    if (hop.name === 'dead letters' && hop.state === 'warning') {
      line.title = 'ansible-playbook playbooks/redrive.yml stores what can be stored now, and says why the rest cannot.';
    }
    return line;
  }));
  rejected(state.rejections);
  return state;
}

// Why messages became no rows: the reasons quote what devices sent, so they are text like all else.
function rejected(rejections) {
  $('rejections').hidden = rejections.length === 0;
  $('lately').textContent = `${rejections.length} rejected lately`;
  $('reasons').replaceChildren(...rejections.map((each) => {
    const row = element('tr');
    for (const cell of [clock(each.receivedAt), each.clientId ?? '–', each.reason]) {
      row.append(element('td'));
      row.lastChild.append(cell);
    }
    return row;
  }));
}

async function started() {
  for (;;) {
    try {
      return await health();
    } catch (error) {
      $('hops').replaceChildren(element('li', 'dot failed', `No answer yet: ${error.message}`));
      await new Promise((later) => setTimeout(later, 2000));
    }
  }
}

function chosen() {
  try {
    return decodeURIComponent(location.hash.slice(2));
  } catch {
    return ''; // a hand-written address
  }
}

function open() {
  const name = chosen();
  document.title = name ? `${name} – Readings` : 'Readings';
  list.select(name);
  history.open(name);
  follow();
}

// One stream for all that is in view.
function follow() {
  clearTimeout(settling);
  settling = setTimeout(() => {
    const names = [...new Set([chosen(), ...list.inView()])].filter(Boolean).slice(0, MOST).sort();
    const query = new URLSearchParams(names.map((name) => ['device', name])).toString();
    if (query === followed && stream?.readyState !== EventSource.CLOSED) return;
    stream?.close();
    stream = names.length ? new EventSource(`/v1/stream?${query}`) : null;
    followed = query;
    stream?.addEventListener('reading', (event) => {
      const reading = JSON.parse(event.data);
      list.put(reading);
      history.put(reading);
    });
  }, SETTLE);
}

addEventListener('hashchange', open);
addEventListener('keydown', (event) => {
  if (event.key === '/' && event.target !== $('search')) {
    event.preventDefault();
    $('search').select();
  } else if (event.key === 'Escape' && event.target === $('search')) {
    list.move(0);
  } else if (event.key === 'Escape') {
    location.hash = '#/';
  } else if (event.key === 'ArrowDown' && event.target === $('search')) {
    event.preventDefault();
    list.move(0);
  }
});
setInterval(() => {
  if (document.hidden) return;
  health().catch((error) => $('hops').replaceChildren(element('li', 'dot failed', `This page's server: ${error.message}`)));
  list.refresh();
}, REFRESH);

open();
await list.load();
health().catch(() => {}); // the list's looks may have changed it; the next round says what is wrong
