// Passkeys: the one thing on these pages that a browser does only for a script. What it asks for and what it sends are
// the JSON of /api/auth/passkey/...; the session comes back as a cookie that no script sees.

const said = document.querySelector('[data-passkey-said]');

function say(text) {
  if (!said) return;
  said.textContent = text;
  said.hidden = text === '';
}

async function post(path, body) {
  const answer = await fetch(`/api/auth/passkey/${path}`, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { 'Content-Type': 'application/json', 'Kavach-Session': 'cookie' },
    body: JSON.stringify(body),
  });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(read.error?.message ?? 'The server did not answer.');
  return read.data;
}

// A path of this server, whatever stands in the page.
function inside(path) {
  const url = new URL(path || '/account', location.origin);
  return url.origin === location.origin ? url.href : '/account';
}

async function signIn(returnTo, mediation, signal) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await post('authenticate/options', {}));
  const credential = await navigator.credentials.get({ publicKey, mediation, signal });
  if (!credential) return;
  await post('authenticate/verify', { credential: credential.toJSON() });
  location.assign(inside(returnTo));
}

function named() {
  const agent = navigator.userAgent;
  const known = ['iPhone', 'iPad', 'Android', 'Windows', 'Macintosh', 'CrOS', 'Linux'];
  const found = known.find((name) => agent.includes(name));
  return found ? `Passkey on ${found === 'Macintosh' ? 'Mac' : found}` : 'Passkey';
}

async function register() {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(await post('register/options', {}));
  const credential = await navigator.credentials.create({ publicKey });
  if (!credential) return;
  await post('register/verify', { credential: credential.toJSON(), name: named() });
  location.assign('/account/security?done=passkey_added');
}

const can = typeof PublicKeyCredential === 'function'
  && typeof PublicKeyCredential.parseRequestOptionsFromJSON === 'function';
let waiting = null;

if (can) {
  document.querySelector('[data-passkey-or]')?.removeAttribute('hidden');
  document.querySelector('[data-passkey-missing]')?.setAttribute('hidden', '');
  for (const button of document.querySelectorAll('[data-passkey-button]')) {
    button.hidden = false;
    button.addEventListener('click', async () => {
      waiting?.abort();
      button.disabled = true;
      say('');
      try {
        if (button.dataset.passkeyButton === 'register') await register();
        else await signIn(button.dataset.returnTo, 'optional');
      } catch (error) {
        // Whoever closes the browser's own window knows that they did.
        if (error.name !== 'NotAllowedError' && error.name !== 'AbortError') say(error.message);
        else say('No passkey was used. Try again, or take another way.');
      } finally {
        button.disabled = false;
      }
    });
  }
  // Passkeys among what the browser offers to fill in.
  const form = document.querySelector('form[data-passkey="sign-in"]');
  if (form && await PublicKeyCredential.isConditionalMediationAvailable?.()) {
    waiting = new AbortController();
    const returnTo = document.querySelector('[data-passkey-button]')?.dataset.returnTo;
    signIn(returnTo, 'conditional', waiting.signal).catch(() => {});
  }
}
