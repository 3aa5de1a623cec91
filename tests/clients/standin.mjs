// What stands in for a browser and the human in front of it: it keeps cookies, follows redirects, fills in the forms of the
// server's pages by their field names, and says yes. It runs no scripts.
import { request } from 'node:http';

const MOST_STEPS = 20;
const PASSWORD = 'rowan berries in the fog';

const plain = (text) => text.replaceAll('&quot;', '"').replaceAll('&#x27;', "'").replaceAll('&#39;', "'")
  .replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

const attribute = (tag, name) => {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  return found ? plain(found[1]) : undefined;
};

// The forms of a page: where each is sent, and its fields.
function forms(page, url) {
  return [...page.matchAll(/<form[^>]*>[\s\S]*?<\/form>/g)].map(([form]) => {
    const action = attribute(form.slice(0, form.indexOf('>')), 'action');
    const fields = new Map();
    for (const [tag] of form.matchAll(/<input[^>]*>/g)) {
      const name = attribute(tag, 'name');
      if (name) fields.set(name, attribute(tag, 'value') ?? '');
    }
    return { action: new URL(action ?? '', url), fields };
  });
}

export class Human {
  constructor(server, mailbox) {
    Object.assign(this, { server, mailbox });
    this.email = `human-${Math.random().toString(36).slice(2)}@example.com`;
    this.cookies = new Map();
  }

  async #send(url, form) {
    const body = form && new URLSearchParams([...form]).toString();
    const headers = { accept: 'text/html', 'sec-fetch-site': form ? 'same-origin' : 'none' };
    if (this.cookies.size > 0) headers.cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    if (form) {
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers['content-length'] = Buffer.byteLength(body);
      headers.origin = new URL(this.server).origin;
    }
    const answer = await new Promise((done, fail) => {
      const sent = request(url, { method: form ? 'POST' : 'GET', headers }, (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => done({ reply, text }));
      });
      sent.on('error', fail).end(body);
    });
    for (const cookie of answer.reply.headers['set-cookie'] ?? []) {
      const [pair] = cookie.split(';');
      const [name, ...value] = pair.split('=');
      this.cookies.set(name, value.join('='));
    }
    const { location, refresh } = answer.reply.headers;
    const onward = location ?? refresh?.split('url=')[1];
    return { status: onward ? 303 : answer.reply.statusCode, text: answer.text, location: onward && new URL(onward, url) };
  }

  // Makes an account on the page for that, and opens the link that is mailed.
  async signUp() {
    const url = new URL('/sign-up', this.server);
    await this.#fill(await this.#send(url), url, '/sign-up');
    const link = new URL(await this.mailbox.link(this.email));
    await this.press(link, link.pathname);
    this.leave();
  }

  // Goes to another browser, where it must sign in.
  leave() {
    this.cookies.clear();
  }

  // Goes where a client sends the browser, and answers all that is asked, until the browser is sent back to the client.
  // Resolves to that address, which is not opened.
  async authorize(start, decision = 'allow') {
    let url = new URL(start);
    for (let step = 0; step < MOST_STEPS; step += 1) {
      let page = await this.#send(url);
      if (page.status === 200) page = await this.#answer(page, url, decision);
      if (page.status !== 303) throw new Error(`stuck at ${url}: ${page.status} ${page.text.slice(0, 2_000)}`);
      if (page.location.origin !== new URL(this.server).origin) return page.location;
      url = page.location;
    }
    throw new Error(`no end of it at ${url}`);
  }

  // Types the code that a device shows, and answers all that is asked, until there is nothing more to say.
  async device(page, code, decision = 'allow') {
    let url = new URL(page);
    for (let step = 0; step < MOST_STEPS; step += 1) {
      const shown = await this.#send(url);
      let sent = shown;
      if (shown.status === 200) {
        const asked = forms(shown.text, url).find(({ fields }) => fields.has('user_code'));
        if (asked) asked.fields.set('user_code', code);
        if (url.searchParams.has('done')) return;
        sent = await (asked ? this.#send(asked.action, asked.fields) : this.#answer(shown, url, decision));
      }
      if (sent.status !== 303) throw new Error(`stuck at ${url}: ${sent.status} ${sent.text.slice(0, 2_000)}`);
      url = sent.location;
    }
    throw new Error(`no end of it at ${url}`);
  }

  // Opens a page and sends the form that goes to an address of this ending.
  async press(url, ending) {
    const page = await this.#send(url);
    const form = forms(page.text, url).find(({ action }) => action.pathname.endsWith(ending));
    if (!form) throw new Error(`no such form at ${url}: ${page.status} ${page.text.slice(0, 2_000)}`);
    const sent = await this.#send(form.action, form.fields);
    if (sent.status !== 303 && sent.status !== 200) throw new Error(`${form.action}: ${sent.status} ${sent.text}`);
  }

  // Types who this is into the form that goes to this address, and sends it.
  #fill(page, url, address) {
    const form = forms(page.text, url).find(({ action }) => action.pathname === address);
    if (!form) throw new Error(`no such form at ${url}: ${page.status} ${page.text.slice(0, 2_000)}`);
    for (const [name, value] of [['name', 'Ada'], ['email', this.email], ['password', PASSWORD]]) {
      if (form.fields.has(name)) form.fields.set(name, value);
    }
    return this.#send(form.action, form.fields);
  }

  #answer(page, url, decision) {
    if (url.pathname === '/sign-in') return this.#fill(page, url, '/sign-in');
    const all = forms(page.text, url);
    const said = all.find(({ fields }) => fields.get('decision') === decision);
    if (!said) throw new Error(`nothing to answer at ${url}: ${page.text.slice(0, 2_000)}`);
    return this.#send(said.action, said.fields);
  }
}
