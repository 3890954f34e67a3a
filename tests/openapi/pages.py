"""Opens /docs and /redoc in a browser that reaches nothing but loopback, and fails on whatever the browser complains of."""

import sys

from playwright.sync_api import sync_playwright

# Each page, what shows an operation there, and how many there are at least.
PAGES = [("/docs", ".opblock-summary-path", 100), ("/redoc", "[data-section-id^='tag/'] h2", 100)]

# Every name is unknown to it; addresses other than loopback lead to a proxy where nothing listens.
ARGUMENTS = [
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1",
]


def complaints(browser, url, selector, least):
    """Opens a page, waits for its operations, and returns what was wrong."""
    found = []
    page = browser.new_page()
    page.on("console", lambda message: found.append(f"{message.type}: {message.text}") if message.type != "log" else None)
    page.on("pageerror", lambda error: found.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
    page.on("request", lambda request: None if request.url.startswith((url.rsplit("/", 1)[0], "data:")) else found.append(f"asked for {request.url}"))
    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"
    )
    page.goto(url)
    page.wait_for_selector(selector, timeout=60_000)
    shown = page.locator(selector).count()
    if shown < least:
        found.append(f"only {shown} operations are shown")
    page.wait_for_timeout(1_000)
    page.close()
    return found


def main():
    base, executable = sys.argv[1:]
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, "--no-sandbox"])
        for path, selector, least in PAGES:
            found = complaints(browser, base + path, selector, least)
            print(f"{path}: {'; '.join(dict.fromkeys(found)) or 'no complaint'}")
            failed |= bool(found)
        browser.close()
    sys.exit(failed)


main()
