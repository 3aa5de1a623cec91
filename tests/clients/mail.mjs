// Takes mail by SMTP (RFC 5321), from the server of this machine, and keeps the last to each address.
import { createServer } from 'node:net';

export async function mailbox() {
  const mails = new Map();
  const server = createServer((socket) => {
    let rest = '';
    let to;
    let body;
    const say = (line) => socket.write(`${line}\r\n`);
    const take = (line) => {
      if (body) {
        if (line !== '.') return body.push(line);
        // Quoted-printable (RFC 2045), as far as links and codes need it.
        const text = body.join('\n').replaceAll('=\n', '').replaceAll('=3D', '=');
        mails.set(to, text);
        body = undefined;
      } else if (line.startsWith('RCPT TO:')) {
        to = /<([^>]*)>/.exec(line)[1];
      } else if (line === 'DATA') {
        body = [];
        return say('354 go on');
      }
      return say('250 done');
    };
    say('220 ready');
    socket.on('error', () => {}).setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\r\n');
      rest = lines.pop();
      lines.forEach(take);
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    settings: {
      KAVACH_MAIL_SENDER: 'smtp', KAVACH_MAIL_FROM: 'KavachOS <auth@example.com>', KAVACH_MAIL_SMTP_HOST: '127.0.0.1',
      KAVACH_MAIL_SMTP_PORT: `${server.address().port}`, KAVACH_MAIL_SMTP_SECURITY: 'plain',
    },
    // The link of the last mail to an address, once it has come.
    async link(address) {
      for (let tries = 0; tries < 300; tries += 1) {
        const link = /https?:\/\/localhost\S+/.exec(mails.get(address) ?? '');
        if (link) return link[0];
        await new Promise((done) => setTimeout(done, 100));
      }
      throw new Error(`no mail came to ${address}`);
    },
    end: () => server.close(),
  };
}
