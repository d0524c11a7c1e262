"""Pages as a browser opens them."""


def opened(browser, path, **context):
    """The page and, as they come, its faults: errors of its script, and anything that it asks for but files."""
    page = browser.new_page(**{"viewport": {"width": 1400, "height": 1000}, **context})
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    return page, faults
