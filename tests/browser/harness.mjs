// A browser, beside what all tests of servers share.
import { chromium } from 'playwright-core';

export { runAll, Skipped, test } from '../shared/runner.mjs';
export { serve } from '../shared/server.mjs';

export const PHONE = { width: 390, height: 844 };
export const WIDE = { width: 1280, height: 900 };

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const ours = ['--host-resolver-rules=MAP localhost 127.0.0.1'];
  // Chromium has no sandbox of its own where everything runs as root, as in containers.
  if (process.getuid?.() === 0) ours.push('--no-sandbox');
  return chromium.launch({ executablePath, args: ours });
}

// A window, with what the browser complains about.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Trusted ?Type|Permissions policy/i.test(message.text())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`${error}`));
  page.on('dialog', (dialog) => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  return { context, page, complaints };
}
