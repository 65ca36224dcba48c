"""JupyterLab as its users see it: a new notebook whose cell draws a plot."""

import contextlib

import browser
import harness
import waiting

# How often a cell is run that nothing has begun to run.
TRIES = 5

# One line, since editors indent the next by themselves.
CELL = (
    "import pandas as pd; pd.DataFrame({'loaves': [3, 1, 4, 1, 5, 9, 2, 6]})"
    ".plot.bar(color='#c0392b', title='Fired in the kiln');"
)
BARS = [0xC0, 0x39, 0x2B]
# How many pixels of an image have a colour, and how many colours there are.
PIXELS = """
    const [image, colour] = arguments;
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    let matching = 0;
    for (let i = 0; i < data.length; i += 4) {
        const pixel = [data[i], data[i + 1], data[i + 2]];
        colours.add(pixel.join());
        matching += pixel.every((part, j) => part === colour[j]);
    }
    return {area: canvas.width * canvas.height, colours: colours.size, matching};
"""


def draws_a_plot(test, url):
    """Opens JupyterLab at `url` in a browser, and runs a cell that must draw; gives a picture of the
    page for people to look at."""
    page = browser.Browser(test, harness.scratch("browser"))
    page.open(url)
    page.click('.jp-LauncherCard[data-category="Notebook"]')
    # What is run before the kernel is there is not run at all, and JupyterLab shows it as idle a
    # little too early: a cell that nobody began to run is run again, as people would.
    page.wait_for('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    editor = ".jp-Notebook .jp-Cell .cm-content"
    page.click(editor)
    run = browser.SHIFT + browser.ENTER + browser.RELEASE
    page.type(editor, CELL + run)
    output = ".jp-OutputArea-output img"
    prompt = "document.querySelector('.jp-Cell .jp-InputPrompt').innerText"
    begun = f"return !/\\[\\s*\\]/.test({prompt})"
    for _ in range(TRIES):
        with contextlib.suppress(AssertionError):
            waiting.until(lambda: page.script(begun), "the cell runs", seconds=10)
            break
        page.type(editor, run)
    pixels = page.script(PIXELS, page.wait_for(output), BARS)
    page.script(f"document.querySelector('{output}').scrollIntoView({{block: 'end'}})")
    picture = page.screenshot()
    test.assertGreater(pixels["area"], 100_000, pixels)
    test.assertGreater(pixels["colours"], 20, pixels)
    # The bars cover a part of the picture, their frame and the text another.
    test.assertGreater(pixels["matching"], pixels["area"] / 20, pixels)
    test.assertLess(pixels["matching"], pixels["area"] / 2, pixels)
    return picture
