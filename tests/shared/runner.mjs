// Tests that are counted as cargo counts its own.

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

export class Skipped extends Error {}

export async function runAll(world, part) {
  let passed = 0;
  let failed = 0;
  for (const { name, run } of tests.filter((one) => one.name.includes(part))) {
    try {
      await run(world);
      passed += 1;
      console.log(`test ${name} ... ok`);
    } catch (error) {
      if (error instanceof Skipped) {
        passed += 1;
        console.log(`skipped: ${name}: ${error.message}`);
        continue;
      }
      failed += 1;
      console.log(`test ${name} ... FAILED\n${error.stack}`);
    }
  }
  console.log(`test result: ${failed ? 'FAILED' : 'ok'}. ${passed} passed; ${failed} failed;`);
  return failed === 0;
}
