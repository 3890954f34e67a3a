"""Opens /docs and /redoc in a browser that reaches nothing but loopback, and tells whatever the browser complains of."""

from playwright.sync_api import sync_playwright

# Each page, and what shows an operation there.
PAGES = [("/docs", ".opblock-summary-control"), ("/redoc", "[data-section-id*='/operation/'] h2")]

# Every name is unknown to it; addresses other than loopback lead to a proxy where nothing listens.
ARGUMENTS = [
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1",
]


# Told by the page itself, whether or not the browser writes it to the console.
REPORT = """addEventListener("securitypolicyviolation", event =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"""


def complaints(browser, base, path, selector, count):
    """Opens a page, waits for its operations, and returns what was wrong."""
    found = []
    page = browser.new_page()
    page.on("console", lambda message: found.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: found.append(f"not loaded: {request.url}"))
    page.add_init_script(REPORT)
    page.goto(base + path)
    page.wait_for_selector(selector, timeout=60_000)
    shown = page.locator(selector).count()
    if shown != count:
        found.append(f"{shown} operations are shown, of {count}")
    # Opened, an operation shows parameters, bodies and examples, which have styles of their own.
    for place in range(0, shown, shown // 5 + 1):
        page.locator(selector).nth(place).click()
        page.wait_for_timeout(300)
    page.close()
    return found


def are_sound(base, executable, count):
    """Whether each page shows all of the operations, without a complaint."""
    sound = True
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, "--no-sandbox"])
        for path, selector in PAGES:
            found = complaints(browser, base, path, selector, count)
            print(f"{base}{path}: {'; '.join(dict.fromkeys(found)) or 'no complaint'}", flush=True)
            sound = sound and not found
        browser.close()
    return sound
