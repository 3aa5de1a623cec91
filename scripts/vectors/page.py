"""Runs the `sh` blocks of a page in one shell and compares what they print with the `text` blocks.

`page.py PAGE` compares; `page.py PAGE write` writes into the page what was printed.
"""

import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- end of a block ---"


def printed(blocks):
    """What each block prints; a block that fails ends the run with its message."""
    script = "".join(f"{block}echo '{MARK}'\n" for block in blocks)
    run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{run.stdout}{run.stderr}test result: FAILED. 0 passed; 1 failed; 0 ignored")
    return run.stdout.split(f"{MARK}\n")


def main(path, mode="compare"):
    page = pathlib.Path(path)
    text = page.read_text()
    outputs = printed([block for kind, block in BLOCK.findall(text) if kind == "sh"])
    at, wrong = -1, []

    def told(match):
        nonlocal at
        kind, block = match.groups()
        if kind == "sh":
            at += 1
            return match.group()
        if block != outputs[at]:
            wrong.append(f"the page says\n{block}but this was printed\n{outputs[at]}")
        return f"```text\n{outputs[at]}```"

    new = BLOCK.sub(told, text)
    if mode == "write":
        page.write_text(new)
        wrong = []
    for fault in wrong:
        print(fault)
    word = "FAILED" if wrong else "ok"
    print(f"test result: {word}. {at + 1 - len(wrong)} passed; {len(wrong)} failed; 0 ignored")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
